"""`plugins`, `envs`, `show`, `doctor`, `version`, `new`: what there is."""

import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from r1env import __version__
from r1env.cli.doctor import State
from r1env.cli.main import make_app
from r1env.hooks import RecipeSpec, RewardSpec, hookimpl
from r1env.plugins import PluginFailure, Plugins, Provenance
from r1env.types import Task

ROOT = Path(__file__).parents[2]
BROKEN = Plugins({}, [PluginFailure(Provenance("bad", "r1env-bad", "0.1"), "ImportError: no module named x")])


def test_plugins_are_listed_with_who_provides_them(r1env_program: Any) -> None:
    lines = r1env_program("plugins").stdout.splitlines()
    line = next(line for line in lines if " exact " in line)
    assert line.split()[:6] == ["reward", "exact", "r1env-stranger", "2.5", "(stranger)", "about"]


def test_plugins_can_be_listed_by_kind_and_as_json(r1env_program: Any) -> None:
    found = json.loads(r1env_program("plugins", "--kind", "engines", "--json").stdout)
    assert {row["name"] for row in found["plugins"]} == {"scripted", "obedient"}
    assert found["plugins"][0].keys() == {"kind", "name", "summary", "plugin", "distribution", "version"}
    assert found["broken"] == []


def test_a_check_passes_when_everything_can_be_imported(r1env_program: Any) -> None:
    result = r1env_program("plugins", "--check")
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_broken_plugin_is_named_and_fails_the_check() -> None:
    app = make_app(BROKEN)
    assert CliRunner().invoke(app, ["plugins"]).exit_code == 0
    result = CliRunner().invoke(app, ["plugins", "--check"])
    assert result.exit_code == 1
    assert "broken: r1env-bad 0.1 (bad): ImportError: no module named x" in result.stderr


def test_the_check_finds_targets_that_cannot_be_imported() -> None:
    class Hooks:
        @staticmethod
        @hookimpl
        def r1env_rewards() -> list[RewardSpec]:
            return [RewardSpec("gone", "r1env_nowhere:gone", "")]

        @staticmethod
        @hookimpl
        def r1env_recipes() -> list[RecipeSpec]:
            return [RecipeSpec("lost", "r1env:recipes/lost.yaml", "")]

    result = CliRunner().invoke(make_app(Plugins({Provenance("p", "r1env-p", "1"): Hooks})), ["plugins", "--check"])
    assert result.exit_code == 1
    assert "broken: reward 'gone' of r1env-p 1 (p)" in result.stderr
    assert "broken: recipe 'lost' of r1env-p 1 (p): no file r1env:recipes/lost.yaml" in result.stderr


def test_environments_are_listed(r1env_program: Any) -> None:
    assert "say it again" in r1env_program("envs").stdout
    rows = json.loads(r1env_program("envs", "--json").stdout)
    assert [
        (row["name"], row["kind"], row["reward"])
        for row in rows
        if row["name"] not in ("data", "nemo-gym", "openenv", "simulated-user")
    ] == [
        ("echo", "logic", "exact"),
        ("endless", "math", "exact"),
    ]


def test_show_prints_the_prompt_as_the_model_sees_it(r1env_program: Any) -> None:
    text = r1env_program("show", "r1env/echo", "--index", 2, "--template", "r1-zero", "--rubric", "accuracy").stdout
    assert "echo-2" in text
    assert "A conversation between User and Assistant." in text
    assert "User: say 2. Assistant:" in text
    assert "exact: 1.0" in text


def test_show_speaks_json_and_takes_options(r1env_program: Any) -> None:
    shown = json.loads(r1env_program("show", "echo", "-o", "count=7", "--index", 6, "--json").stdout)
    assert (shown["task"], shown["tasks"], shown["answer"]) == ("echo-6", 7, "6")
    assert shown["prompt"] == [{"role": "user", "content": "say 6"}]
    assert shown["rubric"] == {"exact": 1.0}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ecko"], "did you mean 'echo'?"),
        (["echo", "-o", "cuont=3"], "does not take these options"),
        (["echo", "-o", "rubric=zero"], "use --rubric"),
        (["echo", "--data", "x.jsonl"], "data"),
        (["echo", "--template", "boxd"], "did you mean 'boxed'?"),
    ],
)
def test_show_refuses_what_it_does_not_know(r1env_program: Any, arguments: list[str], told: str) -> None:
    result = r1env_program("show", *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert told in result.stderr


def test_a_hostile_task_cannot_steer_the_terminal(r1env_program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = Task(id="x", prompt="\x1b[2J[red]:smile:\ud800", answer="\x07")
    monkeypatch.setattr("r1env.envs.environment.Environment.task", lambda *_: hostile)
    output = r1env_program("show", "echo").stdout
    assert "␛[2J[red]:smile:?" in output
    assert "\x1b" not in output
    assert "\x07" not in output


def test_the_version_is_one_word(r1env_program: Any) -> None:
    assert r1env_program("version").stdout == f"{__version__}\n"
    assert json.loads(r1env_program("version", "--json").stdout)["r1env"] == __version__


def checks(app_plugins: Plugins) -> tuple[int, dict[str, dict[str, str]]]:
    result = CliRunner().invoke(make_app(app_plugins), ["doctor", "--json"])
    return result.exit_code, {check["name"]: check for check in json.loads(result.stdout)}


def installed_from(monkeypatch: pytest.MonkeyPatch, recorded: str | None) -> None:
    """Let pip have recorded this as the origin of r1env."""
    real = importlib.metadata.distribution
    origin = SimpleNamespace(read_text=lambda file: recorded, requires=real("r1env").requires)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: origin if name == "r1env" else real(name))


def direct_url(folder: Path) -> str:
    return json.dumps({"url": folder.as_uri(), "dir_info": {"editable": True}})


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    installed_from(monkeypatch, direct_url(ROOT))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    requires = importlib.metadata.requires

    def without_jinja2(name: str) -> list[str] | None:
        if name == "jinja2":
            raise importlib.metadata.PackageNotFoundError(name)
        return requires(name)

    monkeypatch.setattr(importlib.metadata, "requires", without_jinja2)


@pytest.mark.usefixtures("no_torch")
def test_the_doctor_says_how_to_get_what_is_missing(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    code, found = checks(plugins)
    assert code == 0
    assert found["python"]["state"] == State.OK
    assert found["torch"] == {
        "name": "torch",
        "state": "absent",
        "detail": "not installed",
        "remedy": f"pip install {ROOT / 'trainers'}",
    }
    assert found["docker"]["state"] == State.ABSENT
    assert found["r1env[report]"]["detail"] == "missing jinja2"
    assert found["r1env[report]"]["remedy"] == f"pip install '{ROOT}[report]'"


@pytest.mark.usefixtures("no_torch")
def test_the_doctor_proposes_names_where_r1env_did_not_come_from_a_checkout(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for recorded in (None, '{"url": "https://example.org/r1env.whl", "archive_info": {}}', direct_url(tmp_path / "removed")):
        installed_from(monkeypatch, recorded)
        found = checks(plugins)[1]
        assert found["torch"]["remedy"] == "pip install torch"
        assert found["r1env[report]"]["remedy"] == "pip install 'r1env[report]'"


@pytest.mark.usefixtures("no_torch")
def test_the_doctor_lists_every_project_of_the_checkout_and_proposes_only_those(plugins: Plugins) -> None:
    paths = [path for folder in (".", "*", "plugins/*") for path in ROOT.glob(f"{folder}/pyproject.toml")]
    projects = [tomllib.loads(path.read_text("utf-8"))["project"] for path in paths]
    extras = {f"{project['name']}[{extra}]" for project in projects for extra in project.get("optional-dependencies", ())}
    names = {project["name"] for project in projects}
    found = checks(plugins)[1]
    assert names <= found.keys()
    assert {name for name in found if "[" in name} <= extras


@pytest.mark.usefixtures("no_torch")
def test_the_doctor_fails_on_a_broken_plugin() -> None:
    code, found = checks(BROKEN)
    assert code == 1
    assert found["plugins"]["state"] == State.BROKEN


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (subprocess.CompletedProcess([], 0, "27.1\n", ""), State.OK),
        (subprocess.CompletedProcess([], 1, "", "Cannot connect to the Docker daemon\n"), State.ABSENT),
        (subprocess.TimeoutExpired("docker", 10), State.BROKEN),
    ],
)
def test_the_doctor_asks_the_docker_engine(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch, answer: Any, state: State
) -> None:
    real = subprocess.run

    def run(command: Any, *rest: Any, **options: Any) -> Any:
        if "docker" not in str(command[0]):
            return real(command, *rest, **options)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/docker")
    monkeypatch.setattr(subprocess, "run", run)
    assert checks(plugins)[1]["docker"]["state"] == state


def test_new_reward_writes_where_it_is_told_and_says_what(r1env_program: Any, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    shown = r1env_program("new", "reward", "politeness", "--folder", str(folder)).stdout.splitlines()
    assert Path(shown[0]) == folder / "pyproject.toml"
    written = [Path(line) for line in shown[: shown.index("")]]
    assert all(path.is_file() for path in written)
    assert shown[-1].startswith(f"next: edit reward.py, then pip install -e {folder}")
