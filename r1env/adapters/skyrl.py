"""Environments for SkyRL (`skyrl_gym`): any environment of ours, with its turns, tools and rubric; or a rubric over rows.

SkyRL adds up the rewards of steps as numbers: a score without a value becomes **the number `unscored` (0.0 unless set)**, with `error` = 1
in the step's metadata. Inside the Ray entry point:

    import skyrl_gym
    skyrl_gym.register(id="r1env", entry_point="r1env.adapters.skyrl:R1Env")

and the rows of the data set (see `row_of`) have `env_class` = `r1env`. `environment` in the row or in the environment's configuration names
one of ours; without it, an episode has one turn, which the rubric scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from r1env.adapters.core import TASK_FIELD, check_unscored, load_rubric, numbers, score_items, task_field, task_of
from r1env.envs.conversation import Episode
from r1env.envs.environment import make_environment
from r1env.types import Completion, Rollout, Task

TESTED_WITH = ""
"""Not run: the call is restated in our tests from SkyRL 0.4.0."""

REWARD_SPEC = "reward_spec"


class R1Env:
    """One episode, as `skyrl_gym` drives it: `init`, `step` until `done`, `close`.

    Args:
        env_config: `environment`, `rubric` (default `accuracy` with an environment, else `zero`), `accuracy` (`math`), `unscored` (0.0).
        extras: the row's other columns. `environment` in them counts more than the configuration's.

    Raises:
        UsageError: an unknown name.
    """

    def __init__(self, env_config: Any = None, extras: Mapping[str, Any] | None = None) -> None:
        config = dict(env_config or {})
        self._fields = dict(extras or {})
        self._unscored = check_unscored(config.get("unscored", 0.0))
        name = self._fields.pop("environment", None) or config.get("environment")
        self._environment = make_environment(name, rubric=config.get("rubric", "accuracy")) if name else None
        if self._environment is None:
            self._rubric = load_rubric(
                config.get("rubric", "zero"), accuracy=config.get("accuracy", "math"), one_by_one="SkyRL"
            )
        else:
            self._rubric = load_rubric(self._environment.rubric, one_by_one="SkyRL")
        self._episode: Episode | None = None

    def init(self, prompt: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Begin the episode. An environment of ours opens the conversation itself; otherwise the prompt stays as it is."""
        fields = self._fields
        if isinstance(spec := fields.get(REWARD_SPEC), Mapping) and "ground_truth" in spec:
            fields = {"ground_truth": spec["ground_truth"], **fields}
        task = task_of([dict(message) for message in prompt], fields)
        if self._environment is None:
            self._episode = Episode(task, task.prompt)
            return [dict(message) for message in prompt], {}
        self._episode = self._environment.open(task)
        return [dict(message) for message in self._episode.messages], {}

    def step(self, action: str) -> dict[str, Any]:
        """Take the model's turn. The last step of an episode has its reward, the others have 0."""
        if self._episode is None:
            raise RuntimeError("step was called before init")
        if not self._episode.done:
            self._episode.submit(Completion(text=action))
        if not self._episode.done:
            replies = [dict(message) for message in self._episode.replies]
            return {"observations": replies, "reward": 0.0, "done": False, "metadata": {}}
        (score,) = score_items([self._episode.rollout()], _itself, self._rubric)
        value = self._unscored if score.value is None else score.value
        metadata = {**numbers(score, self._rubric, self._unscored), "status": str(score.status), "reason": score.reason}
        return {"observations": [], "reward": value, "done": True, "metadata": metadata}

    def close(self) -> None:
        """Release what the environment holds."""
        if self._episode is not None:
            self._episode.close()

    def get_metrics(self) -> dict[str, Any]:
        return {} if self._episode is None else {"turns": self._episode.turns}

    @staticmethod
    def aggregate_metrics(metrics: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return the means of what `get_metrics` returned for several episodes."""
        turns = [one["turns"] for one in metrics if "turns" in one]
        return {"turns": sum(turns) / len(turns)} if turns else {}


def row_of(task: Task, *, environment: str = "") -> dict[str, Any]:
    """Return a row of SkyRL's data set that brings the task whole to the episode."""
    row = {
        "prompt": [dict(message) for message in task.prompt],
        "env_class": "r1env",
        REWARD_SPEC: {"method": "rule", "ground_truth": task.answer or ""},
        TASK_FIELD: task_field(task),
    }
    return {**row, "environment": environment} if environment else row


def _itself(rollout: Rollout) -> Rollout:
    return rollout
