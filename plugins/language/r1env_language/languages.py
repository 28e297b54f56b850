"""Which languages are known, the scripts they are written in, and the names and codes they go by."""

from __future__ import annotations

from collections.abc import Mapping

UNDETERMINED = "und"
"""The label of words that fit no known language; the code of ISO 639 for it."""

SHARED_SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "Latin": (
        *("en", "fr", "de", "es", "pt", "it", "nl", "sv", "pl", "tr", "vi", "id"),
        *("da", "no", "cs", "sk", "fi", "hu", "ro", "sw", "ms", "ca", "hr", "sr", "sl", "et", "lv", "lt", "tl", "af"),
    ),
    "Cyrillic": ("ru", "uk", "bg", "be", "mk", "sr", "kk"),
    "Arabic": ("ar", "fa", "ur"),
    "Devanagari": ("hi", "mr", "ne"),
    "Han": ("zh", "ja"),  # with kana, which only Japanese has
}
"""Scripts that several known languages are written in; a detector decides between these."""

OWN_SCRIPTS: Mapping[str, str] = {
    "Armenian": "hy",
    "Bengali": "bn",
    "Ethiopic": "am",
    "Georgian": "ka",
    "Greek": "el",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Hangul": "ko",
    "Hebrew": "he",
    "Kannada": "kn",
    "Khmer": "km",
    "Lao": "lo",
    "Malayalam": "ml",
    "Myanmar": "my",
    "Sinhala": "si",
    "Tamil": "ta",
    "Telugu": "te",
    "Thai": "th",
}
"""Scripts that stand for one language here. Other languages written in them (Yiddish, Assamese, …) are taken for it."""

_NAMES: Mapping[str, str] = {
    # The first word is the English name; then the codes of ISO 639-2 and 639-3, and tags that BCP 47 replaced or that name
    # a variety whose written form is counted as this language.
    "af": "afrikaans afr",
    "am": "amharic amh",
    "ar": "arabic ara arb",
    "be": "belarusian bel",
    "bg": "bulgarian bul",
    "bn": "bengali ben bangla",
    "ca": "catalan cat",
    "cs": "czech ces cze",
    "da": "danish dan",
    "de": "german deu ger",
    "el": "greek ell gre",
    "en": "english eng",
    "es": "spanish spa castilian",
    "et": "estonian est ekk",
    "fa": "persian fas per pes farsi prs dari",
    "fi": "finnish fin",
    "fr": "french fra fre",
    "gu": "gujarati guj",
    "he": "hebrew heb iw",
    "hi": "hindi hin",
    "hr": "croatian hrv bs bos bosnian",
    "hu": "hungarian hun",
    "hy": "armenian hye arm",
    "id": "indonesian ind in",
    "it": "italian ita",
    "ja": "japanese jpn",
    "ka": "georgian kat geo",
    "kk": "kazakh kaz",
    "km": "khmer khm",
    "kn": "kannada kan",
    "ko": "korean kor",
    "lo": "lao",
    "lt": "lithuanian lit",
    "lv": "latvian lav lvs",
    "mk": "macedonian mkd mac",
    "ml": "malayalam mal",
    "mr": "marathi mar",
    "ms": "malay msa may zsm",
    "my": "burmese mya bur",
    "ne": "nepali nep npi",
    "nl": "dutch nld dut",
    "no": "norwegian nor nb nob nn nno",
    "pa": "punjabi pan",
    "pl": "polish pol",
    "pt": "portuguese por",
    "ro": "romanian ron rum mo",
    "ru": "russian rus",
    "si": "sinhala sin",
    "sk": "slovak slk slo",
    "sl": "slovenian slv slovene",
    "sr": "serbian srp sh hbs",
    "sv": "swedish swe",
    "sw": "swahili swa swh kiswahili",
    "ta": "tamil tam",
    "te": "telugu tel",
    "th": "thai tha",
    "tl": "tagalog tgl fil filipino",
    "tr": "turkish tur",
    "uk": "ukrainian ukr",
    "ur": "urdu urd",
    "vi": "vietnamese vie",
    "zh": "chinese zho chi cmn yue wuu mandarin cantonese",
}

LANGUAGES: frozenset[str] = frozenset(_NAMES)
"""The codes of the known languages, of ISO 639-1."""

_BY_NAME: Mapping[str, str] = {name: language for language, names in _NAMES.items() for name in (language, *names.split())}


def language_of_tag(tag: str) -> str | None:
    """Return the known language that a tag names, whatever its script and region, or None where it names none.

    A tag is one of BCP 47, a code of ISO 639-2 or 639-3, or the English name of the language.

    Example:
        >>> language_of_tag("zh-Hans-CN"), language_of_tag("pt_BR"), language_of_tag("swa"), language_of_tag("Thai")
        ('zh', 'pt', 'sw', 'th')
        >>> language_of_tag("tlh") is None
        True
    """
    return _BY_NAME.get(tag.strip().replace("_", "-").partition("-")[0].casefold())
