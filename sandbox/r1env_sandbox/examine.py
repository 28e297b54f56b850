"""Tests that are programs: assertions, pytest files, and special checkers. They run in the examiner, a second container.

Where test code runs decides whether a verdict can be trusted. In the submission's process it can be patched, skipped, or answered by an
object that is equal to everything. In the submission's container, even under another uid, it can at least be looked for. So it runs in
a container that never holds a submission, and what it tests is a proxy: a call goes out as one line of JSON, this host carries it to the
submission's container, and carries back the line that comes out, which is data and cannot be more. The host alone decides: a test has
passed when the examiner says so, every test that the files define was among those that passed, and the submission was still alive.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files

from r1env_sandbox.errors import WorkerLost
from r1env_sandbox.harness import plain
from r1env_sandbox.languages import LANGUAGES, find_language
from r1env_sandbox.models import Limits, TestCase, TestKind, TestResult, Verdict
from r1env_sandbox.verdicts import failure, head, result_of
from r1env_sandbox.worker import PRELOADED, Command, Worker, compile_command, run_command

CANDIDATE, EXAMINER, PLAIN = "r1env_candidate.py", "r1env_examiner.py", "r1env_plain.py"
EXAMINER_LIMITS = Limits(memory_mb=768, output_kb=64 << 10, processes=64)
MARGIN_SECONDS = 10.0  # the examiner outlives the submission, so that a time limit is the submission's
EXAMINER_MODULES = (*PRELOADED, "ast", "traceback", "importlib.abc", "pytest")
ANSWERS_FACTOR = 16  # a function may be called many times, so its answers may be longer than a program's output


def harness_files(*names: str) -> dict[str, bytes]:
    """Programs of `r1env_sandbox.harness`, under the names that they have in a container."""
    folder = files("r1env_sandbox.harness")
    return {name: folder.joinpath(name.removeprefix("r1env_")).read_bytes() for name in names}


CANDIDATE_FILES = harness_files(CANDIDATE, PLAIN)
EXAMINER_FILES = harness_files(EXAMINER, PLAIN)


def examine(worker: Worker, examiner: Worker, command: Command, test: TestCase, modules: list[str]) -> TestResult:
    """Run an `assert` or `pytest` test on the submission that is laid out in `worker`.

    Args:
        command: runs the candidate harness.
        modules: of the submission, besides its main one.
    """
    candidate = worker.converse(replace(command, output_kb=command.output_kb * ANSWERS_FACTOR))
    if candidate.listen() is None:
        report = candidate.finish()
        return result_of(report, *(failure(report, command) or (Verdict.RUNTIME_ERROR, "ended while it was loaded")))
    outcome = None
    examiner.begin({**as_bytes(test.files), **EXAMINER_FILES})
    conversation = examiner.converse(_examiner_command(command))
    conversation.say(plain.dumps(_order(test, modules)))
    asked = False
    while (line := conversation.listen()) is not None:
        message = _object(line)
        if "outcome" in message:
            outcome = message
            break
        asked = True
        candidate.say(plain.dumps(message))
        answer = candidate.listen()
        conversation.say('{"gone": true}' if answer is None else answer.decode("utf-8", "replace"))
    gone = candidate.ended
    examined, report = conversation.finish(), candidate.finish()
    examiner.end()
    if failed := failure(report, command):
        return result_of(report, *failed)
    if gone or report.stopped != "host":
        return result_of(report, Verdict.RUNTIME_ERROR, "ended before the tests did")
    if outcome is None:
        verdict = Verdict.WRONG_ANSWER if asked else Verdict.REJECTED_INPUT
        return result_of(report, verdict, f"the tests ended without an outcome: {head(examined.stderr, 300)}")
    note = " ".join(str(outcome.get("note", "")).split())
    if outcome["outcome"] == "broken":
        return result_of(report, Verdict.REJECTED_INPUT, f"the test fails by itself: {note}")
    if outcome["outcome"] == "raised":
        return result_of(report, Verdict.RUNTIME_ERROR, note)
    if outcome["outcome"] != "passed":
        return result_of(report, Verdict.WRONG_ANSWER, note)
    if missing := _missing_tests(test, outcome.get("tests")):
        return result_of(report, Verdict.WRONG_ANSWER, f"did not run: {', '.join(sorted(missing)[:5])}")
    return result_of(report, Verdict.ACCEPTED)


def special_check(examiner: Worker, test: TestCase, stdout: bytes, limits: Limits) -> tuple[Verdict, str]:
    """What the test's checker program says about an output.

    Raises:
        WorkerLost: the checker failed, so nothing is known about the submission.
    """
    program = test.checker_program
    assert program is not None  # the model has seen to it
    spec = find_language(program.language)
    texts = {**as_bytes({"input": test.stdin, "expected": str(test.expected)}), "output": stdout}
    examiner.begin({**as_bytes({**program.files, spec.source_file: program.source}), **texts}, box=list(texts))
    if spec.compile is not None:
        compiled = examiner.run(compile_command(spec, limits))
        if not compiled.artifact:
            raise WorkerLost(f"the checker does not compile: {head(compiled.stderr, 300)}")
    checking = limits.model_copy(update={"memory_mb": EXAMINER_LIMITS.memory_mb})
    command = run_command(spec, checking)
    report = examiner.run(replace(command, argv=(*command.argv, "input", "output", "expected")))
    examiner.end()
    if report.exit_code == 0 and report.stopped is None:
        return Verdict.ACCEPTED, ""
    if report.exit_code in (1, 2) and report.stopped is None and not report.stderr.startswith(b"Traceback"):
        return Verdict.WRONG_ANSWER, "the checker refuses it"
    raise WorkerLost(f"the checker failed: {head(report.stderr, 300)}")


def as_bytes(files: Mapping[str, str]) -> dict[str, bytes]:
    return {name: text.encode("utf-8", "surrogatepass") for name, text in files.items()}


def module_names(submission_files: Mapping[str, str]) -> list[str]:
    """The modules that Python files make, packages included."""
    names: set[str] = set()
    for name in submission_files:
        if name.endswith(".py"):
            parts = name.removesuffix(".py").removesuffix("/__init__").split("/")
            names.update(".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return sorted(names)


def defined_tests(name: str, text: str) -> set[str]:
    """The ids, without parameters, of the tests that a pytest file plainly defines."""
    found: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            found.add(f"{name}::{node.name}")
        elif isinstance(node, ast.ClassDef) and (node.name.startswith("Test") or _is_unittest(node)):
            methods = (item.name for item in node.body if isinstance(item, ast.FunctionDef) and item.name.startswith("test"))
            found.update(f"{name}::{node.name}::{method}" for method in methods)
    return found


def _is_unittest(node: ast.ClassDef) -> bool:
    return any("TestCase" in ast.unparse(base) for base in node.bases)


def _missing_tests(test: TestCase, ran: object) -> set[str]:
    if test.kind is not TestKind.PYTEST:
        return set()
    names = {str(name).partition("[")[0] for name in ran} if isinstance(ran, dict) else set()
    expected = {found for name, text in test.files.items() if plain.is_pytest_file(name) for found in defined_tests(name, text)}
    return expected - names


def _order(test: TestCase, modules: list[str]) -> dict[str, object]:
    if test.kind is TestKind.ASSERT:
        return {"code": test.code, "function": test.function}
    return {"files": [name for name in test.files if plain.is_pytest_file(name)], "modules": modules}


def _examiner_command(command: Command) -> Command:
    wall_s = command.wall_s + MARGIN_SECONDS
    limits = EXAMINER_LIMITS.model_copy(update={"cpu_s": wall_s, "wall_s": wall_s})
    return run_command(LANGUAGES["python"], limits, fork=True, script=EXAMINER)


def _object(line: bytes) -> dict[str, object]:
    message = plain.loads(line)
    if not isinstance(message, dict):
        raise WorkerLost("the examiner said something else than an object")
    return message
