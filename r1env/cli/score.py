"""`r1env score`: the stable doorway to the rewards. JSON lines in, one line out for each, in the same order."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated, Any, BinaryIO

import typer

from r1env.cli.console import progress
from r1env.cli.options import options_by_reward, plugins_of
from r1env.cli.rows import MalformedRowError, malformed_result, parse_row, scored_result
from r1env.config import parse_overrides
from r1env.errors import UsageError
from r1env.plugins import Plugins
from r1env.rewards import Reward
from r1env.rollouts import Rollout
from r1env.rubrics import Rubric, load_rubric_spec, name_accuracy, resolve_rubric, with_options
from r1env.runs.jsonable import to_json
from r1env.scores import Score
from r1env.scoring import score as score_rollouts

CHUNK_LINES = 512  # scored in one call: enough to keep the workers busy
CHUNK_BYTES = 8 << 20  # … unless the lines are long: bounds the memory whatever the file


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
) -> None:
    """Score completions that are already there.

    Every input line is an object with a `completion`, and with `id`, `prompt`, `answer`, `tests`, `language`, `kind` where the
    reward needs them; other fields go to the task's metadata. Every output line has `id`, `value` (null when it could not be
    scored), `parts`, `status`, `reason` and `seconds`. A malformed line gets the status `error`, the rest are scored, and the
    exit code is 1.

    \b
    Example:
      r1env score --reward math --input in.jsonl --output out.jsonl
      r1env score --rubric zero --accuracy math < in.jsonl
    """
    scorer = _scorer(plugins_of(ctx), reward, rubric, accuracy, option)
    statuses: Counter[str] = Counter()
    malformed = 0
    with ExitStack() as stack:
        source, total = _open_input(stack, input_)
        sink = _open_output(stack, output, input_)
        advance = stack.enter_context(progress("scoring", unit=False))
        bytes_done = 0
        for chunk in _chunks(source):
            results = list(_score_chunk(chunk, scorer))
            malformed += sum(bad for _, bad in results)
            statuses.update(row["status"] for row, bad in results if row["value"] is None and not bad)
            sink.write("".join(to_json(row) + "\n" for row, _ in results))
            sink.flush()
            bytes_done += sum(len(line) for _, line in chunk)
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


def _chunks(source: BinaryIO) -> Iterator[list[tuple[int, bytes]]]:
    """Numbered lines, gathered until there are enough of them or of their bytes."""
    chunk: list[tuple[int, bytes]] = []
    size = 0
    for number, line in enumerate(source, start=1):
        chunk.append((number, line))
        size += len(line)
        if len(chunk) >= CHUNK_LINES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _score_chunk(chunk: Iterable[tuple[int, bytes]], scorer: Reward | Rubric) -> Iterator[tuple[dict[str, Any], bool]]:
    """(output row, whether its line was malformed), in order."""
    parsed: list[tuple[str | int | None, Rollout] | MalformedRowError] = []
    for number, line in chunk:
        try:
            parsed.append(parse_row(line, number))
        except MalformedRowError as error:
            parsed.append(error)
    good = [item[1] for item in parsed if not isinstance(item, MalformedRowError)]
    scores: Iterator[Score] = iter(score_rollouts(good, scorer) if good else ())
    for item in parsed:
        if isinstance(item, MalformedRowError):
            yield malformed_result(item), True
        else:
            yield scored_result(item[0], next(scores)), False


def _open_input(stack: ExitStack, name: str) -> tuple[BinaryIO, int]:
    """The lines, and their size in bytes (0 where it is not known)."""
    if name == "-":
        return sys.stdin.buffer, 0
    try:
        path = Path(name)
        return stack.enter_context(path.open("rb")), path.stat().st_size
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from error


def _open_output(stack: ExitStack, name: str, input_name: str) -> IO[str]:
    if name == "-":
        return sys.stdout
    path = Path(name)
    if input_name != "-" and path.exists() and path.samefile(input_name):
        raise UsageError(f"--output {name} is the input file itself; name another")
    try:
        return stack.enter_context(path.open("w", encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot write {name}: {error.strerror}") from error
