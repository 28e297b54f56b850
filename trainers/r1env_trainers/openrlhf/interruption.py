"""`Interruption`: Ctrl-C and SIGTERM, remembered until it is safe to act on them."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import NoReturn, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context manager, inside which Ctrl-C and SIGTERM are remembered: an exception that comes anywhere could come between the start of a
    process and the note that it was started. Elsewhere than in the main thread it changes nothing, and a signal that is ignored stays so.

    A second signal raises at once, for what was to look for the first may hang; after `hold_off` none does.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._held_off = False

    def __enter__(self) -> Self:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._take) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hold_off(self) -> None:
        """From now on signals are remembered and no more: what follows must not be cut short."""
        self._held_off = True

    def raise_if_any(self) -> None:
        """
        Raises:
            KeyboardInterrupt: there was a Ctrl-C.
            SystemExit: there was a SIGTERM; the status is that of a shell, 143.
        """
        if self._number is not None:
            _raise(self._number)

    def _take(self, number: int, _: FrameType | None) -> None:
        again, self._number = self._number is not None, number
        if again and not self._held_off:
            _raise(number)


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
