"""Seconds of one GRPO step, phase by phase: the local engine beside plain transformers, on the device it finds.

    python benchmarks/grpo_step.py [--prompts 128 --group 8 --prompt-tokens 53 --new-tokens 96]

A Llama of 135 million parameters (SmolLM2's shape) with random weights and made-up words: speed depends on neither. The peer draws
with `generate` in the format of the matrices, and updates with transformers' own forward pass, padded batches and whole logits; its
generation gives no log-probs, no texts and no rewards. `sampled tokens/s` is of the sampler alone; `generate s` has the texts too.
Every figure is the median of `--steps` steps after two that warm up.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from r1env.envs.environment import Environment
from r1env.rewards import reward
from r1env.rubrics import Rubric, WeightedReward
from r1env.sources import ListSource
from r1env.tasks import Task
from r1env.templates import get_template
from r1env_trainers.devices import choose_device, limit_threads
from r1env_trainers.forward import TokenBatch, padded_logprobs
from r1env_trainers.grpo.advantages import group_mean
from r1env_trainers.grpo.collect import collect
from r1env_trainers.grpo.config import GRPOConfig
from r1env_trainers.grpo.losses import policy_loss
from r1env_trainers.grpo.update import update
from r1env_trainers.llama.forward import compute_dtype
from r1env_trainers.local import make_optimizer, optimizer_step
from r1env_trainers.models.load import LoadedModel
from r1env_trainers.prompts import left_pad
from r1env_trainers.sampling import Sampler, Samples

SHAPES = {  # hidden, feed-forward, layers, heads, key-value heads, vocabulary
    "135m": (576, 1536, 30, 9, 3, 49_152),
    "0.5b": (896, 4864, 24, 14, 2, 151_936),
    "1.5b": (1536, 8960, 28, 12, 2, 151_936),
    "tiny": (128, 352, 2, 4, 4, 64),
}
WARM_UP = 2
PEER_MICRO_BATCH = 128  # sequences; 28 GB for 135 million parameters


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds of one step by phase, and the tokens it drew. `sample` is the part of `generate` that is not text processing."""

    sample: float
    generate: float
    reward: float
    update: float
    tokens: float
    gap: float = float("nan")

    @property
    def whole(self) -> float:
        return self.generate + self.reward + self.update


@reward(name="parity")
def parity(completion: str) -> float:
    """Something that differs within every group, so that every row has a gradient."""
    return float(sum(map(ord, completion)) % 17)


def make_model(shape: str, context: int, device: torch.device, ending: float) -> LoadedModel:
    """Random weights in float32. A share `ending` of the vocabulary ends a completion."""
    hidden, feed_forward, layers, heads, kv_heads, vocabulary = SHAPES[shape]
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(vocabulary)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    with device:
        model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = list(range(1, 1 + round(ending * vocabulary))) or None
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", unk_token="w0", padding_side="left")
    return LoadedModel(model.eval(), tokenizer)


def make_environment(count: int, tokens: int, vocabulary: int) -> Environment:
    """Questions of so many made-up words each, one token a word."""
    draws = np.random.default_rng(0).integers(1, vocabulary, (count, tokens))
    tasks = [
        Task(id=str(i), prompt=({"role": "user", "content": " ".join(f"w{word}" for word in row)},))
        for i, row in enumerate(draws)
    ]
    return Environment("words", ListSource(tasks), Rubric("parity", [WeightedReward(parity)]), "parity", get_template("plain"))


def wait(device: torch.device) -> float:
    """The time once the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class TimedSampler(Sampler):
    """A sampler that knows how long its last batch took."""

    seconds = 0.0

    def sample(self, *args: Any, **kwargs: Any) -> Samples:
        start = wait(self.model.device)
        samples = super().sample(*args, **kwargs)
        self.seconds = wait(self.model.device) - start
        return samples


def local_engine(environment: Environment, loaded: LoadedModel, config: GRPOConfig) -> Callable[[int], Step]:
    sampler, optimizer = TimedSampler(loaded), make_optimizer(loaded, config)

    def step(number: int) -> Step:
        wait(loaded.device)
        experience = collect(environment, loaded, sampler, config, number)
        start = wait(loaded.device)
        metrics = update(loaded, optimizer, experience, config, number, None)
        end = wait(loaded.device)
        seconds, tokens = experience.seconds, float(experience.tokens.completion_mask.sum())
        return Step(sampler.seconds, seconds["generate"], seconds["reward"], end - start, tokens, metrics["logprob_gap"])

    return step


def plain_transformers(environment: Environment, loaded: LoadedModel, config: GRPOConfig) -> Callable[[int], Step]:
    model: Any = loaded.model  # transformers' decorators hide what may be called on it
    device = loaded.device
    optimizer = make_optimizer(loaded, config)
    texts = [environment.open(environment.task(i)).messages[0]["content"] for i in range(config.prompts_per_step)]
    prompts = [loaded.tokenizer(text)["input_ids"] for text in texts]
    rewards = torch.rand((config.prompts_per_step, config.group_size))
    advantages = group_mean(rewards).flatten().to(device)

    def step(number: int) -> Step:
        start = wait(device)
        ids, mask = left_pad(prompts, loaded.pad, device)
        with torch.no_grad():
            model.to(compute_dtype(device))
            drawn = model.generate(
                ids,
                attention_mask=mask,
                num_return_sequences=config.group_size,
                do_sample=True,
                top_k=0,
                max_new_tokens=config.max_new_tokens,
            )
            model.to(torch.float32)
        generated = wait(device)
        completions = drawn[:, ids.shape[1] :]
        batch = TokenBatch(
            ids.repeat_interleave(config.group_size, dim=0),
            mask.repeat_interleave(config.group_size, dim=0),
            completions,
            (completions != loaded.pad).float(),
        )
        tokens = float(batch.completion_mask.sum())
        for rows in torch.arange(len(batch), device=device).split(config.micro_batch_size or PEER_MICRO_BATCH):
            logprobs = padded_logprobs(model, batch.select(rows), config.temperature)
            some = batch.completion_mask[rows, : logprobs.shape[1]]
            losses = policy_loss(logprobs, logprobs.detach(), advantages[rows], clip_low=0.2, clip_high=0.28)
            ((losses * some).sum() / tokens).backward()
        optimizer_step(loaded, optimizer, config, number, total=config.steps)
        seconds = generated - start
        return Step(seconds, seconds, 0.0, wait(device) - generated, tokens)

    return step


def measure(step: Callable[[int], Step], steps: int, device: torch.device) -> tuple[float, list[Step], float]:
    """Seconds of the warm-up, the steps after it, and the peak of memory in GB (0 on a CPU)."""
    start = time.perf_counter()
    for number in range(WARM_UP):
        step(number)
    warm_up = wait(device) - start
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    done = [step(WARM_UP + number) for number in range(steps)]
    return warm_up, done, torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--group", type=int, default=8, help="completions a prompt")
    parser.add_argument("--prompt-tokens", type=int, default=53)
    parser.add_argument("--new-tokens", type=int, default=96)
    parser.add_argument("--ending", type=float, default=0.0, help="chance of each token to end its completion")
    parser.add_argument("--micro-batch", type=int, help="sequences a forward pass of the update (default: the engine's choice)")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--no-peer", action="store_true", help="leave plain transformers out")
    arguments = parser.parse_args()
    device = choose_device("auto")
    config = GRPOConfig(
        model="random",
        env="words",
        prompts_per_step=arguments.prompts,
        group_size=arguments.group,
        max_new_tokens=arguments.new_tokens,
        micro_batch_size=arguments.micro_batch,
    )
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU"
    print(f"{where}, torch {torch.__version__}, transformers {transformers.__version__}")
    print(
        f"{arguments.shape}: {arguments.prompts} prompts of {arguments.prompt_tokens} tokens x {arguments.group} completions "
        f"of at most {arguments.new_tokens} tokens\n"
    )
    print("| | sampled tokens/s | generate s | reward s | update s | whole step s | peak GB | log-prob gap | warm-up s |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    ways = {"local engine": local_engine} | ({} if arguments.no_peer else {"plain transformers": plain_transformers})
    for name, way in ways.items():
        context = arguments.prompt_tokens + arguments.new_tokens
        loaded = make_model(arguments.shape, context, device, arguments.ending)
        limit_threads(loaded.parameters, None)
        environment = make_environment(arguments.prompts, arguments.prompt_tokens, SHAPES[arguments.shape][-1])
        warm_up, steps, peak = measure(way(environment, loaded, config), arguments.steps, device)
        middle = {
            field: statistics.median(getattr(s, field) for s in steps) for field in ("generate", "reward", "update", "gap")
        }
        rate = statistics.median(s.tokens / s.sample for s in steps)
        whole = statistics.median(s.whole for s in steps)
        print(
            f"| {name} | {rate:,.0f} | {middle['generate']:.3f} | {middle['reward']:.3f} | {middle['update']:.3f} "
            f"| {whole:.3f} | {peak:.1f} | {middle['gap']:.4f} | {warm_up:.0f} |",
            flush=True,
        )
        del loaded


if __name__ == "__main__":
    main()
