"""What watches a training from the command line: the monitor's alerts, and `--track`."""

import json
from functools import partial
from pathlib import Path

import pytest

from r1env.monitoring import Alert, Curves, Monitor
from r1env.runs.run import Run


def always(curves: Curves) -> Alert:
    return Alert("always", "reward", "it trains", "you", "look away")


@pytest.fixture
def alerted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r1env.cli.train.Monitor", partial(Monitor, rules=[always]))


@pytest.mark.usefixtures("alerted")
def test_alerts_are_printed_while_it_trains_and_named_at_the_end(r1env_program, tmp_path: Path) -> None:
    result = r1env_program("train", "two-steps", "--output", tmp_path / "run")
    lines = result.stdout.splitlines()
    alert = next(number for number, line in enumerate(lines) if line.startswith("warm, step 1: always: it trains; likely you"))
    assert any(line.startswith("stage 2/2") for line in lines[alert:])
    assert "alerts: always (stage warm, step 1), always (stage learn, step 0); the report says more" in lines
    assert "always" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.usefixtures("alerted")
def test_with_json_alerts_are_in_the_answer_and_stdout_holds_nothing_else(r1env_program, tmp_path: Path) -> None:
    result = r1env_program("train", "two-steps", "--json", "--output", tmp_path / "run")
    assert [alert["rule"] for alert in json.loads(result.stdout)["alerts"]] == ["always", "always"]
    assert "always: it trains" in result.stderr


def test_a_healthy_training_has_no_alerts(r1env_program, tmp_path: Path) -> None:
    result = r1env_program("train", "two-steps", "--json", "--output", tmp_path / "run")
    assert json.loads(result.stdout)["alerts"] == []


def test_a_tracker_that_nobody_provides_is_refused_before_a_folder_is_made(r1env_program, tmp_path: Path) -> None:
    result = r1env_program("train", "two-steps", "--track", "tensorbord", "--output", tmp_path / "run")
    assert result.exit_code == 2
    assert "did you mean 'tensorboard'?" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_tracker_follows_the_training_and_its_resumption(r1env_program, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    broken = r1env_program(
        "train", "two-steps", "--set", "learn.fail_at=2", "--track", "tensorboard", "--output", tmp_path / "run"
    )
    assert broken.exit_code == 130
    assert r1env_program("train", "--resume", tmp_path / "run").exit_code == 0
    given = json.loads((tmp_path / "run" / "tracking" / "tensorboard.json").read_text())
    assert given["learn"]["reward"] == 4
    files = [path.name for path in (tmp_path / "run" / "tracking" / "tensorboard").iterdir()]
    assert len([name for name in files if not name.endswith("text")]) == 2  # one for each process
    assert len(Run.open(tmp_path / "run").metrics("learn")) == 6
