"""Runs tests, in a container that the submission has no way into. The submission is a proxy: each call is one JSON line.

The first line on stdin says what to run. Calls go out on descriptor 3 and answers come in on stdin; the last line out is the outcome:

    {"outcome": "passed" | "failed" | "raised" | "broken", "note", "tests": {name: outcome}}

`raised` is a failure by the submission's own exception. `broken` is a test that fails before it has asked the submission anything: the test's own fault.
"""

from __future__ import annotations

import ast
import builtins
import importlib.abc
import importlib.machinery
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1env_sandbox.harness import plain
else:
    import r1env_plain as plain  # the same file, as it is called in a container

MAIN = "main"
ALIASES = ("solution", "submission", "candidate", MAIN)  # what tests call the submission's module


class SubmissionGone(BaseException):
    """The submission has ended, so no test can pass any more. Not an `Exception`: tests that expect one must not be content."""


class SubmissionError(Exception):
    """An exception of the submission's whose type is unknown here."""


class Line:
    """The way to the submission."""

    def __init__(self) -> None:
        self.answers = os.fdopen(os.dup(0), "rb")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        self.requests = os.fdopen(os.dup(3), "w", encoding="ascii")
        os.close(3)
        self.asked = 0  # how often the submission was asked anything: no test passes, and none is blamed on it, without
        self.exceptions: dict[str, type[Exception]] = {}
        self.raised: Exception | None = None  # the last exception of the submission's

    def write(self, message: dict[str, Any]) -> None:
        print(plain.dumps(message), file=self.requests, flush=True)

    def read(self) -> Any:
        line = self.answers.readline()
        if not line:
            raise SubmissionGone
        return plain.loads(line)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        self.write(request)
        reply = self.read()
        if not isinstance(reply, dict) or "gone" in reply:
            raise SubmissionGone
        return reply

    def error(self, described: Any) -> Exception:
        """The exception that the submission says it raised: a built-in one, one of its own that a test imported, or neither."""
        name = str(described.get("type")) if isinstance(described, dict) else ""
        message = str(described.get("message")) if isinstance(described, dict) else ""
        self.raised = self._exception(name, message)
        return self.raised

    def _exception(self, name: str, message: str) -> Exception:
        kind = self.exceptions.get(name, getattr(builtins, name, None))
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            return SubmissionError(f"{name}: {message}")
        try:
            return kind(message)
        except TypeError:  # one that wants other arguments (UnicodeDecodeError)
            return SubmissionError(f"{name}: {message}")


class RemoteFunction:
    """A function of the submission. Arguments and results are plain data; anything else is refused."""

    def __init__(self, line: Line, module: str, name: str) -> None:
        self._line, self._module, self.__name__ = line, module, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request = {
            "module": self._module,
            "name": self.__name__,
            "args": plain.encode(list(args)),
            "kwargs": plain.encode(kwargs),
        }
        reply = self._line.ask(request)
        if "error" in reply:
            raise self._line.error(reply["error"])
        if "refused" in reply:
            raise SubmissionError(str(reply["refused"]))
        value = plain.decode(reply.get("value"))
        for argument, after in zip(args, reply.get("args") or [], strict=False):
            bring_to(argument, after)
        return value


def bring_to(argument: Any, after: Any) -> None:
    """Give an argument the contents that the submission left in its copy."""
    if after is None or type(argument) not in (list, dict, set):
        return
    contents = plain.decode(after)
    if type(contents) is type(argument):
        argument.clear()
        argument.extend(contents) if type(argument) is list else argument.update(contents)


class RemoteModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the submission's modules, after everything that is really here."""

    def __init__(self, line: Line, modules: list[str]) -> None:
        self._line = line
        self._modules = {**dict.fromkeys(ALIASES, MAIN), **{name: name for name in modules}}

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name in self._modules:
            return importlib.machinery.ModuleSpec(name, self, is_package=name not in ALIASES)
        return None

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        remote = self._modules[module.__name__]

        def attribute(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return lookup(self._line, remote, name)

        module.__getattr__ = attribute


def lookup(line: Line, module: str, name: str) -> Any:
    """What the submission has under a name: a function, an exception type, or plain data."""
    reply = line.ask({"module": module, "get": name})
    if "error" in reply:
        raise AttributeError(f"the submission has no {name}")
    if reply.get("exception"):
        return line.exceptions.setdefault(name, type(name, (Exception,), {}))
    if reply.get("callable"):
        return RemoteFunction(line, module, name)
    return plain.decode(reply.get("value"))


def run_assertions(line: Line, code: str, function: str) -> dict[str, Any]:
    """Run `check(candidate)`, or code that holds the assertions itself."""
    candidate = RemoteFunction(line, MAIN, function)
    scope: dict[str, Any] = {"__name__": "tests", "candidate": candidate, function.rpartition(".")[2]: candidate}
    for name in undefined_names(code) - scope.keys():  # a helper of the task's prompt, as in HumanEval
        scope[name] = RemoteFunction(line, MAIN, name)
    try:
        exec(compile(code, "tests", "exec", dont_inherit=True), scope)
        if callable(scope.get("check")):
            scope["check"](candidate)
    except Exception as error:  # noqa: BLE001 - every failure of a test is a failure of the submission's, once it was asked
        traceback.print_exc()
        described = traceback.format_exception_only(type(error), error)[-1].strip()[:300]
        if error is line.raised:
            return {"outcome": "raised", "note": described}
        return {"outcome": "failed" if line.asked else "broken", "note": described}
    return {"outcome": "passed" if line.asked else "broken", "note": "" if line.asked else "the test asks nothing"}


def undefined_names(code: str) -> set[str]:
    """Names that the code reads and that neither it nor Python defines."""
    tree = ast.parse(code)
    read: set[str] = set()
    defined: set[str] = set(dir(builtins)) | {"__name__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            defined.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
    return read - defined


class Outcomes:
    """A pytest plugin that notes what became of each test."""

    def __init__(self) -> None:
        self.tests: dict[str, str] = {}
        self.faults: list[str] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        self.tests = {item.nodeid: "not run" for item in items}

    def pytest_collectreport(self, report: Any) -> None:
        if not report.passed:
            self.faults.append(f"{report.nodeid}: {report.outcome}")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if hasattr(report, "wasxfail") or report.outcome != "passed":
            self.tests[report.nodeid] = "xfailed" if hasattr(report, "wasxfail") else report.outcome
        elif report.when == "call" and self.tests.get(report.nodeid) == "not run":
            self.tests[report.nodeid] = "passed"


def run_pytest(line: Line, files: list[str], modules: list[str]) -> dict[str, Any]:
    import pytest

    here = os.path.dirname(os.path.abspath(__file__))
    sys.meta_path.append(RemoteModules(line, modules))
    outcomes = Outcomes()
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", here, "-c", os.devnull, "--import-mode=importlib"]
    code = pytest.main([*options, *(os.path.join(here, name) for name in files)], plugins=[outcomes])
    passed = code == 0 and outcomes.tests and not outcomes.faults and set(outcomes.tests.values()) == {"passed"}
    bad = [f"{name}: {outcome}" for name, outcome in outcomes.tests.items() if outcome != "passed"]
    note = "; ".join([*outcomes.faults, *bad][:5]) or ("no test ran" if not outcomes.tests else "")
    if not line.asked:
        return {"outcome": "broken", "note": note or "the tests ask nothing", "tests": outcomes.tests}
    return {"outcome": "passed" if passed else "failed", "note": note[:300], "tests": outcomes.tests}


def main() -> None:
    line = Line()
    order = line.read()
    try:
        if "code" in order:
            outcome = run_assertions(line, order["code"], order["function"])
        else:
            outcome = run_pytest(line, order["files"], order["modules"])
    except SubmissionGone:
        outcome = {"outcome": "failed", "note": "the submission ended before the tests did"}
    sys.stdout.flush()
    line.write(outcome)
    os._exit(0)


main()
