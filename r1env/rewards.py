"""`Reward` and the `@reward` decorator: a plain function or class becomes a reward plugin.

A reward names the arguments it wants, as a pytest test names its fixtures; any subset of `ARGUMENTS` will do. Other
parameters must have defaults and are the reward's *options*. What it returns is made a `Score` here and nowhere else:

    @r1env.reward(name="short", isolation="inline")
    def short(completion: str, *, limit: int = 200) -> float:
        return float(len(completion) < limit)

A class is made once a process. It may have two methods beside `__call__`, of use with `isolation="process"`:
`settle(...)`, asked in the calling process before a worker is (its arguments by name as well): a result, or None where it
takes a worker; and `warm_up()`, called in each worker before the clock of the first rollout starts. A class with `settle` is
also made in the calling process, so its constructor should be light.
"""

from __future__ import annotations

import inspect
import math
import pkgutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property, partial
from importlib.machinery import PathFinder
from numbers import Real
from typing import Any, Protocol, cast, overload

from r1env.errors import UnknownNameError, UsageError
from r1env.importing import load_object
from r1env.prompts import parse_response
from r1env.types import Conversation, Rollout, Score, Status

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


class Isolation(StrEnum):
    """Where a reward runs."""

    INLINE = "inline"  # in the calling process: pure, quick, and bounded whatever the text
    PROCESS = "process"  # in a worker that can be killed: anything that parses, computes, or could hang
    ASYNC = "async"  # on an event loop: it waits for I/O


@dataclass(frozen=True, slots=True)
class Limits:
    """What one rollout may cost a process-isolated reward. CPU time decides, so that load does not change a verdict."""

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
    """A named scoring rule. Made by `reward`; immutable; picklable when it can be imported.

    Attributes:
        name: its id in rubrics, metrics and score parts.
        function: the function, or the class whose instances are called.
        isolation: see `Isolation`.
        batch: the function takes lists (one entry a rollout) and returns a list of results.
        parts: names of the components it returns, when it returns a mapping. They appear as `name/part`.
        limits: see `Limits`; used with `Isolation.PROCESS`.
        options: values for the function's own parameters (for a class, for its constructor).
    """

    name: str
    function: Callable[..., Any]
    isolation: Isolation = Isolation.INLINE
    batch: bool = False
    parts: tuple[str, ...] = ()
    limits: Limits = Limits()
    options: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""

    def __post_init__(self) -> None:
        takes_options = inspect.signature(self.function).parameters
        known = [p.name for p in takes_options.values() if p.name not in ARGUMENTS or inspect.isclass(self.function)]
        for option in self.options:
            if option not in known:
                raise UnknownNameError(f"option of reward {self.name!r}:", option, known)
        if inspect.iscoroutinefunction(self._call_target()) != (self.isolation is Isolation.ASYNC):
            raise UsageError(
                f"reward {self.name!r}: a coroutine function needs isolation='async', and isolation='async' needs a coroutine function"
            )
        _check_arguments(self.name, self._call_target(), inspect.isclass(self.function))
        if self.settles:
            _check_arguments(self.name, self.function.settle, True)  # type: ignore[attr-defined]
        if self.options and inspect.isclass(self.function) and (self.settles or self.isolation is Isolation.INLINE):
            _ = self.prepared  # a constructor that refuses an option shall do it now, not rollout by rollout

    @property
    def part_keys(self) -> tuple[str, ...]:
        """The keys of `Score.parts`, the same for every rollout."""
        return (self.name, *(f"{self.name}/{part}" for part in self.parts))

    @property
    def settles(self) -> bool:
        """True when some rollouts are settled in the calling process, without a worker; see `settle`."""
        return self.isolation is Isolation.PROCESS and inspect.isclass(self.function) and hasattr(self.function, "settle")

    @property
    def settings(self) -> dict[str, Any]:
        """Every option with the value it has, defaults included: what a run must remember about this reward."""
        parameters = inspect.signature(self.function).parameters.values()
        return {
            parameter.name: self.options.get(parameter.name, parameter.default)
            for parameter in parameters
            if inspect.isclass(self.function) or parameter.name not in ARGUMENTS
        }

    def with_options(self, **options: Any) -> Reward:
        """The same reward with some options changed. Unknown options raise `UnknownNameError`."""
        return replace(self, options={**self.options, **options})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as if it had never been decorated."""
        return self.prepared(*args, **kwargs)

    def score(self, rollout: Rollout) -> Score:
        """Score one rollout in this process, whatever the isolation. Never raises on account of the model's output."""
        return self.score_batch([rollout])[0]

    def score_batch(self, rollouts: Sequence[Rollout]) -> list[Score]:
        """Score rollouts in this process, in order. A reward that raises yields a score with status `error`."""
        if self.isolation is Isolation.ASYNC:
            raise UsageError(f"reward {self.name!r} is asynchronous; use r1env.score or await ascore")
        if not self.batch:
            return [self._score_one(rollout) for rollout in rollouts]
        start = time.perf_counter()
        try:
            results = self.prepared(**self._arguments_of_batch(rollouts))
            if len(results) != len(rollouts):
                raise ValueError(f"returned {len(results)} results for {len(rollouts)} rollouts")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the one place where a reward's fault becomes data; see errors.py
            return [self._failure(error, time.perf_counter() - start) for _ in rollouts]
        each = (time.perf_counter() - start) / max(len(rollouts), 1)
        return [self._to_score(result, each) for result in results]

    def settle(self, rollout: Rollout) -> Score | None:
        """What can be said of a rollout here and now, without a worker; None where it takes one, or the reward never settles."""
        if not self.settles:
            return None
        start = time.perf_counter()
        try:
            settle, names = self._settle
            result = settle(**{name: ARGUMENTS[name](rollout) for name in names})
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - as in `score_batch`
            return self._failure(error, time.perf_counter() - start)
        return None if result is None else self._to_score(result, time.perf_counter() - start)

    def warm_up(self) -> None:
        """Make ready whatever the first rollout should not have to wait for. Called in a worker."""
        warm_up = getattr(self.prepared, "warm_up", None)
        if warm_up is not None:
            warm_up()

    async def ascore(self, rollout: Rollout) -> Score:
        """Score one rollout on the running event loop (for `isolation='async'`)."""
        start = time.perf_counter()
        try:
            arguments = self._arguments_of_batch([rollout]) if self.batch else self._arguments(rollout)
            result = await self.prepared(**arguments)
            if self.batch:
                (result,) = result
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except Exception as error:  # noqa: BLE001 - the asynchronous twin of the boundary in `score_batch`; cancellation passes
            return self._failure(error, time.perf_counter() - start)
        return self._to_score(result, time.perf_counter() - start)

    def _score_one(self, rollout: Rollout) -> Score:
        start = time.perf_counter()
        try:
            result = self.prepared(**self._arguments(rollout))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - as in `score_batch`; a library's TimeoutException may be a BaseException
            return self._failure(error, time.perf_counter() - start)
        return self._to_score(result, time.perf_counter() - start)

    def _call_target(self) -> Callable[..., Any]:
        return self.function.__call__ if inspect.isclass(self.function) else self.function

    @cached_property
    def prepared(self) -> Callable[..., Any]:
        """What is called: the function with its options bound; for a class, the one instance of this process, made on first use."""
        if inspect.isclass(self.function):
            return cast(Callable[..., Any], self.function(**self.options))
        return partial(self.function, **self.options)

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names out of `ARGUMENTS` that it asks for."""
        return tuple(name for name in inspect.signature(self._call_target()).parameters if name in ARGUMENTS)

    @cached_property
    def _settle(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        """The instance's `settle`, and the names out of `ARGUMENTS` that it asks for."""
        settle: Callable[..., Any] = self.prepared.settle  # type: ignore[attr-defined]
        return settle, tuple(name for name in inspect.signature(settle).parameters if name in ARGUMENTS)

    def _arguments(self, rollout: Rollout) -> dict[str, Any]:
        return {name: ARGUMENTS[name](rollout) for name in self.arguments}

    def _arguments_of_batch(self, rollouts: Sequence[Rollout]) -> dict[str, Any]:
        return {name: [ARGUMENTS[name](rollout) for rollout in rollouts] for name in self.arguments}

    def _failure(self, error: BaseException, seconds: float) -> Score:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        status = Status.LIMIT if isinstance(error, MemoryError) else Status.ERROR
        return Score.failure(status, reason, parts=self.part_keys, seconds=seconds)

    def _to_score(self, result: Any, seconds: float) -> Score:
        try:
            return to_score(self.name, self.parts, result, seconds)
        except (TypeError, ValueError) as error:
            return self._failure(error, seconds)

    def __reduce__(self) -> tuple[Any, ...]:
        module, name = self.function.__module__, self.function.__qualname__
        if _importable(module, name, self.function):
            return (_by_reference, (module, name, dict(self.options), self.limits))
        fields = (
            self.name,
            self.function,
            self.isolation,
            self.batch,
            self.parts,
            self.limits,
            dict(self.options),
            self.summary,
        )
        return (Reward, fields)


def to_score(name: str, parts: tuple[str, ...], result: Any, seconds: float) -> Score:
    """Make a `Score` of what reward `name` returned.

    A number is the value (`ok` above 0, `wrong` otherwise). None is an abstention: no value, status `no_answer`. A mapping
    holds the declared `parts`; the value is its entry `value`, or else the sum of the parts. A `Score` keeps everything and
    gets the reward's name in its parts.

    Raises:
        TypeError: it is none of these.
        ValueError: it is not finite, or its parts are not those that the reward declared.
    """
    if isinstance(result, Score):
        given = {key: value for key, value in result.parts.items() if key != name}
        found = _named_parts(name, parts, given)
        value = math.nan if result.value is None else result.value
        return result.model_copy(update={"parts": {name: value, **found}, "seconds": result.seconds or seconds})
    if isinstance(result, Mapping):
        value = float(result["value"]) if "value" in result else math.fsum(result.values())
        found = _named_parts(name, parts, {k: float(v) for k, v in result.items() if k != "value"})
        return _numeric_score(value, {name: value, **found}, seconds)
    if result is None:
        return Score.failure(
            Status.NO_ANSWER, "nothing to score", parts=(name, *(f"{name}/{p}" for p in parts)), seconds=seconds
        )
    if not isinstance(result, Real):
        raise TypeError(f"returned {type(result).__name__}, which is neither a number, a mapping, a Score nor None")
    return _numeric_score(float(result), {name: float(result)}, seconds)


def _numeric_score(value: float, parts: dict[str, float], seconds: float) -> Score:
    return Score(value=value, parts=parts, status=Status.OK if value > 0 else Status.WRONG, seconds=seconds)


def _named_parts(name: str, declared: tuple[str, ...], given: Mapping[str, float]) -> dict[str, float]:
    prefix = f"{name}/"
    bare = {key.removeprefix(prefix): value for key, value in given.items()}
    if set(bare) != set(declared):
        raise ValueError(f"returned the parts {sorted(bare)}, but declares parts={sorted(declared)}")
    return {f"{prefix}{part}": bare[part] for part in declared}


class _Decorator(Protocol):
    def __call__(self, function: Callable[..., Any], /) -> Reward: ...


@overload
def reward(function: Callable[..., float | None], /) -> Reward: ...
@overload
def reward(
    *,
    name: str | None = None,
    isolation: Isolation | str = Isolation.INLINE,
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
    batch: bool = False,
    parts: Sequence[str] = (),
    limits: Limits | None = None,
) -> Reward | _Decorator:
    """Make a `Reward` of a function, a coroutine function, or a class with `__call__`.

    Raises:
        UsageError: the function asks for an argument that rewards do not have, or isolation and function do not fit.
    """

    def decorate(function: Callable[..., Any], /) -> Reward:
        return Reward(
            name=name or function.__name__,
            function=function,
            isolation=Isolation(isolation),
            batch=batch,
            parts=tuple(parts),
            limits=limits or Limits(),
            summary=(inspect.getdoc(function) or "").partition("\n")[0],
        )

    return decorate if function is None else decorate(function)


def load_reward(reference: str) -> Reward:
    """Return the reward at `module:attribute` or `file.py:attribute`.

    Raises:
        UsageError: there is none; the message says what was looked for and where.
    """
    return as_reward(load_object(reference, "reward"), reference)


def as_reward(found: Any, reference: str) -> Reward:
    """Make a reward of what was found at `reference`: a `Reward` is returned as it is, an undecorated function becomes one.

    Raises:
        UsageError: it is neither, or the function asks for something that rewards do not have.
    """
    if isinstance(found, Reward):
        return found
    if callable(found):
        return reward(isolation=Isolation.ASYNC if inspect.iscoroutinefunction(found) else Isolation.INLINE)(found)
    raise UsageError(f"{reference!r} is a {type(found).__name__}, not a reward; decorate it with @r1env.reward")


def _check_arguments(name: str, target: Callable[..., Any], is_method: bool) -> None:
    parameters = list(inspect.signature(target).parameters.values())[1 if is_method else 0 :]
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise UsageError(f"reward {name!r} takes *{parameter.name}; name the arguments it wants: {', '.join(ARGUMENTS)}")
        if parameter.name not in ARGUMENTS and parameter.default is parameter.empty:
            raise UsageError(f"reward {name!r} asks for {parameter.name!r}; a reward may ask for {', '.join(ARGUMENTS)}")


def _importable(module: str, qualname: str, function: Callable[..., Any]) -> bool:
    """True when another process that imports `module:qualname` gets this function, or the reward made of it."""
    if module == "__main__" or "<" in qualname or not _on_path(module):
        return False
    try:
        found = pkgutil.resolve_name(f"{module}:{qualname}")
    except (ImportError, AttributeError, ValueError):
        return False
    return found is function or (isinstance(found, Reward) and found.function is function)


def _on_path(module: str) -> bool:
    """True when `sys.path` leads to the file this module was loaded from; test modules and notebooks are often elsewhere."""
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


def _by_reference(module: str, qualname: str, options: dict[str, Any], limits: Limits) -> Reward:
    found = load_reward(f"{module}:{qualname}")
    return replace(found, options=options, limits=limits)


def _conversation(rollout: Rollout) -> Conversation:
    return rollout.messages or (*rollout.task.prompt, {"role": "assistant", "content": rollout.completion})
