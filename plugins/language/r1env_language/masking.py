"""Remove what belongs to no language: code, formulas, links, tags, identifiers and numbers. Linear in the length of the text."""

from __future__ import annotations

import re
import unicodedata

import regex

_FORMAT_CHARACTERS = regex.compile(r"[\p{Cf}\p{Cs}\x00]+")
_MARKS = regex.compile(r"(\p{M}{30})\p{M}++")

_ENVIRONMENTS = (
    "equation|align|aligned|alignat|gather|gathered|multline|split|cases|array|[bpvBV]?matrix|smallmatrix|eqnarray|math"
)

# Each pattern comes with a substring without which it cannot match, because most texts contain few of them. No pattern can
# backtrack over what it has consumed: groups are possessive, or end at the next delimiter of their kind.
_SPANS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (needed, re.compile(pattern, re.DOTALL))
    for needed, pattern in (
        ("```", r"```.*?(?:```|\Z)"),  # as in CommonMark, a fence that is never closed runs to the end
        ("~~~", r"~~~.*?(?:~~~|\Z)"),
        ("`", r"`[^`\n]+`"),
        ("$$", r"\$\$.+?\$\$"),
        ("\\[", r"(?<!\\)\\\[[^\\]*+(?:\\(?![\[\]])[^\\]*+)*+\\\]"),
        ("\\(", r"(?<!\\)\\\([^\\]*+(?:\\(?![()])[^\\]*+)*+\\\)"),
        *[  # three times, for nested environments: the innermost is removed first
            (
                "\\begin{",
                rf"\\begin\{{(?:{_ENVIRONMENTS})\*?\}}[^\\]*+(?:\\(?!begin\{{|end\{{)[^\\]*+)*+\\end\{{[a-zA-Z]+\*?\}}",
            )
        ]
        * 3,
        # A dollar may be money. As in Pandoc, a formula touches its dollars and no digit follows; or it is spaced on both sides.
        ("$", r"(?<![\\$])\$(?=[^\s$])(?:[^$\\\n]|\\[^\n])*+\$(?<!\s\$)(?!\d)|(?<![\\$])\$[ ][^$\n]*?[ ]\$"),
        ("\\boxed", r"\\boxed\s?\{[^{}]*+(?:\{[^{}]*+(?:\{[^{}]*+(?:\{[^{}]*+\}[^{}]*+)*+\}[^{}]*+)*+\}[^{}]*+)*+\}"),
        ("\\", r"\\[a-zA-Z]++\*?"),
        ("://", r"[a-zA-Z][a-zA-Z+.-]{0,20}://[!-~]+"),
        ("www.", r"www\.[!-~]+"),
        ("@", r"(?<![!-~])[\w.+-]++@[!-~]++"),
        ("<", r"<[/!|]?[a-zA-Z][^<>\n]{0,200}>"),
    )
)
_IDENTIFIERS = re.compile(r"(?<![A-Za-z\d_])[A-Za-z]*+[\d_][A-Za-z\d_]*+")


def normalize(text: str) -> str:
    """Return the text in NFKC, without invisible format characters and with plain apostrophes.

    Sequences of combining marks are cut to 30, the limit of Unicode's stream-safe format (UAX #15), because sorting longer
    ones takes quadratic time.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", _MARKS.sub(r"\1", _FORMAT_CHARACTERS.sub("", text))).replace("’", "'")


def mask(text: str) -> tuple[str, float]:
    """Replace each formula, piece of code, command, link, tag, identifier and number by a space.

    Returns:
        The remaining text, and the share of the visible characters that was removed.
    """
    visible = _visible(text)
    for needed, pattern in _SPANS:
        if needed in text:
            text = pattern.sub(" ", text)
    text = _IDENTIFIERS.sub(" ", text)
    return text, 1 - _visible(text) / visible if visible else 0.0


def _visible(text: str) -> int:
    """Return the number of characters that are not white space."""
    return sum(map(len, text.split()))
