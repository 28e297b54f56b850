"""Checking of final answers in mathematics: `verify(answer, completion)`, and the reward `math` made of it."""

from r1env_math.verdict import How, Verdict, verify
from r1env_math.version import __version__

__all__ = ["How", "Verdict", "__version__", "verify"]
