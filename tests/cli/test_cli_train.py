"""`train` and `report`: from a name to a run folder, and back into it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from r1env.api import new_folder
from r1env.recipes import Plan, Stage
from r1env.runs.run import Run


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def the_run() -> Path:
    (folder,) = Path("runs").iterdir()
    return folder


def test_a_recipe_runs_all_its_stages_and_ends_with_what_came_of_it(r1env_program: Any) -> None:
    result = r1env_program("train", "two-steps", "--preset", "tiny")
    assert result.exit_code == 0, result.output
    folder = the_run()
    assert folder.name.startswith("two-steps-tiny-2")
    assert Run.open(folder).finished_stages() == ["warm", "learn"]
    text = result.stdout
    assert "accuracy in evaluation: 12.5% before, 87.5% after" in text
    assert f"report: {folder}/report.html" in text
    assert (folder / "report.html").is_file()
    commands = text.split("next, try:\n")[1].splitlines()
    assert len(commands) == 3
    assert all(command.startswith("  r1env ") for command in commands)
    assert f"--model {folder}/checkpoints/learn/model --env echo" in commands[0]


def test_a_line_now_and_then_stands_for_the_table_where_there_is_no_terminal(r1env_program: Any) -> None:
    lines = r1env_program("train", "two-steps", "--preset", "tiny").stdout.splitlines()
    assert any(line.startswith("stage 1/2 warm: 1/2") for line in lines)
    assert any(line.startswith("stage 2/2 learn: 4/4") and "eval 0.875" in line for line in lines)
    assert any("reward 0.300  exact 0.300  unscored 0  loss 1.0000" in line for line in lines)


def test_quiet_shows_only_the_end(r1env_program: Any) -> None:
    text = r1env_program("train", "two-steps", "--preset", "tiny", "--quiet").stdout
    assert "stage" not in text
    assert "next, try" in text


def test_json_is_all_that_json_prints(r1env_program: Any) -> None:
    outcome = json.loads(r1env_program("train", "two-steps", "--preset", "tiny", "--json", "--output", "here").stdout)
    assert (outcome["run"], outcome["before"], outcome["after"]) == ("here", 0.125, 0.875)
    assert outcome["report"] == "here/report.html"
    assert len(outcome["next"]) == 3


def test_the_plan_holds_every_setting_of_the_command_line(r1env_program: Any) -> None:
    result = r1env_program(
        "train",
        "two-steps",
        "--preset",
        "tiny",
        "--steps",
        1,
        "--seed",
        5,
        "--set",
        "warm.steps=3",
        "--output",
        "here",
        "--quiet",
    )
    assert result.exit_code == 0, result.output
    run = Run.open(Path("here"))
    warm, learn = run.plan["stages"]
    assert (warm["config"]["steps"], learn["config"]["steps"]) == (3, 1)
    assert warm["config"]["seed"] == learn["config"]["seed"] == run.manifest["seed"] == 5


def test_a_trainer_alone_is_a_recipe_too(r1env_program: Any) -> None:
    result = r1env_program("train", "counter", "--preset", "quick", "--output", "here")
    assert result.exit_code == 0, result.output
    assert "accuracy in evaluation" not in result.stdout  # it did not evaluate


def test_a_dry_run_prints_the_plan_and_writes_nothing(r1env_program: Any) -> None:
    result = r1env_program("train", "two-steps", "--preset", "tiny", "--dry-run")
    assert [stage["name"] for stage in yaml.safe_load(result.stdout)["stages"]] == ["warm", "learn"]
    as_json = r1env_program("train", "two-steps", "--dry-run", "--json")
    everything = r1env_program("train", "two-steps", "--preset", "tiny", "--dry-run", "--all")
    assert json.loads(as_json.stdout) == yaml.safe_load(everything.stdout)
    assert not Path("runs").exists()


def test_ctrl_c_says_how_to_resume_and_resuming_tells_every_step_once(r1env_program: Any) -> None:
    stopped = r1env_program("train", "two-steps", "--set", "learn.fail_at=2", "--output", "here", "--quiet")
    assert stopped.exit_code == 130
    assert stopped.stderr == "interrupted; go on with: r1env train --resume here\n"
    resumed = r1env_program("train", "--resume", "here", "--quiet")
    assert resumed.exit_code == 0, resumed.output
    run = Run.open(Path("here"))
    assert run.finished_stages() == ["warm", "learn"]
    assert [row["step"] for row in run.metrics("learn") if "reward" in row] == [1, 2, 3, 4]


def test_resuming_a_finished_run_only_tells_what_came_of_it(r1env_program: Any) -> None:
    r1env_program("train", "two-steps", "--output", "here", "--quiet")
    before = (Path("here") / "metrics.jsonl").read_bytes()
    result = r1env_program("train", "--resume", "here")
    assert result.exit_code == 0
    assert "87.5% after" in result.stdout
    assert (Path("here") / "metrics.jsonl").read_bytes() == before


def test_resuming_takes_the_same_name_again_and_no_other_folder_or_recipe(r1env_program: Any) -> None:
    r1env_program("train", "two-steps", "--output", "here", "--quiet")
    assert r1env_program("train", "two-steps", "--preset", "tiny", "--resume", "here", "--quiet").exit_code == 0
    for other in (["counter"], ["--output", "there"]):
        refused = r1env_program("train", *other, "--resume", "here")
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
        assert "leave them out" in refused.stderr


def test_what_a_begun_run_cannot_go_on_with_is_refused_by_name(r1env_program: Any) -> None:
    r1env_program("train", "two-steps", "--output", "here", "--quiet")
    for given, complaint in (
        (["two-steps", "--steps", "1"], "goes on only with more steps"),
        (["--seed", "5"], "cannot go on with another seed"),
        (["--set", "nowhere.steps=9"], "unknown stage 'nowhere'"),
    ):
        refused = r1env_program("train", *given, "--resume", "here")
        assert complaint in refused.stderr
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)


def test_one_stage_runs_alone_on_the_results_of_the_run_that_is_resumed(r1env_program: Any) -> None:
    first = r1env_program("train", "two-steps", "--output", "here", "--only", "warm")
    assert first.exit_code == 0, first.output
    assert "not run: learn; go on with r1env train --resume here" in first.stdout
    assert Run.open(Path("here")).finished_stages() == ["warm"]
    second = r1env_program("train", "--resume", "here", "--only", "learn", "--quiet")
    assert second.exit_code == 0, second.output
    assert Run.open(Path("here")).finished_stages() == ["warm", "learn"]


def test_a_stage_without_the_results_it_starts_from_is_refused_before_a_folder_is_made(r1env_program: Any) -> None:
    result = r1env_program("train", "two-steps", "--output", "here", "--only", "learn")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "stage 'learn' needs the result of 'warm'" in result.stderr
    assert not Path("here").exists()


def test_training_that_cannot_go_on_is_one_line(r1env_program: Any) -> None:
    result = r1env_program("train", "counter", "--preset", "quick", "--set", "fail_at=0", "--set", "how=stop", "--quiet")
    assert (result.exit_code, result.stderr) == (1, "error: 30% of a step cannot be scored\n")


def test_a_trainers_bug_is_one_line_too(r1env_program: Any) -> None:
    result = r1env_program("train", "counter", "--preset", "quick", "--set", "fail_at=0", "--set", "how=bug", "--quiet")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ZeroDivisionError: oops (run `r1env --debug")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "say what to train: two-steps, counter"),
        (("two-step",), "did you mean 'two-steps'?"),
        (("two-steps", "--preset", "tinny"), "did you mean 'tiny'?"),
        (("counter", "--preset", "quik"), "did you mean 'quick'?"),
        (("two-steps", "--set", "learm.steps=3"), "did you mean 'learn'"),
        (("two-steps", "--set", "learn.stepps=3"), "did you mean steps?"),
        (("two-steps", "--set", "learn.steps=many"), "steps"),
        (("two-steps", "--model", "missing"), "did you mean 'nothing'?"),
        (("two-steps", "--rubric", "zero"), "--rubric: two-steps has no such setting"),
        (("nowhere.yaml",), "nowhere.yaml"),
    ],
)
def test_wrong_usage_is_one_line_before_anything_is_written(r1env_program: Any, arguments: tuple[str, ...], told: str) -> None:
    result = r1env_program("train", *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert told in result.stderr
    assert not list(Path().iterdir())


def test_a_folder_that_is_not_ours_is_left_alone(r1env_program: Any) -> None:
    Path("here").mkdir()
    Path("here/thesis.tex").touch()
    result = r1env_program("train", "two-steps", "--output", "here")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--output" in result.stderr
    assert [path.name for path in Path("here").iterdir()] == ["thesis.tex"]


def test_a_missing_report_library_costs_only_the_report(r1env_program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = r1env_program("train", "two-steps", "--output", "here", "--quiet")
    assert result.exit_code == 0
    assert "pip install r1env[report], then: r1env report here" in result.stdout
    refused = r1env_program("report", "here")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)


def test_report_writes_the_page_again(r1env_program: Any) -> None:
    r1env_program("train", "two-steps", "--output", "here", "--quiet")
    Path("here/report.html").unlink()
    assert r1env_program("report", "here").stdout == "here/report.html\n"
    assert json.loads(r1env_program("report", "here", "--json").stdout) == {"report": "here/report.html"}
    assert Path("here/report.html").is_file()


def test_report_of_nothing_is_one_line(r1env_program: Any) -> None:
    result = r1env_program("report", "here")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "holds no run" in result.stderr


def test_a_new_folder_never_has_the_name_of_another(tmp_path: Path) -> None:
    plan = Plan(name="a", preset="b", stages=(Stage(name="s", trainer="t"),))
    assert new_folder(tmp_path, plan, "now").name == "a-b-now"
    (tmp_path / "a-b-now").mkdir()
    assert new_folder(tmp_path, plan, "now").name == "a-b-now-2"
