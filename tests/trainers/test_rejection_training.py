"""The trainer `rejection` as a user runs it: what it leaves, and that a crash at any moment changes nothing of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from training_runs import start, told, trained

from r1env.errors import TrainingStoppedError, UnknownNameError, UsageError
from r1env.recipes import check_plan, execute, plan_training
from r1env.runs.run import Run
from r1env.types import Completion
from r1env_trainers.rejection import draw as drawing
from r1env_trainers.rejection import draw as loop
from r1env_trainers.rejection.config import ExtraData
from r1env_trainers.rejection.data import check_extra


class Guesser:
    """Sorts four digits, right about every second time; the same guesses for the same seed."""

    def generate(self, prompts, sampling):
        rng = np.random.default_rng(sampling.seed)
        return [[self._answer(prompt[-1]["content"][1:].rstrip("?"), rng) for _ in range(sampling.n)] for prompt in prompts]

    def _answer(self, digits, rng):
        answer = "".join(sorted(digits)) if rng.random() < 0.5 else digits
        text = f"<think>{rng.integers(100)}</think><answer>{answer}</answer>"
        return Completion(text=text, token_ids=tuple(range(len(text))))

    def close(self):
        pass


@pytest.fixture
def guesser(monkeypatch):
    monkeypatch.setattr(drawing, "_open_engine", lambda *_: Guesser())


def plan_rejection(**settings):
    nested = {"sampling.prompts": 12, "sampling.n": 4, "sampling.prompts_per_batch": 4, "keep": {"per_prompt": 2}, **settings}
    return plan_training("rejection", preset="tiny-cpu", overrides=nested)


def data_of(run):
    return [json.loads(line) for line in run.stage_file("data.jsonl", "rejection").read_text().splitlines()]


def test_only_right_samples_become_demonstrations_with_all_that_sft_wants_to_know(tmp_path, guesser):
    plan = plan_rejection()
    run = trained(plan, tmp_path / "run")
    rows = data_of(run)
    assert len(rows) > 10
    for row in rows:
        question, answer = (message["content"] for message in row["messages"])
        assert answer.endswith(f"<answer>{''.join(sorted(question[1:5]))}</answer>")
        assert row["reward"] == 1.0
        assert row["tokens"] == len(answer)
        assert {key: row[key] for key in ("env", "domain", "chat", "language")} == {
            "env": "sort-4", "domain": "logic", "chat": True, "language": None
        }  # fmt: skip
    assert max(sum(other["task_id"] == row["task_id"] for other in rows) for row in rows) == 2


def test_the_statistics_are_those_of_the_data(tmp_path, guesser):
    plan = plan_rejection()
    run = trained(plan, tmp_path / "run")
    (record,) = json.loads(run.stage_file("table.json", "rejection").read_text())["data"]
    assert (record["prompts"], record["sampled"], record["kept"]) == (12, 48, len(data_of(run)))
    assert sum(row["tokens/sampled"] for row in run.metrics()) == record["sampled_tokens"]


def test_sft_learns_from_what_rejection_left(tmp_path):
    """A recipe of two stages; every sample is good enough here."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: two\npresets:\n  tiny:\n    stages:\n"
        "    - {name: samples, trainer: rejection, config: {preset: tiny-cpu, sampling: {prompts: 16}, keep: {threshold: 0}}}\n"
        "    - {name: tuned, trainer: sft, config: {model: tiny, data: 'stage:samples/data.jsonl', epochs: 1, optim: {batch_size: 4}, preflight: {mode: report}}}\n"
    )
    plan = plan_training(str(recipe))
    check_plan(plan)
    run = trained(plan, tmp_path / "run")
    samples = run.stage_file("data.jsonl", "samples").read_text().splitlines()
    assert len(run.metrics("tuned")) == -(-len(samples) // 4)


class PowerCutError(Exception):
    """What a test throws in its place."""


MOMENTS = {
    "between the log and the shard": (drawing, "write_shard", 2),
    "before the file is written": (loop, "write_data", 1),
    "before the table is written": (loop, "write_table", 1),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_crash_at_a_bad_moment_changes_nothing(tmp_path, guesser, monkeypatch, moment):
    plan = plan_rejection()
    whole = trained(plan, tmp_path / "whole")
    place, name, number = MOMENTS[moment]
    calls, real = [], getattr(place, name)

    def crash(*arguments):
        calls.append(1)
        if len(calls) == number:
            raise PowerCutError
        return real(*arguments)

    broken = start(plan, tmp_path / "broken")
    with monkeypatch.context() as patch:
        patch.setattr(place, name, crash)
        with pytest.raises(PowerCutError):
            execute(plan, broken)
    execute(plan, resumed := Run.open(tmp_path / "broken"))
    assert data_of(resumed) == data_of(whole)
    assert told(resumed) == told(whole)


def test_a_stage_that_was_done_but_not_remembered_is_not_done_again(tmp_path, guesser, monkeypatch):
    plan = plan_rejection()
    run = start(plan, tmp_path / "run")

    def cut(*_):
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(Run, "finish_stage", cut)
        with pytest.raises(PowerCutError):
            execute(plan, run)
    before = told(run)
    execute(plan, resumed := Run.open(tmp_path / "run"))
    assert told(resumed) == before
    assert resumed.finished_stages() == ["rejection"]


@pytest.mark.nightly
def test_kill_9_in_the_middle_loses_and_doubles_nothing(tmp_path):
    settings = ["prompts=512", "prompts_per_batch=4", "keep.threshold=0", "device=cpu"]
    command = [
        sys.executable,
        "-c",
        "from r1env.cli.main import main; main()",
        "train",
        "rejection",
        "--preset",
        "tiny-cpu",
        "--quiet",
    ]
    command += [word for setting in settings for word in ("--set", setting)]
    subprocess.run([*command, "--output", tmp_path / "whole"], check=True, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([*command, "--output", tmp_path / "broken"], stdout=subprocess.DEVNULL)
    stage = tmp_path / "broken" / "checkpoints" / "rejection"
    deadline = time.monotonic() + 120
    while len(list(stage.glob("shard-*"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (stage / "data.jsonl").exists()
    resume = [*command[:3], "train", "--resume", str(tmp_path / "broken"), "--quiet"]
    subprocess.run(resume, check=True, stdout=subprocess.DEVNULL)
    whole, broken = Run.open(tmp_path / "whole"), Run.open(tmp_path / "broken")
    assert data_of(broken) == data_of(whole)
    assert told(broken) == told(whole)


def general(path, count):
    path.write_text("".join(json.dumps({"prompt": f"hello {i}", "completion": "good day"}) + "\n" for i in range(count)))
    return str(path)


def test_general_data_is_mixed_in_by_count_and_by_weight(tmp_path, guesser):
    counted, weighted = general(tmp_path / "counted.jsonl", 9), general(tmp_path / "weighted.jsonl", 90)
    extra = [{"data": counted, "count": 3}, {"data": weighted, "weight": 0.5, "domain": "writing"}]
    plan = plan_rejection(extra=extra)
    run = trained(plan, tmp_path / "run")
    rows = data_of(run)
    domains = [row["domain"] for row in rows]
    assert domains.count("general") == 3
    assert domains.count("writing") == round(0.5 * domains.count("logic"))
    prompts = [row["messages"][0]["content"] for row in rows if row["domain"] == "writing"]
    assert len(set(prompts)) == len(prompts)


def test_more_general_data_than_there_is_is_refused_before_the_first_sample(tmp_path):
    with pytest.raises(UsageError, match=r"has 2 rows, fewer than asked for \(5\)"):
        check_extra([ExtraData(data=general(tmp_path / "g.jsonl", 2), count=5)])


def test_a_prompt_that_comes_again_is_drawn_for_once(tmp_path, guesser):
    plan = plan_rejection(env_options={"style": "compact", "digits": 2}, sampling={"prompts": 120, "prompts_per_batch": 30})
    run = trained(plan, tmp_path / "run")
    (record,) = json.loads(run.stage_file("table.json", "rejection").read_text())["data"]
    assert record["prompts"] < 100  # there are a hundred questions of two digits, a tenth of them held out


def test_nothing_kept_is_an_end_with_a_reason(tmp_path, guesser):
    plan = plan_rejection(keep={"threshold": 2.0})
    with pytest.raises(TrainingStoppedError, match=r"none of 48 samples was kept \(wrong 48\)"):
        trained(plan, tmp_path / "run")


def test_a_filter_by_a_reward_that_is_not_installed_is_refused_before_the_first_sample():
    plan = plan_rejection(keep={"filters": [{"reward": "langage", "at_least": 0.9}]})
    with pytest.raises(UnknownNameError, match="did you mean 'language'"):
        check_plan(plan)


def test_samples_of_a_mixture_are_scored_and_told_by_their_own_environments(tmp_path):
    torch.set_num_threads(1)
    mixture = [
        {"env": "sort-4", "env_options": {"style": "compact"}},
        {"env": "column-addition", "env_options": {"style": "compact"}},
    ]
    plan = plan_rejection(env=None, mixture=mixture, sampling={"prompts": 8}, keep={"threshold": 0})
    run = trained(plan, tmp_path / "run")
    assert {row["env"] for row in data_of(run)} == {"sort-4", "column-addition"}
    assert [record["domain"] for record in json.loads(run.stage_file("table.json", "rejection").read_text())["data"]] == [
        "logic",
        "math",
    ]
