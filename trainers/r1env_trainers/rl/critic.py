"""The critic of `advantage="gae"`: a model that predicts what an episode will still earn from each of its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from r1env_trainers.model.batching import checkpoint_layers
from r1env_trainers.model.load import LoadedModel, autocast
from r1env_trainers.model.logprobs import (
    TokenBatch,
    completion_logprobs,
    completion_logprobs_and_entropies,
    entropies_of,
    log_softmax,
    right_padded,
)
from r1env_trainers.model.session import adamw, dither_start
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
            if config.gradient_checkpointing:
                checkpoint_layers(loaded.model)
            dither_start(loaded, config)
            own: nn.Module = loaded.model
            head: nn.Module = loaded.model.score  # type: ignore[assignment]  # transformers' classifiers name their head so
            body: nn.Module | None = loaded.model.base_model
        else:
            own = head = _zero_head(policy)
            body = None
        optimizer = adamw(own, config, config.critic.lr)
        if state:
            own.load_state_dict(state["weights"])
            optimizer.load_state_dict(state["optimizer"])
        return cls(own, head, body, optimizer, config.critic.value_coef if body is None else 1.0)

    def __call__(
        self, policy: LoadedModel, batch: TokenBatch, temperature: float, *, entropies: bool = False
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
            logprobs, found = completion_logprobs_and_entropies(policy.model, batch, temperature, policy.never_drawn)
        else:
            logprobs = completion_logprobs(policy.model, batch, temperature, policy.never_drawn)
        ids, columns = right_padded(batch)
        with autocast(ids.device):
            hidden = self.body(input_ids=ids, use_cache=False).last_hidden_state
        return logprobs, self._values(hidden, batch, columns), found

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint stores."""
        return {"weights": self.own.state_dict(), "optimizer": self.optimizer.state_dict()}

    def _shared_pass(
        self, policy: LoadedModel, batch: TokenBatch, temperature: float, *, entropies: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        counting = batch.completion_mask > 0
        ids, columns = right_padded(batch)
        first = int(columns[:, 0].min()) - 1  # nothing before it predicts a token of a completion
        with autocast(policy.device):
            output = policy.model(
                input_ids=ids, use_cache=False, logits_to_keep=ids.shape[1] - first, output_hidden_states=True
            )
        rows, places = counting.nonzero(as_tuple=True)
        logits = output.logits[rows, columns[rows, places] - 1 - first].float()
        logprobs = log_softmax(logits, temperature, policy.never_drawn)  # [C, V]
        empty = torch.zeros_like(batch.completion_mask)
        chosen = empty.masked_scatter(counting, logprobs.gather(1, batch.completion_ids[counting][:, None]).squeeze(1))
        found = empty.masked_scatter(counting, entropies_of(logprobs)) if entropies else None
        return chosen, self._values(output.hidden_states[-1], batch, columns), found

    def _values(self, hidden: Tensor, batch: TokenBatch, columns: Tensor) -> Tensor:
        """Return [B, T] from hidden states [B, W, H] of rows padded on the right, with the completions in `columns` [B, T]."""
        counting = batch.completion_mask > 0
        rows, places = counting.nonzero(as_tuple=True)
        predicting = hidden[rows, columns[rows, places] - 1].float()  # a token's state is the one before it
        return torch.zeros_like(batch.completion_mask).masked_scatter(counting, self.head(predicting).squeeze(-1))


def _zero_head(policy: LoadedModel) -> nn.Linear:
    """Return a head of zeros: it sends no gradient into the policy's body until it has learnt something itself."""
    head = nn.Linear(policy.model.config.hidden_size, 1, bias=False, device=policy.device)
    nn.init.zeros_(head.weight)
    return head
