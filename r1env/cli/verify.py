"""`r1env verify`: would today's rewards give a run the scores that it has?"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from r1env.cli.console import print_json
from r1env.cli.options import Json, plugins_of
from r1env.receipts import Verification
from r1env.receipts import verify as verify_run
from r1env.runs.run import Run

SHOWN = 10  # changes, of which the first are printed


def verify(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, written by `r1env train`.")],
    rollouts: Annotated[
        int,
        typer.Option(
            "--rollouts", min=0, help="Number of rollouts of each stage to score again, in whole groups; 0 means all."
        ),
    ] = 256,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the sample.")] = 0,
    as_json: Json = False,
) -> None:
    """Score a sample of a run's rollouts again, and report values that have changed.

    A run records which code computed its scores: the distribution, the version and a hash of the source code of each reward.
    Code that has changed but gives the same scores is reported and is not an error. The exit code is 1 if a score differs.

    \b
    Example:
      r1env verify runs/r1-zero-tiny-cpu-20260131-120000
      r1env verify runs/r1-zero-tiny-cpu-20260131-120000 --rollouts 0 --json
    """
    found = verify_run(Run.open(run), plugins_of(ctx), count=rollouts, seed=seed)
    if as_json:
        print_json({**asdict(found), "good": found.good})
    else:
        for line in lines_of(found):
            typer.echo(line)
    if not found.good:
        raise typer.Exit(1)


def lines_of(found: Verification) -> list[str]:
    """Return what was found, for a person."""
    lines = [f"{found.verified} rollouts scored again: {found.agreeing} agree, {found.verified - found.agreeing} do not"]
    lines += [f"{count} left out: {why}" for why, count in found.left_out.most_common()]
    for name, differing in found.code.items():
        changes = ", ".join(f"{key} was {_short(before)}, is {_short(now)}" for key, before, now in differing)
        lines.append(f"the code of the reward {name!r} has changed: {changes}")
    for what, count in Counter(change.what for change in found.changes).most_common():
        lines.append(f"{what}: differs in {count}")
    for change in found.changes[:SHOWN]:
        reason = f" ({change.reason})" if change.reason else ""
        where = f"row {change.row}, {change.stage} step {change.step}, task {change.task_id}"
        lines.append(f"  {where}: {change.what} was {_value(change.before)}, is {_value(change.now)}{reason}")
    if len(found.changes) > SHOWN:
        lines.append(f"  and {len(found.changes) - SHOWN} more; --json lists all")
    return lines


def _short(text: str | None) -> str:
    return "unknown" if text is None else text[:12] if len(text) == 64 else text  # a hash by its beginning


def _value(value: float | str | None) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else value
