"""How what a program did becomes a verdict."""

from __future__ import annotations

import json
import pickle
import signal
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env_sandbox import JudgeResult, Limits, TestCase, TestResult, Verdict
from r1env_sandbox.harness import plain
from r1env_sandbox.judge import failure, judge_value, overall
from r1env_sandbox.languages import find_language
from r1env_sandbox.rows import answer
from r1env_sandbox.worker import Report, run_command

COMMAND = run_command(find_language("python"), Limits(cpu_s=2, wall_s=5, memory_mb=256))
ENDED_WELL = Report(0, None, 100.0, 120.0, 9000, None, False, b"", b"", b"", b"")


@pytest.mark.parametrize(
    ("what_happened", "verdict"),
    [
        ({}, None),
        ({"exit_code": 1}, Verdict.RUNTIME_ERROR),
        ({"exit_code": None, "signal": signal.SIGSEGV}, Verdict.RUNTIME_ERROR),
        ({"exit_code": None, "signal": signal.SIGXCPU, "cpu_ms": 1999.0}, Verdict.TIME_LIMIT),
        ({"exit_code": None, "signal": signal.SIGKILL, "cpu_ms": 1990.0}, Verdict.TIME_LIMIT),
        ({"exit_code": None, "signal": signal.SIGKILL, "cpu_ms": 5.0}, Verdict.RUNTIME_ERROR),
        ({"cpu_ms": 2100.0}, Verdict.TIME_LIMIT),
        ({"exit_code": None, "signal": signal.SIGKILL, "stopped": "wall"}, Verdict.TIME_LIMIT),
        ({"exit_code": None, "signal": signal.SIGKILL, "stopped": "output"}, Verdict.OUTPUT_LIMIT),
        ({"exit_code": None, "signal": signal.SIGXFSZ}, Verdict.OUTPUT_LIMIT),
        ({"exit_code": None, "signal": signal.SIGKILL, "stopped": "memory"}, Verdict.MEMORY_LIMIT),
        ({"exit_code": None, "signal": signal.SIGKILL, "oom": True}, Verdict.MEMORY_LIMIT),
        ({"max_rss_kb": 300 << 10}, Verdict.MEMORY_LIMIT),
        ({"exit_code": 1, "stderr": b"Traceback\nMemoryError\n"}, Verdict.MEMORY_LIMIT),
        ({"exit_code": None, "signal": signal.SIGABRT, "stderr": b"what():  std::bad_alloc"}, Verdict.MEMORY_LIMIT),
        (
            {"exit_code": 1, "stderr": b'  File "/judge/prog/main.py", line 1\n    (\n    ^\nSyntaxError: x'},
            Verdict.COMPILE_ERROR,
        ),
        ({"exit_code": 1, "stderr": b"Traceback (most recent call last):\nSyntaxError: x"}, Verdict.RUNTIME_ERROR),
        ({"exit_code": 0, "stderr": b"MemoryError"}, None),
        ({"exit_code": None, "signal": signal.SIGKILL, "stopped": "host"}, None),
    ],
)
def test_a_way_to_end(what_happened, verdict):
    failed = failure(replace(ENDED_WELL, **what_happened), COMMAND)
    assert (failed[0] if failed else None) is verdict
    assert failed is None or failed[1]


def results(*statuses):
    return [TestResult(status=Verdict(status)) for status in statuses]


@pytest.mark.parametrize(
    ("statuses", "tests", "status", "score"),
    [
        (["accepted", "accepted"], 2, "accepted", 1.0),
        (["accepted", "time_limit", "wrong_answer"], 4, "time_limit", 0.25),
        (["wrong_answer"], 3, "wrong_answer", 0.0),
        (["accepted", "judge_error"], 2, "judge_error", None),
        (["wrong_answer", "rejected_input"], 2, "rejected_input", None),
    ],
)
def test_tests_together(statuses, tests, status, score):
    assert overall(results(*statuses), tests) == (Verdict(status), score)


# --- what a submission says that its function returned ---------------------------------------------------------------------------


def answered(reply, expected=3, checker="exact"):
    """The verdict on a reply of the submission's process, as whoever asked for it reads it: every step of that must be possible."""
    said = b'{"ready": true}\n' + reply.encode("utf-8", "surrogatepass") + b"\n"
    result = judge_value(TestCase.call("f", [], expected, checker), COMMAND, replace(ENDED_WELL, result=said))
    whole = JudgeResult(status=result.status, score=float(result.status is Verdict.ACCEPTED), tests=(result,))
    json.dumps(answer("x", whole), allow_nan=False).encode()
    assert JudgeResult.model_validate_json(whole.model_dump_json()).status is result.status
    assert pickle.loads(pickle.dumps(whole)).tests[0].status is result.status
    return result.status


def nested(tag, depth):
    return f'{{"{tag}": [' * depth + "1" + ", 0]}" * depth


def collisions(count):
    return ", ".join(str(number * (2**61 - 1)) for number in range(count))


HOSTILE_REPLIES = {
    "an array of nothing with very many rows": '{"__ndarray__": ["<i8", [100000000, 0], []]}',
    "an array of nothing with too many rows": '{"__ndarray__": ["<i8", [1000000000000, 0], []]}',
    "an array of 32 dimensions in 60 lists": "[" * 60 + json.dumps({"__ndarray__": ["<i8", [1] * 32, [5]]}) + "]" * 60,
    "a series at the limit of depth": "[" * 62 + '{"__series__": [[["a"], null], null, ["object", [[1]]]]}' + "]" * 62,
    "a frame at the limit of depth": "[" * 62 + '{"__frame__": [[["a"], null], [["a"], null], [["object", [[1]]]]]}' + "]" * 62,
    "a path with half a character": '{"__path__": "\\udc80"}',
    "half a character in a view": '{"__view__": ["values", [{"__path__": "\\udc80"}]]}',
    "a signalling nan": '[{"__decimal__": "sNaN"}]',
    "half of the keys collide": f'{{"__set__": [{collisions(16000)}, {", ".join(map(str, range(1, 16004)))}]}}',
    "a fraction of long integers": json.dumps(
        {"__fraction__": [{"__int__": hex((1 << 10**6) - 1)}, {"__int__": hex(3**600000)}]}
    ),
    **{f"{tag}, nested {depth} times": nested(tag, depth) for tag in sorted(plain.TAGS) for depth in (70, 300, 900, 100_000)},
}


@pytest.mark.parametrize("checker", ["exact", "float", "unordered", "json"])
@pytest.mark.parametrize("name", HOSTILE_REPLIES)
def test_a_hostile_reply_is_refused_and_costs_no_more_than_its_own_verdict(name, checker):
    for expected in (3, [3], {"a": 3}):
        assert answered(HOSTILE_REPLIES[name], expected, checker) is not Verdict.ACCEPTED
        assert answered(f'{{"value": {HOSTILE_REPLIES[name]}}}', expected, checker) is not Verdict.ACCEPTED


any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["0x1", "nan", "x", "S9"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(sorted(plain.TAGS)) | st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=12,
)


@given(any_json, st.sampled_from(["exact", "float", "unordered", "json"]))
def test_any_reply_gets_a_verdict(value, checker):
    assert answered(json.dumps({"value": value}), "what no reply holds", checker) is not Verdict.ACCEPTED
    assert answered(json.dumps({"raised": value}), None, checker) is not Verdict.ACCEPTED
    answered(json.dumps(value), None, checker)


@pytest.mark.parametrize("value", [{"__view__": ["keys", ["a"]]}, {"__namedtuple__": ["Point", ["x"], [1]]}])
def test_a_verdict_with_any_value_can_be_sent_to_another_process(value):
    result = TestResult(status=Verdict.WRONG_ANSWER, value=plain.decode(value))
    assert pickle.loads(pickle.dumps(result)) == result
