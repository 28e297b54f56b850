"""The reward `code`: the program in a response, judged by the task's tests in a sandbox.

It is asynchronous: the work is done by the sandbox's own containers, and one pool of them serves the whole process.
"""

from __future__ import annotations

import ast
import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

import r1env
from r1env.importing import import_target, is_reference
from r1env_code.blocks import Choice, bound_names, choose_program
from r1env_sandbox import JudgeResult, Limits, Submission, TestCase, TestKind, Verdict, judge
from r1env_sandbox.harness.testcode import ALIASES, names_from
from r1env_sandbox.languages import LANGUAGES, UnknownLanguageError

TYPING_NAMES = frozenset((
    *("Any", "Callable", "DefaultDict", "Deque", "Dict", "FrozenSet", "Generator", "Hashable", "Iterable", "Iterator", "List"),
    *("Literal", "Mapping", "NamedTuple", "Optional", "Sequence", "Set", "Tuple", "Type", "TypeVar", "Union"),
))  # fmt: skip

PARTS = ("compile", "tests", "time", "blocks", "truncated")
VALUES = ("all", "share")

EXTRACTIONS = {
    "livecodebench": "r1env_code.blocks:livecodebench_code",
    "simple-evals": "r1env_code.blocks:simple_evals_code",
}
"""Names of evaluators → their rules for finding the program of a response."""

# What a rollout may wait for its turn in the sandbox, which has limits of its own for everything that a program does.
QUEUE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class CodeTask:
    """What the reward reads off a task.

    Attributes:
        tests: what decides; never shown to the model.
        limits: of each test.
        language: that the program must be in; None for any.
        preamble, epilogue: text put before and behind the program: imports that the prompt promised, a call that a test needs.
        target: where the program is one file of a repository, its path there.
        files: the other files of the repository.
    """

    tests: tuple[TestCase, ...]
    limits: Limits
    language: str | None = None
    preamble: str = ""
    epilogue: str = ""
    target: str | None = None
    files: Mapping[str, str] | None = None


@r1env.reward(name="code", isolation="async", parts=PARTS, limits=r1env.Limits(wall_seconds=QUEUE_SECONDS))
class Code:
    """1 when the program in the last code block passes every test, 0 when it does not; no value when it could not be judged.

    The task's `tests` are those of `r1env-sandbox judge`; its metadata may hold `programming_language`, `limits`, `preamble` and
    `epilogue`. The parts say what was seen: `compile` (0 or 1), `tests` (share passed), `time` (share of the tests that ran and
    ended in time), `blocks` (code blocks that could have been the program), `truncated` (1 where the token limit cut it off).

    Args:
        value: `all` pays for passing every test, `share` the share passed.
        language: for tasks that name none; without it the tag of the code block decides.
        stop_at_first_failure: run no test after one that failed: cheaper, and `tests` is then the share up to there.
        prefilled: the prompt ended with `<think>`.
        extraction: an official rule for finding the program, one of `EXTRACTIONS`, or an import string of a function `(response) -> str`,
            which is empty where there is no program. Default: the rules of `choose_program`. The thinking is cut off first in every case.
    """

    def __init__(
        self,
        value: str = "all",
        language: str | None = None,
        stop_at_first_failure: bool = False,
        prefilled: bool = False,
        extraction: str = "",
    ) -> None:
        if extraction and extraction not in EXTRACTIONS and not is_reference(extraction):
            known = ", ".join(EXTRACTIONS)
            raise r1env.UsageError(
                f"unknown extraction {extraction!r} of the reward 'code'; known: {known}, or module:function"
            )
        self.extract = import_target(EXTRACTIONS.get(extraction, extraction)) if extraction else None
        if value not in VALUES:
            raise r1env.UsageError(f"unknown value {value!r} of the reward 'code'; known: {', '.join(VALUES)}")
        if stop_at_first_failure and value == "share":
            raise r1env.UsageError("the reward 'code' cannot pay the share of tests passed and stop at the first failure")
        self.value, self.language = value, language
        self.stop_at_first_failure, self.prefilled = stop_at_first_failure, prefilled

    async def __call__(self, rollout: r1env.Rollout) -> r1env.Score:
        try:
            task = read_task(rollout.task, self.language)
            choice = self._choice(rollout.completion, task)
        except (ValueError, UnknownLanguageError) as error:
            return r1env.Score.failure(r1env.Status.UNPARSEABLE, str(error), parts=PARTS)
        truncated = float(rollout.finish_reason is r1env.FinishReason.LENGTH)
        if choice.fault:
            cut = "; the token limit cut it off" if truncated else ""
            return self._refusal(r1env.Status.BAD_FORMAT, choice.fault + cut, choice, truncated)
        imported = missing_typing_names(choice)
        result = await asyncio.to_thread(
            judge,
            submission_of(choice, task, imported),
            task.tests,
            task.limits,
            stop_at_first_failure=self.stop_at_first_failure,
        )
        score = self._score(result, len(task.tests), choice, truncated)
        if not imported:
            return score
        return score.model_copy(update={"reason": f"{score.reason}; imported for it: {', '.join(imported)}"})

    def _choice(self, completion: str, task: CodeTask) -> Choice:
        """Return the program of a response, by the official rule where there is one."""
        if self.extract is None:
            return choose_program(self._response(completion), task.language, needed_names(task.tests))
        source = self.extract(r1env.parse_response(completion, prefilled=self.prefilled).response)
        fault = "" if source.strip() else "the official rule finds no program"
        return Choice(task.language or "python", source, int(not fault), fault)

    def _response(self, completion: str) -> str:
        """Return where the program is looked for: in the answer block where there is one, else behind the thinking."""
        parsed = r1env.parse_response(completion, prefilled=self.prefilled)
        return parsed.response if parsed.answer is None else parsed.answer

    def _score(self, result: JudgeResult, tests: int, choice: Choice, truncated: float) -> r1env.Score:
        reason = describe(result, tests)
        if result.status is Verdict.JUDGE_ERROR:
            return r1env.Score.failure(r1env.Status.ERROR, reason, parts=PARTS)
        if result.score is None:  # the task's own tests cannot be run
            return r1env.Score.failure(r1env.Status.UNPARSEABLE, reason, parts=PARTS)
        value = float(result.status is Verdict.ACCEPTED) if self.value == "all" else result.score
        late = sum(test.status is Verdict.TIME_LIMIT for test in result.tests)
        parts = {
            "compile": float(result.status is not Verdict.COMPILE_ERROR),
            "tests": result.score,
            "time": 1 - late / len(result.tests) if result.tests else 0.0,
            "blocks": float(choice.candidates),
            "truncated": truncated,
        }
        status = r1env.Status.OK if value > 0 else r1env.Status.WRONG
        return r1env.Score(value=value, parts=parts, status=status, reason=reason, seconds=cpu_seconds(result))

    def _refusal(self, status: r1env.Status, reason: str, choice: Choice, truncated: float) -> r1env.Score:
        parts = {"compile": 0.0, "tests": 0.0, "time": 0.0, "blocks": float(choice.candidates), "truncated": truncated}
        return r1env.Score(value=0.0, parts=parts, status=status, reason=reason)


def read_task(task: r1env.Task, language: str | None = None) -> CodeTask:
    """Return what there is to judge by.

    Args:
        language: where the task names none.

    Raises:
        ValueError: the task has no tests, or its tests or limits cannot be read: a fault of the data, not of the model.
    """
    if not task.tests:
        raise ValueError("the task has no tests")
    metadata = task.metadata
    own_language = metadata.get("programming_language") or (task.language if task.language in LANGUAGES else None)
    try:
        tests = tuple(TestCase.model_validate(test) for test in task.tests)
        limits = Limits.model_validate(metadata.get("limits") or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"the task's tests cannot be read: {where}: {first['msg']}") from error
    return CodeTask(
        tests=tests,
        limits=limits,
        language=_text(own_language) or language,
        preamble=_text(metadata.get("preamble")),
        epilogue=_text(metadata.get("epilogue")),
        target=_text(metadata.get("target")) or None,
        files=metadata.get("files"),
    )


def needed_names(tests: Sequence[TestCase]) -> set[str]:
    """Return names that tests ask a Python program for: functions, classes of methods, and what they import from `solution`."""
    names = {test.function.partition(".")[0] for test in tests if test.function is not None}
    if names and all(test.kind is TestKind.CALL for test in tests):
        names.add("Solution")  # a function may be a method of it, as LeetCode has them
    for test in tests:
        for name, text in test.files.items():
            if name.endswith(".py"):
                names |= names_from(ast.parse(text), ALIASES)
    return names


def missing_typing_names(choice: Choice) -> list[str]:
    """Return names of `typing` that a Python program uses and never imports: annotations say nothing about whether it is right."""
    if choice.language != "python" or re.search(r"^[ \t]*from[ \t]+typing[ \t]+import[ \t]+\*", choice.source, re.MULTILINE):
        return []
    used = {name for name in re.findall(r"(?<![\w.])[A-Z]\w*", choice.source) if name in TYPING_NAMES}
    return sorted(used - bound_names(choice.source)) if used else []


def submission_of(choice: Choice, task: CodeTask, imported: Sequence[str] = ()) -> Submission:
    """Return the program with what the task puts around it; one file of a repository where the task has one.

    Args:
        imported: names of `typing` to import for it.
    """
    preamble = "\n".join(filter(None, [f"from typing import {', '.join(imported)}" if imported else "", task.preamble]))
    source = with_preamble(choice.source, preamble) + task.epilogue
    files = dict(task.files or {})
    if task.target is not None:
        files[task.target] = source
    return Submission(language=choice.language, source=source, files=files)


def with_preamble(source: str, preamble: str) -> str:
    """Return the preamble, then the source; `from __future__` lines of the source go first, as Python wants them.

    Only lines before any other statement can be such, so a line of that look within a string later on stays where it is.
    """
    if not preamble:
        return source
    lines = source.split("\n")
    position = 0
    futures = []
    while position < len(lines):
        line = lines[position].strip()
        if line.startswith("from __future__ import "):
            futures.append(line)
        elif line and not line.startswith("#"):
            break
        position += 1
    if not futures:
        return f"{preamble}\n{source}"
    return "\n".join([*futures, preamble, *lines[position:]])


def describe(result: JudgeResult, tests: int) -> str:
    """Return one line on what happened: the verdict, and the first test that was not passed."""
    if not result.status.scored:
        return f"{result.status.value}: {result.info.note}"
    passed = result.passed
    said = f"{result.status.value}, {passed} of {tests} tests passed"
    if result.status is Verdict.COMPILE_ERROR:
        return f"{said}: {_first_line(result.compile.log)}"
    failed = next((test for test in result.tests if test.status is not Verdict.ACCEPTED), None)
    note = _first_line(failed.note) if failed is not None else ""
    return f"{said}: {note}" if note else said


def cpu_seconds(result: JudgeResult) -> float:
    """Return what compiling and all tests used."""
    return (result.compile.cpu_ms + math.fsum(test.cpu_ms for test in result.tests)) / 1000


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:200]


def _text(value: Any) -> str:
    """Return a field of the metadata that should be text.

    Raises:
        ValueError: it is something else.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"the task's metadata has a {type(value).__name__} where a text should be")
    return value
