"""`r1env score` on Parquet files, and as a stream."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from r1env.cli.rows import CHUNK_BYTES, CHUNK_LINES, chunks

pyarrow = pytest.importorskip("pyarrow", reason="needs r1env[parquet]")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = [
    {"id": 7, "prompt": "say 42", "completion": "42", "answer": "42", "bonus": None},
    {"id": 8, "prompt": "say 42", "completion": "41", "answer": "42", "bonus": 1.5},
    {"id": 9, "prompt": "say 42", "completion": None, "answer": "42", "bonus": None},
]


def test_parquet_has_the_verdicts_that_json_lines_have(r1env_program: Any, tmp_path: Path) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "in.parquet")
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for ending in ("parquet", "jsonl"):
        result = r1env_program(
            "score", "--reward", "exact", "--input", tmp_path / f"in.{ending}", "--output", tmp_path / f"out.{ending}"
        )
        assert result.exit_code == 1, result.output  # one row has no completion
    from_parquet = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    from_lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in from_parquet] == ["7", "8", "9"]
    for column in ("value", "status", "reason"):
        assert [row[column] for row in from_parquet] == [row[column] for row in from_lines]
    assert [dict(row["parts"]) for row in from_parquet] == [row["parts"] for row in from_lines]


def test_a_file_that_is_no_parquet_is_refused_in_one_line(r1env_program: Any, tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_text("{}")
    result = r1env_program("score", "--reward", "exact", "--input", tmp_path / "in.parquet")
    assert result.exit_code == 2
    assert "it is no Parquet file" in result.stderr
    assert "Traceback" not in result.stderr


def test_text_that_is_no_unicode_does_not_stop_a_parquet_file(r1env_program: Any, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "\\ud800", "completion": "\\udfff", "answer": "x"}\n')
    result = r1env_program("score", "--reward", "exact", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.parquet")
    assert result.exit_code == 0, result.output
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist()[0]["id"] == "?"


def test_no_more_is_read_ahead_than_a_chunk_of_lines_or_bytes() -> None:
    read = 0

    def endless(line: bytes) -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield line

    assert len(next(chunks(endless(b"{}\n")))) == CHUNK_LINES == read
    read = 0
    assert len(next(chunks(endless(b"x" * (CHUNK_BYTES // 2))))) == 2 == read


def test_an_address_without_ray_is_refused(r1env_program: Any) -> None:
    result = r1env_program("score", "--reward", "exact", "--ray-address", "auto", stdin="")
    assert (result.exit_code, "--ray-address needs --ray" in result.stderr) == (2, True)


def test_a_missing_ray_is_named_with_the_remedy(r1env_program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = r1env_program("score", "--reward", "exact", "--ray", stdin="")
    assert (result.exit_code, "pip install 'r1env[ray]'" in result.stderr) == (2, True)


def test_the_columns_of_a_parquet_file_come_along_with_their_types(r1env_program: Any, tmp_path: Path) -> None:
    given = [{"id": n, "completion": "a", "answer": "a", "level": n, "tags": ["x"], "extra": {"k": n}} for n in range(700)]
    parquet.write_table(pyarrow.Table.from_pylist(given), tmp_path / "in.parquet")
    result = r1env_program(
        "score", "--reward", "exact", "--input", tmp_path / "in.parquet", "--output", tmp_path / "out.parquet"
    )
    assert result.exit_code == 0, result.output
    found = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [{key: row[key] for key in ("level", "tags", "extra")} for row in found] == [
        {key: row[key] for key in ("level", "tags", "extra")} for row in given
    ]


def test_a_column_that_changes_its_type_is_told(r1env_program: Any, tmp_path: Path) -> None:
    rows = [{"id": n, "completion": "a", "level": n if n < 600 else "high"} for n in range(700)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("score", "--reward", "exact", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.parquet")
    result = r1env_program(*arguments)
    assert (result.exit_code, "values of another type" in result.stderr) == (2, True)
    assert r1env_program(*arguments, "--no-carry").exit_code == 0
