"""`Reward` and the `@reward` decorator, which turns a function or class into a reward.

A reward names the arguments it wants, as a pytest test names its fixtures. Parameters with other names must have defaults and are the
reward's *options*. The function's result is converted to a `Score`::

    @r1env.reward(name="short", isolation="inline")
    def short(completion: str, *, limit: int = 200) -> float:
        return float(len(completion) < limit)

The scope determines what one call of the reward receives:

* `rollout` (the default): one finished episode; any of `ARGUMENTS`.
* `group`: all completions of one task at once; any of `GROUP_ARGUMENTS`. The function returns a list with one result for each::

      @r1env.reward(scope="group")
      def longest(completions: list[str]) -> list[float]:
          return [float(len(text) == max(map(len, completions))) for text in completions]

* `turn`: one turn of an episode; any of `TURN_ARGUMENTS`. The value of the rollout is the sum over its turns, the undiscounted return,
  and `Score.turns` has the value of each. A turn for which the function returns None is left out.

A function written for TRL, verl or OpenRLHF can be used as a reward unchanged; see `Convention`.

A class is instantiated once per process. With `isolation="process"` it may define two methods in addition to `__call__`. `settle(...)` is
called in the calling process first, with arguments by name; it returns a result, or None if a worker is needed. `warm_up()` is called
once in each worker before the time of the first rollout is measured. A class with `settle` is also instantiated in the calling process,
so its constructor should be fast.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import math
import pkgutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from functools import cached_property, partial
from importlib.machinery import PathFinder
from numbers import Real
from types import CodeType
from typing import Any, Protocol, cast, overload

from r1env.errors import UnknownNameError, UsageError
from r1env.importing import SOURCE, is_file_module, is_reference, load_object, module_from_source, source_digest
from r1env.prompts import parse_response
from r1env.types import Conversation, Rollout, Score, Status, Task

logger = logging.getLogger(__name__)

ARGUMENTS: Mapping[str, Callable[[Rollout], Any]] = {
    "completion": lambda rollout: rollout.completion,
    "answer": lambda rollout: rollout.task.answer,
    "task": lambda rollout: rollout.task,
    "rollout": lambda rollout: rollout,
    "thinking": lambda rollout: parse_response(rollout.completion).thinking,
    "response": lambda rollout: parse_response(rollout.completion).response,
    "messages": lambda rollout: _conversation(rollout),
}
"""What a reward may ask for by name, and how each is read off a rollout."""

GROUP_ARGUMENTS: Mapping[str, Callable[[Sequence[Rollout]], Any]] = {
    "completions": lambda group: [rollout.completion for rollout in group],
    "answer": lambda group: group[0].task.answer,
    "task": lambda group: group[0].task,
    "rollouts": list,
    "thinkings": lambda group: [parse_response(rollout.completion).thinking for rollout in group],
    "responses": lambda group: [parse_response(rollout.completion).response for rollout in group],
    "conversations": lambda group: [_conversation(rollout) for rollout in group],
}
"""The same for a reward of scope `group`: lists with an entry for each rollout, but one task and one answer."""

TURN_ARGUMENTS: Mapping[str, Callable[[Rollout, int], Any]] = {
    "completion": lambda rollout, turn: rollout.turns[turn].message["content"],
    "answer": lambda rollout, _: rollout.task.answer,
    "task": lambda rollout, _: rollout.task,
    "rollout": lambda rollout, _: rollout,
    "turn": lambda rollout, turn: rollout.turns[turn],
    "index": lambda _, turn: turn,
    "thinking": lambda rollout, turn: parse_response(rollout.turns[turn].message["content"]).thinking,
    "response": lambda rollout, turn: parse_response(rollout.turns[turn].message["content"]).response,
    "messages": lambda rollout, turn: _conversation_until(rollout, turn),
}
"""The same for a reward of scope `turn`: `completion` is what the model wrote in this turn, `messages` ends with it."""


class Scope(StrEnum):
    """What one call of a reward receives."""

    ROLLOUT = "rollout"  # one finished episode
    GROUP = "group"  # all completions of one task
    TURN = "turn"  # one turn of an episode


class Convention(StrEnum):
    """The calling convention of a reward's function. It is recognised by the parameter names, and logged."""

    R1ENV = "r1env"  # names out of `ARGUMENTS`
    TRL = "trl"  # f(completions, **columns) -> list: lists over a batch; the columns are the answer and the task's metadata
    VERL = "verl"  # f(data_source, solution_str, ground_truth, extra_info) -> a number, or a mapping with `score`
    OPENRLHF = "openrlhf"  # f(queries, prompts, labels) -> a list or tensor, or a mapping with `rewards`


class Isolation(StrEnum):
    """Where a reward runs."""

    INLINE = "inline"  # in the calling process: pure, quick, and bounded whatever the text
    PROCESS = "process"  # in a worker that can be killed: anything that parses, computes, or could hang
    ASYNC = "async"  # on an event loop: it waits for I/O


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits for scoring one rollout with a process-isolated reward. Time is CPU time, so that load does not change a score.

    The limits for a group of n rollouts are n times as high.
    """

    cpu_seconds: float = 2.0
    wall_seconds: float = 10.0
    memory_mb: int = 2048

    def __post_init__(self) -> None:
        for name in ("cpu_seconds", "wall_seconds", "memory_mb"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise UsageError(f"the limit {name} is {value}; it must be above 0 and finite")


@dataclass(frozen=True)
class Reward:
    """A named scoring rule, created by `reward`. It is immutable, and picklable if its function can be imported.

    Attributes:
        name: the name used in rubrics, metrics and score parts.
        function: the function, or the class whose instances are called.
        isolation: see `Isolation`.
        batch: the function takes lists (one entry per rollout, of any tasks) and returns a list of results. Always true of functions
            with TRL's or OpenRLHF's convention, unless their scope is `group`.
        parts: names of the components it returns, when it returns a mapping. They appear as `name/part`.
        limits: see `Limits`; used with `Isolation.PROCESS`.
        options: values for the function's own parameters (for a class, for its constructor).
        scope: see `Scope`.
    """

    name: str
    function: Callable[..., Any]
    isolation: Isolation = Isolation.INLINE
    batch: bool = False
    parts: tuple[str, ...] = ()
    limits: Limits = Limits()
    options: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    scope: Scope = Scope.ROLLOUT

    def __post_init__(self) -> None:
        try:
            inspect.signature(self.function)
        except (TypeError, ValueError):
            raise UsageError(f"reward {self.name!r} has no signature that Python can read; wrap it in a function") from None
        if self.convention in (Convention.TRL, Convention.OPENRLHF) and self.scope is Scope.ROLLOUT:
            object.__setattr__(self, "batch", True)  # before anything asks
        self._check_options()
        if inspect.iscoroutinefunction(self._call_target()) != (self.isolation is Isolation.ASYNC):
            raise UsageError(
                f"reward {self.name!r}: a coroutine function needs isolation='async', and isolation='async' needs a coroutine function"
            )
        if self.batch and self.scope is not Scope.ROLLOUT:
            raise UsageError(
                f"reward {self.name!r}: batch=True is for scope='rollout'; scope={str(self.scope)!r} has its own calls"
            )
        if self.scope is Scope.TURN and self.convention is not Convention.R1ENV:
            raise UsageError(f"reward {self.name!r} is called as {self.convention} calls its functions, which knows no turns")
        if self.convention is Convention.VERL and (self.batch or self.scope is Scope.GROUP):
            raise UsageError(
                f"reward {self.name!r} is called as verl calls its functions: with one response, never with several"
            )
        self._check_arguments(self._call_target(), inspect.isclass(self.function))
        if self.isolation is Isolation.PROCESS and hasattr(self.function, "settle") and inspect.isclass(self.function):
            if self.scope is not Scope.ROLLOUT:
                raise UsageError(f"reward {self.name!r}: settle() is for scope='rollout', and its scope is {str(self.scope)!r}")
            self._check_arguments(self.function.settle, True)  # type: ignore[attr-defined]
        if self.options and inspect.isclass(self.function) and (self.settles or self.isolation is Isolation.INLINE):
            _ = self.prepared  # a constructor that refuses an option shall do it now, not rollout by rollout

    @property
    def part_keys(self) -> tuple[str, ...]:
        """The keys of `Score.parts`, the same for every rollout."""
        return (self.name, *(f"{self.name}/{part}" for part in self.parts))

    @property
    def settles(self) -> bool:
        """True if some rollouts are scored in the calling process, without a worker; see `settle`."""
        return self.isolation is Isolation.PROCESS and inspect.isclass(self.function) and hasattr(self.function, "settle")

    @property
    def settings(self) -> dict[str, Any]:
        """The value of every option, defaults included. A run records it for each reward."""
        parameters = inspect.signature(self.function).parameters.values()
        return {
            parameter.name: self.options.get(parameter.name, parameter.default)
            for parameter in parameters
            if parameter.kind is not parameter.VAR_KEYWORD and (inspect.isclass(self.function) or not self._is_given(parameter))
        }

    @property
    def identity(self) -> dict[str, str | None]:
        """Where the function is defined, and the SHA-256 of that file as loaded, or None if there is no file."""
        module = getattr(self.function, "__module__", None) or type(self.function).__module__
        where = getattr(sys.modules.get(module), "__file__", None) if is_file_module(module) else module
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return {"function": f"{where}:{name}", "sha256": source_digest(self.function)}

    @property
    def read_reference(self) -> Callable[[str], str | None] | None:
        """A function that extracts the final answer from a reference, which may be a worked solution; None if the reference is the answer.

        A class provides it as a static method `read_reference(text)`, which returns None if the text marks no answer.
        """
        rule = getattr(self.function, "read_reference", None)
        return rule if callable(rule) else None

    def read_answer(self, completion: str, task: Task) -> str | None:
        """Return the answer that the reward extracts from a completion, or None. It is used to compare completions with each other.

        A class provides the rule as a method `read_answer(completion, task)`. The default is the content of the only `<answer>` block, or
        else the response after the thinking block.
        """
        rule = getattr(self.prepared, "read_answer", None)
        if rule is not None:
            found: str | None = rule(completion, task)
            return found
        parsed = parse_response(completion)
        return (parsed.answer if parsed.answer is not None else parsed.summary.strip()) or None

    def with_options(self, **options: Any) -> Reward:
        """Return the same reward with some options changed. Unknown options raise `UnknownNameError`."""
        return replace(self, options={**self.options, **options})

    def check_complete(self) -> None:
        """Raise UsageError if the constructor of a class needs an option that is not set."""
        if inspect.isclass(self.function):
            missing = [
                parameter.name
                for parameter in inspect.signature(self.function).parameters.values()
                if parameter.default is parameter.empty
                and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
                and parameter.name not in self.options
            ]
            if missing:
                raise UsageError(
                    f"reward {self.name!r} needs the option {missing[0]!r}, which has no default: set {missing[0]}=…"
                )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the undecorated function."""
        return self.prepared(*args, **kwargs)

    def score(self, rollout: Rollout) -> Score:
        """Score one rollout in this process, regardless of the isolation. The model's output never makes it raise."""
        return self.score_batch([rollout])[0]

    def score_batch(self, rollouts: Sequence[Rollout]) -> list[Score]:
        """Score rollouts in this process and return the scores in order. If the reward raises, the score has the status `error`.

        A reward of scope `group` is called once for each task. If a batch raises, its rollouts are scored one by one, so that only those
        that cause the error have no score; a group is not divided.
        """
        if self.isolation is Isolation.ASYNC:
            raise UsageError(f"reward {self.name!r} is asynchronous; use r1env.score or await ascore")
        if self.scope is Scope.GROUP:
            return in_groups(rollouts, self._score_together)
        if self.scope is Scope.TURN:
            return [
                combine_turns([self._score_one(rollout, turn) for turn in range(len(rollout.turns))])
                for rollout in map(_with_turns, rollouts)
            ]
        if not self.batch:
            return [self._score_one(rollout) for rollout in rollouts]
        return self._score_together(rollouts, one_by_one=True)

    def settle(self, rollout: Rollout) -> Score | None:
        """Return the score of a rollout if it can be determined without a worker, else None."""
        if not self.settles:
            return None
        start = time.perf_counter()
        try:
            settle, names = self._settle
            result = settle(**{name: ARGUMENTS[name](rollout) for name in names})
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - as in `_score_together`
            return self._failure(error, time.perf_counter() - start)
        return None if result is None else self._to_score(result, time.perf_counter() - start)

    def warm_up(self) -> None:
        """Do the preparation that should not count towards the first rollout. Called in a worker."""
        warm_up = getattr(self.prepared, "warm_up", None)
        if warm_up is not None:
            warm_up()

    async def ascore(self, rollout: Rollout) -> Score:
        """Score one rollout on the running event loop (for `isolation='async'`). With scope `group`, it is treated as a group of one."""
        if self.scope is Scope.TURN:
            rollout = _with_turns(rollout)
            return combine_turns([await self._ascore_one(rollout, turn) for turn in range(len(rollout.turns))])
        if self.batch or self.scope is Scope.GROUP:
            return (await self.ascore_group([rollout]))[0]
        return await self._ascore_one(rollout)

    async def ascore_group(self, rollouts: Sequence[Rollout]) -> list[Score]:
        """Score rollouts of one task in one call, on the running event loop (for scope `group`, and for `batch`)."""
        start = time.perf_counter()
        try:
            results = self._listed(await self.prepared(**self._arguments_of_many(rollouts)), len(rollouts))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except Exception as error:  # noqa: BLE001 - the asynchronous twin of `_score_together`; cancellation passes
            return [self._failure(error, time.perf_counter() - start) for _ in rollouts]
        each = (time.perf_counter() - start) / len(rollouts)
        return [self._to_score(result, each) for result in results]

    def _score_together(self, rollouts: Sequence[Rollout], *, one_by_one: bool = False) -> list[Score]:
        """Return one call for all: a batch, or a group. With `one_by_one` a call that raises is repeated for each rollout alone."""
        start = time.perf_counter()
        try:
            results = self._listed(self.prepared(**self._arguments_of_many(rollouts)), len(rollouts))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the one place where a reward's fault becomes data; see errors.py
            if one_by_one and len(rollouts) > 1 and not isinstance(error, _ResultError):
                return [self._score_together([rollout])[0] for rollout in rollouts]
            return [self._failure(error, time.perf_counter() - start) for _ in rollouts]
        each = (time.perf_counter() - start) / max(len(rollouts), 1)
        return [self._to_score(result, each) for result in results]

    def _score_one(self, rollout: Rollout, turn: int | None = None) -> Score:
        start = time.perf_counter()
        try:
            result = self.prepared(**self._arguments(rollout, turn))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - as in `_score_together`; a library's TimeoutException may be a BaseException
            return self._failure(error, time.perf_counter() - start)
        return self._to_score(result, time.perf_counter() - start)

    async def _ascore_one(self, rollout: Rollout, turn: int | None = None) -> Score:
        start = time.perf_counter()
        try:
            result = await self.prepared(**self._arguments(rollout, turn))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except Exception as error:  # noqa: BLE001 - the asynchronous twin of `_score_one`; cancellation passes
            return self._failure(error, time.perf_counter() - start)
        return self._to_score(result, time.perf_counter() - start)

    def _call_target(self) -> Callable[..., Any]:
        if inspect.isclass(self.function) and not any("__call__" in vars(base) for base in self.function.__mro__):
            raise UsageError(
                f"reward {self.name!r} is a class without a method __call__; define one, or name a function or a method"
            )
        if inspect.isclass(self.function) or not (inspect.isroutine(self.function) or isinstance(self.function, partial)):
            return cast(Callable[..., Any], self.function.__call__)  # type: ignore[operator]
        return self.function

    @cached_property
    def prepared(self) -> Callable[..., Any]:
        """What is called: the function with its options bound; for a class, the one instance of this process, made on first use."""
        if inspect.isclass(self.function):
            self.check_complete()
            return cast(Callable[..., Any], self.function(**self.options))
        return partial(self.function, **self.options)

    @cached_property
    def convention(self) -> Convention:
        """How the function is called."""
        return _convention(_parameters(self._call_target(), inspect.isclass(self.function)), self.scope)

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names out of the scope's arguments that it asks for. A foreign function may read anything of the task."""
        if self.convention is not Convention.R1ENV:
            wants_tokens = "completion_ids" in inspect.signature(self._call_target()).parameters
            return ("completion", "task", *(("rollout",) if wants_tokens else ()))
        return tuple(name for name in inspect.signature(self._call_target()).parameters if name in _arguments_of(self.scope))

    @property
    def reads_tokens(self) -> bool:
        """True if it may look at token ids, log-probs or recorded turns, which other rewards are not sent."""
        return self.scope is Scope.TURN or not {"rollout", "rollouts"}.isdisjoint(self.arguments)

    @cached_property
    def _settle(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        """The instance's `settle`, and the names out of `ARGUMENTS` that it asks for."""
        settle: Callable[..., Any] = self.prepared.settle  # type: ignore[attr-defined]
        return settle, tuple(name for name in inspect.signature(settle).parameters if name in ARGUMENTS)

    @cached_property
    def _foreign(self) -> _ForeignArguments:
        return _ForeignArguments(self.convention, self._call_target(), frozenset(self.options))

    def _arguments(self, rollout: Rollout, turn: int | None) -> dict[str, Any]:
        if turn is not None:
            return {name: TURN_ARGUMENTS[name](rollout, turn) for name in self.arguments}
        if self.convention is Convention.R1ENV:
            return {name: ARGUMENTS[name](rollout) for name in self.arguments}
        return self._foreign.of_one(rollout)

    def _arguments_of_many(self, rollouts: Sequence[Rollout]) -> dict[str, Any]:
        if self.convention is not Convention.R1ENV:
            return self._foreign.of_many(rollouts)
        if self.scope is Scope.GROUP:
            return {name: GROUP_ARGUMENTS[name](rollouts) for name in self.arguments}
        return {name: [ARGUMENTS[name](rollout) for rollout in rollouts] for name in self.arguments}

    def _listed(self, results: Any, count: int) -> Sequence[Any]:
        """
        Raises:
            ValueError: there are not as many results as rollouts.
        """
        if self.convention is Convention.OPENRLHF and isinstance(results, Mapping):
            if "rewards" not in results:
                raise _ResultError(f"returned a mapping without 'rewards': {', '.join(map(str, results))}")
            results = results["rewards"]
        if not hasattr(results, "__len__") or isinstance(results, str | Mapping):
            raise _ResultError(f"returned {type(results).__name__}, not a list of {count} results")
        if len(results) != count:
            raise _ResultError(f"returned {len(results)} results for {count} rollouts")
        return cast(Sequence[Any], results)

    def _failure(self, error: BaseException, seconds: float) -> Score:
        try:
            said = (str(error).splitlines() or [""])[0]
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - a third-party exception class, whose text cannot be read
            said = ""
        kind = type(error).__name__
        reason = said if isinstance(error, _ResultError) else f"{kind}: {said}" if said else kind
        status = Status.LIMIT if isinstance(error, MemoryError) else Status.ERROR
        return Score.failure(status, reason[:300], parts=self.part_keys, seconds=seconds)

    def _to_score(self, result: Any, seconds: float) -> Score:
        try:
            if self.convention is Convention.VERL and isinstance(result, Mapping):
                return _score_of_verl(self.name, result, seconds)
            return to_score(self.name, self.parts, result, seconds)
        except _ResultError as error:
            return self._failure(error, seconds)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - what was returned may be of any class, and reading it may raise anything
            reason = f"returned {type(result).__name__}, which cannot be read as a score"
            failure = self._failure(error, seconds)
            return failure.model_copy(update={"reason": f"{reason}: {failure.reason}"[:300]})

    def _is_given(self, parameter: inspect.Parameter) -> bool:
        """Return True for a parameter that the scoring fills, False for an option."""
        if self.convention is Convention.R1ENV:
            return parameter.name in _arguments_of(self.scope)
        return parameter.name not in self.options and (
            self.convention is Convention.TRL
            or parameter.name in _FOREIGN_NAMES[self.convention]
            or parameter.kind is parameter.VAR_KEYWORD
        )

    def _check_options(self) -> None:
        parameters = inspect.signature(self.function).parameters.values()
        reserved = _arguments_of(self.scope) if self.convention is Convention.R1ENV else _FOREIGN_NAMES[self.convention]
        own = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        known = own if inspect.isclass(self.function) else [name for name in own if name not in reserved]
        for option in self.options:
            if option not in known:
                raise UnknownNameError(f"option of reward {self.name!r}:", option, known)

    def _check_arguments(self, target: Callable[..., Any], is_method: bool) -> None:
        for parameter in _parameters(target, is_method):
            if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
                raise UsageError(
                    f"reward {self.name!r} takes {parameter.name!r} by position only, and arguments are passed by name; remove the '/'"
                )
        if self.convention is not Convention.R1ENV:
            return
        known = ", ".join(_arguments_of(self.scope))
        for parameter in _parameters(target, is_method):
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
                hint = "; if a decorator wraps the function, let it use functools.wraps" if stars == "*" else ""
                raise UsageError(
                    f"reward {self.name!r} takes {stars}{parameter.name}; name the arguments it wants: {known}{hint}"
                )
            if parameter.name not in _arguments_of(self.scope) and parameter.default is parameter.empty:
                kind = "a reward" if self.scope is Scope.ROLLOUT else f"a reward of scope {str(self.scope)!r}"
                hint = "; name a method of an object, not of its class" if parameter.name == "self" else ""
                raise UsageError(f"reward {self.name!r} asks for {parameter.name!r}; {kind} may ask for {known}{hint}")
            if parameter.default is None and parameter.name not in (*_arguments_of(self.scope), *self.options):
                self._warn_of_lookalike(parameter.name)

    def _warn_of_lookalike(self, option: str) -> None:
        """Warn of an option that would be an argument under another name: it would be None for every rollout."""
        close = difflib.get_close_matches(option, _arguments_of(self.scope), n=1, cutoff=0.8)
        meant = close[0] if close else "answer" if option in ANSWER_COLUMNS else None
        if meant is not None and not inspect.isclass(self.function):
            logger.warning(
                "reward %r: %r is an option, None unless it is set; call it %r if it should be read from the rollout",
                self.name,
                option,
                meant,
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """By reference where another process can import the function, by its file's source where it came from a file, else by value."""
        state = {
            "name": self.name,
            "isolation": self.isolation,
            "batch": self.batch,
            "parts": self.parts,
            "limits": self.limits,
            "options": dict(self.options),
            "summary": self.summary,
            "scope": self.scope,
        }
        module, name = getattr(self.function, "__module__", None), getattr(self.function, "__qualname__", None)
        if isinstance(module, str) and isinstance(name, str) and "<" not in name:
            if is_file_module(module):
                loaded = sys.modules[module]
                return (_from_source, (loaded.__file__, getattr(loaded, SOURCE), name, state))
            if _importable(module, name, self.function):
                return (_by_reference, (module, name, state))
        return (_by_value, (self.function, state))


def in_groups(rollouts: Sequence[Rollout], score_group: Callable[[Sequence[Rollout]], list[Score]]) -> list[Score]:
    """Score the rollouts of each task together and return the scores in the order of the rollouts."""
    scores: dict[int, Score] = {}
    for places in group_by_task(rollouts):
        scores |= zip(places, score_group([rollouts[place] for place in places]), strict=True)
    return [scores[place] for place in range(len(rollouts))]


def group_by_task(rollouts: Sequence[Rollout]) -> list[list[int]]:
    """Return the indices of the rollouts of each task, in the order in which the tasks first appear.

    Two tasks are the same if their id, prompt and answer are equal. The metadata is ignored, because rows of a file often contain columns
    about the single sample.
    """
    groups: dict[TaskKey, list[int]] = {}
    keys: dict[int, TaskKey] = {}  # by the identity of a task: most groups share one object
    for place, rollout in enumerate(rollouts):
        task = rollout.task
        if id(task) not in keys:
            keys[id(task)] = task_key(task)
        groups.setdefault(keys[id(task)], []).append(place)
    return list(groups.values())


TaskKey = tuple[str, str | None, str]
"""What tasks have in common that are the same for a group reward."""


def task_key(task: Task) -> TaskKey:
    """Return the key by which `group_by_task` distinguishes tasks."""
    return (task.id, task.answer, repr(task.prompt))


def combine_turns(scores: Sequence[Score]) -> Score:
    """Combine the scores of a rollout's turns: values and parts are added up, and `turns` holds the value of each turn.

    Turns without a value because there was nothing to score are skipped; if no turn has a value, neither has the rollout. If scoring a
    turn failed, the rollout has no value.
    """
    seconds = math.fsum(score.seconds for score in scores)
    failed = next((place for place, score in enumerate(scores) if score.failed), None)
    scored = [score for score in scores if score.value is not None]
    if failed is not None or not scored:
        first = scores[failed or 0]
        reason = first.reason if failed is None else f"turn {failed + 1}: {first.reason}"
        return Score.failure(first.status, reason, parts=tuple(first.parts), seconds=seconds)
    value = math.fsum(score.value or 0.0 for score in scored)
    parts = {key: math.fsum(score.parts[key] for score in scored) for key in scored[0].parts}
    reasons = "; ".join(f"turn {place}: {score.reason}" for place, score in enumerate(scores, start=1) if score.reason)
    status = Status.OK if value > 0 else next((score.status for score in scored if score.status is not Status.OK), Status.OK)
    return Score(
        value=value, parts=parts, status=status, reason=reasons, seconds=seconds, turns=tuple(score.value for score in scores)
    )


class _ResultError(ValueError):
    """The result of a reward is not a score; the message begins with "returned"."""


def to_score(name: str, parts: tuple[str, ...], result: Any, seconds: float) -> Score:
    """Convert the result of the reward `name` to a `Score`.

    A number is the value (`ok` above 0, `wrong` otherwise); a bool, a numpy scalar, and an array or tensor without dimensions are
    numbers too. None is an abstention: no value, status `no_answer`. A mapping contains the declared `parts`; the value is its entry
    `value`, or else the sum of the parts. A `Score` is kept, with the reward's name added to its parts.

    Raises:
        ValueError: the result is none of these, is not finite, or has other parts than the reward declares.
    """
    if type(result) is float:  # first: it is the usual case, and a check for an abstract type takes as long as a small reward
        return _numeric_score(_finite(result), {name: result}, seconds)
    if isinstance(result, Score):
        given = {key: value for key, value in result.parts.items() if key != name}
        found = _named_parts(name, parts, given)
        value = math.nan if result.value is None else _finite(_number(result.value))
        return result.model_copy(update={"parts": {name: value, **found}, "seconds": result.seconds or seconds})
    if isinstance(result, Mapping):
        numbers = {_part_name(key): _number(value) for key, value in result.items()}
        if not numbers:
            raise _ResultError("returned an empty mapping; return None where there is nothing to score")
        value = _finite(numbers.pop("value") if "value" in numbers else _sum(numbers.values()))
        return _numeric_score(value, {name: value, **_named_parts(name, parts, numbers)}, seconds)
    if result is None:
        return Score.failure(
            Status.NO_ANSWER, "nothing to score", parts=(name, *(f"{name}/{p}" for p in parts)), seconds=seconds
        )
    value = _finite(_number(result))
    return _numeric_score(value, {name: value}, seconds)


def _numeric_score(value: float, parts: dict[str, float], seconds: float) -> Score:
    return Score(value=value, parts=parts, status=Status.OK if value > 0 else Status.WRONG, seconds=seconds)


def _number(value: Any) -> float:
    """Return a number as a float. Arrays and tensors are recognised by `item` and `shape`: numpy and torch are not imported here."""
    if type(value) is float:
        return value
    shape = getattr(value, "shape", None)
    if shape is not None and callable(getattr(value, "item", None)):
        if tuple(shape) != ():
            raise _ResultError(f"returned an array of shape {tuple(shape)}, not one number")
        value = value.item()
    if not isinstance(value, Real | Decimal):
        remedy = ""
        if inspect.isawaitable(value):
            remedy = "; await it in an async function"
        elif inspect.isgenerator(value) or inspect.isasyncgen(value):
            remedy = "; use return instead of yield"
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that it was never awaited
        raise _ResultError(f"returned {type(value).__name__}, which is neither a number, a mapping, a Score nor None{remedy}")
    try:
        return float(value)
    except OverflowError:
        raise _ResultError("returned a number too large for a float") from None


def _part_name(key: Any) -> str:
    if not isinstance(key, str):
        raise _ResultError(f"returned a mapping with the key {key!r}; keys must be text")
    return key


def _sum(values: Iterable[float]) -> float:
    try:
        return math.fsum(values)
    except OverflowError:
        raise _ResultError("returned parts whose sum is too large for a float") from None


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise _ResultError(f"returned {'NaN' if math.isnan(value) else value}")
    return value


def _named_parts(name: str, declared: tuple[str, ...], given: Mapping[str, float]) -> dict[str, float]:
    prefix = f"{name}/"
    bare = {key.removeprefix(prefix): value for key, value in given.items()}
    if set(bare) != set(declared):
        raise _ResultError(f"returned the parts {sorted(bare)}, but declares parts={sorted(declared)}")
    return {f"{prefix}{part}": bare[part] for part in declared}


# Functions written for other libraries, called as those call them.

_FOREIGN_NAMES: Mapping[Convention, frozenset[str]] = {
    Convention.TRL: frozenset({"prompts", "completions", "completion_ids"}),
    Convention.VERL: frozenset({"data_source", "solution_str", "ground_truth", "extra_info"}),
    Convention.OPENRLHF: frozenset({"queries", "prompts", "labels"}),
}

ANSWER_COLUMNS = frozenset({"answer", "solution", "ground_truth", "label", "target"})
"""Columns that are the reference answer where the task has none of that name."""

_MISSING = object()


def _convention(parameters: Sequence[inspect.Parameter], scope: Scope) -> Convention:
    names = {parameter.name for parameter in parameters}
    if {"solution_str", "ground_truth"} <= names:
        return Convention.VERL
    if {"queries", "labels"} <= names:
        return Convention.OPENRLHF
    if "completions" not in names:
        return Convention.R1ENV
    ours = all(parameter.name in GROUP_ARGUMENTS or parameter.default is not parameter.empty for parameter in parameters)
    return Convention.R1ENV if scope is Scope.GROUP and ours else Convention.TRL


class _ForeignArguments:
    """The keyword arguments of a function with another library's convention, built from rollouts."""

    def __init__(self, convention: Convention, target: Callable[..., Any], options: frozenset[str]) -> None:
        parameters = {
            name: p
            for name, p in inspect.signature(target).parameters.items()
            if name not in options and p.kind is not p.VAR_POSITIONAL
        }
        self._convention = convention
        self._takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        self._required = {name for name, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
        self._names = [name for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD and name != "self"]
        self.as_messages = reads_messages(target)

    def of_one(self, rollout: Rollout) -> dict[str, Any]:
        """For verl: one response."""
        task = rollout.task
        given = {
            "data_source": task.metadata.get("data_source", "r1env"),
            "solution_str": rollout.completion,
            "ground_truth": task.answer,
            "extra_info": {"index": task.id, **task.metadata},
        }
        return {name: value for name, value in given.items() if self._takes_all or name in self._names}

    def of_many(self, rollouts: Sequence[Rollout]) -> dict[str, Any]:
        """For TRL and OpenRLHF: lists with an entry for each rollout. For verl with scope `group` there is no such call."""
        if self._convention is Convention.OPENRLHF:
            prompts = [_text(rollout.task.prompt) for rollout in rollouts]
            given: dict[str, Any] = {
                "queries": [prompt + rollout.completion for prompt, rollout in zip(prompts, rollouts, strict=True)],
                "prompts": prompts,
                "labels": [rollout.task.answer for rollout in rollouts],
            }
            return {name: values for name, values in given.items() if name in self._names}
        given = {name: self._trl(name, rollouts) for name in _FOREIGN_NAMES[Convention.TRL]}
        given = {name: values for name, values in given.items() if name in self._names or self._takes_all}
        columns = list(self._names)
        if self._takes_all:
            columns += ["answer", *dict.fromkeys(key for rollout in rollouts for key in rollout.task.metadata)]
        for name in columns:
            if name not in given:
                values = [_column(rollout.task, name) for rollout in rollouts]
                if any(value is not _MISSING for value in values):
                    given[name] = [None if value is _MISSING else value for value in values]
                elif name in self._required:
                    known = ", ".join(["answer", *rollouts[0].task.metadata])
                    raise _ResultError(f"asks for the column {name!r}, and the task has only: {known}")
        return given

    def _trl(self, name: str, rollouts: Sequence[Rollout]) -> list[Any]:
        if name == "completion_ids":
            return [None if rollout.token_ids is None else list(rollout.token_ids) for rollout in rollouts]
        if name == "prompts":
            return [
                [dict(message) for message in rollout.task.prompt] if self.as_messages else _text(rollout.task.prompt)
                for rollout in rollouts
            ]
        if not self.as_messages:
            return [rollout.completion for rollout in rollouts]
        return [[dict(message) for message in _conversation(rollout)[len(rollout.task.prompt) :]] for rollout in rollouts]


def reads_messages(target: Callable[..., Any]) -> bool:
    """Return True if a TRL function reads completions as messages: the text "content" is among the constants of its code.

    TRL passes lists of messages or plain texts, depending on the data set. A function for messages must say `["content"]`.
    """
    code = getattr(inspect.unwrap(target), "__code__", None)
    return isinstance(code, CodeType) and any("content" in constants for constants in _constants(code))


def _constants(code: CodeType) -> Iterator[tuple[Any, ...]]:
    yield tuple(constant for constant in code.co_consts if isinstance(constant, str))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # a comprehension or an inner function
            yield from _constants(constant)


def _column(task: Task, name: str) -> Any:
    if name in task.metadata:
        return task.metadata[name]
    if name in ANSWER_COLUMNS:
        return task.answer
    return {"id": task.id, "task_id": task.id, "tests": task.tests, "kind": str(task.kind), "language": task.language}.get(
        name, _MISSING
    )


def _text(prompt: Conversation) -> str:
    return "\n".join(message["content"] for message in prompt)


def _score_of_verl(name: str, result: Mapping[str, Any], seconds: float) -> Score:
    """Return the score in a mapping such as verl's functions return; what else is in it becomes the reason."""
    if "score" not in result:
        raise _ResultError(f"returned a mapping without 'score': {', '.join(map(str, result))}")
    others = ", ".join(f"{key}={value}" for key, value in result.items() if key != "score")
    return to_score(name, (), result["score"], seconds).model_copy(update={"reason": others[:300]})


class _Decorator(Protocol):
    def __call__(self, function: Callable[..., Any], /) -> Reward: ...


@overload
def reward(function: Callable[..., Any], /) -> Reward: ...
@overload
def reward(
    *,
    name: str | None = None,
    isolation: Isolation | str = Isolation.INLINE,
    scope: Scope | str = Scope.ROLLOUT,
    batch: bool = False,
    parts: Sequence[str] = (),
    limits: Limits | None = None,
) -> _Decorator: ...
def reward(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    isolation: Isolation | str = Isolation.INLINE,
    scope: Scope | str = Scope.ROLLOUT,
    batch: bool = False,
    parts: Sequence[str] = (),
    limits: Limits | None = None,
) -> Reward | _Decorator:
    """Create a `Reward` from a function, a coroutine function, or a class with `__call__`.

    Args:
        name: name of the reward; by default that of the function.
        isolation: where the reward runs; see `Isolation`.
        scope: what one call receives; see `Scope`.
        batch, parts, limits: see `Reward`.

    Raises:
        UsageError: the function has a parameter that is neither an argument of rewards nor an option, or isolation, scope and function
            do not fit together.

    Example:
        >>> @reward(name="brief")
        ... def brief(completion):
        ...     return len(completion) < 10
        >>> brief.score(Rollout(task=Task(id="1", prompt="2 + 2?"), completion="4")).value
        1.0
    """

    def decorate(function: Callable[..., Any], /) -> Reward:
        made = Reward(
            name=name or str(getattr(function, "__name__", type(function).__name__)),
            function=function,
            isolation=Isolation(isolation),
            batch=batch,
            parts=tuple(parts),
            limits=limits or Limits(),
            summary=(inspect.getdoc(function) or "").partition("\n")[0],
            scope=Scope(scope),
        )
        if made.convention is not Convention.R1ENV:
            form = ", with messages" if made.convention is Convention.TRL and reads_messages(made._call_target()) else ""
            logger.info("reward %r is called as %s calls its reward functions%s", made.name, made.convention, form)
        return made

    return decorate if function is None else decorate(function)


def load_reward(reference: str) -> Reward:
    """Return the reward at `module:attribute` or `file.py:attribute`.

    Raises:
        UsageError: there is none; the message says what was searched and where.
    """
    return as_reward(load_object(reference, "reward"), reference)


def as_reward(found: Any, reference: str) -> Reward:
    """Return the object found at `reference` as a reward. A `Reward` is returned unchanged; an undecorated function is decorated.

    Where `reference` is the name that a plugin gives the function, the reward has that name.

    Raises:
        UsageError: it is neither, or the function has a parameter that is neither an argument of rewards nor an option.
    """
    if isinstance(found, Reward):
        return found
    if callable(found):
        isolation = Isolation.ASYNC if inspect.iscoroutinefunction(found) else Isolation.INLINE
        return reward(name=None if is_reference(reference) else reference, isolation=isolation)(found)
    raise UsageError(f"{reference!r} is a {type(found).__name__}, not a reward; decorate it with @r1env.reward")


def _parameters(target: Callable[..., Any], is_method: bool) -> list[inspect.Parameter]:
    return list(inspect.signature(target).parameters.values())[1 if is_method else 0 :]


def _arguments_of(scope: Scope) -> Mapping[str, Callable[..., Any]]:
    tables: Mapping[Scope, Mapping[str, Callable[..., Any]]]
    tables = {Scope.ROLLOUT: ARGUMENTS, Scope.GROUP: GROUP_ARGUMENTS, Scope.TURN: TURN_ARGUMENTS}
    return tables[scope]


def _importable(module: str, qualname: str, function: Callable[..., Any]) -> bool:
    """Return True when another process that imports `module:qualname` gets this function, or the reward made of it."""
    if module == "__main__" or not _on_path(module):
        return False
    try:
        found = pkgutil.resolve_name(f"{module}:{qualname}")
    except (ImportError, AttributeError, ValueError):
        return False
    return found is function or (isinstance(found, Reward) and found.function is function)


def _on_path(module: str) -> bool:
    """Return True when `sys.path` leads to the file this module was loaded from; test modules and notebooks are often elsewhere."""
    locations: Sequence[str] | None = None
    parts = module.split(".")
    spec = None
    for depth in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:depth]), locations)
        if spec is None:
            return False
        locations = spec.submodule_search_locations
    loaded = sys.modules.get(module)
    return spec is not None and spec.origin == getattr(loaded, "__file__", None)


def _by_reference(module: str, qualname: str, state: dict[str, Any]) -> Reward:
    return _by_value(pkgutil.resolve_name(f"{module}:{qualname}"), state)


def _from_source(path: str, source: bytes, qualname: str, state: dict[str, Any]) -> Reward:
    found: Any = module_from_source(path, source)
    for part in qualname.split("."):
        found = getattr(found, part)
    return _by_value(found, state)


def _by_value(found: Any, state: dict[str, Any]) -> Reward:
    return Reward(function=found.function if isinstance(found, Reward) else found, **state)


def _conversation(rollout: Rollout) -> Conversation:
    return rollout.messages or (*rollout.task.prompt, {"role": "assistant", "content": rollout.completion})


def _with_turns(rollout: Rollout) -> Rollout:
    """Return the rollout with its turns recorded: they are read for every argument of every turn, and read off the messages only once."""
    return rollout if rollout.recorded_turns else rollout.model_copy(update={"recorded_turns": rollout.turns})


def _conversation_until(rollout: Rollout, index: int) -> Conversation:
    """Return the conversation up to and with the model's message of a turn."""
    turns = rollout.turns
    spoken = sum(1 + len(turn.replies) for turn in turns)
    whole = _conversation(rollout)
    prompt = whole[: len(whole) - spoken] if rollout.messages else rollout.task.prompt
    earlier = (message for turn in turns[:index] for message in (turn.message, *turn.replies))
    return (*prompt, *earlier, turns[index].message)


@reward(name="environment")
def environment(rollout: Rollout) -> Score | float:
    """The sum of the rewards that the environment itself gave for the turns. Without a value if it gave none."""
    paid = rollout.environment_reward
    return Score(value=None, status=Status.NO_ANSWER, reason="the environment paid no reward") if paid is None else paid
