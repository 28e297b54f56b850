"""Count the words of a text by language (`consistency`), or name the language of a text (`identify`). Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from r1env.errors import UnknownNameError
from r1env_language.detectors import Detector, stopwords
from r1env_language.languages import LANGUAGES, OWN_SCRIPTS, SHARED_SCRIPTS, UNDETERMINED, language_of_tag
from r1env_language.masking import mask, normalize
from r1env_language.words import CHARACTERS_PER_WORD, clauses_by_script

MAX_CHARACTERS = 150_000
"""Characters of a text that are read: about 32,768 tokens of English, R1's longest completion. This bounds the time for any text."""


@dataclass(frozen=True, slots=True)
class Consistency:
    """The words of a text, by language.

    Attributes:
        target_words: words in the target language. Scripts without spaces give fractions, see `words.CHARACTERS_PER_WORD`.
        words: all words that count.
        masked_share: share of the visible characters in formulas, code, links, tags, identifiers and numbers, from 0 to 1.
        by_language: words by language; `und` holds those in no known language.
    """

    target_words: float
    words: float
    masked_share: float
    by_language: Mapping[str, float]

    @property
    def proportion(self) -> float | None:
        """Target words divided by all words, or None if there are no words."""
        return self.target_words / self.words if self.words else None


def consistency(text: str, target: str, *, detector: Detector = stopwords, per_character: bool = False) -> Consistency:
    """Count the words of a text that are in the target language.

    Args:
        text: the text; only its first `MAX_CHARACTERS` characters are read.
        target: a tag or name as for `language_of_tag`; script and region do not matter.
        detector: decides between languages of one script.
        per_character: count each character of a script without spaces as one word.

    Raises:
        UnknownNameError: the target is not a known language.

    Example:
        >>> consistency("First we add, puis nous multiplions par deux.", "en").by_language
        {'en': 3.0, 'fr': 5.0}
    """
    language = language_of_tag(target)
    if language is None:
        raise UnknownNameError("language", target, LANGUAGES)
    return _count(text, language, detector, per_character)


def identify(text: str, *, detector: Detector = stopwords) -> str | None:
    """Return the language with the most words in a text, or None if there are no words or most fit no known language."""
    by_language = _count(text, None, detector, False).by_language
    most = max(by_language, key=by_language.__getitem__, default=UNDETERMINED)
    return None if most == UNDETERMINED else most


def _count(text: str, target: str | None, detector: Detector, per_character: bool) -> Consistency:
    masked, masked_share = mask(normalize(text[:MAX_CHARACTERS])[:MAX_CHARACTERS])
    by_language: dict[str, float] = {}
    for script, clauses in clauses_by_script(masked).items():
        words = [word for clause in clauses for word in clause.words]
        if script in SHARED_SCRIPTS:
            labels = detector(clauses, script, target if target in SHARED_SCRIPTS[script] else None)
        else:
            labels = [OWN_SCRIPTS.get(script, UNDETERMINED)] * len(words)
        unit = 1.0 if per_character else CHARACTERS_PER_WORD.get(script, 1.0)
        spaced = script not in CHARACTERS_PER_WORD
        for label, word in zip(labels, words, strict=True):
            by_language[label] = by_language.get(label, 0.0) + (1.0 if spaced else len(word) / unit)
    total = sum(by_language.values())
    return Consistency(by_language.get(target or UNDETERMINED, 0.0), total, masked_share, by_language)
