"""`read_rows` over every format, and column maps."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1env.data import ColumnMap, read_rows
from r1env.data.rows import FORMATS, MISSING, at_path, describe_columns, read_literal
from r1env.errors import DataError, NoSplitError, UsageError

ROWS = [
    {"question": "How many legs have two cats?", "answer": "8", "level": 1},
    {"question": "Wie heißt „fünf“?\nAuf Englisch", "answer": "five, or 5", "level": 2},
    {"question": 'A "quoted" one', "answer": "#### 7", "level": 3},
]


def write(path: Path, rows=ROWS) -> Path:
    """Write rows in the format of the name."""
    kind = path.name.partition(".")[2].partition(".")[0]
    if kind == "arrow":
        arrow = pytest.importorskip("pyarrow")
        table, open_ = arrow.Table.from_pylist(rows), arrow.ipc.new_stream if "stream" in path.name else arrow.ipc.new_file
        with open_(str(path), table.schema) as file:
            file.write_table(table)
        return path
    if kind == "parquet":
        arrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(rows), path, row_group_size=2)
        return path
    if kind in ("csv", "tsv"):
        import csv
        import io

        text = io.StringIO()
        writer = csv.writer(text, delimiter="," if kind == "csv" else "\t")
        writer.writerow(rows[0])
        writer.writerows(row.values() for row in rows)
        data = text.getvalue()
    else:
        data = json.dumps(rows, indent=1) if kind == "json" else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(COMPRESS.get(path.suffix, bytes)(data.encode()))
    return path


def zstd(data: bytes) -> bytes:
    return pytest.importorskip("pyarrow").compress(data, codec="zstd", asbytes=True)


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}
FILES = [
    *("a.jsonl", "a.ndjson", "a.json", "a.csv", "a.tsv", "a.parquet", "a.arrow", "stream.arrow"),
    *(f"a.{kind}{end}" for kind in ("jsonl", "json", "csv") for end in COMPRESS),
]


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_rows_streamed_and_by_index(tmp_path, name):
    rows = read_rows(write(tmp_path / name))
    expected = ROWS if "csv" not in name and "tsv" not in name else [{**row, "level": str(row["level"])} for row in ROWS]
    assert list(rows) == expected
    assert [rows[place] for place in range(len(rows))] == expected
    assert rows[-1].where == f"{tmp_path / name}, {'line' if '.jsonl' in name or 'ndjson' in name else 'row'} 3"
    assert rows.columns == ("question", "answer", "level")
    assert pickle.loads(pickle.dumps(rows))[1] == rows[1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bom.jsonl", '\ufeff{"a": 1}\r\n\r\n{"a": 2}\r\n'),
        ("bom.json", '\ufeff [{"a": 1},\n {"a": 2}]\n'),
        ("lines.json", '{"a": 1}\n{"a": 2}\n'),
        ("no-name", '{"a": 1}\n{"a": 2}'),
        ("around.json", '{"name": "legs", "examples": [{"a": 1}, {"a": 2}]}'),
        ("around-pretty.json", '{\n"examples": [\n{"a": 1},\n{"a": 2}\n]\n}'),
        ("compressed-without-saying-so.jsonl", gzip.compress(b'{"a": 1}\n{"a": 2}\n', mtime=0)),
    ],
)
def test_the_content_decides_where_the_name_is_wrong(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert [row["a"] for row in read_rows(path)] == [1, 2]


def test_rows_that_are_arrays_have_columns_by_number(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('[{"value": "1 + 1?"}, {"truth": {"value": "2"}}]\n')
    (row,) = read_rows(path)
    assert ColumnMap.parse("question=0.value,answer=[1].truth.value").read(row) == {"question": "1 + 1?", "answer": "2"}


def test_an_array_is_read_a_piece_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("r1env.data.rows._JsonPart.piece", 3)
    assert list(read_rows(write(tmp_path / "a.json"))) == ROWS


def test_several_files_folders_and_globs(tmp_path):
    for name in ("train-0.jsonl", "train-1.jsonl", "test.jsonl"):
        write(tmp_path / name, [{"from": name}])
    (tmp_path / "README.md").write_text("not data")
    assert [row["from"] for row in read_rows([tmp_path / "test.jsonl", tmp_path / "train-1.jsonl"])] == [
        "test.jsonl",
        "train-1.jsonl",
    ]
    assert len(read_rows(f"{tmp_path}/test.jsonl,{tmp_path}/train-0.jsonl")) == 2
    assert [row["from"] for row in read_rows(f"{tmp_path}/train-*.jsonl")] == ["train-0.jsonl", "train-1.jsonl"]
    assert [row["from"] for row in read_rows(tmp_path, split="train")] == ["train-0.jsonl", "train-1.jsonl"]
    assert [row["from"] for row in read_rows(f"{tmp_path}@test")] == ["test.jsonl"]
    assert len(read_rows(tmp_path, split="all")) == 3
    with pytest.raises(NoSplitError, match="belong to the splits test, train; name one"):
        read_rows(tmp_path)
    with pytest.raises(NoSplitError, match="no split 'validation'"):
        read_rows(tmp_path, split="validation")
    with pytest.raises(NoSplitError, match="one set of rows without a split 'test'; hold_out"):
        read_rows(tmp_path / "test.jsonl", split="test")


def test_a_folder_of_several_formats_is_ambiguous(tmp_path):
    write(tmp_path / "a.jsonl")
    write(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"several formats \(.csv, .jsonl\); name one"):
        read_rows(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n\n{"a": \n', "line 3: not JSON"),
        ("a.jsonl", b'{"a": 1}\n"text"\n', "line 2: expected an object, got str"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "line 2: not JSON .*can't decode"),
        ("a.jsonl", b"[" * 100_000, "line 1: not JSON"),
        ("a.jsonl", b'{"a": ' + b"1" * 5000 + b"}", "line 1: not JSON .*digits"),
        ("a.jsonl", b"\n \n", "there are no rows"),
        ("a.json", b'[{"a": 1}, {"a": 2]', "row 2: not JSON"),
        ("a.json", b'[{"a": 1} {"a": 2}]', "row 1: not JSON .expected ',' or ']'"),
        ("a.json", b'[{"a": 1}] []', "more after the end of the array"),
        ("a.json", b"[]", "there are no rows"),
        ("a.json", b'{"config":\n {"lr": 1}}', "one JSON object with config; a data file is an array"),
        ("a.csv", b"a,b\n1,2\n3\n", "row 2: it has 1 fields, the header 2 .line 3."),
        ("a.csv", b"a,a\n1,2\n", "two columns have the same name"),
        ("a.csv", b'a,b\n"1,2\n', "not CSV"),
        ("a.csv", b"a\n\xff\n", "not UTF-8"),
        ("a.parquet", b"PAR1 and no more", "Arrow cannot read it"),
        ("a.parquet", b"nothing of it", "no Parquet file"),
        ("a.jsonl", "{}\n".encode("utf-16"), "UTF-16; write it as UTF-8"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 100, mtime=0)[:-20], "damaged|Compressed file"),
        (
            "a.jsonl.gz",
            b"<html>",
            "not JSON .*its name ends in .gz, and it is not compressed like that: rename it, or fetch it",
        ),
        ("a.json.xz", b'{"a"\n', "not JSON .*its name ends in .xz"),
        ("a.jsonl.gz", gzip.compress(b"<html>", mtime=0), r"not JSON \([^)]*\)$"),
        ("a.jsonl.bz2", bz2.compress(b'{"a": 1}\n' * 100)[:-20], "damaged"),
        ("a.jsonl.xz", lzma.compress(b'{"a": 1}\n' * 100)[:-20], "damaged"),
        ("a.arrow", b"ARROW1 and no more", "Arrow cannot read it"),
        ("a.arrow", b"nothing of it", "Arrow cannot read it"),
        ("a.xlsx", b"PK\x03\x04", "ZIP archive or a spreadsheet; unpack it, or save it as CSV"),
        (
            "columns.json",
            b'{"question": ["a", "b"], "answer": ["1", "2"]}',
            "one JSON object with question, answer.*orient='records'",
        ),
        ("by-key.json", b'{"0": {"question": "a"}, "1": {"question": "b"}}', "one JSON object with 0, 1"),
        ("picture.png", b"\x89PNG", "neither its name nor its content"),
    ],
)
def test_a_faulty_file_is_refused_in_one_line_that_names_the_place(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        list(iter(read_rows(path)))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_the_library_datasets_wrote_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list(ROWS)
    rows.save_to_disk(tmp_path / "one")
    assert list(read_rows(tmp_path / "one")) == ROWS
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(tmp_path / "two")
    assert list(read_rows(tmp_path / "two", "test")) == ROWS
    with pytest.raises(NoSplitError, match="belong to the splits test, train; name one"):
        read_rows(tmp_path / "two")


def test_a_header_of_csv_may_have_blanks_around_its_names(tmp_path):
    (tmp_path / "a.csv").write_text("question , answer\n2 + 2?,4\n")
    assert read_rows(tmp_path / "a.csv").columns == ("question", "answer")


@pytest.mark.parametrize(
    ("row", "suggested"),
    [
        ({"Frage": "?", "Antwort": "4"}, "question=Frage,answer=Antwort"),
        ({"QUESTION": "?", "Gold": "4"}, "question=QUESTION,answer=Gold"),
        ({"id": 1, "data": {"problem": "?", "answer": "4"}}, "question=data.problem,answer=data.answer"),
        ({"id": 1, "Body": "?", "Equation": "", "Type": ""}, "question=Body,answer=COLUMN"),
    ],
)
def test_the_map_to_copy_is_a_good_guess_or_says_that_a_column_is_to_be_named(row, suggested):
    assert describe_columns(row).endswith(f"--map {suggested}")


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such file or folder; a data set of the hub is written hub:openai/gsm8k"):
        read_rows("openai/gsm8k")
    with pytest.raises(DataError, match="no file matches"):
        read_rows(f"{tmp_path}/*.jsonl")
    with pytest.raises(DataError, match="no data file in it"):
        read_rows(tmp_path)
    with pytest.raises(DataError, match="hub:owner/name"):
        read_rows("hub:a/b/c")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("r1env.data.rows.MAX_LINE", 100)
    for name in ("a.jsonl", "a.json", "a.csv"):
        path = tmp_path / name
        path.write_text('[{"a": "' + "x" * 1000 + '"}' if name != "a.csv" else "a\n" + "x" * 1000)
        with pytest.raises(DataError):
            read_rows(path)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([*FORMATS, ".jsonl.gz", ""]),
    st.binary(max_size=200) | st.text(alphabet='[]{},:"1a\n\\ \x00;', max_size=60).map(str.encode),
)
def test_any_bytes_give_rows_or_a_data_error(tmp_path_factory, suffix, content):
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    for data in (content, gzip.compress(content), b"PAR1" + content + b"PAR1"):
        path.write_bytes(data)
        with contextlib.suppress(DataError):  # anything else fails the test
            rows = read_rows(path)
            streamed = list(iter(rows))
            assert str([rows[place] for place in range(len(rows))]) == str(streamed)


def test_a_hub_data_set_is_read_through_the_library(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)  # the library takes a local folder for a data set too
    folder = tmp_path / "owner" / "legs"
    folder.mkdir(parents=True)
    write(folder / "train.jsonl")
    write(folder / "test.jsonl", ROWS[:1])
    assert [row["answer"] for row in read_rows("hub:owner/legs@train")] == [row["answer"] for row in ROWS]
    assert read_rows("hub:owner/legs", split="test")[0].where == "hub:owner/legs, row 1"
    with pytest.raises(NoSplitError, match=r"has the splits .*; name one: hub:owner/legs@"):
        read_rows("hub:owner/legs")
    with pytest.raises(NoSplitError, match="hub:owner/legs"):
        read_rows("hub:owner/legs@dev")


def test_importing_the_reader_loads_no_arrow_and_no_numpy():
    code = "import sys, r1env.data; print([name for name in ('pyarrow', 'numpy', 'datasets') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_missing_libraries_are_named_with_the_extra(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'r1env\[parquet\]'"):
        read_rows(path)
    with pytest.raises(UsageError, match=r"pip install 'r1env\[hub\]'"):
        read_rows("hub:owner/name@train")


# Column maps.

NESTED = {
    "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
    "reward_model": {"ground_truth": "4", "style": None},
    "info": '{"answer": ["5", "6"]}',
    "literal": "{'answer': (7, None)}",
    "a.b": {"c": 8},
    "Qwen/Qwen3-4B_avg_reward": 0.5,
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("prompt[-1].content", "u"),
        ("prompt.0.content", "s"),
        ("reward_model.ground_truth", "4"),
        ("reward_model.style", None),
        ("info.answer[1]", "6"),
        ("literal.answer[0]", 7),
        ("a.b.c", 8),
        ("Qwen/Qwen3-4B_avg_reward", 0.5),
        ("prompt[2].content", MISSING),
        ("prompt.content", MISSING),
        ("reward_model.", MISSING),
        ("nothing", MISSING),
        ("", MISSING),
    ],
)
def test_a_path_leads_into_what_a_column_holds(path, value):
    assert at_path(NESTED, path) == value


@given(
    st.dictionaries(st.text(max_size=5), st.recursive(st.none() | st.text(max_size=5), st.lists, max_leaves=5)),
    st.text(max_size=12),
)
def test_any_path_into_anything_ends(row, path):
    at_path(row, path)
    assert all(at_path(row, name) == value for name, value in row.items())


@given(st.text(max_size=40))
def test_text_is_read_as_data_and_never_run(text):
    read_literal(text)
    assert read_literal("__import__('os').getcwd()") is MISSING


def test_a_map_says_what_it_means_and_what_is_wrong():
    columns = ColumnMap.parse(["prompt=problem", " answer = reward_model.ground_truth "])
    assert dict(columns) == {"question": "problem", "answer": "reward_model.ground_truth"}
    assert ColumnMap.parse(str(columns)) == columns
    for text, message in (
        ("problem", "expected FIELD=COLUMN"),
        ("quesstion=a", "unknown field 'quesstion'; known: question"),
        ("question=", "the name of the column is missing"),
        ("question=a,prompt=b", "'question' twice"),
    ):
        with pytest.raises(UsageError, match=message):
            ColumnMap.parse(text)


def test_a_map_that_leads_nowhere_lists_the_columns_and_a_map_to_copy(tmp_path):
    row = read_rows(write(tmp_path / "a.jsonl"))[1]
    with pytest.raises(DataError) as caught:
        ColumnMap.parse("question=problem").read(row)
    assert str(caught.value) == (
        f"{tmp_path / 'a.jsonl'}, line 2: no 'problem' (--map question=problem); its columns: question, answer, level; "
        "say which is which: --map question=question,answer=answer"
    )
    assert describe_columns({"Frage": 1, "Antwort": 2}).endswith("--map question=Frage,answer=Antwort")
