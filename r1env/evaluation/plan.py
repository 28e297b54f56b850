"""`EvaluationPlan`: what is to be evaluated, and how; what a manifest keeps and `--resume` reads back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from r1env.data.sources import ListSource, iterate
from r1env.engines import SamplingParams
from r1env.envs.environment import Environment, make_evaluation_environment
from r1env.envs.suite import Member, members_of
from r1env.errors import UsageError
from r1env.evaluation.run import describe_environment
from r1env.evaluation.scaling import Budget
from r1env.plugins import Plugins
from r1env.rubrics import RubricSpec

TASKS_OF_A_GENERATOR = 100
"""How many tasks are evaluated where the source never ends and no limit is given."""


class EvaluationPlan(BaseModel):
    """What is to be evaluated, and how.

    Attributes:
        models: names or folders, each evaluated on every environment.
        env: environments and suites.
        env_options: of every task source.
        rubric: a name, a file, or a rubric.
        limit: tasks of each environment; None for all, or `TASKS_OF_A_GENERATOR`.
        seed: of the tasks; that of the completions is in `sampling`.
        batch_size: tasks per call of the engine.
        budget: of thinking; None for no limit but that of the sampling.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    models: tuple[str, ...]
    env: tuple[str, ...]
    engine: str
    engine_options: Mapping[str, Any] = Field(default_factory=dict)
    env_options: Mapping[str, Any] = Field(default_factory=dict)
    template: str | None = None
    rubric: str | RubricSpec = "accuracy"
    sampling: SamplingParams
    limit: int | None = None
    seed: int = 0
    batch_size: int = 32
    budget: Budget | None = None

    def settings(self, environments: Sequence[Environment]) -> dict[str, Any]:
        """Return everything that a manifest keeps: the plan, and a description of its environments."""
        return {**self.model_dump(mode="json"), "environments": [describe_environment(one) for one in environments]}

    def limit_of(self, environment: Environment) -> int | None:
        """Return how many tasks of an environment are evaluated; None for all."""
        return TASKS_OF_A_GENERATOR if self.limit is None and environment.source.size is None else self.limit

    def open(self, plugins: Plugins) -> list[Environment]:
        """Open the environments; a suite stands for its members.

        Raises:
            UsageError: a wrong name or option, or an environment or a model that is named twice.
        """
        members: list[Member] = []
        for name in self.env:
            members += members_of(name, plugins) if name in plugins.provided("suites") else [Member(name)]
        names = [member.environment for member in members]
        if twice := sorted(
            {name for name in names if names.count(name) > 1} | {m for m in self.models if self.models.count(m) > 1}
        ):
            raise UsageError(f"{twice[0]!r} is named twice")
        if not members:
            raise UsageError(f"no environment is a member of {', '.join(self.env)}")
        return [self._open(member, plugins) for member in members]

    def _open(self, member: Member, plugins: Plugins) -> Environment:
        environment = make_evaluation_environment(
            member.environment,
            plugins=plugins,
            template=self.template,
            rubric=self.rubric,
            **{**member.options, **self.env_options},
        )
        if member.tasks is None:
            return environment
        return replace(environment, source=ListSource(list(iterate(environment.source, member.tasks, self.seed))))
