"""Following a run: every value once, resumed or not, and no tracker can hurt the training."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from r1env.errors import UsageError
from r1env.hooks import TrackerSpec, hookimpl
from r1env.plugins import Plugins, Provenance
from r1env.runs.run import Run
from r1env.trackers import Follower, followed

PLAN = {"name": "demo", "preset": None, "stages": [{"name": "rl", "trainer": "grpo", "config": {}}]}


class Notebook:
    """A tracker that writes down what it is given."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, dict[str, float]]] = []
        self.closed = 0

    def __call__(self, run: Run) -> "Notebook":
        return self

    def log(self, stage: str, step: int, time: float, metrics: Mapping[str, float]) -> None:
        self.rows.append((stage, step, dict(metrics)))

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed += 1


class Broken(Notebook):
    def log(self, stage: str, step: int, time: float, metrics: Mapping[str, float]) -> None:
        raise ConnectionError("the server\nis away")


class Stuck(Notebook):
    def __init__(self) -> None:
        super().__init__()
        self.freed = threading.Event()

    def log(self, stage: str, step: int, time: float, metrics: Mapping[str, float]) -> None:
        self.freed.wait(60)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", PLAN, seed=0)
    run.start_stage("rl")
    return run


def follow(run: Run, tracker: Notebook, steps: range, **options: float) -> list[str]:
    """Log steps while the tracker follows; returns the warnings."""
    warnings: list[str] = []
    with Follower(run, "notebook", tracker, warnings.append, **options) as follower:  # type: ignore[arg-type]
        run.subscribe(follower)
        for step in steps:
            run.log(step, {"reward": step / 10})
    return warnings


def test_a_tracker_gets_every_step_and_is_closed(run: Run) -> None:
    tracker = Notebook()
    assert follow(run, tracker, range(1, 4)) == []
    assert tracker.rows == [("rl", step, {"reward": step / 10}) for step in (1, 2, 3)]
    assert tracker.closed == 1


def test_an_evaluation_and_an_update_of_one_step_are_both_told(run: Run) -> None:
    tracker = Notebook()
    with Follower(run, "notebook", tracker, pytest.fail) as follower:
        run.subscribe(follower)
        run.log(5, {"reward": 0.5, "odd": float("nan")})
        run.log(5, {"eval/accuracy": 0.25})
    assert tracker.rows == [("rl", 5, {"reward": 0.5}), ("rl", 5, {"eval/accuracy": 0.25})]


def test_a_resumed_run_goes_on_with_the_same_curves_and_repeats_no_step(run: Run) -> None:
    follow(run, before := Notebook(), range(1, 3))
    position = run.position()
    follow(Run.open(run.path), Notebook(), range(0))
    first = Run.open(run.path)
    first.start_stage("rl")
    first.rewind(position)
    follow(first, lost := Notebook(), range(3, 6))  # then it crashes, and its checkpoint was at step 2
    resumed = Run.open(run.path)
    resumed.start_stage("rl")
    resumed.rewind(position)
    follow(resumed, after := Notebook(), range(3, 8))
    assert [step for tracker in (before, lost, after) for _, step, _ in tracker.rows] == [1, 2, 3, 4, 5, 6, 7]


def test_a_tracker_that_joins_late_gets_what_the_run_has_logged(run: Run) -> None:
    run.log(1, {"reward": 0.1})
    follow(run, tracker := Notebook(), range(2, 3))
    assert [step for _, step, _ in tracker.rows] == [1, 2]


def test_a_tracker_that_fails_warns_once_in_one_line_and_the_run_goes_on(run: Run) -> None:
    (warning,) = follow(run, Broken(), range(1, 50))
    assert "'notebook'" in warning
    assert "ConnectionError: the server is away" in warning
    assert "\n" not in warning
    assert len(run.metrics()) == 49


def test_a_tracker_that_hangs_neither_slows_the_run_nor_keeps_it_from_ending(run: Run) -> None:
    tracker = Stuck()
    start = time.monotonic()
    (warning,) = follow(run, tracker, range(1, 20), queue_size=5, patience=0.1)
    tracker.freed.set()
    assert time.monotonic() - start < 30
    assert "steps behind" in warning
    assert len(run.metrics()) == 19


NOTEBOOK = Notebook()
SPECS = [TrackerSpec("notebook", f"{__name__}:NOTEBOOK", ""), TrackerSpec("gone", "gone:Gone", "", module="no_such_package")]
HOOKS = SimpleNamespace(r1env_trackers=hookimpl(lambda: SPECS))


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    monkeypatch.setattr("r1env.trackers.import_target", lambda target: NOTEBOOK)
    return Plugins({Provenance("mine", "r1env-mine", "1"): HOOKS})


def test_a_plugin_brings_a_tracker_and_a_resumed_run_goes_on_with_it_unasked(run: Run, plugins: Plugins) -> None:
    with followed(run, ["notebook"], plugins, pytest.fail):
        run.log(1, {"reward": 0.1})
    with followed(resumed := Run.open(run.path), [], plugins, pytest.fail):
        resumed.start_stage("rl")
    with followed(run, [], plugins, pytest.fail):
        run.log(2, {"reward": 0.2})
    assert NOTEBOOK.rows == [("rl", 1, {"reward": 0.1}), ("rl", 2, {"reward": 0.2})]


def test_asking_for_a_tracker_that_is_not_installed_says_what_to_install(run: Run, plugins: Plugins) -> None:
    with (
        pytest.raises(UsageError, match="gone needs no_such_package: pip install"),
        followed(run, ["gone"], plugins, pytest.fail),
    ):
        pass


def test_a_tracker_that_has_been_uninstalled_does_not_keep_a_run_from_being_resumed(run: Run, plugins: Plugins) -> None:
    (run.path / "tracking").mkdir()
    (run.path / "tracking" / "gone.json").write_text("{}")
    warnings: list[str] = []
    with followed(run, [], plugins, warnings.append):
        run.log(1, {"reward": 0.1})
    assert len(warnings) == 1
