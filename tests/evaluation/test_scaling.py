"""Test-time scaling: votes and best-of-n from kept completions, and thinking under a budget."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.engines import SamplingParams, ScriptedEngine, TokenEngine
from r1env.errors import UsageError
from r1env.evaluation.scaling import Budget, best_of, curves, force_budget, majority_of
from r1env.evaluation.statistics import mean_interval, wilson_interval
from r1env.evaluation.tables import Verdicts
from r1env.types import Completion, FinishReason

VALUES = st.lists(
    st.tuples(st.sampled_from([None, 0.0, 0.5, 1.0]), st.sampled_from([True, False, None])), min_size=1, max_size=6
)


@given(VALUES, st.integers(1, 6))
def test_best_of_n_is_the_mean_over_all_subsets(pairs: list[tuple[float | None, bool | None]], n: int) -> None:
    scored = [(-1.0 if value is None else value, verdict) for value, verdict in pairs if verdict is not None]
    if len(scored) < n:
        return
    by_hand = [
        fmean(verdict for value, verdict in chosen if value == max(value for value, _ in chosen))
        for chosen in itertools.combinations(scored, n)
    ]
    values, verdicts = zip(*pairs, strict=True)
    assert best_of(values, verdicts, n) == pytest.approx(fmean(by_hand))


def test_a_majority_of_three_is_right_where_two_are() -> None:
    votes, correct = [0, 0, 1, 2], [True, True, False, False]
    # Subsets of three: {0,0,1} and {0,0,2} are right; {0,1,2} twice is a tie of three, one of them right.
    assert majority_of(votes, correct, 3) == pytest.approx((1 + 1 + 1 / 3 + 1 / 3) / 4)
    assert majority_of([None, None], [False, False], 2) == 0.0
    assert majority_of([0, 0, 1], [True, True, None], 2) == 1.0  # what is unscored is in no subset


def test_a_majority_of_many_is_drawn_the_same_way_every_time() -> None:
    votes, correct = [0] * 20 + [1] * 12, [True] * 20 + [False] * 12
    assert majority_of(votes, correct, 15) == majority_of(votes, correct, 15)
    assert 0.9 < majority_of(votes, correct, 15) < 1


def test_a_curve_has_every_method_at_powers_of_two_and_says_how_many_tasks_it_is_of() -> None:
    tasks = [
        Verdicts("a", {}, [True, False, False], [0, 1, 1], [10, 20, 30]),
        Verdicts("b", {}, [True, True, None], [0, 0, None], [10, 10, 10]),
    ]
    points = curves("m", "quiz", tasks, {"judge": [[0.9, 0.1, 0.1], [0.2, 0.3, None]]})
    found = {(point.method, point.n): point for point in points}
    assert {n for _, n in found} == {1, 2, 3}
    assert [found["any of n", n].accuracy for n in (1, 2, 3)] == pytest.approx([(1 / 3 + 1) / 2, (2 / 3 + 1) / 2, 1])
    assert found["majority", 3].accuracy == 0.0
    assert found["any of n", 3].interval == wilson_interval(1.0, 1)  # the interval that the evaluation gives pass@3
    assert found["any of n", 1].interval == pytest.approx(mean_interval([1 / 3, 1.0]))
    assert found["best-of-n by judge", 2].accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert (found["majority", 3].tasks, found["majority", 2].tasks) == (1, 2)
    assert found["majority", 2].tokens == 2 * fmean([20, 10])


# Thinking under a budget.


class Letters:
    """A tokenizer of one token a letter; `$` ends a completion."""

    chat_template = None
    all_special_ids = (ord("$"),)

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return "".join(chr(one) for one in ids if not (skip_special_tokens and one == ord("$")))


class Typist:
    """Goes on with whatever it was told to write behind an end of the sequence so far; the longest such end counts."""

    tokenizer = Letters()

    def __init__(self, script: dict[str, str], max_length: int | None = None) -> None:
        self.script, self.max_length = script, max_length
        self.asked: list[tuple[str, SamplingParams]] = []
        self.closed = False

    def generate_tokens(self, prompts: Any, params: SamplingParams, on_finished: Any = None) -> list[Completion]:
        return [self._write(self.tokenizer.decode(prompt), params) for prompt in prompts for _ in range(params.n)]

    def generate(self, prompts: Any, params: SamplingParams) -> Any:
        raise NotImplementedError

    def _write(self, so_far: str, params: SamplingParams) -> Completion:
        self.asked.append((so_far, params))
        behind = max((end for end in self.script if so_far.endswith(end)), key=len)
        written, reason = self.script[behind], FinishReason.STOP
        ends = [written.find(stop) + len(stop) for stop in params.stop if stop in written]
        written = written[: min(ends)] if ends else written
        if len(written) > params.max_new_tokens:
            written, reason = written[: params.max_new_tokens], FinishReason.LENGTH
        ids = tuple(map(ord, written))
        return Completion(text=written.replace("$", ""), token_ids=ids, logprobs=tuple(-1.0 for _ in ids), finish_reason=reason)

    def close(self) -> None:
        self.closed = True


def written_by(typist: Typist, budget: Budget, **sampling: Any) -> Completion:
    forced = force_budget(typist, budget)
    assert isinstance(forced, TokenEngine)
    typist.asked.clear()
    seen: list[int] = []
    [found] = forced.generate_tokens(
        [[ord("?")]], SamplingParams(**{"max_new_tokens": 9, **sampling}), lambda rows, _: seen.extend(rows)
    )
    assert seen == [0]
    assert found.token_ids is not None
    assert typist.tokenizer.decode(found.token_ids, skip_special_tokens=True) == found.text
    assert len(found.token_ids) == len(found.logprobs or ())
    # Append-only: whatever the engine was asked to continue is a beginning of the result.
    assert all(("?" + typist.tokenizer.decode(found.token_ids)).startswith(so_far) for so_far, _ in typist.asked)
    return found


def test_thinking_that_ends_early_is_made_to_go_on_and_its_end_is_taken_off() -> None:
    typist = Typist({"?": "<think>one</think>", "Wait": " two</think>", "</think>": "2$"})
    found = written_by(typist, Budget(tokens=100, waits=1))
    assert found.text == "<think>oneWait two</think>2"
    assert found.finish_reason is FinishReason.STOP
    assert (found.logprobs or ())[10:14] == (0.0,) * 4  # "Wait" was not sampled
    # 18 tokens of thinking were written, of which the end was taken off but paid for, and 4 forced.
    assert [params.max_new_tokens for _, params in typist.asked] == [100, 100 - 18 - 4, 9]


def test_thinking_that_reaches_its_budget_is_ended_and_answered_within_the_limit_of_the_answer() -> None:
    typist = Typist({"?": "<think>" + "x" * 50, "</think>\n\n": "It is 4, I am sure."})
    found = written_by(typist, Budget(tokens=20, waits=3))
    assert found.text == "<think>" + "x" * 13 + "\n</think>\n\nIt is 4, "
    assert found.finish_reason is FinishReason.LENGTH
    assert [params.max_new_tokens for _, params in typist.asked] == [20, 9]
    assert "</think>" in typist.asked[0][1].stop
    assert "</think>" not in typist.asked[1][1].stop


def test_a_model_without_tags_ends_its_thinking_where_it_ends_its_completion() -> None:
    typist = Typist({"?": "It is 5.$", "Wait": ", it is 4.$"})
    assert written_by(typist, Budget(tokens=100)).text == "It is 5."
    assert written_by(typist, Budget(tokens=100, waits=1)).text == "It is 5.Wait, it is 4."
    typist.script["Final answer:"] = " 4$"
    assert written_by(typist, Budget(tokens=5)).text == "It is\n\nFinal answer: 4"


def test_an_answer_that_ends_at_the_templates_own_stop_text_is_not_made_to_go_on() -> None:
    typist = Typist({"?": "<answer>4</answer>5"})
    assert written_by(typist, Budget(tokens=100, waits=2), stop=("</answer>",)).text == "<answer>4</answer>"


def test_a_full_context_ends_a_completion_as_one_that_was_cut_off() -> None:
    typist = Typist({"?": "<think>" + "x" * 50}, max_length=12)
    found = written_by(typist, Budget(tokens=20))
    assert found.text.startswith("<think>xxxxx")
    assert found.finish_reason is FinishReason.LENGTH


def test_an_engine_that_cannot_continue_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="the engine 'scripted' cannot continue a completion, which a budget needs"):
        force_budget(ScriptedEngine("4"), Budget(tokens=5), "scripted")


def test_closing_it_closes_the_engine() -> None:
    typist = Typist({})
    force_budget(typist, Budget(tokens=1)).close()
    assert typist.closed
