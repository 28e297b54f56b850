"""Settings of engines: their names, and vLLM inside this process."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from r1env.hooks import EngineSpec
from r1env.trainer import registered

EngineName = Annotated[str, registered(EngineSpec)]


class VLLMOptions(BaseModel):
    """Arguments that vLLM is started with.

    Attributes:
        gpu_memory_utilization: the share of the GPU's memory that vLLM may take, weights and graphs included. The default 0.3 leaves
            room for a trainer (TRL's default as well); use 0.9 for evaluation.
        max_num_seqs: sequences in flight. vLLM's own default of 256 leaves a large GPU idle with a small model.
        max_model_len: tokens of prompt and completion together; None for the model's context.
        enforce_eager: no CUDA graphs and no compilation: faster start, slower decoding.
        sleep: free all memory between two batches (vLLM's sleep level 2), for models that fill the GPU.
        further: any other arguments of `vllm.LLM`, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu_memory_utilization: float = Field(default=0.3, gt=0, le=1)
    max_num_seqs: int = Field(default=1024, ge=1)
    max_model_len: int | None = Field(default=None, ge=1)
    enforce_eager: bool = False
    sleep: bool = False
    further: dict[str, Any] = Field(default_factory=dict)
