"""Pre-flight: what the tasks and rewards of a run are checked for before its first step.

`check_tasks` scores each reference answer against itself, looks for rows without one, measures prompts, and asks every reward for a score
on a sample. `settle` reports what was found, and stops the run where its settings say so. The trainers of `r1env-trainers` check their
demonstrations and pairs with the same `Report`.

    report = check_tasks(r1env.make_environment("sort-4"), Preflight())
    settle([report], Preflight())        # raises PreflightError, or logs what it found
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r1env.audit.corpus import WRAPPINGS, Wrapping
from r1env.config import Settings
from r1env.data.sources import iterate
from r1env.engines import Engine, TokenEngine
from r1env.envs.environment import Environment
from r1env.envs.suite import Suite
from r1env.errors import UsageError
from r1env.rewards import Reward
from r1env.rollout import ChatTemplateError, prompt_text
from r1env.rubrics import WeightedReward
from r1env.runs.files import replace_text
from r1env.scoring import score
from r1env.types import Rollout, Score, Task, TaskKind

logger = logging.getLogger(__name__)

EXAMPLES = 3  # rows that a report shows of each fault
BATCH = 2_000  # tasks scored at once: enough to keep workers busy, few enough to show progress
SAMPLE = 8  # tasks that every reward is asked about
PROBED = 16  # tasks by which the way of writing an answer is found
MANY_WORDS = 12  # in a reference, from which it looks like prose
MEASURED = 16  # prompts of a batch, the longest, that are measured even where they surely fit
SLOW = 2.0  # seconds from which a report is worth keeping
FORMAT = 1  # of what is kept; raised when the checks change
PROGRESS = 10.0  # seconds between two lines of progress


Mode = Literal["refuse", "report", "off"]


class Preflight(Settings):
    """Checks before the first step."""

    mode: Mode = Field(
        default="refuse",
        description="What a fault does: stop the run before its first step, or only be reported. off checks nothing.",
    )
    max_faulty: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of the rows that may have a reference that is missing, unreadable or not paid before refuse stops.",
    )
    tasks: int = Field(default=128, ge=1, description="Tasks of each environment that are checked where its source never ends.")


class PreflightError(UsageError):
    """The data or the rewards of a run have a fault that would show only later, or never."""


class Fault(BaseModel):
    """One kind of fault.

    Attributes:
        what: the fault, in words that follow a number of rows.
        rows: how many rows have it.
        examples: the first of them, each with its place and the reason.
        fatal: it stops the run in mode `refuse`.
        remedy: what to do about it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    rows: int
    examples: tuple[str, ...]
    fatal: bool
    remedy: str


class Report(BaseModel):
    """What was found in one environment or file.

    Attributes:
        subject: its name.
        checked: rows that were looked at.
        facts: what is worth knowing where nothing is wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    checked: int
    faults: tuple[Fault, ...] = ()
    facts: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report as text: what was checked, then each fault with its first rows and its remedy."""
        found = [
            f"pre-flight, {self.subject}: {self.checked:,} row{'s' * (self.checked != 1)} checked; {'; '.join(self.facts) or 'no fault'}"
        ]
        for fault in self.faults:
            found.append(f"  {fault.rows:,} of {self.checked:,} {fault.what}: {fault.remedy}")
            found += [f"    {example}" for example in fault.examples]
        return found


def settle(reports: Iterable[Report], settings: Preflight) -> None:
    """Log the reports; raise where a fault stops the run.

    Raises:
        PreflightError: mode is `refuse`, and a fault is fatal; the message has the first of them with its first row.
    """
    fatal: list[tuple[Report, Fault]] = []
    for report in reports:
        for line in report.lines():
            logger.log(logging.WARNING if report.faults else logging.INFO, "%s", line)
        fatal += [(report, fault) for fault in report.faults if fault.fatal]
    if fatal and settings.mode == "refuse":
        report, fault = fatal[0]
        more = f" ({len(fatal) - 1} more kinds of fault above)" if len(fatal) > 1 else ""
        # A prompt that is too long would end the run all the same, at the step that draws it.
        instead = (
            ""
            if fault.what == TOO_LONG
            else "; preflight.mode=report (of `r1env eval`: --preflight report) goes on in spite of it"
        )
        raise PreflightError(
            f"{report.subject}: {fault.rows:,} of {report.checked:,} {fault.what}, the first: {fault.examples[0]}; {fault.remedy}{more}"
            f"{instead}"
        )


class Collected:
    """Rows with faults, by kind."""

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, what: str, example: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1
        if len(rows := self._rows.setdefault(what, [])) < EXAMPLES:
            rows.append(example)

    def count(self, *kinds: str) -> int:
        return sum(self._counts.get(what, 0) for what in kinds)

    def fault(self, what: str, remedy: str, *, fatal: bool) -> Iterator[Fault]:
        """Yield the fault of that kind, where any row has it."""
        if what in self._rows:
            yield Fault(what=what, rows=self._counts[what], examples=tuple(self._rows[what]), fatal=fatal, remedy=remedy)


Progress = Callable[[int, int], None]
"""Called with (done, in all)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long prompts may be.

    Attributes:
        tokenizer: of the model; None where it is not at hand, and prompts are not measured.
        max_prompt: most tokens of a prompt; longer ones are left out of the run, which goes on. None for no limit but the context.
        max_length: the model's context; None for no limit.
    """

    tokenizer: Any = None
    max_prompt: int | None = None
    max_length: int | None = None

    @property
    def most(self) -> int | None:
        """Most tokens of a prompt."""
        limits = [self.max_prompt] if self.max_prompt is not None else []
        limits += [self.max_length - 1] if self.max_length is not None else []
        return min(limits, default=None)


def check_suites(
    suites: Iterable[Suite],
    settings: Preflight,
    limits: Limits | Engine | None = None,
    *,
    count: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Check every environment of the suites once, and report or raise; see `check_tasks` and `settle`.

    Args:
        limits: of the prompts; or an engine that has a tokenizer and a context.

    Raises:
        PreflightError: as `settle`.
    """
    if settings.mode == "off":
        return
    if not isinstance(limits, Limits):
        limits = Limits(limits.tokenizer, max_length=limits.max_length) if isinstance(limits, TokenEngine) else Limits()
    environments: dict[str, Environment] = {}
    for environment in (environment for suite in suites for environment in suite.environments):
        about = (
            environment.name,
            environment.split,
            environment.options,
            environment.rubric.describe(),
            environment.template.name,
        )
        environments.setdefault(repr(about), environment)
    reports = [
        check_tasks(environment, settings, limits, count=count, seed=seed, progress=progress)
        for environment in environments.values()
    ]
    settle(reports, settings)


NO_ANSWER = "have no reference answer, and the checker needs one"
UNREADABLE = "have a reference that the checker cannot read"
UNPAID = "have a reference that is not paid when it is given as the answer"
WORDY = "have a reference of many words, of which only an exact copy is paid"
TOO_LONG = "have a prompt that is too long"
UNSHOWN = "have a prompt that the chat template cannot show"


def check_tasks(
    environment: Environment,
    settings: Preflight,
    limits: Limits = Limits(),
    *,
    count: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Check the tasks of an environment, and its rewards; in the scoring workers where the rewards ask for them.

    Of a source that never ends, `settings.tasks` tasks are checked, of any other all. A check that took seconds is kept in the user's
    cache and used again for the same tasks, rewards and tokenizer.

    Args:
        count: check only the first so many tasks: those that an evaluation will use.
        seed: of the task source.

    Example:
        >>> import r1env
        >>> check_tasks(r1env.make_environment("sort-4"), Preflight(tasks=8)).faults
        ()
    """
    size = environment.source.size
    total = settings.tasks if size is None else size
    total = total if count is None else min(count, total)
    digest = _digest(environment, iterate(environment.source, total, seed), settings, limits)
    if (known := cached(digest)) is not None:
        return known
    start = time.monotonic()
    advance = progress or _logged_progress(environment.name)
    check = _TaskCheck(environment, settings, limits)
    tasks = iterate(environment.source, total, seed)
    while batch := list(itertools.islice(tasks, BATCH)):  # a million tasks need not be in memory at once
        check.take(batch)
        advance(check.taken, total)
    report = check.report()
    if time.monotonic() - start > SLOW:
        keep(digest, report)
    return report


class _TaskCheck:
    """The checks of one environment, batch by batch."""

    def __init__(self, environment: Environment, settings: Preflight, limits: Limits) -> None:
        self.taken = 0
        self._environment, self._settings, self._limits = environment, settings, limits
        self._checker = next(
            (item.reward for item in environment.rubric.rewards if item.reward.name == environment.accuracy), None
        )
        self._is_dialogue = environment.other is not None
        self._found = Collected()
        self._writing: _Writing | None = None
        self._references = 0
        self._longest = 0
        self._sample: list[Task] = []

    def take(self, tasks: Sequence[Task]) -> None:
        """Check the next tasks."""
        rows = list(enumerate(tasks, start=self.taken))
        self._sample += tasks[: SAMPLE - len(self._sample)]
        # A dialogue is not won by a single answer; and a rubric without the checker does not need the references.
        if self._checker is not None and not self._is_dialogue:
            self._check_references(self._checker, rows)
        if not self._is_dialogue or self.taken < self._settings.tasks:  # each of a dialogue opens an episode
            self._measure_prompts(rows)
        self.taken += len(tasks)

    def report(self) -> Report:
        """Return what was found; the rewards are asked about the first tasks."""
        found, environment = self._found, self._environment
        faulty = found.count(NO_ANSWER, UNREADABLE, UNPAID, WORDY)
        many = faulty > self._settings.max_faulty * self.taken
        map_it = "map the column that holds the short answer, or drop the rows"
        unknown = " (no way of writing an answer is paid; if the checker wants one of its own, use report)"
        writing = self._writing or _Writing()
        left_out = self._limits.max_prompt is not None
        faults = [
            *found.fault(NO_ANSWER, map_it, fatal=many),
            *found.fault(UNREADABLE, f"{map_it}; they would be left unscored", fatal=many),
            *found.fault(UNPAID, f"{map_it}; right answers would score 0{'' if writing.found else unknown}", fatal=many),
            *found.fault(WORDY, f"{map_it}; right answers would score 0", fatal=many),
            *found.fault(TOO_LONG, _too_long_remedy(self._limits), fatal=not left_out),
            *found.fault(UNSHOWN, "these tasks would be left unscored; correct the template or the messages", fatal=True),
            *([] if self._is_dialogue else _check_rewards(environment, self._sample, writing)),
        ]
        facts = []
        if self._references:
            good = self._references - found.count(UNREADABLE, UNPAID, WORDY)
            facts.append(f"{good:,} of {self._references:,} references are paid when given as the answer")
        if self._longest:
            facts.append(f"prompts have up to {self._longest:,} tokens")
        subject = environment.name if environment.split is None else f"{environment.name}, split {environment.split}"
        return Report(subject=subject, checked=self.taken, faults=tuple(faults), facts=tuple(facts))

    def _where(self, place: int, task: Task) -> str:
        """Return where a task is from: file and row, where the source knows them."""
        source = self._environment.source
        if (where := getattr(source, "where", None)) is not None:
            return str(where(place))
        return f"task {task.id!r}" if source.size is None else f"row {place + 1} (task {task.id!r})"

    def _check_references(self, checker: Reward, rows: Sequence[tuple[int, Task]]) -> None:
        with_answer = [(place, task) for place, task in rows if (task.answer or "").strip()]
        if len(with_answer) < len(rows) and _needs_answer(checker):
            for place, task in rows:
                if not (task.answer or "").strip() and not task.tests:
                    self._found.add(NO_ANSWER, f"{self._where(place, task)}: {shown(task.question)}")
        if not with_answer:
            return
        self._references += len(with_answer)
        if self._writing is None:
            self._writing = _find_writing(checker, [task for _, task in with_answer[:PROBED]])
        best = _score_references(checker, [task for _, task in with_answer], self._writing)
        for (place, task), result in zip(with_answer, best, strict=True):
            reason = result.reason or result.status
            if result.value is None:
                self._found.add(UNREADABLE, f"{self._where(place, task)}: {shown(task.answer)}: {reason}")
            elif result.value < 1:
                paid = f"scores {result.value:g} ({reason})"
                self._found.add(UNPAID, f"{self._where(place, task)}: {shown(task.answer)}: {paid}")
        right = [row for row, result in zip(with_answer, best, strict=True) if _rank(result) >= 1]
        for place, task in _compared_word_for_word(checker, right, self._writing):
            self._found.add(WORDY, f"{self._where(place, task)}: {shown(task.answer)}")

    def _measure_prompts(self, rows: Sequence[tuple[int, Task]]) -> None:
        """Find the prompts that are too long. Those that surely fit are not cut into tokens, but for the longest."""
        tokenizer, most = self._limits.tokenizer, self._limits.most
        if tokenizer is None:
            return
        texts: list[tuple[str, int, Task]] = []
        for place, task in rows:
            try:
                texts.append((_prompt_of(self._environment, task, tokenizer), place, task))
            except ChatTemplateError as error:
                self._found.add(UNSHOWN, f"{self._where(place, task)}: {error}")
        texts.sort(key=lambda text: -len(text[0]))
        measured = [
            one
            for rank, one in enumerate(texts)
            if rank < MEASURED or not (most is None or (one[0].isascii() and len(one[0]) + 8 <= most))
        ]
        special = not (self._environment.template.chat and tokenizer.chat_template)
        if not measured:
            return
        ids = tokenizer([text for text, _, _ in measured], add_special_tokens=special, verbose=False)["input_ids"]
        lengths = [len(one) for one in ids]
        self._longest = max(self._longest, *lengths)
        for (_, place, task), length in sorted(zip(measured, lengths, strict=True), key=lambda one: one[0][1]):
            if most is not None and length > most:
                self._found.add(TOO_LONG, f"{self._where(place, task)}: {length:,} tokens, limit {most:,}")


# References: each is given as the answer, and should be paid.


WAYS = (*WRAPPINGS, Wrapping("answer line", "Answer: ", ""))
"""How a reference is written as the answer: as models do in an audit, or as the prompts of simple-evals ask for it."""


@dataclass(frozen=True, slots=True)
class _Writing:
    """The ways of writing an answer to try, the most often paid first; `found` where any was paid."""

    ways: tuple[Callable[[str], str], ...] = WRAPPINGS[:2]
    found: bool = False


def _find_writing(checker: Reward, probed: Sequence[Task]) -> _Writing:
    """Find how the checker wants an answer, by asking it."""
    paid = [sum(_rank(result) >= 1 for result in _scores(checker, probed, way)) for way in WAYS]
    ways = sorted((place for place, count in enumerate(paid) if count), key=lambda place: -paid[place])
    return _Writing(tuple(WAYS[place] for place in ways[:3]), found=True) if ways else _Writing()


def _score_references(checker: Reward, tasks: Sequence[Task], writing: _Writing) -> list[Score]:
    """Return the best score that each task's reference gets."""
    best = _scores(checker, tasks, writing.ways[0])
    for way in writing.ways[1:]:
        left = [place for place, result in enumerate(best) if _rank(result) < 1]
        for place, result in zip(left, _scores(checker, [tasks[place] for place in left], way), strict=True):
            best[place] = max(best[place], result, key=_rank)
    return best


def _compared_word_for_word(checker: Reward, rows: Sequence[tuple[int, Task]], writing: _Writing) -> list[tuple[int, Task]]:
    """Return the mathematical tasks whose reference is prose that the checker compares as text.

    A worked solution whose answer the checker reads is still paid without its first words; prose is not.
    """
    wordy = [row for row in rows if row[1].kind is TaskKind.MATH and len((row[1].answer or "").split()) > MANY_WORDS]
    rollouts = [_answered(task, writing.ways[0](" ".join((task.answer or "").split()[2:]))) for _, task in wordy]
    scores = score(rollouts, checker, notify=False)
    return [row for row, result in zip(wordy, scores, strict=True) if _rank(result) < 1]


def _rank(result: Score) -> float:
    return -1.0 if result.value is None else result.value


def _scores(checker: Reward, tasks: Sequence[Task], write: Callable[[str], str]) -> list[Score]:
    return score([_answered(task, write((task.answer or "").strip())) for task in tasks], checker, notify=False)


def _answered(task: Task, completion: str) -> Rollout:
    return Rollout(task=task, completion=completion, messages=(*task.prompt, {"role": "assistant", "content": completion}))


def _needs_answer(checker: Reward) -> bool:
    """Return whether the checker asks for `answer` by name and has no default for it."""
    called = checker.function.__call__ if inspect.isclass(checker.function) else checker.function
    answer = inspect.signature(called).parameters.get("answer")
    return answer is not None and answer.default is answer.empty


# Rewards: each should give a value for some of the sample.


def _check_rewards(environment: Environment, tasks: Sequence[Task], writing: _Writing) -> Iterator[Fault]:
    """Yield a fault for each reward of the rubric that has no value on any of the sample.

    Each task has two answers, its reference and a wrong one, so that rewards for groups see a group.
    """
    rollouts = [
        _answered(task, text)
        for task in tasks
        for text in (writing.ways[0]((task.answer or "1").strip()), writing.ways[0]("none"))
    ]
    for item in environment.rubric.rewards:
        scores = score(rollouts, item.reward, notify=False)
        if all(result.value is None for result in scores):
            yield _silent_reward(item, scores, len(tasks))


def _silent_reward(item: WeightedReward, scores: Sequence[Score], tasks: int) -> Fault:
    reasons = [result.reason or str(result.status) for result in scores]
    commonest = max(set(reasons), key=reasons.count)
    return Fault(
        what=f"got no score from the reward {item.reward.name!r}",
        rows=tasks,
        examples=(commonest,),
        fatal=item.weight != 0,
        remedy="a run with it would have no reward; correct it, or remove it from the rubric",
    )


# Prompts.


def prompt_length(environment: Environment, task: Task, tokenizer: Any) -> int:
    """Return the number of tokens of a task's prompt."""
    special = not (environment.template.chat and tokenizer.chat_template)
    text = _prompt_of(environment, task, tokenizer)
    return len(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])


def _prompt_of(environment: Environment, task: Task, tokenizer: Any) -> str:
    chat = environment.template.chat
    if environment.other is None:
        return prompt_text(tokenizer, environment.template.render(task), chat=chat)
    episode = environment.open(task)
    episode.close()
    return prompt_text(tokenizer, episode.messages, chat=chat, tools=episode.tools)


def _too_long_remedy(limits: Limits) -> str:
    if limits.max_prompt is not None:
        return f"filter.max_prompt_length={limits.max_prompt:,} leaves them out"
    return "drop these rows, leave them out with filter.max_prompt_length, or use a model with a longer context"


# The cache: what was checked once need not be checked again.


def _digest(environment: Environment, tasks: Iterable[Task], settings: Preflight, limits: Limits) -> str:
    """Return a hash of everything that the report depends on: the tasks, the rewards and their files, the tokenizer, the settings."""
    digest = hashlib.blake2b(digest_size=16)
    about = [environment.name, environment.rubric.describe(), environment.accuracy, environment.max_turns, settings.max_faulty]
    about += [
        environment.split,
        limits.max_prompt,
        limits.max_length,
        environment.template.name,
        tokenizer_digest(limits.tokenizer),
    ]
    digest.update(json.dumps([FORMAT, *about], default=str).encode())
    for task in tasks:
        digest.update(task.model_dump_json(fallback=str).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def tokenizer_digest(tokenizer: Any) -> str | None:
    """Return a hash of a tokenizer's vocabulary and chat template; None for no tokenizer."""
    if tokenizer is None:
        return None
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = backend.to_str() if backend is not None else json.dumps(sorted(tokenizer.get_vocab().items()))
    return hashlib.blake2b(f"{vocabulary}{tokenizer.chat_template}".encode(), digest_size=16).hexdigest()


def cached(digest: str) -> Report | None:
    """Return the report that was kept under a digest; None where there is none that this version can read."""
    try:
        return Report.model_validate_json(_path(digest).read_text("utf-8"))
    except (OSError, ValidationError):
        return None


def keep(digest: str, report: Report) -> None:
    """Keep a report for the next time; where that is not possible, the next time is slow again."""
    path = _path(digest)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, report.model_dump_json())
    except OSError as error:
        logger.info("cannot keep the pre-flight report in %s: %s", path.parent, error)


def _path(digest: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "r1env" / "preflight" / f"{digest}.json"


def _logged_progress(name: str) -> Progress:
    """Log a line now and then, for checks that take long."""
    last = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        if done < total and time.monotonic() - last > PROGRESS:
            last = time.monotonic()
            logger.info("pre-flight, %s: %s of %s tasks checked", name, f"{done:,}", f"{total:,}")

    return advance


def shown(value: object) -> str:
    """Return a value in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:79] + "…"
