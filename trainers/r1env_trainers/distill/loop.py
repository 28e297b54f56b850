"""The trainer `distill`."""

from __future__ import annotations

from r1env.runs.run import Run
from r1env.trainer import is_stage
from r1env_trainers.distill.config import DistillConfig
from r1env_trainers.distill.offline import distill_from_samples
from r1env_trainers.distill.on_policy import distill_on_policy
from r1env_trainers.local import check_local
from r1env_trainers.models.load import check_model_name
from r1env_trainers.rejection.data import check_extra
from r1env_trainers.rejection.draw import check_draw
from r1env_trainers.sft.measure import evaluation_suite


class DistillTrainer:
    """The trainer plugin `distill`."""

    def check(self, config: DistillConfig) -> None:
        check_local(config)
        if config.engine == "transformers" and not is_stage(config.teacher):
            check_model_name(config.teacher)
        check_draw(config)
        check_extra(config.extra)
        evaluation_suite(config)

    def train(self, config: DistillConfig, run: Run) -> None:
        if config.method == "sft":
            distill_from_samples(config, run)
        else:
            distill_on_policy(config, run)
