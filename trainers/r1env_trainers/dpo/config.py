"""The settings of DPO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from r1env.config import Preset, Settings
from r1env.preflight import Preflight
from r1env_trainers.reward_model.config import RewardModelCheckpoint, RewardModelEval
from r1env_trainers.settings import NAMES_ELSEWHERE, LocalConfig, ModelName, Optim
from r1env_trainers.sft.config import TooLong

_PAPER = "DPO, arXiv 2305.18290, appendix B"


class DPOOptim(Optim):
    """Optimizer (AdamW) and learning rate."""

    lr: float = Field(default=1e-6, gt=0, description="Peak learning rate.", json_schema_extra={"source": _PAPER})
    warmup_steps: int = Field(
        default=150, ge=0, description="Optimizer steps of linear warm-up.", json_schema_extra={"source": _PAPER}
    )
    batch_size: int = Field(default=64, ge=1, description="Pairs per optimizer step.", json_schema_extra={"source": _PAPER})


class DPOAlgo(Settings):
    """The loss."""

    beta: float = Field(
        default=0.1,
        gt=0,
        description="How strongly the policy is held to the reference.",
        json_schema_extra={"source": _PAPER},
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=0.5, description="Probability that a pair is the wrong way round (conservative DPO)."
    )
    reference_free: bool = Field(
        default=False, description="Leave the reference out: the policy's own log-probabilities are compared."
    )


class DPOConfig(LocalConfig):
    """Settings of the trainer `dpo`.

    Pairs are read as the trainer `reward_model` reads them, and rendered by the chat template as `sft` renders demonstrations. The
    reference is the model that training starts from.
    """

    model: ModelName = Field(
        description="Policy to start from, and the reference: a name the trainer knows, a folder, a hub name, or stage:NAME."
    )
    data: str = Field(description="A file, a folder or a hub data set of preference pairs, or stage:NAME/FILE.")
    min_margin: float = Field(default=0.0, ge=0, description="Keep judged pairs whose mean vote exceeds this.")
    steps: int = Field(default=100, ge=1, description="Training steps; each is one optimizer step.")
    epochs: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Passes over the pairs, instead of steps."
    )
    max_length: int = Field(default=2048, ge=2, description="Most tokens of prompt plus response.")
    too_long: TooLong = Field(
        default="refuse",
        description="What is done with a pair of which a side is longer; truncate cuts the end of that response off.",
    )
    algo: DPOAlgo = DPOAlgo()
    optim: DPOOptim = DPOOptim()
    preflight: Preflight = Preflight()
    eval: RewardModelEval = RewardModelEval()
    checkpoint: RewardModelCheckpoint = RewardModelCheckpoint()

    @property
    def frozen_copies(self) -> int:
        return int(not self.algo.reference_free and not self.lora.rank)  # with adapters it is the policy with these off

    names_elsewhere: ClassVar[Mapping[str, str]] = {**NAMES_ELSEWHERE, "beta": "algo.beta"}
    presets: ClassVar[Mapping[str, Preset | Mapping[str, Any]]] = {
        "tiny-cpu": Preset(
            {
                "model": "tiny",
                "steps": 60,
                "max_length": 256,
                "optim": {"lr": 3e-4, "batch_size": 16, "micro_batch_size": 16, "warmup_steps": 5},
            }
        ),
    }
