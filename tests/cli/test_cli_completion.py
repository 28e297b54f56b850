"""What the shell offers when the user presses Tab."""

import os
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner


@pytest.fixture
def completed(r1env_program: Any) -> Any:
    """Call with a line; its last word, which may be empty, is completed."""

    def complete(line: str) -> list[str]:
        asked = {"_R1ENV_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        result = CliRunner(env=asked).invoke(r1env_program.app, [], prog_name="r1env")
        assert result.exit_code == 0, result.output
        return result.stdout.split()

    return complete


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("r1env tra", ["train"]),
        ("r1env gre", ["greet"]),  # a plugin's
        ("r1env score --rew", ["--reward"]),
        ("r1env greet --na", ["--name"]),
        ("r1env new re", ["reward"]),
        ("r1env score --reward ex", ["exact"]),
        ("r1env audit --reward d", ["detail"]),
        ("r1env eval --env ec", ["echo"]),
        ("r1env show e", ["echo", "endless"]),
        ("r1env sample --engine o", ["obedient"]),
        ("r1env train ", ["two-steps", "counter"]),
        ("r1env train two-steps --preset ", ["tiny"]),
        ("r1env train counter --steps 2 --preset q", ["quick"]),
        ("r1env settings counter --preset ", ["quick"]),
        ("r1env score --reward nothing", []),  # the shell then offers files
    ],
)
def test_commands_options_and_the_names_of_plugins_are_completed(completed: Any, line: str, offered: list[str]) -> None:
    assert completed(line) == offered


def test_completing_a_line_loads_no_heavy_library() -> None:
    """Nothing but the standard library, typer and what the core needs: Tab is answered in a fraction of a second."""
    program = (
        "import sys; sys.argv[0] = 'r1env'; from r1env.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sorted({'torch', 'transformers', 'sympy', 'docker', 'fastapi', 'duckdb', 'ray'} & sys.modules.keys()), file=sys.stderr)"
    )
    asked = {"_R1ENV_COMPLETE": "complete_bash", "COMP_WORDS": "r1env train grpo --preset tin", "COMP_CWORD": "4"}
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("tiny-cpu\n", "\n")


@pytest.mark.parametrize(
    ("shell", "in_its_script"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --command")]
)
def test_the_script_for_the_shell_can_be_shown(
    r1env_program: Any, monkeypatch: pytest.MonkeyPatch, shell: str, in_its_script: str
) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))  # a test runner may have none
    result = r1env_program("--show-completion")
    assert result.exit_code == 0
    assert "_R1ENV_COMPLETE" in result.stdout
    assert in_its_script in result.stdout
