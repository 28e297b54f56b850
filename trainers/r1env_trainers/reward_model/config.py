"""The settings of reward-model training and their presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from r1env_trainers.model.session import LocalConfig

Objective = Literal["pairwise", "pointwise"]
Reads = Literal["response", "completion"]


class RewardModelConfig(LocalConfig):
    """Settings of the `reward_model` trainer, beside those of `LocalConfig`.

    R1 trains its helpful model pairwise on the final response, and its safety model pointwise on the whole completion.

    Attributes:
        data: a JSON-lines file, or `stage:NAME/FILE`; see `data` for its rows.
        eval_data: another such file that is only measured on; without it, `eval_share` of the prompts of `data` are held out.
        objective: `pairwise` (Bradley-Terry on chosen and rejected) or `pointwise` (cross-entropy on safe and unsafe).
        reads: what the model sees of a completion: the `response` after the thinking, or the whole `completion`.
        min_margin: judged pairs are kept where the mean of their votes exceeds this; R1 keeps those above 1.
        balance_lengths: keep as many pairs whose chosen response is the longer one as pairs whose rejected one is; see `select`.
        margin_scale: times the mean vote is the margin that the chosen response must lead by; 0 is plain Bradley-Terry.
        batch_size: pairs, or labelled completions, an optimizer step.
        max_length: longest prompt plus response, in tokens; longer rows are left out of training, and never scored later.
        eval_every: measure on the held-out rows every so many steps, and after the last; 0 only after the last.
        lr: R1's, as are batch size and length in the presets `r1-helpful` and `r1-safety`.
    """

    data: str
    eval_data: str | None = None
    eval_share: float = Field(default=0.1, ge=0, lt=1)
    objective: Objective = "pairwise"
    reads: Reads = "response"
    min_margin: float = Field(default=1.0, ge=0)
    balance_lengths: bool = True
    margin_scale: float = Field(default=0.0, ge=0)

    batch_size: int = Field(default=32, ge=1)
    max_length: int = Field(default=2048, ge=2)
    eval_every: int = Field(default=50, ge=0)
    lr: float = Field(default=6e-6, gt=0)
    checkpoint_every: int = Field(default=200, ge=0)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny-cpu": {"model": "tiny", "steps": 100, "batch_size": 32, "micro_batch_size": 32, "lr": 1e-3, "max_length": 256},
        # One epoch each: 66,000 pairs and 106,000 labelled completions.
        "r1-helpful": {"batch_size": 256, "steps": 258, "max_length": 8192},
        "r1-safety": {
            "batch_size": 256,
            "steps": 414,
            "max_length": 8192,
            "objective": "pointwise",
            "reads": "completion",
        },
    }
