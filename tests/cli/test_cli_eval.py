"""`eval` and `sample`: completions from an engine, scored now or later."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


ENGINE = ("--model", "any", "--engine", "obedient")


def test_eval_prints_accuracy_with_its_interval(r1env_program: Any) -> None:
    result = r1env_program("eval", *ENGINE, "--env", "echo", "--engine-option", "wrong_every=3")
    assert result.exit_code == 0
    line = next(line for line in result.stdout.splitlines() if "accuracy" in line)
    assert "66.7%" in line
    assert "95 %" in line


def test_eval_as_json_and_rows_to_a_file(r1env_program: Any, tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    result = r1env_program(
        "eval", *ENGINE, "--env", "echo", "-o", "count=4", "--limit", 2, "--n", 2, "--json", "--output", output
    )
    found = json.loads(result.stdout)
    assert (found["model"], found["tasks"], found["samples"], found["accuracy"]) == ("any", 2, 2, 1.0)
    assert found["pass_at"] == {"1": 1.0, "2": 1.0}
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(row["task_id"], row["sample"], row["correct"]) for row in rows] == [
        ("echo-0", 0, True),
        ("echo-0", 1, True),
        ("echo-1", 0, True),
        ("echo-1", 1, True),
    ]


def test_an_endless_environment_is_cut_at_a_hundred_tasks(r1env_program: Any) -> None:
    assert json.loads(r1env_program("eval", *ENGINE, "--env", "endless", "--json").stdout)["tasks"] == 100


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((*ENGINE, "--env", "ecko"), "did you mean 'echo'?"),
        (("--model", "m", "--engine", "obediant", "--env", "echo"), "did you mean 'obedient'?"),
        ((*ENGINE, "--env", "echo", "--engine-option", "wrong=1"), "does not take these options"),
        ((*ENGINE, "--env", "echo", "--rubric", "acuracy"), "did you mean 'accuracy'"),
        ((*ENGINE, "--env", "echo", "--top-p", "0"), "--top-p must be above 0"),
        ((*ENGINE, "--env", "echo", "--repetition-penalty", "0"), "--repetition-penalty must be above 0"),
        ((*ENGINE, "--env", "echo", "--stop", ""), "--stop needs a text"),
        ((*ENGINE, "--env", "echo", "--n", "0"), "--n"),
        ((*ENGINE, "--env", "echo", "--output", "no/rows.jsonl"), "there is no folder no"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(r1env_program: Any, arguments: tuple[str, ...], told: str) -> None:
    result = r1env_program("eval", *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert told in result.stderr


def test_samples_are_printed_for_people(r1env_program: Any) -> None:
    text = r1env_program("sample", *ENGINE, "--env", "echo", "--limit", 1).stdout
    assert [line.split(maxsplit=1) for line in text.splitlines() if line] == [
        ["task", "echo-0"],
        ["prompt", "say 0"],
        ["answer", "0"],
        ["completion", "0"],
    ]


def test_samples_are_rows_that_score_reads(r1env_program: Any, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    sampled = r1env_program("sample", *ENGINE, "--env", "echo", "--limit", 3, "--n", 2, "--output", path)
    assert (sampled.exit_code, sampled.output) == (0, "")
    row = json.loads(path.read_text().splitlines()[1])
    assert row == {
        "id": "echo-0",
        "prompt": "say 0",
        "completion": "0",
        "answer": "0",
        "kind": "logic",
        "sample": 1,
        "finish_reason": "stop",
    }
    scored = r1env_program("score", "--reward", "exact", "--input", path)
    assert [json.loads(line)["value"] for line in scored.stdout.splitlines()] == [1.0] * 6


def test_sampled_json_can_be_piped_into_score(r1env_program: Any) -> None:
    sampled = r1env_program("sample", *ENGINE, "--env", "echo", "--json")
    scored = r1env_program("score", "--reward", "exact", stdin=sampled.stdout)
    assert scored.exit_code == 0
    assert len(scored.stdout.splitlines()) == 3


def test_eval_says_why_completions_are_unscored(r1env_program: Any, tmp_path: Path) -> None:
    (tmp_path / "locked.py").write_text(
        "import r1env\n"
        "from r1env.data.sources import ListSource\n"
        "def tasks():\n"
        "    return ListSource([r1env.Task(id='1', prompt='Open.', answer='1')])\n"
        "def other(task, messages):\n"
        "    raise OSError('the door is locked')\n"
        "DOOR = r1env.EnvironmentSpec('door', tasks, reward='environment', summary='', other=other, max_turns=2)\n"
    )
    result = r1env_program("eval", "--model", "x", "--engine", "scripted", "--env", "locked.py:DOOR")
    assert "the environment failed: OSError: the door is locked" in " ".join(result.stdout.split())
