"""Tables that stages leave in a run."""

from __future__ import annotations

import json
import math

import pytest

from r1env.errors import RunError
from r1env.runs.run import Run
from r1env.runs.tables import Table, read_tables, write_table

TABLE = Table(
    title="Accuracy",
    columns=("model", "sort-4"),
    rows=(("start", "5.0 %"), ("a|b\nc", "99.1 %")),
    notes=("greedy",),
    data=({"model": "start", "accuracy": 0.05, "kl": math.nan},),
)


@pytest.fixture
def run(tmp_path):
    run = Run.create(tmp_path / "run", {"name": "r", "stages": []}, seed=0)
    run.start_stage("table")
    return run


def test_markdown_is_aligned_and_a_cell_cannot_break_its_row():
    assert TABLE.markdown() == (
        "**Accuracy**\n\n| model  | sort-4 |\n|--------|--------|\n| start  | 5.0 %  |\n| a\\|b c | 99.1 % |\n\ngreedy\n"
    )


def test_a_table_is_read_back_once_its_stage_is_done(run):
    write_table(run, TABLE)
    assert list(read_tables(run)) == []
    run.finish_stage("table")
    ((stage, table),) = read_tables(run)
    assert stage == "table"
    assert table.rows == TABLE.rows
    assert run.stage_file("table.md", "table").read_text() == TABLE.markdown()


def test_numbers_for_programs_are_plain_json(run):
    write_table(run, TABLE)
    assert json.loads(run.stage_file("table.json").read_text())["data"] == [{"model": "start", "accuracy": 0.05, "kl": None}]


def test_a_damaged_table_is_named(run):
    write_table(run, TABLE)
    run.stage_file("table.json").write_text("{")
    run.finish_stage("table")
    with pytest.raises(RunError, match=r"cannot read .*table\.json"):
        list(read_tables(run))
