"""The engine `vllm`: completions from a vLLM in this process, for models large enough to make it the better choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from r1env.engines import Sampling
from r1env.errors import UsageError
from r1env.types import Completion, Conversation
from r1env_trainers.devices import choose_device
from r1env_trainers.engine import as_completions
from r1env_trainers.engines.vllm_options import VLLMOptions
from r1env_trainers.engines.vllm_sampler import VLLMSampler, sampler_beside, sampler_of_folder
from r1env_trainers.models.load import NAMED, check_model_name, load_model
from r1env_trainers.prompts import encode_prompt

EVALUATION_SHARE = 0.9
"""Of the GPU's memory, where no trainer needs any."""


class VLLMEngine:
    """All prompts go to vLLM at once: it keeps its own queue."""

    def __init__(self, sampler: VLLMSampler) -> None:
        self.sampler = sampler

    def generate(self, prompts: Sequence[Conversation], sampling: Sampling) -> list[list[Completion]]:
        samples = self.sampler.sample(
            [encode_prompt(self.sampler.tokenizer, prompt, chat=sampling.chat) for prompt in prompts],
            n=sampling.n,
            max_new_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=sampling.stop,
            seed=sampling.seed,
        )
        rows = as_completions(samples, self.sampler.decode(samples))
        return [rows[start : start + sampling.n] for start in range(0, len(rows), sampling.n)]

    def close(self) -> None:
        self.sampler.close()


def make_vllm(model: str, *, seed: int = 0, **options: Any) -> VLLMEngine:
    """The entry of the engine plugin.

    Args:
        options: fields of `VLLMOptions`.
    """
    check_model_name(model)
    try:
        settings = VLLMOptions(**{"gpu_memory_utilization": EVALUATION_SHARE, **options})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UsageError(f"options of the engine 'vllm': {wrong}") from error
    if settings.sleep:
        raise UsageError("the engine 'vllm' sleeps beside a trainer only; leave the option 'sleep' out")
    if model in NAMED:  # not a folder that vLLM could read
        return VLLMEngine(sampler_beside(load_model(model, device=choose_device("auto"), seed=seed), settings, seed))
    return VLLMEngine(sampler_of_folder(model, settings, seed))
