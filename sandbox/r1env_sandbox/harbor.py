"""Harbor's task folders (`task.toml`, `instruction.md`, `environment/`, `tests/`, `solution/`) on session containers.

`load_task` reads a folder, `HarborEpisode` plays it: the environment's files are laid out, an agent runs commands, the tests run and their
reward is read. `check_task` is the task's own audit: its solution must score 1, and doing nothing must not.

The task's image is not built: a container is one of the sandbox's own image, and only `ENV`, `WORKDIR` and `COPY` of the task's `Dockerfile`
are followed. There is no network, whatever the task asks for. Both is in `HarborTask.notes`, and a task that cannot do without shows in
`check_task`. The agent's folder is also `/app`, `/workspace` and `/testbed`; `/tests`, `/solution`, `/logs/verifier`, `/logs/agent` and
`/logs/artifacts` are where Harbor has them.

Tests and rewards are the verifier's own, whom the agent's commands cannot reach, before or during the tests. Whether the tests execute what
the agent wrote is up to the task; one that does trusts it with the reward, as in Harbor.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from r1env_sandbox.errors import SessionLost
from r1env_sandbox.models import Limits
from r1env_sandbox.sandbox import QUEUE_SECONDS, Sandbox
from r1env_sandbox.session import MAX_FILE_MB, MAX_SECONDS, VERIFIER_FOLDER, ExecResult, Session, User

Result = TypeVar("Result")

AGENT_FOLDERS = ("/app", "/workspace", "/testbed", "/judge/box")
MAX_FILES = 1000  # of each folder of a task
MAX_REWARD_BYTES = 64 << 10
MEMORY_MB = 1024  # of a command, where the task does not say; Harbor would set no limit
VERIFIER_SECONDS = 600.0  # Harbor's own default
DISK_MB = 256


class HarborTaskError(ValueError):
    """A folder is no task that can be played here. The message names the file and what is wrong with it."""


class Outcome(StrEnum):
    """How an episode ended, and with it whether its reward may be used: Harbor's own table."""

    GRADED = "graded"
    """The tests gave a reward."""
    AGENT_TIMEOUT = "agent_timeout"
    """The agent used up its time. The tests gave a reward for what was there, which is valid."""
    AGENT_ERROR = "agent_error"
    """The agent ended with an error, or its context or output was full. The reward is valid."""
    VERIFIER_TIMEOUT = "verifier_timeout"
    """The tests did not end in time: no valid reward."""
    REWARD_MISSING = "reward_missing"
    """The tests wrote no reward file: no valid reward."""
    REWARD_UNREADABLE = "reward_unreadable"
    """The reward file is empty, no number, not finite, or several numbers of which none is called `reward`: no valid reward."""
    STAGING_FAILED = "staging_failed"
    """The files of the task could not be laid out: no reward; worth another try."""
    ENVIRONMENT_LOST = "environment_lost"
    """The container is gone: no reward; worth another try."""

    @property
    def valid(self) -> bool:
        """Whether the reward is one of the agent's doing."""
        return self in (Outcome.GRADED, Outcome.AGENT_TIMEOUT, Outcome.AGENT_ERROR)

    @property
    def retry(self) -> bool:
        """Whether the same episode may well succeed when it is played again."""
        return self in (Outcome.STAGING_FAILED, Outcome.ENVIRONMENT_LOST)


@dataclass(frozen=True, slots=True)
class HarborResult:
    """What the tests said.

    Attributes:
        reward: None unless the outcome is valid.
        rewards: every number of the reward file, by name.
        reason: one line on what went wrong; empty where nothing did.
        output: the end of what the tests printed.
    """

    outcome: Outcome
    reward: float | None = None
    rewards: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True)
class HarborTask:
    """A task folder, read.

    Attributes:
        files: of the environment, by the path in the agent's folder, each with whether it may be executed.
        tests, solution: files of these folders, by their path in them.
        environment: variables of all commands; `verifier_environment` and `solution_environment` besides.
        agent_seconds: wall seconds of all the agent's commands together; None for no limit of the task's own.
        notes: what of the task is not followed here, one line each.
    """

    name: str
    instruction: str
    folder: Path
    files: Mapping[str, tuple[bytes, bool]]
    tests: Mapping[str, tuple[bytes, bool]]
    solution: Mapping[str, tuple[bytes, bool]]
    environment: Mapping[str, str]
    verifier_environment: Mapping[str, str]
    solution_environment: Mapping[str, str]
    agent_seconds: float | None
    verifier_seconds: float
    memory_mb: int
    disk_mb: int
    notes: tuple[str, ...]


def load_task(folder: str | Path) -> HarborTask:
    """Read a task folder.

    Raises:
        HarborTaskError: it lacks something, cannot be read, or needs what no session has: steps, several containers, a GPU, a health
            check, MCP servers, an environment of the verifier's own, or a variable of this machine.

    Example:
        >>> load_task("tasks/hello-world").instruction  # doctest: +SKIP
        'Create a file called hello.txt …'
    """
    root = Path(folder)
    settings = _settings(root / "task.toml")
    _refuse_what_is_not_here(root, settings)
    environment, verifier = settings.table("environment"), settings.table("verifier")
    dockerfile = _Dockerfile(root / "environment")
    tests = _files_of(root / "tests")
    if "test.sh" not in tests:
        raise HarborTaskError(f"{root / 'tests' / 'test.sh'}: there is none")
    instruction = _text(root / "instruction.md").strip()
    if not instruction:
        raise HarborTaskError(f"{root / 'instruction.md'}: it is empty")
    name = settings.table("task").value("name", str, root.resolve().name)
    notes = ["the task's image is not built: its commands run in the sandbox's own image, without a network", *dockerfile.notes]
    return HarborTask(
        name=name,
        instruction=instruction,
        folder=root,
        files=dockerfile.files,
        tests=tests,
        solution=_files_of(root / "solution"),
        environment={**dockerfile.environment, **environment.variables()},
        verifier_environment=verifier.variables(),
        solution_environment=settings.table("solution").variables(),
        agent_seconds=settings.table("agent").seconds(None),
        verifier_seconds=verifier.seconds(VERIFIER_SECONDS) or VERIFIER_SECONDS,
        memory_mb=int(environment.value("memory_mb", (int, float), MEMORY_MB)),
        disk_mb=int(environment.value("storage_mb", (int, float), DISK_MB)),
        notes=tuple(notes),
    )


class HarborEpisode:
    """One episode of a task, in a session of its own. A context manager.

    Args:
        sandbox: in which the session is opened.
        max_seconds, queue_timeout_s: as for `Sandbox.open_session`.

    Raises:
        SandboxUnavailable, SandboxBusy: no container can be had.

    Example:
        >>> with HarborEpisode(load_task("tasks/hello-world"), sandbox) as episode:  # doctest: +SKIP
        ...     episode.exec("echo 'Hello, world!' > hello.txt")
        ...     episode.verify().reward
        1.0
    """

    def __init__(
        self, task: HarborTask, sandbox: Sandbox, *, max_seconds: float = MAX_SECONDS, queue_timeout_s: float = QUEUE_SECONDS
    ) -> None:
        self.task = task
        self.agent_seconds = 0.0
        self._fault: tuple[Outcome, str] | None = None
        limits = Limits(memory_mb=task.memory_mb, output_kb=1024, file_mb=MAX_FILE_MB, processes=128)
        self._session: Session = sandbox.open_session(
            limits, disk_mb=task.disk_mb, max_seconds=max_seconds, queue_timeout_s=queue_timeout_s
        )
        self._staged(self._lay_out)

    def exec(self, command: str, *, timeout_s: float = 60.0) -> ExecResult | None:
        """Run a command of the agent's in its folder. Return None when the episode cannot go on: `verify` says why.

        The agent's time, `HarborTask.agent_seconds`, is that of its commands; what it has left bounds the last one.

        Raises:
            ValueError: no command can be so.
        """
        left = math.inf if self.task.agent_seconds is None else self.task.agent_seconds - self.agent_seconds
        if left <= 0 and self._fault is None:
            self._fault = Outcome.AGENT_TIMEOUT, f"the agent has used its {self.task.agent_seconds:g} s"
        if self._fault is not None:
            return None
        try:
            done = self._session.exec(command, env=self.task.environment, timeout_s=min(timeout_s, left))
        except SessionLost as error:
            self._fault = Outcome.ENVIRONMENT_LOST, str(error)
            return None
        self.agent_seconds += done.wall_ms / 1000
        return done

    def solve(self) -> ExecResult | None:
        """Run the task's own solution, `solution/solve.sh`, as the agent.

        Raises:
            HarborTaskError: there is none.
        """
        if "solve.sh" not in self.task.solution:
            raise HarborTaskError(f"{self.task.folder / 'solution' / 'solve.sh'}: there is none")

        def solve() -> ExecResult:
            self._upload("/tmp/solution", self.task.solution, "agent")
            variables = {**self.task.environment, **self.task.solution_environment}
            return self._session.exec(
                "bash /solution/solve.sh; status=$?; rm -r /tmp/solution; exit $status",
                env=variables,
                timeout_s=VERIFIER_SECONDS,
            )

        return self._staged(solve)

    def verify(self, agent_error: str = "") -> HarborResult:
        """Run the tests on what the agent has left, and read the reward. Ends the episode.

        Args:
            agent_error: why the agent ended, where that was an error; it does not change the reward.
        """
        outcome, reason = self._fault or ((Outcome.AGENT_ERROR, agent_error) if agent_error else (Outcome.GRADED, ""))
        if not outcome.valid:
            return HarborResult(outcome, reason=reason)
        try:
            result = self._run_tests()
        except SessionLost as error:
            return HarborResult(Outcome.ENVIRONMENT_LOST, reason=str(error))
        except (OSError, ValueError) as error:
            return HarborResult(Outcome.STAGING_FAILED, reason=str(error))
        if result.outcome is not Outcome.GRADED:
            return result
        return HarborResult(outcome, result.reward, result.rewards, reason, result.output)

    def close(self) -> None:
        """Remove the container. Closing twice is fine."""
        self._session.close()

    def __enter__(self) -> HarborEpisode:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lay_out(self) -> None:
        self._upload("", self.task.files, "agent")
        self._session.exec("mkdir -p /tmp/agent /tmp/artifacts")

    def _run_tests(self) -> HarborResult:
        self._upload("tests", self.task.tests, "verifier")
        variables = {
            **self.task.environment,
            "HOME": VERIFIER_FOLDER,
            "TMPDIR": f"{VERIFIER_FOLDER}/tmp",
            **self.task.verifier_environment,
        }
        done = self._session.exec(
            f"mkdir -p {VERIFIER_FOLDER}/logs {VERIFIER_FOLDER}/tmp && chmod +x /tests/test.sh && "
            "/tests/test.sh > /logs/verifier/test-stdout.txt 2>&1",
            user="verifier",
            env=variables,
            timeout_s=self.task.verifier_seconds,
        )
        output = self._read("test-stdout.txt", 1 << 20) or b""
        said = output.decode("utf-8", "replace")[-4000:]
        if done.stopped == "time":
            why = f"the tests did not end within {self.task.verifier_seconds:g} s"
            return HarborResult(Outcome.VERIFIER_TIMEOUT, reason=why, output=said)
        for name in ("reward.json", "reward.txt"):  # the first that is there counts
            if (text := self._read(name, MAX_REWARD_BYTES)) is None:
                continue
            try:
                rewards = read_rewards(name, text)
            except ValueError as error:
                return HarborResult(Outcome.REWARD_UNREADABLE, reason=f"/logs/verifier/{name}: {error}", output=said)
            return HarborResult(Outcome.GRADED, rewards["reward"], rewards, output=said)
        last = said.strip().rpartition("\n")[2][:200]
        why = f"the tests wrote no reward file{f'; they ended with: {last}' if last else ''}"
        return HarborResult(Outcome.REWARD_MISSING, reason=why, output=said)

    def _read(self, name: str, max_bytes: int) -> bytes | None:
        """Return a file that the tests wrote; None when there is none.

        Raises:
            OSError: it is there and cannot be read.
        """
        if not self._session.exec(["test", "-e", f"/logs/verifier/{name}"], user="verifier").ok:
            return None
        return self._session.download(f"logs/{name}", user="verifier", max_bytes=max_bytes)

    def _upload(self, folder: str, files: Mapping[str, tuple[bytes, bool]], user: User) -> None:
        """
        Raises:
            OSError: there is no room.
        """
        for name, (data, _) in files.items():
            self._session.upload(posixpath.join(folder, name), data, user=user)
        root = folder if user == "agent" else posixpath.join(VERIFIER_FOLDER, folder)
        if programs := [posixpath.join(root, name) for name, (_, executable) in files.items() if executable]:
            self._session.exec(["chmod", "+x", "--", *programs], user=user)

    def _staged(self, work: Callable[[], Result]) -> Result | None:
        """Return what the work returns; None when it fails, which `verify` tells."""
        try:
            return work()
        except SessionLost as error:
            self._fault = Outcome.ENVIRONMENT_LOST, str(error)
        except (OSError, ValueError) as error:
            self._fault = Outcome.STAGING_FAILED, str(error)
        return None


@dataclass(frozen=True, slots=True)
class HarborCheck:
    """What a task's own audit found: the results of its solution and of doing nothing.

    Attributes:
        faults: one line each; a task without any can be trusted with an agent.
    """

    solution: HarborResult
    nothing: HarborResult
    faults: tuple[str, ...]


def check_task(task: HarborTask, sandbox: Sandbox) -> HarborCheck:
    """Play a task twice: with its own solution, which must score 1, and without doing anything, which must score less.

    Raises:
        HarborTaskError: it has no solution.
        SandboxUnavailable, SandboxBusy: no container can be had.
    """
    with HarborEpisode(task, sandbox) as episode:
        solved = episode.solve()
        solution = episode.verify()
    with HarborEpisode(task, sandbox) as episode:
        nothing = episode.verify()
    faults = []
    if solution.reward != 1:
        ended = "" if solved is None or solved.ok else f"; solve.sh ended with {solved.exit_code}: {solved.text.strip()[-200:]}"
        faults.append(f"its solution {_scored(solution)}, not 1{ended}")
    if nothing.reward is None:
        faults.append(f"doing nothing {_scored(nothing)}")
    elif nothing.reward >= 1:
        faults.append(f"doing nothing {_scored(nothing)}, as much as the solution should")
    return HarborCheck(solution, nothing, tuple(faults))


def _scored(result: HarborResult) -> str:
    return f"has no valid reward ({result.outcome}: {result.reason})" if result.reward is None else f"scores {result.reward:g}"


def read_rewards(name: str, text: bytes) -> dict[str, float]:
    """Return the numbers of a reward file, with the one that counts as `reward`.

    Args:
        name: `reward.json`, an object of finite numbers; or `reward.txt`, one of them.

    Raises:
        ValueError: it is neither, is empty, or has several numbers of which none is called `reward`.

    Example:
        >>> read_rewards("reward.json", b'{"passed": 0.5}')
        {'passed': 0.5, 'reward': 0.5}
    """
    content = text.decode("utf-8", "replace").strip()
    if not content:
        raise ValueError("it is empty")
    if name == "reward.txt":
        if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", content[:100], re.ASCII) or len(content) > 100:
            raise ValueError(f"{content[:60]!r} is no finite number")
        return {"reward": _finite("reward", float(content))}
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({type(error).__name__})") from error
    if not isinstance(found, dict) or not found:
        raise ValueError("it is no object of numbers")
    rewards = {key: _finite(key, value) for key, value in found.items()}
    if "reward" not in rewards:
        if len(rewards) > 1:
            raise ValueError(f"it has {', '.join(sorted(rewards))[:200]}, and no `reward`")
        rewards["reward"] = next(iter(rewards.values()))
    return rewards


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name[:60]} is a {type(value).__name__}, not a number")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError(f"{name[:60]} is too large") from error
    if not math.isfinite(number):
        raise ValueError(f"{name[:60]} is {number}, not a finite number")
    return number


# Reading a folder.


class _Table:
    """A table of `task.toml`, whose values are of the types that they should be.

    Raises (by every method):
        HarborTaskError: a value is not; the message names it.
    """

    def __init__(self, where: str, values: Any) -> None:
        if not isinstance(values, dict):
            raise HarborTaskError(f"{where}: it is a {type(values).__name__}, not a table")
        self.where, self.values = where, values

    def table(self, name: str) -> _Table:
        return _Table(f"{self.where} [{name}]", self.values.get(name, {}))

    def value(self, name: str, kind: type | tuple[type, ...], default: Any) -> Any:
        value = self.values.get(name, default)
        if value is default:
            return default
        if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind):
            raise HarborTaskError(f"{self.where}: {name} is {value!r:.60}")
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < 1e9:
            raise HarborTaskError(f"{self.where}: {name} is {value!r:.60}, which cannot be")
        return value

    def seconds(self, default: float | None) -> float | None:
        value = self.value("timeout_sec", (int, float), default)
        return None if value is None else float(value)

    def variables(self) -> dict[str, str]:
        """Return `env`, with `${NAME:-default}` as the default: a task is given no variable of this machine."""
        return {name: self._filled(name, str(value)) for name, value in self.table("env").values.items()}

    def _filled(self, name: str, value: str) -> str:
        def default(match: re.Match[str]) -> str:
            if match.group(2) is None:
                raise HarborTaskError(
                    f"{self.where}: {name} needs the variable {match.group(1)} of this machine, which no task is given; "
                    f"write ${{{match.group(1)}:-value}}"
                )
            return match.group(3)

        return re.sub(r"\$\{(\w+)(:-([^}]*))?\}", default, value)


def _settings(path: Path) -> _Table:
    try:
        return _Table(str(path), tomllib.loads(_text(path)))
    except tomllib.TOMLDecodeError as error:
        raise HarborTaskError(f"{path}: {error}") from error


def _refuse_what_is_not_here(root: Path, settings: _Table) -> None:
    """
    Raises:
        HarborTaskError: the task needs something that no session has.
    """
    environment, verifier = settings.table("environment"), settings.table("verifier")
    needs = {
        "several steps": "steps" in settings.values or (root / "steps").is_dir(),
        "several containers (docker-compose)": any((root / "environment").glob("docker-compose*")),
        "GPUs": bool(environment.values.get("gpus")),
        "a health check": "healthcheck" in environment.values,
        "MCP servers": bool(environment.values.get("mcp_servers")),
        "Windows": str(environment.values.get("os", "linux")).lower() not in ("linux", ""),
        "an environment of the verifier's own": verifier.values.get("environment_mode", "shared") != "shared",
        "collectors": bool(verifier.values.get("collect")),
    }
    if wanted := [what for what, needed in needs.items() if needed]:
        raise HarborTaskError(f"{root}: the task needs {', '.join(wanted)}, which no session container has")


class _Dockerfile:
    """What of the folder `environment` can be had without building an image.

    Attributes:
        files: by their path in the agent's folder.
        environment: the `ENV` of its `Dockerfile`.
        notes: what is left out.
    """

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, tuple[bytes, bool]] = {}
        self.environment: dict[str, str] = {}
        self.notes: list[str] = []
        self._path, self._workdir, left_out = folder / "Dockerfile", "/app", []
        context = _files_of(folder)
        if not self._path.exists():
            return
        lines = re.sub(r"\\\r?\n", " ", re.sub(r"^\s*#.*\n", "", _text(self._path), flags=re.MULTILINE)).splitlines()
        for line in filter(None, map(str.strip, lines)):
            instruction, _, rest = line.partition(" ")
            if instruction.upper() == "WORKDIR":
                self._workdir = posixpath.join(self._workdir, rest.strip())
                self._in_agents_folder(self._workdir)
            elif instruction.upper() == "ENV":
                self._take_variables(rest)
            elif instruction.upper() in ("COPY", "ADD"):
                self._copy(rest.split(), context)
            elif instruction.upper() != "FROM":
                left_out.append(line)
        if left_out:
            self.notes.append(f"not followed in its Dockerfile: {'; '.join(line[:60] for line in left_out[:5])}")

    def _take_variables(self, rest: str) -> None:
        pairs = re.findall(r"(\w+)=(\"[^\"]*\"|\S*)", rest) or [tuple(rest.split(None, 1))]
        for pair in pairs:
            if len(pair) == 2:
                self.environment[pair[0]] = pair[1].strip('"')

    def _copy(self, words: list[str], context: Mapping[str, tuple[bytes, bool]]) -> None:
        words = [word for word in words if not word.startswith(("--chown", "--chmod"))]
        if len(words) < 2 or words[0].startswith(("--", "[")) or any("://" in word or "$" in word for word in words):
            raise HarborTaskError(f"{self._path}: cannot follow COPY {' '.join(words)[:100]}")
        *sources, target = words
        for source in sources:
            name = posixpath.normpath(source.lstrip("/"))
            found = {
                path: path if name == "." else posixpath.relpath(path, name)
                for path in context
                if name == "." or path == name or path.startswith(f"{name}/")
            }
            if not found:
                raise HarborTaskError(f"{self._path}: COPY {source}: there is no such file beside it")
            for path, inside in found.items():
                if inside == ".":  # a single file
                    inside = posixpath.basename(path) if target.endswith(("/", ".")) else ""
                place = posixpath.normpath(posixpath.join(self._workdir, target, inside))
                self.files[self._in_agents_folder(place)] = context[path]

    def _in_agents_folder(self, path: str) -> str:
        """Return a path of the image relative to the agent's folder.

        Raises:
            HarborTaskError: it is elsewhere, and a container's system cannot be written to.
        """
        path = posixpath.normpath(path)
        for folder in AGENT_FOLDERS:
            if path == folder or path.startswith(f"{folder}/"):
                return posixpath.relpath(path, folder)
        raise HarborTaskError(
            f"{self._path}: {path} is not in {', '.join(AGENT_FOLDERS[:-1])}, and the rest of a container is read-only"
        )


def _files_of(folder: Path) -> dict[str, tuple[bytes, bool]]:
    """Return the files of a folder by their path in it; none where there is no folder.

    Raises:
        HarborTaskError: links, unreadable files, too many, or more than a session takes.
    """
    files: dict[str, tuple[bytes, bool]] = {}
    for path in _walk(folder):
        if len(files) >= MAX_FILES:
            raise HarborTaskError(f"{folder}: more than {MAX_FILES} files")
        try:
            status = path.stat()
            if status.st_size > MAX_FILE_MB << 20:
                raise HarborTaskError(f"{path}: more than {MAX_FILE_MB} MB")
            files[path.relative_to(folder).as_posix()] = path.read_bytes(), bool(status.st_mode & 0o100)
        except OSError as error:
            raise HarborTaskError(f"{path}: {error.strerror}") from error
    return files


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise HarborTaskError(f"{path}: a link; give the file itself")
        if path.is_file():
            yield path


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise HarborTaskError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise HarborTaskError(f"{path}: it is not UTF-8") from error
