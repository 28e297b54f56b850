"""Presets of `grpo` and `ppo`: published settings with where each number comes from, and ours for small models.

The papers count optimizer steps; here a step is a batch of rollouts. DeepSeek-R1 makes 16 updates per batch, so its 10,400 steps
are 650 of ours, its 400 between two references are 25, and step 8,200, where it doubles the length, is in our step 512.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1env.config import Preset

_R1_PAPER = 'DeepSeek-R1, Nature 645:633 (2025), Methods, "Training details"'

# One batch of 8,192 rollouts (512 questions, 16 answers each), cut at random into 16 mini-batches of 512.
_R1_SAMPLING: Mapping[str, Any] = {
    "prompts_per_step": 512,
    "group_size": 16,
    "max_new_tokens": 32_768,
    "temperature": 1.0,
}
_R1: Mapping[str, Any] = {
    "sampling": _R1_SAMPLING,
    "optim": {"lr": 3e-6, "mini_batches": 16, "warmup_steps": 0},
    "algo": {
        "advantage": "grpo",
        "clip_ratio_low": 10.0,
        "clip_ratio_high": 10.0,
        "loss_aggregation": "seq-mean-token-mean",
        "count_flat_groups": True,
        "kl_coef": 0.001,
        "kl_estimator": "k3",
        "ref_model_sync_steps": 25,
    },
}
_R1_NOTES: Mapping[str, str] = {
    "algo.advantage": "DeepSeek-R1, eq. 3",
    "algo.ref_model_sync_steps": f"{_R1_PAPER}: every 400 optimizer steps",
    "algo.loss_aggregation": "our choice, never published: the mean over each sequence, as in DeepSeekMath",
    "optim.warmup_steps": "our choice: no warm-up was published",
}
# "A lower value can lead to the truncation of gradients for a large number of tokens" was written of the first RL stage of R1.
_CLIP_IS_OURS = "our choice: the value of R1's first RL stage; never published for this run"

_REASONING = [
    # Equation 7 and 8: all added with the same weight. That a stage after the cold start keeps `<think>` is published, how the
    # format is rewarded there is not; `r1` asks for thinking and a response.
    {"reward": "accuracy"},
    {"reward": "format", "options": {"template": "r1"}},
    {"reward": "language"},
]
_RUBRIC_NOTE = "DeepSeek-R1, eq. 7 and 8, summed with equal weights; how the format is rewarded is our choice"

# Measured: "sort 4 digits" from chance to certainty in about a CPU minute. The learning rate is 10 times below the warm-up's: at 1e-3
# the policy collapses to an empty answer.
_TINY: Mapping[str, Any] = {
    "model": "tiny",
    "env": "sort-4",
    "env_options": {"style": "compact"},
    "rubric": {
        "name": "zero",
        "rewards": [
            {"reward": "accuracy"},
            {"reward": "format", "weight": 0.1, "options": {"empty_thinking": True}},
        ],
    },
    "steps": 125,
    "sampling": {"prompts_per_step": 16, "group_size": 16, "max_new_tokens": 12},
    "optim": {"lr": 1e-4, "micro_batch_size": 256},
    "eval": {"every": 25, "limit": 256, "env_options": {"split": "test"}},
}

GRPO_PRESETS: Mapping[str, Preset] = {
    "tiny-cpu": Preset({**_TINY, "algo": {"advantage": "grpo", "clip_ratio_high": 0.2, "track_kl": True}}),
    "smol-135m": Preset(
        {
            "model": "smollm2-135m",
            "env": "add-2digit",
            "template": "tagged",
            "sampling": {"prompts_per_step": 32, "group_size": 16, "max_new_tokens": 128},
            "optim": {"lr": 1e-5},
            "eval": {"every": 10, "env_options": {"split": "test"}},
        },
        notes={"optim.lr": "our choice: published rates for models up to 0.6B lie between 2e-6 and 2e-5"},
    ),
    # The rest say nothing of model and environment: give both.
    "r1-zero": Preset(
        {
            **_R1,
            "rubric": "r1-zero",
            "template": "r1-zero",
            "steps": 650,
            "sampling": {**_R1_SAMPLING, "length_schedule": {512: 65_536}},
        },
        source=_R1_PAPER,
        notes={
            **_R1_NOTES,
            "steps": f"{_R1_PAPER}: 10,400 optimizer steps",
            "rubric": "DeepSeek-R1, eq. 4: accuracy and format with the same weight",
            "template": "DeepSeek-R1, table 1",
            "sampling.length_schedule": f"{_R1_PAPER}: from optimizer step 8,200",
            "algo.clip_ratio_low": _CLIP_IS_OURS,
            "algo.clip_ratio_high": _CLIP_IS_OURS,
        },
    ),
    "r1-stage1": Preset(
        {**_R1, "rubric": {"name": "r1-stage1", "rewards": _REASONING}, "steps": 100},
        source=_R1_PAPER,
        notes={**_R1_NOTES, "steps": "our choice, never published", "rubric": _RUBRIC_NOTE},
    ),
    # In the last 400 optimizer steps general prompts come too: give a final_phase.mixture with a rubric of theirs, `stage2` or your own,
    # whose reward model is at the url you set. Tasks with answers are rewarded as before (eq. 8: the rules, and the language).
    "r1-stage2": Preset(
        {
            **_R1,
            "rubric": {"name": "r1-stage1", "rewards": _REASONING},
            "steps": 106,
            "sampling": {**_R1_SAMPLING, "temperature": 0.7},
            "final_phase": {"steps": 25, "rubric": {"name": "r1-stage1", "rewards": _REASONING}},
        },
        source=_R1_PAPER,
        notes={
            **_R1_NOTES,
            "steps": f"{_R1_PAPER}: 1,700 optimizer steps",
            "rubric": _RUBRIC_NOTE,
            "final_phase.steps": f"{_R1_PAPER}: general prompts and preference rewards in the last 400 optimizer steps",
            "final_phase.rubric": "DeepSeek-R1, eq. 8; its reward models for general prompts were not published",
        },
    ),
    "deepseekmath": Preset(
        {
            "rubric": "accuracy",
            "steps": 1000,
            "sampling": {"prompts_per_step": 16, "group_size": 64, "max_new_tokens": 1024},
            "optim": {"lr": 1e-6},
            "algo": {
                "advantage": "grpo",
                "clip_ratio_low": 0.2,
                "clip_ratio_high": 0.2,
                "loss_aggregation": "seq-mean-token-mean",
                "count_flat_groups": True,
                "kl_coef": 0.04,
                "kl_estimator": "k3",
            },
        },
        source="DeepSeekMath, arXiv 2402.03300, section 4.2",
        notes={
            "rubric": "our choice: the checker; theirs was a neural reward model",
            "steps": "our choice, never published",
            "algo.clip_ratio_low": "our choice, never published",
            "algo.clip_ratio_high": "our choice, never published",
        },
    ),
    # 512 prompts of 16 answers, 16 updates a batch, 16,384 tokens and 4,096 more as the soft buffer.
    "dapo": Preset(
        {
            "rubric": {
                "name": "dapo",
                "rewards": [
                    {"reward": "accuracy", "weight": 2.0},  # its 1 and -1, less a constant that no advantage sees
                    {"reward": "overlong", "options": {"max_length": 20_480, "buffer": 4_096}},
                ],
            },
            "steps": 320,
            "sampling": {"prompts_per_step": 512, "group_size": 16, "max_new_tokens": 20_480},
            "optim": {"lr": 1e-6, "mini_batches": 16, "warmup_steps": 320, "weight_decay": 0.1},  # warm-up of 20 batches
            "algo": {
                "advantage": "grpo",
                "clip_ratio_low": 0.2,
                "clip_ratio_high": 0.28,
                "loss_aggregation": "token-mean",
            },
            "filter": {"dynamic_sampling": True, "dynamic_sampling_metric": "accuracy", "max_extra_batches": 9},
        },
        source="DAPO, arXiv 2503.14476, section 4.1",
        notes={
            "steps": "our choice: half the updates of R1-Zero-Qwen-32B, as in DAPO's figure 1",
            "optim.weight_decay": "DAPO's released script",
            "filter.dynamic_sampling_metric": "DAPO, eq. 11: 0 < right answers < G",
            "filter.max_extra_batches": "DAPO's released script: 10 batches in all",
        },
    ),
    # Ratios of whole sequences lie within thousandths of 1: with the clip of a token's ratio nothing would ever be clipped.
    "gspo": Preset(
        {
            "rubric": "accuracy",
            "steps": 400,
            "sampling": {"prompts_per_step": 128, "group_size": 8, "max_new_tokens": 8_192},
            "optim": {"lr": 1e-6, "mini_batches": 4, "warmup_steps": 0},
            "algo": {
                "advantage": "grpo",
                "policy_ratio": "sequence",
                "clip_ratio_low": 3e-4,
                "clip_ratio_high": 4e-4,
                "loss_aggregation": "seq-mean-token-mean",
                "count_flat_groups": True,
            },
        },
        source="GSPO, arXiv 2507.18071, section 5.1",
        notes={
            "rubric": "our choice: the checker",
            "steps": "our choice, never published",
            "sampling": "our choice, never published",
            "optim.lr": "our choice, never published",
            "optim.warmup_steps": "our choice, never published",
        },
    ),
    # 128 prompts of 8 answers, updates of 128, 3,000 tokens, no KL.
    "drgrpo": Preset(
        {
            "rubric": "accuracy",
            "steps": 400,
            "sampling": {"prompts_per_step": 128, "group_size": 8, "max_new_tokens": 3_000},
            "optim": {"lr": 1e-6, "mini_batches": 8, "warmup_steps": 0},
            "algo": {
                "advantage": "dr_grpo",
                "clip_ratio_low": 0.2,
                "clip_ratio_high": 0.2,
                "loss_aggregation": "seq-mean-token-sum-norm",
                "count_flat_groups": True,  # the normaliser that names it is a constant
            },
        },
        source="Dr. GRPO, arXiv 2503.20783, and the command of its repository",
        notes={"steps": "our choice"},
    ),
}

PPO_PRESETS: Mapping[str, Preset] = {
    # The rollouts are those of GRPO's preset, so that the two can be compared.
    "tiny-cpu": Preset({**_TINY, "critic": {"lr": 1e-3}}),
}
