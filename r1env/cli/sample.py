"""`r1env sample`: completions of a model, to read or to score later."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from r1env.cli import options as opt
from r1env.cli.console import printable, progress, stdout_console
from r1env.cli.rows import sampled_row
from r1env.data.sources import iterate
from r1env.errors import UsageError
from r1env.rollout import sample_rollouts
from r1env.runs.files import to_json


def sample(
    ctx: typer.Context,
    model: opt.Model,
    env: opt.EnvName = None,
    engine: opt.EngineName = "transformers",
    engine_options: opt.EngineOptions = None,
    data: opt.Data = None,
    columns: opt.Map = None,
    drop_repeated: opt.DropRepeated = False,
    env_options: opt.EnvOptions = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Number of tasks.")] = 4,
    n: opt.Samples = 1,
    temperature: opt.Temperature = 0.6,
    top_p: opt.TopP = 0.95,
    top_k: opt.TopK = 0,
    min_p: opt.MinP = 0.0,
    repetition_penalty: opt.RepetitionPenalty = 1.0,
    max_new_tokens: opt.MaxNewTokens = 512,
    stop: opt.Stop = None,
    ignore_eos: opt.IgnoreEOS = False,
    template: opt.Template = None,
    seed: opt.Seed = 0,
    batch_size: opt.BatchSize = 32,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write JSON Lines, which `r1env score` reads.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON Lines, which `r1env score` reads.")] = False,
) -> None:
    """Sample completions for the first tasks of an environment, and print or save them.

    \b
    Example:
      r1env sample --model smollm2-135m --env gsm8k --data gsm8k_test.jsonl --limit 2
      r1env sample --model smollm2-135m --env sort-4 --json | r1env score --reward math
    """
    plugins = opt.plugins_of(ctx)
    params = opt.make_sampling(
        stop,
        n=n,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        max_new_tokens=max_new_tokens,
        ignore_eos=ignore_eos,
        seed=seed,
    )
    environment = opt.open_environment(plugins, env, env_options, data, columns, drop_repeated=drop_repeated, template=template)
    tasks = list(iterate(environment.source, limit, seed))
    with contextlib.ExitStack() as stack:
        file = None
        if output is not None:
            try:
                file = stack.enter_context(output.open("w", encoding="utf-8"))
            except OSError as error:
                raise UsageError(f"cannot write {output}: {error.strerror}") from error
        with progress("loading the model"):
            source = stack.enter_context(contextlib.closing(opt.open_engine(plugins, engine, model, engine_options)))
        advance = stack.enter_context(progress("sampling"))
        for batch, start in enumerate(range(0, len(tasks), batch_size)):
            groups = sample_rollouts(environment, source, tasks[start : start + batch_size], params, batch=batch)
            for row in (sampled_row(rollout, index) for group in groups for index, rollout in enumerate(group)):
                if file is not None:
                    file.write(to_json(row) + "\n")
                elif as_json:
                    typer.echo(to_json(row))
                else:
                    _print(row)
            advance(min(start + batch_size, len(tasks)), len(tasks))


def _print(row: dict[str, Any]) -> None:
    console = stdout_console()
    prompt = row["prompt"] if isinstance(row["prompt"], str) else row["prompt"][-1]["content"]
    for heading, text in (
        ("task", row["id"]),
        ("prompt", prompt),
        ("answer", row.get("answer")),
        ("completion", row["completion"]),
    ):
        if text is not None:
            console.print(Text(f"{heading:<12}", "bold") + Text(printable(text)))
    console.print()
