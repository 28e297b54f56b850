"""Checking of final answers in mathematics: `verify(answer, completion)`, and the rewards `math` and `choice` made of it."""

from r1env_math.check import FaultyReference, check_gold
from r1env_math.policy import AnswerPolicy, Case, Conflict, Units, Where
from r1env_math.verdict import How, Verdict, verify, verify_choice

__version__ = "0.1.1"

__all__ = [
    "AnswerPolicy",
    "Case",
    "Conflict",
    "FaultyReference",
    "How",
    "Units",
    "Verdict",
    "Where",
    "__version__",
    "check_gold",
    "verify",
    "verify_choice",
]
