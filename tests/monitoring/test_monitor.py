"""The monitor as a listener: told once, kept with the run, and neither lost nor doubled by a crash."""

from pathlib import Path

import pytest

from r1env.monitoring import Alert, Curves, Monitor
from r1env.runs.run import Run

PLAN = {"name": "demo", "preset": None, "stages": [{"name": "rl", "trainer": "grpo", "config": {}}]}


def over_five(curves: Curves) -> Alert | None:
    """Raised from the first step with a reward over 5 on."""
    high = [value for _, value in curves.points("reward") if value > 5]
    return Alert("over-five", "reward", "it is high", "a test", "nothing") if high else None


def watched(run: Run) -> list[tuple[int, str]]:
    told: list[tuple[int, str]] = []
    run.subscribe(Monitor(run, lambda event, alert: told.append((event.step, alert.rule)), rules=[over_five]))
    return told


def log(run: Run, steps: range) -> None:
    for step in steps:
        run.log(step, {"reward": float(step)})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", PLAN, seed=0)
    run.start_stage("rl")
    return run


def test_an_alert_is_told_once_and_kept_with_the_run(run: Run) -> None:
    told = watched(run)
    log(run, range(1, 10))
    assert told == [(6, "over-five")]
    (event,) = Run.open(run.path).events()
    assert (event["stage"], event["step"], event["rule"], event["remedy"]) == ("rl", 6, "over-five", "nothing")


def test_every_stage_has_its_own_alerts(run: Run) -> None:
    told = watched(run)
    log(run, range(1, 8))
    run.finish_stage("rl")
    run.start_stage("rl2")
    log(run, range(1, 8))
    assert told == [(6, "over-five"), (6, "over-five")]
    assert [event["stage"] for event in run.events()] == ["rl", "rl2"]


@pytest.mark.parametrize(("checkpoint", "told_again"), [(7, []), (4, [(6, "over-five")])])
def test_going_on_from_a_checkpoint_neither_loses_nor_doubles_an_alert(
    run: Run, checkpoint: int, told_again: list[object]
) -> None:
    watched(run)
    log(run, range(1, checkpoint + 1))
    (run.checkpoint_dir / "step").touch()
    position = run.position()
    log(run, range(checkpoint + 1, 10))

    resumed = Run.open(run.path)
    told = watched(resumed)
    resumed.start_stage("rl")
    resumed.rewind(position)
    log(resumed, range(checkpoint + 1, 12))
    assert told == told_again
    assert [event["step"] for event in resumed.events()] == [6]
