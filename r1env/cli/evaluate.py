"""`r1env eval`, `compare` and `rescore`: how often models are right, kept in a folder."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict

from r1env.cli import options as opt
from r1env.cli.console import percent, print_json, print_table, progress, told
from r1env.config import parse_overrides
from r1env.data.sources import ListSource, iterate
from r1env.engines import Engine, SamplingParams
from r1env.envs.environment import Environment, make_evaluation_environment
from r1env.envs.suite import Member, Suite, members_of
from r1env.errors import EngineError, UsageError
from r1env.evaluation import Evaluation, EvaluationRow, accuracy_cell, evaluate, paired_difference
from r1env.evaluation.evaluate import score_again
from r1env.evaluation.run import EvaluationRun, check_same, describe_environment, line_of
from r1env.plugins import Plugins
from r1env.preflight import Mode, Preflight, check_suites
from r1env.runs.files import json_lines, replace_text, unused_path

OutputFolder = Annotated[
    Path | None,
    typer.Option(
        "--output", metavar="DIR", help="Folder of the result. Default: a new one in runs/. FILE.jsonl: the rows alone."
    ),
]


def evaluate_command(
    ctx: typer.Context,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Model: a name, a folder or a hub name. Repeatable.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", "--suite", help="Environment or suite (see `r1env envs`). Repeatable.")
    ] = None,
    engine: opt.EngineName = "transformers",
    engine_options: opt.EngineOptions = None,
    data: opt.Data = None,
    columns: opt.Map = None,
    drop_repeated: opt.DropRepeated = False,
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
    output: OutputFolder = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="DIR", help="Complete this evaluation: what is missing, and what failed.")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Evaluate models: accuracy with its 95 % interval, pass@k, statuses, lengths.

    The sampling defaults are DeepSeek-R1's protocol: temperature 0.6, top-p 0.95. Use --n for several completions a task; the
    accuracy is then pass@1, the mean over them. Every completion is kept as soon as it is scored, and --resume completes what was cut short.

    \b
    Example:
      r1env eval --model smollm2-135m --env gsm8k --data gsm8k_test.jsonl --limit 16
      r1env eval --model smollm2-135m --data mine.parquet --map question=q,answer=a --limit 16
      r1env eval --model runs/mine/checkpoints/rl/model --model smollm2-135m --env sort-4 --env add-1digit --temperature 0
      r1env eval --resume runs/eval-sort-4-20260131-120000
    """
    plugins = opt.plugins_of(ctx)
    run = None if resume is None else EvaluationRun.open(resume)
    if run is not None:
        asked = _Asked.model_validate(run.settings)
    elif not model or not (env or data):
        raise UsageError(
            f"give --model and --env or --data, or --resume with the folder of an evaluation (see `{ctx.command_path} --help`)"
        )
    else:
        given = parse_overrides(env_options or []) | opt.data_options(data, columns, drop_repeated=drop_repeated)
        if data is not None and Path(data).exists():
            given["data"] = str(Path(data).resolve())
        asked = _Asked(
            models=tuple(model),
            env=tuple(env or [opt.name_of_environment(None, data)]),
            engine=engine,
            engine_options=parse_overrides(engine_options or []),
            env_options=given,
            template=template,
            rubric=rubric,
            sampling=opt.make_sampling(n, temperature, top_p, max_new_tokens, seed),
            limit=limit,
            seed=seed,
            batch_size=batch_size,
        )
    environments = asked.open(plugins)
    rows_only = output is not None and output.suffix == ".jsonl"
    if rows_only and output is not None and not output.parent.is_dir():
        raise UsageError(f"cannot write {output}: there is no folder {output.parent}")
    settings = asked.settings(environments)
    if run is not None:
        check_same(run.settings, settings, run.path)
    elif not rows_only:
        run = EvaluationRun.create(output or _new_folder(asked.env), settings, seed=seed, command=["r1env", *sys.argv[1:]])
    with contextlib.nullcontext() if run is None else run.writing():
        try:
            found = _evaluate(asked, environments, plugins, run, Preflight(mode=preflight))
        except (EngineError, KeyboardInterrupt):
            if run is not None:
                typer.echo(f"what was scored is kept; go on with r1env eval --resume {run.path}", err=True)
            raise
        if run is not None:
            run.finish(found)
    if rows_only and output is not None:
        lines = json_lines(line_of(*pair, row) for pair, one in found.items() for row in one.rows)
        replace_text(output, lines.decode("ascii"))
    _show(found, environments, as_json)
    if run is not None and not as_json:
        typer.echo(f"kept in {run.path}; compare it with another by `r1env compare {run.path} OTHER`", err=True)


class _Asked(BaseModel):
    """What is to be evaluated, and how. A manifest keeps it, with a description of the environments beside it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    models: tuple[str, ...]
    env: tuple[str, ...]
    engine: str
    engine_options: Mapping[str, Any]
    env_options: Mapping[str, Any]
    template: str | None
    rubric: str
    sampling: SamplingParams
    limit: int | None
    seed: int
    batch_size: int

    def settings(self, environments: list[Environment]) -> dict[str, Any]:
        """Return everything that a manifest keeps."""
        return {**self.model_dump(mode="json"), "environments": [describe_environment(one) for one in environments]}

    def open(self, plugins: Plugins) -> list[Environment]:
        """Open the environments; a suite stands for its members.

        Raises:
            UsageError: a wrong name or option, or an environment that is named twice.
        """
        members: list[Member] = []
        for name in self.env:
            members += members_of(name, plugins) if name in plugins.provided("suites") else [Member(name)]
        names = [member.environment for member in members]
        if twice := sorted(
            {name for name in names if names.count(name) > 1} | {m for m in self.models if self.models.count(m) > 1}
        ):
            raise UsageError(f"{twice[0]!r} is named twice")
        if not members:
            raise UsageError(f"no environment is a member of {', '.join(self.env)}")
        return [self._open(member, plugins) for member in members]

    def _open(self, member: Member, plugins: Plugins) -> Environment:
        environment = opt.open_environment(
            plugins,
            member.environment,
            {**member.options, **self.env_options},
            None,
            make=make_evaluation_environment,
            template=self.template,
            rubric=self.rubric,
        )
        if member.tasks is None:
            return environment
        return replace(environment, source=ListSource(list(iterate(environment.source, member.tasks, self.seed))))


def _evaluate(
    asked: _Asked, environments: list[Environment], plugins: Plugins, run: EvaluationRun | None, preflight: Preflight
) -> dict[tuple[str, str], Evaluation]:
    done: dict[tuple[str, str], list[EvaluationRow]] = {}
    for model, name, row in run.rows() if run is not None else ():
        done.setdefault((model, name), []).append(row)
    found = {}
    for model in asked.models:
        with progress("loading the model"):
            source = opt.open_engine(plugins, asked.engine, model, dict(asked.engine_options))
        with contextlib.closing(source):
            _check(asked, environments, source, preflight)
            for environment in environments:
                pair = (model, environment.name)

                def keep(rows: Any, pair: tuple[str, str] = pair) -> None:
                    if run is not None:
                        run.append(*pair, rows)

                with progress(f"evaluating {environment.name}") as advance:
                    found[pair] = evaluate(
                        environment,
                        source,
                        asked.sampling,
                        opt.limit_for(environment, asked.limit),
                        asked.seed,
                        advance,
                        batch_size=asked.batch_size,
                        done=done.get(pair, ()),
                        keep=keep,
                    )
    return found


def _check(asked: _Asked, environments: list[Environment], engine: Engine, preflight: Preflight) -> None:
    with told(partial(typer.echo, err=True), "r1env.preflight"), progress("checking the tasks") as advance:
        for environment in environments:
            count = opt.limit_for(environment, asked.limit)
            suite = Suite(environment.name, [environment])
            check_suites([suite], preflight, engine, count=count, seed=asked.seed, progress=advance)


def _new_folder(envs: tuple[str, ...]) -> Path:
    """Return a path in `runs` that nothing has yet, named after the first environment."""
    name = envs[0].replace("/", "-").replace(":", "-") + ("" if len(envs) == 1 else "-and-more")
    return unused_path(Path("runs"), f"eval-{name}-{time.strftime('%Y%m%d-%H%M%S')}")


def _show(found: Mapping[tuple[str, str], Evaluation], environments: list[Environment], as_json: bool) -> None:
    splits = {environment.name: environment.split or "all" for environment in environments}
    if as_json:
        data = [
            {"model": model, "split": splits[name], **one.model_dump(mode="json", exclude={"rows"})}
            for (model, name), one in found.items()
        ]
        print_json(data[0] if len(data) == 1 else data)
    elif len(found) == 1:
        [((model, name), one)] = found.items()
        print_table(("", ""), _lines(one, model), title=f"{name}, split {splits[name]}")
    else:
        models = list(dict.fromkeys(model for model, _ in found))
        rows = [(model, *(accuracy_cell(found[model, name]) for name in splits)) for model in models]
        print_table(("model", *splits), rows, title="accuracy and its 95 % interval")
        unscored = sum(one.unscored for one in found.values())
        if unscored:
            typer.echo(f"{unscored} completions are unscored and left out of the accuracy", err=True)


def _lines(found: Evaluation, model: str) -> list[tuple[str, Any]]:
    interval = "" if found.interval is None else f"  (95 %: {percent(found.interval[0])} to {percent(found.interval[1])})"
    lines: list[tuple[str, Any]] = [
        ("model", model),
        ("tasks", found.tasks if found.samples == 1 else f"{found.tasks}, {found.samples} completions each"),
        ("accuracy", percent(found.accuracy) + interval),
    ]
    lines += [(f"pass@{k}", percent(value)) for k, value in found.pass_at.items()]
    lines += [(f"cons@{found.samples}", percent(found.consensus))] if found.consensus is not None else []
    lines += [(part, f"{value:.3f}") for part, value in found.parts.items()]
    lines += [("statuses", ", ".join(f"{status} {count}" for status, count in found.statuses.items()))]
    if found.unscored:
        lines.append(("unscored", f"{found.unscored} (left out of the accuracy)"))
        reasons = Counter(row.score.reason or str(row.score.status) for row in found.rows if row.correct is None)
        lines += [("mostly because", reason) for reason, _ in reasons.most_common(1)]
    lines += [("mean length", f"{found.mean_length:.0f}"), ("cut off", percent(found.truncated))]
    return lines


# `r1env compare`: the same tasks, two models.


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders that `r1env eval` wrote; the first is the base.")
    ],
    by: Annotated[
        str | None, typer.Option("--by", metavar="KEY", help="Also by a key of the tasks' metadata, such as level or subject.")
    ] = None,
    flips: Annotated[int, typer.Option("--flips", min=0, help="Tasks to list whose verdict changed.")] = 10,
    as_json: opt.Json = False,
) -> None:
    """Compare models on the tasks that they have in common: differences with intervals and significance, and tasks that flipped.

    \b
    Example:
      r1env compare runs/eval-gsm8k-base runs/eval-gsm8k-trained
      r1env compare runs/eval-two-models --by level
    """
    contestants = _contestants(runs)
    if len(contestants) < 2:
        raise UsageError("there is one model only: name another evaluation, or one of several models")
    base, *others = contestants
    rows, data, listed, left_out = [], [], [], 0
    for other in others:
        for environment in [name for name in base.tasks if name in other.tasks]:
            strata = _strata(base.tasks[environment], other.tasks[environment], by)
            left_out += len(base.tasks[environment].keys() | other.tasks[environment].keys()) - len(strata.get("", ()))
            for stratum, pairs in strata.items():
                first, second = [fmean(a) for a, _ in pairs.values()], [fmean(b) for _, b in pairs.values()]
                found = paired_difference(first, second)
                low, high = found.interval
                rows.append(
                    (
                        environment + (f", {by} {stratum}" if stratum else ""),
                        f"{base.label} → {other.label}",
                        len(pairs),
                        f"{percent(fmean(first))} → {percent(fmean(second))}",
                        f"{100 * found.difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
                        f"{found.p_value:.3g} ({found.test})",
                        f"+{found.better} −{found.worse}",
                    )
                )
                data.append(
                    {
                        "environment": environment,
                        "stratum": stratum or None,
                        "base": base.label,
                        "other": other.label,
                        "tasks": len(pairs),
                        "accuracy": [fmean(first), fmean(second)],
                        "difference": found.difference,
                        "interval": list(found.interval),
                        "p_value": found.p_value,
                        "test": found.test,
                        "better": found.better,
                        "worse": found.worse,
                    }
                )
                if not stratum:
                    listed += _flips(environment, pairs)
    if not rows:
        raise UsageError("the evaluations have no task in common: compare runs of the same environment, split and seed")
    if as_json:
        flipped = [{"environment": e, "task": t, "change": c} for e, t, c in listed]
        print_json({"comparisons": data, "flips": flipped, "left_out": left_out})
        return
    print_table(("environment", "models", "tasks", "accuracy", "difference, points", "p", "tasks changed"), rows)
    if left_out:
        typer.echo(
            f"{left_out} tasks are left out: one model lacks them, has no score for them, or was asked another question",
            err=True,
        )
    if flips and listed:
        print_table(("environment", "task", "change"), listed[:flips], title=f"tasks that flipped ({len(listed)})")


@dataclass(frozen=True, slots=True)
class _Contestant:
    """A model of an evaluation: environment → task → (its verdicts, a row of it)."""

    label: str
    tasks: dict[str, dict[str, tuple[list[bool], EvaluationRow]]]


def _contestants(runs: list[Path]) -> list[_Contestant]:
    found: list[_Contestant] = []
    for path in runs:
        tasks: dict[str, dict[str, dict[str, tuple[list[bool], EvaluationRow]]]] = {}
        for model, environment, row in EvaluationRun.open(path).rows():
            of_task = tasks.setdefault(model, {}).setdefault(environment, {})
            of_task.setdefault(row.task_id, ([], row))[0].extend([] if row.correct is None else [row.correct])
        found += [_Contestant(model if len(runs) == 1 else f"{path.name}:{Path(model).name}", tasks[model]) for model in tasks]
    return found


_Pairs = dict[str, tuple[list[bool], list[bool]]]


def _strata(
    first: Mapping[str, tuple[list[bool], EvaluationRow]],
    second: Mapping[str, tuple[list[bool], EvaluationRow]],
    by: str | None,
) -> dict[str, _Pairs]:
    """Return the tasks that both have, all together under the name "", then by the value of `by`."""
    strata: dict[str, _Pairs] = {}
    for task in first.keys() & second.keys():
        (a, row), (b, other) = first[task], second[task]
        if not a or not b or row.prompt != other.prompt:
            continue  # unscored, or the same id for another question: another seed or another file
        strata.setdefault("", {})[task] = (a, b)
        if by is not None:
            strata.setdefault(str(row.metadata.get(by, "none")), {})[task] = (a, b)
    return {name: dict(sorted(strata[name].items())) for name in sorted(strata)}


def _flips(environment: str, pairs: _Pairs) -> list[tuple[str, str, str]]:
    """Return the tasks whose majority of completions changed from right to wrong or back."""
    changed = []
    for task, (a, b) in pairs.items():
        before, after = fmean(a), fmean(b)
        if (before > 0.5) != (after > 0.5):
            changed.append((environment, task, f"{before:.2g} → {after:.2g}"))
    return changed


# `r1env rescore`: new scores for old completions.


def rescore(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `r1env eval` wrote.")],
    rubric: opt.RubricName = "accuracy",
    output: OutputFolder = None,
    as_json: opt.Json = False,
) -> None:
    """Score the completions of an evaluation again, say after a reward was mended, without sampling any.

    \b
    Example:
      r1env rescore runs/eval-gsm8k-20260131-120000
      r1env rescore runs/eval-gsm8k-20260131-120000 --rubric my_rubric.yaml --output runs/rescored
    """
    plugins = opt.plugins_of(ctx)
    old = EvaluationRun.open(source)
    if not old.complete:
        raise UsageError(f"{source} is not complete; go on with it first by r1env eval --resume {source}")
    asked = _Asked.model_validate(old.settings | {"rubric": rubric})
    environments = asked.open(plugins)
    by_pair: dict[tuple[str, str], list[EvaluationRow]] = {}
    for model, name, row in old.rows():
        by_pair.setdefault((model, name), []).append(row)
    found: dict[tuple[str, str], Evaluation] = {}
    for model, environment in itertools.product(asked.models, environments):
        tasks = list(iterate(environment.source, opt.limit_for(environment, asked.limit), asked.seed))
        rows = by_pair[model, environment.name]
        found[model, environment.name] = score_again(environment, tasks, rows, asked.sampling.n)
    settings = asked.settings(environments) | {"rescored_from": str(source.resolve())}
    run = EvaluationRun.create(output or _new_folder(asked.env), settings, seed=asked.seed, command=["r1env", *sys.argv[1:]])
    with run.writing():
        run.finish(found)
    pairs = [
        (before, after)
        for pair, one in found.items()
        for before, after in zip(sorted(by_pair[pair], key=lambda row: (row.position, row.sample)), one.rows, strict=True)
    ]
    changed = sum(before.correct != after.correct for before, after in pairs)
    _show(found, environments, as_json)
    if not as_json:
        typer.echo(f"{changed} of {len(pairs)} verdicts changed; kept in {run.path}", err=True)
