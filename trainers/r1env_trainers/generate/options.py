"""Settings of vLLM inside this process."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

EngineName = Literal["transformers", "vllm"]


class VLLMOptions(BaseModel):
    """What vLLM is started with.

    Attributes:
        gpu_memory_utilization: the share of the GPU's memory that vLLM may take, its weights and graphs included. Beside a trainer 0.3,
            which is also TRL's default; 0.9 suits evaluation.
        max_num_seqs: sequences in flight. vLLM's own default of 256 leaves a large GPU idle with a small model.
        max_model_len: tokens of prompt and completion together; None for what the model was made for.
        enforce_eager: no CUDA graphs and no compilation: starts sooner, decodes slower.
        sleep: give all memory back between two batches (vLLM's sleep level 2), for models that fill the GPU.
        further: any other arguments of `vllm.LLM`, by their names there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu_memory_utilization: float = Field(default=0.3, gt=0, le=1)
    max_num_seqs: int = Field(default=1024, ge=1)
    max_model_len: int | None = Field(default=None, ge=1)
    enforce_eager: bool = False
    sleep: bool = False
    further: dict[str, Any] = Field(default_factory=dict)
