"""Why a judge gave no verdict: each error knows the status that the score gets. None of them is ever turned into a 0."""

from __future__ import annotations

from r1env import Status


class NoVerdictError(Exception):
    """There is no verdict. The message is one line, and holds no key and no text of a model."""

    status = Status.ERROR


class ServerError(NoVerdictError):
    """The server refused, failed, or sent what is no answer; `retry_after` (seconds) where it said when to come back."""

    def __init__(self, message: str, *, transient: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after = retry_after


class SilenceError(ServerError):
    """The server accepted a request and sent nothing, or could not be reached in time."""

    status = Status.TIMEOUT


class DeadlineError(NoVerdictError):
    """The deadline passed, retries included."""

    status = Status.TIMEOUT


class NonsenseError(NoVerdictError):
    """The judge answered, twice, what is no verdict."""


class TooLongError(NoVerdictError):
    """The text is longer than the judge may be shown. Part of it would be judged, so none of it is."""

    status = Status.UNPARSEABLE
