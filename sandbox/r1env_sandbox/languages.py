"""The languages a submission may be written in: how each is compiled and run, and which packages that takes.

Python comes with the libraries of `LIBRARIES`, in the same versions whatever the image was made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

INCLUDE_FOLDER = "/opt/r1env/include"
"""Where the image keeps precompiled headers."""

QUIET_FLAGS = ("-fno-diagnostics-show-caret", "-fdiagnostics-color=never")
"""No lines of source in messages: a submission may name any file as their origin (`#line`), which would then be shown."""

CXX_FLAGS = ("-O2", "-pipe", "-DONLINE_JUDGE", *QUIET_FLAGS)
"""Flags of every C++ standard. A precompiled header is only read by a compiler with exactly the flags it was made with."""


@dataclass(frozen=True, slots=True)
class Library:
    """A library that Python submissions may import.

    Attributes:
        name: as `import` has it.
        project: as the package index has it.
        version: that of Debian's package in the release that images are made from, and of the wheel in images with another base.
        package: Debian's package.
    """

    name: str
    project: str
    version: str
    package: str


LIBRARIES = (
    Library("numpy", "numpy", "1.24.2", "python3-numpy"),
    Library("scipy", "scipy", "1.10.1", "python3-scipy"),
    Library("pandas", "pandas", "1.5.3", "python3-pandas"),
    Library("sympy", "sympy", "1.11.1", "python3-sympy"),
    Library("sortedcontainers", "sortedcontainers", "2.4.0", "python3-sortedcontainers"),
    Library("networkx", "networkx", "2.8.8", "python3-networkx"),
    Library("more_itertools", "more-itertools", "8.10.0", "python3-more-itertools"),
)
"""What contest and numeric programs import. A module that is missing would be the task's fault, not the model's."""

_ENVIRONMENT: Mapping[str, str] = MappingProxyType({
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/judge/box",
    "LANG": "C.UTF-8",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class LanguageSpec:
    """One language.

    Attributes:
        name: as submissions name it.
        aliases: other names for it: what models write behind a code fence.
        source_file: what the submission is saved as.
        compile: the compiler's arguments, run once a submission; None when there is nothing to compile. `{source}` stands for
            the path of the source file and `{artifact}` for that of the file to make.
        run: the program's arguments, run once a test, with the same place holders; the first is looked up in the `PATH` of
            `environment`. The working folder is empty and not that of the source.
        artifact: the name of the file that the compiler makes; all that a later run of the same source needs.
        environment: every environment variable that compiler and program see.
        packages: Debian packages of compiler and runtime.
        cxx_standard: the C++ standard that `bits/stdc++.h` is precompiled for; None in other languages.
        extra_memory_mb: what the runtime itself takes, granted on top of a task's limit.
        extra_processes: threads of the runtime itself, granted on top of a task's limit.
        can_fork: tests may be run in forks of an interpreter that has started already.
    """

    name: str
    aliases: tuple[str, ...]
    source_file: str
    compile: tuple[str, ...] | None
    run: tuple[str, ...]
    packages: tuple[str, ...]
    artifact: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: _ENVIRONMENT)
    cxx_standard: str | None = None
    extra_memory_mb: int = 0
    extra_processes: int = 0
    can_fork: bool = False


class UnknownLanguageError(ValueError):
    """A submission names a language that there is not. The message lists those there are."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown language {name[:40]!r}; known: {', '.join(LANGUAGES)}")
        self.name = name

    def __reduce__(self) -> tuple[type[UnknownLanguageError], tuple[str]]:  # it travels between nodes
        return UnknownLanguageError, (self.name,)


def _cxx(name: str, aliases: tuple[str, ...], standard: str) -> LanguageSpec:
    return LanguageSpec(
        name=name,
        aliases=aliases,
        source_file="main.cpp",
        compile=("g++", f"-std={standard}", *CXX_FLAGS, f"-I{INCLUDE_FOLDER}", "-o", "{artifact}", "{source}"),
        run=("{artifact}",),
        artifact="main",
        packages=("g++", "libc6-dev"),
        cxx_standard=standard,
    )


LANGUAGES: Mapping[str, LanguageSpec] = MappingProxyType({
    spec.name: spec
    for spec in (
        LanguageSpec(
            name="python",
            aliases=("python3", "py", "py3"),
            source_file="main.py",
            compile=None,
            # No user site; unlike with -I, the submission's own files can be imported.
            run=("python3", "-s", "-B", "{source}"),
            # Sets are in the same order in every run, as in a forked one; integers of any length can be printed; linear algebra
            # starts no thread for each processor.
            environment={**_ENVIRONMENT, "PYTHONHASHSEED": "0", "PYTHONINTMAXSTRDIGITS": "0", "OMP_NUM_THREADS": "1"},
            packages=("python3", "python3-pytest", *(library.package for library in LIBRARIES)),
            can_fork=True,
        ),
        LanguageSpec(
            name="c",
            aliases=("c11", "c17", "gcc"),
            source_file="main.c",
            compile=("gcc", "-std=gnu17", "-O2", "-pipe", "-DONLINE_JUDGE", *QUIET_FLAGS, "-o", "{artifact}", "{source}", "-lm"),
            run=("{artifact}",),
            artifact="main",
            packages=("gcc", "libc6-dev"),
        ),
        _cxx("cpp", ("c++", "cpp17", "c++17", "cxx", "cc", "g++"), "gnu++17"),
        _cxx("cpp20", ("c++20",), "gnu++20"),
        LanguageSpec(
            name="java",
            aliases=("java17",),
            source_file="Main.java",
            compile=(
                *("sh", "-c", 'javac -encoding UTF-8 -d made "$1" && jar --create --file "$2" --main-class Main -C made .', "sh"),
                *("{source}", "{artifact}"),
            ),
            # Serial collector and quick compiler only: a test lives for a second, and each thread counts as a process.
            run=("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss64m", "-jar", "{artifact}"),
            artifact="main.jar",
            packages=("openjdk-17-jdk-headless",),
            extra_memory_mb=256,
            extra_processes=48,
        ),
        LanguageSpec(
            name="javascript",
            aliases=("js", "node", "nodejs"),
            source_file="main.js",
            compile=None,
            run=("node", "{source}"),
            packages=("nodejs",),
            extra_memory_mb=128,
            extra_processes=16,
        ),
        LanguageSpec(
            name="go",
            aliases=("golang",),
            source_file="main.go",
            compile=("go", "build", "-o", "{artifact}", "{source}"),
            run=("{artifact}",),
            artifact="main",
            environment={**_ENVIRONMENT, "GO111MODULE": "off", "CGO_ENABLED": "0", "GOFLAGS": "-p=2", "GOCACHE": "/judge/box/.cache"},
            packages=("golang-go",),
            extra_memory_mb=64,
            extra_processes=32,
        ),
        LanguageSpec(
            name="rust",
            aliases=("rs",),
            source_file="main.rs",
            compile=("rustc", "--edition=2021", "-O", "--error-format=short", "-o", "{artifact}", "{source}"),
            run=("{artifact}",),
            artifact="main",
            packages=("rustc",),
        ),
        LanguageSpec(
            name="bash",
            aliases=("sh", "shell"),
            source_file="main.sh",
            compile=None,
            run=("bash", "{source}"),
            packages=("bash",),
        ),
    )
})  # fmt: skip

DEFAULT_LANGUAGES = ("python", "c", "cpp", "bash")
"""What an image holds unless asked for more: each of the others adds 100 to 500 MB."""

_BY_NAME = {name: spec for spec in LANGUAGES.values() for name in (spec.name, *spec.aliases)}


def find_language(name: str) -> LanguageSpec:
    """Return the language of a name or alias, in capitals or not.

    Raises:
        UnknownLanguageError: there is none of that name.
    """
    spec = _BY_NAME.get(name.strip().lower())
    if spec is None:
        raise UnknownLanguageError(name)
    return spec


def packages_of(languages: Iterable[str]) -> tuple[str, ...]:
    """Return the Debian packages that the languages take together, sorted. Python is always there: the runner is written in it."""
    names = {"python", *(find_language(name).name for name in languages)}
    return tuple(sorted({package for name in names for package in LANGUAGES[name].packages}))
