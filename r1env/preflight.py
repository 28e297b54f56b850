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
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r1env.audit.corpus import WRAPPINGS
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
MEASURED = 256  # prompts that are measured exactly for the report
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
        raise PreflightError(
            f"{report.subject}: {fault.rows:,} of {report.checked:,} {fault.what}, the first: {fault.examples[0]}; {fault.remedy}{more}; "
            "preflight.mode=report (of `r1env eval`: --preflight report) goes on in spite of it"
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
    wanted = settings.tasks if size is None else size
    tasks = list(iterate(environment.source, wanted if count is None else min(count, wanted), seed))
    digest = _digest(environment, tasks, settings, limits)
    if (known := cached(digest)) is not None:
        return known
    start = time.monotonic()
    advance = progress or _logged_progress(environment.name)
    report = _check(environment, tasks, settings, limits, advance)
    if time.monotonic() - start > SLOW:
        keep(digest, report)
    return report


def _check(environment: Environment, tasks: Sequence[Task], settings: Preflight, limits: Limits, advance: Progress) -> Report:
    found, facts = Collected(), []
    places = {id(task): place for place, task in enumerate(tasks, start=1)}

    def where(task: Task) -> str:
        return f"row {places[id(task)]} (task {task.id!r})" if environment.source.size is not None else f"task {task.id!r}"

    checker = next((item.reward for item in environment.rubric.rewards if item.reward.name == environment.accuracy), None)
    # A dialogue is not won by a single answer; and a rubric without the checker does not need the references.
    checkable = [] if environment.other is not None or checker is None else tasks
    paying = _Writing()
    with_answer = [task for task in checkable if (task.answer or "").strip()]
    if with_answer and checker is not None:
        paying = _find_writing(checker, with_answer)
        for task, best in _score_references(checker, with_answer, paying, advance):
            if best.value is None:
                found.add(UNREADABLE, f"{where(task)}: {shown(task.answer)}: {best.reason or best.status}")
            elif best.value < 1:
                found.add(UNPAID, f"{where(task)}: {shown(task.answer)}: scores {best.value:g} ({best.reason or best.status})")
        for task in _compared_word_for_word(checker, with_answer, paying):
            found.add(WORDY, f"{where(task)}: {shown(task.answer)}")
        good = len(with_answer) - found.count(UNREADABLE, UNPAID, WORDY)
        facts.append(f"{good:,} of {len(with_answer):,} references are paid when given as the answer")
    if checker is not None and _needs_answer(checker):
        for task in checkable:
            if not (task.answer or "").strip() and not task.tests:
                found.add(NO_ANSWER, f"{where(task)}: {shown(task.question)}")
    measured = tasks if environment.other is None else tasks[: settings.tasks]  # each of a dialogue opens an episode
    skipped = _measure_prompts(environment, measured, limits, where, found, facts)
    faulty = found.count(NO_ANSWER, UNREADABLE, UNPAID, WORDY)
    many = faulty > settings.max_faulty * len(checkable)
    map_it = "map the column that holds the short answer, or drop the rows"
    faults = [
        *found.fault(NO_ANSWER, map_it, fatal=many),
        *found.fault(UNREADABLE, f"{map_it}; they would be left unscored", fatal=many),
        *found.fault(
            UNPAID,
            f"{map_it}; right answers would score 0"
            + (
                ""
                if paying.found
                else " (no way of writing an answer is paid; if the checker wants one of its own, use report)"
            ),
            fatal=many,
        ),
        *found.fault(WORDY, f"{map_it}; right answers would score 0", fatal=many),
        *found.fault(TOO_LONG, _too_long_remedy(limits), fatal=not skipped),
        *found.fault(UNSHOWN, "these tasks would be left unscored; mend the template or the messages", fatal=True),
        *(_check_rewards(environment, tasks[:SAMPLE], paying) if environment.other is None else ()),
    ]
    subject = environment.name if environment.split is None else f"{environment.name}, split {environment.split}"
    return Report(subject=subject, checked=len(tasks), faults=tuple(faults), facts=tuple(facts))


# References: each is given as the answer, and should be paid.


@dataclass(frozen=True, slots=True)
class _Writing:
    """The ways of writing an answer to try, the most often paid first; `found` where any was paid."""

    ways: tuple[Callable[[str], str], ...] = WRAPPINGS[:2]
    found: bool = False


def _find_writing(checker: Reward, tasks: Sequence[Task]) -> _Writing:
    """Find how the checker wants an answer: by asking it about the first tasks."""
    probed = tasks[:PROBED]
    paid = [
        sum(result.value is not None and result.value >= 1 for result in _scores(checker, probed, way)) for way in WRAPPINGS
    ]
    ways = sorted((place for place, count in enumerate(paid) if count), key=lambda place: -paid[place])
    return _Writing(tuple(WRAPPINGS[place] for place in ways[:3]), found=True) if ways else _Writing()


def _score_references(
    checker: Reward, tasks: Sequence[Task], writing: _Writing, advance: Progress
) -> Iterator[tuple[Task, Score]]:
    """Yield each task with the best score that its reference gets."""
    for start in range(0, len(tasks), BATCH):
        batch = tasks[start : start + BATCH]
        best: dict[int, Score] = {}
        left = list(range(len(batch)))
        for way in writing.ways:
            for place, result in zip(left, _scores(checker, [batch[place] for place in left], way), strict=True):
                if place not in best or _rank(result) > _rank(best[place]):
                    best[place] = result
            left = [place for place in left if _rank(best[place]) < 1]
            if not left:
                break
        yield from ((task, best[place]) for place, task in enumerate(batch))
        advance(start + len(batch), len(tasks))


def _compared_word_for_word(checker: Reward, tasks: Sequence[Task], writing: _Writing) -> list[Task]:
    """Return the mathematical tasks whose reference is prose that the checker compares as text.

    A worked solution whose answer the checker reads is still paid without its first words; prose is not.
    """
    wordy = [task for task in tasks if task.kind is TaskKind.MATH and len((task.answer or "").split()) > MANY_WORDS]
    if not wordy:
        return []
    shortened = [writing.ways[0](" ".join((task.answer or "").split()[2:])) for task in wordy]
    pairs = zip(wordy, shortened, strict=True)
    scores = score([_answered(task, completion) for task, completion in pairs], checker, notify=False)
    return [task for task, result in zip(wordy, scores, strict=True) if _rank(result) < 1]


def _rank(result: Score) -> float:
    return -1.0 if result.value is None else result.value


def _scores(checker: Reward, tasks: Sequence[Task], write: Callable[[str], str]) -> list[Score]:
    return score([_answered(task, write((task.answer or "").strip())) for task in tasks], checker, notify=False)


def _answered(task: Task, completion: str) -> Rollout:
    return Rollout(task=task, completion=completion, messages=(*task.prompt, {"role": "assistant", "content": completion}))


def _needs_answer(checker: Reward) -> bool:
    """Whether the checker asks for `answer` by name and has no default for it."""
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
        remedy="a run with it would have no reward; mend it, or take it out of the rubric",
    )


# Prompts: each should leave room for an answer.


def _measure_prompts(
    environment: Environment,
    tasks: Sequence[Task],
    limits: Limits,
    where: Callable[[Task], str],
    found: Collected,
    facts: list[str],
) -> bool:
    """Find the prompts that are too long; return whether the run leaves them out."""
    if limits.tokenizer is None:
        return False
    chat = environment.template.chat
    texts: list[tuple[Task, str]] = []
    for task in tasks:
        try:
            texts.append((task, _prompt_of(environment, task, limits.tokenizer)))
        except ChatTemplateError as error:
            found.add(UNSHOWN, f"{where(task)}: {error}")
    special = not (chat and limits.tokenizer.chat_template)
    most = limits.most
    fits_surely = [most is None or (text.isascii() and len(text) + 8 <= most) for _, text in texts]
    to_measure = [place for place, fits in enumerate(fits_surely) if not fits]
    longest_first = sorted(range(len(texts)), key=lambda place: -len(texts[place][1]))
    sample = {*to_measure, *longest_first[: MEASURED // 4], *range(0, len(texts), max(1, len(texts) // MEASURED))}
    lengths: dict[int, int] = {}
    for start in range(0, len(sample), BATCH):
        batch = sorted(sample)[start : start + BATCH]
        ids = limits.tokenizer([texts[place][1] for place in batch], add_special_tokens=special, verbose=False)["input_ids"]
        lengths.update((place, len(tokens)) for place, tokens in zip(batch, ids, strict=True))
    too_long = [place for place in to_measure if most is not None and lengths[place] > most]
    for place in too_long:
        found.add(TOO_LONG, f"{where(texts[place][0])}: {lengths[place]:,} tokens, limit {most:,}")
    if lengths:
        facts.append(f"prompts have up to {max(lengths.values()):,} tokens")
    return limits.max_prompt is not None


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


def _digest(environment: Environment, tasks: Sequence[Task], settings: Preflight, limits: Limits) -> str:
    """A hash of everything that the report depends on: the tasks, the rewards and their files, the tokenizer, the settings."""
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
            logger.info("pre-flight, %s: %s of %s references checked", name, f"{done:,}", f"{total:,}")

    return advance


def shown(value: object) -> str:
    """Return a value in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:79] + "…"
