"""`Subject`: a task under audit, with ways to write its answer and answers that are wrong. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from r1env.types import Task, TaskKind

REASONING = "I read the question again and work it out one step after another."


@dataclass(frozen=True, slots=True)
class Wrapping:
    """A way to write an answer down: what stands before it and after it."""

    name: str
    before: str
    after: str

    def __call__(self, answer: str) -> str:
        return self.before + answer + self.after


_THOUGHT = f"<think>{REASONING}</think>\n"

WRAPPINGS = (
    Wrapping("thinking and answer block", f"{_THOUGHT}<answer>", "</answer>"),
    Wrapping("thinking and box", f"{_THOUGHT}The answer is \\boxed{{", "}."),
    Wrapping("thinking and sentence", f"{_THOUGHT}The answer is ", "."),
    Wrapping("end of a thought and answer block", f"{REASONING}</think>\n<answer>", "</answer>"),  # after a prefilled <think>
    Wrapping("answer block", "<answer>", "</answer>"),
    Wrapping("box", f"{REASONING} The answer is \\boxed{{", "}."),
    Wrapping("sentence", f"{REASONING}\nThe answer is ", "."),
    Wrapping("four hashes", f"{REASONING}\n#### ", ""),
    Wrapping("nothing but the answer", "", ""),
)
"""How models write an answer; which of them a reward pays is for it to say."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A task under audit.

    Attributes:
        wrong: answers that look plausible and are wrong.
        paying: the wrappings in which the reward pays the right answer.
        elsewhere: completions that are right for other tasks.
        right: what a right completion of this task is paid.
    """

    task: Task
    wrong: tuple[str, ...]
    paying: tuple[Wrapping, ...]
    elsewhere: tuple[str, ...]
    right: float

    @property
    def answer(self) -> str:
        """The reference answer; empty where there is none."""
        return (self.task.answer or "").strip()

    @property
    def candidates(self) -> tuple[str, ...]:
        """Several answers, the right one neither first nor last: a policy that lists them does not know its place."""
        half = min(3, len(self.wrong) // 2)
        return (*self.wrong[:half], self.answer, *self.wrong[half : 2 * half]) if half else ()


def wrong_answers(task: Task, tasks: Sequence[Task]) -> tuple[str, ...]:
    """Answers to the task that are wrong: near misses, then the answers of the other tasks."""
    answer = (task.answer or "").strip()
    if not answer:
        return ()
    others = (other.answer.strip() for other in tasks if other.answer)
    found = dict.fromkeys(wrong for wrong in (*near_misses(answer, task.kind), *others) if not alike(wrong, answer))
    return tuple(found)


def near_misses(answer: str, kind: TaskKind) -> Iterator[str]:
    """Wrong answers that share their characters with the right one, or stand beside it."""
    if _is_integer(answer):
        number = int(answer)
        yield from (str(number + 1), str(number - 1), f"{answer}0", f"{answer}7", f"{answer}.5")
        if answer[0] != "-":
            yield from (f"1{answer}", f"-{answer}")
        if len(answer.lstrip("-")) > 1:
            yield f"{answer[:-1]}.{answer[-1]}"
    elif kind is TaskKind.CHOICE and len(answer) == 1 and answer.isalpha():
        yield from (letter for letter in "ABCDE" if letter != answer.upper())
    else:
        if answer[-1].isalnum():
            yield f"{answer}{answer[-1]}"
        yield f"{answer}7"


def lookalikes(answer: str) -> Iterator[str]:
    """Wrong answers that careless normalisation of Unicode turns into the right one: `4²` is no 42, nor is `−42`."""
    if not _is_integer(answer) or answer[0] == "-":
        return
    yield from (f"{minus}{answer}" for minus in "\u2212\u2010\uff0d\ufe63" if int(answer) != 0)
    if len(answer) > 1 and int(answer[-1]) != 0:
        head, last = answer[:-1], int(answer[-1])
        yield from (f"{head}{'⁰¹²³⁴⁵⁶⁷⁸⁹'[last]}", f"{head}{chr(0x2080 + last)}", f"{head}\u066b{last}", f"{head}\u00b7{last}")


def alike(one: str, other: str) -> bool:
    """True when two answers say the same, so that paying one for the other is no fault: same text, or same number."""
    if one.strip().casefold() == other.strip().casefold():
        return True
    first, second = _number(one), _number(other)
    return first is not None and first == second


def _number(text: str) -> Fraction | None:
    text = text.strip()
    if len(text) > 100 or "e" in text.casefold():  # an exponent could make it huge
        return None
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return 0 < len(digits) <= 100 and digits.isascii() and digits.isdigit()
