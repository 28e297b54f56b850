"""The SFT loop."""

from __future__ import annotations

import time

import torch

from r1env.runs.run import Run
from r1env_trainers.checkpoints import save_model
from r1env_trainers.local import Session, begin, check_local, checkpoint_when_due, optimizer_step
from r1env_trainers.micro_batches import micro_batches
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.data import encode, open_demonstrations
from r1env_trainers.sft.loss import make_batch, response_loss


class SFTTrainer:
    """The trainer plugin `sft`."""

    def check(self, config: SFTConfig) -> None:
        check_local(config)
        open_demonstrations(config).at(0)

    def train(self, config: SFTConfig, run: Run) -> None:
        demonstrations = open_demonstrations(config)
        session = begin(config, run)
        for step in range(session.first_step, config.steps):
            start = time.perf_counter()
            positions = range(step * config.batch_size, (step + 1) * config.batch_size)
            pairs = [encode(demonstrations.at(i), session.loaded.tokenizer, config.max_length) for i in positions]
            metrics = _update(session, pairs, config, step)
            run.log(step + 1, metrics | {"seconds/update": time.perf_counter() - start})
            checkpoint_when_due(session, config, run, step + 1)
        save_model(run.model_dir(), session.loaded)


def _update(session: Session, pairs: list[tuple[list[int], list[int]]], config: SFTConfig, step: int) -> dict[str, float]:
    """One optimizer step on a batch of (prompt, response) ids."""
    loaded = session.loaded
    tokens = float(sum(len(response) for _, response in pairs))
    lengths = [len(prompt) + len(response) for prompt, response in pairs]
    total = torch.zeros((), device=loaded.device)
    for places in micro_batches(lengths, loaded.model, config.micro_batch_size):
        batch = make_batch([pairs[place] for place in places], loaded.pad, loaded.device)
        loss = response_loss(loaded.model, batch, tokens)
        loss.backward()
        total += loss.detach()
    taken = optimizer_step(loaded, session.optimizer, config, step, total=config.steps)
    return {"loss": float(total), "tokens": tokens} | taken
