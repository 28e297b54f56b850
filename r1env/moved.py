"""Old import paths, which work for one version: importing one gives the module that has its contents now, with a warning.

    from r1env.tasks import Task        # DeprecationWarning: r1env.tasks is now r1env.types

`redirect` is for distributions of this repository; the table of the core's own modules is at the end.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def redirect(moved: Mapping[str, str]) -> None:
    """Make the modules named by the keys importable under their old names; the values name the modules to import instead."""
    finder = next((one for one in sys.meta_path if isinstance(one, _MovedFinder)), None)
    if finder is None:
        sys.meta_path.append(finder := _MovedFinder())  # last: it is asked only about modules that nobody else finds
    finder.moved.update(moved)


def lazy_exports(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return a `__getattr__` for a package whose public names are loaded when they are first used.

    So a plugin module, which is imported with every command, does not load the rest of its package.

    Args:
        package: the package's `__name__`.
        homes: the modules of the package, each with the public names that it holds. No name may be a module's own.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def load(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load


class _MovedFinder(MetaPathFinder):
    def __init__(self) -> None:
        self.moved: dict[str, str] = {}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in self.moved:
            return importlib.util.spec_from_loader(name, _MovedLoader(self.moved[name]))
        if any(old.startswith(f"{name}.") for old in self.moved):  # a package that only had modules which have moved
            return importlib.util.spec_from_loader(name, _MovedLoader(None), is_package=True)
        return None


class _MovedLoader(Loader):
    """Loads a stand-in that has the names of the module `new`; an empty package for None."""

    def __init__(self, new: str | None) -> None:
        self._new = new

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        if self._new is None:
            return
        warnings.warn(
            f"{module.__name__} is now {self._new}; the old name goes with the next version", DeprecationWarning, stacklevel=2
        )
        new = importlib.import_module(self._new)
        module.__dict__["__getattr__"] = lambda name: getattr(new, name)


CORE: Mapping[str, str] = {
    "r1env.engines.base": "r1env.engines",
    "r1env.engines.scripted": "r1env.engines",
    "r1env.envs.episode": "r1env.envs.conversation",
    "r1env.envs.spaces": "r1env.envs.gym",
    "r1env.envs.vector": "r1env.envs.gym",
    "r1env.hookspecs": "r1env.hooks",
    "r1env.parsing": "r1env.prompts",
    "r1env.rollouts": "r1env.types",
    "r1env.runs.atomic": "r1env.runs.files",
    "r1env.runs.report": "r1env.monitoring.report",
    "r1env.scores": "r1env.types",
    "r1env.sources": "r1env.data.sources",
    "r1env.stages": "r1env.runs.stages",
    "r1env.tasks": "r1env.types",
    "r1env.templates": "r1env.prompts",
    "r1env.tracking": "r1env.trackers",
}
"""The modules of the core that plugins may have imported."""
