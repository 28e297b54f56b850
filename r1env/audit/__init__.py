"""The audit: attack a reward before a policy does.

    from r1env.audit import SAMPLE_TASKS, audit

    report = audit(r1env.get_reward("math"), SAMPLE_TASKS)
    assert report.clean, report.findings

`run` holds `audit` itself, which goes through the attacks in order. `corpus` has the tasks, the ways to write an answer and the wrong
answers; `attacks` makes completions of them that must not be paid; `probe` runs the reward in a worker that can be killed, and looks
for scores that change and times that explode. `report` is what comes out.
"""

from r1env.audit.corpus import SAMPLE_TASKS
from r1env.audit.report import AttackResult, AuditReport, Finding, FindingKind
from r1env.audit.run import audit

__all__ = ["SAMPLE_TASKS", "AttackResult", "AuditReport", "Finding", "FindingKind", "audit"]
