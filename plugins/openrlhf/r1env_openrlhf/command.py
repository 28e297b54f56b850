"""A `GRPOConfig` as the arguments of OpenRLHF's Ray trainer. Pure functions: settings in, words out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from r1env.adapters.core import TASK_FIELD, task_field
from r1env.config import changed_settings
from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.errors import UsageError
from r1env.rollout import encode_prompt
from r1env.runs.files import replace_text, to_json
from r1env.types import Task
from r1env_openrlhf.config import OpenRLHFOptions, options_of
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.rollouts import draw_tasks, evaluation_suite, task_filter, training_suite
from r1env_trainers.settings import LocalConfig

MODULE = "openrlhf.cli.train_ppo_ray"

ESTIMATORS: Mapping[tuple[str, bool], str] = {
    ("dr_grpo", False): "dr_grpo",
    ("dr_grpo", True): "reinforce_baseline",
    ("grpo", False): "group_norm",
    ("rloo", False): "rloo",
    ("reinforce_pp", True): "reinforce",
}
"""(`advantage`, whether it is whitened) → OpenRLHF's name for it."""

AGGREGATIONS: Mapping[str, str] = {name: name for name in ("token-mean", "seq-mean-token-mean")}
RATIOS: Mapping[str, str] = {"token": "ppo", "sequence": "gspo"}
KL_ESTIMATORS: Mapping[str, str] = {name: name for name in ("k1", "k2", "k3")}

NO_COUNTERPART = frozenset(
    {
        *("memory_gb", "final_phase", "sampling.length_schedule", "sampling.temperature_schedule"),
        "log.tokens_every",  # its rollouts come back as text
        *("sampling.top_k", "sampling.min_p", "sampling.stop", "sampling.ignore_eos"),
        # it has settings of its own for both (openrlhf.gradient_checkpointing, openrlhf.adam_offload)
        *("gradient_checkpointing", "optim.name"),
        *("optim.epochs", "algo.ref_model_sync_steps", "algo.mask_truncated_completions"),
        "lora",
        "checkpoint.dtype",  # its own settings say what it saves
        *("algo.loss", "engine.name", "engine.options", "engine.vllm"),  # it has a vLLM of its own, with settings of its own
    }
)
"""Settings and groups that OpenRLHF cannot follow: refused unless they are left at their defaults."""

MEASURED_ONLY = 1e-12
"""A weight of the KL so small that bf16 drops it: with 0 OpenRLHF has no reference model and measures nothing (`track_kl`)."""

CPU_MICRO_BATCH = 64
"""`flags.MICRO_BATCH` where there are no GPUs."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the job finds and leaves things.

    Attributes:
        model: the folder or hub name to start from.
        prompts, evaluation: prompt files; the latter None without an evaluation.
        agent: the agent file.
        checkpoints, metrics, result: folders that OpenRLHF writes.
    """

    model: str
    prompts: Path
    evaluation: Path | None
    agent: Path
    checkpoints: Path
    metrics: Path
    result: Path


def check_settings(config: GRPOConfig, options: OpenRLHFOptions) -> None:
    """Raise UsageError for a setting that OpenRLHF has no counterpart for; leaving it out would train something else.

    Raises:
        UsageError: names the setting.
    """
    refuse_settings(config, NO_COUNTERPART)
    choose(ESTIMATORS, (config.algo.advantage, config.algo.normalizes), "algo.advantage and normalize_advantages")
    choose(AGGREGATIONS, config.algo.loss_aggregation, "algo.loss_aggregation")
    choose(RATIOS, config.algo.policy_ratio, "algo.policy_ratio")
    choose(KL_ESTIMATORS, config.algo.kl_estimator, "algo.kl_estimator")
    if config.algo.importance_sampling_correction == "sequence":
        raise UsageError(
            "backend=openrlhf weighs tokens, or drops whole sequences: use algo.importance_sampling_correction=token"
        )
    refuse_linear_floor(config)
    if any("lora" in word for word in options.extra):
        raise UsageError(
            "LoRA breaks OpenRLHF's Ray trainer at the first copy of the weights (its issue 1349): train all weights, or use backend=local"
        )
    if options.packing and options.attention != "flash_attention_2":
        raise UsageError("openrlhf.packing needs openrlhf.attention=flash_attention_2, and flash-attn installed")
    if options.nodes > 1 and options.ray_address is None:
        raise UsageError(
            f"openrlhf.nodes={options.nodes} needs a Ray cluster that runs on them: give openrlhf.ray_address (--ray-address), e.g. auto"
        )
    if is_cpu(config) and options.nodes * options.gpus > 1:
        raise UsageError("on a CPU the policy is one process: leave openrlhf.nodes and openrlhf.gpus at 1")
    if colocated(config, options) and options.nodes * options.gpus != options.engine_count * options.tensor_parallel:
        raise UsageError(
            f"openrlhf.colocate puts policy and engines on the same GPUs, but nodes x gpus = {options.nodes * options.gpus} and "
            f"engines x tensor_parallel = {options.engine_count * options.tensor_parallel}; make them equal, or set colocate=false"
        )
    rollouts, policies = config.sampling.prompts_per_step * config.sampling.group_size, options.nodes * options.gpus
    micro = micro_batch(config)
    if (rollouts // config.optim.mini_batches) % (micro * policies):
        raise UsageError(
            f"{rollouts // config.optim.mini_batches} rollouts an update do not divide into micro-batches of {micro} on {policies} GPUs; "
            "change optim.micro_batch_size, sampling.prompts_per_step or sampling.group_size"
        )


def colocated(config: GRPOConfig, options: OpenRLHFOptions) -> bool:
    """Return whether policy, reference and engines share GPUs. On a CPU there is nothing to share."""
    return options.colocate and not is_cpu(config)


def micro_batch(config: GRPOConfig) -> int:
    """Return the number of sequences in a forward pass."""
    if config.optim.micro_batch_size is not None:
        return config.optim.micro_batch_size
    options = options_of(config)
    rollouts = config.sampling.prompts_per_step * config.sampling.group_size // config.optim.mini_batches
    return open_micro_batch(rollouts // (options.nodes * options.gpus), CPU_MICRO_BATCH if is_cpu(config) else MICRO_BATCH)


def arguments_of(config: GRPOConfig, options: OpenRLHFOptions, files: Files, *, max_length: int, resume: bool) -> list[str]:
    """Return the arguments of `python -m openrlhf.cli.train_ppo_ray`.

    Args:
        max_length: of an episode, prompt included, in tokens.
        resume: go on from the newest checkpoint.
    """
    flags = {
        **_layout(config, options),
        **_data(config, files, max_length),
        **_method(config),
        **optimizer_flags(config, updates=config.steps * config.optim.mini_batches, prefix="actor."),
        **_evaluation(config, files),
        "ckpt.path": files.checkpoints,
        "ckpt.output_dir": files.result,
        "ckpt.save_steps": config.checkpoint.every or -1,
        "ckpt.max_num": options.keep_checkpoints,
        "ckpt.best_metric_key": "none",
        "ckpt.load_enable": resume,
        "logger.tensorboard_dir": files.metrics,
    }
    return [*words_of(flags), *options.extra]


def _layout(config: GRPOConfig, options: OpenRLHFOptions) -> dict[str, Any]:
    shared = colocated(config, options)
    return {
        "actor.num_nodes": options.nodes,
        "actor.num_gpus_per_node": options.gpus,
        "ref.num_nodes": options.nodes,
        "ref.num_gpus_per_node": options.gpus,
        "vllm.num_engines": options.engine_count,
        "vllm.tensor_parallel_size": options.tensor_parallel,
        "vllm.sync_backend": "gloo" if is_cpu(config) else "nccl",
        "vllm.gpu_memory_utilization": options.gpu_memory,
        "vllm.enforce_eager": options.eager or is_cpu(config),
        "vllm.enable_prefix_caching": True,
        "train.colocate_all": shared,
        "vllm.enable_sleep": shared,
        "ds.enable_sleep": shared,
        "ds.zero_stage": options.zero_stage,
        "ds.adam_offload": options.adam_offload,
        "ds.attn_implementation": options.attention,
        "ds.packing_samples": options.packing,
        "actor.gradient_checkpointing_enable": options.gradient_checkpointing,
    }


def _data(config: GRPOConfig, files: Files, max_length: int) -> dict[str, Any]:
    return {
        "actor.model_name_or_path": files.model,
        "train.agent_func_path": files.agent,
        "data.prompt_dataset": files.prompts,
        "data.input_key": "prompt",
        "data.label_key": "label",
        "data.max_len": max_length,
        "rollout.max_new_tokens": config.sampling.max_new_tokens,
        "rollout.temperature": config.sampling.temperature,
        "rollout.top_p": config.sampling.top_p,
        "rollout.batch_size": config.sampling.prompts_per_step,
        "rollout.n_samples_per_prompt": config.sampling.group_size,
        "rollout.micro_batch_size": micro_batch(config),
        "train.batch_size": config.sampling.prompts_per_step * config.sampling.group_size // config.optim.mini_batches,
        "train.micro_batch_size": micro_batch(config),
        "train.seed": config.seed,
    }


def _method(config: GRPOConfig) -> dict[str, Any]:
    coefficient = config.algo.kl_coef or (MEASURED_ONLY if config.algo.track_kl else 0.0)
    flags: dict[str, Any] = {
        "algo.advantage.estimator": ESTIMATORS[config.algo.advantage, config.algo.normalizes],
        "actor.policy_loss_type": RATIOS[config.algo.policy_ratio],
        "actor.eps_clip_low_high": (config.algo.clip_ratio_low, config.algo.clip_ratio_high),
        "actor.dual_clip": config.algo.dual_clip,
        "actor.loss_agg_mode": AGGREGATIONS[config.algo.loss_aggregation],
        "actor.entropy_coef": config.algo.entropy_coef or None,
        "algo.kl.init_coef": coefficient,
        "algo.kl.estimator": KL_ESTIMATORS[config.algo.kl_estimator],
        "algo.kl.use_loss": coefficient > 0 and config.algo.kl_in == "loss",
        "algo.dynamic_filtering_enable": config.filter.dynamic_sampling,
    }
    if config.algo.importance_sampling_correction is not None:
        flags |= {
            "algo.advantage.is_correction_level": "token",
            "algo.advantage.is_correction_mode": "clip",
            "algo.advantage.is_correction_threshold": (0.0, config.algo.importance_sampling_cap),
        }
    return flags


def _evaluation(config: GRPOConfig, files: Files) -> dict[str, Any]:
    if files.evaluation is None:
        return {}
    return {
        "eval.dataset": files.evaluation,
        "eval.steps": config.eval.every,
        "eval.temperature": 0.0,
        "eval.n_samples_per_prompt": 1,
    }


# What the command lines of OpenRLHF's trainers have in common. Pure functions.

SCHEDULES: Mapping[str, str] = {"constant": "constant_with_warmup", "cosine": "cosine_with_min_lr", "linear": "linear"}


MICRO_BATCH = 8
"""Sequences a forward pass where the settings leave it open. Mathematics does not depend on it."""


def is_cpu(config: LocalConfig) -> bool:
    """Return whether the job runs without GPUs."""
    return config.device == "cpu"


def open_micro_batch(share: int, most: int = MICRO_BATCH) -> int:
    """Return the number of sequences in a forward pass where the settings leave it open: the largest divisor, at most `most`, of a GPU's share of a batch."""
    share = max(1, share)
    return max(size for size in range(1, min(most, share) + 1) if share % size == 0)


def words_of(flags: Mapping[str, Any]) -> list[str]:
    """Return flags as command-line arguments: True gives the bare flag, None and False give nothing, a tuple gives several arguments."""
    return [word for name, value in flags.items() for word in _words(name, value)]


def optimizer_flags(config: LocalConfig, *, updates: int, prefix: str = "") -> dict[str, Any]:
    """Return the flags of the optimizer, which takes `updates` steps in all."""
    flags = {
        "adam.lr": config.optim.lr,
        "adam.betas": config.optim.betas,
        "adam.weight_decay": config.optim.weight_decay,
        "max_norm": config.optim.max_grad_norm,
        "lr_scheduler": SCHEDULES[config.optim.lr_schedule],
        "lr_warmup_ratio": config.optim.warmup_steps / updates,
        "min_lr_ratio": config.optim.min_lr_ratio,
    }
    return {prefix + name: value for name, value in flags.items()}


def refuse_settings(config: LocalConfig, names: Collection[str]) -> None:
    """Raise UsageError for settings that OpenRLHF cannot follow and that differ from their defaults.

    Raises:
        UsageError: names the setting.
    """
    for path in changed_settings(config):
        if any(path == name or path.startswith(f"{name}.") for name in names):
            raise UsageError(f"backend=openrlhf has no counterpart of {path}; leave it out, or use backend=local")


def refuse_linear_floor(config: LocalConfig) -> None:
    """
    Raises:
        UsageError: a linear schedule shall end above 0.
    """
    if config.optim.lr_schedule == "linear" and config.optim.min_lr_ratio:
        raise UsageError(
            "backend=openrlhf lets a linear schedule end at 0: use optim.min_lr_ratio=0, or optim.lr_schedule=cosine"
        )


def choose(known: Mapping[Any, str], value: Any, what: str) -> str:
    """Return OpenRLHF's name for a value.

    Raises:
        UsageError: it has none.
    """
    if value not in known:
        choices = ", ".join(map(str, known))
        raise UsageError(f"backend=openrlhf has no counterpart of {what}={value}; it has {choices}")
    return known[value]


def _words(name: str, value: Any) -> Sequence[str]:
    if value is None or value is False:
        return ()
    if value is True:
        return (f"--{name}",)
    values = value if isinstance(value, tuple) else (value,)
    return (f"--{name}", *map(str, values))


# The files that a job reads: prompts with their tasks, the settings, the agent.

AGENT = """\
# Written by r1env for `--train.agent_func_path`: plays the environments of this folder's config.json.
from openrlhf.utils.agent import AgentExecutorBase

from r1env_openrlhf.episodes import EpisodeExecutor


class AgentExecutor(EpisodeExecutor, AgentExecutorBase):
    def __init__(self) -> None:
        super().__init__({folder!r})
"""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        longest: of an episode's prompt, in tokens.
        turns: the most that an environment has.
    """

    longest: int
    turns: int


def write_prompts(train: Path, evaluation: Path | None, config: GRPOConfig, tokenizer: PreTrainedTokenizerBase) -> Written:
    """Write a row for every prompt of the training, and for every task of the evaluation.

    The tasks are those of the backend `local`, drawn under the seed; OpenRLHF puts them in an order of its own.
    """
    suite = training_suite(config)
    count = config.steps * config.sampling.prompts_per_step
    drawn = draw_tasks(suite, 0, count, config.seed, task_filter(config, tokenizer)).tasks
    longest = _write(train, "train", suite, drawn, tokenizer)
    if evaluation is not None:
        held_out = evaluation_suite(config)
        tasks = [
            (environment, task) for environment in held_out.environments for task in _first(environment, config.eval.limit)
        ]
        longest = max(longest, _write(evaluation, "eval", held_out, tasks, tokenizer))
    return Written(longest, max(environment.max_turns for environment in suite.environments))


def write_agent(path: Path, folder: Path) -> None:
    """Write the agent file for the job in `folder`."""
    replace_text(path, AGENT.format(folder=str(folder)))


def _write(
    path: Path, split: str, suite: Suite, tasks: Iterable[tuple[Environment, Task]], tokenizer: PreTrainedTokenizerBase
) -> int:
    """Write the rows; returns the longest prompt in tokens."""
    places = {id(environment): place for place, environment in enumerate(suite.environments)}
    longest, lines = 0, []
    for environment, task in tasks:
        ids = encode_prompt(tokenizer, environment.open(task).messages, chat=environment.template.chat)
        longest = max(longest, len(ids))
        lines.append(to_json(row_of(str(tokenizer.decode(ids)), environment.name, task, split, places[id(environment)])) + "\n")
    replace_text(path, "".join(lines))
    return longest


def row_of(prompt: str, environment_name: str, task: Task, split: str, environment: int) -> Mapping[str, Any]:
    """Return a row of a prompt file. Its label carries the whole task and the environment it belongs to.

    OpenRLHF tells the evaluation's environments apart by `datasource`.
    """
    label = f'{{"split": "{split}", "environment": {environment}, "{TASK_FIELD}": {task_field(task)}}}'
    return {"prompt": prompt, "label": label, "datasource": environment_name}


def _first(environment: Environment, limit: int) -> list[Task]:
    size = environment.source.size
    return [environment.task(index) for index in range(limit if size is None else min(limit, size))]
