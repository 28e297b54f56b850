"""Which languages are known, what they are written in, and how their tags are spelt."""

from __future__ import annotations

from collections.abc import Mapping

UNDETERMINED = "und"
"""The language of words that fit none that is known here (ISO 639's own code for it)."""

SHARED_SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "Latin": ("en", "fr", "de", "es", "pt", "it", "nl", "sv", "pl", "tr", "vi", "id"),
    "Cyrillic": ("ru", "uk", "bg"),
    "Arabic": ("ar", "fa", "ur"),
    "Han": ("zh", "ja"),  # with kana, which is Japanese
}
"""Scripts that several languages write; a detector decides between these."""

OWN_SCRIPTS: Mapping[str, str] = {
    "Armenian": "hy",
    "Bengali": "bn",
    "Devanagari": "hi",
    "Georgian": "ka",
    "Greek": "el",
    "Hangul": "ko",
    "Hebrew": "he",
    "Tamil": "ta",
    "Telugu": "te",
    "Thai": "th",
}
"""Scripts that stand for one language here: what else they write (Marathi, Yiddish, …) is taken for it."""

LANGUAGES: frozenset[str] = frozenset(OWN_SCRIPTS.values()).union(*SHARED_SCRIPTS.values())

_SAME_LANGUAGE = {"cmn": "zh", "in": "id", "iw": "he"}  # tags that BCP 47 replaced, or that name the spoken standard


def language_of_tag(tag: str) -> str | None:
    """The known language that a BCP-47 tag names, whatever its script and region; None where it is not known.

    Example:
        >>> language_of_tag("zh-Hans-CN"), language_of_tag("pt_BR"), language_of_tag("tlh")
        ('zh', 'pt', None)
    """
    primary = tag.strip().replace("_", "-").partition("-")[0].lower()
    language = _SAME_LANGUAGE.get(primary, primary)
    return language if language in LANGUAGES else None
