"""`ReasoningEnv`: one environment as a `gymnasium.Env`."""

from __future__ import annotations

import math
from typing import Any

import gymnasium

from r1env.envs.environment import Environment, make_environment
from r1env.envs.episode import Episode
from r1env.envs.spaces import CompletionSpace, ConversationSpace
from r1env.rollouts import Completion
from r1env.scores import Score
from r1env.scoring import score
from r1env.tasks import Conversation, Task


class ReasoningEnv(gymnasium.Env[Conversation, str]):
    """A reasoning task as an episode. The observation is the conversation so far, the action the model's completion.

    `reset(seed=s)` starts the source at task 0 under seed `s`; each later `reset()` takes the next task.
    `reset(options={"index": i})` or `{"task": task}` picks one.

    `step` ends the episode with `terminated=True` when the answer is in (never `truncated`: nothing cuts an episode short but
    its own rules). Before that, in multi-turn environments, the reward is 0.

    `info` has `task_id`; after the last step also `score` (a `Score`) and `parts`. Where the score has no value the
    reward is NaN, so that nobody mistakes it for 0.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - Gymnasium's own convention
    observation_space: ConversationSpace
    action_space: CompletionSpace

    def __init__(self, environment: Environment, render_mode: str | None = None) -> None:
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
        self._episode = self.environment.open(task)
        return self._episode.messages, {"task_id": task.id}

    def step(self, action: str) -> tuple[Conversation, float, bool, bool, dict[str, Any]]:
        if self._episode is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        self._episode.submit(Completion(text=action))
        info: dict[str, Any] = {"task_id": self._episode.task.id}
        reward = 0.0
        if self._episode.done:
            (result,) = score([self._episode.rollout()], self.environment.rubric)
            info |= score_info(result)
            reward = as_reward(result)
        return self._episode.messages, reward, self._episode.done, False, info

    def render(self) -> str | None:
        """The conversation as text, in mode `ansi`."""
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
    """What `info` says about a score."""
    return {"score": result, "parts": dict(result.parts)}


def as_reward(result: Score) -> float:
    """The score as Gymnasium wants it: a float, NaN where there is no value."""
    return math.nan if result.value is None else result.value


def make(name: str, render_mode: str | None = None, **options: Any) -> ReasoningEnv:
    """The entry point behind `gymnasium.make`; options are those of `make_environment`."""
    return ReasoningEnv(make_environment(name, **options), render_mode=render_mode)
