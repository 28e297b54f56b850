"""`OpenRLHFOptions`: what the backend `openrlhf` needs to know beyond the settings of the training itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from r1env.config import Settings, validate
from r1env.trainer import BackendConfig


class OpenRLHFOptions(Settings):
    """Where OpenRLHF is and how it is laid out over GPUs. On a CPU (`device: cpu`) GPUs are processes."""

    python: str | None = Field(
        default=None,
        description="Interpreter with OpenRLHF, vLLM and r1env; null: that of R1ENV_OPENRLHF_PYTHON, or this one.",
    )
    ray_address: str | None = Field(
        default=None,
        description="A running Ray cluster whose nodes see the run folder under the same path; null: start Ray on this machine.",
    )
    nodes: int = Field(default=1, ge=1, description="Machines of the policy.")
    gpus: int = Field(default=1, ge=1, description="GPUs of the policy per machine.")
    engines: int | None = Field(
        default=None, ge=1, description="vLLM engines; null: as many as the policy's GPUs hold with colocate, else one."
    )
    tensor_parallel: int = Field(default=1, ge=1, description="GPUs per engine.")
    colocate: bool = Field(
        default=True,
        description="Policy, reference and engines take turns on the same GPUs (nodes * gpus = engines * tensor_parallel).",
    )
    gpu_memory: float = Field(default=0.5, gt=0, le=1, description="Share of a GPU's memory that an engine may take.")
    eager: bool = Field(
        default=False, description="vLLM without CUDA graphs: starts a minute and a half sooner, decodes slower."
    )
    zero_stage: Literal[0, 1, 2, 3] = Field(default=2, description="DeepSpeed's ZeRO stage.")
    adam_offload: bool = Field(default=False, description="Keep AdamW's state in the CPU's memory.")
    gradient_checkpointing: bool = Field(default=False, description="Recompute activations in the backward pass.")
    attention: Literal["sdpa", "eager", "flash_attention_2"] = Field(
        default="sdpa", description="Attention kernel; flash_attention_2 needs flash-attn."
    )
    packing: bool = Field(default=False, description="No padding in batches; needs attention=flash_attention_2.")
    max_length: int | None = Field(
        default=None,
        ge=2,
        description="Most tokens of an episode, prompt included; null: the longest prompt plus max_new_tokens for every turn.",
    )
    reply_tokens: int = Field(
        default=256, ge=0, description="With max_length=null, tokens that an environment's reply is taken to have."
    )
    reply_seconds: float = Field(default=30.0, gt=0, description="Longest time an environment may take to reply to a turn.")
    episode_seconds: float = Field(
        default=600.0, gt=0, description="Longest time of an episode, all turns and scoring included."
    )
    unscored: float = Field(
        default=0.0, allow_inf_nan=False, description="Reward of a rollout without a score; OpenRLHF knows only numbers."
    )
    keep_checkpoints: int = Field(default=2, ge=1, description="Newest checkpoints to keep.")
    start_seconds: float = Field(default=1800.0, gt=0, description="Longest time until the first step is done.")
    extra: tuple[str, ...] = Field(default=(), description="Further arguments of the OpenRLHF command, after ours.")

    @property
    def engine_count(self) -> int:
        """The number of vLLM engines."""
        if self.engines is not None:
            return self.engines
        return max(1, self.nodes * self.gpus // self.tensor_parallel) if self.colocate else 1


def options_of(config: BackendConfig) -> OpenRLHFOptions:
    """Return the backend's options in a trainer's settings.

    Raises:
        UsageError: an option is unknown or out of range.
    """
    return validate(OpenRLHFOptions, config.backend_options, where="openrlhf options")


# `JobSpec`: what crosses from our process to the one that runs OpenRLHF, which may have another interpreter.


class JobSpec(BaseModel):
    """An OpenRLHF command and where it runs.

    Attributes:
        module, arguments: of `python -m module arguments…`.
        environment: variables of the command and of every Ray worker.
        ray_address: of a running cluster; None starts one on this machine.
        logical_gpus: what the started cluster believes to have; None lets Ray look.
        logical_cpus: at least so many.
        object_store_bytes: of the started cluster; None for Ray's own choice.
        ranks: run the module in so many processes of torch's launcher instead, on this machine and without Ray.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    ray_address: str | None = None
    logical_gpus: int | None = None
    logical_cpus: int = 1
    object_store_bytes: int | None = None
    ranks: int | None = None
