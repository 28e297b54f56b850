"""Mathematics with short answers: one function a benchmark, each says what its rows look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1env import TaskKind
from r1env.data.layouts import Computed, Layout, layout_named
from r1env.data.tasks import Data, FileTasks, file_tasks
from r1env_benchmarks.hub import on_the_hub


def gsm8k(data: Data = "openai/gsm8k", split: str | None = None, subset: str = "main", **options: Any) -> FileTasks:
    """GSM8K: the answer is what follows `####` in the column `answer`.

    Args:
        data: where the rows are, or the name of a data set of the hub; or one of them for each split.
        split: None for a whole file, and for `test` of a data set of the hub.
        subset: of the data set of the hub.
        options: see `r1env.data.tasks.file_tasks`.
    """
    source, split = on_the_hub(data, split, subset)
    return file_tasks(source, split, layout=layout_named("GSM8K"), name="gsm8k", **options)


def svamp(data: Data | None = None, split: str | None = None, **options: Any) -> FileTasks:
    """SVAMP: `Body` and `Question` make the question, `Answer` is a number."""
    layout = Layout("SVAMP", "Body, Question, Answer", TaskKind.MATH, Computed("Question", _svamp_question), "Answer")
    return file_tasks(data, split, layout=layout, name="svamp", **options)


def mawps(data: Data | None = None, split: str | None = None, **options: Any) -> FileTasks:
    """MAWPS: `input` is the question, `target` the number."""
    return file_tasks(
        data, split, layout=Layout("MAWPS", "input, target", TaskKind.MATH, "input", "target"), name="mawps", **options
    )


def aime24(data: Data | None = None, split: str | None = None, **options: Any) -> FileTasks:
    """AIME 2024: `problem` and `answer`."""
    layout = Layout("AIME 2024", "problem|Problem, answer|Answer", TaskKind.MATH, "problem|Problem", "answer|Answer")
    return file_tasks(data, split, layout=layout, name="aime24", **options)


def _svamp_question(row: Mapping[str, Any]) -> str:
    body, question = str(row.get("Body") or "").strip(), str(row.get("Question") or "").strip()
    end = "" if body.endswith((".", "!", "?", ",")) else "."
    return f"{body}{end} {question}" if question else ""
