"""Functions written for TRL, verl and OpenRLHF as rewards, and the values that rewards may return."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

import r1env
from r1env.rewards import Convention, as_reward, load_reward, reward
from r1env.scoring import ScoringPool, score
from r1env.types import Rollout, Status, Task

TASK = Task(id="7", prompt="2 + 2?", answer="4", metadata={"level": 3, "data_source": "sums"})


def rollouts(*texts: str) -> list[Rollout]:
    return [Rollout(task=TASK, completion=text, token_ids=(1, 2)) for text in texts]


FUNCTIONS = """
import torch


def trl_texts(completions, answer, level, **kwargs):
    assert sorted(kwargs) == ["completion_ids", "data_source", "prompts"]
    assert kwargs["prompts"] == ["2 + 2?"] * len(completions)
    return [float(text == right) * times for text, right, times in zip(completions, answer, level, strict=True)]


def trl_messages(prompts, completions, solution, **kwargs):
    contents = [completion[0]["content"] for completion in completions]
    assert prompts[0][-1]["content"] == "2 + 2?"
    return [3.0 * (content == right) for content, right in zip(contents, solution, strict=True)]


def verl(data_source, solution_str, ground_truth, extra_info=None):
    assert (data_source, extra_info["level"], extra_info["index"]) == ("sums", 3, "7")
    return {"score": 3.0 * (solution_str == ground_truth), "acc": True}


def openrlhf(queries, prompts, labels):
    values = [3.0 * (query == prompt + label) for query, prompt, label in zip(queries, prompts, labels, strict=True)]
    return {"rewards": torch.tensor(values), "scores": torch.tensor(values), "extra_logs": {}}
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The functions as somebody's file has them: `theirs("verl")` is the reward made of one."""
    path = tmp_path_factory.mktemp("theirs") / "theirs.py"
    path.write_text(FUNCTIONS)
    return lambda name: load_reward(f"{path}:{name}")


@pytest.mark.parametrize(
    ("name", "convention"),
    [
        ("trl_texts", Convention.TRL),
        ("trl_messages", Convention.TRL),
        ("verl", Convention.VERL),
        ("openrlhf", Convention.OPENRLHF),
    ],
)
@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_a_function_with_another_librarys_signature_is_a_reward_as_it_is(name, convention, isolation, caplog, theirs, pool):
    with caplog.at_level(logging.INFO, logger="r1env"):
        made = replace(theirs(name), isolation=r1env.Isolation(isolation))
    assert made.convention is convention
    assert f"reward '{name}' is called as {convention} calls its reward functions" in caplog.text
    scores = score(rollouts("4", "5", "4"), made, pool=pool)
    assert [found.value for found in scores] == [3.0, 0.0, 3.0], scores


def test_the_log_says_whether_a_trl_function_reads_messages(caplog, theirs):
    with caplog.at_level(logging.INFO, logger="r1env"):
        theirs("trl_messages")
        theirs("trl_texts")
    first, second = caplog.messages
    assert first.endswith("with messages")
    assert not second.endswith("with messages")


def test_a_trl_function_sees_a_whole_group_where_its_scope_says_so():
    @reward(scope="group")
    def rank(completions, **kwargs):
        return [sorted(completions).index(text) for text in completions]

    other = Task(id="8", prompt="?", answer="1")
    made = [*rollouts("b", "a"), Rollout(task=other, completion="c")]
    assert [found.value for found in score(made, rank)] == [1.0, 0.0, 0.0]


def test_a_column_that_the_task_has_not_is_named():
    found = reward(lambda completions, difficulty: [1.0]).score(rollouts("4")[0])
    assert found.reason == "asks for the column 'difficulty', and the task has only: answer, level, data_source"


def test_a_column_with_a_default_is_left_to_it_and_an_option_is_set():
    def scaled(completions, difficulty=None, factor=2.0):
        assert difficulty is None
        return [factor] * len(completions)

    made = reward(scaled).with_options(factor=5.0)
    assert made.score(rollouts("4")[0]).value == 5.0


def test_a_completion_over_which_a_trl_function_raises_costs_only_itself():
    made = reward(lambda completions, **kwargs: [float(text) for text in completions])
    assert [found.value for found in score(rollouts("1", "x", "3"), made)] == [1.0, None, 3.0]


def test_what_verls_function_returns_beside_the_score_is_the_reason(theirs):
    assert theirs("verl").score(rollouts("4")[0]).reason == "acc=True"
    broken = reward(lambda solution_str, ground_truth: {"acc": 1.0}).score(rollouts("4")[0])
    assert broken.reason == "returned a mapping without 'score': acc"


@pytest.mark.parametrize(
    ("settings", "function", "message"),
    [
        ({"scope": "group"}, lambda solution_str, ground_truth: [1.0], "with one response, never with several"),
        ({"batch": True}, lambda solution_str, ground_truth: [1.0], "with one response, never with several"),
        (
            {"scope": "turn"},
            lambda queries, prompts, labels: [1.0],
            "called as openrlhf calls its functions, which knows no turns",
        ),
    ],
)
def test_a_scope_that_a_convention_does_not_have_is_refused(settings, function, message):
    with pytest.raises(r1env.UsageError, match=message):
        reward(**settings)(function)


def test_a_trl_function_has_the_options_that_it_names():
    def scaled(completions, factor=2.0, **columns):
        return [factor]

    with pytest.raises(r1env.UsageError, match="unknown option of reward 'scaled': 'facctor'; did you mean 'factor'"):
        reward(scaled).with_options(facctor=1.0)


def test_an_undecorated_coroutine_function_is_an_asynchronous_reward():
    async def awaited(completion: str) -> float:
        return 1.0

    assert as_reward(awaited, "x").isolation is r1env.Isolation.ASYNC


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, 1.0),
        (np.bool_(True), 1.0),
        (np.float32(0.5), 0.5),
        (np.int64(2), 2.0),
        (np.array(0.25), 0.25),
        (np.array(True), 1.0),
        (torch.tensor(0.5), 0.5),
        (torch.tensor(True), 1.0),
        (torch.tensor(3, dtype=torch.int32), 3.0),
        (torch.tensor(0.5, requires_grad=True), 0.5),
        (Fraction(1, 2), 0.5),
        (Decimal("0.5"), 0.5),
    ],
)
def test_scalars_of_every_kind_are_values(value, expected):
    found = reward(lambda completion: value).score(rollouts("")[0])
    assert (found.value, type(found.value)) == (expected, float)
    parts = reward(parts=("a",))(lambda completion: {"a": value}).score(rollouts("")[0])
    assert parts.parts["<lambda>/a"] == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "returned NaN"),
        (np.float64("nan"), "returned NaN"),
        (torch.tensor(math.nan), "returned NaN"),
        (math.inf, "returned inf"),
        (np.float32("-inf"), "returned -inf"),
        (10**400, "returned a number too large for a float"),
        (np.zeros(1), "returned an array of shape (1,), not one number"),
        (torch.zeros(2, 3), "returned an array of shape (2, 3), not one number"),
        ("1", "returned str, which is neither a number, a mapping, a Score nor None"),
        (np.array("text"), "returned str, which is neither a number, a mapping, a Score nor None"),
        (1j, "returned complex, which is neither a number, a mapping, a Score nor None"),
        ([1.0], "returned list, which is neither a number, a mapping, a Score nor None"),
        ({"value": math.nan}, "returned NaN"),
        ({"value": None}, "returned NoneType, which is neither a number, a mapping, a Score nor None"),
    ],
)
def test_what_is_no_finite_number_says_what_it_is(value, reason):
    found = reward(lambda completion: value).score(rollouts("")[0])
    assert (found.value, found.status, found.reason) == (None, Status.ERROR, reason)


@pytest.mark.parametrize("results", [np.array([1.0, 0.0]), torch.tensor([1.0, 0.0]), [np.bool_(True), torch.tensor(0)]])
def test_a_batch_may_be_an_array_or_a_tensor(results):
    made = reward(batch=True)(lambda completion: results)
    assert [found.value for found in made.score_batch(rollouts("a", "b"))] == [1.0, 0.0]


@pytest.fixture(scope="module")
def pool():
    with ScoringPool(workers=1) as shared:
        yield shared
