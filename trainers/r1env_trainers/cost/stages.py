"""What the stages of `grpo` and `sft` cost by their settings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from r1env.envs.suite import Suite
from r1env.recipes import Estimate
from r1env_trainers.cost import step
from r1env_trainers.cost.hardware import CPU, GPU, GPUS, Hardware, hardware_of
from r1env_trainers.cost.shape import ModelShape, shape_of
from r1env_trainers.devices import SMALL_MODEL, choose_device
from r1env_trainers.grpo.config import GRPOConfig
from r1env_trainers.local import LocalConfig
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.rows import Demonstration

LOOKED_AT = 8  # tasks or demonstrations whose lengths stand for all
SMALL_VOCABULARY = 1_000  # below it a token is taken for a character
CHARACTERS = 4.0  # of a token otherwise: English text, within a third


def estimate_grpo(config: GRPOConfig, suite: Suite) -> Estimate | None:
    """All steps of a stage, every completion as long as it may be: an upper bound where completions end by themselves.

    Refilled batches, later turns and evaluation are not counted.
    """
    shape = shape_of(config.model)
    hardware = _hardware(config, shape)
    if shape is None or hardware is None:
        return None
    prompt_tokens = _mean_tokens([_prompt(suite, position, config.seed) for position in range(LOOKED_AT)], shape)
    tokens = seconds = 0.0
    for length, steps in _lengths(config):
        batch = step.Rollouts(config.prompts_per_step, config.group_size, prompt_tokens, length)
        tokens += steps * batch.sampled
        seconds += steps * grpo_step_seconds(shape, batch, hardware, config)
    longest = step.Rollouts(
        config.prompts_per_step, config.group_size, prompt_tokens, max(length for length, _ in _lengths(config))
    )
    basis = f"{_named(hardware)}, prompts of {prompt_tokens:.0f} tokens, completions as long as they may be"
    if config.backend == "openrlhf":
        basis += f"; {_gpus(config)} GPUs by one measured point"
    return Estimate(tokens, seconds, grpo_bytes(shape, longest, hardware, config), basis)


def grpo_step_seconds(shape: ModelShape, batch: step.Rollouts, hardware: Hardware, config: GRPOConfig) -> float:
    """Generation, and the update with the forward passes that the settings ask for; scoring costs nothing here."""
    old = config.mini_batches > 1 or config.kl_in == "reward"
    passes = int(old) + int(config.needs_reference)
    if config.backend == "openrlhf" and isinstance(hardware, GPU):
        eager = config.openrlhf.eager
        return sum(step.openrlhf_seconds(shape, batch, hardware, _gpus(config), eager=eager, passes=1 + config.needs_reference))
    tokens = step.update_tokens(batch, hardware, config.micro_batch_size)
    return (
        step.generation_seconds(shape, batch, hardware)
        + step.update_seconds(shape, tokens, batch.sampled, hardware)
        + passes * step.forward_seconds(shape, tokens, batch.sampled, hardware)
    )


def grpo_bytes(shape: ModelShape, batch: step.Rollouts, hardware: Hardware, config: GRPOConfig) -> float:
    """At the peak, in the update; a GPU still holds what decodes."""
    held = step.weights_bytes(shape, reference=config.needs_reference)
    row = batch.prompt_tokens + batch.new_tokens
    if isinstance(hardware, CPU):
        learning = step.update_bytes(shape, row, hardware, config.micro_batch_size, held)
        return held + max(learning, step.decoding_bytes(shape, batch, hardware))
    kept = held + step.decoding_bytes(shape, batch, hardware)
    return kept + step.update_bytes(shape, row, hardware, config.micro_batch_size, kept)


def estimate_sft(config: SFTConfig, demonstrations: Sequence[Demonstration], steps: int) -> Estimate | None:
    """All steps of a stage, without what it measures in between.

    Args:
        demonstrations: some of them; their lengths stand for all.
    """
    shape = shape_of(config.model)
    hardware = _hardware(config, shape)
    if shape is None or hardware is None:
        return None
    responses = _mean_tokens([one.response for one in demonstrations], shape)
    prompts = _mean_tokens(["\n".join(message["content"] for message in one.prompt) for one in demonstrations], shape)
    row = prompts + responses
    held = step.weights_bytes(shape, reference=False)
    micro_batch = round(config.micro_batch_tokens / row) if config.micro_batch_tokens else config.micro_batch_size
    return Estimate(
        tokens=steps * config.batch_size * row,
        seconds=steps * step.update_seconds(shape, config.batch_size * row, config.batch_size * responses, hardware),
        memory_bytes=held + step.update_bytes(shape, row, hardware, micro_batch, held),
        basis=f"{_named(hardware)}, demonstrations of {row:.0f} tokens",
    )


def _hardware(config: LocalConfig, shape: ModelShape | None) -> Hardware | None:
    if isinstance(config, GRPOConfig | SFTConfig) and config.backend == "openrlhf" and config.device != "cpu":
        return GPUS[0]  # the cluster's are not known here
    small = shape is not None and shape.parameters < SMALL_MODEL
    return hardware_of(choose_device(config.device), config.threads or (1 if small else None))


def _lengths(config: GRPOConfig) -> list[tuple[int, int]]:
    """(max_new_tokens, for how many steps), along the length schedule."""
    changes = sorted({0, *(start for start in config.length_schedule if start < config.steps), config.steps})
    return [(config.max_new_tokens_at(start), end - start) for start, end in itertools.pairwise(changes)]


def _prompt(suite: Suite, position: int, seed: int) -> str:
    environment, task = suite.at(position, seed)
    return "\n".join(message["content"] for message in environment.open(task).messages)


def _mean_tokens(texts: Sequence[str], shape: ModelShape) -> float:
    return sum(map(len, texts)) / len(texts) / (1.0 if shape.vocabulary < SMALL_VOCABULARY else CHARACTERS)


def _gpus(config: GRPOConfig) -> int:
    return config.openrlhf.nodes * config.openrlhf.gpus


def _named(hardware: Hardware) -> str:
    if isinstance(hardware, GPU):
        return f"one {hardware.name}"
    return "one CPU thread" if hardware.threads == 1 else f"{hardware.threads} CPU threads"
