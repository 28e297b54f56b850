"""Demonstrations: where they come from, and how they become token ids."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import numpy as np
from transformers import PreTrainedTokenizerBase

from r1env.data.sources import Interleaving, read_jsonl, shuffled_index
from r1env.envs.suite import Suite
from r1env.errors import UsageError
from r1env.importing import import_target
from r1env.rollout import encode_prompt
from r1env.runs.stages import is_stage
from r1env.types import Task
from r1env_trainers.settings import open_suite
from r1env_trainers.sft.config import DataShare, SFTConfig, TuningSettings
from r1env_trainers.sft.rows import Demonstration, TrainOn, parse_row

Demonstrator = Callable[[Task, np.random.Generator], str]


class Demonstrations(Protocol):
    """Demonstrations by position: the same one at the same position, in whatever order they are read."""

    @property
    def size(self) -> int | None:
        """Return how many there are; None where they never end."""

    def at(self, position: int) -> Demonstration: ...


class FileDemonstrations:
    """Demonstrations held in memory, in a new random order each epoch."""

    def __init__(self, demonstrations: Sequence[Demonstration], seed: int) -> None:
        self._all = demonstrations
        self._seed = seed

    @property
    def size(self) -> int:
        return len(self._all)

    def at(self, position: int) -> Demonstration:
        return self._all[shuffled_index(position, len(self._all), self._seed)]


class MixedDemonstrations:
    """Files mixed by weight, each with its own epochs. An epoch of the mixture has as many rows as all files together."""

    def __init__(self, files: Sequence[FileDemonstrations], weights: Sequence[float]) -> None:
        self._files = files
        self._order = Interleaving(weights)

    @property
    def size(self) -> int:
        return sum(file.size for file in self._files)

    def at(self, position: int) -> Demonstration:
        file, place = self._order.at(position)
        return self._files[file].at(place)


class WrittenDemonstrations:
    """Tasks of a suite, with responses written by a function."""

    size = None

    def __init__(self, suite: Suite, demonstrator: Demonstrator, seed: int) -> None:
        self._suite = suite
        self._demonstrator = demonstrator
        self._seed = seed

    def at(self, position: int) -> Demonstration:
        environment, task = self._suite.at(position, self._seed)
        response = self._demonstrator(task, np.random.default_rng([self._seed, position, 1]))
        return Demonstration(environment.template.messages(task), response, environment.template.chat)


def open_demonstrations(config: SFTConfig) -> Demonstrations:
    """Open the demonstrations that the settings name.

    Raises:
        UsageError: a file or row that cannot be used, an unknown environment or demonstrator.
    """
    if config.data is None:
        assert config.demonstrator is not None  # checked by the settings' validator
        demonstrator = cast(Demonstrator, import_target(config.demonstrator))
        return WrittenDemonstrations(open_suite(config, "accuracy"), demonstrator, config.seed)
    files = [config.data] if isinstance(config.data, str) else config.data
    shares = [file for file in files if isinstance(file, DataShare)]
    if shares:
        opened = [FileDemonstrations(read_demonstrations(share.data, config.train_on), config.seed) for share in shares]
        return MixedDemonstrations(opened, [share.weight for share in shares])
    rows = [one for file in files if isinstance(file, str) for one in read_demonstrations(file, config.train_on)]
    return FileDemonstrations(rows, config.seed)


def waits_for_a_stage(config: SFTConfig) -> bool:
    """Return whether the data come from an earlier stage, so that they need not exist yet."""
    files = [config.data] if config.data is None or isinstance(config.data, str) else config.data
    return any(is_stage(file.data if isinstance(file, DataShare) else file) for file in files)


def read_demonstrations(path: str, train_on: TrainOn = "last") -> list[Demonstration]:
    """Return the demonstrations of a file, in order.

    Raises:
        UsageError: it cannot be read, is empty, or has a row that is not a demonstration.
    """
    rows = read_jsonl(path)
    if not rows:
        raise UsageError(f"{path} has no rows")
    return [one for number, row in enumerate(rows, start=1) for one in parse_row(row, f"{path}, row {number}", train_on)]


def steps_of(config: TuningSettings, demonstrations: Demonstrations) -> int:
    """Return the number of optimizer steps: `steps`, or `epochs` of the data; the last batch is filled from the next epoch."""
    if config.epochs is None or demonstrations.size is None:
        return config.steps
    return math.ceil(config.epochs * demonstrations.size / config.optim.batch_size)


def encode(demonstration: Demonstration, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list[int], list[int]]:
    """Return the token ids of the prompt, and of the response with the end-of-sequence token.

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


# Packing: demonstrations into forward passes of a number of tokens. It changes memory, never the loss. Pure functions.


def best_fit(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Pack sequences into bins of at most `budget` tokens by Best-Fit Decreasing; return their places. Longest first, each into the
    fullest bin that has room (Johnson 1974; DeepSeek-R1 packs its batches so). For models whose forward pass computes no padding.

    A sequence longer than `budget` gets its own bin.
    """
    bins: list[list[int]] = []
    rooms: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        fitting = [index for index, room in enumerate(rooms) if room >= lengths[place]]
        if fitting:
            chosen = min(fitting, key=rooms.__getitem__)
            bins[chosen].append(place)
            rooms[chosen] -= lengths[place]
        else:
            bins.append([place])
            rooms.append(budget - lengths[place])
    return bins


def padded_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Return the places of sequences in batches of at most `budget` tokens, padding included: rows times the longest. Longest first, so
    that neighbours have similar lengths. For models whose forward pass computes the padding."""
    batches: list[list[int]] = []
    room = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if room == 0:
            batches.append([])
            room = max(1, budget // lengths[place])  # rows as long as the first, which is the longest
        batches[-1].append(place)
        room -= 1
    return batches
