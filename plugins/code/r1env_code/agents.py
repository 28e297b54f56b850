"""Environments of several turns in the sandbox: `python_tool`, `code_retry`, `harbor` and `bugfix_shell`.

`python_tool` gives the model a Python interpreter that lasts for the episode, `code_retry` the verdict on its program and another attempt,
`harbor` a shell in the container of a Harbor task, and `bugfix_shell` a shell in a repository with a bug. The commands that the model runs
are not scored. The score depends on the final answer (`python_tool`), on the program and the hidden tests (`code_retry`), on the state of
the container and the task's tests (`harbor`), or on the repository and the hidden tests (`bugfix_shell`). If a limit ends an episode, its
current state is scored; with `code_retry`, the score is then the sum of the rewards of the turns, and with `python_tool` that of the last
message.

If an environment cannot work (no engine, a lost container, tests that give no reward), it raises, and the episode has no score but a reason.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import logging
import math
import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import r1env
from r1env import Message, Task, TaskKind, TaskSource, UsageError
from r1env.data.sources import GeneratedSource, ListSource, Split
from r1env.envs.conversation import StepResult, ToolEnv
from r1env.scoring.limits import PerProcess
from r1env_code.blocks import Choice, choose_program
from r1env_code.bugfix import bugfix
from r1env_code.reward import describe, missing_typing_names, needed_names, read_task, submission_of
from r1env_sandbox import (
    CallResult,
    ExecResult,
    Interpreter,
    JudgeResult,
    Limits,
    Sandbox,
    SandboxBusy,
    SandboxUnavailable,
    Session,
    SessionLost,
    TestCase,
    TestResult,
    Verdict,
    judge,
)
from r1env_sandbox.harbor import HarborEpisode, HarborResult, HarborTask, HarborTaskError, check_task, load_task

log = logging.getLogger(__name__)

MAX_SESSIONS = 64  # containers at once, of 15 MB each while nothing runs; a larger batch waits for one
OPEN_SECONDS = 240.0  # for one of them, less than an environment may take for its first answer
SHOWN_CHARACTERS = 4000  # of an output: its beginning and its end

SANDBOX_FAULTS = (SandboxUnavailable, SandboxBusy, SessionLost)

_sessions = PerProcess(lambda: Sandbox(1, sessions=MAX_SESSIONS))


def shorten(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Return the text, shortened if necessary to its beginning and end and a line that says how much was omitted."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}\n… {len(text) - 2 * (limit // 2)} characters left out …\n{text[-(limit // 2) :]}"


# python_tool


def python_tasks(tasks: str | None = None, split: Split | None = None, **options: Any) -> TaskSource:
    """Return questions to answer with a Python interpreter.

    Args:
        tasks: the environment that provides the tasks and the checker, such as `gsm8k` or `data`. None for questions about whole numbers
            that are tedious by hand and short in Python.
        options: options of that environment.

    Raises:
        UsageError: there is no such environment, it rejects the options, or it has several turns itself.
    """
    if tasks is not None:
        return _TasksOf(tasks, split, options, _with_python, checked=True)
    if options:
        raise UsageError(f"python_tool: {', '.join(options)} is for the environment that `tasks` names")
    return _NumberQuestions(_question, split or "train")


class PythonTool(ToolEnv):
    """An environment with the tool `python`: an interpreter that keeps its state between calls, in a separate container for each episode.

    A call may take 10 seconds of wall time and 512 MB. A call that exceeds them is answered with an error, and the episode continues. The
    episode is over when the model answers without a call.
    """

    def __init__(self) -> None:
        super().__init__([self.python])
        self._session: Session | None = None
        self._interpreter: Interpreter | None = None
        self._fault: Exception | None = None

    async def step(self, message: Message) -> StepResult:
        result = await super().step(message)
        if self._fault is not None:  # no fault of the model's: it would be paid for what it could not do
            raise RuntimeError(str(self._fault)) from self._fault
        return result

    async def python(self, code: str) -> str:
        """Run Python code and return what it prints, with the value of its last line. Variables, functions and imports are kept for the next call."""
        try:
            result = await asyncio.to_thread(self._run, code)
        except SANDBOX_FAULTS as error:
            self._fault = error
            raise
        return shorten(result.output) or ("(the code failed)" if result.failed else "(no output)")

    async def close(self) -> None:
        if self._session is not None:
            await asyncio.to_thread(self._session.close)

    def _run(self, code: str) -> CallResult:
        if self._interpreter is None:  # no container for a model that calls no tool
            self._session = _sessions.get().open_session(Limits(memory_mb=512), queue_timeout_s=OPEN_SECONDS)
            self._interpreter = self._session.interpreter()
        return self._interpreter.run(code)


PYTHON_HINT = "Use the tool `python` for the calculation. When you know the answer, write it without calling the tool"


@r1env.reward(name="last-number")
def last_number(rollout: r1env.Rollout) -> r1env.Score:
    """Return 1 if the last whole number of the final message is the answer, else 0."""
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", rollout.completion, flags=re.ASCII)  # separators of thousands
    numbers = re.findall(r"(?<![\d.])-?\d{1,400}(?!\d|\.\d)", text, re.ASCII)
    if not numbers:
        return r1env.Score(value=0.0, status=r1env.Status.NO_ANSWER, reason="there is no whole number")
    right = int(numbers[-1]) == int(str(rollout.task.answer))
    status = r1env.Status.OK if right else r1env.Status.WRONG
    return r1env.Score(value=float(right), status=status, reason=f"the answer {numbers[-1][:60]}")


class _NumberQuestions(GeneratedSource):
    """Questions of this module's own, with what checks them."""

    reward = "r1env_code.agents:last_number"

    def split(self, name: str) -> GeneratedSource:
        return _NumberQuestions(self._generate, name)  # type: ignore[arg-type]


def _question(rng: np.random.Generator) -> Task:
    families: Sequence[Callable[[int, int], tuple[str, int]]] = (_primes, _digit_sum, _remainder, _divisors)
    number = int(rng.integers(len(families)))
    a, b = int(rng.integers(20, 2000)), int(rng.integers(11, 200))
    question, answer = families[number](a, b)
    prompt = f"{question} {PYTHON_HINT}, as a whole number."
    return Task(id=f"python-{number}-{a}-{b}", prompt=prompt, answer=str(answer), kind=TaskKind.MATH)


def _primes(a: int, b: int) -> tuple[str, int]:
    count = sum(all(number % divisor for divisor in range(2, math.isqrt(number) + 1)) for number in range(a, a + b))
    return f"How many prime numbers are at least {a} and less than {a + b}?", count


def _digit_sum(a: int, b: int) -> tuple[str, int]:
    return f"What is the sum of the decimal digits of {a} to the power of {b}?", sum(map(int, str(a**b)))


def _remainder(a: int, b: int) -> tuple[str, int]:
    modulus = 1000 * b + 7
    return f"What is the remainder of {a} to the power of {a + b} when divided by {modulus}?", pow(a, a + b, modulus)


def _divisors(a: int, b: int) -> tuple[str, int]:
    product = a * b
    small = [number for number in range(1, math.isqrt(product) + 1) if product % number == 0]
    answer = sum({*small, *(product // number for number in small)})
    return f"What is the sum of all positive divisors of {product}?", answer


def _with_python(task: Task) -> Task:
    *before, last = task.prompt
    return task.model_copy(update={"prompt": (*before, {**last, "content": f"{last['content']}\n\n{PYTHON_HINT}."})})


# code_retry


def retry_tasks(
    tasks: str = "bugfix", attempts: int = 3, discount: float = 0.8, shown: int = 1, split: Split | None = None, **options: Any
) -> TaskSource:
    """Return programming tasks with several attempts.

    Args:
        tasks: the environment that provides the tasks: `bugfix`, or one of r1env-benchmarks, such as `code-jsonl`.
        attempts: maximum number of programs that the model may submit, up to 10.
        discount: factor by which the reward of each attempt is lower than that of the attempt before.
        shown: number of tests, counted from the first, that the model sees if it fails them. Of the other tests it learns only the verdict.
        options: options of that environment.

    Raises:
        UsageError: there is no such environment, it rejects the options, or an argument is out of range.
    """
    if not 1 <= attempts <= MAX_ATTEMPTS or not 0 < discount <= 1 or shown < 0:
        raise UsageError(
            f"code_retry: attempts={attempts}, discount={discount}, shown={shown}; they are 1 to {MAX_ATTEMPTS}, above 0 to 1, 0 or more"
        )
    settings = {"attempts": attempts, "discount": discount, "shown": shown}

    def prepare(task: Task) -> Task:
        if not task.tests:
            raise UsageError(f"code_retry: task {task.id} of {tasks!r} has no tests")
        return task.model_copy(update={"metadata": {**task.metadata, "code_retry": settings}})

    return _TasksOf(tasks, split, options, prepare)


MAX_ATTEMPTS = 10


class CodeRetry:
    """An environment that judges the program in each message, and answers a failure with the compiler's log or the verdict.

    A program that passes every test earns 1 at the first attempt, and at each later attempt `discount` times the reward of the one before. If
    no program passes, the reward is 0.
    """

    tools = ()

    def reset(self, task: Task) -> Sequence[Message]:
        self._task, self._settings = task, task.metadata["code_retry"]
        self._attempt = 0
        return task.prompt

    async def step(self, message: Message) -> StepResult:
        self._attempt += 1
        accepted, feedback = await asyncio.to_thread(self._judge, r1env.parse_response(message["content"]).response)
        left = self._settings["attempts"] - self._attempt
        if accepted:
            reward = self._settings["discount"] ** (self._attempt - 1)
            return StepResult(reward=reward, done=True, info={"attempts": self._attempt})
        if not left:
            return StepResult(reward=0.0, done=True, info={"attempts": self._attempt, "failed": feedback.partition("\n")[0]})
        attempts = "1 attempt is" if left == 1 else f"{left} attempts are"
        text = f"{feedback}\n\nGive the whole program again, corrected. {attempts} left."
        return StepResult([{"role": "user", "content": text}], reward=0.0)

    async def close(self) -> None:
        pass

    def _judge(self, response: str) -> tuple[bool, str]:
        """Return whether the program passes, and what the model is told.

        Raises:
            RuntimeError: it could not be judged, or the task's tests cannot be read.
        """
        code = read_task(self._task)
        choice = choose_program(response, code.language, needed_names(code.tests))
        if choice.fault:
            return False, f"No program was found: {choice.fault}."
        submission = submission_of(choice, code, missing_typing_names(choice))
        result = judge(submission, code.tests, code.limits, stop_at_first_failure=True)
        if result.score is None:
            raise RuntimeError(f"the program could not be judged: {describe(result, len(code.tests))}")
        return result.status is Verdict.ACCEPTED, feedback_on(result, code.tests, self._settings["shown"])


def feedback_on(result: JudgeResult, tests: Sequence[TestCase], shown: int) -> str:
    """Return what a model may know of a verdict. Of a test that is not shown it is the verdict alone: a program that prints its input on
    stderr would else read the tests out, one an attempt."""
    if result.status is Verdict.COMPILE_ERROR:
        return f"The program does not compile:\n{shorten(result.compile.log)}"
    number = next((index for index, test in enumerate(result.tests) if test.status is not Verdict.ACCEPTED), None)
    if number is None:
        return f"The verdict is {result.status.value}."
    said = f"Test {number + 1} of {len(tests)} failed: {result.tests[number].status.value}."
    return f"{said}\n{_shown_test(tests[number], result.tests[number])}" if number < shown else said


def _shown_test(test: TestCase, result: TestResult) -> str:
    parts = {
        "input": test.stdin,
        "arguments": repr(test.args) if test.function is not None else "",
        "expected": "" if test.expected is None else str(test.expected),
        "why": result.note,
        "output": result.stdout_head,
        "errors": result.stderr_head,
    }
    return "\n".join(f"{name}: {shorten(str(text).strip(), 1000)}" for name, text in parts.items() if str(text).strip())


# harbor


def harbor_tasks(path: str | Path | None = None, check: bool = True) -> TaskSource:
    """Return the tasks of a folder in Harbor's layout: a task's own folder, or one that holds several.

    Args:
        check: play each task's solution, which must score 1, and play each without doing anything, which must not.

    Raises:
        UsageError: there are no tasks, one cannot be played in a session container, or one fails its check.
        SandboxUnavailable: they are to be checked, and there is no sandbox.
    """
    if path is None:
        raise UsageError("harbor: name the folder: path=DIR")
    root = Path(path)
    folders = [root] if (root / "task.toml").exists() else sorted(found.parent for found in root.glob("*/task.toml"))
    if not folders:
        raise UsageError(f"harbor: {root} has no task.toml, nor has a folder in it")
    try:
        loaded = [load_task(folder) for folder in folders]
    except HarborTaskError as error:
        raise UsageError(f"harbor: {error}") from error
    for task in loaded:
        log.warning("harbor: %s: %s", task.name, "; ".join(task.notes))
    if check:
        _check(loaded)
    return HarborTasks(loaded)


class HarborTasks(ListSource):
    """Harbor tasks. The folders stay here: a client of a server sends tasks, and must not choose a folder of the host.

    Raises:
        UsageError: two tasks have the same name.
    """

    def __init__(self, tasks: Sequence[HarborTask]) -> None:
        folders = {f"harbor-{task.name}": task.folder.resolve() for task in tasks}
        if len(folders) < len(tasks):
            name, count = Counter(task.name for task in tasks).most_common(1)[0]
            raise UsageError(f"harbor: {count} tasks are named {name!r}; give each a name of its own in task.toml")
        super().__init__(
            [Task(id=f"harbor-{task.name}", prompt=f"{task.instruction}\n\n{SHELL_HINT}", kind=TaskKind.CODE) for task in tasks]
        )
        self.other = functools.partial(HarborShell, folders)


SHELL_HINT = (
    "Use the tool `shell`, which runs commands in the folder /app. When everything is done, say so without calling a tool."
)

_checked: set[str] = set()  # digests of tasks that have passed in this process


def _check(tasks: Sequence[HarborTask]) -> None:
    """
    Raises:
        UsageError: a task fails its own check.
    """
    faults = []
    for task in tasks:
        digest = hashlib.sha256(repr((task.files, task.tests, task.solution, task.environment)).encode()).hexdigest()
        if digest in _checked:
            continue
        try:
            found = check_task(task, _sessions.get()).faults
        except HarborTaskError as error:
            found = (str(error),)
        faults += [f"{task.name}: {fault}" for fault in found]
        if not found:
            _checked.add(digest)
    if faults:
        raise UsageError(f"harbor: {'; '.join(faults)}. Correct the tasks, or give check=false to play them as they are")


class HarborShell(ToolEnv):
    """Gives the model the tool `shell` in the container of a Harbor task, and pays what the task's tests say once it calls no tool any
    more, has used up its time, or is stopped by a limit. Tests that give no valid reward leave the episode unscored.

    Args:
        folders: of the tasks, by their ids.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        super().__init__([self.shell])
        self._folders = folders
        self._episode: HarborEpisode | None = None
        self._over = False

    def reset(self, task: Task) -> Sequence[Message]:
        if task.id not in self._folders:
            raise ValueError(f"there is no Harbor task {task.id!r} in this environment")
        self._task = task
        return super().reset(task)

    async def shell(self, command: str, timeout_s: float = 60.0) -> str:
        """Run a command in bash and return its output and exit code. Files stay from one command to the next; processes end with it."""
        episode = await self._container()
        done = await asyncio.to_thread(episode.exec, command, timeout_s=_within(timeout_s))
        if done is None:
            self._over = True
            return "error: the episode is over"
        return output_of(done)

    async def step(self, message: Message) -> StepResult:
        await self._container()  # here, as what a tool raises is told to the model
        result = await super().step(message)
        if not (result.done or self._over):
            return result
        graded = await self._graded()
        info = {**result.info, "outcome": graded.outcome.value, "rewards": dict(graded.rewards), "tests": graded.output[-500:]}
        return StepResult(result.messages, reward=graded.reward, done=True, info=info)

    async def truncated(self) -> float | None:
        return (await self._graded()).reward

    async def close(self) -> None:
        if self._episode is not None:
            await asyncio.to_thread(self._episode.close)

    async def _graded(self) -> HarborResult:
        """
        Raises:
            RuntimeError: the tests give no valid reward.
        """
        graded = await asyncio.to_thread((await self._container()).verify)
        if graded.reward is None:
            raise RuntimeError(f"no valid reward ({graded.outcome.value}): {graded.reason}")
        return graded

    async def _container(self) -> HarborEpisode:
        """Return the episode's container, opened when it is first needed."""
        if self._episode is None:
            try:
                self._episode = await asyncio.to_thread(self._open, self._task)
            except SandboxBusy as error:  # a time-out, which would be taken for this environment's own
                raise RuntimeError(str(error)) from error
        return self._episode

    def _open(self, task: Task) -> HarborEpisode:
        return HarborEpisode(load_task(self._folders[task.id]), _sessions.get(), queue_timeout_s=OPEN_SECONDS)


def _within(timeout_s: float) -> float:
    """Return the seconds that a model asks for its command, within bounds."""
    return min(max(timeout_s, 0.1), 300.0)


def output_of(done: ExecResult) -> str:
    """Return what a model is shown of a command: the output, shortened, and how it ended."""
    ended = f"stopped by the limit on {done.stopped}" if done.stopped else f"exit code {done.exit_code}"
    if done.exit_code is None and not done.stopped:
        ended = f"ended by signal {done.signal}"
    return f"{shorten(done.text)}\n[{ended}]".lstrip("\n")


# bugfix_shell


def shell_tasks(data: str | Path | None = None) -> TaskSource:
    """Return the repair tasks of `bugfix`, to be solved with a shell: the model is shown the issue, and finds the files itself.

    Args:
        data: a folder as for `bugfix`; None for the tasks that come with this package.

    Raises:
        UsageError: as `bugfix`.
    """
    source = bugfix(data)
    assert source.size is not None
    return ListSource([_with_shell(source.task(index)) for index in range(source.size)])


def _with_shell(task: Task) -> Task:
    prompt = f"{task.metadata['issue']}\n\n{REPOSITORY_HINT}"
    metadata = dict(task.metadata)
    if "solution" in metadata:
        write = f"cat > {shlex.quote(metadata['target'])} <<'END_OF_FILE'\n{metadata['solution'].rstrip()}\nEND_OF_FILE"
        call = json.dumps({"name": "shell", "arguments": {"command": write}})
        metadata["fixture"] = {"right": [f"<tool_call>{call}</tool_call>", "Done."]}
    return task.model_copy(
        update={
            "id": task.id.replace("bugfix-", "bugfix_shell-", 1),
            "prompt": ({"role": "user", "content": prompt},),
            "metadata": metadata,
        }
    )


REPOSITORY_HINT = "The repository is in the current folder. Repair it with the tool `shell`. Hidden tests decide. When everything is done, say so without calling a tool."
MAX_REPOSITORY_FILE = 1 << 20  # bytes of a file that the tests are given


class RepositoryShell(ToolEnv):
    """Gives the model the tool `shell` in a container with the repository of a repair task. The episode is over when the model calls no tool, or is stopped by a limit;
    the reward is 1 where the repository then passes the hidden tests.

    The tests run in another container, with the files that the repository had in the beginning as they are now: new files do not count, and nothing that the model
    leaves running or writes elsewhere is there.
    """

    def __init__(self) -> None:
        super().__init__([self.shell])
        self._session: Session | None = None
        self._fault: Exception | None = None

    def reset(self, task: Task) -> Sequence[Message]:
        self._task = task
        return super().reset(task)

    async def shell(self, command: str, timeout_s: float = 60.0) -> str:
        """Run a command in bash and return its output and exit code. Files stay from one command to the next; processes end with it."""
        session = await self._opened()
        try:
            return output_of(await session.exec_async(command, timeout_s=_within(timeout_s)))
        except SANDBOX_FAULTS as error:
            self._fault = error
            raise

    async def step(self, message: Message) -> StepResult:
        await self._opened()  # here, as what a tool raises is told to the model
        result = await super().step(message)
        if self._fault is not None:  # no fault of the model's: it would be paid for what it could not do
            raise RuntimeError(str(self._fault)) from self._fault
        if not result.done:
            return result
        reward, verdict = await self._judged()
        return StepResult(reward=reward, done=True, info={**result.info, "verdict": verdict})

    async def truncated(self) -> float:
        return (await self._judged())[0]

    async def close(self) -> None:
        if self._session is not None:
            await asyncio.to_thread(self._session.close)

    async def _judged(self) -> tuple[float, str]:
        """Return the reward of the repository as it is, and why.

        Raises:
            RuntimeError: it could not be judged.
        """
        session = await self._opened()
        return await asyncio.to_thread(self._judge, session)

    def _judge(self, session: Session) -> tuple[float, str]:
        code = read_task(self._task)
        files = {}
        for name in _repository_of(self._task):
            try:
                files[name] = session.download(name, max_bytes=MAX_REPOSITORY_FILE).decode()
            except (OSError, UnicodeDecodeError) as error:
                return 0.0, f"{name} is gone, or no longer a text: {error}"
        source = files.pop(code.target or "")
        submission = submission_of(Choice("python", source), replace(code, files=files))
        result = judge(submission, code.tests, code.limits, stop_at_first_failure=True)
        if result.score is None:
            raise RuntimeError(f"the repository could not be judged: {describe(result, len(code.tests))}")
        return float(result.status is Verdict.ACCEPTED), describe(result, len(code.tests))

    async def _opened(self) -> Session:
        """Return the episode's container with the repository, opened when it is first needed."""
        if self._session is None:
            try:
                self._session = await asyncio.to_thread(self._open)
            except SandboxBusy as error:  # a time-out, which would be taken for this environment's own
                raise RuntimeError(str(error)) from error
        return self._session

    def _open(self) -> Session:
        session = _sessions.get().open_session(Limits(memory_mb=512), queue_timeout_s=OPEN_SECONDS)
        for name, text in _repository_of(self._task).items():
            session.upload(name, text)
        return session


def _repository_of(task: Task) -> dict[str, str]:
    return {**task.metadata["files"], task.metadata["target"]: task.metadata["source"]}


# Tasks of another environment.


class _TasksOf:
    """The tasks of another environment, each changed a little.

    Attributes:
        reward: the name of what checks them there.
    """

    def __init__(
        self,
        name: str,
        split: Split | None,
        options: Mapping[str, Any],
        change: Callable[[Task], Task],
        *,
        checked: bool = False,
    ) -> None:
        environment = r1env.make_environment(name, split=split, **options)
        if environment.other is not None:
            raise UsageError(f"{name!r} has turns of its own")
        if checked and not environment.accuracy:
            raise UsageError(f"nothing checks the answers of {name!r}")
        self.reward = environment.accuracy
        self._source, self._change = environment.source, change

    @property
    def size(self) -> int | None:
        return self._source.size

    def task(self, index: int, seed: int = 0) -> Task:
        return self._change(self._source.task(index, seed))
