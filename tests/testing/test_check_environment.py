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


WITH_A_TOOL = """
import r1env
from r1env.data.sources import ListSource
from r1env.envs.conversation import StepResult, ToolEnv

def tasks():
    return ListSource([r1env.Task(id=str(n), prompt=f"What is {n} + 1?", answer=str(n + 1)) for n in range(5)])

def SPEC():
    return r1env.EnvironmentSpec("adder", tasks, reward="short_answer", summary="sums", other=Other, max_turns=4)

SHARED = []

class Adder(ToolEnv):
    def __init__(self):
        super().__init__([self.add])

    def add(self, a: int, b: int) -> str:
        "Add two whole numbers."
        return str(a + b)

class Remembering(Adder):
    "Its episodes share a list."

    def add(self, a: int, b: int) -> str:
        "Add two whole numbers."
        SHARED.append(a)
        return str(len(SHARED))

class Strict(Adder):
    "Raises where the model does not write a number."

    async def step(self, message):
        if not message.get("tool_calls"):
            int(message["content"])
        return await super().step(message)

class Undescribed(ToolEnv):
    def __init__(self):
        super().__init__([lambda a: a])

class Silent(ToolEnv):
    def __init__(self):
        super().__init__([self.plus])

    def plus(self, a: int, b: int) -> str:
        return str(a + b)

class Anonymous(Adder):
    "Its replies do not say which call they answer."

    async def step(self, message):
        result = await super().step(message)
        for reply in result.messages:
            del reply["tool_call_id"]
        return result

class Unpaid(Adder):
    async def step(self, message):
        return StepResult(done=True, reward=float("nan"))

class Wordless(Adder):
    async def step(self, message):
        return StepResult([{"role": "user", "content": None}])

class Closed(Adder):
    "Cannot be opened."

    def reset(self, task):
        raise RuntimeError("no vault")

class Unloggable(Adder):
    async def step(self, message):
        return StepResult(done=True, info={"self": object()})

def guess(task, messages):
    return "higher" if int(messages[-1]["content"]) < 3 else None
"""


def with_a_tool(tmp_path, name):
    path = tmp_path / f"of_{name.lower()}.py"
    path.write_text(WITH_A_TOOL + f"\nOther = {name}\n")
    return f"{path}:SPEC"


def test_a_sound_environment_with_a_tool_passes(tmp_path):
    check_environment(with_a_tool(tmp_path, "Adder"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Remembering", "they share state, or are random"),
        ("Strict", "the environment failed: ValueError: .*when the model wrote"),
        ("Undescribed", "name that is no identifier"),
        ("Silent", "the tool 'plus' has no description"),
        ("Anonymous", "no tool_call_id of a call"),
        ("Unpaid", "the reward of a turn is nan"),
        ("Wordless", "its content is a NoneType, not text"),
        ("Closed", "the environment failed: RuntimeError: no vault, at the opening"),
        ("Unloggable", "not JSON serializable"),
        ("guess", "the environment failed: ValueError"),
    ],
)
def test_a_bad_environment_with_turns_is_named(tmp_path, name, message):
    from r1env.testing.environments import _check_episodes

    with pytest.raises(AssertionError, match=message):
        _check_episodes(with_a_tool(tmp_path, name), {})


def test_importing_the_kit_imports_neither_gymnasium_nor_pytest():
    code = "import r1env.testing, sys; print([m for m in ('gymnasium', 'pytest', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"
