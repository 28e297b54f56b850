"""Tasks of the library reasoning-gym with its own scorers. The library is imported when a source or a worker first needs it.

Some datasets cannot be used for rewards: their scorers execute text, pay for a constant, or raise on ordinary text. `audit` finds them,
and `create_dataset` refuses them with the evidence. The others are scored on the answer block alone, and only full marks earn the reward,
because many scorers give part of the marks to any text that contains the answer.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from types import CodeType, FunctionType
from typing import Any

from r1env import Limits, Score, Status, Task, TaskKind, UsageError, parse_response, reward
from r1env.data.sources import Split, split_of
from r1env.errors import UnknownNameError
from r1env_logic.options import check_count

AUDITED = "reasoning_gym_audit.json"
"""What `audit` found in the version that it names, a row for each dataset: the hash of the scoring source, and the evidence."""

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
        UsageError: there is no such dataset, its scorer cannot be trusted (see `evidence_against`), or it refuses the settings.
    """
    library = _library()
    if name not in library.DATASETS:
        raise UnknownNameError(
            "reasoning-gym dataset",
            name,
            library.DATASETS.keys() - {one for one, found in _audited().items() if found["evidence"]},
        )
    if evidence := evidence_against(name):
        raise UsageError(f"reasoning-gym dataset {name!r} is refused: {evidence}")
    return _create(name, **settings)


def _create(name: str, **settings: Any) -> Any:
    try:
        return _library().create_dataset(name, **settings)
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


# The audit.

CONSTANTS = ("0", "1", "-1", "nan", "inf", "None", "True", "[]", "{}", "()", "yes", "No", "a", "[[]]", "1e400", "[0, 0]")
ORDINARY = (
    "I do not know.",
    "The answer is 7.",
    "two times three",
    "x = y + 1",
    "3, 1, 2",
    "Alice (a knight)",
    "1/0",
    "²½",
    "\\boxed{2}",
)
"""Answers that a model may give to any question. None of them is right for several tasks of a dataset, except by accident."""

AUDIT_TASKS = 8
_EXECUTES = frozenset(("eval", "exec", "parse_expr", "sympify", "lambdify", "parse_latex"))
"""Builtins, and functions of SymPy that use them."""


@functools.cache
def evidence_against(name: str) -> str:
    """Return why a dataset is not used for rewards; empty where nothing is against it.

    That is read from the table in `AUDITED` where the scoring source is the one that was audited; with another version of the library,
    the audit is repeated here.
    """
    if name == "composite":
        return "it mixes other datasets; name one of them"
    known = _audited().get(name)
    if known is not None and known["source"] == source_hash(name):
        return str(known["evidence"])
    return audit(name)


@functools.cache
def _audited() -> Mapping[str, Mapping[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(files("r1env_logic").joinpath(AUDITED).read_text("utf-8"))["datasets"]
    return found


def source_hash(name: str) -> str:
    """Return a hash of the source files that a dataset's scorer is written in."""
    modules = sorted({function.__module__ for function in _scoring_functions(name)})
    sources = "".join(inspect.getsource(sys.modules[module]) for module in modules)
    return hashlib.blake2b(sources.encode(), digest_size=8).hexdigest()


def audit(name: str) -> str:
    """Return what makes a dataset unfit for rewards; empty where nothing was found.

    The scorer must not execute text: not the model's, and not that of the task either, since tasks may come from a third-party file. Only
    its source is looked at for that. Then it must give full marks to the task's own answer, must not give full marks for a constant to tasks
    with other answers, and must not raise on ordinary text.
    """
    for function in _scoring_functions(name):
        if executed := sorted(_names_in(function.__code__) & _EXECUTES - _own_functions(function)):
            return f"its scorer executes text as Python code: {function.__qualname__} calls {executed[0]}"
    dataset = _create(name, size=AUDIT_TASKS, seed=1)
    try:
        entries = [_plain(name, dataset[index]) for index in range(AUDIT_TASKS)]
    except UsageError:
        return _PYTHON_ONLY
    for entry in entries:
        if entry["answer"] is not None and (given := dataset.score_answer(entry["answer"], entry)) < FULL_MARKS:
            return f"its scorer gives a task's own answer {given:.3g}"
    raised = ""
    for text in (*CONSTANTS, *ORDINARY, entries[0]["question"]):
        paid = []
        for entry in entries:
            try:
                paid.append(dataset.score_answer(text, entry) >= FULL_MARKS)
            except Exception as error:  # noqa: BLE001 - any exception is what is looked for
                raised = raised or f"its scorer raises {type(error).__name__} on the answer {text[:40]!r}"
        # A constant is right for some tasks: a count, a yes or a no. One task more may have the same answer in another form.
        wrongly = sum(paid) - sum(_normal(str(entry["answer"])) == _normal(text) for entry in entries)
        if wrongly > 1:
            return f"its scorer gives full marks to {text[:40]!r} for {wrongly} of {AUDIT_TASKS} tasks with another answer"
    return raised


def audit_all() -> dict[str, Any]:
    """Return the table in `AUDITED` for the installed version. `python -m r1env_logic.gym_tasks` prints it."""
    names = sorted(_library().DATASETS.keys() - {"composite"})
    rows = {name: {"source": source_hash(name), "evidence": audit(name)} for name in names}
    return {"version": version("reasoning-gym"), "datasets": rows}


def _normal(text: str) -> object:
    """Return an answer as a number where it is one, else without case."""
    try:
        return float(text)
    except ValueError:
        return text.strip().casefold()


_PYTHON_ONLY = "its scorer needs Python objects that a task cannot carry as JSON"


def _scoring_functions(name: str) -> list[FunctionType]:
    """Return `score_answer` and all functions of the library that it calls, directly or through others."""
    dataset = _library().DATASETS[name][0]
    members = {key: member for one in reversed(dataset.__mro__) for key, member in vars(one).items()}
    waiting, found = [members["score_answer"]], list[FunctionType]()
    while waiting:
        used_as = waiting.pop()
        function = used_as.__func__ if isinstance(used_as, staticmethod | classmethod) else used_as
        if not isinstance(function, FunctionType) or function in found or not function.__module__.startswith("reasoning_gym"):
            continue
        found.append(function)
        for used in _names_in(function.__code__):
            waiting += [one for one in (members.get(used), function.__globals__.get(used)) if one is not None]
    return found


def _own_functions(function: FunctionType) -> set[str]:
    """Return names that a function finds in the library's own code, such as a `parse_expr` of its own."""
    return {
        name
        for name, found in function.__globals__.items()
        if isinstance(found, FunctionType) and found.__module__.startswith("reasoning_gym")
    }


def _names_in(code: CodeType) -> set[str]:
    """Return the names that code uses, with those of functions within it."""
    return set(code.co_names).union(*(_names_in(one) for one in code.co_consts if isinstance(one, CodeType)))


def _plain(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry as it will be after being written to a file and read again."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(entry))
    except TypeError as error:
        raise UsageError(f"reasoning-gym dataset {name!r} cannot be used: {_PYTHON_ONLY} ({error})") from error
    return plain


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # some generators print
        found = audit_all()
    print(json.dumps(found, indent=1))
