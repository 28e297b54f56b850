"""`r1env score`: the stable doorway to the rewards. JSON lines in, one line out for each, in the same order."""

from __future__ import annotations

import functools
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import cloudpickle
import typer

from r1env.adapters.core import load_rubric, rubric_spec
from r1env.adapters.export import render, write_rows
from r1env.cli.console import progress
from r1env.cli.options import Data, EnvName, Map, open_environment, options_by_reward, plugins_of
from r1env.cli.rows import Chunk, Scored, chunks, has_groups, open_results, open_rows, score_chunk
from r1env.config import parse_overrides
from r1env.errors import UsageError
from r1env.importing import absolute_reference
from r1env.plugins import Plugins
from r1env.rewards import Reward
from r1env.rubrics import Rubric, RubricSpec, find_rubric, name_accuracy, resolve_rubric, with_options
from r1env.scoring import ScoringPool


def score(
    ctx: typer.Context,
    reward: Annotated[
        str | None, typer.Option("--reward", metavar="NAME", help="Reward: a name, module:attribute or file.py:attribute.")
    ] = None,
    rubric: Annotated[
        str | None, typer.Option("--rubric", metavar="NAME|FILE", help="Rubric instead of a reward: a preset or a YAML file.")
    ] = None,
    accuracy: Annotated[
        str, typer.Option("--accuracy", metavar="REWARD", help="Reward that the rubric's `accuracy` stands for.")
    ] = "math",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", metavar="KEY=VALUE", help="Option of the reward; with --rubric, REWARD.KEY=VALUE. Repeatable."
        ),
    ] = None,
    input_: Annotated[str, typer.Option("--input", metavar="FILE", help="JSON Lines to score; - is stdin.")] = "-",
    output: Annotated[str, typer.Option("--output", metavar="FILE", help="File for the scores; - is stdout.")] = "-",
    on_ray: Annotated[bool, typer.Option("--ray", help="Score on a Ray cluster (see docs/scaling.md).")] = False,
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", metavar="ADDRESS", help="Address of the cluster. Default: find one, or start one here."),
    ] = None,
) -> None:
    """Score existing completions.

    Files are JSON lines, or Parquet where their name ends in .parquet; they are streamed and may be larger than memory.

    Every input line is an object with a `completion`, and with `id`, `prompt`, `answer`, `tests`, `language`, `kind` where the
    reward needs them; other fields go to the task's metadata. Every output line has `id`, `value` (null when it could not be
    scored), `parts`, `status`, `reason` and `seconds`. A malformed line gets the status `error`, the rest are scored, and the
    exit code is 1.

    A reward of scope group gets all rows with one id (and the same prompt and answer) together; for its sake the whole input is
    read before scoring starts.

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
        for scored in _scored(stack, chunks(lines, whole=has_groups(scorer)), scorer, ray_address, on_ray=on_ray):
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
    spec = with_options(find_rubric(str(rubric), plugins), options_by_reward(options))
    return resolve_rubric(name_accuracy(spec, accuracy), plugins.reward)


def _scored(
    stack: ExitStack, numbered: Iterator[Chunk], scorer: Reward | Rubric, address: str | None, *, on_ray: bool
) -> Iterator[Scored]:
    """Every chunk once and in order, scored here or on the cluster."""
    if not on_ray:
        return (score_chunk(chunk, scorer) for chunk in numbered)
    # ray is an extra

    stack.enter_context(connected(address))
    return score_on_cluster(numbered, scorer)


# `r1env score --ray`: chunks of lines are scored by the nodes of a Ray cluster, and come back in order.
#
# Lines travel to the nodes and results back, so a node needs nothing but r1env and the plugins; no file system is shared. A chunk is a
# task without side effects: what a lost node was scoring is scored again elsewhere, and each chunk is handed on once, by this process alone.
# So every row is written exactly once. At most `AHEAD` chunks for each processor are under way, whatever the file's size.

AHEAD = 2
"""Chunks under way for each processor: one is scored, one waits."""
RETRIES = 5
"""A chunk that loses this many nodes may be what loses them."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A connection to the cluster at `address`; None takes the one of RAY_ADDRESS, or starts one on this machine.

    Raises:
        UsageError: Ray is not installed, or no cluster is there.
    """
    ray = _ray()
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level="WARNING")
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"at {address!r}" if address else "here"
        raise UsageError(f"no Ray cluster could be reached {where}: {str(error).splitlines()[0]}") from error
    try:
        yield
    finally:
        ray.shutdown()


def score_on_cluster(chunks: Iterable[Chunk], scorer: Reward | Rubric) -> Iterator[Scored]:
    """Every chunk, scored, in the order given. Inside `connected`.

    Raises:
        UsageError: the reward cannot be loaded on the nodes, or a chunk lost `RETRIES` nodes.
    """
    ray = _ray()
    packed = ray.put(cloudpickle.dumps(scorer))
    task = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(_score_here)
    under_way: deque[Any] = deque()
    try:
        for chunk in chunks:
            while len(under_way) >= AHEAD * _processors(ray):
                yield _result(ray, under_way.popleft())
            under_way.append(task.remote(chunk, packed))
        while under_way:
            yield _result(ray, under_way.popleft())
    finally:
        for left in under_way:  # after Ctrl-C: what nobody waits for
            ray.cancel(left, force=True)


def _score_here(chunk: Chunk, packed: bytes) -> Scored:
    """On a node. A processor of Ray's is a scoring worker."""
    return score_chunk(chunk, _unpacked(packed), _pool())


@functools.lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Reward | Rubric:
    return cast(Reward | Rubric, cloudpickle.loads(packed))


@functools.cache
def _pool() -> ScoringPool:
    return ScoringPool(workers=1)


def _result(ray: Any, reference: Any) -> Scored:
    try:
        return cast(Scored, ray.get(reference))
    except ray.exceptions.RayError as error:
        cause = str(getattr(error, "cause", None) or error).strip().splitlines()
        raise UsageError(f"the cluster cannot score: {cause[-1] if cause else type(error).__name__}") from error


def _processors(ray: Any) -> int:
    """Of the cluster as it is now; nodes may join and leave."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UsageError("--ray needs Ray: pip install 'r1env[ray]'") from error
    return ray


# `r1env export`: the reward file for another stack's command line.


def export(
    ctx: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="STACK", help="Library to export for: trl, verl or openrlhf.")],
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Python file to write.")],
    rubric: Annotated[
        str, typer.Option("--rubric", metavar="NAME|FILE", help="Rubric: a preset, a YAML file or a single reward.")
    ] = "zero",
    accuracy: Annotated[
        str | None,
        typer.Option(
            "--accuracy",
            metavar="REWARD",
            help="Reward that the rubric's `accuracy` stands for. Default: that of --data, or math.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="REWARD.KEY=VALUE", help="Option of a reward. Repeatable.")
    ] = None,
    data: Data = None,
    columns: Map = None,
    env: EnvName = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows", metavar="FILE", help="Also write the tasks of --data or --env for the stack: .jsonl or .parquet."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Export rewards as a Python file that TRL, verl or OpenRLHF loads.

    The file holds the rubric as plain data, and the flags that make the stack use it in its first lines. With --rows, the tasks of --data or
    --env become a data set of the stack, whose rows bring everything that a reward may need.

    \b
    Example:
      r1env export --to openrlhf --rubric zero --output reward.py
      r1env export --to verl --rubric mine.yaml --accuracy math --output reward.py
      r1env export --to verl --data problems.jsonl --map question=q,answer=a --rows train.parquet --output reward.py
    """
    plugins = plugins_of(ctx)
    if (rows is None) is not (data is None and env is None):
        raise UsageError("--rows FILE is where the tasks of --data or --env are written; give both, or neither")
    environment = None if rows is None else open_environment(plugins, env, None, data, columns)
    accuracy = accuracy or (environment.accuracy if environment else "") or "math"
    spec = name_accuracy(with_options(rubric_spec(rubric, plugins), options_by_reward(option)), accuracy)
    if not isinstance(spec, RubricSpec):
        raise UsageError(f"the rubric {rubric!r} holds reward objects, and the file must name them; give a rubric of names")
    # The stack may load the file in another folder.
    absolute = (choice.model_copy(update={"reward": absolute_reference(choice.reward)}) for choice in spec.rewards)
    spec = spec.model_copy(update={"rewards": tuple(absolute)})
    loaded = load_rubric(spec, plugins=plugins)
    text = render(to, spec, path=output, parts=loaded.part_keys)
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{output} exists; add --force to overwrite it") from error
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error
    typer.echo(f"{output}: its first lines say how to use it")
    if environment is not None and rows is not None:
        typer.echo(f"{rows}: {write_rows(to, environment, rows):,} rows")
