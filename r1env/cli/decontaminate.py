"""`r1env decontaminate`: training rows that share text with a benchmark."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from r1env.cli import options as opt
from r1env.cli.console import print_json, print_table, progress
from r1env.data.layouts import Example, read_examples
from r1env.data.rows import ColumnMap
from r1env.data.sources import iterate
from r1env.envs.environment import make_evaluation_environment
from r1env.envs.suite import members_of
from r1env.errors import UsageError
from r1env.evaluation.decontaminate import Hit, Index, Text
from r1env.plugins import Plugins
from r1env.runs.files import to_json
from r1env.types import Conversation


def decontaminate(
    ctx: typer.Context,
    data: Annotated[str, typer.Argument(metavar="DATA", help="Training data: a file, a folder, a glob or hub:owner/name.")],
    against: Annotated[
        list[str],
        typer.Option("--against", metavar="NAME|DATA", help="A benchmark: an environment, a suite, or data. Repeatable."),
    ],
    n: Annotated[int, typer.Option("--ngram", min=2, help="Number of words in an n-gram.")] = 10,
    columns: Annotated[
        str | None,
        typer.Option(
            "--map", metavar="FIELD=COLUMN,…", help="Meaning of the columns of the training data, if they are not recognized."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the clean rows, as JSON Lines.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write the other rows with the text that they share, as JSON Lines."),
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Find training rows that share an n-gram of words with a benchmark's questions or reference solutions.

    \b
    Example:
      r1env decontaminate train.jsonl --against gsm8k_test.jsonl --output clean.jsonl --report shared.jsonl
    """
    plugins = opt.plugins_of(ctx)
    index = Index(n)
    for name in against:
        for benchmark, texts in _benchmarks(name, plugins):
            index.add(benchmark, texts)
    rows = read_examples(data, columns=None if columns is None else ColumnMap.parse(columns))
    shared: Counter[str] = Counter()
    leaked: defaultdict[str, set[str]] = defaultdict(set)
    total = dirty = 0
    with contextlib.ExitStack() as stack:
        clean_file = None if output is None else stack.enter_context(_open(output))
        report_file = None if report is None else stack.enter_context(_open(report))
        advance = stack.enter_context(progress("comparing"))
        for total, example in enumerate(rows, start=1):
            hits = index.find(_text_of(example))
            if hits:
                dirty += 1
                _count(hits, shared, leaked)
                if report_file is not None:
                    found = {"where": example.where, "hits": [asdict(hit) for hit in hits], "row": dict(example.row)}
                    report_file.write(to_json(found) + "\n")
            elif clean_file is not None:
                clean_file.write(to_json(dict(example.row)) + "\n")
            if total % 1000 == 0:
                advance(total, max(total, len(rows)))
    table = [
        {
            "benchmark": benchmark,
            "texts": index.tasks[benchmark],
            "found": len(leaked[benchmark]),
            "rows": shared[benchmark],
            "common_ngrams": index.common[benchmark],
        }
        for benchmark in index.tasks
    ]
    if as_json:
        print_json({"rows": total, "contaminated": dirty, "ngram": n, "benchmarks": table})
        return
    print_table(
        ("benchmark", "texts", "found in the data", "rows that share text", "common n-grams left out"),
        [tuple(line.values()) for line in table],
        title=f"{dirty} of {total} rows share {n} words in a row with a benchmark",
    )


def _count(hits: list[Hit], shared: Counter[str], leaked: defaultdict[str, set[str]]) -> None:
    for benchmark in {hit.benchmark for hit in hits}:
        shared[benchmark] += 1
    for hit in hits:
        leaked[hit.benchmark].add(hit.task)


def _open(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="ascii")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _benchmarks(name: str, plugins: Plugins, options: Mapping[str, Any] | None = None) -> Iterator[tuple[str, Iterator[Text]]]:
    """Yield name and texts of each benchmark that a name stands for.

    Raises:
        UsageError: it is an environment without end, or nothing that can be read.
    """
    if name in plugins.provided("suites"):
        for member in members_of(name, plugins):
            yield from _benchmarks(member.environment, plugins, member.options)
        return
    if name not in plugins.provided("environments"):
        yield name, (Text(example.id or example.where, _text_of(example)) for example in read_examples(name))
        return
    environment = make_evaluation_environment(name, plugins=plugins, **(options or {}))
    if environment.source.size is None:
        raise UsageError(f"environment {name!r} makes up its tasks and has no texts to compare with")
    tasks = iterate(environment.source, None, 0)
    yield name, (Text(task.id, f"{_said(task.prompt)}\n{task.answer or ''}") for task in tasks)


def _text_of(example: Example) -> str:
    """Return question and solutions of a row; an instruction that all rows have was taken off when it was read."""
    demonstrations = (_said(demonstration) for demonstration in example.demonstrations)
    return "\n".join([_said(example.prompt), example.text or "", example.answer or "", *demonstrations])


def _said(conversation: Conversation) -> str:
    return "\n".join(message["content"] for message in conversation if message["role"] != "system")
