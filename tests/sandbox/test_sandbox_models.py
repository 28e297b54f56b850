"""The words of the sandbox: what fits together can be said, what does not is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from r1env_sandbox import JudgeResult, Limits, SandboxUnavailable, Submission, TestCase, TestResult, Verdict

ASSERTIONS = "def check(candidate):\n    assert candidate(1) == 2\n"


@pytest.mark.parametrize(
    "test",
    [
        TestCase.stdio("1 2\n", "3\n", "token"),
        TestCase.call("add", [1, {"a": [2.5, None]}], [True, "x"], kwargs={"z": (1, {2, 3})}),
        TestCase.call("f", [{1: b"\x00"}, frozenset({(1, 2)})], {"d": ()}),
        TestCase.assertion("f", ASSERTIONS),
        TestCase.pytest({"tests/test_it.py": "def test_it(): pass"}),
        TestCase.stdio("", "", "special", checker_program=Submission(language="python", source="")),
    ],
    ids=lambda test: test.kind,
)
def test_tests_survive_a_trip_through_json(test):
    assert TestCase.model_validate_json(test.model_dump_json()) == test


def test_a_row_of_json_says_what_json_has_no_word_for_with_a_tag():
    test = TestCase.model_validate(
        {"kind": "call", "function": "f", "args": [{"__tuple__": [1]}], "expected": {"__set__": [2]}}
    )
    assert test.args == ((1,),)
    assert test.expected == {2}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "stdio", "expected": 3}, "a stdio test expects text, not a int"),
        ({"kind": "stdio"}, "a stdio test expects text"),
        ({"kind": "stdio", "expected": "3", "function": "f"}, "has no function"),
        ({"kind": "stdio", "expected": "3", "checker": "json"}, "has no checker 'json'"),
        ({"kind": "stdio", "expected": "3", "checker": "special"}, "come together"),
        ({"kind": "call", "expected": 3}, "needs the name of a function"),
        ({"kind": "call", "function": "f"}, "needs what is expected"),
        ({"kind": "call", "expected": 3, "function": "f", "stdin": "1"}, "has no stdin"),
        ({"kind": "call", "expected": 3, "function": "f(1)"}, "needs the name of a function"),
        ({"kind": "call", "expected": 3, "function": "f", "checker": "token"}, "has no checker"),
        ({"kind": "call", "expected": object(), "function": "f"}, "the type object is not plain data"),
        ({"kind": "call", "expected": float("nan"), "function": "f"}, "not a finite number"),
        ({"kind": "call", "expected": 3, "function": "f", "tolerance": -1}, "tolerance"),
        ({"kind": "call", "expected": 3, "function": "f", "timeout": 1}, "timeout"),
        ({"kind": "assert", "function": "f", "code": "def check("}, "code is not Python"),
        ({"kind": "pytest", "files": {"helpers.py": ""}}, "needs a file test_"),
        ({"kind": "pytest", "files": {"test_it.py": "def"}}, "test_it.py is not Python"),
    ],
)
def test_a_test_whose_fields_do_not_fit_its_kind_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        TestCase(**fields)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "a/../b", "a//b", "", "a/", "nul\0", "line\nbreak", "\ud800", "x" * 300]
)
def test_a_file_stays_in_its_folder(name):
    with pytest.raises(ValidationError, match=r"files|cannot"):
        Submission(language="python", source="", files={name: ""})
    with pytest.raises(ValidationError, match="collect"):
        Submission(language="python", source="", collect=(name,))


def test_a_name_is_a_file_or_a_folder():
    with pytest.raises(ValidationError, match="'a' is a file, so 'a/b' cannot be in it"):
        Submission(language="python", source="", files={"a": "", "a/b": ""})


def test_what_does_not_fit_a_worker_is_refused():
    with pytest.raises(ValidationError, match="longer than 32 MB together"):
        Submission(language="python", source="", files={str(number): "x" * (9 << 20) for number in range(4)})


def accepted(**fields):
    return JudgeResult(status=Verdict.ACCEPTED, score=1.0, **fields)


def test_accepted_needs_a_test_and_every_test():
    good, wrong = TestResult(status=Verdict.ACCEPTED), TestResult(status=Verdict.WRONG_ANSWER)
    assert accepted(tests=(good, good)).passed == 2
    assert JudgeResult(status=Verdict.WRONG_ANSWER, score=0.5, tests=(good, wrong)).passed == 1
    for tests in ((), (good, wrong)):
        with pytest.raises(ValidationError, match="accepted only when"):
            accepted(tests=tests)


def test_what_says_nothing_about_the_program_has_no_score():
    for status in (Verdict.JUDGE_ERROR, Verdict.REJECTED_INPUT):
        assert JudgeResult.without_score(status, "because").score is None
        with pytest.raises(ValidationError, match="the score 0"):
            JudgeResult(status=status, score=0.0)
    with pytest.raises(ValidationError, match="the score None"):
        JudgeResult(status=Verdict.WRONG_ANSWER)


def test_limits_are_positive():
    for field in Limits.model_fields:
        with pytest.raises(ValidationError, match=field):
            Limits(**{field: 0})


def test_results_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        TestResult(status=Verdict.WRONG_ANSWER).status = Verdict.ACCEPTED


def test_a_missing_sandbox_says_what_to_do():
    message = str(SandboxUnavailable("no socket at\n/var/run/docker.sock"))
    assert "no socket at /var/run/docker.sock" in message
    assert "Install Docker" in message
    assert "\n" not in message
