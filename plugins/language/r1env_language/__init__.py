"""Language consistency for reasoning models: is the thinking in the language it should be in?"""

from r1env_language.consistency import Consistency, consistency, identify
from r1env_language.languages import LANGUAGES, language_of_tag
from r1env_language.reward import Language
from r1env_language.version import __version__

__all__ = ["LANGUAGES", "Consistency", "Language", "__version__", "consistency", "identify", "language_of_tag"]
