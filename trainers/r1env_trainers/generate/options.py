"""Settings of engines: their names, and vLLM inside this process."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from r1env.config import Settings
from r1env.hooks import EngineSpec
from r1env.trainer import registered

EngineName = Annotated[str, registered(EngineSpec)]


class VLLMOptions(Settings):
    """Of vLLM in this process."""

    gpu_memory_utilization: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="Share of the GPU's memory for vLLM, weights included; 0.3 beside a trainer, 0.9 suits evaluation.",
        json_schema_extra={"source": "TRL's default"},
    )
    max_num_seqs: int = Field(
        default=1024, ge=1, description="Sequences in flight; vLLM's own 256 leaves a large GPU idle with a small model."
    )
    max_model_len: int | None = Field(
        default=None, ge=1, description="Most tokens of prompt and completion together; null: what the model was made for."
    )
    enforce_eager: bool = Field(default=False, description="No CUDA graphs and no compilation: starts sooner, decodes slower.")
    sleep: bool = Field(
        default=False, description="Free all memory between batches (vLLM's sleep level 2), for models that fill the GPU."
    )
    further: dict[str, Any] = Field(default_factory=dict, description="Any other arguments of vllm.LLM, by their names there.")
