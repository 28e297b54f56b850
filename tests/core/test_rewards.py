"""What the author of a reward relies on."""

from __future__ import annotations

import asyncio
import math
import pickle

import cloudpickle
import pytest

import r1env
from r1env.errors import UnknownNameError, UsageError
from r1env.rewards import load_reward
from r1env.types import Score, Status


def rollout(completion="<think>a</think>b", answer="b"):
    return r1env.Rollout(task=r1env.Task(id="t", prompt="question", answer=answer), completion=completion)


@r1env.reward(name="short", isolation="inline")
def short(completion: str, *, limit: int = 200) -> float:
    """One for short completions."""
    return float(len(completion) < limit)


def test_a_reward_in_ten_lines_scores_a_rollout():
    score = short.score(rollout())
    assert (score.value, score.parts, score.status) == (1.0, {"short": 1.0}, Status.OK)
    assert short.summary == "One for short completions."


def test_the_decorated_function_can_still_be_called():
    assert short("abc", limit=2) == 0.0


def test_arguments_are_taken_by_name():
    @r1env.reward(name="everything")
    def everything(answer, thinking, response, completion, task, rollout, messages):
        assert task is rollout.task
        assert [m["role"] for m in messages] == ["user", "assistant"]
        return float((answer, thinking, response, completion) == ("b", "a", "b", "<think>a</think>b"))

    assert everything.score(rollout()).value == 1.0


def test_an_argument_that_does_not_exist_is_refused_when_the_reward_is_made():
    with pytest.raises(UsageError, match="asks for 'competion'; a reward may ask for completion, answer"):

        @r1env.reward
        def typo(competion):
            return 1.0


def test_options_are_set_by_name_and_unknown_ones_get_the_nearest():
    assert short.with_options(limit=3).score(rollout("abcd")).value == 0.0
    assert short.score(rollout("abcd")).value == 1.0
    with pytest.raises(UnknownNameError, match="did you mean 'limit'"):
        short.with_options(limitt=3)


def test_a_class_with_state_is_a_reward_whose_constructor_takes_the_options():
    @r1env.reward(name="counting")
    class Counting:
        def __init__(self, start: int = 0) -> None:
            self.seen = start

        def __call__(self, completion: str) -> float:
            self.seen += 1
            return float(self.seen)

    counting = Counting.with_options(start=10)
    assert [counting.score(rollout()).value for _ in range(2)] == [11.0, 12.0]


def test_a_batch_reward_sees_all_rollouts_at_once():
    @r1env.reward(name="longest", batch=True)
    def longest(completion):
        return [float(len(text) == max(map(len, completion))) for text in completion]

    scores = longest.score_batch([rollout("a"), rollout("abc"), rollout("ab")])
    assert [score.value for score in scores] == [0.0, 1.0, 0.0]


def test_a_batch_reward_that_returns_too_few_results_scores_nothing():
    @r1env.reward(name="lossy", batch=True)
    def lossy(completion):
        return [1.0]

    scores = lossy.score_batch([rollout(), rollout()])
    assert [(score.value, score.status) for score in scores] == [(None, Status.ERROR)] * 2


def test_an_asynchronous_reward_is_awaited():
    @r1env.reward(name="io", isolation="async")
    async def io(completion):
        await asyncio.sleep(0)
        return 0.5

    assert asyncio.run(io.ascore(rollout())).value == 0.5
    with pytest.raises(UsageError, match="asynchronous"):
        io.score(rollout())


def test_a_coroutine_function_without_async_isolation_is_refused():
    with pytest.raises(UsageError, match="isolation='async'"):

        @r1env.reward
        async def io(completion):
            return 1.0


@pytest.mark.parametrize(
    ("returned", "value", "status"),
    [
        (True, 1.0, Status.OK),
        (0, 0.0, Status.WRONG),
        (-0.5, -0.5, Status.WRONG),
        (None, None, Status.NO_ANSWER),
        (math.nan, None, Status.ERROR),
        (math.inf, None, Status.ERROR),
        ("1.0", None, Status.ERROR),
        ([1.0], None, Status.ERROR),
        (Score(value=0.25, status=Status.BAD_FORMAT, reason="why"), 0.25, Status.BAD_FORMAT),
    ],
)
def test_what_a_reward_returns_becomes_a_score_and_nonsense_is_never_zero(returned, value, status):
    @r1env.reward(name="any")
    def any_(completion):
        return returned

    score = any_.score(rollout())
    assert (score.value, score.status) == (value, status)
    assert list(score.parts) == ["any"]


def test_parts_are_declared_and_carry_the_name_of_the_reward():
    @r1env.reward(name="two", parts=("left", "right"))
    def two(completion):
        return {"left": 0.25, "right": 0.5}

    score = two.score(rollout())
    assert score.value == 0.75
    assert score.parts == {"two": 0.75, "two/left": 0.25, "two/right": 0.5}


def test_parts_other_than_the_declared_ones_are_an_error_with_the_declared_keys():
    @r1env.reward(name="two", parts=("left", "right"))
    def two(completion):
        return {"left": 0.25, "rihgt": 0.5}

    score = two.score(rollout())
    assert score.status == Status.ERROR
    assert "rihgt" in score.reason
    assert list(score.parts) == ["two", "two/left", "two/right"]


@pytest.mark.parametrize("error", [ValueError("bad\nsecond line"), SystemExit(3), type("Odd", (BaseException,), {})("odd")])
def test_a_reward_that_raises_gives_a_score_without_a_value(error):
    @r1env.reward(name="raising")
    def raising(completion):
        raise error

    score = raising.score(rollout())
    assert (score.value, score.status, score.failed) == (None, Status.ERROR, True)
    assert type(error).__name__ in score.reason
    assert "\n" not in score.reason


def test_running_out_of_memory_is_a_limit():
    @r1env.reward(name="hungry")
    def hungry(completion):
        raise MemoryError("too much")

    assert hungry.score(rollout()).status == Status.LIMIT


@pytest.mark.parametrize("limits", [{"cpu_seconds": 0}, {"wall_seconds": math.inf}, {"memory_mb": -1}])
def test_limits_that_would_switch_a_limit_off_are_refused(limits):
    with pytest.raises(UsageError, match="must be above 0 and finite"):
        r1env.Limits(**limits)


def test_a_reason_that_quotes_a_model_is_cut():
    assert len(Score(value=0.0, reason="x" * 10_000).reason) == 1_000


def test_ctrl_c_passes_through_a_reward():
    @r1env.reward(name="interrupted")
    def interrupted(completion):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.score(rollout())


def test_an_importable_reward_pickles_by_reference_with_its_options():
    original = load_reward("r1env_format.reward:Format").with_options(template="boxed")
    copy = pickle.loads(pickle.dumps(original))
    assert copy == original


def test_a_local_reward_travels_by_value():
    bonus = 0.5

    @r1env.reward(name="closure")
    def closure(completion):
        return bonus

    assert pickle.loads(cloudpickle.dumps(closure)).score(rollout()).value == 0.5


@pytest.mark.parametrize("target", ["no_such_module:x", "r1env:no_such_name", "r1env:__version__"])
def test_a_target_that_is_no_reward_says_so_in_one_line(target):
    with pytest.raises(UsageError) as caught:
        load_reward(target)
    assert target in str(caught.value)
    assert "\n" not in str(caught.value)


class Broken(dict):
    """Mapping whose content cannot be read."""

    def items(self):
        raise LookupError("no items")


class Classless:
    @property
    def __class__(self):
        raise RuntimeError("no class")


class BrokenFloat(float):
    def __float__(self):
        raise RuntimeError("no float")


class Exits(float):
    def __float__(self):
        raise SystemExit(4)


class UnspeakableError(Exception):
    def __str__(self):
        raise SystemExit(4)


def unspeakable():
    raise UnspeakableError


def generator():
    yield 1.0


async def coroutine():
    return 1.0


ODD = {
    "exit while it is read": (lambda: Exits(1), "returned Exits, which cannot be read as a score: SystemExit: 4"),
    "exit while its text is read": (unspeakable, "UnspeakableError"),
    "empty mapping": (dict, "returned an empty mapping; return None where there is nothing to score"),
    "generator": (
        generator,
        "returned generator, which is neither a number, a mapping, a Score nor None; use return instead of yield",
    ),
    "coroutine": (
        coroutine,
        "returned coroutine, which is neither a number, a mapping, a Score nor None; await it in an async function",
    ),
    "huge": (lambda: 10**400, "returned a number too large for a float"),
    "huge in a mapping": (lambda: {"value": 10**400}, "returned a number too large for a float"),
    "key that is no text": (lambda: {1: 1.0}, "returned a mapping with the key 1; keys must be text"),
    "sum": (lambda: {"a": 1e308, "b": 1e308}, "returned parts whose sum is too large for a float"),
    "mapping": (lambda: Broken(a=1.0), "returned Broken, which cannot be read as a score: LookupError: no items"),
    "class": (Classless, "returned Classless, which cannot be read as a score: RuntimeError: no class"),
    "float": (lambda: BrokenFloat(1), "returned BrokenFloat, which cannot be read as a score: RuntimeError: no float"),
    "NaN": (lambda: Score.model_construct(value=math.nan, parts={}), "returned NaN"),
}


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("case", ODD)
def test_a_value_that_is_no_score_costs_only_its_own_rollout(case, batch):
    returned, reason = ODD[case]

    def of(text):
        return returned() if text == "odd" else 1.0

    @r1env.reward(name="odd", batch=batch)
    def odd(completion):
        return list(map(of, completion)) if batch else of(completion)

    scores = r1env.score([rollout(text) for text in ("1", "odd", "2")], odd)
    assert [found.value for found in scores] == [1.0, None, 1.0]
    assert (scores[1].status, scores[1].reason) == (Status.ERROR, reason)


class Nothing:
    pass


class NeedsLimit:
    def __init__(self, limit):
        self.limit = limit

    def __call__(self, completion):
        return float(self.limit)

    def method(self, completion):
        return 1.0


def careless_decorator(function):
    def inner(*args, **kwargs):
        return function(*args, **kwargs)

    return inner


def by_position(completion, /):
    return 1.0


def trl_by_position(completions, answer, /):
    return [1.0] * len(completions)


def everything(**kwargs):
    return 1.0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (by_position, "'by_position' takes 'completion' by position only, .*remove the '/'"),
        (trl_by_position, "'trl_by_position' takes 'completions' by position only"),
        (everything, r"takes \*\*kwargs; name the arguments it wants: completion, answer"),
        (careless_decorator(by_position), r"takes \*args; .*functools.wraps"),
        (Nothing, "'Nothing' is a class without a method __call__"),
        (NeedsLimit.method, "asks for 'self'; .*a method of an object"),
        (max, "'max' has no signature that Python can read; wrap it in a function"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused_with_the_remedy(function, message):
    with pytest.raises(UsageError, match=message):
        r1env.reward(function)


def test_a_class_whose_option_is_missing_is_refused_by_name():
    reference = f"{__name__}:NeedsLimit"
    with pytest.raises(UsageError, match="'NeedsLimit' needs the option 'limit', which has no default: set limit="):
        r1env.get_reward(reference).check_complete()
    assert "needs the option 'limit'" in r1env.get_reward(reference).score(rollout("4")).reason
    assert r1env.get_reward(reference, limit=2).score(rollout("4")).value == 2.0


@pytest.mark.parametrize(("name", "meant"), [("ground_truth", "answer"), ("anwser", "answer"), ("responce", "response")])
def test_an_option_that_looks_like_an_argument_is_warned_of(caplog, name, meant):
    namespace = {}
    exec(f"def lookalike(completion, {name}=None): return 1.0", namespace)
    r1env.reward(namespace["lookalike"])
    assert f"'lookalike': '{name}' is an option, None unless it is set; call it '{meant}'" in caplog.text
