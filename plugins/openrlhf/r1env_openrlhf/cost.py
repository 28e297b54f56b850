"""Cost estimates of stages that OpenRLHF runs, with constants fitted to one measured point on an H200."""

from __future__ import annotations

from r1env.trainer import Estimate, TrainerConfig
from r1env_openrlhf.config import options_of
from r1env_trainers.cost import (
    GPU,
    GPUS,
    Hardware,
    Rollouts,
    estimate_rollouts,
    estimate_tuning,
    generation_seconds,
    grpo_step_seconds,
    hardware_for,
)
from r1env_trainers.model.memory import ModelShape
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.sft.config import SFTConfig

SYNC_SECONDS = 1.5  # OpenRLHF sends the weights to vLLM
PADDED_SHARE = 0.06  # of the peak: OpenRLHF's update without packing and flash attention
VLLM_EAGER_STEP_SECONDS = 0.16  # without, in OpenRLHF, sleeping and waking included
VLLM_STEP_SECONDS = 0.022  # vLLM's own work for a decode step of about 1,000 rows; with CUDA graphs


def estimate(config: TrainerConfig) -> Estimate | None:
    """Estimate a stage of GRPO or SFT. The cluster's GPUs are not known here, so they are taken to be H200s."""
    if isinstance(config, SFTConfig):
        return estimate_tuning(config, hardware_for(config) if config.device == "cpu" else GPUS[0])
    assert isinstance(config, GRPOConfig)
    if config.device == "cpu":
        return estimate_rollouts(config, hardware_for(config), grpo_step_seconds)
    options = options_of(config)
    gpus = options.nodes * options.gpus

    def step_seconds(shape: ModelShape, batch: Rollouts, hardware: Hardware, config: GRPOConfig) -> float:
        assert isinstance(hardware, GPU)
        passes = 1 + config.algo.needs_reference
        return sum(openrlhf_seconds(shape, batch, hardware, gpus, eager=options.eager, passes=passes))

    return estimate_rollouts(config, GPUS[0], step_seconds, f"; {gpus} GPUs by one measured point")


def openrlhf_seconds(
    shape: ModelShape, batch: Rollouts, gpu: GPU, gpus: int, *, eager: bool, passes: int
) -> tuple[float, float]:
    """Return the seconds of generation and of everything else in a step of the backend `openrlhf`, divided evenly among `gpus`.

    Args:
        passes: forward passes beside the update: of the policy, and of the reference where there is one.
    """
    own = batch.new_tokens * (VLLM_EAGER_STEP_SECONDS if eager else VLLM_STEP_SECONDS)
    generation = max(own, generation_seconds(shape, batch, gpu) / gpus)
    flops = (6 + 2 * passes) * (shape.body + shape.head) * batch.tokens
    return generation, flops / (PADDED_SHARE * gpu.flops * gpus) + SYNC_SECONDS
