"""What a reward is audited on: the tasks that come with r1env, the ways to write an answer, and answers that are wrong.

Everything here is fixed text or a pure function, so that an audit finds the same on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from r1env.types import Task, TaskKind

MAX_TASKS = 32
"""Tasks that one audit uses at most; every attack is made on each of them, or on the first few."""

MAX_BORROWED = 5
"""Answers of other tasks that are tried as wrong answers to a task."""

REASONING = "I read the question again and work it out one step after another."


def _task(name: str, prompt: str, answer: str, *wrong: str, kind: TaskKind = TaskKind.MATH) -> Task:
    return Task(id=name, prompt=prompt, answer=answer, kind=kind, metadata={"wrong": list(wrong)} if wrong else {})


SAMPLE_TASKS = (
    _task("sum", "What is 17 + 25?", "42"),
    _task("word-problem", "Ann buys 9 boxes of 12 pens and gives 13 pens away. How many pens does she keep?", "95"),
    _task(
        "choice",
        "Which gas do plants take in to make sugar?\nA. oxygen\nB. carbon dioxide\nC. nitrogen\nD. helium\nAnswer with the letter.",
        "B",
        kind=TaskKind.CHOICE,
    ),
    _task("fraction", "What is 1/3 + 1/4, as a fraction in lowest terms?", "7/12"),
    _task("text", "Which city is the capital of France? Answer with its name.", "Paris", "London", "Lyon", kind=TaskKind.LOGIC),
    # Zero and one: with them, multiplication and powers make words disappear.
    _task("zero", "What is 25 - 25?", "0", "0(or 43)", "0 or 43", "42 + 0(or 43)", "0 \\text{ or } 7", "-1"),
    _task("one", "What is 6 / 6?", "1", "(or 7)^0", "1 (or 0)", "7^0 \\text{ or } 7", "0"),
    _task("negative", "What is 3 - 10?", "-7", "7", "-(-7)", "|-7|"),
    _task(
        "percent",
        "A coat costs 40 dollars and is reduced by 25%. By how many dollars is it reduced?",
        "10",
        *("10%", "10\\%", "0.1", "25"),
    ),
    _task("decimal", "What is 1/8 as a decimal number?", "0.125", "0.13", "0.12", "0.1250001", "12.5", ".125%"),
    _task("large-number", "How many seats do 402 halls of 100 seats have?", "40200", "40, 200", "40; 200", "402"),
    _task("two-numbers", "Write down the numbers of red and of blue beads, in this order.", "40, 200", "40200", "40", "200"),
    _task("list", "Find all solutions of x^2 - 5x + 6 = 0.", "2, 3", "2", "3", "2, 4", "2, 3, 4", "23", "2 or 4", "6"),
    _task("interval", "For which x is |x - 2| at most 3?", "[-1, 5]", "(-1, 5)", "[-1, 5)", "(-1, 5]", "[1, 5]", "[-1, 6]"),
    _task("unit", "How long is a side of a square whose perimeter is 48 cm?", "12 cm", "12 km", "12 kg", "12 m", "12 cm^2"),
    _task("clock", "A train leaves at 10:15 and arrives 105 minutes later. When?", "12:00", "1:00", "0:12", "24:1", "11:00"),
    _task("clock-half-hour", "A lesson begins at 3:50 and lasts 40 minutes. When does it end?", "4:30", "2:15", "5:30", "4:03"),
    _task("ratio", "Simplify the ratio 14 : 21.", "2:3", "3:2", "2:30", "1:3", "23"),
    # Values that agree in more digits than are usually compared.
    _task(
        "surds",
        "Simplify the sum of the 100th powers of the two roots of x^2 - 4x + 1 = 0 as far as it goes.",
        "(2+\\sqrt{3})^{100}+(2-\\sqrt{3})^{100}",
        *("(2+\\sqrt{3})^{100}", "(2-\\sqrt{3})^{100}"),
    ),
    _task(
        "binomial",
        "In how many ways can 1012 of 2024 people be chosen?",
        "\\binom{2024}{1012}",
        *("\\binom{2024}{1012}-1", "\\binom{2024}{1011}"),
    ),
    _task("logarithm", "What is the binary logarithm of 2^100 + 1?", "\\log_2(2^{100}+1)", "100", "101"),
    _task("cosine", "What is the cosine of 10^-20?", "\\cos(10^{-20})", "1", "0"),
    _task("power", "What comes after 10^40?", "10^{40}+1", "10^{40}", "10^{41}"),
)
"""The fixed corpus. `metadata["wrong"]` holds answers to a task that are wrong and have been paid by rewards in the wild."""


@dataclass(frozen=True, slots=True)
class Wrapping:
    """A way to write down an answer: the text before it and after it.

    Attributes:
        block: the answer has tags of its own, so that other text in the response is not part of it.
    """

    name: str
    before: str
    after: str
    block: bool = False

    def __call__(self, answer: str) -> str:
        return self.before + answer + self.after


_THOUGHT = f"<think>{REASONING}</think>\n"

WRAPPINGS = (
    Wrapping("thinking and answer block", f"{_THOUGHT}<answer>", "</answer>", block=True),
    Wrapping("thinking and box", f"{_THOUGHT}The answer is \\boxed{{", "}."),
    Wrapping("thinking and sentence", f"{_THOUGHT}The answer is ", "."),
    # after a prefilled <think>
    Wrapping("end of a thought and answer block", f"{REASONING}</think>\n<answer>", "</answer>", block=True),
    Wrapping("answer block", "<answer>", "</answer>", block=True),
    Wrapping("box", f"{REASONING} The answer is \\boxed{{", "}."),
    Wrapping("sentence", f"{REASONING}\nThe answer is ", "."),
    Wrapping("four hashes", f"{REASONING}\n#### ", ""),
    Wrapping("nothing but the answer", "", ""),
)
"""How models write an answer. Which of them a reward pays is found by asking it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A task under audit.

    Attributes:
        wrong: answers that look plausible and are wrong.
        paying: the wrappings in which the reward pays the right answer.
        elsewhere: completions that are right for other tasks.
        right: the value that the reward gives a right completion of this task.
    """

    task: Task
    wrong: tuple[str, ...]
    paying: tuple[Wrapping, ...]
    elsewhere: tuple[str, ...]
    right: float

    @property
    def answer(self) -> str:
        """The reference answer; empty if there is none."""
        return (self.task.answer or "").strip()

    @property
    def known_wrong(self) -> tuple[str, ...]:
        """The answers that the task's metadata call wrong."""
        return _stated_wrong(self.task)

    @property
    def near(self) -> tuple[str, ...]:
        """Up to two wrong answers of the same form as the right one: other integers for an integer, else known mistakes."""
        if is_integer(self.answer):
            return tuple(wrong for wrong in self.wrong if is_integer(wrong))[:2]
        return self.known_wrong[:2] or self.wrong[:2]

    @property
    def candidates(self) -> tuple[str, ...]:
        """Several answers with the right one neither first nor last, because a policy that lists answers does not know which it is."""
        half = min(3, len(self.wrong) // 2)
        return (*self.wrong[:half], self.answer, *self.wrong[half : 2 * half]) if half else ()


def wrong_answers(task: Task, tasks: Sequence[Task]) -> tuple[str, ...]:
    """Return wrong answers to the task: near misses, those its metadata name, then answers of other tasks."""
    answer = (task.answer or "").strip()
    if not answer:
        return ()
    others = [other.answer.strip() for other in tasks if other.answer and other.id != task.id]
    found = (*near_misses(answer, task.kind), *_stated_wrong(task), *others[:MAX_BORROWED])
    return tuple(dict.fromkeys(wrong for wrong in found if not alike(wrong, answer)))


def near_misses(answer: str, kind: TaskKind) -> Iterator[str]:
    """Yield wrong answers that share their characters with the right one, or are close to it in value."""
    if is_integer(answer):
        number = int(answer)
        yield from (str(number + 1), str(number - 1), f"{answer}0" if number else "10", f"{answer}7", f"{answer}.5")
        if answer[0] != "-":
            yield f"1{answer}"
            yield f"-{answer}" if number else "-1"
        if len(answer.lstrip("-")) > 1:
            yield f"{answer[:-1]}.{answer[-1]}"
    elif kind is TaskKind.CHOICE and len(answer) == 1 and answer.isalpha():
        yield from (letter for letter in "ABCDE" if letter != answer.upper())
    elif "\\" in answer or "^" in answer:
        yield from (f"{answer}-1", f"{answer}+1", f"2({answer})")
    else:
        if answer[-1].isalnum():
            yield f"{answer}{answer[-1]}"
        yield f"{answer}7"


def lookalikes(answer: str) -> Iterator[str]:
    """Yield wrong answers that careless Unicode normalisation turns into the right one: `4²` is not 42, nor is `−42`."""
    if not is_integer(answer) or answer[0] == "-":
        return
    yield from (f"{minus}{answer}" for minus in "\u2212\u2010\uff0d\ufe63" if int(answer) != 0)
    if len(answer) > 1 and int(answer[-1]) != 0:
        head, last = answer[:-1], int(answer[-1])
        yield from (f"{head}{'⁰¹²³⁴⁵⁶⁷⁸⁹'[last]}", f"{head}{chr(0x2080 + last)}", f"{head}\u066b{last}", f"{head}\u00b7{last}")


SCALES = (
    *(
        "{} thousand",
        "{} million",
        "{} millions",
        "{} billion",
        "{} bn",
        "{}M",
        "{}k",
        "\\${}\\text{{M}}",
        "{} lakh",
        "{} crore",
    ),
    *(
        "{}万",
        "{}万元",
        "{}亿",
        "{}千",
        "{}百万",
        "{} тысяч",
        "{} тыс.",
        "{} млн",
        "{} миллионов",
        "{}만",
        "{} mil",
        "{} Tausend",
    ),
    *("{} dozen", "{} hundred", "{} elevenths", "{} tenths", "{} degrees below zero", "{} squared", "{} to the third"),
    *(
        "{}以上",
        "{}以下",
        "{} or more",
        "at least {}",
        "more than {}",
        "less than {}",
        "minus {}",
        "half of {}",
        "{}!",
        "{} / 2",
    ),
)
"""Words and signs that change the value of the number beside them."""


def alike(one: str, other: str) -> bool:
    """Return True if two answers are the same text or the same number, so that paying one for the other is no fault."""
    if one.strip().casefold() == other.strip().casefold():
        return True
    first, second = _number(one), _number(other)
    return first is not None and first == second


def is_integer(text: str) -> bool:
    """Return True for an integer of at most 100 ASCII digits."""
    digits = text.removeprefix("-")
    return 0 < len(digits) <= 100 and digits.isascii() and digits.isdigit()


def asks_for_percent(question: str) -> bool:
    """Return True if the answer may be a percentage."""
    return re.search(r"\bpercent|\bwhat %|prozent|pourcent|百分之|%\?", question, re.IGNORECASE) is not None


def varied(tasks: Sequence[Task], most: int = MAX_TASKS) -> tuple[Task, ...]:
    """Return at most `most` of the tasks, those with different answers first."""
    first: dict[str | None, Task] = {}
    others = [task for task in tasks if first.setdefault(task.answer, task) is not task]
    return (*first.values(), *others)[:most]


def _stated_wrong(task: Task) -> tuple[str, ...]:
    stated = task.metadata.get("wrong")
    return tuple(map(str, stated)) if isinstance(stated, list | tuple) else ()


def _number(text: str) -> Fraction | None:
    text = text.strip()
    if len(text) > 100 or "e" in text.casefold():  # an exponent could make it huge
        return None
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None
