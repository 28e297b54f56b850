"""The SFT loop."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from r1env.recipes import Estimate
from r1env.runs.run import Run
from r1env.trainer import is_stage
from r1env_trainers.checkpoints import save_model
from r1env_trainers.cost.stages import LOOKED_AT, estimate_sft
from r1env_trainers.local import Session, begin, check_local, checkpoint_when_due, optimizer_step
from r1env_trainers.openrlhf.sft import backend as openrlhf
from r1env_trainers.sft.config import SFTConfig, TuningSettings
from r1env_trainers.sft.data import (
    Demonstrations,
    encode,
    open_demonstrations,
    read_demonstrations,
    steps_of,
    waits_for_a_stage,
)
from r1env_trainers.sft.loss import Pair, forward_passes, make_batch, response_loss
from r1env_trainers.sft.measure import Measurements, evaluation_suite
from r1env_trainers.sft.rows import Demonstration


class SFTTrainer:
    """The trainer plugin `sft`. The backend `local` is here; `openrlhf` is handed over."""

    def check(self, config: SFTConfig) -> None:
        if config.backend == "openrlhf":
            openrlhf.check(config)
            return
        check_local(config)
        evaluation_suite(config)
        if not waits_for_a_stage(config):
            open_demonstrations(config).at(0)
        if config.held_out is not None and not is_stage(config.held_out):
            read_demonstrations(config.held_out, config.train_on)

    def estimate(self, config: SFTConfig) -> Estimate | None:
        if waits_for_a_stage(config):
            return None
        demonstrations = open_demonstrations(config)
        return estimate_sft(config, [demonstrations.at(i) for i in range(LOOKED_AT)], steps_of(config, demonstrations))

    def train(self, config: SFTConfig, run: Run) -> None:
        if config.backend == "openrlhf":
            openrlhf.train(config, run)
            return
        held_out = [] if config.held_out is None else read_demonstrations(config.held_out, config.train_on)
        tune(config, open_demonstrations(config), held_out, run)


def tune(config: TuningSettings, demonstrations: Demonstrations, held_out: Sequence[Demonstration], run: Run) -> None:
    """Learn the demonstrations and leave the model, or go on from the newest checkpoint."""
    config = config.model_copy(update={"steps": steps_of(config, demonstrations)})
    session = begin(config, run)
    tokenizer = session.loaded.tokenizer
    measured = [encode(one, tokenizer, config.max_length) for one in held_out]
    measurements = Measurements(config, session.loaded, measured)
    for step in range(session.first_step, config.steps):
        if measurements.due(step) and measurements.take(run, step):
            break
        start = time.perf_counter()
        positions = range(step * config.batch_size, (step + 1) * config.batch_size)
        pairs = [encode(demonstrations.at(i), tokenizer, config.max_length) for i in positions]
        metrics = _update(session, pairs, config, step)
        run.log(step + 1, metrics | {"seconds/update": time.perf_counter() - start})
        checkpoint_when_due(session, config, run, step + 1)
    else:
        if config.eval_every:
            measurements.take(run, config.steps)
    save_model(run.model_dir(), session.loaded)


def _update(session: Session, pairs: Sequence[Pair], config: TuningSettings, step: int) -> dict[str, float]:
    """One optimizer step on a batch of (prompt, response) ids."""
    loaded = session.loaded
    tokens = float(sum(len(response) for _, response in pairs))
    total = torch.zeros((), device=loaded.device)
    for chosen in forward_passes(pairs, loaded.model, config):
        loss = response_loss(loaded.model, make_batch(chosen, loaded.pad, loaded.device), tokens)
        loss.backward()
        total += loss.detach()
    taken = optimizer_step(loaded, session.optimizer, config, step, total=config.steps)
    return {"loss": float(total), "tokens": tokens} | taken
