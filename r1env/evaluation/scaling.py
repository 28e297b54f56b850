"""Test-time scaling: how the accuracy grows with the tokens that are spent on a task.

Majority voting and best-of-n are computed from the completions of an evaluation, without new samples (`curves`). Budget forcing samples
anew: `force_budget` wraps an engine, so that an evaluation through it is one as any other, and `curves` draws it beside the others.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from r1env.engines import ChatEngine, Engine, OnFinished, SamplingParams, TokenEngine, ToolSchema, derive_seed
from r1env.errors import EngineError, UsageError
from r1env.evaluation.statistics import pass_at_k
from r1env.evaluation.tables import PASS, Verdicts, interval_of
from r1env.evaluation.voting import majority_is_correct
from r1env.prompts import THINK_CLOSE, THINK_OPEN
from r1env.rollout import encode_prompt, has_room
from r1env.types import Completion, Conversation, FinishReason, Message

# Curves from the completions of an evaluation.

DRAWS = 200
"""Subsets of a task's completions that a majority is averaged over, where there are more: the error is below 0.04 of a task."""


class Point(BaseModel):
    """A point of a curve of accuracy against tokens.

    Attributes:
        method: `majority`, `best-of-n by REWARD`, `any of n` (pass@n, what a perfect choice would reach) or `budget`.
        n: completions per task.
        tokens: spent on a task, on average; characters where the engine does not count tokens.
        interval: 95 % interval of the accuracy, over tasks.
        tasks: with at least n scored completions; the others are left out.
        budget: the most tokens of thinking, where they were limited.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    environment: str
    method: str
    n: int
    tokens: float
    accuracy: float
    interval: tuple[float, float]
    tasks: int
    budget: int | None = None


def curves(
    model: str, environment: str, tasks: Sequence[Verdicts], values: Mapping[str, Sequence[Sequence[float | None]]]
) -> list[Point]:
    """Return the points of every method at n = 1, 2, 4, … up to the number of completions.

    A value is the expectation over the subsets of n of a task's scored completions. Best-of-n and any-of-n are exact, a majority is
    averaged over `DRAWS` subsets where there are more.

    Args:
        values: name of a reward → task by task, its value of each completion; None where it has none, which is then never chosen
            before one that has.
    """
    most = max((len(task.scored) for task in tasks), default=0)
    methods: dict[str, Callable[[int, int], float]] = {"any of n": lambda place, n: _any(tasks[place], n)}
    if any(vote is not None for task in tasks for vote in task.votes):
        methods["majority"] = lambda place, n: majority_of(tasks[place].votes, tasks[place].correct, n, seed=place)
    for name, of_tasks in values.items():

        def best(place: int, n: int, of_tasks: Sequence[Sequence[float | None]] = of_tasks) -> float:
            return best_of(of_tasks[place], tasks[place].correct, n)

        methods[f"best-of-n by {name}"] = best
    points = []
    for method, estimate in methods.items():
        for n in _sizes(most):
            places = [place for place, task in enumerate(tasks) if len(task.scored) >= n]
            shares = [estimate(place, n) for place in places]
            points.append(
                Point(
                    model=model,
                    environment=environment,
                    method=method,
                    n=n,
                    tokens=n * fmean(fmean(tasks[place].lengths) for place in places),
                    accuracy=fmean(shares),
                    interval=interval_of(f"{PASS}{n}", shares, most),
                    tasks=len(places),
                )
            )
    return points


def budget_point(model: str, environment: str, tasks: Sequence[Verdicts], budget: Budget) -> Point:
    """Return the point of an evaluation whose thinking was limited by a budget: pass@1 and the tokens of a completion."""
    scored = [task for task in tasks if task.scored]
    if not scored:
        raise UsageError(f"no completion of {model} for {environment} has a score: there is nothing to show")
    shares = [fmean(task.scored) for task in scored]
    return Point(
        model=model,
        environment=environment,
        method="budget" if budget.waits == 0 else f"budget, {budget.waits} × {budget.wait}",
        n=1,
        tokens=fmean(fmean(task.lengths) for task in scored),
        accuracy=fmean(shares),
        interval=interval_of(f"{PASS}1", shares, max(len(task.scored) for task in scored)),
        tasks=len(scored),
        budget=budget.tokens,
    )


def figures(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return a figure of `r1env/monitoring/static/charts.js` for each environment: accuracy against tokens, a line for each model and method."""
    found = []
    for environment in dict.fromkeys(point.environment for point in points):
        here = [point for point in points if point.environment == environment]
        lines = dict.fromkeys((point.model, point.method) for point in here)
        several = len({model for model, _ in lines}) > 1
        found.append(
            {
                "title": environment,
                "note": "accuracy against the tokens that are spent on a task, with 95 % intervals",
                "share": True,
                "percent": True,
                "log": True,
                "unit": "tokens per task",
                "lines": [
                    _line(
                        f"{model}: {method}" if several else method,
                        sorted((p for p in here if (p.model, p.method) == (model, method)), key=lambda point: point.tokens),
                    )
                    for model, method in lines
                ],
            }
        )
    return found


def _line(label: str, points: Sequence[Point]) -> dict[str, Any]:
    return {
        "label": label,
        "x": [max(point.tokens, 1.0) for point in points],  # the axis is logarithmic, and an empty completion has no token
        "y": [point.accuracy for point in points],
        "low": [point.interval[0] for point in points],
        "high": [point.interval[1] for point in points],
    }


def _sizes(most: int) -> list[int]:
    return sorted({*(1 << power for power in range(most.bit_length())), most} - {0})


def _any(task: Verdicts, n: int) -> float:
    return pass_at_k(len(task.scored), sum(task.scored), n)


def majority_of(votes: Sequence[int | None], correct: Sequence[bool | None], n: int, *, seed: int = 0) -> float:
    """Return the probability that the commonest answer of n completions is correct, over the subsets of those that are scored.

    Completions without an answer are part of a subset and have no vote; a subset without any vote is wrong.

    >>> majority_of([0, 0, 1], [True, True, False], 3)
    1.0
    """
    scored = [place for place, verdict in enumerate(correct) if verdict is not None]
    if math.comb(len(scored), n) <= DRAWS:
        subsets = [list(chosen) for chosen in itertools.combinations(scored, n)]
    else:
        chance = random.Random(seed)
        subsets = [chance.sample(scored, n) for _ in range(DRAWS)]
    return fmean(
        majority_is_correct([votes[place] for place in chosen], [correct[place] for place in chosen]) or 0.0
        for chosen in subsets
    )


def best_of(values: Sequence[float | None], correct: Sequence[bool | None], n: int) -> float:
    """Return the probability that the completion with the largest value among n is correct, over the subsets of those that are scored.

    Exact: with `below` completions of smaller values and g of the same one, a subset's largest value is this one with the probability
    (C(below + g, n) - C(below, n)) / C(N, n); of equal values each is drawn alike.

    >>> best_of([0.9, 0.1], [True, False], 1), best_of([0.9, 0.1], [True, False], 2)
    (0.5, 1.0)
    """
    scored = [
        (-math.inf if value is None or math.isnan(value) else value, verdict)
        for value, verdict in zip(values, correct, strict=True)
        if verdict is not None
    ]
    scored.sort(key=lambda pair: pair[0])
    subsets, below, total = math.comb(len(scored), n), 0, 0.0
    for _, group in itertools.groupby(scored, key=lambda pair: pair[0]):
        verdicts = [verdict for _, verdict in group]
        chance = (math.comb(below + len(verdicts), n) - math.comb(below, n)) / subsets
        total += chance * fmean(verdicts)
        below += len(verdicts)
    return total


# Budget forcing (Muennighoff et al. 2025, "s1: Simple test-time scaling", arXiv 2501.19393, section 3.1).


class Budget(BaseModel):
    """How long a model thinks before it answers. `SamplingParams.max_new_tokens` is then the limit of the answer alone.

    Attributes:
        tokens: the most tokens of thinking; then it is ended.
        waits: how often a model that ends its thinking before that is made to go on.
        wait: what makes it go on.
        close: what ends the thinking. A model that never writes it ends its thinking where it ends the completion.
        answer: written where thinking is ended that has not begun with `<think>`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: int = Field(ge=1)
    waits: int = Field(default=0, ge=0)
    wait: str = Field(default="Wait", min_length=1)
    close: str = Field(default=THINK_CLOSE, min_length=1)
    answer: str = "\n\nFinal answer:"


@runtime_checkable
class ContinuingEngine(ChatEngine, Protocol):
    """A chat engine that can continue the assistant's message where a conversation ends with one."""

    @property
    def continues(self) -> bool:
        """Whether the model behind it does so."""


def force_budget(engine: Engine, budget: Budget, name: str = "") -> Engine:
    """Return an engine whose completions think as long as the budget says. Closing it closes the engine behind it.

    Thinking that reaches the budget is ended: `</think>` is appended, or `budget.answer` where the model wrote no `<think>`, and the model
    answers. Thinking that ends earlier loses its end and gets "Wait", up to `budget.waits` times. Sampled tokens are never encoded again.

    Raises:
        UsageError: the engine cannot continue a completion that has begun.

    Example:
        >>> engine = force_budget(make_transformers("tiny"), Budget(tokens=64, waits=1))  # doctest: +SKIP
    """
    if isinstance(engine, TokenEngine):
        return _ForcedTokens(engine, budget)
    if isinstance(engine, ContinuingEngine):
        if engine.continues:
            return _ForcedChat(engine, budget)
        raise UsageError(
            "a budget needs a server that continues the assistant's message; where this one does (vLLM, SGLang), say so by "
            "--engine-option continues=true"
        )
    raise UsageError(f"the engine {name or type(engine).__name__!r} cannot continue a completion, which a budget needs")


@dataclass(slots=True)
class _Thought:
    """A completion in the making.

    Attributes:
        tokenizer: of an engine with tokens; None where there is text alone.
        text: so far, with what was forced.
        ids, logprobs: its tokens; a forced one has the log-prob 0.
        spent: tokens of the thinking so far.
        written: tokens that the model wrote altogether.
        answering: its thinking is over.
        done: why it ended; None while it goes on.
    """

    tokenizer: Any = None
    text: str = ""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    spent: int = 0
    written: int = 0
    waits: int = 0
    answering: bool = False
    done: FinishReason | None = None

    def append(self, completion: Completion, room: int) -> None:
        """Append what the model wrote, when it had room for so many tokens."""
        self.text += completion.text
        self.ids += completion.token_ids or ()
        self.logprobs += completion.logprobs or [0.0] * len(completion.token_ids or ())
        count = len(completion.token_ids) if completion.token_ids is not None else completion.tokens
        if count is None and completion.finish_reason is FinishReason.LENGTH:
            count = room
        if count is None:
            raise EngineError("the server does not say how many tokens a completion has, which a budget needs")
        self.written += count
        self.spent += 0 if self.answering else count

    def cut(self, ending: str) -> None:
        """Take the end of the thinking off: a token that ends a completion, and `ending`.

        Whole tokens go, so that none is encoded anew: a token that holds more than the ending takes that along. What was spent on them is
        not given back.
        """
        kept = self.text.rpartition(ending)[0] if ending else self.text
        if self.tokenizer is None:
            self.text = kept
            return
        special = set(self.tokenizer.all_special_ids)
        while self.ids and (
            self.ids[-1] in special or len(self.tokenizer.decode(self.ids, skip_special_tokens=True)) > len(kept)
        ):
            del self.ids[-1], self.logprobs[-1]
        self.text = self.tokenizer.decode(self.ids, skip_special_tokens=True)

    def force(self, text: str) -> None:
        """Append a text that the model did not write."""
        self.text += text
        if self.tokenizer is not None:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            self.ids += ids
            self.logprobs += [0.0] * len(ids)
            self.spent += len(ids)

    def completion(self) -> Completion:
        reason = self.done or FinishReason.STOP
        if self.tokenizer is None:
            return Completion(text=self.text, finish_reason=reason, tokens=self.written)
        return Completion(text=self.text, finish_reason=reason, token_ids=tuple(self.ids), logprobs=tuple(self.logprobs))


def _decide(thought: _Thought, completion: Completion, budget: Budget, params: SamplingParams, *, opened: bool) -> None:
    """Decide what becomes of a thought after what the model wrote last.

    Args:
        opened: the prompt itself opens the thinking.
    """
    reason, closed = completion.finish_reason, budget.close in completion.text
    if reason is FinishReason.ERROR or thought.answering:
        thought.done = reason
    elif reason is FinishReason.STOP and not closed and any(word in completion.text for word in params.stop):
        thought.done = reason  # the template's own end: the answer is there
    elif reason is FinishReason.STOP and thought.waits < budget.waits and thought.spent < budget.tokens:
        thought.waits += 1
        thought.cut(budget.close if closed else "")
        thought.force(budget.wait)
    elif closed:
        thought.answering = True
    elif reason is FinishReason.STOP:
        thought.done = reason  # it thought and answered without tags
    if thought.done is None and not thought.answering and thought.spent >= budget.tokens:
        thought.cut("")
        thought.force(f"\n{budget.close}\n\n" if opened or THINK_OPEN in thought.text else budget.answer)
        thought.answering = True


Ask = Callable[[Sequence[int], SamplingParams], Sequence[Completion]]
"""Continues thoughts, by their places, from where they are; one completion of each."""


def _think(
    thoughts: Sequence[_Thought],
    begun: Sequence[Completion],
    ask: Ask,
    budget: Budget,
    params: SamplingParams,
    opened: Sequence[bool],
    on_finished: OnFinished | None,
) -> list[Completion]:
    """Bring thoughts to their ends, round by round. Those with the same room share a call of the engine.

    Args:
        begun: what the model wrote in the first round.
    """
    news = [(place, completion, budget.tokens) for place, completion in enumerate(begun)]
    for round_number in itertools.count(1):
        for place, completion, room in news:
            thoughts[place].append(completion, room)
            _decide(thoughts[place], completion, budget, params, opened=opened[place])
        if on_finished is not None and (over := [place for place, *_ in news if thoughts[place].done is not None]):
            on_finished(over, [thoughts[place].completion() for place in over])
        rooms: dict[tuple[bool, int], list[int]] = {}
        for place, thought in enumerate(thoughts):
            if thought.done is None:
                room = params.max_new_tokens if thought.answering else budget.tokens - thought.spent
                rooms.setdefault((thought.answering, room), []).append(place)
        if not rooms:
            return [thought.completion() for thought in thoughts]
        news = []
        for number, ((answering, room), places) in enumerate(sorted(rooms.items())):
            seed = derive_seed(params.seed, round_number, number)
            stop = params.stop if answering else (*params.stop, budget.close)
            how = params.model_copy(update={"n": 1, "first": 0, "max_new_tokens": room, "stop": stop, "seed": seed})
            news += [(place, found, room) for place, found in zip(places, ask(places, how), strict=True)]
    raise AssertionError("unreachable")


def _first_round(params: SamplingParams, budget: Budget) -> SamplingParams:
    return params.model_copy(update={"max_new_tokens": budget.tokens, "stop": (*params.stop, budget.close)})


class _ForcedTokens:
    """A `TokenEngine` under a budget."""

    def __init__(self, engine: TokenEngine, budget: Budget) -> None:
        self._engine, self._budget = engine, budget

    @property
    def tokenizer(self) -> Any:
        return self._engine.tokenizer

    @property
    def max_length(self) -> int | None:
        return self._engine.max_length

    def generate_tokens(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, on_finished: OnFinished | None = None
    ) -> list[Completion]:
        rows = [prompt for prompt in prompts for _ in range(params.n)]
        thoughts = [_Thought(self.tokenizer) for _ in rows]

        def ask(places: Sequence[int], how: SamplingParams) -> list[Completion]:
            full = Completion(text="", finish_reason=FinishReason.LENGTH, token_ids=(), logprobs=())
            found = dict.fromkeys(places, full)
            sequences = {place: [*rows[place], *thoughts[place].ids] for place in places}
            fitting = [place for place in places if has_room(len(sequences[place]), self.max_length)]
            if fitting:
                found |= zip(fitting, self._engine.generate_tokens([sequences[place] for place in fitting], how), strict=True)
            for place in found.keys() - set(fitting):
                thoughts[place].answering = True  # the context is full: what there is is the completion
            return [found[place] for place in places]

        opened = [THINK_OPEN in self.tokenizer.decode(list(prompt)[-TAIL:]) for prompt in rows]
        begun = self._engine.generate_tokens(prompts, _first_round(params, self._budget))
        return _think(thoughts, begun, ask, self._budget, params, opened, on_finished)

    def generate(self, prompts: Sequence[Conversation], params: SamplingParams) -> list[list[Completion]]:
        encoded = [encode_prompt(self.tokenizer, prompt, chat=params.chat) for prompt in prompts]
        found = self.generate_tokens(encoded, params)
        return [found[start : start + params.n] for start in range(0, len(found), params.n)]

    def close(self) -> None:
        self._engine.close()


TAIL = 8
"""Tokens at the end of a prompt among which a chat template opens the thinking."""


class _ForcedChat:
    """A `ContinuingEngine` under a budget."""

    def __init__(self, engine: ContinuingEngine, budget: Budget) -> None:
        self._engine, self._budget = engine, budget

    def generate_chat(
        self,
        prompts: Sequence[Conversation],
        params: SamplingParams,
        tools: Sequence[Sequence[ToolSchema]],
        on_finished: OnFinished | None = None,
    ) -> list[Completion]:
        rows = [place for place in range(len(prompts)) for _ in range(params.n)]
        thoughts = [_Thought() for _ in rows]

        def ask(places: Sequence[int], how: SamplingParams) -> list[Completion]:
            begun = [_begun(prompts[rows[place]], thoughts[place].text, chat=params.chat) for place in places]
            return self._engine.generate_chat(begun, how, [tools[rows[place]] for place in places])

        begun = self._engine.generate_chat(prompts, _first_round(params, self._budget), tools)
        return _think(thoughts, begun, ask, self._budget, params, [False] * len(rows), on_finished)

    def generate(self, prompts: Sequence[Conversation], params: SamplingParams) -> list[list[Completion]]:
        found = self.generate_chat(prompts, params, [()] * len(prompts))
        return [found[start : start + params.n] for start in range(0, len(found), params.n)]

    def close(self) -> None:
        self._engine.close()


def _begun(prompt: Conversation, text: str, *, chat: bool) -> Conversation:
    """Return a conversation that ends with the assistant's message so far; of a plain text, the text with what was written behind it."""
    if chat:
        return (*prompt, {"role": "assistant", "content": text})
    *earlier, last = prompt
    whole: Message = {"role": last["role"], "content": last["content"] + text}
    return (*earlier, whole)
