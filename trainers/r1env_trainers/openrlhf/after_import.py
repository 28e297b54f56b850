"""Runs a function on a module right after it is first imported, without importing it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

Action = Callable[[ModuleType], None]


def after_import(actions: Mapping[str, Action]) -> None:
    """Call `actions[name](module)` when `name` has been imported; at once where it already is."""
    for name in actions.keys() & sys.modules.keys():
        actions[name](sys.modules[name])
    sys.meta_path.insert(0, _Finder({name: action for name, action in actions.items() if name not in sys.modules}))


class _Finder:
    """Finds the modules as everybody else would, and has their loader do one thing more."""

    def __init__(self, actions: Mapping[str, Action]) -> None:
        self._actions = actions
        self._asking: set[str] = set()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in self._actions or name in self._asking:
            return None
        self._asking.add(name)
        try:
            spec = find_spec(name)
        finally:
            self._asking.discard(name)
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        execute, action = loader.exec_module, self._actions[name]

        def exec_module(module: ModuleType) -> None:
            execute(module)
            action(module)

        loader.exec_module = exec_module
        return spec
