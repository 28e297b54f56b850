"""What docs/adapters.md says about releases and imports; tests/e2e/test_docs.py runs its blocks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from r1env.adapters import openrlhf, trl, verl

PAGE = (Path(__file__).parents[2] / "docs/adapters.md").read_text("utf-8")


@pytest.mark.parametrize("module", [trl, verl, openrlhf], ids=lambda module: module.__name__)
def test_the_table_names_the_release_that_the_module_was_run_with(module):
    stack, version = module.TESTED_WITH.split()
    (row,) = re.findall(rf"^\| \[{stack}\]\(.*$", PAGE, re.MULTILINE | re.IGNORECASE)
    assert f"| {version} |" in row


def test_importing_the_adapters_brings_no_stack_and_no_heavy_library():
    code = (
        "import sys; from r1env.adapters import openrlhf, trl, verl;"
        "print([name for name in ('torch', 'transformers', 'sympy', 'datasets') if name in sys.modules],"
        " [sys.modules[name].__name__ for name in ('trl', 'verl', 'openrlhf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"
