"""Any environment of r1env as a taskset of verifiers v1: its tasks, its turns and tools, its rubric.

    vf-eval r1env-verifiers --env.taskset.environment sort-4 --env.player.runtime.type subprocess --no-push

A score without a value **raises in the reward**: verifiers then marks the trace as failed, and neither means nor training count it.

The classes here are what verifiers looks for: `R1EnvTaskset` lists the tasks, `R1EnvEnv` plays an episode, and `R1EnvHarness` asks the
model within the evaluator's own process, so that no agent program has to be installed. Tools are described in words and called in text, as
for any engine that knows text only.
"""

from __future__ import annotations

import asyncio
import functools
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import httpx
import verifiers.v1 as vf
from pydantic import Field, create_model
from verifiers.v1.dialects.chat import message_to_wire
from verifiers.v1.runtimes import ProgramResult

from r1env.envs.environment import Environment, make_environment
from r1env.rollout import conversation_with_tools
from r1env.scoring import ascore
from r1env.types import Completion, Conversation, FinishReason, Message, Rollout, Task

ROLLOUT, VERDICT = "r1env_rollout", "r1env"
"""Keys of a trace's `info`: the finished episode as JSON, and the status and reason of its score."""

REQUEST_SECONDS = 600.0


class R1EnvTaskData(vf.TaskData):
    """A task that can be sent to another process: everything it needs is in its fields."""

    r1env_task: str
    environment: str
    options: dict[str, Any] = Field(default_factory=dict)
    rubric: str = "accuracy"


class R1EnvTask(vf.Task[R1EnvTaskData]):
    """One task; its reward is the rubric's value, and the parts are metrics."""

    @vf.reward
    async def rubric(self, trace: Any) -> float:
        """Score the episode that `R1EnvEnv` played.

        Raises:
            RuntimeError: there is no score; verifiers then counts the trace as failed.
        """
        played = trace.info.get(ROLLOUT)
        if played is None:
            raise RuntimeError("the episode was not played to its end, so there is nothing to score")
        environment = _environment(self.data.environment, json.dumps(self.data.options), self.data.rubric)
        (score,) = await ascore([Rollout.model_validate(json.loads(played))], environment.rubric)
        trace.info[VERDICT] = {"status": str(score.status), "reason": score.reason}
        for key, part in score.parts.items():
            if part == part:  # a NaN equals nothing
                trace.record_metric(key, part)
        if score.value is None:
            raise RuntimeError(f"{score.status}: {score.reason}")
        return score.value


class R1EnvConfig(vf.TasksetConfig):
    """Which environment, and which of its tasks. Every field has a default, because `vf-eval` first reads the id alone.

    Attributes:
        environment: see `r1env envs`.
        options: of the environment, such as `{"split": "test"}`.
        rubric: a preset or a YAML file; `accuracy` is the environment's own checker.
        num_tasks: how many; a finite source has at most those it has.
        seed: of the tasks of a generator.
    """

    environment: str = "sort-4"
    options: dict[str, Any] = Field(default_factory=dict)
    rubric: str = "accuracy"
    num_tasks: int = 100
    seed: int = 0


class _Tasks:
    """What every taskset of ours does."""

    config: R1EnvConfig

    def load(self) -> Iterator[R1EnvTask]:
        config = self.config
        environment = _environment(config.environment, json.dumps(config.options), config.rubric)
        size = environment.source.size
        for index in range(config.num_tasks if size is None else min(size, config.num_tasks)):
            task = environment.task(index, config.seed)
            system, rest = _opening(environment, task)
            data = R1EnvTaskData(
                id=task.id,
                prompt=None if _opens_itself(environment) else [_typed(message) for message in rest],
                system_prompt=system,
                r1env_task=task.model_dump_json(),
                environment=config.environment,
                options=config.options,
                rubric=config.rubric,
            )
            yield R1EnvTask(data, config.task)


class R1EnvTaskset(_Tasks, vf.Taskset[R1EnvTask, R1EnvConfig]):
    """The tasks of the environment that the configuration names."""


def taskset_of(environment: str, *, rubric: str = "accuracy", **options: Any) -> type:
    """Return a taskset of one environment, for a package of its own.

    Args:
        environment: its name.
        rubric: a preset or a YAML file; `accuracy` is the environment's own checker.
        options: of the environment.
    """
    config = create_model(
        "Config",
        __base__=R1EnvConfig,
        environment=(str, environment),
        rubric=(str, rubric),
        options=(dict[str, Any], Field(default_factory=lambda: dict(options))),
    )
    return types.new_class("Taskset", (_Tasks, vf.Taskset[R1EnvTask, config]))


class R1EnvEnvConfig(vf.EnvConfig):
    """The one role: the model that plays."""

    player: vf.AgentConfig = vf.AgentConfig()


class R1EnvEnv(vf.Env[R1EnvEnvConfig]):
    """Plays one episode: the model's turns go to the environment, and its replies come back as the user's."""

    async def run(self, task: Any, agents: Any) -> None:
        data = task.data
        environment = _environment(data.environment, json.dumps(data.options), data.rubric)
        ours = Task.model_validate(json.loads(data.r1env_task))
        episode = await asyncio.to_thread(environment.open, ours)
        try:
            async with agents.player.interaction(task) as interaction:
                opening = None if data.prompt is not None else _wire(conversation_with_tools(episode))
                segment = None if episode.done else await interaction.turn(opening)
                while segment is not None and not segment.terminated:
                    cut = interaction.trace.is_truncated
                    completion = Completion(
                        text=segment.last_reply, finish_reason=FinishReason.LENGTH if cut else FinishReason.STOP
                    )
                    await asyncio.to_thread(episode.submit, completion)
                    segment = None if episode.done else await interaction.turn(_wire(episode.replies))
                if not episode.done and episode.turns:
                    episode.stop()  # the run ended by a limit of verifiers
                if episode.done:
                    interaction.trace.info[ROLLOUT] = episode.rollout().model_dump_json()
        finally:
            await asyncio.to_thread(episode.close)


class R1EnvHarnessConfig(vf.HarnessConfig):
    """Nothing to set."""


class R1EnvHarness(vf.Harness[R1EnvHarnessConfig]):
    """Asks the model once a turn, from this process."""

    APPENDS_SYSTEM_PROMPT: ClassVar[bool] = True
    SUPPORTS_RESUME: ClassVar[bool] = True
    EXECUTES_CODE: ClassVar[bool] = False
    NEEDS_CONTAINER: ClassVar[bool] = False

    async def setup(self, runtime: Any) -> None:
        """Nothing to install."""

    async def launch(
        self, ctx: Any, trace: Any, runtime: Any, endpoint: str, secret: str, mcp_urls: Any, data: Any, **_: Any
    ) -> Any:
        system, prompt = self.resolve_prompt(data)
        said = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [message_to_wire(one) for one in prompt or []]
        )
        messages = ([{"role": "system", "content": system}] if system else []) + said
        async with httpx.AsyncClient(timeout=REQUEST_SECONDS) as client:
            answer = await client.post(
                f"{endpoint}/chat/completions",
                headers={"Authorization": f"Bearer {secret}"},
                json={"model": ctx.model, "messages": messages},
            )
        if answer.is_error:
            return ProgramResult(exit_code=1, stdout="", stderr=f"{answer.status_code}: {answer.text[:500]}")
        return ProgramResult(exit_code=0, stdout="", stderr="")


@functools.lru_cache(maxsize=32)
def _environment(name: str, options: str, rubric: str) -> Environment:
    return make_environment(name, rubric=rubric, **json.loads(options))


def _opens_itself(environment: Environment) -> bool:
    """Return whether an episode may open in words of its own, so that the task has no prompt that is known before."""
    return environment.other is not None


def _opening(environment: Environment, task: Task) -> tuple[str | None, Conversation]:
    """Return the system prompt, and the other messages of the template."""
    messages = environment.template.messages(task)
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    return (None if _opens_itself(environment) else system or None), tuple(
        message for message in messages if message["role"] != "system"
    )


def _typed(message: Message) -> Any:
    kinds = {"user": vf.UserMessage, "assistant": vf.AssistantMessage}
    return kinds.get(message["role"], vf.UserMessage)(content=message["content"])


def _wire(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return replies as chat messages. A tool's reply is shown as the user's: calls are written in words here."""
    roles = {"system": "system", "assistant": "assistant"}
    return [{"role": roles.get(message["role"], "user"), "content": message["content"]} for message in messages]
