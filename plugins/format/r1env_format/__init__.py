"""Rewards for the format of a completion: tags, repetition, length, JSON. They never read the reference answer.

`reward.py` holds `format` and is short, so that it can be copied; `partial.py` has `format_partial`. `length.py` has `length` and
`overlong`; `reflective_words.py` has `reflection`; `repetition.py` and `json_schema.py` are named after their rewards.
"""

from typing import TYPE_CHECKING

from r1env.moved import lazy_exports, redirect

if TYPE_CHECKING:
    from r1env_format.length import Length, Overlong
    from r1env_format.partial import FormatPartial
    from r1env_format.reflective_words import reflection
    from r1env_format.repetition import Repetition
    from r1env_format.reward import Format

__all__ = ["Format", "FormatPartial", "Length", "Overlong", "Repetition", "__version__", "reflection"]

__version__ = "0.1.0"

__getattr__ = lazy_exports(
    __name__,
    {
        "r1env_format.length": ("Length", "Overlong"),
        "r1env_format.partial": ("FormatPartial",),
        "r1env_format.reflective_words": ("reflection",),
        "r1env_format.repetition": ("Repetition",),
        "r1env_format.reward": ("Format",),
    },
)

redirect({"r1env_format.overlong": "r1env_format.length", "r1env_format.tokens": "r1env_format.repetition"})
