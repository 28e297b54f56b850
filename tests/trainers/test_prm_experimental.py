"""Process rewards: cutting into steps, DeepSeekMath's advantages, a small model that judges steps, and choosing by it."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r1env_trainers.experimental.process_rewards import (
    best_of_n,
    majority_vote,
    of_steps,
    process_advantages,
    score_steps,
    split_steps,
    start_process_reward_model,
    step_ends,
    train_process_reward_model,
    weighted_vote,
)
from r1env_trainers.experimental.tree_search import BASE, careless_sum
from r1env_trainers.rl.advantages import group_std

NAN = math.nan


def test_importing_the_package_warns_that_it_is_experimental():
    command = [sys.executable, "-W", "always", "-c", "import r1env_trainers.experimental"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert "ExperimentalWarning" in said
    assert "may change in any release" in said


def test_a_step_is_a_line_and_blank_lines_belong_to_the_one_before():
    assert split_steps("first\n\nsecond\n  \nthird") == ["first\n\n", "second\n  \n", "third"]
    assert split_steps("\n\nfirst\nsecond\n") == ["\n\nfirst\n", "second\n"]
    assert split_steps("") == []


@given(st.text(alphabet="ab \n"), st.sampled_from(["\n", "\n\n", "b"]))
def test_the_steps_joined_are_the_completion(completion, delimiter):
    steps = split_steps(completion, delimiter)
    assert "".join(steps) == completion
    assert all(steps)
    assert len(steps) <= 1 or all(step.strip() for step in steps)


def test_process_advantages_by_hand():
    # All step rewards: 1, 0, 1, 2; mean 1, sample deviation sqrt(2 / 3). First completion: steps end at tokens 1 and 3.
    rewards = torch.tensor([[1.0, 0.0], [1.0, 2.0], [NAN, NAN]])
    ends = torch.tensor([[1, 3], [0, 2], [0, 0]])
    unit = math.sqrt(3 / 2)
    expected = torch.tensor([[-1.0, -1.0, -1.0, -1.0, 0.0], [1.0, 1.0, 1.0, 0.0, 0.0], [0.0] * 5]) * unit
    assert torch.allclose(process_advantages(rewards, ends, 5), expected)


def test_with_one_step_each_they_are_the_advantages_of_outcomes():
    rewards = torch.tensor([1.0, 0.0, 0.5, NAN])
    ends = torch.tensor([2, 0, 1, 0])
    found = process_advantages(rewards[:, None], ends[:, None], 3)
    outcome = group_std(rewards[None])[0]
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert torch.allclose(found, outcome[:, None] * mask)


def test_steps_that_all_earn_the_same_have_no_advantage():
    assert not process_advantages(torch.full((2, 3), 0.7), torch.tensor([[0, 1, 2], [0, 1, 2]]), 3).any()


def test_the_ends_of_steps_are_their_last_tokens():
    assert step_ends([2, 1, 3]) == [1, 2, 5]


def test_a_majority_is_of_those_who_answered_and_the_earliest_wins_a_draw():
    assert majority_vote([None, None, None, "4", "5", "5"]) == 4
    assert majority_vote(["4", "5"]) == 0
    assert majority_vote([None]) is None


def test_the_best_of_n_is_never_one_without_a_score():
    assert best_of_n([NAN, 0.2, 0.9, 0.9]) == 2
    assert best_of_n([NAN]) is None


def test_a_weighted_vote_sums_what_an_answer_earned():
    assert weighted_vote(["4", "5", "5", None], [0.6, 0.3, 0.4, 0.9]) == 2
    assert weighted_vote([None, "5"], [0.6, NAN]) is None


def test_a_solution_is_judged_by_its_steps():
    assert of_steps([0.9, 0.5]) == 0.5
    assert of_steps([0.9, 0.5], "product") == pytest.approx(0.45)
    assert of_steps([0.9, 0.5], "last") == 0.5
    assert of_steps([0.9, 0.5], "mean") == pytest.approx(0.7)
    assert math.isnan(of_steps([]))


@pytest.mark.slow
def test_a_small_judge_of_steps_chooses_better_than_a_majority_that_errs_alike():
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    drawn = [careless_sum(rng.integers(BASE, size=4).tolist(), rng, careless=0.5)[0] for _ in range(1000)]
    prm = start_process_reward_model("tiny")
    losses = train_process_reward_model(prm, drawn, updates=90, batch_size=16, lr=2e-3, seed=0)
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) / 2

    by_vote = by_judge = possible = 0
    for _ in range(40):
        numbers = rng.integers(BASE, size=4).tolist()
        candidates, answers = zip(*(careless_sum(numbers, rng, careless=0.7) for _ in range(8)), strict=True)
        answer = sum(numbers) % BASE
        scores = [of_steps(steps) for steps in score_steps(prm, [(one.prompt, one.steps) for one in candidates])]
        by_vote += answers[majority_vote(answers)] == answer
        by_judge += answers[best_of_n(scores)] == answer
        possible += answer in answers
    assert by_judge >= by_vote + 5, (by_vote, by_judge, possible)
    assert by_judge >= 0.8 * possible, (by_vote, by_judge, possible)


def test_a_step_is_judged_by_what_stands_before_it_alone():
    prm = start_process_reward_model("tiny")
    (whole,), (cut,) = score_steps(prm, [("12:", ["1+2=3\n", "3+4=7\n"])]), score_steps(prm, [("12:", ["1+2=3\n"])])
    beside = score_steps(prm, [("1234567:", ["1+2=3\n"] * 5), ("12:", ["1+2=3\n"])])[1]
    assert whole[:1] == pytest.approx(cut, abs=1e-5)
    assert beside == pytest.approx(cut, abs=1e-5)
