"""`--data` and `--map` on the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from r1env.adapters.core import task_of
from r1env.cli.main import make_app
from r1env.data import read_rows
from r1env.plugins import installed

ROWS = [{"frage": f"{n} + {n}?", "antwort": f"Denk nach. \\boxed{{{2 * n}}}", "stufe": n} for n in (1, 2, 3)]
MAP = ("--map", "question=frage", "--map", "answer=antwort")


@pytest.fixture(scope="module")
def app():
    return make_app(installed())


@pytest.fixture
def run(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments], prog_name="r1env")


@pytest.fixture
def rows(tmp_path) -> str:
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)
    return path.name


def write(name: str, *rows: object) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return name


def test_show_says_what_became_of_each_column_and_how_the_model_sees_the_row(run, rows):
    result = run("show", "--data", rows, *MAP, "--index", 1)
    assert result.exit_code == 0, result.output
    for said in (
        "frage",
        "question",
        "stufe",
        "metadata",
        "rows.csv, row 2",
        "2 + 2?",
        "put your final answer within \\boxed{}",
    ):
        assert said in result.stdout
    assert "3 references read from worked solutions" in result.stderr
    shown = json.loads(run("show", "--data", rows, *MAP, "--index", 1, "--json").stdout)
    assert (shown["answer"], shown["columns"]["stufe"], shown["kind"]) == ("4", "metadata", "math")


def test_show_shows_demonstrations_and_pairs_too(run):
    text = run("show", "--data", write("a.jsonl", {"instruction": "Sing.", "input": "", "output": "La."})).stdout
    assert "Alpaca" in text
    assert "assistant (demonstration 1)\nLa." in text
    text = run("show", "--data", write("b.jsonl", {"prompt": "Sing.", "chosen": "La.", "rejected": "No."})).stdout
    assert "assistant (rejected)\nNo." in text


def test_show_of_a_file_that_is_not_understood_says_what_to_write(run):
    result = run("show", "--data", write("a.jsonl", {"Frage": "?", "Antwort": "!"}))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert (
        "a.jsonl, line 1: no known layout; its columns: Frage, Antwort; say which is which: --map question=Frage,answer=Antwort"
        in result.stderr
    )
    assert "has 3 rows; --index 7 is beyond them" in run("show", "--data", write("b.jsonl", *ROWS), *MAP, "--index", 7).stderr


def test_rows_are_evaluated_without_a_word_about_an_environment(run, rows):
    result = run(
        "eval", "--engine", "scripted", "--model", "\\boxed{4}", "--data", rows, *MAP, "--json", "--output", "out.jsonl"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["accuracy"] == pytest.approx(1 / 3)
    assert json.loads(Path("out.jsonl").read_text("utf-8").splitlines()[0])["task_id"] == "data-0"


def test_repeated_rows_are_left_out_on_request(run, rows):
    twice = write("twice.jsonl", *ROWS, *ROWS)
    command = ("eval", "--engine", "scripted", "--model", "x", "--data", twice, *MAP, "--json", "--output", "out.jsonl")
    assert json.loads(run(*command).stdout)["tasks"] == 6
    assert json.loads(run(*command, "--drop-repeated").stdout)["tasks"] == 3
    refused = run("train", "sft", "--model", "tiny", "--data", twice, "--drop-repeated")
    assert "--drop-repeated is for tasks, and sft learns from demonstrations or pairs" in refused.stderr


def test_samples_are_drawn_for_rows(run, rows):
    result = run("sample", "--engine", "scripted", "--model", "x", "--data", rows, *MAP, "--limit", 1, "--json")
    row = json.loads(result.stdout)
    assert (row["prompt"], row["answer"], row["stufe"], row["completion"]) == ("1 + 1?", "2", "1", "x")


def test_training_takes_tasks_or_demonstrations_from_rows(run, rows):
    result = run("train", "grpo", "--preset", "tiny-cpu", "--data", rows, *MAP, "--set", "hold_out=0.4", "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("references read from worked solutions") == 1
    (stage,) = yaml.safe_load(result.stdout)["stages"]
    assert stage["config"]["env"] == "data"
    assert stage["config"]["env_options"] == {"data": "rows.csv", "map": "question=frage,answer=antwort"}
    result = run("train", "sft", "--model", "tiny", "--data", write("a.jsonl", {"prompt": "a", "completion": "b"}), "--dry-run")
    assert result.exit_code == 0, result.output
    assert "data: a.jsonl" in result.stdout


@pytest.mark.parametrize("stack", ["trl", "verl", "openrlhf"])
def test_rows_are_exported_for_another_stack_with_their_tasks(run, rows, stack):
    for name in ("out.jsonl", "out.parquet"):
        result = run("export", "--to", stack, "--data", rows, *MAP, "--rows", name, "--output", "reward.py", "--force")
        assert result.exit_code == 0, result.output
        assert f"{name}: 3 rows" in result.stdout
        first = next(iter(read_rows(name)))
        assert "\\boxed{}" in first["prompt"][-1]["content"]
        told = first if stack == "trl" else first["extra_info"] if stack == "verl" else json.loads(first["label"])
        task = task_of("", told)
        assert (task.answer, task.metadata["stufe"]) == ("2", "1")
    refused = run("export", "--to", stack, "--data", rows, "--output", "other.py")
    assert "--rows FILE is where the tasks of --data or --env are written" in refused.stderr


def test_tasks_that_never_end_are_exported_up_to_a_limit(run, tmp_path):
    command = (
        "export",
        "--to",
        "trl",
        "--env",
        "sort-4",
        "-o",
        "style=compact",
        "--rows",
        "rows.jsonl",
        "--output",
        "reward.py",
    )
    refused = run(*command)
    assert refused.exit_code == 2
    assert "say how many to write with --limit" in refused.stderr
    assert not Path("reward.py").exists()
    assert run(*command, "--limit", "3").exit_code == 0
    assert [json.loads(line)["prompt"][0]["content"][0] for line in Path("rows.jsonl").read_text().splitlines()] == ["s"] * 3


def test_an_audit_takes_its_tasks_from_rows(run, rows):
    result = run("audit", "--reward", "math", "--data", rows, *MAP, "--attack", "empty", "--json")
    report = json.loads(result.stdout)
    assert report["tasks"] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show",), "say which tasks: --env ENV (see `r1env envs`), or --data FILE"),
        (("show", "sort-4", "--map", "question=q"), "--map says what the columns of --data are; give --data too"),
        (("eval", "--model", "x", "--data", "nowhere.jsonl"), "nowhere.jsonl: cannot read it: there is no such file or folder"),
        (("show", "--data", "rows.csv", "--map", "frage"), "expected FIELD=COLUMN"),
    ],
)
def test_wrong_usage_is_one_line(run, rows, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
