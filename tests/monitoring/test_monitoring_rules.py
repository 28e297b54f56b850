"""The rules on hand-made curves: each names what it is for, and a healthy training raises nothing at any step."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from r1env.monitoring import RULES, Curves

DEMO = Path(__file__).with_name(
    "demo_curves.jsonl"
)  # logged by `r1env train r1-zero --preset tiny-cpu`, stage rl, three digits
Steps = Iterable[Mapping[str, float]]


def alerts(rows: Steps) -> dict[str, tuple[int, str]]:
    """Every alert with the step that it is first raised at, asked after each step as the monitor asks."""
    curves, raised = Curves(), dict[str, tuple[int, str]]()
    for row in rows:
        curves.add(int(row["step"]), {name: value for name, value in row.items() if name != "step"})
        for rule in RULES:
            if alert := rule(curves):
                raised.setdefault(alert.rule, (curves.step, str(alert)))
    return raised


def training(steps: int = 60, eval_every: int = 10, **metrics: Callable[[float], float]) -> Iterator[dict[str, float]]:
    """A training whose metrics are functions of its progress, 0 to 1; where none is given it is a healthy one."""
    healthy: dict[str, Callable[[float], float]] = {
        "reward": lambda t: 0.2 + 0.6 * t,
        "accuracy": lambda t: 0.1 + 0.6 * t,
        "eval_accuracy": lambda t: 0.1 + 0.7 * t,
        "format": lambda t: 0.9 + 0.1 * t,
        "mixed_groups": lambda t: 0.9 - 0.4 * t,
        "entropy": lambda t: 0.6 - 0.4 * t,
        "truncated": lambda t: 0.1 - 0.1 * t,
        "logprob_gap": lambda t: 0.02,
    }
    values = healthy | metrics
    for step in range(steps + 1):
        now = {name: value(step / steps) for name, value in values.items()}
        held_out, part = now.pop("eval_accuracy"), now.pop("format")
        if step % eval_every == 0:
            yield {"step": step, "eval/accuracy": held_out}
        if step:
            yield {"step": step, "parts/format": part, **now}


def test_a_healthy_training_raises_nothing() -> None:
    assert alerts(training()) == {}


def test_the_demo_raises_nothing_at_any_step() -> None:
    assert alerts(json.loads(line) for line in DEMO.read_text().splitlines()) == {}


def test_a_reward_that_climbs_while_held_out_accuracy_falls_is_hacked() -> None:
    step, text = alerts(training(eval_accuracy=lambda t: 0.6 - 0.5 * t))["reward-hacking"]
    assert 20 <= step <= 40
    assert "held-out accuracy fell from 60.0%" in text


def test_one_bad_evaluation_is_bad_luck() -> None:
    assert alerts(training(eval_accuracy=lambda t: 0.2 if 0.45 < t < 0.55 else 0.6)) == {}


def test_accuracy_that_falls_together_with_the_reward_is_no_hacking() -> None:
    falls = {"reward": lambda t: 0.8 - 0.6 * t, "accuracy": lambda t: 0.6 - 0.5 * t, "eval_accuracy": lambda t: 0.6 - 0.5 * t}
    assert alerts(training(**falls)) == {}


def test_format_that_rises_to_1_while_accuracy_stays_near_0_is_named_with_the_part() -> None:
    hollow = {"accuracy": lambda t: 0.01, "eval_accuracy": lambda t: 0.0, "format": lambda t: min(1.0, 0.4 + 1.5 * t)}
    step, text = alerts(training(**hollow))["hollow-reward"]
    assert step < 40
    assert "format rose to" in text


def test_format_that_is_learnt_before_the_answers_is_no_hollow_reward() -> None:
    slow = {"accuracy": lambda t: 0.01 + 0.3 * t, "eval_accuracy": lambda t: 0.01 + 0.6 * t}
    assert alerts(training(format=lambda t: min(1.0, 0.4 + 4 * t), **slow)) == {}


@pytest.mark.parametrize(("accuracy", "cause"), [(0.98, "solved"), (0.01, "too hard"), (0.5, "the same way every time")])
def test_flat_groups_are_explained_by_the_accuracy(accuracy: float, cause: str) -> None:
    flat = {
        "mixed_groups": lambda t: max(0.0, 0.5 - 2 * t),
        "accuracy": lambda t: accuracy,
        "eval_accuracy": lambda t: accuracy,
    }
    assert cause in alerts(training(**flat))["flat-groups"][1]


def test_entropy_that_collapses_before_the_task_is_learnt_is_named() -> None:
    assert "entropy-collapse" in alerts(training(entropy=lambda t: 0.6 * 0.001**t, accuracy=lambda t: 0.3))


def test_entropy_may_vanish_once_the_task_is_learnt() -> None:
    assert alerts(training(entropy=lambda t: 0.6 * 0.001**t, accuracy=lambda t: min(1.0, 0.1 + 2 * t))) == {}


def test_low_entropy_from_the_start_is_no_collapse() -> None:
    assert alerts(training(entropy=lambda t: 0.03)) == {}


def test_completions_that_run_into_the_limit_are_named_and_so_is_rambling() -> None:
    cut = {"truncated": lambda t: 0.1 + 0.8 * t}
    assert "raise sampling.max_new_tokens" in alerts(training(**cut))["length-limit"][1]
    rambling = {"length/right": lambda t: 50.0, "length/wrong": lambda t: 50 + 200 * t}
    assert "ramble" in alerts(training(**cut, **rambling))["length-limit"][1]


def test_a_policy_that_learns_to_end_in_time_raises_nothing() -> None:
    assert alerts(training(truncated=lambda t: 0.9 - 0.7 * t)) == {}


def test_a_sampler_that_has_left_the_trainer_is_named() -> None:
    assert "logprob-gap" in alerts(training(logprob_gap=lambda t: 0.02 + 0.5 * t))


def test_a_training_that_logs_nothing_of_all_this_raises_nothing() -> None:
    assert alerts({"step": step, "loss": 1.0, "entropy": float("nan")} for step in range(50)) == {}
