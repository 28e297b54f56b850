"""Settings that trainers share: where tasks come from, how completions are sampled, the optimizer, evaluation. Imports no torch.

The settings of each trainer are a model made of these groups: `rl/config.py`, `sft/config.py`, and so on. Names follow the field where it
agrees on one; `NAMES_ELSEWHERE` has those of TRL, verl and OpenRLHF, for the suggestion after an unknown key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from r1env.config import Settings
from r1env.engines import SamplingParams, StopText
from r1env.envs.suite import EnvironmentShare, Suite, check_disjoint, make_mixture, make_suite
from r1env.errors import NoSplitError, UsageError
from r1env.rubrics import RubricSpec
from r1env.trainer import TrainerConfig

BUILT_IN_MODELS = ("tiny", "tiny-1m", "tiny-2m", "tiny-gpt2", "tiny-tools", "smollm2-135m", "gemma3-270m")
"""Models that need no folder and no hub; `model.load.NAMED` makes them."""


def _absolute_folder(name: str) -> str:
    return os.path.abspath(name) if name not in BUILT_IN_MODELS and os.path.isdir(name) else name


ModelName = Annotated[str, AfterValidator(_absolute_folder)]
"""A model's name, folder or hub name. A folder becomes its absolute path, so that a run can go on in another directory."""

Device = Literal["auto", "cpu", "cuda"]
Schedule = Literal["constant", "linear", "cosine"]

# Names of TRL, verl and OpenRLHF → ours. A dotted name goes before its last part, which is looked up alone too.
NAMES_ELSEWHERE: Mapping[str, str] = {
    # TRL, and transformers' TrainingArguments
    "model_name_or_path": "model",
    "learning_rate": "optim.lr",
    "lr_scheduler_type": "optim.lr_schedule",
    "warmup_ratio": "optim.warmup_steps",
    "adam_beta1": "optim.betas",
    "adam_beta2": "optim.betas",
    "per_device_train_batch_size": "optim.micro_batch_size",
    "num_train_epochs": "epochs",
    "max_steps": "steps",
    "save_steps": "checkpoint.every",
    "eval_steps": "eval.every",
    "logging_steps": "log.samples_every",
    "num_generations": "sampling.group_size",
    "max_completion_length": "sampling.max_new_tokens",
    "generation_kwargs": "sampling.stop",
    "num_iterations": "optim.epochs",
    "steps_per_generation": "optim.mini_batches",
    "beta": "algo.kl_coef",
    "epsilon": "algo.clip_ratio_low",
    "epsilon_high": "algo.clip_ratio_high",
    "delta": "algo.dual_clip",
    "loss_type": "algo.loss_aggregation",
    "scale_rewards": "algo.advantage",
    "importance_sampling_level": "algo.policy_ratio",
    "sync_ref_model": "algo.ref_model_sync_steps",
    "vllm_importance_sampling_correction": "algo.importance_sampling_correction",
    "vllm_importance_sampling_cap": "algo.importance_sampling_cap",
    "vllm_importance_sampling_clip_max": "algo.importance_sampling_cap",
    "use_vllm": "engine.name",
    "vllm_gpu_memory_utilization": "engine.vllm.gpu_memory_utilization",
    "reward_funcs": "rubric",
    "reward_weights": "rubric",
    "vf_coef": "critic.value_coef",
    "cliprange_value": "critic.value_clip",
    "cliprange": "algo.clip_ratio_low",
    "lam": "algo.gae_lambda",
    "whiten_rewards": "algo.normalize_advantages",
    "response_length": "sampling.max_new_tokens",
    "max_seq_length": "max_length",
    # verl
    "actor_rollout_ref.model.path": "model",
    "actor_rollout_ref.rollout.n": "sampling.group_size",
    "actor_rollout_ref.rollout.name": "engine.name",
    "actor_rollout_ref.rollout.temperature": "sampling.temperature",
    "actor_rollout_ref.rollout.top_k": "sampling.top_k",
    "actor_rollout_ref.rollout.ignore_eos": "sampling.ignore_eos",
    "actor_rollout_ref.actor.optim.lr": "optim.lr",
    "actor_rollout_ref.actor.loss_agg_mode": "algo.loss_aggregation",
    "actor_rollout_ref.actor.ppo_mini_batch_size": "optim.mini_batches",
    "actor_rollout_ref.actor.ppo_epochs": "optim.epochs",
    "actor_rollout_ref.actor.use_kl_loss": "algo.kl_in",
    "algorithm.adv_estimator": "algo.advantage",
    "algorithm.kl_ctrl.kl_coef": "algo.kl_coef",
    "algorithm.use_kl_in_reward": "algo.kl_in",
    "algorithm.filter_groups.enable": "filter.dynamic_sampling",
    "algorithm.norm_adv_by_std_in_grpo": "algo.advantage",
    "data.train_batch_size": "sampling.prompts_per_step",
    "data.max_response_length": "sampling.max_new_tokens",
    "critic.optim.lr": "critic.lr",
    "critic.cliprange_value": "critic.value_clip",
    "trainer.total_training_steps": "steps",
    "trainer.save_freq": "checkpoint.every",
    "trainer.test_freq": "eval.every",
    "adv_estimator": "algo.advantage",
    "loss_agg_mode": "algo.loss_aggregation",
    "clip_ratio": "algo.clip_ratio_low",
    "clip_ratio_c": "algo.dual_clip",
    "use_kl_loss": "algo.kl_in",
    "use_kl_in_reward": "algo.kl_in",
    "kl_loss_coef": "algo.kl_coef",
    "kl_loss_type": "algo.kl_estimator",
    "kl_penalty": "algo.kl_estimator",
    "filter_groups": "filter.dynamic_sampling",
    "max_num_gen_batches": "filter.max_extra_batches",
    "train_batch_size": "sampling.prompts_per_step",
    "max_response_length": "sampling.max_new_tokens",
    "ppo_mini_batch_size": "optim.mini_batches",
    "ppo_micro_batch_size": "optim.micro_batch_size",
    "ppo_micro_batch_size_per_gpu": "optim.micro_batch_size",
    "ppo_epochs": "optim.epochs",
    "lr_warmup_steps": "optim.warmup_steps",
    "warmup_style": "optim.lr_schedule",
    "save_freq": "checkpoint.every",
    "test_freq": "eval.every",
    "total_training_steps": "steps",
    "lambda": "algo.gae_lambda",
    # OpenRLHF
    "pretrain": "model",
    "prompt_data": "env",
    "input_key": "env_options",
    "actor_learning_rate": "optim.lr",
    "critic_learning_rate": "critic.lr",
    "critic_pretrain": "critic.model",
    "lr_scheduler": "optim.lr_schedule",
    "lr_warmup_ratio": "optim.warmup_steps",
    "adam_betas": "optim.betas",
    "l2": "optim.weight_decay",
    "max_norm": "optim.max_grad_norm",
    "micro_train_batch_size": "optim.micro_batch_size",
    "rollout_batch_size": "sampling.prompts_per_step",
    "n_samples_per_prompt": "sampling.group_size",
    "generate_max_len": "sampling.max_new_tokens",
    "max_epochs": "optim.epochs",
    "num_episodes": "steps",
    "eps_clip": "algo.clip_ratio_low",
    "eps_clip_low_high": "algo.clip_ratio_low",
    "clip_range": "algo.clip_ratio_low",
    "init_kl_coef": "algo.kl_coef",
    "use_kl_estimator_k3": "algo.kl_estimator",
    "advantage_estimator": "algo.advantage",
    "entropy_loss_coef": "algo.entropy_coef",
    "entropy_coeff": "algo.entropy_coef",
    "lambd": "algo.gae_lambda",
    "value_clip_range": "critic.value_clip",
    "dynamic_filtering": "filter.dynamic_sampling",
    "enable_vllm_is_correction": "algo.importance_sampling_correction",
    "vllm_is_truncated_threshold": "algo.importance_sampling_cap",
    "remote_rm_url": "rubric",
    "max_len": "max_length",
    "dataset": "data",
    "train_file": "data",
    # several of them
    "num_samples": "sampling.n",
    "max_tokens": "sampling.max_new_tokens",
    "stop_strings": "sampling.stop",
    "stop_sequences": "sampling.stop",
    "save_every": "checkpoint.every",
    "system_prompt": "template",
    "reward": "rubric",
    "rewards": "rubric",
    "environment": "env",
}


# Groups.


class Optim(Settings):
    """Optimizer (AdamW) and learning rate."""

    name: Literal["adamw", "adamw8bit"] = Field(
        default="adamw",
        description="adamw8bit keeps the moments in 8 bits (2 bytes a weight instead of 8); needs the package bitsandbytes.",
    )
    lr: float = Field(default=1e-6, gt=0, description="Peak learning rate.")
    lr_schedule: Schedule = Field(default="constant", description="Course of the learning rate after the warm-up.")
    min_lr_ratio: float = Field(
        default=0.0, ge=0, le=1, description="Last learning rate of a linear or cosine schedule, as a share of the peak."
    )
    warmup_steps: int = Field(default=10, ge=0, description="Optimizer steps of linear warm-up.")
    betas: tuple[float, float] = Field(default=(0.9, 0.95), description="Decay rates of AdamW's two moments.")
    weight_decay: float = Field(default=0.0, ge=0, description="Weight decay of AdamW.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradients are clipped to this norm.")
    micro_batch_size: int | None = Field(
        default=None, ge=1, description="Sequences per forward pass; affects memory, not results. null: chosen by memory."
    )
    max_bad_steps: int = Field(
        default=3,
        ge=1,
        description="Steps in a row without a finite loss and gradient after which training stops; each is skipped and shown.",
    )
    dither: bool = Field(
        default=True,
        description="Spread float32 weights that were loaded from few bits, so that small updates count from the first step on.",
    )


class Checkpoint(Settings):
    """Checkpoints, and the model that training leaves."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Number format of the model that training leaves; auto: that in which it was loaded."
    )

    every: int = Field(
        default=50, ge=0, description="Steps between checkpoints, and one after the last; 0: only where the run is interrupted."
    )


class LoRA(Settings):
    """Low-rank adapters (LoRA) instead of all weights; needs the package peft."""

    rank: int = Field(default=0, ge=0, description="Rank of the adapters; 0 trains all weights.")
    alpha: int = Field(default=32, ge=1, description="The adapters' product is scaled by alpha / rank.")
    target_modules: str | tuple[str, ...] = Field(
        default="all-linear", description="Layers that get one: all-linear, an expression, or names such as q_proj."
    )
    merge: bool = Field(default=True, description="Leave the model with the adapters merged in; false: the adapters alone.")


class Sampling(Settings):
    """How completions are sampled."""

    temperature: float = Field(default=1.0, gt=0, description="Sampling temperature.")
    top_k: int = Field(default=0, ge=0, description="Draw from the k likeliest tokens only; 0 keeps the whole distribution.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Nucleus sampling; 1 keeps the whole distribution.")
    min_p: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Draw from tokens at least so likely, relative to the likeliest; 0 keeps the whole distribution.",
    )
    repetition_penalty: float = Field(
        default=1.0, gt=0, description="Makes tokens that have been there already less likely; 1: no penalty."
    )
    max_new_tokens: int = Field(default=128, ge=1, description="Most tokens per completion, or per turn of a dialogue.")
    stop: tuple[StopText, ...] = Field(
        default=(), description="Texts that end a completion and are part of it, besides those of the prompt template."
    )
    ignore_eos: bool = Field(default=False, description="Do not end completions at end-of-sequence tokens.")

    def params(self, **more: Any) -> SamplingParams:
        """Return these settings as an engine takes them; `more` are its others (`n`, `seed`), or other values."""
        shared = Sampling.model_fields.keys() & SamplingParams.model_fields.keys()
        return SamplingParams(**{**{name: getattr(self, name) for name in shared}, **more})


class Eval(Settings):
    """Evaluation during training."""

    every: int = Field(default=0, ge=0, description="Steps between evaluations; 0 turns evaluation off.")
    limit: int = Field(default=128, ge=1, description="Tasks of each environment.")
    env_options: dict[str, Any] = Field(
        default_factory=dict, description="Options laid over the environment's; the split is test unless they name another."
    )
    samples: int | None = Field(
        default=None, ge=0, description="Completions of each evaluation and environment stored with the run; null: all."
    )


# Settings of trainers, by what they do. A trainer's model inherits from those that fit.


class SuiteSettings(Settings):
    """Settings of a trainer that draws tasks."""

    env: str | None = Field(default=None, description="Environment or suite, by name (see r1env envs).")
    env_options: dict[str, Any] = Field(default_factory=dict, description="Options of the environment's task source.")
    template: str | None = Field(default=None, description="Prompt template; null: the environment's own.")
    hold_out: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the tasks of a source without splits that is kept for evaluation, by a hash of what they ask.",
    )
    mixture: tuple[EnvironmentShare, ...] = Field(
        default=(), description="Instead of env: environments with weights: [{env, weight, env_options, rubric, template}, …]."
    )

    reset_with: ClassVar[Mapping[str, tuple[str, ...]]] = {"env": ("env_options", "eval.env_options")}

    @model_validator(mode="after")
    def _one_origin_of_tasks(self) -> Self:
        if self.env is not None and self.mixture:
            raise ValueError("give env or mixture, not both (env=null removes a preset's)")
        if self.mixture and (self.env_options or self.template):
            raise ValueError("env_options and template belong to env; in a mixture each share has its own")
        return self


class LocalConfig(TrainerConfig):
    """Settings of every trainer that runs in one process."""

    model: ModelName = Field(description="Where to start: a name the trainer knows, a folder, a hub name, or stage:NAME.")
    steps: int = Field(default=100, ge=1, description="Training steps.")
    device: Device = Field(default="auto", description="Where to compute; auto: cuda where there is a GPU.")
    threads: int | None = Field(default=None, ge=1, description="CPU threads; null: 1 for small models, else torch's choice.")
    memory_gb: float | None = Field(
        default=None,
        gt=0,
        description="Most GPU memory to take; costs time, changes no result. null: all. Below what fits, layers are recomputed.",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Compute every layer again in the backward pass: a third more operations, far less memory, the same result.",
    )
    optim: Optim = Optim()
    checkpoint: Checkpoint = Checkpoint()
    lora: LoRA = LoRA()

    @property
    def frozen_copies(self) -> int:
        """Models of the same size that are held beside the one that is trained, such as the reference of RL."""
        return 0

    may_change: ClassVar[frozenset[str]] = frozenset(
        {
            *(
                "steps",
                "epochs",
                "device",
                "threads",
                "gradient_checkpointing",
                "max_failed",
                "max_unscored",
                "checkpoint",
                "eval",
                "log",
                "engine",
            ),
            *("optim.lr", "optim.lr_schedule", "optim.min_lr_ratio", "optim.warmup_steps", "optim.max_grad_norm"),
            *("optim.micro_batch_size", "optim.micro_batch_tokens", "optim.max_bad_steps"),
        }
    )
    names_elsewhere: ClassVar[Mapping[str, str]] = NAMES_ELSEWHERE
    renamed: ClassVar[Mapping[str, str]] = {
        "lr": "optim.lr",
        "lr_schedule": "optim.lr_schedule",
        "lr_floor": "optim.min_lr_ratio",
        "warmup_steps": "optim.warmup_steps",
        "betas": "optim.betas",
        "weight_decay": "optim.weight_decay",
        "grad_clip": "optim.max_grad_norm",
        "micro_batch_size": "optim.micro_batch_size",
        "dither": "optim.dither",
        "checkpoint_every": "checkpoint.every",
    }


def open_suite(
    settings: SuiteSettings, rubric: str | RubricSpec, default_split: str | None = "train", /, **options: Any
) -> Suite:
    """Open the suite that the settings name.

    Args:
        rubric: of every environment; of a mixture, where a share names none.
        default_split: of every environment whose options name no other; None for all tasks of sources that have no splits.
        options: laid over those of every environment, e.g. `split="test"`.

    Raises:
        NoSplitError: a source has no such split.
        UsageError: unknown name, or options that the source rejects.
    """
    if settings.mixture:
        shares = settings.mixture
        if "split" in options:  # it goes before those that shares name
            split = {"split": options.pop("split")}
            shares = tuple(share.model_copy(update={"env_options": {**share.env_options, **split}}) for share in shares)
        return make_mixture(shares, rubric=rubric, split=default_split, hold_out=settings.hold_out, **options)
    assert settings.env is not None  # trainers whose tasks are optional ask first
    given = {"split": default_split, "hold_out": settings.hold_out, **settings.env_options, **options}
    return make_suite(settings.env, rubric=rubric, template=settings.template, **given)


def open_evaluation(
    settings: SuiteSettings, rubric: str | RubricSpec, training: Sequence[Suite] = (), /, **options: Any
) -> Suite:
    """Open the suite of an evaluation: the split `test` of the environments that the settings name.

    Args:
        training: the suites that the model learns from, none of whose tasks may be in the evaluation. Without any, a split that the settings
            themselves name is the one to evaluate on.
        options: laid over those of every environment; they may name another split.

    Raises:
        UsageError: as `open_suite`; or training would see the same tasks, because a source has no splits or because the options say so.
    """
    try:
        suite = open_suite(settings, rubric, "test", **({"split": "test", **options} if training else options))
    except NoSplitError as error:
        suite = open_suite(settings, rubric, None, **options)
        try:
            _check_disjoint(training, suite)
        except UsageError:
            raise UsageError(
                f"there are no tasks to evaluate on that training does not see: {error}; eval.every=0 goes without"
            ) from error
    _check_disjoint(training, suite)
    return suite


def _check_disjoint(training: Sequence[Suite], evaluation: Suite) -> None:
    for suite in training:
        check_disjoint(suite, evaluation)
