"""What came of a training: accuracy before and after, cost, where the report is, what to try next."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r1env.cli.console import percent, program
from r1env.cli.live import duration
from r1env.config import value_at
from r1env.errors import UsageError
from r1env.monitoring.report import write_report
from r1env.plugins import Plugins
from r1env.recipes import Plan
from r1env.runs.run import Run


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of the wall and of all CPUs (this process and its finished children) when something began."""

    wall: float
    cpu: float

    @classmethod
    def start(cls) -> Usage:
        spent = os.times()
        return cls(time.monotonic(), spent.user + spent.system + spent.children_user + spent.children_system)

    def since(self) -> Usage:
        """Return the resources used since then."""
        now = Usage.start()
        return Usage(now.wall - self.wall, now.cpu - self.cpu)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a training.

    Attributes:
        model: that of the last stage that left one; `models` are all of them, by stage.
        before, after: the first and last `eval/accuracy` of that stage, if it has any.
        left: stages that are still to be run.
    """

    run: str
    model: str | None
    models: dict[str, str]
    left: tuple[str, ...]
    before: float | None
    after: float | None
    wall_seconds: float
    cpu_seconds: float
    report: str | None
    report_hint: str

    def lines(self) -> list[str]:
        lines = [""]
        if self.before is not None:
            lines.append(f"accuracy in evaluation: {percent(self.before)} before, {percent(self.after)} after")
        lines.append(f"took {duration(self.wall_seconds)} ({self.cpu_seconds:.0f} CPU seconds)")
        if len(self.models) > 1:
            lines.append(f"models: {', '.join(self.models)}, each in its folder of {self.run}/checkpoints")
        if self.model is not None:
            lines.append(f"model:  {self.model}")
        lines.append(f"report: {self.report or self.report_hint}")
        if self.left:
            lines.append(f"not run: {', '.join(self.left)}; go on with {program()} train --resume {shlex.quote(self.run)}")
        return lines

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def report_of(run: Run, plugins: Plugins) -> Path | str:
    """Return the report, or, where what it needs is not installed, how to get it."""
    try:
        return write_report(run, plugins=plugins)
    except UsageError as error:
        return f"{error}, then: {program()} report {run.path}"


def outcome_of(run: Run, plan: Plan, usage: Usage, report: Path | str) -> Outcome:
    """Return the outcome of a run that has come as far as it was to go."""
    finished = run.finished_stages()
    models = {name: str(run.model_dir(name)) for name in finished if run.model_dir(name).is_dir()}
    last = next(reversed(models), None)
    rows = run.metrics(last) if last else []
    accuracies = [row["eval/accuracy"] for row in rows if row.get("eval/accuracy") is not None]
    spent = usage.since()
    return Outcome(
        run=str(run.path),
        model=models[last] if last else None,
        models=models,
        left=tuple(stage.name for stage in plan.stages if stage.name not in finished),
        before=accuracies[0] if accuracies else None,
        after=accuracies[-1] if accuracies else None,
        wall_seconds=round(spent.wall, 1),
        cpu_seconds=round(spent.cpu, 1),
        report=str(report) if isinstance(report, Path) else None,
        report_hint="" if isinstance(report, Path) else report,
    )


def next_commands(run: Run, plan: Plan) -> list[str]:
    """Return three commands that make sense now, with the run's own settings filled in."""
    finished = [stage for stage in plan.stages if stage.name in run.finished_stages() and run.model_dir(stage.name).is_dir()]
    last = finished[-1] if finished else plan.stages[-1]
    again = _with_another_seed(run.manifest["command"], plan)
    config = last.config
    mixture = config.get("mixture") or [{}]
    tasks = config if config.get("env") else mixture[0]
    if not tasks.get("env"):
        return _commands(["report", str(run.path)], again, ["envs"])
    model = ["--model", str(run.model_dir(last.name)), "--env", tasks["env"]]
    options = {**tasks.get("env_options", {}), **(value_at(config, "eval.env_options") or {})}
    if config.get("hold_out"):
        options["hold_out"] = config["hold_out"]
    how = ["--template", tasks["template"]] if tasks.get("template") else []
    if limit := value_at(config, "sampling.max_new_tokens"):
        how += ["--max-new-tokens", str(limit)]
    sample = ["sample", *model, *_as_words(options), *how, "--limit", "3"]
    evaluation = ["eval", *model, *_as_words(_unseen(options)), *how, "--temperature", "0", "--limit", "256"]
    return _commands(sample, evaluation, again)


def _unseen(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for an evaluation: a file without splits is what the model was trained on, so another one has to be named."""
    data = options.get("data")
    trained_on = isinstance(data, str) and Path(data).is_file() and not {"split", "hold_out"} & options.keys()
    return {**options, **({"data": "TEST_FILE"} if trained_on else {})}


def _as_words(options: Mapping[str, Any]) -> list[str]:
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def _commands(*arguments: list[str]) -> list[str]:
    return [shlex.join([program(), *words]) for words in arguments]


def _with_another_seed(command: Sequence[str], plan: Plan) -> list[str]:
    """Return the arguments that started the run, with the next seed and a new folder; of a run started from Python, its plan's name."""
    if list(command[:2]) != ["r1env", "train"]:
        command = ["r1env", "train", plan.name, *(["--preset", plan.preset] if plan.preset else [])]
    words = iter(command)
    kept = []
    for word in words:
        option, _, value = word.partition("=")
        if option not in ("--seed", "--output"):
            kept.append(word)
        elif not value:
            next(words, None)
    return [*kept[1:], "--seed", str(int(plan.stages[0].config["seed"]) + 1)]
