"""Mathematics with short answers: one function a benchmark, each says where question and answer stand in a row."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from r1env import Task, TaskKind, TaskSource, UsageError
from r1env.data.sources import tasks_from_rows
from r1env.types import Conversation
from r1env_benchmarks.rows import Data, Row, local_or_hub_rows, local_rows


def gsm8k(data: Data = "openai/gsm8k", split: str | None = None, subset: str = "main") -> TaskSource:
    """GSM8K: the answer is what follows `####` in the field `answer`.

    Args:
        data: a JSON-lines file, or the name of a dataset of the hub; or one of them for each split.
        split: None for a whole file, and for `test` of a dataset of the hub.
        subset: of the dataset of the hub.
    """

    def make(number: int, row: Row) -> Task:
        _, marker, answer = str(row["answer"]).rpartition("####")
        if not marker:
            raise ValueError("its answer has no '####'")
        return _task(f"gsm8k-{number}", row["question"], answer.replace(",", ""))

    return tasks_from_rows(local_or_hub_rows("gsm8k", data, split, subset), make, where=f"gsm8k, {data}")


def svamp(data: Data | None = None, split: str | None = None) -> TaskSource:
    """SVAMP: `Body` and `Question` make the question, `Answer` is a number."""

    def make(number: int, row: Row) -> Task:
        body = str(row["Body"]).strip()
        end = "" if body.endswith((".", "!", "?", ",")) else "."
        return _task(f"svamp-{number}", f"{body}{end} {str(row['Question']).strip()}", row["Answer"])

    return tasks_from_rows(local_rows("svamp", data, split), make, where=f"svamp, {data}")


def mawps(data: Data | None = None, split: str | None = None) -> TaskSource:
    """MAWPS: `input` is the question, `target` the number."""
    return _fields("mawps", data, split, "input", "target")


def aime24(data: Data | None = None, split: str | None = None) -> TaskSource:
    """AIME 2024: `problem` and `answer`."""
    return _fields("aime24", data, split, "problem", "answer")


def math_jsonl(
    data: Data | None = None, split: str | None = None, question_field: str = "question", answer_field: str = "answer"
) -> TaskSource:
    """Any JSON-lines file whose rows have a question and a final answer."""
    return _fields("math-jsonl", data, split, question_field, answer_field)


def _fields(name: str, data: Data | None, split: str | None, question_field: str, answer_field: str) -> TaskSource:
    if question_field == answer_field:
        raise UsageError(f"environment {name!r}: question_field and answer_field are both {question_field!r}")

    def make(number: int, row: Row) -> Task:
        return _task(f"{name}-{number}", row[question_field], row[answer_field])

    return tasks_from_rows(local_rows(name, data, split), make, where=f"{name}, {data}")


def _task(task_id: str, question: Any, answer: Any) -> Task:
    """
    Raises:
        ValueError: question or answer are missing or empty.
    """
    if not isinstance(question, str) or not question.strip():
        raise ValueError("it has no question")
    text = answer_text(answer)
    if not text:
        raise ValueError("it has no answer")
    prompt: Conversation = ({"role": "user", "content": question.strip()},)
    return Task(id=task_id, prompt=prompt, answer=text, kind=TaskKind.MATH)


def answer_text(answer: Any) -> str:
    """An answer as a person would write it: `145.0` is `145`, and `0.6666666667` is `2/3`, which it was rounded from.

    Raises:
        ValueError: it is a number that is not finite.
    """
    if not isinstance(answer, float):
        return "" if answer is None else str(answer).strip()
    if not math.isfinite(answer):
        raise ValueError(f"its answer is {answer}")
    if answer.is_integer():
        return str(int(answer))
    simple = Fraction(answer).limit_denominator(100)
    rounded = len(repr(answer).partition(".")[2]) >= 10
    return str(simple) if rounded and abs(float(simple) - answer) < 1e-9 else repr(answer)
