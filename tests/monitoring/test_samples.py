"""Which completions a report shows, and what it marks in them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.monitoring.report import PER_STEP, PROMPTS_SHOWN, STEPS_SHOWN, ReadRollouts, choose_samples, mark
from r1env.runs.rollouts import RolloutRow


def row(step: int, task: str, stage: str = "rl", **fields: Any) -> dict[str, Any]:
    place = {"stage": stage, "step": step}
    return {**place, **RolloutRow(**{"task_id": task, "prompt": f"ask {task}", "completion": "text", **fields}).record()}


def reader(rows: list[dict[str, Any]]) -> ReadRollouts:
    numbered = [{"row": number, **row} for number, row in enumerate(rows)]
    return lambda columns=None, wanted=None: [row for row in numbered if wanted is None or row["row"] in wanted]


def test_the_same_prompt_is_shown_across_steps_first_and_last_included() -> None:
    rows = [row(step, task) for step in range(0, 100, 5) for task in ("often", f"once {step}")]
    shown = choose_samples(reader(rows), "rl")
    assert shown[0].task_id == "often"
    steps = [sample.step for sample in shown[0].samples]
    assert len(steps) == STEPS_SHOWN
    assert (steps[0], steps[-1]) == (0, 95)
    assert len(shown) == PROMPTS_SHOWN


def test_where_no_prompt_comes_back_prompts_of_several_steps_are_shown() -> None:
    rows = [row(step, f"{step}-{n}") for step in range(10) for n in range(3)]
    shown = choose_samples(reader(rows), "rl")
    assert [prompt.samples[0].step for prompt in shown] == [0, 3, 6, 9]


def test_only_a_few_completions_of_a_prompt_are_shown_at_one_step() -> None:
    (prompt,) = choose_samples(reader([row(1, "a") for _ in range(9)]), "rl")
    assert len(prompt.samples) == PER_STEP


def test_other_stages_are_left_out() -> None:
    rows = [row(1, "a", stage="base"), row(1, "b")]
    assert [prompt.task_id for prompt in choose_samples(reader(rows), "rl")] == ["b"]


def test_the_score_is_shown_with_its_parts() -> None:
    score = {"reward": 1.1, "parts": {"math": 1.0, "late": None}, "status": "ok", "reason": "fine"}
    (prompt,) = choose_samples(reader([row(1, "a", answer="42", **score)]), "rl")
    (sample,) = prompt.samples
    assert (sample.value, sample.status, sample.reason) == (1.1, "ok", "fine")
    assert sample.parts == {"math": 1.0, "late": None}
    assert prompt.answer == "42"


def test_a_prompt_of_messages_is_shown_as_text() -> None:
    messages = [{"role": "system", "content": "be"}, {"role": "user", "content": "brief"}]
    (prompt,) = choose_samples(reader([row(1, "a", prompt=messages)]), "rl")
    assert prompt.text == "be\n\nbrief"


@pytest.mark.parametrize(
    ("completion", "roles"),
    [
        ("<think>a</think><answer>b</answer>", ["thinking", "answer"]),
        ("<think>never closed <answer>1</answer>", ["thinking"]),
        ("plain", ["text"]),
        ("a</think>b<answer>c", ["thinking", "text", "answer"]),
        ("<answer>b</answer> tail", ["answer", "text"]),
        ("", []),
    ],
)
def test_thinking_and_answer_are_told_apart(completion: str, roles: list[str]) -> None:
    assert [piece.role for piece in mark(completion)] == roles


def test_reflective_words_are_marked_whole_and_in_any_case() -> None:
    pieces = mark("Wait, checkers await a RECHECK; However I check.")
    assert [piece.text for piece in pieces if piece.reflective] == ["Wait", "However", "check"]


@given(st.text(alphabet="<>/thinkanswer wait\n", max_size=60))
def test_marking_loses_nothing(completion: str) -> None:
    assert "".join(piece.text for piece in mark(completion)) == completion
