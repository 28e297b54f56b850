"""`r1env audit`: attack a reward and report what it fell for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from r1env.adapters.core import task_of
from r1env.audit import SAMPLE_TASKS, AttackResult, AuditReport, FindingKind, audit
from r1env.audit.corpus import varied
from r1env.audit.environment import audit_environment
from r1env.audit.report import excerpt
from r1env.audit.run import SECONDS
from r1env.cli.console import print_json, print_table, progress
from r1env.cli.options import Json, Map, names_of, plugins_of
from r1env.config import parse_overrides
from r1env.data.layouts import example_of, mapped
from r1env.data.rows import FIELDS, ColumnMap, read_rows
from r1env.data.tasks import task_of_example
from r1env.envs.environment import Environment, make_environment
from r1env.errors import UsageError
from r1env.plugins import Plugins
from r1env.rewards import Reward
from r1env.runs.files import replace_text, to_json
from r1env.types import Task

MAX_ROWS = 1_000
"""Rows read from a file; a few with different answers are used."""

MAX_OWN_TASKS = 5
"""Tasks used from --data or --env. They are all of one kind, so more would only repeat the attacks."""


def audit_command(
    ctx: typer.Context,
    reward: Annotated[
        str | None,
        typer.Option(
            "--reward",
            metavar="NAME",
            autocompletion=names_of("rewards"),
            help="Reward to audit: a name, module:attribute or file.py:attribute. Without it, --env itself is audited.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="SOURCE", help="Rows with a reference, or with a `completion` that is known to be correct."
        ),
    ] = None,
    columns: Map = None,
    env: Annotated[
        str | None,
        typer.Option(
            "--env",
            metavar="ENV",
            autocompletion=names_of("environments"),
            help="Use the tasks of this environment (see `r1env envs`).",
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the reward. Repeatable.")
    ] = None,
    attack: Annotated[
        list[str] | None, typer.Option("--attack", metavar="NAME", help="Run only this attack. Repeatable.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=1.0, help="Time limit for all attacks, in seconds.")] = SECONDS,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Also write the report to this file, as JSON.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find wrong completions that a reward pays for.

    Look for wrong completions that get as much reward as right ones, for texts on which the reward raises, hangs or takes more
    than linear time, and for scores that change. The reward runs in a worker, which is killed if it hangs.

    The tasks are a fixed corpus that is part of r1env, so the result does not depend on what else is installed. For a reward
    that needs other tasks, use --data or --env. The report names the tasks that were used.

    With --env and without --reward, the environment is audited: for each of its first 20 tasks, the solution must get a reward
    of 1, and doing nothing must get less.

    The exit code is 0 if nothing was found, 1 if something was found or the time ran out, and 2 for wrong usage or if nothing
    could be scored.

    \b
    Example:
      r1env audit --reward math
      r1env audit --reward countdown --env countdown-3
      r1env audit --env guess-number
      r1env audit --reward my_rewards:short --data tasks.jsonl --output audit.json
    """
    plugins = plugins_of(ctx)
    if reward is None:
        if env is None or data is not None or option or attack:
            raise UsageError("say what to audit: --reward NAME, or --env ENV alone for an environment")
        _audit_environment(plugins, env, output, as_json=as_json)
        return
    chosen = plugins.reward(reward, **parse_overrides(option or []))
    if data is not None and env is not None:
        raise UsageError("--data and --env both name tasks; give one of them")
    tasks: Sequence[Task] = SAMPLE_TASKS
    right: Mapping[str, str] = {}
    if data is not None:
        tasks, right = read_tasks(data, columns, chosen)
        tasks = varied(tasks, MAX_OWN_TASKS)
    elif env is not None:
        tasks = tasks_of(make_environment(env, plugins=plugins))
    with progress(f"attacking {chosen.name}") as advance:
        report = audit(chosen, tasks, right=right, only=attack or (), seconds=seconds, advance=advance)
    _write(output, report.model_dump(mode="json"))
    if as_json:
        print_json(report.model_dump(mode="json"))
    if report.scored == 0 and all(finding.kind is FindingKind.RAISED for finding in report.findings):
        raise UsageError(f"reward {chosen.name!r}: {report.notes[-1]} (--data FILE, --env ENV, --option KEY=VALUE)")
    if not as_json:
        _print(report)
    if not report.clean:
        raise typer.Exit(1)


def _audit_environment(plugins: Plugins, name: str, output: Path | None, *, as_json: bool) -> None:
    spec = plugins.environment(name)
    options = {} if spec.fixture is None else dict(spec.fixture.options)
    found = audit_environment(make_environment(name, plugins=plugins, **options), fixture=spec.fixture)
    _write(output, found.as_json())
    if as_json:
        print_json(found.as_json())
    else:
        known = len(found.tasks) - found.without_solution
        typer.echo(
            f"environment {found.environment}: {len(found.tasks)} tasks, {found.solved} of {known} solutions paid in full"
        )
        if found.without_solution:
            typer.echo(f"note: no solution is known for {found.without_solution} tasks, so only doing nothing was tried")
        for task in found.tasks:
            if task.fault:
                typer.echo(f"  {task.task}: {task.fault}")
        if found.clean:
            typer.echo("nothing found")
    if not found.clean:
        raise typer.Exit(1)


def _write(output: Path | None, report: Mapping[str, object]) -> None:
    if output is None:
        return
    try:
        replace_text(output, to_json(report, indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error


def read_tasks(
    source: str, columns: list[str] | None = None, reward: Reward | None = None
) -> tuple[list[Task], dict[str, str]]:
    """Return the tasks of a file, and the completions that come with them, by task id.

    Rows are read as those of environments are; a question may be missing, for most rewards do not look at it.

    Args:
        columns: what the columns are, as --map has it.
        reward: reads the final answer out of a reference that is a worked solution.

    Raises:
        UsageError: the file cannot be read or has no rows, or a row is malformed.
    """
    tasks: list[Task] = []
    right: dict[str, str] = {}
    layout = mapped(ColumnMap.parse(columns)) if columns else None
    for row in islice(read_rows(source), MAX_ROWS):
        has_question = layout is not None or any(name in row for name in FIELDS["question"])
        if has_question:
            example = example_of(row, layout)
            identity = row.get("id", example.id or row.number)
            task = task_of_example(example, str(identity), None if reward is None else reward.read_reference)
        else:
            task = task_of("", row)
        tasks.append(task)
        if isinstance(row.get("completion"), str):
            right.setdefault(task.id, row["completion"])
    return tasks, right


def tasks_of(environment: Environment) -> tuple[Task, ...]:
    """Return the first tasks of an environment."""
    count = MAX_OWN_TASKS if environment.source.size is None else min(MAX_OWN_TASKS, environment.source.size)
    return tuple(environment.task(index) for index in range(count))


def _print(report: AuditReport) -> None:
    plural = "" if len(report.tasks) == 1 else "s"
    typer.echo(f"reward {report.reward}: {report.items} completions, {report.seconds:.1f} s")
    typer.echo(f"{len(report.tasks)} task{plural}: {', '.join(report.tasks)}")
    if report.right:
        typer.echo("pays right answers as: " + ", ".join(f"{name} ({count})" for name, count in report.right.items()))
    shown = [
        result for result in report.attacks if result.tried or not report.complete
    ]  # the notes say why the others were not tried
    print_table(("attack", "tried", "found", "for example"), map(_row, shown))
    for note in report.notes:
        typer.echo(f"note: {note}")
    if report.clean:
        typer.echo("nothing found")
    elif report.findings:
        kinds = Counter(finding.kind.value for finding in report.findings)
        broken = [result for result in report.attacks if result.findings]
        promises = "1 promise is" if len(broken) == 1 else f"{len(broken)} promises are"
        typer.echo(f"{promises} broken ({', '.join(kinds)}):")
        for result in broken:
            typer.echo(f"  {result.attack}: {result.promise}")
    else:
        typer.echo("nothing found, but not everything was tried; give it more --seconds")


def _row(result: AttackResult) -> tuple[str, str, str, str]:
    if not result.findings:
        verdict = f"skipped: {result.skipped}" if result.skipped else ""
        return result.attack, str(result.tried or "–"), "–", verdict
    first = result.findings[0]
    why = first.reason if first.value is None or first.right is None else f"paid {first.value:g}, a right one {first.right:g}"
    return (
        result.attack,
        str(result.tried),
        str(result.found),
        f"{first.kind.value}: {excerpt(first.completion, 80)!r} ({why})",
    )
