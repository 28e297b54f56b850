"""A stranger's plugin, made in memory: rewards, an environment, a trainer, a recipe and commands, all without a model."""

import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, ClassVar

import pytest
import typer
from typer.testing import CliRunner, Result

import r1env
import r1env.builtin
from r1env.cli.main import make_app
from r1env.data.sources import GeneratedSource, ListSource, TaskSource
from r1env.errors import TrainingStoppedError, UsageError
from r1env.hooks import CommandSpec, EngineSpec, EnvironmentSpec, RecipeSpec, RewardSpec, TrainerSpec, hookimpl
from r1env.plugins import Plugins, Provenance
from r1env.runs.run import Run
from r1env.trainer import TrainerConfig
from r1env.types import Rollout, Task, TaskKind

MODULE = "r1env_stranger"
RECIPE = """
name: two-steps
summary: warm up, then learn
presets:
  tiny:
    stages:
      - {name: warm, trainer: counter, config: {model: nothing, steps: 2}}
      - {name: learn, trainer: counter, config: {steps: 4, env: echo}}
"""


@r1env.reward(name="exact")
def exact(completion: str, answer: str, *, ignore_case: bool = False) -> float:
    """1 where completion and answer are the same."""
    return float(completion.lower() == answer.lower()) if ignore_case else float(completion == answer)


@r1env.reward(name="detail", parts=("a", "b"))
def detail(rollout: Rollout) -> dict[str, float]:
    """Shows what it was given."""
    if rollout.completion == "raise":
        raise RuntimeError("as asked")
    return {"a": float(len(rollout.task.tests)), "b": float(rollout.task.metadata.get("bonus", 0))}


@r1env.reward(name="abstain")
def abstain(completion: str) -> float | None:
    """Never has an opinion."""
    return None


def echo_tasks(count: int = 3) -> TaskSource:
    return ListSource([Task(id=f"echo-{i}", prompt=f"say {i}", answer=str(i), kind=TaskKind.LOGIC) for i in range(count)])


def endless_tasks() -> TaskSource:
    return GeneratedSource(lambda rng: Task(id=str(rng.integers(1 << 30)), prompt="say", answer="yes"))


class ObedientEngine:
    """Answers `say X` with X; told by its options to be wrong about every n-th prompt."""

    def __init__(self, wrong_every: int) -> None:
        self.wrong_every = wrong_every

    def generate(self, prompts: Any, sampling: Any) -> Any:
        texts = [prompt[-1]["content"].removeprefix("say ") for prompt in prompts]
        if self.wrong_every:
            texts = [text if (i + 1) % self.wrong_every else "wrong" for i, text in enumerate(texts)]
        return [[r1env.Completion(text=text)] * sampling.n for text in texts]

    def close(self) -> None: ...


def make_obedient(model: str, *, wrong_every: int = 0) -> ObedientEngine:
    return ObedientEngine(wrong_every)


class CounterConfig(TrainerConfig):
    steps: int = 3
    env: str | None = None
    fail_at: int = -1
    how: str = "interrupt"

    presets: ClassVar[Mapping[str, Any]] = {"quick": {"model": "nothing", "steps": 1}}


FAULTS: Mapping[str, BaseException] = {
    "interrupt": KeyboardInterrupt(),
    "stop": TrainingStoppedError("30% of a step cannot be scored"),
    "bug": ZeroDivisionError("oops"),
}


class Counter:
    """Logs numbers that look like learning, checkpoints every step, and fails when told to."""

    def check(self, config: CounterConfig) -> None:
        if config.model == "missing":
            raise UsageError("unknown model 'missing'; did you mean 'nothing'?")

    def train(self, config: CounterConfig, run: Run) -> None:
        saved = run.checkpoint_dir / "step"
        first = int(saved.read_text()) if saved.exists() else 0
        if first == 0 and config.env:
            run.log(0, {"eval/accuracy": 0.125})
        for step in range(first, config.steps):
            if step == config.fail_at and not (run.path / "failed").exists():
                (run.path / "failed").touch()
                raise FAULTS[config.how]
            run.log(step + 1, {"reward": step / 10, "parts/exact": step / 10, "loss": 1.0, "unscored": 0})
            run.log_rollouts(step + 1, [{"task_id": "echo-1", "prompt": "say 1", "completion": "1"}])
            saved.write_text(str(step + 1))
        if config.env:
            run.log(config.steps, {"eval/accuracy": 0.875})
        run.model_dir().mkdir()


def greet(name: str = "you") -> None:
    """Greet somebody.

    \b
    Example:
      r1env greet --name me
    """
    typer.echo(f"hello {name}")


def fault() -> None:
    """Fail in a way that nobody foresaw."""
    raise RuntimeError("first line\nsecond line")


def interrupt() -> None:
    """Be interrupted."""
    raise KeyboardInterrupt


class Hooks:
    """The plugin object."""

    @staticmethod
    @hookimpl
    def r1env_rewards() -> list[RewardSpec]:
        return [RewardSpec(name, f"{MODULE}:{name}", f"about {name}") for name in ("exact", "detail", "abstain")]

    @staticmethod
    @hookimpl
    def r1env_environments() -> list[EnvironmentSpec]:
        return [
            EnvironmentSpec("echo", f"{MODULE}:echo_tasks", "exact", "say it again", kind="logic"),
            EnvironmentSpec("endless", f"{MODULE}:endless_tasks", "exact", "never ends"),
        ]

    @staticmethod
    @hookimpl
    def r1env_engines() -> list[EngineSpec]:
        return [EngineSpec("obedient", f"{MODULE}:make_obedient", "does what it is told")]

    @staticmethod
    @hookimpl
    def r1env_trainers() -> list[TrainerSpec]:
        return [TrainerSpec("counter", f"{MODULE}:CounterConfig", f"{MODULE}:Counter", "counts", ("quick",))]

    @staticmethod
    @hookimpl
    def r1env_recipes() -> list[RecipeSpec]:
        return [RecipeSpec("two-steps", "r1env_stranger_files:two-steps.yaml", "warm up, then learn", ("tiny",))]

    @staticmethod
    @hookimpl
    def r1env_commands() -> list[CommandSpec]:
        return [CommandSpec(name, f"{MODULE}:{name}", f"{name}s") for name in ("greet", "fault", "interrupt")]


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugins]:
    module = ModuleType(MODULE)
    module.__dict__.update(globals())
    monkeypatch.setitem(sys.modules, MODULE, module)
    package = tmp_path_factory.mktemp("site") / "r1env_stranger_files"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "two-steps.yaml").write_text(RECIPE)
    monkeypatch.syspath_prepend(package.parent)
    yield Plugins({Provenance("stranger", "r1env-stranger", "2.5"): Hooks, Provenance("r1env", "r1env", "0"): r1env.builtin})
    sys.modules.pop("r1env_stranger_files", None)


class Program:
    """`r1env` over the stranger's plugin, in this process."""

    def __init__(self, plugins: Plugins) -> None:
        self.app = make_app(plugins)

    def __call__(self, *arguments: object, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(self.app, [str(argument) for argument in arguments], input=stdin, prog_name="r1env")


@pytest.fixture
def r1env_program(plugins: Plugins) -> Program:
    return Program(plugins)
