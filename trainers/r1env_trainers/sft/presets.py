"""Named settings of SFT. Numbers without a remark are DeepSeek-R1's (arXiv 2501.12948, version 2, appendix B.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST = 32_768  # tokens; R1's training length, in all of its SFT


def _distilled(model: str, lr: float) -> Mapping[str, Any]:
    """R1's distillation: two to three epochs of its 800 thousand samples, here two, in batches of 64, by a cosine to a tenth."""
    return {"model": model, "epochs": 2, "batch_size": 64, "max_length": LONGEST, "lr": lr, "warmup_steps": 0}


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny-cpu": {
        "model": "tiny",
        "env": "sort-4",
        "env_options": {"style": "compact"},
        "demonstrator": "r1env_logic.demonstrators:shuffled_digits",
        "steps": 200,
        "batch_size": 64,
        "micro_batch_size": 64,
        "lr": 1e-3,
        "lr_schedule": "constant",
    },
    # DeepSeek-R1's own SFT stages, the cold start and the 800 thousand samples. Of a model one has, at its size; warm-up: ours.
    "r1": {"epochs": 2, "batch_size": 128, "max_length": LONGEST, "lr": 5e-5, "warmup_steps": 0},
    "distill-1.5b": _distilled("Qwen/Qwen2.5-Math-1.5B", 1e-4),
    "distill-7b": _distilled("Qwen/Qwen2.5-Math-7B", 8e-5),
    "distill-8b": _distilled("meta-llama/Llama-3.1-8B", 5e-5),
    "distill-14b": _distilled("Qwen/Qwen2.5-14B", 7e-5),
    "distill-32b": _distilled("Qwen/Qwen2.5-32B", 6e-5),
    "distill-70b": _distilled("meta-llama/Llama-3.3-70B-Instruct", 2e-5),
}
