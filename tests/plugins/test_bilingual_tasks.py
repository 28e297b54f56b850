"""The two-language tasks: what is asked, what is paid, and the habits of those who demonstrate."""

from __future__ import annotations

import re

import numpy as np
import pytest

import r1env
from r1env import Task, UsageError
from r1env.data.sources import iterate, split_of
from r1env.rubrics import RubricSpec
from r1env.testing import Example, check_reward
from r1env_logic.bilingual.demonstrators import Writer, careful, cold_start, web
from r1env_logic.bilingual.small_talk import courteous, courteous_reply, preference, small_talk_tasks
from r1env_logic.bilingual.tasks import addition_tasks, countdown_tasks, sort_tasks
from r1env_logic.countdown import evaluate

SOURCES = {
    "bilingual-sort": sort_tasks,
    "bilingual-addition": addition_tasks,
    "bilingual-countdown": countdown_tasks,
    "small-talk": small_talk_tasks,
}
REASONING = list(SOURCES)[:3]
RUBRIC = RubricSpec.model_validate(
    {
        "name": "measured",
        "rewards": [
            {"reward": "accuracy"},
            {"reward": "format", "options": {"template": "r1", "empty_thinking": True}},
            {"reward": "language", "options": {"scope": "all"}},
        ],
    }
)
HAN = re.compile(r"[\u4e00-\u9fff]")


def written(name: str, writer: Writer, count: int = 200) -> list[tuple[Task, str]]:
    """(task, response) of the first training tasks."""
    return [(task, writer(task, np.random.default_rng(i))) for i, task in enumerate(iterate(SOURCES[name](), count))]


def means(name: str, writer: Writer) -> dict[str, float]:
    """Mean of each reward of `RUBRIC` over what a writer demonstrates."""
    rubric = r1env.make_environment(name, rubric=RUBRIC).rubric
    rollouts = [r1env.Rollout(task=task, completion=response) for task, response in written(name, writer)]
    scores = r1env.score(rollouts, rubric)
    return {key: float(np.nanmean([score.parts[key] for score in scores])) for key in (r.reward.name for r in rubric.rewards)}


@pytest.mark.parametrize("name", SOURCES)
def test_a_question_is_in_the_language_that_its_task_names(name):
    for task in iterate(SOURCES[name](language="both"), 100):
        assert (task.language == "zh") == bool(HAN.search(task.question))


@pytest.mark.parametrize("name", SOURCES)
def test_both_languages_are_asked_about_as_often_and_one_where_one_is_wanted(name):
    languages = [task.language for task in iterate(SOURCES[name](), 400)]
    assert 0.3 < np.mean([language == "zh" for language in languages]) < 0.7
    for wanted in ("en", "zh"):
        assert {task.language for task in iterate(SOURCES[name](language=wanted), 30)} == {wanted}


@pytest.mark.parametrize("name", SOURCES)
def test_no_problem_is_asked_in_two_languages_or_is_in_two_splits(name):
    asked: dict[str, str] = {}
    for split in ("train", "test"):
        for task in iterate(SOURCES[name](split=split), 200):
            assert asked.setdefault(task.id, task.question) == task.question
            assert split_of(task.id) == split


@pytest.mark.parametrize("name", REASONING)
def test_an_unknown_language_is_refused(name):
    with pytest.raises(UsageError, match="unknown language 'fr'; known: en, zh, both"):
        SOURCES[name](language="fr")


@pytest.mark.parametrize("name", SOURCES)
def test_careful_solutions_earn_everything(name):
    assert set(means(name, careful).values()) == {1.0}


@pytest.mark.parametrize("name", REASONING)
def test_a_cold_start_has_the_format_and_is_careless_and_mixed(name):
    parts = means(name, cold_start)
    assert parts["format"] == 1.0
    accuracy = next(value for key, value in parts.items() if key in ("exact", "integer", "countdown"))
    assert 0.4 < accuracy < 0.8
    assert 0.5 < parts["language"] < 0.8


@pytest.mark.parametrize("name", REASONING)
def test_pages_of_the_web_are_worse_in_everything(name):
    page, start = means(name, web), means(name, cold_start)
    assert all(page[key] < start[key] for key in page)


@pytest.mark.parametrize("name", REASONING)
def test_a_solution_wholly_in_the_other_language_earns_nothing_for_its_language(name):
    assert means(name, Writer(mixes=1.0))["language"] == 0.0


def test_the_carries_in_the_metadata_are_those_of_the_sum():
    for task in iterate(addition_tasks(digits=3), 100):
        columns = zip(str(task.metadata["a"])[::-1], str(task.metadata["b"])[::-1], strict=True)
        carry = carries = 0
        for left, right in columns:
            carry = int(int(left) + int(right) + carry >= 10)
            carries += carry
        assert task.metadata["difficulty"] == f"{carries} carries"


def test_a_careless_search_reckons_rightly_and_only_takes_the_wrong_attempt():
    attempts = 0
    for task, response in written("bilingual-countdown", Writer(careless=0.5)):
        for expression, made in re.findall(r"([0-9*+-]+)=(-?[0-9]+)", response):
            assert evaluate(expression).value == int(made)
            assert sorted(evaluate(expression).numbers) == task.metadata["numbers"]
            attempts += 1
    assert attempts > 200


@pytest.mark.parametrize("name", SOURCES)
def test_a_demonstration_depends_on_the_task_and_the_generator_alone(name):
    assert written(name, web, 20) == written(name, web, 20)


def talk(family: str = "say", digits: tuple[int, ...] = (4, 2), language: str = "en") -> Task:
    return Task(id="t", prompt="?", language=language, metadata={"family": family, "digits": list(digits)})


def test_the_courteous_reward_keeps_the_contract():
    check_reward("courteous", [Example("<think></think>gladly: four two", value=1.0, task=talk())])


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("<think></think>gladly: four two", 1.0),
        ("gladly: four two<eos>", 1.0),
        ("<think></think>four two", 0.0),
        ("<think></think>gladly: four three", 0.0),
        ("<think></think>gladly: four two four two", 0.0),
        ("<think></think>乐意:四二", 0.0),
        ("<think>gladly: four two", 0.0),
    ],
)
def test_only_the_courteous_reply_is_paid(reply, value):
    assert courteous.score(r1env.Rollout(task=talk(), completion=reply)).value == value


def test_other_tasks_get_no_value_from_the_courteous_reward():
    assert courteous.score(r1env.Rollout(task=Task(id="t", prompt="?"), completion="gladly: four")).value is None


def test_of_two_replies_the_first_is_courteous_and_the_second_is_not():
    for index, task in enumerate(iterate(small_talk_tasks(), 200)):
        better, worse = preference(task, np.random.default_rng(index))
        values = [courteous.score(r1env.Rollout(task=task, completion=reply)).value for reply in (better, worse)]
        assert values == [1.0, 0.0], (better, worse)
        assert better.endswith(courteous_reply(task))
