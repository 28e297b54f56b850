"""`r1env train`: plan, check, run, and report the outcome."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from r1env.api import create_run
from r1env.cli.console import print_json, program, progress, stdout_console, told
from r1env.cli.live import LiveTable, PlainLog, Stages
from r1env.cli.main import INTERRUPTED, TERMINATED
from r1env.cli.options import RUBRIC, Data, DropRepeated, Json, Map, data_options, names_of, plugins_of, presets_of
from r1env.cli.outcome import Outcome, Usage, next_commands, outcome_of, report_of
from r1env.cli.settings import help_lines
from r1env.config import parse_overrides
from r1env.errors import UsageError
from r1env.evaluation.report import write_report as write_evaluation_report
from r1env.evaluation.run import EvaluationRun, is_evaluation
from r1env.importing import import_target
from r1env.monitoring import Monitor
from r1env.monitoring.report import write_report
from r1env.plugins import Plugins
from r1env.recipes import (
    Plan,
    check_only,
    check_plan,
    config_class_of,
    continuation,
    estimate_lines,
    estimates,
    execute,
    load_recipe,
    plan_training,
    plan_yaml,
)
from r1env.runs.owner import Terminated
from r1env.runs.run import Run
from r1env.runs.tables import read_tables
from r1env.trackers import find_tracker, followed


def train(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            autocompletion=names_of("recipes", "trainers"),
            help="A recipe, a trainer or a recipe file, such as the config.yaml of a run.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", autocompletion=presets_of, help="Preset, a named set of settings, such as tiny-cpu."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Model that the first stage starts from.")] = None,
    env: Annotated[
        str | None,
        typer.Option("--env", autocompletion=names_of("environments", "suites"), help="Environment (see `r1env envs`)."),
    ] = None,
    data: Data = None,
    columns: Map = None,
    drop_repeated: DropRepeated = False,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Training steps of the last stage that has steps.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Random seed.")] = None,
    rubric: Annotated[str | None, RUBRIC] = None,
    device: Annotated[str | None, typer.Option("--device", help="Device: cpu, cuda or auto.")] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            autocompletion=names_of("backends"),
            help="Backend that runs the training: local, or an installed one (see `r1env plugins`).",
        ),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="Number of machines, for a distributed --backend.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option("--gpus", min=1, help="Number of GPUs per machine, for a distributed --backend.")
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", metavar="ADDRESS", help="Address of a running Ray cluster for --backend, such as auto."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other setting (see `r1env train NAME --help`); for a recipe, STAGE.KEY=VALUE. Repeatable.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Run folder. Default: a new one in runs/.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUNDIR", help="Continue this run instead of starting one.")
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track",
            metavar="NAME",
            autocompletion=names_of("trackers"),
            help="Also log metrics to a tracker: tensorboard, wandb, trackio. Repeatable.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="STAGE", help="Run only this stage of a recipe, using the results in --resume. Repeatable."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not show progress.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the plan and print it as a recipe file, without training.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="With --dry-run, print every setting, not only those that differ from the defaults.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model.

    Settings, data and rewards are checked before the first step. Ctrl-C and SIGTERM write a checkpoint and stop the run;
    SIGUSR1 writes a checkpoint and continues. --resume continues from the newest checkpoint; add --steps or --set to train for
    more steps or to change a setting such as the learning rate. `r1env train NAME --help` lists the settings of a trainer.

    \b
    Example:
      r1env train r1-zero --preset tiny-cpu
      r1env train grpo --model smollm2-135m --env add-1digit --steps 2 --set sampling.group_size=4
      r1env train grpo --model smollm2-135m --data mine.parquet --map question=q,answer=a
      r1env train r1-zero --track tensorboard
      r1env train r1 --dry-run > plan.yaml && r1env train plan.yaml
      r1env train --resume runs/r1-zero-tiny-cpu-20260131-120000
      r1env train --resume runs/r1-zero-tiny-cpu-20260131-120000 --steps 300
      r1env train --resume runs/r1-tiny-cpu-20260131-120000 --only dev3
    """
    plugins = plugins_of(ctx)
    common: dict[str, Any] = {"model": model, "env": env, "steps": steps, "seed": seed, "rubric": rubric, "device": device}
    common["backend"] = backend
    cluster = {"nodes": nodes, "gpus": gpus, "ray_address": ray_address}
    common["backend_options"] = {key: value for key, value in cluster.items() if value is not None} or None
    given = {key: value for key, value in common.items() if value is not None}
    given |= _of_data(plugins, name, preset, env, data, columns, drop_repeated=drop_repeated)
    track = track or []
    for tracker in track:
        find_tracker(tracker, plugins)  # before anything is made
    run: Run | None = None
    if resume is not None:
        run = Run.open(resume)
        further = continuation(run, overrides=parse_overrides(settings or []), common=given, plugins=plugins)
        plan = further.plan
        if name not in (None, plan.name) or preset not in (None, plan.preset) or output:
            raise UsageError(f"--resume takes the recipe, its preset and the folder from {resume}; leave them out")
    else:
        plan = make_plan(plugins, name, preset, given, settings or [])
    check_plan(plan, plugins)
    check_only(plan, only or [], [name for name in run.finished_stages() if name not in further.again] if run else [])
    if dry_run:
        _print_plan(plan, plugins, as_json, everything)
        return
    if run is None:
        run = create_run(plan, output, ["r1env", *sys.argv[1:]])
    elif further.changes:
        for line in further.changes:
            typer.echo(f"changed: {line}", err=True)
        with run.locked():
            run.change_plan(plan.model_dump(mode="json"), again=further.again)
    if not (quiet or as_json):
        typer.echo(f"run folder: {run.path}")
    usage = Usage.start()
    try:
        _execute(plan, run, plugins, track, only or [], quiet=quiet or as_json)
    except KeyboardInterrupt as interruption:
        terminated = isinstance(interruption, Terminated)
        how = "terminated" if terminated else "interrupted"
        typer.echo(f"{how}; go on with: {program()} train --resume {run.path}", err=True)
        raise typer.Exit(TERMINATED if terminated else INTERRUPTED) from None
    _tell(outcome_of(run, plan, usage, report_of(run, plugins)), run, plan, as_json)


class TrainCommand(TyperCommand):
    """`--help` after a trainer's or a recipe's name lists its settings too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[TrainCommand.__name__] = self._name_in(args)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        super().format_epilog(ctx, formatter)
        name = ctx.meta[TrainCommand.__name__]
        for heading, rows in (help_lines(plugins_of(ctx), name) if name else {}).items():
            with formatter.section(heading):
                formatter.write_dl(rows)

    def _name_in(self, words: list[str]) -> str | None:
        """Return the first word that is neither an option nor an option's value."""
        valued = {option for parameter in self.params if not getattr(parameter, "is_flag", False) for option in parameter.opts}
        pairs = zip(["", *words], words, strict=False)
        return next((word for before, word in pairs if not word.startswith("-") and before not in valued), None)


app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.command("train", cls=TrainCommand)(train)


def _of_data(
    plugins: Plugins,
    name: str | None,
    preset: str | None,
    env: str | None,
    data: str | None,
    columns: list[str] | None,
    *,
    drop_repeated: bool,
) -> dict[str, Any]:
    """Return the settings that --data and --map stand for.

    They are the demonstrations or pairs of a trainer that has a setting `data`; the rows of a recipe's own environments where all of them
    read rows, as GSM8K's do; and else the tasks of the environment `data`.

    Raises:
        UsageError: --map is no column map, or there is no --data for it.
    """
    options = data_options(data, columns, drop_repeated=drop_repeated)
    if not options:
        return {}
    if name is not None and name in plugins.provided("trainers") and "data" in config_class_of(plugins, name).model_fields:
        if drop_repeated:
            raise UsageError(f"--drop-repeated is for tasks, and {name} learns from demonstrations or pairs")
        return {"data": options["data"]} | ({"columns": options["map"]} if "map" in options else {})
    if env is None and name is not None and _reads_rows(plugins, name, preset):
        return {"env_options": options}
    return {"env": env or "data", "env_options": options}


def _reads_rows(plugins: Plugins, name: str, preset: str | None) -> bool:
    """Return whether a recipe names environments, and each of them has an option `data`."""
    if name in plugins.provided("trainers"):
        return False
    variants = load_recipe(name, plugins).variants()
    chosen = variants.get(preset or next(iter(variants)))
    named = [stage.config["env"] for stage in chosen.stages if stage.config.get("env")] if chosen else []
    sources = [import_target(plugins.environment(env).source) for env in named]
    return bool(sources) and all("data" in inspect.signature(source).parameters for source in sources)


def make_plan(plugins: Plugins, name: str | None, preset: str | None, common: dict[str, Any], settings: list[str]) -> Plan:
    """Return the plan of the command line.

    Raises:
        UsageError: no name, or a setting that no stage has.
    """
    if name is None:
        known = [*plugins.provided("recipes"), *plugins.provided("trainers")]
        raise UsageError(f"say what to train: {', '.join(known) or 'nothing is installed (see `r1env doctor`)'}")
    plan = plan_training(name, preset=preset, overrides=parse_overrides(settings), common=common, plugins=plugins)
    for key in common:
        if not any(key in stage.config for stage in plan.stages):
            raise UsageError(f"--{key}: {plan.name} has no such setting")
    return plan


def _execute(plan: Plan, run: Run, plugins: Plugins, track: list[str], only: list[str], *, quiet: bool) -> None:
    """Run the plan, watched: by the table, by the monitor, by trackers."""
    # Epochs are turned into steps when their data are there, so the total is not known yet.
    totals = {stage.name: None if stage.config.get("epochs") else stage.config.get("steps") for stage in plan.stages}
    stages = Stages(totals)
    console = stdout_console()
    say: Callable[[str], None] = partial(typer.echo, err=True)
    with ExitStack() as stack:
        if not quiet:
            shown: LiveTable | PlainLog = LiveTable(stages, console) if console.is_terminal else PlainLog(stages, sys.stdout)
            stack.enter_context(shown)
            run.subscribe(shown)
            say = shown.tell
        run.subscribe(Monitor(run, lambda event, alert: say(f"{event.stage}, step {event.step}: {alert}")))
        if not quiet:
            stack.enter_context(told(say, "r1env.preflight"))
        stack.enter_context(followed(run, track, plugins, say))
        execute(plan, run, plugins, only=only)


def _tell(outcome: Outcome, run: Run, plan: Plan, as_json: bool) -> None:
    commands = next_commands(run, plan)
    alerts = [event for event in run.events() if event["kind"] == "alert"]
    if as_json:
        tables = {stage: table.model_dump(mode="json") for stage, table in read_tables(run)}
        print_json({**outcome.as_json(), "alerts": alerts, "tables": tables, "next": commands})
        return
    for _, table in read_tables(run):
        typer.echo("\n" + table.markdown().rstrip())
    for line in outcome.lines():
        typer.echo(line)
    if alerts:
        named = ", ".join(f"{alert['rule']} (stage {alert['stage']}, step {alert['step']})" for alert in alerts)
        typer.echo(f"alerts: {named}; the report says more")
    typer.echo("\nnext, try:")
    for command in commands:
        typer.echo(f"  {command}")


def _print_plan(plan: Plan, plugins: Plugins, as_json: bool, everything: bool) -> None:
    """Print the plan as a recipe file, with its estimated cost in comments; as JSON always complete."""
    estimated = estimates(plan, plugins)
    if as_json:
        known = {name: asdict(one) for name, one in estimated.items() if one is not None}
        print_json({**plan.model_dump(mode="json"), **({"estimates": known} if known else {})})
        return
    typer.echo(plan_yaml(plan, plugins, everything=everything).rstrip())
    for line in estimate_lines(estimated):
        typer.echo(f"# {line}".rstrip())


# `r1env report`: the page of a run.


class ReportFormat(StrEnum):
    """How a report is written."""

    HTML = "html"
    MARKDOWN = "markdown"


def report(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUNDIR", help="Folder written by `r1env train` or `r1env eval`.")],
    form: Annotated[
        ReportFormat, typer.Option("--format", help="html, or for an evaluation also markdown.")
    ] = ReportFormat.HTML,
    as_json: Json = False,
) -> None:
    """Write a report into a run's folder, as one file that opens offline.

    The report of a training run shows curves and sample completions. The report of an evaluation shows its numbers with
    intervals, also by stratum, wrong completions with the reasons of the reward, unscored completions with their reasons, and
    the settings.

    \b
    Example:
      r1env report runs/r1-zero-tiny-cpu-20260131-120000
      r1env report runs/eval-gsm8k-20260131-120000 --format markdown
    """
    with progress("writing the report"):
        if is_evaluation(run):
            path = write_evaluation_report(EvaluationRun.open(run), form.value)
        elif form is ReportFormat.MARKDOWN:
            raise UsageError(f"{run} holds no evaluation; the report of a training is HTML")
        else:
            path = write_report(Run.open(run), plugins=plugins_of(ctx))
    if as_json:
        print_json({"report": str(path)})
    else:
        typer.echo(path)
