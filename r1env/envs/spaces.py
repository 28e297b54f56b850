"""Gymnasium spaces for text. Gymnasium's own `Text` knows a fixed alphabet only; models write Unicode."""

from __future__ import annotations

from typing import Any, TypeVar

from gymnasium import Space

from r1env.tasks import Conversation

T = TypeVar("T", covariant=True)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz 0123456789<>/"
_SAMPLE_LENGTH = 12


class _UnicodeSpace(Space[T]):
    """What both spaces share: they have no shape, and all of a kind are equal."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def _random_text(self) -> str:
        picks = self.np_random.integers(len(_ALPHABET), size=_SAMPLE_LENGTH)
        return "".join(_ALPHABET[int(pick)] for pick in picks)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class CompletionSpace(_UnicodeSpace[str]):
    """Any string: what a model may answer."""

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A short random string, to exercise an environment."""
        return self._random_text()

    def contains(self, x: Any) -> bool:
        return isinstance(x, str)


class ConversationSpace(_UnicodeSpace[Conversation]):
    """A tuple of messages `{"role": …, "content": …}`: what an environment shows."""

    def sample(self, mask: Any = None, probability: Any = None) -> Conversation:
        """One user message with a random text."""
        return ({"role": "user", "content": self._random_text()},)

    def contains(self, x: Any) -> bool:
        return isinstance(x, tuple) and all(
            isinstance(message, dict)
            and message.keys() == {"role", "content"}
            and isinstance(message["role"], str)
            and isinstance(message["content"], str)
            for message in x
        )
