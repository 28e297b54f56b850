"""An HTTP server over a sandbox: JudgeFusion's `/run_code`, so that its clients (verl among them) work unchanged, and `/judge`.

`/judge` takes a row of `r1env-sandbox judge` and gives its answer. It compiles once for all tests and keeps what is expected out of the
container, which `/run_code`, asked once a test, cannot.

Nobody is authenticated: bind it to an address that only the trainer reaches.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from r1env_sandbox.errors import SandboxBusy, SandboxUnavailable
from r1env_sandbox.models import Limits, RunResult, Submission, Verdict
from r1env_sandbox.rows import Row, answer, judge_row
from r1env_sandbox.sandbox import Judge

DEFAULT_MEMORY_MB = 1024  # where a request says -1, SandboxFusion's word for no limit
OUTPUT_KB = 1024


class RunCode(BaseModel):
    """A request to `/run_code`, as SandboxFusion defines it."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    code: str
    language: str
    stdin: str | None = None
    compile_timeout: float = Field(default=10.0, gt=0)
    run_timeout: float = Field(default=10.0, gt=0)
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


def make_app(sandbox: Judge) -> FastAPI:
    """The server's application over a sandbox, which its caller closes."""
    app = FastAPI(title="r1env-sandbox")

    # Plain functions: FastAPI runs them in threads, and the pool makes those wait that find no worker.
    @app.post("/run_code")
    def run_code(request: RunCode) -> RunCodeAnswer:
        try:
            return _answer(sandbox.run(_submission(request), request.stdin or "", _limits(request)))
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        except (SandboxBusy, SandboxUnavailable) as error:
            return RunCodeAnswer(status="SandboxError", message=str(error))

    @app.post("/judge")
    def judge(row: Row) -> dict[str, Any]:
        try:
            return answer(row.id, judge_row(sandbox, row))
        except (SandboxBusy, SandboxUnavailable) as error:
            raise HTTPException(503, str(error)) from error

    @app.get("/v1/ping")
    def ping() -> str:
        return "pong"

    return app


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
