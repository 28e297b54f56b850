"""The critic: a model that says what an episode will earn from each of its states on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from r1env_trainers.devices import autocast
from r1env_trainers.forward import TokenBatch, completion_logprobs
from r1env_trainers.local import dither_start
from r1env_trainers.models.load import LoadedModel
from r1env_trainers.ppo.config import PPOConfig
from r1env_trainers.reward_model.model import start_reward_model
from r1env_trainers.schedule import learning_rate


@dataclass(frozen=True, slots=True)
class Critic:
    """A scalar head on a body, and the optimizer of what is the critic's own.

    Attributes:
        own: the parameters that are not the policy's: the whole model, or the head alone.
        body: what gives hidden states; None where that is the policy.
    """

    own: nn.Module
    head: nn.Module
    body: nn.Module | None
    optimizer: torch.optim.Optimizer

    @classmethod
    def start(cls, config: PPOConfig, policy: LoadedModel, state: Mapping[str, Any]) -> Critic:
        """As the settings say, or as `state` of a checkpoint has it."""
        if config.critic == "separate":
            loaded = start_reward_model(config.critic_model or config.model, device=policy.device, seed=config.seed)
            dither_start(loaded, config)
            own: nn.Module = loaded.model
            head: nn.Module = loaded.model.score  # type: ignore[assignment]  # transformers' classifiers name their head so
            body: nn.Module | None = loaded.model.base_model
        else:
            own = head = _zero_head(policy)
            body = None
        optimizer = torch.optim.AdamW(
            own.parameters(), lr=config.critic_lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        if state:
            own.load_state_dict(state["weights"])
            optimizer.load_state_dict(state["optimizer"])
        return cls(own, head, body, optimizer)

    def values(self, batch: TokenBatch) -> Tensor:
        """[B, T] of the states before the completion tokens, 0 on those that do not count; for a critic with a body."""
        assert self.body is not None  # else `logprobs_and_values` has them from the policy's pass
        with autocast(batch.prompt_ids.device):
            hidden = self.body(**_inputs(batch)).last_hidden_state
        return self._of(hidden, batch)

    def logprobs_and_values(self, policy: PreTrainedModel, batch: TokenBatch, temperature: float) -> tuple[Tensor, Tensor]:
        """[B, T] each: `completion_logprobs` under the policy, and `values`."""
        if self.body is not None:
            return completion_logprobs(policy, batch, temperature), self.values(batch)
        keep = batch.completion_ids.shape[1] + 1
        with autocast(policy.device):
            output = policy(**_inputs(batch), logits_to_keep=keep, output_hidden_states=True)
        logprobs = (output.logits[:, :-1].float() / temperature).log_softmax(dim=-1)
        chosen = logprobs.gather(2, batch.completion_ids[:, :, None]).squeeze(2)
        return torch.where(batch.completion_mask > 0, chosen, 0.0), self._of(output.hidden_states[-1], batch)

    def step(self, config: PPOConfig, index: int, total: int) -> dict[str, float]:
        """Clip the gradients of the critic's own parameters, take optimizer step `index` of `total`, clear the gradients."""
        rate = learning_rate(
            index,
            peak=config.critic_lr,
            warmup=config.warmup_steps,
            total=total,
            schedule=config.lr_schedule,
            floor=config.lr_floor,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = float(nn.utils.clip_grad_norm_(self.own.parameters(), config.grad_clip))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {"value/grad_norm": norm, "value/lr": rate}

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"weights": self.own.state_dict(), "optimizer": self.optimizer.state_dict()}

    def _of(self, hidden: Tensor, batch: TokenBatch) -> Tensor:
        """[B, T] from hidden states [B, L + T, H] of prompts and completions."""
        predicting = hidden[:, -batch.completion_ids.shape[1] - 1 : -1].float()  # the state before a token is the one before it
        values: Tensor = self.head(predicting).squeeze(-1)
        return torch.where(batch.completion_mask > 0, values, 0.0)


def _zero_head(policy: LoadedModel) -> nn.Linear:
    """Zeros: all states are alike at first, and the policy's body feels nothing of the head until it has learnt something."""
    head = nn.Linear(policy.model.config.hidden_size, 1, bias=False, device=policy.device)
    nn.init.zeros_(head.weight)
    return head


def _inputs(batch: TokenBatch) -> dict[str, Any]:
    mask = torch.cat([batch.prompt_mask, batch.present.long()], dim=1)
    return {
        "input_ids": torch.cat([batch.prompt_ids, batch.completion_ids], dim=1),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0),
        "use_cache": False,
    }
