"""The image that submissions run in: its name, finding it, building it from a registry's base or from one made here.

An image holds languages, and of ours only a small library in C (`runner/launcher.c`): the runner travels with each container's command.
It is named after what went into it (`Dockerfile`, that library, packages, compiler flags), so an image that this version did not make
is simply missing, never silently used.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound

from r1env_sandbox.errors import SandboxUnavailable
from r1env_sandbox.languages import CXX_FLAGS, DEFAULT_LANGUAGES, LANGUAGES, LIBRARIES, find_language, packages_of

REPOSITORY = "r1env-sandbox"
BASE_REPOSITORY = "r1env-base"
DEFAULT_BASE = "python:3.11-slim"
LANGUAGES_LABEL = "r1env.languages"
BASE_LABEL = "r1env.base"

SUITE = "bookworm"
"""The Debian release of a base made here; fixed, so that compilers and interpreters are the same on every host."""

BUILD_SECONDS = 900
"""How long a step of a build may be silent: precompiling a header, or importing a base, says nothing for half a minute."""

_NEEDLESS = (
    "dev",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
)
"""Folders of a fresh Debian that no submission reads; their contents are left out of the base."""


_NEEDLESS_PATTERNS = (
    "usr/lib/python3/dist-packages/*/**/tests",
    "usr/lib/python3/dist-packages/pythran",
    "usr/lib/*/openblas*/*.a",
    "usr/lib/*/lapack/*.a",
    "usr/lib/*/blas/*.a",
)
"""What else is left out: the libraries' own tests, and what only takes part in building them. A third of their size."""


class ImageBuildError(RuntimeError):
    """The image could not be built. The message ends with what the failing step said."""


def image_name() -> str:
    """`repository:tag` of the image that this version of the package makes."""
    content = [*_context_files().values(), " ".join(CXX_FLAGS).encode(), repr(LIBRARIES).encode()]
    content += [f"{spec.name} {spec.packages} {spec.cxx_standard}".encode() for spec in LANGUAGES.values()]
    digest = hashlib.sha256()
    for part in content:
        digest.update(len(part).to_bytes(8, "big") + part)
    return f"{REPOSITORY}:{digest.hexdigest()[:16]}"


def require_image(client: docker.DockerClient, languages: Collection[str] = ()) -> str:
    """Return the id of the image to run, which has all of `languages`.

    `R1ENV_SANDBOX_IMAGE` names another image, taken as it is.

    Raises:
        SandboxUnavailable: the engine has no such image, or it was built without one of the languages.
        UnknownLanguageError: there is no such language.
    """
    wanted = {find_language(name).name for name in languages}
    name = os.environ.get("R1ENV_SANDBOX_IMAGE") or image_name()
    try:
        image = client.images.get(name)
    except ImageNotFound as error:
        raise SandboxUnavailable(f"the image {name} is missing", "Make it with `r1env-sandbox build`.") from error
    held = languages_of(image.labels)
    if missing := wanted - held:
        spelled = " ".join(f"--language {language}" for language in sorted(held | missing))
        raise SandboxUnavailable(
            f"the image {name} has no {', '.join(sorted(missing))}", f"Run `r1env-sandbox build {spelled}`."
        )
    return str(image.id)


def languages_of(labels: Mapping[str, str]) -> frozenset[str]:
    """Return the languages that an image with these labels holds; those of the default image where it does not say."""
    return frozenset(labels.get(LANGUAGES_LABEL, ",".join(DEFAULT_LANGUAGES)).split(","))


def build_image(
    client: docker.DockerClient,
    *,
    base: str | None = None,
    bootstrap: bool = False,
    languages: Collection[str] = DEFAULT_LANGUAGES,
    offline: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> str:
    """Build the image, and give it the name that `require_image` looks for.

    Args:
        client: of the engine; its time-out should be `BUILD_SECONDS`.
        base: an image with Debian's package manager and Python 3; `DEFAULT_BASE`, from a registry, when None. Compilers and
            pytest are installed into it, which takes a network.
        bootstrap: make the base here with debootstrap instead (as root on Debian). No registry is asked for images.
        languages: those that the image shall hold; Python is always among them.
        offline: the base has everything, so the steps get no network; always so with `bootstrap`.
        report: told each step, in one line.

    Returns:
        The id of the image.

    Raises:
        ImageBuildError: a step failed.
        UnknownLanguageError: there is no such language.
    """
    if base is not None and bootstrap:
        raise ImageBuildError("give a base or bootstrap one, not both")
    names = sorted({"python", *(find_language(name).name for name in languages)})
    packages = packages_of(names)
    if bootstrap:
        base, to_install, wheels = bootstrap_base(client, packages, report), [], []
    else:
        base = base or DEFAULT_BASE
        to_install = [package for package in packages if not package.startswith("python3")]  # the base has its own Python
        wheels = [f"{library.project}=={library.version}" for library in LIBRARIES]
    standards = [spec.cxx_standard for name in names if (spec := LANGUAGES[name]).cxx_standard]
    arguments = {
        "BASE": base,
        "PACKAGES": " ".join(to_install),
        "LIBRARIES": "" if offline else " ".join(wheels),
        "CXX_STANDARDS": " ".join(filter(None, standards)),
        "CXX_FLAGS": " ".join(CXX_FLAGS),
    }
    name = image_name()
    report(f"building {name} from {base} with {', '.join(names)}")
    labels = {LANGUAGES_LABEL: ",".join(names), BASE_LABEL: base}
    image_id = _build(client, name, arguments, labels, "none" if bootstrap or offline else None, report)
    report(f"built {name} ({image_id[:19]})")
    return image_id


def bootstrap_base(client: docker.DockerClient, packages: Collection[str], report: Callable[[str], None]) -> str:
    """Make a base of Debian's packages, or find one made earlier; return its name.

    The cleaned file system is kept as a tar file in the user's cache folder, so that an engine that has lost its images needs
    seconds.

    Raises:
        ImageBuildError: not root, debootstrap is missing, or it failed.
    """
    key = hashlib.sha256(f"{SUITE} {_NEEDLESS} {_NEEDLESS_PATTERNS} {sorted(packages)}".encode()).hexdigest()[:16]
    name = f"{BASE_REPOSITORY}:{key}"
    try:
        client.images.get(name)
        return name
    except ImageNotFound:
        pass
    archive = _cache_folder() / f"base-{key}.tar"
    if not archive.exists():
        report(f"making a base of {SUITE} with {', '.join(sorted(packages))}: about a minute")
        _debootstrap(sorted(packages), archive)
    report(f"importing {archive}")
    try:
        client.api.import_image_from_file(str(archive), repository=BASE_REPOSITORY, tag=key)
    except APIError as error:
        raise ImageBuildError(f"the engine did not import {archive}: {error.explanation}") from error
    return name


def _debootstrap(packages: Collection[str], archive: Path) -> None:
    if os.geteuid() != 0:
        raise ImageBuildError("making a base needs root, as debootstrap does; or build from a registry's image")
    program = shutil.which("debootstrap", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if program is None:
        raise ImageBuildError("making a base needs the package debootstrap; or build from a registry's image")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="base-") as folder:
        root = Path(folder) / "root"
        command = [program, "--variant=minbase", f"--include={','.join(packages)}", SUITE, str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise ImageBuildError(f"debootstrap failed:\n{(done.stdout + done.stderr)[-2000:]}")
        _remove_needless(root)
        unfinished = Path(folder) / "base.tar"
        with tarfile.open(unfinished, "w") as tar:
            tar.add(root, arcname=".")
        unfinished.rename(archive)


def _remove_needless(root: Path) -> None:
    entries = [entry for folder in _NEEDLESS for entry in (root / folder).iterdir()]
    entries += [entry for pattern in _NEEDLESS_PATTERNS for entry in root.glob(pattern)]
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)  # one may be in another that is gone already
        else:
            entry.unlink(missing_ok=True)


def _build(
    client: docker.DockerClient,
    name: str,
    arguments: Mapping[str, str],
    labels: Mapping[str, str],
    network: str | None,
    report: Callable[[str], None],
) -> str:
    answers = client.api.build(
        fileobj=_context(),
        custom_context=True,
        tag=name,
        buildargs=dict(arguments),
        labels=dict(labels),
        network_mode=network,  # a bridge is not always to be had, and most builds need none
        rm=True,
        forcerm=True,
        decode=True,
    )
    said: list[str] = []
    try:
        for line in _lines(answers):
            said.append(line)
            if line.startswith("Step "):
                report(line[:100])
    except (APIError, ImageBuildError) as error:
        raise ImageBuildError("\n".join([f"cannot build {name}: {error}", *said[-20:]])) from error
    return str(client.images.get(name).id)


def _lines(answers: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield what the builder says, line by line.

    Raises:
        ImageBuildError: a step failed.
    """
    for answer in answers:
        if "error" in answer:
            raise ImageBuildError(str(answer["error"]))
        yield from str(answer.get("stream", "")).splitlines()


def _context() -> io.BytesIO:
    """Return what the builder is sent, as a tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in _context_files().items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def _context_files() -> dict[str, bytes]:
    package = files("r1env_sandbox")
    return {"Dockerfile": (package / "Dockerfile").read_bytes(), "launcher.c": (package / "runner" / "launcher.c").read_bytes()}


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "r1env" / "sandbox"
