"""Engines turn prompts into completions: how to sample, the two interfaces, and a scripted engine for tests."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from r1env.types import Completion, Conversation

__path__: list[str] = []  # for one version: the old path `r1env.engines.base` is found by `r1env.moved`


StopText = Annotated[str, Field(min_length=1)]
"""A text that ends a completion."""


class SamplingParams(BaseModel):
    """How to sample completions. The defaults are R1's evaluation protocol (temperature 0.6, top-p 0.95).

    Attributes:
        temperature: 0 is greedy.
        top_k: draw from the k likeliest tokens only; 0 keeps all.
        top_p: draw from the smallest set of tokens whose probability reaches it (nucleus sampling); 1 keeps all. Applied after `top_k`.
        min_p: draw from tokens that are at least so likely, relative to the likeliest one; 0 keeps all. Applied after `top_p`.
        repetition_penalty: divides the positive logits of tokens that are in the prompt or the completion already, and multiplies the
            negative ones (CTRL, arXiv 1909.05858); 1 changes nothing.
        max_new_tokens: the longest completion, in tokens.
        n: completions per prompt.
        first: number of the first of the `n` completions. An engine that gives every completion a seed of its own draws the completions
            `first` to `first + n - 1` of each prompt, so that an evaluation that was cut short can be completed with the same ones.
        stop: texts that end a completion; kept in its text.
        ignore_eos: end-of-sequence tokens do not end a completion. Stop texts still do.
        seed: same seed, same prompts, same engine: same completions, where the engine can promise it.
        chat: wrap the messages in the model's chat template; False concatenates their contents. Used by `Engine.generate` only.

    Engines differ in what they can do. One that cannot do what is asked raises UsageError; `changed` says what is asked of it.

    >>> SamplingParams(temperature=0, max_new_tokens=16).n
    1
    >>> SamplingParams(top_k=20, min_p=0.05).changed("top_k", "min_p", "ignore_eos")
    ['top_k=20', 'min_p=0.05']
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.6, ge=0)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    max_new_tokens: int = Field(default=512, ge=1)
    n: int = Field(default=1, ge=1)
    first: int = Field(default=0, ge=0)
    stop: tuple[StopText, ...] = ()
    ignore_eos: bool = False
    seed: int = 0
    chat: bool = True

    def changed(self, *names: str) -> list[str]:
        """Return those of these parameters that differ from their defaults, as `name=value`."""
        fields = type(self).model_fields
        return [f"{name}={getattr(self, name)}" for name in names if getattr(self, name) != fields[name].default]


class Engine(Protocol):
    """Makes completions of conversations. `generate` may be called from one thread at a time."""

    def generate(self, prompts: Sequence[Conversation], params: SamplingParams) -> list[list[Completion]]:
        """Return `params.n` completions for each prompt, in the order of the prompts.

        Raises:
            EngineError: the engine cannot answer at all (no server, no memory). A single completion that failed is
                returned with `finish_reason='error'` instead.
        """

    def close(self) -> None:
        """Free what the engine holds. Calling it twice is fine."""


OnFinished = Callable[[Sequence[int], Sequence[Completion]], None]
"""Receives some rows that are complete, by their places in the result, and their completions."""

ToolSchema = Mapping[str, Any]
"""A tool as chat templates and OpenAI-compatible servers take it: `{"type": "function", "function": {"name": …, "parameters": …}}`."""


@runtime_checkable
class ChatEngine(Engine, Protocol):
    """An engine that takes messages, tells its model which tools it may call, and says when each completion is there."""

    def generate_chat(
        self,
        prompts: Sequence[Conversation],
        params: SamplingParams,
        tools: Sequence[Sequence[ToolSchema]],
        on_finished: OnFinished | None = None,
    ) -> list[Completion]:
        """Return `params.n` completions for each prompt, in prompt-major order. Calls of tools are text, as in `parse_tool_calls`.

        Args:
            tools: that the model may call, for each prompt.
            on_finished: receives every row once, as soon as it is complete, in the calling thread.

        Raises:
            EngineError: as `generate`.
        """


@runtime_checkable
class TokenEngine(Engine, Protocol):
    """An engine that also takes token ids and returns them, which lets episodes be played without encoding any turn twice."""

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, with the interface of those of transformers."""

    @property
    def max_length(self) -> int | None:
        """The model's context: tokens of prompt and completion together. None for no limit."""

    def generate_tokens(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, on_finished: OnFinished | None = None
    ) -> list[Completion]:
        """Return `params.n` completions for each prompt with their tokens and log-probs, in prompt-major order.

        A completion has at most `params.max_new_tokens` tokens and never more than fit into `max_length` behind its prompt; one
        that either limit cuts off has `finish_reason='length'`.

        Args:
            prompts: token ids, none empty, each shorter than `max_length`.
            on_finished: told of every row once, as soon as it is complete, possibly while others are being sampled.

        Raises:
            EngineError: as `generate`.
        """


def derive_seed(*parts: int) -> int:
    """Return a seed made of several numbers, say a run's seed, a step and a batch; trailing zeros do not count.

    The same numbers give the same seed; other numbers, or the same in another order, give an unrelated one. It fits into a signed
    64-bit integer.

    >>> derive_seed(0, 1) == derive_seed(0, 1, 0), derive_seed(0, 1) == derive_seed(1, 0)
    (True, False)
    """
    import numpy as np  # here, since importing r1env must not cost what NumPy costs

    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


class ScriptedEngine:
    """Answers by a function of the conversation, by a table of last messages, or with one fixed text. It needs no model."""

    def __init__(self, script: Callable[[Conversation], str] | Mapping[str, str] | str) -> None:
        self._script = script

    def generate(self, prompts: Sequence[Conversation], params: SamplingParams) -> list[list[Completion]]:
        return [[Completion(text=self._answer(prompt))] * params.n for prompt in prompts]

    def close(self) -> None:
        """Nothing to free."""

    def _answer(self, prompt: Conversation) -> str:
        if isinstance(self._script, str):
            return self._script
        if isinstance(self._script, Mapping):
            return self._script.get(prompt[-1]["content"], "")
        return self._script(prompt)


def make_scripted(model: str, *, text: Any = None) -> ScriptedEngine:
    """Return the entry of the engine plugin: `text`, or else `model`, is the text that is always answered."""
    return ScriptedEngine(model if text is None else text if callable(text) or isinstance(text, Mapping) else str(text))


def __getattr__(name: str) -> Any:
    if name == "Sampling":
        warnings.warn("r1env.engines.Sampling is now called SamplingParams", DeprecationWarning, stacklevel=2)
        return SamplingParams
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
