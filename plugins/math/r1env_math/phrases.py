"""How a final answer is announced, in twelve languages. Each pattern ends where the answer begins.

Bounded repetitions only: the text is a model's. A pattern of the form "the answer … is" may span 60 characters of its sentence.
"""

from __future__ import annotations

import re

_GAP = r"[^.\n。！？!?：:]{0,60}?"
_MARK = r"\s{0,3}[:：=]"
_STARS = r"[*_]{0,3}"

_ANNOUNCEMENTS = {
    "any": (r"####",),
    "en": (
        rf"\b(?:answer|result|solution){_STARS}{_GAP}\b(?:is|equals|are|=){_STARS}(?:\s{{0,3}}:)?(?![a-zA-Z])",
        rf"\b(?:answers?|result){_STARS}{_MARK}",
    ),
    "zh": (rf"(?:答案|结果){_GAP}(?:是|为|等于)\s?[:：]?", rf"(?:答案|答|结果){_STARS}{_MARK}"),
    "ja": (rf"(?:答え|解答|答|正解){_GAP}は(?!ない)", rf"(?:答え|解答|答|正解){_STARS}{_MARK}"),
    "ko": (rf"(?:정답|답|결과){_GAP}(?:은|는|이|가)\s", rf"(?:정답|답){_STARS}{_MARK}"),
    "fr": (rf"\b(?:réponse|résultat|solution){_STARS}{_GAP}\b(?:est|vaut){_STARS}\s?:?", rf"\bréponse(?: finale)?{_STARS}{_MARK}"),
    "de": (
        rf"\b(?:Antwort|Ergebnis|Lösung){_STARS}{_GAP}\b(?:ist|lautet|beträgt){_STARS}\s?:?",
        rf"\b(?:Antwort|Ergebnis|Lösung){_STARS}{_MARK}",
    ),
    "es": (rf"\b(?:respuesta|resultado|solución){_STARS}{_GAP}\b(?:es|son){_STARS}\s?:?", rf"\b(?:respuesta|resultado)(?: final)?{_STARS}{_MARK}"),
    "pt": (rf"\b(?:resposta|resultado|solução){_STARS}{_GAP}(?:\bé|\bsão){_STARS}\s?:?", rf"\b(?:resposta|resultado)(?: final)?{_STARS}{_MARK}"),
    "it": (rf"\b(?:risposta|risultato|soluzione){_STARS}{_GAP}(?:\bè|\bsono){_STARS}\s?:?", rf"\b(?:risposta|risultato)(?: finale)?{_STARS}{_MARK}"),
    "ru": (rf"(?:ответ|результат)(?:ом)?{_STARS}\s{{0,3}}[:：—–-]", rf"(?:ответ|результат){_GAP}(?:это|равен|равно|является)\s?:?"),
    "ar": (rf"(?:الجواب|الإجابة|الناتج|النتيجة|ناتج|الحل){_GAP}(?:هو|هي|تساوي|يساوي)\s?:?", rf"(?:الجواب|الإجابة|الناتج){_STARS}{_MARK}"),
    "hi": (rf"(?:उत्तर|जवाब|परिणाम){_STARS}{_MARK}", rf"(?:उत्तर|जवाब|परिणाम){_GAP}(?:है|होगा)\s?[:：]", r"(?:उत्तर|जवाब)\s(?=[-$\\0-9०-९*])"),
}  # fmt: skip

ANNOUNCEMENT = re.compile("|".join(f"(?:{pattern})" for each in _ANNOUNCEMENTS.values() for pattern in each), re.IGNORECASE)
"""What announces a final answer."""

_AFTERWORDS = (
    r"です|である|となります|になります|だ|입니다|이다|예요|है|हैं|होगा|।",
    r"\s?I hope it is correct",
)
AFTERWORD = re.compile(rf"\s*(?:{'|'.join(_AFTERWORDS)})[.。!]?\s*$")
"""What may follow an answer in its sentence and says nothing."""

HEDGE = re.compile(
    r"\b(?:maybe|perhaps|possibly|probably|might|not sure|either|unless|I guess|I think|or else|could be|unsure|"
    r"peut-être|vielleicht|quizás|tal vez|talvez|forse|возможно|может быть)\b|可能|也许|或许|かもしれ|아마|ربما|शायद",
    re.IGNORECASE,
)
"""What takes an answer back as it gives it."""
