"""How the program speaks: help, faults, exit codes, start-up."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import r1env.cli.main as main_module
from r1env import __version__
from r1env.cli.main import COMMANDS, make_app
from r1env.hooks import CommandSpec, hookimpl
from r1env.plugins import Plugins, Provenance

PROGRAM = [sys.executable, "-c", "from r1env.cli.main import main; main()"]


@pytest.mark.parametrize("command", [*([spec.name] for spec in COMMANDS), ["new", "reward"], ["greet"], []], ids=" ".join)
def test_every_command_has_help_with_an_example(r1env_program: Any, command: list[str]) -> None:
    result = r1env_program(*command, "--help")
    assert result.exit_code == 0
    assert "Example:" in result.stdout
    assert f"r1env {' '.join(command)}".rstrip() in result.stdout


def test_the_list_of_commands_has_a_line_for_each(r1env_program: Any) -> None:
    listing = r1env_program("--help").stdout
    for spec in COMMANDS:
        assert f"  {spec.name} " in listing
        assert spec.summary in listing


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["trian"], "No such command 'trian'."),
        (["train", "--stepps", "3"], "--stepps"),
        (["show"], "ENV"),
        (["plugins", "--kind", "reward"], "'reward' is no kind; known: rewards"),
        (["new"], "Missing command"),
    ],
)
def test_wrong_usage_is_one_line_that_points_to_the_help(r1env_program: Any, arguments: list[str], told: str) -> None:
    result = r1env_program(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert told in result.stderr
    assert "--help" in result.stderr


@pytest.mark.parametrize("command", [[], ["train"], ["new", "reward"], ["greet"]], ids=" ".join)
def test_h_is_help(r1env_program: Any, command: list[str]) -> None:
    assert r1env_program(*command, "-h").stdout == r1env_program(*command, "--help").stdout


def test_version_is_an_option_too(r1env_program: Any) -> None:
    assert r1env_program("--version").stdout == f"r1env {__version__}\n"


def test_a_run_that_is_not_there_is_wrong_usage(r1env_program: Any) -> None:
    result = r1env_program("train", "--resume", "nowhere")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_an_unforeseen_fault_is_one_line_that_says_how_to_see_more(r1env_program: Any) -> None:
    result = r1env_program("fault")
    assert result.exit_code == 1
    assert result.stderr == "error: RuntimeError: first line second line (run `r1env --debug …` to see where)\n"


def test_debug_shows_the_fault_itself(r1env_program: Any) -> None:
    result = r1env_program("--debug", "fault")
    assert isinstance(result.exception, RuntimeError)


def test_an_interruption_is_one_line_and_exit_code_130(r1env_program: Any) -> None:
    result = r1env_program("interrupt")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_a_plugins_command_takes_its_own_options(r1env_program: Any) -> None:
    assert r1env_program("greet", "--name", "me").stdout == "hello me\n"
    refused = r1env_program("greet", "--nam", "me")
    assert refused.exit_code == 2
    assert "(see `r1env greet --help`)" in refused.stderr


def command_plugin(name: str, target: str) -> Plugins:
    class Hooks:
        @staticmethod
        @hookimpl
        def r1env_commands() -> list[CommandSpec]:
            return [CommandSpec(name, target, "")]

    return Plugins({Provenance("p", "r1env-p", "1"): Hooks})


def test_a_plugin_may_bring_a_whole_program(monkeypatch: pytest.MonkeyPatch) -> None:
    sub = typer.Typer()

    @sub.command()
    def one() -> None:
        typer.echo("one")

    @sub.command()
    def two() -> None:
        raise typer.Exit(3)

    monkeypatch.setattr(main_module, "sub_program", sub, raising=False)
    app = make_app(command_plugin("more", "r1env.cli.main:sub_program"))
    assert CliRunner().invoke(app, ["more", "one"]).stdout == "one\n"
    assert CliRunner().invoke(app, ["more", "two"]).exit_code == 3


def test_a_plugins_command_that_cannot_be_imported_is_told_when_it_is_called() -> None:
    app = make_app(command_plugin("more", "r1env_nowhere:app"))
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0
    result = CliRunner().invoke(app, ["more"])
    assert result.exit_code == 1
    assert "r1env_nowhere" in result.stderr


def test_a_plugin_cannot_replace_our_commands_and_plugins_check_says_so() -> None:
    app = make_app(command_plugin("train", "m:a"))
    assert "Train a model" in CliRunner().invoke(app, ["train", "--help"]).stdout
    check = CliRunner().invoke(app, ["plugins", "--check"])
    assert check.exit_code == 1
    assert "provides the command 'train', which r1env has itself" in check.output


def run_program(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, cwd=folder, timeout=60, check=False)


def test_the_installed_program_runs(tmp_path: Path) -> None:
    result = run_program("version", folder=tmp_path)
    assert (result.returncode, result.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize("module", ["r1env", "r1env_sandbox"])
def test_a_package_runs_as_its_program(module: str, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)

    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"{module.replace('_', '-')} {__version__}\n")
    assert run("--no-such-option").returncode == 2


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    script = """
import sys
from r1env.cli.main import main
sys.argv = ["r1env", "--help"]
try:
    main()
except SystemExit as stop:
    assert stop.code == 0
heavy = {"torch", "transformers", "datasets", "sympy", "docker", "jinja2"} & set(sys.modules)
sys.exit(", ".join(sorted(heavy)) or None)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_reader_that_leaves_early_is_no_fault(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'from r1env.cli.main import main; main()' plugins --json | head -c 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert "error" not in result.stderr
    assert "Traceback" not in result.stderr
