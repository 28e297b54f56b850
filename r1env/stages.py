"""References between the stages of a run: `stage:NAME` is the model that a stage left, `stage:NAME/FILE` a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

STAGE_PREFIX = "stage:"


def is_stage(value: object) -> bool:
    """Whether a setting refers to a stage's result, which need not be there yet."""
    return isinstance(value, str) and value.startswith(STAGE_PREFIX)


def parse_reference(reference: str) -> tuple[str, str | None]:
    """The stage's name, and the file within its folder or None for its model."""
    stage, _, file = reference.removeprefix(STAGE_PREFIX).partition("/")
    return stage, file or None


def references(settings: object) -> Iterator[str]:
    """Every reference in settings (plain data), however deep."""
    if is_stage(settings):
        yield str(settings)
    elif isinstance(settings, Mapping):
        for value in settings.values():
            yield from references(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from references(value)


def resolved(settings: Any, locate: Callable[[str], Path]) -> Any:
    """The settings with every reference replaced by the path that `locate` has for it."""
    if is_stage(settings):
        return str(locate(settings))
    if isinstance(settings, Mapping):
        return {key: resolved(value, locate) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [resolved(value, locate) for value in settings]
    return settings
