"""Presets of the trainers `grpo` and `ppo`: published settings with where each number comes from, and ours for small models.

The papers count optimizer steps; here a step is a batch of rollouts. DeepSeek-R1 makes 16 updates of one batch, so its 10,400 steps
are 650 of ours, its 400 between two references are 25, and step 8,200, where it doubles the length, is in our step 512.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_R1: Mapping[str, Any] = {
    # DeepSeek-R1, Nature 645:633 (2025), Methods, "Training details": one batch of 8,192 rollouts (512 questions, 16 answers each),
    # cut at random into 16 mini-batches of 512.
    "prompts_per_step": 512,
    "group_size": 16,
    "mini_batches": 16,
    "lr": 3e-6,
    "kl_coef": 0.001,
    "kl_estimator": "k3",
    "reference_every": 25,  # 400 optimizer steps
    "max_new_tokens": 32_768,
    "temperature": 1.0,
    "advantage": "group_std",  # eq. 3
    # "a lower value can lead to the truncation of gradients for a large number of tokens": published for the first RL stage of R1.
    # For R1-Zero it is our choice.
    "clip_low": 10.0,
    "clip_high": 10.0,
    # Never published, so our choice: the mean over each sequence as in DeepSeekMath, AdamW's settings, no warm-up.
    "aggregation": "sequence",
    "warmup_steps": 0,
}

_REASONING = [
    # Equation 7 and 8: all added with the same weight. That a stage after the cold start keeps `<think>` is published, how the
    # format is rewarded there is not; `r1` asks for thinking and a response.
    {"reward": "accuracy"},
    {"reward": "format", "options": {"template": "r1"}},
    {"reward": "language"},
]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Measured: "sort 4 digits" from chance to certainty in about a CPU minute. The rate is 10 times below the warm-up's:
    # at 1e-3 the policy collapses to an empty answer.
    "tiny-cpu": {
        "model": "tiny",
        "env": "sort-4",
        "env_options": {"style": "compact"},
        "steps": 125,
        "prompts_per_step": 16,
        "group_size": 16,
        "max_new_tokens": 12,
        "micro_batch_size": 256,
        "lr": 1e-4,
        "advantage": "group_std",
        "clip_high": 0.2,
        "track_kl": True,
        "eval_every": 25,
        "eval_limit": 256,
        "eval_options": {"split": "test"},
        "samples_every": 25,
        "rubric": {
            "name": "zero",
            "rewards": [
                {"reward": "accuracy"},
                {"reward": "format", "weight": 0.1, "options": {"empty_thinking": True}},
            ],
        },
    },
    # Published rates for models up to 0.6B lie between 2e-6 and 2e-5; our choice within.
    "smol-135m": {
        "model": "smollm2-135m",
        "env": "add-2digit",
        "template": "tagged",
        "prompts_per_step": 32,
        "group_size": 16,
        "max_new_tokens": 128,
        "lr": 1e-5,
        "eval_every": 10,
        "eval_options": {"split": "test"},
    },
    # The rest say nothing of model and environment: give both.
    "r1-zero": {
        **_R1,
        "steps": 650,  # 10,400 optimizer steps
        "length_schedule": {512: 65_536},  # from step 8.2k
        "rubric": "r1-zero",  # eq. 4: accuracy and format, the same weight
        "template": "r1-zero",
    },
    "r1-stage1": {
        **_R1,
        "steps": 100,  # never published; our choice
        "rubric": {"name": "r1-stage1", "rewards": _REASONING},
    },
    "r1-stage2": {
        **_R1,
        "steps": 106,  # 1,700 optimizer steps
        "temperature": 0.7,
        "rubric": {"name": "r1-stage1", "rewards": _REASONING},
        # 400 optimizer steps in which general prompts come too: give a late_mixture with a rubric of theirs, `stage2` or your own, whose
        # reward model is at the url you set. Tasks with answers are rewarded as before (eq. 8: the rules, and the language).
        "late_steps": 25,
        "late_rubric": {"name": "r1-stage1", "rewards": _REASONING},
    },
    # DeepSeekMath (arXiv 2402.03300), section 4.2: 64 outputs a question, batch 1,024, one update a batch. The clip, the temperature,
    # the number of steps and the warm-up were not published: our choice. Its reward was a neural model; ours is the checker.
    "deepseekmath": {
        "prompts_per_step": 16,
        "group_size": 64,
        "lr": 1e-6,
        "kl_coef": 0.04,
        "kl_estimator": "k3",
        "max_new_tokens": 1024,
        "advantage": "group_std",
        "aggregation": "sequence",
        "clip_low": 0.2,
        "clip_high": 0.2,
        "steps": 1000,
        "rubric": "accuracy",
    },
    # DAPO (arXiv 2503.14476), section 4.1: 512 prompts of 16 answers, 16 updates a batch, 16,384 tokens and 4,096 more as the soft
    # buffer. The most batches of dynamic sampling and the weight decay are those of its released script.
    "dapo": {
        "prompts_per_step": 512,
        "group_size": 16,
        "mini_batches": 16,
        "lr": 1e-6,
        "warmup_steps": 320,  # 20 batches
        "weight_decay": 0.1,
        "max_new_tokens": 20_480,
        "advantage": "group_std",
        "aggregation": "token",
        "clip_low": 0.2,
        "clip_high": 0.28,
        "refill": True,
        "max_refills": 9,  # 10 batches in all
        "steps": 320,  # our choice: half the updates of R1-Zero-Qwen-32B, as in its figure 1
        "rubric": {
            "name": "dapo",
            "rewards": [
                {"reward": "accuracy", "weight": 2.0},  # its 1 and -1, less a constant that no advantage sees
                {"reward": "overlong", "options": {"max_length": 20_480, "buffer": 4_096}},
            ],
        },
    },
    # Dr. GRPO (arXiv 2503.20783) and the command of its repository: 128 prompts of 8 answers, updates of 128, 3,000 tokens, no KL. The
    # number of steps is our choice.
    "drgrpo": {
        "prompts_per_step": 128,
        "group_size": 8,
        "mini_batches": 8,
        "lr": 1e-6,
        "warmup_steps": 0,
        "max_new_tokens": 3_000,
        "advantage": "group_mean",
        "aggregation": "constant",
        "clip_low": 0.2,
        "clip_high": 0.2,
        "steps": 400,
        "rubric": "accuracy",
    },
}

_OF_GROUPS = {"advantage", "clip_high", "track_kl"}

PPO_PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The rollouts are those of GRPO's preset, so that the two can be compared.
    "tiny-cpu": {
        **{name: value for name, value in PRESETS["tiny-cpu"].items() if name not in _OF_GROUPS},
        "critic_lr": 1e-3,
    },
}
