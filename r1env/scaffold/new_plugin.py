"""`new_plugin`: an installable plugin from templates, with tests. Pure text in, files out."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from string import Template

from r1env import __version__
from r1env.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of plugin that can be written.

    Attributes:
        registry: the hook without its prefix, such as `rewards`; also where names that are taken are looked up.
        noun: what it is called in messages.
        module: the template of its code; the code's file has the name of the kind.
        entry: the spec that the plugin returns, a template.
        test: the template of its tests.
        dependencies: besides r1env.
        use: a command that uses it, for the README.
        files: further files, by path within the package → template.
    """

    registry: str
    noun: str
    module: str
    entry: str
    test: str = "test_plugin.py"
    dependencies: tuple[str, ...] = ()
    use: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def _environment(module: str, more: str = "", files: Mapping[str, str] | None = None) -> Kind:
    entry = (
        '\n        r1env.EnvironmentSpec(\n            "$name",\n            "$package.env:tasks",\n            reward="$package.env:right",\n'
        f'            summary="an environment of your own",\n{more}        )\n    '
    )
    use = "r1env eval --engine scripted --model 42 --env $name --limit 4   # what a model gets that always answers 42"
    return Kind("environments", "an environment", module, entry, dependencies=("numpy>=1.26",), use=use, files=files or {})


KINDS: Mapping[str, Kind] = {
    "reward": Kind(
        "rewards",
        "a reward",
        "reward.py",
        'r1env.RewardSpec("$name", "$package.reward:$function", "1 for a short response, less for a longer one")',
        test="test_reward.py",
        use="r1env train r1-zero --preset tiny-cpu --rubric rubric.yaml",
    ),
    "env": _environment("env_single.py"),
    "env-dialogue": _environment("env_dialogue.py", '            other="$package.env:reply",\n            max_turns=7,\n'),
    "env-tools": _environment("env_tools.py", '            other="$package.env:Desk",\n            max_turns=4,\n'),
    "env-file": _environment("env_file.py", files={"train.jsonl": "rows_train.jsonl", "test.jsonl": "rows_test.jsonl"}),
    "loss": Kind(
        "losses",
        "a loss",
        "loss.py",
        'r1env.LossSpec("$name", "$package.loss:$function", "a policy loss of your own")',
        dependencies=("torch>=2.8",),
        use="r1env train grpo --preset tiny-cpu --set algo.loss=$name --steps 2",
    ),
    "engine": Kind(
        "engines",
        "an engine",
        "engine.py",
        'r1env.EngineSpec("$name", "$package.engine:make", "completions from somewhere else")',
        use="r1env eval --engine $name --model any --env sort-4 --limit 4",
    ),
    "trainer": Kind(
        "trainers",
        "a trainer",
        "trainer.py",
        '\n        r1env.TrainerSpec(\n            "$name",\n            "$package.trainer:Config",\n            "$package.trainer:Trainer",\n'
        '            "a trainer of your own",\n            leaves_model=False,\n        )\n    ',
        dependencies=("pydantic>=2.7",),
        use="r1env train $name --model tiny",
    ),
}


def new_plugin(kind: str, name: str, folder: Path | None = None, *, taken: Collection[str] = ()) -> list[Path]:
    """Write a plugin that provides one thing into `folder`, which is made where it is missing.

    Args:
        kind: a key of `KINDS`.
        name: of the thing; the distribution becomes `r1env-<name>-<kind>`.
        folder: where the plugin's `pyproject.toml` goes; by default a folder of the distribution's name in the current one.
        taken: names of the kind that are installed already.

    Returns:
        The files written, `pyproject.toml` first.

    Raises:
        UsageError: the name is no name, or is taken; or the folder has something in it, or cannot be written.

    Example:
        >>> new_plugin("reward", "brevity")  # doctest: +SKIP
    """
    noun = KINDS[kind].noun
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UsageError(
            f"{name!r} is no name for {noun}; use lower-case letters, digits and single hyphens, a letter first "
            f"(at most {_LONGEST_NAME}), such as 'short-answer'"
        )
    if name in taken:
        raise UsageError(f"there is an installed {noun.split()[-1]} {name!r} already; choose another name")
    distribution = f"r1env-{name}-{kind.partition('-')[0]}"
    folder = folder or Path(distribution)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder; choose another place")
    files = render(kind, name, distribution=distribution)
    try:
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write the plugin to {folder}: {error}") from error
    return [folder / path for path in files]


def render(kind: str, name: str, *, distribution: str) -> dict[str, str]:
    """Return the files of a plugin, by path within its folder."""
    about = KINDS[kind]
    identifier = name.replace("-", "_")
    major, minor, _ = __version__.split(".", 2)
    package = distribution.replace("-", "_")
    module = kind.partition("-")[0]
    needs = [
        f"r1env>={__version__},<{major}.{int(minor) + 1}"
    ]  # before 1.0, a minor version may change what a plugin relies on
    values = {
        "name": name,
        "distribution": distribution,
        "package": package,
        "kind": about.noun.split()[-1],
        "registry": about.registry,
        "module": module,
        "function": f"{identifier}_" if keyword.iskeyword(identifier) else identifier,
        "dependencies": ", ".join(f'"{one}"' for one in sorted([*about.dependencies, *needs])),
    }
    values |= {key: Template(text).substitute(values) for key, text in {"entry": about.entry, "use": about.use}.items()}
    values["spec"] = values["entry"].strip().partition("(")[0]
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README_reward.md" if kind == "reward" else "README.md",
        **({"rubric.yaml": "rubric.yaml"} if kind == "reward" else {}),
        f"{package}/__init__.py": "__init__.py",
        f"{package}/plugin.py": "plugin.py",
        f"{package}/{module}.py": about.module,
        **{f"{package}/{path}": template for path, template in about.files.items()},
        f"tests/test_{package}.py": about.test,
    }
    folder = resources.files("r1env.scaffold") / "templates"
    files = {
        path: Template((folder / f"{source}.tmpl").read_text("utf-8")).substitute(values) for path, source in templates.items()
    }
    return files | {f"{package}/py.typed": ""}
