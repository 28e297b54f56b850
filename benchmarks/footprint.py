"""What r1env costs before a user's first line: megabytes of a fresh install, CPU seconds of the import.

    python benchmarks/footprint.py

Installs the core alone, with its dependencies, into a new virtual environment (this needs a package index), and imports it in fresh
interpreters: median of five, less that of a bare interpreter.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = 5


def cpu_seconds(python: Path, code: str) -> float:
    """User and system seconds of one interpreter that runs `code`."""
    pid = os.posix_spawn(str(python), [str(python), "-c", code], os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{code!r} failed")
    return usage.ru_utime + usage.ru_stime


def megabytes(folder: Path) -> float:
    """Size of all regular files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin/python"
        (site,) = Path(folder).glob("lib/python*/site-packages")
        bare_size = megabytes(site)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-compile", str(ROOT)], check=True)
        installed = megabytes(site) - bare_size
        print(f"install of r1env and its dependencies: {installed:.0f} MB\n")
        print("| import | CPU s |\n|---|---|")
        for code in ("import r1env", "import r1env; r1env.reward", "import r1env, gymnasium"):
            cpu_seconds(python, code)  # writes the byte code
            runs = [cpu_seconds(python, code) - cpu_seconds(python, "pass") for _ in range(RUNS)]
            print(f"| `{code}` | {statistics.median(runs):.2f} |")


if __name__ == "__main__":
    main()
