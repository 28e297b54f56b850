"""`r1env decontaminate`."""

import json
from pathlib import Path
from typing import Any

QUESTION = "A baker has seven trays of eleven rolls each and sells forty of them before noon. How many rolls are left?"


def test_the_command_writes_clean_rows_and_a_report(r1env_program: Any, tmp_path: Path) -> None:
    clean, leaked = (
        {"question": "What is the capital of the country that lies to the north of Italy?", "answer": "Bern"},
        {"question": QUESTION, "answer": "37"},
    )
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (clean, leaked, clean)))
    (tmp_path / "bench.jsonl").write_text(json.dumps({"problem": QUESTION, "answer": "37", "id": "b7"}) + "\n")
    arguments = ("decontaminate", tmp_path / "train.jsonl", "--against", tmp_path / "bench.jsonl")
    result = r1env_program(*arguments, "--output", tmp_path / "clean.jsonl", "--report", tmp_path / "report.jsonl", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["contaminated"] == 1
    assert [json.loads(line) for line in (tmp_path / "clean.jsonl").read_text().splitlines()] == [clean, clean]
    [found] = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert found["where"].endswith("line 2")
    assert found["row"] == leaked


def test_wrong_usage_of_the_command_is_one_line(r1env_program: Any, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"question": "?", "answer": "1"}\n')
    for arguments, told in (
        (("train.jsonl", "--against", "nothing.jsonl"), "nothing.jsonl"),
        (("train.jsonl", "--against", "endless"), "makes up its tasks"),
    ):
        result = r1env_program("decontaminate", tmp_path / arguments[0], *arguments[1:])
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
        assert told in result.stderr
