"""The tables of the README of r1env-math are made here, from cases that are checked: `python tests/plugins/test_math_policy_table.py` writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

import r1env
from r1env_math import verify

README = Path(__file__).parents[2] / "plugins/math/README.md"
Group = tuple[str, ...]
"""A reference, and answers to it."""

EQUAL: list[tuple[str, list[Group], list[Group]]] = [
    ("numbers", [("1/2", "0.5", ".50", "50\\%", "½"), ("12\\frac35", "12.6", "12 3/5"), ("1234", "1,234", "1{,}234"), ("1000", "1e3", "10^3"), ("0.\\overline{3}", "1/3", "0.333...", "0.(3)"), ("126", "\\binom{9}{4}", "C_9^4", "{}_9C_4")],
     [("1/3", "0.3333"), ("\\pi", "3.14", "22/7"), ("10^{-20}", "10^{-21}"), ("12", "1 2"), ("40200", "40, 200")]),
    ("nearness", [("(2+\\sqrt3)^{100}", "(7+4\\sqrt3)^{50}"), ("\\sqrt[3]{2+\\sqrt5}+\\sqrt[3]{2-\\sqrt5}", "1")],
     [("(2+\\sqrt3)^{100}", "(2+\\sqrt3)^{100}+(2-\\sqrt3)^{100}"), ("\\cos(10^{-20})", "1"), ("\\log_2(2^{100}+1)", "100"), ("100!", "100!+1")]),
    ("rounding", [("0.458", "\\frac{11}{24}"), ("33.3", "\\frac{100}{3}")], [("\\frac{11}{24}", "0.458"), ("0.3", "\\frac13"), ("66.6", "\\frac{200}{3}"), ("3.14", "\\pi")]),
    ("percent", [("25\\%", "0.25", "25 percent")], [("25\\%", "25"), ("40", "40\\%")]),
    ("number words", [("7", "seven"), ("\\frac12", "one half"), ("105", "one hundred and five"), ("12", "十二个")], [("7", "eight")]),
    ("scale words", [("50000", "5万", "5만"), ("5000000", "5 million", "5 миллионов", "\\$5\\text{M}"), ("500000", "5 lakh"), ("60", "5 dozen"), ("-5", "5\\text{ degrees below zero}")],
     [("5", "5万元", "5 million", "5 elevenths", "5\\text{ basis points}", "5以上", "5 or more")]),
    ("units", [("5", "5 cm", "\\$5", "5\\,\\mathrm{mol\\,L^{-1}}", "5\\text{ g/cm}^3"), ("5 cm", "50\\text{ mm}"), ("3\\text{ J/s}", "3\\text{ W}"), ("15th Day", "15")],
     [("5 cm", "5 m", "5\\text{ cm}^2"), ("5", "5m"), ("\\$5", "5\\text{ euros}")]),
    ("times, dates", [("6:30", "6:30\\text{ p.m.}"), ("14:05", "2:05\\text{ PM}"), ("March 14", "14 March"), ("3\\text{ hours }20\\text{ minutes}", "200\\text{ minutes}")],
     [("12:00", "1:00"), ("2:05", "2:50"), ("March 14", "March 15")]),
    ("expressions", [("x^2+2x+1", "(x+1)^2"), ("f(n)=n^2", "f(m)=m^2", "n^2"), ("x^2+C", "x^2+K")], [("x", "x'"), ("x_1", "x_2"), ("x^2+C", "2x+C"), ("2m+1", "2n+1")]),
    ("words that cancel", [("1", "7^0")], [("0", "0 (or 7)", "0\\cdot x"), ("42", "42 + 0(or 43)"), ("1", "(or 7)^0")]),
    ("i, e, π, °", [("(1+i)^2", "2i"), ("120°", "\\frac{2\\pi}{3}"), ("44°", "44")], [("44°", "44\\pi"), ("\\log_2 3", "\\log_3 2")]),
    ("lists", [("5,-2", "-2 and 5", "\\{-2,5\\}", "x=5 or x=-2"), ("\\pm1,\\pm2", "1,-1,2,-2"), ("\\frac12", "\\frac12 or 0.5")], [("5,-2", "5,2", "5,-2,0")]),
    ("tuples, sets", [("(1,2)", "1,2", "x=1, y=2", "i+2j"), ("\\text{Ann and Bob}", "\\text{Bob, Ann}")], [("(1,2)", "(2,1)", "\\{1,2\\}", "x=2, y=1", "1 or 2")]),
    ("intervals", [("[0,1]", "0\\le x\\le 1"), ("(2,5)", "]2,5["), ("[0,2]", "[0,1]\\cup[1,2]"), ("x\\ne 0", "(-\\infty,0)\\cup(0,\\infty)"), ("x>3", "-x<-3"), ("x\\ne1,2", "\\mathbb{R}\\setminus\\{1,2\\}"), ("y\\le2x+1", "2x-y+1\\ge0")],
     [("[0,1]", "[0,1)"), ("x>3", "y>3", "3", "2x>6")]),
    ("equations", [("2x+4y=3", "y=\\frac34-\\frac x2"), ("xy=1", "y=\\frac1x"), ("5", "x=5", "AB/CD=5", "x=\\frac{10}{2}=5", "= 5")], [("5", "3=4=5"), ("x=5", "2x=10"), ("x=1", "y=1")]),
    ("remarks", [("2n+1", "2n+1\\ (n\\in\\mathbb{N}^*)"), ("x=2", "x=2 \\text{ (double root)}"), ("0", "0, \\text{ because it vanishes}")], [("5", "5\\text{ is wrong}")]),
    ("ratios, bases, residues", [("2:1", "4:2", "2", "2 \\text{ to } 1"), ("1011_2", "1011_{\\text{two}}"), ("x\\equiv 3\\pmod 7", "x\\equiv 10\\pmod 7")], [("2:1", "1:2"), ("1011_2", "1011_3")]),
    ("matrices, cases", [("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{bmatrix}1\\\\2\\end{bmatrix}")], [("\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}")]),
    ("choices, words", [("B", "(B)", "B. 12"), ("Evelyn", "\\text{evelyn}"), ("Yes", "True", "Yes, because it is even")], [("B", "AB", "B or C"), ("abc", "cab"), ("Yes", "No")]),
]  # fmt: skip
"""Topic, what is equal, what is different."""

REFUSED: list[tuple[str, str, float | None, str]] = [
    ("3.14", "\\pi", 0.0, "a symbol for a constant is not its rounded value"),
    ("0.3", "\\frac13", 0.0, "one digit is too few for a rounded value"),
    ("\\frac13", "0.333", 0.0, "the reference is exact, but the answer is not"),
    ("x+1", "x+1=0", 0.0, "an equation in one variable differs from an expression"),
    (
        "\\begin{pmatrix}1&2\\end{pmatrix}",
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
        0.0,
        "a row vector differs from a column vector",
    ),
    ("1234", "1.234", 0.0, "a point is a decimal point, unless the question is in a language that uses points to group digits"),
    ("\\frac{", "7", None, "the reference cannot be read"),
    ("5", "5\\text{ florps}", None, "`florps` is neither a known unit nor a word of the question; it may be a scale word"),
    ("5", "5\\text{ score}", None, "20 each, or points; the question does not say"),
    (
        "5",
        "5\\text{ maximum}",
        None,
        "a bound, or a remark; the same for `short`, `loss`, `doubled`, `upwards`, `inclusive`, …",
    ),
    ("5", "5\\text{ mil}", None, "thousands in Spanish, thousandths of an inch in English"),
    ("70000", "70k", None, "thousands, or a product with a variable"),
    ("28\\%", "28\\text{ percentage points}", None, "a difference in points, or a ratio"),
    ("7", "\\approx 7", None, "an estimate where the exact count is expected; `\\approx 0.5` counts as 0.5"),
    (
        "1.73",
        "\\sqrt3",
        None,
        "the reference may be rounded, if it has three or more digits, or two for a fraction with an infinite expansion",
    ),
    ("0.667", "0.6667", None, "the reference may be rounded; an answer with fewer digits is wrong"),
    ("\\ln 2", "\\log 2", None, "`log` has base 10 in schools and base e elsewhere"),
    ("x^2+C", "x^2", None, "equal except for the constant of integration"),
    ("3x+2y=6", "3x+2y-6", None, "the equation of a curve without `= 0`"),
    ("10R3", "10\\frac37", None, "a remainder whose divisor is unknown"),
    (
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
        "(1,2)",
        None,
        "a column vector or a tuple, which some authors do not distinguish",
    ),
    ("[0,1]\\cup[2,3]", "[0,1],[2,3]", None, "the union, listed"),
    ("1,2,3", "1\\ 2\\ 3", None, "spaces may separate numbers or group digits"),
    ("12,34,567", "1234567", None, "commas may group digits or separate numbers"),
    ("x_1=1, x_2=2", "x_1=2, x_2=1", None, "the numbering of the variables may be given by the question, or arbitrary"),
    ("1:30", "1.5\\text{ hours}", None, "a time of day or a duration"),
    (
        "\\text{undefined}",
        "\\text{does not exist}",
        None,
        "some use them as synonyms; the same for `infinitely many` and `\\infty`",
    ),
    ("3", "\\text{III}", None, "a Roman numeral, or letters"),
    ("Tuesday", "\\text{on Tuesday}", None, "one is part of the other and says nothing else"),
    ("5", "5\\text{ mod }7", None, "a residue class, or the way the number was computed"),
]
"""Reference, answer, score, why: what is refused, or left unscored, on purpose."""


def code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def groups(cell: list[Group]) -> str:
    return "; ".join(", ".join(map(code, group)) for group in cell)


def equality_table() -> str:
    rows = [f"| {topic} | {groups(same)} | {groups(other)} |" for topic, same, other in EQUAL]
    return "\n".join(["| | equal | different |", "|---|---|---|", *rows])


def refusal_table() -> str:
    rows = [
        f"| {code(reference)} | {code(answer)} | {'None' if value is None else '0'} | {why} |"
        for reference, answer, value, why in REFUSED
    ]
    return "\n".join(["| reference | answer | score | why |", "|---|---|---|---|", *rows])


TABLES = {"equal": equality_table, "refused": refusal_table}


def written(readme: str, name: str) -> str:
    return readme.partition(f"<!-- table: {name} -->\n")[2].partition("\n<!-- end -->")[0]


@pytest.mark.parametrize("name", TABLES)
def test_the_readme_has_the_tables_that_these_cases_make(name):
    assert written(README.read_text("utf-8"), name) == TABLES[name]()


@pytest.mark.parametrize(
    ("reference", "answer"), [(group[0], each) for _, same, _ in EQUAL for group in same for each in group[1:]]
)
def test_what_the_readme_calls_equal_is_right(reference, answer):
    assert verify(reference, f"\\boxed{{{answer}}}").correct is True


@pytest.mark.parametrize(
    ("reference", "answer"), [(group[0], each) for _, _, other in EQUAL for group in other for each in group[1:]]
)
def test_what_the_readme_calls_different_is_wrong(reference, answer):
    assert verify(reference, f"\\boxed{{{answer}}}").correct is False


@pytest.mark.parametrize(("reference", "answer", "value"), [row[:3] for row in REFUSED])
def test_what_the_readme_refuses_is_refused(reference, answer, value):
    task = r1env.Task(id="t", prompt="?", answer=reference)
    (score,) = r1env.score([r1env.Rollout(task=task, completion=f"\\boxed{{{answer}}}")], r1env.get_reward("math"))
    assert score.value == value


def main() -> None:
    text = README.read_text("utf-8")
    for name, table in TABLES.items():
        before, marker, rest = text.partition(f"<!-- table: {name} -->\n")
        text = f"{before}{marker}{table()}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
