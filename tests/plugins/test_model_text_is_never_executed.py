"""No plugin of rewards and environments hands a model's text to anything that executes it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
FORBIDDEN_ANYWHERE = {"sympify", "parse_expr", "literal_eval", "eval", "exec", "system", "popen"}
FORBIDDEN_MODULES = {"sympy", "subprocess", *FORBIDDEN_ANYWHERE}
ALLOWED = {
    "certified.py": {"sympy"},  # it is given SymPy's objects, and no text
    "rules.py": {"sympy"},  # its grammar of LaTeX builds SymPy's objects; the reward runs in a worker
    "agents.py": {"exec"},  # the method of a sandbox's container
    "app.py": {"getattr"},  # of the fields of our own dataclass
    "store.py": {"getattr"},
    "play.py": {"getattr"},  # a taskset's data may have an answer
}
FORBIDDEN_AS_NAME = {"compile", "__import__", "getattr", "globals"}  # `re.compile` is an attribute, and fine
# `system` is what prompts are called; the function of that name cannot be had without its import or the attribute.
FORBIDDEN_NAMES = FORBIDDEN_ANYWHERE - {"system"} | FORBIDDEN_AS_NAME


PATHS = sorted(
    path for path in PLUGINS.rglob("r1env_*/**/*.py") if "r1env_openrlhf" not in path.parts
)  # which starts a trainer's processes


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_a_plugin_calls_nothing_that_executes_text(path):
    allowed = ALLOWED.get(path.name, set())
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            assert node.attr not in FORBIDDEN_ANYWHERE - allowed, f"line {node.lineno}"
        elif isinstance(node, ast.Name):
            assert node.id not in FORBIDDEN_NAMES - allowed, f"line {node.lineno}"
        elif isinstance(node, ast.ImportFrom | ast.Import):
            modules = {getattr(node, "module", None), *(alias.name for alias in node.names)}
            assert not modules & (FORBIDDEN_MODULES - allowed), f"line {node.lineno}"
