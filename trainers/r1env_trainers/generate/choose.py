"""The engine that a trainer samples and evaluates with."""

from __future__ import annotations

from r1env_trainers.generate.engine import LocalEngine, Sampler
from r1env_trainers.generate.options import EngineName, VLLMOptions
from r1env_trainers.generate.vllm import check_installed, sampler_beside
from r1env_trainers.model.load import LoadedModel


def check_engine(name: EngineName) -> None:
    """Refuse an engine that is not installed; starts nothing.

    Raises:
        UsageError: names the remedy.
    """
    if name == "vllm":
        check_installed()


def training_engine(
    loaded: LoadedModel, name: EngineName, options: VLLMOptions, seed: int, max_rows: int | None = None
) -> LocalEngine:
    """Return the engine that the settings name; it sees every update of `loaded`.

    Args:
        options: of vLLM, where that is the engine.
        max_rows: completions that the other engine decodes at once, see `Sampler`.

    Raises:
        UsageError: vLLM is not installed.
        EngineError: it does not start.
    """
    return LocalEngine(sampler_beside(loaded, options, seed) if name == "vllm" else Sampler(loaded, max_rows))
