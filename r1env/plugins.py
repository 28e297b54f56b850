"""Finds plugins through entry points, checks what they return, and remembers who gave what.

A broken plugin is kept in `Plugins.failures` and skipped; the rest work. Two plugins that claim one name are an error.
"""

from __future__ import annotations

import functools
import importlib.metadata
import pkgutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import pluggy

from r1env import hooks as hookspecs
from r1env.errors import PluginError, UnknownNameError
from r1env.hooks import BackendSpec, EngineSpec, EnvironmentSpec, RecipeSpec, RewardSpec, Spec, TrainerSpec

if TYPE_CHECKING:
    from r1env.rewards import Reward

GROUP = "r1env"
S = TypeVar("S", bound=Spec, covariant=True)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which plugin of which distribution, in which version, provided something."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.plugin})"


@dataclass(frozen=True, slots=True)
class Provided(Generic[S]):
    """A spec and where it came from."""

    spec: S
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """A plugin that could not be loaded, or returned something that is no spec."""

    provenance: Provenance
    reason: str


class Plugins:
    """All that is installed. `discover` reads the entry points; tests build their own from modules."""

    def __init__(self, found: Mapping[Provenance, object], failures: Iterable[PluginFailure] = ()) -> None:
        """
        Args:
            found: plugin objects (modules, usually) that implement the hooks of `r1env.hooks`.
            failures: plugins that could not even be imported.

        Raises:
            PluginError: two plugins provide one name.
        """
        self.failures = list(failures)
        self._provided: dict[str, dict[str, Provided[Any]]] = {kind: {} for kind in hookspecs.HOOKS}
        for provenance, plugin in found.items():
            try:
                offered = _specs_of(plugin)
            except Exception as error:  # noqa: BLE001 - a stranger's hook may raise anything: reported by name, see errors.py
                self.failures.append(PluginFailure(provenance, f"{type(error).__name__}: {error}"))
                continue
            for kind, spec in offered:
                self._add(kind, spec, provenance)

    @classmethod
    def discover(cls) -> Plugins:
        """Load every installed plugin of the entry-point group `r1env`."""
        found: dict[Provenance, object] = {}
        failures = []
        for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
            dist = entry.dist
            provenance = Provenance(entry.name, dist.name if dist else "?", dist.version if dist else "?")
            try:
                found[provenance] = entry.load()
            except Exception as error:  # noqa: BLE001 - importing a stranger's module may raise anything: reported by name
                failures.append(PluginFailure(provenance, f"{type(error).__name__}: {error}"))
        return cls(found, failures)

    def provided(self, kind: str) -> Mapping[str, Provided[Any]]:
        """Everything of one kind (a key of `hookspecs.HOOKS`), by name."""
        return self._provided[kind]

    def reward(self, name: str, **options: Any) -> Reward:
        """The reward of that name, or at `module:attribute`, with options set.

        Raises:
            UnknownNameError: no plugin provides it.
        """
        from r1env.rewards import (
            load_reward,  # here, because listing plugins needs no pydantic and Gymnasium's import lists them
        )

        found = load_reward(name if ":" in name else self.find("rewards", name, RewardSpec).target)
        return found.with_options(**options) if options else found

    def environment(self, name: str) -> EnvironmentSpec:
        """The environment of that name; the prefix `r1env/` may be there or not."""
        return self.find("environments", name.removeprefix("r1env/"), EnvironmentSpec)

    def engine(self, name: str) -> EngineSpec:
        return self.find("engines", name, EngineSpec)

    def trainer(self, name: str) -> TrainerSpec:
        return self.find("trainers", name, TrainerSpec)

    def backend(self, name: str) -> BackendSpec:
        return self.find("backends", name, BackendSpec)

    def recipe(self, name: str) -> RecipeSpec:
        return self.find("recipes", name, RecipeSpec)

    def find(self, kind: str, name: str, spec_type: type[S]) -> S:
        """The spec of `kind` called `name`, checked to be a `spec_type`.

        Raises:
            UnknownNameError: none is; the message has the nearest names and mentions plugins that failed to load.
        """
        if name not in self._provided[kind]:
            hint = f"({len(self.failures)} plugins failed to load: see `r1env plugins --check`)" if self.failures else ""
            raise UnknownNameError(hookspecs.SINGULAR[kind], name, self._provided[kind], hint)
        return cast(S, self._provided[kind][name].spec)

    def _add(self, kind: str, spec: Spec, provenance: Provenance) -> None:
        existing = self._provided[kind].get(spec.name)
        if existing is not None:
            raise PluginError(
                f"two plugins provide the {hookspecs.SINGULAR[kind]} {spec.name!r}: {existing.provenance} and {provenance}; uninstall one"
            )
        self._provided[kind][spec.name] = Provided(spec, provenance)


@functools.cache
def installed() -> Plugins:
    """The plugins of this Python environment, discovered on first use. Warns once about broken ones."""
    plugins = Plugins.discover()
    for failure in plugins.failures:
        warnings.warn(
            f"r1env plugin {failure.provenance} is broken and was skipped: {failure.reason}", RuntimeWarning, stacklevel=2
        )
    return plugins


def get_reward(name: str, **options: Any) -> Reward:
    """The installed reward of that name (or at `module:attribute`), with options set."""
    return installed().reward(name, **options)


def import_target(target: str) -> Callable[..., Any]:
    """Import the callable at `module:attribute`; the attribute may be dotted.

    Raises:
        PluginError: it cannot be imported; the message has the cause.
    """
    try:
        return cast(Callable[..., Any], pkgutil.resolve_name(target))
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(f"cannot import {target!r}: {error}") from error


def _specs_of(plugin: object) -> list[tuple[str, Spec]]:
    """All (kind, spec) that one plugin offers.

    Raises:
        TypeError: a hook returned something other than a list of its spec class.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs.HookSpecs)
    manager.register(plugin)
    manager.check_pending()
    offered: list[tuple[str, Spec]] = []
    for kind, spec_type in hookspecs.HOOKS.items():
        for result in getattr(manager.hook, f"r1env_{kind}")():
            for spec in result:
                if not isinstance(spec, spec_type):
                    raise TypeError(
                        f"r1env_{kind} returned a {type(spec).__name__}; it must return a list of {spec_type.__name__}"
                    )
                offered.append((kind, cast(Spec, spec)))
    return offered
