"""A taskset of verifiers v1 as an environment of r1env: `--env verifiers:PACKAGE`.

Our engine is the model: no harness, no server and no agent program. The taskset's own `Env` runs on r1env's event loop and asks for the
player's turns; its rewards are computed as verifiers computes them, and paid as the reward named `environment`. Only a trace that
verifiers calls `ok` has a reward; an episode whose trace is not is left without a score.

What cannot be played this way is refused when the environment is made: several roles (user simulators, judges that are agents), containers,
skills, artifacts, tool servers, and rewards that want a runtime.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from r1env.envs.conversation import StepResult, Tool
from r1env.errors import UsageError
from r1env.types import Message, Task, TaskKind

META = "verifiers"
"""Key of a task's metadata: the taskset's name, and the task's place in it. The place alone is read again: a client of a server sends
tasks, and must not choose which package is loaded."""


class VerifiersTasks:
    """The tasks of an installed taskset.

    Args:
        package: its id, as for `vf-eval`.
        limit: most tasks that are loaded of a taskset that never ends.
        options: of the taskset.

    Raises:
        UsageError: verifiers is missing, there is no such taskset, or it cannot be played here; the message says why.
    """

    reward = "environment"

    def __init__(self, package: str = "", limit: int = 1000, **options: Any) -> None:
        if not package:
            raise UsageError("say which taskset: --env verifiers:PACKAGE, as for vf-eval")
        self._package = package
        self._options = json.dumps(options, sort_keys=True)
        self._tasks = _loaded(package, self._options, limit).tasks
        self.other = functools.partial(VerifiersEpisode, package, self._options, limit)

    @property
    def size(self) -> int | None:
        return len(self._tasks)

    def task(self, index: int, seed: int = 0) -> Task:
        data = self._tasks[index].data
        system = [{"role": "system", "content": data.system_prompt}] if data.system_prompt else []
        asked = [{"role": "user", "content": data.prompt_text}] if data.prompt is not None else []
        prompt: Any = (*system, *asked) or ({"role": "user", "content": "(the environment opens the conversation)"},)
        where = {"package": self._package, "index": index}
        answer = getattr(data, "answer", None)
        return Task(
            id=str(data.id or data.name or f"{self._package}-{index}"),
            prompt=prompt,
            answer=None if answer is None else str(answer),
            kind=TaskKind.CHAT,
            metadata={META: where},
        )


class VerifiersEpisode:
    """One episode of a taskset's `Env`, whose player is our engine.

    Args:
        package, options, limit: of the taskset, as `VerifiersTasks` loaded it.
    """

    tools: Sequence[Tool] = ()

    def __init__(self, package: str, options: str, limit: int) -> None:
        self._taskset = functools.partial(_loaded, package, options, limit)
        self._running: asyncio.Task[None] | None = None

    async def reset(self, task: Task) -> Sequence[Message]:
        """Start the taskset's `Env`; it runs until it asks for the first turn."""
        where, loaded = task.metadata.get(META), self._taskset()
        index = where.get("index") if isinstance(where, Mapping) else None
        if not isinstance(index, int) or not 0 <= index < len(loaded.tasks):
            raise ValueError(f"the task is none of this taskset: its metadata names no place from 0 to {len(loaded.tasks) - 1}")
        self._seat = _Seat(loaded.tasks[index], loaded.role)
        self._running = asyncio.create_task(loaded.env.run(self._seat.task, self._seat))
        if not await self._next_turn():
            raise RuntimeError("the taskset ended the episode before the model's first turn")
        return self._seat.opening

    async def step(self, message: Message) -> StepResult:
        assert self._running is not None
        before = len(self._seat.messages)
        self._seat.reply(message["content"])
        if await self._next_turn():
            return StepResult(self._seat.messages[before + 1 :])
        trace = self._seat.trace
        if not trace.ok:
            raise RuntimeError(f"verifiers calls the trace not ok: {_errors(trace)}")
        names = {name: None if one is None else one.score for name, one in trace.rewards.items()}
        return StepResult(reward=trace.reward, done=True, info={"rewards": names, "metrics": dict(trace.metrics)})

    async def close(self) -> None:
        if self._running is not None and not self._running.done():
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def _next_turn(self) -> bool:
        """Wait until the `Env` asks for a turn (True) or ends (False).

        Raises:
            Exception: what the `Env` or a reward raised.
        """
        assert self._running is not None
        asked = asyncio.create_task(self._seat.asked.wait())
        await asyncio.wait({asked, self._running}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if self._running.done():
            self._running.result()
            return False
        self._seat.asked.clear()
        return True


class _Seat:
    """The agents of an episode, as the `Env` sees them: every role it may ask for is the one player."""

    def __init__(self, task: Any, role: str) -> None:
        from verifiers.v1.configs.agent import WireAgentConfig
        from verifiers.v1.trace import AgentInfo, Trace, TraceTask

        self.task = task
        self.asked = asyncio.Event()
        self._text: asyncio.Future[str] | None = None
        self.trace = Trace(
            task=TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash),
            agent=AgentInfo(config=WireAgentConfig(), name=role),
        )
        setattr(self, role, self)

    @property
    def messages(self) -> list[Message]:
        return [{"role": str(node.message.role), "content": _text(node.message)} for node in self.trace.nodes]

    @property
    def opening(self) -> list[Message]:
        return self.messages

    def reply(self, text: str) -> None:
        assert self._text is not None
        self._text.set_result(text)

    # What an `Env` calls: `agents.ROLE.run(task)`, or `agents.ROLE.interaction(task)` and its `turn`.

    async def run(self, task: Any, **_: Any) -> Any:
        async with self.interaction(task) as interaction:
            await interaction.turn()
        return self.trace

    def interaction(self, task: Any, **_: Any) -> _Seat:
        self.task = task
        return self

    async def __aenter__(self) -> _Seat:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self.trace.stop("user_closed")
            self.trace.ok = True
            await self.task.score(self.trace)

    async def turn(self, message: Any = None) -> Any:
        """Show the model the next messages, and return its turn as a segment."""
        from verifiers.v1.agent import Segment

        if not self.trace.nodes:
            self._add_opening()
        for one in [message] if isinstance(message, str) else message or []:
            role, content = ("user", one) if isinstance(one, str) else _role_and_text(one)
            self._add(role, content)
        self._text = asyncio.get_running_loop().create_future()
        self.asked.set()
        text = await self._text
        self._add("assistant", text)
        return Segment(messages=[self.trace.nodes[-1].message], root_reply=text)

    def _add_opening(self) -> None:
        data = self.task.data
        if data.system_prompt:
            self._add("system", data.system_prompt)
        if isinstance(data.prompt, str):
            self._add("user", data.prompt)
        for one in data.prompt if isinstance(data.prompt, list) else []:
            self._add(*_role_and_text(one))

    def _add(self, role: str, text: str) -> None:
        import verifiers.v1 as vf
        from verifiers.v1.graph import MessageNode

        kinds = {"system": vf.SystemMessage, "assistant": vf.AssistantMessage}
        parent = len(self.trace.nodes) - 1 if self.trace.nodes else None
        node = MessageNode(parent=parent, message=kinds.get(role, vf.UserMessage)(content=text), sampled=role == "assistant")
        self.trace.nodes.append(node)


def _role_and_text(message: Any) -> tuple[str, str]:
    if isinstance(message, Mapping):
        return str(message["role"]), str(message["content"])
    return str(message.role), _text(message)


def _text(message: Any) -> str:
    content = message.content
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(getattr(part, "text", "") for part in content)


def _errors(trace: Any) -> str:
    return "; ".join(str(error) for error in trace.errors) or "no error was recorded"


class _Loaded:
    """A taskset with its environment."""

    def __init__(self, env: Any, role: str, tasks: Sequence[Any]) -> None:
        self.env = env
        self.role = role
        self.tasks = tasks


@functools.lru_cache(maxsize=8)
def _loaded(package: str, options: str, limit: int) -> _Loaded:
    """Load a taskset.

    Raises:
        UsageError: see `VerifiersTasks`.
    """
    try:
        from verifiers.v1.configs.agent import agent_config_fields
        from verifiers.v1.utils.loaders import load_environment, resolve_env_config
    except ImportError as error:
        raise UsageError(f"{error.name} is missing; install r1env-verifiers[verifiers]") from error
    try:
        env = load_environment(resolve_env_config({"taskset": {"id": package, **json.loads(options)}}))
        tasks = list(itertools.islice(env.taskset, limit))
    except Exception as error:
        raise UsageError(f"the taskset {package!r} cannot be loaded: {type(error).__name__}: {error}") from error
    roles = list(agent_config_fields(env.config))
    if faults := [*_faults_of(env, roles), *itertools.chain.from_iterable(map(_faults_of_task, tasks[:1]))]:
        raise UsageError(
            f"the taskset {package!r} cannot be played here: it has {', '.join(faults)}; run it with vf-eval and our model behind a server"
        )
    if not tasks:
        raise UsageError(f"the taskset {package!r} has no tasks")
    return _Loaded(env, roles[0], tasks)


def _faults_of(env: Any, roles: Sequence[str]) -> list[str]:
    from verifiers.v1.env import Env

    faults = [f"the roles {', '.join(roles)}"] if len(roles) != 1 else []
    if type(env).finalize is not Env.finalize:
        faults.append("an Env.finalize that judges the whole episode")
    return faults


def _faults_of_task(task: Any) -> list[str]:
    data, kind = task.data, type(task)
    wants = {
        "a container": kind.NEEDS_CONTAINER or data.image,
        "skills": data.skills,
        "artifacts": data.artifacts,
        "tool servers": kind.toolsets(task.config),
        "judges": task.plugged_judges(),
    }
    faults = [what for what, there in wants.items() if there]
    for hook in (*task.hooks("reward"), *task.hooks("metric")):
        parameter = inspect.signature(hook).parameters.get("runtime")
        if parameter is not None and parameter.default is inspect.Parameter.empty:
            faults.append(f"the reward {hook.__name__!r}, which wants a runtime")
    return faults
