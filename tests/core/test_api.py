"""`r1env.train` and `r1env.evaluate`: the command line's objects, from Python."""

from __future__ import annotations

import asyncio

import pytest

import r1env
from r1env import UsageError
from r1env.api import reference_to
from r1env.data.sources import ListSource
from r1env.engines import SamplingParams
from r1env.importing import load_object
from r1env.runs.run import Run

SMALL = {"steps": 2, "sampling": {"prompts_per_step": 2, "group_size": 2}, "eval": {"every": 0}, "device": "cpu"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("api") / "run"
    local = r1env.reward(name="local")(lambda completion: float(len(completion)))  # has no import path
    return r1env.train("grpo", preset="tiny-cpu", rewards=["accuracy", (local, 0.01)], output=folder, **SMALL)


def test_training_returns_the_run_that_the_command_line_would_write(trained):
    assert trained.finished_stages() == ["grpo"]
    rows = trained.metrics("grpo")
    assert [row["step"] for row in rows] == [1, 2]
    assert "parts/local" in rows[0]
    assert (trained.path / "manifest.json").is_file()
    assert trained.model_dir("grpo").is_dir()


def test_evaluation_is_on_the_split_that_training_does_not_see(trained):
    params = SamplingParams(max_new_tokens=12, temperature=0)
    found = r1env.evaluate(trained.model_dir("grpo"), "sort-4", limit=8, params=params, style="compact")
    assert (found.tasks, len(found.rows)) == (8, 8)
    train = {r1env.make_environment("sort-4", split="train").task(index).id for index in range(500)}
    assert not train & {row.task_id for row in found.rows}


def test_both_work_inside_a_running_event_loop():
    async def notebook():
        return r1env.evaluate("", "add-1digit", engine="scripted", engine_options={"text": "7"}, limit=5)

    assert asyncio.run(notebook()).tasks == 5


def test_dotted_settings_and_listeners(tmp_path):
    steps = []
    run = r1env.train(
        "grpo",
        preset="tiny-cpu",
        output=tmp_path / "run",
        listeners=[lambda event: steps.append(event.step)],
        **{**SMALL, "optim.lr": 5e-5, "steps": 1},
    )
    assert run.plan["stages"][0]["config"]["optim"]["lr"] == 5e-5
    assert steps == [1]


def test_a_finished_run_is_gone_on_with_by_its_folder_alone(trained):
    assert r1env.train(resume=trained.path).finished_stages() == ["grpo"]
    with pytest.raises(UsageError, match="leave them out"):
        r1env.train("grpo", resume=trained.path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "name what to train"),
        ({"name": "grppo"}, "did you mean 'grpo'"),
        ({"name": "grpo", "preset": "tiny-cpu", "sampling": {"temprature": 1}}, "did you mean"),
        ({"name": "grpo", "preset": "tiny-cpu", "rewards": [3]}, "not a int"),
        ({"name": "grpo", "preset": "tiny-cpu", "rewards": ["acuracy"]}, "acuracy"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(arguments, message, tmp_path):
    name = arguments.pop("name")
    with pytest.raises(UsageError, match=message):
        r1env.train(name, output=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_a_function_with_an_import_path_is_named_by_it_so_that_another_process_can_resume():
    reference = reference_to(r1env.get_reward("exact"))
    assert reference == "r1env_logic.answers:exact"
    assert load_object(reference, "reward").name == "exact"


def test_functions_without_one_have_names_of_their_own():
    first, second = (lambda completion: 1.0), (lambda completion: 0.0)
    names = {reference_to(first), reference_to(second), reference_to(first)}
    assert len(names) == 2
    assert all(name.startswith("r1env.here:") for name in names)


def test_settings_take_objects_where_they_name_something(tmp_path):
    def tasks():
        return ListSource([r1env.Task(id=str(n), prompt=f"{n} + {n}?", answer=str(2 * n)) for n in range(20)])

    spec = r1env.EnvironmentSpec("doubles", tasks, reward="math", summary="doubling numbers")
    calls = []

    def reinforce(logprobs, old_logprobs, advantages):
        calls.append(logprobs.shape)
        return -advantages * logprobs

    def politely(task):
        return [{"role": "user", "content": f"{task.question} Please."}]

    run = r1env.train(
        "grpo",
        preset="tiny-cpu",
        env=spec,
        env_options={},
        template=politely,
        rewards=[lambda completion: sum(map(str.isdigit, completion)) / 10],
        output=tmp_path / "run",
        **{**SMALL, "steps": 1, "algo": {"loss": reinforce}},
    )
    assert calls
    assert run.plan["stages"][0]["config"]["env"].startswith("r1env.here:")
    found = r1env.evaluate("", spec, engine="scripted", engine_options={"text": "8"}, template=politely)
    assert (found.tasks, found.accuracy) == (20, 1 / 20)


def test_config_yaml_names_the_reward_of_a_function(trained):
    rewards = trained.plan["stages"][0]["config"]["rubric"]["rewards"]
    assert rewards[0]["reward"] == "accuracy"
    assert rewards[1]["reward"].startswith("r1env.here:local")
