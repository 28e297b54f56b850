"""Check final answers in mathematics: `verify(answer, completion)`, and the rewards `math` and `choice`."""

from typing import TYPE_CHECKING

from r1env.moved import lazy_exports

if TYPE_CHECKING:
    from r1env_math.policy import AnswerPolicy, Case, Conflict, Units, Where
    from r1env_math.reward import FaultyReference, check_gold
    from r1env_math.verdict import How, Verdict, verify, verify_choice

__version__ = "0.1.2"

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

__getattr__ = lazy_exports(
    __name__,
    {
        "r1env_math.policy": ("AnswerPolicy", "Case", "Conflict", "Units", "Where"),
        "r1env_math.reward": ("FaultyReference", "check_gold"),
        "r1env_math.verdict": ("How", "Verdict", "verify", "verify_choice"),
    },
)
