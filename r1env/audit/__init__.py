"""The audit: attacks on a reward, anybody's, before a policy finds them.

    from r1env.audit import audit

    report = audit(r1env.get_reward("math"), tasks)
    assert report.clean, report.findings

How the files hang together: `run` (the order of things) asks `subjects` for right and wrong answers of the tasks, `attacks` and
`forms` for completions that must not be paid, `repeatability` and `growth` for scores that change and times that explode. All
scoring goes through `bounded`, in a worker that can be killed, under a total of time. `report` is what comes out, `tasks` what
goes in where the caller has no tasks of his own.
"""

from r1env.audit.report import AttackResult, AuditReport, Finding, FindingKind
from r1env.audit.run import audit
from r1env.audit.tasks import SAMPLE_TASKS, tasks_for

__all__ = ["SAMPLE_TASKS", "AttackResult", "AuditReport", "Finding", "FindingKind", "audit", "tasks_for"]
