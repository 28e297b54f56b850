"""Which metrics are drawn together, and what a figure holds."""

import pytest

from r1env.monitoring import report
from r1env.monitoring.report import Mark, first_and_last, overview_figures, stage_figures, thin

ROWS = [
    {"stage": "rl", "step": 0, "time": 1.0, "eval/accuracy": 0.1},
    {"stage": "rl", "step": 1, "time": 2.0, "reward": 0.5, "parts/math": 0.4, "parts/format": 1.0, "seconds/update": 0.1},
    {"stage": "rl", "step": 2, "time": 3.0, "reward": None, "accuracy": 0.4, "mine": 3.0, "truncated": 0.0},
    {"stage": "rl", "step": 2, "time": 3.1, "eval/accuracy": 0.6},
]
FIGURES = stage_figures(ROWS)
BY_TITLE = {figure["title"]: figure for figure in FIGURES.main}


def test_step_zero_is_always_in_the_accuracy_chart_and_its_level_is_drawn() -> None:
    held_out, training = BY_TITLE["Accuracy"]["lines"]
    assert held_out == {"label": "eval/accuracy", "x": [0, 2], "y": [0.1, 0.6], "level": True}
    assert "level" not in training


def test_the_parts_share_a_chart_under_their_own_names() -> None:
    assert [line["label"] for line in BY_TITLE["Parts of the reward"]["lines"]] == ["math", "format"]


def test_values_that_were_not_finite_are_left_out() -> None:
    assert BY_TITLE["Reward"]["lines"] == [{"label": "", "x": [1], "y": [0.5]}]


def test_reward_and_accuracy_come_first_and_charts_that_would_be_empty_are_left_out() -> None:
    assert list(BY_TITLE) == ["Reward", "Accuracy", "Parts of the reward", "Time per step"]
    assert FIGURES.flat == ["Cut off"]


def test_every_other_metric_has_a_figure_of_its_own() -> None:
    assert [figure["title"] for figure in FIGURES.others] == ["mine"]


def test_first_and_last_skip_missing_values() -> None:
    assert first_and_last(ROWS, "eval/accuracy") == ((0, 0.1), (2, 0.6))
    assert first_and_last(ROWS, "kl") is None


def test_an_alert_is_marked_in_the_charts_of_its_metric_and_in_no_other() -> None:
    figures = {figure["title"]: figure for figure in stage_figures(ROWS, [Mark(2, "hollow-reward", "parts/format")]).main}
    assert figures["Parts of the reward"]["marks"] == [{"x": 2, "label": "hollow-reward", "warn": True}]
    assert figures["Reward"]["marks"] == []


def test_the_overview_puts_stages_one_after_another_and_marks_where_each_begins() -> None:
    warm_up = [{"stage": "sft", "step": step, "time": 0.0, "loss": 1.0, "eval/accuracy": 0.1} for step in (1, 10)]
    reward, accuracy = overview_figures({"sft": warm_up, "not begun": [], "rl": ROWS})
    assert reward["title"] == "Reward"
    assert accuracy["lines"][0]["x"] == [1, 10, 12]
    assert accuracy["lines"][0]["y"] == [0.1, 0.1, 0.6]
    assert [(mark["x"], mark["label"]) for mark in accuracy["marks"]] == [(0, "sft"), (10, "rl")]


def test_a_line_has_a_gap_between_the_stages_that_log_it() -> None:
    stages = {
        name: [{"stage": name, "step": step, "time": 0.0, "loss" if name == "sft" else "reward": 1.0} for step in (1, 2)]
        for name in ("first", "sft", "second")
    }
    (reward,) = overview_figures(stages)
    assert (reward["lines"][0]["x"], reward["lines"][0]["starts"]) == ([1, 2, 3, 4], [3])


def test_a_run_of_one_stage_needs_no_overview() -> None:
    assert overview_figures({"rl": ROWS}) == []


def test_a_long_line_keeps_its_ends_and_its_spikes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "POINTS", 100)
    values = [0.0] * 10_000
    values[1234], values[7777] = 5.0, -5.0
    long, short = {"x": list(range(10_000)), "y": values}, {"x": [1, 2], "y": [1.0, 2.0]}
    assert thin([{"lines": [long]}, {"lines": [short]}]) == 1
    assert len(long["x"]) <= 102
    assert (long["x"][0], long["x"][-1]) == (0, 9_999)
    assert dict(zip(long["x"], long["y"], strict=True)).items() >= {1234: 5.0, 7777: -5.0}.items()
    assert long["x"] == sorted(set(long["x"]))
    assert short["x"] == [1, 2]
