"""`audit`: make all attacks on one reward, in order, and report what it fell for."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from r1env.audit.attacks import ATTACKS, FORMS, Attack, broken, filled, without_tag
from r1env.audit.corpus import WRAPPINGS, Subject, Wrapping, alike, varied, wrong_answers
from r1env.audit.probe import BoundedScorer, Growth, changes, explosions
from r1env.audit.report import AttackResult, AuditReport, Finding, FindingKind, excerpt
from r1env.errors import UnknownNameError, UsageError
from r1env.rewards import Isolation, Reward
from r1env.testing.hostile import hostile_completions
from r1env.types import Rollout, Score, Status, Task

SECONDS = 600.0
"""Wall seconds for an audit; the rewards that come with r1env need a fraction of them."""

MAX_SHOWN = 8
"""Findings of one attack that a report keeps; the others are counted."""

MAX_PROBE = 10_000  # characters of a completion that is scored over and over

_KIND_OF_FAILURE = {
    Status.TIMEOUT: FindingKind.HUNG,
    Status.LIMIT: FindingKind.MEMORY,
    Status.ERROR: FindingKind.RAISED,
}

Advance = Callable[[int, int], None]


def audit(
    reward: Reward,
    tasks: Sequence[Task],
    *,
    right: Mapping[str, str] | None = None,
    only: Collection[str] = (),
    seconds: float = SECONDS,
    advance: Advance | None = None,
) -> AuditReport:
    """Attack a reward and report what it fell for. The reward runs in a worker that is killed if it hangs; the audit always ends.

    A completion counts as accepted if it is paid as much as a right one. The reward is asked which completions it takes for right:
    the reference answers of the tasks in the usual wrappings, and `right`; the best-paid of these are the measure. A reward that
    never looks at the answer (format, length) is spared the attacks about answers; one that pays for tags is attacked about tags.

    The result depends on the reward, its options and the tasks alone, not on what else is installed.

    A reward of scope `group` scores each completion in a group with three others: a right one, one that does not know, and nothing.

    Args:
        tasks: `SAMPLE_TASKS`, or tasks that the reward needs. Those with different answers are taken first, at most
            `corpus.MAX_TASKS` of them. `metadata["wrong"]` may list answers that are wrong.
        right: completions known to be right, by task id.
        only: names of attacks; all of them if empty.
        seconds: wall time for everything; attacks that do not finish are reported as not finished.
        advance: called with (attacks done, number of attacks).

    Raises:
        UsageError: there is no task or no such attack, or the reward cannot be sent to a worker.

    Example:
        >>> audit(r1env.get_reward("math"), SAMPLE_TASKS, only=("hedged",)).clean  # doctest: +SKIP
        True
    """
    if not tasks:
        raise UsageError("an audit needs at least one task")
    start = time.monotonic()
    with BoundedScorer(reward, seconds) as scorer:
        run = _Audit(scorer, varied(tasks), right or {}, advance or _unwatched)
        run.everything(only)
    return AuditReport(
        reward=reward.name,
        options=dict(reward.options),
        tasks=tuple(task.id for task in run.tasks),
        items=scorer.items,
        scored=scorer.values,
        seconds=time.monotonic() - start,
        reads_answer=run.reads_answer,
        right=dict(run.paid),
        attacks=tuple(run.results),
        notes=tuple(run.notes),
        complete=not scorer.exhausted,
    )


@dataclass
class _Tally:
    """What one attack has found so far."""

    name: str
    promise: str
    tried: int = 0
    found: list[Finding] = field(default_factory=list)

    def add(self, kind: FindingKind, rollout: Rollout, score: Score | None, reason: str, right: float | None = None) -> None:
        self.found.append(
            Finding(
                attack=self.name,
                kind=kind,
                task_id=rollout.task.id,
                completion=excerpt(rollout.completion),
                length=len(rollout.completion),
                value=None if score is None else score.value,
                right=right,
                reason=reason,
            )
        )

    def count(self, rollout: Rollout, score: Score | None) -> None:
        """Count a score; add a finding if the scoring itself failed."""
        self.tried += score is not None
        if score is not None and score.failed:
            self.add(_KIND_OF_FAILURE[score.status], rollout, score, score.reason)

    def result(self, skipped: str = "") -> AttackResult:
        return AttackResult(
            attack=self.name,
            promise=self.promise,
            tried=self.tried,
            found=len(self.found),
            findings=_most_varied(self.found),
            skipped=skipped,
        )


class _Audit:
    """The state of one audit: what is known about the reward so far, and the results."""

    def __init__(self, scorer: BoundedScorer, tasks: tuple[Task, ...], right: Mapping[str, str], advance: Advance) -> None:
        self.scorer, self.tasks, self.right, self.advance = scorer, tasks, right, advance
        self.results: list[AttackResult] = []
        self.notes: list[str] = []
        self.paid: Counter[str] = Counter()
        self.reads_answer = True
        self._probes: list[Rollout] = []  # for repeatability: some of everything

    def everything(self, only: Collection[str]) -> None:
        """Run all attacks, or those with these names.

        Raises:
            UnknownNameError: there is no attack with that name.
        """
        steps: dict[str, Callable[[Sequence[Subject]], AttackResult]] = {
            **{attack.name: partial(self._attack, attack) for attack in ATTACKS},
            "broken tags": self._forms,
            "hostile texts": self._hostile,
            "repeatability": self._repeatability,
            "growth": self._growth,
        }
        for name in only:
            if name not in steps:
                raise UnknownNameError("attack", name, steps)
        chosen = [step for name, step in steps.items() if not only or name in only]
        subjects = self._right_answers()
        for done, step in enumerate(chosen, start=1):
            self.advance(done, len(chosen) + 1)
            self.results.append(step(subjects))
        self.advance(len(chosen) + 1, len(chosen) + 1)
        if self.scorer.values == 0:
            self.notes.append(
                f"nothing it was given got a value ({self.scorer.first_refusal}); it needs tasks or options that fit it"
            )

    def _right_answers(self) -> list[Subject]:
        """Score the right answers; find out whether the reward looks at them, and how much it pays for them."""
        tally = _Tally("right answers", "a right answer is scored without a failure")
        written = {id(task): list(self._written(task)) for task in self.tasks}
        scores = {id(task): self._score(tally, task, [text for _, text in written[id(task)]]) for task in self.tasks}
        self.reads_answer = self._looks_at_answers(written, scores)
        found = [self._subject(task, written[id(task)], scores[id(task)]) for task in self.tasks] if self.reads_answer else []
        subjects = [subject for subject in found if subject is not None]
        self.results.append(tally.result(self.scorer.exhausted))
        if not self.reads_answer:
            self.notes.append("it pays the same whatever the task's answer is; so the attacks about answers were left out")
        elif len(subjects) < len(self.tasks):
            ids = ", ".join(task.id for task in self.tasks if all(subject.task is not task for subject in subjects))
            self.notes.append(f"it pays no right completion of these tasks, which were not used further: {ids}")
        return subjects

    def _subject(
        self, task: Task, written: Sequence[tuple[Wrapping | None, str]], scores: Sequence[Score | None]
    ) -> Subject | None:
        """Return the task with what is paid for it, or None if no right completion is paid."""
        best = max((score.value for score in scores if score is not None and score.value is not None), default=0.0)
        if best <= 0:
            return None
        pairs = zip(written, scores, strict=True)
        paid = [wrapping for (wrapping, _), score in pairs if score is not None and _reaches(score.value, best)]
        self.paid.update(wrapping.name if wrapping else "the row's completion" for wrapping in paid)
        others = [other for other in self.tasks if other.id != task.id and not _same_answer(other, task)]
        return Subject(
            task=task,
            wrong=wrong_answers(task, self.tasks),
            paying=tuple(wrapping for wrapping in paid if wrapping is not None) or WRAPPINGS,
            elsewhere=tuple(self.right[other.id] for other in others if other.id in self.right),
            right=best,
        )

    def _written(self, task: Task) -> Iterator[tuple[Wrapping | None, str]]:
        """Yield completions that are right, each with its wrapping if it has one."""
        if task.id in self.right:
            yield None, self.right[task.id]
        for wrapping in WRAPPINGS if task.answer else ():
            yield wrapping, wrapping((task.answer or "").strip())
        if not task.answer and task.id not in self.right:
            yield None, filled(FORMS[0])  # so that every reward gets something to score

    def _looks_at_answers(
        self,
        written: Mapping[int, Sequence[tuple[Wrapping | None, str]]],
        scores: Mapping[int, Sequence[Score | None]],
    ) -> bool:
        """Return True for a reward that takes `answer`, or whose score changes with the task's answer.

        Prompt, language and kind stay the same: a reward for the language of the reasoning reads those, and no answer.
        """
        arguments = set(self.scorer.reward.arguments)
        if "answer" in arguments or not arguments & {"task", "rollout"}:
            return "answer" in arguments
        donors = (*self.tasks[1:], Task(id="other", prompt="", answer="no such answer"))
        for task, donor in zip(self.tasks, donors, strict=True):
            swapped = task.model_copy(update={"answer": donor.answer, "tests": donor.tests, "metadata": donor.metadata})
            again = self.scorer.score([Rollout(task=swapped, completion=text) for _, text in written[id(task)]])
            pairs = zip(scores[id(task)], again, strict=True)
            if any(one is not None and other is not None and one != other for one, other in pairs):
                return True
        return False

    def _attack(self, attack: Attack, subjects: Sequence[Subject]) -> AttackResult:
        tally = _Tally(attack.name, attack.promise)
        if not subjects:
            why = "it pays no right completion" if self.reads_answer else "it does not look at the answer"
            return tally.result(skipped=why)
        accepted: dict[str, list[tuple[Rollout, Score, float]]] = {}
        for subject in subjects[: attack.tasks]:
            completions = list(dict.fromkeys(attack.completions(subject)))
            for text, score in zip(completions, self._score(tally, subject.task, completions), strict=True):
                if score is not None and _reaches(score.value, subject.right):
                    rollout = Rollout(task=subject.task, completion=text)
                    accepted.setdefault(text, []).append((rollout, score, subject.right))
        answers = {subject.answer for subject in subjects}
        for hits in accepted.values():
            enough = min(2, len(answers)) if attack.constant else 1
            if len({rollout.task.answer for rollout, _, _ in hits}) >= enough:
                for rollout, score, right in hits:
                    tally.add(FindingKind.ACCEPTED, rollout, score, score.reason, right)
        return tally.result(self.scorer.exhausted)

    def _forms(self, subjects: Sequence[Subject]) -> AttackResult:
        """Check that a reward that pays for tags and nothing else does not pay broken tags like whole ones."""
        tally = _Tally("broken tags", "tags doubled, nested, missing, out of order or imitated do not pay like whole ones")
        if self.reads_answer:
            return tally.result(skipped="it looks at the answer")
        task = self.tasks[0]
        values = [self._value(score) for score in self._score(tally, task, [filled(form) for form in FORMS])]
        best = max(values)
        form = FORMS[values.index(best)]
        others = [filled(form, other=True), filled(without_tag(form, "think")), filled(without_tag(form, "answer"))]
        same_form, *without = (self._value(score) for score in self._score(tally, task, others))
        tags = [tag for tag, value in zip(("think", "answer"), without, strict=True) if value < best - _tolerance(best)]
        if not tags or not math.isclose(same_form, best):
            return tally.result(skipped=self.scorer.exhausted or "it does not pay for tags as such")
        completions = list(dict.fromkeys(text for tag in tags for text in broken(form, tag)))
        for text, score in zip(completions, self._score(tally, task, completions), strict=True):
            if score is not None and _reaches(score.value, best):
                tally.add(FindingKind.ACCEPTED, Rollout(task=task, completion=text), score, score.reason, best)
        return tally.result(self.scorer.exhausted)

    def _hostile(self, subjects: Sequence[Subject]) -> AttackResult:
        """Score texts that break careless rewards. Only failures count, because some of the texts may be right by chance."""
        tally = _Tally("hostile texts", "no text makes it raise, hang or run out of memory")
        self._score(tally, self.tasks[0], list(hostile_completions().values()))
        return tally.result(self.scorer.exhausted)

    def _repeatability(self, subjects: Sequence[Subject]) -> AttackResult:
        tally = _Tally(
            "repeatability", "the same completion scores the same: again, in company, in any order, in another process"
        )
        before = self.scorer.items
        for change in changes(self.scorer, self._probes):
            reason = f"{_shown(change.first)}, then {_shown(change.then)} when {change.circumstance}"
            tally.add(FindingKind.UNSTABLE, change.rollout, change.then, reason)
        tally.tried = self.scorer.items - before
        return tally.result(self.scorer.exhausted)

    def _growth(self, subjects: Sequence[Subject]) -> AttackResult:
        tally = _Tally("growth", "CPU time grows no faster than the text")
        if self.scorer.reward.isolation is Isolation.ASYNC:
            return tally.result(skipped="it waits for a server, whose time is not its own")
        before = self.scorer.items
        paying = subjects[0].paying if subjects else WRAPPINGS
        for found in explosions(self.scorer, self.tasks[0], paying):
            if isinstance(found, Growth):
                tally.add(FindingKind.SLOW, found.rollout, None, str(found))
            else:
                tally.add(FindingKind.HUNG, found, None, "used up its time before growth could be measured")
        tally.tried = self.scorer.items - before
        return tally.result(self.scorer.exhausted)

    def _score(self, tally: _Tally, task: Task, completions: Iterable[str]) -> list[Score | None]:
        """Score completions of a task. Failures become findings, and the first completions are kept for the test of repeatability."""
        rollouts = [Rollout(task=task, completion=text) for text in completions]
        scores = self.scorer.score(rollouts)
        for rollout, score in zip(rollouts, scores, strict=True):
            tally.count(rollout, score)
        fit = (
            rollout
            for rollout, score in zip(rollouts, scores, strict=True)
            if score is not None and _probes_well(rollout, score)
        )
        self._probes += islice(fit, 2)
        return scores

    @staticmethod
    def _value(score: Score | None) -> float:
        return -math.inf if score is None or score.value is None else score.value


def _most_varied(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings to show: the first of each task, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    ranked = []
    for position, finding in enumerate(findings):
        ranked.append((seen[finding.task_id], position, finding))
        seen[finding.task_id] += 1
    return tuple(finding for _, _, finding in sorted(ranked, key=lambda entry: entry[:2])[:MAX_SHOWN])


def _probes_well(rollout: Rollout, score: Score) -> bool:
    return not score.failed and len(rollout.completion) <= MAX_PROBE


def _same_answer(one: Task, other: Task) -> bool:
    return bool(one.answer and other.answer) and alike(one.answer or "", other.answer or "")


def _reaches(value: float | None, right: float) -> bool:
    return value is not None and value >= right - _tolerance(right)


def _tolerance(value: float) -> float:
    """Return the tolerance for rounding; partial credit is less than that of a right completion."""
    return 1e-9 * max(1.0, abs(value))


def _unwatched(done: int, total: int) -> None:
    """Report no progress."""


def _shown(score: Score) -> str:
    return f"{score.value} ({score.status}{': ' + score.reason if score.reason else ''})"
