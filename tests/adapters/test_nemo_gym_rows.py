"""Rows of NeMo Gym as an environment, and TRL's data sets as rows."""

from __future__ import annotations

import json

import pytest

import r1env
from r1env.adapters.nemo_gym import row_of
from r1env.envs.conversation import Tool
from r1env.errors import DataError, UsageError
from r1env.types import Rollout, Task


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_rows_of_ours_and_of_others_become_tasks(tmp_path):
    ours = row_of(Task(id="7", prompt="2 + 3 = ?", answer="5", language="en"))
    theirs = {"responses_create_params": {"input": "3 + 3 = ?"}, "verifier_metadata": {"expected_answer": "6"}, "agent_ref": {}}
    file = written(tmp_path / "rows.jsonl", ours, theirs)
    environment = r1env.make_environment(f"nemo-gym:{file}")
    first, second = environment.task(0), environment.task(1)
    assert (first.id, first.answer, first.language) == ("7", "5", "en")
    assert (second.question, second.answer) == ("3 + 3 = ?", "6")
    (score,) = r1env.score([Rollout(task=second, completion="\\boxed{6}")], environment.rubric)
    assert score.value == 1.0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "2 + 3"}, "line 1: a row of NeMo Gym has its prompt"),
        (row_of(Task(id="1", prompt="x"), tools=[Tool("look", "Look.")]), "line 1: it offers tools"),
    ],
)
def test_a_row_that_cannot_be_played_is_refused_by_its_line(tmp_path, row, said):
    file = written(tmp_path / "rows.jsonl", row)
    with pytest.raises(DataError, match=said):
        r1env.make_environment(f"nemo-gym:{file}")
    with pytest.raises(UsageError, match="say which rows"):
        r1env.make_environment("nemo-gym")


def test_a_data_set_of_trl_is_read_as_rows(tmp_path):
    row = {"prompt": [{"role": "user", "content": "2 + 3 = ?"}], "solution": "\\boxed{5}", "level": 1}
    environment = r1env.make_environment("data", data=str(written(tmp_path / "trl.jsonl", row)))
    task = environment.task(0)
    assert (task.question, task.answer, task.metadata["level"]) == ("2 + 3 = ?", "5", 1)
