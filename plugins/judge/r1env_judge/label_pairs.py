"""`r1env label-pairs`: read pairs of responses, write preference pairs with a judge's votes. A stopped command can be continued.

DeepSeek-R1's pairs are judged four times in random order, because judges favour what they read first. Here half of the votes
see each order, so that such a bias cancels exactly; which vote sees which order is random.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel, ConfigDict, Field

from r1env import UsageError
from r1env.cli.console import progress
from r1env.config import parse_overrides, validate
from r1env.data import read_rows
from r1env.prompts import parse_response
from r1env.types import Conversation, Message
from r1env_judge.prompts import preference
from r1env_judge.rewards import MAX_CHARACTERS, JudgeServer
from r1env_judge.server import ServerSettings
from r1env_judge.verdicts import NoVerdictError, Verdict

LEADS: Mapping[str, int] = {"A>>B": 2, "A>B": 1, "A=B": 0, "B>A": -1, "B>>A": -2}
"""The lead of the response shown first, by verdict."""


class Preference(Verdict):
    """A verdict on which of the two responses shown is better, and how clearly."""

    verdict: Literal["A>>B", "A>B", "A=B", "B>A", "B>>A"]


class PairToJudge(BaseModel):
    """An input row. Further fields are copied to the output."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    prompt: str | tuple[Message, ...]
    responses: tuple[str, str]

    @property
    def conversation(self) -> Conversation:
        return ({"role": "user", "content": self.prompt},) if isinstance(self.prompt, str) else self.prompt


class Settings(ServerSettings):
    """The settings of the server, with the temperature 1 by default: equal votes would count as one."""

    temperature: float = Field(default=1.0, ge=0)


def label_pairs(
    input_: Annotated[Path, typer.Option("--input", metavar="FILE", help="JSON Lines with a prompt and two responses.")],
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="File for the judged pairs; an existing one is continued.")
    ],
    url: Annotated[str, typer.Option("--url", help="Base URL of an OpenAI-compatible server, ending in /v1.")],
    model: Annotated[str, typer.Option("--model", help="Name of the judge model on the server.")],
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="NAME", help="Environment variable with the server's API key.")
    ] = None,
    votes: Annotated[int, typer.Option("--votes", min=2, help="Votes per pair: an even number, half in each order.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the order of the responses.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Other setting of the server, e.g. concurrency=32. Repeatable."),
    ] = None,
) -> None:
    """Let a judge choose between two responses, several times in both orders, and write preference pairs with the votes.

    The judge sees only what follows the thinking. A pair is written once it has all its votes; run the command again to retry
    the missing ones. The trainer `reward_model` drops pairs whose mean vote is small.

    \b
    Example:
      r1env label-pairs --input responses.jsonl --output pairs.jsonl --url http://localhost:8000/v1 --model qwen
      r1env train reward_model --preset tiny-cpu --set data=pairs.jsonl
    """
    if votes % 2:
        raise UsageError(f"--votes {votes}: give an even number, so that both orders are seen equally often")
    options = {"url": url, "model": model, "api_key_env": api_key_env, **parse_overrides(settings or [])}
    server = validate(Settings, options, where="label-pairs")
    pairs = read_pairs(input_)
    done = {str(row.get("id")) for row in read_rows(output)} if output.exists() and output.stat().st_size else set()
    todo = [pair for pair in pairs if pair.id not in done]
    with progress("judging") as advance, output.open("a", encoding="utf-8") as file:

        def keep(row: dict[str, Any], judged: int) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()
            advance(judged, len(todo))

        failures, usage = asyncio.run(judge_pairs(todo, server, votes, seed, keep))
    used = ", ".join(f"{name} {value:g}" for name, value in usage.items())
    typer.echo(f"{len(todo) - len(failures)} pairs judged, {len(done)} were judged before; {used}", err=True)
    if failures:
        typer.echo(
            f"error: {len(failures)} pairs have no votes, the first because {failures[0]}; run the command again", err=True
        )
        raise typer.Exit(1)


def read_pairs(file: Path) -> list[PairToJudge]:
    """Return the rows of the input; a row without an id gets its row number.

    Raises:
        UsageError: a row is not a pair, or two rows have the same id.
    """
    pairs = [validate(PairToJudge, {**row, "id": str(row.get("id", row.number))}, where=row.where) for row in read_rows(file)]
    if len({pair.id for pair in pairs}) < len(pairs):
        raise UsageError(f"{file}: two rows have the same id; ids tell which pairs were judged before")
    return pairs


async def judge_pairs(
    pairs: Sequence[PairToJudge], settings: ServerSettings, votes: int, seed: int, keep: Callable[[dict[str, Any], int], None]
) -> tuple[list[str], dict[str, float]]:
    """Judge all pairs, a few at a time; `keep` is called with each row and the number of rows as soon as its votes are in.

    Returns:
        One line for each pair without votes that says why, and the judge's usage.
    """
    judge, failures, judged = JudgeServer(settings), list[str](), 0
    turns = asyncio.Semaphore(settings.concurrency)  # pairs under way; the client bounds the requests

    async def one(pair: PairToJudge) -> None:
        nonlocal judged
        async with turns:
            try:
                row = await judge_pair(pair, judge, votes, seed)
            except NoVerdictError as error:
                failures.append(str(error))
                return
            judged += 1
            keep(row, judged)

    try:
        await asyncio.gather(*map(one, pairs))
        return failures, judge.server.usage.report(settings)
    finally:
        await judge.server.close()


async def judge_pair(pair: PairToJudge, judge: JudgeServer, votes: int, seed: int) -> dict[str, Any]:
    """Return the row of one pair with all its votes.

    Raises:
        NoVerdictError: the judge gave no verdict for a vote.
    """
    first, second = pair.responses
    shown = [parse_response(response).summary for response in pair.responses]
    orders = vote_orders(votes, f"{seed}:{pair.id}")

    async def vote(number: int, swapped: bool) -> int:
        a, b = reversed(shown) if swapped else shown
        messages, ticket = preference(pair.conversation, a, b, MAX_CHARACTERS)
        verdict = await judge.verdict(messages, ticket, Preference, seed=2 * (votes * seed + number))
        return lead_of_first(verdict.verdict, swapped)

    leads = await asyncio.gather(*(vote(number, swapped) for number, swapped in enumerate(orders)))
    return labelled_pair(pair.model_dump(exclude={"responses"}), first, second, leads, orders)


def vote_orders(votes: int, seed: str) -> list[bool]:
    """Return for each vote whether the second response is shown first: true for a random half, drawn from `seed`."""
    orders = [vote % 2 == 1 for vote in range(votes)]
    random.Random(seed).shuffle(orders)
    return orders


def lead_of_first(verdict: str, swapped: bool) -> int:
    """Return the lead of the first response, from -2 to 2, whatever the order it was shown in."""
    return -LEADS[verdict] if swapped else LEADS[verdict]


def labelled_pair(
    row: Mapping[str, Any], first: str, second: str, leads: Sequence[int], swapped: Sequence[bool]
) -> dict[str, Any]:
    """Return the row of a judged pair, as the trainer `reward_model` reads it. In a tie the first response is the chosen one.

    Args:
        row: fields that are copied: the prompt, an id.
        leads: lead of the first response, one number a vote.
        swapped: for each vote, whether the second response was shown first.
    """
    mean = math.fsum(leads) / len(leads)
    chosen, rejected, votes = (first, second, list(leads)) if mean >= 0 else (second, first, [-lead for lead in leads])
    return {
        **row,
        "chosen": chosen,
        "rejected": rejected,
        "votes": votes,
        "margin": abs(mean),
        "second_shown_first": list(swapped),
    }
