"""r1env: environments, rewards and trainers for reasoning models, as plugins.

    import gymnasium, r1env

    env = gymnasium.make("r1env/sort-4")
    observation, info = env.reset(seed=0)
    _, reward, terminated, _, info = env.step("<think>…</think><answer>0147</answer>")

Importing the package is cheap: names are loaded when they are first used. Environments are registered as soon as both r1env and
Gymnasium have been imported, in either order.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from r1env import moved
from r1env.envs.autoregister import register_with_gymnasium

__version__ = "0.1.0"

if TYPE_CHECKING:
    from r1env.api import evaluate, train
    from r1env.data.sources import TaskSource
    from r1env.envs.environment import Environment, make_environment
    from r1env.errors import R1EnvError, UsageError
    from r1env.hooks import (
        AdvantageSpec,
        CommandSpec,
        EngineSpec,
        EnvironmentSpec,
        Fixture,
        KLEstimatorSpec,
        LossAggregationSpec,
        LossSpec,
        PolicyRatioSpec,
        RecipeSpec,
        ReportSpec,
        RewardSpec,
        RubricPresetSpec,
        SuiteSpec,
        TemplateSpec,
        ToolParserSpec,
        TrackerSpec,
        TrainerSpec,
        hookimpl,
    )
    from r1env.plugins import get_reward, installed
    from r1env.prompts import parse_response
    from r1env.rewards import Isolation, Limits, Reward, reward
    from r1env.rubrics import Rubric, WeightedReward
    from r1env.scoring import ascore, score
    from r1env.types import Completion, FinishReason, Message, Rollout, Score, Status, Task, TaskKind, Turn

_HOME = {
    "r1env.api": ("evaluate", "train"),
    "r1env.envs.environment": ("Environment", "make_environment"),
    "r1env.errors": ("R1EnvError", "UsageError"),
    "r1env.hooks": (
        "AdvantageSpec",
        "CommandSpec",
        "EngineSpec",
        "EnvironmentSpec",
        "Fixture",
        "KLEstimatorSpec",
        "LossAggregationSpec",
        "LossSpec",
        "PolicyRatioSpec",
        "RecipeSpec",
        "ReportSpec",
        "RewardSpec",
        "RubricPresetSpec",
        "SuiteSpec",
        "TemplateSpec",
        "ToolParserSpec",
        "TrackerSpec",
        "TrainerSpec",
        "hookimpl",
    ),
    "r1env.prompts": ("parse_response",),
    "r1env.plugins": ("get_reward", "installed"),
    "r1env.rewards": ("Isolation", "Limits", "Reward", "reward"),
    "r1env.rubrics": ("Rubric", "WeightedReward"),
    "r1env.scoring": ("ascore", "score"),
    "r1env.data.sources": ("TaskSource",),
    "r1env.types": ("Completion", "FinishReason", "Message", "Rollout", "Score", "Status", "Task", "TaskKind", "Turn"),
}
"""Where each public name lives; a test holds it against the imports above."""

_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "AdvantageSpec",
    "CommandSpec",
    "Completion",
    "EngineSpec",
    "Environment",
    "EnvironmentSpec",
    "FinishReason",
    "Fixture",
    "Isolation",
    "KLEstimatorSpec",
    "Limits",
    "LossAggregationSpec",
    "LossSpec",
    "Message",
    "PolicyRatioSpec",
    "R1EnvError",
    "RecipeSpec",
    "ReportSpec",
    "Reward",
    "RewardSpec",
    "Rollout",
    "Rubric",
    "RubricPresetSpec",
    "Score",
    "Status",
    "SuiteSpec",
    "Task",
    "TaskKind",
    "TaskSource",
    "TemplateSpec",
    "ToolParserSpec",
    "TrackerSpec",
    "TrainerSpec",
    "Turn",
    "UsageError",
    "WeightedReward",
    "__version__",
    "ascore",
    "evaluate",
    "get_reward",
    "hookimpl",
    "installed",
    "make_environment",
    "parse_response",
    "reward",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'r1env' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})


register_with_gymnasium()
moved.redirect(moved.CORE)
