"""`r1env audit` on the command line: what it prints, writes and returns."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import r1env
import r1env.builtin
from r1env.audit import SAMPLE_TASKS, audit
from r1env.cli.main import make_app
from r1env.plugins import Plugins, Provenance

REWARDS = """
import r1env
from r1env.data.sources import ListSource

@r1env.reward
def sound(completion: str, answer: str) -> float:
    return float((r1env.parse_response(completion).answer or "") == answer)

@r1env.reward
def substring(completion: str, answer: str, *, ignore_case: bool = False) -> float:
    return float(answer.lower() in completion.lower() if ignore_case else answer in completion)

def parrots():
    return ListSource([r1env.Task(id=f"parrot-{n}", prompt="?", answer=str(n)) for n in range(3)])

@r1env.reward
def picky(completion: str, task: r1env.Task) -> float:
    return float(task.metadata["secret"] in completion)
"""


class Parrots:
    """A plugin with an environment."""

    @staticmethod
    @r1env.hookimpl
    def r1env_environments():
        source = "naive_rewards_of_a_user:parrots"
        return [r1env.EnvironmentSpec("parrots", source, "naive_rewards_of_a_user:sound", "repeat a number")]


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "naive_rewards_of_a_user.py").write_text(REWARDS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    app = make_app(Plugins({Provenance("r1env", "r1env", "0"): r1env.builtin, Provenance("p", "parrots", "1"): Parrots}))

    def call(reward, *arguments):
        name = f"naive_rewards_of_a_user:{reward}"
        return CliRunner().invoke(app, ["audit", "--reward", name, *arguments], prog_name="r1env")

    return call


def test_nothing_found_is_exit_code_0(run):
    result = run("sound", "--attack", "constants")
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip().endswith("nothing found")


def test_a_finding_is_exit_code_1_and_a_row_with_an_example(run):
    result = run("substring", "--attack", "reasoning only")
    assert result.exit_code == 1
    (row,) = [line for line in result.stdout.splitlines() if "accepted: " in line]
    assert row.strip().startswith("reasoning only")
    assert "paid 1, a right one 1" in row
    assert "the answer inside the reasoning alone earns nothing" in result.stdout


def test_the_report_is_written_and_printed_as_json(run, tmp_path):
    result = run("substring", "--attack", "echo", "--option", "ignore_case=true", "--json", "--output", "audit.json")
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / "audit.json").read_text())
    assert report["options"] == {"ignore_case": True}
    assert [attack["attack"] for attack in report["attacks"]] == ["right answers", "echo"]
    assert report["attacks"][1]["findings"][0]["kind"] == "accepted"


def test_a_file_of_answers_and_right_completions_is_the_measure(run, tmp_path):
    rows = [
        {"id": "a", "prompt": "?", "answer": 12},
        {"id": "b", "answer": "13"},
        {"id": "c", "secret": "x!", "completion": "x!"},
    ]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = json.loads(run("sound", "--data", "tasks.jsonl", "--attack", "empty", "--json").stdout)
    assert report["tasks"] == ["a", "b", "c"]
    assert report["right"]["answer block"] == 2


def test_a_reward_whose_tasks_are_special_needs_them_and_then_is_attacked(run, tmp_path):
    alone = run("picky")
    assert alone.exit_code == 2
    assert "KeyError: 'secret'" in alone.stderr
    assert "--data FILE, --env ENV" in alone.stderr
    rows = [{"id": word, "secret": f"{word}!", "completion": f"{word}!"} for word in ("one", "two")]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("picky", "--data", "tasks.jsonl", "--attack", "wrong answer").exit_code == 0


def test_the_tasks_are_named_and_are_the_corpus_unless_others_are_asked_for(run):
    result = run("sound", "--attack", "empty")
    assert f"{len(SAMPLE_TASKS)} tasks: sum, word-problem, choice," in result.stdout


def test_the_tasks_of_an_environment_are_taken_when_it_is_named(run):
    report = json.loads(run("sound", "--env", "parrots", "--attack", "empty", "--json").stdout)
    assert report["tasks"] == ["parrot-0", "parrot-1", "parrot-2"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--data", "nowhere.jsonl"), "nowhere.jsonl: cannot read it"),
        (("--data", "empty.jsonl"), "empty.jsonl: there are no rows"),
        (("--data", "broken.jsonl"), "broken.jsonl, line 2: not JSON"),
        (("--data", "broken.jsonl", "--env", "parrots"), "give one of them"),
        (("--env", "parots"), "did you mean 'parrots'"),
        (("--attack", "emtpy"), "did you mean 'empty'"),
        (("--option", "ignore_cas=1"), "ignore_cas"),
        (("--attack", "empty", "--output", "no/where.json"), "cannot write no/where.json"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(run, tmp_path, arguments, told):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "broken.jsonl").write_text('{"answer": "1"}\n{\n')
    result = run("substring", *arguments)
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


# The reader's own file in the current folder, as the README has it

OWN = """
import re
import r1env

def last_number(completion, answer):
    numbers = re.findall(r"-?[0-9]+", completion)
    return bool(numbers) and numbers[-1] == answer

@r1env.reward(scope="group")
def longest_right(completions, answer):
    longest = max(map(len, completions))
    return [float(answer in text and len(text) == longest) for text in completions]
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", [pytest.param("my_rewards", marks=pytest.mark.slow), "my_rewards.py"])
def test_a_function_in_the_current_folder_is_audited(where, tmp_path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text(OWN)
    program = [sys.executable, "-c", "import sys; from r1env.cli.main import main; main()"]
    done = subprocess.run(
        [*program, "audit", "--reward", f"{where}:last_number"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "The answer is not" in done.stdout
    assert "or maybe" in done.stdout


def test_a_group_reward_is_attacked_in_the_company_of_a_right_answer(tmp_path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    report = audit(r1env.get_reward("my_rewards.py:longest_right"), SAMPLE_TASKS[:2])
    assert report.reads_answer
    assert report.right
    assert any(result.found for result in report.attacks)
    assert not any("returned" in finding.reason for result in report.attacks for finding in result.findings)
