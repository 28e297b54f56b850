"""One submission on one slot: lay it out, compile it, run every test, clean up, and give the verdict.

Whatever a submission does is data. What it prints or returns is compared here, on the host, with what is expected. Tests that are
programs (assertions, pytest files, special checkers) run in the examiner, a container that never holds a submission: in the
submission's process a test can be patched, skipped, or answered by an object that is equal to everything. A call goes out of the
examiner as one line of JSON, this host carries it to the submission's container and carries back the line that comes out. A test has
passed when the examiner says so, every test that the files define was among those that passed, and the submission was still alive.

A fault is always one of three parties'. The submission's (also what its output makes a checker do) is a failing verdict. The task's is
`rejected_input`, and must not depend on the submission. Ours is `WorkerLost`, which `Sandbox.judge` makes `judge_error`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from r1env_sandbox.cache import CompileCache
from r1env_sandbox.checkers import check_output, check_value
from r1env_sandbox.errors import FilesDoNotFit, SandboxBusy, SandboxUnavailable, WorkerLost
from r1env_sandbox.harness import plain, testcode
from r1env_sandbox.languages import LANGUAGES, LanguageSpec, find_language
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
from r1env_sandbox.worker import PRELOADED, Command, Report, Worker, compile_command, run_command

log = logging.getLogger(__name__)

_RUN_ONCE = (TestKind.STDIO, TestKind.CALL)
LOG_CHARACTERS = 8000  # of a compiler's messages
HEAD_CHARACTERS = 2000  # of stdout and stderr, for a person to read
NOTE_CHARACTERS = 300
CANDIDATE, EXAMINER = "r1env_candidate.py", "r1env_examiner.py"
EXAMINER_LIMITS = Limits(memory_mb=768, output_kb=64 << 10, processes=64)
EXAMINER_MODULES = (*PRELOADED, "ast", "traceback", "importlib.abc", "pytest")
CHECKER_LIMITS = Limits(memory_mb=768)  # the least that a special checker may use, however tight the submission's limits are
MAX_CHECKERS = 10_000  # that are remembered
MAX_ENDLESS = 2  # control outputs on which a checker may pass its time before it is called broken
CONTROLS = ("", "0\n", "1 2\n", "yes\n", "1\n2\n3\n", "[]\n")
"""Outputs that checkers are tried with, beside the expected one and the input."""
MARGIN_SECONDS = 10.0  # the examiner outlives the submission, so that a time limit is the submission's
ANSWERS_FACTOR = 16  # a function may be called many times, so its answers may be longer than a program's output

_OUT_OF_MEMORY = (b"MemoryError", b"std::bad_alloc", b"OutOfMemoryError", b"heap out of memory", b"memory allocation of")
"""What languages write when they cannot have more memory. A program that writes it itself only gets another failing verdict."""

_PYTHON_REFUSED = ("SyntaxError:", "IndentationError:", "TabError:")
_CODE_ERRORS = ("NameError:", "UnboundLocalError:", "ImportError:", "ModuleNotFoundError:", *_PYTHON_REFUSED)
"""What Python says of a program that no input makes right."""
_CPU_SLACK = 0.9  # what a program is charged for and what ends it are counted in different ways


def _harness_files(*names: str) -> dict[str, bytes]:
    """Programs of `r1env_sandbox.harness`, under the names that they have in a container."""
    folder = files("r1env_sandbox.harness")
    return {name: folder.joinpath(name.removeprefix("r1env_")).read_bytes() for name in names}


CALL_FILES = _harness_files(CANDIDATE, "r1env_plain.py", "r1env_kinds.py")
CANDIDATE_FILES = {**CALL_FILES, **_harness_files("r1env_border.py", "r1env_served.py")}
EXAMINER_FILES = _harness_files(EXAMINER, "r1env_plain.py", "r1env_kinds.py", "r1env_border.py", "r1env_testcode.py")


class TaskFault(ValueError):  # noqa: N818 - it says whose the error is
    """The task's own tests cannot judge any submission. The message says why."""


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
    """Return the verdict.

    Raises:
        WorkerLost: the sandbox failed; nothing is known about the submission, and the slot must not be used again.
    """
    try:
        return _judge(slot, job, cache)
    except TaskFault as fault:
        slot.worker.settle()
        slot.worker.end()
        return JudgeResult.without_score(Verdict.REJECTED_INPUT, str(fault))
    except (WorkerLost, SandboxUnavailable, SandboxBusy):
        raise
    except Exception as error:  # a fault of ours costs this submission its verdict, never the others theirs
        log.exception("the judge failed on a submission")
        raise WorkerLost(f"a fault in the judge: {plain.clean(f'{type(error).__name__}: {error}')}") from error


def run_on(slot: Slot, job: Job, stdin: str, cache: CompileCache) -> RunResult:
    """Return what the program does with an input.

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
    """Return status and score of a submission: accepted when every test was, otherwise as the first test that was not.

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


def _judge(slot: Slot, job: Job, cache: CompileCache) -> JudgeResult:
    modules = _module_names(job.submission.files)
    for test in job.tests:  # faults of the task's are found before the submission can have a part in them
        if test.checker is Checker.SPECIAL:
            _prove_checker(slot, job, test, cache)
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
        results.append(_run_test(slot, job, test, keep_box, reports, modules, cache))
        status = results[-1].status
        failed = status is not Verdict.ACCEPTED
        if status is Verdict.COMPILE_ERROR or not status.scored or (job.stop_at_first_failure and failed):
            break
    slot.worker.settle()
    status, score = overall(results, len(job.tests))
    collected = slot.worker.end(job.submission.collect, job.limits.output_kb << 10)
    verdict = JudgeResult(
        status=status,
        score=score,
        tests=tuple(results),
        compile=compiled,
        collected={name: data.decode("utf-8", "replace") for name, data in collected.items()},
    )
    if status.scored:
        return verdict
    return verdict.model_copy(update={"info": verdict.info.model_copy(update={"note": results[-1].note})})


def _lay_out(slot: Slot, job: Job, cache: CompileCache) -> tuple[CompileResult, str | None]:
    """Write the submission's files, and compile it where its language wants that. Returns also why it did not compile."""
    submission, spec = job.submission, job.spec
    files = _as_bytes({**submission.files, spec.source_file: submission.source})
    kinds = {test.kind for test in job.tests}
    if kinds & {TestKind.ASSERT, TestKind.PYTEST}:
        files |= CANDIDATE_FILES
    elif TestKind.CALL in kinds:
        files |= CALL_FILES
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
    result = CompileResult(
        log=head(report.stderr + report.stdout, LOG_CHARACTERS),
        cpu_ms=round(report.cpu_ms, 3),
        wall_ms=round(report.wall_ms, 3),
        max_rss_kb=report.max_rss_kb,
    )
    if report.artifact:
        cache.put(key, report.artifact)
        return result, None
    failed = failure(report, command)
    fault = failed[1] if failed else "the compiler made nothing"
    return result.model_copy(update={"log": result.log or fault}), fault


# --- tests that are one run: text in and out, a function that is called ---------------------------------------------------------


def _run_of(job: Job, test: TestCase, keep_box: bool) -> tuple[Command, bytes]:
    """Return the command and the input of a test that is one run."""
    if test.kind is TestKind.STDIO:
        return job.command(keep_box=keep_box), test.stdin.encode("utf-8", "surrogatepass")
    request = {
        "op": "values",
        "target": ["main", test.function],
        "args": [plain.encode(item) for item in test.args],
        "kwargs": {name: plain.encode(item) for name, item in test.kwargs.items()},
    }
    return job.command(CANDIDATE, keep_box=keep_box), plain.dumps(request).encode() + b"\n"


def _run_test(
    slot: Slot,
    job: Job,
    test: TestCase,
    keep_box: bool,
    reports: Iterator[tuple[Command, Report]],
    modules: list[str],
    cache: CompileCache,
) -> TestResult:
    if test.kind is TestKind.STDIO:
        return _judge_output(slot, job, test, *next(reports), cache)
    if test.kind is TestKind.CALL:
        return judge_value(test, *next(reports))
    return _examine(slot.worker, slot.examiner, job.command(CANDIDATE, keep_box=keep_box), test, modules)


def _judge_output(slot: Slot, job: Job, test: TestCase, command: Command, report: Report, cache: CompileCache) -> TestResult:
    if failed := failure(report, command):
        return result_of(report, *failed)
    if test.checker is Checker.SPECIAL:
        return result_of(report, *_special_check(slot, job, test, report.stdout, cache))
    difference = check_output(test, report.stdout)
    return result_of(report, Verdict.WRONG_ANSWER if difference else Verdict.ACCEPTED, difference or "")


def judge_value(test: TestCase, command: Command, report: Report) -> TestResult:
    """Return the verdict on what the submission's process says that its function returned. Whatever it says is data."""
    if failed := failure(report, command):
        return result_of(report, *failed)
    try:
        _ready, answer = report.result.splitlines()
        reply = plain.loads(answer)
        if "refused" in reply:
            return result_of(report, Verdict.WRONG_ANSWER, f"returned no plain data: {reply['refused']}")
        if "raised" in reply:
            described = reply["raised"] if isinstance(reply["raised"], dict) else {}
            return result_of(report, Verdict.RUNTIME_ERROR, f"{described.get('type')}: {described.get('message')}")
        value = plain.decode(reply["value"])
        plain.encode(value)  # as whoever gets the verdict will do; rebuilt arrays may be nested too deeply for it
    except plain.NotPlainData as error:
        return result_of(report, Verdict.WRONG_ANSWER, f"returned no plain data: {error}")
    except (MemoryError, RecursionError):
        return result_of(report, Verdict.WRONG_ANSWER, "returned what takes too much memory to read")
    except (ValueError, TypeError, KeyError):
        return result_of(report, Verdict.RUNTIME_ERROR, "ended before the function returned")
    difference = check_value(test, value)
    return result_of(report, Verdict.WRONG_ANSWER if difference else Verdict.ACCEPTED, difference or "", value)


# --- tests that are programs: the examiner --------------------------------------------------------------------------------------


def _examine(worker: Worker, examiner: Worker, command: Command, test: TestCase, modules: list[str]) -> TestResult:
    """Run an `assert` or `pytest` test on the submission that is laid out in `worker`.

    Args:
        command: runs the candidate harness.
        modules: of the submission, besides its main one.
    """
    candidate = worker.converse(replace(command, output_kb=command.output_kb * ANSWERS_FACTOR))
    if candidate.listen() is None:
        report = candidate.finish()
        return result_of(report, *(failure(report, command) or (Verdict.RUNTIME_ERROR, "ended while it was loaded")))
    outcome: dict[str, Any] | None = None
    examiner.begin({**_as_bytes(test.files), **EXAMINER_FILES})
    conversation = examiner.converse(_examiner_command(command))
    conversation.say(plain.dumps(_order(test, modules)))
    asked = forged = False
    while (line := conversation.listen()) is not None:
        if line.startswith(b'{"outcome"'):  # the examiner alone says what its lines begin with
            outcome = plain.loads(line)
            break
        asked = True
        answer = None
        if not forged:
            candidate.say(line.decode("ascii"))
            answer = candidate.listen()
            # The harness says one line for each that it hears. More would keep both ends writing, and nobody reading.
            forged = candidate.spoke_out_of_turn
        conversation.say('{"gone": true}' if answer is None or forged else answer.decode("utf-8", "replace"))
    gone = candidate.ended
    examined, report = conversation.finish(), candidate.finish()
    examiner.end()
    note = plain.clean(str((outcome or {}).get("note", "")))
    if outcome is not None and outcome["outcome"] == "broken":  # whatever the submission did: it has no part in this
        return result_of(report, Verdict.REJECTED_INPUT, f"this test cannot be judged: {note}")
    if failed := failure(report, command):
        return result_of(report, *failed)
    if forged:
        return result_of(report, Verdict.RUNTIME_ERROR, "wrote to the descriptor of its harness")
    if gone or report.stopped != "host":
        return result_of(report, Verdict.RUNTIME_ERROR, "ended before the tests did")
    if outcome is None:
        verdict = Verdict.WRONG_ANSWER if asked else Verdict.REJECTED_INPUT
        return result_of(report, verdict, f"the tests ended without an outcome: {head(examined.stderr, NOTE_CHARACTERS)}")
    if outcome["outcome"] == "raised":
        return result_of(report, Verdict.RUNTIME_ERROR, note)
    if outcome["outcome"] != "passed":
        return result_of(report, Verdict.WRONG_ANSWER, note)
    if missing := _missing_tests(test, outcome.get("tests")):
        return result_of(report, Verdict.WRONG_ANSWER, f"did not run: {', '.join(sorted(missing)[:5])}")
    return result_of(report, Verdict.ACCEPTED)


def _module_names(submission_files: Mapping[str, str]) -> list[str]:
    """Return the modules that Python files make, packages included."""
    names: set[str] = set()
    for name in submission_files:
        if name.endswith(".py"):
            parts = name.removesuffix(".py").removesuffix("/__init__").split("/")
            names.update(".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return sorted(names)


def _missing_tests(test: TestCase, ran: object) -> set[str]:
    if test.kind is not TestKind.PYTEST:
        return set()
    names = {str(name).partition("[")[0] for name in ran} if isinstance(ran, dict) else set()
    pytest_files = ((name, text) for name, text in test.files.items() if plain.is_pytest_file(name))
    return {found for name, text in pytest_files for found in testcode.defined_tests(name, text)} - names


def _order(test: TestCase, modules: list[str]) -> dict[str, object]:
    if test.kind is TestKind.ASSERT:
        return {"code": test.code, "function": test.function}
    python_files = [name for name in test.files if name.endswith(".py")]
    return {
        "files": [name for name in python_files if plain.is_pytest_file(name)],
        "helpers": [name for name in python_files if not plain.is_pytest_file(name)],
        "modules": modules,
        "under_test": test.modules,
    }


def _examiner_command(command: Command) -> Command:
    wall_s = command.wall_s + MARGIN_SECONDS
    limits = EXAMINER_LIMITS.model_copy(update={"cpu_s": wall_s, "wall_s": wall_s})
    return run_command(LANGUAGES["python"], limits, fork=True, script=EXAMINER)


# --- special checkers -----------------------------------------------------------------------------------------------------------


def _special_check(slot: Slot, job: Job, test: TestCase, stdout: bytes, cache: CompileCache) -> tuple[Verdict, str]:
    """Return what the test's checker program says about an output. A checker that fails on it refuses it (`_prove_checker`)."""
    checked = _run_checker(slot.examiner, job, test, stdout, cache)
    if checked.accepted is not None:
        return (Verdict.ACCEPTED, "") if checked.accepted else (Verdict.WRONG_ANSWER, "the checker refuses it")
    return Verdict.WRONG_ANSWER, f"the checker cannot read it: {checked.note}"


def _prove_checker(slot: Slot, job: Job, test: TestCase, cache: CompileCache) -> None:
    """Find out whether a checker is broken, before the submission runs and so whatever it prints.

    The checker is shown the expected output and a few others. One that judges any of them works. One that fails on all is broken if
    it never came to read the output (it fails in the same way without one), if its text has an error, or if it does not end.
    Otherwise its failures depend on what it reads, so that those on a submission's output will be the submission's.

    Raises:
        TaskFault: the checker is broken.
    """
    program = test.checker_program
    assert program is not None  # the model has seen to it
    identity = (program.model_dump_json(), test.stdin, str(test.expected), job.limits.model_dump_json())
    key = hashlib.sha256(json.dumps(identity).encode()).digest()
    if (fault := _checker_faults.get(key)) is None:
        fault = _fault_of_checker(slot.examiner, job, test, cache)
        with _checkers_lock:
            while len(_checker_faults) >= MAX_CHECKERS:
                del _checker_faults[next(iter(_checker_faults))]
            _checker_faults[key] = fault
    if fault:
        raise TaskFault(fault)


_checker_faults: dict[bytes, str] = {}  # of the checkers that were tried; empty for those that work
_checkers_lock = threading.Lock()


def _fault_of_checker(examiner: Worker, job: Job, test: TestCase, cache: CompileCache) -> str:
    controls = dict.fromkeys((str(test.expected), test.stdin, *CONTROLS))
    failures: list[_Checked] = []
    for control in controls:
        try:
            checked = _run_checker(examiner, job, test, control.encode("utf-8", "surrogatepass"), cache)
        except FilesDoNotFit as error:
            examiner.end()
            return f"the checker and its texts cannot be laid out: {error}"
        if checked.accepted is not None:
            return ""
        failures.append(checked)
        if len(failures) == MAX_ENDLESS and all(failure.endless for failure in failures):
            return f"the checker does not end, whatever the output: {checked.note}"
    without_output = _run_checker(examiner, job, test, None, cache)
    first = failures[0]
    if all(failure.way == without_output.way for failure in failures):
        return f"the checker fails on every output: {first.note}"
    if all(failure.note.startswith(_CODE_ERRORS) for failure in failures):
        return f"the checker fails on every output: {first.note}"
    log.warning(
        "a special checker judges none of %d outputs that it was tried with (%s); an output on which it fails counts as wrong",
        len(failures),
        first.note,
    )
    return ""


@dataclass(frozen=True, slots=True)
class _Checked:
    """What became of a checker.

    Attributes:
        accepted: what it says; None when it failed.
        note: why it failed.
        way: what tells one way to fail from another.
        endless: it was stopped.
    """

    accepted: bool | None
    note: str = ""
    way: tuple[object, ...] = ()
    endless: bool = False


def _run_checker(examiner: Worker, job: Job, test: TestCase, output: bytes | None, cache: CompileCache) -> _Checked:
    """Have the checker judge an output; None for a file that is not there.

    Raises:
        TaskFault: it does not compile.
    """
    program = test.checker_program
    assert program is not None  # the model has seen to it
    spec = find_language(program.language)
    sources = _as_bytes({**program.files, spec.source_file: program.source})
    texts = _as_bytes({"input": test.stdin, "expected": str(test.expected)}) | ({} if output is None else {"output": output})
    if spec.compile is None or spec.artifact is None:
        examiner.begin(sources | texts, box=list(texts))
    else:
        artifact = _compiled_checker(examiner, job, program, sources, cache)
        examiner.begin(sources | texts | {spec.artifact: artifact}, box=list(texts), executable=[spec.artifact])
    generous = {
        name: max(getattr(job.limits, name), getattr(CHECKER_LIMITS, name)) for name in ("cpu_s", "wall_s", "memory_mb")
    }
    command = run_command(spec, job.limits.model_copy(update=generous), fork=spec.can_fork)
    report = examiner.run(replace(command, argv=(*command.argv, "input", "output", "expected")))
    examiner.end()
    crashed = b"Traceback (most recent call last)" in report.stderr or _python_refused(report.stderr)
    if report.stopped is None and (report.exit_code == 0 or (report.exit_code in (1, 2) and not crashed)):
        return _Checked(report.exit_code == 0)
    failed = failure(report, command)
    note = plain.clean(failed[1] if failed else head(report.stderr, NOTE_CHARACTERS))
    endless = failed is not None and failed[0] is Verdict.TIME_LIMIT
    return _Checked(None, note, (report.exit_code, report.signal, report.stopped, _last_line(report.stderr)), endless)


def _compiled_checker(examiner: Worker, job: Job, program: Submission, sources: dict[str, bytes], cache: CompileCache) -> bytes:
    """
    Raises:
        TaskFault: it does not compile.
    """
    spec = find_language(program.language)
    command = compile_command(spec, job.limits)
    key = CompileCache.key([job.image, "checker", spec.name, *command.argv, program.model_dump_json()])
    if (artifact := cache.get(key)) is not None:
        return artifact
    examiner.begin(sources)
    compiled = examiner.run(command)
    examiner.end()
    if not compiled.artifact:
        raise TaskFault(f"the checker does not compile: {plain.clean(head(compiled.stderr, NOTE_CHARACTERS))}")
    cache.put(key, compiled.artifact)
    return compiled.artifact


# --- from what a program did to a verdict ---------------------------------------------------------------------------------------


def failure(report: Report, command: Command) -> tuple[Verdict, str] | None:
    """Return how a program broke its limits or failed by itself, with a line that says so; None when it ended well."""
    if report.stopped == "output":
        return Verdict.OUTPUT_LIMIT, f"wrote more than {command.output_kb} KB"
    if report.oom or report.stopped == "memory" or report.max_rss_kb > command.memory_mb << 10:
        return Verdict.MEMORY_LIMIT, f"used more than {command.memory_mb} MB"
    limit_ms = 1000 * command.cpu_s
    # The kernel may kill a little early. One that was stopped for another reason was killed by us, and had time left.
    killed_near_limit = report.signal == signal.SIGKILL and report.stopped is None and report.cpu_ms >= _CPU_SLACK * limit_ms
    if report.stopped == "cpu" or report.cpu_ms > limit_ms or report.signal == signal.SIGXCPU or killed_near_limit:
        return Verdict.TIME_LIMIT, f"used more than {command.cpu_s:g} s of CPU time"
    if report.stopped == "wall":
        return Verdict.TIME_LIMIT, f"did not end in {command.wall_s:g} s"
    if report.signal == signal.SIGXFSZ:
        return Verdict.OUTPUT_LIMIT, f"wrote a file of more than {command.file_mb} MB"
    if report.stopped == "host" or report.exit_code == 0:
        return None
    tail = report.stderr[-4000:]
    if any(words in tail for words in _OUT_OF_MEMORY):
        return Verdict.MEMORY_LIMIT, f"could not have more than {command.memory_mb} MB"
    if report.signal is not None:
        return Verdict.RUNTIME_ERROR, f"ended by {_signal_name(report.signal)}"
    if _python_refused(report.stderr):
        return Verdict.COMPILE_ERROR, _last_line(tail)
    return Verdict.RUNTIME_ERROR, _last_line(tail) or f"ended with the exit status {report.exit_code}"


def result_of(report: Report, status: Verdict, note: str = "", value: Any = None) -> TestResult:
    """Return what happened in a test, with what it used."""
    return TestResult(
        status=status,
        cpu_ms=round(report.cpu_ms, 3),
        wall_ms=round(report.wall_ms, 3),
        max_rss_kb=report.max_rss_kb,
        exit_code=report.exit_code,
        signal=None if report.stopped == "host" else report.signal,
        stdout_head=head(report.stdout),
        stderr_head=head(report.stderr),
        value=value,
        note=plain.clean(note, NOTE_CHARACTERS),
    )


def head(data: bytes, characters: int = HEAD_CHARACTERS) -> str:
    """Return the beginning of a text, with what is not UTF-8 replaced."""
    return data[: 4 * characters].decode("utf-8", "replace")[:characters]


def _as_bytes(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {name: text.encode("utf-8", "surrogatepass") for name, text in texts.items()}


def _python_refused(stderr: bytes) -> bool:
    """Return whether the interpreter could not even parse the program: then it reports without a traceback."""
    return stderr.startswith(b'  File "/judge/prog/') and _last_line(stderr).startswith(_PYTHON_REFUSED)


def _last_line(data: bytes) -> str:
    lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
