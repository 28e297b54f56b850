"""`r1env envs` and `r1env show`: which environments there are, and what a task of one looks like."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from r1env.cli.console import print_json, print_table, printable, stdout_console
from r1env.cli.options import Data, EnvOptions, Json, RubricName, Template, open_environment, plugins_of
from r1env.envs.environment import Environment
from r1env.types import Task


def envs(ctx: typer.Context, as_json: Json = False) -> None:
    """List the environments.

    \b
    Example:
      r1env envs
    """
    provided = plugins_of(ctx).provided("environments")
    rows = [
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
    if as_json:
        print_json(rows)
        return
    columns = ("name", "kind", "reward", "turns", "requires", "summary", "provided by")
    print_table(columns, ([row[column] for column in columns] for row in rows))


def show(
    ctx: typer.Context,
    env: Annotated[str, typer.Argument(metavar="ENV", help="Environment (see `r1env envs`).")],
    index: Annotated[int, typer.Option("--index", min=0, help="Index of the task.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the tasks.")] = 0,
    env_options: EnvOptions = None,
    data: Data = None,
    template: Template = None,
    rubric: RubricName = "accuracy",
    as_json: Json = False,
) -> None:
    """Show a task of an environment: the prompt as the model sees it, the answer, and how answers are scored.

    \b
    Example:
      r1env show sort-4 --index 3 --rubric zero
      r1env show gsm8k -o data=gsm8k_test.jsonl
    """
    environment = open_environment(plugins_of(ctx), env, env_options, data, template=template, rubric=rubric)
    task = environment.task(index, seed)
    shown = _described(environment, task)
    if as_json:
        print_json(shown)
        return
    console = stdout_console()
    for heading in ("environment", "task", "kind", "language", "answer", "tests", "metadata", "template", "turns", "rubric"):
        if shown[heading] not in (None, "", [], {}):
            console.print(Text(f"{heading:<12}", "bold") + Text(_text(shown[heading])))
    for message in shown["prompt"]:
        console.print(Text(f"\n{message['role']}", "bold"))
        console.print(Text(printable(message["content"])))


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
