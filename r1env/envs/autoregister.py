"""Registers r1env's environments as soon as Gymnasium is imported, be that before or after r1env.

Importing Gymnasium costs more than all of r1env (it brings NumPy), so `import r1env` must not do it; and Gymnasium no longer
looks for plugins itself. Hence a finder that waits for the import of `gymnasium` and then steps aside.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from r1env.plugins import Plugins


def register_with_gymnasium() -> None:
    """Register now if Gymnasium is there, otherwise right after it is imported. Calling it again is harmless."""
    if "gymnasium" in sys.modules:
        _register()
    elif not any(isinstance(finder, _GymnasiumFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _GymnasiumFinder())


def register_environments(plugins: Plugins | None = None) -> list[str]:
    """Make `gymnasium.make("r1env/<name>")` and `gymnasium.make_vec` work for every installed environment; return the ids.

    Imports no environment, only its spec. Calling it again is harmless.
    """
    from gymnasium.envs.registration import register, registry

    from r1env.plugins import installed

    ids = []
    for name in (plugins or installed()).provided("environments"):
        env_id = f"r1env/{name}"
        if env_id not in registry:
            register(
                env_id, entry_point="r1env.envs.gym:make", vector_entry_point="r1env.envs.gym:make_vec", kwargs={"name": name}
            )
        ids.append(env_id)
    return ids


def _register() -> None:
    register_environments()


class _GymnasiumFinder(MetaPathFinder):
    """Finds nothing itself; wraps the loader of `gymnasium` once."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader)
        return spec


class _RegisteringLoader(Loader):
    """Loads with the real loader, then registers."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        _register()
