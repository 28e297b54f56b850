"""Tasks of the library reasoning-gym with its own scorers. The library is imported when a source or a worker first needs it.

Some datasets cannot be used for rewards; `REFUSED` names them with the reason. The others are scored on the answer block alone,
and only full marks earn the reward, because many scorers give part of the marks to any text that contains the answer.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from r1env import Limits, Score, Status, Task, TaskKind, UsageError, parse_response, reward
from r1env.data.sources import Split, split_of
from r1env.errors import UnknownNameError
from r1env_logic.options import check_count

_RUNS_ANSWERS = "its scorer executes the model's answer as Python code"
_PYTHON_ONLY = "its scorer needs Python objects that a task cannot carry as JSON"

REFUSED: Mapping[str, str] = {
    "game_of_life_halting": "its scorer gives full marks to any text",
    "puzzle24": "its scorer never looks at the numbers given, and executes the model's answer as Python code",
    "complex_arithmetic": "its scorer gives full marks to 'nan'",
    "coin_flip": "its scorer gives full marks to the first character of the answer: '0' nearly always",
    "binary_matrix": _RUNS_ANSWERS,
    "countdown": f"{_RUNS_ANSWERS}; use the environment countdown-3",
    "intermediate_integration": _RUNS_ANSWERS,
    "n_queens": _RUNS_ANSWERS,
    "polynomial_multiplication": _RUNS_ANSWERS,
    "simple_integration": _RUNS_ANSWERS,
    "spiral_matrix": _RUNS_ANSWERS,
    "string_insertion": _RUNS_ANSWERS,
    "arc_agi": _PYTHON_ONLY,
    "rearc": _PYTHON_ONLY,
    "composite": "it mixes other datasets; name one of them",
}
"""Datasets that cannot be used for rewards, and why. They were found by an audit of reasoning-gym 0.1.25, which a test repeats in part."""

MAX_ANSWER = 20_000  # characters; the longest honest answers (grids, move lists) have a few thousand
ATTEMPTS = 256  # items tried for one task of a split; a tenth of them are `test`, so all fail once in 10^11
SEED_STRIDE = 10_000_019  # the library draws item i from the random seed `seed + i`; this keeps attempts apart
FULL_MARKS = 1.0 - 1e-9


def reasoning_gym_tasks(
    dataset: str = "chain_sum", size: int = 1000, seed: int = 0, split: Split = "train", **config: Any
) -> ReasoningGymSource:
    """Return tasks of one dataset of reasoning-gym.

    Args:
        dataset: name of the dataset in the library.
        size: number of tasks.
        seed: seed of the dataset. The library draws item i from `seed + i`, so use seeds further apart than `size`.
        split: `train`, `test` or `all`; train and test share no question.
        config: settings of the dataset by the library's names (`min_terms=2`).

    Raises:
        UsageError: the library is not installed, the dataset is unknown or unfit for rewards, or it refuses the settings.
    """
    check_count("size", size, 1, SEED_STRIDE)
    if split not in ("train", "test", "all"):
        raise UsageError(f"unknown split {split!r}; known: train, test, all")
    return ReasoningGymSource(dataset, size, seed, split, config)


class ReasoningGymSource:
    """Fixed tasks: item `i` is the same for every seed of the environment."""

    def __init__(self, name: str, size: int, seed: int, split: Split, config: Mapping[str, Any]) -> None:
        self._name, self._size, self._seed, self._split = name, size, seed, split
        self._config = dict(config)
        self._datasets: dict[int, Any] = {}  # by attempt
        self._check_scorer(self.task(0))

    @property
    def size(self) -> int:
        return self._size

    def task(self, index: int, seed: int = 0) -> Task:
        if not 0 <= index < self._size:
            raise IndexError(index)
        # A task is the first of the items at `index` in datasets of several seeds that belongs to the split, so that any
        # task can be reached without making those before it. With the split `all` it is the library's own item.
        for attempt in range(ATTEMPTS):
            entry = self._dataset(attempt)[index]
            if self._split in ("all", split_of(entry["question"])):
                return self._task(f"{self._name}-{self._seed + attempt * SEED_STRIDE}-{index}", _plain(self._name, entry))
        raise UsageError(f"reasoning-gym dataset {self._name!r} has too few different tasks for the split {self._split!r}")

    def _dataset(self, attempt: int) -> Any:
        if attempt not in self._datasets:
            seed = self._seed + attempt * SEED_STRIDE
            self._datasets[attempt] = create_dataset(self._name, size=self._size, seed=seed, **self._config)
        return self._datasets[attempt]

    def _task(self, task_id: str, entry: dict[str, Any]) -> Task:
        return Task(
            id=task_id,
            prompt=entry["question"],
            answer=entry["answer"],
            kind=TaskKind.LOGIC,
            metadata={"dataset": self._name, "config": self._config, "entry": entry},
        )

    def _check_scorer(self, task: Task) -> None:
        """Raise UsageError if the scorer of the dataset does not accept its own answer."""
        given = None if task.answer is None else self._dataset(0).score_answer(task.answer, task.metadata["entry"])
        if given is not None and given < FULL_MARKS:
            raise UsageError(f"reasoning-gym dataset {self._name!r} is unfit: its scorer gives its own answer {given}")


@reward(name="reasoning-gym", isolation="process", limits=Limits(cpu_seconds=5.0))  # some datasets read files of words first
class ReasoningGym:
    """Return 1 if reasoning-gym's own scorer gives full marks to the only `<answer>` block.

    Args:
        partial: return the library's own score, with partial marks, instead of 1 or 0.
    """

    def __init__(self, partial: bool = False) -> None:
        self.partial = partial
        _library()  # in a worker, before the clock of the first rollout starts

    def __call__(self, completion: str, task: Task) -> Score:
        if not task.metadata.keys() >= {"dataset", "config", "entry"}:
            return Score(value=None, status=Status.UNPARSEABLE, reason="the task is not one of reasoning-gym's")
        given = parse_response(completion).answer
        if not given:
            return Score(value=0.0, status=Status.NO_ANSWER, reason="there is not exactly one filled <answer> block")
        if len(given) > MAX_ANSWER:
            return Score(value=0.0, status=Status.UNPARSEABLE, reason=f"the answer is longer than {MAX_ANSWER} characters")
        marks = _marks(given, task.metadata)
        if marks is None:
            return Score(value=0.0, status=Status.UNPARSEABLE, reason=f"the scorer cannot read {given[:40]!r}")
        value = marks if self.partial else float(marks >= FULL_MARKS)
        status = Status.OK if value > 0 else Status.WRONG
        return Score(value=value, status=status, reason="" if marks >= FULL_MARKS else f"reasoning-gym gives {marks:.3g}")


def create_dataset(name: str, **settings: Any) -> Any:
    """Return a dataset of the library.

    Raises:
        UsageError: there is no such dataset, it is one of `REFUSED`, or it refuses the settings.
    """
    if name in REFUSED:
        raise UsageError(f"reasoning-gym dataset {name!r} is refused: {REFUSED[name]}")
    library = _library()
    if name not in library.DATASETS:
        raise UnknownNameError("reasoning-gym dataset", name, library.DATASETS.keys() - REFUSED.keys())
    try:
        return library.create_dataset(name, **settings)
    except (AssertionError, TypeError, ValueError) as error:  # how the library refuses a setting
        raise UsageError(f"reasoning-gym dataset {name!r} refuses its settings: {error}") from error


def _library() -> Any:
    """Return the factory module of reasoning-gym, imported on the first call: the import takes two seconds of CPU.

    Raises:
        UsageError: the library cannot be imported.
    """
    try:
        import reasoning_gym.factory
    except ImportError as error:
        raise UsageError(f"reasoning-gym cannot be imported ({error}); pip install 'r1env-logic[reasoning-gym]'") from error
    return reasoning_gym.factory


def _marks(answer: str, metadata: Mapping[str, Any]) -> float | None:
    """Return the marks of the library's scorer, or None if it cannot handle the answer."""
    entry = metadata["entry"]
    scorer = _scorer(metadata["dataset"], json.dumps(metadata["config"], sort_keys=True))
    try:
        return float(scorer.score_answer(answer, entry))
    except Exception:  # noqa: BLE001 - a scorer may raise anything on a malformed answer; whose fault it is shows below
        scorer.score_answer(entry["answer"], entry)  # raises again where the entry or the library is at fault
        return None


@functools.lru_cache(maxsize=16)
def _scorer(name: str, config: str) -> Any:
    return create_dataset(name, size=1, seed=0, **json.loads(config))


def _plain(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry as it will be after being written to a file and read again."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(entry))
    except TypeError as error:
        raise UsageError(f"reasoning-gym dataset {name!r} cannot be used: {_PYTHON_ONLY} ({error})") from error
    return plain
