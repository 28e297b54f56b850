"""Evaluations as folders: kept whatever happens, completed exactly once, compared and scored again."""

import json
import math
import random
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from chat_stub import fails, says, serving, slowly

import r1env
from r1env.engines import SamplingParams
from r1env.plugins import Plugins

OPENAI = "r1env_openai.engine:make_openai"
ENGINE = ("--model", "any", "--engine", "obedient")


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_an_evaluation_is_a_folder_with_rows_a_summary_and_what_they_were_made_with(r1env_program: Any) -> None:
    result = r1env_program("eval", *ENGINE, "--env", "echo", "--n", 2, "--output", "here")
    assert result.exit_code == 0
    assert "kept in here" in result.stderr
    here = Path("here")
    assert [(row["model"], row["environment"], row["task_id"], row["sample"]) for row in rows_of(here)] == [
        ("any", "echo", f"echo-{task}", sample) for task in range(3) for sample in range(2)
    ]
    assert json.loads((here / "summary.json").read_text())[0]["accuracy"] == 1.0
    manifest = json.loads((here / "manifest.json").read_text())
    environment = manifest["settings"]["environments"][0]
    assert environment["template"]["example"][0]["content"] == "say 0"
    assert environment["rubric"][0]["reward"] == "exact"
    assert manifest["versions"]["r1env"]


def test_without_an_output_the_folder_is_a_new_one_in_runs(r1env_program: Any) -> None:
    for _ in range(2):
        assert r1env_program("eval", *ENGINE, "--env", "echo").exit_code == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_several_models_and_environments_are_one_table(r1env_program: Any) -> None:
    found = r1env_program(
        "eval", "--model", "a", "--model", "b", "--engine", "obedient", "--env", "echo", "--env", "endless", "--limit", 2
    )
    assert found.exit_code == 0
    lines = [line.split() for line in found.stdout.splitlines() if line.strip()]
    assert ["environment", "a", "b"] in lines
    assert {line[0] for line in lines} >= {"echo", "endless"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--env", "echo"), "give --model and --env"),
        ((*ENGINE, "--env", "echo", "--env", "echo"), "'echo' is named twice"),
        (("--resume", "nothing"), "nothing holds no evaluation"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(r1env_program: Any, arguments: tuple[str, ...], told: str) -> None:
    result = r1env_program("eval", *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert told in result.stderr


def test_a_folder_that_is_taken_is_refused_and_a_whole_one_is_resumed_without_sampling(r1env_program: Any) -> None:
    r1env_program("eval", *ENGINE, "--env", "echo", "--output", "here")
    before = rows_of(Path("here"))
    again = r1env_program("eval", *ENGINE, "--env", "echo", "--output", "here")
    assert (again.exit_code, "--resume here" in again.stderr) == (2, True)
    path = Path("here/manifest.json")
    older = json.loads(path.read_text())
    del older["settings"]["sampling"]["top_k"]  # as a version wrote it that did not have this setting yet
    path.write_text(json.dumps(older))
    assert r1env_program("eval", "--resume", "here").exit_code == 0
    assert rows_of(Path("here")) == before


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "score": {**row["score"], "seconds": None}} for row in rows]


def flaky(handler: Any) -> None:
    """Answer by prompt and seed alone, right about two times in three."""
    seed, prompt = handler.asked["seed"], handler.asked["messages"][-1]["content"]
    a, b = (int(word) for word in prompt.replace("?", " ").replace("=", " ").split() if word.lstrip("-").isdigit())
    says(f"<answer>{a + b + (seed % 3 == 0)}</answer>")(handler)


def command(url: str, folder: Path, *more: str) -> list[str]:
    program = [sys.executable, "-m", "r1env", "eval"]
    if folder.exists():
        return [*program, "--resume", str(folder)]
    options = {"url": url, "attempts": "2", "concurrency": "4"}
    engine = [word for key, value in options.items() for word in ("--engine-option", f"{key}={value}")]
    return [*program, "--model", "m", "--engine", OPENAI, *engine, "--env", "add-2digit", "--output", str(folder), *more]


@pytest.mark.slow
def test_an_evaluation_killed_again_and_again_ends_as_one_that_was_not(tmp_path: Path) -> None:
    pytest.importorskip("r1env_openai")
    size = ("--limit", "40", "--n", "4", "--batch-size", "16")
    with serving(slowly(flaky, 0.03)) as stub:
        whole, cut = tmp_path / "whole", tmp_path / "cut"
        subprocess.run(command(stub.url, whole, *size), check=True, capture_output=True)
        asked = len(stub.requests)
        chance, kills = random.Random(0), 0
        while not (cut / "summary.json").exists():
            process = subprocess.Popen(command(stub.url, cut, *size), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if kills < 10:
                until = time.monotonic() + 20
                grown = sum(1 for _ in (cut / "rows.jsonl").open()) if (cut / "rows.jsonl").exists() else 0
                while time.monotonic() < until and process.poll() is None:  # until it has added some rows
                    time.sleep(0.02)
                    if (cut / "rows.jsonl").exists() and sum(1 for _ in (cut / "rows.jsonl").open()) > grown + chance.randint(
                        0, 8
                    ):
                        break
                process.send_signal(signal.SIGKILL)
                kills += 1
                process.communicate()
            else:
                _, err = process.communicate(timeout=120)
                assert process.returncode == 0, err
    assert kills == 10
    assert without_times(rows_of(cut)) == without_times(rows_of(whole))
    assert (cut / "summary.json").read_bytes() == (whole / "summary.json").read_bytes()
    # Nothing that had been kept was asked again: at most what was under way at each kill.
    assert len(stub.requests) - asked <= asked + kills * 8


def test_what_the_server_failed_at_is_made_again_and_only_that(r1env_program: Any) -> None:
    pytest.importorskip("r1env_openai")
    broken = True

    def behave(handler: Any) -> None:
        (fails(400) if broken and "0" in handler.asked["messages"][-1]["content"] else says("0"))(handler)

    with serving(behave) as stub:
        first = ("eval", "--model", "m", "--engine", OPENAI, "--engine-option", f"url={stub.url}", "--env", "echo")
        assert r1env_program(*first, "--output", "here").exit_code == 0
        assert [row["correct"] for row in rows_of(Path("here"))] == [None, False, False]
        broken, asked = False, len(stub.requests)
        assert r1env_program("eval", "--resume", "here").exit_code == 0
        assert len(stub.requests) == asked + 1
    assert [row["correct"] for row in rows_of(Path("here"))] == [True, False, False]


def test_two_writers_are_refused(r1env_program: Any) -> None:
    import fcntl

    r1env_program("eval", *ENGINE, "--env", "echo", "--output", "here")
    with Path("here/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = r1env_program("eval", "--resume", "here")
    assert result.exit_code == 1
    assert "another process is writing here" in result.stderr


def test_comparing_pairs_the_tasks_and_lists_what_flipped(r1env_program: Any) -> None:
    r1env_program("eval", *ENGINE, "--env", "echo", "-o", "count=30", "--output", "right")
    r1env_program("eval", *ENGINE, "--env", "echo", "-o", "count=30", "--engine-option", "wrong_every=3", "--output", "wrong")
    found = json.loads(r1env_program("compare", "wrong", "right", "--json").stdout)
    [one] = found["comparisons"]
    assert (one["tasks"], one["better"], one["worse"], one["test"]) == (30, 10, 0, "McNemar")
    assert one["difference"] == pytest.approx(1 / 3)
    assert one["p_value"] == pytest.approx(2 / 2**10)
    assert one["interval"][0] < 1 / 3 < one["interval"][1]
    assert len(found["flips"]) == 10
    table = r1env_program("compare", "wrong", "right").stdout
    assert "+33.3" in table
    assert "+10 −0" in table


def test_evaluations_without_a_task_in_common_cannot_be_compared(r1env_program: Any) -> None:
    r1env_program("eval", *ENGINE, "--env", "echo", "--output", "a")
    r1env_program("eval", *ENGINE, "--env", "endless", "--limit", 3, "--output", "b")
    result = r1env_program("compare", "a", "b")
    assert (result.exit_code, "no task in common" in result.stderr) == (2, True)


def test_completions_are_scored_again_without_an_engine(r1env_program: Any) -> None:
    r1env_program("eval", *ENGINE, "--env", "echo", "--engine-option", "wrong_every=2", "--output", "here")
    rubric = Path("lenient.yaml")
    rubric.write_text("name: lenient\nrewards:\n  - {reward: accuracy, weight: 1}\n  - {reward: detail, weight: 0}\n")
    result = r1env_program("rescore", "here", "--rubric", rubric, "--output", "again")
    assert result.exit_code == 0
    assert "0 of 3 verdicts changed" in result.stderr
    assert "detail/a" in str(rows_of(Path("again"))[0]["score"]["parts"]) or "a" in str(
        rows_of(Path("again"))[0]["score"]["parts"]
    )
    assert [row["correct"] for row in rows_of(Path("again"))] == [row["correct"] for row in rows_of(Path("here"))]


def test_completions_are_scored_again_with_a_single_reward(r1env_program: Any) -> None:
    r1env_program("eval", *ENGINE, "--env", "echo", "--engine-option", "wrong_every=2", "--n", 2, "--output", "here")
    Path("mine.py").write_text(
        "import r1env\n\n\n@r1env.reward(name='never')\ndef never(completion: str) -> float:\n    return 0.0\n"
    )
    result = r1env_program("rescore", "here", "--reward", "mine.py:never", "--output", "again")
    assert result.exit_code == 0, result.stderr
    assert [(row["score"]["value"], row["correct"]) for row in rows_of(Path("again"))] == [(0.0, False)] * 6
    Path("without.yaml").write_text("name: without\nrewards:\n  - {reward: detail, weight: 1}\n")
    for arguments, told in (
        (("--reward", "exact", "--rubric", "zero"), "at most one of --reward"),
        (("--reward", "exct"), "exct"),
        (("--rubric", "without.yaml"), "has no reward 'accuracy'"),
    ):
        result = r1env_program("rescore", "here", *arguments, "--output", "refused")
        assert (result.exit_code, told in result.stderr) == (2, True), result.stderr
    assert not Path("refused").exists()


def test_the_statistics_of_a_scripted_server_are_those_of_a_calculation_by_hand(r1env_program: Any) -> None:
    pytest.importorskip("r1env_openai")
    told: dict[str, int] = {}

    def behave(handler: Any) -> None:
        """Be right about the first `task + 1` of four completions of a task."""
        task = handler.asked["messages"][-1]["content"].removeprefix("say ")
        told[task] = told.get(task, 0) + 1
        says(task if told[task] <= int(task) + 1 else "no")(handler)

    with serving(behave) as stub:
        engine = ("--model", "m", "--engine", OPENAI, "--engine-option", f"url={stub.url}", "--engine-option", "concurrency=1")
        result = r1env_program("eval", *engine, "--env", "echo", "--n", 4, "--json", "--output", "here")
    found = json.loads(result.stdout)
    # Right: 1, 2 and 3 of 4. pass@1 is (1/4 + 2/4 + 3/4) / 3; pass@2 is 1 - C(n-c, 2)/C(4, 2) = 1/2, 5/6, 1; pass@4 is 1.
    assert found["accuracy"] == pytest.approx(0.5)
    assert found["pass_at"] == {"1": pytest.approx(0.5), "2": pytest.approx(float(Fraction(7, 9))), "4": 1.0}
    error = 0.25 / math.sqrt(3)  # the standard deviation of 1/4, 2/4 and 3/4 is 1/4
    assert found["interval"] == [pytest.approx(0.5 - 1.959964 * error), pytest.approx(0.5 + 1.959964 * error)]


def test_an_evaluation_that_is_not_complete_is_not_scored_again_and_leaves_no_folder(r1env_program: Any) -> None:
    r1env_program("eval", *ENGINE, "--env", "echo", "--n", 2, "--output", "here")
    Path("here/summary.json").unlink()
    result = r1env_program("rescore", "here", "--output", "again")
    assert (result.exit_code, "--resume here" in result.stderr) == (2, True)
    assert not Path("again").exists()


def test_rows_of_other_tasks_are_refused_before_anything_is_made(r1env_program: Any) -> None:
    r1env_program("eval", *ENGINE, "--env", "echo", "--output", "here")
    text = Path("here/rows.jsonl").read_text()
    Path("here/rows.jsonl").write_text(text.replace('"prompt": "say 1"', '"prompt": "say one"'))
    for command in (("rescore", "here", "--output", "again"), ("eval", "--resume", "here")):
        result = r1env_program(*command)
        assert (result.exit_code, "task 'echo-1' of 'echo' is no longer at place 1" in result.stderr) == (2, True)
    assert not Path("again").exists()


def test_an_evaluation_that_is_being_completed_has_no_summary(r1env_program: Any) -> None:
    from r1env.evaluation.run import EvaluationRun

    r1env_program("eval", *ENGINE, "--env", "echo", "--output", "here")
    run = EvaluationRun.open(Path("here"))
    assert run.complete
    with run.writing():
        assert not run.complete


def test_a_comparison_says_how_many_tasks_it_leaves_out(r1env_program: Any) -> None:
    r1env_program("eval", *ENGINE, "--env", "echo", "-o", "count=5", "--output", "five")
    r1env_program("eval", *ENGINE, "--env", "echo", "-o", "count=3", "--output", "three")
    assert json.loads(r1env_program("compare", "five", "three", "--json").stdout)["left_out"] == 2
    assert "2 tasks are left out" in r1env_program("compare", "five", "three").stderr


def test_rows_alone_say_whose_they_are(r1env_program: Any) -> None:
    r1env_program("eval", "--model", "a", "--model", "b", "--engine", "obedient", "--env", "echo", "--output", "rows.jsonl")
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    assert [(row["model"], row["environment"]) for row in rows] == [("a", "echo")] * 3 + [("b", "echo")] * 3


def test_a_thinking_budget_continues_the_assistants_message_of_a_served_model(r1env_program: Any) -> None:
    pytest.importorskip("r1env_openai")

    def behave(handler: Any) -> None:
        *_, last = handler.asked["messages"]
        says("hmm</think>7" if last["role"] == "user" else "1")(handler)

    with serving(behave) as stub:
        engine = ("--model", "m", "--engine", OPENAI, "--engine-option", f"url={stub.url}", "--engine-option", "continues=true")
        command = ("eval", *engine, "--env", "echo", "--limit", 1, "--budget", 50, "--waits", 1, "--output", "here")
        assert r1env_program(*command).exit_code == 0
    # Each answer has ten tokens, of which "hmm</think>" has its share by characters.
    assert [asked["max_tokens"] for asked in stub.requests] == [50, 50 - 10]
    thinking = stub.requests[1]
    assert thinking["messages"][-1] == {"role": "assistant", "content": "hmmWait"}
    assert (thinking["continue_final_message"], thinking["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in stub.requests[0]
    [row] = rows_of(Path("here"))
    assert (row["completion"], row["length"]) == ("hmmWait1", 20)
    assert json.loads(Path("here/manifest.json").read_text())["settings"]["budget"]["tokens"] == 50
    found = json.loads(r1env_program("scaling", "here", "--json").stdout)
    assert [(point["method"], point["budget"], point["tokens"]) for point in found] == [("budget, 1 × Wait", 50, 20.0)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("eval", *ENGINE, "--env", "echo", "--budget", 5), "the engine 'obedient' cannot continue a completion"),
        (
            (
                "eval",
                "--model",
                "m",
                "--engine",
                OPENAI,
                "--engine-option",
                "url=http://localhost:1/v1",
                "--env",
                "echo",
                "--budget",
                5,
            ),
            "--engine-option continues=true",
        ),
        (("eval", *ENGINE, "--env", "echo", "--waits", 1), "give --budget too"),
        (("scaling", "nothing"), "nothing holds no evaluation"),
        (("table", "nothing"), "nothing holds no evaluation"),
    ],
)
def test_what_cannot_be_scaled_is_refused_in_one_line(r1env_program: Any, arguments: tuple[Any, ...], told: str) -> None:
    result = r1env_program(*arguments)
    assert (result.exit_code, result.stderr.strip().count("\n"), told in result.stderr) == (2, 0, True), result.stderr


def test_votes_and_best_of_n_come_from_the_completions_that_were_kept(r1env_program: Any) -> None:
    r1env_program("eval", *ENGINE, "--env", "echo", "--n", 4, "--engine-option", "wrong_every=3", "--output", "here")
    kept = (Path("here") / "rows.jsonl").read_bytes()
    result = r1env_program("scaling", "here", "--by", "exact", "--by", "abstain")
    assert result.exit_code == 0, result.stderr
    assert "abstain has no value for 12 of 12 completions; they are chosen last" in result.stderr
    points = [json.loads(line) for line in Path("here/scaling.jsonl").read_text().splitlines()]
    assert {(point["method"], point["n"]) for point in points} == {
        (method, n) for method in ("any of n", "majority", "best-of-n by exact", "best-of-n by abstain") for n in (1, 2, 4)
    }
    assert [point["accuracy"] for point in points] == pytest.approx([2 / 3] * 12)
    page = Path("here/scaling.html").read_text("utf-8")
    assert "best-of-n by exact" in page
    assert (Path("here") / "rows.jsonl").read_bytes() == kept


def test_a_table_and_reports_are_written_by_the_program(r1env_program: Any) -> None:
    for folder, wrong in (("right", 0), ("wrong", 3)):
        option = f"wrong_every={wrong}"
        r1env_program("eval", *ENGINE, "--env", "echo", "-o", "count=30", "--engine-option", option, "--output", folder)
    text = r1env_program("table", "right", "wrong", "--label", "R1", "--label", "cold start").stdout
    assert [part.strip() for part in text.splitlines()[3].split("  ") if part.strip()] == [
        "echo", "pass@1", "100.0 [88.6, 100.0] *", "66.7 [48.8, 80.8]",
    ]  # fmt: skip
    assert "**100.0 [88.6, 100.0]**" in r1env_program("table", "right", "wrong", "--format", "markdown").stdout
    assert "<b>100.0" in r1env_program("table", "right", "wrong", "--format", "html").stdout
    for form, name in (("html", "report.html"), ("markdown", "report.md")):
        assert r1env_program("report", "wrong", "--format", form).stdout.strip() == f"wrong/{name}"
        assert "66.7%" in Path("wrong", name).read_text("utf-8")


def test_python_writes_the_folder_that_the_command_line_writes(r1env_program: Any, plugins: Plugins) -> None:
    r1env_program("eval", *ENGINE, "--env", "echo", "-o", "count=5", "--n", 2, "--seed", 3, "--output", "program")
    found = r1env.evaluate(
        "any", "echo", engine="obedient", params=SamplingParams(n=2, seed=3), seed=3, output="python", plugins=plugins, count=5
    )
    assert found.accuracy == 1.0
    assert without_times(rows_of(Path("python"))) == without_times(rows_of(Path("program")))
    assert Path("python/summary.json").read_bytes() == Path("program/summary.json").read_bytes()
    settings = [json.loads(Path(folder, "manifest.json").read_text())["settings"] for folder in ("python", "program")]
    assert settings[0] == settings[1]
    Path("python/summary.json").unlink()
    assert r1env_program("eval", "--resume", "python").exit_code == 0
    with pytest.raises(r1env.R1EnvError, match="python already holds an evaluation"):
        r1env.evaluate("any", "echo", engine="obedient", output="python", plugins=plugins)
