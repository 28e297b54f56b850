"""What a run folder promises while nothing goes wrong."""

import json
import math
from pathlib import Path

import pytest

from r1env.errors import RunError, UsageError
from r1env.runs.run import Run, StepEvent

PLAN = {"name": "demo", "preset": None, "stages": [{"name": "rl", "trainer": "grpo", "config": {"model": "tiny", "seed": 3}}]}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", PLAN, seed=3, command=["r1env", "train", "demo"])
    run.start_stage("rl")
    return run


def test_the_plan_is_read_back_as_it_was_given(run: Run) -> None:
    assert Run.open(run.path).plan == PLAN


def test_the_manifest_says_what_the_run_was_made_with(run: Run) -> None:
    manifest = Run.open(run.path).manifest
    assert manifest["seed"] == 3
    assert manifest["command"] == ["r1env", "train", "demo"]
    assert "r1env" in manifest["versions"]
    assert {"plugin": "r1env", "distribution": "r1env", "version": manifest["versions"]["r1env"]} in manifest["plugins"]
    assert manifest["python"].count(".") == 2
    assert manifest["cpu_count"] >= 1


def test_the_manifest_keeps_what_is_noted_about_each_stage(run: Run) -> None:
    run.note(rubric=[{"reward": "math", "settings": {"policy": "strict"}}])
    run.note(parameters=4)
    run.finish_stage("rl")
    run.start_stage("sft")
    run.note(parameters=5)
    manifest = Run.open(run.path).manifest
    assert manifest["seed"] == 3
    assert manifest["stages"] == {
        "rl": {"rubric": [{"reward": "math", "settings": {"policy": "strict"}}], "parameters": 4},
        "sft": {"parameters": 5},
    }


def test_a_stage_that_goes_on_with_another_reward_keeps_both_in_the_manifest(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run.start_stage("rl")
    run.note(rubric=({"reward": "mine", "sha256": "old"},), parameters=4)
    run.note(rubric=({"reward": "mine", "sha256": "old"},))
    assert not caplog.messages
    run.note(rubric=({"reward": "mine", "sha256": "new"},))
    stage = run.manifest["stages"]["rl"]
    assert stage["rubric"] == [{"reward": "mine", "sha256": "new"}]
    assert stage["earlier"] == [{"rubric": [{"reward": "mine", "sha256": "old"}]}]
    assert caplog.messages == ["stage rl goes on with other rubric than it began with"]


def test_an_empty_folder_may_become_a_run(tmp_path: Path) -> None:
    assert Run.create(tmp_path, PLAN, seed=0).finished_stages() == []


def test_a_strangers_folder_is_refused_in_one_line_that_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match="--output") as refusal:
        Run.create(tmp_path, PLAN, seed=0)
    assert "\n" not in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(RunError, match="--output"):
        Run.create(tmp_path / "run", PLAN, seed=0)


def test_an_existing_run_is_never_overwritten(run: Run) -> None:
    with pytest.raises(RunError, match="--resume"):
        Run.create(run.path, PLAN, seed=0)


def test_a_folder_without_a_run_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        Run.open(tmp_path)


def test_a_run_of_a_newer_version_is_refused(run: Run) -> None:
    state = json.loads((run.path / "state.json").read_text())
    (run.path / "state.json").write_text(json.dumps({**state, "format": 99}))
    with pytest.raises(RunError, match="upgrade r1env"):
        Run.open(run.path)


def test_metrics_are_json_lines_with_stage_step_and_time(run: Run) -> None:
    run.log(1, {"loss": 0.5, "tokens": 7})
    (line,) = (run.path / "metrics.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row.pop("time") > 1e9
    assert row == {"stage": "rl", "step": 1, "loss": 0.5, "tokens": 7}


def test_a_metric_that_is_not_finite_is_stored_as_null(run: Run) -> None:
    run.log(1, {"a": math.nan, "b": math.inf, "c": -math.inf})
    (row,) = run.metrics()
    assert (row["a"], row["b"], row["c"]) == (None, None, None)


def test_listeners_hear_every_step_with_the_values_as_they_are(run: Run) -> None:
    heard: list[StepEvent] = []
    run.subscribe(heard.append)
    run.log(4, {"loss": 0.25})
    assert heard == [StepEvent("rl", 4, {"loss": 0.25})]


def test_metrics_can_be_asked_for_by_stage(run: Run) -> None:
    run.log(1, {"a": 1})
    run.finish_stage("rl")
    run.start_stage("next")
    run.log(1, {"a": 2})
    assert [row["a"] for row in run.metrics("next")] == [2]
    assert [row["a"] for row in run.metrics()] == [1, 2]


def test_hostile_text_in_rollouts_comes_back_unchanged_but_for_lone_surrogates(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    hostile = "\x00 \u2028 \u202e \r\n </script> \U0001f600"
    run.log_rollouts(1, [{"completion": hostile, "reward": math.nan, "parts": {"math": math.nan}}])
    assert not caplog.messages
    run.log_rollouts(1, [{"completion": "a\ud800b"}])
    assert caplog.messages == ["1 rollouts hold lone surrogates, which are stored as '?'"]
    for _ in range(2):  # as they were appended, and then out of a shard
        first, second = run.rollouts()
        assert (first["completion"], first["reward"], first["parts"]) == (hostile, None, [{"name": "math", "value": None}])
        assert second["completion"] == "a?b"
        run.finish_stage("rl")


def test_a_rollout_with_a_field_that_nobody_knows_is_refused(run: Run) -> None:
    with pytest.raises(UsageError, match="a rollout's row: unknown key 'rewards'; did you mean reward"):
        run.log_rollouts(1, [{"completion": "a", "rewards": 1.0}])
    assert list(run.rollouts()) == []


def test_a_row_cannot_claim_another_place(run: Run) -> None:
    run.log(1, {"step": 9.0})
    assert [row["step"] for row in run.metrics()] == [1]


def test_rewinding_tells_every_step_once(run: Run) -> None:
    run.log(1, {"a": 1})
    run.log_rollouts(1, [{"completion": "kept"}])
    run.log_event(1, {"kind": "alert", "rule": "kept"})
    position = run.position()
    run.log(2, {"a": 2})
    run.log_rollouts(2, [{"completion": "lost"}])
    run.log_event(2, {"kind": "alert", "rule": "lost"})
    resumed = Run.open(run.path)
    resumed.rewind(position)
    resumed.start_stage("rl2")
    resumed.log(2, {"a": 3})
    assert [(row["step"], row["a"]) for row in resumed.metrics()] == [(1, 1), (2, 3)]
    assert [row["completion"] for row in resumed.rollouts()] == ["kept"]
    assert [(event["step"], event["rule"]) for event in resumed.events("rl")] == [(1, "kept")]


def test_a_checkpoint_from_before_there_were_events_takes_back_all_of_them(run: Run) -> None:
    run.log(1, {"a": 1})
    run.log_event(1, {"kind": "alert"})
    run.rewind({"metrics.jsonl": run.position()["metrics.jsonl"], "rollouts": 0})
    assert (len(run.metrics()), run.events()) == (1, [])


def test_rewinding_never_lengthens_a_log(run: Run) -> None:
    run.log(1, {"a": 1})
    size = run.position()["metrics.jsonl"]
    run.rewind({"metrics.jsonl": size + 100, "rollouts": 100})
    assert run.position() == {"metrics.jsonl": size, "events.jsonl": 0, "rollouts": 0}


def test_finished_stages_survive_the_process(run: Run) -> None:
    run.finish_stage("rl")
    run.finish_stage("rl")
    assert Run.open(run.path).finished_stages() == ["rl"]


def test_a_stage_without_a_checkpoint_begins_again_with_nothing_told(run: Run) -> None:
    run.log(1, {"a": 1})
    run.finish_stage("rl")
    run.start_stage("next")
    run.log(1, {"a": 2})
    (run.checkpoint_dir / ".step-1.partial").mkdir()
    run.model_dir().mkdir()
    resumed = Run.open(run.path)
    resumed.start_stage("next")
    assert [row["stage"] for row in resumed.metrics()] == ["rl"]


def test_a_stage_with_a_checkpoint_keeps_its_logs_for_the_trainer_to_rewind(run: Run) -> None:
    (run.checkpoint_dir / "step-1").mkdir()
    run.log(1, {"a": 1})
    resumed = Run.open(run.path)
    resumed.start_stage("rl")
    assert len(resumed.metrics()) == 1


def test_checkpoints_and_models_have_their_places(run: Run) -> None:
    assert run.checkpoint_dir == run.path / "checkpoints" / "rl"
    assert run.checkpoint_dir.is_dir()
    assert run.model_dir() == run.checkpoint_dir / "model"
    assert run.model_dir("base") == run.path / "checkpoints" / "base" / "model"
    assert not run.model_dir().exists()


def test_nothing_is_logged_outside_a_stage(run: Run) -> None:
    run.finish_stage("rl")
    with pytest.raises(RunError, match="start_stage"):
        run.log(1, {"a": 1})


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b"])
def test_a_stage_must_be_nameable_as_a_folder(run: Run, name: str) -> None:
    with pytest.raises(UsageError, match="stage"):
        run.start_stage(name)
