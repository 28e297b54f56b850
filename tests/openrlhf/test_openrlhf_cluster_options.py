"""`--nodes`, `--gpus` and `--ray-address` of `r1env train`: from the command line into the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from r1env.cli.main import make_app
from r1env.plugins import installed
from r1env_openrlhf.installation import INTERPRETER

FOUND = {
    "python": "3.11.0",
    "versions": {
        **{"openrlhf": "0.11.2", "vllm": "0.29.0", "ray": "2.55.0", "deepspeed": "0.19.6", "torch": "2.13.0"},
        **{
            "transformers": "5.15.0",
            "r1env": "0.1.0",
            "r1env_trainers": "0.1.0",
            "r1env_openrlhf": "0.1.0",
            "flash_attn": None,
        },
    },
    "complaint": None,
}


@pytest.fixture(autouse=True)
def environment_with_openrlhf(tmp_path, monkeypatch) -> Path:
    """An interpreter whose environment has all that it takes, by its own word; keeps what it was asked."""
    asked = tmp_path / "asked.json"
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\ncat >{asked}\ncat <<'END'\n{json.dumps(FOUND)}\nEND\n")
    interpreter.chmod(0o755)
    monkeypatch.setenv(INTERPRETER, str(interpreter))
    return asked


def dry_run(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(installed()), ["train", *arguments, "--dry-run", "--json"], prog_name="r1env")


def stages_of(result: Result) -> dict[str, dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return {stage["name"]: stage["config"] for stage in json.loads(result.stdout)["stages"]}


def test_nodes_and_gpus_reach_the_command_that_openrlhfs_parser_is_asked_about(environment_with_openrlhf):
    options = [
        "--backend",
        "openrlhf",
        "--nodes",
        "2",
        "--gpus",
        "4",
        "--ray-address",
        "auto",
        "--set",
        "openrlhf.zero_stage=3",
    ]
    stages = stages_of(dry_run("grpo", "--preset", "tiny-cpu", *options, "--set", "optim.micro_batch_size=null"))
    asked = json.loads(environment_with_openrlhf.read_text())
    words = dict(zip(asked["arguments"], asked["arguments"][1:], strict=False))
    expected = {"--actor.num_nodes": "2", "--actor.num_gpus_per_node": "4", "--vllm.num_engines": "8", "--ds.zero_stage": "3"}
    assert {flag: words[flag] for flag in expected} == expected
    assert stages["grpo"]["backend_options"]["ray_address"] == "auto"


def test_in_a_recipe_they_lay_out_the_rl_stage_and_options_of_one_stage_stay_there():
    options = ["--backend", "openrlhf", "--device", "cpu", "--ray-address", "auto"]
    stages = stages_of(dry_run("r1-zero", "--preset", "tiny-cpu", *options))
    assert (stages["base"]["backend"], stages["rl"]["backend"]) == ("local", "openrlhf")
    base = ("--set", "base.backend=openrlhf", "--set", "base.openrlhf.keep_checkpoints=5")
    stages = stages_of(dry_run("r1-zero", "--preset", "tiny-cpu", *options, *base))
    assert stages["rl"]["backend_options"] == {"ray_address": "auto"}
    assert stages["base"]["backend_options"] == {"keep_checkpoints": 5}


def test_sft_takes_the_gpus_of_one_machine(environment_with_openrlhf):
    stages_of(
        dry_run("sft", "--preset", "tiny-cpu", "--backend", "openrlhf", "--gpus", "8", "--set", "optim.micro_batch_size=8")
    )
    assert json.loads(environment_with_openrlhf.read_text())["module"] == "openrlhf.cli.train_sft"
    refused = dry_run("sft", "--preset", "tiny-cpu", "--backend", "openrlhf", "--nodes", "2")
    assert (refused.exit_code != 0, "one machine" in refused.output) == (True, True)


@pytest.mark.parametrize("option", [("--nodes", "2"), ("--gpus", "2"), ("--ray-address", "auto")])
def test_without_the_backend_they_are_refused_rather_than_forgotten(option):
    result = dry_run("grpo", "--preset", "tiny-cpu", *option)
    assert result.exit_code != 0
    assert "add --backend" in result.output
