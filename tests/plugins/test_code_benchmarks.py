"""Code benchmarks become tasks whose prompts show samples only, and whose hidden tests the sandbox can read."""

from __future__ import annotations

import ast
import base64
import gzip
import json
import math
import os
import pickle
import random
import re
import zlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import r1env
from r1env import UsageError
from r1env.cli.main import make_app
from r1env.data.programs import called_function, unpack_tests
from r1env.data.sources import iterate
from r1env.data.tasks import file_tasks
from r1env.envs.suite import fixture_completions, members_of
from r1env.evaluation.evaluate import EvaluationRow
from r1env.evaluation.run import EvaluationRun
from r1env_benchmarks.code import CODE_FIXTURES, bigcodebench, codeforces, humaneval, livecodebench, mbpp
from r1env_benchmarks.ratings import estimate_rating
from r1env_benchmarks.table import BENCHMARKS, Category
from r1env_code.reward import Code, read_task

HUMANEVAL = {
    "task_id": "HumanEval/50",
    "prompt": 'def encode(s):\n    return s[::-1]\n\n\ndef decode(s: str):\n    """Undoes encode.\n    """\n',
    "entry_point": "decode",
    "canonical_solution": "    return s[::-1]\n",
    "test": "def check(candidate):\n    assert candidate(encode('ab')) == 'ab'\n",
}
MBPP = {
    "task_id": 11,
    "text": "Write a function to remove the first and last occurrence of a character.",
    "test_list": [
        'assert cut("hello", "l") == "heo"',
        'assert cut("abcda", "a") == "bcd"',
        'assert set(cut("PHP", "P")) == {"H"}',
    ],
    "challenge_test_list": [],
    "test_setup_code": "import math",
}
STDIO_CASES = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
CALL_CASES = [{"input": "[1, 2]\n3", "output": "[1, 2, 3]", "testtype": "functional"}]
LIVECODEBENCH = {
    "question_id": "abc301_a",
    "question_content": "Add two numbers.",
    "starter_code": "",
    "contest_date": "2024-05-01T00:00:00",
    "metadata": "{}",
    "public_test_cases": json.dumps(STDIO_CASES),
    "private_test_cases": json.dumps([{"input": "5 5\n", "output": "10\n", "testtype": "stdin"}]),
}
BIGCODEBENCH = {
    "task_id": "BigCodeBench/1",
    "complete_prompt": 'import math\n\ndef task_func(n):\n    """Return n factorial."""\n',
    "instruct_prompt": "Return n factorial, in a function task_func(n).",
    "code_prompt": "import math\ndef task_func(n):\n",
    "canonical_solution": "    return math.factorial(n)\n",
    "entry_point": "task_func",
    "libs": "['math']",
    "test": "import unittest\n\nclass TestCases(unittest.TestCase):\n    def test_five(self):\n        self.assertEqual(task_func(5), 120)\n",
}
CODEFORCES = {
    "id": "1/A",
    "description": "Pave a square.",
    "input_format": "Three numbers.",
    "output_format": "One number.",
    "time_limit": 1.5,
    "memory_limit": 64.0,
    "examples": [{"input": "6 6 4", "output": "4"}],
    "official_tests": [{"input": "6 6 4", "output": "4"}, {"input": "1 1 1", "output": "1"}],
    "input_mode": "stdio",
}


def write(folder, *rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def packed(cases):
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


@pytest.mark.parametrize(
    ("make", "row", "hidden"),
    [
        (humaneval, HUMANEVAL, "encode('ab')"),
        (mbpp, MBPP, "abcda"),
        (livecodebench, LIVECODEBENCH, "5 5"),
        (codeforces, CODEFORCES, "1 1 1"),
        (bigcodebench, BIGCODEBENCH, "120"),
    ],
)
def test_every_benchmark_keeps_its_tests_out_of_the_prompt_and_the_sandbox_can_read_them(make, row, hidden, tmp_path):
    task = make(write(tmp_path, row)).task(0)
    assert hidden in json.dumps([dict(test) for test in task.tests])
    assert hidden not in task.question
    assert task.kind is r1env.TaskKind.CODE
    assert read_task(task).tests


def test_the_helpers_of_a_prompt_stand_before_the_program_and_before_its_tests(tmp_path):
    task = humaneval(write(tmp_path, HUMANEVAL)).task(0)
    assert task.metadata["preamble"] == "def encode(s):\n    return s[::-1]\n\n\n"
    assert task.tests[0]["code"].startswith(task.metadata["preamble"])
    assert HUMANEVAL["prompt"].strip() in task.question


def test_a_compressed_file_is_read_as_it_is(tmp_path):
    path = tmp_path / "HumanEval.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(HUMANEVAL).encode()))
    assert humaneval(path).task(0).id == "HumanEval/50"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UsageError, match="compressed data are damaged"):
        humaneval(path)


def test_mbpp_shows_one_assertion_for_the_signature_and_judges_by_the_others(tmp_path):
    task = mbpp(write(tmp_path, MBPP)).task(0)
    assert 'assert cut("hello", "l")' in task.question
    assert "abcda" not in task.question
    assert [test["function"] for test in task.tests] == ["cut", "cut"]
    assert "import math" in task.tests[0]["code"]
    everything = mbpp(write(tmp_path, MBPP), samples=3).task(0)
    assert len(everything.tests) == 3


def test_the_function_that_assertions_are_about_is_none_of_pythons():
    assert called_function(["assert set(cut([3, 1])) == {1}", "assert cut(sorted([2])) == 2"]) == "cut"
    with pytest.raises(ValueError, match="call no function"):
        called_function(["assert 1 == 1"])
    with pytest.raises(ValueError, match="not Python"):
        called_function(["assert ("])


def test_livecodebench_tests_are_unpacked_and_nothing_but_text_is_unpickled():
    assert unpack_tests(packed(CALL_CASES)) == CALL_CASES
    hostile = base64.b64encode(zlib.compress(pickle.dumps(os.getcwd))).decode()
    for text in (hostile, "not base 64!", base64.b64encode(b"not compressed").decode()):
        with pytest.raises(ValueError, match="neither JSON nor JSON packed"):
            unpack_tests(text)


def test_livecodebench_asks_for_a_method_where_there_is_starter_code(tmp_path):
    row = LIVECODEBENCH | {
        "starter_code": "class Solution:\n    def add(self, numbers: List[int], n: int) -> List[int]:\n        ",
        "metadata": json.dumps({"func_name": "add"}),
        "private_test_cases": packed(CALL_CASES),
    }
    task = livecodebench(write(tmp_path, row)).task(0)
    (test,) = task.tests
    assert (test["kind"], test["function"], test["args"], test["expected"]) == ("call", "Solution.add", [[1, 2], 3], [1, 2, 3])
    assert "from typing import *" in task.metadata["preamble"]
    assert "class Solution" in task.question


def test_livecodebench_can_be_cut_at_dates(tmp_path):
    rows = [
        LIVECODEBENCH | {"question_id": str(month), "contest_date": f"2024-{month:02d}-01T00:00:00"} for month in range(1, 7)
    ]
    source = livecodebench(write(tmp_path, *rows), since="2024-03-01", until="2024-05-01").checked(None)
    assert [source.task(index).id for index in range(source.size)] == ["livecodebench-3", "livecodebench-4"]


def test_codeforces_has_the_limits_of_the_problem_and_the_checker_of_the_row(tmp_path):
    task = codeforces(write(tmp_path, CODEFORCES), programming_language="python", time_factor=2).task(0)
    assert task.metadata["limits"] == {"cpu_s": 3.0, "wall_s": 11.0, "memory_mb": 64}
    assert task.metadata["programming_language"] == "python"
    checked = codeforces(write(tmp_path, CODEFORCES | {"generated_checker": "print(1)"})).task(0)
    assert checked.tests[0]["checker"] == "special"
    with pytest.raises(UsageError, match="time_factor is 0"):
        codeforces(time_factor=0)


def test_codeforces_leaves_out_what_does_not_read_and_print(tmp_path):
    rows = [CODEFORCES, CODEFORCES | {"input_mode": "file"}, CODEFORCES | {"interaction_format": "You may ask."}]
    assert codeforces(write(tmp_path, *rows)).checked(None).size == 1


def test_a_file_of_ones_own_says_everything(tmp_path):
    row = {"prompt": "Add.", "tests": [{"kind": "stdio", "stdin": "", "expected": "1"}], "limits": {"cpu_s": 1}, "id": "a"}
    task = file_tasks(write(tmp_path, row), kind="code").task(0)
    assert (task.id, task.metadata["limits"], task.tests) == ("a", {"cpu_s": 1}, tuple(row["tests"]))
    with pytest.raises(UsageError, match="line 1: 'tests': there are no tests"):
        file_tasks(write(tmp_path, {"prompt": "Add.", "tests": []}), kind="code")


# The benchmarks' own protocols, beside ours.


def test_the_official_protocol_asks_in_the_benchmarks_words_and_judges_by_its_tests(tmp_path):
    task = humaneval(write(tmp_path, HUMANEVAL), protocol="official").task(0)
    assert task.question.startswith("Read the following function signature and docstring, and fully implement")
    assert task.question.endswith(HUMANEVAL["prompt"].rstrip())
    task = mbpp(write(tmp_path, MBPP), protocol="official").task(0)
    assert all(assertion in task.question for assertion in MBPP["test_list"])
    assert len(task.tests) == 3
    with pytest.raises(UsageError, match="'mbpp': protocol is 'paper'; known: r1env, official"):
        mbpp(write(tmp_path, MBPP), protocol="paper")


def test_livecodebench_has_its_public_tests_decide_under_its_own_protocols(tmp_path):
    ours, official, r1 = (
        livecodebench(write(tmp_path, LIVECODEBENCH), protocol=name).task(0) for name in ("r1env", "official", "r1")
    )
    assert [len(task.tests) for task in (ours, official, r1)] == [1, 2, 2]
    assert [message["role"] for message in official.prompt] == ["system", "user"]
    assert [message["role"] for message in r1.prompt] == ["user"]
    assert official.question.startswith("### Question:\nAdd two numbers.\n\n### Format: Read the inputs from stdin")
    assert official.question.endswith("### Answer: (use the provided format with backticks)")
    assert "Question: Add two numbers." in r1.question
    starter = LIVECODEBENCH | {
        "starter_code": "class Solution:\n    def add(self):\n        ",
        "metadata": json.dumps({"func_name": "add"}),
    }
    assert "```python\nclass Solution:" in livecodebench(write(tmp_path, starter), protocol="official").task(0).question
    with pytest.raises(UsageError, match="protocol is 'lcb'; known: r1env, official, r1"):
        livecodebench(write(tmp_path, LIVECODEBENCH), protocol="lcb")


def test_a_row_of_evalplus_says_by_its_canonical_solution_what_is_expected(tmp_path):
    row = {key: HUMANEVAL[key] for key in ("task_id", "prompt", "entry_point", "canonical_solution")}
    task = humaneval(write(tmp_path, row | {"base_input": [["ab"]], "plus_input": [["cde"]], "atol": 0})).task(0)
    assert "_reference = decode" in task.tests[0]["code"]
    assert "cde" not in task.question


def test_any_zero_of_a_polynomial_is_right(tmp_path):
    prompt = (
        'def poly(xs, x):\n    return sum(c * x**i for i, c in enumerate(xs))\n\n\ndef find_zero(xs):\n    """Find a zero."""\n'
    )
    row = {"task_id": "HumanEval/32", "prompt": prompt, "entry_point": "find_zero", "canonical_solution": "    return 1.0\n"}
    (test,) = humaneval(write(tmp_path, row | {"base_input": [[[-1, 0, 1]]], "plus_input": [], "atol": 1e-4})).task(0).tests
    scope: dict = {}
    exec(test["code"], scope)  # the test's own code
    scope["check"](lambda xs: -1.0)
    with pytest.raises(AssertionError):
        scope["check"](lambda xs: 0.5)


def test_bigcodebench_leaves_out_what_needs_a_library_that_the_sandbox_lacks(tmp_path):
    rows = [BIGCODEBENCH, BIGCODEBENCH | {"task_id": "BigCodeBench/2", "libs": "['pandas', 'nltk']"}]
    path = write(tmp_path, *rows)
    assert bigcodebench(path).checked(None).size == 1
    assert bigcodebench(path, libraries="nltk,pandas").checked(None).size == 2
    assert "Return n factorial, in a function" in bigcodebench(path).task(0).question
    assert '"""Return n factorial."""' in bigcodebench(path, task="complete").task(0).question
    with pytest.raises(UsageError, match="task is 'chat'; known: instruct, complete"):
        bigcodebench(path, task="chat")


# Ratings of Codeforces.


def test_the_rating_is_where_the_expected_number_of_solved_problems_is_that_which_was_solved():
    results = [(800, 1), (1200, 1), (1500, 0), (1600, 1), (2000, 0), (2400, 0)]
    rating = estimate_rating(results)
    expected = sum(1 / (1 + 10 ** ((difficulty - rating.value) / 400)) for difficulty, _ in results)
    assert expected == pytest.approx(3, abs=1e-3)
    assert rating.low < rating.value < rating.high
    likelihood = {
        shift: sum(
            math.log(p if solved else 1 - p)
            for difficulty, solved in results
            for p in [1 / (1 + 10 ** ((difficulty - rating.value - shift) / 400))]
        )
        for shift in (-20, 0, 20)
    }
    assert max(likelihood, key=likelihood.get) == 0


def test_a_simulated_solver_is_rated_right_and_more_problems_narrow_the_interval():
    rng = random.Random(0)

    def rated(count):
        problems = [rng.randrange(800, 2600, 100) for _ in range(count)]
        return estimate_rating(
            [(d, sum(rng.random() < 1 / (1 + 10 ** ((d - 1700) / 400)) for _ in range(4)) / 4) for d in problems]
        )

    few, many = rated(50), rated(800)
    assert many.low < 1700 < many.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert abs(many.value - 1700) < 40


def test_everything_or_nothing_solved_bounds_the_rating_on_one_side():
    everything, nothing = estimate_rating([(1500, 1.0)] * 3), estimate_rating([(1500, 0.0)] * 3)
    assert (everything.value, everything.high, nothing.value, nothing.low) == (None, None, None, None)
    chance = 1 / (1 + 10 ** ((1500 - everything.low) / 400))
    assert chance**3 == pytest.approx(0.05, abs=1e-3)
    assert nothing.high == pytest.approx(3000 - everything.low, abs=0.2)
    for wrong in ([], [(1500, 1.2)], [(math.nan, 1.0)]):
        with pytest.raises(UsageError, match="a rating needs problems"):
            estimate_rating(wrong)


def test_the_command_rates_each_model_of_an_evaluation_and_counts_what_it_leaves_out(tmp_path):
    def row(task, correct, **metadata):
        return EvaluationRow(
            task_id=task, sample=0, prompt="?", completion="", answer=None, score=r1env.Score(value=correct), length=1,
            correct=None if correct is None else correct > 0, finish_reason="stop", metadata=metadata,
        )  # fmt: skip

    run = EvaluationRun.create(tmp_path / "run", {}, seed=0)
    with run.writing():
        run.append(
            "a",
            "codeforces",
            [row("1/A", 1.0, rating=800), row("1/B", 0.0, rating=1600), row("1/C", 0.0), row("1/D", None, rating=900)],
        )
        run.append("b", "codeforces", [row("1/A", 1.0, rating=800)])
    app = make_app(r1env.installed())
    first, second = json.loads(CliRunner().invoke(app, ["rating", str(tmp_path / "run"), "--json"]).stdout)
    assert (first["model"], first["value"], first["problems"]) == ("a", 1200.0, 2)
    assert (first["without_verdict"], first["without_rating"]) == (1, 1)
    assert (second["value"], second["high"]) == (None, None)
    table = CliRunner().invoke(app, ["rating", str(tmp_path / "run")], env={"COLUMNS": "200"}).stdout
    assert "1200" in table
    assert f"above {second['low']:.0f}" in table


@pytest.mark.docker
@pytest.mark.parametrize(
    ("make", "row", "right", "wrong"),
    [
        (humaneval, HUMANEVAL, "def decode(s: str):\n    return s[::-1]", "def decode(s: str):\n    return s"),
        (mbpp, MBPP, "def cut(s, c):\n    return s.replace(c, '')", "def cut(s, c):\n    return 'heo'"),
        (livecodebench, LIVECODEBENCH, "print(sum(map(int, input().split())))", "print(3)"),
    ],
)
def test_a_right_program_is_paid_and_one_that_knows_the_samples_is_not(make, row, right, wrong, tmp_path, docker):
    task = make(write(tmp_path, row)).task(0)
    answers = [r1env.Rollout(task=task, completion=f"```python\n{text}\n```") for text in (right, wrong)]
    assert [found.value for found in r1env.score(answers, Code)] == [1.0, 0.0]


CONGRUENT = "import sys\ngiven, answer, output = (int(open(name).read()) for name in sys.argv[1:4])\nprint(float(output % given == answer))"


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize(
    ("checker", "values"), [(CONGRUENT, [1.0, 1.0, 0.0, 0.0]), (f"{CONGRUENT}\nraise OSError", [None, None, None, None])]
)
def test_the_checker_of_a_row_decides_and_only_its_own_faults_are_no_score(checker, values, tmp_path, docker):
    row = CODEFORCES | {"generated_checker": checker, "official_tests": [{"input": "5", "output": "3"}], "examples": []}
    task = codeforces(write(tmp_path, row), programming_language="python").task(0)
    programs = ("print(3)", "print(8)", "print(9)", "print('x')")
    answers = [r1env.Rollout(task=task, completion=f"```python\n{program}\n```") for program in programs]
    assert [found.value for found in r1env.score(answers, Code)] == values


LAYOUTS = {
    "humaneval.jsonl": (humaneval, lambda row: row["prompt"] + row["canonical_solution"]),
    "mbpp.jsonl": (mbpp, lambda row: row["code"]),
    "mbpp_sanitized.jsonl": (mbpp, lambda row: row["code"]),
    "mbppplus.jsonl": (mbpp, lambda row: row["code"]),
    "humanevalplus_jsonl.jsonl": (humaneval, lambda row: row["prompt"] + row["canonical_solution"]),
    "bigcodebench.jsonl": (bigcodebench, lambda row: row["complete_prompt"] + row["canonical_solution"]),
    "livecodebench.jsonl": (livecodebench, lambda row: LIVECODEBENCH_SOLUTIONS[row["question_title"]]),
}
LIVECODEBENCH_SOLUTIONS = {
    "A. Double": "n = int(input())\nprint(n * 2)",
    "pair-sum": "class Solution:\n    def pairSum(self, nums: List[int], k: int) -> int:\n        total = sum(nums)\n        return total + k",
    "Half": "n = int(input())\nprint('%.6f' % (n / 2))",
}


@pytest.mark.docker
@pytest.mark.parametrize("name", LAYOUTS)
def test_canonical_solutions_are_accepted_and_changed_ones_refused(name, docker):
    make, program = LAYOUTS[name]
    data = Path(os.environ.get("R1ENV_TEST_DATA", "."), "layouts", name)
    if not data.exists():
        pytest.skip(f"R1ENV_TEST_DATA names no folder with layouts/{name}")
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
    programs = [program(row) for row in rows]
    wrong = [re.sub(r"(return |print\(|= )(?!int\(|sum\()", r"\1 3 + 2 * ", text, count=1) for text in programs]
    source = make(data)
    answers = [
        r1env.Rollout(task=source.task(index), completion=f"```python\n{text}\n```")
        for texts in (programs, wrong)
        for index, text in enumerate(texts)
    ]
    found = r1env.score(answers, Code)
    assert [score.value for score in found] == [1.0] * len(rows) + [0.0] * len(rows), [score.reason for score in found]


def test_the_suite_smoke_code_has_every_code_benchmark(tmp_path):
    code = {one.name for one in BENCHMARKS.values() if one.category is Category.CODE}
    members = members_of("smoke-code", r1env.installed())
    assert {member.environment for member in members} == code
    assert sum(path.stat().st_size for path in CODE_FIXTURES.iterdir()) < 12_000


@pytest.mark.docker
@pytest.mark.slow
def test_the_right_completions_of_smoke_code_are_paid_and_the_wrong_ones_are_not(docker):
    rollouts = []
    for member in members_of("smoke-code", r1env.installed()):
        environment = r1env.make_environment(member.environment, **member.options)
        for task in iterate(environment.source):
            rollouts += [r1env.Rollout(task=task, completion=text) for text in fixture_completions(task, r1env.Fixture())]
    found = r1env.score(rollouts, Code)
    assert len(rollouts) == 22
    assert [score.value for score in found] == [1.0, 0.0] * 11, [
        (r.task.id, s.reason) for r, s in zip(rollouts, found, strict=True)
    ]


class _Changed(ast.NodeTransformer):
    """Wraps what a program returns in a list of two, which no test of HumanEval expects."""

    def visit_Return(self, node):
        value = node.value or ast.Constant(None)
        return ast.Return(ast.List([value, ast.Constant("changed")], ast.Load()))

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        if not any(isinstance(inner, ast.Return) for inner in ast.walk(node)):
            node.body.append(ast.Return(ast.Constant("changed")))
        return node


@pytest.mark.docker
@pytest.mark.slow
def test_every_canonical_solution_of_humaneval_is_accepted_and_changed_ones_are_refused(docker):
    data = Path(os.environ.get("R1ENV_TEST_DATA", "."), "HumanEval.jsonl.gz")
    if not data.exists():
        pytest.skip("R1ENV_TEST_DATA names no folder with HumanEval.jsonl.gz")
    source = humaneval(data)
    rows = [json.loads(line) for line in gzip.decompress(data.read_bytes()).splitlines()]
    right = [row["prompt"] + row["canonical_solution"] for row in rows]
    changed = [ast.unparse(ast.fix_missing_locations(_Changed().visit(ast.parse(text)))) for text in right[::4]]
    answers = [
        r1env.Rollout(task=source.task(index), completion=f"```python\n{text}\n```")
        for step, texts in ((1, right), (4, changed))
        for index, text in zip(range(0, len(rows), step), texts, strict=True)
    ]
    found = r1env.score(answers, Code)
    assert source.size == 164
    assert {score.reason for score in found[:164] if score.value != 1.0} == set()
    assert [index * 4 for index, score in enumerate(found[164:]) if score.value != 0.0] == []
