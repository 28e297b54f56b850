"""Seconds of one GRPO or SFT step, phase by phase: the local engine beside others, on the device it finds.

    python benchmarks/grpo_step.py [--ways local,vllm,plain,trl] [--prompts 128 --group 8 --prompt-tokens 53 --new-tokens 96]
    python benchmarks/grpo_step.py --ways local,sft --shape llama-3.1-8b --lora 32 --prompts 16 --prompt-tokens 256 --new-tokens 1024
    python benchmarks/grpo_step.py --ways sft --shape qwen2.5-7b --optimizer adamw8bit --checkpointing --prompts 16

A Llama of 135 million parameters (SmolLM2's shape) with random weights and made-up words: speed depends on neither. Nothing is
downloaded for the published shapes either. The ways:

    local   the local engine
    sft     a step of supervised fine-tuning on as many rows of the same lengths; its `sampled tokens/s` are those of the responses learned
    vllm    the same loop, whose tokens a vLLM in the same process draws, with the weights pushed into it before every batch
    plain   transformers' `generate` in the format of the matrices, and an update with its own forward pass, padded batches and whole
            logits; its generation gives no log-probs, no texts and no rewards
    trl     TRL's GRPOTrainer with its colocated vLLM, its defaults but for what the shape asks for
    openrlhf  `openrlhf.cli.train_ppo_ray` on one GPU, policy and vLLM colocated; its own figures of each phase

`sampled tokens/s` is of the sampler alone, pushed weights included; `generate s` has the texts too. Every figure is the median of
`--steps` steps after two that warm up. Each way runs in a process of its own, so that none holds another's memory.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    TrainerCallback,
)

from r1env.data.sources import ListSource
from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.plugins import installed
from r1env.rewards import reward
from r1env.rubrics import Rubric, WeightedReward
from r1env.types import Task
from r1env_trainers.generate.choose import training_engine
from r1env_trainers.generate.engine import CompletionSampler, LocalEngine, Samples
from r1env_trainers.generate.options import EngineName, VLLMOptions
from r1env_trainers.model.batching import checkpoint_layers, left_pad
from r1env_trainers.model.llama import compute_dtype
from r1env_trainers.model.load import LoadedModel, choose_device, limit_memory, limit_threads
from r1env_trainers.model.logprobs import TokenBatch, padded_logprobs
from r1env_trainers.model.lora import with_adapters
from r1env_trainers.model.session import make_optimizer, optimizer_step
from r1env_trainers.rl.advantages import group_mean
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.losses import policy_loss
from r1env_trainers.rl.rollouts import collect
from r1env_trainers.rl.update import update
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.loop import forward_passes, make_batch, response_loss

SHAPES = {  # hidden, feed-forward, layers, heads, key-value heads, vocabulary
    "135m": (576, 1536, 30, 9, 3, 49_152),
    "0.5b": (896, 4864, 24, 14, 2, 151_936),
    "1.5b": (1536, 8960, 28, 12, 2, 151_936),
    "gemma3-270m": (640, 2048, 18, 4, 1, 262_144),
    "qwen2.5-7b": (3584, 18_944, 28, 28, 4, 152_064),
    "llama-3.1-8b": (4096, 14_336, 32, 32, 8, 128_256),
    "tiny": (128, 352, 2, 4, 4, 64),
}
UNTIED = {"qwen2.5-7b", "llama-3.1-8b"}  # the head has weights of its own
WAYS = {"local", "sft", "vllm", "plain", "trl", "openrlhf"}
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


def make_model(
    shape: str, context: int, device: torch.device, ending: float, dtype: torch.dtype = torch.float32
) -> LoadedModel:
    """Random weights, made on the device. A share `ending` of the vocabulary ends a completion."""
    hidden, feed_forward, layers, heads, kv_heads, vocabulary = SHAPES[shape]
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(vocabulary)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": feed_forward,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": context,
        "tie_word_embeddings": shape not in UNTIED,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            if shape.startswith("gemma3"):
                model: Any = Gemma3ForCausalLM(Gemma3TextConfig(**settings, head_dim=256, sliding_window=512))
            elif shape.startswith("qwen2.5"):
                model = Qwen2ForCausalLM(Qwen2Config(**settings))
            else:
                model = LlamaForCausalLM(LlamaConfig(**settings))
    finally:
        torch.set_default_dtype(usual)
    model.generation_config.eos_token_id = list(range(1, 1 + round(ending * vocabulary))) or None
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", unk_token="w0", padding_side="left")
    return LoadedModel(model.eval(), tokenizer, dtype)


def make_environment(count: int, tokens: int, vocabulary: int) -> Environment:
    """Questions of so many made-up words each, one token a word."""
    draws = np.random.default_rng(0).integers(1, vocabulary, (count, tokens))
    tasks = [
        Task(id=str(i), prompt=({"role": "user", "content": " ".join(f"w{word}" for word in row)},))
        for i, row in enumerate(draws)
    ]
    return Environment(
        "words", ListSource(tasks), Rubric("parity", [WeightedReward(parity)]), "parity", installed().template("plain")
    )


def wait(device: torch.device) -> float:
    """The time once the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class TimedSampler:
    """A sampler that knows how long its last batch took."""

    def __init__(self, sampler: CompletionSampler, device: torch.device) -> None:
        self.sampler, self.device = sampler, device
        self.tokenizer, self.max_length = sampler.tokenizer, sampler.max_length
        self.seconds = 0.0

    def sample(self, *args: Any, **kwargs: Any) -> Samples:
        start = wait(self.device)
        samples = self.sampler.sample(*args, **kwargs)
        self.seconds = wait(self.device) - start
        return samples

    def close(self) -> None:
        self.sampler.close()


def local_loop(
    environment: Environment, loaded: LoadedModel, config: GRPOConfig, engine: EngineName, options: VLLMOptions
) -> Iterator[Step]:
    suite = Suite(environment.name, [environment])
    local = training_engine(loaded, engine, options, seed=0, max_rows=config.engine.max_num_seqs)
    assert isinstance(local, LocalEngine)
    sampler = TimedSampler(local.sampler, loaded.device)
    reference = None
    if config.algo.needs_reference:  # with adapters the policy itself, with these switched off
        adapted = loaded.adapter is not None
        reference = replace(loaded, base_only=True) if adapted else replace(loaded, model=copy.deepcopy(loaded.model))
    optimizer = make_optimizer(loaded, config)
    for number in itertools.count():
        wait(loaded.device)
        experience = collect(suite, loaded, LocalEngine(sampler), config, number)
        start = wait(loaded.device)
        metrics = update(loaded, optimizer, experience, config, number, reference)
        end = wait(loaded.device)
        seconds, tokens = experience.seconds, float(experience.tokens.completion_mask.sum())
        yield Step(sampler.seconds, seconds["generate"], seconds["reward"], end - start, tokens, metrics["logprob_gap"])


def fine_tuning(loaded: LoadedModel, config: SFTConfig, prompt_tokens: int, new_tokens: int) -> Iterator[Step]:
    """Steps of SFT, as `r1env train sft` takes them, on rows of random tokens."""
    optimizer, vocabulary = make_optimizer(loaded, config), loaded.model.config.vocab_size
    draws = np.random.default_rng(0).integers(1, vocabulary, (config.optim.batch_size, prompt_tokens + new_tokens)).tolist()
    rows = [(row[:prompt_tokens], row[prompt_tokens:]) for row in draws]
    tokens = float(new_tokens * len(rows))
    for number in itertools.count():
        start, total = wait(loaded.device), 0.0
        for some in forward_passes(rows, loaded.model, config):
            loss = response_loss(loaded.model, make_batch(some, loaded.pad, loaded.device), tokens)
            loss.backward()
            total += float(loss.detach())
        optimizer_step(loaded, optimizer, config, number, total=config.steps, loss=total)
        seconds = wait(loaded.device) - start
        yield Step(seconds, 0.0, 0.0, seconds, tokens)


def plain_transformers(environment: Environment, loaded: LoadedModel, config: GRPOConfig) -> Iterator[Step]:
    model: Any = loaded.model  # transformers' decorators hide what may be called on it
    device = loaded.device
    optimizer = make_optimizer(loaded, config)
    texts = [environment.open(environment.task(i)).messages[0]["content"] for i in range(config.sampling.prompts_per_step)]
    prompts = [loaded.tokenizer(text)["input_ids"] for text in texts]
    rewards = torch.rand((config.sampling.prompts_per_step, config.sampling.group_size))
    advantages = group_mean(rewards).flatten().to(device)

    for number in itertools.count():
        start = wait(device)
        ids, mask = left_pad(prompts, loaded.pad, device)
        with torch.no_grad():
            model.to(compute_dtype(device))
            drawn = model.generate(
                ids,
                attention_mask=mask,
                num_return_sequences=config.sampling.group_size,
                do_sample=True,
                top_k=0,
                max_new_tokens=config.sampling.max_new_tokens,
            )
            model.to(torch.float32)
        generated = wait(device)
        completions = drawn[:, ids.shape[1] :]
        batch = TokenBatch(
            ids.repeat_interleave(config.sampling.group_size, dim=0),
            mask.repeat_interleave(config.sampling.group_size, dim=0),
            completions,
            (completions != loaded.pad).float(),
        )
        tokens, total_loss = float(batch.completion_mask.sum()), 0.0
        for rows in torch.arange(len(batch), device=device).split(config.optim.micro_batch_size or PEER_MICRO_BATCH):
            logprobs = padded_logprobs(model, batch.select(rows), config.sampling.temperature)
            some = batch.completion_mask[rows, : logprobs.shape[1]]
            losses = policy_loss(logprobs, logprobs.detach(), advantages[rows], clip_low=0.2, clip_high=0.28)
            loss = (losses * some).sum() / tokens
            loss.backward()
            total_loss += float(loss.detach())
        optimizer_step(loaded, optimizer, config, number, total=config.steps, loss=total_loss)
        seconds = generated - start
        yield Step(seconds, seconds, 0.0, wait(device) - generated, tokens)


class TRLClock(TrainerCallback):
    """Wall seconds of each step, and of the generation in it."""

    def __init__(self, trainer: Any) -> None:
        self.device = trainer.accelerator.device
        self.steps: list[Step] = []
        self.generation = self.start = self.tokens = 0.0
        self._generate = trainer._generate_single_turn
        trainer._generate_single_turn = self.generate

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's own, with the weights pushed first where they are new."""
        start = wait(self.device)
        drawn = self._generate(*args, **kwargs)
        self.generation = wait(self.device) - start
        self.tokens = float(sum(len(row) for row in drawn[0]))
        return drawn

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.start = wait(self.device)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        whole = wait(self.device) - self.start
        self.steps.append(Step(self.generation, self.generation, 0.0, whole - self.generation, self.tokens))


def parity_rewards(completions: list[str], **_: Any) -> list[float | None]:
    """As `parity`, in TRL's form."""
    return [float(sum(map(ord, completion)) % 17) for completion in completions]


def trl_with_vllm(
    environment: Environment, loaded: LoadedModel, config: GRPOConfig, options: VLLMOptions, steps: int
) -> Iterator[Step]:
    """`update s` of these steps is all that is not generation: rewards, the sampler's check, the update.

    All steps run before the first is given: TRL's loop cannot be halted in between.
    """
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig as TRLConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    rows = config.sampling.prompts_per_step * config.sampling.group_size
    loaded.tokenizer.eos_token = loaded.tokenizer.pad_token  # TRL wants one; the random weights hardly ever draw it
    prompts = [environment.open(environment.task(i)).messages[0]["content"] for i in range(config.sampling.prompts_per_step)]
    with tempfile.TemporaryDirectory() as folder:
        loaded.model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
        trainer = GRPOTrainer(
            model=folder,
            reward_funcs=parity_rewards,
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
            processing_class=loaded.tokenizer,
            args=TRLConfig(
                output_dir=folder,
                per_device_train_batch_size=min(rows, config.optim.micro_batch_size or PEER_MICRO_BATCH),
                gradient_accumulation_steps=max(1, rows // (config.optim.micro_batch_size or PEER_MICRO_BATCH)),
                num_generations=config.sampling.group_size,
                max_completion_length=config.sampling.max_new_tokens,
                temperature=config.sampling.temperature,
                learning_rate=config.optim.lr,
                max_steps=steps,
                num_train_epochs=steps,
                use_vllm=True,
                vllm_gpu_memory_utilization=options.gpu_memory_utilization,
                vllm_max_model_length=loaded.model.config.max_position_embeddings,
                model_init_kwargs={"dtype": "float32"},
                gradient_checkpointing=False,  # quicker, and there is room
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
            ),
        )
        clock = TRLClock(trainer)
        trainer.add_callback(clock)
        start = time.perf_counter()
        trainer.train()
        print(f"TRL: {steps} steps in {time.perf_counter() - start:.0f} s")
    yield from clock.steps


OPENRLHF_REWARD = """
def reward_func(queries, prompts, labels, **_):
    value = float(sum(map(ord, queries[0])) % 17)
    return {"rewards": value, "scores": value, "extra_logs": {}}
"""


def openrlhf(
    environment: Environment, loaded: LoadedModel, config: GRPOConfig, options: VLLMOptions, steps: int
) -> Iterator[Step]:
    """`generate s` of these steps has the rewards in it; `update s` the log-probs before it and the weights sent to vLLM after it."""
    loaded.tokenizer.eos_token = loaded.tokenizer.pad_token  # as for TRL
    prompts = [environment.open(environment.task(i)).messages[0]["content"] for i in range(config.sampling.prompts_per_step)]
    rows, micro_batch = (
        config.sampling.prompts_per_step * config.sampling.group_size,
        config.optim.micro_batch_size or PEER_MICRO_BATCH,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loaded.model.save_pretrained(folder / "model")
        loaded.tokenizer.save_pretrained(folder / "model")
        (folder / "reward.py").write_text(OPENRLHF_REWARD)
        lines = [json.dumps({"prompt": prompt, "label": ""}) for prompt in prompts * steps]
        (folder / "prompts.jsonl").write_text("\n".join(lines))
        flags = {
            "actor.model_name_or_path": folder / "model",
            "reward.remote_url": folder / "reward.py",
            "data.prompt_dataset": folder / "prompts.jsonl",
            "data.input_key": "prompt",
            "data.label_key": "label",
            "data.max_len": loaded.model.config.max_position_embeddings,
            "rollout.max_new_tokens": config.sampling.max_new_tokens,
            "rollout.batch_size": config.sampling.prompts_per_step,
            "rollout.n_samples_per_prompt": config.sampling.group_size,
            "rollout.micro_batch_size": micro_batch,
            "train.batch_size": rows,
            "train.micro_batch_size": micro_batch,
            "vllm.gpu_memory_utilization": options.gpu_memory_utilization,
            "ds.attn_implementation": "sdpa",
            "ds.zero_stage": 2,
            "algo.advantage.estimator": "dr_grpo",
            "algo.kl.init_coef": 0,
            "actor.adam.lr": config.optim.lr,
            "ckpt.path": folder / "checkpoints",
            "ckpt.output_dir": folder / "result",
            **dict.fromkeys(("actor.num_nodes", "actor.num_gpus_per_node", "ref.num_nodes", "ref.num_gpus_per_node"), 1),
            **dict.fromkeys(("vllm.num_engines", "vllm.tensor_parallel_size"), 1),
        }
        switches = [
            "train.colocate_all",
            "vllm.enable_sleep",
            "ds.enable_sleep",
            *["vllm.enforce_eager"] * options.enforce_eager,
        ]
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "openrlhf.cli.train_ppo_ray", *words, *(f"--{switch}" for switch in switches)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as job:
            assert job.stdout is not None
            for line in job.stdout:
                print(line, end="", flush=True)
                if "Global step" in line:
                    phases = {phase: float(seconds) for phase, seconds in re.findall(r"'timing/(\w+)': ([0-9.e-]+)", line)}
                    generation, whole = phases["generation"], phases["step_total"]
                    yield Step(generation, generation, 0.0, whole - generation, float(rows * config.sampling.max_new_tokens))


def measure(running: Iterator[Step], steps: int, device: torch.device) -> tuple[float, list[Step], float]:
    """Seconds of the warm-up, the steps after it, and the peak of memory in GB (0 on a CPU)."""
    start = time.perf_counter()
    for _ in itertools.islice(running, WARM_UP):
        pass
    warm_up = wait(device) - start
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    done = list(itertools.islice(running, steps))
    return warm_up, done, torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0


def run_way(way: str, arguments: argparse.Namespace) -> str:
    """Measure one way; a row of the table."""
    device = choose_device("auto")
    lora, optimizer = {"rank": arguments.lora}, {"name": arguments.optimizer, "micro_batch_size": arguments.micro_batch}
    shared = {"model": "random", "lora": lora, "gradient_checkpointing": arguments.checkpointing}
    config = GRPOConfig.model_validate(
        {
            **shared,
            "env": "words",
            "sampling": {
                "prompts_per_step": arguments.prompts,
                "group_size": arguments.group,
                "max_new_tokens": arguments.new_tokens,
                "top_p": arguments.top_p,
            },
            "optim": {**optimizer, "mini_batches": arguments.mini_batches},
            "algo": {"kl_coef": arguments.kl},
            "engine": {"max_num_seqs": arguments.max_rows},
        }
    )
    limit_memory(device, arguments.memory)
    context, dtype = arguments.prompt_tokens + arguments.new_tokens, getattr(torch, arguments.dtype)
    loaded = make_model(arguments.shape, context, device, arguments.ending, dtype)
    limit_threads(loaded.parameters, None)
    if config.lora.rank:
        loaded = with_adapters(loaded, config.lora, "random", seed=0)
    if config.gradient_checkpointing:
        checkpoint_layers(loaded.model)
    environment = make_environment(arguments.prompts, arguments.prompt_tokens, SHAPES[arguments.shape][-1])
    options = VLLMOptions(
        gpu_memory_utilization=arguments.vllm_memory,
        max_num_seqs=arguments.prompts * arguments.group,
        enforce_eager=arguments.vllm_eager,
        sleep=arguments.vllm_sleep,
    )
    if way == "sft":
        rows = {"batch_size": arguments.prompts * arguments.group, "lr": 1e-5}
        tuning = SFTConfig.model_validate({**shared, "data": "random.jsonl", "optim": {**optimizer, **rows}})
        running = fine_tuning(loaded, tuning, arguments.prompt_tokens, arguments.new_tokens)
    elif way == "trl":
        running = trl_with_vllm(environment, loaded, config, options, WARM_UP + arguments.steps)
    elif way == "openrlhf":
        running = openrlhf(environment, loaded, config, options, WARM_UP + arguments.steps)
    elif way == "plain":
        running = plain_transformers(environment, loaded, config)
    else:
        running = local_loop(environment, loaded, config, "vllm" if way == "vllm" else "transformers", options)
    warm_up, steps, peak = measure(running, arguments.steps, device)
    middle = {field: statistics.median(getattr(s, field) for s in steps) for field in ("generate", "reward", "update", "gap")}
    rate = statistics.median(s.tokens / s.sample for s in steps)
    whole = statistics.median(s.whole for s in steps)
    return (
        f"| {way} | {rate:,.0f} | {middle['generate']:.3f} | {middle['reward']:.3f} | {middle['update']:.3f} "
        f"| {whole:.3f} | {peak:.1f} | {middle['gap']:.4f} | {warm_up:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", default="local,plain", help="what to measure, by commas (default: local,plain)")
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--group", type=int, default=8, help="completions a prompt")
    parser.add_argument("--prompt-tokens", type=int, default=53)
    parser.add_argument("--new-tokens", type=int, default=96)
    parser.add_argument("--max-rows", type=int, help="completions the local engine decodes at once (default: as memory allows)")
    parser.add_argument("--memory", type=float, help="GB of the GPU that local may take (default: all)")
    parser.add_argument("--ending", type=float, default=0.0, help="chance of each token to end its completion")
    parser.add_argument("--micro-batch", type=int, help="sequences a forward pass of the update (default: the engine's choice)")
    parser.add_argument("--mini-batches", type=int, default=1, help="optimizer steps a step (local, vllm)")
    parser.add_argument("--kl", type=float, default=0.0, help="weight of the KL to a reference model (local, vllm)")
    parser.add_argument("--top-p", type=float, default=1.0, help="nucleus of the sampler (local, vllm)")
    parser.add_argument("--lora", type=int, default=0, metavar="RANK", help="train adapters of this rank (local, vllm, sft)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the weights (r1env: float32)")
    parser.add_argument(
        "--checkpointing", action="store_true", help="compute layers again in the backward pass (local, vllm, sft)"
    )
    parser.add_argument("--optimizer", choices=("adamw", "adamw8bit"), default="adamw", help="(local, vllm, sft, plain)")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--vllm-memory", type=float, default=0.3, help="the share of the GPU's memory that vLLM gets")
    parser.add_argument("--vllm-eager", action="store_true", help="vLLM without CUDA graphs and compilation")
    parser.add_argument("--vllm-sleep", action="store_true", help="vLLM gives its memory back between two batches")
    arguments = parser.parse_args()
    ways = arguments.ways.split(",")
    if unknown := set(ways) - WAYS:
        parser.error(f"--ways: {', '.join(sorted(unknown))} is none of {', '.join(sorted(WAYS))}")
    if len(ways) == 1:
        with contextlib.redirect_stdout(sys.stderr):  # vLLM and TRL print as they go
            row = run_way(ways[0], arguments)
        print(row, flush=True)
        return
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    print(f"{where}, torch {torch.__version__}, transformers {transformers.__version__}")
    print(
        f"{arguments.shape}: {arguments.prompts} prompts of {arguments.prompt_tokens} tokens x {arguments.group} completions "
        f"of at most {arguments.new_tokens} tokens\n"
    )
    print("| | sampled tokens/s | generate s | reward s | update s | whole step s | peak GB | log-prob gap | warm-up s |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for way in ways:
        if subprocess.run([sys.executable, *sys.argv, "--ways", way], check=False).returncode:
            print(f"| {way} | failed |", flush=True)


if __name__ == "__main__":
    main()
