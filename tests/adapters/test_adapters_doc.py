"""docs/adapters.md does what it says: its Python blocks run and print what their comments promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from r1env.adapters import openrlhf, trl, verl

PAGE = (Path(__file__).parents[2] / "docs/adapters.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_runs_and_prints_what_its_comment_says(block, tmp_path):
    script = tmp_path / "block.py"
    script.write_text(block, "utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    promises = re.findall(r"print\(.*\)\s+# (.+)", block)
    assert promises
    for promise in promises:
        assert promise in done.stdout


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
