"""The R1 pipeline, shrunk to seconds: it runs to its table, and a run killed once in every stage ends as if nothing had happened."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import runpy
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from r1env.runs.run import Run
from r1env.runs.tables import read_tables

DRIVER = Path(__file__).with_name("pipeline_driver.py")
SFT = {"steps": 6, "optim.batch_size": 4, "optim.micro_batch_size": 4, "checkpoint.every": 2}
RL = {
    "steps": 4,
    "sampling.prompts_per_step": 2,
    "sampling.group_size": 4,
    "sampling.max_new_tokens": 24,
    "checkpoint.every": 2,
    "log.samples_every": 2,
}
SHRUNK: dict[str, dict[str, Any]] = {
    "base": SFT,
    "dev1": SFT,
    "dev2": RL,
    "dev2-no-language": RL,
    "replies": {"count": 20},
    "samples": {
        "sampling.prompts": 12,
        "sampling.prompts_per_batch": 4,
        "sampling.n": 4,
        "sampling.max_new_tokens": 24,
        "keep": {"threshold": 0, "filters": []},  # so young a model writes nothing that would pass
        "extra": [{"data": "stage:replies/data.jsonl", "count": 8}],
    },
    "dev3": SFT,
    "pairs": {"count": 80},
    "helpful": {"steps": 4, "optim.batch_size": 8, "eval.every": 2, "checkpoint.every": 2},
    "r1": {**RL, "final_phase.steps": 2},
    "student": SFT,
    "student-distilled": SFT,
    "student-rl": RL,
    "table": {"limit": 4, "sampling.tasks_per_batch": 4, "sampling.max_new_tokens": 24},
}
IMPORTED = [
    "r1env_trainers.sft.loop",
    "r1env_trainers.rl.trainer",
    "r1env_trainers.rejection.draw",
    "r1env_trainers.reward_model.loop",
    "transformers.models.llama.modeling_llama",
    "transformers.models.gpt2.modeling_gpt2",
]
MEASURED_BY_CLOCK = ("time", "seconds", "tokens_per_second", "memory")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]  # one uninterrupted run for all of them


def start(folder: Path) -> multiprocessing.process.BaseProcess:
    # A server that has imported everything forks them: a start costs next to nothing.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    process = context.Process(
        target=runpy.run_path, args=(str(DRIVER),), kwargs={"init_globals": {"folder": str(folder), "overrides": SHRUNK}}
    )
    process.start()
    return process


def finish(folder: Path) -> Run:
    process = start(folder)
    process.join()
    assert process.exitcode == 0
    return Run.open(folder)


def told(run: Run) -> list[dict[str, Any]]:
    """What was logged, less what a clock or the memory says."""
    return [{key: value for key, value in row.items() if not key.startswith(MEASURED_BY_CLOCK)} for row in run.metrics()]


def seconds_by_stage(run: Run) -> dict[str, float]:
    rows = run.metrics()
    return {
        stage: max(r["time"] for r in rows if r["stage"] == stage) - min(r["time"] for r in rows if r["stage"] == stage)
        for stage in SHRUNK
    }


def begun(folder: Path, stage: str) -> bool:
    state = folder / "state.json"
    return state.exists() and stage in json.loads(state.read_text())["begun"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finish(tmp_path_factory.mktemp("pipeline") / "run")


def test_every_stage_leaves_its_checkpoint_and_its_row(uninterrupted: Run) -> None:
    assert uninterrupted.finished_stages() == list(SHRUNK)
    models = [stage for stage in SHRUNK if (uninterrupted.model_dir(stage) / "config.json").exists()]
    assert set(SHRUNK) - set(models) == {"replies", "samples", "pairs", "table"}
    rows = json.loads((uninterrupted.path / "stages.json").read_text())["data"]
    assert [row["stage"] for row in rows] == list(SHRUNK)
    assert {row["stage"]: row["from"] for row in rows}["dev3"] == ["base", "samples"]


def test_the_table_has_a_row_a_model_and_every_task(uninterrupted: Run) -> None:
    table = dict(read_tables(uninterrupted))["table"]
    assert [row["model"] for row in table.data][:6] == [
        "base",
        "Dev1",
        "Dev2",
        "Dev2 without the language reward",
        "Dev3",
        "R1",
    ]
    for row in table.data:
        assert list(row["environments"]) == ["bilingual-sort", "bilingual-addition", "bilingual-countdown", "small-talk"]


def test_preference_rewards_come_in_the_last_steps_alone(uninterrupted: Run) -> None:
    rows = [row for row in uninterrupted.metrics("r1") if "reward" in row]
    assert [row.get("parts/helpful") is not None for row in rows] == [False, False, True, True]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_killed_at_a_random_moment_of_every_stage_ends_as_the_uninterrupted_one(
    uninterrupted: Run, tmp_path: Path, seed: int
) -> None:
    folder, moments = tmp_path / "run", random.Random(seed)
    durations = seconds_by_stage(uninterrupted)
    killed = []
    for stage in SHRUNK:
        process = start(folder)
        while process.is_alive() and not begun(folder, stage):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, durations[stage] + 0.2))
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            killed.append(stage)
        process.join()
    assert len(killed) > len(SHRUNK) / 2
    resumed = finish(folder)
    assert resumed.finished_stages() == list(SHRUNK)
    assert told(resumed) == told(uninterrupted)
    assert [table for _, table in read_tables(resumed)] == [table for _, table in read_tables(uninterrupted)]
