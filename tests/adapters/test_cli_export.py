"""`r1env export` writes files that the stacks' own way of loading takes, and spoils nothing."""

from __future__ import annotations

import importlib.util
import runpy

import pytest
from typer.testing import CliRunner

from r1env.cli.main import make_app
from r1env.plugins import installed


@pytest.fixture
def export(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(make_app(installed()), ["export", *arguments], prog_name="r1env")

    return run


@pytest.mark.parametrize(("stack", "name"), [("trl", "reward"), ("verl", "compute_score"), ("openrlhf", "reward_func")])
def test_the_file_holds_the_rubric_and_the_name_that_the_stack_looks_for(export, tmp_path, stack, name):
    done = export("--to", stack, "--rubric", "zero", "--output", "reward.py")
    assert (done.exit_code, done.stderr) == (0, "")
    spec = importlib.util.spec_from_file_location("not_in_sys_modules", tmp_path / "reward.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(getattr(module, name))
    assert [choice["reward"] for choice in module.RUBRIC["rewards"]] == ["math", "format"]


@pytest.mark.parametrize(
    ("stack", "flag"),
    [
        ("trl", "trl grpo --reward_funcs reward.reward"),
        ("verl", "reward.custom_reward_function.path={path}"),
        ("verl", "algorithm.gdpo_reward_keys='[format]'"),
        ("openrlhf", "--reward.remote_url {path} --data.label_key label"),
    ],
)
def test_the_first_lines_say_the_flags(export, tmp_path, stack, flag):
    assert export("--to", stack, "--rubric", "format", "--output", "reward.py").exit_code == 0
    comment = (tmp_path / "reward.py").read_text().split("\nfrom ")[0]
    assert flag.format(path=tmp_path / "reward.py") in comment
    assert all(line.startswith("#") for line in comment.splitlines() if line)


def test_a_rubric_file_and_options_are_written_into_it(export, tmp_path):
    (tmp_path / "mine.yaml").write_text('name: "it\'s\\nmine"\nrewards: [{reward: accuracy}, {reward: format, weight: 0.5}]\n')
    done = export("--to", "verl", "--rubric", "mine.yaml", "--option", "format.template=r1", "--output", "reward.py")
    assert done.exit_code == 0, done.stderr
    (tmp_path / "mine.yaml").unlink()
    assert runpy.run_path(str(tmp_path / "reward.py"))["RUBRIC"] == {
        "name": "it's\nmine",
        "rewards": [
            {"reward": "math", "weight": 1.0},
            {"reward": "format", "weight": 0.5, "options": {"template": "r1"}},
        ],
    }


def test_a_file_that_is_there_is_overwritten_only_by_force(export, tmp_path):
    (tmp_path / "reward.py").write_text("mine")
    arguments = ("--to", "verl", "--rubric", "format", "--output", "reward.py")
    refused = export(*arguments)
    assert (refused.exit_code, refused.stderr) == (2, "error: reward.py exists; add --force to overwrite it\n")
    assert (tmp_path / "reward.py").read_text() == "mine"
    assert export(*arguments, "--force").exit_code == 0
    assert "RUBRIC" in (tmp_path / "reward.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--to", "tlr", "--output", "a.py"), "unknown stack 'tlr'; did you mean 'trl'?"),
        (("--to", "trl", "--rubric", "zerro", "--output", "a.py"), "did you mean 'zero'"),
        (("--to", "trl", "--accuracy", "formatt", "--output", "a.py"), "did you mean 'format'"),
        (("--to", "trl", "--output", "my-reward.py"), "call it like a Python module"),
        (("--to", "trl", "--output", "no/where.py"), "cannot write no/where.py"),
        (("--to", "trl", "--option", "template=r1", "--output", "a.py"), "REWARD.KEY=VALUE"),
        (("--to", "trl", "--option", "format.template=r2", "--output", "a.py"), "unknown format template 'r2'"),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_no_file(export, tmp_path, arguments, told):
    done = export(*arguments)
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_reward_of_a_file_is_named_by_its_absolute_path(export, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def mine(completion):\n    return len(completion)\n")
    assert export("--to", "trl", "--rubric", "mine.py:mine", "--output", "reward.py").exit_code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    function = runpy.run_path(str(tmp_path / "reward.py"))["reward"]
    assert function(prompts=["q"], completions=["abc"]) == [3.0]


@pytest.mark.parametrize("stack", ["verl", "openrlhf"])
def test_a_group_reward_is_refused_for_a_stack_that_scores_one_response_at_a_time(export, tmp_path, stack):
    (tmp_path / "mine.py").write_text(
        "import r1env\n\n@r1env.reward(scope='group')\ndef mine(completions):\n    return [1.0] * len(completions)\n"
    )
    done = export("--to", stack, "--rubric", "accuracy", "--accuracy", "mine.py:mine", "--output", "reward.py")
    assert (done.exit_code, "needs all responses to a task" in done.stderr) == (2, True)
    assert not (tmp_path / "reward.py").exists()
