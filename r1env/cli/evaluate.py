"""`r1env eval`: how often a model is right in an environment."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from r1env.cli import options as opt
from r1env.cli.console import percent, print_json, print_table, progress, told
from r1env.envs.environment import make_evaluation_environment
from r1env.envs.suite import Suite
from r1env.errors import UsageError
from r1env.evaluation import Evaluation, evaluate
from r1env.preflight import Mode, Preflight, check_suites
from r1env.runs.files import replace_text, to_json


def evaluate_command(
    ctx: typer.Context,
    model: opt.Model,
    env: opt.EnvName,
    engine: opt.EngineName = "transformers",
    engine_options: opt.EngineOptions = None,
    data: opt.Data = None,
    env_options: opt.EnvOptions = None,
    limit: opt.Limit = None,
    n: opt.Samples = 1,
    temperature: opt.Temperature = 0.6,
    top_p: opt.TopP = 0.95,
    max_new_tokens: opt.MaxNewTokens = 512,
    template: opt.Template = None,
    rubric: opt.RubricName = "accuracy",
    seed: opt.Seed = 0,
    batch_size: opt.BatchSize = 32,
    preflight: Annotated[
        Mode,
        typer.Option("--preflight", help="Check references, prompts and rewards before the first task: refuse, report or off."),
    ] = "refuse",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write JSON Lines to this file, one line per completion.")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Evaluate a model: accuracy with its 95 % interval, pass@k, statuses, lengths.

    The sampling defaults are DeepSeek-R1's protocol: temperature 0.6, top-p 0.95. Use --n for several completions a task.

    \b
    Example:
      r1env eval --model smollm2-135m --env gsm8k --data gsm8k_test.jsonl --limit 16
      r1env eval --model runs/mine/checkpoints/rl/model --env sort-4 --temperature 0
    """
    plugins = opt.plugins_of(ctx)
    params = opt.make_sampling(n, temperature, top_p, max_new_tokens, seed)
    environment = opt.open_environment(
        plugins, env, env_options, data, make_evaluation_environment, template=template, rubric=rubric
    )
    if output is not None and not output.parent.is_dir():
        raise UsageError(f"cannot write {output}: there is no folder {output.parent}")
    with progress("loading the model"):
        source = opt.open_engine(plugins, engine, model, engine_options)
    limit = opt.limit_for(environment, limit)
    with contextlib.closing(source):
        with told(partial(typer.echo, err=True), "r1env.preflight"), progress("checking") as advance:
            suite = Suite(environment.name, [environment])
            check_suites([suite], Preflight(mode=preflight), source, count=limit, seed=seed, progress=advance)
        with progress("evaluating") as advance:
            found = evaluate(environment, source, params, limit, seed, advance, batch_size=batch_size)
    if output is not None:
        replace_text(output, "".join(to_json(row.model_dump(mode="json")) + "\n" for row in found.rows))
    if as_json:
        print_json({"model": model, "split": environment.split or "all", **found.model_dump(mode="json", exclude={"rows"})})
    else:
        print_table(("", ""), _lines(found, model), title=f"{found.environment}, split {environment.split or 'all'}")


def _lines(found: Evaluation, model: str) -> list[tuple[str, Any]]:
    interval = "" if found.interval is None else f"  (95 %: {percent(found.interval[0])} to {percent(found.interval[1])})"
    lines: list[tuple[str, Any]] = [
        ("model", model),
        ("tasks", found.tasks if found.samples == 1 else f"{found.tasks}, {found.samples} completions each"),
        ("accuracy", percent(found.accuracy) + interval),
    ]
    lines += [(f"pass@{k}", percent(value)) for k, value in found.pass_at.items()]
    lines += [(part, f"{value:.3f}") for part, value in found.parts.items()]
    lines += [("statuses", ", ".join(f"{status} {count}" for status, count in found.statuses.items()))]
    lines += [("unscored", f"{found.unscored} (left out of the accuracy)")] if found.unscored else []
    lines += [("mean length", f"{found.mean_length:.0f}"), ("cut off", percent(found.truncated))]
    return lines
