"""Which metrics are drawn together, and what a figure holds."""

from r1env.monitoring.report import Mark, first_and_last, main_figures, other_figures, overview_figures

ROWS = [
    {"stage": "rl", "step": 0, "time": 1.0, "eval/accuracy": 0.1},
    {"stage": "rl", "step": 1, "time": 2.0, "reward": 0.5, "parts/math": 0.4, "parts/format": 1.0, "seconds/update": 0.1},
    {"stage": "rl", "step": 2, "time": 3.0, "reward": None, "accuracy": 0.4, "mine": 3.0},
    {"stage": "rl", "step": 2, "time": 3.1, "eval/accuracy": 0.6},
]


def test_step_zero_is_always_in_the_accuracy_chart() -> None:
    accuracy = next(figure for figure in main_figures(ROWS) if figure["title"] == "Accuracy")
    traces = {trace["name"]: trace for trace in accuracy["data"]}
    assert traces["eval/accuracy"]["x"] == [0, 2]
    assert traces["eval/accuracy"]["y"] == [0.1, 0.6]
    assert "markers" in traces["eval/accuracy"]["mode"]


def test_the_parts_share_a_chart_under_their_own_names() -> None:
    parts = next(figure for figure in main_figures(ROWS) if figure["title"] == "Parts of the reward")
    assert [trace["name"] for trace in parts["data"]] == ["math", "format"]
    assert parts["layout"]["showlegend"]


def test_values_that_were_not_finite_are_left_out() -> None:
    reward = next(figure for figure in main_figures(ROWS) if figure["title"] == "Reward")
    assert reward["data"][0]["x"] == [1]


def test_charts_without_values_are_left_out() -> None:
    assert [figure["title"] for figure in main_figures(ROWS)] == ["Reward", "Parts of the reward", "Accuracy", "Seconds a step"]


def test_every_other_metric_has_a_figure_of_its_own() -> None:
    assert [figure["title"] for figure in other_figures(ROWS)] == ["mine"]


def test_first_and_last_skip_missing_values() -> None:
    assert first_and_last(ROWS, "eval/accuracy") == ((0, 0.1), (2, 0.6))
    assert first_and_last(ROWS, "kl") is None


def test_an_alert_is_marked_in_the_charts_of_its_metric_and_in_no_other() -> None:
    figures = {figure["title"]: figure["layout"] for figure in main_figures(ROWS, [Mark(2, "hollow-reward", "parts/format")])}
    assert [note["text"] for note in figures["Parts of the reward"]["annotations"]] == ["hollow-reward"]
    assert figures["Parts of the reward"]["shapes"][0]["x0"] == 2
    assert figures["Reward"]["shapes"] == []


def test_the_overview_puts_stages_one_after_another_and_marks_where_each_begins() -> None:
    warm_up = [{"stage": "sft", "step": step, "time": 0.0, "loss": 1.0, "eval/accuracy": 0.1} for step in (1, 10)]
    (accuracy,) = overview_figures({"sft": warm_up, "rl": ROWS})
    trace = next(trace for trace in accuracy["data"] if trace["name"] == "eval/accuracy")
    assert trace["x"] == [1, 10, 10, 12]
    assert [(note["x"], note["text"]) for note in accuracy["layout"]["annotations"]] == [(0, "sft"), (10, "rl")]


def test_a_run_of_one_stage_needs_no_overview() -> None:
    assert overview_figures({"rl": ROWS}) == []
