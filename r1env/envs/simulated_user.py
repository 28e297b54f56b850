"""`simulated-user`: a conversation whose user is played by a second engine.

Each row of the data says what the user wants, and what they say first. The user's further turns are written by an engine, such as `openai`, that reads these
instructions and the conversation so far. The user ends the conversation.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from r1env.data.rows import Source, read_rows
from r1env.data.sources import ListSource
from r1env.engines import Engine, SamplingParams
from r1env.envs.conversation import StepResult, ToolEnv
from r1env.errors import UsageError
from r1env.importing import import_target
from r1env.prompts import parse_response
from r1env.scoring.limits import PerProcess
from r1env.types import Completion, FinishReason, Message, Task, TaskKind

END = "[END]"
USER_PROMPT = (
    "You play a person who talks to an assistant. This is who you are and what you want:\n\n{instructions}\n\nWrite only what this person says next, in one "
    "short message. Say one thing at a time, and nothing that the instructions do not say. When you have what you want, or see that you will not get it, write "
    f"{END} and nothing else."
)
GREETING = "Hello! How can I help you?"  # many chat templates do not let the assistant begin


class UserTasks(ListSource):
    """Conversations from rows with `user` (who the user is and what they want, which the model does not see) and `opening` (what they say first).

    A row may also have `system`, which the model sees, and `answer`, which the model's last message must give (reward `short_answer`). Without answers, name what
    scores the conversations with a rubric.

    Args:
        data: the rows, see `r1env.data.rows`.
        engine: the name of the engine that plays the user, or `module:attribute`.
        model: of that engine.
        engine_options: of that engine, such as `{"url": "http://localhost:8000/v1"}`.
        temperature, max_new_tokens: how the user's turns are sampled.

    Attributes:
        other: makes the user of an episode.
        reward: checks the answers, where every row has one.

    Raises:
        UsageError: a row lacks a column, or the engine cannot be made.
    """

    def __init__(
        self,
        data: Source | None = None,
        engine: str = "openai",
        model: str = "",
        engine_options: Mapping[str, Any] | None = None,
        temperature: float = 0.6,
        max_new_tokens: int = 256,
    ) -> None:
        if data is None:
            raise UsageError("simulated-user: it needs rows with the columns `user` and `opening`: --data FILE")
        tasks = []
        for number, row in enumerate(read_rows(data)):
            for column in ("user", "opening"):
                if not isinstance(row.get(column), str) or not row[column].strip():
                    raise UsageError(
                        f"{row.where}: a simulated user needs text in the column `{column}`; its columns: {', '.join(row)}"
                    )
            system: list[Message] = [{"role": "system", "content": str(row["system"])}] if row.get("system") else []
            tasks.append(
                Task(
                    id=f"simulated-user-{number}",
                    prompt=(*system, {"role": "user", "content": row["opening"]}),
                    answer=None if row.get("answer") is None else str(row["answer"]),
                    kind=TaskKind.CHAT,
                    metadata=dict(row),
                )
            )
        super().__init__(tasks)
        self.reward = "short_answer" if all(task.answer is not None for task in tasks) else ""
        params = SamplingParams(temperature=temperature, max_new_tokens=max_new_tokens)
        options = dict(engine_options or {})
        shared_engine(engine, model, options)  # a wrong name is reported now
        self.other = functools.partial(_user_of, engine, model, options, params)


class SimulatedUser(ToolEnv):
    """Answers the model as a user would, with an engine. A message that calls tools is answered by the tools, and the user does not see it.

    The engine failing, or writing nothing, is no fault of the model's: it leaves the episode without a score.

    Args:
        engine: plays the user. Turns of episodes that are played side by side reach it together.
        params: how it is sampled.
        functions: tools of the model.

    Example:
        >>> from r1env.engines import ScriptedEngine
        >>> user = SimulatedUser(SharedEngine(ScriptedEngine("[END]")), SamplingParams())
    """

    def __init__(self, engine: SharedEngine, params: SamplingParams, functions: Iterable[Callable[..., Any]] = ()) -> None:
        super().__init__(functions)
        self._engine, self._params = engine, params
        self._talk: list[Message] = []

    def reset(self, task: Task) -> Sequence[Message]:
        instructions = USER_PROMPT.format(instructions=task.metadata["user"])
        self._talk = [
            {"role": "system", "content": instructions},
            {"role": "user", "content": GREETING},
            {"role": "assistant", "content": task.metadata["opening"]},
        ]
        return super().reset(task)

    async def step(self, message: Message) -> StepResult:
        if message.get("tool_calls"):
            return await super().step(message)
        self._talk.append({"role": "user", "content": parse_response(message["content"]).response.strip() or "(says nothing)"})
        completion = await self._engine.complete(tuple(self._talk), self._params)
        said = parse_response(completion.text).response.strip()
        if completion.finish_reason is FinishReason.ERROR or not said:
            raise RuntimeError("the engine that plays the user failed, or wrote nothing")
        if END in said:
            return StepResult(done=True)
        self._talk.append({"role": "assistant", "content": said})
        return StepResult([{"role": "user", "content": said}])


class SharedEngine:
    """An engine that many episodes ask at once: what is asked while it works goes into its next batch. Used on one event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: list[tuple[tuple[Message, ...], SamplingParams, asyncio.Future[Completion]]] = []
        self._work: asyncio.Task[None] | None = None

    async def complete(self, prompt: tuple[Message, ...], params: SamplingParams) -> Completion:
        """Return a completion of a conversation. Raises what the engine raises."""
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting.append((prompt, params, future))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._serve())
        return await future

    async def _serve(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # the other episodes of the batch ask too
            params = self._waiting[0][1]
            batch = [one for one in self._waiting if one[1] == params]
            self._waiting = [one for one in self._waiting if one[1] != params]
            try:
                found = await asyncio.to_thread(self._engine.generate, [prompt for prompt, _, _ in batch], params)
                answers: list[Completion | Exception] = [completion for completion, *_ in found]
            except Exception as error:  # noqa: BLE001 - every episode that asked is told
                answers = [error] * len(batch)
            for (_, _, future), answer in zip(batch, answers, strict=True):
                if future.cancelled():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)


def _user_of(engine: str, model: str, options: Mapping[str, Any], params: SamplingParams) -> SimulatedUser:
    return SimulatedUser(shared_engine(engine, model, options), params)


def shared_engine(engine: str, model: str, options: Mapping[str, Any]) -> SharedEngine:
    """Return the engine of this name; one object for all episodes of a process.

    Raises:
        UsageError: it cannot be made.
    """
    from r1env.plugins import installed

    made = _engines.get()
    key = (engine, model, repr(sorted(options.items())))
    if key not in made:
        try:
            made[key] = SharedEngine(import_target(installed().engine(engine).target)(model, **options))
        except TypeError as error:
            raise UsageError(f"simulated-user: engine {engine!r} does not take these options: {error}") from error
    return made[key]


_engines: PerProcess[dict[tuple[str, str, str], SharedEngine]] = PerProcess(dict)
