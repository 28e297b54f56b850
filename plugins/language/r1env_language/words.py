"""Find the words of a text, by script: the words that the reward counts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import regex

from r1env_language.languages import OWN_SCRIPTS

MIXED = "Mixed"
OTHER = "Other"

CHARACTERS_PER_WORD: Mapping[str, float] = {
    "Han": 1.7,  # between the 1.5 of Chinese news and the 2 of Japanese once kana are counted
    # Vowel signs included; our estimates.
    "Thai": 4.5,
    "Lao": 4.5,
    "Khmer": 5.0,
    "Myanmar": 5.0,
}
"""Characters a word in scripts written without spaces, whose words are counted by length."""

_SENTENCE_END = re.compile(r"[!?…。;؛।॥؟۔։\n]|\.(?!\d)")
_CLAUSE_END = re.compile(r"[,:()\[\]{}\"“”„«»‹›—–،、「」『』《》|*=]")

# Clauses of one common alphabet and punctuation do not need the full pattern below and take a third of its time.
_PUNCTUATION = r"\x00-@\[-`{-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf\xd7\xf7\u2000-\u206f"
_PLAIN = tuple(
    (script, re.compile(f"[{letters}{_PUNCTUATION}]*"), re.compile(f"[{letters}]+(?:'[{letters}]+)*"))
    for script, letters in (("Latin", r"a-zA-ZÀ-ÖØ-öø-ɏḀ-ỿ"), ("Cyrillic", r"Ѐ-ҁҊ-ӿ"))
)

_ALPHABETS = r"\p{Latin}\p{Cyrillic}\p{Greek}"  # their letters look alike, so a word that mixes them is a disguise
_CASED = frozenset(("Latin", "Cyrillic", "Greek", MIXED))
_WORD = regex.compile(
    r"(?P<Latin>\p{Latin}[\p{Latin}\p{Mn}]*+(?:'[\p{Latin}\p{Mn}]++)*+(?![\p{Cyrillic}\p{Greek}]))"
    r"|(?P<Han>\p{Han}{4,}+)"  # Japanese rarely goes so long without kana, so longer runs are judged apart
    r"|(?P<HanOrKana>(?:[\p{Hiragana}\p{Katakana}ー]++|\p{Han}{1,3}+(?!\p{Han}))++)"
    r"|(?P<Cyrillic>\p{Cyrillic}[\p{Cyrillic}\p{Mn}]*+(?:'[\p{Cyrillic}\p{Mn}]++)*+(?![\p{Latin}\p{Greek}]))"
    r"|(?P<Greek>\p{Greek}[\p{Greek}\p{Mn}]*+(?![\p{Latin}\p{Cyrillic}]))"
    rf"|(?P<{MIXED}>[{_ALPHABETS}][{_ALPHABETS}\p{{Mn}}']*+)"
    r"|(?P<Arabic>(?=\p{L})\p{Arabic}[\p{Arabic}\p{M}]*+)"
    + "".join(
        rf"|(?P<{script}>(?=\p{{L}})\p{{{script}}}[\p{{{script}}}\p{{M}}]*+)"
        for script in (*OWN_SCRIPTS, "Devanagari")
        if script != "Greek"
    )
    + rf"|(?P<{OTHER}>\p{{L}}[\p{{L}}\p{{M}}--[{_ALPHABETS}\p{{Han}}\p{{Hiragana}}\p{{Katakana}}]]*+)",
    regex.VERSION1,
)

_SYMBOLS = frozenset(
    symbol
    for symbols in (  # spelled the same in many languages
        "cm mm dm km nm kg mg lb oz ml cl dl kw mw gw kwh hz khz mhz ghz kb mb gb tb kpa mol rpm mph",
        "sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan log ln lg exp mod gcd lcm lim sqrt",
    )
    for symbol in symbols.split()
)


class Clause(NamedTuple):
    """Adjacent words of one script, with no punctuation and no other script between them."""

    words: list[str]  # runs of characters, where a script has no spaces
    sentence: int  # the number of its sentence


def clauses_by_script(text: str) -> dict[str, list[Clause]]:
    """Return the words of a masked text in order, by script and clause.

    Single letters of cased alphabets (variables), abbreviations of two or three capitals, units and function names belong to
    no language and are left out. Kana are filed under `Han`, words that mix look-alike alphabets under `MIXED`, and words in
    unknown scripts under `OTHER`.
    """
    found: defaultdict[str, list[Clause]] = defaultdict(list)
    for number, sentence in enumerate(_SENTENCE_END.split(text)):
        for clause in _CLAUSE_END.split(sentence):
            for script, words in _runs(clause):
                found[script].append(Clause(words, number))
    return found


def _runs(clause: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each run of adjacent words of one script, with the script."""
    for script, alphabet, word in _PLAIN:
        if alphabet.fullmatch(clause):
            if words := [found for found in word.findall(clause) if not _is_neutral(found)]:
                yield script, words
            return
    last, words = "", []
    for match in _WORD.finditer(clause):
        script, found = match.lastgroup or OTHER, match.group()
        if script in _CASED and _is_neutral(found):
            continue
        script = "Han" if script == "HanOrKana" else script
        if words and script != last:
            yield last, words
            words = []
        last = script
        words.append(found)
    if words:
        yield last, words


def _is_neutral(word: str) -> bool:
    """Return True for variables, units, abbreviations and function names."""
    if len(word) > 3:
        return word in _SYMBOLS
    return len(word) == 1 or word.isupper() or word.lower() in _SYMBOLS
