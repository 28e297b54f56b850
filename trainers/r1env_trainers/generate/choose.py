"""The engine that a trainer samples and evaluates with."""

from __future__ import annotations

from typing import Protocol

from r1env.engines import Engine
from r1env_trainers.generate.engine import CompletionSampler, TransformersEngine
from r1env_trainers.generate.options import EngineName, VLLMOptions
from r1env_trainers.generate.vllm import VLLMEngine, check_installed, sampler_beside
from r1env_trainers.model.load import LoadedModel


class TrainingEngine(Engine, Protocol):
    """An engine whose completions come from a model in training, and its sampler, which gives their tokens and log-probs."""

    @property
    def sampler(self) -> CompletionSampler: ...


def check_engine(name: EngineName) -> None:
    """Refuse an engine that is not installed; starts nothing.

    Raises:
        UsageError: names the remedy.
    """
    if name == "vllm":
        check_installed()


def training_engine(
    loaded: LoadedModel, name: EngineName, options: VLLMOptions, seed: int, max_rows: int | None = None
) -> TrainingEngine:
    """The engine that the settings name; it sees every update of `loaded`.

    Args:
        options: of vLLM, where that is the engine.
        max_rows: completions that the other engine decodes at once, see `Sampler`.

    Raises:
        UsageError: vLLM is not installed.
        EngineError: it does not start.
    """
    if name == "vllm":
        return VLLMEngine(sampler_beside(loaded, options, seed))
    return TransformersEngine(loaded, max_rows)
