"""The critic of `advantage="gae"`: a model that predicts what an episode will still earn from each of its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from r1env_trainers.model.load import LoadedModel, autocast
from r1env_trainers.model.logprobs import TokenBatch, completion_logprobs, completion_logprobs_and_entropies
from r1env_trainers.model.session import dither_start
from r1env_trainers.reward_model.model import start_reward_model
from r1env_trainers.rl.config import GRPOConfig


@dataclass(frozen=True, slots=True)
class Critic:
    """A scalar head on a body, and the optimizer of the critic's own parameters.

    Attributes:
        own: the module whose parameters are not the policy's: a whole model, or the head alone.
        body: computes the hidden states; None where the policy does.
        weight: of its loss beside the policy's; 1 where the two share no parameter.
    """

    own: nn.Module
    head: nn.Module
    body: nn.Module | None
    optimizer: torch.optim.Optimizer
    weight: float = 1.0

    @classmethod
    def start(cls, config: GRPOConfig, policy: LoadedModel, state: Mapping[str, Any]) -> Critic:
        """Make the critic that the settings ask for, or the one that `state` of a checkpoint holds."""
        if config.critic.kind == "separate":
            loaded = start_reward_model(config.critic.model or config.model, device=policy.device, seed=config.seed)
            dither_start(loaded, config)
            own: nn.Module = loaded.model
            head: nn.Module = loaded.model.score  # type: ignore[assignment]  # transformers' classifiers name their head so
            body: nn.Module | None = loaded.model.base_model
        else:
            own = head = _zero_head(policy)
            body = None
        optimizer = torch.optim.AdamW(
            own.parameters(), lr=config.critic.lr, betas=config.optim.betas, weight_decay=config.optim.weight_decay, fused=True
        )
        if state:
            own.load_state_dict(state["weights"])
            optimizer.load_state_dict(state["optimizer"])
        return cls(own, head, body, optimizer, config.critic.value_coef if body is None else 1.0)

    def __call__(
        self, policy: PreTrainedModel, batch: TokenBatch, temperature: float, *, entropies: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run policy and critic, in one pass where they share a body.

        Returns:
            [B, T] each: `completion_logprobs` under the policy; the values of the states before the completion tokens; and the
            policy's entropies where they are asked for, else None. 0 on tokens that do not count.
        """
        if self.body is None:
            return self._shared_pass(policy, batch, temperature, entropies=entropies)
        found = None
        if entropies:
            logprobs, found = completion_logprobs_and_entropies(policy, batch, temperature)
        else:
            logprobs = completion_logprobs(policy, batch, temperature)
        with autocast(batch.prompt_ids.device):
            hidden = self.body(**_inputs(batch)).last_hidden_state
        return logprobs, self._values(hidden, batch), found

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint stores."""
        return {"weights": self.own.state_dict(), "optimizer": self.optimizer.state_dict()}

    def _shared_pass(
        self, policy: PreTrainedModel, batch: TokenBatch, temperature: float, *, entropies: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        counting = batch.completion_mask > 0
        with autocast(policy.device):
            output = policy(**_inputs(batch), logits_to_keep=batch.completion_ids.shape[1] + 1, output_hidden_states=True)
        logprobs = (output.logits[:, :-1].float() / temperature).log_softmax(dim=-1)  # [B, T, V]
        chosen = logprobs.gather(2, batch.completion_ids[:, :, None]).squeeze(2)
        found = torch.where(counting, -(logprobs.exp() * logprobs).sum(dim=-1), 0.0) if entropies else None
        return torch.where(counting, chosen, 0.0), self._values(output.hidden_states[-1], batch), found

    def _values(self, hidden: Tensor, batch: TokenBatch) -> Tensor:
        """Return [B, T] from hidden states [B, L + T, H] of prompts and completions."""
        predicting = hidden[:, -batch.completion_ids.shape[1] - 1 : -1].float()  # a token's state is the one before it
        values: Tensor = self.head(predicting).squeeze(-1)
        return torch.where(batch.completion_mask > 0, values, 0.0)


def _zero_head(policy: LoadedModel) -> nn.Linear:
    """Return a head of zeros: it sends no gradient into the policy's body until it has learnt something itself."""
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
