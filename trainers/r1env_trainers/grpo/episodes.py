"""Plays episodes against a sampler and keeps their tokens: an append-only sequence in which the model's own are marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from r1env.envs.environment import Environment, Episode
from r1env.types import Completion, FinishReason, Task
from r1env_trainers.engine import as_completions
from r1env_trainers.forward import TokenBatch
from r1env_trainers.models.load import LoadedModel
from r1env_trainers.prompts import encode_prompt, encode_reply, join_turns, left_pad
from r1env_trainers.sampling import CompletionSampler, Samples


@dataclass(slots=True)
class Trajectory:
    """An episode and its tokens.

    What the model wrote is kept as the tokens that it drew, never encoded again; what the environment replied is encoded by itself.

    Attributes:
        ids: of everything after the prompt.
        sampled: True where the model drew the token.
        logprobs: of the sampler; 0 for the environment's tokens.
        truncated: the token limit cut a turn off.
    """

    environment: Environment
    episode: Episode
    prompt: list[int]
    ids: list[int] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    truncated: bool = False

    def take(self, completion: Completion) -> None:
        """The model's turn."""
        turn, logprobs = completion.token_ids or (), completion.logprobs or ()
        self.ids += turn
        self.sampled += [True] * len(turn)
        self.logprobs += logprobs
        self.truncated |= completion.finish_reason is FinishReason.LENGTH
        self.episode.submit(completion)

    def read(self, tokens: Sequence[int]) -> None:
        """What stands between two turns of the model."""
        self.ids += tokens
        self.sampled += [False] * len(tokens)
        self.logprobs += [0.0] * len(tokens)


OnDone = Callable[[Sequence[Trajectory]], None]
"""Takes episodes that are over."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the turns are sampled; the seed is the first of several that are made of it."""

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int


def play(
    tasks: Sequence[tuple[Environment, Task]],
    n: int,
    loaded: LoadedModel,
    sampler: CompletionSampler,
    decoding: Decoding,
    on_done: OnDone | None = None,
) -> list[Trajectory]:
    """n finished episodes of each task, in prompt-major order.

    All episodes whose templates stop at the same texts take their turn in one call of the sampler; the first turn of a task is sampled
    n times from one prompt.

    Args:
        on_done: told of every episode once, as soon as it is over, while others are still being sampled.
    """
    groups = [_open(environment, task, n, loaded) for environment, task in tasks]
    trajectories = [trajectory for group in groups for trajectory in group]
    seeds = _Seeds(decoding.seed)
    for stop, members in _by_stop([group[0] for group in groups]).items():
        _take_turns([groups[member] for member in members], stop, sampler, decoding, seeds.next(), on_done)
    while unfinished := [trajectory for trajectory in trajectories if not trajectory.episode.done]:
        for trajectory in unfinished:
            trajectory.read(_between(trajectory, loaded))
        for stop, members in _by_stop(unfinished).items():
            _take_turns([[unfinished[member]] for member in members], stop, sampler, decoding, seeds.next(), on_done)
    return trajectories


def to_tokens(trajectories: Sequence[Trajectory], loaded: LoadedModel) -> tuple[TokenBatch, Tensor]:
    """The batch of all episodes, and [B, T] the sampler's log-probs."""
    width = max(1, max(len(trajectory.ids) for trajectory in trajectories))
    shape = (len(trajectories), width)
    ids = torch.full(shape, loaded.pad, dtype=torch.long)
    sampled = torch.zeros(shape, dtype=torch.bool)
    present = torch.zeros(shape, dtype=torch.bool)
    logprobs = torch.zeros(shape)
    for row, trajectory in enumerate(trajectories):
        length = len(trajectory.ids)
        ids[row, :length] = torch.tensor(trajectory.ids, dtype=torch.long)
        sampled[row, :length] = torch.tensor(trajectory.sampled, dtype=torch.bool)
        present[row, :length] = True
        logprobs[row, :length] = torch.tensor(trajectory.logprobs)
    prompt_ids, prompt_mask = left_pad([trajectory.prompt for trajectory in trajectories], loaded.pad, loaded.device)
    context = present & ~sampled
    batch = TokenBatch(
        prompt_ids,
        prompt_mask,
        ids.to(loaded.device),
        sampled.float().to(loaded.device),
        context.to(loaded.device) if context.any() else None,
    )
    return batch, logprobs.to(loaded.device)


def _open(environment: Environment, task: Task, n: int, loaded: LoadedModel) -> list[Trajectory]:
    episodes = [environment.open(task) for _ in range(n)]
    prompt = encode_prompt(loaded.tokenizer, episodes[0].messages, chat=environment.template.chat)
    return [Trajectory(environment, episode, prompt) for episode in episodes]


def _take_turns(
    groups: Sequence[Sequence[Trajectory]],
    stop: tuple[str, ...],
    sampler: CompletionSampler,
    decoding: Decoding,
    seed: int,
    on_done: OnDone | None,
) -> None:
    """One turn of every episode; those of a group share a prompt, and are equally many in each."""
    trajectories = [trajectory for group in groups for trajectory in group]

    def take(rows: Sequence[int], samples: Samples) -> None:
        for row, completion in zip(rows, as_completions(samples, sampler.decode(samples)), strict=True):
            trajectories[row].take(completion)
        if on_done is not None:
            on_done([trajectories[row] for row in rows if trajectories[row].episode.done])

    sampler.sample(
        [[*group[0].prompt, *group[0].ids] for group in groups],
        n=len(groups[0]),
        max_new_tokens=decoding.max_new_tokens,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        stop=stop,
        seed=seed,
        on_finished=take,
    )


def _between(trajectory: Trajectory, loaded: LoadedModel) -> list[int]:
    """The tokens after the model's turn up to its next one."""
    reply = trajectory.episode.messages[-1]["content"]
    tokens = encode_reply(loaded.tokenizer, reply, chat=trajectory.environment.template.chat)
    return join_turns(loaded.tokenizer, trajectory.ids, tokens)


def _by_stop(trajectories: Sequence[Trajectory]) -> dict[tuple[str, ...], list[int]]:
    """Places of the trajectories by the stop texts of their templates."""
    places: dict[tuple[str, ...], list[int]] = {}
    for place, trajectory in enumerate(trajectories):
        places.setdefault(trajectory.environment.template.stop, []).append(place)
    return places


class _Seeds:
    """Unrelated seeds one after another; the first is the one given."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._given = 0

    def next(self) -> int:
        self._given += 1
        if self._given == 1:
            return self._seed
        return int(np.random.SeedSequence([self._seed, self._given]).generate_state(1, np.uint64)[0] >> 1)
