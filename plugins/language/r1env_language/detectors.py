"""Decide between languages of one script. The default uses only the word lists; two libraries can take its place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import add, attrgetter
from typing import Protocol

import r1env
from r1env.errors import UnknownNameError
from r1env_language.languages import SHARED_SCRIPTS, UNDETERMINED, language_of_tag
from r1env_language.vocabulary import CHINESE_CHARACTERS, ENDINGS, JAPANESE_CHARACTERS, LETTERS, PLAIN_LETTERS, WORDS
from r1env_language.words import Clause

Evidence = tuple[float, ...]  # one number for each language of a script, then one for UNDETERMINED

# The cost of changing the language, in words of evidence: low between sentences, so that each can have its own; high inside a
# clause, so that names, quoted words and homographs go with their surroundings.
SENTENCE_COST, CLAUSE_COST, WORD_COST = 0.6, 1.2, 2.4
# Every second or third word of prose is known, so a stretch of twelve unknown words (0.6 / 0.1, twice) is something else.
UNKNOWN_WORD = 0.1
EXPECTATION = 1.0  # for the expected language, once: a text of a few words is presumed to be in it
CAPITALIZED = 0.5  # a known word with a capital may be a name: Sam, Tom, Del, Ben
HINT = 0.3  # for a letter that several languages have, or an ending
HAN_CHARACTER = 0.1  # Japanese has no stretches of a dozen kanji without kana (0.6 / 0.1, twice)
MAX_LETTERS = 40  # of a word that are looked at: the longest honest words have about that many
LEAST_WORDS = 3  # fewer are too little for a classifier

_KANA = frozenset(map(chr, (*range(0x3041, 0x3100), *range(0x31F0, 0x3200))))


class Detector(Protocol):
    """Labels the words of one script."""

    def __call__(self, clauses: Sequence[Clause], script: str, expected: str | None) -> list[str]:
        """Return the language of each word.

        Args:
            clauses: clauses of one script, in order.
            script: a key of `SHARED_SCRIPTS`; its languages and `UNDETERMINED` are the possible labels.
            expected: the language of words that could belong to several; `UNDETERMINED` if None.
        """


def stopwords(clauses: Sequence[Clause], script: str, expected: str | None) -> list[str]:
    """Return the sequence of languages with the most evidence, less the cost of its changes (Viterbi's algorithm).

    The time is proportional to the number of words times the number of languages.
    """
    states = (*SHARED_SCRIPTS[script], UNDETERMINED)
    scores = [0.0] * len(states)
    scores[states.index(expected or UNDETERMINED)] = EXPECTATION if expected else UNKNOWN_WORD
    steps: list[tuple[int, int, list[bool]]] = []  # words; the best state before them, and which states were entered from it
    for words, cost, evidence in _steps(clauses, script):
        best = max(scores)
        entered = best - cost
        steps.append((words, scores.index(best), [score < entered for score in scores]))
        scores = [(score if score >= entered else entered) + found for score, found in zip(scores, evidence, strict=True)]
    state = scores.index(max(scores))
    labels: list[str] = []
    for words, leader, changed in reversed(steps):
        labels += [states[state]] * words
        if changed[state]:
            state = leader
    labels.reverse()
    return labels


def _steps(clauses: Sequence[Clause], script: str) -> Iterator[tuple[int, float, Sequence[float]]]:
    """Yield (words, cost of a change before them, evidence) for each clause, or for each word if a clause may hold two languages."""
    evidence_of = _of_characters if script == "Han" else _of_word
    known: dict[str, Evidence] = {}
    sentence = -1
    for clause in clauses:
        cost = CLAUSE_COST if clause.sentence == sentence else SENTENCE_COST
        sentence = clause.sentence
        evidence = []
        for word in clause.words:
            if word not in known:
                known[word] = evidence_of(word, script)
            evidence.append(known[word])
        total = list(map(sum, zip(*evidence, strict=True)))
        if sum(map(max, evidence)) - max(total) <= WORD_COST:  # no change inside the clause can pay
            yield len(evidence), cost, total
            continue
        for found in evidence:
            yield 1, cost, found
            cost = WORD_COST


def _of_word(word: str, script: str) -> Evidence:
    """Return 1 for each language whose list has the word; for an unlisted word, what its letters and its ending suggest."""
    tables = _tables(script)
    lower = word.lower()
    found = tables.words.get(lower)
    if found is None and "'" in lower:  # an elided article: l'équation, dell'area
        found = tables.words.get(lower[: lower.index("'") + 1])
    capitalized = word[0].isupper() and not word.isupper()
    if found is not None:
        return tuple(CAPITALIZED * weight for weight in found) if capitalized else found
    if word[0].isupper():
        return tables.name
    endings = [hint for ending in (lower[-4:], lower[-3:]) if (hint := tables.endings.get(ending))]
    letters = () if lower.isascii() else [letter for letter in set(lower[:MAX_LETTERS]) if letter not in tables.plain]
    if not endings and not letters:
        return tables.unknown
    found = tuple(map(max, tables.unknown, *endings)) if endings else tables.unknown
    return tuple(map(add, found, _of_letters(letters, tables))) if letters else found


def _of_letters(letters: Collection[str], tables: _Tables) -> Evidence:
    """Evidence for the languages whose alphabet has all of the letters, and against those whose alphabet lacks one."""
    evidence = [tables.letters.get(letter, tables.foreign) for letter in letters]
    return tuple(min(weights) if min(weights) < 0 else max(weights) for weights in zip(*evidence, strict=True))


def _of_characters(run: str, _script: str) -> Evidence:
    """Return the evidence for Chinese and Japanese: kana, and the characters that only one of them writes."""
    kana = sum(map(_KANA.__contains__, run))
    chinese = sum(map(CHINESE_CHARACTERS.__contains__, run)) + HAN_CHARACTER * (len(run) - kana)
    return (chinese, float(kana + sum(map(JAPANESE_CHARACTERS.__contains__, run))), 0.0)


@dataclass(frozen=True, slots=True)
class _Tables:
    """Evidence in one script: of words, endings and letters; of a name, an unknown word, and a letter of no known language."""

    words: Mapping[str, Evidence]
    endings: Mapping[str, Evidence]
    letters: Mapping[str, Evidence]
    plain: frozenset[str]
    name: Evidence
    unknown: Evidence
    foreign: Evidence


@cache
def _tables(script: str) -> _Tables:
    languages = SHARED_SCRIPTS[script]

    def evidence(lists: Mapping[str, Collection[str]], own: float, shared: float, absent: float = 0.0) -> dict[str, Evidence]:
        """Evidence of each entry: `own` for the only language that has it, `shared` for each of several, else `absent`."""
        found = {}
        for entry in {entry for language in languages for entry in lists.get(language, ())}:
            has = [entry in lists.get(language, ()) for language in languages]
            weight = own if sum(has) == 1 else shared
            found[entry] = (*(weight if here else absent for here in has), 0.0)
        return found

    nothing = (0.0,) * len(languages)
    return _Tables(
        words=evidence(WORDS, 1.0, 1.0),
        endings=evidence(ENDINGS, HINT, HINT),
        letters=evidence(LETTERS, 1.0, HINT, -HINT),
        plain=frozenset(PLAIN_LETTERS.get(script, "")),
        name=(*nothing, 0.0),
        unknown=(*nothing, UNKNOWN_WORD),
        foreign=(*nothing, 1.0),
    )


def _by_sentence(classify: Callable[[str, str], str]) -> Detector:
    """Return a detector that asks `classify(text, script)` for each sentence; short sentences go with the one before.

    Chinese and Japanese are still told apart by their characters, which is more reliable than any classifier.
    """

    def label(clauses: Sequence[Clause], script: str, expected: str | None) -> list[str]:
        if script == "Han":
            return stopwords(clauses, script, expected)
        labels: list[str] = []
        current = expected
        waiting = 0  # words of short sentences at the start, which go with the first sentence that is long enough
        for _, group in groupby(clauses, key=attrgetter("sentence")):
            sentence = [word for clause in group for word in clause.words]
            if len(sentence) >= LEAST_WORDS:
                current = classify(" ".join(sentence), script)
                labels += [current] * waiting
                waiting = 0
            if current is None:
                waiting += len(sentence)
            else:
                labels += [current] * len(sentence)
        return labels + [UNDETERMINED] * waiting

    return label


def _py3langid() -> Detector:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    @cache
    def identifier(script: str) -> LanguageIdentifier:
        made = LanguageIdentifier.from_model_file(MODEL_FILE)
        made.set_languages(list(SHARED_SCRIPTS[script]))
        return made

    return _by_sentence(lambda text, script: str(identifier(script).classify(text)[0]))


def _lingua() -> Detector:
    from lingua import Language, LanguageDetector, LanguageDetectorBuilder

    # The library has two Norwegian languages, nb and nn, and no Nepali.
    known = {language: language_of_tag(language.iso_code_639_1.name) for language in Language.all()}

    @cache
    def detector(script: str) -> LanguageDetector:
        chosen = [language for language, ours in known.items() if ours in SHARED_SCRIPTS[script]]
        return LanguageDetectorBuilder.from_languages(*chosen).build()

    def classify(text: str, script: str) -> str:
        found = detector(script).detect_language_of(text)
        return (known[found] if found is not None else None) or UNDETERMINED

    return _by_sentence(classify)


DETECTORS: Mapping[str, Callable[[], Detector]] = {"stopwords": lambda: stopwords, "py3langid": _py3langid, "lingua": _lingua}
"""Factories of the detectors, by name; a library is imported when its factory is called."""


@cache
def get_detector(name: str) -> Detector:
    """Return the detector with this name. It is made once, because it may hold a model.

    Raises:
        UnknownNameError: there is no detector with this name.
        UsageError: its library is not installed.
    """
    if name not in DETECTORS:
        raise UnknownNameError("language detector", name, DETECTORS)
    try:
        return DETECTORS[name]()
    except ImportError as error:
        raise r1env.UsageError(
            f"the language detector {name!r} is not installed ({error}); pip install 'r1env-language[{name}]'"
        ) from error
