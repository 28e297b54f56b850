"""The arrows between the distributions, and what importing costs. See docs/architecture.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {
    "r1env": ROOT / "r1env",
    "r1env_sandbox": ROOT / "sandbox/r1env_sandbox",
    "r1env_format": ROOT / "plugins/format/r1env_format",
    "r1env_math": ROOT / "plugins/math/r1env_math",
    "r1env_language": ROOT / "plugins/language/r1env_language",
    "r1env_code": ROOT / "plugins/code/r1env_code",
    "r1env_logic": ROOT / "plugins/logic/r1env_logic",
    "r1env_benchmarks": ROOT / "plugins/benchmarks/r1env_benchmarks",
    "r1env_judge": ROOT / "plugins/judge/r1env_judge",
    "r1env_openrlhf": ROOT / "plugins/openrlhf/r1env_openrlhf",
    "r1env_trainers": ROOT / "trainers/r1env_trainers",
}
MAY_IMPORT = {
    "r1env": set(),
    "r1env_sandbox": set(),
    "r1env_code": {"r1env", "r1env_sandbox"},
    "r1env_format": {"r1env"},
    "r1env_math": {"r1env"},
    "r1env_language": {"r1env"},
    "r1env_logic": {"r1env"},
    "r1env_benchmarks": {"r1env"},
    "r1env_judge": {"r1env"},
    "r1env_trainers": {"r1env"},
    "r1env_openrlhf": {"r1env", "r1env_trainers"},
}
FIRST_TO_READ = {"types"}


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


@pytest.mark.parametrize("distribution", OURS)
def test_a_distribution_imports_only_what_the_design_allows(distribution):
    for path in OURS[distribution].rglob("*.py"):
        ours = {name.split(".")[0] for name in imports(path)} & set(OURS)
        assert ours <= MAY_IMPORT[distribution] | {distribution}, path


def test_the_data_types_import_nothing_else_of_ours():
    for module in FIRST_TO_READ:
        ours = {name for name in imports(ROOT / f"r1env/{module}.py") if name.startswith("r1env")}
        assert ours <= {f"r1env.{other}" for other in FIRST_TO_READ}, module


def in_fresh_interpreter(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_importing_r1env_brings_no_heavy_library_and_listing_plugins_neither():
    heavy = ("torch", "sympy", "docker", "transformers", "datasets", "reasoning_gym", "math_verify", "plotly", "pandas")
    for code in ("import r1env", "import r1env; r1env.installed()", "import r1env, gymnasium"):
        assert in_fresh_interpreter(f"{code}; import sys; print([m for m in {heavy} if m in sys.modules])") == "[]", code


@pytest.mark.parametrize("code", ["import r1env, gymnasium", "import gymnasium, r1env"])
def test_environments_are_registered_whichever_is_imported_first(code):
    assert in_fresh_interpreter(f"{code}; print(gymnasium.spec('r1env/sort-4').id)") == "r1env/sort-4"


def test_the_public_names_are_those_that_type_checkers_see():
    tree = ast.parse((ROOT / "r1env/__init__.py").read_text("utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {(node.module, alias.name) for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    import r1env

    assert seen == {(module, name) for module, names in r1env._HOME.items() for name in names}
    assert set(r1env.__all__) == {name for _, name in seen} | {"__version__"}
    for _, name in seen:
        assert getattr(r1env, name) is not None
