"""The difficulty level of a family follows the success rate, and goes on from a saved state as if nothing had happened."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1env import UsageError
from r1env.data.sources import AdaptiveSource
from r1env_logic.curriculum import Curriculum
from r1env_logic.families import FAMILIES, family_tasks


def feed(curriculum, *verdicts):
    for success in verdicts:
        curriculum.observe(curriculum.level, success)
    return curriculum.level


def test_the_level_rises_after_a_full_window_and_falls_again():
    curriculum = Curriculum(levels=3, window=4)
    assert feed(curriculum, 1, 1, 1) == 1
    assert feed(curriculum, 1) == 2
    assert feed(curriculum, 1, 0, 1, 0) == 2, "half of them is between the thresholds"
    assert feed(curriculum, 0, 0) == 1, "the last four are 1, 0, 0, 0"
    assert feed(curriculum, 0, 0, 0, 0) == 1, "there is none below"
    assert feed(curriculum, *[1] * 40) == 3, "there is none above"


def test_verdicts_on_other_levels_do_not_count():
    curriculum = Curriculum(levels=3, window=2)
    curriculum.observe(2, 1.0)
    curriculum.observe(2, 1.0)
    assert curriculum.level == 1


def test_a_share_of_the_tasks_reviews_lower_levels():
    curriculum, rng = Curriculum(levels=5, review=0.25), Random(0)
    drawn = [curriculum.draw(rng, 4) for _ in range(2000)]
    assert set(drawn) == {1, 2, 3, 4}
    assert 0.7 < drawn.count(4) / len(drawn) < 0.8
    assert {curriculum.draw(rng, 1) for _ in range(20)} == {1}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=80), st.integers(0, 80))
def test_a_restored_curriculum_goes_on_as_the_saved_one(verdicts, cut):
    whole, first = Curriculum(levels=4, window=5), Curriculum(levels=4, window=5)
    feed(whole, *verdicts)
    feed(first, *verdicts[:cut])
    second = Curriculum(levels=4, window=5)
    second.restore(first.state())
    feed(second, *verdicts[cut:])
    assert second.state() == whole.state()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"raise_at": 1.5}, "raise_at=1.5"),
        ({"lower_at": 0.9}, "lower_at=0.9, raise_at=0.8"),
        ({"window": 0}, "window=0"),
        ({"review": 1.0}, "review=1.0"),
    ],
)
def test_an_argument_out_of_range_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Curriculum(levels=3, **options)


def test_a_state_of_more_levels_is_refused():
    with pytest.raises(UsageError, match="level of the saved curriculum=7"):
        Curriculum(levels=3).restore({"level": 7, "verdicts": []})


def test_a_source_draws_harder_tasks_once_its_tasks_are_solved():
    source = family_tasks("dates", "auto", "train", window=8)
    assert isinstance(source, AdaptiveSource)
    assert {source.task(index).metadata["level"] for index in range(20)} == {1}
    for index in range(8):
        source.observe(source.task(index), 1.0)
    assert {source.task(index).metadata["level"] for index in range(100)} == {1, 2}
    again = family_tasks("dates", "auto", "train", window=8)
    again.restore(source.state())
    assert [again.task(index) for index in range(10)] == [source.task(index) for index in range(10)]


def test_evaluation_takes_every_level_and_never_adapts():
    source = family_tasks("dates", "auto", "test", window=2)
    before = [source.task(index) for index in range(60)]
    assert {task.metadata["level"] for task in before} == set(range(1, FAMILIES["dates"].levels + 1))
    for task in before:
        source.observe(task, 1.0)
    assert [source.task(index) for index in range(60)] == before
    assert source.state() == {}


def test_verdicts_on_tasks_of_another_family_do_not_count():
    source = family_tasks("dates", "auto", "train", window=1)
    source.observe(family_tasks("sorting").task(0), 1.0)
    assert source.state()["level"] == 1
