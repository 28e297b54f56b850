"""Sort digits, add two numbers, reach a target: each asked in English or Chinese, in a few characters."""

from __future__ import annotations

from typing import Any

import numpy as np

from r1env import Task, TaskKind
from r1env.data.sources import GeneratedSource, Split
from r1env_logic.bilingual.phrases import PHRASES, Asked, check_asked, language_of
from r1env_logic.countdown import OPERATIONS, evaluate
from r1env_logic.options import check_count


def sort_tasks(digits: int = 4, language: Asked = "both", split: Split = "train") -> GeneratedSource:
    """Return tasks with digits to put in ascending order: `sort 4071?`.

    Args:
        language: `en`, `zh`, or `both`: half of the problems in each.
        split: `train`, `test` or `all`; train and test share no problem, in any language.
    """
    check_count("digits", digits, 2, 20)
    check_asked(language)

    def generate(rng: np.random.Generator) -> Task:
        text = "".join(map(str, rng.integers(10, size=digits)))
        return _task(f"sort-{text}", language, "sort", "".join(sorted(text)), digits=text)

    return GeneratedSource(generate, split)


def addition_tasks(digits: int = 2, language: Asked = "both", split: Split = "train") -> GeneratedSource:
    """Return tasks with two numbers of `digits` digits to add: `add 47+25?`. The metadata's `difficulty` is the number of carries.

    The other arguments are those of `sort_tasks`.
    """
    check_count("digits", digits, 1, 9)
    check_asked(language)

    def generate(rng: np.random.Generator) -> Task:
        a, b = (int(n) for n in rng.integers(10 ** (digits - 1), 10**digits, size=2))
        carries = (_digit_sum(a) + _digit_sum(b) - _digit_sum(a + b)) // 9  # a carry takes ten and gives one
        return _task(f"add-{a}-{b}", language, "add", str(a + b), a=a, b=b, difficulty=f"{carries} carries")

    return GeneratedSource(generate, split)


def countdown_tasks(count: int = 3, largest: int = 9, language: Asked = "both", split: Split = "train") -> GeneratedSource:
    """Return tasks with a target to make with + - * of `count` numbers from 1 to `largest`, each used once: `make 24 of 3,5,9?`.

    The target is positive and needs no parentheses. The other arguments are those of `sort_tasks`.
    """
    check_count("count", count, 2, 4)
    check_count("largest", largest, 2, 99)
    check_asked(language)

    def generate(rng: np.random.Generator) -> Task:
        while True:
            numbers = sorted(int(n) for n in rng.integers(1, largest + 1, size=count))
            solution = random_expression(numbers, rng)
            target = int(evaluate(solution).value)
            if target > 0:
                problem = f"countdown-{'-'.join(map(str, numbers))}-to-{target}"
                return _task(problem, language, "make", solution, numbers=numbers, target=target)

    return GeneratedSource(generate, split)


def random_expression(numbers: list[int], rng: np.random.Generator) -> str:
    """Return the numbers in random order with random operations between them, without spaces or parentheses."""
    first, *rest = (int(number) for number in rng.permutation(numbers))
    return f"{first}" + "".join(f"{OPERATIONS[int(rng.integers(len(OPERATIONS)))]}{number}" for number in rest)


def _task(problem: str, asked: Asked, family: str, answer: str, **metadata: Any) -> Task:
    """Return one task.

    Args:
        family: kind of the task, a key of `Phrases.questions`; the metadata fill the braces of its pattern.
    """
    language = language_of(problem, asked)
    shown = {key: ",".join(map(str, value)) if isinstance(value, list) else value for key, value in metadata.items()}
    return Task(
        id=problem,
        prompt=PHRASES[language].questions[family].format(**shown),
        answer=answer,
        kind=TaskKind.MATH if family == "add" else TaskKind.LOGIC,
        language=language,
        metadata={"family": family, **metadata},
    )


def _digit_sum(number: int) -> int:
    return sum(map(int, str(number)))
