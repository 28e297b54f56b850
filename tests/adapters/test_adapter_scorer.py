"""What the stacks share: which rubric is meant, a score for every item, and numbers where a stack knows only numbers."""

from __future__ import annotations

import logging
import math

import pytest

import r1env
from r1env.adapters import openrlhf, trl, verl
from r1env.adapters.core import check_unscored, leading, load_rubric, numbers, score_items
from r1env.errors import UsageError
from r1env.rewards import reward
from r1env.rubrics import Rubric, WeightedReward
from r1env.types import Rollout, Score, Status, Task


def to_rollout(text: str) -> Rollout:
    if text == "unreadable":
        raise ValueError("no such row\nreally")
    return Rollout(task=Task(id=text, prompt="q", answer="yes"), completion=text)


def test_a_preset_names_the_reward_that_accuracy_stands_for():
    rubric = load_rubric("zero", accuracy="exact")
    assert [(item.reward.name, item.weight) for item in rubric.rewards] == [("exact", 1.0), ("format", 0.1)]


def test_a_rubric_may_be_a_mapping_a_file_a_reward_or_its_name(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nrewards: [{reward: format, options: {template: r1}}]\n")
    as_mapping = {"name": "mine", "rewards": [{"reward": "format", "options": {"template": "r1"}}]}
    as_reward = r1env.get_reward("format", template="r1")
    for given in (str(file), as_mapping, as_reward, load_rubric(as_reward)):
        (item,) = load_rubric(given).rewards
        assert (item.reward, item.weight) == (as_reward, 1.0)
    assert load_rubric("format").part_keys == ("format",)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("zerro", "unknown rubric or reward 'zerro'; did you mean 'zero'"),
        ("formt", "did you mean 'format'"),
        ({"name": "mine", "rewards": [{"reward": "formt"}]}, "unknown reward 'formt'; did you mean 'format'"),
        ({"name": "mine", "reward": []}, "rubric: "),
    ],
)
def test_what_is_no_rubric_is_refused_with_what_was_meant(given, told):
    with pytest.raises(UsageError, match=told):
        load_rubric(given)


def test_a_part_with_a_name_that_the_stack_has_taken_is_refused_at_once(pair):
    with pytest.raises(UsageError, match="cannot be called 'words' here"):
        load_rubric(pair, reserved={"words"})


def test_a_reward_that_cannot_be_sent_to_a_worker_is_refused_at_once():
    import threading

    lock = threading.Lock()

    @reward(name="locked", isolation="process")
    def locked(completion: str) -> float:
        with lock:
            return 1.0

    with pytest.raises(UsageError, match="cannot be sent to a worker"):
        load_rubric(locked)


def test_every_item_gets_a_score_in_its_place_whatever_happens_to_it(pair):
    items = ["yes", "hang", "no", "raise", "unreadable", "die", "abstain", "yes"]
    scores = score_items(items, to_rollout, pair)
    assert [score.value for score in scores] == [1.1, None, 0.1, None, None, None, None, 1.1]
    expected = [Status.OK, Status.TIMEOUT, Status.WRONG, *[Status.ERROR] * 3, Status.UNPARSEABLE, Status.OK]
    assert [score.status for score in scores] == expected
    assert scores[4].reason == "cannot read the row: ValueError: no such row"


def test_a_breakdown_of_the_scoring_itself_is_no_exception_either(pair, monkeypatch):
    def broken(*_, **__):
        raise OSError("no more processes")

    monkeypatch.setattr("r1env.adapters.core.score_rollouts", broken)
    first, second = score_items(["yes", "unreadable"], to_rollout, pair)
    assert first.reason == "scoring broke down: OSError: no more processes"
    assert second.reason.startswith("cannot read the row")


def test_failures_of_the_scoring_are_logged_in_one_line_a_call_and_abstentions_are_not(pair, caplog):
    with caplog.at_level(logging.WARNING, "r1env.adapters"):
        score_items(["raise", "yes", "unreadable", "abstain"], to_rollout, pair)
    assert [record.getMessage() for record in caplog.records] == [
        "no score for 2 of 4 rollouts (2 error): exact: RuntimeError: as asked"
    ]


def test_the_numbers_are_finite_and_under_the_same_keys_whatever_happened(pair):
    scores = score_items(["yes", "abstain", "raise", "unreadable"], to_rollout, pair)
    told = [numbers(score, pair, -1.0) for score in scores]
    assert all(tuple(each) == ("error", "exact", "exact/long", "words") for each in told)
    assert told[0] == {"error": 0.0, "exact": 1.0, "exact/long": 0.0, "words": 1.0}
    assert told[1] == {"error": 1.0, "exact": -1.0, "exact/long": -1.0, "words": 1.0}
    assert told[3] == {"error": 1.0, "exact": -1.0, "exact/long": -1.0, "words": -1.0}


@pytest.mark.parametrize(("part", "expected"), [(1.0, 1.0), (0.25, 0.25), (7.0, 1.0), (-1.0, 0.0), (math.nan, 0.5)])
def test_the_leading_part_is_within_zero_and_one(part, expected):
    @reward(name="lead")
    def lead(completion: str) -> float:
        return 1.0

    rubric = Rubric("one", [WeightedReward(lead)])
    assert leading(Score(value=None, parts={"lead": part}), rubric, 0.5) == expected


@pytest.mark.parametrize("unscored", [math.nan, math.inf])
def test_the_number_for_no_score_must_be_one(unscored):
    with pytest.raises(UsageError, match="must be finite"):
        check_unscored(unscored)


# Group rewards


@r1env.reward(scope="group")
def rank(completions):
    return [sorted(completions).index(text) for text in completions]


def test_trl_s_groups_reach_a_group_reward_and_the_others_refuse_it_when_it_is_made():
    function = trl.reward_function(rank)
    prompts = [[{"role": "user", "content": text}] for text in ("p", "q", "p", "q")]
    completions = [[{"role": "assistant", "content": text}] for text in ("b", "z", "a", "y")]
    assert function(prompts=prompts, completions=completions, answer=["1", "2", "1", "2"]) == [1.0, 1.0, 0.0, 0.0]
    for stack, name in ((verl, "verl"), (openrlhf, "OpenRLHF")):
        with pytest.raises(UsageError, match=f"{name} scores one response at a time, and the reward 'rank'"):
            stack.reward_function(rank)
