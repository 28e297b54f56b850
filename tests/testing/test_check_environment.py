"""The conformance kit lets a sound environment pass and finds what is wrong with the others."""

from __future__ import annotations

import itertools
import subprocess
import sys

import gymnasium
import pytest

import r1env
from r1env.data.sources import ListSource
from r1env.envs.gym import ReasoningEnv, ReasoningVectorEnv
from r1env.testing import check_environment


def task(name: str) -> r1env.Task:
    return r1env.Task(id=name, prompt=({"role": "user", "content": f"question {name}"},), answer="1")


class Sound(ListSource):
    def __init__(self):
        super().__init__([task("a"), task("b"), task("c")])


class Forgetful(Sound):
    """Gives another task every time."""

    def __init__(self):
        super().__init__()
        self._count = itertools.count()

    def task(self, index, seed=0):
        return super().task(next(self._count) % 3)


@pytest.fixture
def register():
    """Registers an environment for one test."""
    ids = []

    def add(name, source, single=ReasoningEnv, vector=ReasoningVectorEnv):
        def build():
            base = r1env.make_environment("sort-4")
            return type(base)(**{**vars(base), "source": source()})

        env_id = f"r1env-test/{name}"
        gymnasium.register(
            env_id,
            entry_point=lambda render_mode=None: single(build(), render_mode=render_mode),
            vector_entry_point=lambda num_envs=1: vector(build(), num_envs),
        )
        ids.append(env_id)
        return env_id

    yield add
    for env_id in ids:
        del gymnasium.registry[env_id]


def test_a_sound_environment_passes(register):
    check_environment(register("Sound-v0", Sound))


def test_a_source_that_forgets_its_seed_is_found(register):
    with pytest.raises(AssertionError, match="seed"):
        check_environment(register("Forgetful-v0", Forgetful))


def test_a_warning_of_gymnasiums_checker_is_a_failure(register):
    class NotANumber(ReasoningEnv):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, float("nan"), *rest

    with pytest.raises(AssertionError, match="The reward is a NaN value"):
        check_environment(register("Nan-v0", Sound, single=NotANumber))


def test_a_vector_form_that_scores_differently_is_found(register):
    class Generous(ReasoningVectorEnv):
        def step(self, actions):
            observations, rewards, *rest = super().step(actions)
            return observations, rewards + 1.0, *rest

    with pytest.raises(AssertionError, match="step 0 of sub-environment 0 differs"):
        check_environment(register("Generous-v0", Sound, vector=Generous))


def test_a_vector_form_that_shows_other_tasks_is_found(register):
    class Shifted(ReasoningVectorEnv):
        def _next_task(self, i):
            super()._next_task(i)
            return super()._next_task(i)

    with pytest.raises(AssertionError, match="shows another task"):
        check_environment(register("Shifted-v0", Sound, vector=Shifted))


def test_importing_the_kit_imports_neither_gymnasium_nor_pytest():
    code = "import r1env.testing, sys; print([m for m in ('gymnasium', 'pytest', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"
