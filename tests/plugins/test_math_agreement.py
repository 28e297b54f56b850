"""Exact arithmetic never disagrees with two independent judges: high-precision evaluation, and Math-Verify's grammar with SymPy.

Pairs are generated as trees. What a tree is worth is computed here, from the tree, so neither the writing nor the reading of
an expression is taken for granted.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import mpmath
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from r1env_math import How, symbolic, verify
from r1env_math.normalize import normalize
from r1env_math.numeric import value_of
from r1env_math.verdict import settle

VARIABLES = {"x": "1.3717", "y": "-0.6129", "n": "2.9331"}
PAIRS = settings(max_examples=400)


@dataclass(frozen=True)
class Tree:
    """A leaf (`kind` number, root, name) or an operation on two trees."""

    kind: str
    parts: tuple

    def value(self) -> mpmath.mpc:
        match self.kind:
            case "number":
                return mpmath.mpf(self.parts[0].numerator) / self.parts[0].denominator
            case "root":
                return mpmath.sqrt(self.parts[0])
            case "name":
                constants = {"\\pi": mpmath.pi, "e": mpmath.e, "i": mpmath.mpc(0, 1)}
                return constants.get(self.parts[0]) or mpmath.mpf(VARIABLES[self.parts[0]])
            case "^":
                return self.parts[0].value() ** self.parts[1]
        left, right = (part.value() for part in self.parts)
        return {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else mpmath.nan}[self.kind]


def leaves() -> st.SearchStrategy[Tree]:
    numbers = st.fractions(min_value=0, max_value=40, max_denominator=12).map(lambda value: Tree("number", (value,)))
    roots = st.integers(2, 50).map(lambda value: Tree("root", (value,)))
    names = st.sampled_from(["x", "y", "n", "\\pi", "e", "i"]).map(lambda name: Tree("name", (name,)))
    return st.one_of(numbers, roots, names)


def trees() -> st.SearchStrategy[Tree]:
    def grow(smaller: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        binary = st.tuples(st.sampled_from("++-**/"), smaller, smaller).map(lambda each: Tree(each[0], each[1:]))
        power = st.tuples(smaller, st.integers(1, 4)).map(lambda each: Tree("^", each))
        return st.one_of(binary, power)

    return st.recursive(leaves(), grow, max_leaves=7)


@st.composite
def written(draw: st.DrawFn, tree: Tree) -> str:
    """One of the ways to write a tree in LaTeX."""
    match tree.kind:
        case "number":
            value: Fraction = tree.parts[0]
            if value.denominator == 1:
                return draw(st.sampled_from([str(value), f"{value}.0"]))
            ways = [f"\\frac{{{value.numerator}}}{{{value.denominator}}}", f"({value})"]
            if 10**6 % value.denominator == 0:
                ways.append(f"{float(value):.6f}")
            return draw(st.sampled_from(ways))
        case "root":
            return f"\\sqrt{{{tree.parts[0]}}}"
        case "name":
            return tree.parts[0] + (" " if tree.parts[0].startswith("\\") else "")
        case "^":
            return f"({draw(written(tree.parts[0]))})^{{{tree.parts[1]}}}"
    left, right = (draw(written(part)) for part in tree.parts)
    if tree.kind in "+*" and draw(st.booleans()):
        left, right = right, left
    match tree.kind:
        case "/":
            return draw(st.sampled_from([f"\\frac{{{left}}}{{{right}}}", f"({left})/({right})"]))
        case "*":
            return f"({left})" + draw(st.sampled_from(["", "\\cdot ", " \\times "])) + f"({right})"
    return f"({left}){tree.kind}({right})"


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tree, str, Tree, str]:
    """Two trees and how they are written: one tree twice, or one with something changed, or two of their own."""
    first = draw(trees())
    how = draw(st.integers(0, 5))
    if how < 3:
        second = first
    elif how < 5:
        second = Tree(draw(st.sampled_from("+*-")), (first, Tree("number", (Fraction(draw(st.integers(0, 3))),))))
    else:
        second = draw(trees())
    return first, draw(written(first)), second, draw(written(second))


def same_number(first: mpmath.mpc, second: mpmath.mpc) -> bool:
    size = max(abs(first), abs(second), mpmath.mpf(10) ** -20)
    return abs(first - second) < size * mpmath.mpf(10) ** -30


@pytest.mark.slow
@PAIRS
@given(pairs())
def test_what_exact_arithmetic_calls_equal_or_different_is_so(pair):
    first, reference, second, answer = pair
    values = [value_of(normalize(text)) for text in (reference, answer)]
    assume(None not in values)
    with mpmath.workdps(60):
        assert values[0].same(values[1]) is same_number(first.value(), second.value())


@settings(PAIRS, max_examples=60)
@given(pairs())
def test_what_is_settled_as_equal_is_equal_to_math_verifys_grammar_and_to_an_independent_evaluation(pair):
    first, reference, second, answer = pair
    verdict = settle(reference, f"\\boxed{{{answer}}}")
    if verdict is None or verdict.how is How.TEXT:
        return  # not settled by arithmetic: nothing is claimed
    with mpmath.workdps(60):
        assert verdict.correct is same_number(first.value(), second.value())
        if not verdict.correct:
            return
        if abs(first.value()) < 1e-6:
            return  # where everything cancels, SymPy's forty digits are noise, and it refuses
    parsed = [symbolic.read(normalize(text), complex_numbers=True) for text in (reference, answer)]
    assert None not in parsed
    assert symbolic.equal(*parsed)


NUMBERS = st.fractions(min_value=-99, max_value=99, max_denominator=20)


def tex(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


@pytest.mark.parametrize(
    ("written_as", "meaning"),
    [("({})", tuple), ("\\{{{}\\}}", frozenset), ("{}", lambda items: tuple(sorted(items)))],
    ids=["tuple", "set", "list"],
)
@settings(max_examples=80)
@given(items=st.lists(NUMBERS, min_size=2, max_size=5), data=st.data())
def test_collections_are_equal_when_python_says_so(written_as, meaning, items, data):
    others = data.draw(st.one_of(st.permutations(items), st.lists(NUMBERS, min_size=2, max_size=5)))
    reference, answer = (written_as.format(", ".join(map(tex, each))) for each in (items, others))
    assert verify(reference, f"\\boxed{{{answer}}}").correct is (meaning(items) == meaning(others))


@settings(max_examples=80)
@given(
    st.tuples(NUMBERS, NUMBERS, st.booleans(), st.booleans()),
    st.tuples(NUMBERS, NUMBERS, st.booleans(), st.booleans()),
    st.booleans(),
)
def test_intervals_are_equal_when_their_ends_are(first, second, alike):
    second = first if alike else second

    def bracketed(low, high, closed_low, closed_high):
        return f"{'[' if closed_low else '('}{tex(low)},{tex(high)}{']' if closed_high else ')'}"

    def inequality(low, high, closed_low, closed_high):
        signs = ("<", "\\le")
        return f"{tex(low)} {signs[closed_low]} x {signs[closed_high]} {tex(high)}"

    assert verify(bracketed(*first), f"\\boxed{{{inequality(*second)}}}").correct is (first == second)


@given(st.integers(), st.integers())
def test_integers_are_compared_exactly(reference, answer):
    assert verify(str(reference), f"\\boxed{{{answer:,}}}").correct is (reference == answer)


@settings(max_examples=300)
@given(st.fractions(max_denominator=1000), st.fractions(max_denominator=1000))
def test_fractions_are_compared_exactly(reference, answer):
    assert verify(str(reference), f"\\boxed{{{tex(answer)}}}").correct is (reference == answer)
