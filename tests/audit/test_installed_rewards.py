"""Every reward that is installed passes the audit; a new plugin is audited without being named here."""

from __future__ import annotations

import pytest

import r1env
from r1env.audit import audit, tasks_for

QUICK = {"exact", "format"}  # seconds; the others run in CI with the slow tests
NAMES = sorted(r1env.installed().provided("rewards"))


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES])
def test_an_installed_reward_passes_the_audit(name: str) -> None:
    reward = r1env.get_reward(name)
    if reward.isolation is r1env.Isolation.ASYNC:
        pytest.skip("it asks a server, which a test has not")
    report = audit(reward, tasks_for(reward, r1env.installed()))
    if report.scored == 0 and reward.isolation is r1env.Isolation.PROCESS:
        pytest.skip(f"it cannot score here: {report.notes[-1]}")
    assert report.clean, "\n".join(map(str, report.findings))
