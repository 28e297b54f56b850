"""Demonstrations: where they come from, and what they are checked for before the first step."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, cast

import numpy as np
from transformers import PreTrainedTokenizerBase

from r1env.data.sources import Interleaving, shuffled_index
from r1env.envs.suite import Suite
from r1env.errors import UsageError
from r1env.importing import import_target
from r1env.preflight import FORMAT, SLOW, Collected, Report, cached, keep, settle, tokenizer_digest
from r1env.runs.stages import is_stage
from r1env.types import Completion, Message, Task
from r1env_trainers.settings import open_suite
from r1env_trainers.sft.config import DataShare, SFTConfig, TooLong, TuningSettings
from r1env_trainers.sft.render import Demonstration, Encoded, encode, parts_of, write
from r1env_trainers.sft.rows import read_demonstrations

Demonstrator = Callable[[Task, np.random.Generator], str | Sequence[str]]


class Demonstrations(Protocol):
    """Demonstrations by position: the same one at the same position, in whatever order they are read."""

    @property
    def size(self) -> int | None:
        """Return how many there are; None where they never end."""

    def at(self, position: int) -> Demonstration: ...


class FileDemonstrations:
    """Demonstrations held in memory, in a new random order each epoch.

    Attributes:
        rows: in the order of the file.
        name: of the file, for reports.
    """

    def __init__(self, demonstrations: Sequence[Demonstration], seed: int, name: str = "the data") -> None:
        self.rows = demonstrations
        self.name = name
        self._seed = seed

    @property
    def size(self) -> int:
        return len(self.rows)

    def at(self, position: int) -> Demonstration:
        return self.rows[shuffled_index(position, len(self.rows), self._seed)]

    def with_rows(self, rows: Sequence[Demonstration]) -> FileDemonstrations:
        """Return the same file with other rows."""
        return FileDemonstrations(rows, self._seed, self.name)


class MixedDemonstrations:
    """Files mixed by weight, each with its own epochs. An epoch of the mixture has as many rows as all files together."""

    def __init__(self, files: Sequence[FileDemonstrations], weights: Sequence[float]) -> None:
        self.files = files
        self.weights = weights
        self._order = Interleaving(weights)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def at(self, position: int) -> Demonstration:
        file, place = self._order.at(position)
        return self.files[file].at(place)


MOST_REDRAWN = 100  # episodes, until one has the turn that is to be learnt


class WrittenDemonstrations:
    """Tasks of a suite, with responses written by a function.

    Where the function writes the turns of an episode, they are played in the environment, whose replies stand between them, and a position is one turn: of
    a number drawn with the lengths of episodes, of an episode that has so many. So what follows a history is learnt as often as the function writes it.
    """

    size = None

    def __init__(self, suite: Suite, demonstrator: Demonstrator, seed: int) -> None:
        self._suite = suite
        self._demonstrator = demonstrator
        self._seed = seed

    def at(self, position: int) -> Demonstration:
        environment, task = self._suite.at(position, self._seed)
        rng = np.random.default_rng([self._seed, position, 1])
        written, where = self._demonstrator(task, rng), f"task {task.id!r}"
        chat = environment.template.chat
        if isinstance(written, str):
            return Demonstration(environment.template.messages(task), _said(written), chat, where=where)
        turn = int(rng.integers(len(written)))
        for _ in range(MOST_REDRAWN):  # the first episode only says which turn: its own would be of short episodes too often
            if len(another := self._demonstrator(task, rng)) > turn:
                written = another
                break
        episode = environment.open(task)
        try:
            for text in written[:turn]:
                episode.submit(Completion(text=text))
            if episode.done:
                over = episode.error or f"it is over after {episode.turns} of {len(written)} turns"
                raise UsageError(f"{where}: the demonstrator's episode cannot be played: {over}")
            earlier = tuple(_said(one["content"]) if one["role"] == "assistant" else one for one in episode.messages)
            return Demonstration(earlier, _said(written[turn]), chat, tuple(episode.tools), where)
        finally:
            episode.close()


def _said(text: str) -> Message:
    """A turn of the model as it wrote it, with its tool calls in the text: that is what it reads when the episode goes on."""
    return {"role": "assistant", "content": text}


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
        opened = [
            FileDemonstrations(
                read_demonstrations(share.data, config.train_on, share.columns or config.columns), config.seed, share.data
            )
            for share in shares
        ]
        return MixedDemonstrations(opened, [share.weight for share in shares])
    rows = [
        one for file in files if isinstance(file, str) for one in read_demonstrations(file, config.train_on, config.columns)
    ]
    return FileDemonstrations(rows, config.seed, ", ".join(map(str, files)))


def waits_for_a_stage(config: SFTConfig) -> bool:
    """Return whether the data come from an earlier stage, so that they need not exist yet."""
    files = [config.data] if config.data is None or isinstance(config.data, str) else config.data
    return any(is_stage(file.data if isinstance(file, DataShare) else file) for file in files)


def rows_of(demonstrations: Demonstrations) -> Iterator[tuple[object, ...]]:
    """Yield what decides which demonstrations are learnt, and in which order; nothing for those that never end."""
    files = demonstrations.files if isinstance(demonstrations, MixedDemonstrations) else [demonstrations]
    for file in files:
        if isinstance(file, FileDemonstrations):
            yield from ((one.prompt, one.response, one.tools) for one in file.rows)


def steps_of(config: TuningSettings, demonstrations: Demonstrations) -> int:
    """Return the number of optimizer steps: `steps`, or `epochs` of the data; the last batch is filled from the next epoch."""
    if config.epochs is None or demonstrations.size is None:
        return config.steps
    return math.ceil(config.epochs * demonstrations.size / config.optim.batch_size)


# Pre-flight: every demonstration is written and measured before the first step.


class Lengths(Protocol):
    """The settings that say how long a demonstration may be."""

    @property
    def max_length(self) -> int: ...
    @property
    def too_long(self) -> TooLong: ...


EMPTY = "have an empty answer"
TOO_LONG = "are too long"
NO_ROOM = "have a prompt that leaves no room for an answer"
UNSHOWN = "cannot be shown by the chat template"


def prepare(demonstrations: Demonstrations, tokenizer: PreTrainedTokenizerBase, config: TuningSettings) -> Demonstrations:
    """Check demonstrations, and return those to learn.

    Of those that never end, the first `preflight.tasks` are checked; the others when they are drawn (see `encode_within`).

    Raises:
        PreflightError: rows are too long, empty, or cannot be shown, and the settings do not say to go on without them.
    """
    if isinstance(demonstrations, MixedDemonstrations):
        kept = [prepare_file(file, tokenizer, config) for file in demonstrations.files]
        return MixedDemonstrations(kept, demonstrations.weights)
    if isinstance(demonstrations, FileDemonstrations):
        return prepare_file(demonstrations, tokenizer, config)
    if config.preflight.mode != "off":
        first = [demonstrations.at(position) for position in range(config.preflight.tasks)]
        settle([check_demonstrations(first, "the demonstrator", tokenizer, config)[0]], config.preflight)
    return demonstrations


def prepare_file(file: FileDemonstrations, tokenizer: PreTrainedTokenizerBase, config: TuningSettings) -> FileDemonstrations:
    """Check the demonstrations of a file, and return those to learn; see `prepare`."""
    if config.preflight.mode == "off" and config.too_long != "skip":
        return file
    digest = _digest(file.rows, tokenizer, config)
    if (known := cached(digest)) is not None and not known.faults:
        settle([known], config.preflight)
        return file
    start = time.monotonic()
    report, kept = check_demonstrations(file.rows, file.name, tokenizer, config)
    if time.monotonic() - start > SLOW and len(kept) == len(file.rows):
        keep(digest, report)
    settle([report], config.preflight)
    if not kept:
        raise UsageError(f"{file.name}: no row is left to learn from; see the report above")
    return file if len(kept) == len(file.rows) else file.with_rows(kept)


def check_demonstrations(
    rows: Sequence[Demonstration], name: str, tokenizer: PreTrainedTokenizerBase, config: Lengths
) -> tuple[Report, list[Demonstration]]:
    """Return what was found, and the rows that can be learnt."""
    found, repairs, longest = Collected(), Counter[str](), 0
    kept: list[Demonstration] = []
    for one in rows:
        try:
            written = write(one, tokenizer)
            bound = written.tokens_at_most
            fits = bound is not None and bound <= config.max_length
            encoded = None if fits else encode(one, tokenizer)
        except UsageError as error:
            found.add(UNSHOWN, str(error))
            continue
        repairs[written.repair] += bool(written.repair)
        tokens = len(encoded) if encoded is not None else bound or 0
        longest = max(longest, tokens)
        if not (any(parts_of(one.response)) or one.response.get("tool_calls")):
            found.add(EMPTY, one.where)
        if encoded is not None and tokens > config.max_length:
            found.add(TOO_LONG, f"{one.where}: {tokens:,} tokens, max_length {config.max_length:,}")
            if config.too_long != "truncate":
                continue
            if len(encoded.prompt) >= config.max_length:
                found.add(NO_ROOM, f"{one.where}: {len(encoded.prompt):,} tokens, max_length {config.max_length:,}")
                continue
        kept.append(one)
    faults = [
        *found.fault(EMPTY, "they teach to say nothing; drop them", fatal=True),
        *found.fault(
            TOO_LONG,
            f"too_long={config.too_long}; raise max_length, or too_long=skip or truncate",
            fatal=config.too_long == "refuse",
        ),
        *found.fault(NO_ROOM, "they are left out; raise max_length to learn them", fatal=False),
        *found.fault(UNSHOWN, "drop them, or use another chat template", fatal=True),
    ]
    facts = [f"at most {longest:,} tokens"]
    facts += [f"{rule}: {count:,} rows" for rule, count in repairs.items() if count]
    facts += [f"{len(rows) - len(kept):,} rows are left out"] if len(kept) < len(rows) else []
    return Report(subject=name, checked=len(rows), faults=tuple(faults), facts=tuple(facts)), kept


def _digest(rows: Sequence[Demonstration], tokenizer: PreTrainedTokenizerBase, config: TuningSettings) -> str:
    digest = hashlib.blake2b(
        f"{FORMAT}{tokenizer_digest(tokenizer)}{config.max_length}{config.too_long}".encode(), digest_size=16
    )
    for one in rows:
        digest.update(repr(one).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def encode_within(demonstration: Demonstration, tokenizer: PreTrainedTokenizerBase, config: Lengths) -> Encoded:
    """Return the token ids of a demonstration, cut to `max_length` where `too_long` is `truncate`.

    What is cut off is the end of the response, with its end of turn: the model is not taught to stop half-way.

    Raises:
        UsageError: it is too long; or its prompt alone is.
    """
    encoded = encode(demonstration, tokenizer)
    room = config.max_length - len(encoded.prompt)
    if len(encoded.response) <= room:
        return encoded
    if config.too_long == "truncate" and room > 0:
        return Encoded(encoded.prompt, encoded.response[:room], encoded.repair)
    raise UsageError(
        f"{demonstration.where} has {len(encoded)} tokens, more than max_length {config.max_length}; "
        "raise it, drop the row, or set too_long=skip or truncate"
    )


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
