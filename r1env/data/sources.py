"""`TaskSource`: an indexable, seedable collection of tasks, and the sources everybody needs."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np

from r1env.errors import NoSplitError, UsageError
from r1env.types import Task

Split = Literal["train", "test", "all"]
TEST_SHARE = 0.1
"""One task in ten belongs to the test split of a generator."""


@runtime_checkable
class TaskSource(Protocol):
    """A collection of tasks. Task `index` under `seed` is always the same task, in any process and in any order of access."""

    @property
    def size(self) -> int | None:
        """How many tasks there are; None for a generator, which never ends."""

    def task(self, index: int, seed: int = 0) -> Task:
        """Return the task at `index`. A collection of fixed tasks ignores `seed`.

        Raises:
            IndexError: `index` is negative or not below `size`.
        """


@runtime_checkable
class SplitSource(TaskSource, Protocol):
    """A task source that consists of splits without a task in common, such as `train` and `test`."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""

    def split(self, name: str) -> TaskSource:
        """Return one split.

        Raises:
            NoSplitError: there is no split of that name.
        """


@runtime_checkable
class AdaptiveSource(TaskSource, Protocol):
    """A task source whose tasks depend on how earlier ones were solved, such as a curriculum. Trainers feed it and save its state.

    Between two calls of `observe`, task `index` under `seed` is always the same task.
    """

    def observe(self, task: Task, success: float) -> None:
        """Take note of how well a task of this source was solved, from 0 to 1. Called in the order of the rollouts."""

    def state(self) -> Mapping[str, Any]:
        """Return what `restore` needs to go on as if nothing had happened, as plain data."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned, or from the start where it is empty.

        Raises:
            UsageError: the state is of a source with other options.
        """

    def metrics(self) -> Mapping[str, float]:
        """Return numbers to log with every step, such as `{"level": 2.0}`."""


class ListSource:
    """Tasks held in memory, in order."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        if not tasks:
            raise UsageError("a task source needs at least one task")
        self._tasks = tuple(tasks)

    @property
    def size(self) -> int:
        return len(self._tasks)

    def task(self, index: int, seed: int = 0) -> Task:
        if index < 0:
            raise IndexError(index)
        return self._tasks[index]


class GeneratedSource:
    """Tasks made by a function of a random generator, with train and test splits that never share a prompt.

    The split is decided by a hash of the task's id, so that a task seen in training can never be drawn for testing, whatever the
    seeds and however the question is worded. Ids must therefore say what is asked: the same problem, the same id.
    """

    splits = ("train", "test")

    def __init__(self, generate: Callable[[np.random.Generator], Task], split: Split = "all") -> None:
        if split not in ("train", "test", "all"):
            raise NoSplitError(f"unknown split {split!r}; known: train, test, all")
        self._generate = generate
        self._split = split

    def split(self, name: str) -> GeneratedSource:
        return GeneratedSource(self._generate, cast(Split, name))

    @property
    def size(self) -> None:
        return None

    def task(self, index: int, seed: int = 0) -> Task:
        if index < 0:
            raise IndexError(index)
        rng = np.random.default_rng([seed, index])
        for _ in range(10_000):
            task = self._generate(rng)
            if self._split in ("all", split_of(task.id)):
                return task
        raise UsageError(f"the generator gave no task of the split {self._split!r} in 10,000 draws; its tasks are too few")


class HeldOut:
    """A finite source without splits, divided into `train` and `test` by a hash of what each task asks.

    The division depends on the prompt alone: it is the same on every machine, it survives a new order of the rows, and two rows with
    the same question fall on the same side.

    Args:
        share: of the tasks that become `test`, between 0 and 1.
    """

    splits = ("train", "test")

    def __init__(self, source: TaskSource, share: float) -> None:
        if not 0 < share < 1:
            raise UsageError(f"hold_out={share}: it must be a share of the tasks between 0 and 1, such as 0.1")
        if source.size is None:
            raise UsageError("hold_out divides a finite set of tasks, and this source never ends; use its own splits")
        self._source, self._share = source, share

    @property
    def size(self) -> int | None:
        return self._source.size

    def task(self, index: int, seed: int = 0) -> Task:
        return self._source.task(index, seed)

    def split(self, name: str) -> ListSource:
        if name not in self.splits:
            raise NoSplitError(f"unknown split {name!r}; hold_out makes: {', '.join(self.splits)}")
        tasks = [task for task in iterate(self._source) if split_of(_asked(task), self._share) == name]
        if not tasks:
            raise UsageError(
                f"hold_out={self._share:g} of {self._source.size} tasks leaves none for the split {name!r}; change it"
            )
        return ListSource(tasks)


def _asked(task: Task) -> str:
    return json.dumps([[message["role"], message["content"]] for message in task.prompt])


def split_of(text: str, share: float = TEST_SHARE) -> Split:
    """Return `test` for that share of all texts and `train` for the others; it depends on the text alone."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number = int.from_bytes(digest, "big")
    if share == TEST_SHARE:
        return (
            "test" if number % 10 == 0 else "train"
        )  # not by comparison, so that the splits of generators stay what they were
    return "test" if number < share * 2**64 else "train"


def iterate(source: TaskSource, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
    """Yield the first `limit` tasks in order. With None, yield all; raise UsageError if the source is endless."""
    count = limit if source.size is None else min(source.size, limit if limit is not None else source.size)
    if count is None:
        raise UsageError("this source never ends; say how many tasks you want with a limit")
    for index in range(count):
        yield source.task(index, seed)


# The order in which finite data are walked, epoch by epoch. A pure function, so that resuming needs no state.


def shuffled_index(position: int, size: int, seed: int) -> int:
    """Which of `size` items stands at `position`: every epoch goes through all of them, in a random order of its own."""
    epoch, offset = divmod(position, size)
    return int(_epoch_order(size, epoch, seed)[offset])


@functools.lru_cache(maxsize=4)
def _epoch_order(size: int, epoch: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng([seed, epoch]).permutation(size)


# Several endless streams as one, mixed by weight. Depends on nothing but the position, so that resuming needs no state.

GOLDEN = (math.sqrt(5) - 1) / 2
"""Its multiples modulo 1 fill the unit interval evenly at every length (H. Weyl, 1916), so shares hold over any stretch."""


class Interleaving:
    """Which stream stands at a position, and how many of its items stand before. Weights are positive, relative to each other."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._bounds = np.cumsum(weights) / math.fsum(weights)
        self._bounds[-1] = 1.0
        self._members = np.zeros(0, dtype=np.int64)
        self._places = np.zeros(0, dtype=np.int64)

    def at(self, position: int) -> tuple[int, int]:
        """(stream, its item) at a position. Of any stretch every stream has its share, to within an item or two."""
        if position >= len(self._members):
            count = 1 << max(10, position.bit_length())
            offsets = (np.arange(count) + 0.5) * GOLDEN % 1.0
            self._members = np.searchsorted(self._bounds, offsets, side="right")
            self._places = np.zeros(count, dtype=np.int64)
            for member in range(len(self._bounds)):
                mine = self._members == member
                self._places[mine] = np.arange(mine.sum())
        return int(self._members[position]), int(self._places[position])
