"""Tasks from anybody's rows: what is checked on opening, what is left out and said, and the commands that use them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

import r1env
from r1env.data.tasks import file_tasks
from r1env.envs.environment import make_evaluation_environment
from r1env.errors import DataError, NoSplitError, UsageError
from r1env.types import TaskKind


@pytest.fixture(autouse=True)
def _logged(caplog):
    logging.getLogger("r1env.data").propagate = True
    caplog.set_level("INFO", "r1env.data")


def write(folder: Path, *rows: object, name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def sums(*numbers: int) -> list[dict[str, str]]:
    return [{"question": f"{n} + {n}?", "answer": f"Add them.\n#### {2 * n}"} for n in numbers]


def test_the_environment_follows_from_the_rows(tmp_path, caplog):
    environment = r1env.make_environment("data", data=write(tmp_path, *sums(1, 2)))
    assert (environment.accuracy, environment.template.name, environment.source.size) == ("math", "boxed", 2)
    assert [environment.task(place).answer for place in (0, 1)] == ["2", "4"]
    assert "as GSM8K rows (math)" in caplog.text
    assert "2 references read from worked solutions" in caplog.text
    choice = write(tmp_path, {"question": "Red?", "choices": ["sky", "rose"], "answer": 1}, name="c.jsonl")
    assert r1env.make_environment("data", data=choice).accuracy == "choice"


def test_a_reward_reads_every_column_of_its_row(tmp_path):
    path = write(tmp_path, {"q": "1 + 1?", "a": 2, "domain": ["sums"], "level": 3})
    environment = r1env.make_environment("data", data=path, map="question=q,answer=a")
    assert environment.task(0).metadata == {"q": "1 + 1?", "a": 2, "domain": ["sums"], "level": 3}


def test_repeated_rows_are_counted_and_left_out_when_asked(tmp_path, caplog):
    path = write(tmp_path, *sums(1, 2, 1, 1), {"question": " 2  + 2? ", "answer": "#### 4"})
    assert file_tasks(path).checked(None).size == 5
    assert "3 of 5 rows ask what an earlier row asks (--drop-repeated leaves them out)" in caplog.text
    source = file_tasks(path, drop_repeated=True).checked(None)
    assert [source.task(place).question for place in range(source.size)] == ["1 + 1?", "2 + 2?"]
    assert "3 repeated rows left out" in caplog.text


def test_a_bad_row_stops_the_opening_unless_it_is_skipped(tmp_path, caplog):
    path = write(tmp_path, *sums(1), {"question": "?", "answer": None}, *sums(3))
    with pytest.raises(DataError, match="line 2: 'answer' is null"):
        file_tasks(path).checked(None)
    source = file_tasks(path, bad_rows="skip").checked(None)
    assert (source.size, source.task(1).question) == (2, "3 + 3?")
    assert "1 bad row skipped, the first: " in caplog.text
    for first in ({"question": "?", "answer": None}, {"question": "?"}, {"other": 1}):
        source = file_tasks(write(tmp_path, first, *sums(1, 3), name="first.jsonl"), bad_rows="skip").checked(None)
        assert (source.examples.layout.name, source.size, source.task(0).question) == ("GSM8K", 2, "1 + 1?")
    with pytest.raises(DataError, match="no row"):
        file_tasks(write(tmp_path, {"question": "?", "answer": ""}), bad_rows="skip", layout="GSM8K").checked(None)


def test_rows_that_a_rule_of_the_set_leaves_out_are_counted(tmp_path, caplog):
    row = {"problem": "Halve 9.", "solution": "s", "answer": "4.5", "problem_type": "a", "question_type": "b"}
    source = file_tasks(
        write(tmp_path, row, {**row, "answer": "proof"}, {**row, "problem": "Halve 8.", "answer": "4"})
    ).checked(None)
    assert (source.size, source.task(1).id) == (2, "data-2")
    assert "1 row left out: answer is 'proof'" in caplog.text


def test_rows_of_several_kinds_are_refused_and_one_kind_can_be_taken(tmp_path):
    rows = [
        {"prompt": "1 + 1?", "verification_info": '{"ground_truth": "2"}'},
        {"prompt": "Print 1.", "verification_info": '{"test_cases": [{"input": "", "output": "1"}]}'},
    ]
    path = write(tmp_path, *rows)
    with pytest.raises(DataError, match=r"line 2: it is a task of the kind code, .* take one kind with -o kind=math"):
        file_tasks(path).checked(None)
    source = file_tasks(path, kind="code").checked(None)
    assert (source.size, source.kind, source.reward, source.task(0).question[:8]) == (1, TaskKind.CODE, "code", "Print 1.")
    with pytest.raises(DataError, match=r"2 rows .*left out|1 row of the kind"):
        file_tasks(path, kind="chat").checked(None)


def test_references_that_cannot_be_read_are_reported_with_their_rows_and_never_paid_zero(tmp_path, caplog):
    prose = (
        "We look at the numbers and think about them for a while, and after that we see that nothing follows from any of this."
    )
    rows = [{"problem": f"{n}?", "level": "1", "type": "a", "solution": f"It is $\\boxed{{{n}}}$."} for n in (1, 2)]
    path = write(tmp_path, rows[0], {**rows[1], "solution": prose})
    environment = r1env.make_environment("data", data=path)
    assert "1 reference cannot be read and stay unscored: line 2" in caplog.text
    (score,) = r1env.score([r1env.Rollout(task=environment.task(1), completion="\\boxed{2}")], environment.rubric)
    assert score.value is None
    with pytest.raises(DataError, match=r"line 1: .* marks no answer .* --map answer=COLUMN"):
        r1env.make_environment("data", data=write(tmp_path, {**rows[0], "solution": prose}))


def test_rows_without_a_reference_need_a_rubric(tmp_path):
    path = write(tmp_path, {"prompt": "Sing."}, {"prompt": "Dance."})
    with pytest.raises(
        UsageError, match=r"no reference answer that could be checked; name what scores them with --rubric, .*columns: prompt"
    ):
        r1env.make_environment("data", data=path)
    environment = r1env.make_environment("data", data=path, rubric=r1env.Rubric("r", [r1env.WeightedReward(length)]))
    assert (environment.accuracy, environment.template.name, environment.source.size) == ("", "plain", 2)


@r1env.reward(name="length")
def length(completion: str) -> float:
    return len(completion) / 100


def test_puzzles_are_scored_by_the_rule_of_their_generator(tmp_path):
    environment = r1env.make_environment("data", data=write(tmp_path, {"target": 4, "nums": [8, 6, 3]}))
    task = environment.task(0)
    assert (environment.accuracy, task.answer, environment.template.name) == ("countdown", None, "plain")
    answers = ("8 * 3 / 6", "8 - 6 + 3")
    rollouts = [r1env.Rollout(task=task, completion=f"<answer>{text}</answer>") for text in answers]
    assert [score.value for score in r1env.score(rollouts, environment.rubric)] == [1.0, 0.0]


def test_preference_pairs_are_no_tasks(tmp_path):
    with pytest.raises(DataError, match=r"its rows \(preference pairs\) are no tasks"):
        file_tasks(write(tmp_path, {"prompt": "a", "chosen": "b", "rejected": "c"}))


def test_splits_are_files_folders_or_held_out(tmp_path):
    train, test = write(tmp_path, *sums(1, 2), name="train.jsonl"), write(tmp_path, *sums(3), name="test.jsonl")
    for data in ({"train": train, "test": test}, str(tmp_path)):
        assert r1env.make_environment("data", data=data, split="train").source.size == 2
        assert make_evaluation_environment("data", data=data).task(0).question == "3 + 3?"
        with pytest.raises(NoSplitError):
            r1env.make_environment("data", data=data, split="dev")
    with pytest.raises(NoSplitError, match=r"hold_out=0.1 divides it"):
        r1env.make_environment("data", data=train, split="test")
    many = write(tmp_path, *sums(*range(60)), name="many.jsonl")
    parts = [r1env.make_environment("data", data=many, split=split, hold_out=0.3).source for split in ("train", "test")]
    asked = [{source.task(place).question for place in range(source.size)} for source in parts]
    assert asked[0].isdisjoint(asked[1])
    assert len(asked[0] | asked[1]) == 60


def test_a_large_file_is_looked_at_in_part_and_its_rows_are_checked_when_they_are_used(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("r1env.data.tasks.CHECKED_ROWS", 3)
    path = write(tmp_path, *sums(*range(5)), {"question": "?", "answer": None}, *sums(7))
    source = file_tasks(path).checked(None)
    assert (source.size, source.task(6).question) == (7, "7 + 7?")
    assert "looked at the first 3 of 7 rows" in caplog.text
    with pytest.raises(DataError, match="line 6: 'answer' is null"):
        source.task(5)
    assert file_tasks(path, bad_rows="skip").checked(None).size == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs data: --data FILE"),
        ({"data": "x", "kind": "maths"}, "kind is 'maths'; known: math, code"),
        ({"data": "x", "bad_rows": "drop"}, "bad_rows is 'drop'; known: refuse, skip"),
        ({"data": "x", "first_index": 2}, "first_index is 2"),
        ({"data": "x", "map": "question=a,answer=a"}, "are to be different columns; 'a' is named twice"),
        ({"data": "x", "map": "qestion=a"}, "unknown field 'qestion'"),
        ({"data": "x.jsonl"}, "x.jsonl: cannot read it"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        r1env.make_environment("data", **options)


def test_a_prompt_that_asks_for_a_box_is_not_asked_twice(tmp_path):
    row = {"question": "1 + 1? Answer by \\boxed{} only.", "answer": "2"}
    environment = r1env.make_environment("data", data=write(tmp_path, row))
    assert environment.open(environment.task(0)).messages[-1]["content"] == row["question"]


@pytest.mark.parametrize("border", [0.1, 0.4, 0.9])
def test_two_parts_of_the_rows_share_no_question_and_lose_none(tmp_path, border):
    data = write(tmp_path, *sums(*range(60), 7))
    parts = [file_tasks(data, part=part).checked(None) for part in ((0, border), (border, 1))]
    asked = [[part.task(index).metadata["question"] for index in range(part.size)] for part in parts]
    assert not set(asked[0]) & set(asked[1])
    assert sorted(asked[0] + asked[1]) == sorted(row["question"] for row in sums(*range(60), 7))
    assert abs(len(asked[0]) / 61 - border) < 0.2


@pytest.mark.parametrize("part", [(1, 0), (0, 2), (0.5,), (0.5, 0.5)])
def test_a_part_that_is_none_is_refused(part):
    with pytest.raises(UsageError, match="give two shares"):
        file_tasks("rows.jsonl", part=part)
