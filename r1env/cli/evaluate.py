"""`r1env eval`, `compare`, `table`, `scaling` and `rescore`: how often models are right, kept in a folder."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

from r1env.cli import options as opt
from r1env.cli.console import percent, print_json, print_table, progress, told
from r1env.config import parse_overrides
from r1env.data.sources import iterate
from r1env.engines import Engine
from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.errors import EngineError, UsageError
from r1env.evaluation import Evaluation, EvaluationRow, accuracy_cell, evaluate, paired_difference
from r1env.evaluation.evaluate import check_rows, rollouts_of, score_again
from r1env.evaluation.plan import EvaluationPlan
from r1env.evaluation.run import EvaluationRun, check_same, line_of
from r1env.evaluation.scaling import Budget, Point, budget_point, curves, figures, force_budget
from r1env.evaluation.tables import Verdicts, by_stratum, common_tasks, paper_table, read_contestants
from r1env.monitoring.report import check_installed, render_page
from r1env.plugins import Plugins
from r1env.preflight import Mode, Preflight, check_suites
from r1env.rewards import Reward
from r1env.rubrics import RewardChoice, RubricSpec
from r1env.runs.files import json_lines, replace_text, unused_path
from r1env.runs.tables import Table
from r1env.scoring import score

OutputFolder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="DIR",
        help="Folder for the result; FILE.jsonl writes only the rows. Default: a new folder in runs/.",
    ),
]


def evaluate_command(
    ctx: typer.Context,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Model: a name, a folder or a hub name. Repeatable.")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            "--suite",
            autocompletion=opt.names_of("environments", "suites"),
            help="Environment or suite (see `r1env envs`). Repeatable.",
        ),
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
    top_k: opt.TopK = 0,
    min_p: opt.MinP = 0.0,
    repetition_penalty: opt.RepetitionPenalty = 1.0,
    max_new_tokens: opt.MaxNewTokens = 512,
    stop: opt.Stop = None,
    ignore_eos: opt.IgnoreEOS = False,
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget",
            min=1,
            help="Maximum number of thinking tokens, after which the model must answer (with at most --max-new-tokens).",
        ),
    ] = None,
    waits: Annotated[
        int,
        typer.Option(
            "--waits", min=0, help="With --budget: how often to continue thinking that ends early, by appending 'Wait'."
        ),
    ] = 0,
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
        Path | None,
        typer.Option(
            "--resume", metavar="DIR", help="Complete this evaluation by sampling the completions that are missing or failed."
        ),
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Evaluate models: accuracy with its 95 % interval, pass@k, statuses and lengths.

    The sampling defaults are those of DeepSeek-R1's protocol: temperature 0.6, top-p 0.95. With --n, several completions are sampled
    per task, and the accuracy is pass@1, their mean. Every completion is saved as soon as it is scored, and --resume completes an
    evaluation that was interrupted.

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
        asked = EvaluationPlan.model_validate(run.settings)
    elif waits and budget is None:
        raise UsageError("--waits continues thinking that ends before its budget; give --budget too")
    elif not model or not (env or data):
        raise UsageError(
            f"give --model and --env or --data, or --resume with the folder of an evaluation (see `{ctx.command_path} --help`)"
        )
    else:
        given = opt.source_options(parse_overrides(env_options or []))
        given |= opt.data_options(data, columns, drop_repeated=drop_repeated)
        if data is not None and Path(data).exists():
            given["data"] = str(Path(data).resolve())
        asked = EvaluationPlan(
            models=tuple(model),
            env=tuple(env or [opt.name_of_environment(None, data)]),
            engine=engine,
            engine_options=parse_overrides(engine_options or []),
            env_options=given,
            template=template,
            rubric=rubric,
            sampling=opt.make_sampling(
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
            ),
            limit=limit,
            seed=seed,
            batch_size=batch_size,
            budget=None if budget is None else Budget(tokens=budget, waits=waits),
        )
    environments = asked.open(plugins)
    rows_only = output is not None and output.suffix == ".jsonl"
    if rows_only and output is not None and not output.parent.is_dir():
        raise UsageError(f"cannot write {output}: there is no folder {output.parent}")
    settings = asked.settings(environments)
    if run is not None:
        # What was asked is read from the folder itself, so that settings that are younger than the folder have their defaults.
        check_same(run.settings | asked.model_dump(mode="json"), settings, run.path)
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


def _evaluate(
    asked: EvaluationPlan, environments: list[Environment], plugins: Plugins, run: EvaluationRun | None, preflight: Preflight
) -> dict[tuple[str, str], Evaluation]:
    done: dict[tuple[str, str], list[EvaluationRow]] = {}
    for model, name, row in run.rows() if run is not None else ():
        done.setdefault((model, name), []).append(row)
    found = {}
    for model in asked.models:
        with progress("loading the model"):
            source = opt.open_engine(plugins, asked.engine, model, dict(asked.engine_options))
            if asked.budget is not None:
                source = force_budget(source, asked.budget, asked.engine)
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
                        asked.limit_of(environment),
                        asked.seed,
                        advance,
                        batch_size=asked.batch_size,
                        done=done.get(pair, ()),
                        keep=keep,
                    )
    return found


def _check(asked: EvaluationPlan, environments: list[Environment], engine: Engine, preflight: Preflight) -> None:
    with told(partial(typer.echo, err=True), "r1env.preflight"), progress("checking the tasks") as advance:
        for environment in environments:
            count = asked.limit_of(environment)
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
        rows = [(name, *(accuracy_cell(found[model, name]) for model in models)) for name in splits]
        print_table(("environment", *models), rows, title="accuracy and its 95 % interval")
        unscored = sum(one.unscored for one in found.values())
        if unscored:
            typer.echo(f"{unscored} completions are unscored and left out of the accuracy", err=True)


def _lines(found: Evaluation, model: str) -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = [
        ("model", model),
        ("tasks", found.tasks if found.samples == 1 else f"{found.tasks}, {found.samples} completions each"),
        ("accuracy" if found.samples == 1 else "pass@1", percent(found.accuracy) + _interval_text(found.interval)),
    ]
    numbers = {f"pass@{k}": value for k, value in found.pass_at.items() if k > 1}
    numbers |= {f"cons@{found.samples}": found.consensus} if found.consensus is not None else {}
    lines += [(name, percent(value) + _interval_text(found.intervals.get(name))) for name, value in numbers.items()]
    lines += [(part, f"{value:.3f}") for part, value in found.parts.items()]
    lines += [("statuses", ", ".join(f"{status} {count}" for status, count in found.statuses.items()))]
    if found.unscored:
        lines.append(("unscored", f"{found.unscored} (left out of the accuracy)"))
        reasons = Counter(row.score.reason or str(row.score.status) for row in found.rows if row.correct is None)
        lines += [("mostly because", reason) for reason, _ in reasons.most_common(1)]
    lines += [("mean length", f"{found.mean_length:.0f}"), ("cut off", percent(found.truncated))]
    return lines


def _interval_text(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"  (95 %: {percent(interval[0])} to {percent(interval[1])})"


# `r1env compare`: the same tasks, two models.


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders written by `r1env eval`; the first is the baseline.")
    ],
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="KEY", help="Also compare by this key of the tasks' metadata, such as level or subject."),
    ] = None,
    flips: Annotated[int, typer.Option("--flips", min=0, help="Number of tasks with a changed verdict to list.")] = 10,
    as_json: opt.Json = False,
) -> None:
    """Compare models on the tasks that they have in common: differences with intervals and significance, and tasks whose verdict changed.

    \b
    Example:
      r1env compare runs/eval-gsm8k-base runs/eval-gsm8k-trained
      r1env compare runs/eval-two-models --by level
    """
    contestants = read_contestants(runs)
    if len(contestants) < 2:
        raise UsageError("there is one model only: name another evaluation, or one of several models")
    base, *others = contestants
    rows, data, listed, left_out = [], [], [], 0
    for other in others:
        for environment in [name for name in base.tasks if name in other.tasks]:
            common = common_tasks(base, other, environment)
            left_out += len(base.tasks[environment].keys() | other.tasks[environment].keys()) - len(common)
            for stratum, pairs in _strata(common, by).items():
                first, second = [fmean(a.scored) for a, _ in pairs], [fmean(b.scored) for _, b in pairs]
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
            listed += _flips(environment, common)
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


_Pairs = list[tuple[Verdicts, Verdicts]]


def _strata(common: Mapping[str, tuple[Verdicts, Verdicts]], by: str | None) -> dict[str, _Pairs]:
    """Return the tasks all together under the name "", then by the value of `by`."""
    strata: dict[str, _Pairs] = {"": list(common.values())} if common else {}
    if by is not None:
        second = {id(first): second for first, second in common.values()}
        groups = by_stratum((first for first, _ in common.values()), by)
        strata |= {value: [(first, second[id(first)]) for first in firsts] for value, firsts in groups.items()}
    return strata


def _flips(environment: str, common: Mapping[str, tuple[Verdicts, Verdicts]]) -> list[tuple[str, str, str]]:
    """Return the tasks whose majority of completions changed from right to wrong or back."""
    changed = []
    for task, (first, second) in common.items():
        before, after = fmean(first.scored), fmean(second.scored)
        if (before > 0.5) != (after > 0.5):
            changed.append((environment, task, f"{before:.2g} → {after:.2g}"))
    return changed


# `r1env table`: the tables of the paper.


class TableFormat(StrEnum):
    """How a table is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"


def table(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders written by `r1env eval`.")],
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="pass@K, cons or length. Repeatable. Default: pass@1 and cons."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="TEXT", help="Heading of a column, such as the name of a stage; one for each model. Repeatable."
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", min=0.0, max=1.0, help="Significance level for bold numbers. The paper uses 0.01.")
    ] = 0.05,
    form: Annotated[TableFormat, typer.Option("--format", help="text, markdown or html.")] = TableFormat.TEXT,
    as_json: opt.Json = False,
) -> None:
    """Print evaluations like the tables of the DeepSeek-R1 paper: a row for each benchmark and metric, a column for each model or stage.

    Every number has its 95 % interval. The best number of a row is bold (marked with * in text) only if it is better than every
    other one in a paired test.

    \b
    Example:
      r1env table runs/eval-gsm8k-base runs/eval-gsm8k-trained
      r1env table runs/stage-1 runs/stage-2 --label "cold start" --label RL --alpha 0.01 --format markdown
    """
    found = paper_table(read_contestants(runs, labels or ()), metrics or (), alpha)
    if incomplete := [str(path) for path in runs if not EvaluationRun.open(path).complete]:
        typer.echo(f"not complete yet: {', '.join(incomplete)}", err=True)
    if as_json:
        print_json(list(found.data))
    elif form is TableFormat.MARKDOWN:
        typer.echo(found.markdown(), nl=False)
    elif form is TableFormat.HTML:
        typer.echo(found.html())
    else:
        marked = [
            [f"{text} *" if (place, column) in found.bold else text for column, text in enumerate(row)]
            for place, row in enumerate(found.rows)
        ]
        print_table(found.columns, marked)
        for note in found.notes:
            typer.echo(note.replace("Bold:", "*"), err=True)


# `r1env scaling`: accuracy against tokens.

SCALING_ROWS, SCALING_PAGE = "scaling.jsonl", "scaling.html"


def scaling(
    ctx: typer.Context,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders written by `r1env eval`, with --n above 1.")],
    by: Annotated[
        list[str] | None, typer.Option("--by", metavar="REWARD", help="Best-of-n by this reward. Repeatable.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="REWARD.KEY=VALUE", help="Option of a reward, such as the folder of a reward model."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Folder for the curve. Default: the first RUN.")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Show how accuracy grows with the number of tokens per task: majority at n, best-of-n by a reward, thinking budgets.

    The command does not sample. Majority and best-of-n use the stored completions of the evaluations. Each evaluation with
    --budget adds one point to a curve. The points are written to scaling.jsonl, and the chart to scaling.html.

    \b
    Example:
      r1env scaling runs/eval-gsm8k-20260131-120000
      r1env scaling runs/gsm8k-n16 runs/gsm8k-budget-128 runs/gsm8k-budget-512
      r1env scaling runs/gsm8k-n16 --by helpful --option helpful.model=runs/rm/checkpoints/reward_model/model
    """
    plugins = opt.plugins_of(ctx)
    given = opt.options_by_reward(options)
    if unknown := sorted(given.keys() - set(by or ())):
        raise UsageError(f"--option names {unknown[0]!r}, which is not among --by {', '.join(by or ['(none)'])}")
    rewards = {name: plugins.reward(name, **given.get(name, {})) for name in by or ()}
    points: list[Point] = []
    for path in runs:
        points += _points(EvaluationRun.open(path), plugins, rewards)
    lines = [
        (
            point.environment,
            point.model,
            point.method,
            str(point.n if point.budget is None else point.budget),
            f"{point.tokens:.0f}",
            f"{100 * point.accuracy:.1f} [{100 * point.interval[0]:.1f}, {100 * point.interval[1]:.1f}]",
            str(point.tasks),
        )
        for point in points
    ]
    columns = ("environment", "model", "method", "n or budget", "tokens", "accuracy", "tasks")
    folder = output or runs[0]
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / SCALING_ROWS, json_lines(point.model_dump(mode="json") for point in points).decode("ascii"))
    written = [folder / SCALING_ROWS]
    try:
        check_installed()
    except UsageError as error:
        typer.echo(f"no chart: {error}", err=True)
    else:
        page = render_page(
            "r1env.evaluation",
            "scaling.html.j2",
            name=", ".join(path.name for path in runs),
            figures=figures(points),
            table=Table(title="", columns=columns, rows=tuple(lines)),
        )
        replace_text(folder / SCALING_PAGE, page)
        written.append(folder / SCALING_PAGE)
    if as_json:
        print_json([point.model_dump(mode="json") for point in points])
        return
    print_table(columns, lines)
    typer.echo(f"written to {' and '.join(map(str, written))}", err=True)


def _points(run: EvaluationRun, plugins: Plugins, rewards: Mapping[str, Reward]) -> list[Point]:
    """Return the points of an evaluation: of its budget where it has one, of votes and rewards where it has several completions."""
    asked = EvaluationPlan.model_validate(run.settings)
    if asked.budget is None and asked.sampling.n == 1:
        raise UsageError(f"{run.path} has one completion per task and no --budget: there is nothing to scale; use --n")
    points: list[Point] = []
    for contestant, model in zip(read_contestants([run.path]), dict.fromkeys(model for model, *_ in run.rows()), strict=True):
        for environment, tasks in contestant.tasks.items():
            if asked.budget is not None:
                points.append(budget_point(contestant.label, environment, list(tasks.values()), asked.budget))
            if asked.sampling.n > 1 and asked.budget is None:
                values = _values(run, asked, plugins, model, environment, rewards)
                points += curves(contestant.label, environment, list(tasks.values()), values)
    return points


def _values(
    run: EvaluationRun, asked: EvaluationPlan, plugins: Plugins, model: str, environment: str, rewards: Mapping[str, Reward]
) -> dict[str, list[list[float | None]]]:
    """Return the values of rewards by task, in the order of the rows, as `curves` takes them."""
    if not rewards:
        return {}
    opened = next(one for one in asked.open(plugins) if one.name == environment)
    tasks = list(iterate(opened.source, asked.limit_of(opened), asked.seed))
    rows = [row for name, of, row in run.rows() if (name, of) == (model, environment)]
    check_rows(rows, tasks, opened)
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.task_id, []).append(place)
    found: dict[str, list[list[float | None]]] = {}
    for name, reward in rewards.items():
        scores = score(rollouts_of(rows, tasks), reward, notify=False)
        if failed := sum(one.value is None for one in scores):
            typer.echo(f"{name} has no value for {failed} of {len(scores)} completions; they are chosen last", err=True)
        found[name] = [[scores[place].value for place in of_task] for of_task in places.values()]
    return found


# `r1env rescore`: new scores for old completions.


def rescore(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by `r1env eval`.")],
    reward: opt.RewardName = None,
    rubric: Annotated[str | None, opt.RUBRIC] = None,
    output: OutputFolder = None,
    as_json: opt.Json = False,
) -> None:
    """Score the completions of an evaluation again, for example after a reward was corrected, without sampling.

    By default, the environment's own checker scores them. With --reward, a completion is correct if the reward is at least 1. A
    rubric must contain the environment's checker as `accuracy`.

    \b
    Example:
      r1env rescore runs/eval-gsm8k-20260131-120000
      r1env rescore runs/eval-gsm8k-20260131-120000 --reward my_rewards.py:lenient --output runs/lenient
      r1env rescore runs/eval-gsm8k-20260131-120000 --rubric my_rubric.yaml --output runs/rescored
    """
    plugins = opt.plugins_of(ctx)
    if reward is not None and rubric is not None:
        raise UsageError("give at most one of --reward NAME and --rubric NAME_OR_FILE")
    chosen: str | RubricSpec = "accuracy" if rubric is None else rubric
    if reward is not None:  # a rubric of one instead of the name, which a rubric may have too
        chosen = RubricSpec(name=reward, rewards=(RewardChoice(reward=reward),))
    old = EvaluationRun.open(source)
    if not old.complete:
        raise UsageError(f"{source} is not complete; go on with it first by r1env eval --resume {source}")
    asked = EvaluationPlan.model_validate(old.settings | {"rubric": chosen})
    environments = asked.open(plugins)
    if reward is not None:
        environments = [replace(one, accuracy=plugins.reward(reward).name) for one in environments]
    by_pair: dict[tuple[str, str], list[EvaluationRow]] = {}
    for model, name, row in old.rows():
        by_pair.setdefault((model, name), []).append(row)
    found: dict[tuple[str, str], Evaluation] = {}
    for model, environment in itertools.product(asked.models, environments):
        tasks = list(iterate(environment.source, asked.limit_of(environment), asked.seed))
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
