"""`Rollout`: one finished episode of a task, as rewards see it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from r1env.tasks import Conversation, Task


class FinishReason(StrEnum):
    """Why the model stopped writing."""

    STOP = "stop"  # it ended its turn, or wrote a stop sequence
    LENGTH = "length"  # the token limit cut it off
    ERROR = "error"  # the engine failed; the completion is what had arrived


class Completion(BaseModel):
    """What an engine returns for one prompt.

    `logprobs[i]` is the natural-log probability with which the sampler drew `token_ids[i]`, under the distribution it
    really sampled from (after temperature and top-p).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    finish_reason: FinishReason = FinishReason.STOP
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None


class Rollout(BaseModel):
    """One finished episode.

    Attributes:
        task: the problem.
        completion: the model's text of the final turn, special tokens removed. What most rewards read.
        messages: the whole conversation, prompt and completions included.
        finish_reason: of the final turn.
        turns: the model's turns; 1 for a single-turn environment.
        token_ids, logprobs: of the final turn, where the engine knows them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task
    completion: str
    messages: Conversation = ()
    finish_reason: FinishReason = FinishReason.STOP
    turns: int = 1
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
