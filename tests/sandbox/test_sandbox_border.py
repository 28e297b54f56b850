"""Values and objects that cross between a test and a submission: honest programs are paid, whatever they return and are given."""

from __future__ import annotations

import pytest

from r1env_sandbox import Limits, Submission, TestCase, Verdict
from r1env_sandbox.harness import plain

pytestmark = pytest.mark.docker

LIMITS = Limits(cpu_s=3, wall_s=20)


def verdict(sandbox, source, code, function="f", limits=LIMITS, **fields):
    body = "\n".join(f"    {line}" for line in code.split("\n"))
    test = TestCase.assertion(function, f"def check(candidate):\n{body}\n")
    result = sandbox.judge(Submission(language="python", source=source, **fields), [test], limits)
    return result.tests[0].status if result.tests else result.status, [item.note for item in result.tests] + [result.info.note]


RETURNED = {
    "Counter": ("from collections import Counter\ndef f(x): return Counter(x)", "assert candidate('aab') == {'a': 2, 'b': 1}\nassert candidate('aab').most_common(1) == [('a', 2)]"),
    "defaultdict": ("from collections import defaultdict\ndef f(x):\n    d = defaultdict(list)\n    d[x].append(1)\n    return d", "assert candidate(3) == {3: [1]}\nassert candidate(3)['no'] == []"),
    "OrderedDict": ("from collections import OrderedDict\ndef f(x): return OrderedDict(a=x)", "assert candidate(1) == {'a': 1}"),
    "namedtuple": ("from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(x): return P(x, 2)", "assert candidate(1) == (1, 2)\nassert candidate(1).y == 2"),
    "NamedTuple": ("from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n    def twice(self): return 2 * self.x\ndef f(x): return P(x)", "assert candidate(1) == (1,)"),
    "deque": ("from collections import deque\ndef f(x): return deque([x], maxlen=3)", "from collections import deque\nassert candidate(1) == deque([1])\nassert list(candidate(1)) == [1]"),
    "Fraction": ("from fractions import Fraction\ndef f(x): return Fraction(x, 3)", "from fractions import Fraction\nassert candidate(1) == Fraction(2, 6)\nassert candidate(3) == 1"),
    "Decimal": ("from decimal import Decimal\ndef f(x): return Decimal(x)", "from decimal import Decimal\nassert candidate('0.10') == Decimal('0.1')"),
    "range": ("def f(x): return range(x)", "assert list(candidate(3)) == [0, 1, 2]\nassert candidate(3) == range(3)"),
    "complex": ("def f(x): return x * 1j", "assert candidate(2) == 2j\nassert abs(candidate(2)) == 2"),
    "infinity": ("def f(x): return -x", "assert candidate(float('inf')) == float('-inf')"),
    "nan": ("def f(x): return x", "import math\nassert math.isnan(candidate(float('nan')))"),
    "keys": ("def f(x): return {x: 1}.keys()", "assert candidate(3) == {3}\nassert list(candidate(3)) == [3]"),
    "values": ("def f(x): return {x: 1}.values()", "assert sorted(candidate(3)) == [1]"),
    "long integer": ("def f(x): return 10 ** x", "assert candidate(6000) == 10 ** 6000\nassert str(candidate(5000))[0] == '1'"),
    "date": ("import datetime\ndef f(x): return datetime.date(2020, 1, x)", "import datetime\nassert candidate(2) == datetime.date(2020, 1, 2)\nassert candidate(3).isoformat() == '2020-01-03'"),
    "bytearray": ("def f(x): return bytearray(x)", "assert candidate(b'ab') == b'ab'"),
    "int enum": ("import enum\nclass E(enum.IntEnum):\n    A = 3\ndef f(x): return E.A", "assert candidate(1) == 3"),
    "subclass of list": ("class L(list):\n    pass\ndef f(x): return L([x])", "assert candidate(1) == [1]"),
    "type": ("def f(x): return type(x)", "assert candidate(1) is int\nassert candidate('a') == str"),
    "dict that looks like a tag": ("def f(x): return {'__set__': x}", "assert candidate(5) == {'__set__': 5}\nassert candidate({'__mine__': 1}) == {'__set__': {'__mine__': 1}}"),
    "generator": ("def f(n):\n    for i in range(n): yield i", "import inspect\nassert list(candidate(3)) == [0, 1, 2]\nassert sum(candidate(4)) == 6\nassert inspect.isgenerator(candidate(1))"),
    "endless generator": ("def f(n):\n    while True:\n        yield n\n        n += 1", "from itertools import islice\nassert list(islice(candidate(3), 3)) == [3, 4, 5]\ng = candidate(1)\nassert (next(g), next(g)) == (1, 2)"),
    "generator that is sent to": ("def f():\n    total = 0\n    while True:\n        got = yield total\n        total += got", "g = candidate()\nassert next(g) == 0\nassert g.send(5) == 5\nassert g.send(2) == 7"),
    "map": ("def f(xs): return map(abs, xs)", "assert list(candidate([-1, 2])) == [1, 2]"),
    "zip in a list": ("def f(a, b): return list(zip(a, b))", "assert candidate([1], 'x') == [(1, 'x')]"),
    "function": ("def f(n): return lambda x: x + n", "add = candidate(2)\nassert add(3) == 5\nassert callable(add)"),
    "functions in a dict": ("def f(): return {'add': lambda a, b: a + b}", "assert candidate()['add'](1, 2) == 3"),
    "object": ("class P:\n    def __init__(self, x): self.x = x\n    def twice(self): return 2 * self.x\ndef f(x): return P(x)", "p = candidate(3)\nassert p.x == 3\nassert p.twice() == 6\np.x = 5\nassert p.twice() == 10\nassert not hasattr(p, 'y')"),
    "iterable object": ("class B:\n    def __iter__(self): return iter([1, 2])\n    def __len__(self): return 2\n    def __getitem__(self, i): return [1, 2][i]\ndef f(): return B()", "b = candidate()\nassert list(b) == [1, 2]\nassert len(b) == 2\nassert b[1] == 2\nassert [x for x in b] == [1, 2]"),
    "coroutine": ("async def f(x): return x + 1", "import asyncio\nassert asyncio.run(candidate(1)) == 2"),
    "nothing": ("def f(x): x.sort()", "items = [2, 1]\nassert candidate(items) is None\nassert items == [1, 2]"),
    "exception that a test expects": ("class E(ValueError):\n    pass\ndef f(x): raise E('no', 3)", "try:\n    candidate(1)\nexcept ValueError as error:\n    assert 'no' in str(error)\nelse:\n    assert False"),
    "exception of its own type": ("class TooLow(ValueError):\n    def __init__(self, by):\n        super().__init__(f'too low by {by}')\n        self.by = by\ndef f(x): raise TooLow(x)", "try:\n    candidate(3)\nexcept ValueError as error:\n    assert (type(error).__name__, str(error), error.by) == ('TooLow', 'too low by 3', 3)\nelse:\n    assert False"),
    "exception without a type of its own": ("def f(x): raise Exception('no')", "try:\n    candidate(1)\n    assert False, 'not raised'\nexcept Exception as error:\n    assert type(error) is Exception and str(error) == 'no'"),
    "function with attributes": ("from functools import lru_cache\n@lru_cache\ndef f(x): return x", "assert candidate(1) == candidate(1) == 1\nassert candidate.cache_info().hits == 1"),
    "StopIteration that a test expects": ("def f(x): return next(iter(x))", "assert candidate([1]) == 1\ntry:\n    candidate([])\n    assert False\nexcept StopIteration:\n    pass"),
}  # fmt: skip

GIVEN = {
    "infinity": ("def f(x): return x > 10 ** 9", "assert candidate(float('inf'))\nassert candidate(float('-inf')) == False"),
    "complex": ("def f(a, b): return a + b", "assert candidate(0, 1j) == 1j"),
    "function": ("def f(g, xs): return [g(x) for x in xs]", "assert candidate(lambda x: x + 1, [1, 2]) == [2, 3]"),
    "built-in function": ("def f(g, xs): return sorted(xs, key=g)", "assert candidate(len, ['aa', 'b']) == ['b', 'aa']"),
    "function that several threads call": ("from concurrent.futures import ThreadPoolExecutor\ndef f(g, xs):\n    with ThreadPoolExecutor(4) as pool: return list(pool.map(g, xs))", "assert candidate(lambda x: x * x, range(40)) == [x * x for x in range(40)]"),
    "function that calls back": ("def f(g, n): return g(n)", "assert candidate(lambda n: 1 if n == 0 else n * candidate(lambda m: m, n - 1), 3) == 6"),
    "function of a module": ("def f(g, x): return g(x)", "import math\nassert candidate(math.sqrt, 9) == 3.0"),
    "function that raises": ("def f(g):\n    try:\n        g()\n    except KeyError:\n        return 'caught'", "def g(): raise KeyError('x')\nassert candidate(g) == 'caught'"),
    "function whose exception passes through": ("def f(g): return g()", "class Boom(Exception): pass\ndef g(): raise Boom('x')\ntry:\n    candidate(g)\n    assert False\nexcept Boom as error:\n    assert str(error) == 'x'"),
    "decorated function": ("def f(g):\n    def h(*a): return g(*a) * 2\n    return h", "assert candidate(lambda x: x + 1)(2) == 6"),
    "decorated function that keeps its name": (
        "import functools\ndef f(g):\n    @functools.wraps(g)\n    def h(*a): return g(*a)\n    return h",
        "def area(x):\n    'of a square'\n    return x * x\nwrapped = candidate(area)\nassert (wrapped.__name__, wrapped.__doc__, wrapped(3)) == ('area', 'of a square', 9)",
    ),
    "object that it gives back": (
        "def f(people): return sorted(people, key=lambda p: p.age)",
        "class Person:\n    def __init__(self, age): self.age = age\nold, young = Person(80), Person(8)\nassert candidate([old, young])[0] is young\nassert old in candidate([old])",
    ),
    "node of a circle": (
        "def f(node):\n    while node.val != 2: node = node.next\n    return node",
        "class Node:\n    def __init__(self, val): self.val = val\none, two = Node(1), Node(2)\none.next, two.next = two, one\nassert candidate(one) is two",
    ),
    "object that it copies": (
        "import copy\ndef f(node): return copy.deepcopy(node)",
        "class Node:\n    def __init__(self, val, next=None): self.val, self.next = val, next\nhead = Node(1, Node(2))\nmade = candidate(head)\nassert made is not head and made.next is not head.next and made.next.val == 2",
    ),
    "chain whose end it changes": (
        "def f(head):\n    node = head\n    while node.next: node = node.next\n    node.val = 0\n    return head",
        "class Node:\n    def __init__(self, val, next=None): self.val, self.next = val, next\nhead = Node(1, Node(2, Node(3)))\nmade = candidate(head)\nassert made.next.next.val == 0 and made.val == 1",
    ),
    "spy": ("def f(log):\n    log.add(1)\n    log.add(2)", "class Log:\n    def __init__(self): self.seen = []\n    def add(self, x): self.seen.append(x)\nlog = Log()\ncandidate(log)\nassert log.seen == [1, 2]"),
    "linked list": (
        "def f(head):\n    before = None\n    while head:\n        head.next, before, head = before, head, head.next\n    return before",
        "class Node:\n    def __init__(self, val, next=None): self.val, self.next = val, next\nhead = None\nfor x in range(300): head = Node(x, head)\nout = candidate(head)\nseen = []\nwhile out: seen.append(out.val); out = out.next\nassert seen == list(range(300))",
    ),
    "tree": (
        "def f(root): return 0 if root is None else 1 + max(f(root.left), f(root.right))",
        "class Tree:\n    def __init__(self, val, left=None, right=None): self.val, self.left, self.right = val, left, right\nassert candidate(Tree(1, Tree(2), Tree(3, None, Tree(4)))) == 3\nassert candidate(None) == 0",
    ),
    "circle": (
        "def f(head):\n    seen = set()\n    while head:\n        if id(head) in seen: return True\n        seen.add(id(head))\n        head = head.next\n    return False",
        "class Node:\n    def __init__(self): self.next = None\na = Node(); b = Node(); a.next = b\nassert candidate(a) == False\nb.next = a\nassert candidate(a) == True",
    ),
    "tree changed in place": (
        "def f(root):\n    if root:\n        root.left, root.right = root.right, root.left\n        f(root.left); f(root.right)",
        "class T:\n    def __init__(self, v, left=None, right=None): self.v, self.left, self.right = v, left, right\nt = T(1, T(2), T(3))\ncandidate(t)\nassert (t.left.v, t.right.v) == (3, 2)",
    ),
    "dataclass": (
        "def f(p): return p.x + p.y",
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    y: int = 2\nassert candidate(P(1)) == 3",
    ),
    "dataclass, returned": (
        "def f(ps): return max(ps, key=lambda p: p.x)",
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nassert candidate([P(1), P(3), P(2)]) == P(3)",
    ),
    "objects that compare": (
        "def f(xs): return sorted(xs)",
        "class V:\n    def __init__(self, x): self.x = x\n    def __lt__(self, other): return self.x < other.x\nassert [v.x for v in candidate([V(2), V(1)])] == [1, 2]",
    ),
    "object that is given back": ("def f(x): return x", "thing = object()\nassert candidate(thing) is thing"),
    "iterator": ("def f(xs): return list(xs)", "assert candidate(iter([1, 2])) == [1, 2]\nassert candidate(x for x in 'ab') == ['a', 'b']"),
    "type": ("def f(kind, xs): return [x for x in xs if isinstance(x, kind)]", "assert candidate(int, [1, 'a']) == [1]"),
    "text file": ("def f(file): return [line.strip() for line in file]", "import io\nassert candidate(io.StringIO('a\\nb\\n')) == ['a', 'b']"),
    "keyword": ("def f(x, via=0, op=1): return x + via + op", "assert candidate(1, via=2, op=3) == 6"),
    "any keyword": ("def f(**names): return sorted(names)", "assert candidate(self=1, examination=2, op=3, args=4, proxy=5) == ['args', 'examination', 'op', 'proxy', 'self']"),
    "own result": ("class P:\n    pass\ndef f(p=None):\n    if p is None: return P()\n    return type(p).__name__", "assert candidate(candidate()) == 'P'"),
}  # fmt: skip


ARRAYS = {
    "NumPy integer": ("import numpy as np\ndef f(xs): return np.sum(xs)", "assert candidate([3, 4]) == 7\nassert 7 == candidate([3, 4])\nassert candidate([1]) in (1, 2)"),
    "NumPy float": ("import numpy as np\ndef f(x): return np.float64(x) / 3", "import math\nassert abs(candidate(1) - 0.333333333) < 1e-6\nassert math.isclose(candidate(1), 1 / 3)\nassert isinstance(candidate(1), float)"),
    "NumPy boolean": ("import numpy as np\ndef f(x): return np.bool_(x)", "assert candidate(1)\nassert candidate(0) == False"),
    "array": ("import numpy as np\ndef f(n): return np.arange(n).reshape(2, -1)", "import numpy as np\nassert (candidate(4) == np.array([[0, 1], [2, 3]])).all()\nassert candidate(4).shape == (2, 2)\nassert candidate(4).tolist() == [[0, 1], [2, 3]]\nassert np.allclose(candidate(4), [[0, 1], [2, 3]])"),
    "array that is given": ("def f(a): return a.T @ a", "import numpy as np\nassert np.array_equal(candidate(np.eye(2) * 2), np.eye(2) * 4)"),
    "arrays in a dict": ("import numpy as np\ndef f(): return {'a': np.zeros(2), 'b': (np.int64(1),)}", "got = candidate()\nassert got['b'] == (1,)\nassert got['a'].sum() == 0"),
    "complex array": ("import numpy as np\ndef f(n): return np.fft.fft(np.ones(n))", "import numpy as np\nassert np.allclose(candidate(2), [2, 0])"),
    "texts": ("import numpy as np\ndef f(): return np.array(['a', 'bc'])", "assert list(candidate()) == ['a', 'bc']"),
    "frame": ("import pandas as pd\ndef f(): return pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})", "import pandas as pd\nassert candidate()['a'].sum() == 3\npd.testing.assert_frame_equal(candidate(), pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']}))\nassert candidate().shape == (2, 2)"),
    "series": ("import pandas as pd\ndef f(s): return s * 2", "import pandas as pd\nassert candidate(pd.Series([1, 2], index=['x', 'y'])).to_dict() == {'x': 2, 'y': 4}"),
    "symbolic": ("import sympy\ndef f(): return sympy.Integer(6) / 4", "assert str(candidate()) == '3/2'"),
    "sorted list": ("from sortedcontainers import SortedList\ndef f(xs): return SortedList(xs)", "assert list(candidate([2, 1])) == [1, 2]"),
    "graph": ("import networkx as nx\ndef f(): return nx.path_graph(3)", "g = candidate()\nassert g.number_of_edges() == 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_and_frames_cross_as_copies(name, spawning):
    source, code = ARRAYS[name]
    assert verdict(spawning, source, code)[0] is Verdict.ACCEPTED, verdict(spawning, source, code)


def test_a_call_test_takes_numbers_and_arrays_of_numpy(sandbox):
    source = "import numpy as np\ndef f(x): return [np.int64(x), np.float64(0.5), np.array([1, 2]), np.bool_(True)]"
    right, wrong = (TestCase.call("f", [number], [3, 0.5, [1, 2], True]) for number in (3, 4))
    result = sandbox.judge(Submission(language="python", source=source), [right, wrong], LIMITS)
    assert [test.status for test in result.tests] == ["accepted", "wrong_answer"], result


@pytest.mark.parametrize("name", RETURNED)
def test_an_honest_program_may_return(name, sandbox):
    source, code = RETURNED[name]
    assert verdict(sandbox, source, code)[0] is Verdict.ACCEPTED, verdict(sandbox, source, code)


@pytest.mark.parametrize("name", GIVEN)
def test_an_honest_program_may_be_given(name, spawning):
    source, code = GIVEN[name]
    assert verdict(spawning, source, code)[0] is Verdict.ACCEPTED, verdict(spawning, source, code)


STACK = """
class Stack:
    created = 0
    def __init__(self, *items):
        self.items = list(items)
        Stack.created += 1
    @classmethod
    def of(cls, n): return cls(*range(n))
    def push(self, x):
        self.items.append(x)
        return self
    def pop(self):
        if not self.items: raise IndexError("empty")
        return self.items.pop()
    def __len__(self): return len(self.items)
    def __contains__(self, x): return x in self.items
    def __iter__(self): return iter(self.items)
    def __getitem__(self, i): return self.items[i]
    def __setitem__(self, i, x): self.items[i] = x
    def __add__(self, other): return Stack(*self.items, *other.items)
    def __mul__(self, n): return Stack(*self.items * n)
    def __isub__(self, n):
        self.items = self.items[:-n]
        return self
    def __lt__(self, other): return len(self) < len(other)
    def __bool__(self): return bool(self.items)
    def __str__(self): return f"Stack{tuple(self.items)}"
    def __call__(self): return sum(self.items)
    def __enter__(self): return self
    def __exit__(self, *a): self.items.clear()
    @property
    def size(self): return len(self.items)

class Bigger(Stack):
    pass
"""


@pytest.mark.parametrize(
    "code",
    [
        "s = candidate()\ns.push(1)\nassert s.pop() == 1",
        "assert candidate().push(1).push(2).pop() == 2",
        "s = candidate(1, 2)\nassert len(s) == 2 and 1 in s and 5 not in s and list(s) == [1, 2] and s[0] == 1",
        "s = candidate(1)\ns[0] = 7\nassert s.items == [7] and s.size == 1",
        "assert list(candidate(1) + candidate(2)) == [1, 2]\nassert list(candidate(1) * 3) == [1, 1, 1]",
        "assert candidate(1) < candidate(1, 2)\nassert [len(s) for s in sorted([candidate(1, 2), candidate(3)])] == [1, 2]",
        "assert not candidate() and candidate(1)\nassert str(candidate(1, 2)) == 'Stack(1, 2)'\nassert candidate(1, 2)() == 3",
        "s = same = candidate(1, 2)\ns -= 1\nassert s is same and s.items == [1]\ns *= 3\nassert s.items == [1, 1, 1] and same.items == [1]",
        "with candidate(1) as s:\n    assert s.size == 1\nassert s.size == 0",
        "assert isinstance(candidate(), candidate)\nassert not isinstance([], candidate)\nassert candidate.of(3).size == 3",
        "try:\n    candidate().pop()\n    assert False\nexcept IndexError as error:\n    assert str(error) == 'empty'",
        "a, b = candidate(), candidate()\na.push(1)\nassert b.size == 0\nassert a is not b and {a: 1}[a] == 1",
        "before = candidate.created\ncandidate()\nassert candidate.created == before + 1",
    ],
)
def test_a_class_under_test(sandbox, code):
    assert verdict(sandbox, STACK, code, "Stack")[0] is Verdict.ACCEPTED, verdict(sandbox, STACK, code, "Stack")
    assert verdict(sandbox, STACK.replace("Stack", "Pile"), code, "Stack")[0] in (Verdict.RUNTIME_ERROR, Verdict.WRONG_ANSWER)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("assert candidate(1) == candidate(1)", "compares objects"),
        ("a = candidate(1)\nb = candidate(1)\nassert a == b", "compares objects"),
        ("assert candidate(1) + candidate(2) == candidate(1, 2)", "compares objects"),
        ("assert [candidate(1)] != [candidate(2)]", "compares objects"),
        ("class Mine(candidate):\n    pass\nassert Mine().size == 0", "extends one of the submission's"),
        ("import inspect\nassert 'push' in inspect.getsource(candidate)", "reads the submission's code"),
        ("assert candidate.__code__.co_argcount == 1", "not in the process of the test"),
        ("from unittest import mock\nwith mock.patch('builtins.input', return_value='1'):\n    assert candidate() == 1", "patches or redirects"),
        ("import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as out:\n    candidate()\nassert out.getvalue() == ''", "patches or redirects"),
        ("import io, sys\nsys.stdin = io.StringIO('1')\nassert candidate() == 1", "replaces the streams"),
        ("assert helper(candidate(1))", "nothing defines helper"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_told_when_the_test_is_loaded(code, why):
    body = "\n".join(f"    {line}" for line in code.split("\n"))
    with pytest.raises(ValueError, match=f"this test cannot be judged: code: .*{why}"):
        TestCase.assertion("Stack", f"def check(candidate):\n{body}\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("from solution import *\ndef test_a(): assert f(1) == 1", "import *"),
        ("from solution import f\ndef test_a(capsys):\n    f()\n    assert capsys.readouterr().out == 'x'", "the fixture capsys"),
        ("from solution import f\ndef test_a(monkeypatch, tmp_path): assert f() == 1", "the fixture"),
        ("from solution import f\nfrom unittest.mock import patch\n@patch('solution.g')\ndef test_a(g): assert f() == 1", "patches"),
        ("from solution import f\ndef test_a(): assert f(1) == near(1)", "nothing defines near"),
        ("from solution import P\ndef test_a(): assert P(1) == P(1)", "compares objects of the submission's P"),
        ("import unittest\nfrom solution import P\nclass A(unittest.TestCase):\n    def test_a(self): self.assertEqual(P(1).move(), P(2))", "compares objects"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_in_a_pytest_file_is_told_when_it_is_loaded(text, why):
    with pytest.raises(ValueError, match=r"this test cannot be judged: test_it.py: ") as raised:
        TestCase.pytest({"test_it.py": text})
    assert why in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "from solution import f\nfrom helpers import near\ndef test_a(): assert near(f(1), 1)",
        "from solution import f\nimport data\ndef test_a(): assert f(1) == data.ONE",
        "import solution\ndef test_a(): assert solution.f(1) == 1",
        "from solution import f as g\nimport math\ndef test_a(): assert math.isclose(g(1), 1.0)",
        "from math import *\nfrom solution import f\ndef test_a(): assert f(1) == floor(1.5)",
        "import pytest\nfrom solution import f, E\n@pytest.mark.parametrize(('x', 'error'), [(-1, E), (-2, ValueError)])\ndef test_a(x, error):\n    with pytest.raises(error, match='neg'):\n        f(x)",
        "from solution import E, f\nimport pytest\ndef test_a():\n    with pytest.raises(E) as caught:\n        f(-3)\n    assert caught.value.args == ('neg', -3)\n    assert caught.value.code == 9",
        "from shop.prices import price\nfrom solution import f\ndef test_a():\n    assert price('tea') == 3\n    assert f(1) == 1",
        "from solution import f\nimport pytest\n@pytest.fixture\ndef one(): return 1\ndef test_a(one): assert f(one) == pytest.approx(1)",
    ],
)  # fmt: skip
def test_pytest_files_that_can_be_judged(text, spawning):
    source = "class E(ValueError):\n    def __init__(self, *a):\n        super().__init__(*a)\n        self.code = 9\ndef f(x):\n    if x < 0: raise E('neg', x)\n    return x\n"
    files = {"test_it.py": text, "helpers.py": "def near(a, b): return abs(a - b) < 1e-6\n", "data.py": "ONE = 1\n"}
    submission = Submission(
        language="python",
        source=source,
        files={"shop/prices.py": "def price(name): return 3\n", "helpers.py": "def near(a, b): return True\n"},
    )
    result = spawning.judge(submission, [TestCase.pytest(files)], LIMITS)
    assert result.status is Verdict.ACCEPTED, result
    wrong = submission.model_copy(update={"source": source.replace("return x", "return x + 1").replace("x < 0", "False")})
    assert spawning.judge(wrong, [TestCase.pytest(files)], LIMITS).status is Verdict.WRONG_ANSWER


def test_a_module_of_the_submission_that_is_under_test_is_named(spawning):
    text = "from rules import is_free\ndef test_a():\n    assert is_free('air')\n"
    submission = Submission(language="python", source="", files={"rules.py": "def is_free(name): return name == 'air'\n"})
    assert spawning.judge(submission, [TestCase.pytest({"test_it.py": text})], LIMITS).status is Verdict.REJECTED_INPUT
    assert (
        spawning.judge(submission, [TestCase.pytest({"test_it.py": text}, modules=["rules"])], LIMITS).status
        is Verdict.ACCEPTED
    )


FILES_OF_A_SUBMISSION = (
    {},
    {"json.py": "def dumps(x): return 'yes'\n"},
    {"rules.py": "def is_free(name): return name == 'air'\n"},
    {"rules/__init__.py": "", "rules/free.py": "def is_free(name): return name == 'air'\n"},
    {"strange.py": "yes = True\ndef wraps(f): return f\n"},
    {"pytest.py": "", "numpy.py": "def sum(x): return 3\n", "math.py": "def floor(x): return 3\n"},
    {"test_it.py": "", "conftest.py": "import os; os._exit(0)\n", "r1env_examiner.py": "", "sitecustomize.py": "1 / 0\n"},
)


@pytest.mark.parametrize(
    ("text", "scored"),
    [
        ("from solution import f\nimport json\ndef test_a(): assert f(1) == json.dumps(1)", True),
        ("from solution import f\nimport numpy\ndef test_a(): assert f(1) == numpy.sum([1, 1])", True),
        ("from solution import f\nfrom math import floor\ndef test_a(): assert f(1) == floor(1.5)", True),
        ("from rules import is_free\ndef test_a(): assert is_free('air') is True", True),
        ("from rules.free import is_free\ndef test_a(): assert is_free('air') == True", True),
        ("import pytest\nfrom rules import Taken\nfrom solution import f\ndef test_a():\n    with pytest.raises(Taken): f(1)", True),
        ("from solution import f\nfrom rules import is_free\ndef test_a(): assert is_free(f(1))", False),
        ("from solution import f\nimport strange\ndef test_a(): assert f(1) == strange.yes", False),
        ("from solution import f\nfrom strange import wraps\n@wraps\ndef test_a(): assert f(1) == 2", False),
        ("from solution import f\nfrom numpy_like import sum as total\ndef test_a(): assert f(1) == total([1])", False),
    ],
)  # fmt: skip
def test_a_submissions_files_do_not_decide_whether_it_is_judged(text, scored, spawning):
    test = TestCase.pytest({"test_it.py": text})
    verdicts = {
        str(files): spawning.judge(
            Submission(language="python", source="def f(x): return 0", files=files), [test], LIMITS
        ).status
        for files in FILES_OF_A_SUBMISSION
    }
    assert {verdict.scored for verdict in verdicts.values()} == {scored}, verdicts


def test_a_named_module_that_a_submission_lacks_is_its_own_fault(spawning):
    test = TestCase.pytest({"test_it.py": "from rules import is_free\ndef test_a(): assert is_free('air')"}, modules=["rules"])
    assert spawning.judge(Submission(language="python", source=""), [test], LIMITS).status is Verdict.WRONG_ANSWER


def test_a_function_with_the_name_of_a_builtin_does_not_take_its_place_in_the_test(spawning):
    code = "assert candidate([1, 2]) == sum([1, 2])"
    assert verdict(spawning, "def sum(xs): return len(xs)", code, "sum")[0] is Verdict.WRONG_ANSWER
    assert verdict(spawning, "def sum(xs): return -len(xs) + 5", code, "sum")[0] is Verdict.ACCEPTED
    assert verdict(spawning, "def sum(xs): return 7", "assert sum([1, 2]) == 7", "sum")[0] is Verdict.ACCEPTED


def test_integers_of_any_length_can_be_printed_and_read(sandbox):
    submission = Submission(language="python", source="print(int(input()) + 1)")
    result = sandbox.judge(
        submission, [TestCase.stdio("9" * 6000, "1" + "0" * 6000, checker) for checker in ("exact", "token", "float")], LIMITS
    )
    assert result.status is Verdict.ACCEPTED, result
    nines, power = "9" * 6000, "1" + "0" * 6000
    row = f'{{"kind": "call", "function": "f", "args": [{nines}], "expected": {power}}}'
    call = TestCase.model_validate(plain.loads(row))
    assert (
        sandbox.judge(Submission(language="python", source="def f(x): return x + 1"), [call], LIMITS).status is Verdict.ACCEPTED
    )


REMOVE_DOUBLES = """
def squeeze(numbers):
    kept = 0
    for number in numbers:
        if kept == 0 or numbers[kept - 1] != number:
            numbers[kept] = number
            kept += 1
    return kept
"""


@pytest.mark.parametrize(
    "code",
    [
        "numbers = [1, 1, 2]\nkept = candidate(numbers)\nassert kept == 2 and numbers[:kept] == [1, 2]",
        "numbers, wanted = [1, 1, 2], [1, 2]\nkept = candidate(numbers)\nassert kept == len(wanted)\nfor i in range(kept):\n    assert numbers[i] == wanted[i]",
        "for numbers, wanted in [([1, 1], [1]), ([1, 2], [1, 2])]:\n    kept = candidate(numbers)\n    assert numbers[:kept] == wanted",
        "numbers = [3, 3, 4]\nwanted = sorted(set(numbers))\nkept = candidate(numbers)\nassert numbers[:kept] == wanted",
        "numbers = [3, 3]\nwant = numbers[:]\nkept = candidate(numbers)\nassert kept == 1 and numbers[0] == want[0]",
    ],
)
def test_what_a_function_that_returns_something_leaves_in_its_arguments_is_seen(code, sandbox):
    assert verdict(sandbox, REMOVE_DOUBLES, code, "squeeze")[0] is Verdict.ACCEPTED
    wrong = REMOVE_DOUBLES.replace("numbers[kept] = number", "numbers[kept] = -number")
    assert verdict(sandbox, wrong, code, "squeeze")[0] is Verdict.WRONG_ANSWER
    assert verdict(sandbox, "def squeeze(numbers): return len(set(numbers)) + 9", code, "squeeze")[0] is not Verdict.ACCEPTED


@pytest.mark.parametrize(
    "code",
    [
        "xs = [3, 1]\nassert candidate(xs) == sorted(xs)",
        "xs = [3, 1]\ngot = candidate(xs)\nwant = sorted(xs)\nassert got == want and xs[0] == 1",
        "xs = [3, 1]\nassert candidate(xs) == sorted(xs)\nassert xs == []",
        "xs = [3, 1]\nys = xs\nassert candidate(xs) == sorted(ys)\nassert xs == []",
        "def reference(v): return sorted(v)\nxs = [3, 1]\nassert candidate(xs) == reference(xs)\nassert len(xs) == 0",
        "def same(a, b): return a == b\nxs = [3, 1]\nassert same(candidate(xs), sorted(xs))\nassert xs == []",
        "xs = [3, 1]\nassert all(a == b for a, b in zip(candidate(xs), sorted(xs), strict=True))\nassert xs == []",
        "reference = lambda: sorted(xs)\nxs = [3, 1]\nassert candidate(xs) == reference()\nassert xs == []",
        "xs = [3, 1]\nbox = [xs]\nassert candidate(xs) == sorted(box[0])\nassert xs == []",
    ],
)
def test_what_is_wanted_is_never_computed_from_what_a_submission_left_in_its_arguments(code, spawning):
    assert verdict(spawning, "def f(xs):\n    xs.clear()\n    return []", code)[0] is Verdict.WRONG_ANSWER


@pytest.mark.parametrize(
    "code",
    [
        "case = {'in': 1, 'out': 2}\nassert candidate(case) == case['out']",
        "case = {'in': 1, 'out': 2}\ngot = candidate(case)\nassert got == case.get('out')",
        "run = candidate\ncase = {'out': 2}\nassert run(case) == case.get('out')",
        "def run(v): return candidate(v)\ncase = {'out': 2}\nassert run(case) == case.get('out')",
        "case = {'out': 2}\nassert case.get('out') == candidate(x=case)",
    ],
)
def test_what_is_wanted_is_not_read_from_an_argument_after_a_call_that_returns_nothing(code, spawning):
    assert verdict(spawning, "def f(x): x['out'] = None", code)[0] is Verdict.WRONG_ANSWER
    assert verdict(spawning, "def f(x): return 2", code)[0] is Verdict.ACCEPTED


def test_an_exception_that_one_test_expects_is_not_expected_by_another(spawning):
    text = (
        "import pytest\nfrom solution import f, first\n\ndef test_first():\n    with pytest.raises(StopIteration):\n        first([])\n\n"
        "def test_f():\n    assert all(map(lambda x: f(x) == x + 1, [1, 2]))\n"
    )
    for body, expected in (("return x + 1", Verdict.ACCEPTED), ("raise StopIteration", Verdict.WRONG_ANSWER)):
        submission = Submission(language="python", source=f"def first(xs): return next(iter(xs))\ndef f(x): {body}")
        assert spawning.judge(submission, [TestCase.pytest({"test_it.py": text})], LIMITS).status is expected


@pytest.mark.parametrize(
    "change",
    [
        "configure_mock(**{'assert_called_once_with': lambda *a: None})",
        "reset_mock()",
        "attach_mock(g, 'assert_called_once_with')",
    ],
)
def test_a_submission_does_not_change_what_a_mock_says(change, spawning):
    code = "from unittest.mock import Mock\nmock = Mock()\ncandidate(mock)\nmock.assert_called_once_with(1)"
    assert verdict(spawning, "def f(g): g(1)", code)[0] is Verdict.ACCEPTED
    assert verdict(spawning, f"def f(g):\n    g(2)\n    g.{change}\n    g(1)", code)[0] is not Verdict.ACCEPTED


def test_functions_that_work_in_place_and_functions_that_return_something_share_a_file(spawning):
    text = (
        "from solution import f, g\n\ndef test_f():\n    xs = [1, 2]\n    f(xs)\n    assert xs == [2, 1]\n\n"
        "def test_g():\n    xs = [4, 9]\n    assert g(xs) == sorted(xs)[-1]\n"
    )
    for source, expected in (
        ("def f(xs): xs.reverse()\ndef g(xs): return max(xs)", Verdict.ACCEPTED),
        ("def f(xs): pass\ndef g(xs): return max(xs)", Verdict.WRONG_ANSWER),
    ):
        submission = Submission(language="python", source=source)
        assert spawning.judge(submission, [TestCase.pytest({"test_it.py": text})], LIMITS).status is expected


@pytest.mark.parametrize(
    "code",
    [
        "assert candidate(1).startswith('TOK')",
        "assert candidate(1).isdigit()",
        "assert candidate(1).issubset({'TOK'})",
        "import pandas as pd\nassert candidate(1).equals(pd.DataFrame({'a': [1]}))",
        "assert candidate(1).all()",
    ],
)
def test_an_object_does_not_say_what_only_a_value_can(code, spawning):
    assert (
        verdict(spawning, f"{EQUAL_TO_ALL}\nEvil.__call__ = lambda self, *a: True\ndef f(x): return Evil()", code)[0]
        is Verdict.WRONG_ANSWER
    )


EQUAL_TO_ALL = """
class Evil:
    def __init__(self, *a): pass
    def __getattr__(self, name): return Evil()
    def __getitem__(self, key): return Evil()
    def __enter__(self): return self
    def __exit__(self, *a): return True
    def __hash__(self): return 0
    def __float__(self): return 0.5
    def me(self): return self
    def top(self): return Evil()
for name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "neg", "abs", "round", "call"):
    setattr(Evil, f"__{name}__", lambda self, *a: self)
for name in ("lt", "le", "gt", "ge", "eq", "contains"):
    setattr(Evil, f"__{name}__", lambda self, *a: True)
Evil.__ne__ = lambda self, other: False
Stack = f = Evil
"""


@pytest.mark.parametrize("function", ["Stack", "f"])
@pytest.mark.parametrize(
    "code",
    [
        "assert candidate().top() > 3",
        "thing = candidate()\nassert 3 < thing.top() <= 5 and thing.size == 2",
        "thing = candidate()\nassert thing.me() > 3",
        "assert 'TOK' in candidate().top()",
        "assert abs(candidate().top() - 0.5) < 1e-6",
        "assert round(candidate().top(), 2) == 1.25",
        "assert candidate().size < 7",
        "with candidate() as thing:\n    assert thing == 'TOK'",
        "with candidate() as thing:\n    assert thing.size == 'TOK'",
        "with candidate() as thing:\n    if thing.size != 'TOK': raise RuntimeError('wrong')",
    ],
)
def test_an_object_does_not_say_how_it_compares_with_a_value(code, function, spawning):
    status, _ = verdict(
        spawning, EQUAL_TO_ALL, code, function, limits=Limits(cpu_s=3, wall_s=2)
    )  # one of them goes on for ever
    assert status.scored
    assert status is not Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("class vec:\n    def __init__(s, x): s.x = x\n    def __add__(s, o): return vec(s.x + o.x)", "v = candidate(1) + candidate(2)\nassert v.x == 3"),
        ("class vec:\n    def __init__(s, x): s.x = x\n    def __lt__(s, o): return s.x < o.x", "a, b = candidate(1), candidate(2)\nassert a.x == 1 and a < b and not b < a"),
        ("class vec:\n    def __init__(s, x): s.x = x\n    def __mul__(s, n): return vec(s.x * n)\n    def __str__(s): return f'<{s.x}>'", "assert str(candidate(2) * 3) == '<6>'"),
        ("class vec:\n    def __init__(s, x): s.x = x\n    def __rmul__(s, n): return vec(s.x * n)\n    def __rsub__(s, n): return vec(n - s.x)\n    def __str__(s): return f'<{s.x}>'", "assert str(3 * candidate(2)) == '<6>' and str(9 - candidate(2)) == '<7>'"),
        ("class vec:\n    def __init__(s, x): s.x = x", "assert isinstance(candidate(2), candidate)"),
    ],
)  # fmt: skip
def test_a_class_may_have_the_name_of_a_function(source, code, sandbox):
    assert verdict(sandbox, source, code, "vec")[0] is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("source", "code", "mutation"),
    [
        ("import sympy\ndef f(): return sympy.expand((sympy.Symbol('x') + 1)**2)", "import sympy\nx = sympy.Symbol('x')\nassert candidate() == x**2 + 2*x + 1", ("**2", "**3")),
        ("import sympy\ndef f(): return sympy.solve(sympy.Symbol('x')**2 - 2)", "import sympy\nassert candidate() == [-sympy.sqrt(2), sympy.sqrt(2)]", ("- 2", "- 3")),
        ("import sympy\ndef f(): return sympy.Rational(1, 3) + sympy.Rational(2, 3)", "assert candidate() == 1", ("(2, 3)", "(5, 3)")),
        ("import sympy\ndef f(e, x): return sympy.integrate(e, x)", "import sympy\nx = sympy.Symbol('x')\nassert sympy.simplify(candidate(2*x, x) - x**2) == 0", ("integrate(e", "integrate(3*e")),
        ("import sympy\ndef f(): return sympy.pi.evalf()", "assert abs(candidate() - 3.14159265) < 1e-6", ("evalf()", "evalf() + 1")),
    ],
)  # fmt: skip
def test_expressions_of_sympy_are_values(source, code, mutation, spawning):
    assert verdict(spawning, source, code)[0] is Verdict.ACCEPTED
    assert verdict(spawning, source.replace(*mutation), code)[0] is Verdict.WRONG_ANSWER
