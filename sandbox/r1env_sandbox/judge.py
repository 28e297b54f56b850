"""One submission on one slot: lay out, compile, run every test, clean up. What is expected is compared here, on the host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from r1env_sandbox.cache import CompileCache
from r1env_sandbox.checkers import check_output, check_value
from r1env_sandbox.examine import CANDIDATE, CANDIDATE_FILES, as_bytes, examine, module_names, special_check
from r1env_sandbox.harness import plain
from r1env_sandbox.languages import LanguageSpec
from r1env_sandbox.models import (
    Checker,
    CompileResult,
    JudgeResult,
    Limits,
    RunResult,
    Submission,
    TestCase,
    TestKind,
    TestResult,
    Verdict,
)
from r1env_sandbox.pool import Slot
from r1env_sandbox.verdicts import failure, head, result_of
from r1env_sandbox.worker import Command, Report, compile_command, run_command

_RUN_ONCE = (TestKind.STDIO, TestKind.CALL)
LOG_CHARACTERS = 8000  # of a compiler's messages


@dataclass(frozen=True, slots=True)
class Job:
    """A submission and everything that decides its verdict."""

    submission: Submission
    tests: Sequence[TestCase]
    limits: Limits
    spec: LanguageSpec
    fork: bool
    stop_at_first_failure: bool
    image: str

    def command(self, script: str | None = None, *, keep_box: bool = False) -> Command:
        return replace(run_command(self.spec, self.limits, fork=self.fork, script=script), keep_box=keep_box)

    def cache_key(self, command: Command) -> str:
        files = [part for name, text in sorted(self.submission.files.items()) for part in (name, text)]
        return CompileCache.key([self.image, self.spec.name, *command.argv, self.submission.source, *files])


def judge_on(slot: Slot, job: Job, cache: CompileCache) -> JudgeResult:
    """The verdict.

    Raises:
        WorkerLost: the sandbox failed; nothing is known about the submission, and the slot must not be used again.
    """
    compiled, fault = _lay_out(slot, job, cache)
    if fault is not None:
        slot.worker.end()
        return JudgeResult(status=Verdict.COMPILE_ERROR, score=0.0, compile=compiled)
    results: list[TestResult] = []
    keep = [bool(job.submission.collect) and number == len(job.tests) for number in range(1, len(job.tests) + 1)]
    runs = [_run_of(job, test, keep_box) for test, keep_box in zip(job.tests, keep, strict=True) if test.kind in _RUN_ONCE]
    ahead = len(runs) == len(job.tests) and not job.stop_at_first_failure
    reports = slot.worker.run_each(runs, ahead=ahead)
    for test, keep_box in zip(job.tests, keep, strict=True):
        results.append(_run_test(slot, job, test, keep_box, reports))
        status = results[-1].status
        failed = status is not Verdict.ACCEPTED
        if status is Verdict.COMPILE_ERROR or not status.scored or (job.stop_at_first_failure and failed):
            break
    slot.worker.settle()
    status, score = overall(results, len(job.tests))
    collected = slot.worker.end(job.submission.collect, job.limits.output_kb << 10)
    return JudgeResult(
        status=status,
        score=score,
        tests=tuple(results),
        compile=compiled,
        collected={name: data.decode("utf-8", "replace") for name, data in collected.items()},
    )


def run_on(slot: Slot, job: Job, stdin: str, cache: CompileCache) -> RunResult:
    """What the program does with an input.

    Raises:
        WorkerLost: as in `judge_on`.
    """
    compiled, fault = _lay_out(slot, job, cache)
    if fault is not None:
        slot.worker.end()
        return RunResult(status=Verdict.COMPILE_ERROR, compile=compiled)
    command = job.command(keep_box=bool(job.submission.collect))
    report = slot.worker.run(command, stdin.encode("utf-8", "surrogatepass"))
    collected = slot.worker.end(job.submission.collect, job.limits.output_kb << 10)
    status, note = failure(report, command) or (Verdict.ACCEPTED, "")
    return RunResult(
        status=status,
        stdout=report.stdout.decode("utf-8", "replace"),
        stderr=report.stderr.decode("utf-8", "replace"),
        test=result_of(report, status, note),
        compile=compiled,
        collected={name: data.decode("utf-8", "replace") for name, data in collected.items()},
    )


def overall(results: Sequence[TestResult], tests: int) -> tuple[Verdict, float | None]:
    """Status and score of a submission: accepted when every test was, otherwise as the first test that was not.

    Args:
        tests: how many there are; one that did not run has not passed.
    """
    statuses = [result.status for result in results]
    for status in statuses:
        if not status.scored:
            return status, None
    score = statuses.count(Verdict.ACCEPTED) / tests
    first = next((status for status in statuses if status is not Verdict.ACCEPTED), Verdict.ACCEPTED)
    return first, score


def _lay_out(slot: Slot, job: Job, cache: CompileCache) -> tuple[CompileResult, str | None]:
    """Write the submission's files, and compile it where its language wants that. Returns also why it did not compile."""
    submission, spec = job.submission, job.spec
    files = as_bytes({**submission.files, spec.source_file: submission.source})
    if any(test.kind is not TestKind.STDIO for test in job.tests):
        files |= CANDIDATE_FILES
    if spec.compile is None or spec.artifact is None:
        slot.worker.begin(files, box=list(submission.files))
        return CompileResult(), None
    command = compile_command(spec, job.limits)
    key = job.cache_key(command)
    if (artifact := cache.get(key)) is not None:
        slot.worker.begin({**files, spec.artifact: artifact}, box=list(submission.files), executable=[spec.artifact])
        return CompileResult(cached=True), None
    slot.worker.begin(files, box=list(submission.files))
    report = slot.worker.run(command)
    result = _compile_result(report)
    if report.artifact:
        cache.put(key, report.artifact)
        return result, None
    failed = failure(report, command)
    fault = failed[1] if failed else "the compiler made nothing"
    return result.model_copy(update={"log": result.log or fault}), fault


def _run_of(job: Job, test: TestCase, keep_box: bool) -> tuple[Command, bytes]:
    """The command and the input of a test that is one run."""
    if test.kind is TestKind.STDIO:
        return job.command(keep_box=keep_box), test.stdin.encode("utf-8", "surrogatepass")
    request = {
        "module": "main",
        "name": test.function,
        "args": plain.encode(list(test.args)),
        "kwargs": plain.encode(dict(test.kwargs)),
    }
    return job.command(CANDIDATE, keep_box=keep_box), plain.dumps(request).encode() + b"\n"


def _run_test(slot: Slot, job: Job, test: TestCase, keep_box: bool, reports: Iterator[tuple[Command, Report]]) -> TestResult:
    if test.kind is TestKind.STDIO:
        return _judge_output(slot, job, test, *next(reports))
    if test.kind is TestKind.CALL:
        return _judge_value(test, *next(reports))
    command = job.command(CANDIDATE, keep_box=keep_box)
    return examine(slot.worker, slot.examiner, command, test, module_names(job.submission.files))


def _judge_output(slot: Slot, job: Job, test: TestCase, command: Command, report: Report) -> TestResult:
    if failed := failure(report, command):
        return result_of(report, *failed)
    if test.checker is Checker.SPECIAL:
        return result_of(report, *special_check(slot.examiner, test, report.stdout, job.limits))
    difference = check_output(test, report.stdout)
    return result_of(report, Verdict.WRONG_ANSWER if difference else Verdict.ACCEPTED, difference or "")


def _judge_value(test: TestCase, command: Command, report: Report) -> TestResult:
    if failed := failure(report, command):
        return result_of(report, *failed)
    try:
        _ready, answer = report.result.splitlines()
        reply = plain.loads(answer)
        if "refused" in reply:
            return result_of(report, Verdict.WRONG_ANSWER, f"returned no plain data: {reply['refused']}"[:300])
        if "error" in reply:
            return result_of(report, Verdict.RUNTIME_ERROR, _described(reply["error"]))
        value = plain.decode(reply["value"])
    except plain.NotPlainData as error:
        return result_of(report, Verdict.WRONG_ANSWER, f"returned no plain data: {error}")
    except (ValueError, TypeError, KeyError):
        return result_of(report, Verdict.RUNTIME_ERROR, "ended before the function returned")
    difference = check_value(test, value)
    return result_of(report, Verdict.WRONG_ANSWER if difference else Verdict.ACCEPTED, difference or "", value)


def _described(error: object) -> str:
    if not isinstance(error, dict):
        return "an exception"
    return " ".join(f"{error.get('type')}: {error.get('message')}".split())[:300]


def _compile_result(report: Report) -> CompileResult:
    return CompileResult(
        log=head(report.stderr + report.stdout, LOG_CHARACTERS),
        cpu_ms=round(report.cpu_ms, 3),
        wall_ms=round(report.wall_ms, 3),
        max_rss_kb=report.max_rss_kb,
    )
