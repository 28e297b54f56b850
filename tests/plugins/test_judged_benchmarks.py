"""Benchmarks that a model judges: SimpleQA's grades, comparisons with a baseline, and the win rate with length control."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from chat_stub import serving, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

import r1env
from r1env import Rollout, Task, UsageError
from r1env.evaluation.evaluate import EvaluationRow
from r1env.evaluation.run import EvaluationRun
from r1env_benchmarks.judged import Comparison, length_controlled_win_rate, simpleqa_metrics, win_rate
from r1env_benchmarks.plugin import FIXTURES
from r1env_judge.rewards import missing_judge

TASK = Task(id="t", prompt="Name a river.", answer="Rhine", metadata={"baseline": "The Nile."})


def score(reward, completion, task=TASK):
    return r1env.score([Rollout(task=task, completion=completion)], reward)[0]


@pytest.mark.parametrize(
    ("grade", "value", "not_attempted", "status"),
    [("CORRECT", 1.0, 0.0, "ok"), ("INCORRECT", 0.0, 0.0, "wrong"), ("NOT_ATTEMPTED", 0.0, 1.0, "no_answer")],
)
def test_simpleqa_has_three_grades(grade, value, not_attempted, status):
    with serving(verdict(grade=grade)) as stub:
        found = score(r1env.get_reward("simpleqa", url=stub.url, model="m"), "<think>a plan</think>The Rhine.")
        assert (found.value, found.parts["simpleqa/not_attempted"], found.status) == (value, not_attempted, status)
        assert "a plan" not in json.dumps(stub.requests)


def test_a_reply_that_is_no_grade_leaves_the_answer_unscored():
    with serving(verdict(grade="C")) as stub:
        found = score(r1env.get_reward("simpleqa", url=stub.url, model="m"), "The Rhine.")
        assert (found.value, len(stub.requests)) == (None, 2)


def test_the_metrics_of_simpleqa():
    assert simpleqa_metrics(correct=0.2, not_attempted=0.6) == {"correct_given_attempted": 0.5, "f1": pytest.approx(2 / 7)}
    assert simpleqa_metrics(correct=0.0, not_attempted=1.0) == {"correct_given_attempted": 0.0, "f1": 0.0}


def by_content(handler):
    """A judge that prefers the Rhine clearly, wherever it is shown."""
    verdict(verdict="A>>B" if "Rhine" in handler.section("A") else "B>>A")(handler)


def test_the_response_is_shown_in_both_orders():
    with serving(by_content) as stub:
        found = score(r1env.get_reward("pairwise", url=stub.url, model="m"), "<think>hm</think>The Rhine.")
        assert (found.value, found.parts["pairwise/wins"], found.parts["pairwise/games"]) == (1.0, 2.0, 2.0)
        assert (found.parts["pairwise/length"], found.parts["pairwise/baseline_length"]) == (10.0, 9.0)
        assert len(stub.requests) == 2
        strong = score(r1env.get_reward("pairwise", url=stub.url, model="m", strong=True), "The Danube.")
        assert (strong.value, strong.parts["pairwise/games"]) == (0.5, 6.0)  # it prefers whatever is shown second


def test_a_judge_that_prefers_what_it_sees_first_gives_half():
    with serving(verdict(verdict="A>B")) as stub:
        assert score(r1env.get_reward("pairwise", url=stub.url, model="m"), "The Rhine.").value == 0.5


def test_an_empty_response_loses_and_a_task_without_baseline_is_unscored():
    with serving(by_content) as stub:
        reward = r1env.get_reward("pairwise", url=stub.url, model="m")
        assert score(reward, "<think>on and on").value == 0.0
        assert score(reward, "x", Task(id="t", prompt="?")).value is None
        assert stub.requests == []


@pytest.mark.parametrize("name", ["simpleqa", "pairwise"])
def test_a_judge_needs_a_server(name):
    with pytest.raises(UsageError, match=f"the reward '{name}' needs url= and model="):
        _ = r1env.get_reward(name).prepared


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def test_baselines_are_those_of_the_row_or_of_a_file(tmp_path):
    judge = {"url": "http://localhost:1/v1", "model": "m"}
    alpaca = write(tmp_path / "alpaca.jsonl", {"instruction": "Sing.", "output": "La.", "generator": "base", "dataset": "d"})
    other = write(tmp_path / "other.jsonl", {"instruction": "Sing.", "output": "Lalala.", "generator": "x"})
    assert r1env.make_environment("alpaca-eval", data=alpaca, judge=judge).task(0).metadata["baseline"] == "La."
    changed = r1env.make_environment("alpaca-eval", data=alpaca, judge=judge, baseline=other)
    assert (changed.task(0).metadata["baseline"], changed.accuracy) == ("Lalala.", "pairwise")

    arena = write(tmp_path / "arena.jsonl", {"uid": "u1", "category": "hard_prompt", "prompt": "Sing."})
    said = {"uid": "u1", "model": "base", "messages": [{"role": "assistant", "content": {"answer": "La."}}]}
    answers = write(tmp_path / "answers.jsonl", said)
    found = r1env.make_environment("arena-hard", data=arena, judge=judge, baseline=answers)
    assert found.task(0).metadata["baseline"] == "La."
    turns = {"question_id": "q1", "category": "arena-hard-v0.1", "cluster": "songs", "turns": [{"content": "Sing."}]}
    said_then = {
        "question_id": "q1",
        "model_id": "base",
        "choices": [{"index": 0, "turns": [{"content": "La.", "token_len": 2}]}],
    }
    earlier = r1env.make_environment(
        "arena-hard",
        data=write(tmp_path / "v01.jsonl", turns),
        judge=judge,
        baseline=write(tmp_path / "a01.jsonl", said_then),
    )
    assert (earlier.task(0).prompt[-1]["content"], earlier.task(0).metadata["baseline"]) == ("Sing.", "La.")
    with pytest.raises(UsageError, match="environment 'arena-hard' needs baseline=FILE"):
        r1env.make_environment("arena-hard", data=arena, judge=judge)
    with pytest.raises(UsageError, match="has no answer with its 'uid', 'u1'"):
        r1env.make_environment(
            "arena-hard", data=arena, judge=judge, baseline=write(tmp_path / "b.jsonl", {**said, "uid": "u2"})
        )
    with pytest.raises(UsageError, match="is scored by a judge: say judge"):
        r1env.make_environment("alpaca-eval", data=alpaca)


def test_the_judge_may_stand_in_the_environment(monkeypatch):
    fixture = r1env.installed().environment("arena-hard").fixture
    assert missing_judge() == "no judge: set R1ENV_JUDGE_URL and R1ENV_JUDGE_MODEL"
    monkeypatch.setenv("R1ENV_JUDGE_URL", "http://localhost:1/v1")
    assert missing_judge() == "no judge: set R1ENV_JUDGE_MODEL"
    monkeypatch.setenv("R1ENV_JUDGE_MODEL", "m")
    assert missing_judge() == ""
    assert r1env.make_environment("arena-hard", **fixture.options).source.checker == (
        "pairwise",
        {"strong": True, "url": "http://localhost:1/v1", "model": "m"},
    )
    other = r1env.make_environment("alpaca-eval", data=str(FIXTURES / "alpaca-eval.jsonl"), judge={"model": "n"})
    assert other.source.checker[1]["model"] == "n"


def test_simpleqa_asks_a_judge_where_that_is_said():
    with serving(verdict(grade="CORRECT")) as stub:
        environment = r1env.make_environment(
            "simpleqa", data=str(FIXTURES / "simpleqa.jsonl"), extraction="judge", judge={"url": stub.url, "model": "m"}
        )
        (found,) = r1env.score([Rollout(task=environment.task(0), completion="Lower Wickton")], environment.rubric)
        assert (environment.accuracy, found.value) == ("simpleqa", 1.0)


# Length control.


def longer_is_better(count=200, seed=0):
    """Comparisons of a model that is as good as the baseline, by a judge that likes length, and whose responses are longer."""
    generator = np.random.default_rng(seed)
    difference = generator.normal(300, 400, count)
    preference = 1 / (1 + np.exp(-1.5 * np.tanh(difference / 400)))
    return [Comparison(float(one), float(other)) for one, other in zip(preference, difference, strict=True)]


def test_what_length_alone_won_is_taken_off():
    comparisons = longer_is_better()
    raw = np.mean([one.preference for one in comparisons])
    assert raw > 0.6
    assert length_controlled_win_rate(comparisons) == pytest.approx(0.5, abs=0.02)


def test_the_win_rate_is_that_of_scikit_learn():
    """`LogisticRegressionCV` of scikit-learn 1.9.1 with AlpacaEval's settings gives these numbers on the same rows."""
    generator = np.random.default_rng(7)
    difference, difficulty = generator.normal(100, 300, 60), generator.normal(0, 1, 60)
    preference = 1 / (1 + np.exp(-(0.4 + 0.8 * np.tanh(difference / 300) + 0.5 * difficulty + generator.normal(0, 1, 60))))
    rows = [Comparison(*map(float, row)) for row in zip(preference, difference, difficulty, strict=True)]
    assert length_controlled_win_rate(rows) == pytest.approx(0.526493, abs=1e-4)
    gamed = [
        Comparison(float(p), float(d), gamed=True)
        for p, d in zip(generator.random(120), generator.normal(0, 900, 120), strict=True)
    ]
    assert length_controlled_win_rate(rows + gamed) == pytest.approx(0.528446, abs=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-1e4, 1e4)), min_size=5, max_size=12))
def test_a_win_rate_is_a_probability_and_symmetric(rows):
    ours = length_controlled_win_rate([Comparison(*row) for row in rows])
    theirs = length_controlled_win_rate([Comparison(1 - preference, -difference) for preference, difference in rows])
    assert 0 <= ours <= 1
    assert ours + theirs == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [([Comparison(0.5, 0)] * 4, "needs at least 5 comparisons, and there are 4"), ([Comparison(1.5, 0)] * 5, "from 0 to 1")],
)
def test_rows_that_have_no_win_rate_are_refused(rows, message):
    with pytest.raises(UsageError, match=message):
        length_controlled_win_rate(rows)


def evaluated(folder, comparisons, unscored=0):
    """A finished evaluation with these comparisons."""
    run = EvaluationRun.create(folder, {}, seed=0)
    nothing = dict.fromkeys(
        ("pairwise", "pairwise/wins", "pairwise/games", "pairwise/length", "pairwise/baseline_length"), math.nan
    )
    parts = [
        {
            "pairwise": one.preference, "pairwise/wins": 2 * one.preference, "pairwise/games": 2.0,
            "pairwise/length": 1000 + one.length_difference, "pairwise/baseline_length": 1000.0,
        }
        for one in comparisons
    ]  # fmt: skip
    rows = [
        EvaluationRow(
            position=place, task_id=str(place), sample=0, prompt="?", completion="x", answer=None, correct=None, length=1,
            finish_reason="stop", score=r1env.Score(value=one["pairwise"] if one is not nothing else None, parts=one),
        )
        for place, one in enumerate([*parts, *[nothing] * unscored])
    ]  # fmt: skip
    run.append("m", "alpaca-eval", rows)
    return folder


def test_the_command_prints_both_win_rates(tmp_path, capsys):
    win_rate(evaluated(tmp_path / "run", longer_is_better(), unscored=3), as_json=True)
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["tasks"], found["unscored"]) == (200, 3)
    assert found["win rate"] > 0.6
    assert found["length-controlled"] == pytest.approx(0.5, abs=0.02)
    win_rate(evaluated(tmp_path / "few", longer_is_better(4)), as_json=False)
    assert "too few" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no completion was scored by the reward 'pairwise'"):
        win_rate(evaluated(tmp_path / "none", []), as_json=True)
