"""Which rows are under way, and where: bookkeeping of slots that rows take, leave, and take again."""

from __future__ import annotations

from collections.abc import Iterable

WORTHWHILE = 4
"""Waiting rows begin when this part of the slots can be filled: running a few prompts costs as much as many decoding steps."""


class Slots:
    """Rows 0 … rows - 1, n for each prompt, begin in order as slots and places get free. A row holds a slot until it ends, a
    prompt its place until its last row has.

    Attributes:
        live: the slot of each row under way; rows ascend.
        places: the place of each prompt that has rows under way, or begun in part.
    """

    def __init__(self, rows: int, n: int, slots: int, places: int) -> None:
        self.live: dict[int, int] = {}
        self.places: dict[int, int] = {}
        self._rows, self._n = rows, n
        self._next = 0
        self._free = list(range(min(slots, rows)))[::-1]
        self._free_places = list(range(places))[::-1]
        self._worthwhile = max(1, min(len(self._free), places * n) // WORTHWHILE)
        self._left: dict[int, int] = {}  # rows of each placed prompt that have not ended

    def begin(self) -> list[int]:
        """The rows that begin now, if it is worth it."""
        waiting = self._rows - self._next
        if self.live and min(len(self._free), self._with_place()) < min(self._worthwhile, waiting):
            return []
        first = self._next
        while self._next < self._rows and self._free and self._place(self._next // self._n):
            self.live[self._next] = self._free.pop()
            self._next += 1
        return list(range(first, self._next))

    def end(self, rows: Iterable[int]) -> None:
        """These rows free their slots; those that had ended before are passed over."""
        for row in rows:
            if row not in self.live:
                continue
            self._free.append(self.live.pop(row))
            prompt = row // self._n
            self._left[prompt] -= 1
            if not self._left[prompt]:
                del self._left[prompt]
                self._free_places.append(self.places.pop(prompt))

    def _with_place(self) -> int:
        """How many more rows there are places for."""
        prompt, begun = divmod(self._next, self._n)
        return len(self._free_places) * self._n + (self._n - begun if prompt in self.places else 0)

    def _place(self, prompt: int) -> bool:
        """Whether the prompt has a place, which it gets if one is free."""
        if prompt not in self.places:
            if not self._free_places:
                return False
            self.places[prompt] = self._free_places.pop()
            self._left[prompt] = self._n
        return True
