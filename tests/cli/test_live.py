"""The live table and the plain log: what they show of a run's steps."""

import io
import math
from collections.abc import Iterator

from rich.console import Console

from r1env.cli.live import ROWS, LiveTable, PlainLog, StageProgress, Stages, duration, number, render, speed
from r1env.runs.run import StepEvent


def ticking(seconds: float = 0.5) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += seconds


def stages(**totals: int | None) -> Stages:
    clock = ticking()
    return Stages(totals, clock=lambda: next(clock))


def shown(progress: StageProgress) -> str:
    console = Console(width=160, file=io.StringIO())
    console.print(render(progress))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_shows_what_the_stage_logs_in_a_fixed_order() -> None:
    found = stages(rl=10)
    metrics = {
        "mixed_groups": 0.5,
        "parts/math": 0.25,
        "accuracy": 0.25,
        "reward": 0.3,
        "kl": 0.01,
        "length/mean": 9.5,
        "unscored": 2,
    }
    progress = found.add(StepEvent("rl", 1, metrics))
    head, _, row = [line for line in shown(progress).splitlines() if line.strip()][:3]
    assert head.split() == ["step", "reward", "math", "accuracy", "length", "KL", "mixed", "unscored"]
    assert row.split() == ["1", "0.300", "0.250", "0.250", "9.5", "0.0100", "50%", "2"]


def test_a_value_that_is_missing_is_a_dash() -> None:
    found = stages(rl=10)
    found.add(StepEvent("rl", 1, {"reward": 0.5, "accuracy": 1.0}))
    progress = found.add(StepEvent("rl", 2, {"reward": math.nan}))
    assert [line.split() for line in shown(progress).splitlines() if line.split()[:1] == ["2"]] == [["2", "–", "–"]]


def test_speed_and_time_left_come_from_the_last_steps() -> None:
    found = stages(rl=10)
    for step in (1, 2, 3):
        progress = found.add(StepEvent("rl", step, {"reward": 1.0}))
    assert progress.steps_per_second == 2.0
    assert progress.seconds_left == 3.5
    assert progress.heading() == "stage 1/1 rl: 3/10, 2.0 steps/s, 0:04 left"


def test_an_evaluation_shares_the_row_of_its_step_and_stays_in_sight() -> None:
    found = stages(rl=100)
    found.add(StepEvent("rl", 0, {"eval/accuracy": 0.1}))
    for step in range(1, 51):
        progress = found.add(StepEvent("rl", step, {"reward": 1.0}))
    progress = found.add(StepEvent("rl", 50, {"eval/accuracy": 0.7}))
    assert len(progress.rows) == ROWS
    assert progress.rows[-1] == {"step": 50, "reward": 1.0, "eval/accuracy": 0.7}
    assert "eval accuracy 0.100 (step 0) → 0.700 (step 50)" in shown(progress)


def test_the_next_stage_starts_afresh() -> None:
    found = stages(base=None, rl=3)
    found.add(StepEvent("base", 7, {"loss": 1.0, "tokens": 9}))
    assert found.current is not None
    assert found.current.heading() == "stage 1/2 base: step 7"
    progress = found.add(StepEvent("rl", 1, {"reward": 1.0}))
    assert progress.heading() == "stage 2/2 rl: 1/3"
    assert [heading for _, heading, _ in progress.columns()] == ["reward"]


def test_the_log_has_about_twenty_lines_a_stage_and_the_last_step() -> None:
    stream = io.StringIO()
    log = PlainLog(stages(rl=101), stream)
    for step in range(1, 102):
        log(StepEvent("rl", step, {"reward": 1.0}))
    lines = stream.getvalue().splitlines()
    assert 18 <= len(lines) <= 22
    assert lines[-1].startswith("stage 1/1 rl: 101/101")


def test_the_live_table_draws_on_a_terminal() -> None:
    console = Console(width=100, file=io.StringIO(), force_terminal=True)
    with LiveTable(stages(rl=2), console) as table:
        table(StepEvent("rl", 1, {"reward": 0.125}))
    assert isinstance(console.file, io.StringIO)
    assert "0.125" in console.file.getvalue()


def test_numbers_and_durations_read_well() -> None:
    assert number(None, ".3f") == number(math.nan, ".3f") == "–"
    assert [speed(rate) for rate in (3.25, 1.0, 0.125)] == ["3.2 steps/s", "1.0 steps/s", "8.0 s/step"]
    assert [duration(seconds) for seconds in (0.4, 41, 725, 12_000)] == ["0:00", "0:41", "12:05", "3:20:00"]


def test_a_line_told_while_the_table_is_shown_stands_above_it_as_it_is() -> None:
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system=None)
    with LiveTable(stages(rl=2), console) as table:
        table(StepEvent("rl", 1, {"reward": 0.5}))
        table.tell("flat-groups: [bold]nothing[/bold] differs")
        table(StepEvent("rl", 2, {"reward": 0.625}))
    assert isinstance(console.file, io.StringIO)
    output = console.file.getvalue()
    assert output.index("flat-groups: [bold]nothing[/bold] differs") < output.rindex("0.625")
