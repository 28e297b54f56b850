"""What a finished training suggests to try next."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from r1env.cli.outcome import next_commands
from r1env.recipes import Plan, Stage
from r1env.runs.run import Run


def plan(**config: object) -> Plan:
    return Plan(name="demo", preset="tiny", stages=(Stage(name="rl", trainer="t", config={"seed": 4, **config}),))


def commands(tmp_path: Path, made: Plan, command: Sequence[str] = ()) -> list[str]:
    return next_commands(Run.create(tmp_path / "a run", made.model_dump(mode="json"), seed=4, command=command), made)


def test_sampling_and_evaluation_use_the_settings_of_the_run(tmp_path: Path) -> None:
    made = plan(
        env="sort-4", env_options={"style": "compact"}, eval_options={"split": "test"}, max_new_tokens=12, template="boxed"
    )
    sample, evaluation, _ = commands(tmp_path, made)
    where = (
        f"--model '{tmp_path}/a run/checkpoints/rl/model' --env sort-4 -o style=compact -o split=test "
        "--template boxed --max-new-tokens 12"
    )
    assert sample == f"r1env sample {where} --limit 3"
    assert evaluation == f"r1env eval {where} --temperature 0 --limit 256"


def test_a_stage_without_an_environment_has_three_commands_too(tmp_path: Path) -> None:
    assert [command.split()[1] for command in commands(tmp_path, plan())] == ["report", "train", "envs"]


@pytest.mark.parametrize(
    ("command", "again"),
    [
        ((), "r1env train demo --preset tiny --seed 5"),
        (("r1env", "train", "x.yaml", "--seed=4", "--output", "there"), "r1env train x.yaml --seed 5"),
        (("r1env", "train", "x", "--seed", "4", "--set", "rl.lr=1"), "r1env train x --set rl.lr=1 --seed 5"),
    ],
)
def test_another_seed_repeats_the_command_in_a_new_folder(tmp_path: Path, command: tuple[str, ...], again: str) -> None:
    assert commands(tmp_path, plan(env="e"), command)[-1] == again
