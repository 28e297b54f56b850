"""What strangers' packages do to the host program: nothing. Real entry points, on the path of a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CLASHING = """
import r1env

@r1env.hookimpl
def r1env_rewards():
    return [r1env.RewardSpec("math", "stranger_clashing:nothing", "another one"), r1env.RewardSpec("fine", "math:sqrt", "")]

@r1env.hookimpl
def r1env_environments():
    return [r1env.EnvironmentSpec("sort-4", "stranger_clashing:nothing", reward="fine", summary="")]

@r1env.hookimpl
def r1env_commands():
    return [r1env.CommandSpec("train", "stranger_clashing:nothing", "")]
"""
BROKEN = {
    "stranger_exits": "raise SystemExit('goodbye')",
    "stranger_missing": "import no_such_library_anywhere",
    "stranger_raises": "import r1env\n@r1env.hookimpl\ndef r1env_rewards():\n    raise ValueError('on strike')",
    "stranger_nonsense": "import r1env\n@r1env.hookimpl\ndef r1env_environments():\n    return None",
    "stranger_naming": (
        "import r1env\n@r1env.hookimpl\ndef r1env_environments():\n"
        "    return [r1env.EnvironmentSpec('not an id!', 'a:b', reward='math', summary='')]"
    ),
}


@pytest.fixture
def strangers(tmp_path: Path) -> dict[str, str]:
    """An environment for subprocesses in which all of them are installed."""
    for name, source in {"stranger_clashing": CLASHING, **BROKEN}.items():
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-3.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 3.1\n")
        (info / "entry_points.txt").write_text(f"[r1env]\n{name} = {name}\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def python(code: str, strangers: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=strangers)


def cli(*arguments: str, strangers: dict[str, str]) -> subprocess.CompletedProcess[str]:
    start = "import sys; from r1env.cli.main import main; sys.argv = ['r1env', *sys.argv[1:]]; main()"
    return subprocess.run([sys.executable, "-c", start, *arguments], capture_output=True, text=True, env=strangers)


@pytest.mark.parametrize("code", ["import r1env, gymnasium", "import gymnasium, r1env"])
def test_imports_go_on_and_sound_environments_work(code: str, strangers: dict[str, str]) -> None:
    done = python(f"{code}; print(gymnasium.make('r1env/add-1digit', disable_env_checker=True).spec.id)", strangers)
    assert (done.returncode, done.stdout.strip()) == (0, "r1env/add-1digit"), done.stderr


@pytest.mark.slow
def test_the_check_has_a_line_for_each_fault_and_exits_1(strangers: dict[str, str]) -> None:
    done = cli("plugins", "--check", strangers=strangers)
    assert done.returncode == 1
    broken = [line for line in done.stderr.splitlines() if line.startswith("broken: ")]
    for name in BROKEN:
        assert sum(f"{name.replace('_', '-')} 3.1" in line for line in broken) == 1, name
    (clash,) = [line for line in broken if "the reward 'math'" in line]
    assert "r1env-math" in clash
    assert "stranger-clashing 3.1" in clash
    assert any("the environment 'sort-4'" in line and "r1env-logic" in line for line in broken)
    assert any("the command 'train', which r1env has itself" in line for line in broken)


def test_listings_go_on_and_a_sound_name_of_a_clashing_plugin_is_found(strangers: dict[str, str]) -> None:
    assert "sort-4" in cli("envs", strangers=strangers).stdout
    assert "train" in cli("--help", strangers=strangers).stdout
    done = python("import r1env; print(r1env.installed().find(r1env.RewardSpec, 'fine').target)", strangers)
    assert done.stdout.strip() == "math:sqrt"


def test_asking_for_a_name_that_clashes_is_one_line_with_both_distributions(strangers: dict[str, str]) -> None:
    done = cli("score", "--reward", "math", strangers=strangers)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "two plugins provide the reward 'math'" in line
    assert "r1env-math" in line
    assert "stranger-clashing 3.1" in line
