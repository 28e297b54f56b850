"""Settings: groups of described fields, read from files and the command line, with errors of one line.

A trainer's settings are a tree of `Settings`: `optim.lr`, `sampling.temperature`. Every field carries a one-line description, from which
`r1env train NAME --help`, `r1env settings NAME` and docs/settings.md are made.

    class Optim(Settings):
        "Optimizer and learning rate."

        lr: float = Field(default=1e-6, gt=0, description="Peak learning rate.")

A mapping of settings is nested, or has dotted keys: `{"optim.lr": 1e-4}` is `{"optim": {"lr": 1e-4}}`.
Renamed settings are listed in `Settings.renamed`. Their old names work for one version, with a warning that gives the new name.
"""

from __future__ import annotations

import difflib
import types
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, Union

import yaml
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, core_schema

from r1env.errors import UsageError

M = TypeVar("M", bound=BaseModel)


class SettingRenamedWarning(FutureWarning):
    """A setting was given by a name that the next version will not accept. The message gives the new name."""


class Settings(BaseModel):
    """A group of settings: frozen, and unknown keys are rejected.

    Attributes:
        renamed: old name of a setting of this model → its current path, e.g. `{"grad_clip": "optim.max_grad_norm"}`. If the old name is
            now the name of a group (`engine`), only a value that is not a mapping is moved.
        renamed_values: path → {old value: new value}. If the value now belongs to other settings, the new value is a mapping of paths to values.
        names_elsewhere: names of other libraries → our paths, for the suggestion after an unknown key. Never accepted as input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    renamed: ClassVar[Mapping[str, str]] = {}
    renamed_values: ClassVar[Mapping[str, Mapping[str, str | Mapping[str, str]]]] = {}
    names_elsewhere: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, data: Any) -> Any:
        return with_new_names(cls, data) if isinstance(data, Mapping) else data


@dataclass(frozen=True, slots=True)
class Name:
    """Mark a text setting as a name from an extensible list, `Annotated[str, Name(check, names)]`. Listings show the known names.

    Attributes:
        check: return the name, or raise ValueError or UsageError. It also accepts `module:attribute` and `file.py:attribute`.
        names: return the known names.
    """

    check: Callable[[str], str]
    names: Callable[[], Iterable[str]]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of settings, with the publication that they come from.

    Attributes:
        settings: a nested mapping, as in a recipe.
        source: the publication that all values without a note come from; empty for r1env's own choices.
        notes: path or group (`optim`, `algo.clip_ratio_low`) → a remark that replaces `source` for that path.
    """

    settings: Mapping[str, Any]
    source: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    def source_of(self, path: str) -> str:
        """Return where the value at `path` comes from: the note of the path or of the nearest group around it, or else `source`."""
        parts = path.split(".")
        around = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((self.notes[name] for name in around if name in self.notes), self.source)


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

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
    """Build `model` from `data`. Report the first error in one line that names the key and, for an unknown key, suggests a known one.

    Args:
        where: where the data come from, for the message ("grpo settings", a file name).

    Raises:
        UsageError: a key is unknown, a value is out of range, or settings contradict each other.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{where}: unknown key {_unknown_key(model, first['loc'], first['input'])}") from error
        given = first.get("input")
        shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) else ""
        raise UsageError(f"{where}: {key or 'settings'}: {first['msg'].removeprefix('Value error, ')}{shown}") from error


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """Turn `["optim.lr=1e-4", "sampling.temperature=0.7"]` into a nested mapping; values are YAML scalars or lists.

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
        merge(tree, nested(key.strip(), _scalar(text, value)))
    return tree


def merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `changes` into `base` in place and return `base`. Mappings are merged recursively; lists and scalars are replaced."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), BaseModel):
            base[key] = plain(base[key])
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = merge({}, value) if isinstance(value, Mapping) else value
    return base


def nested(path: str, value: object) -> dict[str, Any]:
    """Return the tree that holds nothing but `value` at `path`: `nested("optim.lr", 1)` is `{"optim": {"lr": 1}}`."""
    head, _, rest = path.partition(".")
    return {head: nested(rest, value) if rest else value}


def _scalar(text: str, value: object) -> object:
    """Correct two surprises of YAML 1.1: `1e-4` (no dot) is a number, and `no` (also the code of Norwegian) is a string."""
    if isinstance(value, bool) and text.strip().lower() not in ("true", "false"):
        return text.strip()
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


# Names that moved.


def with_new_names(model: type[Settings], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` as a tree: dotted keys (`optim.lr`) are nested, and every old name of `model` moves to its new path, with a warning.

    Layers of settings are renamed before they are merged, so that an old name in a recipe overrides a new one in a preset.

    Raises:
        ValueError: a setting is given by its old name and by its new one.
    """
    tree: dict[str, Any] = {}
    old: dict[str, Any] = {}
    for name, value in data.items():
        if name in model.renamed and _is_old(name, model.renamed[name], value):
            old[name] = value
        else:
            merge(tree, nested(str(name), value))
    for name, value in old.items():
        path = model.renamed[name]
        _warn(f"the setting {name!r} is {path!r} now; the old name works for one more version")
        if _value_at(tree, path) is not None:
            raise ValueError(f"{name} is {path} now; both are given, leave {name} out")
        merge(tree, nested(path, value))
    for path, values in model.renamed_values.items():
        value = _value_at(tree, path)
        if isinstance(value, str) and value in values:
            new = values[value]
            if isinstance(new, str):
                _warn(f"{path}={value} is called {new!r} now; the old name works for one more version")
                merge(tree, nested(path, new))
                continue
            _warn(f"{path}={value} is {_shown(new)} now; the old setting works for one more version")
            _remove(tree, path)
            for where, meant in new.items():
                if _value_at(tree, where) not in (None, meant):
                    raise ValueError(f"{path}={value} is {_shown(new)} now; another {where} is given too")
                merge(tree, nested(where, meant))
    return tree


def _is_old(name: str, path: str, value: object) -> bool:
    return not (path.partition(".")[0] == name and isinstance(value, Mapping | BaseModel))


def _value_at(tree: object, path: str) -> object:
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def _remove(tree: dict[str, Any], path: str) -> None:
    group, _, name = path.rpartition(".")
    inner = _value_at(tree, group) if group else tree
    if isinstance(inner, dict):
        inner.pop(name, None)


def _shown(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{path}={value}" for path, value in settings.items())


def _warn(message: str) -> None:
    warnings.warn(message, SettingRenamedWarning, stacklevel=3)


# Suggestions for unknown keys.


def _unknown_key(model: type[BaseModel], location: tuple[str | int, ...], value: object) -> str:
    """Return the key as written and a suggestion: our name for another library's setting, the same name in a group, or a similar name."""
    path = [str(part) for part in location]
    while isinstance(value, Mapping) and len(value) == 1:  # `--set actor_rollout_ref.rollout.n=8`
        (name,) = value
        path.append(str(name))
        value = value[name]
    key = ".".join(path)
    paths = [setting.path for setting in list_settings(model)]
    elsewhere = model.names_elsewhere if issubclass(model, Settings) else {}
    found = [elsewhere[name] for name in (key, path[-1]) if name in elsewhere and elsewhere[name] in paths]
    found = found[:1] or [known for known in paths if known.rpartition(".")[2] == path[-1]]
    if not found:
        nearby = _keys_at(model, location[:-1])
        prefix = "".join(f"{part}." for part in location[:-1])
        found = [f"{prefix}{name}" for name in difflib.get_close_matches(path[-1], nearby, n=3, cutoff=0.5)]
    if not found:
        by_last = {known.rpartition(".")[2]: known for known in paths}
        found = [by_last[name] for name in difflib.get_close_matches(path[-1], by_last, n=3, cutoff=0.6)]
    known = ", ".join(sorted(_keys_at(model, location[:-1])))
    return f"{key!r}; " + (f"did you mean {' or '.join(found)}?" if found else f"known: {known}")


def _keys_at(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    """Return the field names of the model at `path` inside `model`, or those of `model` itself if `path` does not lead to a model."""
    current: type[BaseModel] = model
    for step in path:
        info = current.model_fields.get(str(step))
        inner = info.annotation if info else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        current = inner
    return list(current.model_fields)


# What settings there are.


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a model, for listings.

    Attributes:
        path: dotted, e.g. `optim.lr`.
        type: a short description, e.g. `float > 0`, `token|sequence`, `int|null`.
        default: as plain data; also None if the setting is `required`.
        source: where the default was published; empty for r1env's own choice.
        names: the known names, if the value is a name from an extensible list; see `Name`.
    """

    path: str
    type: str
    default: object
    required: bool
    description: str
    source: str
    names: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The path without its last part; empty at the top level."""
        return self.path.rpartition(".")[0]


@cache
def list_settings(model: type[BaseModel]) -> tuple[Setting, ...]:
    """Return every setting of `model`: first those of the top level, then those of each group with dotted paths."""
    return tuple(_settings(model, "", None))


def list_groups(model: type[BaseModel]) -> dict[str, str]:
    """Return a mapping from the path of each group to the first line of its docstring. The path of the top level is `""`."""
    groups = {"": "Top-level settings."}
    for path, inner in _groups(model, ""):
        groups[path] = (inner.__doc__ or "").strip().partition("\n")[0]
    return groups


def plain(config: BaseModel) -> dict[str, Any]:
    """Return the settings as plain data, for YAML and JSON."""
    return config.model_dump(mode="json")


def changed_settings(config: BaseModel) -> dict[str, Any]:
    """Return the settings that differ from their defaults, and all required ones, as a mapping from path to plain value."""
    dumped = plain(config)
    values = ((setting, _value_at(dumped, setting.path)) for setting in list_settings(type(config)))
    return {setting.path: value for setting, value in values if setting.required or value != setting.default}


def differences(config: BaseModel) -> dict[str, Any]:
    """Return the settings that differ from their defaults as a tree; validating it gives `config` again."""
    return config.model_dump(mode="json", exclude_defaults=True)


def value_at(tree: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path of nested settings, or None if there is none."""
    return _value_at(tree, path)


def _groups(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, info in model.model_fields.items():
        if (inner := _group_of(info)) is not None:
            yield f"{prefix}{name}", inner
            yield from _groups(inner, f"{prefix}{name}.")


def _settings(model: type[BaseModel], prefix: str, default: BaseModel | None) -> Iterator[Setting]:
    """Depth first; `default` is the value that the group has by default where that is not the group's own."""
    for name, info in model.model_fields.items():
        if _group_of(info) is None:
            value = getattr(default, name) if default is not None else info.get_default(call_default_factory=True)
            required = value is PydanticUndefined
            yield Setting(
                path=f"{prefix}{name}",
                type=_type_of(info),
                default=None if required else _as_plain(value),
                required=required,
                description=info.description or "",
                source=str(info.json_schema_extra.get("source", "")) if isinstance(info.json_schema_extra, dict) else "",
                names=_names_of(info) or (),
            )
    for name, info in model.model_fields.items():
        if (inner := _group_of(info)) is not None:
            value = getattr(default, name) if default is not None else info.get_default(call_default_factory=True)
            yield from _settings(inner, f"{prefix}{name}.", value)


def _group_of(info: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a group of settings; None for a single setting."""
    inner = info.annotation
    if isinstance(inner, type) and issubclass(inner, BaseModel) and not info.is_required():
        return inner
    return None


def _as_plain(value: object) -> object:
    """Return a default as `model_dump(mode="json")` would give it."""
    if isinstance(value, BaseModel):
        return plain(value)
    if isinstance(value, Mapping):
        return {str(key): _as_plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_as_plain(inner) for inner in value]
    return value


def _names_of(info: FieldInfo) -> tuple[str, ...] | None:
    """Return the known names of a setting that is marked with `Name`; None for any other."""
    return next((tuple(marker.names()) for marker in info.metadata if isinstance(marker, Name)), None)


def _type_of(info: FieldInfo) -> str:
    if (names := _names_of(info)) is not None:
        return "|".join([*names, "module:attribute"])
    bounds = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    limits = [
        f"{sign} {getattr(constraint, name):g}"
        for constraint in info.metadata
        for name, sign in bounds.items()
        if getattr(constraint, name, None) is not None
    ]
    return " ".join([type_text(info.annotation), " and ".join(limits)]).strip()


def type_text(annotation: object) -> str:
    """Return a short description of a type: `float`, `int|null`, `token|sequence`, `list of text`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return "|".join(type_text(argument) for argument in arguments)
    if origin is Literal:
        return "|".join(map(str, arguments))
    if origin is typing.Annotated:
        return type_text(arguments[0])
    if origin is tuple and Ellipsis in arguments:
        return f"list of {type_text(arguments[0])}"
    if origin is tuple:
        return ", ".join(map(type_text, arguments))
    if origin is not None and issubclass(origin, Mapping):
        return f"mapping of {type_text(arguments[0])} to {type_text(arguments[1])}"
    names: dict[object, str] = {str: "text", bool: "true|false", type(None): "null", Any: "any value"}
    return names.get(annotation) or str(getattr(annotation, "__name__", annotation))
