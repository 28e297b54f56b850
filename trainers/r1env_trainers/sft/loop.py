"""The SFT loop."""

from __future__ import annotations

import time

import torch

from r1env.runs.run import Run
from r1env.trainer import STAGE_PREFIX
from r1env_trainers.checkpoints import list_checkpoints, load_state, restore, save_checkpoint, save_model
from r1env_trainers.devices import choose_device, limit_threads
from r1env_trainers.models.load import LoadedModel, check_model_name, load_model
from r1env_trainers.schedule import learning_rate
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.data import encode, open_demonstrations
from r1env_trainers.sft.loss import make_batch, response_loss


class SFTTrainer:
    """The trainer plugin `sft`."""

    def check(self, config: SFTConfig) -> None:
        choose_device(config.device)
        if not config.model.startswith(STAGE_PREFIX):
            check_model_name(config.model)
        open_demonstrations(config).at(0)

    def train(self, config: SFTConfig, run: Run) -> None:
        demonstrations = open_demonstrations(config)
        device = choose_device(config.device)
        checkpoint = next(reversed(list_checkpoints(run.checkpoint_dir)), None)
        loaded = load_model(str(checkpoint or config.model), device=device, seed=config.seed)
        limit_threads(loaded.parameters, config.threads)
        optimizer = torch.optim.AdamW(
            loaded.model.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        first = 0
        if checkpoint is not None:
            state = load_state(checkpoint)
            first = restore(state, optimizer)
            run.rewind(state["position"])
        for step in range(first, config.steps):
            start = time.perf_counter()
            positions = range(step * config.batch_size, (step + 1) * config.batch_size)
            pairs = [encode(demonstrations.at(i), loaded.tokenizer, config.max_length) for i in positions]
            metrics = _update(loaded, optimizer, pairs, config, step)
            run.log(step + 1, metrics | {"seconds/update": time.perf_counter() - start})
            if config.checkpoint_every and (step + 1) % config.checkpoint_every == 0 and step + 1 < config.steps:
                save_checkpoint(run.checkpoint_dir, step + 1, loaded, optimizer, run.position())
        save_model(run.model_dir(), loaded)


def _update(
    loaded: LoadedModel,
    optimizer: torch.optim.Optimizer,
    pairs: list[tuple[list[int], list[int]]],
    config: SFTConfig,
    step: int,
) -> dict[str, float]:
    """One optimizer step on a batch of (prompt, response) ids."""
    rate = learning_rate(
        step,
        peak=config.lr,
        warmup=config.warmup_steps,
        total=config.steps,
        schedule=config.lr_schedule,
        floor=config.lr_floor,
    )
    for group in optimizer.param_groups:
        group["lr"] = rate
    pad = loaded.tokenizer.pad_token_id
    assert isinstance(pad, int)  # load_model gives every tokenizer one
    tokens = float(sum(len(response) for _, response in pairs))
    ordered = sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]), reverse=True)
    total = 0.0
    for i in range(0, len(ordered), config.micro_batch_size):
        batch = make_batch(ordered[i : i + config.micro_batch_size], pad, loaded.device)
        loss = response_loss(loaded.model, batch, tokens)
        loss.backward()
        total += float(loss.detach())
    norm = float(torch.nn.utils.clip_grad_norm_(loaded.model.parameters(), config.grad_clip))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"loss": total, "lr": rate, "grad_norm": norm, "tokens": tokens}
