"""`r1env settings`, the settings in `r1env train NAME --help`, and plans that are recipes."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

import r1env
from r1env.cli.main import make_app
from r1env.recipes import plan_training, plan_yaml
from r1env.runs.run import Run


def run(*arguments):
    return CliRunner().invoke(make_app(r1env.installed()), [str(argument) for argument in arguments], prog_name="r1env")


def test_settings_say_value_origin_and_publication():
    rows = {row["path"]: row for row in json.loads(run("settings", "grpo", "--preset", "r1-zero", "--json").stdout)}
    assert (rows["optim.lr"]["value"], rows["optim.lr"]["default"], rows["optim.lr"]["from"]) == (3e-6, 1e-6, "preset")
    assert "Nature 645:633" in rows["optim.lr"]["source"]
    assert rows["optim.warmup_steps"]["source"].startswith("our choice")
    assert (rows["model"]["from"], rows["eval.every"]["from"]) == ("required", "default")
    assert (
        "DAPO"
        in {row["path"]: row for row in json.loads(run("settings", "grpo", "--json").stdout)}["algo.clip_ratio_high"]["source"]
    )


def test_settings_for_people_are_grouped():
    shown = run("settings", "sft").stdout
    assert "\noptim: Optimizer (AdamW) and learning rate." in shown
    assert "  optim.lr " in shown
    assert "module:attribute" not in shown


def test_settings_show_the_names_of_an_open_list():
    shown = " ".join(run("settings", "grpo").stdout.split())
    assert "names, or module:attribute, or file.py:attribute" in shown
    assert "algo.kl_estimator k1, k2, k3" in shown
    assert "algo.loss clipped, cispo" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("settings", "grop"), "unknown trainer 'grop'; did you mean 'grpo'"),
        (("settings", "grpo", "--preset", "r1-zer"), "unknown preset of trainer 'grpo': 'r1-zer'; did you mean 'r1-zero'"),
        (("settings", "r1-zero"), "r1-zero is a recipe of the trainers sft, grpo"),
    ],
)
def test_what_has_no_settings_is_wrong_usage(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    "words", [("grpo", "--help"), ("--help", "grpo"), ("--preset", "r1-zero", "grpo", "-h"), ("--quiet", "grpo", "-h")]
)
def test_help_after_a_trainer_lists_its_settings_by_group(words):
    shown = " ".join(run("train", *words).stdout.split())
    assert "algo.clip_ratio_high The ratio is clipped above 1 + clip_ratio_high. [float >= 0; default: 0.28]" in shown
    assert "optim: Optimizer (AdamW) and learning rate" in shown


def test_help_without_a_name_is_short_and_after_a_recipe_names_its_stages():
    assert "optim.lr" not in run("train", "--help").stdout
    assert "settings of the trainer grpo" in " ".join(run("train", "r1-zero", "--help").stdout.split())


def test_an_unknown_name_before_help_is_one_line():
    result = run("train", "grop", "--help")
    assert (result.exit_code, "did you mean 'grpo'" in result.stderr) == (2, True)


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("recipe", ["r1", "r1-zero", "hacking", "distill-vs-rl"])
def test_a_plan_is_a_recipe_that_plans_the_same_again(recipe, everything, tmp_path):
    path = tmp_path / "plan.yaml"
    for preset in r1env.installed().recipe(recipe).presets:
        plan = plan_training(recipe, preset=preset)
        path.write_text(plan_yaml(plan, everything=everything))
        assert plan_training(str(path)) == plan


def test_the_dry_run_of_r1_is_short():
    lines = run("train", "r1", "--dry-run").stdout.splitlines()
    assert len(lines) <= 100  # two screens
    assert max(map(len, lines)) <= 160
    assert yaml.safe_load("\n".join(lines))["name"] == "r1"


def test_the_config_of_a_run_is_a_recipe_too(tmp_path):
    plan = plan_training("grpo", preset="tiny-cpu", overrides={"optim.lr": 0.5})
    Run.create(tmp_path / "run", plan.model_dump(mode="json"), seed=0)
    again = plan_training(str(tmp_path / "run" / "config.yaml"), overrides={"sampling": {"group_size": 4}})
    assert again.stages[0].config["optim"]["lr"] == 0.5
    assert again.stages[0].config["sampling"]["group_size"] == 4
    assert (again.name, again.preset) == ("grpo", "tiny-cpu")


def test_the_config_of_an_old_run_is_read_with_warnings(tmp_path):
    old = {
        "name": "grpo",
        "preset": None,
        "stages": [
            {
                "name": "grpo",
                "trainer": "grpo",
                "config": {"model": "tiny", "env": "sort-4", "lr": 0.25, "engine": "transformers"},
            }
        ],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    with pytest.warns(FutureWarning, match="'engine' is"), pytest.warns(FutureWarning, match=r"'lr' is 'optim\.lr' now"):
        plan = plan_training(str(tmp_path / "config.yaml"))
    assert plan.stages[0].config["optim"]["lr"] == 0.25


def test_an_old_name_in_an_override_goes_before_a_preset():
    with pytest.warns(FutureWarning, match="'group_size'"):
        plan = plan_training("grpo", preset="tiny-cpu", overrides={"group_size": 4})
    assert plan.stages[0].config["sampling"]["group_size"] == 4


def test_a_recipe_has_stages_or_presets_and_not_both(tmp_path):
    path = tmp_path / "both.yaml"
    for content in (
        "name: x\n",
        "name: x\nstages: [{name: a, trainer: sft}]\npresets: {p: {stages: [{name: a, trainer: sft}]}}\n",
    ):
        path.write_text(content)
        with pytest.raises(r1env.errors.UsageError, match="either stages or presets"):
            plan_training(str(path))
