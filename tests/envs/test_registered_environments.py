"""Every environment that is installed keeps the contract of `r1env.testing`, whoever provides it."""

from __future__ import annotations

import functools
import json

import gymnasium
import pytest

import r1env
from r1env.testing import check_environment, check_fixture
from r1env_code.agents import CodeRetry, HarborShell, PythonTool, RepositoryShell
from r1env_sandbox import CallResult, ExecResult
from r1env_sandbox.harbor import HarborResult, Outcome

ROWS = {
    "math-jsonl": {"question": "Find ${n}^1$.", "answer": "{n}"},
    "data": {"question": "Find ${n}^1$.", "answer": "{n}"},
    "choice-jsonl": {"question": "Which is {n}?", "options": ["{n}", "{n}0"], "answer": "A"},
    "swebench": {
        "repo": "own/calc",
        "instance_id": "own__calc-{n}",
        "base_commit": "0",
        "problem_statement": "add() subtracts.",
        "patch": "--- a/calc.py\n+++ b/calc.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a - b\n+    return a + b\n",
        "test_patch": "--- /dev/null\n+++ b/test_calc.py\n@@ -0,0 +1,4 @@\n+import calc\n+\n+def test_add():\n+    assert calc.add({n}, 1) > 1\n",
        "FAIL_TO_PASS": '["test_calc.py::test_add"]',
        "PASS_TO_PASS": "[]",
    },
    "simulated-user": {"user": "You want {n}.", "opening": "May I have {n}?", "answer": "{n}"},
    "code-jsonl": {"prompt": "Print {n}.", "tests": [{"kind": "stdio", "stdin": "", "expected": "{n}"}]},
}
"""A made-up row for each environment that needs a file and has no fixture."""

FOLDERS = {
    "harbor": {
        "task.toml": "",
        "instruction.md": "Do nothing.",
        "tests/test.sh": "#!/bin/sh\necho 1 > /logs/verifier/reward.txt\n",
    }
}
"""A made-up folder for each environment that needs one."""

ELSEWHERE = {"alpaca-eval", "arena-hard", "nemo-gym", "openenv", "safety", "verifiers"}
"""These need a server or another package, and have tests of their own: tests/plugins/test_judged_benchmarks.py,
test_judge_safety.py, tests/adapters, tests/server and tests/interop."""
NAMES = sorted(r1env.installed().provided("environments").keys() - ELSEWHERE)


class Container:
    """What `harbor`, `bugfix_shell` and `python_tool` play in, and no container: those take seconds an episode, and have tests of their own."""

    def exec(self, command, timeout_s):
        return ExecResult(0, None, str(command).encode(), b"", None, 1.0, 1.0)

    async def exec_async(self, command, timeout_s):
        return self.exec(command, timeout_s)

    def verify(self):
        return HarborResult(Outcome.GRADED, 1.0)

    def run(self, code):
        return CallResult(code, failed=False, restarted=False)

    def close(self):
        pass


@pytest.fixture(autouse=True)
def containers(monkeypatch):
    monkeypatch.setattr(HarborShell, "_open", lambda *_: Container())
    monkeypatch.setattr(RepositoryShell, "_open", lambda _: Container())
    monkeypatch.setattr(RepositoryShell, "_judge", lambda *_: (0.0, "wrong"))
    monkeypatch.setattr(PythonTool, "_run", lambda _, code: Container().run(code))
    monkeypatch.setattr(CodeRetry, "_judge", lambda _, response: (False, f"{len(response)} characters, and wrong"))


def _write(folder, files):
    for file, text in files.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text, "utf-8")


@pytest.fixture
def options(request, tmp_path):
    """What an environment must be given besides its name."""
    name = request.getfixturevalue("name")
    spec = r1env.installed().environment(name)
    if spec.fixture is not None:
        return spec.fixture.options
    if not spec.requires:
        return {}
    if name in FOLDERS:
        _write(tmp_path, FOLDERS[name])
        return {"path": str(tmp_path), "check": False}
    if name == "search":
        pytest.importorskip("bm25s")
    path = tmp_path / "rows.jsonl"
    row = json.dumps(ROWS[name])
    path.write_text("".join(row.replace("{n}", str(n)) + "\n" for n in range(1, 6)), "utf-8")
    if name == "simulated-user":
        return {"data": str(path), "engine": "scripted", "engine_options": {"text": "I said what I want."}}
    if name != "swebench":
        return {"data": str(path)}
    for n in range(1, 6):
        folder = tmp_path / "repositories" / f"own__calc-{n}"
        folder.mkdir(parents=True)
        (folder / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    return {"data": str(path), "repositories": str(tmp_path / "repositories")}


@pytest.mark.parametrize("name", NAMES)
def test_a_registered_environment_keeps_the_contract(name, options):
    check_environment(f"r1env/{name}", **options)


def _has_fixture(name):
    """Whether an environment has a fixture that needs neither a sandbox nor a judge."""
    fixture = r1env.installed().environment(name).fixture
    return fixture is not None and not fixture.needs


@pytest.mark.parametrize("name", [name for name in NAMES if _has_fixture(name)])
def test_the_completions_of_a_fixture_are_scored_as_it_says(name):
    check_fixture(name)


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_the_contract_with_the_rubric_zero_too(name, options):
    check_environment(f"r1env/{name}", rubric="zero", **options)


def test_the_folder_of_a_harbor_task_may_stand_behind_a_colon(tmp_path):
    _write(tmp_path, FOLDERS["harbor"])
    task = r1env.make_environment(f"harbor:{tmp_path}", check=False).task(0)
    assert "Do nothing." in task.question


@pytest.mark.parametrize("name", ["sort-4", "add-2digit"])
def test_the_compact_style_keeps_the_contract(name):
    check_environment(f"r1env/{name}", style="compact", split="test")


def test_the_right_answer_is_paid_and_the_info_says_why():
    env = gymnasium.make("r1env/sort-4")
    observation, info = env.reset(seed=3)
    task = r1env.make_environment("sort-4").task(0, seed=3)
    assert (observation[0]["content"], info["task_id"]) == (task.question, task.id)
    _, reward, terminated, truncated, info = env.step(f"<think></think><answer>{task.answer}</answer>")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert (info["score"].status, info["parts"]) == (r1env.Status.OK, {"exact": 1.0})


def test_options_of_the_environment_go_through_gymnasium():
    env = gymnasium.make("r1env/sort-4", digits=6, style="compact")
    observation, _ = env.reset(seed=0)
    assert len(observation[0]["content"]) == len("s123456?")


def test_an_unknown_option_is_named():
    with pytest.raises(r1env.UsageError, match=r"'sort-4' does not take these options: .*colour"):
        gymnasium.make("r1env/sort-4", colour="red")


def test_a_group_reward_is_refused_where_episodes_are_scored_one_by_one():
    @r1env.reward(scope="group")
    def rank(completions):
        return [sorted(completions).index(text) for text in completions]

    rubric = r1env.Rubric("r", [r1env.WeightedReward(rank)])
    for make in (gymnasium.make, functools.partial(gymnasium.make_vec, num_envs=2)):
        with pytest.raises(
            r1env.UsageError, match="a Gymnasium environment scores one response at a time, and the reward 'rank'"
        ):
            make("r1env/add-1digit", rubric=rubric)
