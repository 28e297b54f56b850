"""The settings of every trainer that learns from its own rollouts: tasks, rewards, sampling, evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from r1env.envs.suite import EnvironmentShare
from r1env.rubrics import RubricSpec
from r1env_trainers.engines.vllm_options import EngineName, VLLMOptions
from r1env_trainers.local import LocalConfig
from r1env_trainers.suites import SuiteSettings

T = TypeVar("T")


class RolloutConfig(SuiteSettings, LocalConfig):
    """Where rollouts come from and what they earn, beside the settings of `SuiteSettings` and `LocalConfig`.

    Attributes:
        rubric: a preset's name, a YAML file, or the rubric itself (name, rewards); a share's own rubric goes before it.
        late_steps: the last so many steps have another rubric (`late_rubric`, for every environment), another mixture
            (`late_mixture`), or both.
        steps: batches of rollouts.
        prompts_per_step, group_size: a step draws prompts_per_step * group_size episodes.
        max_new_tokens, temperature, top_p: of sampling, each turn of an episode.
        engine, vllm: what draws the completions, see `engines`; options of vLLM where that is it.
        max_rows: completions decoded at once by the engine `transformers`; None for all, on a GPU for as many as memory allows.
        length_schedule, temperature_schedule: step → the limit or temperature from that step (counted from 0) on.
        difficulty: JSON lines of `r1env eval --n K --output FILE`; tasks whose pass rate there lies outside
            [difficulty_low, difficulty_high] are skipped, tasks that are not there are kept.
        refill: draw further prompts for groups whose rewards are all alike, until prompts_per_step groups differ or `max_refills`
            more batches were drawn (dynamic sampling, DAPO section 3.2).
        eval_every, eval_limit, eval_options: greedy evaluation every so many steps (0: never) on so many tasks of each
            environment under other options, e.g. {"split": "test"}; `eval_shown` of its completions go into the run each time.
        max_failed: the share of rollouts of a step whose scoring may fail before training stops.
        samples_every: how often rollouts are written to the run, in steps.
    """

    rubric: str | RubricSpec = "zero"
    late_steps: int = Field(default=0, ge=0)
    late_rubric: str | RubricSpec | None = None
    late_mixture: tuple[EnvironmentShare, ...] = ()

    prompts_per_step: int = Field(default=8, ge=1)
    group_size: int = Field(default=8, ge=1)
    max_new_tokens: int = Field(default=128, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    engine: EngineName = "transformers"
    vllm: VLLMOptions = Field(default_factory=VLLMOptions)
    max_rows: int | None = Field(default=None, ge=1)
    length_schedule: Mapping[int, PositiveInt] = Field(default_factory=dict)
    temperature_schedule: Mapping[int, PositiveFloat] = Field(default_factory=dict)

    difficulty: str | None = None
    difficulty_low: float = Field(default=0.0, ge=0, le=1)
    difficulty_high: float = Field(default=1.0, ge=0, le=1)
    refill: bool = False
    max_refills: int = Field(default=4, ge=0)

    eval_every: int = Field(default=0, ge=0)
    eval_limit: int = Field(default=128, ge=1)
    eval_options: dict[str, Any] = Field(default_factory=dict)
    eval_shown: int = Field(default=4, ge=0)

    max_failed: float = Field(default=0.2, ge=0, le=1)
    samples_every: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _tasks_come_from_somewhere(self) -> Self:
        if self.env is None and not self.mixture:
            raise ValueError("give env or mixture: where the tasks come from")
        return self

    @model_validator(mode="after")
    def _late_steps_differ(self) -> Self:
        differs = self.late_rubric is not None or bool(self.late_mixture)
        if differs and not self.late_steps:
            raise ValueError("late_rubric and late_mixture need late_steps, the number of steps they are for")
        if self.late_steps and not differs:
            raise ValueError(f"late_steps={self.late_steps} needs a late_rubric or a late_mixture")
        if self.late_steps > self.steps:
            raise ValueError(f"late_steps={self.late_steps} are more than the {self.steps} steps in all")
        return self

    @model_validator(mode="after")
    def _selection_selects(self) -> Self:
        if self.difficulty_low > self.difficulty_high:
            raise ValueError(f"difficulty_low={self.difficulty_low} is above difficulty_high={self.difficulty_high}")
        if self.difficulty is None and (self.difficulty_low, self.difficulty_high) != (0.0, 1.0):
            raise ValueError("difficulty_low and difficulty_high need difficulty, the file with the pass rates")
        if self.refill and self.max_refills == 0:
            raise ValueError("refill draws further prompts, and max_refills=0 allows none; raise it or turn refill off")
        if self.refill and self.group_size == 1:
            raise ValueError("refill looks for groups whose rewards differ, and group_size=1 has none")
        return self

    def is_late(self, step: int) -> bool:
        """Whether `step` is among the last `late_steps`."""
        return step >= self.steps - self.late_steps

    def max_new_tokens_at(self, step: int) -> int:
        """The limit of a turn at a step."""
        return _scheduled(self.length_schedule, step, self.max_new_tokens)

    def temperature_at(self, step: int) -> float:
        """The temperature that the rollouts of a step are drawn with."""
        return _scheduled(self.temperature_schedule, step, self.temperature)


def _scheduled(schedule: Mapping[int, T], step: int, otherwise: T) -> T:
    """The value of the latest entry at or before `step`."""
    begun = [start for start in schedule if start <= step]
    return schedule[max(begun)] if begun else otherwise
