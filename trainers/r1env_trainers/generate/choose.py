"""The engine that a trainer samples and evaluates with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from r1env.engines import Engine, OnFinished, SamplingParams, TokenEngine
from r1env.errors import UsageError
from r1env.hooks import EngineSpec
from r1env.plugins import installed
from r1env.types import Completion, Conversation, FinishReason
from r1env_trainers.generate.engine import LocalEngine, Sampler, context_length
from r1env_trainers.generate.options import EngineName, VLLMOptions
from r1env_trainers.generate.vllm import check_installed, sampler_beside
from r1env_trainers.model.batching import left_pad
from r1env_trainers.model.load import LoadedModel, token_ids
from r1env_trainers.model.logprobs import TokenBatch, completion_logprobs, restricted_mass, restricts

logger = logging.getLogger(__name__)


def check_engine(name: EngineName) -> None:
    """Refuse an engine that is not installed; starts nothing.

    Raises:
        UsageError: names the remedy.
    """
    if name == "vllm":
        check_installed()


def training_engine(
    loaded: LoadedModel,
    name: EngineName,
    vllm: VLLMOptions,
    seed: int,
    max_rows: int | None = None,
    *,
    model: str = "",
    options: Mapping[str, Any] | None = None,
) -> TokenEngine:
    """Return the engine that the settings name.

    `transformers` and `vllm` see every update of `loaded`. A plugin's engine is made with the name of the model, and serves what it
    serves: unless it follows the training by itself, the rollouts come from another policy than the one that learns.

    Args:
        vllm: options of vLLM, where that is the engine.
        max_rows: completions that `transformers` decodes at once, see `Sampler`.
        model, options: of a plugin's engine.

    Raises:
        UsageError: vLLM is not installed, or a plugin's engine does not take the options.
        EngineError: it does not start.
    """
    if name == "vllm":
        return LocalEngine(sampler_beside(loaded, vllm, seed))
    if name == "transformers":
        return LocalEngine(Sampler(loaded, max_rows))
    make = installed().load(EngineSpec, name)
    try:
        engine: Engine = make(model, **(options or {}))
    except TypeError as error:
        raise UsageError(f"engine {name!r} cannot be made with the model {model!r} and these options: {error}") from error
    logger.warning("the rollouts come from the engine %s, which does not see what the policy learns", name)
    return engine if isinstance(engine, TokenEngine) else EncodingEngine(engine, loaded)


class EncodingEngine:
    """A `TokenEngine` of an engine that knows text only: its prompts are decoded, its answers encoded with the policy's tokenizer.

    It asks the engine with one plain user message. Log-probs that the engine does not report are those of the policy as it is when the
    completions are made.
    """

    def __init__(self, engine: Engine, loaded: LoadedModel) -> None:
        self._engine = engine
        self._loaded = loaded
        self.max_length = context_length(loaded.model.config)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._loaded.tokenizer

    def generate(self, prompts: Sequence[Conversation], params: SamplingParams) -> list[list[Completion]]:
        return self._engine.generate(prompts, params)

    def generate_tokens(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, on_finished: OnFinished | None = None
    ) -> list[Completion]:
        texts = [self.tokenizer.decode(list(prompt), skip_special_tokens=True) for prompt in prompts]
        conversations: list[Conversation] = [({"role": "user", "content": str(text)},) for text in texts]
        answers = self._engine.generate(conversations, params)
        rows = [
            self._with_tokens(len(prompt), completion, params)
            for prompt, group in zip(prompts, answers, strict=True)
            for completion in group
        ]
        if any(row.logprobs is None for row in rows):
            rows = self._with_logprobs([prompt for prompt in prompts for _ in range(params.n)], rows, params)
        if on_finished is not None:
            on_finished(range(len(rows)), rows)
        return rows

    def close(self) -> None:
        self._engine.close()

    def _with_tokens(self, prompt_length: int, completion: Completion, params: SamplingParams) -> Completion:
        """Return the completion with token ids, at least one, and cut where a limit cuts it."""
        if completion.token_ids:
            return completion
        known = token_ids(self.tokenizer, completion.text)
        encoded = [token for token in known if token != self._loaded.never_drawn]  # a text that spells the pad token out
        end = self.tokenizer.eos_token_id
        ids = [*encoded, end] if completion.finish_reason is FinishReason.STOP or not encoded else encoded
        room = params.max_new_tokens if self.max_length is None else min(params.max_new_tokens, self.max_length - prompt_length)
        if len(ids) <= room:
            return completion.model_copy(update={"token_ids": tuple(ids), "logprobs": None})
        text = str(self.tokenizer.decode(ids[:room], skip_special_tokens=True))
        return Completion(text=text, finish_reason=FinishReason.LENGTH, token_ids=tuple(ids[:room]))

    @torch.no_grad()
    def _with_logprobs(
        self, prompts: Sequence[Sequence[int]], rows: Sequence[Completion], params: SamplingParams
    ) -> list[Completion]:
        """Return the completions with the policy's log-probs of their tokens, as if it had drawn them.

        Raises:
            UsageError: there is a repetition penalty, whose distribution is not computed.
        """
        if params.repetition_penalty != 1:
            raise UsageError(
                f"repetition_penalty={params.repetition_penalty}: log-probs under a penalty are not computed; leave it at 1"
            )
        pad, device = self._loaded.pad, self._loaded.device
        ids = [torch.tensor(row.token_ids, dtype=torch.long) for row in rows]
        completions = pad_sequence(ids, batch_first=True, padding_value=pad)  # [B, T]
        mask = pad_sequence([torch.ones(len(row)) for row in ids], batch_first=True)
        prompt_ids, prompt_mask = left_pad([list(prompt) for prompt in prompts], pad, device)
        batch = TokenBatch(prompt_ids, prompt_mask, completions.to(device), mask.to(device))
        model, forbidden = self._loaded.model, self._loaded.never_drawn
        logprobs = completion_logprobs(model, batch, params.temperature or 1.0, forbidden)
        if restricts(params):
            logprobs = logprobs - restricted_mass(model, batch, params, forbidden)
        logprobs = logprobs.cpu()
        return [
            row if row.logprobs is not None else row.model_copy(update={"logprobs": tuple(found[: len(one)].tolist())})
            for row, found, one in zip(rows, logprobs, ids, strict=True)
        ]
