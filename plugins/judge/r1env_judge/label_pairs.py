"""`r1env label-pairs`: pairs of responses in, preference pairs with a judge's votes out. Goes on where it was stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, Field

from r1env import UsageError
from r1env.cli.console import progress
from r1env.config import parse_overrides, validate
from r1env.data.sources import read_jsonl
from r1env.prompts import parse_response
from r1env.types import Conversation, Message
from r1env_judge.errors import NoVerdictError
from r1env_judge.prompts import preference
from r1env_judge.rewards import MAX_CHARACTERS, JudgeServer
from r1env_judge.server import ServerSettings
from r1env_judge.votes import Preference, labelled_pair, lead_of_first, vote_orders


class PairToJudge(BaseModel):
    """An input row. Further fields are carried along."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    prompt: str | tuple[Message, ...]
    responses: tuple[str, str]

    @property
    def conversation(self) -> Conversation:
        return ({"role": "user", "content": self.prompt},) if isinstance(self.prompt, str) else self.prompt


class Settings(ServerSettings):
    """Those of the server, but by default warm: votes that are all alike would be one vote."""

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

    Of each response only what follows the thinking is shown. A pair without all its votes is not written; run the command again to
    try those that are missing. The trainer `reward_model` drops pairs whose mean vote is small.

    \b
    Example:
      r1env label-pairs --input responses.jsonl --output pairs.jsonl --url http://localhost:8000/v1 --model qwen
      r1env train reward_model --preset tiny-cpu --set data=pairs.jsonl
    """
    if votes % 2:
        raise UsageError(f"--votes {votes}: give an even number, so that each order is seen as often as the other")
    options = {"url": url, "model": model, "api_key_env": api_key_env, **parse_overrides(settings or [])}
    server = validate(Settings, options, where="label-pairs")
    pairs = read_pairs(input_)
    done = {str(row.get("id")) for row in read_jsonl(output)} if output.exists() else set()
    todo = [pair for pair in pairs if pair.id not in done]
    with progress("judging") as advance, output.open("a", encoding="utf-8") as file:

        def keep(row: dict[str, Any], judged: int) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()
            advance(judged, len(todo))

        failures, usage = asyncio.run(judge_pairs(todo, server, votes, seed, keep))
    told = ", ".join(f"{name} {value:g}" for name, value in usage.items())
    typer.echo(f"{len(todo) - len(failures)} pairs judged, {len(done)} were there before; {told}", err=True)
    if failures:
        typer.echo(f"error: {len(failures)} pairs have no votes, the first since: {failures[0]}; run it again", err=True)
        raise typer.Exit(1)


def read_pairs(file: Path) -> list[PairToJudge]:
    """The rows of the input; one without an id gets its number.

    Raises:
        UsageError: a row that is no pair, or two rows of one id.
    """
    rows = enumerate(read_jsonl(file), start=1)
    pairs = [validate(PairToJudge, {**row, "id": str(row.get("id", n))}, where=f"{file}, row {n}") for n, row in rows]
    if len({pair.id for pair in pairs}) < len(pairs):
        raise UsageError(f"{file}: two rows have one id; ids tell which pairs are judged already")
    return pairs


async def judge_pairs(
    pairs: Sequence[PairToJudge], settings: ServerSettings, votes: int, seed: int, keep: Callable[[dict[str, Any], int], None]
) -> tuple[list[str], dict[str, float]]:
    """Judge all pairs, a few at once; `keep` gets each row, and how many there are, as soon as its votes are in.

    Returns:
        why pairs have no votes, one line each; and what the judge used.
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
    """One pair with all its votes.

    Raises:
        NoVerdictError: a vote could not be had.
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
