"""An HTTP server over a sandbox, in the words that users' clients speak already.

| route | whose | what |
|---|---|---|
| `POST /judge` | ours | a row of `r1env-sandbox judge`: all tests at once, and nothing that is expected enters a container |
| `POST /run_code` | SandboxFusion (verl) | run a program once |
| `POST /submit` | SandboxFusion | judge a completion by the tests that come with it (`CommonOJDataset`) |
| `POST /api/v2/execute`, `GET /api/v2/runtimes` | Piston | run a program once |
| `POST /execute_batch` | open-r1's routers | run scripts, and say what their last expression is |
| `GET /v1/ping`, `GET /health` | | whether it is there |

`/judge` and `/submit` compare here, and say of what could not be judged that it could not: HTTP 503, never a failed test. `/run_code`,
`/api/v2/execute` and `/execute_batch` only run what they are sent: where a client puts tests into the program, the program can answer
for them, and no server can prevent it.

Off the loopback interface a token is required (`Gate`).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from signal import Signals
from typing import Any, ClassVar, Literal

import anyio.to_thread
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r1env_sandbox.errors import SandboxBusy, SandboxUnavailable
from r1env_sandbox.languages import LANGUAGES, LanguageSpec, UnknownLanguageError, find_language
from r1env_sandbox.models import JudgeResult, Limits, RunResult, Submission, TestCase, TestResult, Verdict
from r1env_sandbox.rows import Row, answer, judge_row
from r1env_sandbox.sandbox import Judge

DEFAULT_MEMORY_MB = 1024  # where a request says -1, SandboxFusion's and Piston's word for no limit
OUTPUT_KB = 1024
MAX_REQUESTS = 1024  # in progress and waiting; SandboxFusion's clients make a failed request a 0, so it is generous
MAX_BODY_MB = 64
MAX_SECONDS = 600.0  # that one run may ask for
MAX_SCRIPTS = 256  # of one batch
FLOAT_TOLERANCE = 1e-5  # SandboxFusion's, relative
RETRY_SECONDS = 1

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class RunCode(BaseModel):
    """A request to `/run_code`, as SandboxFusion defines it."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    code: str
    language: str
    stdin: str | None = None
    compile_timeout: float = Field(default=10.0, gt=0, le=MAX_SECONDS)
    run_timeout: float = Field(default=10.0, gt=0, le=MAX_SECONDS)
    memory_limit_mb: int = Field(default=-1, alias="memory_limit_MB")
    files: dict[str, str | None] = Field(default_factory=dict)
    fetch_files: list[str] = Field(default_factory=list)


class CommandRunResult(BaseModel):
    """What one command did."""

    status: Literal["Finished", "Error", "TimeLimitExceeded"]
    execution_time: float | None = None
    return_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None


class RunCodeAnswer(BaseModel):
    """The answer to `/run_code`. `SandboxError` says that nothing is known about the program."""

    status: Literal["Success", "Failed", "SandboxError"]
    message: str = ""
    compile_result: CommandRunResult | None = None
    run_result: CommandRunResult | None = None
    executor_pod_name: str | None = None
    files: dict[str, str] = Field(default_factory=dict)


class SubmitConfig(BaseModel):
    """How `/submit` judges. `provided_data` is a row with its tests, or rows, of which the one with the request's id is taken."""

    model_config = ConfigDict(extra="ignore")

    dataset_type: str | None = None
    language: str = "python"
    compile_timeout: float | None = Field(default=None, gt=0, le=MAX_SECONDS)
    run_timeout: float | None = Field(default=None, gt=0, le=MAX_SECONDS)
    provided_data: dict[str, Any] | list[dict[str, Any]] | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class Submit(BaseModel):
    """A request to `/submit`, as SandboxFusion defines it."""

    model_config = ConfigDict(extra="ignore")

    dataset: str = ""
    id: int | str
    completion: str
    config: SubmitConfig


class StdioCase(BaseModel):
    """One test of `/submit`: what goes in by standard input, and what must come out of standard output."""

    input: dict[str, str] = Field(default_factory=dict)
    output: dict[str, str] = Field(default_factory=dict)


class EvalTestCase(BaseModel):
    """What came of one test."""

    passed: bool
    exec_info: RunCodeAnswer
    test_info: dict[str, Any] | None = None


class SubmitAnswer(BaseModel):
    """The answer to `/submit`. `tests` may be shorter than the tests: without `extra.run_all_cases`, the first failure ends it."""

    id: int | str
    accepted: bool
    extracted_code: str
    full_code: str | None = None
    test_code: str | None = None
    tests: list[EvalTestCase]
    extracted_type: Literal["fenced", "incomplete_fenced", "heuristic", "empty"]
    extra: dict[str, Any] | None = None


class PistonFile(BaseModel):
    """A file of `/api/v2/execute`."""

    name: str | None = None
    content: str
    encoding: Literal["utf8", "base64", "hex"] = "utf8"


class PistonExecute(BaseModel):
    """A request to `/api/v2/execute`, as Piston defines it: milliseconds and bytes. The first file is the program."""

    model_config = ConfigDict(extra="ignore")

    language: str
    version: str
    files: list[PistonFile] = Field(min_length=1)
    stdin: str = ""
    args: list[str] = Field(default_factory=list)
    run_timeout: float = Field(default=3000, gt=0, le=1000 * MAX_SECONDS)
    compile_timeout: float = Field(default=10_000, gt=0, le=1000 * MAX_SECONDS)
    run_cpu_time: float | None = Field(default=None, gt=0, le=1000 * MAX_SECONDS)
    compile_cpu_time: float | None = Field(default=None, gt=0, le=1000 * MAX_SECONDS)
    run_memory_limit: int = -1
    compile_memory_limit: int = -1


class PistonStage(BaseModel):
    """What the compiler or the program did. `status`: RE failed, SG ended by a signal, TO too slow, OL wrote too much."""

    stdout: str = ""
    stderr: str = ""
    output: str = ""
    code: int | None = None
    signal: str | None = None
    message: str | None = None
    status: Literal["RE", "SG", "TO", "OL"] | None = None
    cpu_time: int | None = None
    wall_time: int | None = None
    memory: int | None = None


class ExecuteBatch(BaseModel):
    """A request to `/execute_batch`, as open-r1's routers define it."""

    model_config = ConfigDict(extra="ignore")

    scripts: list[str] = Field(max_length=MAX_SCRIPTS)
    languages: list[str] | None = None
    timeout: float = Field(default=300.0, gt=0, le=MAX_SECONDS)
    request_timeout: float | None = None


def make_app(
    sandbox: Judge, *, token: str | None = None, max_requests: int = MAX_REQUESTS, max_body_mb: int = MAX_BODY_MB
) -> FastAPI:
    """Yield the server's application over a sandbox, which its caller closes.

    Args:
        token: that every request must bring, but those that ask whether the server is there. See `Gate`.
        max_requests: in progress and waiting together; more are answered with 429.
        max_body_mb: of a request; longer ones are answered with 413.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Each request that waits for a worker has a thread, so that none of them keeps another's answer waiting.
        anyio.to_thread.current_default_thread_limiter().total_tokens = max_requests + 8
        yield

    app = FastAPI(title="r1env-sandbox", lifespan=lifespan)
    app.add_middleware(Gate, token=token, max_requests=max_requests, max_body_bytes=max_body_mb << 20)
    runtimes = Runtimes(sandbox)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        message = f"{'.'.join(map(str, first['loc'][1:])) or 'the request'}: {first['msg']}"
        status = 400 if request.url.path.startswith("/api/v2/") else 422  # Piston's
        return JSONResponse({"message": message, "detail": message}, status)

    @app.exception_handler(SandboxBusy)
    @app.exception_handler(SandboxUnavailable)
    def nothing_known(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"message": str(error), "detail": str(error)}, 503, {"Retry-After": str(RETRY_SECONDS)})

    # Plain functions: FastAPI runs them in threads, and the pool makes those wait that find no worker.
    @app.post("/run_code")
    def run_code(request: RunCode) -> RunCodeAnswer:
        try:
            return _answer(sandbox.run(_submission(request), request.stdin or "", _limits(request)))
        except ValueError as error:
            raise HTTPException(422, _one_line(error)) from error
        except (SandboxBusy, SandboxUnavailable) as error:
            return RunCodeAnswer(status="SandboxError", message=str(error))

    @app.post("/judge")
    def judge(row: Row) -> dict[str, Any]:
        try:
            return answer(row.id, judge_row(sandbox, row))
        except ValueError as error:
            raise HTTPException(422, _one_line(error)) from error

    @app.post("/submit")
    def submit(request: Submit) -> SubmitAnswer:
        return submit_on(sandbox, request)

    @app.get("/runtimes")
    @app.get("/api/v2/runtimes")
    def list_runtimes() -> list[dict[str, Any]]:
        return runtimes.list()

    @app.post("/api/v2/execute")
    def execute(request: PistonExecute) -> JSONResponse:
        try:
            return JSONResponse(execute_on(sandbox, runtimes, request))
        except ValueError as error:
            return JSONResponse({"message": _one_line(error)}, 400)

    @app.post("/execute_batch")
    async def execute_batch(request: ExecuteBatch) -> list[dict[str, Any]]:
        languages = request.languages or ["python"] * len(request.scripts)
        if len(languages) != len(request.scripts):
            raise HTTPException(422, f"{len(request.scripts)} scripts and {len(languages)} languages")
        results: list[dict[str, Any]] = [{} for _ in languages]

        async def run(number: int) -> None:
            script, language = request.scripts[number], languages[number]
            results[number] = await anyio.to_thread.run_sync(run_script, sandbox, script, language, request.timeout)

        async with anyio.create_task_group() as group:
            for number in range(len(languages)):
                group.start_soon(run, number)
        return results

    @app.get("/v1/ping")
    @app.get("/health")
    def ping() -> str:
        return "pong"

    return app


class Gate:
    """What every request passes first: the token, the number of requests, the length of the body.

    A client brings the token as `Authorization: Bearer TOKEN`, or, where all it takes is a URL, as the beginning of the path:
    `http://host:8080/token/TOKEN/run_code`.
    """

    OPEN = ("/v1/ping", "/health")

    def __init__(self, app: Any, token: str | None, max_requests: int, max_body_bytes: int) -> None:
        self._app = app
        self._token = token
        self._max_requests = max_requests
        self._max_body_bytes = max_body_bytes
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if scope["path"].startswith("/token/"):
            given, _, rest = scope["path"].removeprefix("/token/").partition("/")
            scope = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}
        if scope["path"] in self.OPEN:
            await self._app(scope, receive, send)
        elif self._token is not None and not hmac.compare_digest(given.encode(), self._token.encode()):
            await _refuse(
                scope, receive, send, 401, "this server wants its token: Authorization: Bearer TOKEN, or /token/TOKEN/… as path"
            )
        elif self._requests >= self._max_requests:
            await _refuse(scope, receive, send, 429, f"{self._max_requests} requests are being worked on; come back later")
        elif (
            not headers.get("content-length", "0").isdecimal() or int(headers.get("content-length", "0")) > self._max_body_bytes
        ):
            await _refuse(scope, receive, send, 413, f"a request of more than {self._max_body_bytes >> 20} MB")
        else:
            self._requests += 1
            try:
                await self._app(scope, _bounded(receive, self._max_body_bytes), send)
            finally:
                self._requests -= 1


class Runtimes:
    """The languages that the sandbox has, with their versions. Asked for once, by a program that looks."""

    _LOOK: ClassVar[Mapping[str, str]] = {
        "python": "python3 --version",
        "c": "gcc -dumpfullversion",
        "cpp": "g++ -dumpfullversion",
        "cpp20": "g++ -dumpfullversion",
        "java": "java --version",
        "javascript": "node --version",
        "go": "go version",
        "rust": "rustc --version",
        "bash": "bash --version",
    }

    def __init__(self, sandbox: Judge) -> None:
        self._sandbox = sandbox
        self._lock = threading.Lock()
        self._versions: dict[str, str] = {}

    def list(self) -> list[dict[str, Any]]:
        return [
            {"language": name, "version": version, "aliases": list(LANGUAGES[name].aliases)}
            for name, version in self._known().items()
        ]

    def find(self, language: str, version: str) -> tuple[LanguageSpec, str]:
        """Return the language of a request, and its version.

        Raises:
            ValueError: there is none, or not in such a version.
        """
        spec = find_language(language)
        there = self._known().get(spec.name)
        wanted = [part for part in re.split(r"[.^~>= ]+", version) if part not in ("", "x", "*")]
        if there is None or there.split(".")[: len(wanted)] != wanted:
            raise ValueError(f"{language}-{version} runtime is unknown")
        return spec, there

    def _known(self) -> dict[str, str]:
        with self._lock:
            if not self._versions:
                looks = "\n".join(f"echo {name} $({command} 2>/dev/null | head -n 1)" for name, command in self._LOOK.items())
                limits = Limits(cpu_s=30, wall_s=60, memory_mb=1024, processes=64)
                result = self._sandbox.run(Submission(language="bash", source=looks), limits=limits)
                for line in result.stdout.splitlines():
                    name, _, said = line.partition(" ")
                    if name in LANGUAGES and (found := re.search(r"\d+(?:\.\d+)+", said)):
                        self._versions[name] = found[0]
            return self._versions


def submit_on(sandbox: Judge, request: Submit) -> SubmitAnswer:
    """Judge a completion by the tests in `config.provided_data`: the answer of SandboxFusion's `CommonOJDataset`.

    Numbers may differ by 1e-5 of the expected, as there; letters may not, which there are compared in lower case. The last fenced block
    of the language is the program, or the whole completion where there is none.

    Raises:
        HTTPException: 400, there are no such tests; 503, nothing is known about the program.
    """
    config = request.config
    if config.dataset_type not in (None, "CommonOJDataset"):
        raise HTTPException(400, f"data sets of the type {config.dataset_type} are not known here; CommonOJDataset is")
    cases = _cases(request)
    code, kind = extract_code(request.completion, config.language)
    if not code.strip():
        return SubmitAnswer(id=request.id, accepted=False, extracted_code="", tests=[], extracted_type="empty")
    run_s, compile_s = config.run_timeout or 10.0, config.compile_timeout or 10.0
    limits = Limits(
        cpu_s=run_s,
        wall_s=2 * run_s,
        memory_mb=DEFAULT_MEMORY_MB,
        output_kb=OUTPUT_KB,
        compile_cpu_s=compile_s,
        compile_wall_s=2 * compile_s,
    )
    try:
        tests = [
            TestCase.stdio(case.input.get("stdin", ""), case.output.get("stdout", ""), "float").model_copy(
                update={"tolerance": FLOAT_TOLERANCE}
            )
            for case in cases
        ]
        submission = Submission(language=config.language, source=code)
    except ValueError as error:
        raise HTTPException(400, _one_line(error)) from error
    result = sandbox.judge(submission, tests, limits, stop_at_first_failure=not config.extra.get("run_all_cases", False))
    if not result.status.scored:
        status = 503 if result.status is Verdict.JUDGE_ERROR else 400
        raise HTTPException(status, f"not judged: {result.info.note}")
    return SubmitAnswer(
        id=request.id,
        accepted=result.status is Verdict.ACCEPTED,
        extracted_code=code,
        full_code=code,
        tests=_eval_cases(result, cases),
        extracted_type=kind,
    )


def extract_code(completion: str, language: str) -> tuple[str, Literal["fenced", "incomplete_fenced", "heuristic", "empty"]]:
    """Return the program in a completion: the last block with the language's name, or without any; else the whole text."""
    names = {language.lower()}
    try:
        spec = find_language(language)
        names |= {spec.name, *spec.aliases}
    except UnknownLanguageError:  # said when it is judged
        pass
    named = unnamed = None
    fence, label = "", ""
    lines: list[str] = []
    for line in completion.split("\n"):
        mark = re.match(r" {0,3}(`{3,}|~{3,})\s*([^\s`]*)", line)
        if not fence and mark:
            fence, label, lines = mark[1], mark[2].lower(), []
        elif fence and mark and mark[1].startswith(fence) and not mark[2]:
            if label in names:
                named = lines
            elif not label:
                unnamed = lines
            fence = ""
        elif fence:
            lines.append(line)
    if (block := named if named is not None else unnamed) is not None:
        return "\n".join(block), "fenced"
    if fence and label in ("", *names):
        return "\n".join(lines), "incomplete_fenced"
    return completion, "heuristic" if completion.strip() else "empty"


def execute_on(sandbox: Judge, runtimes: Runtimes, request: PistonExecute) -> dict[str, Any]:
    """Run a program once, with Piston's answer.

    Raises:
        ValueError: it cannot be run; Piston answers 400.
        SandboxUnavailable: nothing is known about the program.
    """
    if request.args:
        raise ValueError("args: programs get no arguments here")
    spec, version = runtimes.find(request.language, request.version)
    main, *others = request.files
    # The program has the name that its language wants; a file that it may read has the client's.
    files = {file.name or f"file{number}.code": _decoded(file) for number, file in enumerate(others, 1)}
    submission = Submission(language=spec.name, source=_decoded(main), files=files)
    memory_mb = DEFAULT_MEMORY_MB if request.run_memory_limit <= 0 else -(-request.run_memory_limit >> 20)
    compile_mb = DEFAULT_MEMORY_MB if request.compile_memory_limit <= 0 else -(-request.compile_memory_limit >> 20)
    limits = Limits(
        cpu_s=(request.run_cpu_time or request.run_timeout) / 1000,
        wall_s=request.run_timeout / 1000,
        memory_mb=memory_mb,
        output_kb=OUTPUT_KB,
        compile_cpu_s=(request.compile_cpu_time or request.compile_timeout) / 1000,
        compile_wall_s=request.compile_timeout / 1000,
        compile_memory_mb=compile_mb,
    )
    result = sandbox.run(submission, request.stdin, limits)
    if not result.status.scored:
        raise SandboxUnavailable(f"not run: {result.info.note}", "Ask again")
    answered: dict[str, Any] = {"language": spec.name, "version": version}
    if result.test is None:
        log = result.compile.log
        stage = PistonStage(stderr=log, output=log, code=1, status="RE", wall_time=round(result.compile.wall_ms))
        return {**answered, "run": stage.model_dump(), "compile": stage.model_dump()}
    if spec.compile is not None:
        log = result.compile.log
        answered["compile"] = PistonStage(stderr=log, output=log, code=0, wall_time=round(result.compile.wall_ms)).model_dump()
    return {**answered, "run": _stage(result, result.test).model_dump()}


def run_script(sandbox: Judge, script: str, language: str, timeout_s: float) -> dict[str, Any]:
    """Run one script of a batch: what E2B's interpreter says of it, as open-r1's routers hand it on. `execution` is null when the script
    was stopped, or nothing is known about it."""
    limits = Limits(cpu_s=timeout_s, wall_s=timeout_s, memory_mb=DEFAULT_MEMORY_MB, output_kb=OUTPUT_KB)
    try:
        spec = find_language(language)
        if spec.name == "python":
            files = {_SCRIPT: script}
            submission = Submission(language="python", source=_LAST_EXPRESSION, files=files, collect=(_LAST_VALUE,))
        else:
            submission = Submission(language=language, source=script)
        result = sandbox.run(submission, limits=limits)
    except (ValueError, SandboxBusy, SandboxUnavailable) as error:
        return {"execution": None, "exception_str": _one_line(error)}
    if not result.status.scored or result.status is Verdict.TIME_LIMIT:
        note = result.test.note if result.test else result.info.note
        return {"execution": None, "exception_str": note}
    failure = None
    if result.status is not Verdict.ACCEPTED:
        said = result.stderr or result.compile.log
        last = said.strip().rpartition("\n")[2]
        name, _, value = last.partition(": ")
        failure = {"name": name or str(result.status), "value": value, "traceback": said}
    text = result.collected.get(_LAST_VALUE)
    return {
        "execution": {
            "results": [] if text is None or failure else [{"text": text, "is_main_result": True}],
            "logs": {"stdout": [result.stdout] if result.stdout else [], "stderr": [result.stderr] if result.stderr else []},
            "error": failure,
            "execution_count": 1,
        },
        "exception_str": None,
    }


_SCRIPT, _LAST_VALUE = "script.py", "last_value.txt"
_LAST_EXPRESSION = f"""
import ast, sys
with open({_SCRIPT!r}, "rb") as file:
    tree = ast.parse(file.read(), "script.py")
last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
scope = sys.modules["__main__"].__dict__
exec(compile(tree, "script.py", "exec", dont_inherit=True), scope)
if last is not None:
    value = eval(compile(ast.Expression(last.value), "script.py", "eval", dont_inherit=True), scope)
    if value is not None:
        with open({_LAST_VALUE!r}, "w", encoding="utf-8", errors="replace") as file:
            file.write(repr(value))
"""
"""Runs a script as an interactive interpreter would, inside the sandbox, and leaves the value of its last expression in a file."""


def _submission(request: RunCode) -> Submission:
    """
    Raises:
        ValueError: a file is not base64 of text, or its name leads out of the folder.
    """
    try:
        files = {name: base64.b64decode(data or "", validate=True).decode() for name, data in request.files.items()}
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError(f"files must be base64 of UTF-8 text: {error}") from error
    return Submission(language=request.language, source=request.code, files=files, collect=tuple(request.fetch_files))


def _limits(request: RunCode) -> Limits:
    return Limits(
        cpu_s=request.run_timeout,
        wall_s=request.run_timeout,
        memory_mb=request.memory_limit_mb if request.memory_limit_mb > 0 else DEFAULT_MEMORY_MB,
        output_kb=OUTPUT_KB,
        compile_cpu_s=request.compile_timeout,
        compile_wall_s=request.compile_timeout,
    )


def _answer(result: RunResult) -> RunCodeAnswer:
    if not result.status.scored:
        return RunCodeAnswer(status="SandboxError", message=result.info.note)
    worker, test = result.info.worker, result.test
    if test is None:
        seconds = result.compile.wall_ms / 1000
        compiled = CommandRunResult(status="Error", execution_time=seconds, return_code=1, stdout="", stderr=result.compile.log)
        return RunCodeAnswer(status="Failed", compile_result=compiled, executor_pod_name=worker)
    ended_well = result.status is Verdict.ACCEPTED
    return RunCodeAnswer(
        status="Success" if ended_well else "Failed",
        message=test.note,
        run_result=CommandRunResult(
            status="TimeLimitExceeded" if result.status is Verdict.TIME_LIMIT else "Finished",
            execution_time=test.wall_ms / 1000,
            return_code=test.exit_code if test.signal is None else -test.signal,
            stdout=result.stdout,
            stderr=result.stderr,
        ),
        executor_pod_name=worker,
        files={name: base64.b64encode(text.encode()).decode() for name, text in result.collected.items()},
    )


def _cases(request: Submit) -> list[StdioCase]:
    """Return the tests of a request.

    Raises:
        HTTPException: there are none that could prove anything.
    """
    rows = request.config.provided_data
    if rows is None:
        raise HTTPException(400, f"the data set {request.dataset!r} is not known here; send its tests as config.provided_data")
    if isinstance(rows, list):
        rows = next((row for row in rows if row.get("id") == request.id), None)
    tests = rows.get("test") if rows else None
    try:
        tests = json.loads(tests) if isinstance(tests, str) else tests
        cases = [StdioCase.model_validate(test) for test in tests] if isinstance(tests, list) else []
    except (ValidationError, ValueError) as error:
        raise HTTPException(400, f"config.provided_data.test: {_one_line(error)}") from error
    if not cases:
        raise HTTPException(400, "config.provided_data has no tests for this id; nothing could prove the completion right")
    if odd := next((name for case in cases for name in ({*case.input} - {"stdin"}) | ({*case.output} - {"stdout"})), None):
        raise HTTPException(
            400, f"config.provided_data.test: {odd!r} is neither stdin nor stdout, and files are not compared here"
        )
    if any("stdout" not in case.output for case in cases):
        raise HTTPException(400, "config.provided_data.test: a test without output.stdout")
    return cases


def _eval_cases(result: JudgeResult, cases: list[StdioCase]) -> list[EvalTestCase]:
    if not result.tests:  # it did not compile, or its files could not be laid out
        failed = _answer(RunResult(status=Verdict.COMPILE_ERROR, compile=result.compile, info=result.info))
        return [EvalTestCase(passed=False, exec_info=failed, test_info=cases[0].model_dump())]
    return [
        EvalTestCase(
            passed=test.status is Verdict.ACCEPTED,
            exec_info=_answer(
                RunResult(
                    # a wrong answer is a program that ended well
                    status=Verdict.ACCEPTED if test.status is Verdict.WRONG_ANSWER else test.status,
                    stdout=test.stdout_head,
                    stderr=test.stderr_head,
                    test=test,
                    info=result.info,
                )
            ),
            test_info=case.model_dump(),
        )
        for test, case in zip(result.tests, cases, strict=False)
    ]


def _stage(result: RunResult, test: TestResult) -> PistonStage:
    status: Literal["RE", "SG", "TO", "OL"] | None = None
    signal = Signals(test.signal).name if test.signal in set(Signals) else None
    if result.status is Verdict.TIME_LIMIT:
        status, signal = "TO", "SIGKILL"
    elif result.status is Verdict.OUTPUT_LIMIT:
        status, signal = "OL", "SIGKILL"
    elif test.signal is not None or result.status is Verdict.MEMORY_LIMIT:
        status, signal = "SG", signal or "SIGKILL"
    elif result.status is not Verdict.ACCEPTED:
        status = "RE"
    return PistonStage(
        stdout=result.stdout,
        stderr=result.stderr,
        output=result.stdout + result.stderr,
        code=None if signal else test.exit_code,
        signal=signal,
        message=test.note or None,
        status=status,
        cpu_time=round(test.cpu_ms),
        wall_time=round(test.wall_ms),
        memory=test.max_rss_kb << 10,
    )


def _decoded(file: PistonFile) -> str:
    """
    Raises:
        ValueError: it is not what it says, or not text.
    """
    try:
        if file.encoding == "base64":
            return base64.b64decode(file.content, validate=True).decode()
        return bytes.fromhex(file.content).decode() if file.encoding == "hex" else file.content
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"files: {file.name or 'a file'} is not {file.encoding} of UTF-8 text") from error


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    return " ".join(str(error).split())


def _bounded(receive: Receive, max_bytes: int) -> Receive:
    """A body that says nothing of its length ends where it becomes too long: the request is then malformed."""
    left = max_bytes

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        return message if left >= 0 else {"type": "http.request", "body": b"", "more_body": False}

    return bounded


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, message: str) -> None:
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 429 else {}
    await JSONResponse({"message": message, "detail": message}, status, headers)(scope, receive, send)
