"""The trainer `evaluate`: models side by side, as a table."""

from __future__ import annotations

import json

import pytest
import torch
from training_runs import trained

from r1env.errors import UsageError
from r1env.monitoring.report import write_report
from r1env.recipes import check_plan, execute, plan_training
from r1env.runs.run import Run
from r1env_trainers.evaluate import EvaluateConfig

SORTING = {"env": "sort-4", "env_options": {"style": "compact"}, "limit": 6, "sampling.max_new_tokens": 12}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def evaluated(path, **settings):
    plan = plan_training("evaluate", overrides={"model": "tiny", **SORTING, **settings})
    check_plan(plan)
    run = trained(plan, path)
    return run, json.loads(run.stage_file("table.json", "evaluate").read_text())


def test_a_row_a_model_with_its_interval(tmp_path):
    _, table = evaluated(tmp_path / "run", models={"first": "tiny", "second": "tiny-2m"})
    assert table["columns"] == ["model", "sort-4", "length"]
    assert [row[:2] for row in table["rows"]] == [["first", "0.0 % [0.0, 39.0]"], ["second", "0.0 % [0.0, 39.0]"]]
    assert table["data"][0]["environments"]["sort-4"]["interval"] == pytest.approx([0.0, 0.390], abs=1e-3)


def test_without_models_the_one_model_is_measured(tmp_path):
    _, table = evaluated(tmp_path / "run")
    assert [row[0] for row in table["rows"]] == ["model"]


def test_a_mixture_has_columns_for_each_environment_and_for_each_further_reward(tmp_path):
    mixture = [{"env": name, "env_options": {"style": "compact"}} for name in ("sort-4", "column-addition")]
    _, table = evaluated(tmp_path / "run", env=None, env_options={}, mixture=mixture, rubric="zero")
    assert table["columns"] == [
        *("model", "sort-4", "sort-4 format", "sort-4 length"),
        *("column-addition", "column-addition format", "column-addition length"),
    ]


def test_costs_are_the_steps_and_sampled_tokens_of_the_stages_named(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    tuning = "{preset: tiny-cpu, steps: 3, optim.batch_size: 4}"
    learning = "{preset: tiny-cpu, model: 'stage:a', steps: 2, sampling: {prompts_per_step: 2, group_size: 2}, rubric: accuracy, eval.every: 0}"
    table = (
        "{models: {a: 'stage:a', b: 'stage:b'}, costs: {a: [a], b: [a, b]}, env: sort-4, limit: 2, sampling.max_new_tokens: 4}"
    )
    recipe.write_text(
        "name: two\npresets:\n  tiny:\n    stages:\n"
        f"    - {{name: a, trainer: sft, config: {tuning}}}\n"
        f"    - {{name: b, trainer: grpo, config: {learning}}}\n"
        f"    - {{name: table, trainer: evaluate, config: {table}}}\n"
    )
    plan = plan_training(str(recipe))
    check_plan(plan)
    run = trained(plan, tmp_path / "run")
    first, second = json.loads(run.stage_file("table.json", "table").read_text())["data"]
    assert (first["updates"], first["sampled_tokens"]) == (3, None)
    assert second["updates"] == 5
    assert second["sampled_tokens"] == sum(row.get("tokens/sampled", 0) for row in run.metrics("b")) > 0


def test_the_report_shows_the_table_and_escapes_what_stands_in_it(tmp_path):
    run, _ = evaluated(tmp_path / "run", models={"<b>": "tiny"}, title="T < U")
    page = write_report(run).read_text()
    assert "T &lt; U" in page
    assert "<td>&lt;b&gt;</td>" in page


def test_a_stage_that_was_done_but_not_remembered_is_not_done_again(tmp_path):
    run, _ = evaluated(tmp_path / "run")
    told = run.metrics()
    state = json.loads((run.path / "state.json").read_text())
    (run.path / "state.json").write_text(json.dumps({**state, "finished": []}))
    plan = plan_training("evaluate", overrides={"model": "tiny", **SORTING})
    execute(plan, resumed := Run.open(run.path))
    assert resumed.metrics() == told
    assert resumed.finished_stages() == ["evaluate"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": None}, "give env"),
        ({"sampling.n": 4}, "4 greedy completions of a task are the same"),
        ({"costs": {"a": ("rl",)}}, "costs of a: no such row"),
        ({"mixture": [{"env": "sort-4"}]}, "not both"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EvaluateConfig(**{"model": "tiny", "env": "sort-4", **settings})


def test_a_rubric_without_the_checker_is_refused_before_the_first_completion():
    rubric = {"name": "form", "rewards": [{"reward": "format"}]}
    plan = plan_training("evaluate", overrides={"model": "tiny", **SORTING, "rubric": rubric})
    with pytest.raises(UsageError, match="rubric 'form' has no reward 'accuracy'"):
        check_plan(plan)
