"""The arrows between the distributions, and what importing costs. See docs/architecture.md."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from r1env import moved

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
    "r1env_openai": ROOT / "plugins/openai/r1env_openai",
    "r1env_openrlhf": ROOT / "plugins/openrlhf/r1env_openrlhf",
    "r1env_view": ROOT / "plugins/view/r1env_view",
    "r1env_verifiers": ROOT / "plugins/verifiers/r1env_verifiers",
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
    "r1env_benchmarks": {"r1env", "r1env_judge", "r1env_logic", "r1env_math"},
    "r1env_judge": {"r1env", "r1env_openai"},
    "r1env_openai": {"r1env"},
    "r1env_view": {"r1env"},
    "r1env_trainers": {"r1env"},
    "r1env_openrlhf": {"r1env", "r1env_trainers"},
    "r1env_verifiers": {"r1env"},
}
FIRST_TO_READ = {"types"}
WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
MAY_NAME = {
    "r1env_judge": {"r1env_trainers"},  # reward-model folders in this process: the extra `local`
    "r1env_trainers": {"r1env_logic"},  # presets and recipes name demonstrators, as they name environments
}


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


def modules(distribution: str) -> dict[str, Path]:
    """Full name of every module of a distribution → its file."""
    root = OURS[distribution]
    paths = (
        path for path in root.rglob("*.py") if not {"stand_in", "cpu_site", "repositories"} & set(path.relative_to(root).parts)
    )
    return {
        ".".join((distribution, *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in paths
    }


def imported_modules(path: Path, known: Collection[str]) -> set[str]:
    """The modules among `known` that a file imports, at any depth, and not for type checkers alone."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in known else node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text("utf-8")))
    return found & set(known)


def circle(arrows: Mapping[str, set[str]]) -> list[str]:
    """One circle of arrows; empty where there is none."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("distribution", OURS)
def test_no_files_import_each_other_in_a_circle(distribution):
    files = modules(distribution)
    assert circle({name: imported_modules(path, files) - {name} for name, path in files.items()}) == []


@pytest.mark.parametrize("distribution", OURS)
def test_no_sub_packages_import_each_other_in_a_circle(distribution):
    def room(module: str) -> str:
        """The folder below the distribution, or the file that lies beside the folders."""
        return ".".join(module.split(".")[:2])

    files = modules(distribution)
    arrows: dict[str, set[str]] = {}
    for name, path in files.items():
        if name != distribution:
            others = {room(other) for other in imported_modules(path, files) if other != distribution}
            arrows.setdefault(room(name), set()).update(others - {room(name)})
    assert circle(arrows) == []


@pytest.mark.parametrize("distribution", OURS)
def test_import_strings_keep_to_the_same_arrows(distribution):
    """A text that names a module, as `module` or as `module:attribute`, counts as an import of it."""
    everything = {name for other in OURS for name in modules(other)}
    allowed = MAY_IMPORT[distribution] | MAY_NAME.get(distribution, set()) | {distribution}
    for path in modules(distribution).values():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                module = node.value.partition(":")[0]
                if "." in module and module in everything:
                    assert module.split(".")[0] in allowed, f"{path}:{node.lineno}: {node.value}"


def test_an_old_import_path_works_and_names_the_new_one():
    with pytest.warns(DeprecationWarning, match="r1env.tasks is now r1env.types"):
        module = importlib.import_module("r1env.tasks")
    from r1env.types import Task

    assert module.Task is Task
    assert in_fresh_interpreter("from r1env.engines.base import Sampling; print(Sampling.__module__)") == "r1env.engines"


def test_every_old_path_leads_to_a_module():
    for new in {*moved.CORE.values()}:
        assert importlib.import_module(new)


def in_fresh_interpreter(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_importing_r1env_brings_no_heavy_library_and_listing_plugins_neither():
    heavy = ("torch", "sympy", "docker", "transformers", "datasets", "reasoning_gym", "math_verify", "pandas")
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


def test_the_core_names_no_plugin():
    """Neither a distribution nor a module of one, in any text of the core that is no documentation."""
    names = {name for name in OURS if name != "r1env"} | {name.replace("_", "-") for name in OURS if name != "r1env"}
    for path in modules("r1env").values():
        tree = ast.parse(path.read_text("utf-8"))
        docs = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, WITH_DOCSTRING)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in docs:
                assert not names & set(re.findall(r"[\w-]+", node.value)), f"{path}:{node.lineno}: {node.value!r}"
