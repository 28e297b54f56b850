"""Every installed reward passes the audit. A new plugin's rewards are audited without being named here."""

from __future__ import annotations

import pytest

import r1env
from r1env.audit import SAMPLE_TASKS, audit
from r1env.cli.audit import tasks_of
from r1env.envs.environment import make_environment
from r1env.rewards import Reward

QUICK = {"exact", "format"}  # these take seconds; the others run in CI with the slow tests
NAMES = sorted(r1env.installed().provided("rewards"))


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES])
def test_an_installed_reward_passes_the_audit(name: str) -> None:
    reward = r1env.get_reward(name)
    if reward.isolation is r1env.Isolation.ASYNC:
        pytest.skip("it asks a server, and a test has none")
    report = audit(reward, SAMPLE_TASKS)
    if not report.right and (tasks := tasks_of_its_own(reward)):
        report = audit(reward, tasks)
    if report.scored == 0 and reward.isolation is r1env.Isolation.PROCESS:
        pytest.skip(f"it cannot score here: {report.notes[-1]}")
    assert report.clean, "\n".join(map(str, report.findings))


def tasks_of_its_own(reward: Reward) -> tuple[r1env.Task, ...]:
    """Tasks of an environment that uses the reward and needs nothing; none if there is no such environment."""
    specs = [provided.spec for provided in r1env.installed().provided("environments").values()]
    fitting = (spec for spec in specs if spec.reward == reward.name and not spec.requires and spec.max_turns == 1)
    spec = next(fitting, None)
    return () if spec is None else tasks_of(make_environment(spec.name))
