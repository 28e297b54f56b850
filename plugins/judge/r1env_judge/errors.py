"""Why a judge gave no verdict. Each error has the status of the resulting score, which has no value; it is never 0."""

from __future__ import annotations

from r1env import Status


class NoVerdictError(Exception):
    """There is no verdict. The message is one line and contains no key and no text from a model."""

    status = Status.ERROR


class ServerError(NoVerdictError):
    """The server refused, failed, or sent something that is not an answer; `retry_after` is in seconds if it named a time."""

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
    """The judge twice gave an answer that is not a verdict."""


class TooLongError(NoVerdictError):
    """The text is longer than the judge may be shown. It is not judged at all, because only a part of it would be."""

    status = Status.UNPARSEABLE
