"""The judge on real containers: every kind of test, every verdict, in both modes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from r1env_sandbox import Limits, Submission, TestCase, Verdict

pytestmark = pytest.mark.docker

QUICK = Limits(cpu_s=1, wall_s=4, memory_mb=128, output_kb=64, processes=16)
ADD = "def add(a, b):\n    return a + b\n"
CHECK_ADD = "def check(candidate):\n    assert candidate(3, 4) == 7\n"


def python(source, **fields):
    return Submission(language="python", source=source, **fields)


def status(sandbox, source, test, limits=QUICK, **fields):
    return sandbox.judge(python(source, **fields), [test], limits).tests[0].status


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("print(int(input()) + 1)", Verdict.ACCEPTED),
        ("print(int(open('/dev/stdin').read()) + 1)", Verdict.ACCEPTED),
        ("import sys; print(int(sys.stdin.buffer.read()) + 1); sys.exit()", Verdict.ACCEPTED),
        ("import threading; threading.Timer(0.05, lambda: print(42)).start()", Verdict.ACCEPTED),
        ("import atexit; atexit.register(print, 42)", Verdict.ACCEPTED),
        ("if __name__ == '__main__': print(42)", Verdict.ACCEPTED),
        ("import sys; sys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(20000) - 19958)", Verdict.ACCEPTED),
        ("print(42); raise SystemExit(3)", Verdict.RUNTIME_ERROR),
        ("print(42); import os; os.kill(os.getpid(), 11)", Verdict.RUNTIME_ERROR),
        ("print(43)", Verdict.WRONG_ANSWER),
        ("", Verdict.WRONG_ANSWER),
        ("print(", Verdict.COMPILE_ERROR),
        ("1 / 0", Verdict.RUNTIME_ERROR),
        ("while True: pass", Verdict.TIME_LIMIT),
        ("import time; time.sleep(60)", Verdict.TIME_LIMIT),
        ("a = []\nwhile True: a.append(b'x' * 100_000)", Verdict.MEMORY_LIMIT),
        ("while True: print('x' * 1000)", Verdict.OUTPUT_LIMIT),
    ],
)  # fmt: skip
def test_a_python_program_that_reads_and_prints(sandbox, source, verdict):
    assert status(sandbox, source, TestCase.stdio("41\n", "42\n")) is verdict


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        (ADD, Verdict.ACCEPTED),
        ("class Solution:\n    def add(self, a, b): return a + b", Verdict.ACCEPTED),
        ("print('noise')\n" + ADD, Verdict.ACCEPTED),
        ("def add(a, b): return float(a + b)", Verdict.WRONG_ANSWER),
        ("def add(a, b): return float('nan')", Verdict.WRONG_ANSWER),
        ("class Any:\n    def __eq__(self, other): return True\ndef add(a, b): return Any()", Verdict.WRONG_ANSWER),
        ("def add(a, b): import os; os._exit(0)", Verdict.RUNTIME_ERROR),
        ("def add(a, b): raise SystemExit", Verdict.RUNTIME_ERROR),
        ("def add(a, b): raise ValueError(a)", Verdict.RUNTIME_ERROR),
        ("def sub(a, b): return 7", Verdict.RUNTIME_ERROR),
        ("def add(a, b): return add(b, a)", Verdict.RUNTIME_ERROR),
        ("def add(a, b):\n    while True: pass", Verdict.TIME_LIMIT),
        ("def add(a, b): return 'x' * 100_000", Verdict.OUTPUT_LIMIT),
        ("def add(a, b", Verdict.COMPILE_ERROR),
    ],
)
def test_a_function_that_is_called(sandbox, source, verdict):
    assert status(sandbox, source, TestCase.call("add", [3, 4], 7)) is verdict


def test_what_a_function_returns_is_told(sandbox):
    test = TestCase.call("pair", [(1, {2})], ((1, {2}), b"\x00"), kwargs={"end": b"\x00"})
    result = sandbox.judge(python("def pair(a, end): return a, end"), [test], QUICK)
    assert result.status is Verdict.ACCEPTED
    assert result.tests[0].value == ((1, {2}), b"\x00")
    assert result.model_dump(mode="json")["tests"][0]["value"]["__tuple__"][1] == {"__bytes__": "00"}


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        (ADD, Verdict.ACCEPTED),
        ("def add(a, b): return 8", Verdict.WRONG_ANSWER),
        ("class Any:\n    def __eq__(self, other): return True\ndef add(a, b): return Any()", Verdict.WRONG_ANSWER),
        ("def add(a, b): raise AssertionError", Verdict.RUNTIME_ERROR),
        ("def add(a, b): raise SystemExit(0)", Verdict.RUNTIME_ERROR),
        ("def add(a, b): import os; os._exit(0)", Verdict.RUNTIME_ERROR),
        ("raise SystemExit(0)", Verdict.RUNTIME_ERROR),
        ("def add(a, b): return ''.join(", Verdict.COMPILE_ERROR),
        ("def add(a, b):\n    while True: pass", Verdict.TIME_LIMIT),
        ("def add(a, b): return 'x' * (4 << 20)", Verdict.OUTPUT_LIMIT),
    ],
)
def test_assertions_about_a_function(sandbox, source, verdict):
    assert status(sandbox, source, TestCase.assertion("add", CHECK_ADD)) is verdict


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("assert add(1, 2) == 3", Verdict.ACCEPTED),
        ("def check(candidate):\n    try:\n        candidate(1, 'x')\n    except TypeError:\n        return\n    assert False", Verdict.ACCEPTED),
        ("def check(candidate):\n    for n in range(200):\n        assert candidate(n, n) == 2 * n", Verdict.ACCEPTED),
        ("def check(candidate):\n    pass", Verdict.REJECTED_INPUT),
        ("def check(candidate):\n    {}['nothing']", Verdict.REJECTED_INPUT),
        ("def check(candidate):\n    assert candidate(1, 2) == 4", Verdict.WRONG_ANSWER),
        ("def check(candidate):\n    assert candidate(1, 2) < None", Verdict.WRONG_ANSWER),
    ],
)  # fmt: skip
def test_ways_to_assert(spawning, code, verdict):
    source = ADD + "def helper(x):\n    return x * x\n"
    assert status(spawning, source, TestCase.assertion("add", code)) is verdict


def test_an_argument_changed_in_place_is_seen_only_where_nothing_is_returned(spawning):
    in_place = "def f(items):\n    items.sort()\n"
    cheat = "def f(items):\n    items.clear()\n    return items\n"
    seen = "def check(candidate):\n    items = [3, 1, 2]\n    candidate(items)\n    assert items == [1, 2, 3]\n"
    compared = "def check(candidate):\n    items = [3, 1, 2]\n    assert candidate(items) == sorted(items)\n"
    assert status(spawning, in_place, TestCase.assertion("f", seen)) is Verdict.ACCEPTED
    assert status(spawning, cheat, TestCase.assertion("f", compared)) is Verdict.WRONG_ANSWER


PYTEST = """
import os
import subprocess
import sys
import time

import pytest
from solution import LIMIT, TooMuch, add
from shop.prices import price


def test_sum():
    assert add(3, 4) == 7


@pytest.mark.parametrize("n", [1, 2])
def test_more(n):
    assert add(n, 0) == n


class TestErrors:
    def test_raises(self):
        with pytest.raises(TooMuch, match="more than 100"):
            add(LIMIT, 1)


def test_other_module():
    assert price("tea") == 3
"""
SHOP = {"shop/__init__.py": "", "shop/prices.py": "def price(name):\n    return {'tea': 3}[name]\n"}
ADD_WITH_LIMIT = """
LIMIT = 100

class TooMuch(Exception):
    pass

def add(a, b):
    if a + b > LIMIT:
        raise TooMuch(f"more than {LIMIT}")
    return a + b
"""


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        (ADD_WITH_LIMIT, Verdict.ACCEPTED),
        (ADD_WITH_LIMIT.replace("a + b > LIMIT", "False"), Verdict.WRONG_ANSWER),
        (ADD_WITH_LIMIT.replace("return a + b", "return 7"), Verdict.WRONG_ANSWER),
        (ADD_WITH_LIMIT.replace("def add", "def sum"), Verdict.WRONG_ANSWER),
        ("import os\nos._exit(0)", Verdict.RUNTIME_ERROR),
        (ADD_WITH_LIMIT.replace("return a + b", "import os; os._exit(0)"), Verdict.RUNTIME_ERROR),
        ("import pytest\npytest.skip(allow_module_level=True)", Verdict.RUNTIME_ERROR),
        (ADD_WITH_LIMIT + "import time\ntime.sleep(60)", Verdict.TIME_LIMIT),
    ],
)
def test_pytest_files(spawning, source, verdict):
    assert status(spawning, source, TestCase.pytest({"test_it.py": PYTEST}), files=SHOP) is verdict


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("from solution import add\nimport pytest\ndef test_a():\n    assert add(1, 2) == 3\ndef test_b():\n    pytest.skip()", "wrong_answer"),
        ("from solution import add\nimport pytest\n@pytest.mark.xfail\ndef test_a():\n    assert add(1, 2) == 4", "wrong_answer"),
        ("from solution import add\nimport sys\nif add(1, 2) == 3:\n    sys.exit(0)\ndef test_a():\n    pass", "wrong_answer"),
        ("from solution import add\nimport pytest\npytest.skip(allow_module_level=True)\ndef test_a():\n    assert add(1, 2) == 3", "wrong_answer"),
        ("def test_a():\n    assert False", "rejected_input"),
        ("from solution import add\ndef test_a():\n    assert add(1, 2) == 3", "accepted"),
        ("import unittest\nfrom solution import add\nclass A(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(add(1, 2), 3)", "accepted"),
    ],
)  # fmt: skip
def test_only_tests_that_ran_and_passed_count(spawning, text, verdict):
    assert status(spawning, ADD, TestCase.pytest({"test_it.py": text})) == verdict


def test_files_that_steer_pytest_do_not_reach_it(spawning):
    rogue_files = {
        "conftest.py": "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_runtest_call(item):\n    item.obj = lambda: None\n",
        "pytest.ini": "[pytest]\naddopts = --collect-only\n",
        "sitecustomize.py": "import sys\nsys.exit(0)\n",
    }
    test = TestCase.pytest({"test_it.py": "from solution import add\ndef test_a():\n    assert add(1, 2) == 3\n"})
    assert status(spawning, "def add(a, b): return 0", test, files=rogue_files) is not Verdict.ACCEPTED


def test_a_special_checker_decides(spawning):
    checker = python(
        "import sys\nasked, said, wanted = (open(name).read() for name in sys.argv[1:])\n"
        "sys.exit(0 if int(said) ** 2 == int(asked) and wanted == 'any root' else 1)\n"
    )
    test = TestCase.stdio("9", "any root", "special", checker_program=checker)
    assert status(spawning, "print(-3)", test) is Verdict.ACCEPTED
    assert status(spawning, "print(4)", test) is Verdict.WRONG_ANSWER


BROKEN_CHECKERS = {
    "raises": "1 / 0",
    "another status": "import sys; sys.exit(7)",
    "no Python": "import sys; sys.exit(",
    "a module that is not there": "import sys\ntext = open(sys.argv[2]).read()\nimport module_that_nobody_has\n",
    "a name that is not there": "import sys\nsys.exit(judge(open(sys.argv[2]).read()))\n",
}


@pytest.mark.parametrize("printed", ["3", "", "x" * 100])
@pytest.mark.parametrize("broken", [*BROKEN_CHECKERS, pytest.param("no end", marks=pytest.mark.slow)])
def test_a_special_checker_that_judges_no_output_is_the_tasks_fault(broken, printed, spawning):
    test = TestCase.stdio("9", "", "special", checker_program=python(BROKEN_CHECKERS.get(broken, "while True: pass")))
    result = spawning.judge(python(f"print({printed!r})"), [test], Limits(cpu_s=0.3, wall_s=1))
    assert (result.status, result.score, result.info.attempts) == (Verdict.REJECTED_INPUT, None, 1)
    assert "the checker" in result.info.note


PICKY_CHECKERS = {
    "a word": "word = text.strip()\nsys.exit({'right': 0, 'wrong': 1}[word])\n",
    "a form": "assert text.strip() in ('right', 'wrong')\nsys.exit(text.strip() != 'right')\n",
    "always the same error": "if text.strip() not in ('right', 'wrong'): raise ValueError('bad form')\nsys.exit(text.strip() != 'right')\n",
    "a status of its own": "sys.exit({'right': 0, 'wrong': 1}.get(text.strip(), 3))\n",
}


@pytest.mark.parametrize("picky", PICKY_CHECKERS)
def test_no_output_makes_a_checker_the_tasks_fault(picky, spawning):
    """One that fails on all that it is tried with, as it wants an output of a certain form: the submission cannot choose its fault."""
    checker = python(f"import sys\ntext = open(sys.argv[2]).read()\n{PICKY_CHECKERS[picky]}")
    test = TestCase.stdio("9", "", "special", checker_program=checker)
    for printed in ("maybe", "", "wrong", "maybe"):
        assert status(spawning, f"print({printed!r})", test) is Verdict.WRONG_ANSWER
    assert status(spawning, "print('right')", test) is Verdict.ACCEPTED


def test_a_special_checker_that_does_not_compile_is_the_tasks_fault(spawning):
    test = TestCase.stdio("9", "", "special", checker_program=Submission(language="c", source="int main("))
    result = spawning.judge(python("print(3)"), [test, TestCase.stdio("", "3")], QUICK)
    assert result.status is Verdict.REJECTED_INPUT
    assert "the checker does not compile" in result.info.note


@pytest.mark.parametrize(
    "printed", ["x", "", "9" * 5000, "\x00", "1 2 3", "nan", "0x3", "[" * 60_000, "1e999999999", "\ud83d", "3\n" * 20_000]
)
def test_what_an_output_makes_a_checker_do_is_the_submissions_fault(spawning, printed):
    """A checker that crashes, hangs or eats memory on it, and judges others well."""
    checker = python(
        "import sys\ntext = open(sys.argv[2]).read()\nif text.count('3') > 10:\n    while True: text += text\n"
        "sys.exit(0 if int(text) ** 2 == int(open(sys.argv[1]).read()) else 1)\n"
    )
    test = TestCase.stdio("9", "3", "special", checker_program=checker)
    result = spawning.judge(
        python(f"import sys\nsys.stdout.buffer.write({printed!r}.encode('utf-8', 'surrogatepass'))"), [test], QUICK
    )
    assert (result.status, result.score) == (Verdict.WRONG_ANSWER, 0.0)


@pytest.mark.parametrize(
    ("language", "source", "verdict"),
    [
        ("cpp", '#include <bits/stdc++.h>\nint main(){int a,b;std::cin>>a>>b;std::cout<<a+b<<"\\n";}', "accepted"),
        ("c++", "#include <iostream>\nint main(){std::cout<<8;}", "wrong_answer"),
        ("c", '#include <stdio.h>\nint main(void){int a,b;scanf("%d%d",&a,&b);printf("%d\\n",a+b);return 0;}', "accepted"),
        ("c", '#include <stdio.h>\nint main(void){puts("7");return 1;}', "runtime_error"),
        ("c", "int main(void){*(volatile int*)0=1;}", "runtime_error"),
        ("c", "int main(void){for(;;);}", "time_limit"),
        ("c", "#include <stdlib.h>\n#include <string.h>\nint main(void){for(;;)memset(malloc(1<<20),1,1<<20);}", "memory_limit"),
        ("c", "static char huge[1<<30]; int main(void){return huge[5];}", "wrong_answer"),
        ("c", "#include <unistd.h>\nint main(void){for(;;)write(1,\"x\",1);}", "output_limit"),
        ("cpp", "int main( {", "compile_error"),
        ("c", '#include "/dev/zero"', "compile_error"),
        ("bash", "read a b; echo $((a + b))", "accepted"),
    ],
)  # fmt: skip
def test_other_languages(spawning, language, source, verdict):
    limits = QUICK.model_copy(update={"compile_cpu_s": 10.0, "compile_wall_s": 30.0})
    result = spawning.judge(Submission(language=language, source=source), [TestCase.stdio("3 4\n", "7\n")], limits)
    assert result.status == verdict, result


def test_the_same_source_is_compiled_once(spawning):
    source = Submission(language="c", source='#include <stdio.h>\nint main(void){puts("only once");}')
    first, second = (spawning.judge(source, [TestCase.stdio("", "only once")] * 3) for _ in range(2))
    assert first.status is second.status is Verdict.ACCEPTED
    assert (first.compile.cached, second.compile.cached) == (False, True)
    assert first.compile.cpu_ms > 0


def test_a_compiler_error_is_told(spawning):
    result = spawning.judge(Submission(language="c", source="int main(void){ return missing; }"), [TestCase.stdio("", "")])
    assert "'missing' undeclared" in result.compile.log.replace("‘", "'").replace("’", "'")
    assert result.score == 0.0


def test_files_are_there_for_every_test_and_every_import(sandbox):
    source = (
        "import helper\ndata = open('data/in.txt').read()\nopen('data/in.txt', 'w').write('changed')\nprint(helper.twice(data))"
    )
    files = {"helper.py": "def twice(x):\n    return x + x\n", "data/in.txt": "ab"}
    result = sandbox.judge(python(source, files=files), [TestCase.stdio("", "abab")] * 3, QUICK)
    assert result.status is Verdict.ACCEPTED


def test_what_a_program_leaves_is_gone_for_the_next_test(sandbox):
    source = "import os\nprint(sorted(os.listdir('.')) + os.listdir('/tmp'))\nopen('a', 'w')\nos.makedirs('b/c')\nopen('/tmp/d', 'w')"
    assert sandbox.judge(python(source), [TestCase.stdio("", "[]")] * 3, QUICK).status is Verdict.ACCEPTED


def test_files_of_the_last_test_are_collected(sandbox):
    source = "import os\nopen('out.txt', 'w').write(input())\nos.symlink('/etc/passwd', 'link')\nos.mkfifo('pipe')\nos.link('out.txt', 'hard')\nopen('alone', 'w').write('é' * 3)"
    submission = python(source, collect=("alone", "link", "pipe", "missing", "hard"))
    result = sandbox.judge(submission, [TestCase.stdio("first", ""), TestCase.stdio("second", "")], QUICK)
    assert result.collected == {"alone": "ééé"}


def test_nothing_is_collected_from_a_test_before_the_last(sandbox):
    test = TestCase.stdio("", "[]")
    source = "import os\nprint(os.listdir('.'))\nopen('out.txt', 'w').write('x')"
    result = sandbox.judge(python(source, collect=("out.txt",)), [test] * 3, QUICK)
    assert (result.status, result.collected) == (Verdict.ACCEPTED, {"out.txt": "x"})


def test_a_submission_cannot_change_its_own_program(sandbox):
    source = "import os, sys\ntry:\n    open(sys.argv[0], 'a').write('print(1)')\nexcept OSError:\n    print('refused')"
    assert status(sandbox, source, TestCase.stdio("", "refused")) is Verdict.ACCEPTED


def test_a_background_child_does_not_hold_up_the_verdict(sandbox):
    source = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\nprint(42)"
    result = sandbox.judge(python(source), [TestCase.stdio("", "42")], Limits(cpu_s=5, wall_s=30))
    assert result.status is Verdict.ACCEPTED
    assert result.tests[0].wall_ms < 20_000


def test_kinds_of_test_can_be_mixed(sandbox):
    tests = [
        TestCase.stdio("", "hello"),
        TestCase.assertion("add", CHECK_ADD),
        TestCase.call("add", [1, 1], 3),
        TestCase.stdio("x" * 100_000, "hello"),
        TestCase.call("add", [1, 1], 2),
    ]
    result = sandbox.judge(python("print('hello')\n" + ADD), tests, QUICK)
    assert [test.status for test in result.tests] == ["accepted", "accepted", "wrong_answer", "accepted", "accepted"]


def test_inputs_of_any_length_arrive_whole(sandbox):
    inputs = ["x" * size for size in (0, 1, 20_000, 100, 3_000_000, 5)]
    tests = [TestCase.stdio(text, str(len(text))) for text in inputs]
    assert sandbox.judge(python("import sys; print(len(sys.stdin.read()))"), tests, QUICK).status is Verdict.ACCEPTED


def test_judging_can_stop_at_the_first_failure(spawning):
    tests = [TestCase.stdio("", "42"), TestCase.stdio("", "43"), TestCase.stdio("", "42")]
    stopped = spawning.judge(python("print(42)"), tests, QUICK, stop_at_first_failure=True)
    assert (len(stopped.tests), stopped.score, stopped.status) == (2, 1 / 3, Verdict.WRONG_ANSWER)
    assert spawning.judge(python("print(42)"), tests, QUICK).score == 2 / 3


def test_what_was_used_is_told(spawning):
    source = "import time\nx = bytearray(50 << 20)\nwhile time.process_time() < 0.3: pass\ntime.sleep(0.3)\nprint(1)"
    (test,) = spawning.judge(python(source), [TestCase.stdio("", "1")]).tests
    assert 280 < test.cpu_ms < 1500
    assert test.wall_ms > 580
    assert 50 << 10 < test.max_rss_kb < 90 << 10


def test_more_memory_than_a_worker_has_is_given_to_it(spawning):
    source = "x = bytearray(1500 << 20)\nprint(len(x) >> 20)"
    assert status(spawning, source, TestCase.stdio("", "1500"), Limits(memory_mb=1700)) is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("submission", "tests", "note"),
    [
        (Submission(language="cobol", source=""), [TestCase.stdio("", "")], "unknown language 'cobol'"),
        (python(""), [], "there is no test"),
        (Submission(language="c", source=""), [TestCase.call("f", [], 1)], "call tests are for Python"),
    ],
)
def test_what_cannot_be_judged_has_no_score(spawning, submission, tests, note):
    result = spawning.judge(submission, tests)
    assert (result.status, result.score) == (Verdict.REJECTED_INPUT, None)
    assert note in result.info.note


def test_a_set_has_the_same_order_in_a_fresh_and_in_a_forked_interpreter(spawning, forking):
    source = python("print({f'{number} apples' for number in range(20)}, hash('apples'))")
    printed = {box.run(source).stdout for box in (spawning, spawning, forking)}
    assert len(printed) == 1


def test_a_forked_interpreter_has_the_usual_modules_but_not_the_one_that_makes_forks_dear(forking):
    source = python("import sys; print([name in sys.modules for name in ('collections', 're', 'threading')])")
    assert forking.run(source).stdout == "[True, True, False]\n"


def test_a_verdict_says_where_it_comes_from(forking):
    info = forking.judge(python("print(1)"), [TestCase.stdio("", "1")]).info
    assert (info.backend, info.mode, info.attempts) == ("docker", "fork", 1)
    assert info.image.startswith("sha256:")


def test_a_program_can_be_run_without_a_test(sandbox):
    submission = python(
        "import sys\nopen('out', 'w').write('x')\nprint('y' * 50_000)\nprint(input(), file=sys.stderr)", collect=("out",)
    )
    result = sandbox.run(submission, "said", QUICK)
    assert (result.status, result.stdout, result.stderr) == (Verdict.ACCEPTED, "y" * 50_000 + "\n", "said\n")
    assert result.collected == {"out": "x"}
    assert sandbox.run(python("1 / 0"), "", QUICK).status is Verdict.RUNTIME_ERROR
    with pytest.raises(ValueError, match="unknown language"):
        sandbox.run(Submission(language="cobol", source=""))


@pytest.mark.slow
def test_a_program_that_others_keep_from_the_processors_has_more_time(spawning):
    """The wall limit is for programs that wait by themselves; one that is ready to run and may not is given the time back."""
    limits = Limits(cpu_s=5, wall_s=1.5)
    busy = "import time\nwhile time.process_time() < 0.8: pass\nprint('x')"
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3 * (os.cpu_count() or 1))]
    try:
        assert status(spawning, busy, TestCase.stdio("", "x"), limits=limits) is Verdict.ACCEPTED
        start = time.monotonic()
        assert status(spawning, "import time\ntime.sleep(60)", TestCase.stdio("", "x"), limits=limits) is Verdict.TIME_LIMIT
        assert time.monotonic() - start < 20
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
