"""`r1env eval --suite smoke`: every environment with a fixture, through the engine `openai`, against a server that answers by script.

The server is the judge, too. Programs are judged in a sandbox where there is one, and are left out otherwise.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from chat_stub import says, serving
from typer.testing import CliRunner

from r1env.cli.main import make_app
from r1env.data.sources import iterate
from r1env.envs.environment import make_evaluation_environment
from r1env.envs.suite import WRONG, fixture_completions, members_of
from r1env.plugins import installed

pytest.importorskip("r1env_openai")

SAMPLES = 4
RIGHT = (3, 1, 4, 4)
"""How many of its four completions are right, by the place of a task."""

# By hand, for 1 to 4 tasks. pass@1 is the mean of 3/4, 1/4, 1, 1; pass@2 that of 1 - C(4-c, 2)/C(4, 2) = 1, 1/2, 1, 1; pass@4 is 1.
# The intervals are mean ± 1.96 s/√n with s the standard deviation of the tasks' means: s = 0.35355 for two and for four tasks, and
# 0.38188 for three. For one task it is Wilson's interval of 3/4 of one trial.
BY_HAND: dict[int, dict[str, Any]] = {
    1: {"pass@1": 0.75, "pass@2": 1.0, "interval": (0.11791, 0.98537)},
    2: {"pass@1": 0.5, "pass@2": 0.75, "interval": (0.01001, 0.98999)},
    3: {"pass@1": 2 / 3, "pass@2": 5 / 6, "interval": (0.23454, 1.0)},
    4: {"pass@1": 0.75, "pass@2": 0.875, "interval": (0.40352, 1.0)},
}
CONSENSUS = {"gsm8k": 0.5, "svamp": 1.0, "sort-4": 0.75, "add-2digit": 0.75}
"""By hand: the commonest answer is right except in the second task, where three completions give the same wrong one."""


def script() -> dict[str, list[str]]:
    """Return prompt → the answers to it, in order; two tasks may ask the same question."""
    plugins = installed()
    found: dict[str, list[str]] = {}
    for member in members_of("smoke", plugins):
        environment = make_evaluation_environment(member.environment, plugins=plugins, **member.options)
        fixture = plugins.environment(member.environment).fixture
        assert fixture is not None
        if environment.max_turns > 1:
            continue  # its opening is the same for every task, so that the server cannot know which one it is asked
        for place, task in enumerate(iterate(environment.source, member.tasks)):
            prompt = json.dumps([dict(message) for message in environment.template.messages(task)])
            right, wrong = fixture_completions(task, fixture)
            found.setdefault(prompt, []).extend([right] * RIGHT[place] + [wrong] * (SAMPLES - RIGHT[place]))
    return found


def judged(handler: Any, good: set[str]) -> str:
    """Return the verdict of a judge who knows the right completions: of two texts it prefers those, and it finds all others unsafe."""
    found: dict[str, str] = {}
    if f"<A {handler.ticket}>" in handler.material:
        found["verdict"] = "A>>B" if handler.section("A") in good else "B>>A"
    else:
        found["verdict"] = "safe" if any(text in handler.material for text in good) else "unsafe"
    return json.dumps({"ticket": handler.ticket, "analysis": "so it is", **found})


@pytest.mark.slow
def test_every_family_has_the_numbers_that_the_servers_answers_give_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Opening the tasks needs the judge's name, and asking the judge comes later.
    monkeypatch.setenv("R1ENV_JUDGE_MODEL", "judge")
    monkeypatch.setenv("R1ENV_JUDGE_URL", "http://localhost:1/v1")
    answers, asked = script(), Counter[str]()
    good = {text for texts in answers.values() for text in texts[:1]}

    def answer(handler: Any) -> str:
        if handler.asked["model"] == "judge":
            return judged(handler, good)
        prompt = json.dumps(handler.asked["messages"])
        if prompt not in answers:
            return WRONG
        asked[prompt] += 1
        return answers[prompt][asked[prompt] - 1]

    with serving(says(answer)) as stub:
        monkeypatch.setenv("R1ENV_JUDGE_URL", stub.url)
        command = ["eval", "--suite", "smoke", "--model", "m", "--engine", "openai", "--engine-option", f"url={stub.url}"]
        command += ["--engine-option", "concurrency=1"]  # so that answers come in the order of the tasks
        folder = tmp_path / "smoke"
        result = CliRunner().invoke(make_app(installed()), [*command, "--n", str(SAMPLES), "--output", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    summary = {one["environment"]: one for one in json.loads((folder / "summary.json").read_text())}
    assert set(summary) == {member.environment for member in members_of("smoke", installed())}
    assert set(summary) >= {"alpaca-eval", "arena-hard", "safety"}
    for name, found in summary.items():
        assert found["unscored"] == 0, name
        if installed().environment(name).max_turns > 1:
            continue
        expected = BY_HAND[found["tasks"]]
        assert found["accuracy"] == pytest.approx(expected["pass@1"]), name
        assert found["interval"] == pytest.approx(expected["interval"], abs=1e-5), name
        assert found["pass_at"] == pytest.approx({"1": expected["pass@1"], "2": expected["pass@2"], "4": 1.0}), name
    consensus = {name: summary[name]["consensus"] for name in CONSENSUS if name in summary}
    assert consensus == {name: CONSENSUS[name] for name in consensus}
    assert consensus
