"""Seconds and bytes of the parts of a step. Pure arithmetic: work divided by speed, and constants fitted to what was measured.

The constants of a GPU were fitted to one H200 and models of 135 million to 1.5 billion parameters with about 150 tokens a row, in
generation also with 1,024 new tokens; those of a CPU to one shared core and models of 0.4 million to 10 million. Beyond that they extrapolate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig

from r1env.envs.suite import Suite
from r1env.trainer import Estimate
from r1env_trainers.model import tiny
from r1env_trainers.model.batching import CPU_ROWS, GPU_SHARE, GPU_TOKENS, activation_bytes
from r1env_trainers.model.load import SMALL_MODEL, choose_device
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
WEIGHT_BYTES = 16  # of a parameter in training: float32 weight, gradient, two moments
BF16 = 2


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


def generation_seconds(shape: ModelShape, batch: Rollouts, hardware: Hardware) -> float:
    """Return the seconds of generation by the local engine: each prompt once, then one decode step per token for all rows, none of which ends early."""
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
    step = flops / (DECODING_SHARE * hardware.flops) + read / hardware.bandwidth + shape.layers * LAYER_SECONDS
    return prefill / (TRAINING_SHARE * hardware.flops) + batch.new_tokens * step


def update_tokens(batch: Rollouts, hardware: Hardware, micro_batch: int | None) -> float:
    """Return the tokens that an update computes: on a CPU a prompt is computed once for its completions in a micro-batch."""
    if not isinstance(hardware, CPU):
        return batch.tokens
    return batch.sampled + batch.prompts * math.ceil(batch.group / (micro_batch or CPU_ROWS)) * batch.prompt_tokens


def update_seconds(shape: ModelShape, tokens: float, predicted: float, hardware: Hardware) -> float:
    """Return the seconds of the forward and backward passes over `tokens`, of which `predicted` count in the loss."""
    flops = 6 * (shape.body * tokens + shape.head * predicted)
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


def weights_bytes(shape: ModelShape, *, reference: bool) -> int:
    """Return the bytes of a model trained with AdamW in float32, and of a frozen reference beside it."""
    return shape.parameters * (WEIGHT_BYTES + 4 * reference)


def update_bytes(shape: ModelShape, row_tokens: float, hardware: Hardware, micro_batch: int | None, held: float) -> float:
    """Return the bytes that the backward pass needs of a forward pass.

    Args:
        row_tokens: of a sequence.
        micro_batch: sequences; None for what `micro_batches` chooses.
        held: bytes that weights and caches have taken.
    """
    token = activation_bytes(shape.layers, shape.hidden, shape.feed_forward)
    if isinstance(hardware, CPU):
        return 2 * token * row_tokens * (micro_batch or CPU_ROWS)  # float32
    if micro_batch is not None:
        return token * row_tokens * micro_batch
    return min(GPU_TOKENS * token, GPU_SHARE * max(0.0, hardware.memory - held))


def decoding_bytes(shape: ModelShape, batch: Rollouts, hardware: Hardware) -> float:
    """Return the bytes of the keys and values of all rows, and on a GPU of the weights in bfloat16. A GPU keeps both between batches."""
    cache = batch.tokens * kv_bytes(shape)
    return 2 * cache if isinstance(hardware, CPU) else cache + BF16 * shape.parameters


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
    return Estimate(tokens, seconds, grpo_bytes(shape, longest, hardware, config), basis)


def grpo_step_seconds(shape: ModelShape, batch: Rollouts, hardware: Hardware, config: GRPOConfig) -> float:
    """Return the seconds of generation, and of the update with the forward passes that the settings ask for; scoring is taken as free."""
    old = config.optim.updates_per_step > 1 or config.algo.penalizes_kl
    passes = int(old) + int(config.algo.needs_reference)
    tokens = update_tokens(batch, hardware, config.optim.micro_batch_size)
    return (
        generation_seconds(shape, batch, hardware)
        + config.optim.epochs * update_seconds(shape, tokens, batch.sampled, hardware)
        + passes * forward_seconds(shape, tokens, batch.sampled, hardware)
    )


def grpo_bytes(shape: ModelShape, batch: Rollouts, hardware: Hardware, config: GRPOConfig) -> float:
    """At the peak, in the update; a GPU still holds what decodes."""
    held = weights_bytes(shape, reference=config.algo.needs_reference)
    row = batch.prompt_tokens + batch.new_tokens
    if isinstance(hardware, CPU):
        learning = update_bytes(shape, row, hardware, config.optim.micro_batch_size, held)
        return held + max(learning, decoding_bytes(shape, batch, hardware))
    kept = held + decoding_bytes(shape, batch, hardware)
    return kept + update_bytes(shape, row, hardware, config.optim.micro_batch_size, kept)


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
    held = weights_bytes(shape, reference=False)
    micro_batch = (
        round(config.optim.micro_batch_tokens / row) if config.optim.micro_batch_tokens else config.optim.micro_batch_size
    )
    return Estimate(
        tokens=steps * config.optim.batch_size * row,
        seconds=steps * update_seconds(shape, config.optim.batch_size * row, config.optim.batch_size * responses, hardware),
        memory_bytes=held + update_bytes(shape, row, hardware, micro_batch, held),
        basis=f"{_named(hardware)}, demonstrations of {row:.0f} tokens",
    )


def hardware_for(config: LocalConfig) -> Hardware | None:
    """Return the hardware that the settings choose on this machine; None for a GPU that is not in the table."""
    shape = shape_of(config.model)
    small = shape is not None and shape.parameters < SMALL_MODEL
    return hardware_of(choose_device(config.device), config.threads or (1 if small else None))


def _lengths(config: GRPOConfig) -> list[tuple[int, int]]:
    """Return (max_new_tokens, number of steps) for each stretch of the length schedule."""
    changes = sorted({0, *(start for start in config.sampling.length_schedule if start < config.steps), config.steps})
    return [(config.sampling.max_new_tokens_at(start), end - start) for start, end in itertools.pairwise(changes)]


def _prompt(suite: Suite, position: int, seed: int) -> str:
    environment, task = suite.at(position, seed)
    return "\n".join(message["content"] for message in environment.open(task).messages)


def _mean_tokens(texts: Sequence[str], shape: ModelShape) -> float:
    return sum(map(len, texts)) / len(texts) / (1.0 if shape.vocabulary < SMALL_VOCABULARY else CHARACTERS)


def _named(hardware: Hardware) -> str:
    if isinstance(hardware, GPU):
        return f"one {hardware.name}"
    return "one CPU thread" if hardware.threads == 1 else f"{hardware.threads} CPU threads"


# The sizes of a decoder that decide what it costs.


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A Llama-shaped decoder; others are close enough to be reckoned as one.

    Attributes:
        tied: the head is the embedding.
        head_dim: the numbers of an attention head; None for `hidden / heads`.
    """

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool = True
    head_dim: int | None = None

    @classmethod
    def of(cls, config: PretrainedConfig) -> ModelShape:
        settings: Any = config
        return cls(
            hidden=settings.hidden_size,
            feed_forward=getattr(settings, "intermediate_size", None) or 4 * settings.hidden_size,
            layers=settings.num_hidden_layers,
            heads=settings.num_attention_heads,
            kv_heads=getattr(settings, "num_key_value_heads", None) or settings.num_attention_heads,
            vocabulary=settings.vocab_size,
            tied=bool(settings.tie_word_embeddings),
            head_dim=getattr(settings, "head_dim", None),
        )

    @property
    def kv_width(self) -> int:
        """The numbers in the keys of one token and layer, and in its values."""
        return self.kv_heads * self.head_width

    @property
    def head_width(self) -> int:
        return self.head_dim or self.hidden // self.heads

    @property
    def body(self) -> int:
        """The parameters of the layers, which every token is multiplied with."""
        attention = 2 * self.hidden * self.heads * self.head_width + 2 * self.hidden * self.kv_width
        return self.layers * (attention + 3 * self.hidden * self.feed_forward)

    @property
    def head(self) -> int:
        """The parameters of the head."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        return self.body + self.head * (1 if self.tied else 2)


SMOLLM2_135M = ModelShape(hidden=576, feed_forward=1536, layers=30, heads=9, kv_heads=3, vocabulary=49_152)
GEMMA3_270M = ModelShape(hidden=640, feed_forward=2048, layers=18, heads=4, kv_heads=1, vocabulary=262_144, head_dim=256)
FROM_WHEELS = {"smollm2-135m": SMOLLM2_135M, "gemma3-270m": GEMMA3_270M}


def shape_of(name: str) -> ModelShape | None:
    """Return the shape of a model that `load_model` would take. Reads no weights and asks no hub; None where that does not suffice."""
    if name in FROM_WHEELS:
        return FROM_WHEELS[name]
    if name in BUILT_HERE:
        return ModelShape.of(BUILT_HERE[name]()[0].config)
    if not Path(name).is_dir() and "/" not in name:
        return None
    try:
        return ModelShape.of(AutoConfig.from_pretrained(name, local_files_only=True))
    except (OSError, ValueError, AttributeError):  # not here; no configuration; of no decoder
        return None


BUILT_HERE = {
    "tiny": tiny.build,
    "tiny-1m": tiny.build_1m,
    "tiny-2m": tiny.build_2m,
    "tiny-gpt2": tiny.build_gpt2,
    "tiny-tools": tiny.build_tools,
}
"""Made in milliseconds, so that their sizes need no second table."""


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
    """Threads that compute. Their speed is one constant, see `step`: rates of processors differ by less than machines' loads do."""

    threads: int = 1


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


def hardware_of(device: torch.device, threads: int | None) -> Hardware | None:
    """Return this machine's hardware; None for a GPU that is not in the table."""
    if device.type != "cuda":
        return CPU(threads or torch.get_num_threads())
    name = torch.cuda.get_device_name(device)
    return next((gpu for gpu in GPUS if gpu.name in name), None)
