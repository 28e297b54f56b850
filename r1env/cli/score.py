"""`r1env score`: the stable doorway to the rewards. JSON lines in, one line out for each, in the same order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Annotated

import typer

from r1env.cli.chunks import Chunk, Scored, chunks, score_chunk
from r1env.cli.console import progress
from r1env.cli.files import open_results, open_rows
from r1env.cli.options import options_by_reward, plugins_of
from r1env.config import parse_overrides
from r1env.errors import UsageError
from r1env.plugins import Plugins
from r1env.rewards import Reward
from r1env.rubrics import Rubric, load_rubric_spec, name_accuracy, resolve_rubric, with_options


def score(
    ctx: typer.Context,
    reward: Annotated[str | None, typer.Option("--reward", metavar="NAME", help="One reward, or module:attribute.")] = None,
    rubric: Annotated[
        str | None, typer.Option("--rubric", metavar="NAME|FILE", help="A rubric instead: a preset or a YAML file.")
    ] = None,
    accuracy: Annotated[
        str, typer.Option("--accuracy", metavar="REWARD", help="What the rubric's `accuracy` stands for.")
    ] = "math",
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Option of the reward; with --rubric REWARD.KEY=VALUE. Repeatable."),
    ] = None,
    input_: Annotated[str, typer.Option("--input", metavar="FILE", help="JSON lines to score; - is stdin.")] = "-",
    output: Annotated[str, typer.Option("--output", metavar="FILE", help="Where the scores go; - is stdout.")] = "-",
    on_ray: Annotated[bool, typer.Option("--ray", help="Score on a Ray cluster, see docs/scaling.md.")] = False,
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", metavar="ADDRESS", help="Of the cluster; the default finds one, or starts one here."),
    ] = None,
) -> None:
    """Score completions that are already there.

    Files are JSON lines, or Parquet where their name ends in .parquet; they are streamed and may be larger than memory.

    Every input line is an object with a `completion`, and with `id`, `prompt`, `answer`, `tests`, `language`, `kind` where the
    reward needs them; other fields go to the task's metadata. Every output line has `id`, `value` (null when it could not be
    scored), `parts`, `status`, `reason` and `seconds`. A malformed line gets the status `error`, the rest are scored, and the
    exit code is 1.

    \b
    Example:
      r1env score --reward math --input in.jsonl --output out.jsonl
      r1env score --rubric zero --accuracy math < in.jsonl
      r1env score --reward math --input in.parquet --output out.parquet --ray --ray-address auto
    """
    scorer = _scorer(plugins_of(ctx), reward, rubric, accuracy, option)
    if ray_address is not None and not on_ray:
        raise UsageError("--ray-address needs --ray")
    statuses: Counter[str] = Counter()
    malformed = 0
    with ExitStack() as stack:
        lines, total = open_rows(stack, input_)
        write = open_results(stack, output, input_)
        advance = stack.enter_context(progress("scoring", unit=False))
        bytes_done = 0
        for scored in _scored(stack, chunks(lines), scorer, ray_address, on_ray=on_ray):
            malformed += scored.malformed
            statuses.update(scored.unscored)
            write(scored.rows)
            bytes_done += scored.size
            advance(bytes_done, max(total, bytes_done))
    if statuses:
        typer.echo("no score for " + ", ".join(f"{count} ({status})" for status, count in statuses.most_common()), err=True)
    if malformed:
        told = "1 malformed line; it has" if malformed == 1 else f"{malformed} malformed lines; each has"
        typer.echo(f"error: {told} status 'error' and the reason in the output", err=True)
        raise typer.Exit(1)


def _scorer(
    plugins: Plugins, reward: str | None, rubric: str | None, accuracy: str, options: list[str] | None
) -> Reward | Rubric:
    """What scores.

    Raises:
        UsageError: neither or both given, an unknown name, an unknown option.
    """
    if (reward is None) == (rubric is None):
        raise UsageError("give one of --reward NAME and --rubric NAME_OR_FILE")
    if reward is not None:
        return plugins.reward(reward, **parse_overrides(options or []))
    spec = with_options(load_rubric_spec(str(rubric)), options_by_reward(options))
    return resolve_rubric(name_accuracy(spec, accuracy), plugins.reward)


def _scored(
    stack: ExitStack, numbered: Iterator[Chunk], scorer: Reward | Rubric, address: str | None, *, on_ray: bool
) -> Iterator[Scored]:
    """Every chunk once and in order, scored here or on the cluster."""
    if not on_ray:
        return (score_chunk(chunk, scorer) for chunk in numbered)
    from r1env.cli.cluster import connected, score_on_cluster  # ray is an extra

    stack.enter_context(connected(address))
    return score_on_cluster(numbered, scorer)
