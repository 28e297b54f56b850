"""Seconds and bytes of the parts of a step. Pure arithmetic: work divided by speed, and constants fitted to what was measured.

The shapes of models, and the bytes of their weights in training, are in `model.memory`.

The constants of a GPU were fitted to one H200 and models of 135 million to 1.5 billion parameters with about 150 tokens a row, in
generation also with 1,024 new tokens; those of a CPU to one shared core and models of 0.4 million to 10 million. Beyond that they extrapolate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from r1env.envs.suite import Suite
from r1env.trainer import Estimate
from r1env_trainers.model.batching import CPU_ROWS, GPU_SHARE, GPU_TOKENS
from r1env_trainers.model.load import SMALL_MODEL, choose_device
from r1env_trainers.model.memory import ModelShape, adapter_parameters, held_bytes, memory_of, shape_of, token_bytes
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.rollouts import training_suite
from r1env_trainers.settings import LocalConfig
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.data import open_demonstrations, steps_of, waits_for_a_stage
from r1env_trainers.sft.render import as_text

DECODING_SHARE = 0.45  # of the peak, one token a row at a time
TRAINING_SHARE = 0.65  # of the peak, in the matrix products of an update
ELEMENTWISE_BYTES = (
    480  # moved for each element of each layer's hidden state, forwards and backwards, by all that is no matrix product
)
SAMPLING_BYTES = 12  # moved for each logit: written, read, and time to draw that counts as bytes
LAYER_SECONDS = 2.4e-5  # of a decode step in a CUDA graph, however few rows
CPU_FLOPS = 50e9  # of a thread, float32
CPU_ELEMENT_SECONDS = (
    1e-7  # for each element of each layer's hidden state, forwards and backwards, by all that is no matrix product
)
CPU_LOGIT_SECONDS = 3e-8  # to draw from
CPU_LAYER_SECONDS = 1.5e-3  # of a decode step, however few rows: Python and allocations
CPU_BANDWIDTH = 7e9  # bytes of the cache a second, in attention; a virtual core beside others
BF16 = 2
MERGING_BYTES = 18  # moved for each weight: read, added to and rounded, by way of float32
RECOMPUTED = 2  # operations a weight and token that a pass does once more


@dataclass(frozen=True, slots=True)
class Rollouts:
    """A batch: `prompts` times `group` completions, with the mean length of a prompt and of a completion, in tokens."""

    prompts: int
    group: int
    prompt_tokens: float
    new_tokens: float

    @property
    def rows(self) -> int:
        return self.prompts * self.group

    @property
    def sampled(self) -> float:
        return self.rows * self.new_tokens

    @property
    def tokens(self) -> float:
        """The tokens of all rows, prompts and completions."""
        return self.rows * (self.prompt_tokens + self.new_tokens)


@dataclass(frozen=True, slots=True)
class Way:
    """How a model is trained.

    Attributes:
        adapters: parameters of low-rank adapters; 0 where all weights are trained.
        recomputing: every layer is computed again in the backward pass (`gradient_checkpointing`).
    """

    adapters: float = 0.0
    recomputing: bool = False

    @classmethod
    def of(cls, shape: ModelShape, config: LocalConfig) -> Way:
        return cls(adapter_parameters(shape, config.lora), config.gradient_checkpointing)


ALL_WEIGHTS = Way()


def generation_seconds(shape: ModelShape, batch: Rollouts, hardware: Hardware, way: Way = ALL_WEIGHTS) -> float:
    """Return the seconds of generation by the local engine: each prompt once, then one decode step per token for all rows, none of which ends early.

    Adapters are merged into the weights that decode, which takes a pass over all weights before each batch.
    """
    prefill = 2 * shape.body * batch.prompts * batch.prompt_tokens
    flops = 2 * (shape.body + shape.head) * batch.rows  # of a decode step
    context = batch.prompt_tokens + batch.new_tokens / 2
    if isinstance(hardware, CPU):
        rate = CPU_FLOPS * hardware.threads
        cache = 2 * batch.rows * kv_bytes(shape) * context  # float32
        drawing = batch.rows * shape.vocabulary * CPU_LOGIT_SECONDS
        step = flops / rate + cache / CPU_BANDWIDTH + drawing + shape.layers * CPU_LAYER_SECONDS
        return prefill / rate + batch.new_tokens * step
    read = BF16 * (shape.body + shape.head) + batch.rows * (kv_bytes(shape) * context + SAMPLING_BYTES * shape.vocabulary)
    merging = MERGING_BYTES * shape.body / hardware.bandwidth if way.adapters else 0.0
    step = flops / (DECODING_SHARE * hardware.flops) + read / hardware.bandwidth + shape.layers * LAYER_SECONDS
    return merging + prefill / (TRAINING_SHARE * hardware.flops) + batch.new_tokens * step


def update_tokens(batch: Rollouts, hardware: Hardware, micro_batch: int | None) -> float:
    """Return the tokens that an update computes: on a CPU a prompt is computed once for its completions in a micro-batch."""
    if not isinstance(hardware, CPU):
        return batch.tokens
    return batch.sampled + batch.prompts * math.ceil(batch.group / (micro_batch or CPU_ROWS)) * batch.prompt_tokens


def update_seconds(shape: ModelShape, tokens: float, predicted: float, hardware: Hardware, way: Way = ALL_WEIGHTS) -> float:
    """Return the seconds of the forward and backward passes over `tokens`, of which `predicted` count in the loss."""
    once = 6.0 if not way.adapters else 4.0  # frozen weights have no gradient
    flops = (once + RECOMPUTED * way.recomputing) * shape.body * tokens + once * shape.head * predicted
    flops += (6 + RECOMPUTED * way.recomputing) * way.adapters * tokens
    elements = tokens * shape.layers * shape.hidden
    if isinstance(hardware, CPU):
        return (flops / CPU_FLOPS + elements * CPU_ELEMENT_SECONDS) / hardware.threads
    flops += 2 * shape.head * predicted  # once more in the backward pass, see `linear_logprobs`
    return flops / (TRAINING_SHARE * hardware.flops) + ELEMENTWISE_BYTES * elements / hardware.bandwidth


def forward_seconds(shape: ModelShape, tokens: float, predicted: float, hardware: Hardware) -> float:
    """Return the seconds of a pass without gradients, such as the reference model's: a third of an update."""
    return update_seconds(shape, tokens, predicted, hardware) / 3


def kv_bytes(shape: ModelShape) -> int:
    """Return the bytes of the keys and values of one token in bfloat16."""
    return 2 * BF16 * shape.layers * shape.kv_width


def update_bytes(
    shape: ModelShape, row_tokens: float, hardware: Hardware, micro_batch: int | None, held: float, way: Way = ALL_WEIGHTS
) -> float:
    """Return the bytes that the backward pass needs of a forward pass.

    Args:
        row_tokens: of a sequence.
        micro_batch: sequences; None for what `micro_batches` chooses.
        held: bytes that weights and caches have taken.
    """
    kept = token_bytes(shape, checkpointing=way.recomputing)
    if isinstance(hardware, CPU):
        return 2 * kept * row_tokens * (micro_batch or CPU_ROWS)  # float32
    if micro_batch is not None:
        return kept * row_tokens * micro_batch
    tokens = min(GPU_TOKENS, max(row_tokens, GPU_SHARE * max(0.0, hardware.memory - held) / kept))  # see `_token_budget`
    return kept * tokens


def rounded_bytes(shape: ModelShape, hardware: Hardware, way: Way) -> float:
    """Return the bytes of the weights in bfloat16 that a GPU keeps from the forward pass for the backward pass: of all layers, or of one."""
    if isinstance(hardware, CPU):
        return 0.0
    return BF16 * (shape.body / (shape.layers if way.recomputing else 1) + shape.head)


def decoding_bytes(shape: ModelShape, batch: Rollouts, hardware: Hardware) -> float:
    """Return the bytes of the keys and values of all rows, and on a GPU of the weights in bfloat16. A GPU keeps both between batches."""
    cache = batch.tokens * kv_bytes(shape)
    return 2 * cache if isinstance(hardware, CPU) else cache + BF16 * shape.parameters


def least_bytes(shape: ModelShape, row_tokens: float, hardware: Hardware, config: LocalConfig, *, sampling: bool) -> float:
    """Return the bytes without which a stage cannot run: what is held, and one sequence in the backward pass.

    Args:
        sampling: whether the stage also decodes, for which a GPU holds the weights in bfloat16.
    """
    way = replace(Way.of(shape, config), recomputing=True)  # where memory is short it does so by itself
    decoding = BF16 * shape.parameters if sampling and isinstance(hardware, GPU) else 0.0
    one_row = update_bytes(shape, row_tokens, hardware, 1, 0.0, way)
    return held_bytes(shape, config) + decoding + rounded_bytes(shape, hardware, way) + one_row


# What the stages of `grpo` and `sft` cost by their settings.

LOOKED_AT = 8  # tasks or demonstrations whose lengths stand for all
SMALL_VOCABULARY = 1_000  # below it a token is taken for a character
CHARACTERS = 4.0  # of a token otherwise: English text, within a third


StepSeconds = Callable[["ModelShape", Rollouts, "Hardware", GRPOConfig], float]
"""Seconds of one step, from the sizes of the model and of the batch."""


def estimate_grpo(config: GRPOConfig) -> Estimate | None:
    """Estimate all steps of a stage, every completion as long as it may be: an upper bound where completions end by themselves.

    Batches that dynamic sampling draws again, later turns and evaluation are not counted. None with a critic, whose cost was never
    measured.
    """
    if config.algo.advantage == "gae":
        return None
    return estimate_rollouts(config, hardware_for(config), grpo_step_seconds)


def estimate_rollouts(
    config: GRPOConfig, hardware: Hardware | None, step_seconds: StepSeconds, basis: str = ""
) -> Estimate | None:
    """Estimate a stage whose steps take `step_seconds(shape, batch, hardware, config)`. `basis` ends the note on what was assumed."""
    shape = shape_of(config.model)
    if shape is None or hardware is None:
        return None
    suite = training_suite(config)
    prompt_tokens = _mean_tokens([_prompt(suite, position, config.seed) for position in range(LOOKED_AT)], shape)
    tokens = seconds = 0.0
    for length, steps in _lengths(config):
        batch = Rollouts(config.sampling.prompts_per_step, config.sampling.group_size, prompt_tokens, length)
        tokens += steps * batch.sampled
        seconds += steps * step_seconds(shape, batch, hardware, config)
    longest = Rollouts(
        config.sampling.prompts_per_step,
        config.sampling.group_size,
        prompt_tokens,
        max(length for length, _ in _lengths(config)),
    )
    basis = f"{_named(hardware)}, prompts of {prompt_tokens:.0f} tokens, completions as long as they may be{basis}"
    least = least_bytes(shape, prompt_tokens + longest.new_tokens, hardware, config, sampling=True)
    return Estimate(
        tokens,
        seconds,
        grpo_bytes(shape, longest, hardware, config),
        basis + _unmeasured(config, hardware),
        least,
        hardware.memory,
    )


def grpo_step_seconds(shape: ModelShape, batch: Rollouts, hardware: Hardware, config: GRPOConfig) -> float:
    """Return the seconds of generation, and of the update with the forward passes that the settings ask for; scoring is taken as free."""
    old = config.optim.updates_per_step > 1 or config.algo.penalizes_kl
    passes = int(old) + int(config.algo.needs_reference)
    way = Way.of(shape, config)
    tokens = update_tokens(batch, hardware, config.optim.micro_batch_size)
    return (
        generation_seconds(shape, batch, hardware, way)
        + config.optim.epochs * update_seconds(shape, tokens, batch.sampled, hardware, way)
        + passes * forward_seconds(shape, tokens, batch.sampled, hardware)
    )


def grpo_bytes(shape: ModelShape, batch: Rollouts, hardware: Hardware, config: GRPOConfig) -> float:
    """Return the bytes at the peak, in the update, when a GPU still holds what decodes."""
    way, held = Way.of(shape, config), held_bytes(shape, config)
    row, rows = batch.prompt_tokens + batch.new_tokens, config.optim.micro_batch_size
    decoding = decoding_bytes(shape, batch, hardware)
    if isinstance(hardware, CPU):
        return held + max(update_bytes(shape, row, hardware, rows, held, way), decoding)
    return held + decoding + update_bytes(shape, row, hardware, rows, held + decoding, way)


def estimate_sft(config: SFTConfig) -> Estimate | None:
    """Estimate all steps of a stage, without what it measures in between. The lengths of a few demonstrations stand for all."""
    return None if waits_for_a_stage(config) else estimate_tuning(config, hardware_for(config))


def estimate_tuning(config: SFTConfig, hardware: Hardware | None) -> Estimate | None:
    """Estimate a stage of SFT on given hardware; None where model or hardware are not known."""
    shape = shape_of(config.model)
    if shape is None or hardware is None:
        return None
    learnt = open_demonstrations(config)
    demonstrations, steps = [learnt.at(i) for i in range(LOOKED_AT)], steps_of(config, learnt)
    responses = _mean_tokens([as_text(one.response) for one in demonstrations], shape)
    prompts = _mean_tokens(["\n".join(message["content"] for message in one.prompt) for one in demonstrations], shape)
    row = prompts + responses
    way = Way.of(shape, config)
    micro_batch = (
        round(config.optim.micro_batch_tokens / row) if config.optim.micro_batch_tokens else config.optim.micro_batch_size
    )
    return Estimate(
        tokens=steps * config.optim.batch_size * row,
        seconds=steps
        * update_seconds(shape, config.optim.batch_size * row, config.optim.batch_size * responses, hardware, way),
        memory_bytes=tuning_bytes(shape, row, hardware, micro_batch, config),
        basis=f"{_named(hardware)}, demonstrations of {row:.0f} tokens{_unmeasured(config, hardware)}",
        least_bytes=least_bytes(shape, row, hardware, config, sampling=False),
        available_bytes=hardware.memory,
    )


def tuning_bytes(shape: ModelShape, row: float, hardware: Hardware, micro_batch: int | None, config: LocalConfig) -> float:
    """Return the bytes of SFT at the peak, in the backward pass over sequences of `row` tokens."""
    way, held = Way.of(shape, config), held_bytes(shape, config)
    rounded = rounded_bytes(shape, hardware, way)
    return held + rounded + update_bytes(shape, row, hardware, micro_batch, held + rounded, way)


def hardware_for(config: LocalConfig) -> Hardware | None:
    """Return the hardware that the settings choose on this machine; None for a GPU that is not in the table."""
    shape = shape_of(config.model)
    small = shape is not None and shape.parameters < SMALL_MODEL
    return hardware_of(choose_device(config.device), config.threads or (1 if small else None), config.memory_gb)


def _lengths(config: GRPOConfig) -> list[tuple[int, int]]:
    """Return (max_new_tokens, number of steps) for each stretch of the length schedule."""
    changes = sorted({0, *(start for start in config.sampling.length_schedule if start < config.steps), config.steps})
    return [(config.sampling.max_new_tokens_at(start), end - start) for start, end in itertools.pairwise(changes)]


def _prompt(suite: Suite, position: int, seed: int) -> str:
    environment, task = suite.at(position, seed)
    return "\n".join(message["content"] for message in environment.open(task).messages)


def _mean_tokens(texts: Sequence[str], shape: ModelShape) -> float:
    return sum(map(len, texts)) / len(texts) / (1.0 if shape.vocabulary < SMALL_VOCABULARY else CHARACTERS)


def _unmeasured(config: LocalConfig, hardware: Hardware) -> str:
    return "; adapters on a GPU were not measured" if config.lora.rank and isinstance(hardware, GPU) else ""


def _named(hardware: Hardware) -> str:
    if isinstance(hardware, GPU):
        return f"one {hardware.name}"
    return "one CPU thread" if hardware.threads == 1 else f"{hardware.threads} CPU threads"


# What a machine can do, by its data sheet.


@dataclass(frozen=True, slots=True)
class GPU:
    """Dense bfloat16 operations a second, bytes a second from its memory, bytes of memory."""

    name: str
    flops: float
    bandwidth: float
    memory: float


@dataclass(frozen=True, slots=True)
class CPU:
    """Threads that compute. Their speed is one constant, see `step`: rates of processors differ by less than machines' loads do.

    Attributes:
        memory: bytes of the machine.
    """

    threads: int = 1
    memory: float = math.inf


Hardware = GPU | CPU

GPUS = (
    GPU("H200", 989e12, 4.8e12, 141e9),
    GPU("H100", 989e12, 3.35e12, 80e9),
    GPU("A100", 312e12, 2.0e12, 80e9),
    GPU("L40S", 362e12, 0.86e12, 48e9),
    GPU("A10G", 70e12, 0.6e12, 24e9),
    GPU("4090", 165e12, 1.0e12, 24e9),
)
"""NVIDIA's data sheets: bfloat16 without sparsity. The name is a part of what the driver calls the device."""


def hardware_of(device: torch.device, threads: int | None, memory_gb: float | None = None) -> Hardware | None:
    """Return this machine's hardware, with the memory that it has or may take; None for a GPU that is not in the table."""
    memory = memory_of(device, memory_gb)
    if device.type != "cuda":
        return CPU(threads or torch.get_num_threads(), memory)
    name = torch.cuda.get_device_name(device)
    return next((replace(gpu, memory=memory) for gpu in GPUS if gpu.name in name), None)
