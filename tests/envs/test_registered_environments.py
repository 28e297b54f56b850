"""Every environment that is installed keeps the contract of `r1env.testing`, whoever provides it."""

from __future__ import annotations

import functools
import json

import gymnasium
import pytest

import r1env
from r1env.testing import check_environment
from r1env_code.agents import HarborShell, PythonTool
from r1env_sandbox import CallResult, ExecResult
from r1env_sandbox.harbor import HarborResult, Outcome

ROWS = {
    "gsm8k": {"question": "Ann has {n} hens and buys one. How many has she?", "answer": "{n} + 1 hens.\n#### {n}1"},
    "svamp": {"Body": "Ann has {n} hens.", "Question": "How many hens has she?", "Answer": "{n}"},
    "mawps": {"input": "What is {n} plus 0 ?", "target": "{n}"},
    "aime24": {"problem": "Find ${n}^1$.", "answer": "{n}"},
    "math-jsonl": {"question": "Find ${n}^1$.", "answer": "{n}"},
    "data": {"question": "Find ${n}^1$.", "answer": "{n}"},
    "choice-jsonl": {"question": "Which is {n}?", "options": ["{n}", "{n}0"], "answer": "A"},
    "humaneval": {
        "task_id": "HumanEval/{n}",
        "prompt": 'def number():\n    """Gives {n}."""\n',
        "entry_point": "number",
        "test": "def check(candidate):\n    assert candidate() == {n}\n",
    },
    "mbpp": {"task_id": "{n}", "text": "Add {n}.", "test_list": ["assert add(1) == 1 + {n}", "assert add(2) == 2 + {n}"]},
    "livecodebench": {
        "question_id": "{n}",
        "question_content": "Print {n}.",
        "contest_date": "2024-11-0{n}",
        "metadata": "{}",
        "public_test_cases": '[{"input": "", "output": "{n}", "testtype": "stdin"}]',
        "private_test_cases": '[{"input": "", "output": "{n}", "testtype": "stdin"}]',
    },
    "codeforces": {"id": "{n}/A", "description": "Print {n}.", "official_tests": [{"input": "", "output": "{n}"}]},
    "code-jsonl": {"prompt": "Print {n}.", "tests": [{"kind": "stdio", "stdin": "", "expected": "{n}"}]},
}
"""A made-up row for each environment that needs a file."""

FOLDERS = {
    "harbor": {
        "task.toml": "",
        "instruction.md": "Do nothing.",
        "tests/test.sh": "#!/bin/sh\necho 1 > /logs/verifier/reward.txt\n",
    }
}
"""A made-up folder for each environment that needs one."""

NAMES = sorted(r1env.installed().provided("environments"))


class Container:
    """What `harbor` and `python_tool` play in, and no container: those take seconds an episode, and have tests of their own."""

    def exec(self, command, timeout_s):
        return ExecResult(0, None, str(command).encode(), b"", None, 1.0, 1.0)

    def verify(self):
        return HarborResult(Outcome.GRADED, 1.0)

    def run(self, code):
        return CallResult(code, failed=False, restarted=False)

    def close(self):
        pass


@pytest.fixture(autouse=True)
def containers(monkeypatch):
    monkeypatch.setattr(HarborShell, "_open", lambda *_: Container())
    monkeypatch.setattr(PythonTool, "_run", lambda _, code: Container().run(code))


@pytest.fixture
def options(request, tmp_path):
    """What an environment must be given besides its name."""
    name = request.getfixturevalue("name")
    if not r1env.installed().environment(name).requires:
        return {}
    if name in FOLDERS:
        for file, text in FOLDERS[name].items():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text(text, "utf-8")
        return {"path": str(tmp_path), "check": False}
    path = tmp_path / "rows.jsonl"
    row = json.dumps(ROWS[name])
    path.write_text("".join(row.replace("{n}", str(n)) + "\n" for n in range(1, 6)), "utf-8")
    return {"data": str(path)}


@pytest.mark.parametrize("name", NAMES)
def test_a_registered_environment_keeps_the_contract(name, options):
    check_environment(f"r1env/{name}", **options)


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_the_contract_with_the_rubric_zero_too(name, options):
    check_environment(f"r1env/{name}", rubric="zero", **options)


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
