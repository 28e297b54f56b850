"""The distributions of this repository: what each declares, and that its wheel installs and works with just that."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FOLDERS = [
    path.parent
    for folder in (".", "sandbox", "trainers", "plugins/*")
    for path in sorted(ROOT.glob(f"{folder}/pyproject.toml"))
]


@functools.cache
def settings(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))


def project(folder: Path) -> dict[str, Any]:
    return settings(folder)["project"]


OURS = {project(folder)["name"]: folder for folder in FOLDERS}
EACH = pytest.mark.parametrize("name", OURS)


def package_of(name: str) -> str:
    return name.replace("-", "_")


def version_of(name: str) -> str:
    text = (OURS[name] / settings(OURS[name])["tool"]["hatch"]["version"]["path"]).read_text("utf-8")
    return re.search(r'__version__ = "(.+)"', text)[1]


def requirements(name: str) -> list[Requirement]:
    """All that a distribution declares, extras included."""
    declared = project(OURS[name])
    extras = declared.get("optional-dependencies", {}).values()
    return [Requirement(line) for lines in (declared["dependencies"], *extras) for line in lines]


@EACH
def test_sisters_are_wanted_in_the_versions_that_lie_here(name):
    for requirement in requirements(name):
        if requirement.name in OURS:
            version = version_of(requirement.name)
            major, minor, _ = version.split(".")
            upper, lower = sorted(map(str, requirement.specifier))
            assert upper == f"<{major}.{int(minor) + 1}", requirement
            assert lower.startswith(f">={major}.{minor}."), requirement
            assert version in requirement.specifier, requirement


@EACH
def test_a_distribution_says_that_it_is_typed_and_under_which_licence(name):
    declared = project(OURS[name])
    assert "Typing :: Typed" in declared["classifiers"]
    assert (OURS[name] / package_of(name) / "py.typed").read_text() == ""
    assert (declared["license"], declared["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert (OURS[name] / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@EACH
def test_pip_install_lines_name_what_this_repository_has(name):
    """In its code and pages: `pip install r1env-x[extra]`."""
    pages = [*(OURS[name] / package_of(name)).rglob("*.py"), OURS[name] / "README.md"]
    if name == "r1env":
        pages += (ROOT / "docs").rglob("*.md")
    for page in pages:
        for line in re.findall(r"pip install ([^\n`;&|]+)", page.read_text("utf-8")):
            for found, extras in re.findall(
                r"(?<![\w./-])(r1env(?:-[a-z]+)*)(?:\[([a-z0-9,]+)\])?(?![\w-])", line.partition("-e ")[0]
            ):
                assert found in OURS, (page, line)
                assert set(filter(None, extras.split(","))) <= set(project(OURS[found]).get("optional-dependencies", {})), (
                    page,
                    line,
                )


def test_folders_that_the_readme_installs_are_whole():
    """Each `pip install` line there names the distributions that the others in it need, for no index has them."""
    lines = re.findall(r"pip install ((?:'?\./?[\w/]*(?:\[\w+\])?'? ?)+)", (ROOT / "README.md").read_text("utf-8"))
    for line in lines:
        wanted = {}
        for given in shlex.split(line):
            folder, _, extra = given.removesuffix("]").partition("[")
            wanted[project(ROOT / folder)["name"]] = extra
        for name, extra in wanted.items():
            assert not extra or extra in project(OURS[name])["optional-dependencies"], line
            needs = {Requirement(one).name for one in project(OURS[name])["dependencies"]} & OURS.keys()
            assert needs <= wanted.keys(), line
    installed = {project(ROOT / given.partition("[")[0])["name"] for line in lines for given in shlex.split(line)}
    assert installed == OURS.keys()


def imported(path: Path) -> set[str]:
    """Top-level names of what a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names}


COMES_WITH = {"lingua": "lingua-language-detector", "pydantic_core": "pydantic", "triton": "torch"}
OPTIONAL = {("r1env", "torch")}  # the doctor looks for it
NOT_OF_THE_PACKAGE = {"harness", "repositories"}  # programs that run in the sandbox


@EACH
def test_whatever_is_imported_is_declared(name):
    """As a dependency or in an extra."""
    declared = {name, *(canonicalize_name(requirement.name) for requirement in requirements(name))}
    distributions = importlib.metadata.packages_distributions()
    for path in (OURS[name] / package_of(name)).rglob("*.py"):
        if NOT_OF_THE_PACKAGE.isdisjoint(path.parts):
            for module in imported(path) - sys.stdlib_module_names:
                offered = {
                    COMES_WITH.get(module, canonicalize_name(module)),
                    *map(canonicalize_name, distributions.get(module, ())),
                }
                assert offered & declared or (name, module) in OPTIONAL, f"{path} imports {module}, of {offered}"


@dataclass(frozen=True)
class Built:
    """One distribution's archives."""

    sdist: Path
    wheel: Path

    def wheel_files(self) -> dict[str, bytes]:
        with zipfile.ZipFile(self.wheel) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Call with a distribution's name: its sdist, built from the tree, and its wheel, built from the sdist."""

    @functools.cache
    def build(name: str) -> Built:
        folder = tmp_path_factory.mktemp(name)
        hatchling(OURS[name], "sdist", folder)
        (sdist,) = folder.glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            archive.extractall(folder / "unpacked", filter="data")
        (unpacked,) = (folder / "unpacked").iterdir()
        hatchling(unpacked, "wheel", folder)
        (wheel,) = folder.glob("*.whl")
        return Built(sdist, wheel)

    return build


def hatchling(source: Path, target: str, folder: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder, cwd=source)


def run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@EACH
def test_the_archives_carry_licence_links_and_type_information(name, built):
    wheel = built(name).wheel_files()
    (metadata,) = (text for path, text in wheel.items() if path.endswith(".dist-info/METADATA"))
    told = HeaderParser().parsestr(metadata.decode())
    assert told["Version"] == version_of(name)
    assert told["License-Expression"] == "Apache-2.0"
    assert "Typing :: Typed" in told.get_all("Classifier")
    assert told.get_all("Project-URL")
    assert f"{package_of(name)}/py.typed" in wheel
    (licence,) = (text for path, text in wheel.items() if path.endswith(".dist-info/licenses/LICENSE"))
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert not [path for path in wheel if path.startswith("tests/")]
    with tarfile.open(built(name).sdist) as archive:
        held = {path.partition("/")[2] for path in archive.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", f"{package_of(name)}/py.typed"} <= held


@pytest.mark.slow
@EACH
def test_the_wheel_holds_every_file_of_the_package(name, built):
    folder = OURS[name]
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", package_of(name), cwd=folder).split()
    assert {path for path in built(name).wheel_files() if ".dist-info/" not in path} == set(listed)


def needed(name: str) -> set[str]:
    """Names of all that pip would install with a distribution, read off the metadata of what is installed here."""
    waiting, done = [Requirement(name)], set()
    while waiting:
        wanted = waiting.pop()
        own = canonicalize_name(wanted.name)
        if (own, extras := frozenset(wanted.extras)) in done:
            continue
        done.add((own, extras))
        lines = project(OURS[own])["dependencies"] if own in OURS else importlib.metadata.requires(own) or []
        children = map(Requirement, lines)
        waiting += [one for one in children if not one.marker or any(one.marker.evaluate({"extra": x}) for x in extras or [""])]
    return {own for own, _ in done}


@pytest.fixture
def environment(built, tmp_path):
    """Call with a distribution's name: the Python of a fresh environment with its wheel, and nothing that it does not declare.

    The wheels of its sisters are installed too. Third-party packages are linked from the environment of the tests.
    """

    def make(name: str) -> Path:
        venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
        python = tmp_path / "venv/bin/python"
        wanted = needed(name)
        wheels = [built(one).wheel for one in sorted(wanted & OURS.keys())]
        run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", *wheels)
        site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        for one in wanted - OURS.keys():
            distribution = importlib.metadata.distribution(one)
            for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}:
                if not (site / top).exists():
                    (site / top).symlink_to(str(distribution.locate_file(top)))
        return python

    return make


@pytest.mark.slow
@EACH
def test_a_wheel_works_with_what_it_declares(name, environment, tmp_path):
    """Its package is imported, and of a plugin everything that its hooks name."""
    python = environment(name)
    assert run(python, "-c", f"import {package_of(name)} as it; print(it.__file__)", cwd=tmp_path).startswith(str(tmp_path))
    for program in project(OURS[name]).get("scripts", ()):
        assert run(python.with_name(program), "--version", cwd=tmp_path) == f"{program} {version_of(name)}\n"
    if "entry-points" in project(OURS[name]):
        run(python, "-W", "error::RuntimeWarning", "-m", "r1env", "plugins", "--check", cwd=tmp_path)


# tools/release.py and the workflow that calls it.


@pytest.fixture(scope="module")
def release():
    spec = importlib.util.spec_from_file_location("release", ROOT / "tools/release.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))


def test_a_release_has_an_sdist_and_a_wheel_of_every_distribution(release):
    assert release.distributions() == OURS
    assert {name: release.version_of(name) for name in OURS} == {name: version_of(name) for name in OURS}
    assert release.archive_names("r1env-math") == (
        f"r1env_math-{version_of('r1env-math')}-py3-none-any.whl",
        f"r1env_math-{version_of('r1env-math')}.tar.gz",
    )


def test_a_release_needs_the_tag_of_its_version(release):
    release.main(["tag", f"v{version_of('r1env')}"])
    with pytest.raises(SystemExit, match="does not match r1env"):
        release.main(["tag", "v99.0.0"])


def test_archives_of_an_earlier_build_are_not_mixed_with_new_ones(release, tmp_path):
    (tmp_path / "r1env-0.0.1.tar.gz").touch()
    with pytest.raises(SystemExit, match="is not empty"):
        release.main(["build", str(tmp_path)])
    with pytest.raises(SystemExit, match="lacks r1env-"):
        release.main(["install", str(tmp_path), "--from", "wheel"])


def test_the_release_workflow_calls_the_script_as_it_is(release):
    matrix = WORKFLOW["jobs"]["install"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
    steps = [step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "release.py" in step.get("run", "")]
    parsed = [
        release.parser().parse_args(shlex.split(line.replace("${{ matrix.source }}", source))[2:])
        for line in steps
        for source in matrix["source"]
    ]
    assert {given.command for given in parsed} == {"tag", "build", "install"}


def test_only_an_approved_tag_is_published(release):
    publish = WORKFLOW["jobs"]["publish"]
    assert publish["if"] == "github.event_name == 'push' && github.ref_type == 'tag'"
    assert (publish["needs"], publish["environment"]) == ("install", "release")
    assert publish["permissions"] == {"id-token": "write"}
    assert WORKFLOW["permissions"] == {"contents": "read"}
