"""`StreamTransport`: the part of a transport that is the same whatever starts the worker: a socket, its time-outs, and a memory limit."""

from __future__ import annotations

import contextlib
import socket
import time
from abc import ABC, abstractmethod

from r1env_sandbox.errors import WorkerLost

SEND_SECONDS = 60.0  # for a worker that does not read
CHUNK_BYTES = 1 << 18


class StreamTransport(ABC):
    """A `Transport` over a socket. Backends say what its bytes mean, how a limit is raised, and how the worker ends.

    Args:
        name: of the worker, as messages have it.
        stream: to the runner's stdin and stdout.
        memory_mb: what the worker may have from the start.
    """

    def __init__(self, name: str, stream: socket.socket, memory_mb: int) -> None:
        self.name = name
        self._socket = stream
        self._memory_mb = memory_mb

    def send(self, data: bytes) -> None:
        self._socket.settimeout(SEND_SECONDS)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(f"does not read ({error})") from error

    def receive(self, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self._socket.recv(CHUNK_BYTES)
            except TimeoutError as error:
                raise self._lost(f"did not answer in {timeout_s:.0f} s", by_program=True) from error
            except OSError as error:
                raise self._lost(f"is gone ({error})") from error
            if not data:
                raise self._lost("ended")
            if payload := self._payload(data):
                return payload

    def grow(self, memory_mb: int) -> None:
        if memory_mb <= self._memory_mb:
            return
        try:
            self._limit_memory(memory_mb)
        except OSError as error:
            raise WorkerLost(f"{self.name} cannot have {memory_mb} MB ({error})") from error
        self._memory_mb = memory_mb

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the other end may be gone
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that is reading; closing alone does not
        self._socket.close()
        self._end()

    def _lost(self, what: str, *, by_program: bool = False) -> WorkerLost:
        said = " ".join(self._log_tail().decode("utf-8", "replace").split())[-400:]
        cause = f"{self.name} {what}{': ' + said if said else ''}"
        # A runner that ends by itself says why.
        return WorkerLost(cause, out_of_memory=self._out_of_memory(), by_program=by_program or bool(said))

    def _payload(self, data: bytes) -> bytes:
        """Return what the runner wrote to stdout, as far as it can be told from what has come so far."""
        return data

    @abstractmethod
    def _limit_memory(self, memory_mb: int) -> None:
        """
        Raises:
            OSError: the limit cannot be changed.
        """

    @abstractmethod
    def _log_tail(self) -> bytes:
        """Return the end of what the runner said on stderr: why it died."""

    @abstractmethod
    def _out_of_memory(self) -> bool:
        """Return whether the worker had a process killed for want of memory."""

    @abstractmethod
    def _end(self) -> None:
        """End everything in the worker and give back what it held. Does not raise."""
