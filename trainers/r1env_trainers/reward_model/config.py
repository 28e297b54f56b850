"""The settings of reward-model training and their presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from r1env.config import Preset, Settings
from r1env_trainers.settings import Checkpoint, LocalConfig, Optim

Objective = Literal["pairwise", "pointwise"]
Reads = Literal["response", "completion"]

_R1_PAPER = "DeepSeek-R1, arXiv 2501.12948v2, section 3.1 and appendix B"


class RewardModelOptim(Optim):
    """Optimizer (AdamW) and learning rate."""

    lr: float = Field(default=6e-6, gt=0, description="Peak learning rate.", json_schema_extra={"source": _R1_PAPER})
    batch_size: int = Field(default=32, ge=1, description="Pairs, or labelled completions, per optimizer step.")


class RewardModelEval(Settings):
    """Evaluation during training."""

    every: int = Field(
        default=50, ge=0, description="Steps between measurements on the held-out rows; 0 measures only after the last step."
    )
    data: str | None = Field(
        default=None, description="A file of rows that are only measured; null: hold out eval.share of data."
    )
    share: float = Field(default=0.1, ge=0, lt=1, description="Share of the prompts of data that are held out.")


class RewardModelCheckpoint(Checkpoint):
    """Checkpoints."""

    every: int = Field(default=200, ge=0, description="Steps between checkpoints; 0 keeps only the final model.")


class Pairs(Settings):
    """Which preference pairs are learned from, and how."""

    min_margin: float = Field(
        default=1.0,
        ge=0,
        description="Keep judged pairs whose mean vote exceeds this.",
        json_schema_extra={"source": _R1_PAPER},
    )
    balance_lengths: bool = Field(
        default=True, description="Keep as many pairs with a longer chosen response as with a longer rejected one."
    )
    margin_scale: float = Field(
        default=0.0, ge=0, description="Times the mean vote, the margin by which chosen must lead; 0: plain Bradley-Terry."
    )


class RewardModelConfig(LocalConfig):
    """Settings of the trainer `reward_model`.

    R1 trains its helpful model pairwise on the final response, and its safety model pointwise on the whole completion.
    """

    data: str = Field(description="A file, a folder or a hub data set of pairs or labels, or stage:NAME/FILE.")
    objective: Objective = Field(
        default="pairwise", description="Bradley-Terry on chosen and rejected, or cross-entropy on safe and unsafe."
    )
    reads: Reads = Field(
        default="response", description="What the model sees: the response after the thinking, or the whole completion."
    )
    steps: int = Field(default=100, ge=1, description="Training steps; each is one optimizer step.")
    max_length: int = Field(
        default=2048, ge=2, description="Most tokens of prompt plus response; longer rows are skipped, and never scored later."
    )
    pairs: Pairs = Pairs()
    optim: RewardModelOptim = RewardModelOptim()
    eval: RewardModelEval = RewardModelEval()
    checkpoint: RewardModelCheckpoint = RewardModelCheckpoint()

    renamed: ClassVar[Mapping[str, str]] = {
        **LocalConfig.renamed,
        "batch_size": "optim.batch_size",
        "eval_every": "eval.every",
        "eval_data": "eval.data",
        "eval_share": "eval.share",
        "min_margin": "pairs.min_margin",
        "balance_lengths": "pairs.balance_lengths",
        "margin_scale": "pairs.margin_scale",
    }
    presets: ClassVar[Mapping[str, Preset | Mapping[str, Any]]] = {
        "tiny-cpu": Preset(
            {
                "model": "tiny",
                "steps": 100,
                "max_length": 256,
                "optim": {"lr": 1e-3, "batch_size": 32, "micro_batch_size": 32},
            }
        ),
        # One epoch each: 66,000 pairs and 106,000 labelled completions.
        "r1-helpful": Preset(
            {"steps": 258, "max_length": 8192, "optim": {"batch_size": 256}},
            source=_R1_PAPER,
            notes={"steps": f"{_R1_PAPER}: one epoch of 66,000 pairs"},
        ),
        "r1-safety": Preset(
            {
                "objective": "pointwise",
                "reads": "completion",
                "steps": 414,
                "max_length": 8192,
                "optim": {"batch_size": 256},
            },
            source=_R1_PAPER,
            notes={"steps": f"{_R1_PAPER}: one epoch of 106,000 labelled completions"},
        ),
    }
