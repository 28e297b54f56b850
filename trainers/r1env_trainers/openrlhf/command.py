"""A `GRPOConfig` as the arguments of OpenRLHF's Ray trainer. Pure functions: settings in, words out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1env.errors import UsageError
from r1env_trainers.openrlhf.config import OpenRLHFOptions
from r1env_trainers.openrlhf.flags import (
    MICRO_BATCH,
    choose,
    is_cpu,
    open_micro_batch,
    optimizer_flags,
    refuse_linear_floor,
    refuse_settings,
    words_of,
)
from r1env_trainers.rl.config import GRPOConfig

MODULE = "openrlhf.cli.train_ppo_ray"

ESTIMATORS: Mapping[tuple[str, bool], str] = {
    ("group_mean", False): "dr_grpo",
    ("group_mean", True): "reinforce_baseline",
    ("group_std", False): "group_norm",
    ("loo", False): "rloo",
    ("reinforce_pp", True): "reinforce",
}
"""(`advantage`, whether it is whitened) → OpenRLHF's name for it."""

AGGREGATIONS: Mapping[str, str] = {"token": "token-mean", "sequence": "seq-mean-token-mean"}
RATIOS: Mapping[str, str] = {"token": "ppo", "sequence": "gspo"}

NO_COUNTERPART = frozenset(
    {
        *("late_steps", "late_rubric", "late_mixture", "length_schedule", "temperature_schedule"),
        *("reference_every", "mask_truncated"),
        *("engine", "vllm"),  # it has a vLLM of its own, with settings of its own
    }
)
"""Settings that OpenRLHF cannot follow: refused unless they are left at their defaults."""

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
    """Refuse what OpenRLHF has no counterpart for, rather than leave it out.

    Raises:
        UsageError: names the setting.
    """
    refuse_settings(config, NO_COUNTERPART)
    choose(ESTIMATORS, (config.algo.advantage, config.algo.normalizes), "advantage and whiten")
    choose(AGGREGATIONS, config.algo.loss_aggregation, "aggregation")
    choose(RATIOS, config.algo.policy_ratio, "ratio")
    if config.algo.importance_sampling_correction == "sequence":
        raise UsageError("backend=openrlhf weighs tokens, or drops whole sequences: use correction=token")
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
            "change micro_batch_size, prompts_per_step or group_size"
        )


def colocated(config: GRPOConfig, options: OpenRLHFOptions) -> bool:
    """Whether policy, reference and engines share GPUs. On a CPU there is nothing to share."""
    return options.colocate and not is_cpu(config)


def micro_batch(config: GRPOConfig) -> int:
    """Sequences a forward pass."""
    if config.optim.micro_batch_size is not None:
        return config.optim.micro_batch_size
    options = config.openrlhf
    rollouts = config.sampling.prompts_per_step * config.sampling.group_size // config.optim.mini_batches
    return open_micro_batch(rollouts // (options.nodes * options.gpus), CPU_MICRO_BATCH if is_cpu(config) else MICRO_BATCH)


def arguments_of(config: GRPOConfig, options: OpenRLHFOptions, files: Files, *, max_length: int, resume: bool) -> list[str]:
    """The words after `python -m openrlhf.cli.train_ppo_ray`.

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
        "algo.kl.estimator": config.algo.kl_estimator,
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
