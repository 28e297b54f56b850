"""The reward `reflection`: the share of reflective words. It is a metric; give it the weight 0."""

from __future__ import annotations

import re
from collections.abc import Mapping

import r1env
from r1env.monitoring.rules import WORDS as R1_WORDS
from r1env_format.repetition import split_words

WORDS: Mapping[str, tuple[str, ...]] = {
    # The ten that DeepSeek-R1's authors counted over the training of R1-Zero (the paper's section on its "aha moment").
    "r1": R1_WORDS,
    # Other words that announce a second look.
    "en": ("alternatively", "actually", "recheck", "reconsider", "recalculate", "rethink", "hmm", "oops"),
    "de": (
        "warte",
        "moment",
        "jedoch",
        "aber",
        "fehler",
        "falsch",
        "überprüfe",
        "überprüfen",
        "prüfe",
        "nochmal",
        "alternativ",
    ),
    "fr": ("attends", "attendez", "cependant", "mais", "erreur", "faux", "vérifie", "vérifions", "vérifier", "alternativement"),
    "es": ("espera", "pero", "embargo", "error", "incorrecto", "verificar", "verifico", "verifiquemos", "comprobar", "revisar"),
    "it": ("aspetta", "tuttavia", "però", "errore", "sbagliato", "verifico", "verifichiamo", "verificare", "controllo"),
    "pt": ("espere", "espera", "mas", "porém", "erro", "errado", "verificar", "verifico", "verifiquemos", "conferir"),
    "ru": ("подожди", "погоди", "стоп", "однако", "но", "ошибка", "неверно", "проверим", "проверю", "проверить"),
    "ko": ("잠깐", "잠깐만", "하지만", "그러나", "실수", "오류", "다시", "확인해", "확인하자", "검증"),
}
"""Words by language, in lower case. A word is counted in a text of any language."""

PHRASES = (
    *("等等", "等一下", "但是", "然而", "不过", "不对", "错误", "错了", "检查", "验证", "核对", "重新", "再想", "或者"),
    *("不過", "不對", "錯誤", "錯了", "檢查", "驗證", "核對"),
    *("待って", "ちょっと", "しかし", "でも", "間違", "誤り", "確認", "検証", "見直", "やり直"),
)
"""Chinese (simplified and traditional) and Japanese phrases. There are no spaces, so they are found anywhere; each character is a word."""

_REFLECTIVE = frozenset(word for words in WORDS.values() for word in words)
_PHRASE = re.compile("|".join(map(re.escape, sorted(PHRASES, key=len, reverse=True))))


PARTS = ("reflective", "words", "wait")


@r1env.reward(name="reflection", isolation="inline", parts=PARTS)
def reflection(completion: str) -> r1env.Score:
    """Return the share of reflective words (wait, however, check, …), in [0, 1], or no value if there are no words.

    Use it as a metric, with the weight 0 in a rubric: a policy that is rewarded for these words writes "wait" without end. The parts are
    the number of reflective words, the number of all words, and the number of the word "wait", which DeepSeek-R1's authors also plot.
    Base models write such words before any training, so compare with step 0.

    Example:
        >>> reflection("Wait, is that right?").value
        0.25
    """
    words = split_words(completion.lower())
    if not words:
        none = dict.fromkeys(PARTS, 0.0)
        return r1env.Score(value=None, parts=none, status=r1env.Status.NO_ANSWER, reason="there are no words")
    in_phrases = sum(len(found) for found in _PHRASE.findall(completion))
    reflective = sum(word in _REFLECTIVE for word in words) + in_phrases
    counts = (float(reflective), float(len(words)), float(words.count("wait")))
    return r1env.Score(value=reflective / len(words), parts=dict(zip(PARTS, counts, strict=True)), status=r1env.Status.OK)
