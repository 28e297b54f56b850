"""Build every distribution of this repository and try each archive in a fresh environment, as the release workflow does.

    python tools/release.py build dist                   # an sdist and a wheel of each, checked by twine
    python tools/release.py install dist --from wheel    # install the wheels in a fresh environment and try them
    python tools/release.py install dist --from sdist    # the same from the sdists
    python tools/release.py tag v0.1.0                   # fail unless the tag is the version of r1env

`build` needs the packages of requirements/release.txt; `install` needs only pip, and tests the Python that runs it. pip's own
variables (PIP_CONSTRAINT, PIP_EXTRA_INDEX_URL, …) apply. Nothing here uploads anything.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATTERNS = {"wheel": "*.whl", "sdist": "*.tar.gz"}


def main(arguments: list[str] | None = None) -> None:
    """Run one subcommand; exit with a message if something is wrong."""
    given = parser().parse_args(arguments)
    if given.command == "build":
        build(given.folder)
    elif given.command == "install":
        install(given.folder, given.source)
    else:
        check_tag(given.tag)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    root = argparse.ArgumentParser(description="Build and try the distributions of this repository.")
    commands = root.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="build an sdist and a wheel of every distribution, and check them")
    command.add_argument("folder", type=Path)
    command = commands.add_parser("install", help="install the archives in a fresh environment and try them")
    command.add_argument("folder", type=Path)
    command.add_argument("--from", dest="source", choices=PATTERNS, required=True)
    command = commands.add_parser("tag", help="check that a tag names the version of r1env")
    command.add_argument("tag")
    return root


# Building.


def build(folder: Path) -> None:
    """Build an sdist of every distribution and a wheel from that sdist, and check their metadata with twine.

    The folder must be empty, so that no archive of an earlier version is published with the new ones.
    """
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty; remove it first")
    for source in distributions().values():
        run(sys.executable, "-m", "build", "--outdir", folder, source)
    archives = sorted(path for pattern in PATTERNS.values() for path in folder.glob(pattern))
    expected = {archive for name in distributions() for archive in archive_names(name)}
    if {path.name for path in archives} != expected:
        sys.exit(f"expected {sorted(expected)}, found {[path.name for path in archives]}")
    run(sys.executable, "-m", "twine", "check", "--strict", *archives)


def distributions() -> dict[str, Path]:
    """Return the folder of every distribution by its name."""
    projects = [ROOT / "pyproject.toml", *sorted(ROOT.glob("*/pyproject.toml")), *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    return {tomllib.loads(path.read_text("utf-8"))["project"]["name"]: path.parent for path in projects}


def version_of(name: str) -> str:
    """Return the version of a distribution, read from the file that hatchling reads it from."""
    folder = distributions()[name]
    settings = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    source = (folder / settings["tool"]["hatch"]["version"]["path"]).read_text("utf-8")
    found = re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    if found is None:
        sys.exit(f"{name}: no __version__ in {settings['tool']['hatch']['version']['path']}")
    return found[1]


def archive_names(name: str) -> tuple[str, str]:
    """Return the file names of a distribution's wheel and sdist."""
    stem = f"{name.replace('-', '_')}-{version_of(name)}"
    return f"{stem}-py3-none-any.whl", f"{stem}.tar.gz"


# Installing.


def install(folder: Path, source: str) -> None:
    """Install the archives in a fresh environment, first r1env alone and then all of them, and try what users try first."""
    archives = {name: folder.resolve() / archive_names(name)[source == "sdist"] for name in distributions()}
    missing = [path.name for path in archives.values() if not path.is_file()]
    if missing:
        sys.exit(f"{folder} lacks {', '.join(missing)}; run `python tools/release.py build {folder}` first")
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(Path(scratch) / "venv", with_pip=True)
        programs = Path(scratch) / "venv" / "bin"
        # Without the checkout on the path, and outside it, or `import r1env` would find the source tree.
        os.environ.pop("PYTHONPATH", None)
        run(programs / "python", "-m", "pip", "install", "--quiet", archives["r1env"])
        try_core(programs, Path(scratch))
        run(programs / "python", "-m", "pip", "install", "--quiet", *archives.values())
        run(programs / "python", "-m", "pip", "check")
        try_all(programs, Path(scratch))
    print(f"every distribution installs from its {source} and works on Python {sys.version.split()[0]}")


def try_core(programs: Path, folder: Path) -> None:
    """Try r1env without any other distribution of ours."""
    expect("train", run(programs / "r1env", "--help", cwd=folder))
    expect(f"r1env {version_of('r1env')}", run(programs / "r1env", "--version", cwd=folder))
    run(programs / "r1env", "plugins", "--check", cwd=folder)
    (folder / "short.py").write_text("def short(completion: str) -> float:\n    return float(len(completion) < 10)\n", "utf-8")
    scored = run(programs / "r1env", "score", "--reward", "short.py:short", cwd=folder, stdin='{"completion": "4"}\n')
    expect(1.0, [json.loads(scored)["value"]])


def try_all(programs: Path, folder: Path) -> None:
    """Try all distributions together: the plugins are found and can be imported, and a reward of one of them scores."""
    expect("train", run(programs / "r1env", "--help", cwd=folder))
    run(programs / "r1env", "plugins", "--check", cwd=folder)
    listed = json.loads(run(programs / "r1env", "plugins", "--json", cwd=folder))["plugins"]
    versions = {entry["distribution"]: entry["version"] for entry in listed}
    for name, source in distributions().items():
        if "entry-points" in tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["project"]:
            expect((name, version_of(name)), versions.items())
    rows = [{"completion": "\\boxed{4}", "answer": "4"}, {"completion": "\\boxed{5}", "answer": "4"}]
    stdin = "".join(json.dumps(row) + "\n" for row in rows)
    scored = run(programs / "r1env", "score", "--reward", "math", cwd=folder, stdin=stdin)
    expect([1.0, 0.0], [[json.loads(line)["value"] for line in scored.splitlines()]])
    run(programs / "r1env", "show", "sort-4", "--index", "0", cwd=folder)
    expect(f"r1env-sandbox {version_of('r1env-sandbox')}", run(programs / "r1env-sandbox", "--version", cwd=folder))


def expect(wanted: object, found: object) -> None:
    """Exit unless `wanted` is in `found`."""
    if wanted not in found:  # type: ignore[operator]
        sys.exit(f"expected {wanted!r} in {found!r}")


def run(*command: object, cwd: Path | None = None, stdin: str = "") -> str:
    """Run a command, print it, and return its standard output; exit with its output if it fails."""
    print("$", *command, flush=True)
    done = subprocess.run([*map(str, command)], cwd=cwd, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}\nthe command above failed with exit code {done.returncode}")
    return done.stdout


# Tagging.


def check_tag(tag: str) -> None:
    """Exit unless the tag is `v` and the version of r1env. The other distributions may have later patch versions."""
    if tag != f"v{version_of('r1env')}":
        sys.exit(f"the tag {tag} does not match r1env {version_of('r1env')}; tag v{version_of('r1env')}, or change __version__")


if __name__ == "__main__":
    main()
