"""The settings that say where tasks come from, and the suite they name."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, Field, model_validator

from r1env.envs.suite import EnvironmentShare, Suite, make_mixture, make_suite
from r1env.rubrics import RubricSpec


class SuiteSettings(BaseModel):
    """Settings of a trainer that draws tasks.

    Attributes:
        env: an environment or a suite, by name; or
        mixture: environments with weights, each with its own options, template and rubric.
        env_options: go to the task source of `env`.
        template: prompt template of `env`; None for the environment's own.
    """

    env: str | None = None
    mixture: tuple[EnvironmentShare, ...] = ()
    env_options: dict[str, Any] = Field(default_factory=dict)
    template: str | None = None

    @model_validator(mode="after")
    def _one_origin_of_tasks(self) -> Self:
        if self.env is not None and self.mixture:
            raise ValueError("give env or mixture, not both (env=null takes a preset's away)")
        if self.mixture and (self.env_options or self.template):
            raise ValueError("env_options and template belong to env; in a mixture each share has its own")
        return self


def open_suite(settings: SuiteSettings, rubric: str | RubricSpec, **options: Any) -> Suite:
    """The suite that the settings name.

    Args:
        rubric: of every environment; of a mixture, where a share names none.
        options: laid over those of every environment, e.g. `split="test"`.

    Raises:
        UsageError: unknown name, or options that the source refuses.
    """
    if settings.mixture:
        return make_mixture(settings.mixture, rubric=rubric, **options)
    assert settings.env is not None  # trainers whose tasks are optional ask first
    return make_suite(settings.env, rubric=rubric, template=settings.template, **{**settings.env_options, **options})
