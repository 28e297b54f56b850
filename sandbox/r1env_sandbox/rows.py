"""The rows of `r1env-sandbox judge` and of the server: JSON objects in, JSON objects out."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r1env_sandbox.harness import plain
from r1env_sandbox.models import FileName, Files, JudgeResult, Limits, Submission, TestCase, Text, Verdict
from r1env_sandbox.sandbox import Judge


class Row(BaseModel):
    """One submission with its tests. Fields that are not named here are the sender's own, and are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str | int | float | None = None
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
    """The answer to one line. A line that is no row gets `rejected_input` and the reason in `info.note`."""
    row_id = None
    try:
        data = plain.loads(line.decode("utf-8-sig"))
        row_id = data.get("id") if isinstance(data, dict) and isinstance(data.get("id"), str | int | float) else None
        row = Row.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        note = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        return answer(row_id, JudgeResult.without_score(Verdict.REJECTED_INPUT, note))
    except ValueError as error:  # not UTF-8, not JSON
        return answer(row_id, JudgeResult.without_score(Verdict.REJECTED_INPUT, str(error)))
    return answer(row.id, judge_row(sandbox, row))


def judge_row(sandbox: Judge, row: Row) -> JudgeResult:
    return sandbox.judge(row.submission, row.tests, row.limits, stop_at_first_failure=row.stop_at_first_failure)


def answer(row_id: str | float | None, result: JudgeResult) -> dict[str, Any]:
    return {"id": row_id, **result.model_dump(mode="json")}
