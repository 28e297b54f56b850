"""What the math reward calls equal and what it does not, by cause: right and wrong answers to the same reference."""

from __future__ import annotations

import pytest

from r1env_math import verify

Case = tuple[str, tuple[str, ...], tuple[str, ...]]

CASES: dict[str, list[Case]] = {
    "integers": [
        ("42", ("42 apples per day", "\\$42 per day"), ("\\approx 43", "42 per cent", "24 per day")),
        ("42", ("42.", "+42", "42.0", "042", "\\text{42}", "$42$", "\\(42\\)", "**42**", "{42}", "６×7"), ("-42", "24", "4 2", "42.5")),
        ("-7", ("−7", "–7", "-7.00", "(-7)", "-\\,7"), ("7", "--7", "- 7 7")),
        ("1234567", ("1,234,567", "1{,}234{,}567", "1\\,234\\,567", "1,\\!234,\\!567"), ("1,234", "1.234567", "1,234,576")),
        ("100", ("10^2", "1e2", "1\\times 10^{2}", "２００/2", "10**2"), ("10", "1000", "10^{-2}", "1e-2")),
        ("0", ("0.0", "-0", "0/5", "1-1"), ("", "o", "\\emptyset", "1/0", "0/0")),
        ("100000000000000000000001", ("100000000000000000000001", "10^{23}+1"), ("100000000000000000000000", "10^{23}", "1e23")),
    ],
    "fractions and decimals": [
        ("\\frac{1}{2}", ("1/2", "0.5", ".5", "\\dfrac12", "\\frac{2}{4}", "½", "50\\%", "2^{-1}", "\\tfrac 1 2"), ("2", "1/3", "0.05", "-1/2")),
        ("\\frac{1}{3}", ("1/3", "0.\\overline{3}", "\\frac{-1}{-3}", "3^{-1}"), ("0.3", "0.33", "0.3333", "0.3333333", "3")),
        ("12\\frac{3}{5}", ("12 \\frac{3}{5}", "63/5", "12.6", "12 3/5", "12⅗"), ("\\frac{36}{5}", "12.3", "3\\frac{3}{5}")),
        ("10^{-20}", ("0.00000000000000000001", "1/10^{20}"), ("10^{-21}", "0", "0.0000000000000000001")),
        ("\\frac{1}{2^{99}}", ("2^{-99}", "\\frac{2}{2^{100}}"), ("\\frac{1}{2^{98}}", "0", "2^{99}")),
        ("0.458", ("\\frac{11}{24}", "0.4580", "458/1000"), ("\\frac{5}{11}", "0.46", "0.459", "\\frac{31}{60}")),
        ("3.14", ("3.140", "157/50", "\\frac{314}{100}"), ("\\pi", "22/7.1", "3.1", "3.15")),
        ("\\frac{a}{b}", ("a/b", "\\frac ab", "a \\cdot b^{-1}", "\\frac{2a}{2b}"), ("\\frac{b}{a}", "ab", "a-b")),
        ("\\frac{1+a}c", ("\\frac{1+a}{c}", "(a+1)/c", "\\frac{a}{c}+\\frac{1}{c}"), ("1+\\frac{a}{c}", "\\frac{c}{1+a}")),
    ],
    "percentages": [
        ("25\\%", ("25%", "25 \\%", "0.25", "\\frac14", "25.0\\%", "25 percent", "25\\text{ percent}"), ("25", "0.25\\%", "52\\%", "2.5", "2.5\\%")),
        ("10", ("10.0",), ("10\\%", "0.1", "1000\\%\\%")),
    ],
    "surds": [
        ("2\\sqrt{3}", ("\\sqrt{12}", "2√3", "2\\cdot 3^{1/2}", "\\frac{6}{\\sqrt{3}}", "2 sqrt(3)", "\\sqrt{3}\\cdot 2"), ("3\\sqrt{2}", "2\\sqrt{5}", "\\sqrt{6}", "3.4641")),
        ("4\\sqrt{2}", ("4\\sqrt2", "4\\sqrt(2)", "\\sqrt{32}"), ("4", "\\sqrt[4]{2}", "2\\sqrt{4}")),
        ("\\sqrt2-1", ("\\frac{1}{1+\\sqrt{2}}", "-1+\\sqrt{2}"), ("1-\\sqrt2", "\\sqrt{2-1}")),
        ("\\sqrt[3]{2}", ("2^{1/3}", "\\sqrt[3]2", "\\frac{2}{\\sqrt[3]{4}}"), ("\\sqrt{2}", "3\\sqrt{2}", "\\sqrt[3]{3}")),
        ("\\frac{\\sqrt{3}}{2}", ("\\frac{\\sqrt3}2", "\\sin 60^\\circ", "\\sqrt{\\frac34}", "\\frac{3}{2\\sqrt{3}}"), ("\\frac{3}{2}", "\\sqrt{\\frac{3}{2}}")),
    ],
    "π, e, logarithms and functions": [
        ("\\frac{\\pi}{2}", ("\\pi/2", "0.5\\pi", "π/2", "\\frac{1}{2}\\pi", "90^\\circ"), ("\\pi", "1.57", "1.5708", "2\\pi", "45^\\circ")),
        ("2\\pi", ("2 \\cdot \\pi", "2π", "\\pi\\times2", "\\frac{4\\pi}{2}"), ("\\pi^2", "6.28", "2")),
        ("\\ln 2", ("\\frac{1}{2}\\ln 4", "-\\ln\\frac12"), ("\\ln 3", "\\log_2 e", "0.693")),
        ("3", ("\\log_2 8", "\\log_{2}{8}", "\\sqrt{9}", "3!/2", "\\binom{3}{1}"), ("\\log_8 2", "\\log_2 9")),
        ("\\sin 2x", ("2\\sin x\\cos x", "\\sin(2x)"), ("2\\sin x", "\\sin x\\cos x", "\\cos 2x")),
        ("e^{x}+1", ("1+e^x", "\\exp(x)+1"), ("e^{x+1}", "e^{2x}+1")),
        ("20!", ("2432902008176640000", "20\\cdot 19!"), ("20", "19!", "2432902008176640001")),
    ],
    "algebra": [
        ("x^2+2x+1", ("(x+1)^2", "x^2 + 2*x - (-1)", "x² + 2x + 1", "1+2x+x^{2}", "x**2+2*x+1"), ("x^2+2x", "x^3+2x+1", "(x-1)^2", "y^2+2y+1")),
        ("xy", ("yx", "x\\cdot y", "x y"), ("x+y", "x^y", "xz")),
        ("a^{m+n}", ("a^m a^n", "a^{n+m}"), ("a^{mn}", "a^m+a^n")),
        ("x_1+x_2", ("x_2+x_1", "x_{1}+x_{2}"), ("x_1+x_3", "x1", "x_1-x_2", "x+x")),
        ("x'", ("x'",), ("x", "x''")),
        ("2Cx+1", ("2cx+1", "1+2cx"), ("cx+1", "2Cy+1", "2dx+1")),
        ("\\frac{x+2}{7}", ("\\frac{x}{7}+\\frac{2}{7}", "(x+2)/7"), ("x+\\frac{2}{7}", "\\frac{x+2}{17}")),
        ("|x-1|", ("|1-x|", "\\left|x-1\\right|"), ("x-1", "|x+1|", "1-x")),
        ("\\sqrt{x^2+1}", ("(x^2+1)^{1/2}", "\\sqrt{1+x^2}"), ("x+1", "\\sqrt{x^2}+1")),
        ("\\frac{x^2-1}{x-1}", ("x+1", "1+x"), ("x-1", "x^2+1")),
        ("2^{n+1}", ("2\\cdot 2^n", "2^n+2^n"), ("2^n+1", "4^n")),
    ],
    "complex numbers": [
        ("(1+i)^2", ("2i", "2\\mathrm{i}", "0+2i"), ("2", "-2i", "2+i")),
        ("-1", ("e^{i\\pi}", "i^2", "i^{6}"), ("e^{\\pi}", "i", "e^{2i\\pi}")),
        ("\\frac{1}{2}+\\frac{\\sqrt{3}}{2}i", ("\\frac{1+\\sqrt{3}i}{2}", "\\frac{1+i\\sqrt{3}}{2}", "e^{i\\pi/3}"), ("\\frac12-\\frac{\\sqrt3}2i", "\\frac{1+\\sqrt{3}}{2}")),
        ("2+3i", ("3i+2", "2+3\\mathrm{i}"), ("3+2i", "2-3i", "5i", "(2,3)")),
    ],
    "tuples, sets, lists": [
        ("(1,2)", ("( 1 , 2 )", "\\left(1,2\\right)", "(x,y)=(1,2)", "x=1, y=2", "1,2"), ("(2,1)", "\\{1,2\\}", "[1,2]", "(1,2,3)", "2,1", "1.2", "(1)", "12")),
        ("\\{1,2\\}", ("\\{2,1\\}", "1,2", "2, 1", "\\left\\{1,2\\right\\}", "1 \\text{ and } 2", "\\{1,2,2\\}"), ("(1,2)", "[1,2]", "\\{1,2,3\\}", "\\{1\\}", "\\{1,3\\}", "12")),
        ("5,-2", ("-2,5", "-2 and 5", "5 or -2", "-2;5", "\\{5,-2\\}", "x=5, x=-2", "x_1=5, x_2=-2", "x=5 \\text{ or } x=-2"), ("5,2", "5", "-2", "5,-2,0", "5,5", "52", "3")),
        ("(2,32), (8,18)", ("(8,18),(2,32)", "(2, 32),\\ (8, 18)", "(2,32) \\text{ and } (8,18)", "\\{(2,32),(8,18)\\}"), ("(2,32),(18,8)", "(2,32)", "2,32,8,18", "(2,8),(32,18)")),
        ("x=1, y=2", ("x=1,y=2", "y=2, x=1", "(1,2)", "x = 1 \\text{ and } y = 2", "1,2"), ("x=2,y=1", "(2,1)", "2,1", "x=1", "a=1,b=2")),
        ("AB=4,CD=5", ("4, 5", "CD=5, AB=4"), ("5,4", "AB=5,CD=4", "4")),
        ("1,1,2", ("1,2,1", "2,1,1"), ("1,2", "1,2,2", "\\{1,2\\}")),
        ("x=\\pm 2", ("2,-2", "x=2, x=-2", "\\pm2", "-2 \\text{ or } 2", "x = 2 \\text{ or } x = -2"), ("2", "-2", "x=2", "\\pm 3", "\\pm\\sqrt2")),
        ("1\\pm\\sqrt{2}", ("1+\\sqrt2, 1-\\sqrt2", "1-\\sqrt2,1+\\sqrt2", "x=1\\pm\\sqrt{2}"), ("1+\\sqrt2", "-1\\pm\\sqrt2", "\\pm\\sqrt{2}")),
        ("\\emptyset", ("\\varnothing", "\\{\\}", "∅", "no solution", "\\text{No solution}", "no real solutions"), ("0", "\\{0\\}", "none of these", "solution", "\\{\\{\\}\\}")),
        ("1,2,3,4", ("4,3,2,1", "1, 2, 3 and 4", "\\{1,2,3,4\\}"), ("1,2,\\ldots,4", "1,2,3", "1234")),
        ("1,2,\\ldots,n", ("1, 2, \\ldots, n", "1,2,\\dots,n"), ("1,3,5,\\ldots,2n-1", "n", "1,2,n", "1,2,\\ldots,m")),
        ("p=5,q=2;p=7,q=2", ("(5,2),(7,2)", "(7,2),(5,2)", "p=7,q=2;p=5,q=2"), ("(2,5),(2,7)", "(5,2)", "5,2,7,2")),
    ],
    "intervals and inequalities": [
        ("[0,1]", ("0\\le x\\le 1", "[0, 1]", "x\\in[0,1]", "0 ≤ x ≤ 1", "\\{x | 0 \\le x \\le 1\\}"), ("(0,1)", "[0,1)", "(0,1]", "0<x<1", "[1,0]", "\\{0,1\\}", "[0,2]", "x\\le 1")),
        ("(-\\infty,2]", ("x\\leq 2", "2\\ge x", "(-\\infty, 2]", "x \\in (-\\infty,2]", "x<=2"), ("x<2", "(-\\infty,2)", "x\\ge 2", "[2,\\infty)", "x\\le 3")),
        ("x > 3", ("3 < x", "(3,\\infty)", "x>3", "(3,+\\infty)", "\\{x : x > 3\\}", "x \\in (3, \\infty)"), ("x<3", "x\\ge 3", "y>3", "[3,\\infty)", "3", "x=3", "x>4")),
        ("-1 \\leqslant a \\leqslant 3", ("[-1, 3]", "a\\in[-1,3]", "3\\ge a\\ge -1"), ("[-1,4]", "(-1,3)", "-1\\le b\\le 3", "a\\le 3")),
        ("(-\\infty,0)\\cup(0,\\infty)", ("x\\neq 0", "(0,\\infty)\\cup(-\\infty,0)", "\\mathbb{R}\\setminus\\{0\\}", "x<0 \\text{ or } x>0"), ("x\\neq 1", "(-\\infty,0)\\cup[0,\\infty)", "(0,\\infty)", "\\mathbb{R}")),
        ("(1,2)", ("1<x<2", "x\\in(1,2)"), ("1\\le x\\le 2", "1<x\\le 2")),
        ("[\\sqrt{2},\\pi)", ("\\sqrt2\\le x<\\pi", "[2^{1/2},\\pi)"), ("[1.414,\\pi)", "[\\sqrt2,\\pi]", "[\\sqrt{3},\\pi)")),
        ("(2, 12) \\cup (12, 102)", ("x \\in (2,12)\\cup(12,102)", "(12,102)\\cup(2,12)"), ("(2,102)", "(2,12)\\cup(12,103)", "(2,12]\\cup[12,102)", "(2,12)")),
        ("\\mathbb{R}", ("(-\\infty,\\infty)", "x\\in\\mathbb{R}", "ℝ"), ("\\mathbb{Z}", "(0,\\infty)", "R_1", "\\mathbb{C}")),
    ],
    "equations and chains": [
        ("2x+4y-3=0", ("y=-\\frac{1}{2}x+\\frac{3}{4}", "4x+8y=6", "2x+4y=3"), ("2x+4y=0", "0", "y=\\frac12x+\\frac34", "2x+4y-3=1", "3")),
        ("5", ("x=5", "x = 10/2 = 5", "2+3=5", "n=5", "m+n=5", "\\text{Area}=5", "AB = 5", "f(2)=5", "5=5"), ("3=4=5", "3=5", "5=3", "2x=5", "x^2=5", "x=5=6", "x=6=5", "x>5", "x \\neq 5", "9=5")),
        ("x=5", ("5", "x = 5", "x=\\frac{10}{2}"), ("y=5", "x=-5", "2x=10", "x>5", "x=5=4")),
        ("y=2x+1", ("2x+1", "y=1+2x", "2x-y+1=0", "y-1=2x"), ("y=2x", "x=2y+1", "2x+2", "z=2x+1")),
        ("f(x)=x^2", ("x^2", "f(x)=x\\cdot x"), ("g(x)=x^2", "f(x)=x^3", "x")),
        ("x+y=1", ("y=1-x", "x=1-y", "2x+2y=2", "x+y-1=0"), ("x=1", "x+y=2", "x-y=1", "y=x-1")),
        ("2x+2y=2", ("x+y=1", "y=1-x"), ("x+y=2", "2x+y=2")),
        ("2x+z=1", ("z=1-2x", "1=2x+z"), ("1", "2x+z", "2x+y=1", "2x-z=1")),
        ("x^2+y^2=4", ("y^2+x^2=4", "x^2+y^2-4=0", "4=x^2+y^2"), ("x^2+y^2=2", "x^2-y^2=4", "4", "x+y=2")),
    ],
    "units": [
        ("44^{\\circ}", ("44", "44°", "44^\\circ", "44\\text{ degrees}", "44 degrees"), ("42", "44\\text{ cm}", "46^\\circ", "44\\pi")),
        ("\\frac{2\\pi}{3}", ("120^\\circ", "120°", "\\frac{2\\pi}{3}\\text{ rad}"), ("60^\\circ", "120", "2.094")),
        ("5", ("5\\text{ cm}", "5 cm", "5\\,\\mathrm{cm}", "5 apples", "\\$5", "5\\text{ cm}^2", "5 units", "€5", "5 km/h", "5 meters", "5 square units"), ("5m", "5x", "5 or more", "5 less", "5 million", "5\\text{ dozen}", "5 hundred", "5 negative", "5 cm + 1", "5c")),
        ("5\\text{ cm}", ("5", "5\\text{cm}", "5 cm", "5\\ \\text{centimeters}", "50\\text{ mm}"), ("5\\text{ m}", "5\\text{ cm}^2", "6\\text{ cm}", "\\$5", "55\\text{ mm}", "5 kg")),
        ("15th Day", ("15", "15th day", "15^{\\text{th}}", "15th"), ("16", "5", "16th day", "15th week")),
        ("\\$10", ("10", "10 dollars", "\\$10.00", "10\\$", "\\text{\\$}10"), ("€10", "100", "\\$1", "10\\%", "10 cents")),
        ("3 million", ("3,000,000", "3\\text{ million}", "3\\times10^6"), ("3", "3 billion", "3000")),
        ("m", ("m",), ("1", "", "n", "M_1")),
    ],
    "matrices": [
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", ("\\begin{bmatrix} 1 \\\\ 2 \\end{bmatrix}", "\\begin{pmatrix}1.0\\\\\\frac42\\end{pmatrix}", "\\left(\\begin{matrix}1\\\\2\\end{matrix}\\right)"), ("\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}2\\\\1\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\\\3\\end{pmatrix}", "\\begin{pmatrix}1\\end{pmatrix}", "12", "1,3")),
        ("\\begin{pmatrix}a&b\\\\c&d\\end{pmatrix}", ("\\begin{bmatrix}a & b \\\\ c & d\\end{bmatrix}",), ("\\begin{pmatrix}a&c\\\\b&d\\end{pmatrix}", "\\begin{vmatrix}a&b\\\\c&d\\end{vmatrix}", "ad-bc")),
    ],
    "ratios, bases, times": [
        ("2:1", ("2", "2/1", "4:2", "2 : 1"), ("1", "1:2", "3:1", "21")),
        ("1:2:3", ("2:4:6", "1 : 2 : 3"), ("1:2", "3:2:1", "1:2:4")),
        ("1011_2", ("1011_{2}", "(1011)_2"), ("1011_3", "1101_2", "1011", "11")),
        ("12:30", ("12:30",), ("12:03", "12:31", "1230")),
    ],
    "choices": [
        ("B", ("B", "(B)", "B.", "b", "\\text{B}", "\\text{(B)}", "(B) 12", "B) 12", "B. 12", "\\textbf{(B)}", "\\mathrm{B}", "[B]"), ("A", "(A)", "AB", "A, B", "BB", "(A) B", "B, C", "12", "bc", "2B")),
        ("(C)", ("C", "\\text{C}", "(C)", "C."), ("D", "3", "CD")),
        ("12", ("(B) 12", "\\textbf{(B) }12"), ("(B) 13", "B", "(B)")),
    ],
    "words": [
        ("\\text{Evelyn}", ("Evelyn", "evelyn", "\\textbf{Evelyn}", "\\mathrm{Evelyn}", "Evelyn."), ("Eve", "nyleve", "Evelyn or Carla", "not Evelyn", "")),
        ("abc", ("abc", "ABC", "\\text{abc}"), ("cab", "bca", "ab", "abcd")),
        ("Yes", ("yes", "\\text{Yes}", "YES."), ("no", "sey", "Yes and no")),
        ("east", ("East", "\\text{east}"), ("seat", "eats", "west", "teas")),
        ("\\text{odd}", ("odd",), ("even", "ddo", "0dd")),
    ],
    "approximations": [
        ("\\pi", ("\\pi \\approx 3.14159", "x = \\pi \\approx 3.14"), ("3.14", "3 \\approx 3.14", "\\approx 3.14")),
        ("\\frac{1}{3}", ("\\frac{1}{3} \\approx 0.333", "x=\\frac13\\approx 0.33"), ("0.333", "\\frac14 \\approx 0.333")),
    ],
    "infinity": [
        ("\\infty", ("\\infty", "+\\infty", "∞", "\\text{infinity}"), ("-\\infty", "0", "\\infty^2-\\infty", "10^{100}")),
    ],
}  # fmt: skip

SAME = [
    ("7\\%", "7 percent"), ("7\\%", "7 per cent"), ("7\\%", "7\\text{ percent}"), ("3.14", "\\pi \\approx 3.14"),
    ("\\pi", "\\pi\\approx3.14"), ("(1,2)", "y=2,x=1"), ("5", "5=x"), ("x=5", "5=x"), ("24", "2 dozen"), ("5", "[5]"),
    ("x=1", "1=x"), ("\\left\\{\\frac{1}{2},-3\\right\\}", "\\{-3, 0.5\\}"), ("x = 2 \\text{ or } x = 3", "2, 3"),
    ("x=2\\text{ or }x=3", "\\{2,3\\}"), ("x\\in\\{2,3\\}", "2,3"), ("\\frac{3}{4}, -\\frac{1}{2}", "-0.5, 0.75"),
    ("[1, \\infty)", "[1,+\\infty)"), ("-\\frac{1}{2}", "\\frac{-1}{2}"), ("-\\frac{1}{2}", "\\frac{1}{-2}"),
    ("-\\frac12", "-1/2"), ("\\frac{\\pi}{4}", "45^\\circ"), ("30", "30^\\circ"), ("2^{2021}-1", "2^{2021}-1"),
    ("2^{2021}-1", "2^{2020}\\cdot 2-1"), ("\\binom{10}{3}", "120"), ("\\dbinom{n}{2}", "\\frac{n(n-1)}{2}"),
    ("\\sum_{k=1}^{n} k", "\\frac{n(n+1)}{2}"), ("\\int_0^1 x^2 dx", "\\frac13"), ("\\tan^{-1} x", "\\arctan x"),
    ("\\lfloor \\frac{n}{2} \\rfloor", "\\left\\lfloor n/2\\right\\rfloor"), ("\\overline{AB}", "\\overline{AB}"),
    ("\\angle ABC = 40^\\circ", "40"), ("\\angle A=40^\\circ", "40^\\circ"), ("0.5", ".50"), ("1000000", "10^6"),
    ("1.5e3", "1500"), ("5.0\\times 10^{-3}", "0.005"), ("\\text{(A)}", "A"), ("D", "\\text{(D) }12"), ("3x+2y", "2y+3x"),
    ("y=2x+3", "2x+3"), ("y = 2x+3", "y-2x=3"), ("(x-1)^2+(y+2)^2=9", "x^2-2x+y^2+4y-4=0"),
    ("\\frac{x^2}{4}+\\frac{y^2}{9}=1", "9x^2+4y^2=36"), ("\\mathrm{AB}", "AB"), ("1{:}2", "1:2"), ("\\frac12", "1:2"),
    ("\\$1,234.50", "1234.5"), ("1,234.50", "1234.5"), ("€12", "12 euros"), ("12\\text{ cm}^2", "12"),
    ("12\\ \\mathrm{cm}^2", "12cm^2"), ("5\\sqrt{3}\\text{ m}", "5\\sqrt3"), ("\\frac{25}{2}\\pi\\text{ cm}^2", "12.5\\pi"),
    ("72^\\circ", "72 degrees"), ("Monday", "monday"), ("3/4/2020", "3/4/2020"), ("True", "true"),
    ("(3, \\frac{\\pi}{2})", "(3,90^\\circ)"), ("(-2,1)", "(-2, 1)"), ("\\langle 1,2\\rangle", "\\langle 1, 2\\rangle"),
    ("\\frac{1}{x}+\\frac{1}{y}", "\\frac{x+y}{xy}"), ("x^{-1}", "1/x"), ("\\sqrt{x}", "x^{1/2}"), ("\\sqrt{x}", "x^{0.5}"),
    ("\\log_3 5", "\\frac{\\ln 5}{\\ln 3}"), ("9\\%", "0.09"), ("0.09", "9\\%"), ("6 - 5i", "6-5i"), ("6 - 5i", "-5i+6"),
    ("\\sqrt{-4}", "2i"), ("2e^{i\\pi/3}", "1+i\\sqrt3"), ("|3+4i|", "5"), ("f(x)=2x", "2x"),
    ("f^{-1}(x)=\\frac{x}{2}", "x/2"), ("\\{x: x>2\\}", "x>2"), ("(a,b)=(1,2)", "(1,2)"), ("a=1,b=2", "(1,2)"),
    ("a+b=3", "3"), ("-3 \\le x < 5", "[-3,5)"), ("x<-1\\text{ or }x>1", "(-\\infty,-1)\\cup(1,\\infty)"),
    ("x \\ge 2", "x \\ge 2.0"), ("k>\\frac{1}{4}", "(\\frac14,\\infty)"), ("k>1/4", "(1/4,\\infty)"),
    ("\\{-1,0,1\\}", "-1, 0, 1"), ("\\{1,2\\},\\{3\\}", "\\{3\\},\\{2,1\\}"), ("2\\sqrt{2}+1", "1+\\sqrt{8}"),
    ("\\frac{\\sqrt{6}-\\sqrt{2}}{4}", "\\sin 15^\\circ"), ("\\cos\\theta", "\\cos \\theta"),
    ("\\cot x", "\\frac{1}{\\tan x}"), ("\\cos^2 x", "1-\\sin^2 x"), ("n!", "n\\cdot(n-1)!"), ("2^{n}-1", "2^n-1"),
    ("C", "c"), ("A, C", "C, A"), ("\\frac{a^2+b^2}{2ab}", "\\frac{a}{2b}+\\frac{b}{2a}"), ("4x^3-2x+C", "4x^3-2x+c"),
    ("10 \\text{ m/s}", "10 m/s"), ("1/2", "1:2"), ("8", "\\boxed{8}"), ("8", "8 \\text{ ways}"), ("8", "8 ways"),
    ("x=8", "x = 8 \\text{ cm}"), ("\\frac{1}{7}", "0.\\overline{142857}"), ("3.0", "3"), ("1 \\frac{1}{2}", "1.5"),
    ("1\\frac12", "\\frac32"), ("-1\\frac12", "-1.5"), ("-\\frac32", "-1\\frac{1}{2}"), ("x^2-5x+6", "(x-2)(x-3)"),
    ("(x-2)(x-3)", "x^2-5x+6"), ("2(x+1)", "2x+2"), ("\\frac{3}{2}, 2", "1.5,2"), ("(0,0),(1,1)", "(0,0) and (1,1)"),
    ("1 < x < 2 or x>3", "(1,2)\\cup(3,\\infty)"), ("\\mathbb{R}\\backslash\\{1\\}", "x\\neq1"),
    ("\\text{January 5}", "january 5"), ("12 \\text{ hours } 30 \\text{ minutes}", "12 hours 30 minutes"),
    ("\\frac{\\sqrt{2}}{2}", "\\frac{1}{\\sqrt{2}}"), ("90^\\circ", "\\frac{\\pi}{2}"), ("7 \\times 10^{8}", "700000000"),
    ("7.0E8", "7\\times10^8"), ("24", "2 dozen"),
]  # fmt: skip
"""More of the same causes, mixed: reference and an answer that says the same."""

NEAR_MISSES = [
    ("(1,2)", "y=1,x=2"), ("(1,2)", "(y,x)=(1,2)"), ("3", "3.1 \\approx 3"), ("3", "\\pi \\approx 3"), ("7", "7 per cent"),
    ("7", "7 pct"), ("7", "7 tenths"), ("7", "7 percent"), ("2\\pi R", "2\\pi r"), ("x=2", "x=2,3"), ("5", "5,5"),
    ("10", "10!"), ("\\frac12", "\\frac12x"), ("x^{2}", "x^22"), ("5", "5'"), ("5", "5\\text{ is the wrong answer}"),
    ("5", "5 apples and 3 oranges"), ("A", "A or B"), ("5", "approximately 5"), ("5", "about 5"), ("5", "5 thousand"),
    ("5", "n=5,7"), ("x>3", "x>3 or x<1"), ("(1,2)", "(1,2]"),  ("x\\le 3", "x\\le 3, x\\ge 0"),
    ("5", "5.0.0"), ("5", "5+"), ("5", "5-"), ("5", "5)"), ("5", "(5"), ("5", "5="), ("5", "=5="), ("12", "1\\,2"),
    ("12", "1{,}2"), ("0.5", "0,5"), ("x", "x!"), ("1", "x^0 y"), ("2", "2i"), ("4", "2^2i"), ("-1", "i"), ("3", "|3"),
    ("3", "-|3|"), ("8", "2^{3}x^{0.5}"), ("5", "5\\%"), ("100", "100\\%"), ("1", "100\\%x"), ("6", "\\{6,6,7\\}"),
    ("6", "[6]x"), ("6", "6 6"), ("6", "6/1/2"), ("2", "2 \\pm 1"), ("2", "\\pm 2"), ("x+1", "x+1=0"), ("x+1=0", "x+1"),
    ("x=1", "x=1=1.5"), ("\\text{none}", "0"), ("3", "3rd root"), ("3", "3 out of 4"), ("3", "3 to 4"), ("3", "3-4"),
    ("3", "3 \\to 4"), ("3", "3:4"), ("3", "3 \\Rightarrow 4"), ("4", "3 \\Rightarrow 4"), ("5", "\\$5 million"),
    ("5", "5e"), ("5", "5 e"), ("5", "5 \\text{if } x>0"), ("5", "5 \\text{ where } x>0"), ("5", "\\text{if } x>0, 5"),
    ("x^2", "x2"), ("\\sqrt{2}", "√2x"), ("y=2x", "y=2x, x>0"), ("42", "4\\boxed{2}"), ("2", "4\\boxed{2}"),
    ("B", "(B) or (C)"), ("B", "B, C"), ("B", "not B"), ("B", "\\overline{B}"), ("B", "B'"), ("B", "B^c"), ("abc", "a b c"),
    ("10", "1010_2"), ("\\infty", "-\\infty"), ("(0,\\infty)", "(0,\\infty]"), ("e", "2.71828182845904523536"),
    ("\\pi", "3.141592653589793"), ("\\pi", "22/7"), ("\\sqrt{2}", "1.41421356237"), ("0.1", "0.10000000000000000001"),
    ("10^{100}", "10^{100}+1"), ("\\sin(10^{-30})", "0"), ("\\frac{\\pi}{10^{40}}", "\\frac{2\\pi}{10^{40}}"),
    ("\\ln 2", "0.693147180559945309417"), ("\\tan 1", "1.5574077246549"), ("\\cos 1", "\\cos 1^\\circ"),
    ("\\sin x", "sinx+0.0000000000000000001"), ("|x|", "x"), ("\\sqrt{x^2}", "x"), ("x", "\\frac{x^2}{x}+10^{-30}"),
    ("2^n", "n^2"), ("\\log_2 3", "\\log_3 2"), ("\\vec{AB}", "\\vec{BA}"), ("\\overline{AB}", "AB"),
    ("\\angle A", "A"), ("x'", "x"), ("f'(x)", "f(x)"), ("f(x)", "f(y)"), ("\\hat{x}", "x"), ("\\bar{x}", "x"),
    ("A^T", "A"), ("\\lfloor x\\rfloor", "\\lceil x\\rceil"), ("\\lfloor x\\rfloor", "x"), ("a\\times b", "a+b"),
    ("1\\text{ cm}", "1\\text{ cm}^{-1}"), ("5\\text{ m/s}", "5\\text{ m}"), ("5\\text{ cm}^2", "5\\text{ cm}"),
    ("\\frac{1}{2}", "\\frac{1}{2}\\text{ of 3}"), ("3\\times 4", "12 \\text{ or } 3\\times 5"), ("3", "3 dozen"),
    ("(x-1)(x+2)", "(x-1)(x-2)"), ("1/2", "1 / 2 / 1 /1/ 2"), ("\\{1,2\\}", "\\{\\{1,2\\}\\}"),
    ("\\{(1,2)\\}", "\\{1,2\\}"), ("(1,(2,3))", "((1,2),3)"), ("1,2;3,4", "1,3;2,4"), ("(1,2),(3,4)", "(1,3),(2,4)"),
    ("[1,2]\\cup[3,4]", "[1,4]"), ("(1,3)", "(1,2)\\cup(2,3)"), ("x\\ne 2", "x=2"), ("x<2", "-x<2"), ("-x<2", "x<2"),
    ("2x<4", "x<4"), ("x<2", "2x<2"), ("x\\in\\{2,3\\}", "\\{2,4\\}"), ("2^{2021}-1", "2^{2021}"),
    ("\\dbinom{n}{2}", "\\frac{n(n+1)}{2}"), ("\\sum_{k=1}^{n} k", "\\frac{n(n-1)}{2}"),
    ("\\lfloor \\frac{n}{2} \\rfloor", "\\lceil n/2 \\rceil"), ("\\lfloor n/2\\rfloor", "n/2"),
    ("(x-1)^2+(y+2)^2=9", "(x+1)^2+(y-2)^2=9"), ("12 \\text{ cm}^{2}", "12 cm^3"), ("10:30 \\text{ AM}", "10:30 pm"),
    ("Monday", "Tuesday"), ("True", "False"), ("\\langle 1,2\\rangle", "\\langle 2, 1\\rangle"), ("\\sqrt{x}", "x^{2}"),
    ("\\log_3 5", "\\frac{\\ln 3}{\\ln 5}"), ("3+\\sqrt{5}", "3 + 2.236"), ("e", "2.718"), ("2.718", "e"),
    ("\\frac{1}{3}", ".33333333"), ("9", "9\\%"), ("9\\%", "9"), ("1", "1.0000001"), ("10000", "9999"),
    ("99999999999999999999", "1e20"), ("i", "-i"), ("-3\\leq x<5", "-3 \\leq x \\leq 5"),
    ("\\frac{\\sqrt{6}+\\sqrt{2}}{4}", "\\sin 15^\\circ"), ("\\cos\\theta", "\\sin\\theta"), ("n!", "(n-1)!"),
    ("2^{n}-1", "2^{n-1}"), ("10\\text{ m/s}", "10 km/h"), ("5:00", "5"), ("10^{-10}", "0"),
    ("0", "10^{-30}"), ("1/7", "0.142857"), ("11/2", "1\\frac12"), ("1\\frac12", "11/2"), ("-1\\frac12", "-0.5"),
    ("12 hours 30 minutes", "12 hours 20 minutes"), ("90^\\circ", "\\frac{\\pi}{3}"),
]  # fmt: skip
"""Reference and an answer that is nearly that: what a policy would try, and what careless readers take for it."""

SAME += [
    ("45\\text{ minutes}", "45\\text{ min}"), ("2\\text{ L}", "2 L"), ("\\$7.25", "USD 7.25"), ("40", "\\text{Rs }40"),
    ("5\\text{ m/s}^2", "5\\text{ meters per second squared}"), ("(-\\infty,2]\\cup[7,\\infty)", "\\mathbb{R}\\setminus(2,7)"),
    ("(-\\infty,2]\\cup[7,\\infty)", "x\\le2, x\\ge7"), ("(0,\\infty)", "\\text{all positive real numbers}"),
    ("[0,\\infty)", "\\text{nonnegative reals}"), ("\\mathbb{R}\\setminus\\{3,5\\}", "x\\ne 3,5"),
    ("\\mathbb{R}\\setminus\\{3,5\\}", "x\\ne 5 \\text{ and } x\\ne 3"), ("y<3x+4", "y-3x<4"), ("y<3x+4", "3x-y+4>0"),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "[[1,2],[3,4]]"), ("\\begin{pmatrix}1\\\\3\\end{pmatrix}", "\\begin{pmatrix}1\\\\[2pt]3\\end{pmatrix}"),
    ("\\begin{cases}x&x<1\\\\2&x\\ge1\\end{cases}", "\\begin{cases}x,&x<1\\\\2,&\\text{otherwise}\\end{cases}"), ("\\frac{8}{33}", "0.(24)"),
    ("\\binom{9}{4}", "C_9^4"), ("\\binom{9}{4}", "{}_9C_4"), ("126", "C(9,4)"), ("126", "^9C_4"), ("1\\pm\\sqrt7", "\\{1\\pm\\sqrt7\\}"),
    ("9", "a=b=9"), ("15", "\\text{fifteen marbles}"), ("15", "\\text{fifteen (15)}"), ("May 9", "\\text{May 9th}"), ("May 9", "\\text{the 9th of May}"),
    ("15", "一共15本"), ("\\frac25", "五分之二"), ("0.07", "百分之七"), ("5:7", "5∶7"), ("\\sqrt{45}", "\\sqrt45"), ("-9", "\\text{negative 9}"),
    ("\\frac12", "\\text{half}"), ("4, 9", "9 \\& 4"), ("(2,-5)", "2i-5j"), ("(2,-5)", "\\vec{u}=(2,-5)"), ("k^2+1", "k^2+1\\ (k\\ge 1)"),
    ("k^2+1", "k^2+1 \\text{ for } k\\geq 1"), ("2/5, 3/5", "lose 2/5, win 3/5"), ("\\text{cis } 90^\\circ", "i"),
]  # fmt: skip
NEAR_MISSES += [
    ("8", "\\text{one of the values is }8"), ("8", "\\text{The largest value is not }8"), ("\\text{Eve is }8, \\text{Ivo is }5", "\\text{Eve is }5, \\text{Ivo is }8"),
    ("7\\pi", "7\\pi\\approx 25"), ("\\frac23", "\\frac23\\approx0.7777"), ("8", "\\phantom{8}"), ("81", "81\\ (=3^5)"),
    ("\\frac{7}{33}", "0.212120\\ldots"), ("8", "8 \\text{ (at } x=2\\text{)} \\text{ or } 9"),
    ("2,5", "win 5, lose 2"), ("\\frac23", "-\\text{two thirds}"), ("9", "-\\text{nine}"), ("(0,4)", "3+x\\in(0,4)"), ("\\{(1,2)\\}", "2(x,y)\\in\\{(1,2)\\}"),
    ("1000000", "1e6!"), ("\\frac{2\\pi}{3} or 120^\\circ", "60^\\circ"), ("2 or 3", "2"), ("\\text{Dana and Igor}", "\\text{Dana}"), ("\\text{Dana and Igor}", "\\text{Dana or Igor}"),
    ("乙", "甲"), ("3", "\\lim_{x\\to0}\\frac{3x}{x}=4"), ("3", "\\lim_{x\\to0}\\frac{3x}{x}"), ("x\\in\\mathbb{R}, y>3", "y>3"), ("\\text{C}\\text{O}_2", "CO_3"), ("9", "a=8=9"), ("15", "\\text{fifteen hundred}"), ("15", "\\text{fifteen or more}"), ("\\frac25", "二分之五"),
    ("\\mathbb{R}\\setminus\\{3,5\\}", "x\\ne 3"), ("y<3x+4", "y-3x>4"), ("y<3x+4", "y-3x\\le4"), ("\\pm 3", "(3,-3)"), ("\\sqrt{45}", "\\sqrt4\\cdot5"),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "[[1,3],[2,4]]"), ("x>\\frac32", "2x>3"), ("\\binom{9}{4}", "C_9^3"),
    ("(-\\infty,2]\\cup[7,\\infty)", "\\mathbb{R}\\setminus[2,7]"), ("(2,-5)", "2i+5j"), ("[0,\\infty)", "\\text{positive real numbers}"),
    ("k^2+1", "k^2+1\\ (k\\ge 5)"), ("May 9", "\\text{9th of June}"), ("5\\text{ m/s}^2", "5\\text{ meters per second cubed}"),
]  # fmt: skip

NOTATIONS = {
    "grouped with decimals": ("48210.75", ("48\\,210.75", "48\u202f210.75"), ("48\u202f210.57",)),
    "grouped twice with decimals": ("3048210.75", ("3 048 210.75", "3\u00a0048\u00a0210.75"), ("3 048 210.7", "3 048 201.75")),
    "marks over digits": ("\\frac{7}{30}", ("0.2\\dot3", "0.2\\bar{3}", "0.23\u0305"), ("0.\\dot{2}\\dot{3}", "0.23", "0.\\bar{23}")),
    "a sign in braces or in words": ("-46", ("{-}46", "moins 46", "负46", "零下46度"), ("46", "moins 64")),
    "siunitx": ("12\\text{ m}", ("\\SI{12}{m}", "\\qty{12}{\\meter}", "\\num{12}", "\\mathrm{12~m}", "1200\\text{ cm}"), ("\\SI{12}{cm}",)),
    "signs of areas": ("30", ("30㎡", "30㎥"), ("302",)),
    "a box behind an equals sign": ("19", ("n = \\boxed{19}",), ("1\\boxed{9}", "n = 1\\boxed{9}")),
    "mixed numbers in words": ("3.75", ("three and three quarters",), ("three and four quarters", "three quarters")),
    "percent": ("45\\%", ("forty-five percent", "45\\text{\\%}", "45\\%\\text{ of the students}"), ("forty-five", "fifty-four percent")),
    "clocks": ("7:50", ("7h50", "7点50分", "7.50 pm"), ("\\frac{7}{50}\\cdot2", "7.50", "5:70")),
    "a clock that is no ratio": ("6:30", ("6:30 am",), ("\\frac{6}{30}", "\\frac15", "1:5", "2:10")),
    "dates": ("May 9, 2004", ("May 9th, 2004", "9 mai 2004", "9. Mai 2004", "9 de mayo de 2004", "Sunday, May 9, 2004"), ("9 mars 2004", "May 9, 2005")),
    "nothing solves it": ("\\text{no solution}", ("sin solución", "pas de solution", "no such x", "The equation has no solution"), ("one solution", "x=0", "\\text{all solutions}")),
    "a name of the line": ("y=4x-1", ("l: 4x-y-1=0", "L: y=4x-1"), ("l: y=4x+1",)),
    "constants": ("x^5-e^x+C", ("x^5-e^x+\\text{const}", "x^5-e^x+\\text{constant}", "x^5-e^x+k"), ("x^5-e^x+x", "x^5+e^x+k")),
    "bases by name": ("3E_{16}", ("3E_{\\text{hex}}",), ("3E_{\\text{oct}}", "3F_{\\text{hex}}")),
    "congruence signs": ("x\\equiv 4\\pmod 9", ("x≡4 (mod 9)",), ("x≡5 (mod 9)", "x≡4 (mod 8)")),
    "functions in braces": ("\\cos^2 x", ("{\\cos}^2 x",), ("{\\sin}^2 x",)),
    "rows ended by cr": ("\\begin{pmatrix}5&1\\\\0&2\\end{pmatrix}", ("\\begin{pmatrix}5&1\\cr 0&2\\end{pmatrix}",), ("\\begin{pmatrix}5&0\\cr 1&2\\end{pmatrix}",)),
    "cases as an array": (
        "\\begin{cases} 2x & x<1 \\\\ 3 & x\\ge1\\end{cases}",
        ("\\left\\{\\begin{array}{ll} 2x & x<1 \\\\ 3 & x\\ge1\\end{array}\\right.",),
        ("\\left\\{\\begin{array}{ll} 2x & x<1 \\\\ 4 & x\\ge1\\end{array}\\right.",),
    ),
}  # fmt: skip

RIGHT = [(cause, reference, answer) for cause, cases in CASES.items() for reference, right, _ in cases for answer in right]
RIGHT += [(cause, reference, answer) for cause, (reference, right, _) in NOTATIONS.items() for answer in right]
RIGHT += [("mixed", *pair) for pair in SAME]
WRONG = [(cause, reference, answer) for cause, cases in CASES.items() for reference, _, wrong in cases for answer in wrong]
WRONG += [(cause, reference, answer) for cause, (reference, _, wrong) in NOTATIONS.items() for answer in wrong]
WRONG += [("near misses", *pair) for pair in NEAR_MISSES]


def boxed(answer: str) -> str:
    return f"<think>so</think> It is \\boxed{{{answer}}}."


@pytest.mark.parametrize(("cause", "reference", "answer"), RIGHT)
def test_an_answer_that_says_the_same_is_right(cause, reference, answer):
    verdict = verify(reference, boxed(answer))
    assert verdict.correct is True, verdict


@pytest.mark.parametrize(("cause", "reference", "answer"), WRONG)
def test_an_answer_that_says_something_else_is_wrong(cause, reference, answer):
    verdict = verify(reference, boxed(answer))
    assert verdict.correct is False, verdict


@pytest.mark.parametrize(("cause", "reference"), sorted({(cause, reference) for cause, reference, _ in RIGHT}))
def test_every_reference_can_be_read_and_equals_itself(cause, reference):
    assert verify(reference, boxed(reference)).correct is True
