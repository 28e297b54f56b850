"""Score with a reward-model folder in this process: waiting texts are scored as one batch, in a thread beside the event loop."""

from __future__ import annotations

import asyncio
import pkgutil
from collections.abc import Sequence
from typing import Protocol, cast

from r1env import UsageError
from r1env.types import Conversation
from r1env_judge.verdicts import TooLongError

LOADER = "r1env_trainers.reward_model.model:RewardModel"
"""An import string, because plugins depend on r1env alone and a judge behind a server needs no torch."""

Item = tuple[Conversation, str]


class LocalModel(Protocol):
    """What a loader returns for a folder and a device. It is called from one thread at a time."""

    @property
    def reads(self) -> str:
        """The text it was trained on: `response` or `completion`."""

    def score(self, items: Sequence[Item]) -> list[float | None]:
        """Return a value in [0, 1] for each prompt and text, in order; None for one that is too long."""


class BatchScorer:
    """Score single texts for many callers on one event loop; the model sees batches of the texts that are waiting.

    Args:
        folder: folder of the reward model.
        device: `auto`, `cpu` or `cuda`.
        reads: the text it will be shown, `response` or `completion`; a model that was trained on the other is refused.
        loader: `module:attribute` of the function that loads it, see `LocalModel`.
    """

    def __init__(self, folder: str, device: str, reads: str, loader: str = LOADER) -> None:
        self._folder, self._device, self._reads, self._loader = folder, device, reads, loader
        self._model: LocalModel | None = None
        self._waiting: list[tuple[Item, asyncio.Future[float | None]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def score(self, prompt: Conversation, text: str) -> float:
        """Return a value in [0, 1].

        Raises:
            TooLongError: the text is longer than the model was trained to read.
            UsageError: the model cannot be loaded.
        """
        future: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(((prompt, text), future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        value = await future
        if value is None:
            raise TooLongError("the text is longer than the reward model was trained to read")
        return value

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                values = await asyncio.to_thread(self._score, [item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - passed on to the callers, whose scores then have no value
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), value in zip(batch, values, strict=True):
                if not future.done():  # the caller may have given up
                    future.set_result(value)

    def _score(self, items: Sequence[Item]) -> list[float | None]:
        if self._model is None:
            self._model = self._load()
        return self._model.score(items)

    def _load(self) -> LocalModel:
        try:
            load = pkgutil.resolve_name(self._loader)
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"a reward model in this process needs {self._loader} ({error}): pip install 'r1env-judge[local]', or name a server with url="
            ) from error
        model = cast(LocalModel, load(self._folder, self._device))
        if model.reads != self._reads:
            raise UsageError(
                f"the reward model {self._folder} was trained on the {model.reads}, and this reward shows it the {self._reads}"
            )
        return model
