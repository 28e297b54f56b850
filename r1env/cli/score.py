"""`r1env score`: score existing completions, one row out for each row in, in the same order. Also `r1env export`."""

from __future__ import annotations

import functools
import heapq
import re
import sys
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, cast

import cloudpickle
import typer

from r1env.adapters.core import load_rubric, rubric_spec
from r1env.adapters.export import render, write_rows
from r1env.cli.console import printable, progress
from r1env.cli.options import (
    Data,
    EnvName,
    EnvOptions,
    Map,
    RewardName,
    names_of,
    open_environment,
    options_by_reward,
    plugins_of,
)
from r1env.cli.rows import (
    PLAIN,
    Chunk,
    Input,
    Output,
    RowFormat,
    Scored,
    chunks,
    group_chunks,
    has_groups,
    id_of,
    recognised_format,
    score_chunk,
)
from r1env.config import parse_overrides
from r1env.data.rows import ColumnMap, describe_columns
from r1env.errors import UsageError
from r1env.importing import absolute_reference
from r1env.plugins import Plugins
from r1env.rewards import Reward
from r1env.rubrics import Rubric, RubricSpec, WeightedReward, find_rubric, name_accuracy, resolve_rubric, with_options
from r1env.scoring import ScoringPool
from r1env.types import FAILURES, Status


def score(
    ctx: typer.Context,
    reward: RewardName = None,
    rubric: Annotated[
        str | None,
        typer.Option(
            "--rubric",
            metavar="NAME|FILE",
            autocompletion=names_of("rubrics"),
            help="Rubric instead of a reward: a preset or a YAML file.",
        ),
    ] = None,
    accuracy: Annotated[
        str, typer.Option("--accuracy", metavar="REWARD", help="Reward to use for `accuracy` in the rubric.")
    ] = "math",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", metavar="KEY=VALUE", help="Option of the reward; with --rubric, REWARD.KEY=VALUE. Repeatable."
        ),
    ] = None,
    input_: Annotated[
        str,
        typer.Option(
            "--input", metavar="SOURCE", help="Rows to score: a file, a folder, hub:owner/name; - is JSON Lines on stdin."
        ),
    ] = "-",
    output: Annotated[
        str, typer.Option("--output", metavar="FILE", help="File for the scores: JSON Lines, .csv or .parquet; - is stdout.")
    ] = "-",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help="What the columns are, such as question=problem,answer=reward_model.ground_truth,completion=response. Repeatable.",
        ),
    ] = None,
    carry: Annotated[bool, typer.Option("--carry/--no-carry", help="Write the columns of the input beside the scores.")] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the FILE.partial of a run that was killed; each row is written once.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Do not stop when the first 100 rows all fail for one reason.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say on stderr, in words, why the first 20 rows have the scores that they have.")
    ] = False,
    on_ray: Annotated[bool, typer.Option("--ray", help="Score on a Ray cluster (see docs/scaling.md).")] = False,
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", metavar="ADDRESS", help="Address of the cluster. Default: find one, or start one here."),
    ] = None,
) -> None:
    """Score existing completions.

    The input can be JSON Lines, JSON, CSV, Parquet, a folder or a dataset on the hub. It is streamed and can be larger than
    memory. Rows from a pipe are scored as they arrive.

    Every row has a `completion`, and, if the reward needs them, `id`, `prompt`, `answer`, `tests`, `language` and `kind`. Other
    columns become metadata of the task. If the columns have other names, use --map; the columns of known datasets are
    recognized. Every output row has `id`, `value` (null if the row could not be scored), `parts`, `status`, `reason` and
    `seconds`, and the columns of the input. A malformed row gets the status `error`; the other rows are scored, and the exit
    code is 1. A summary is printed to stderr.

    The output file is named FILE.partial until it is complete.

    A reward with scope group gets all rows with the same id, prompt and answer together. Because these rows can be anywhere in
    the input, all of it is read before scoring starts.

    \b
    Example:
      r1env score --reward math --input in.jsonl --output out.jsonl
      r1env score --reward math --input run.parquet --map answer=reward_model.ground_truth,completion=response
      r1env score --rubric zero --accuracy math < in.jsonl
      r1env score --reward math --input in.jsonl --explain --output out.jsonl
      r1env score --reward math --input in.parquet --output out.parquet --ray --ray-address auto
    """
    scorer = _scorer(plugins_of(ctx), reward, rubric, accuracy, option)
    if ray_address is not None and not on_ray:
        raise UsageError("--ray-address needs --ray")
    mapping = str(ColumnMap.parse(columns)) if columns else ""
    with ExitStack() as stack:
        rows = Input(stack, input_)
        form = recognised_format(rows.first, mapping, carry=carry)
        if form.layout:
            typer.echo(f"reading {'the input' if input_ == '-' else input_} as {form.layout} rows", err=True)
        sink = Output(output, input_, resume=resume)
        stack.callback(sink.close)
        stack.enter_context(redirect_stdout(sys.stderr))  # what a reward prints is no row of the output
        if has_groups(scorer):
            arriving = group_chunks(chain(_written(rows.lines, sink), rows.lines), scorer, form, done=sink.done)
            if sink.extends:
                arriving = _without_new_members(arriving, sink)
        else:
            deque(_written(rows.lines, sink), maxlen=0)
            arriving = chunks(rows.lines, start=sink.done)
        tally = Tally(sink.done)
        advance = stack.enter_context(progress("scoring", unit=False))
        bytes_done = 0
        for scored in _scored(stack, arriving, scorer, ray_address, form, on_ray=on_ray):
            new = scored.after(sink.done)
            sink.write(new.rows)
            if explain:
                for number, row in enumerate(new.rows[: max(0, EXPLAINED - tally.rows)], start=tally.rows + 1):
                    typer.echo("\n".join(explanation(row, scorer, number)), err=True)
            tally.add(new)
            if not keep_going and (reason := tally.only_failure):
                sink.abandon()
                raise UsageError(_all_failed(reason, rows.first))
            bytes_done += scored.size
            advance(bytes_done, max(rows.size, bytes_done))
        sink.finish()
    for line in tally.summary():
        typer.echo(line, err=True)
    if tally.malformed:
        which = "1 malformed line; it has" if tally.malformed == 1 else f"{tally.malformed} malformed lines; each has"
        typer.echo(f"error: {which} status 'error' and the reason in the output", err=True)
        raise typer.Exit(1)


def _written(lines: Iterator[bytes], sink: Output) -> Iterator[bytes]:
    """Yield the lines that a resumed output has already.

    Raises:
        UsageError: the output has more rows than the input, or its last row is of another id.
    """
    line = b""
    for number in range(1, sink.done + 1):
        line = next(filter(None, lines), b"")
        if not line:
            raise UsageError(
                f"--resume: the output has {sink.done:,} rows, and the input has {number - 1:,}; it is of another input"
            )
        yield line
    if sink.done and sink.last is not None and (here := id_of(line)) is not None and str(here) != str(sink.last.get("id")):
        raise UsageError(
            f"--resume: row {sink.done:,} of the output has the id {sink.last.get('id')!r}, and row {sink.done:,} of the input {here!r}; "
            "it is of another input"
        )


def _without_new_members(arriving: Iterator[Chunk], sink: Output) -> Iterator[Chunk]:
    """Yield the chunks of a complete output's new rows.

    Raises:
        UsageError: one of them belongs to a task that is scored already: its other rows would need new scores.
    """
    for chunk in arriving:
        if chunk[0][0] <= sink.done:
            sink.abandon()
            raise UsageError(
                f"--resume: the input has new rows of tasks that are among the {sink.done:,} rows of the output, and this reward scores "
                "all rows of a task together; score the whole input again, without --resume"
            )
        yield chunk


EXPLAINED = 20
"""Rows that `--explain` explains: more than that nobody reads."""

IN_WORDS: Mapping[Status, str] = {
    Status.OK: "it was scored, and earned something",
    Status.WRONG: "it was scored, and earned nothing",
    Status.NO_ANSWER: "there was nothing to judge: no answer, or nothing that this reward looks at",
    Status.BAD_FORMAT: "it breaks the format that the reward requires",
    Status.UNPARSEABLE: "an answer, the model's or the reference, could not be read",
    Status.TIMEOUT: "scoring took too long; that says nothing about the response",
    Status.LIMIT: "scoring took too much memory, or the response is too large to be scored",
    Status.ERROR: "scoring failed; that says nothing about the response",
}


def explanation(row: Mapping[str, Any], scorer: Reward | Rubric, number: int) -> list[str]:
    """Return why a row has its score, in words: the sum with its weights, what the status means, and the rewards' own reasons.

    Args:
        row: as it is written.
        number: of the row, from 1.

    Example:
        >>> from r1env.plugins import installed
        >>> row = {"id": 7, "value": 1.0, "parts": {"math": 1.0}, "status": "ok", "reason": "the same number"}
        >>> explanation(row, installed().reward("math"), 1)
        ['row 1 (id 7): 1, status ok: it was scored, and earned something', '  math 1', '  because: the same number']
    """
    value = "no score" if row["value"] is None else f"{row['value']:g}"
    lines = [f"row {number:,} (id {printable(row['id'])}): {value}, status {row['status']}: {IN_WORDS[Status(row['status'])]}"]
    weighted = scorer.rewards if isinstance(scorer, Rubric) else [WeightedReward(scorer)]
    for item in weighted:
        for key in item.reward.part_keys:
            part = row["parts"].get(key)
            shown = "no value" if part is None else f"{part:g}"
            if not isinstance(scorer, Rubric):
                lines.append(f"  {key} {shown}")
            elif item.weight == 0:
                lines.append(f"  {key} {shown}, which is measured and does not count")
            else:
                paid = "" if part is None else f" = {item.weight * part:g}"
                lines.append(f"  {key} {shown}, times its weight {item.weight:g}{paid}")
    if row["reason"]:
        lines.append(f"  because: {printable(row['reason'])}")
    return lines


ALL_FAIL = 100
"""Rows that fail for one reason, with none scored before them, before the command stops."""

SLOWEST = 3


class Tally:
    """Counts of what became of the rows, for the summary and for stopping early.

    Attributes:
        malformed: rows that could not be read.
    """

    def __init__(self, done: int = 0) -> None:
        self.malformed = 0
        self._done = done
        self._rows = 0
        self._sum = 0.0
        self._statuses: Counter[str] = Counter()
        self._unscored: Counter[str] = Counter()
        self._seconds = array("d")
        self._slowest: list[tuple[float, int, str]] = []
        self._failures: Counter[str] = Counter()

    def add(self, scored: Scored) -> None:
        """Count these rows."""
        for place, row in enumerate(scored.rows):
            self._rows += 1
            self._statuses[row["status"]] += 1
            self._sum += row["value"] or 0.0
            self._seconds.append(row["seconds"])
            heapq.heappush(self._slowest, (row["seconds"], self._done + self._rows, repr(row["id"])))
            if len(self._slowest) > SLOWEST:
                heapq.heappop(self._slowest)
            if place in scored.malformed:
                self.malformed += 1
            elif row["value"] is None:
                self._unscored[row["status"]] += 1
            if self._rows <= ALL_FAIL and row["value"] is None and row["status"] in FAILURES:
                self._failures[re.sub(r"^line \d+: ", "", row["reason"])] += 1

    @property
    def rows(self) -> int:
        """How many rows there were so far."""
        return self._rows

    @property
    def only_failure(self) -> str:
        """The reason for which all rows have failed, once there are `ALL_FAIL` of them; empty otherwise."""
        ((reason, count),) = self._failures.most_common(1) or [("", 0)]
        return reason if count == ALL_FAIL else ""

    def summary(self) -> Iterator[str]:
        """Yield the lines that are printed at the end."""
        if self._unscored:
            yield "no score for " + ", ".join(f"{count} ({status})" for status, count in self._unscored.most_common())
        if self._failures:
            ((reason, count),) = self._failures.most_common(1)
            yield f"most frequent reason ({count} of the first {min(self._rows, ALL_FAIL)} rows): {printable(reason)}"
        if not self._rows:
            return
        values = self._rows - sum(self._unscored.values()) - self.malformed
        mean = f"mean {self._sum / values:.4g}" if values else "no values"
        before = f" after the {self._done:,} that were there" if self._done else ""
        yield f"scored {self._rows:,} {'row' if self._rows == 1 else 'rows'}{before}: {mean}; " + ", ".join(
            f"{status} {count:,}" for status, count in self._statuses.most_common()
        )
        ordered = sorted(self._seconds)
        p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
        slowest = ", ".join(
            f"row {number:,} (id {name}) {seconds:.3f}" for seconds, number, name in sorted(self._slowest, reverse=True)
        )
        yield f"seconds: p50 {p50:.4f}, p99 {p99:.4f}; slowest: {slowest}"


def _all_failed(reason: str, first: Mapping[str, Any] | None) -> str:
    message = f"stopped: the first {ALL_FAIL} rows all failed for one reason: {reason}"
    columns = f"{describe_columns(first)}; or " if first else ""
    return f"{message}; {columns}go on with --keep-going"


def _scorer(
    plugins: Plugins, reward: str | None, rubric: str | None, accuracy: str, options: list[str] | None
) -> Reward | Rubric:
    """Return what scores.

    Raises:
        UsageError: neither or both given, an unknown name, an unknown option.
    """
    if (reward is None) == (rubric is None):
        raise UsageError("give one of --reward NAME and --rubric NAME_OR_FILE")
    if reward is not None:
        found = plugins.reward(reward, **parse_overrides(options or []))
        found.check_complete()
        return found
    spec = with_options(find_rubric(str(rubric), plugins), options_by_reward(options))
    return resolve_rubric(name_accuracy(spec, accuracy), plugins.reward)


def _scored(
    stack: ExitStack,
    numbered: Iterator[Chunk],
    scorer: Reward | Rubric,
    address: str | None,
    form: RowFormat,
    *,
    on_ray: bool,
) -> Iterator[Scored]:
    """Return every chunk once and in order, scored here or on the cluster."""
    if not on_ray:
        return (score_chunk(chunk, scorer, form=form) for chunk in numbered if chunk)
    stack.enter_context(connected(address))
    return score_on_cluster(numbered, scorer, form)


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
    """Connect to the cluster at `address`; None means the one of RAY_ADDRESS, or else a new one on this machine.

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


def score_on_cluster(chunks: Iterable[Chunk], scorer: Reward | Rubric, form: RowFormat = PLAIN) -> Iterator[Scored]:
    """Yield every chunk, scored, in the order given. To be used inside `connected`.

    An empty chunk says that the source is idle: then everything that is under way is waited for and yielded.

    Raises:
        UsageError: the reward cannot be loaded on the nodes, or a chunk lost `RETRIES` nodes.
    """
    ray = _ray()
    packed = ray.put(cloudpickle.dumps((scorer, form)))
    task = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(_score_here)
    under_way: deque[Any] = deque()
    try:
        for chunk in chunks:
            while under_way and (not chunk or len(under_way) >= AHEAD * _processors(ray)):
                yield _result(ray, under_way.popleft())
            if chunk:
                under_way.append(task.remote(chunk, packed))
        while under_way:
            yield _result(ray, under_way.popleft())
    finally:
        for left in under_way:  # after Ctrl-C: what nobody waits for
            ray.cancel(left, force=True)


def _score_here(chunk: Chunk, packed: bytes) -> Scored:
    """On a node. A processor of Ray's is a scoring worker."""
    scorer, form = _unpacked(packed)
    return score_chunk(chunk, scorer, _pool(), form)


@functools.lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> tuple[Reward | Rubric, RowFormat]:
    return cast(tuple[Reward | Rubric, RowFormat], cloudpickle.loads(packed))


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
    """Return the number of processors of the cluster as it is now; nodes may join and leave."""
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
    to: Annotated[str, typer.Option("--to", metavar="STACK", help="Stack to export for: trl, verl or openrlhf.")],
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Python file to write.")],
    rubric: Annotated[
        str,
        typer.Option(
            "--rubric",
            metavar="NAME|FILE",
            autocompletion=names_of("rubrics", "rewards"),
            help="Rubric: a preset, a YAML file or a single reward.",
        ),
    ] = "zero",
    accuracy: Annotated[
        str | None,
        typer.Option(
            "--accuracy",
            metavar="REWARD",
            help="Reward to use for `accuracy` in the rubric. Default: the one for --data, or math.",
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
    env_options: EnvOptions = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help="Number of tasks to write with --rows. Default: all; required if the source is endless."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Export rewards as a Python file that TRL, verl or OpenRLHF loads.

    The file contains the rubric as plain data; its first lines show the flags that make the stack use it. With --rows, the
    tasks of --data or --env are also written as a dataset for the stack, whose rows contain everything that a reward may need.

    \b
    Example:
      r1env export --to openrlhf --rubric zero --output reward.py
      r1env export --to verl --rubric mine.yaml --accuracy math --output reward.py
      r1env export --to verl --data problems.jsonl --map question=q,answer=a --rows train.parquet --output reward.py
      r1env export --to trl --env add-2digit --rows train.parquet --limit 1000 --output reward.py
    """
    plugins = plugins_of(ctx)
    if (rows is None) is not (data is None and env is None):
        raise UsageError("--rows FILE is where the tasks of --data or --env are written; give both, or neither")
    environment = None if rows is None else open_environment(plugins, env, env_options, data, columns)
    if environment is not None and environment.source.size is None and limit is None:
        raise UsageError(f"the tasks of {env!r} never end; say how many to write with --limit")
    accuracy = accuracy or (environment.accuracy if environment else "") or "math"
    spec = name_accuracy(with_options(rubric_spec(rubric, plugins), options_by_reward(option)), accuracy)
    if not isinstance(spec, RubricSpec):
        raise UsageError(f"the rubric {rubric!r} holds reward objects, and the file must name them; give a rubric of names")
    # The stack may load the file in another folder.
    absolute = (choice.model_copy(update={"reward": absolute_reference(choice.reward)}) for choice in spec.rewards)
    spec = spec.model_copy(update={"rewards": tuple(absolute)})
    loaded = load_rubric(spec, plugins=plugins, one_by_one="" if to == "trl" else to)
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
        typer.echo(f"{rows}: {write_rows(to, environment, rows, limit):,} rows")
