"""`r1env audit --env`: an environment must pay its own solutions, and nothing for nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import r1env
from r1env.audit.environment import audit_environment
from r1env.cli.main import make_app
from r1env.rubrics import Rubric, WeightedReward


def with_reward(function):
    base = r1env.make_environment("add-1digit")
    return replace(base, rubric=Rubric("mine", [WeightedReward(r1env.reward(name="mine")(function))]))


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (lambda completion, answer: float(answer in completion), ""),
        (lambda completion, answer: float(answer in completion or not completion), "doing nothing is paid 1"),
        (lambda completion, answer: 0.5 * (answer in completion), "is paid 0.5"),
        (lambda completion, answer: 1 / (len(completion) - len(completion)), "could not be scored"),
        (lambda completion, answer: None, "is not scored"),
    ],
)
def test_what_is_wrong_with_an_environment_is_said_task_by_task(function, fault):
    found = audit_environment(with_reward(function), count=3)
    assert len(found.tasks) == 3
    assert found.clean is (not fault)
    assert all(fault in task.fault for task in found.tasks)


def test_a_task_without_a_known_solution_is_counted_and_only_doing_nothing_is_tried():
    base = r1env.make_environment("add-1digit")

    class Unknown:
        size = 2

        def task(self, index, seed=0):
            return base.task(index).model_copy(update={"answer": None})

    paid = replace(with_reward(lambda completion: 1.0), source=Unknown())
    found = audit_environment(paid)
    assert (len(found.tasks), found.solved, found.clean) == (2, 0, False)
    unpaid = audit_environment(replace(with_reward(lambda completion: 0.0), source=Unknown()))
    assert (unpaid.without_solution, unpaid.clean) == (2, True)


def test_the_command_audits_an_environment_with_turns_and_writes_the_report(tmp_path):
    file = tmp_path / "audit.json"
    result = CliRunner().invoke(make_app(r1env.installed()), ["audit", "--env", "guess-number", "--output", str(file)])
    assert result.exit_code == 0, result.output
    assert "20 of 20 solutions paid in full" in result.output
    assert json.loads(file.read_text("utf-8"))["solved"] == 20


def test_the_command_wants_a_reward_or_an_environment():
    result = CliRunner().invoke(make_app(r1env.installed()), ["audit"])
    assert result.exit_code == 2
    assert "say what to audit" in result.output
