"""`ReasoningEnv`: one environment as a `gymnasium.Env`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import gymnasium
import numpy as np
from gymnasium import Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from r1env.envs.conversation import Episode, submit_all
from r1env.envs.environment import Environment, make_environment
from r1env.rubrics import refuse_group_rewards
from r1env.scoring import score
from r1env.types import Completion, Conversation, Score, Task

# Gymnasium spaces for text. Gymnasium's own `Text` knows a fixed alphabet only; models write Unicode.

T = TypeVar("T", covariant=True)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz 0123456789<>/"
_SAMPLE_LENGTH = 12


class _UnicodeSpace(Space[T]):
    """What both spaces share: they have no shape, and all of a kind are equal."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def _random_text(self) -> str:
        picks = self.np_random.integers(len(_ALPHABET), size=_SAMPLE_LENGTH)
        return "".join(_ALPHABET[int(pick)] for pick in picks)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class CompletionSpace(_UnicodeSpace[str]):
    """The space of all strings: the model's possible answers."""

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Return a short random string, to exercise an environment."""
        return self._random_text()

    def contains(self, x: Any) -> bool:
        return isinstance(x, str)


class ConversationSpace(_UnicodeSpace[Conversation]):
    """The space of conversations, tuples of messages `{"role": …, "content": …}`."""

    def sample(self, mask: Any = None, probability: Any = None) -> Conversation:
        """Return one user message with a random text."""
        return ({"role": "user", "content": self._random_text()},)

    def contains(self, x: Any) -> bool:
        return isinstance(x, tuple) and all(
            isinstance(message, dict)
            and message.keys() >= {"role", "content"}
            and isinstance(message["role"], str)
            and isinstance(message["content"], str)
            for message in x
        )


class ReasoningEnv(gymnasium.Env[Conversation, str]):
    """A reasoning task as an episode. The observation is the conversation so far, the action the model's completion.

    `reset(seed=s)` starts the source at task 0 under seed `s`; each later `reset()` takes the next task.
    `reset(options={"index": i})` or `{"task": task}` picks one.

    The step that ends the episode returns `terminated=True`; `truncated` is always False, because only the environment's own rules end an
    episode. The reward of earlier steps in multi-turn environments is 0.

    `info` has `task_id` and, after the last step, also `score` (a `Score`) and `parts`. If the score has no value, the reward is NaN, so that
    it cannot be mistaken for 0. If the environment fails in `reset`, `info["error"]` says why; the next step ends that episode with NaN for
    any action.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - Gymnasium's own convention
    observation_space: ConversationSpace
    action_space: CompletionSpace

    def __init__(self, environment: Environment, render_mode: str | None = None) -> None:
        refuse_group_rewards(environment.rubric, "a Gymnasium environment")
        self.environment = environment
        self.render_mode = render_mode
        self.observation_space = ConversationSpace()
        self.action_space = CompletionSpace()
        self._seed = 0
        self._next_index = 0
        self._episode: Episode | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Conversation, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._seed, self._next_index = seed, 0
        task = self._choose(options or {})
        self.close()
        self._episode = self.environment.open(task)
        failed = {"error": self._episode.error} if self._episode.error else {}
        return self._episode.messages, {"task_id": task.id, **failed}

    def step(self, action: str) -> tuple[Conversation, float, bool, bool, dict[str, Any]]:
        if self._episode is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        if not (self._episode.error and self._episode.turns == 0):
            self._episode.submit(Completion(text=action))
        info: dict[str, Any] = {"task_id": self._episode.task.id}
        reward = 0.0
        if self._episode.done:
            (result,) = score([self._episode.rollout()], self.environment.rubric)
            info |= score_info(result)
            reward = as_reward(result)
        return self._episode.messages, reward, self._episode.done, False, info

    def close(self) -> None:
        """Abandon an episode that is still running."""
        if self._episode is not None:
            self._episode.close()

    def render(self) -> str | None:
        """Return the conversation as text, in mode `ansi`."""
        if self.render_mode != "ansi" or self._episode is None:
            return None
        return "\n".join(f"[{message['role']}] {message['content']}" for message in self._episode.messages)

    def _choose(self, options: dict[str, Any]) -> Task:
        if isinstance(task := options.get("task"), Task):
            return task
        index = int(options.get("index", self._next_index))
        self._next_index = index + 1
        return self.environment.task(index, self._seed)


def score_info(result: Score) -> dict[str, Any]:
    """Return the entries of `info` for a score."""
    return {"score": result, "parts": dict(result.parts)}


def as_reward(result: Score) -> float:
    """Return the score as a float for Gymnasium: NaN if there is no value."""
    return math.nan if result.value is None else result.value


def make(name: str, render_mode: str | None = None, **options: Any) -> ReasoningEnv:
    """The entry point behind `gymnasium.make`; options are those of `make_environment`."""
    return ReasoningEnv(make_environment(name, **options), render_mode=render_mode)


# `ReasoningVectorEnv`: many episodes side by side, scored in one call.

Observations = tuple[Conversation, ...]


class ReasoningVectorEnv(VectorEnv[Observations, Sequence[str], NDArray[Any]]):
    """`num_envs` episodes of one environment. Episodes that end in the same step are scored together.

    `reset(seed=s)` gives sub-environment `i` the seed `s + i`, as Gymnasium's own vector environments do, so each plays the
    same tasks as the single environment of that seed. `reset(options={"tasks": [...]})` sets the tasks.
    Autoreset is `NEXT_STEP`: the step after an episode's end ignores that sub-environment's action and starts its next task.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - Gymnasium's own convention

    def __init__(self, environment: Environment, num_envs: int = 1) -> None:
        super().__init__()
        refuse_group_rewards(environment.rubric, "a Gymnasium environment")
        self.environment = environment
        self.num_envs = num_envs
        self.render_mode = None
        self.single_observation_space = ConversationSpace()
        self.single_action_space = CompletionSpace()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seeds = [0] * num_envs
        self._next_index = [0] * num_envs
        self._episodes: list[Episode] = []
        self._ended = [False] * num_envs

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else list(seed or [None] * self.num_envs)
        for i, given in enumerate(seeds):
            if given is not None:
                self._seeds[i], self._next_index[i] = given, 0
        tasks: Sequence[Task] = (options or {}).get("tasks") or [self._next_task(i) for i in range(self.num_envs)]
        if len(tasks) != self.num_envs:
            raise ValueError(f"got {len(tasks)} tasks for {self.num_envs} environments")
        self.close_extras()
        self._episodes = [self.environment.open(task) for task in tasks]
        self._ended = [False] * self.num_envs
        return self._observations(), self._task_ids()

    def step(self, actions: Sequence[str]) -> tuple[Observations, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        if not self._episodes:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        terminated = np.zeros(self.num_envs, dtype=np.bool_)
        going_on = [i for i in range(self.num_envs) if not self._ended[i]]
        turns = [(i, Completion(text=actions[i])) for i in going_on if not self._episodes[i].done]  # done: it failed in reset
        for i in set(range(self.num_envs)).difference(going_on):
            self._episodes[i] = self.environment.open(self._next_task(i))
        submit_all([(self._episodes[i], completion) for i, completion in turns])
        ended = [i for i in going_on if self._episodes[i].done]
        terminated[ended] = True
        self._ended = terminated.tolist()
        info = self._task_ids()
        for i, result in zip(ended, score([self._episodes[i].rollout() for i in ended], self.environment.rubric), strict=True):
            rewards[i] = as_reward(result)
            info = self._add_info(info, score_info(result), i)
        return self._observations(), rewards, terminated, np.zeros(self.num_envs, dtype=np.bool_), info

    def close_extras(self, **_: Any) -> None:
        """Abandon the episodes that are still running. Gymnasium calls this from `close`."""
        for episode in self._episodes:
            episode.close()

    def _next_task(self, i: int) -> Task:
        task = self.environment.task(self._next_index[i], self._seeds[i])
        self._next_index[i] += 1
        return task

    def _observations(self) -> Observations:
        return tuple(episode.messages for episode in self._episodes)

    def _task_ids(self) -> dict[str, Any]:
        info: dict[str, Any] = {}
        for i, episode in enumerate(self._episodes):
            failed = {"error": episode.error} if episode.error and episode.turns == 0 else {}
            info = self._add_info(info, {"task_id": episode.task.id, **failed}, i)
        return info


def make_vec(name: str, num_envs: int = 1, **options: Any) -> ReasoningVectorEnv:
    """The entry point behind `gymnasium.make_vec`; options are those of `make_environment`."""
    return ReasoningVectorEnv(make_environment(name, **options), num_envs)
