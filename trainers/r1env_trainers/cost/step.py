"""Seconds and bytes of the parts of a step. Pure arithmetic: work divided by speed, and constants fitted to what was measured.

The constants of a GPU were fitted to one H200 and models of 135 million to 1.5 billion parameters with about 150 tokens a row, those of
a CPU to one shared core and models of 0.4 million to 10 million. Beyond that they extrapolate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from r1env_trainers.cost.hardware import CPU, GPU, Hardware
from r1env_trainers.cost.shape import ModelShape
from r1env_trainers.micro_batches import CPU_ROWS, GPU_SHARE, GPU_TOKENS, activation_bytes

DECODING_SHARE = 0.45  # of the peak, one token a row at a time
TRAINING_SHARE = 0.65  # of the peak, in the matrix products of an update
ELEMENTWISE_BYTES = (
    480  # moved for each element of each layer's hidden state, forwards and backwards, by all that is no matrix product
)
SAMPLING_BYTES = 20  # moved for each logit: written, scaled, normalised, drawn from
LAYER_SECONDS = 1e-5  # of a decode step in a CUDA graph, however few rows
CPU_FLOPS = 50e9  # of a thread, float32
CPU_ELEMENT_SECONDS = (
    1e-7  # for each element of each layer's hidden state, forwards and backwards, by all that is no matrix product
)
CPU_LOGIT_SECONDS = 3e-8  # to draw from
CPU_LAYER_SECONDS = 1.5e-3  # of a decode step, however few rows: Python and allocations
CPU_BANDWIDTH = 7e9  # bytes of the cache a second, in attention; a virtual core beside others
VLLM_STEP_SECONDS = 0.022  # vLLM's own work for a decode step of about 1,000 rows; with CUDA graphs
VLLM_EAGER_STEP_SECONDS = 0.16  # without, in OpenRLHF, sleeping and waking included
PADDED_SHARE = 0.06  # of the peak: OpenRLHF's update without packing and flash attention
SYNC_SECONDS = 1.5  # OpenRLHF sends the weights to vLLM
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
        """Prompts and completions of all rows."""
        return self.rows * (self.prompt_tokens + self.new_tokens)


def generation_seconds(shape: ModelShape, batch: Rollouts, hardware: Hardware) -> float:
    """Of the local engine: each prompt once, then one decode step a token for all rows, none of which ends early."""
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
    """That go through the local engine's model in an update: on a CPU a prompt goes once with its completions in a micro-batch."""
    if not isinstance(hardware, CPU):
        return batch.tokens
    return batch.sampled + batch.prompts * math.ceil(batch.group / (micro_batch or CPU_ROWS)) * batch.prompt_tokens


def update_seconds(shape: ModelShape, tokens: float, predicted: float, hardware: Hardware) -> float:
    """Of the forward and backward passes over `tokens`, of which `predicted` count in the loss."""
    flops = 6 * (shape.body * tokens + shape.head * predicted)
    elements = tokens * shape.layers * shape.hidden
    if isinstance(hardware, CPU):
        return (flops / CPU_FLOPS + elements * CPU_ELEMENT_SECONDS) / hardware.threads
    flops += 2 * shape.head * predicted  # once more in the backward pass, see `linear_logprobs`
    return flops / (TRAINING_SHARE * hardware.flops) + ELEMENTWISE_BYTES * elements / hardware.bandwidth


def forward_seconds(shape: ModelShape, tokens: float, predicted: float, hardware: Hardware) -> float:
    """Of a pass without gradients, such as the reference model's: a third of an update."""
    return update_seconds(shape, tokens, predicted, hardware) / 3


def openrlhf_seconds(
    shape: ModelShape, batch: Rollouts, gpu: GPU, gpus: int, *, eager: bool, passes: int
) -> tuple[float, float]:
    """Generation, and all else, of a step of the backend `openrlhf`, shared by `gpus` without loss.

    Args:
        passes: forward passes beside the update: of the policy, and of the reference where there is one.
    """
    own = batch.new_tokens * (VLLM_EAGER_STEP_SECONDS if eager else VLLM_STEP_SECONDS)
    generation = max(own, generation_seconds(shape, batch, gpu) / gpus)
    flops = (6 + 2 * passes) * (shape.body + shape.head) * batch.tokens
    return generation, flops / (PADDED_SHARE * gpu.flops * gpus) + SYNC_SECONDS


def kv_bytes(shape: ModelShape) -> int:
    """Of keys and values of one token, in bfloat16."""
    return 2 * BF16 * shape.layers * shape.kv_width


def weights_bytes(shape: ModelShape, *, reference: bool) -> int:
    """Of a model in training with AdamW, in float32; with a frozen reference beside it."""
    return shape.parameters * (WEIGHT_BYTES + 4 * reference)


def update_bytes(shape: ModelShape, row_tokens: float, hardware: Hardware, micro_batch: int | None, held: float) -> float:
    """Of what the backward pass needs of one forward pass.

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
    """Of the keys and values of all rows, and on a GPU the weights in bfloat16. A GPU keeps both between the batches."""
    cache = batch.tokens * kv_bytes(shape)
    return 2 * cache if isinstance(hardware, CPU) else cache + BF16 * shape.parameters
