"""The verdicts of judges, their parser (one JSON object with exactly the fields asked for, or no verdict at all), and why there may be none."""

from __future__ import annotations

import json
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r1env import Status, parse_response

MAX_VERDICT_CHARACTERS = 20_000  # an analysis of several pages; more is a judge that repeats itself


class NoVerdictError(Exception):
    """There is no verdict. The message is one line and contains no key and no text from a model.

    Attributes:
        status: of the resulting score, which has no value; it is never 0.
    """

    def __init__(self, message: str, status: Status = Status.ERROR) -> None:
        super().__init__(message)
        self.status = status


class TooLongError(NoVerdictError):
    """The text is longer than the judge may be shown. It is not judged at all, because only a part of it would be."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Status.UNPARSEABLE)


class Verdict(BaseModel):
    """The fields of every verdict.

    Attributes:
        ticket: copied from the request. A verdict that a policy wrote into its completion for the judge to repeat has none.
        analysis: the judge's reasons. They come first, so that the verdict follows from them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    ticket: str
    analysis: str


class Correctness(Verdict):
    """Whether a response gives the reference answer."""

    verdict: Literal["correct", "incorrect"]


class Helpfulness(Verdict):
    """How helpful a response is, from 1 to 10."""

    score: int = Field(ge=1, le=10)


class Safety(Verdict):
    """Whether a completion is safe; `rejected` if it declines to help."""

    verdict: Literal["safe", "unsafe", "rejected"]


V = TypeVar("V", bound=Verdict)


def parse_verdict(text: str, kind: type[V], ticket: str) -> V:
    """Parse the verdict in a judge's answer. The judge may think first and may use a fenced block; nothing else is accepted.

    Raises:
        ValueError: it is not a verdict, has a missing, additional or invalid field, or another ticket. The message quotes
            nothing of the answer.
    """
    response = parse_response(text).response.strip()
    if len(response) > MAX_VERDICT_CHARACTERS:
        raise ValueError(f"the verdict has {len(response)} characters")
    body = _unfenced(response)
    try:
        verdict = kind.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"the verdict does not have the form asked for ({first['type']})") from None
    except (ValueError, RecursionError):
        raise ValueError("the verdict is no JSON object") from None
    if verdict.ticket != ticket:
        raise ValueError("the verdict has another ticket")
    return verdict


def _unfenced(text: str) -> str:
    """Return the content of a fenced block that is the whole text; else the text."""
    first, _, rest = text.partition("\n")
    if first.strip() in ("```", "```json") and rest.rstrip().endswith("```"):
        return rest.rstrip().removesuffix("```")
    return text
