"""`r1env envs` and `r1env show`: which environments there are, and what a task of one looks like."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from r1env.audit.report import excerpt
from r1env.cli.console import print_json, print_table, printable, stdout_console
from r1env.cli.options import (
    Data,
    DropRepeated,
    EnvOptions,
    Json,
    Map,
    RubricName,
    Template,
    data_options,
    names_of,
    open_environment,
    plugins_of,
)
from r1env.config import parse_overrides
from r1env.data.layouts import Example, read_examples
from r1env.data.rows import ColumnMap
from r1env.data.tasks import REWARD_OF_KIND, task_of_example
from r1env.envs.environment import Environment
from r1env.envs.suite import members_of
from r1env.errors import UnknownNameError, UsageError
from r1env.plugins import Plugins
from r1env.types import Task


def envs(
    ctx: typer.Context,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            autocompletion=names_of("suites"),
            help="List only the environments of this suite, with their shares of the tasks.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the environments.

    \b
    Example:
      r1env envs
      r1env envs --suite r1
    """
    plugins = plugins_of(ctx)
    provided = plugins.provided("environments")
    rows: list[dict[str, Any]] = [
        {
            "name": item.spec.name,
            "kind": item.spec.kind,
            "reward": item.spec.reward,
            "turns": item.spec.max_turns,
            "requires": item.spec.requires,
            "summary": item.spec.summary,
            "provided by": str(item.provenance),
        }
        for item in provided.values()
    ]
    columns = ("name", "kind", "reward", "turns", "requires", "summary", "provided by")
    if suite is not None:
        rows = _members(suite, plugins, rows)
        columns = ("name", "kind", "share", "options", "reward", "requires", "summary")
    if as_json:
        print_json(rows)
        return
    print_table(columns, ([row[column] for column in columns] for row in rows))


def _members(suite: str, plugins: Plugins, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the environments of a suite, in its order, with their shares of the tasks and their options.

    Raises:
        UnknownNameError: there is no such suite, or it names an environment that is not installed.
    """
    members = members_of(suite, plugins)
    total = math.fsum(member.weight for member in members)
    by_name = {row["name"]: row for row in rows}
    for member in members:
        if member.environment not in by_name:
            raise UnknownNameError("environment", member.environment, by_name)
    return [
        {
            **by_name[member.environment],
            "share": f"{member.weight / total:.1%}",
            "options": " ".join(f"{name}={value}" for name, value in member.options.items()),
        }
        for member in members
    ]


def show(
    ctx: typer.Context,
    env: Annotated[
        str | None,
        typer.Argument(
            metavar="ENV",
            autocompletion=names_of("environments"),
            help="Environment (see `r1env envs`). Default: the rows of --data.",
        ),
    ] = None,
    index: Annotated[int, typer.Option("--index", min=0, help="Index of the task.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the tasks.")] = 0,
    env_options: EnvOptions = None,
    data: Data = None,
    columns: Map = None,
    drop_repeated: DropRepeated = False,
    template: Template = None,
    rubric: RubricName = "accuracy",
    as_json: Json = False,
) -> None:
    """Show a task of an environment: the prompt as the model sees it, the answer, and how answers are scored.

    With --data and without an environment, show a row of the data: the layout that was recognized, how each column is used, and
    the resulting task or demonstration.

    \b
    Example:
      r1env show sort-4 --index 3 --rubric zero
      r1env show gsm8k --data gsm8k_test.jsonl
      r1env show --data train.parquet --map question=problem,answer=reward_model.ground_truth --index 7
    """
    if env is None and data is not None:
        _show_row(
            ctx,
            data,
            columns,
            [*(env_options or []), *(["drop_repeated=true"] if drop_repeated else [])],
            index,
            template,
            rubric,
            as_json=as_json,
        )
        return
    environment = open_environment(
        plugins_of(ctx), env, env_options, data, columns, drop_repeated=drop_repeated, template=template, rubric=rubric
    )
    task = environment.task(index, seed)
    shown = _described(environment, task)
    if as_json:
        print_json(shown)
        return
    headings = ("environment", "task", "kind", "language", "answer", "tests", "metadata", "template", "turns", "rubric")
    _print_task(shown, headings)


def _print_task(shown: Mapping[str, Any], headings: Sequence[str]) -> None:
    console = stdout_console()
    for heading in headings:
        if shown.get(heading) not in (None, "", [], {}):
            console.print(Text(f"{heading:<12}", "bold") + Text(_text(shown[heading])))
    _print_messages(shown["prompt"])


def _print_messages(messages: Iterable[Mapping[str, Any]], title: str = "") -> None:
    console = stdout_console()
    for message in messages:
        console.print(Text(f"\n{message['role']}{title}", "bold"))
        if message.get("reasoning_content"):
            console.print(Text(printable(message["reasoning_content"]), "dim"))
        console.print(Text(printable(message["content"] or _text({"tool_calls": message.get("tool_calls", "")}))))


def _show_row(
    ctx: typer.Context,
    data: str,
    columns: list[str] | None,
    env_options: list[str] | None,
    index: int,
    template: str | None,
    rubric: str,
    *,
    as_json: bool,
) -> None:
    """Show a row of --data: its layout, what became of each column, and what it is to a model."""
    options = parse_overrides(env_options or []) | data_options(data, columns)
    example = _example(options, index)
    shown: dict[str, Any] = {
        "row": example.where,
        "layout": example.layout,
        "kind": None if example.kind is None else example.kind.value,
        "left out": example.left_out,
        "columns": dict(example.columns),
        "prompt": [dict(message) for message in example.prompt],
    }
    checker = example.reward or (REWARD_OF_KIND.get(example.kind, "") if example.kind else "")
    if not example.left_out and example.kind is not None and (checker or rubric != "accuracy"):
        opened = open_environment(
            plugins_of(ctx), "data", {**options, "kind": example.kind.value}, template=template, rubric=rubric
        )
        reader = opened.rubric.rewards[0].reward.read_reference if checker else None
        described = _described(opened, task_of_example(example, example.id or f"data-{index}", reader))
        shown |= {key: described[key] for key in ("prompt", "answer", "tests", "template", "rubric", "language")}
    shown |= {
        "demonstrations": [[dict(message) for message in one] for one in example.demonstrations],
        **{name: [dict(message) for message in getattr(example, name)] for name in ("chosen", "rejected")},
        **{"label": example.label, "steps": list(example.steps), "tools": [dict(tool) for tool in example.tools]},
        **{"text": example.text, "taken off": example.metadata.get("removed_instruction", "")},
    }
    if as_json:
        print_json({**shown, "metadata": dict(example.metadata)})
        return
    _print_row(shown, example)


def _example(options: Mapping[str, Any], index: int) -> Example:
    known = {key: options[key] for key in ("layout", "first_index", "shuffle_seed", "keep_instruction") if key in options}
    columns = ColumnMap.parse(options["map"]) if "map" in options else None
    examples = read_examples(options["data"], columns=columns, split=options.get("split"), **known)
    try:
        return examples[index]
    except IndexError:
        raise UsageError(f"{examples.rows.name} has {len(examples)} rows; --index {index} is beyond them") from None


def _print_row(shown: Mapping[str, Any], example: Example) -> None:
    rows = [(name, meaning, excerpt(str(example.row[name]), 60)) for name, meaning in example.columns.items()]
    print_table(("column", "became", "holds"), rows)
    headings = (
        "row",
        "layout",
        "kind",
        "left out",
        "answer",
        "language",
        "template",
        "rubric",
        "label",
        "steps",
        "text",
        "taken off",
    )
    _print_task({**shown, "label": None if example.label is None else str(example.label)}, headings)
    for name in ("chosen", "rejected"):
        _print_messages(shown[name], f" ({name})")
    for number, one in enumerate(shown["demonstrations"], start=1):
        _print_messages(one, f" (demonstration {number})")
    if shown.get("tests"):
        typer.echo(f"\n{len(shown['tests'])} tests")


def _described(environment: Environment, task: Task) -> dict[str, Any]:
    return {
        "environment": environment.name,
        "tasks": environment.source.size,
        "task": task.id,
        "kind": task.kind.value,
        "language": task.language,
        "prompt": [dict(message) for message in environment.open(task).messages],
        "answer": task.answer,
        "tests": [dict(test) for test in task.tests],
        "metadata": dict(task.metadata),
        "template": environment.template.name,
        "turns": environment.max_turns,
        "rubric": {item.reward.name: item.weight for item in environment.rubric.rewards},
    }


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return printable(", ".join(f"{key}: {item}" for key, item in value.items()))
    return printable(value)
