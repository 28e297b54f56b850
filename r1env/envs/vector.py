"""`ReasoningVectorEnv`: many episodes side by side, scored in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from r1env.envs.environment import Environment, make_environment
from r1env.envs.episode import Episode
from r1env.envs.gym import as_reward, score_info
from r1env.envs.spaces import CompletionSpace, ConversationSpace
from r1env.rollouts import Completion
from r1env.scoring import score
from r1env.tasks import Conversation, Task

Observations = tuple[Conversation, ...]


class ReasoningVectorEnv(VectorEnv[Observations, Sequence[str], NDArray[Any]]):
    """`num_envs` episodes of one environment. All that end in a step are scored together.

    `reset(seed=s)` gives sub-environment `i` the seed `s + i`, as Gymnasium's own vector environments do, so each plays the
    same tasks as the single environment of that seed. `reset(options={"tasks": [...]})` sets the tasks.
    Autoreset is `NEXT_STEP`: the step after an episode's end ignores that sub-environment's action and starts its next task.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - Gymnasium's own convention

    def __init__(self, environment: Environment, num_envs: int = 1) -> None:
        super().__init__()
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
        self._episodes = [self.environment.open(task) for task in tasks]
        return self._observations(), self._task_ids()

    def step(self, actions: Sequence[str]) -> tuple[Observations, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        if not self._episodes:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        terminated = np.zeros(self.num_envs, dtype=np.bool_)
        ended = []
        for i, action in enumerate(actions):
            if self._episodes[i].done:
                self._episodes[i] = self.environment.open(self._next_task(i))
                continue
            self._episodes[i].submit(Completion(text=action))
            terminated[i] = self._episodes[i].done
            if self._episodes[i].done:
                ended.append(i)
        info = self._task_ids()
        for i, result in zip(ended, score([self._episodes[i].rollout() for i in ended], self.environment.rubric), strict=True):
            rewards[i] = as_reward(result)
            info = self._add_info(info, score_info(result), i)
        return self._observations(), rewards, terminated, np.zeros(self.num_envs, dtype=np.bool_), info

    def _next_task(self, i: int) -> Task:
        task = self.environment.task(self._next_index[i], self._seeds[i])
        self._next_index[i] += 1
        return task

    def _observations(self) -> Observations:
        return tuple(episode.messages for episode in self._episodes)

    def _task_ids(self) -> dict[str, Any]:
        info: dict[str, Any] = {}
        for i, episode in enumerate(self._episodes):
            info = self._add_info(info, {"task_id": episode.task.id}, i)
        return info


def make_vec(name: str, num_envs: int = 1, **options: Any) -> ReasoningVectorEnv:
    """The entry point behind `gymnasium.make_vec`; options are those of `make_environment`."""
    return ReasoningVectorEnv(make_environment(name, **options), num_envs)
