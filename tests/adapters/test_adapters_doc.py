"""What docs/adapters.md says about releases and imports; tests/e2e/test_docs.py runs its blocks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from r1env.adapters import inspect_ai, openrlhf, trl, verl

PAGE = (Path(__file__).parents[2] / "docs/adapters.md").read_text("utf-8")


@pytest.mark.parametrize("module", [trl, verl, openrlhf, inspect_ai], ids=lambda module: module.__name__)
def test_the_table_names_the_release_that_the_module_was_run_with(module):
    stack, version = module.TESTED_WITH.split()
    name = stack.replace("-", " ")
    rows = re.findall(rf"^\| \[{name}\]\(.*$", PAGE, re.MULTILINE | re.IGNORECASE)
    assert rows
    assert all(f"| {version} |" in row for row in rows)


def test_importing_the_adapters_brings_no_stack_and_no_heavy_library():
    code = (
        "import sys;"
        "from r1env.adapters import inspect_ai, nemo_gym, nemo_rl, openenv, openrlhf, skyrl, slime, swift, torchtitan, trl, verl;"
        "print([name for name in ('torch', 'transformers', 'sympy', 'datasets') if name in sys.modules],"
        " [sys.modules[name].__name__ for name in ('trl', 'verl', 'openrlhf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"
