"""docs/what-did-not-work.md does what it says: its Python blocks run and print what their comments promise."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/what-did-not-work.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_runs_and_prints_what_its_comment_says(block, tmp_path, capsys):
    script = tmp_path / "block.py"
    script.write_text(block, "utf-8")
    runpy.run_path(str(script))
    (promise,) = re.findall(r"print\(.*\)\s+# (.+)", block)
    assert promise in capsys.readouterr().out
