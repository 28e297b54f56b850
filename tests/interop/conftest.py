"""Other projects' released packages, each in a Python environment of its own (`tools/interop-env.sh` makes them)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from source_tree import source_path

PROJECTS = ("plugins/verifiers", "plugins/logic", "plugins/math", "plugins/format")


class Interop:
    """The environment of one package."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._bin = python.parent
        self.folder = folder
        paths = [source_path(folder / "metadata", PROJECTS), str(folder)]
        self._env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("COV_", "PYTEST_"))},
            "PYTHONPATH": os.pathsep.join(paths),
            "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "STUB_KEY": "none",
        }

    def run(self, program: str, *arguments: str, timeout: float = 300) -> str:
        """Run a program of the environment in the test's folder; return what it printed.

        Raises:
            AssertionError: it failed.
        """
        command = [str(self._bin / program), *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self._env, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture
def interop(tmp_path):
    """Return a function from a package's name to its environment; it skips where there is none."""

    def find(name: str) -> Interop:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        python = cache / "r1env/interop" / name / "bin/python"
        if not python.exists():
            pytest.skip(f"no environment for {name}; `tools/interop-env.sh {name}` makes it")
        return Interop(python, tmp_path)

    return find
