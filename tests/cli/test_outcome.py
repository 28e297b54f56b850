"""What a finished training suggests to try next."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from r1env.cli.outcome import Usage, next_commands, outcome_of
from r1env.recipes import Plan, Stage
from r1env.runs.run import Run


def plan(**config: object) -> Plan:
    return Plan(name="demo", preset="tiny", stages=(Stage(name="rl", trainer="t", config={"seed": 4, **config}),))


def commands(tmp_path: Path, made: Plan, command: Sequence[str] = ()) -> list[str]:
    return next_commands(Run.create(tmp_path / "a run", made.model_dump(mode="json"), seed=4, command=command), made)


def test_sampling_and_evaluation_use_the_settings_of_the_run(tmp_path: Path) -> None:
    made = plan(
        env="sort-4",
        env_options={"style": "compact"},
        eval={"env_options": {"split": "test"}},
        sampling={"max_new_tokens": 12},
        template="boxed",
    )
    sample, evaluation, _ = commands(tmp_path, made)
    where = (
        f"--model '{tmp_path}/a run/checkpoints/rl/model' --env sort-4 -o style=compact -o split=test "
        "--template boxed --max-new-tokens 12"
    )
    assert sample == f"r1env sample {where} --limit 3"
    assert evaluation == f"r1env eval {where} --temperature 0 --limit 256"


def test_an_evaluation_is_not_proposed_on_the_file_that_was_trained_on(tmp_path: Path) -> None:
    data = tmp_path / "train.jsonl"
    data.write_text("{}")
    sample, evaluation, _ = commands(tmp_path, plan(env="gsm8k", env_options={"data": str(data)}))
    assert f"-o data={data}" in sample
    assert "-o data=TEST_FILE" in evaluation
    _, held_out, _ = commands(tmp_path / "b", plan(env="gsm8k", env_options={"data": str(data)}, hold_out=0.1))
    assert f"-o data={data} -o hold_out=0.1" in held_out


def test_a_stage_without_an_environment_has_three_commands_too(tmp_path: Path) -> None:
    assert [command.split()[1] for command in commands(tmp_path, plan())] == ["report", "train", "envs"]


@pytest.mark.parametrize(
    ("command", "again"),
    [
        ((), "r1env train demo --preset tiny --seed 5"),
        (("r1env", "train", "x.yaml", "--seed=4", "--output", "there"), "r1env train x.yaml --seed 5"),
        (("r1env", "train", "x", "--seed", "4", "--set", "rl.optim.lr=1"), "r1env train x --set rl.optim.lr=1 --seed 5"),
    ],
)
def test_another_seed_repeats_the_command_in_a_new_folder(tmp_path: Path, command: tuple[str, ...], again: str) -> None:
    assert commands(tmp_path, plan(env="e"), command)[-1] == again


def test_a_run_that_is_not_done_names_the_models_it_has_and_the_stages_still_to_be_run(tmp_path: Path) -> None:
    stages = tuple(Stage(name=name, trainer="t", config={"seed": 0}) for name in ("dev1", "data", "dev2"))
    made = Plan(name="demo", stages=stages)
    run = Run.create(tmp_path / "run", made.model_dump(mode="json"), seed=0)
    for name in ("dev1", "data"):
        run.start_stage(name)
        if name != "data":
            run.log(0, {"eval/accuracy": 0.25})
            run.log(1, {"eval/accuracy": 0.5})
            run.model_dir().mkdir(parents=True)
        run.finish_stage(name)
    outcome = outcome_of(run, made, Usage.start(), "no report")
    assert (outcome.model, outcome.models) == (str(run.model_dir("dev1")), {"dev1": str(run.model_dir("dev1"))})
    assert (outcome.before, outcome.after, outcome.left) == (0.25, 0.5, ("dev2",))
    assert any(line.startswith("not run: dev2; go on with") for line in outcome.lines())


def test_what_to_try_next_is_about_the_newest_model_even_where_the_last_stage_left_none(tmp_path: Path) -> None:
    stages = (
        Stage(
            name="rl",
            trainer="t",
            config={"seed": 4, "env": None, "mixture": [{"env": "sort-4", "env_options": {"digits": 3}}]},
        ),
        Stage(name="table", trainer="t", config={"seed": 4, "env": "other"}),
    )
    made = Plan(name="demo", stages=stages)
    run = Run.create(tmp_path / "run", made.model_dump(mode="json"), seed=4)
    for name in ("rl", "table"):
        run.start_stage(name)
        if name == "rl":
            run.model_dir().mkdir(parents=True)
        run.finish_stage(name)
    sample = next_commands(run, made)[0]
    assert sample == f"r1env sample --model {tmp_path}/run/checkpoints/rl/model --env sort-4 -o digits=3 --limit 3"
