"""`EpisodeExecutor`: plays our environments inside OpenRLHF's rollout actors, through its contract `AgentExecutorBase.execute`.

It has the shape of that class without importing it; the agent file that a job is given adds the base class. Nothing that a model
writes, a reward does or an environment says raises here: the contract has no answer to an exception but to end the job. Such a
rollout gets the reward `unscored` and is counted under `error`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from r1env.adapters.core import leading, task_of
from r1env.adapters.openrlhf import rounded_reward
from r1env.envs.environment import Environment
from r1env.rewards import Isolation
from r1env.rollout import Trajectory, encode_prompt, has_room, take_turns
from r1env.rubrics import Rubric
from r1env.runs.files import to_json
from r1env.runs.rollouts import RolloutRow
from r1env.scoring import ascore
from r1env.types import Completion, FinishReason, Rollout, Score, Status
from r1env_openrlhf.config import options_of
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.metrics import accuracy_part
from r1env_trainers.rl.rollouts import evaluation_suite, training_suite

logger = logging.getLogger(__name__)

REPLIES = 64
"""Threads for environments' replies. One that hangs keeps its thread: so many may, before the others wait for their deadlines."""

CONFIG = "config.json"
"""The settings of the run, in the job's folder."""

SAMPLES = "samples"
"""Folder of the rollouts: a file an engine."""


class ReplyError(Exception):
    """An environment did not reply in time."""


class Engine(Protocol):
    """What OpenRLHF passes as `llm_engine`."""

    async def generate(self, prompt_token_ids: list[int], sampling_params: Any, multi_modal_data: object = None) -> Any:
        """Return a vLLM `RequestOutput`."""


class EpisodeExecutor:
    """Plays and scores one episode a call.

    Args:
        folder: where the job's `config.json` is, and where samples of rollouts go.
    """

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)
        self._config = GRPOConfig.model_validate_json((self._folder / CONFIG).read_text("utf-8"))
        self._environments = {
            "train": [_isolated(environment) for environment in training_suite(self._config).environments],
            "eval": [_isolated(environment) for environment in evaluation_suite(self._config).environments]
            if self._config.eval.every
            else [],
        }
        every = [environment for environments in self._environments.values() for environment in environments]
        self._part_keys = list(dict.fromkeys(key for environment in every for key in environment.rubric.part_keys))
        self._threads = ThreadPoolExecutor(REPLIES, thread_name_prefix="r1env-reply")
        (self._folder / SAMPLES).mkdir(exist_ok=True)
        self._samples = (self._folder / SAMPLES / f"{os.getpid()}.jsonl").open("a", encoding="utf-8")

    async def execute(
        self,
        prompt: str,
        label: str,
        sampling_params: Any,
        max_length: int,
        hf_tokenizer: Any,
        llm_engine: Engine,
        images: object = None,
    ) -> dict[str, Any]:
        """Play and score one episode; see OpenRLHF's `AgentExecutorBase` for arguments and result."""
        about = json.loads(label)
        environment = self._environments[about["split"]][about["environment"]]
        task = task_of(prompt, about)
        episode = environment.open(task)
        ids = encode_prompt(hf_tokenizer, episode.messages, chat=environment.template.chat, tools=episode.tools)
        trajectory = Trajectory(environment, episode, ids[-(max_length - 1) :])  # cut only where it is not played
        options = options_of(self._config)
        try:
            if has_room(len(ids), max_length):
                playing = self._play(trajectory, sampling_params, max_length, hf_tokenizer, llm_engine)
                score = await asyncio.wait_for(playing, options.episode_seconds)
            else:
                reason = f"the prompt has {len(ids)} tokens and leaves no room within {max_length}"
                score = self._failure(environment, Status.LIMIT, reason)
        except TimeoutError:
            score = self._failure(environment, Status.TIMEOUT, f"the episode took over {options.episode_seconds:g} s")
        except Exception as error:  # noqa: BLE001 - an exception here would end the job; it costs this rollout instead
            score = self._failure(environment, Status.ERROR, f"{type(error).__name__}: {error}".splitlines()[0][:300])
        if score.failed:
            logger.warning("no score for a rollout of task %s: %s (%s)", task.id, score.status.value, score.reason[:200])
        self._show(about["split"], trajectory, score)
        return self._response(prompt, label, trajectory, score, hf_tokenizer.eos_token_id)

    async def _play(
        self, trajectory: Trajectory, sampling_params: Any, max_length: int, tokenizer: Any, engine: Engine
    ) -> Score:
        """Play turn by turn, under the same rules as `r1env.rollout.play`, and score the episode."""
        environment, episode = trajectory.environment, trajectory.episode
        while not episode.done:
            so_far = trajectory.tokens
            sampling = deepcopy(sampling_params)
            sampling.max_tokens = min(self._config.sampling.max_new_tokens, max_length - len(so_far))
            sampling.stop, sampling.include_stop_str_in_output = list(environment.template.stop), True
            output = (await engine.generate(so_far, sampling)).outputs[0]
            await self._submit(trajectory, _completion(output, tokenizer))
            if not episode.done:
                trajectory.read_replies(tokenizer, max_length, chat=environment.template.chat)
        return (await ascore([episode.rollout()], environment.rubric))[0]

    async def _submit(self, trajectory: Trajectory, completion: Completion) -> None:
        """Give the model's turn to the environment, whose reply comes from third-party code: in a thread, with a deadline."""
        if trajectory.environment.other is None:
            take_turns([trajectory], [completion])
            return
        seconds = options_of(self._config).reply_seconds
        taking = asyncio.get_running_loop().run_in_executor(self._threads, take_turns, [trajectory], [completion])
        try:
            await asyncio.wait_for(taking, seconds)
        except TimeoutError as error:
            raise ReplyError(f"the environment took over {seconds:g} s for a reply") from error

    def _response(self, prompt: str, label: str, trajectory: Trajectory, score: Score, eos: int) -> dict[str, Any]:
        """Return what OpenRLHF makes an experience of. All numbers are finite, and `extra_logs` has the same keys every time."""
        ids, sampled, logprobs = trajectory.ids, trajectory.sampled, trajectory.logprobs
        if not any(sampled):  # nothing was written, and the trainer divides by the number of tokens
            ids, sampled, logprobs = [*ids, eos], [*sampled, True], [*logprobs, 0.0]
        start, unscored = len(trajectory.prompt), options_of(self._config).unscored
        return {
            "prompt": prompt,
            "label": label,
            "images": None,
            "mm_train_inputs": None,
            "reward": rounded_reward(unscored if score.value is None else score.value),
            "scores": leading(score, trajectory.environment.rubric, unscored),
            "observation_tokens": [*trajectory.prompt, *ids],
            "action_ranges": [(start + first, start + last) for first, last in runs_of(sampled)],
            "rollout_log_probs": [0.0] * start + logprobs if len(logprobs) == len(ids) else None,
            "truncated": trajectory.truncated,
            "extra_logs": self._logs(trajectory, score),
        }

    def _logs(self, trajectory: Trajectory, score: Score) -> dict[str, float]:
        """Return sums and counts, because OpenRLHF averages over all rollouts; a part that was not scored is 0 in both."""
        accuracy = accuracy_part(trajectory.environment)
        parts = {f"parts/{key}": score.parts.get(key, math.nan) for key in self._part_keys}
        parts["accuracy"] = math.nan if accuracy is None else score.parts.get(accuracy, math.nan)
        parts["value"] = math.nan if score.value is None else score.value
        logs = {"error": float(score.failed), "turns": float(trajectory.episode.turns)}
        for key, part in parts.items():
            logs[key] = part if math.isfinite(part) else 0.0
            logs[f"scored/{key}"] = float(math.isfinite(part))
        return logs

    def _show(self, split: str, trajectory: Trajectory, score: Score) -> None:
        """Write the rollout where the run folder's rollouts come from."""
        accuracy = accuracy_part(trajectory.environment)
        verdict = math.nan if accuracy is None else score.parts.get(accuracy, math.nan)
        episode = trajectory.episode
        texts = [message["content"] for message in episode.messages if message["role"] == "assistant"]
        rollout = Rollout(  # not `episode.rollout()`, which refuses an episode that ran out of time
            task=episode.task,
            completion=texts[-1] if texts else "",
            messages=episode.messages,
            finish_reason=FinishReason.LENGTH if trajectory.truncated else FinishReason.STOP,
            ended_by=episode.ended_by,
            error=episode.error,
        )
        row = RolloutRow.of(
            rollout,
            score,
            kind=split,
            environment=trajectory.environment.name,
            tokens=sum(trajectory.sampled),
            correct=verdict >= 1 if math.isfinite(verdict) else None,
            truncated=trajectory.truncated,
        )
        self._samples.write(to_json({"time": time.time(), **row.model_dump(mode="json")}) + "\n")
        self._samples.flush()

    def _failure(self, environment: Environment, status: Status, reason: str) -> Score:
        return Score.failure(status, reason, parts=environment.rubric.part_keys)


def runs_of(sampled: list[bool]) -> list[tuple[int, int]]:
    """Return the start and the end (exclusive) of each stretch of True."""
    edges = [
        place
        for place in range(len(sampled) + 1)
        if (place < len(sampled) and sampled[place]) != (place > 0 and sampled[place - 1])
    ]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _completion(output: Any, tokenizer: Any) -> Completion:
    """Return one of vLLM's completions as a `Completion`, with log-probs where they were asked for."""
    ids = list(output.token_ids)
    logprobs = None
    if output.logprobs is not None:
        logprobs = tuple(float(drawn[token].logprob) for token, drawn in zip(ids, output.logprobs, strict=True))
    return Completion(
        text=tokenizer.decode(ids, skip_special_tokens=True),
        finish_reason=FinishReason.LENGTH if output.finish_reason == "length" else FinishReason.STOP,
        token_ids=tuple(ids),
        logprobs=logprobs,
    )


def _isolated(environment: Environment) -> Environment:
    return replace(environment, rubric=isolated(environment.rubric))


# Rewards that are kept out of the process that asks for them.


def isolated(rubric: Rubric) -> Rubric:
    """Return the rubric with its inline rewards moved to workers: a reward that crashed here would end vLLM too.

    Asynchronous rewards stay on our event loop, under their deadlines.
    """
    return Rubric(
        rubric.name,
        [
            replace(item, reward=replace(item.reward, isolation=Isolation.PROCESS))
            if item.reward.isolation is Isolation.INLINE
            else item
            for item in rubric.rewards
        ],
        rubric.on_none,
    )
