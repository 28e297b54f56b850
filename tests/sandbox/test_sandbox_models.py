"""The words of the sandbox: what fits together can be said, what does not is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from r1env_sandbox import JudgeResult, Limits, Sandbox, SandboxUnavailable, Submission, TestCase, TestResult, Verdict


def test_tests_survive_a_trip_through_json():
    for test in (TestCase.stdio("1 2\n", "3\n"), TestCase.call("add", [1, {"a": [2.5, None]}], [True, "x"])):
        assert TestCase.model_validate_json(test.model_dump_json()) == test


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "stdio", "expected": 3}, "a stdio test expects text, not a int"),
        ({"kind": "stdio", "expected": "3", "function": "f"}, "has no function"),
        ({"kind": "call", "expected": 3}, "needs the name of a function"),
        ({"kind": "call", "expected": 3, "function": "f", "stdin": "1"}, "has no stdin"),
        ({"kind": "call", "expected": object(), "function": "f"}, "expected"),
        ({"kind": "call", "expected": 3, "function": "f", "tolerance": -1}, "tolerance"),
        ({"kind": "call", "expected": 3, "function": "f", "timeout": 1}, "timeout"),
    ],
)
def test_a_test_whose_fields_do_not_fit_its_kind_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        TestCase(**fields)


def test_accepted_needs_a_test_and_every_test():
    accepted, wrong = TestResult(verdict=Verdict.ACCEPTED), TestResult(verdict=Verdict.WRONG_ANSWER)
    assert JudgeResult(verdict=Verdict.ACCEPTED, tests=(accepted, accepted)).passed == 2
    assert JudgeResult(verdict=Verdict.WRONG_ANSWER, tests=(accepted, wrong)).passed == 1
    for tests in ((), (accepted, wrong)):
        with pytest.raises(ValidationError, match="accepted only when"):
            JudgeResult(verdict=Verdict.ACCEPTED, tests=tests)


def test_limits_are_positive():
    with pytest.raises(ValidationError, match="memory_mb"):
        Limits(memory_mb=0)


def test_results_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        TestResult(verdict=Verdict.WRONG_ANSWER).verdict = Verdict.ACCEPTED


def test_anything_with_the_method_is_a_sandbox():
    class Refusing:
        def judge(self, submission, tests, limits=None):
            return JudgeResult(verdict=Verdict.JUDGE_ERROR)

    backend = Refusing()
    assert isinstance(backend, Sandbox)
    result = backend.judge(Submission(language="python", source="print(1)"), [TestCase.stdio("", "1\n")])
    assert result.verdict is Verdict.JUDGE_ERROR


def test_a_missing_sandbox_says_what_to_do():
    message = str(SandboxUnavailable("no socket at /var/run/docker.sock"))
    assert "no socket at /var/run/docker.sock" in message
    assert "Install Docker" in message
    assert "\n" not in message
