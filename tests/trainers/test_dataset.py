"""The trainer `dataset`: rows that later stages read."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_runs import trained

from r1env.data import read_rows
from r1env.errors import UsageError
from r1env.recipes import check_plan, execute, plan_training
from r1env.runs.run import Run
from r1env_logic.bilingual.small_talk import courteous_reply, small_talk_tasks

SETTINGS = {"env": "small-talk", "writer": "r1env_logic.bilingual.demonstrators:careful", "count": 20}


def left_by(folder: Path, **settings: object) -> list[dict[str, object]]:
    plan = plan_training("dataset", overrides={**SETTINGS, **settings})
    check_plan(plan)
    run = trained(plan, folder)
    return list(read_rows(run.stage_file("data.jsonl", "dataset")))


def test_a_demonstration_is_a_conversation_that_ends_with_the_response(tmp_path):
    rows = left_by(tmp_path / "run")
    task = small_talk_tasks().task(0)
    assert len(rows) == 20
    assert rows[0]["messages"] == [
        {"role": "user", "content": task.question},
        {"role": "assistant", "content": f"<think></think>{courteous_reply(task)}"},
    ]
    assert (rows[0]["task_id"], rows[0]["domain"], rows[0]["language"], rows[0]["chat"]) == (
        task.id,
        "small-talk",
        task.language,
        True,
    )


def test_a_preference_has_the_better_response_first(tmp_path):
    rows = left_by(tmp_path / "run", rows="preference", writer="r1env_logic.bilingual.small_talk:preference")
    task = small_talk_tasks().task(0)
    assert rows[0]["chosen"] == f"<think></think>{courteous_reply(task)}"
    assert rows[0]["rejected"] != rows[0]["chosen"]


def test_the_same_seed_writes_the_same_rows_and_another_seed_others(tmp_path):
    assert left_by(tmp_path / "one") == left_by(tmp_path / "two")
    assert left_by(tmp_path / "one-more") != left_by(tmp_path / "other", seed=1)


def test_a_mixture_is_written_by_share(tmp_path):
    mixture = [{"env": "small-talk", "weight": 3}, {"env": "bilingual-sort"}]
    rows = left_by(tmp_path / "run", env=None, mixture=mixture, count=40)
    assert abs(sum(row["domain"] == "bilingual-sort" for row in rows) - 10) <= 1


def test_a_stage_that_was_killed_after_writing_tells_its_step_once(tmp_path):
    rows = left_by(tmp_path / "run")
    plan = plan_training("dataset", overrides=SETTINGS)
    run = Run.open(tmp_path / "run")
    (tmp_path / "run/state.json").write_text((tmp_path / "run/state.json").read_text().replace('"dataset"\n', ""))
    execute(plan, run)
    assert [row["rows"] for row in run.metrics("dataset")] == [20.0]
    assert list(read_rows(run.stage_file("data.jsonl", "dataset"))) == rows


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": "preference"}, "must return two texts, the better one first for a preference, not str"),
        ({"writer": "r1env_logic.bilingual.small_talk:preference"}, "must return a text for a demonstration, not tuple"),
        ({"env": None}, "give env .* or mixture"),
        ({"env": "small-tlak"}, "small-tlak"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_runs(settings, message):
    with pytest.raises(UsageError, match=message):
        check_plan(plan_training("dataset", overrides={**SETTINGS, **settings}))
