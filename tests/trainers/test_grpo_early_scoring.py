"""Episodes are scored as they end, beside the decoding of the others, and get the scores they would get at the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sharp_model import sharp_tiny

import r1env
from r1env.data.sources import ListSource
from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.plugins import installed
from r1env.rubrics import Rubric, WeightedReward
from r1env.scoring import score
from r1env_trainers.generate.engine import LocalEngine, Sampler
from r1env_trainers.rl import rollouts as early_scoring
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.rollouts import collect

CONFIG = GRPOConfig(model="tiny", env="e", sampling={"prompts_per_step": 4, "group_size": 8, "max_new_tokens": 40})


@r1env.reward(name="digits", isolation="async")
async def digits(completion):
    return float(sum(map(str.isdigit, completion)))


@pytest.fixture
def suite():
    tasks = [r1env.Task(id=str(i), prompt=f"{i}?") for i in range(8)]
    template = installed().template("plain")
    return Suite("e", [Environment("e", ListSource(tasks), Rubric("r", [WeightedReward(digits)]), "digits", template)])


@pytest.fixture
def tiny():
    return sharp_tiny()


def test_scores_stand_beside_their_own_rollouts(tiny, suite):
    experience = collect(suite, tiny, LocalEngine(Sampler(tiny)), CONFIG, step=0)
    expected = score(experience.rollouts, suite.environments[0].rubric)
    assert [one.value for one in experience.scores] == [one.value for one in expected]
    assert len({one.value for one in experience.scores}) > 2
    assert experience.rewards.flatten().tolist() == [one.value for one in expected]


def test_episodes_that_are_over_are_handed_over_while_others_are_sampled(tiny, suite, monkeypatch):
    events = []

    class Noted(early_scoring.Scoring):
        def add(self, rollouts):
            events.append(len(rollouts))
            super().add(rollouts)

    class NotedSampler(Sampler):
        def sample(self, *args, **kwargs):
            samples = super().sample(*args, **kwargs)
            events.append("sampled")
            return samples

    monkeypatch.setattr(early_scoring, "Scoring", Noted)
    collect(suite, tiny, LocalEngine(NotedSampler(tiny)), CONFIG, step=0)
    before = events[: events.index("sampled")]
    assert len(before) > 2
    assert all(part >= 2 for part in before)  # a sixteenth of all at a time
    assert sum(event for event in events if event != "sampled") == 32


@r1env.reward(name="varied", scope="group", isolation="async")
async def varied(completions):
    return [float(len(set(completions)))] * len(completions)


def test_a_group_is_scored_as_soon_as_its_members_are_over(tiny, suite, monkeypatch):
    events = []

    class Noted(early_scoring.Scoring):
        def add(self, rollouts):
            super().add(rollouts)
            events.append(len(self.futures))

    class NotedSampler(Sampler):
        def sample(self, *args, **kwargs):
            samples = super().sample(*args, **kwargs)
            events.append("sampled")
            return samples

    (environment,) = suite.environments
    grouped = replace(environment, rubric=Rubric("r", [WeightedReward(varied)]))
    monkeypatch.setattr(early_scoring, "Scoring", Noted)
    experience = collect(Suite("e", [grouped]), tiny, LocalEngine(NotedSampler(tiny)), CONFIG, step=0)
    assert events[events.index("sampled") - 1] >= 1  # while others were still being sampled
    assert [one.value for one in experience.scores] == [one.value for one in score(experience.rollouts, grouped.rubric)]


def test_what_nobody_waits_for_is_stopped_when_sampling_fails(tiny, suite, monkeypatch):
    cancelled = []

    class Noted(early_scoring.Scoring):
        def cancel(self):
            cancelled.append(self)
            super().cancel()

    class FailingSampler(Sampler):
        def sample(self, *args, **kwargs):
            super().sample(*args, **kwargs)
            raise RuntimeError("out of memory")

    monkeypatch.setattr(early_scoring, "Scoring", Noted)
    with pytest.raises(RuntimeError, match="out of memory"):
        collect(suite, tiny, LocalEngine(FailingSampler(tiny)), CONFIG, step=0)
    assert len(cancelled) == 1
