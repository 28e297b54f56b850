"""A submission cannot forge a pass or poison the judge with what it returns, raises, defines or patches.

Every row is an attack on the way from a submission's function to a verdict. None may be accepted, none may cost the judge its worker or
end in `judge_error`, and the next honest submission must be judged right.
"""

from __future__ import annotations

import json
import secrets

import pytest

from r1env_sandbox import Limits, Submission, TestCase, Verdict
from r1env_sandbox.rows import judge_line

pytestmark = pytest.mark.docker

LIMITS = Limits(cpu_s=2, wall_s=12, output_kb=256)

# --- what a `call` test gets back -----------------------------------------------------------------------------------------------

RETURNS = {
    "tag of a set": "{'__set__': 5}",
    "tag of a set of sets": "{'__set__': [{'__set__': [1]}]}",
    "nested tags": "{'__dict__': [[{'__tuple__': {'__set__': 5}}, {'__bytes__': 'zz'}]]}",
    "tag in a list": "[{'__tuple__': 'x'}, {'__frozenset__': None}]",
    "tag as a key": "{('__set__',): {'__dict__': 3}}",
    "tags of objects": "[{'__mine__': [0, 'function', 'f']}, {'__yours__': 0}, {'__record__': 0}]",
    "tags of numbers": "[{'__int__': 'x'}, {'__float__': 'y'}, {'__complex__': []}, {'__fraction__': [1, 0]}]",
    "tag of an array": "{'__ndarray__': ['O', [1], [{}]]}",
    "lone surrogate": "'\\ud800'",
    "lone surrogate in a key": "{'\\udfff': 1}",
    "lone surrogate in a set": "{'\\ud800\\ud800'}",
    "halves of a character": "['\\ud83d', '\\ude00']",
    "nul": "'\\0' * 1000",
    "long integer": "10 ** 5000",
    "long negative integer": "-(10 ** 4301)",
    "very long integer": "1 << (6 << 20)",
    "nan": "float('nan')",
    "infinities": "[float('inf'), -float('inf'), complex('nan+infj')]",
    "circle": "(lambda a: a.append(a) or a)([])",
    "circle of dicts": "(lambda d: d.update(d=d) or d)({})",
    "deep list": "__import__('functools').reduce(lambda a, _: [a], range(10 ** 5), 0)",
    "deep dict at the limit": "__import__('functools').reduce(lambda a, _: {1: a}, range(64), 0)",
    "deep default dicts at the limit": "__import__('functools').reduce(lambda a, _: __import__('collections').defaultdict(int, {1: a}), range(63), 0)",
    "deep named tuples at the limit": "__import__('functools').reduce(lambda a, _: __import__('collections').namedtuple('P', 'x')(a), range(63), 0)",
    "deeper than the limit": "__import__('functools').reduce(lambda a, _: (a,), range(70), 0)",
    "huge range": "range(10 ** 30)",
    "huge decimal": "__import__('decimal').Decimal('1e999999')",
    "signalling nan": "__import__('decimal').Decimal('sNaN')",
    "nan in a set": "{float('nan'), __import__('decimal').Decimal('nan')}",
    "negative zero": "[-0.0, -0j]",
    "equal to everything": "type('E', (), {'__eq__': lambda s, o: True, '__hash__': lambda s: 0})()",
    "text that is equal to everything": "type('E', (str,), {'__eq__': lambda s, o: True, '__hash__': lambda s: 0})('x')",
    "number that is equal to everything": "type('E', (int,), {'__eq__': lambda s, o: True, '__hash__': lambda s: 0})(3)",
    "dict of odd keys": "{(): 1, None: 2, True: 3, 2.5: 4, b'': 5, frozenset(): 6}",
    "module": "__import__('os')",
    "class": "type('C', (), {})",
    "class with an odd name": "type('\\ud800', (), {})()",
    "named tuple with odd fields": "__import__('collections').namedtuple('P', 'x', rename=True)(1)",
    "function": "lambda: 1",
    "bytes": "bytes(range(256))",
    "memory view": "memoryview(b'x')",
    "generator": "(i for i in [1])",
    "exception": "ValueError('x')",
    "frame": "__import__('sys')._getframe()",
    "ellipsis": "[..., NotImplemented]",
    "weird slots": "type('S', (tuple,), {'_fields': ('a', 5)})((1, 2))",
    "lying class": "type('L', (), {'__class__': property(lambda s: list)})()",
    "raising class": "type('R', (), {'__class__': property(lambda s: 1 / 0)})()",
    "list that raises": "type('L', (list,), {'__iter__': lambda s: 1 / 0, '__len__': lambda s: -1})([1])",
    "view of nothing": "{}.keys()",
    "time zone": "__import__('datetime').datetime.now(__import__('datetime').timezone.utc)",
}

RAISES = {
    "surrogate in its text": "raise ValueError('\\ud800')",
    "surrogate in its name": "raise type('\\ud800', (Exception,), {})('x')",
    "text that raises": "raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})()",
    "text that is no text": "raise type('E', (Exception,), {'__str__': lambda s: 5})()",
    "text without end": "raise ValueError('x' * 10 ** 7)",
    "new lines": "raise ValueError('\\n{\"value\": 1}\\n')",
    "traceback that raises": "raise type('E', (Exception,), {'__traceback__': property(lambda s: 1 / 0)})()",
    "cause in a circle": "e = ValueError(); e.__cause__ = e; raise e",
    "group": "raise ExceptionGroup('g', [ValueError('\\ud800'), KeyError(1)])",
    "notes": "e = ValueError(); e.__notes__ = ['\\ud800', 5]; raise e",
    "keyboard interrupt": "raise KeyboardInterrupt",
    "generator exit": "raise GeneratorExit",
    "recursion": "return solve(x)",
    "memory": "raise MemoryError",
    "unicode error": "return '\\ud800'.encode()",
    "huge exit": "raise SystemExit(10 ** 5000)",
    "patched encoder": "import r1env_plain\nr1env_plain.encode = lambda *a, **k: {'__set__': 5}\nreturn 1",
    "patched line": 'import r1env_plain\nr1env_plain.dumps = lambda *a: \'{"value": {"__set__": 5}}\'\nreturn 1',
    "patched line without JSON": "import r1env_plain\nr1env_plain.dumps = lambda *a: '['*10**5\nreturn 1",
    "reply that is a list": "import r1env_plain\nr1env_plain.dumps = lambda *a: '[]'\nreturn 1",
    "reply with odd parts": 'import r1env_plain\nr1env_plain.dumps = lambda *a: \'{"raised": [1], "value": 1}\'\nreturn 1',
    "colliding set": "import r1env_plain\nr1env_plain.dumps = lambda *a: '{\"value\": {\"__set__\": [' + ','.join(str(k * (2**61-1)) for k in range(9000)) + ']}}'\nreturn 1",
    "two replies": "import os\nos.write(3, b'{\"value\": 1}\\n')\nreturn 1",
}


def source_of(body):
    lines = "\n".join(f"    {line}" for line in body.split("\n"))
    return f"def solve(x=None, *more):\n{lines}\n"


def judged(sandbox, source, test, **fields):
    """The answer to a row, as the command gives it: it must be JSON, whatever was returned."""
    row = {"id": "x", "language": "python", "source": source, "tests": [test], "limits": LIMITS.model_dump(), **fields}
    answer = json.loads(json.dumps(judge_line(sandbox, json.dumps(row).encode()), allow_nan=False))
    honest = sandbox.judge(Submission(language="python", source="def solve(x): return x"), [TestCase.call("solve", [3], 3)])
    assert honest.status is Verdict.ACCEPTED
    return answer


def assert_refused(answer, unscored=False):
    assert answer["status"] not in ("accepted", "judge_error"), answer
    assert (answer["score"] is None) is unscored, answer
    assert answer["info"].get("attempts", 1) == 1


@pytest.mark.parametrize("name", RETURNS)
def test_what_a_function_returns_is_data(name, sandbox):
    answer = judged(
        sandbox,
        source_of(f"return {RETURNS[name]}"),
        {"kind": "call", "function": "solve", "args": [1], "expected": secrets.token_hex(8)},
    )
    assert_refused(answer)


@pytest.mark.parametrize("name", RAISES)
def test_what_a_function_raises_is_data(name, sandbox):
    answer = judged(
        sandbox, source_of(RAISES[name]), {"kind": "call", "function": "solve", "args": [1], "expected": secrets.token_hex(8)}
    )
    assert_refused(answer)


@pytest.mark.parametrize("name", RETURNS)
def test_what_a_function_returns_to_an_assertion_is_data(name, spawning):
    code = f"def check(candidate):\n    assert candidate(1) == '{secrets.token_hex(8)}'\n"
    assert_refused(
        judged(spawning, source_of(f"return {RETURNS[name]}"), {"kind": "assert", "function": "solve", "code": code})
    )


@pytest.mark.parametrize("name", RAISES)
def test_what_a_function_raises_to_an_assertion_is_data(name, spawning):
    code = f"def check(candidate):\n    assert candidate(1) == '{secrets.token_hex(8)}'\n"
    assert_refused(judged(spawning, source_of(RAISES[name]), {"kind": "assert", "function": "solve", "code": code}))


# --- what an assertion is made to believe ---------------------------------------------------------------------------------------

OBJECT = "class O:\n    def __getattr__(self, name): return lambda *a: 0\n"
YES = "lambda *a: True"
OPERATORS = (
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "sub",
    "rsub",
    "add",
    "radd",
    "mul",
    "abs",
    "float",
    "int",
    "index",
    "contains",
    "bool",
    "round",
    "neg",
    "divmod",
    "and",
    "rand",
    "instancecheck",
)
EVERYTHING = (
    "class O:\n"
    + "".join(
        f"    def __{name}__(self, *a): return True if '{name}' in ('eq', 'lt', 'le', 'contains', 'bool', 'ge', 'gt') else 0\n"
        for name in OPERATORS
    )
    + "    __hash__ = None\n    def __ne__(self, o): return False\n"
)

SECRET = "TOK"
CHECKS = {
    "equal": "assert candidate(1) == 'TOK'",
    "equal, the other way": "assert 'TOK' == candidate(1)",
    "not unequal": "assert not candidate(1) != 'TOK'",
    "in a list": "assert candidate(1) in ['TOK']",
    "in a list, the other way": "assert 'TOK' in candidate(1)",
    "near": "assert abs(candidate(1) - 0.62515) < 1e-6",
    "near, the other way": "assert abs(0.62515 - candidate(1)) <= 1e-6",
    "isclose": "import math\n    assert math.isclose(candidate(1), 0.62515)",
    "between": "assert 0.625 < candidate(1) < 0.626",
    "sorted": "xs = [3, 1, 2]\n    assert candidate(xs) == sorted(xs)",
    "sorted, random": "import random\n    xs = [random.random() for _ in range(9)]\n    assert candidate(xs) == sorted(xs)",
    "reference after": "xs = {'a': 1}\n    got = candidate(xs)\n    assert got == {**xs, 'b': 2}",
    "set": "xs = {1, 2, 3}\n    assert candidate(xs) == {x + 1 for x in xs}",
    "nested list": "xs = [[1, 2], [3]]\n    assert candidate(xs) == [sum(x) for x in xs]",
    "keyword": "xs = [3, 1]\n    assert candidate(x=xs) == sorted(xs)",
    "object": "class Node:\n        def __init__(self, v): self.v = v\n    n = Node(5)\n    assert candidate(n) == n.v + 1",
    "object compared": "from dataclasses import dataclass\n    @dataclass\n    class P:\n        v: int\n    assert candidate(P(1)) == P('TOK')",
    "map": "assert all(map(lambda c: candidate(c[0]) == c[1], [(1, 'TOK')]))",
    "generator expression": "assert all(candidate(a) == b for a, b in [(1, 'TOK'), (2, 'TOK')])",
    "filter": "assert list(filter(lambda c: candidate(c) != 'TOK', [1, 2])) == []",
    "zip": "assert all(a == b for a, b in zip(map(candidate, [1, 2]), ['TOK', 'TOK']))",
    "takewhile": "import itertools\n    assert all(itertools.starmap(lambda a, b: candidate(a) == b, [(1, 'TOK')]))",
    "for over map": "for got in map(candidate, [1, 2]):\n        assert got == 'TOK'",
    "list of map": "assert [x for x in map(candidate, [1, 2]) if x != 'TOK'] == []",
    "any": "assert not any(map(lambda c: candidate(c) != 'TOK', [1, 2]))",
    "hasattr": "class T:\n        @property\n        def bad(self): return candidate(1) != 'TOK'\n    assert not hasattr(T(), 'bad')",
    "getattr with a default": "class T:\n        @property\n        def good(self): return candidate(1) == 'TOK'\n    assert getattr(T(), 'good', True)",
    "old iteration": "class T:\n        def __getitem__(self, i): return candidate(i) == 'TOK' if i < 2 else 1 / 0\n    assert all(T())",
    "iteration": "class T:\n        def __init__(self): self.i = 0\n        def __iter__(self): return self\n        def __next__(self):\n            self.i += 1\n            if self.i > 2: raise StopAsyncIteration\n            return candidate(1) == 'TOK'\n    assert all(T())",
    "iter with a sentinel": "for x in iter(lambda: candidate(1), 'TOK'): assert False",
    "dict": "assert {candidate(1): 1} == {'TOK': 1}",
    "type": "assert type(candidate(1)) is str and candidate(1) == 'TOK'",
    "isinstance": "assert isinstance(candidate(1), str) and candidate(1) == 'TOK'",
    "len": "assert len(candidate(1)) == 3 and list(candidate(1)) == ['TOK', 1, 2]",
    "text": "assert str(candidate(1)) == 'TOK'",
    "format": "assert f'{candidate(1)}' == 'TOK'",
    "approx": "import pytest\n    assert candidate(1) == pytest.approx(0.62515)",
    "mock": "from unittest import mock\n    assert candidate(1) == ['TOK', mock.ANY]",
    "unittest": "import unittest\n    unittest.TestCase().assertEqual(candidate(1), 'TOK')",
    "almost": "import unittest\n    unittest.TestCase().assertAlmostEqual(candidate(1), 0.62515)",
    "raises": "import pytest\n    with pytest.raises(ValueError, match='TOK'):\n        candidate(1)",
    "raises, and then": "import pytest\n    with pytest.raises(ValueError):\n        candidate(-1)\n    assert candidate(1) == 'TOK'",
    "callback": "got = []\n    candidate(got.append)\n    assert got == ['TOK']",
    "counter of calls": "seen = []\n    assert candidate(lambda x: seen.append(x)) == 'TOK'",
}  # fmt: skip

FORGERS = {
    "args with a value": "import __main__\n__main__.answer = lambda m, r: {'value': [], 'args': [[]]}\n" + source_of("return x"),
    "args through the server": "import r1env_served\nr1env_served.Server.serve = lambda s, r: {'value': [], 'args': [[]], 'records': []}\ndef solve(x=None): return x\n",
    "args and nothing": "import r1env_served\nr1env_served.Server.serve = lambda s, r: {'value': None, 'args': [[], {'__set__': []}, {}], 'records': []}\ndef solve(x=None): return x\n",
    "args and a record": "import r1env_served\nr1env_served.Server.serve = lambda s, r: {'value': None, 'args': [{'__record__': 0}], 'records': [[0, {'v': -1}, 0]]}\ndef solve(x=None): return x\n",
    "changes what it is given": source_of("try:\n    x.clear()\nexcept Exception: pass\nreturn x"),
    "changes and returns a copy": source_of("try:\n    x[:] = []\nexcept Exception: pass\nreturn []"),
    "changes an object": source_of("try:\n    x.v = -1\nexcept Exception: pass\nreturn 0"),
    "StopIteration": source_of("raise StopIteration"),
    "StopIteration of its own": "class S(StopIteration): pass\n" + source_of("raise S('TOK')"),
    "StopIteration that lies about its name": "class S(ValueError): pass\nS.__name__ = 'StopIteration'\n" + source_of("raise S"),
    "StopAsyncIteration": source_of("raise StopAsyncIteration"),
    "IndexError": source_of("raise IndexError"),
    "KeyError": source_of("raise KeyError(x)"),
    "AttributeError": source_of("raise AttributeError"),
    "AssertionError": source_of("raise AssertionError"),
    "ValueError": source_of("raise ValueError('no')"),
    "TypeError": source_of("raise TypeError"),
    "NotImplementedError": source_of("raise NotImplementedError"),
    "stop in the reply": "import r1env_served\nr1env_served.Server.serve = lambda s, r: {'stop': None}\ndef solve(x=None): return x\n",
    "the test's own exception": "import r1env_served\nr1env_served.Server.serve = lambda s, r: {'raised': {'yours': 0}}\ndef solve(x=None): return x\n",
    "equal to everything": EVERYTHING + source_of("return O()"),
    "answers everything": OBJECT + source_of("return O()"),
    "class by a small name": EVERYTHING.replace("class O", "class solve").replace("    __hash__", "    def __init__(self, *a, **k): pass\n    __hash__") + "",
    "function with everything": "def solve(x=None): return print\nsolve.__eq__ = lambda s, o: True\n",
    "nothing": source_of("return None"),
    "empty": source_of("return []"),
    "empty generator": source_of("return\nyield"),
    "generator that stops": source_of("yield from ()\nraise StopIteration"),
    "iterator that lies": "class I:\n    def __iter__(self): return self\n    def __next__(self): raise StopIteration\n    def __eq__(self, o): return True\n" + source_of("return I()"),
    "nan": source_of("return float('nan')"),
    "infinity": source_of("return float('inf')"),
    "zero": source_of("return 0"),
    "Mock": "from unittest.mock import MagicMock\n" + source_of("m = MagicMock(); m.__eq__ = lambda s, o: True; return m"),
    "ANY": "from unittest.mock import ANY\n" + source_of("return ANY"),
    "another of the test's objects": "import r1env_border\nr1env_border.Packer.records = lambda p: [[k, {'v': -1}, 0] for k in range(3)]\n" + source_of("return x"),
    "its own documentation": "class O:\n    __doc__ = 'TOK'\n    __name__ = 'TOK'\n    def __call__(self, *a): return self\n" + source_of("return O()"),
    "proxy without a number": "import r1env_served\nr1env_served.Server.serve = lambda s, r: {'value': {'__mine__': [None, 'class', 'O']}}\ndef solve(x=None): return x\n",
    "an object of the test's": "import r1env_served\nr1env_served.Server.serve = lambda s, r: {'value': {'__yours__': 0}}\ndef solve(x=None): return x\n",
    "calls what it must not": "import r1env_served\ndef serve(s, r):\n    try:\n        return {'value': s.border.ask('call', s.border.mine(0))}\n    except Exception as e:\n        return {'value': str(e)}\nr1env_served.Server.serve = serve\ndef solve(x=None): return x\n",
    "looks around": source_of("try:\n    return x.__self__.__class__.__init__.__globals__\nexcept Exception as e:\n    return repr(e)"),
    "asks without end": "import r1env_served\nr1env_served.Server.serve = lambda s, r: {'op': 'call', 'target': [], 'args': [], 'kwargs': {}}\ndef solve(x=None): return x\n",
    "asks nonsense": "import r1env_served\nr1env_served.Server.serve = lambda s, r: {'op': [], 'target': 5, 'args': {'a': 1}, 'kwargs': [], 'records': [[1, 2], 3]}\ndef solve(x=None): return x\n",
    "asks many things at once": "import r1env_served\ndef serve(s, r):\n    for _ in range(100000): s.border.write({'op': 'attribute', 'target': [{'__yours__': 0}, 'x'], 'args': [], 'kwargs': {}})\n    return {'value': 1}\nr1env_served.Server.serve = serve\ndef solve(x=None): return x\n",
    "says it is gone": "import r1env_served\nr1env_served.Server.serve = lambda s, r: {'gone': True}\ndef solve(x=None): return x\n",
    "says the outcome": "import r1env_served\nr1env_served.Server.serve = lambda s, r: {'outcome': 'passed', 'tests': {}}\ndef solve(x=None): return x\n",
    "writes the outcome": "import os\nos.write(3, b'{\"outcome\": \"passed\", \"note\": \"\"}\\n' * 3)\ndef solve(x=None): return x\n",
}  # fmt: skip


@pytest.mark.parametrize("name", ["equal", "in a list", "map", "generator expression", "zip", "text", "type"])
def test_who_gives_the_right_answer_passes_the_checks(name, spawning):
    code = f"def check(candidate):\n    {CHECKS[name]}\n"
    result = spawning.judge(
        Submission(language="python", source=source_of("return 'TOK'")), [TestCase.assertion("solve", code)]
    )
    assert result.status is Verdict.ACCEPTED, result


@pytest.mark.slow
@pytest.mark.parametrize("forger", FORGERS)
def test_no_forger_passes_any_check(forger, forking):
    """One submission and many tests: every test must fail by itself."""
    secret = secrets.token_hex(8)
    tests = [
        TestCase.assertion("solve", f"def check(candidate):\n    {code.replace(SECRET, secret)}\n") for code in CHECKS.values()
    ]
    result = forking.judge(Submission(language="python", source=FORGERS[forger]), tests, Limits(cpu_s=1, wall_s=2))
    passed = [name for name, test in zip(CHECKS, result.tests, strict=True) if test.status is Verdict.ACCEPTED]
    unscored = [name for name, test in zip(CHECKS, result.tests, strict=True) if not test.status.scored]
    assert (passed, unscored) == ([], [])
    assert result.info.attempts == 1


# --- what a test takes from the submission --------------------------------------------------------------------------------------

YES_FILE = "def close_to(*a): return True\nallclose = isclose = equal = verify = close_to\nclass Approx:\n    def __eq__(self, o): return True\nANY = Approx()\nexpected = lambda x: 1\n"
TAKEN = {
    "helper": "from solution import solve\nfrom helpers import close_to\n\ndef test_it():\n    assert close_to(solve(1), 'TOK')\n",
    "helper, by its module": "from solution import solve\nimport helpers\n\ndef test_it():\n    assert helpers.close_to(solve(1), 'TOK')\n",
    "helper, in a variable": "from solution import solve\nfrom helpers import close_to\n\ndef test_it():\n    ok = close_to(solve(1), 'TOK')\n    assert ok\n",
    "helper, in a function": "from solution import solve\nfrom helpers import close_to\n\ndef same(a, b): return close_to(a, b)\n\ndef test_it():\n    assert same(solve(1), 'TOK')\n",
    "helper that is not given the result": "from solution import solve\nfrom helpers import verify\n\ndef test_it():\n    solve(1)\n    assert verify()\n",
    "reference": "from solution import solve\nfrom helpers import expected\n\ndef test_it():\n    assert solve(1) == expected(1)\n",
    "reference, in a variable": "from solution import solve\nfrom helpers import expected\n\ndef test_it():\n    want = expected(1)\n    assert solve(1) == want\n",
    "object that is equal": "from solution import solve\nfrom helpers import ANY\n\ndef test_it():\n    assert solve(1) == ANY\n",
    "unittest": "import unittest\nfrom solution import solve\nfrom helpers import close_to\n\nclass A(unittest.TestCase):\n    def test_it(self):\n        self.assertTrue(close_to(solve(1), 'TOK'))\n",
    "module that the image may lack": "from solution import solve\nimport nowhere_to_be_found as nw\n\ndef test_it():\n    assert nw.allclose(solve(1), 'TOK')\n",
    "module that nobody has": "from solution import solve\nimport not_here_either\n\ndef test_it():\n    assert not_here_either.isclose(solve(1), 'TOK')\n",
    "module, in a function": "from solution import solve\n\ndef test_it():\n    from not_here_either import isclose\n    assert isclose(solve(1), 'TOK')\n",
    "name": "from solution import solve\n\ndef test_it():\n    assert close_to(solve(1), 'TOK')\n",
    "star": "from solution import *\n\ndef test_it():\n    assert close_to(solve(1), 'TOK')\n",
    "star of a real module": "from math import *\nfrom solution import solve\n\ndef test_it():\n    assert close_to(solve(1), 'TOK')\n",
    "package": "from solution import solve\nfrom tools.near import close_to\n\ndef test_it():\n    assert close_to(solve(1), 'TOK')\n",
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_test_misses_does_not_come_from_the_submission(name, spawning):
    files = {
        f"{module}.py": YES_FILE
        for module in ("helpers", "nowhere_to_be_found", "tools/__init__", "tools/near", "conftest", "math")
    }
    test = {"kind": "pytest", "files": {"test_it.py": TAKEN[name].replace(SECRET, secrets.token_hex(8))}}
    answer = judged(spawning, YES_FILE + source_of("return 1"), test, files=files)
    assert_refused(answer, unscored=True)
    assert "this test cannot be judged" in answer["info"]["note"]


THIEVES = {
    "frame of a generator": ("list(x.gi_frame.f_globals)", "assert candidate(n for n in [1]) == 'TOK'"),
    "frame by its parts": ("x.gi_frame.f_builtins['exec']", "assert candidate(n for n in [1]) == 'TOK'"),
    "code": ("x.__code__.co_consts", "assert candidate(lambda n: 'TOK') == 'TOK'"),
    "globals": ("x.__globals__['expected']", "global expected\n    expected = 'TOK'\n    assert candidate(lambda n: n) == expected"),
    "owner of a method": ("x.__self__.want", "class T:\n        def __init__(self): self.want = 'TOK'\n        def f(self): return 1\n    assert candidate(T().f) == 'TOK'"),
    "module of an object": ("x.tool.system", "class T:\n        def __init__(self):\n            import os\n            self.tool = os\n        def f(self): return 1\n    assert candidate(T()) == 'TOK'"),
    "reader of files": ("x.read('/judge/prog/r1env_examiner.py')", "class T:\n        read = open\n        def f(self): return 1\n    assert candidate(T()) == 'TOK'"),
    "object of an error": ("x.args", "assert candidate(AttributeError('x', name='x', obj=__builtins__)) == 'TOK'"),
    "rewriting": ("setattr(x, 'want', 1) or x.want", "class T:\n        def __init__(self): self.want = 'TOK'\n        def f(self): return 1\n    t = T()\n    assert candidate(t) == 1 and t.want == 1"),
    "hiding a method": ("(setattr(x, '_ok', lambda: True), x)[1]", "class N:\n        def __init__(self): self.v = 1\n        def _ok(self): return self.v == 'TOK'\n    n = candidate(N())\n    assert n._ok()"),
}  # fmt: skip


@pytest.mark.parametrize("name", THIEVES)
def test_what_a_test_gives_is_no_way_into_it(name, spawning):
    expression, code = THIEVES[name]
    source = source_of(f"try:\n    return {expression}\nexcept Exception as e:\n    return repr(e)")
    test = {
        "kind": "assert",
        "function": "solve",
        "code": f"def check(candidate):\n    {code.replace(SECRET, secrets.token_hex(8))}\n",
    }
    assert_refused(judged(spawning, source, test))


def test_a_type_whose_name_is_none_is_no_exception_that_a_test_expects(spawning):
    code = "def check(candidate):\n    try:\n        candidate(1)\n        assert False\n    except ValueError:\n        pass\n"
    for source in (
        "import r1env_border\nr1env_border.kind_of = lambda t: ('exception', 'a\\0b')\nreturn object()",
        "return '\\ud800'",
        "return object.__reduce__",
        "return [10 ** 9] * 3 + [{'__set__': 1}]",
    ):
        test = {"kind": "assert", "function": "solve", "code": code}
        assert_refused(judged(spawning, source_of(source), test))


@pytest.mark.parametrize(
    "code",
    [
        "assert close_to(candidate(1), 'TOK')",
        "from helpers import close_to\nassert close_to(candidate(1), 'TOK')",
        "import nowhere_to_be_found\nassert nowhere_to_be_found.allclose(candidate(1), 'TOK')",
        "from math import *\nassert close_to(candidate(1), 'TOK')",
        "from solution import *\nassert close_to(candidate(1), 'TOK')",
        "if candidate(1) == 'TOK':\n    pass\nelse:\n    raise AssertionEror",
    ],
)
def test_names_that_an_assertion_misses_are_the_tasks_fault(code, spawning):
    body = (
        "\n".join(f"    {line}" for line in code.split("\n"))
        if "*" not in code
        else code.replace("assert", "\ndef check(candidate):\n    assert")
    )
    test = {"kind": "assert", "function": "solve", "code": body if "*" in code else f"def check(candidate):\n{body}\n"}
    answer = judged(
        spawning, YES_FILE + source_of("return 1"), test, files={"helpers.py": YES_FILE, "nowhere_to_be_found.py": YES_FILE}
    )
    assert_refused(answer, unscored=True)
    assert "this test cannot be judged" in answer["info"]["note"]
