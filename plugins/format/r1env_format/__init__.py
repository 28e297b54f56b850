"""Rewards for the form of a completion: tags, repetition, length. They never look at the answer."""

from r1env_format.length import Length
from r1env_format.overlong import Overlong
from r1env_format.partial import FormatPartial
from r1env_format.reflection import reflection
from r1env_format.repetition import Repetition
from r1env_format.reward import Format

__all__ = ["Format", "FormatPartial", "Length", "Overlong", "Repetition", "__version__", "reflection"]

__version__ = "0.1.0"
