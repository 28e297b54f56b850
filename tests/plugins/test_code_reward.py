"""The code reward pays for programs that pass the task's tests, and never confuses a fault of its own with a wrong program."""

from __future__ import annotations

import math

import pytest

import r1env
import r1env_code.reward
from r1env.testing import Example, check_reward
from r1env_code.reward import Code, needed_names, read_task, with_preamble
from r1env_sandbox import JudgeResult, SandboxInfo, SandboxUnavailable, TestResult, Verdict

ADD = (
    {"kind": "call", "function": "add", "args": [3, 4], "expected": 7},
    {"kind": "call", "function": "add", "args": [1, 1], "expected": 2},
)
RIGHT = "<think>easy</think>So:\n```python\ndef add(a, b):\n    return a + b\n```\n"
HALF_RIGHT = "```python\ndef add(a, b):\n    return 7\n```\n"


def task(tests=ADD, **metadata):
    return r1env.Task(id="add", prompt="Write add(a, b).", tests=tests, kind="code", metadata=metadata)


def scored(completion, reward=Code, of=None, **fields):
    (found,) = r1env.score([r1env.Rollout(task=of or task(), completion=completion, **fields)], reward)
    return found


def parts(found):
    return {name.removeprefix("code/"): value for name, value in found.parts.items()}


@pytest.fixture
def verdict(monkeypatch):
    """A judge that says what it is told to, and remembers what it was asked."""
    asked = []

    def make(status, *tests, note=""):
        share = sum(test is Verdict.ACCEPTED for test in tests) / max(len(tests), 1)
        result = JudgeResult(
            status=status,
            score=share if status.scored else None,
            tests=tuple(TestResult(status=test, note="2 tokens where 1 are expected") for test in tests),
            info=SandboxInfo(note=note),
        )

        def judge(*arguments, **options):
            asked.append((*arguments, options))
            return result

        monkeypatch.setattr(r1env_code.reward, "judge", judge)
        return asked

    return make


def test_passing_every_test_is_paid(verdict):
    asked = verdict(Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.ACCEPTED)
    found = scored(RIGHT)
    assert (found.value, found.status, found.reason) == (1.0, r1env.Status.OK, "accepted, 2 of 2 tests passed")
    assert parts(found) == {"code": 1.0, "compile": 1.0, "tests": 1.0, "time": 1.0, "blocks": 1.0, "truncated": 0.0}
    ((submission, tests, _, _),) = asked
    assert submission.source == "def add(a, b):\n    return a + b\n"
    assert [test.expected for test in tests] == [7, 2]


def test_failing_one_test_earns_nothing_or_the_share(verdict):
    verdict(Verdict.TIME_LIMIT, Verdict.ACCEPTED, Verdict.TIME_LIMIT)
    found = scored(RIGHT)
    assert (found.value, found.status) == (0.0, r1env.Status.WRONG)
    assert found.reason == "time_limit, 1 of 2 tests passed: 2 tokens where 1 are expected"
    assert parts(found) | {"tests": 0.5, "time": 0.5} == parts(found)
    assert scored(RIGHT, Code.with_options(value="share")).value == 0.5


def test_a_program_that_does_not_compile_earns_nothing(verdict):
    verdict(Verdict.COMPILE_ERROR)
    found = scored(RIGHT)
    assert (found.value, found.status) == (0.0, r1env.Status.WRONG)
    assert parts(found) | {"compile": 0.0, "tests": 0.0, "time": 0.0} == parts(found)


def test_a_fault_of_the_judge_is_no_score(verdict):
    verdict(Verdict.JUDGE_ERROR, note="the worker died twice")
    found = scored(RIGHT)
    assert (found.value, found.status, found.reason) == (None, r1env.Status.ERROR, "judge_error: the worker died twice")
    assert math.isnan(found.parts["code"])


def test_tests_that_cannot_be_run_are_no_score(verdict):
    verdict(Verdict.REJECTED_INPUT, note="the test fails by itself")
    assert (scored(RIGHT).value, scored(RIGHT).status) == (None, r1env.Status.UNPARSEABLE)


def test_without_a_sandbox_there_is_no_score_and_the_reason_says_what_to_do(monkeypatch):
    def unavailable(*_, **__):
        raise SandboxUnavailable("no Docker socket", "Install Docker")

    monkeypatch.setattr(r1env_code.reward, "judge", unavailable)
    found = scored(RIGHT)
    assert (found.value, found.status) == (None, r1env.Status.ERROR)
    assert "no Docker socket" in found.reason


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("42", "there is no code block"),
        ("<think>```python\ndef add(a, b): return a + b\n```", "there is no code block"),
        ("<think>```python\ndef add(a, b): return a + b\n```</think>So it is.", "there is no code block"),
        ("```python\ndef add(a, b):", "the last code block is not closed"),
        ("```rust\nfn main() {}\n```", "no code block is in python"),
    ],
)
def test_a_response_without_a_program_earns_nothing_and_costs_nothing(completion, reason, verdict):
    asked = verdict(Verdict.ACCEPTED, Verdict.ACCEPTED)
    found = scored(completion, of=task(programming_language="python"))
    assert (found.value, found.status, found.reason, asked) == (0.0, r1env.Status.BAD_FORMAT, reason, [])


def test_the_program_is_taken_from_the_answer_block_where_there_is_one(verdict):
    asked = verdict(Verdict.ACCEPTED, Verdict.ACCEPTED)
    scored("<think>a</think><answer>```python\na = 1\n```</answer>\n```python\na = 2\n```")
    assert asked[0][0].source == "a = 1\n"


def test_what_the_token_limit_cut_off_is_visible(verdict):
    verdict(Verdict.ACCEPTED, Verdict.ACCEPTED)
    found = scored("```python\nprint(", finish_reason="length")
    assert found.reason == "the last code block is not closed; the token limit cut it off"
    assert found.parts["code/truncated"] == 1.0
    assert scored(RIGHT, finish_reason="length").parts["code/truncated"] == 1.0


def test_how_many_blocks_there_were_is_visible(verdict):
    verdict(Verdict.ACCEPTED, Verdict.ACCEPTED)
    assert scored(RIGHT + HALF_RIGHT).parts["code/blocks"] == 2.0


def test_the_task_says_language_and_limits_and_what_stands_around_the_program(verdict):
    asked = verdict(Verdict.ACCEPTED, Verdict.ACCEPTED)
    metadata = {"limits": {"cpu_s": 1.5, "memory_mb": 64}, "preamble": "import math", "epilogue": "main()\n"}
    scored("```\nmain = print\n```", of=task(programming_language="python", **metadata))
    ((submission, _, limits, _),) = asked
    assert submission.source == "import math\nmain = print\nmain()\n"
    assert (limits.cpu_s, limits.memory_mb) == (1.5, 64)


def test_the_field_language_of_a_row_may_name_the_programming_language(verdict):
    asked = verdict(Verdict.ACCEPTED, Verdict.ACCEPTED)
    tests = ({"kind": "stdio", "stdin": "", "expected": "1"},)
    of = r1env.Task(id="1", prompt="", tests=tests, language="cpp")
    assert scored("```python\nprint(1)\n```", of=of).reason == "no code block is in cpp"
    scored("```cpp\nint main() {}\n```", of=of)
    assert asked[0][0].language == "cpp"


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (task(tests=()), "the task has no tests"),
        (task(tests=({"kind": "guess"},)), "the task's tests cannot be read: kind: Input should be"),
        (task(tests=({"kind": "call", "function": "add", "args": [1]},)), "a call test needs what is expected"),
        (task(limits={"cpu_s": -1}), "the task's tests cannot be read: cpu_s: Input should be greater than 0"),
        (task(programming_language="cobol"), "unknown language 'cobol'"),
        (task(preamble=["import math"]), "a list where a text should be"),
    ],
)
def test_a_task_that_cannot_be_judged_is_no_score(of, reason, verdict):
    verdict(Verdict.ACCEPTED, Verdict.ACCEPTED)
    found = scored(RIGHT, of=of)
    assert (found.value, found.status) == (None, r1env.Status.UNPARSEABLE)
    assert reason in found.reason


@pytest.mark.parametrize("options", [{"value": "most"}, {"value": "share", "stop_at_first_failure": True}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(r1env.UsageError, match="reward 'code'"):
        _ = Code.with_options(**options).prepared


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("def add(a: List[int], b: Optional[int]) -> Dict: pass", "Dict, List, Optional"),
        ("from typing import List\ndef add(a: List, b: Tuple): pass", "Tuple"),
        ("from typing import (\n    List,\n    Tuple as T,\n)\ndef add(a: List, b): pass", ""),
        ("from typing import *\ndef add(a: List, b): pass", ""),
        ("import typing\ndef add(a: typing.List, b): pass", ""),
        ("class List: pass\ndef add(a: List, b): pass", ""),
        ("List = list\ndef add(a: List, b): pass", ""),
        ("def add(a, b): return a + b", ""),
        ("from __future__ import annotations\ndef add(a: Any, b): pass", "Any"),
    ],
)
def test_names_of_typing_that_are_not_imported_are_imported_and_told(source, imported, verdict):
    asked = verdict(Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.ACCEPTED)
    found = scored(f"```python\n{source}\n```")
    assert found.reason == "accepted, 2 of 2 tests passed" + (f"; imported for it: {imported}" if imported else "")
    assert (f"from typing import {imported}\n" in asked[0][0].source) == bool(imported)
    compile(asked[0][0].source, "program", "exec")


def test_nothing_is_imported_for_other_languages(verdict):
    asked = verdict(Verdict.ACCEPTED, Verdict.ACCEPTED)
    scored("```cpp\nclass List {};\nOptional x;\n```", of=task(tests=({"kind": "stdio", "stdin": "", "expected": "1"},)))
    assert asked[0][0].source == "class List {};\nOptional x;\n"


@pytest.mark.parametrize(
    ("test", "names"),
    [
        ({"kind": "call", "function": "f", "args": [], "expected": 1}, {"f", "Solution"}),
        ({"kind": "call", "function": "Solution.f", "args": [], "expected": 1}, {"Solution"}),
        ({"kind": "assert", "function": "f", "code": "assert candidate(1) == 1"}, {"f"}),
        (
            {
                "kind": "pytest",
                "files": {"test_a.py": "from solution import f, g as h\nfrom math import pi\ndef test_a(): assert f(h) == pi"},
            },
            {"f", "h"},
        ),
        ({"kind": "stdio", "stdin": "", "expected": "1"}, set()),
    ],
)
def test_what_the_tests_ask_the_program_for(test, names):
    assert needed_names(read_task(task(tests=(test,))).tests) == names


def test_a_test_that_cannot_be_judged_is_told_when_it_is_read():
    with pytest.raises(ValueError, match="this test cannot be judged: code: nothing defines close_to"):
        read_task(task(tests=({"kind": "assert", "function": "f", "code": "assert close_to(candidate(1), 1)"},)))


def test_future_imports_stay_in_front_of_the_preamble():
    source = "# mine\nfrom __future__ import annotations\n\nx: int = 1\n"
    assert with_preamble(source, "import math") == "from __future__ import annotations\nimport math\nx: int = 1\n"
    assert with_preamble("x = '''\nfrom __future__ import a\n'''", "import math").startswith("import math\nx = ")
    assert with_preamble("x = 1", "") == "x = 1"


@pytest.mark.docker
@pytest.mark.slow
def test_the_reward_keeps_the_contract(docker):
    check_reward(
        "code",
        [
            Example(RIGHT, value=1.0, status=r1env.Status.OK, task=task()),
            Example(HALF_RIGHT, value=0.0, status=r1env.Status.WRONG, task=task()),
            Example("7", value=0.0, status=r1env.Status.BAD_FORMAT, task=task()),
            Example(
                "```python\ndef add(a, b):\n    while True: pass\n```", value=0.0, task=task(limits={"cpu_s": 0.3, "wall_s": 3})
            ),
        ],
    )


@pytest.mark.docker
@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("python", "print(sum(map(int, input().split())))"),
        ("c", '#include <stdio.h>\nint main(void) { int a, b; scanf("%d %d", &a, &b); printf("%d\\n", a + b); }'),
        ("cpp", "#include <bits/stdc++.h>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b << '\\n'; }"),
        ("bash", "read a b; echo $((a + b))"),
    ],
)
def test_the_tag_of_the_block_decides_the_language(language, source, docker):
    of = task(tests=({"kind": "stdio", "stdin": "3 4\n", "expected": "7\n"},))
    assert scored(f"```{language}\n{source}\n```", of=of).value == 1.0


@pytest.mark.docker
def test_many_rollouts_are_judged_at_once_and_keep_their_order(docker):
    rollouts = [
        r1env.Rollout(task=task(), completion=RIGHT if number % 3 else HALF_RIGHT + f"No. {number}") for number in range(12)
    ]
    assert [found.value for found in r1env.score(rollouts, Code)] == [float(bool(number % 3)) for number in range(12)]


@pytest.mark.docker
def test_a_program_that_equals_everything_earns_nothing(docker):
    hack = "```python\nclass Any:\n    def __eq__(self, other): return True\n\ndef add(a, b):\n    return Any()\n```"
    assert scored(hack).value == 0.0


TWO_BLOCKS = "<think>```python\nno\n```</think>```python\nfirst = 1\n```\nor\n```python\nsecond = 2\n```\n"


@pytest.mark.parametrize(
    ("extraction", "completion", "source"),
    [
        ("livecodebench", TWO_BLOCKS, "second = 2"),
        ("simple-evals", TWO_BLOCKS, "first = 1\n"),
        ("simple-evals", "def add(a, b): return a + b", "def add(a, b): return a + b"),
        ("r1env_code.blocks:simple_evals_code", TWO_BLOCKS, "first = 1\n"),
    ],
)
def test_an_official_rule_finds_the_program_where_it_is_asked_for(extraction, completion, source, verdict):
    asked = verdict(Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.ACCEPTED)
    assert scored(completion, Code.with_options(extraction=extraction)).value == 1.0
    assert asked[0][0].source == source


def test_what_an_official_rule_does_not_find_is_not_paid(verdict):
    verdict(Verdict.ACCEPTED, Verdict.ACCEPTED)
    found = scored("def add(a, b): return a + b", Code.with_options(extraction="livecodebench"))
    assert (found.value, found.status) == (0.0, r1env.Status.BAD_FORMAT)
    assert "the official rule finds no program" in found.reason
    with pytest.raises(r1env.UsageError, match="unknown extraction 'lcb'"):
        r1env.get_reward("code", extraction="lcb")(r1env.Rollout(task=task(), completion=RIGHT))
