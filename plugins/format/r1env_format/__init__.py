"""Rewards for the form of a completion: tags, repetition, length, JSON. They never look at the reference answer.

`reward.py` holds `format` and is short, so that it can be copied; `partial.py` has `format_partial`. `length.py` has `length` and
`overlong`; `repetition.py`, `reflection.py` and `json_schema.py` are named after their rewards.
"""

from r1env.moved import redirect
from r1env_format.length import Length, Overlong
from r1env_format.partial import FormatPartial
from r1env_format.reflection import reflection
from r1env_format.repetition import Repetition
from r1env_format.reward import Format

__all__ = ["Format", "FormatPartial", "Length", "Overlong", "Repetition", "__version__", "reflection"]

__version__ = "0.1.0"

redirect({"r1env_format.overlong": "r1env_format.length", "r1env_format.tokens": "r1env_format.repetition"})
