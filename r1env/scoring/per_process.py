"""`PerProcess`: something made lazily, once in each process, and never shared across `os.fork`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Holds one `T` for the process that asks. Safe to ask from any thread.

    Threads do not survive a fork, so whatever owns threads would be dead in the child: there it is forgotten (not closed: it
    still belongs to the parent) and made anew when asked for.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: T | None = None
        os.register_at_fork(after_in_child=self._forget)

    def get(self) -> T:
        """The one of this process, made on the first call. Raises what making it raises."""
        with self._lock:
            if self._value is None:
                self._value = self._make()
            return self._value

    def _forget(self) -> None:
        self._lock = threading.Lock()  # the old one may be held by a thread that the child does not have
        self._value = None
