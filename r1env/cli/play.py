"""`r1env play`: a person, or a script, plays an episode in the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from r1env.cli.console import print_json
from r1env.cli.options import Data, EnvOptions, Json, Map, RubricName, Seed, Template, names_of, open_environment, plugins_of
from r1env.envs.conversation import Episode
from r1env.errors import UsageError
from r1env.scoring import score
from r1env.types import Completion, Message, Score


def play(
    ctx: typer.Context,
    env: Annotated[
        str | None,
        typer.Argument(metavar="[ENV]", autocompletion=names_of("environments"), help="Environment (see `r1env envs`)."),
    ] = None,
    options: EnvOptions = None,
    data: Data = None,
    columns: Map = None,
    rubric: RubricName = "accuracy",
    template: Template = None,
    index: Annotated[int, typer.Option("--index", min=0, help="Index of the task.")] = 0,
    seed: Seed = 0,
    script: Annotated[
        Path | None,
        typer.Option(
            "--script", metavar="FILE", help="Take the turns from this file, one a line; a JSON string may hold several lines."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Play an episode in the terminal.

    Each line is a turn of the model: plain text, or a JSON string if it has several lines. Call tools as a model does, with a
    JSON object in <tool_call> tags. The end of the input (Ctrl-D) abandons the episode.

    The exit code is 0 if the episode has a score, and 1 if it was abandoned or could not be scored.

    \b
    Example:
      r1env play guess-number
      r1env play sort-4 --script turns.txt --json
    """
    environment = open_environment(plugins_of(ctx), env, options, data, columns, rubric=rubric, template=template)
    episode = environment.open(environment.task(index, seed))
    turns = _turns(_lines(script))
    try:
        if not as_json:
            _show(episode.messages, episode)
        while not episode.done:
            text = next(turns, None)
            if text is None:
                raise UsageError(f"the episode was given up after {episode.turns} turns")
            episode.submit(Completion(text=text))
            if not as_json:
                _show(episode.replies)
    finally:
        episode.close()
    (found,) = score([episode.rollout()], environment.rubric, notify=False)
    _end(episode, found, as_json=as_json)
    if found.value is None:
        raise typer.Exit(1)


def _lines(script: Path | None) -> Iterable[str]:
    if script is None:
        return typer.get_text_stream("stdin")
    try:
        return script.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {script}: {error}") from error


def _turns(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        text: Any = line.rstrip("\n")
        if text.startswith('"'):
            try:
                text = json.loads(text)
            except ValueError:  # a line that begins with a quotation mark
                text = line.rstrip("\n")
        yield str(text)


def _show(messages: Iterable[Message], opening: Episode | None = None) -> None:
    for message in messages:
        typer.echo(f"[{message['role']}] {message['content']}")
    if opening is not None and opening.tools:
        typer.echo("tools: " + "; ".join(f"{tool.name}: {tool.description}" for tool in opening.tools))


def _end(episode: Episode, found: Score, *, as_json: bool) -> None:
    if as_json:
        rollout = episode.rollout()
        print_json(
            {
                "task": episode.task.id,
                "turns": episode.turns,
                "ended_by": rollout.ended_by,
                "messages": rollout.messages,
                "score": found.model_dump(mode="json"),
            }
        )
        return
    typer.echo(f"ended by the {episode.ended_by} after {episode.turns} turns")
    value = "no score" if found.value is None else f"score {found.value:g}"
    typer.echo(f"{value} ({found.status}{': ' + found.reason if found.reason else ''})")
