"""`Monitor`: asks the rules after every logged step, and says each alert once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from r1env.monitoring.rules import RULES, Alert, Curves, Rule
from r1env.runs.run import Run, StepEvent

Tell = Callable[[StepEvent, Alert], None]


class Monitor:
    """A listener of a run: `run.subscribe(Monitor(run))`.

    An alert goes into the run's `events.jsonl` and to `tell`, once a stage. What was told before a crash is remembered with the
    run: going on from a checkpoint tells it again only if the checkpoint was from before it.
    """

    def __init__(self, run: Run, tell: Tell | None = None, rules: Sequence[Rule] = RULES) -> None:
        self._run = run
        self._tell = tell
        self._rules = rules
        self._stage: str | None = None
        self._curves = Curves()
        self._told: set[str] = set()

    def __call__(self, event: StepEvent) -> None:
        if event.stage == self._stage and event.step >= self._curves.step:
            self._curves.add(event.step, event.metrics)
        else:  # a new stage, or one that begins again: the run has its steps so far, this one included
            self._stage = event.stage
            self._curves = Curves(self._run.metrics(event.stage))
            self._told = {row["rule"] for row in self._run.events(event.stage) if row["kind"] == "alert"}
        for rule in self._rules:
            alert = rule(self._curves)
            if alert is not None and alert.rule not in self._told:
                self._told.add(alert.rule)
                self._run.log_event(event.step, {"kind": "alert", **asdict(alert)})
                if self._tell is not None:
                    self._tell(event, alert)
