"""What can go wrong around a sandbox. What goes wrong *inside* one is a `Verdict`, never an exception."""

from __future__ import annotations


class SandboxUnavailable(RuntimeError):  # noqa: N818 - it says a state of the machine, not a fault of the caller
    """No sandbox can run here. The message carries the cause and what to do about it."""

    def __init__(self, cause: str) -> None:
        """
        Args:
            cause: what was tried and how it failed, in one line ("no Docker socket at /var/run/docker.sock").
        """
        super().__init__(
            f"no sandbox is available: {cause}. Install Docker (https://docs.docker.com/engine/install/), start it, and check "
            "that `docker info` works for this user; a remote engine is used when DOCKER_HOST names one"
        )
        self.cause = cause
