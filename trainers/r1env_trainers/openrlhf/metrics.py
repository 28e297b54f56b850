"""OpenRLHF's numbers of a step under our names. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping

NAMES: Mapping[str, str] = {
    "rollout/reward_mean": "reward",
    "rollout/reward_std": "reward/std",
    "rollout/response_length_mean": "length/mean",
    "rollout/truncated_rate": "truncated",
    "turns": "turns",
    "policy_loss": "loss",
    "actor_lr": "lr",
    "actor_grad_norm": "grad_norm",
    "kl": "kl",
    "ppo_kl": "ppo_kl",
    "ppo_clip_ratio": "clipped",
    "vllm_kl": "sampler_gap",
    "dynamic_filtering_pass_rate": "refill/kept_share",
    "timing/generation": "seconds/generate",
    "timing/make_experience": "seconds/experience",
    "timing/ppo_train": "seconds/update",
    "timing/broadcast": "seconds/sync",
}
"""OpenRLHF's name → ours. What stands in neither this table nor the rules below is left out."""

TUNING_NAMES: Mapping[str, str] = {"loss_mean": "loss", "lr": "lr", "grad_norm": "grad_norm", "seconds": "seconds/update"}
"""Of its SFT trainer."""

SCORED = "scored/"
"""Prefix of the share of rollouts that have a value for a part; see `EpisodeExecutor`."""


def step_metrics(given: Mapping[str, float | None]) -> dict[str, float]:
    """The metrics of a training step.

    Parts come as means over all rollouts in which a missing value counts 0; divided by the share that has one, they are the
    means over those, and left out where there is none. So is the reward, of which OpenRLHF's own mean counts `unscored` in.
    """
    found = {key: math.nan if value is None else value for key, value in given.items()}
    metrics = {ours: found[theirs] for theirs, ours in NAMES.items() if theirs in found}
    metrics["unscored"] = found.get("error", 0.0) * found.get("rollout/num_samples", 0.0)
    for key, share in found.items():
        if key.startswith(SCORED) and share > 0:
            part = key.removeprefix(SCORED)
            metrics["reward" if part == "value" else part] = found[part] / share
    return metrics


def evaluation_metrics(given: Mapping[str, float | None]) -> dict[str, float]:
    """The metrics of an evaluation: the mean accuracy over its environments, and each one's where there are several."""
    prefix, suffix = "eval_", "_pass1"
    accuracies = {
        key.removeprefix(prefix).removesuffix(suffix): math.nan if value is None else value
        for key, value in given.items()
        if key.startswith(prefix) and key.endswith(suffix)
    }
    metrics = {"eval/accuracy": math.fsum(accuracies.values()) / len(accuracies)} if accuracies else {}
    if (length := given.get("eval_response_length_mean")) is not None:
        metrics["eval/length"] = length
    if len(accuracies) > 1:
        metrics |= {f"eval/{name}/accuracy": accuracy for name, accuracy in accuracies.items()}
    return metrics


def tuning_metrics(given: Mapping[str, float | None]) -> dict[str, float]:
    """The metrics of a step of SFT."""
    found = {key: math.nan if value is None else value for key, value in given.items()}
    return {ours: found[theirs] for theirs, ours in TUNING_NAMES.items() if theirs in found}
