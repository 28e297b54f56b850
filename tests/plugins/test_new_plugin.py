"""What `new_plugin` writes is a whole plugin: it is found, keeps the contract, and looks like the example."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from r1env import UsageError
from r1env.rubrics import find_rubric
from r1env.scaffold import KINDS, new_plugin
from r1env.scaffold.new_plugin import render

EXAMPLE = Path(__file__).parents[2] / "examples/plugin-reward"


def run_tests_as_if_installed(folder: Path, site: Path) -> str:
    """Run a plugin's own tests with its folder on the path and its entry points declared, which is what pip would do."""
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    info = site / f"{project['name'].replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n", "utf-8")
    points = "".join(f"{name} = {target}\n" for name, target in project["entry-points"]["r1env"].items())
    (info / "entry_points.txt").write_text(f"[r1env]\n{points}", "utf-8")
    path = os.pathsep.join([str(folder), str(site), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_plugin_passes_its_own_tests(tmp_path):
    files = new_plugin("reward", "short-answer", tmp_path / "plugin")
    assert files[0] == tmp_path / "plugin/pyproject.toml"
    assert all(path.is_file() for path in files)
    assert "2 passed" in run_tests_as_if_installed(tmp_path / "plugin", tmp_path / "site")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "reward"])
def test_every_kind_of_plugin_passes_its_own_tests(tmp_path, kind):
    new_plugin(kind, "my-own", tmp_path / "plugin")
    assert "passed" in run_tests_as_if_installed(tmp_path / "plugin", tmp_path / "site")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_code_of_every_kind_is_formatted(tmp_path, kind):
    files = new_plugin(kind, "my-own", tmp_path / "plugin")
    code = [str(path) for path in files if path.suffix == ".py"]
    for arguments in (["check", "--select", "E,F,I,UP,B"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--line-length", "128", "--isolated", *code],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    for path in code:
        assert "$" not in Path(path).read_text("utf-8")


def test_the_example_is_what_the_scaffold_writes_and_so_passes_its_tests_too():
    for path, text in render("reward", "brevity", distribution="r1env-example-reward").items():
        assert (EXAMPLE / path).read_text("utf-8") == text, path


def test_the_rubric_that_comes_with_it_can_be_read(tmp_path):
    new_plugin("reward", "terse", tmp_path)
    spec = find_rubric(str(tmp_path / "rubric.yaml"))
    assert [choice.reward for choice in spec.rewards] == ["accuracy", "format", "terse"]


def test_by_default_it_goes_to_a_folder_of_the_distributions_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert new_plugin("reward", "terse")[0] == Path("r1env-terse-reward/pyproject.toml")


def test_a_name_that_python_keeps_for_itself_is_written_differently_in_code(tmp_path):
    new_plugin("reward", "lambda", tmp_path)
    assert "def lambda_(" in (tmp_path / "r1env_lambda_reward/reward.py").read_text("utf-8")


@pytest.mark.parametrize("name", ["", "Short", "7up", "a_b", "a--b", "-a", "a-", "a b", "../a", "é", "a" * 41])
def test_a_name_that_is_none_is_refused_in_one_line(tmp_path, name):
    with pytest.raises(UsageError, match="is no name for a reward") as caught:
        new_plugin("reward", name, tmp_path / "plugin")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "plugin").exists()


def test_a_name_that_is_taken_is_refused(tmp_path):
    with pytest.raises(UsageError, match="an installed reward 'format' already"):
        new_plugin("reward", "format", tmp_path / "plugin", taken={"format", "math"})


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists and is not an empty folder"):
        new_plugin("reward", "terse", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
