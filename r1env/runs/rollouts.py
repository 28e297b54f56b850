"""Every rollout of a run, in its folder `rollouts/`.

    000000000000-000000004095.parquet   a shard: rows 0 to 4095; never changed once it is there
    _open.jsonl.gz                       the newest rows, one gzip member for each append, until there are enough for a shard

Shards all have the columns of `schema()`, so pandas, DuckDB and `datasets` read them without r1env::

    pandas.read_parquet("RUN/rollouts")
    SELECT step, avg(reward) FROM 'RUN/rollouts/*.parquet' GROUP BY step
    load_dataset("parquet", data_files="RUN/rollouts/*.parquet")

A crash loses and doubles nothing: an append is a complete gzip member or is cut off again, and a shard is written beside its place and
renamed. If the process dies between the renaming and the emptying of `_open.jsonl.gz`, the row numbers tell which rows are in both.
"""

from __future__ import annotations

import gzip
import json
import logging
import math
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator
from typing_extensions import TypedDict  # pydantic does not take that of `typing` before Python 3.12

from r1env.errors import UsageError
from r1env.runs.files import append_bytes, cut, gzip_members, json_ready, read_gzip_members, sync, whole_members_size
from r1env.types import Message, Rollout, Score

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

OPEN = "_open.jsonl.gz"  # readers of Parquet folders skip names that begin with an underscore
SHARD = re.compile(r"(\d{12})-(\d{12})\.parquet")
SHARD_ROWS = 4096  # few files for a long run, and less than a second of work for each
SHARD_BYTES = 16 << 20  # of `_open.jsonl.gz`: long completions fill a shard earlier, which bounds the memory of writing it
ROW_GROUP = 1024  # rows that a reader of one rollout has to decompress
TAIL_LEVEL = 1  # of gzip: these bytes are rewritten soon, as zstd


class TokenData(TypedDict):
    """The tokens of a rollout after its prompt, all turns in one row as the trainer saw them. All lists are as long as `text`.

    Attributes:
        text: each token decoded by itself; a part of a character is "\ufffd".
        trained: False for tokens that the model read and did not write, such as a tool's output. None: it wrote all of them.
        advantage: of each token. None: it is the rollout's.
        logprob: that the sampler drew it with, in nats.
        gap: log-probability of the trainer less that of the sampler, before the update. None: the update left the rollout out.
        clipped: True where the clip took the token's gradient away. None: nowhere.
    """

    text: list[str]
    trained: list[bool] | None
    advantage: list[float | None] | None
    logprob: list[float | None] | None
    gap: list[float | None] | None
    clipped: list[bool] | None


class RolloutRow(BaseModel):
    """One rollout as a run keeps it: a row of the Parquet shards. `Run.log_rollouts` adds `row`, `stage`, `step` and `time`.

    Attributes:
        kind: `train`, or `eval` for an evaluation during training.
        model: which model wrote it, where a stage evaluates several.
        environment: name of the environment.
        task_id: the task's id.
        group: number of the prompt within its step; the rollouts of a group are compared with one another.
        sample: number of the rollout within its group.
        question: text of the task's last user message.
        prompt: every message before the model's final turn, its earlier turns and tool results included. A string becomes one user message.
        completion: the model's final turn.
        replies: the environment's messages after the final turn.
        answer: the reference answer, if the task has one.
        turns: number of the model's turns.
        tokens: number of tokens that the model sampled, over all turns.
        reward: the score's value; None where the rollout could not be scored.
        correct: verdict of the environment's own checker; None where there is none.
        status, reason, parts, seconds, turn_rewards: of the score, see `r1env.types.Score`. A part without a value is None.
        advantage: what the update multiplied the log-probs with, a mean over tokens where it differs between them; None where the
            rollout had no gradient.
        truncated: whether a token limit or a full context cut the rollout off.
        finish_reason, ended_by: see `r1env.types.FinishReason` and `EndedBy`.
        error: why the environment or the engine failed; empty if neither did.
        policy_version: number of training steps that the policy had taken when it sampled this.
        metadata: of the task: numbers and short texts, such as its level. Stored as a JSON string.
        task: what scoring it again needs beside the other columns (`r1env.receipts.rollout_of`): `kind`, `language`, `tests`, the whole
            `metadata` and `prompt` of the task, and what the environment paid. A JSON string; None where it would be longer than
            `LONGEST_TASK`, or is not known.
        by_token: its tokens, see `TokenData`. None in the steps that `log.tokens_every` skips, and in evaluations.

    Example:
        >>> RolloutRow(task_id="7", prompt="2 + 2?", completion="4", reward=1.0).prompt
        [{'role': 'user', 'content': '2 + 2?'}]
    """

    model_config = ConfigDict(extra="forbid")

    kind: str = "train"
    model: str | None = None
    environment: str = ""
    task_id: str = ""
    group: int | None = None
    sample: int | None = None
    question: str = ""
    prompt: list[Message] = Field(default_factory=list)
    completion: str
    replies: list[Message] = Field(default_factory=list)
    answer: str | None = None
    turns: int = 1
    tokens: int | None = None
    reward: float | None = None
    correct: bool | None = None
    status: str | None = None
    reason: str = ""
    parts: dict[str, float | None] = Field(default_factory=dict)
    seconds: float | None = None
    turn_rewards: list[float | None] = Field(default_factory=list)
    advantage: float | None = None
    truncated: bool | None = None
    finish_reason: str | None = None
    ended_by: str | None = None
    error: str = ""
    policy_version: int | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    task: str | None = None
    by_token: TokenData | None = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _text_is_a_user_message(cls, value: object) -> object:
        return [{"role": "user", "content": value}] if isinstance(value, str) else value

    @classmethod
    def of(cls, rollout: Rollout, score: Score, **more: Any) -> Self:
        """Return the row of a scored rollout.

        Args:
            more: what neither of them knows, such as `environment`, `group` and `advantage`; and `task` (`stored_task`), if it is known from
                another rollout of the group.
        """
        messages = rollout.messages or (*rollout.task.prompt, {"role": "assistant", "content": rollout.completion})
        spoken = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
        last = spoken[-1] if spoken else len(messages)
        return cls(
            **{
                "task_id": rollout.task.id,
                "question": rollout.task.question,
                "prompt": messages[:last],
                "completion": rollout.completion,
                "replies": messages[last + 1 :],
                "answer": rollout.task.answer,
                "turns": len(rollout.recorded_turns) or max(1, sum(place >= len(rollout.task.prompt) for place in spoken)),
                "reward": score.value,
                "status": score.status,
                "reason": score.reason,
                "parts": {name: None if math.isnan(value) else value for name, value in score.parts.items()},
                "seconds": score.seconds,
                "turn_rewards": score.turns,
                "finish_reason": rollout.finish_reason,
                "ended_by": rollout.ended_by,
                "error": rollout.error,
                "metadata": short_metadata(rollout.task.metadata),
                "task": more.get("task") or stored_task(rollout),
                **more,
            }
        )

    @classmethod
    def of_evaluation(cls, line: Mapping[str, Any]) -> Self:
        """Return the row of a completion in an evaluation: an `EvaluationRow` as JSON, with `model` and `environment` if they are known."""
        messages, score = list(line.get("messages") or ()), line["score"]
        last = max((place for place, message in enumerate(messages) if message["role"] == "assistant"), default=0)
        return cls(
            kind="eval",
            model=line.get("model"),
            environment=line.get("environment", ""),
            task_id=line["task_id"],
            group=line.get("position"),
            sample=line.get("sample"),
            question=line["prompt"],
            prompt=messages[:last] or [{"role": "user", "content": line["prompt"]}],
            completion=line["completion"],
            replies=messages[last + 1 :],
            answer=line.get("answer"),
            turns=max(1, sum(message["role"] == "assistant" for message in messages)),
            tokens=line.get("length"),
            correct=line.get("correct"),
            truncated=line.get("finish_reason") == "length",
            finish_reason=line.get("finish_reason"),
            ended_by=line.get("ended_by"),
            error=line.get("error", ""),
            metadata=dict(line.get("metadata") or {}),
            reward=score["value"],
            status=score["status"],
            reason=score["reason"],
            parts=score["parts"],
            seconds=score["seconds"],
            turn_rewards=list(score["turns"]),
        )

    def record(self) -> dict[str, Any]:
        """Return the row as plain data in the form of `schema()`."""
        return self.__dict__ | {
            "prompt": [_message(message) for message in self.prompt],
            "replies": [_message(message) for message in self.replies],
            "parts": [
                {"name": name, "value": None if value is None or math.isnan(value) else value}
                for name, value in self.parts.items()
            ],
            "metadata": json.dumps(json_ready(self.metadata)) if self.metadata else None,
        }


COLUMNS = ("row", "stage", "step", "time", *RolloutRow.model_fields)
"""Names of the columns of `schema()`."""


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    return {
        "role": message["role"],
        "content": message["content"],
        "reasoning_content": message.get("reasoning_content"),
        "name": message.get("name"),
        "tool_call_id": message.get("tool_call_id"),
        "tool_calls": json.dumps(json_ready(list(calls))) if calls else None,
    }


LONGEST_TASK = 20_000
"""Characters of the column `task`. Tests of a program may be megabytes, which would be stored with each rollout."""


def stored_task(rollout: Rollout) -> str | None:
    """Return the column `task` of a rollout."""
    task = rollout.task
    plain = len(task.prompt) == 1 and task.prompt[0]["role"] == "user"  # the column `question` has it
    about = {
        "kind": task.kind,
        "language": task.language,
        "tests": task.tests,
        "metadata": task.metadata,
        "prompt": None if plain else task.prompt,
        "environment_reward": rollout.environment_reward,
    }
    try:
        text = json.dumps(about)
    except TypeError:  # numbers of NumPy and other things that a task source may put into the metadata
        try:
            text = json.dumps(json_ready(about))
        except (TypeError, ValueError):
            return None
    return text if len(text) <= LONGEST_TASK else None


SHORT = 100
"""Characters of a task's metadata that a row keeps: a level, a subject, a source; not a solution."""


def short_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers and short texts of a task's metadata."""
    return {
        key: value
        for key, value in metadata.items()
        if (isinstance(value, int | float) and math.isfinite(value)) or (isinstance(value, str) and len(value) <= SHORT)
    }


def schema() -> pa.Schema:
    """Return the columns of a shard: `row`, `stage`, `step` and `time`, then the fields of `RolloutRow`.

    Raises:
        UsageError: pyarrow is not installed.
    """
    pa = _pyarrow()
    text, count, number = pa.string(), pa.int32(), pa.float64()
    message = pa.struct(
        [
            (name, text)
            for name in ("role", "content", "reasoning_content", "name", "tool_call_id", "tool_calls")  # the last as JSON
        ]
    )
    flags, small_numbers = pa.list_(pa.bool_()), pa.list_(pa.float32())
    by_token = pa.struct(
        [
            ("text", pa.list_(text)),
            ("trained", flags),
            ("advantage", small_numbers),
            ("logprob", small_numbers),
            ("gap", small_numbers),
            ("clipped", flags),
        ]
    )
    return pa.schema(
        [
            ("row", pa.int64()),  # number within the run, from 0
            ("stage", text),
            ("step", count),
            ("time", number),  # seconds since 1970
            ("kind", text),
            ("model", text),
            ("environment", text),
            ("task_id", text),
            ("group", count),
            ("sample", count),
            ("question", text),
            ("prompt", pa.list_(message)),
            ("completion", text),
            ("replies", pa.list_(message)),
            ("answer", text),
            ("turns", count),
            ("tokens", count),
            ("reward", number),
            ("correct", pa.bool_()),
            ("status", text),
            ("reason", text),
            # Not a map and not a column for each part: `datasets` has no maps, and every shard must have the same columns.
            ("parts", pa.list_(pa.struct([("name", text), ("value", number)]))),
            ("seconds", number),
            ("turn_rewards", pa.list_(number)),
            ("advantage", number),
            ("truncated", pa.bool_()),
            ("finish_reason", text),
            ("ended_by", text),
            ("error", text),
            ("policy_version", count),
            ("metadata", text),  # JSON
            ("task", text),  # JSON
            ("by_token", by_token),
        ]
    )


class RolloutStore:
    """The folder `rollouts/` of a run. One process may write it at a time; any number may read it meanwhile.

    Rows are numbered from 0. Without pyarrow they all stay in `_open.jsonl.gz`, which needs nothing but the standard library to read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tail = folder / OPEN
        self._counted = (0, 0)  # (bytes, rows) of the tail when it was last counted
        self._warned = False

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows (`RolloutRow.record`, with stage, step and time); write a shard when there are enough.

        Raises:
            OSError: they cannot be written; the files are as they were before.
        """
        first = self.count()
        lines = [_json_line({"row": first + number, **row}) for number, row in enumerate(rows)]
        if not lines:
            return
        self.folder.mkdir(exist_ok=True)
        replaced = sum(changed for _, changed in lines)
        if replaced:
            logger.warning("%d rollouts hold lone surrogates, which are stored as '?'", replaced)
        member = gzip.compress(b"".join(line for line, _ in lines), TAIL_LEVEL, mtime=0)
        append_bytes(self._tail, member)
        size = self._tail.stat().st_size
        tail = first + len(lines) - self.sealed()
        self._counted = (size, tail)
        if tail >= SHARD_ROWS or size >= SHARD_BYTES:
            self.seal()

    def seal(self) -> None:
        """Write the rows of `_open.jsonl.gz` as a shard. Without pyarrow they stay where they are, and a warning says so once.

        Raises:
            OSError: the shard cannot be written; nothing is lost.
        """
        if not self._tail.exists() or not self._tail.stat().st_size:
            return
        if find_spec("pyarrow") is None:
            if not self._warned:
                logger.warning("rollouts stay in %s: Parquet needs pyarrow, pip install r1env[parquet]", self._tail)
            self._warned = True
            return
        lines = b"".join(data for _, data in gzip_members(self._tail))
        if lines:
            table = _table(lines)
            sealed = self.sealed()
            self._write_shard(table.filter([number >= sealed for number in table["row"].to_pylist()]))
        cut(self._tail, 0)
        self._counted = (0, 0)

    def repair(self) -> None:
        """Remove what a crash left: a torn append, a half-written shard, and rows that are in two places."""
        whole = {path for path, _, _ in self.shards()}
        for path in (*self.folder.glob(".*.tmp"), *self.folder.glob("*.parquet")):
            if path not in whole:
                path.unlink()
        cut(self._tail, whole_members_size(self._tail))
        numbers = [row["row"] for row in read_gzip_members(self._tail)]
        if numbers and numbers[0] < self.sealed():
            self._replace_tail(self._tail_rows())

    def rewind(self, count: int) -> None:
        """Drop all rows from number `count` on.

        Raises:
            OSError: the folder cannot be written.
        """
        self.repair()
        if count >= self.count():
            return
        self._replace_tail(row for row in self._tail_rows() if row["row"] < count)
        for path, first, last in reversed(self.shards()):
            if last < count:
                break
            if (
                first < count
            ):  # before the old shard goes, so that a crash leaves both rather than neither; `shards` knows what to do
                self._write_shard(_read_table(path).slice(0, count - first))
            path.unlink()

    def count(self) -> int:
        """Return how many rows there are."""
        size = self._tail.stat().st_size if self._tail.exists() else 0
        if size != self._counted[0]:
            self._counted = (size, sum(1 for _ in self._tail_rows()))
        return self.sealed() + self._counted[1]

    def sync(self) -> int:
        """Make sure that all rows are on the disk; return how many there are."""
        sync(self._tail)  # shards are when they get their name
        return self.count()

    def sealed(self) -> int:
        """Return how many rows are in shards."""
        shards = self.shards()
        return shards[-1][2] + 1 if shards else 0

    def shards(self) -> list[tuple[Path, int, int]]:
        """Return (path, number of the first row, number of the last row) of every shard, in order.

        Where two begin with the same row, a crash interrupted `rewind`, and the shorter one counts.
        """
        found: dict[int, tuple[Path, int, int]] = {}
        for path in sorted(self.folder.glob("*.parquet")):
            if match := SHARD.fullmatch(path.name):
                first, last = int(match[1]), int(match[2])
                found.setdefault(first, (path, first, last))
        return list(found.values())

    def read(self, columns: Sequence[str] | None = None, rows: Collection[int] | None = None) -> Iterator[dict[str, Any]]:
        """Yield rows in order, as plain data in the form of `schema()`. A column that their version of r1env did not have is None.

        Args:
            columns: names of the columns to read; all by default.
            rows: numbers of the rows to read; all by default.

        Raises:
            UsageError: there are shards and pyarrow is not installed.
        """
        names = COLUMNS if columns is None else columns
        # The tail first: a shard that is written meanwhile takes its rows away.
        tail = [row for row in read_gzip_members(self._tail) if rows is None or row["row"] in rows]
        end = 0
        for path, first, last in self.shards():
            end = last + 1
            if rows is None or any(first <= number <= last for number in rows):
                yield from _read_shard(path, names, rows)
        for row in tail:
            if row["row"] >= end:
                yield {name: row.get(name) for name in names}

    def _tail_rows(self) -> Iterator[dict[str, Any]]:
        sealed = self.sealed()
        return (row for row in read_gzip_members(self._tail) if row["row"] >= sealed)

    def _replace_tail(self, rows: Iterable[Mapping[str, Any]]) -> None:
        kept = b"".join(_json_line(row)[0] for row in rows)
        temporary = self.folder / f".{OPEN}.tmp"
        if self.folder.exists():
            temporary.write_bytes(gzip.compress(kept, TAIL_LEVEL, mtime=0) if kept else b"")
            os.replace(temporary, self._tail)
        self._counted = (-1, 0)

    def _write_shard(self, table: pa.Table) -> None:
        import pyarrow.parquet as pq  # here, because it is an extra

        if not len(table):
            return
        first, last = table["row"][0].as_py(), table["row"][-1].as_py()
        path = self.folder / f"{first:012}-{last:012}.parquet"
        temporary = self.folder / f".{path.name}.tmp"
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP)
        sync(temporary)
        os.replace(temporary, path)


def _table(lines: bytes) -> pa.Table:
    """Return JSON lines as a table. Arrow's own reader takes a tenth of the time that Python objects would, and holds no lock meanwhile."""
    pa = _pyarrow()
    from pyarrow import json as arrow_json  # here, because it is an extra

    longest = max(map(len, lines.splitlines()))
    return arrow_json.read_json(
        pa.BufferReader(lines),
        read_options=arrow_json.ReadOptions(block_size=max(1 << 20, 2 * longest)),
        parse_options=arrow_json.ParseOptions(explicit_schema=schema(), unexpected_field_behavior="error"),
    ).select(schema().names)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)  # `json.dumps` would make one for each row


def _json_line(row: Mapping[str, Any]) -> tuple[bytes, bool]:
    """Return the row as a line of JSON in UTF-8, and whether lone surrogates in it had to be replaced: Parquet cannot hold them."""
    try:
        text = _ENCODER.encode(row) + "\n"
    except (ValueError, TypeError):  # a number that is not finite, or of NumPy; `json_ready` alone would take most of the time
        text = _ENCODER.encode(json_ready(row)) + "\n"
    try:
        return text.encode("utf-8"), False
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace"), True


def _read_shard(path: Path, columns: Sequence[str], rows: Collection[int] | None) -> Iterator[dict[str, Any]]:
    pa = _pyarrow()
    import pyarrow.parquet as pq  # here, because it is an extra

    there = set(pq.read_schema(path).names)
    filters = None if rows is None else [("row", "in", list(rows))]
    wanted = dict.fromkeys(["row", *columns])
    table = _read_table(path, columns=[name for name in wanted if name in there], filters=filters)
    for name in wanted:
        if name not in there:
            table = table.append_column(name, pa.nulls(len(table)))
    for batch in table.select(list(columns)).to_batches(max_chunksize=1024):
        yield from batch.to_pylist()


def _read_table(path: Path, **options: Any) -> pa.Table:
    _pyarrow()
    import pyarrow.parquet as pq  # here, because it is an extra

    return pq.read_table(path, **options)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise UsageError("stored rollouts are Parquet files, which need pyarrow: pip install r1env[parquet]") from None
    return pyarrow
