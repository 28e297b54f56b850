"""Weighted composition of rewards."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from pathlib import Path

import pytest

import r1env
from r1env.errors import UnknownNameError, UsageError
from r1env.rubrics import (
    RewardChoice,
    Rubric,
    RubricSpec,
    WeightedReward,
    find_rubric,
    resolve_rubric,
    with_options,
)
from r1env.types import Score, Status


def constant(name, value, **options):
    @r1env.reward(name=name, **options)
    def fixed(completion):
        return value

    return fixed


def scored(rubric):
    rollout = r1env.Rollout(task=r1env.Task(id="t", prompt="q"), completion="text")
    return r1env.score([rollout], rubric)[0]


def test_the_value_is_the_weighted_sum_and_the_parts_stay_unweighted():
    score = scored(Rubric("r", [WeightedReward(constant("a", 1.0)), WeightedReward(constant("b", 0.5), 0.1)]))
    assert score.value == pytest.approx(1.05)
    assert score.parts == {"a": 1.0, "b": 0.5}
    assert score.status == Status.OK


def test_a_reward_without_a_value_leaves_the_whole_without_one():
    score = scored(Rubric("r", [WeightedReward(constant("a", 1.0)), WeightedReward(constant("b", "nonsense"), 0.1)]))
    assert score.value is None
    assert score.status == Status.ERROR
    assert score.reason.startswith("b: ")
    assert score.parts["a"] == 1.0
    assert math.isnan(score.parts["b"])


def abstaining(on_none, *values):
    return Rubric("r", [WeightedReward(constant(f"r{i}", value), 2.0**i) for i, value in enumerate(values)], on_none)


def test_a_rubric_that_skips_sums_the_rewards_that_do_not_abstain():
    score = scored(abstaining("skip", None, 0.5, None, 1.0))
    assert score.value == 2.0 * 0.5 + 8.0
    assert score.status == Status.OK
    assert math.isnan(score.parts["r0"])
    assert scored(abstaining("skip", None, 0.0)).status == Status.WRONG
    assert scored(abstaining("unscored", None, 0.5)).value is None


def test_a_rubric_that_skips_gives_no_score_where_all_abstain_or_one_fails():
    assert scored(abstaining("skip", None, None)).value is None
    failed = scored(abstaining("skip", None, "nonsense", 1.0))
    assert (failed.value, failed.status) == (None, Status.ERROR)
    assert failed.reason.startswith("r1: ")


@pytest.mark.parametrize("on_none", ["skip", "unscored"])
def test_what_none_does_is_kept_by_everything_that_makes_a_rubric_of_a_rubric(on_none):
    spec = RubricSpec(name="r", rewards=(RewardChoice(reward="a"),), on_none=on_none)
    resolved = resolve_rubric(spec, lambda name: constant(name, 1.0))
    assert resolved.on_none == with_options(resolved, {"a": {}}).on_none == with_options(spec, {}).on_none == on_none


def test_a_failing_metric_of_weight_zero_costs_nothing():
    score = scored(Rubric("r", [WeightedReward(constant("a", 1.0)), WeightedReward(constant("b", "nonsense"), 0.0)]))
    assert score.value == 1.0


def test_two_rewards_of_one_name_clash_when_the_rubric_is_made():
    with pytest.raises(UsageError, match="both report the part 'a'"):
        Rubric("r", [WeightedReward(constant("a", 1.0)), WeightedReward(constant("a", 0.0))])


@pytest.mark.parametrize("rewards", [[], [WeightedReward(constant("a", 1.0), math.inf)]])
def test_an_impossible_rubric_is_refused(rewards):
    with pytest.raises(UsageError, match="'r'"):
        Rubric("r", rewards)


def test_accuracy_stands_for_the_checker_of_the_environment():
    spec = find_rubric("zero")
    rubric = resolve_rubric(spec, lambda name: constant(name, 1.0), accuracy=constant("exact", 0.0))
    assert [(item.reward.name, item.weight) for item in rubric.rewards] == [("exact", 1.0), ("format", 0.1)]
    with pytest.raises(UsageError, match="only an environment has"):
        resolve_rubric(spec, lambda name: constant(name, 1.0))


def test_options_are_laid_over_by_the_name_in_the_rubric():
    spec = RubricSpec(name="r", rewards=(RewardChoice(reward="a", options={"x": 1}), RewardChoice(reward="b")))
    changed = with_options(spec, {"a": {"y": 2}})
    assert [dict(choice.options) for choice in changed.rewards] == [{"x": 1, "y": 2}, {}]
    with pytest.raises(UnknownNameError, match="known: a, b"):
        with_options(spec, {"elsewhere": {}})


def test_a_rubric_file_is_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nrewards:\n  - {reward: accuracy}\n  - {reward: format, weight: 0.5, options: {template: r1}}\n"
    )
    spec = find_rubric(str(path))
    assert spec.rewards[1] == RewardChoice(reward="format", weight=0.5, options={"template": "r1"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not valid YAML"),
        ("- a\n", "must hold a mapping"),
        ("name: x\nrewards: []\n", "rewards"),
        ("name: x\nrewards: [{reward: a, wieght: 2}]\n", "unknown key 'rewards.0.wieght'"),
        ("name: x\nrewards: [{reward: a, weight: .inf}]\n", "weight"),
    ],
)
def test_a_faulty_rubric_file_gives_one_line_that_names_the_fault(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"mine\.yaml") as caught:
        find_rubric(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rubric_describes_every_option_as_plain_data():
    @r1env.reward(name="near")
    def near(completion: str, *, limit: int = 3, folder: Path = Path("there"), unit: str = "words") -> float:
        return float(len(completion) < limit)

    (described,) = Rubric("mine", [WeightedReward(near.with_options(limit=5), 0.5)]).describe()
    assert described == {
        "reward": "near",
        "weight": 0.5,
        "isolation": "inline",
        "scope": "rollout",
        "function": f"{__name__}:test_a_rubric_describes_every_option_as_plain_data.<locals>.near",
        "sha256": hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        "settings": {"limit": 5, "folder": "there", "unit": "words"},
    }
    assert json.loads(json.dumps(described)) == described


def test_an_unknown_rubric_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'zero'"):
        find_rubric("zeroo")


def test_scores_with_the_same_verdict_are_equal_however_long_they_took():
    a = Score(value=None, parts={"a": math.nan}, status=Status.ERROR, seconds=1.0)
    b = Score.model_validate_json(a.model_dump_json()).model_copy(update={"seconds": 2.0})
    assert a == b
    assert a != Score(value=0.0, parts={"a": 0.0}, status=Status.WRONG)
    assert a == pickle.loads(pickle.dumps(a))  # its NaN is another object then


def test_a_score_must_be_finite():
    with pytest.raises(ValueError, match="finite"):
        Score(value=math.nan)
