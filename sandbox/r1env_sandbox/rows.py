"""The rows of `r1env-sandbox judge` and of the server: JSON objects in, JSON objects out."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from r1env_sandbox.errors import SandboxBusy, SandboxUnavailable
from r1env_sandbox.harness import plain
from r1env_sandbox.models import FileName, Files, JudgeResult, Limits, Submission, TestCase, Text, Verdict
from r1env_sandbox.sandbox import Judge

log = logging.getLogger(__name__)

RowId = str | Annotated[int, Field(ge=-(1 << 63), lt=1 << 64)] | Annotated[float, Field(allow_inf_nan=False)] | None
_ID: TypeAdapter[RowId] = TypeAdapter(RowId)


class Row(BaseModel):
    """One submission with its tests. Fields that are not named here are the sender's own, and are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: RowId = None
    language: str
    source: Text
    files: Files = Field(default_factory=dict)
    collect: tuple[FileName, ...] = ()
    tests: tuple[TestCase, ...]
    limits: Limits = Limits()
    stop_at_first_failure: bool = False

    @property
    def submission(self) -> Submission:
        return Submission(language=self.language, source=self.source, files=self.files, collect=self.collect)


def judge_line(sandbox: Judge, line: bytes) -> dict[str, Any]:
    """Return the answer to one line, whatever is in it.

    A line that is no row gets `rejected_input` and the reason in `info.note`; one that we fail on, `judge_error`.

    Raises:
        SandboxUnavailable: no program can be run on this machine any more.
    """
    row_id: RowId = None
    try:
        data = plain.loads(line.decode("utf-8-sig"))
        row_id = _row_id(data)
        row = Row.model_validate(data)
    except ValidationError as error:
        return answer(row_id, JudgeResult.without_score(Verdict.REJECTED_INPUT, _first_fault(error)))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON
        return answer(row_id, JudgeResult.without_score(Verdict.REJECTED_INPUT, str(error)))
    return answer(row.id, judge_row(sandbox, row))


def judge_row(sandbox: Judge, row: Row) -> JudgeResult:
    """Return the verdict on a row.

    Raises:
        SandboxUnavailable: no program can be run on this machine any more.
        SandboxBusy: every worker was taken for too long.
    """
    try:
        return sandbox.judge(row.submission, row.tests, row.limits, stop_at_first_failure=row.stop_at_first_failure)
    except ValidationError as error:
        return JudgeResult.without_score(Verdict.REJECTED_INPUT, _first_fault(error))
    except (SandboxUnavailable, SandboxBusy):
        raise
    except Exception as error:  # a fault of ours costs one row, never the command
        log.exception("a row was not judged")
        return JudgeResult.without_score(Verdict.JUDGE_ERROR, f"{type(error).__name__}: {error}")


def answer(row_id: RowId, result: JudgeResult) -> dict[str, Any]:
    return {"id": row_id, **result.model_dump(mode="json")}


def _row_id(data: Any) -> RowId:
    """Return the id of a row that may be none; None when it has none that can be written back."""
    try:
        return _ID.validate_python(data.get("id")) if isinstance(data, dict) else None
    except ValidationError:
        return None


def _first_fault(error: ValidationError) -> str:
    try:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    except ValueError:  # a field whose name is no text
        return "it has a field whose name is not valid Unicode"
    if first["type"] == "model_type" and not first["loc"]:
        return "a row is a JSON object"
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
