"""Environments of several turns in the sandbox: a Python interpreter, programs with feedback, and Harbor's tasks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

import r1env
from r1env import UsageError
from r1env.audit.environment import audit_environment
from r1env.types import Completion, EndedBy
from r1env_code import agents
from r1env_sandbox import (
    CompileResult,
    ExecResult,
    JudgeResult,
    SandboxBusy,
    SandboxInfo,
    SandboxUnavailable,
    SessionLost,
    TestCase,
    TestResult,
    Verdict,
)
from r1env_sandbox.harbor import HarborResult, Outcome

INFO = SandboxInfo(backend="none")
TESTS = (
    {"kind": "call", "function": "add", "args": [3, 4], "expected": 7},
    {"kind": "call", "function": "add", "args": [50, 60], "expected": 110},
)
TASK = r1env.Task(id="add", prompt="Write `add(a, b)`.", kind="code", tests=TESTS, metadata={"programming_language": "python"})
GOOD = "```python\ndef add(a, b):\n    return a + b\n```"
HALF = "```python\ndef add(a, b):\n    return 7\n```"
WRONG = "```python\ndef add(a, b):\n    return 0\n```"


def call(name, **arguments):
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def play(env, task, *texts):
    """Play an episode with these messages of the model; return it, and what the environment said to each."""
    episode, said = env.open(task), []
    for text in texts:
        assert not episode.done, episode.error
        episode.submit(Completion(text=text, finish_reason="stop"))
        said.append("\n".join(reply["content"] for reply in episode.replies))
    return episode, said


def score(env, episode):
    (score,) = r1env.score([episode.rollout()], env.rubric)
    return score


# python_tool


def test_questions_have_their_answers_and_their_splits():
    env = r1env.make_environment("python_tool", split="train")
    tasks = [env.task(index) for index in range(40)]
    assert len({task.id.split("-")[1] for task in tasks}) == 4  # every family of questions
    digits = next(task for task in tasks if "decimal digits" in task.prompt[0]["content"])
    a, b = map(int, digits.id.split("-")[2:])
    assert digits.answer == str(sum(map(int, str(a**b))))
    others = r1env.make_environment("python_tool", split="test")
    assert not {task.id for task in tasks} & {others.task(index).id for index in range(40)}


def test_questions_of_another_environment_keep_what_checks_them():
    env = r1env.make_environment("python_tool", tasks="sort-4")
    assert env.accuracy == "exact"
    assert env.task(0).prompt[-1]["content"].endswith(f"{agents.PYTHON_HINT}.")
    with pytest.raises(UsageError, match="turns of its own"):
        r1env.make_environment("python_tool", tasks="guess-number")
    with pytest.raises(UsageError, match="digits is for"):
        r1env.make_environment("python_tool", digits=4)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It is 42.", 1),
        ("41, so 42", 1),
        (r"$\boxed{42}$", 1),
        ("42 or 43", 0),
        ("4.42", 0),
        ("-42", 0),
        ("no idea", 0),
        ("٤٢", 0),
        ("9" * 5000, 0),
    ],
)
def test_the_last_whole_number_is_the_answer(text, value):
    task = r1env.Task(id="q", prompt="?", answer="42")
    (found,) = r1env.score([r1env.Rollout(task=task, completion=text)], r1env.get_reward("r1env_code.agents:last_number"))
    assert found.value == value


def test_thousands_may_be_separated():
    task = r1env.Task(id="q", prompt="?", answer="1234567")
    (found,) = r1env.score(
        [r1env.Rollout(task=task, completion="1,234,567")], r1env.get_reward("r1env_code.agents:last_number")
    )
    assert found.value == 1


@pytest.mark.parametrize("fault", [SandboxUnavailable("no engine"), SandboxBusy("all taken"), SessionLost("gone")])
def test_a_sandbox_that_fails_leaves_the_episode_unscored(folder, monkeypatch, fault):
    def fails(*_):
        raise fault

    monkeypatch.setattr(agents.PythonTool, "_run", fails)
    monkeypatch.setattr(agents.HarborShell, "_open", fails)
    for env, tool in [
        (r1env.make_environment("python_tool"), call("python", code="1")),
        (r1env.make_environment("harbor", path=folder, check=False), call("shell", command="ls")),
    ]:
        episode, _ = play(env, env.task(0), tool)
        assert str(fault) in episode.error
        assert score(env, episode).value is None


def test_a_long_output_keeps_its_beginning_and_its_end():
    short = agents.shorten("a" * 3000 + "b" * 3000)
    assert len(short) < 4100
    assert short.startswith("a")
    assert short.endswith("b")
    assert "2000 characters left out" in short


# code_retry


@pytest.fixture
def retry(monkeypatch):
    """`code_retry` over one task; its verdicts are those of `judge`, which no container takes part in."""
    monkeypatch.setattr(agents, "judge", judge)
    env = r1env.make_environment("code_retry", shown=1)
    settings = {"attempts": 3, "discount": 0.5, "shown": 1}
    return env, TASK.model_copy(update={"metadata": {**TASK.metadata, "code_retry": settings}})


def judge(submission, tests, limits, *, stop_at_first_failure):
    if "(((" in submission.source:
        compiled = CompileResult(log="line 1: never closed")
        return JudgeResult(status=Verdict.COMPILE_ERROR, score=0.0, compile=compiled, info=INFO)
    passed = 2 if "a + b" in submission.source else int("return 7" in submission.source)
    seen = [TestResult(status=Verdict.ACCEPTED)] * passed
    if passed < 2:
        seen.append(TestResult(status=Verdict.WRONG_ANSWER, stderr_head=f"add{tests[passed].args}", note="it differs"))
    status = Verdict.ACCEPTED if passed == 2 else Verdict.WRONG_ANSWER
    return JudgeResult(status=status, score=passed / 2, tests=tuple(seen), info=INFO)


def test_a_later_attempt_is_worth_less(retry):
    env, task = retry
    for texts, value in [([GOOD], 1), ([WRONG, GOOD], 0.5), ([WRONG, HALF, GOOD], 0.25), ([WRONG, WRONG, WRONG], 0)]:
        episode, _ = play(env, task, *texts)
        assert episode.ended_by is EndedBy.ENVIRONMENT
        assert score(env, episode).value == value


def test_a_failure_is_answered_with_what_the_model_may_know(retry):
    env, task = retry
    _, said = play(env, task, WRONG, HALF)
    assert "Test 1 of 2 failed: wrong_answer" in said[0]
    assert "expected: 7" in said[0]
    assert "2 attempts are left" in said[0]
    assert said[1].startswith("Test 2 of 2 failed: wrong_answer.\n\nGive")  # nothing of a test that is not shown
    assert "50" not in said[1]
    assert "1 attempt is left" in said[1]


def test_a_message_without_a_program_and_one_that_does_not_compile_are_attempts(retry):
    env, task = retry
    episode, said = play(env, task, "I think so.", "```python\nf(((\n```", GOOD)
    assert "No program was found: there is no code block" in said[0]
    assert "never closed" in said[1]
    assert score(env, episode).value == 0.25


def test_a_program_that_cannot_be_judged_leaves_the_episode_unscored(retry, monkeypatch):
    env, task = retry
    failed = JudgeResult(status=Verdict.JUDGE_ERROR, score=None, info=INFO.model_copy(update={"note": "no engine"}))
    monkeypatch.setattr(agents, "judge", lambda *_, **__: failed)
    episode, _ = play(env, task, GOOD)
    assert "no engine" in episode.error
    assert score(env, episode).value is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attempts": 0}, "attempts=0"),
        ({"discount": 2}, "discount=2"),
        ({"tasks": "sort-4"}, "no tests"),
        ({"shown": -1}, "shown=-1"),
    ],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        r1env.make_environment("code_retry", **options).task(0)


def test_hidden_tests_are_not_in_the_feedback():
    tests = [TestCase.stdio("secret\n", "other\n")]
    seen = (TestResult(status=Verdict.RUNTIME_ERROR, stderr_head="secret", stdout_head="secret", note="secret"),)
    result = JudgeResult(status=Verdict.RUNTIME_ERROR, score=0.0, tests=seen, info=INFO)
    assert "secret" in agents.feedback_on(result, tests, shown=1)
    assert "secret" not in agents.feedback_on(result, tests, shown=0)


# harbor


@pytest.fixture
def folder(tmp_path):
    files = {
        "task.toml": '[task]\nname = "ours/sum"\n[verifier]\ntimeout_sec = 20\n[environment]\nmemory_mb = 256\n',
        "instruction.md": "Mend `total.py`, so that it prints the sum of the numbers in numbers.txt.",
        "environment/Dockerfile": "FROM python:3.11\nWORKDIR /app\nCOPY . .\n",
        "environment/total.py": "print(max(map(int, open('/app/numbers.txt'))))\n",
        "environment/numbers.txt": "1\n2\n3\n",
        "tests/test.sh": (
            '#!/bin/sh\nmkdir -p $TMPDIR\nif [ "$(python3 -I /app/total.py)" = 6 ]; then echo 1; else echo 0; fi '
            "> /logs/verifier/reward.txt\n"
        ),
        "solution/solve.sh": "sed -i s/max/sum/ /app/total.py\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_folder_becomes_tasks(folder, caplog):
    env = r1env.make_environment("harbor", path=folder, check=False)
    task = env.task(0)
    assert task.id == "harbor-ours/sum"
    assert task.prompt[0]["content"].startswith("Mend `total.py`")
    assert "sandbox's own image" in caplog.text  # said in a line


def test_folders_that_cannot_be_played_are_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="path=DIR"):
        r1env.make_environment("harbor")
    (folder / "tests" / "test.sh").unlink()
    with pytest.raises(UsageError, match=r"test\.sh: there is none"):
        r1env.make_environment("harbor", path=folder)
    with pytest.raises(UsageError, match=r"no task\.toml"):
        r1env.make_environment("harbor", path=tmp_path / "tests")


def test_a_task_does_not_choose_a_folder_of_the_host(folder):
    """A client of a server sends tasks; a path in one would let it read any folder that looks like a Harbor task."""
    env = r1env.make_environment("harbor", path=folder, check=False)
    assert str(folder) not in env.task(0).model_dump_json()
    unknown = env.task(0).model_copy(update={"id": "harbor-another", "metadata": {"harbor": str(folder)}})
    episode = env.open(unknown)
    assert "no Harbor task 'harbor-another'" in episode.error


def test_harbor_tasks_with_one_name_are_refused(folder, tmp_path_factory):
    both = tmp_path_factory.mktemp("both")
    for name in ("a", "b"):
        shutil.copytree(folder, both / name)
    with pytest.raises(UsageError, match="2 tasks are named 'ours/sum'"):
        r1env.make_environment("harbor", path=both, check=False)


class ScriptedEpisode:
    """A container that is none: it answers every command, and its tests say `result`."""

    result = HarborResult(Outcome.GRADED, 1.0, {"reward": 1.0})

    def exec(self, command, timeout_s):
        return None

    def verify(self):
        return self.result

    def close(self):
        pass


def test_tests_without_a_valid_reward_leave_the_episode_unscored(folder, monkeypatch):
    monkeypatch.setattr(agents.HarborShell, "_open", lambda *_: ScriptedEpisode())
    env = r1env.make_environment("harbor", path=folder, check=False)
    episode, said = play(env, env.task(0), call("shell", command="true"))  # the agent's time is over
    assert score(env, episode).value == 1
    monkeypatch.setattr(ScriptedEpisode, "result", HarborResult(Outcome.VERIFIER_TIMEOUT, reason="too slow"))
    episode, said = play(env, env.task(0), "Done.")
    assert said == [""]
    assert "verifier_timeout" in episode.error
    assert score(env, episode).value is None


def test_a_harbor_episode_that_a_limit_ends_is_graded_as_it_stands(folder, monkeypatch):
    monkeypatch.setattr(agents.HarborShell, "_open", lambda *_: Container())
    env = r1env.make_environment("harbor", path=folder, check=False, max_turns=2)
    episode, _ = play(env, env.task(0), *[call("shell", command="true")] * 2)
    assert episode.ended_by is EndedBy.LIMIT
    assert score(env, episode).value == 1
    monkeypatch.setattr(ScriptedEpisode, "result", HarborResult(Outcome.VERIFIER_TIMEOUT, reason="too slow"))
    episode, _ = play(env, env.task(0), *[call("shell", command="true")] * 2)
    assert "verifier_timeout" in episode.error
    assert score(env, episode).value is None


class Container(ScriptedEpisode):
    """One whose agent has time left."""

    def exec(self, command, timeout_s):
        return ExecResult(0, None, b"", b"", None, 0.0, 0.0)


def test_attempts_that_a_limit_leaves_are_worth_what_was_paid(retry):
    env, task = retry
    episode, _ = play(replace(env, max_turns=1), task, WRONG)
    assert episode.ended_by is EndedBy.LIMIT
    assert score(env, episode).value == 0


# bugfix_shell


def test_a_shell_s_task_shows_the_issue_and_no_file():
    env = r1env.make_environment("bugfix_shell")
    for index in range(env.source.size):
        task = env.task(index)
        assert task.metadata["issue"] in task.question
        assert "def " not in task.question


@pytest.fixture
def repository(monkeypatch):
    """`bugfix_shell` in a container that is none, judged by whether the repaired file is there."""
    monkeypatch.setattr(agents.RepositoryShell, "_open", lambda shell: Folder(agents._repository_of(shell._task)))

    def judge(submission, tests, limits, *, stop_at_first_failure):
        right = submission.files[target] == task.metadata["solution"]
        status = Verdict.ACCEPTED if right else Verdict.WRONG_ANSWER
        return JudgeResult(status=status, score=float(right), tests=(TestResult(status=status),), info=INFO)

    monkeypatch.setattr(agents, "judge", judge)
    env = r1env.make_environment("bugfix_shell", max_turns=3)
    task = env.task(1)
    target = task.metadata["target"]
    return env, task


class Folder:
    """Understands two commands: `solve SOLUTION`, and `rm`."""

    def __init__(self, files):
        self.files = files

    async def exec_async(self, command, timeout_s):
        verb, _, rest = command.partition(" ")
        if verb == "lose":
            raise SessionLost("gone")
        if verb == "rm":
            self.files.clear()
        if verb == "solve":
            self.files["ledger.py"] = rest
        return ExecResult(0, None, b"done\n", b"", None, 0.0, 0.0)

    def download(self, name, max_bytes):
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name].encode()

    def close(self):
        pass


def test_a_repository_is_judged_as_it_is_when_the_model_stops_or_is_stopped(repository):
    env, task = repository
    solve, look = call("shell", command=f"solve {task.metadata['solution']}"), call("shell", command="ls")
    for turns, ended_by, value in [
        (["Nothing to do."], EndedBy.ENVIRONMENT, 0),
        ([solve, "Done."], EndedBy.ENVIRONMENT, 1),
        ([look, solve, look], EndedBy.LIMIT, 1),
        ([look, look, look], EndedBy.LIMIT, 0),
        ([call("shell", command="rm"), "Done."], EndedBy.ENVIRONMENT, 0),
    ]:
        episode, said = play(env, task, *turns)
        assert episode.ended_by is ended_by
        assert score(env, episode).value == value
    assert said[0] == "done\n\n[exit code 0]"
    assert "gone" in episode.info["verdict"]


def test_a_container_that_is_lost_leaves_the_episode_unscored(repository):
    env, task = repository
    episode, _ = play(env, task, call("shell", command="lose"))
    assert "gone" in episode.error
    assert score(env, episode).value is None


@pytest.mark.docker
@pytest.mark.slow
class TestInContainers:
    @pytest.fixture(autouse=True)
    def _needs(self, engine):
        pass

    def test_an_interpreter_keeps_its_state_for_the_episode(self):
        env = r1env.make_environment("python_tool", split="test")
        task = env.task(3)
        calls = [
            call("python", code="x = 20\nprint('set')"),
            call("python", code="x + 1") + call("python", code="1 / 0"),
            call("python", code=3) + call("bash", command="ls"),
            f"The answer is {task.answer}.",
        ]
        episode, said = play(env, task, *calls)
        assert said[0] == "set\n"
        assert said[1].startswith("21\n")
        assert "ZeroDivisionError" in said[1]
        assert "error" in said[2]
        assert "no tool 'bash'" in said[2]
        assert score(env, episode).value == 1
        other, said = play(env, task, call("python", code="x"))
        assert "NameError" in said[0]  # another episode, another interpreter
        other.close()

    def test_a_shell_solves_a_harbor_task(self, folder):
        env = r1env.make_environment("harbor", path=folder)  # the solution and doing nothing are tried
        episode, said = play(env, env.task(0), call("shell", command="python3 total.py; ls; exit 3"), "Nothing to mend.")
        assert said[0] == "3\nDockerfile\nnumbers.txt\ntotal.py\n\n[exit code 3]"
        assert score(env, episode).value == 0
        episode, _ = play(env, env.task(0), call("shell", command="sed -i s/max/sum/ total.py"), "Done.")
        assert score(env, episode).value == 1

    def test_a_task_whose_solution_fails_is_refused(self, folder):
        (folder / "solution" / "solve.sh").write_text("exit 4\n")
        with pytest.raises(UsageError, match=r"its solution scores 0, not 1; solve\.sh ended with 4"):
            r1env.make_environment("harbor", path=folder)

    def test_repositories_are_repaired_in_a_shell(self):
        found = audit_environment(r1env.make_environment("bugfix_shell"))
        assert found.clean
        assert found.solved == 2

    def test_a_repair_is_tried_twice(self):
        env = r1env.make_environment("code_retry", tasks="bugfix")
        task = env.task(0)
        source = task.prompt[-1]["content"]
        program = source.split(f"`{task.metadata['target']}`:\n", 1)[1].split("```", 2)[1].removeprefix("python\n")
        episode, said = play(env, task, f"```python\n{program}\n```", "```python\nx = 1\n```", "No idea.")
        assert "failed" in said[0]
        assert score(env, episode).value == 0
