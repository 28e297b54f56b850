"""The recipe `gsm8k`: a cold start on part of the training set, reinforcement learning on the rest, measured on the test set."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import r1env
from r1env.cli.main import make_app
from r1env.errors import UsageError
from r1env.plugins import installed
from r1env.recipes import check_plan, config_class_of, execute, plan_training
from r1env.runs.run import Run
from r1env.runs.tables import read_tables
from r1env_benchmarks.demonstrators import worked_solution
from r1env_trainers.settings import open_evaluation, open_suite

PRESETS = ("gemma3-270m", "smollm2-135m", "qwen2.5-0.5b")


@pytest.fixture
def folder(tmp_path):
    """Two splits of sums as GSM8K writes them."""
    for split, first in (("train", 2), ("test", 100)):
        rows = [
            {"question": f"Ann has {n} pens and buys 3. How many?", "answer": f"{n}+3 = <<{n}+3={n + 3}>>{n + 3}\n#### {n + 3}"}
            for n in range(first, first + 40)
        ]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def _plan(preset, folder, **changes):
    stages = {stage.name: {"env_options": {"data": str(folder)}} for stage in plan_training("gsm8k", preset=preset).stages}
    return plan_training("gsm8k", preset=preset, overrides={name: {**stages[name], **changes.get(name, {})} for name in stages})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_planned_and_is_measured_on_the_whole_test_set(preset, folder):
    plan = _plan(preset, folder)
    check_plan(plan)
    for stage in plan.stages:
        if stage.trainer == "evaluate":
            assert stage.config["limit"] == 1319


def test_no_question_is_in_both_stages_and_the_evaluation_has_the_whole_test_set(folder):
    parts = []
    for options in ({"part": (0, 0.4)}, {"part": (0.4, 1)}):
        source = r1env.make_environment("gsm8k", data=str(folder), split="train", **options).source
        parts.append({source.task(index).prompt[0]["content"] for index in range(source.size)})
    assert parts[0]
    assert parts[1]
    assert not parts[0] & parts[1]
    assert len(parts[0] | parts[1]) == 40

    (rl,) = (stage for stage in _plan("gemma3-270m", folder).stages if stage.name == "rl")
    config = config_class_of(installed(), "grpo").model_validate(rl.config)
    training = open_suite(config, "accuracy")
    (environment,) = open_evaluation(config, "accuracy", [training], **config.eval.env_options).environments
    assert environment.source.size == 40


def test_data_of_ones_own_go_to_every_stage(folder):
    command = ["train", "gsm8k", "--preset", "smollm2-135m", "--data", str(folder), "--dry-run", "--json"]
    result = CliRunner().invoke(make_app(installed()), command)
    assert result.exit_code == 0, result.output
    stages = json.loads(result.stdout)["stages"]
    assert [stage["config"]["env"] for stage in stages] == ["gsm8k"] * 3
    assert {stage["config"]["env_options"]["data"] for stage in stages} == {str(folder)}


def test_a_worked_solution_becomes_a_completion_that_its_own_checker_pays(folder):
    task = r1env.make_environment("gsm8k", data=str(folder), split="train").task(0)
    completion = worked_solution(task, np.random.default_rng(0))
    assert "<<" not in completion
    assert "####" not in completion
    rollout = r1env.Rollout(task=task, completion=completion)
    assert [r1env.get_reward(name).score(rollout).value for name in ("math", "format")] == [1, 1]

    with pytest.raises(UsageError, match="has no worked solution"):
        worked_solution(r1env.Task(id="1", prompt="6 * 7?", answer="42"), np.random.default_rng(0))


@pytest.mark.slow
def test_the_stages_run_one_after_the_other(folder, tmp_path):
    short = {"template": "plain", "sampling": {"max_new_tokens": 4}}
    plan = _plan(
        "smollm2-135m",
        folder,
        **{
            "cold-start": {"model": "tiny", "template": "plain", "steps": 2, "optim": {"batch_size": 4}},
            "rl": {
                **short,
                "steps": 1,
                "sampling": {"prompts_per_step": 2, "group_size": 2, "max_new_tokens": 4},
                "eval": {"every": 0},
            },
            "table": {**short, "models": {"before": "tiny"}},
        },
    )
    run = Run.create(tmp_path / "run", plan.model_dump(mode="json"), seed=0)
    execute(plan, run)
    ((_, table),) = read_tables(run)
    assert [row[0] for row in table.rows] == ["before", "cold start", "cold start and RL"]
