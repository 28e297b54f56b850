"""`Environment`: a resolved environment: where its tasks come from, how they are put, and how they are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from r1env.envs.episode import Dialogue, Episode
from r1env.errors import PluginError, UsageError
from r1env.hookspecs import EnvironmentSpec
from r1env.plugins import Plugins, import_target, installed
from r1env.rubrics import Rubric, RubricSpec, load_rubric_spec, resolve_rubric
from r1env.sources import TaskSource
from r1env.tasks import Task
from r1env.templates import PromptTemplate, get_template


@dataclass(frozen=True)
class Environment:
    """Everything about an environment that does not change between episodes.

    `accuracy` is the name of its own checker; where the rubric uses it, that is also the key of its part.
    """

    name: str
    source: TaskSource
    rubric: Rubric
    accuracy: str
    template: PromptTemplate
    max_turns: int = 1
    dialogue: Dialogue | None = None

    def open(self, task: Task) -> Episode:
        """Start an episode of a task."""
        return Episode(task, self.template.render(task), max_turns=self.max_turns, dialogue=self.dialogue)

    def task(self, index: int, seed: int = 0) -> Task:
        """Task `index`; a finite source starts over after its last task."""
        return self.source.task(index if self.source.size is None else index % self.source.size, seed)


def make_environment(
    name: str,
    *,
    rubric: str | RubricSpec = "accuracy",
    template: str | None = None,
    max_turns: int | None = None,
    plugins: Plugins | None = None,
    **options: Any,
) -> Environment:
    """Resolve the environment called `name` (with or without the prefix `r1env/`).

    Args:
        rubric: a preset, a YAML file, or a `RubricSpec`; its name `accuracy` becomes the environment's own checker.
        template: another prompt template than the environment's own.
        max_turns: fewer turns than the environment's own.
        options: passed to the task source.

    Raises:
        UnknownNameError: no such environment, reward, rubric or template.
        UsageError: the source refuses the options, or the data it was given.
    """
    plugins = plugins or installed()
    spec = plugins.environment(name)
    accuracy = plugins.reward(spec.reward, **spec.reward_options)
    rubric_spec = load_rubric_spec(rubric) if isinstance(rubric, str) else rubric
    return Environment(
        name=spec.name,
        source=_make_source(spec, options),
        rubric=resolve_rubric(rubric_spec, plugins.reward, accuracy),
        accuracy=accuracy.name,
        template=get_template(template or spec.template),
        max_turns=spec.max_turns if max_turns is None else max_turns,
        dialogue=cast(Dialogue, import_target(spec.dialogue)()) if spec.dialogue else None,
    )


def _make_source(spec: EnvironmentSpec, options: Mapping[str, Any]) -> TaskSource:
    make = import_target(spec.source)
    try:
        source = make(**{**spec.options, **options})
    except TypeError as error:
        raise UsageError(f"environment {spec.name!r} does not take these options: {error}") from error
    if not isinstance(source, TaskSource):
        raise PluginError(
            f"{spec.source} returned a {type(source).__name__}, which is no TaskSource (it needs `size` and `task`)"
        )
    return source
