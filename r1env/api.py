"""Training and evaluation from Python, with the same objects as the command line. Works in notebooks.

import r1env

def brief(completion: str) -> float:
    return 1.0 if len(completion) < 200 else 0.0

run = r1env.train("grpo", model="tiny", env="sort-4", rewards=["accuracy", (brief, 0.1)], steps=5)
result = r1env.evaluate(run.model_dir("grpo"), "sort-4", limit=64)
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from r1env.engines import Engine, SamplingParams
from r1env.envs.environment import Environment
from r1env.errors import UsageError
from r1env.evaluation.evaluate import Evaluation
from r1env.evaluation.evaluate import evaluate as evaluate_with
from r1env.evaluation.plan import EvaluationPlan
from r1env.evaluation.run import EvaluationRun
from r1env.hooks import EnvironmentSpec
from r1env.importing import import_target
from r1env.monitoring.monitor import Monitor
from r1env.plugins import Plugins, installed
from r1env.prompts import PromptTemplate
from r1env.recipes import Plan, check_plan, continuation, execute, plan_training, stored_plan, with_absolute_paths
from r1env.rewards import Reward
from r1env.rubrics import Rubric, RubricSpec
from r1env.runs.files import unused_path
from r1env.runs.run import Listener, Run

logger = logging.getLogger(__name__)

RewardLike = str | Reward | Callable[..., Any] | tuple[str | Reward | Callable[..., Any], float]
"""A reward by name or import string, as an object or as a function; with its weight as a pair."""


def train(
    name: str = "",
    *,
    preset: str | None = None,
    rewards: Sequence[RewardLike] = (),
    output: str | Path | None = None,
    resume: str | Path | None = None,
    listeners: Sequence[Listener] = (),
    plugins: Plugins | None = None,
    **settings: Any,
) -> Run:
    """Train a model and return the finished run.

    Args:
        name: a trainer (`grpo`, `sft`, …), a recipe, or the path of a recipe file.
        preset: name of a preset, a set of settings that the trainer or recipe provides.
        rewards: names, functions or `Reward` objects, or pairs of one of these and its weight. They replace the setting `rubric`.
            `"accuracy"` is the environment's own checker.
        output: the run's folder; by default a new one in `runs/`.
        resume: continue the run in this folder. Its settings are used again; settings given here override those that may change after
            a run has started. `steps=60` extends a finished run, for example.
        listeners: functions that are called with the event of every step; see `Run.subscribe`.
        settings: for a trainer: `steps=5`, `optim={"lr": 1e-4}` or `**{"optim.lr": 1e-4}`. For a recipe: `model`, `env`, `steps`, `seed`, and
            the settings of its stages by stage name: `rl={"steps": 5}`. A setting that takes a name also takes the object itself: an
            `EnvironmentSpec` as `env`, a function as `algo={"loss": my_loss}` or as a prompt template.

    Raises:
        UsageError: a name, setting or reward is wrong. Nothing has been written.
        TrainingStoppedError: training cannot continue meaningfully. The last checkpoint is complete, and `resume` continues from it.

    Example:
        >>> run = train("grpo", preset="tiny-cpu", steps=5)  # doctest: +SKIP
        >>> run.metrics("grpo")[-1]["reward"]  # doctest: +SKIP
    """
    plugins = plugins or installed()
    if resume is not None:
        if name or preset or rewards or output:
            raise UsageError(f"resume takes the recipe, its preset, the rewards and the folder from {resume}; leave them out")
        run = Run.open(Path(resume))
        names = [stage.name for stage in stored_plan(run, plugins).stages]
        of_stages = settings if len(names) == 1 else {key: value for key, value in settings.items() if key in names}
        common = {key: value for key, value in settings.items() if key not in of_stages}
        further = continuation(run, overrides=of_stages, common=common, plugins=plugins)
        plan = further.plan
    else:
        plan = _plan(name, preset, rewards, settings, plugins)
    check_plan(plan, plugins)
    if resume is None:
        run = create_run(plan, output, ["r1env.train", name])
    elif further.changes:
        logger.warning("%s goes on with changed settings: %s", run.path, "; ".join(further.changes))
        with run.locked():
            run.change_plan(plan.model_dump(mode="json"), again=further.again)
    run.subscribe(Monitor(run, lambda event, alert: logger.warning("%s, step %d: %s", event.stage, event.step, alert)))
    for listener in listeners:
        run.subscribe(listener)
    execute(plan, run, plugins)
    return run


def evaluate(
    model: str | Path,
    env: str | Environment | EnvironmentSpec,
    *,
    engine: str | Engine = "transformers",
    engine_options: Mapping[str, Any] | None = None,
    rewards: Sequence[RewardLike] = (),
    params: SamplingParams | None = None,
    limit: int | None = None,
    seed: int = 0,
    output: str | Path | None = None,
    plugins: Plugins | None = None,
    **options: Any,
) -> Evaluation:
    """Evaluate a model on the split `test` of an environment, or on all its tasks if it has no splits.

    Args:
        model: a folder or a name that the engine knows.
        env: the name of an environment, an `EnvironmentSpec`, or an `Environment`.
        engine: the name of an engine, or an engine. An engine that is passed as an object is not closed.
        rewards: computed in addition to the environment's own checker. The accuracy is always that of the checker.
        params: sampling parameters; by default DeepSeek-R1's protocol (temperature 0.6, top-p 0.95).
        limit: number of tasks. The default is all of them, or 100 if the environment generates tasks without end.
        output: save the evaluation in this folder, as `r1env eval --output` does; each completion is written as soon as it is scored.
            `r1env compare`, `table`, `report`, `scaling` and `rescore` read the folder. `r1env eval --resume` completes it if model,
            engine and environment were given by name.
        options: options of the environment, as in `make_environment`: `split="train"`, `data="file.jsonl"`, `template="boxed"`.

    Raises:
        UsageError: a name or option is wrong.
        RunFolderError: `output` exists and is not an empty folder.

    Example:
        >>> evaluate("", "add-1digit", engine="scripted", engine_options={"text": "7"}, limit=10).accuracy  # doctest: +SKIP
    """
    plugins = plugins or installed()
    given = _with_references(options)
    if isinstance(given.get("data"), str | Path) and Path(given["data"]).exists():
        given["data"] = str(Path(given["data"]).resolve())
    plan = EvaluationPlan(
        models=(str(model),),
        env=(env.name if isinstance(env, Environment) else reference_to(env),),
        engine=engine if isinstance(engine, str) else type(engine).__name__,
        engine_options=engine_options or {},
        env_options={} if isinstance(env, Environment) else {key: given[key] for key in given.keys() - {"template"}},
        template=given.get("template"),
        rubric=_rubric(["accuracy", *rewards]) if rewards else "accuracy",
        sampling=params or SamplingParams(seed=seed),
        limit=limit,
        seed=seed,
    )
    [environment] = [env] if isinstance(env, Environment) else plan.open(plugins)
    run = None
    if output is not None:
        run = EvaluationRun.create(
            Path(output), plan.settings([environment]), seed=seed, command=["r1env.evaluate", str(model)]
        )
    with contextlib.ExitStack() as stack:
        if isinstance(engine, str):
            made: Engine = import_target(plugins.engine(engine).target)(str(model), **(engine_options or {}))
            source = stack.enter_context(contextlib.closing(made))
        else:
            source = engine
        if run is not None:
            stack.enter_context(run.writing())
        found = evaluate_with(
            environment,
            source,
            plan.sampling,
            limit=plan.limit_of(environment),
            seed=seed,
            keep=None if run is None else partial(run.append, str(model), environment.name),
        )
        if run is not None:
            run.finish({(str(model), environment.name): found})
        return found


def create_run(plan: Plan, output: str | Path | None, command: Sequence[str]) -> Run:
    """Create a run of the plan in the folder `output`, or in a new folder in `runs/` if that is None. Paths are stored as absolute paths."""
    folder = Path(output) if output is not None else new_folder(Path("runs"), plan, time.strftime("%Y%m%d-%H%M%S"))
    return Run.create(
        folder, with_absolute_paths(plan.model_dump(mode="json")), seed=int(plan.stages[0].config["seed"]), command=command
    )


def new_folder(parent: Path, plan: Plan, stamp: str) -> Path:
    """Return a path in `parent` that does not exist yet, named after the plan."""
    return unused_path(parent, "-".join(part for part in (plan.name, plan.preset, stamp) if part))


def _plan(name: str, preset: str | None, rewards: Sequence[RewardLike], settings: Mapping[str, Any], plugins: Plugins) -> Plan:
    if not name:
        raise UsageError(f"name what to train: {', '.join([*plugins.provided('recipes'), *plugins.provided('trainers')])}")
    given = _with_references(settings)
    if rewards:
        given["rubric"] = _rubric(rewards).model_dump(mode="json")
    if name in plugins.provided("trainers"):
        return plan_training(name, preset=preset, overrides=given, plugins=plugins)
    stages = {key: value for key, value in given.items() if isinstance(value, Mapping) and key != "rubric"}
    common = {key: value for key, value in given.items() if key not in stages}
    return plan_training(name, preset=preset, overrides=stages, common=common, plugins=plugins)


def _rubric(rewards: Sequence[RewardLike]) -> RubricSpec:
    weighted = [one if isinstance(one, tuple) else (one, 1.0) for one in rewards]
    return RubricSpec.model_validate(
        {
            "name": "python",
            "rewards": [{"reward": _reference_to_reward(reward), "weight": weight} for reward, weight in weighted],
        }
    )


def _reference_to_reward(reward: str | Reward | Callable[..., Any]) -> str:
    if isinstance(reward, Rubric) or not (isinstance(reward, str) or callable(getattr(reward, "function", reward))):
        raise UsageError(f"a reward is a name, a function or a Reward, not a {type(reward).__name__}")
    return reference_to(reward)


def _with_references(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with every object replaced by a name that settings can hold."""

    def named(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: named(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [named(inner) for inner in value]
        return reference_to(value) if callable(value) or isinstance(value, OBJECTS) else value

    return {key: named(value) for key, value in settings.items()}


# Objects that settings name: a run's config.yaml keeps names, so that it can be resumed.

HERE = "r1env.here"
"""The module that holds objects without an import path, such as functions of a notebook. It lives as long as the process."""


OBJECTS = (EnvironmentSpec, PromptTemplate, Reward, Rubric)
"""What settings name that is no function."""


def reference_to(thing: object) -> str:
    """Return a name by which settings find an object: its import path if it has one, else a name in `r1env.here`. Return a name unchanged.

    A run that refers to `r1env.here` can be resumed in this process only; in any other, the module does not exist.
    """
    if isinstance(thing, str):
        return thing
    function = getattr(thing, "function", thing)
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if module in sys.modules and module != "__main__" and getattr(sys.modules[module], name, None) in (thing, function):
        return f"{module}:{name}"
    here = sys.modules.setdefault(HERE, ModuleType(HERE, "Objects that were given in Python and have no import path."))
    own = getattr(thing, "name", None) or name.rpartition(".")[2].strip("<>") or "reward"
    free = next(key for key in (own, *(f"{own}_{number}" for number in range(2, 10_000))) if getattr(here, key, thing) is thing)
    setattr(here, free, thing)
    return f"{HERE}:{free}"
