"""The phrases of the two languages. They are short, so that a model with one token a character can learn them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from r1env import UsageError

Language = Literal["en", "zh"]
Asked = Literal["en", "zh", "both"]


@dataclass(frozen=True, slots=True)
class Phrases:
    """The phrases of one language. Fields with braces are patterns; the others are written before or after digits unchanged."""

    sort: str
    first: str
    then: str
    add: str
    carry: str
    make: str
    attempt: str
    failed: str
    found: str
    therefore: str
    name: str
    say: str
    gladly: str
    digits: tuple[str, ...]
    between: str

    @property
    def questions(self) -> Mapping[str, str]:
        """Patterns of the three tasks, by family."""
        return {"sort": self.sort, "add": self.add, "make": self.make}

    def words(self, digits: Sequence[int]) -> str:
        """Return digits as words."""
        return self.between.join(self.digits[digit] for digit in digits)


PHRASES: Mapping[Language, Phrases] = {
    "en": Phrases(
        sort="sort {digits}?",
        first="first ",
        then=" then ",
        add="add {a}+{b}?",
        carry=" carry ",
        make="make {target} of {numbers}?",
        attempt="try ",
        failed=" no",
        found=" yes",
        therefore="so ",
        name="name {digit}!",
        say="say {words}!",
        gladly="gladly: ",
        digits=("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        between=" ",
    ),
    "zh": Phrases(
        sort="排序{digits}?",
        first="先",
        then="再",
        add="求和{a}+{b}?",
        carry="进",
        make="用{numbers}得{target}?",
        attempt="试",
        failed="不对",
        found="对了",
        therefore="所以",
        name="念{digit}!",
        say="说{words}!",
        gladly="乐意:",
        digits=("零", "一", "二", "三", "四", "五", "六", "七", "八", "九"),
        between="",
    ),
}


def check_asked(language: str) -> None:
    """Check the option `language`.

    Raises:
        UsageError: it is not en, zh or both.
    """
    if language not in get_args(Asked):
        raise UsageError(f"unknown language {language!r}; known: {', '.join(get_args(Asked))}")


def language_of(problem: str, asked: Asked) -> Language:
    """Return the language in which a problem is asked. With `both`, half of the problems are asked in each language, none in two.

    A problem that is tested in one language was therefore never trained on in the other.
    """
    if asked != "both":
        return asked
    digest = hashlib.blake2b(f"language of {problem}".encode(), digest_size=1).digest()
    return "zh" if digest[0] % 2 else "en"


def language_in(tag: str | None) -> Language:
    """Return a task's language as one of the two.

    Raises:
        UsageError: it is another language, or None.
    """
    for language in PHRASES:
        if tag == language:
            return language
    raise UsageError(f"these tasks are in English or Chinese, not in {tag!r}")


def other(language: Language) -> Language:
    """Return the other language."""
    return "zh" if language == "en" else "en"
