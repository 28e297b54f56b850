"""Demonstrations: where they come from, and how they become token ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from transformers import PreTrainedTokenizerBase

from r1env.envs.environment import Environment, make_environment
from r1env.errors import UsageError
from r1env.plugins import import_target
from r1env.sources import read_jsonl
from r1env.tasks import Conversation, Task
from r1env.epochs import shuffled_index
from r1env_trainers.prompts import encode_prompt
from r1env_trainers.sft.config import SFTConfig

Demonstrator = Callable[[Task, np.random.Generator], str]


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt and the response to learn. `chat` says whether the prompt goes through the chat template."""

    prompt: Conversation
    response: str
    chat: bool = True


class Demonstrations(Protocol):
    """Demonstrations by position; the same at the same position, whatever was read before."""

    def at(self, position: int) -> Demonstration: ...


class FileDemonstrations:
    """The rows of a file, in a new random order each epoch."""

    def __init__(self, demonstrations: list[Demonstration], seed: int) -> None:
        self._all = demonstrations
        self._seed = seed

    def at(self, position: int) -> Demonstration:
        return self._all[shuffled_index(position, len(self._all), self._seed)]


class WrittenDemonstrations:
    """Tasks of an environment with responses written by a function."""

    def __init__(self, environment: Environment, demonstrator: Demonstrator, seed: int) -> None:
        self._environment = environment
        self._demonstrator = demonstrator
        self._seed = seed

    def at(self, position: int) -> Demonstration:
        task = self._environment.task(position, self._seed)
        response = self._demonstrator(task, np.random.default_rng([self._seed, position, 1]))
        return Demonstration(self._environment.template.render(task), response, self._environment.template.chat)


def open_demonstrations(config: SFTConfig) -> Demonstrations:
    """The demonstrations that the settings name.

    Raises:
        UsageError: a file or row that cannot be used, an unknown environment or demonstrator.
    """
    if config.data is not None:
        rows = read_jsonl(config.data)
        if not rows:
            raise UsageError(f"{config.data} has no rows")
        parsed = [_from_row(row, f"{config.data}, row {number}") for number, row in enumerate(rows, start=1)]
        return FileDemonstrations(parsed, config.seed)
    assert config.env is not None  # the settings' validator saw to it
    assert config.demonstrator is not None
    environment = make_environment(config.env, template=config.template, **config.env_options)
    return WrittenDemonstrations(environment, cast(Demonstrator, import_target(config.demonstrator)), config.seed)


def encode(demonstration: Demonstration, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list[int], list[int]]:
    """Token ids of the prompt, and of the response with the end-of-sequence token.

    Raises:
        UsageError: together they are longer than `max_length`; cutting would teach the model to stop half-way.
    """
    prompt = encode_prompt(tokenizer, demonstration.prompt, chat=demonstration.chat)
    response = cast(list[int], tokenizer(demonstration.response, add_special_tokens=False)["input_ids"])
    if isinstance(tokenizer.eos_token_id, int):
        response = [*response, tokenizer.eos_token_id]
    if len(prompt) + len(response) > max_length:
        raise UsageError(
            f"a demonstration has {len(prompt) + len(response)} tokens, more than max_length {max_length}; "
            "raise it or filter the data"
        )
    return prompt, response


def _from_row(row: Mapping[str, Any], where: str) -> Demonstration:
    if isinstance(messages := row.get("messages"), list) and len(messages) >= 2:
        *prompt, last = messages
        if last.get("role") == "assistant" and isinstance(last.get("content"), str):
            return Demonstration(tuple(prompt), last["content"])
    if isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str):
        return Demonstration(({"role": "user", "content": row["prompt"]},), row["completion"])
    raise UsageError(f'{where}: needs "prompt" and "completion" texts, or "messages" that end with an assistant\'s')
