"""Benchmarks read local files row by row, and say what is missing before anything starts."""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

import r1env
from r1env import UsageError
from r1env.data.layouts import answer_text
from r1env.data.sources import ListSource
from r1env.data.tasks import file_tasks
from r1env_benchmarks.tasks import open_benchmark

aime24, gsm8k, mawps, svamp = (partial(open_benchmark, name) for name in ("aime24", "gsm8k", "mawps", "svamp"))


def write(folder, *rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_gsm8k_takes_the_number_after_the_mark(tmp_path):
    path = write(tmp_path, {"question": "How many hens?", "answer": "We count <<2+3=5>>5.\n#### 1,005"})
    environment = r1env.make_environment("gsm8k", data=path)
    task = environment.task(0)
    assert (environment.source.size, task.question, task.answer) == (1, "How many hens?", "1,005")
    assert task.metadata["answer"].startswith("We count")  # the worked solution stays with the task


def test_svamp_joins_body_and_question(tmp_path):
    task = svamp(data=write(tmp_path, {"Body": "Ann has 3 hens", "Question": "How many hens?", "Answer": 3.0})).task(0)
    assert (task.question, task.answer) == ("Ann has 3 hens. How many hens?", "3")


def test_mawps_aime24_and_files_of_ones_own_name_their_fields(tmp_path):
    assert mawps(data=write(tmp_path, {"input": "1/3 + 1/3?", "target": 0.6666666667})).task(0).answer == "2/3"
    assert aime24(data=write(tmp_path, {"problem": "?", "answer": "025"})).task(0).answer == "025"
    rows = write(tmp_path, {"q": "1 + 1?", "a": 2})
    assert file_tasks(rows, question_field="q", answer_field="a").task(0).answer == "2"


@pytest.mark.parametrize(
    ("answer", "text"),
    [(145.0, "145"), (11.5, "11.5"), (0.3333333333, "1/3"), (0.1234567891, "0.1234567891"), (7, "7"), (" x ", "x"), (None, "")],
)
def test_an_answer_is_written_as_a_person_would(answer, text):
    assert answer_text(answer) == text


@pytest.mark.parametrize(
    ("make", "rows", "message"),
    [
        (
            gsm8k,
            [{"question": "?", "answer": "#### 1"}, {"question": "?", "answer": "1"}],
            "line 2: .*mark the answer with '####'",
        ),
        (gsm8k, [{"question": "?", "answer": "so #### "}], "line 1: .*nothing follows '####'"),
        (gsm8k, [{"question": " ", "answer": "#### 1"}], "line 1: .*no user's message with text"),
        (gsm8k, [{"answer": "#### 1"}], "line 1: no column 'question', which GSM8K rows have; its columns: answer"),
        (aime24, [{"problem": "?", "answer": None}], "line 1: 'answer' is null: write the reference answer there"),
        (mawps, [{"input": "?", "target": float("nan")}], "line 1: .*write a finite number"),
        (mawps, [], "no rows"),
    ],
)
def test_a_row_without_question_or_answer_is_refused_with_its_number(tmp_path, make, rows, message):
    with pytest.raises(UsageError, match=message):
        make(data=write(tmp_path, *rows)).checked(None)


def test_a_benchmark_without_a_file_says_that_it_needs_one():
    with pytest.raises(UsageError, match="environment 'svamp' needs data: --data FILE"):
        svamp()


def test_a_file_that_does_not_exist_is_named():
    with pytest.raises(UsageError, match=r"missing\.jsonl: cannot read it"):
        gsm8k(data="missing.jsonl")


def test_one_field_cannot_be_question_and_answer(tmp_path):
    with pytest.raises(UsageError, match="are to be different columns; 'text' is named twice"):
        file_tasks(write(tmp_path, {"text": "?"}), question_field="text", answer_field="text")


def test_the_hub_without_the_extra_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"hub:openai/gsm8k:main: .*pip install 'r1env\[hub\]'") as caught:
        gsm8k()
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_says_so_in_one_line(monkeypatch):
    import datasets

    def unreachable(*_, **__):
        raise ConnectionError("Couldn't reach 'openai/gsm8k'\non the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        UsageError, match=r"hub:openai/gsm8k:main: cannot read it from the hub \(.*\); check the name"
    ) as caught:
        gsm8k()
    assert "\n" not in str(caught.value)


def test_the_hub_gives_rows_like_a_file(monkeypatch):
    import datasets

    def load(name, subset, split):
        assert (name, subset, split) == ("openai/gsm8k", "main", "train")
        return datasets.Dataset.from_list([{"question": "?", "answer": "#### 7"}])

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert gsm8k(split="train").task(0).answer == "#### 7"


def test_what_is_held_out_of_a_hub_benchmark_comes_of_its_training_split(monkeypatch, caplog):
    import datasets

    caplog.set_level("INFO", "r1env.envs")

    asked = []

    def load(name, subset, split):
        asked.append(split)
        return datasets.Dataset.from_list([{"question": f"{n}?", "answer": f"#### {n}"} for n in range(40)])

    monkeypatch.setattr(datasets, "load_dataset", load)
    held_out = r1env.make_environment("gsm8k", split="test", hold_out=0.3)
    assert set(asked) == {"train"}
    rest = r1env.make_environment("gsm8k", split="train", hold_out=0.3)
    assert held_out.source.size + rest.source.size == 40
    assert (
        "environment gsm8k: hold_out=0.3 divides its training tasks; a split 'test' of the data is not used" in caplog.messages
    )
    assert r1env.make_environment("gsm8k").source.size == 40
    assert asked[-1] == "test"


def test_an_episode_of_a_benchmark_is_scored_by_the_math_reward(tmp_path):
    environment = r1env.make_environment("gsm8k", data=write(tmp_path, {"question": "?", "answer": "#### 1005"}))
    assert environment.accuracy == "math"
    episode = environment.open(environment.task(0))
    episode.submit(r1env.Completion(text="So it is \\boxed{1,005}."))
    (score,) = r1env.score([episode.rollout()], environment.rubric)
    assert score.value == 1.0
    assert "\\boxed{}" in episode.messages[0]["content"]


def test_choices_are_shown_by_letter_and_the_answer_is_one():
    rows = [
        {"question": "Which is red?", "options": ["sky", "rose"], "answer": "B"},
        {"question": "Which is red?", "options": {"A": "sky", "B": "rose"}, "answer": "rose"},
        {"question": "Which is red?", "options": {"label": ["A", "B"], "text": ["sky", "rose"]}, "answer": 1},
    ]
    for row in rows:
        task = choice_source([row]).task(0)
        assert (task.question, task.answer) == ("Which is red?\n\nA) sky\nB) rose", "B")
        assert task.kind is r1env.TaskKind.CHOICE


def test_shuffled_options_take_their_letter_with_them():
    row = {"question": "Which is red?", "options": ["sky", "rose", "leaf", "snow"], "answer": "B"}
    answers = set()
    for seed in range(20):
        task = choice_source([row], shuffle_seed=seed).task(0)
        assert task.metadata["options"][task.answer] == "rose"
        assert task.question == choice_source([row], shuffle_seed=seed).task(0).question
        answers.add(task.answer)
    assert answers == set("ABCD")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "?", "options": ["a"], "answer": "A"}, "write a list of 2 to 10 options"),
        ({"question": "?", "options": ["a", "b"], "answer": "C"}, "names none of the 2 options"),
        ({"question": " ", "options": ["a", "b"], "answer": "A"}, "no user's message with text"),
        ({"question": "?", "options": ["a", "b"], "answer": None}, "'answer' is null: write the reference answer there"),
    ],
)
def test_a_choice_that_cannot_be_scored_is_refused_with_its_row(row, message):
    with pytest.raises(UsageError, match=message):
        choice_source([row])


def choice_source(rows, **options):
    with tempfile.TemporaryDirectory() as folder:
        return read_now(file_tasks(write(Path(folder), *rows), kind="choice", **options))


def read_now(source):
    """The tasks in memory, for the file will be gone."""
    return ListSource([source.task(place) for place in range(source.size)])
