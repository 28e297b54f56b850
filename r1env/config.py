"""Configuration from files and the command line into pydantic models, with errors of one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from r1env.errors import UsageError

M = TypeVar("M", bound=BaseModel)


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UsageError: the file cannot be read, is not YAML, or holds something other than a mapping.
    """
    try:
        loaded = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, dict):
        raise UsageError(f"{path} must hold a mapping of settings, not a {type(loaded).__name__}")
    return loaded


def validate(model: type[M], data: Mapping[str, Any], where: str) -> M:
    """Build `model` from `data`; the first fault becomes one line that names the key and, for an unknown key, the nearest.

    Args:
        where: what the data are, for the message ("grpo config", a file name).
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = _keys_at(model, first["loc"][:-1])
            close = difflib.get_close_matches(str(first["loc"][-1]), known, n=3, cutoff=0.5)
            remedy = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known))}"
            raise UsageError(f"{where}: unknown key {key!r}; {remedy}") from error
        given = first.get("input")
        shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) else ""
        raise UsageError(f"{where}: {key or 'settings'}: {first['msg'].removeprefix('Value error, ')}{shown}") from error


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """`["lr=1e-4", "sampling.temperature=0.7"]` → nested mapping; values are YAML scalars or lists.

    Raises:
        UsageError: a pair has no `=`, or its value is not YAML.
    """
    tree: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"cannot read the setting {pair!r}; write key=value")
        try:
            value = yaml.safe_load(text) if text else ""
        except yaml.YAMLError as error:
            raise UsageError(f"cannot read the value of {key!r}: {text!r}") from error
        merge(tree, _nested(key.strip().split("."), _scalar(text, value)))
    return tree


def merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `changes` over `base` in place, mapping by mapping; lists and scalars are replaced. Returns `base`."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value
    return base


def _nested(keys: list[str], value: object) -> dict[str, Any]:
    head, *rest = keys
    return {head: _nested(rest, value) if rest else value}


def _scalar(text: str, value: object) -> object:
    """What people mean where YAML 1.1 differs: `1e-4` (no dot) is a number, `no` (Norwegian, too) is a text."""
    if isinstance(value, bool) and text.strip().lower() not in ("true", "false"):
        return text.strip()
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _keys_at(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    """The field names of the model that stands at `path` inside `model`; of `model` itself where the path leads elsewhere."""
    current: type[BaseModel] = model
    for step in path:
        field = current.model_fields.get(str(step))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        current = inner
    return list(current.model_fields)
