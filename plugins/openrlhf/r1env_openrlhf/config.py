"""`OpenRLHFOptions`: what the backend `openrlhf` needs to know beyond the settings of the training itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from r1env.config import validate
from r1env.trainer import BackendConfig


class OpenRLHFOptions(BaseModel):
    """Where OpenRLHF is and how it is laid out over GPUs. On a CPU (`device: cpu`) GPUs are processes.

    Attributes:
        python: interpreter of the environment that has OpenRLHF, vLLM and r1env with the plugins of the run; None for that of the
            environment variable R1ENV_OPENRLHF_PYTHON, or this one.
        ray_address: of a running Ray cluster, whose nodes see the run folder under the same path; None starts Ray on this machine.
        nodes, gpus: of the policy: `nodes` times `gpus`.
        engines, tensor_parallel: vLLM engines and the GPUs of each; None: as many as the policy's GPUs hold with `colocate`, one without.
        colocate: policy, reference and engines take turns on the same GPUs (then nodes * gpus = engines * tensor_parallel).
        gpu_memory: the share of a GPU's memory that an engine may take.
        eager: vLLM without CUDA graphs: starts a minute and a half sooner, decodes more slowly.
        zero_stage, adam_offload, gradient_checkpointing: of DeepSpeed.
        attention: `sdpa`, or `flash_attention_2` where flash-attn is installed; `packing` (no padding in batches) needs the latter.
        max_length: longest episode, prompt included, in tokens; None: the longest prompt and max_new_tokens for every turn.
        reply_tokens: with max_length None, what an environment's reply is reckoned at.
        reply_seconds: how long an environment may take to reply to a turn.
        episode_seconds: how long an episode may take with all its turns and its scoring.
        unscored: the reward of a rollout that has no score, for OpenRLHF knows numbers only.
        keep_checkpoints: how many of the newest stay.
        start_seconds: how long it may take until the first step is done.
        extra: further arguments of the command, after ours, as they are written there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: str | None = None
    ray_address: str | None = None
    nodes: int = Field(default=1, ge=1)
    gpus: int = Field(default=1, ge=1)
    engines: int | None = Field(default=None, ge=1)
    tensor_parallel: int = Field(default=1, ge=1)
    colocate: bool = True
    gpu_memory: float = Field(default=0.5, gt=0, le=1)
    eager: bool = False
    zero_stage: Literal[0, 1, 2, 3] = 2
    adam_offload: bool = False
    gradient_checkpointing: bool = False
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    packing: bool = False
    max_length: int | None = Field(default=None, ge=2)
    reply_tokens: int = Field(default=256, ge=0)
    reply_seconds: float = Field(default=30.0, gt=0)
    episode_seconds: float = Field(default=600.0, gt=0)
    unscored: float = Field(default=0.0, allow_inf_nan=False)
    keep_checkpoints: int = Field(default=2, ge=1)
    start_seconds: float = Field(default=1800.0, gt=0)
    extra: tuple[str, ...] = ()

    @property
    def engine_count(self) -> int:
        """vLLM engines."""
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
