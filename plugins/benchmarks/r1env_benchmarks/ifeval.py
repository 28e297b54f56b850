"""IFEval: the 25 rules of Zhou et al. (2023, arXiv 2311.07911), the check of a row, and the reward `ifeval`.

Verdicts are those of the reference implementation, also where it is lenient: keywords are regular expressions without word boundaries, and a
text whose language cannot be detected counts as being in the right one. Unlike there, a missing argument is an error instead of a random
value, `keywords:letter_frequency` counts `#` and `!` too instead of a random letter, and every rule takes time linear in the response,
whatever the response is.

    >>> RULES["length_constraints:number_words"].check("one two", num_words=2, relation="at least")
    True
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import r1env
from r1env import Score, Status, Task
from r1env.data.rows import where_of
from r1env.errors import DataError

PARTS = ("prompt_strict", "prompt_loose", "instructions", "followed_strict", "followed_loose")


@r1env.reward(
    name="ifeval", isolation="process", parts=PARTS, limits=r1env.Limits(cpu_seconds=10, wall_seconds=50, memory_mb=512)
)
class IFEval:
    """1 where the response follows every instruction of the prompt, 0 where it breaks one.

    The parts are prompt-level accuracy, strict and loose, and the counts that instruction-level accuracy is made of: the sum of
    `followed_strict` over all tasks, divided by the sum of `instructions`. Strict looks at the response as it is. Loose takes the best of
    eight versions: without its first line, its last line, or both, each with and without asterisks.

    The thinking is cut off first, and the white space that separated it from the response.

    Args:
        loose: the value is loose accuracy; otherwise it is strict.
        prefilled: the prompt ended with `<think>`.
    """

    def __init__(self, loose: bool = False, prefilled: bool = False) -> None:
        self._loose, self._prefilled = loose, prefilled

    def warm_up(self) -> None:
        """Load the language profiles and the sentence model."""
        language_of("This is a sentence.")
        count_sentences("One. Two.")

    def __call__(self, completion: str, task: Task) -> Score:
        parsed = r1env.parse_response(completion, prefilled=self._prefilled)
        response = parsed.response if parsed.thinking is None else parsed.response.strip()
        try:
            instructions = instructions_of(task.metadata)
        except ValueError as error:
            return Score.failure(Status.UNPARSEABLE, str(error), parts=PARTS)
        strict = [follows(response, rule, arguments) for rule, arguments in instructions]
        loose = [follows_loosely(response, rule, arguments) for rule, arguments in instructions]
        parts = {
            "prompt_strict": float(all(strict)),
            "prompt_loose": float(all(loose)),
            "instructions": float(len(instructions)),
            "followed_strict": float(sum(strict)),
            "followed_loose": float(sum(loose)),
        }
        value = parts["prompt_loose" if self._loose else "prompt_strict"]
        broken = [rule for (rule, _), kept in zip(instructions, loose if self._loose else strict, strict=True) if not kept]
        status = Status.NO_ANSWER if not response.strip() else Status.OK if value else Status.WRONG
        return Score(value=value, parts=parts, status=status, reason=f"not followed: {', '.join(broken)}" if broken else "")


def follows(response: str, rule: str, arguments: Mapping[str, Any]) -> bool:
    """Return whether a response follows a rule as it is (strict). An empty one follows none."""
    return bool(response.strip()) and RULES[rule].check(response, **arguments)


def follows_loosely(response: str, rule: str, arguments: Mapping[str, Any]) -> bool:
    """Return whether one of the eight versions of a response follows a rule."""
    return any(follows(version, rule, arguments) for version in loose_versions(response))


def loose_versions(response: str) -> Iterator[str]:
    """Yield the response, and the response without its first line, its last, and both; then each of them without asterisks."""
    lines = response.split("\n")
    versions = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    yield from dict.fromkeys([*versions, *(version.replace("*", "") for version in versions)])


# Rows.


def instructions_of(row: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the rules of a row, each with its arguments.

    Raises:
        ValueError: the columns `instruction_id_list` and `kwargs` do not belong together, a rule is unknown, or an argument is missing or has
            a value that the rule cannot take. The message is one line.
    """
    names, given = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(names, list) or not names:
        raise ValueError("'instruction_id_list' is to be a list of rules, not empty")
    if not isinstance(given, list) or len(given) != len(names):
        raise ValueError(f"'kwargs' is to be a list of {len(names)} objects, one for each rule of 'instruction_id_list'")
    return [(str(name), _arguments(place, str(name), given[place])) for place, name in enumerate(names)]


def _arguments(place: int, name: str, given: Any) -> dict[str, Any]:
    rule = RULES.get(name)
    if rule is None:
        raise ValueError(f"'instruction_id_list[{place}]' is {name!r}: IFEval has no such rule; known: {', '.join(RULES)}")
    if not isinstance(given, Mapping | None):
        raise ValueError(
            f"'kwargs[{place}]' is a {type(given).__name__}: write an object with the arguments of {name}, or null"
        )
    arguments = {}
    for argument, read in rule.arguments.items():
        value = (given or {}).get(argument)
        if value is None:
            raise ValueError(f"'kwargs[{place}]' has no {argument!r}, which {name} needs")
        try:
            arguments[argument] = read(value)
        except ValueError as error:
            raise ValueError(f"'kwargs[{place}].{argument}' is {str(value)[:60]!r}: {error}") from None
    if arguments.get("nth_paragraph", 0) > arguments.get("num_paragraphs", math.inf):
        raise ValueError(f"'kwargs[{place}].nth_paragraph' is {arguments['nth_paragraph']}, more than num_paragraphs")
    return arguments


def check_row(row: Mapping[str, Any]) -> None:
    """Refuse a row whose instructions cannot be checked.

    Raises:
        DataError: as `instructions_of`, with the place of the row.
    """
    try:
        instructions_of(row)
    except ValueError as error:
        raise DataError(where_of(row), str(error)) from None


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 0:
        raise ValueError("write a whole number, 0 or more")
    return int(value)


def _place(value: Any) -> int:
    if _count(value) == 0:
        raise ValueError("write a whole number, 1 or more")
    return int(value)


def _relation(value: Any) -> str:
    if value not in ("less than", "at least"):
        raise ValueError("write 'less than' or 'at least'")
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("write a text, not empty")
    return value


def _character(value: Any) -> str:
    # Two rows of the public set ask for "#" and "!". The reference implementation draws a letter at random instead of those.
    if not isinstance(value, str) or len(value) != 1 or value.isspace():
        raise ValueError("write one character that is no white space")
    return value.lower()


def _pattern(value: Any) -> str:
    try:
        re.compile(_text(value))
    except re.error as error:
        raise ValueError(f"IFEval reads it as a regular expression, and it is none ({error})") from None
    return str(value)


def _patterns(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("write a list of texts, not empty")
    return tuple(map(_pattern, value))


def _language(value: Any) -> str:
    if value not in LANGUAGES:
        raise ValueError(f"no language that can be detected; known: {', '.join(sorted(LANGUAGES))}")
    return str(value)


LANGUAGES = frozenset(
    [
        "af", "ar", "bg", "bn", "ca", "cs", "cy", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "gu", "he", "hi", "hr", "hu", "id",
        "it", "ja", "kn", "ko", "lt", "lv", "mk", "ml", "mr", "ne", "nl", "no", "pa", "pl", "pt", "ro", "ru", "sk", "sl", "so", "sq", "sv",
        "sw", "ta", "te", "th", "tl", "tr", "uk", "ur", "vi", "zh-cn", "zh-tw",
    ]
)  # fmt: skip
"""The languages of langdetect. Chinese has two: IFEval's own code `zh` names neither, and its reference implementation fails on it."""


# The rules.


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        check: of a response that is not empty, and the arguments by name: whether it follows the rule.
        arguments: by name, each with a function that reads its value out of a row, or raises ValueError.
    """

    check: Callable[..., bool]
    arguments: Mapping[str, Callable[[Any], Any]]


RULES: dict[str, Rule] = {}
"""Rule by id. Further ids can be added, such as those of IFBench."""


def rule(name: str, **arguments: Callable[[Any], Any]) -> Callable[[Callable[..., bool]], Callable[..., bool]]:
    """Return a decorator that adds a rule to `RULES`."""

    def add(check: Callable[..., bool]) -> Callable[..., bool]:
        RULES[name] = Rule(check, arguments)
        return check

    return add


def _holds(count: int, relation: str, threshold: int) -> bool:
    return count < threshold if relation == "less than" else count >= threshold


@rule("keywords:existence", keywords=_patterns)
def existence(text: str, keywords: Sequence[str]) -> bool:
    """Every keyword is found, as a regular expression, ignoring case."""
    return all(re.search(keyword, text, re.IGNORECASE) for keyword in keywords)


@rule("keywords:frequency", keyword=_pattern, frequency=_count, relation=_relation)
def frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    """A keyword is found often enough, or not too often; within words too."""
    return _holds(sum(1 for _ in re.finditer(keyword.strip(), text, re.IGNORECASE)), relation, frequency)


@rule("keywords:forbidden_words", forbidden_words=_patterns)
def forbidden_words(text: str, forbidden_words: Sequence[str]) -> bool:
    """No forbidden word is found as a whole word."""
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in forbidden_words)


@rule("keywords:letter_frequency", letter=_character, let_frequency=_count, let_relation=_relation)
def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """A letter or another character is found often enough, or not too often, ignoring case."""
    return _holds(text.lower().count(letter), let_relation, let_frequency)


@rule("language:response_language", language=_language)
def response_language(text: str, language: str) -> bool:
    """The text is in a language, or in none that can be detected."""
    return language_of(text) in (language, None)


@rule("length_constraints:number_sentences", num_sentences=_count, relation=_relation)
def number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    """There are enough sentences, or not too many."""
    return _holds(count_sentences(text), relation, num_sentences)


@rule("length_constraints:number_paragraphs", num_paragraphs=_count)
def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """There are as many paragraphs between lines of `***`; an empty one may stand at either end only."""
    first, *rest = (bool(part.strip()) for part in re.split(r"\s?\*\*\*\s?", text))
    middle, last = rest[:-1], rest[-1:]
    return all(middle) and first + len(middle) + sum(last) == num_paragraphs


@rule("length_constraints:number_words", num_words=_count, relation=_relation)
def number_words(text: str, num_words: int, relation: str) -> bool:
    """There are enough runs of letters, digits and underscores, or not too many."""
    return _holds(len(re.findall(r"\w+", text)), relation, num_words)


@rule("length_constraints:nth_paragraph_first_word", num_paragraphs=_count, nth_paragraph=_place, first_word=_text)
def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """There are as many paragraphs between empty lines, and one of them begins with a word. Empty ones do not count, but have a place."""
    paragraphs = text.split("\n\n")
    filled = sum(1 for paragraph in paragraphs if paragraph.strip())
    if nth_paragraph > filled or filled != num_paragraphs:
        return False
    words = paragraphs[nth_paragraph - 1].split(maxsplit=1)
    if not words:
        return False
    return re.split(r"[.,?!'\"]", words[0].lstrip("'").lstrip('"'), maxsplit=1)[0].lower() == first_word.lower()


@rule("detectable_content:number_placeholders", num_placeholders=_count)
def number_placeholders(text: str, num_placeholders: int) -> bool:
    """There are enough pairs of brackets, each on one line."""
    found = 0
    for line in text.split("\n"):
        start = line.find("[")
        while start >= 0 and (end := line.find("]", start)) >= 0:
            found += 1
            start = line.find("[", end)
    return found >= num_placeholders


@rule("detectable_content:postscript", postscript_marker=_pattern)
def postscript(text: str, postscript_marker: str) -> bool:
    """The marker of a postscript is somewhere in the text, ignoring case."""
    marker = postscript_marker.strip()
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return re.search(known.get(marker, marker.lower()), text.lower(), re.MULTILINE) is not None


@rule("detectable_format:number_bullet_lists", num_bullets=_count)
def number_bullet_lists(text: str, num_bullets: int) -> bool:
    """There are as many lines that begin with one `*`, or with `-`."""
    return _count_bullets(text, "*") + _count_bullets(text, "-") == num_bullets


@rule("detectable_format:constrained_response")
def constrained_response(text: str) -> bool:
    """One of the three answers is in the text."""
    return any(f"My answer is {answer}." in text for answer in ("yes", "no", "maybe"))


@rule("detectable_format:number_highlighted_sections", num_highlights=_count)
def number_highlighted_sections(text: str, num_highlights: int) -> bool:
    """There are enough parts between asterisks; a part between two on each side counts for both patterns."""
    single = sum(1 for part in re.findall(r"\*[^\n*]*\*", text) if part.strip("*").strip())
    double = sum(1 for part in re.findall(r"\*\*[^\n*]*\*\*", text) if part[2:-2].strip())
    return single + double >= num_highlights


@rule("detectable_format:multiple_sections", section_spliter=_pattern, num_sections=_count)
def multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """There are enough section marks, each with a number."""
    return len(re.split(rf"\s?{section_spliter.strip()}\s?\d+\s?", text)) - 1 >= num_sections


@rule("detectable_format:json_format")
def json_format(text: str) -> bool:
    """The text, or the fenced block that it is, is JSON."""
    body = text.strip()
    for opening in ("```json", "```Json", "```JSON", "```"):
        body = body.removeprefix(opening)
    try:
        json.loads(body.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


@rule("detectable_format:title")
def title(text: str) -> bool:
    """There is a title between `<<` and `>>` on one line."""
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if start >= 0 and start + 2 < end and line[start:end].lstrip("<").rstrip(">").strip():
            return True
    return False


@rule("combination:two_responses")
def two_responses(text: str) -> bool:
    """There are two different responses between lines of `******`; an empty one may stand at either end only."""
    parts = [part.strip() for part in text.split("******")]
    filled = [part for part in parts if part]
    return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]


@rule("combination:repeat_prompt", prompt_to_repeat=_text)
def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    """The text begins with the request, ignoring case."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


@rule("startend:end_checker", end_phrase=_text)
def end_checker(text: str, end_phrase: str) -> bool:
    """The text ends with a phrase, ignoring case and quotation marks at its end."""
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@rule("startend:quotation")
def quotation(text: str) -> bool:
    """The text stands between straight quotation marks."""
    bare = text.strip()
    return len(bare) > 1 and bare[0] == bare[-1] == '"'


@rule("change_case:capital_word_frequency", capital_frequency=_count, capital_relation=_relation)
def capital_word_frequency(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """There are enough words in capital letters, or not too many."""
    return _holds(sum(1 for word in treebank_words(text) if word.isupper()), capital_relation, capital_frequency)


@rule("change_case:english_capital")
def english_capital(text: str) -> bool:
    """All letters are capital ones, and the text is English, or in no language that can be detected."""
    return text.isupper() and language_of(text) in ("en", None)


@rule("change_case:english_lowercase")
def english_lowercase(text: str) -> bool:
    """All letters are small ones, and the text is English, or in no language that can be detected."""
    return text.islower() and language_of(text) in ("en", None)


@rule("punctuation:no_comma")
def no_comma(text: str) -> bool:
    """There is no comma. A full-width one is none."""
    return "," not in text


def _count_bullets(text: str, mark: str) -> int:
    """Return how often `^\\s*MARK.*$` is found line by line; behind a `*` one more character must follow that is no `*`.

    White space may run over several lines, and that one character may be the end of the line: the next line then belongs to the bullet.
    """
    found, start = 0, 0
    while start < len(text):
        place = start
        while place < len(text) and text[place].isspace():
            place += 1
        is_bullet = text.startswith(mark, place) and (mark != "*" or (place + 1 < len(text) and text[place + 1] != "*"))
        found += is_bullet
        end_of_line = text.find("\n", place + (2 if is_bullet and mark == "*" else 0))
        start = len(text) if end_of_line < 0 else end_of_line + 1
    return found


# Languages, sentences and words.


@functools.cache
def _detectors() -> Any:
    """Return langdetect's profiles, with a seed of their own: without one its verdicts on short texts differ from call to call."""
    from langdetect import detector_factory

    factory = detector_factory.DetectorFactory()
    factory.load_profile(detector_factory.PROFILES_DIRECTORY)
    factory.seed = 0
    return factory


def language_of(text: str) -> str | None:
    """Return the language of a text as langdetect names it, or None where it finds none."""
    from langdetect.lang_detect_exception import LangDetectException

    detector = _detectors().create()
    detector.append(text)
    try:
        return str(detector.detect())
    except LangDetectException:
        return None


def count_sentences(text: str) -> int:
    """Return the number of sentences that NLTK's English Punkt model finds."""
    return len(_sentences(text))


def _sentences(text: str) -> list[str]:
    import punkt

    return list(punkt.sent_tokenize(text))


# What is set apart, in this order. The patterns are those of NLTK's word tokenizer, since a count depends on each of them.
_TREEBANK: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Opening quotes.
        (r"([«“‘„]|`+)", r" \1 "),
        (r'^"', "``"),
        (r"``", r" \g<0> "),
        (r"(?<=[ (\[{<])(?:\"|'')", " `` "),
        (r"(?i)(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", "' "),
        # The final full stop, commas and colons that are in no number, and other marks.
        (r"(?<=[^.])\.([\])}>\"' »”’]*+)\s*$", r" . \1 "),
        (r"([:,])(\D)", r" \1 \2"),
        (r"[:,]$", r" \g<0> "),
        (r"\.{2,}|[;@#$%&\u2012-\u2015]", r" \g<0> "),
        (r"[?!]", r" \g<0> "),
        (r"(?<=[^'])' ", " ' "),
        (r"[*\[\](){}<>]|--", r" \g<0> "),
        # Closing quotes, and what follows an apostrophe.
        (r"^|$", " "),
        (r"[»”’]", r" \g<0> "),
        (r"''", r" \g<0> "),
        (r'"', " '' "),
        (r"\s+", " "),
        (r"([^' ])('[sSmMdD]|') ", r"\1 \2 "),
        (r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", r"\1 \2 "),
        # Words that are two.
        (
            r"(?i)\b(can(?=not\b)|d(?='ye\b)|gim(?=me\b)|gon(?=na\b)|got(?=ta\b)|lem(?=me\b)|more(?='n\b)|wan(?=na\s))(not|me|na|ta|'n|'ye)",
            r" \1 \2 ",
        ),
        (r"(?i) ('t)(is|was)\b", r" \1 \2 "),
    )
)


def treebank_words(text: str) -> list[str]:
    """Return the words of a text by the conventions of the Penn Treebank, sentence by sentence, as NLTK's `word_tokenize` splits it."""
    words: list[str] = []
    for sentence in _sentences(text):
        for pattern, replacement in _TREEBANK:
            sentence = pattern.sub(replacement, sentence)
        words += sentence.split()
    return words
