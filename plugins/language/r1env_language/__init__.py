"""The reward `language`: is the thinking in the language it should be in?

Start with `reward.py`, the reward itself, and `counting.py`, which counts the words of a text by language. Below them,
`masking.py` removes what belongs to no language, `words.py` finds the words, `detectors.py` decides between languages of one
script, and `languages.py` and `vocabulary.py` hold the data.
"""

from typing import TYPE_CHECKING

from r1env.moved import lazy_exports

if TYPE_CHECKING:
    from r1env_language.counting import Consistency, consistency, identify
    from r1env_language.languages import LANGUAGES, language_of_tag
    from r1env_language.reward import Language

__version__ = "0.1.0"

__all__ = ["LANGUAGES", "Consistency", "Language", "__version__", "consistency", "identify", "language_of_tag"]

__getattr__ = lazy_exports(
    __name__,
    {
        "r1env_language.counting": ("Consistency", "consistency", "identify"),
        "r1env_language.languages": ("LANGUAGES", "language_of_tag"),
        "r1env_language.reward": ("Language",),
    },
)
