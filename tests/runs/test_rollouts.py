"""The rollouts of a run: kept whole, once, and readable without r1env."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1env.runs import rollouts
from r1env.runs.rollouts import COLUMNS, RolloutRow, RolloutStore, schema
from r1env.runs.run import Run
from r1env.types import Rollout, Score, Status, Task

MESSAGES = (
    {"role": "system", "content": "use the tool"},
    {"role": "user", "content": "2 + 2?"},
    {
        "role": "assistant",
        "content": "let me add",
        "tool_calls": [{"id": "1", "function": {"name": "add", "arguments": {"a": 2}}}],
    },
    {"role": "tool", "content": "4", "tool_call_id": "1", "name": "add"},
    {"role": "assistant", "content": "It is 4."},
)
ROLLOUT = Rollout(
    task=Task(id="t", prompt=MESSAGES[:2], answer="4", metadata={"level": 3, "solution": "x" * 500}),
    completion="It is 4.",
    messages=MESSAGES,
)
SCORE = Score(value=1.5, parts={"math": 1.0, "late": float("nan")}, status=Status.OK, reason="math: equal", seconds=0.25)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RolloutStore:
    monkeypatch.setattr(rollouts, "SHARD_ROWS", 4)
    return RolloutStore(tmp_path / "rollouts")


def records(*texts: object) -> list[dict[str, Any]]:
    place = {"stage": "rl", "step": 1, "time": 0.0}
    return [{**place, **RolloutRow(completion=str(text)).record()} for text in texts]


def texts(rows: Iterable[dict[str, Any]]) -> list[str]:
    return [row["completion"] for row in rows]


def test_a_rollout_is_kept_with_every_turn_and_its_score() -> None:
    row = RolloutRow.of(ROLLOUT, SCORE, environment="add", group=2, sample=1, advantage=-0.5).record()
    assert [message["role"] for message in row["prompt"]] == ["system", "user", "assistant", "tool"]
    assert row["prompt"][2]["tool_calls"] == '[{"id": "1", "function": {"name": "add", "arguments": {"a": 2}}}]'
    assert (row["completion"], row["replies"], row["turns"], row["question"]) == ("It is 4.", [], 2, "2 + 2?")
    assert (row["reward"], row["status"], row["reason"], row["seconds"]) == (1.5, "ok", "math: equal", 0.25)
    assert row["parts"] == [{"name": "math", "value": 1.0}, {"name": "late", "value": None}]
    assert (row["group"], row["sample"], row["advantage"], row["metadata"]) == (2, 1, -0.5, '{"level": 3}')


def test_tokens_come_back_as_they_were_stored(store: RolloutStore) -> None:
    tokens = {"text": ["It", "\ufffd", " 4"], "trained": [True, False, True], "advantage": None}
    tokens |= {"logprob": [-0.5, 0.0, -1.25], "gap": [0.25, None, 0.0], "clipped": None}
    place = {"stage": "rl", "step": 1, "time": 0.0}
    store.append([{**place, **RolloutRow(completion="4", by_token=tokens).record()}, *records("without")])
    store.seal()
    assert [row["by_token"] for row in store.read()] == [tokens, None]


def test_the_columns_are_those_of_a_row() -> None:
    assert schema().names == list(COLUMNS)


def test_a_column_that_an_older_version_did_not_store_is_none(store: RolloutStore) -> None:
    store.append(records("a"))
    store.seal()
    ((path, _, _),) = store.shards()
    pq.write_table(pq.read_table(path).drop_columns(["by_token", "task"]), path)
    store.append(records("b"))
    assert [(row["completion"], row["by_token"], row["task"]) for row in store.read()] == [("a", None, None), ("b", None, None)]
    assert list(store.read(["by_token"], rows=[0])) == [{"by_token": None}]


@pytest.mark.slow
def test_pandas_duckdb_and_datasets_read_a_run_without_us(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"name": "demo", "stages": []}, seed=0)
    with run.locked():
        run.start_stage("rl")
        run.log_rollouts(3, [RolloutRow.of(ROLLOUT, SCORE, advantage=advantage) for advantage in (0.5, -0.5)])
    script = """
import sys
import duckdb, pyarrow.parquet
from datasets import load_dataset
from pandas import read_parquet

folder = sys.argv[1]
frame = read_parquet(folder)
assert frame.reward.tolist() == [1.5, 1.5] and frame.prompt[0][3]["name"] == "add", frame
query = f"SELECT sum(advantage), any_value(list_filter(parts, lambda p: p.name = 'math')[1].value) FROM '{folder}/*.parquet'"
assert duckdb.sql(query).fetchall() == [(0.0, 1.0)]
rows = load_dataset("parquet", data_files=f"{folder}/*.parquet", split="train")
assert rows[1]["parts"][0] == {"name": "math", "value": 1.0} and rows["step"][:] == [3, 3], rows[1]
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", script, str(run.path / "rollouts")], check=True, env=environment)


def test_shards_are_written_when_there_are_enough_rows(store: RolloutStore) -> None:
    for start in (0, 3, 6):
        store.append(records(*range(start, start + 3)))
    assert [(first, last) for _, first, last in store.shards()] == [(0, 5)]
    assert texts(store.read()) == [str(number) for number in range(9)]
    assert [row["row"] for row in store.read(["row"])] == list(range(9))
    assert texts(store.read(rows=[1, 8])) == ["1", "8"]


def test_a_process_that_dies_before_the_open_file_is_emptied_doubles_nothing(
    store: RolloutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(records("a", "b"))
    monkeypatch.setattr(rollouts, "cut", lambda *_: None)
    store.seal()
    monkeypatch.undo()
    after = RolloutStore(store.folder)
    assert texts(after.read()) == ["a", "b"]
    assert after.count() == 2
    after.repair()
    after.append(records("c"))
    assert texts(RolloutStore(store.folder).read()) == ["a", "b", "c"]


def test_a_half_written_shard_and_one_that_rewinding_replaced_are_cleared_away(store: RolloutStore) -> None:
    store.append(records("a", "b", "c"))
    store.seal()
    (shard,) = (path for path, _, _ in store.shards())
    whole = shard.read_bytes()
    store.rewind(2)
    shard.write_bytes(whole)  # the process died before the longer one was removed
    (store.folder / ".000000000002-000000000003.parquet.tmp").write_bytes(b"PAR1")
    assert texts(store.read()) == ["a", "b"]
    store.repair()
    assert sorted(path.name for path in store.folder.iterdir()) == ["000000000000-000000000001.parquet", "_open.jsonl.gz"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.integers(1, 5), st.integers(-12, -1), st.just(0)), max_size=8))
def test_any_order_of_appending_rewinding_and_sealing_keeps_what_a_list_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    """Positive: append so many rows; negative: rewind by so many; 0: seal."""
    store, expected = RolloutStore(tmp_path_factory.mktemp("store") / "rollouts"), list[str]()
    for number, step in enumerate(steps):
        new = [f"{number}.{place}" for place in range(step)]
        if step > 0:
            store.append(records(*new))
            expected += new
        elif step == 0:
            store.seal()
        else:
            expected = expected[: max(0, len(expected) + step)]
            store.rewind(len(expected))
    assert texts(RolloutStore(store.folder).read()) == expected
    assert store.count() == len(expected)


def test_without_pyarrow_rollouts_stay_in_the_open_file_and_a_warning_says_so_once(
    store: RolloutStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rollouts, "find_spec", lambda name: None)
    store.append(records(*range(6)))
    store.seal()
    assert texts(store.read()) == [str(number) for number in range(6)]
    assert [path.name for path in store.folder.iterdir()] == ["_open.jsonl.gz"]
    (message,) = caplog.messages
    assert "pip install r1env[parquet]" in message


def test_a_run_that_is_interrupted_leaves_parquet(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"name": "demo", "stages": []}, seed=0)

    def interrupted() -> None:
        with run.locked():
            run.start_stage("rl")
            run.log_rollouts(1, [{"completion": "a"}])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [(first, last) for _, first, last in run.rollout_store.shards()] == [(0, 0)]
