"""The trackers that come along, through their real packages and without a network."""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from r1env.importing import import_target
from r1env.plugins import installed
from r1env.runs.run import Run
from r1env.trackers import TABLE_ROWS, Follower, identity

PLAN = {"name": "demo", "preset": None, "stages": [{"name": "rl", "trainer": "grpo", "config": {"lr": 1e-4}}]}


def start(folder: Path) -> Run:
    run = Run.create(folder / "run", PLAN, seed=0)
    run.start_stage("rl")
    return run


def follow(run: Run, name: str, steps: range) -> None:
    """Log steps (an evaluation at the last one too) while the tracker `name` follows."""
    make = import_target(installed().provided("trackers")[name].spec.target)
    with Follower(run, name, make, pytest.fail) as follower:
        run.subscribe(follower)
        run.subscribe_to_rollouts(follower.take_rollouts)
        for step in steps:
            rows = [{"completion": f"<b>{step}.{n}</b>", "reward": None if n else 1.0, "question": "2 + 2?"} for n in range(20)]
            run.log_rollouts(step, rows)
            run.log(step, {"reward": step / 4, "parts/format": 1.0})
        run.log(steps[-1], {"eval/accuracy": 0.5})


def follow_crash_and_resume(run: Run, name: str) -> None:
    """Steps 1 to 4 with a checkpoint at 2, a crash, then steps 3 to 6."""
    follow(run, name, range(1, 3))
    position = run.position()
    again = Run.open(run.path)
    again.start_stage("rl")
    again.rewind(position)
    follow(again, name, range(3, 5))
    resumed = Run.open(run.path)
    resumed.start_stage("rl")
    resumed.rewind(position)
    follow(resumed, name, range(3, 7))


def test_tensorboard_reads_back_every_step_once_over_a_crash_and_a_resume(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    run = start(tmp_path)
    follow_crash_and_resume(run, "tensorboard")
    shown = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()  # as `tensorboard --logdir` finds them
    ((name, found),) = shown.Runs().items()
    assert name == "run/tracking/tensorboard"
    assert set(found["tensors"]) == {"rl/reward", "rl/parts/format", "rl/eval/accuracy", "rl/rollouts/train"}
    texts = shown.Tensors(name, "rl/rollouts/train")
    assert [event.step for event in texts] == [
        1,
        3,
    ]  # one a minute and start, and none twice: the third start begins at step 3 again
    first = texts[0].tensor_proto.string_val[0].decode()
    assert first.startswith("**reward 1.0**\n\n    question:\n    2 + 2?\n    completion:\n    <b>1.0</b>")
    assert first.count("completion:") == TABLE_ROWS
    rewards = shown.Tensors(name, "rl/reward")
    assert [event.step for event in rewards] == [1, 2, 3, 4, 5, 6]
    assert [float(event.tensor_proto.float_val[0]) for event in rewards] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5]
    assert rewards[0].wall_time == pytest.approx(run.metrics()[0]["time"], abs=5)


@pytest.mark.slow
def test_wandb_keeps_every_step_once_over_a_crash_and_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = start(tmp_path)
    follow_crash_and_resume(run, "wandb")
    wandb.teardown()  # its own process ends, and has written all by then
    files = sorted((run.path / "tracking" / "wandb" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert {file.name for file in files} == {f"run-{identity(run)}.wandb"}  # one run, to which three starts add
    rows = [row for file in files for row in wandb_history(file) if "rl/reward" in row]
    assert sorted((row["rl/step"], row["rl/reward"]) for row in rows) == [(step, step / 4) for step in range(1, 7)]


def wandb_history(file: Path) -> Iterator[dict[str, float]]:
    """What was logged, out of an offline run: a header of 7 bytes, then LevelDB's log format with a protobuf record in each entry."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, entry = file.read_bytes(), 7, b""
    block, header = 32_768, 7
    while place + header <= len(data):
        if block - place % block < header:  # too little is left of the block for another header
            place += block - place % block
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        entry += data[place + header : place + header + length]
        place += header + length
        if kind in (1, 4):  # a whole entry, or the last part of one
            record, entry = Record.FromString(entry), b""
            if record.HasField("history"):
                yield {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}


def test_trackio_keeps_every_step_once_over_a_crash_and_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "trackio"]:
        monkeypatch.delitem(sys.modules, name)  # it reads the variable when it is imported
    run = start(tmp_path)
    follow_crash_and_resume(run, "trackio")
    from trackio.sqlite_storage import SQLiteStorage

    (name,) = SQLiteStorage.get_runs("r1env")
    rows = [row for row in SQLiteStorage.get_logs("r1env", name) if "rl/reward" in row]
    assert sorted((row["step"], row["rl/reward"]) for row in rows) == [(step, step / 4) for step in range(1, 7)]
