"""Answers as text: one spelling for what makes no difference to anybody. Everything here is linear in the text."""

from __future__ import annotations

import re
import unicodedata

_SYMBOLS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-",
    "×": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/",
    "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\neq ", "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp ",
    "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "∖": r"\setminus ",
    "π": r"\pi ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "θ": r"\theta ", "λ": r"\lambda ",
    "μ": r"\mu ", "φ": r"\phi ", "ϕ": r"\phi ", "ω": r"\omega ", "σ": r"\sigma ", "ρ": r"\rho ", "ε": r"\epsilon ",
    "º": "°", "˚": "°", "…": r"\ldots ", "⋯": r"\ldots ", "′": "'", "’": "'", "٪": "%", "٫": ".", "٬": ",", "、": ",",
    "∶": ":", "｛": r"\{", "｝": r"\}", "ℝ": r"\mathbb{R}", "≡": r"\equiv ", "∧": r"\text{ and }", "∨": r"\text{ or }", "㎡": r"\text{ m}^2", "㎥": r"\text{ m}^3",
    "㎠": r"\text{ cm}^2", "㎢": r"\text{ km}^2", "√": r"\sqrt ", "∛": r"\sqrt[3]",
}  # fmt: skip
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₙ", "0123456789+-n", strict=True))
_SUPERSCRIPT = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_SUBSCRIPT = re.compile(f"[{''.join(_SUBSCRIPTS)}]+")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]")
_ROOT_OF_NUMBER = re.compile(r"√\s?([0-9]+)")
_ROOT_OF_GROUP = re.compile(r"√\s?\(([^()]{1,60})\)")
_QUOTES = re.compile(r"^(?:``|[\"“”„«「『‘]|'(?=[^']+'$))(.*?)(?:''|[\"“”»」』’]|')\.?$", re.DOTALL)
_COLOR = re.compile(r"\\(?:textcolor|colorbox|color)\s?(?:\[[a-zA-Z]{1,9}\])?\s?\{[^{}]{1,30}\}")
_ENVIRONMENT = re.compile(
    r"\\(?:begin|end)\s?\{(?:aligned|align|align\*|alignedat|gather|gathered|gather\*|equation|equation\*|split|displaymath|math|eqnarray)\}"
)
_CHOOSE = re.compile(r"\{\s?([^{}]{1,30}?)\s?\\choose\s?([^{}]{1,30}?)\s?\}")
_OPERATORNAME = re.compile(
    r"\\(?:operatorname\*?|mathrm|text|rm)\s?\{\s?(sin|cos|tan|cot|sec|csc|ln|log|lg|exp|gcd|lcm|min|max|arcsin|arccos|arctan|sinh|cosh|tanh|mod|deg|det|Re|Im)\s?\}"
)
_MINUTES = re.compile(r"(?<=[0-9])(?:[\s~]|\\[,; ]){0,2}\\(?:text|mathrm|rm)\s?\{\s?(min|sec|deg)\s?\}")
_ROW_SKIP = re.compile(r"(\\\\)\s?\[[0-9.]{1,4}\s?(?:pt|ex|em|mm|cm)\]")
_COMBINATIONS = re.compile(
    r"(?:\{\}|(?<![0-9a-zA-Z}^_]))(?:[_^]\{?(?P<n>[0-9]{1,3})\}?\s?(?:\\(?:mathrm|text|rm)\s?\{\s?C\s?\}|C)\s?_\{?(?P<k>[0-9]{1,3})\}?"
    r"|(?:\\(?:mathrm|text|rm)\s?\{\s?C\s?\}|C)_\{?(?P<below>[0-9]{1,3})\}?\s?\^\{?(?P<above>[0-9]{1,3})\}?)(?![0-9])"
)
_REPEATING_IN_PARENTHESES = re.compile(r"(-?[0-9]{1,9}\.[0-9]{0,9})\(([0-9]{1,9})\)")
_UPPER_FIRST = re.compile(
    r"\\(sum|prod|int|bigcup|bigcap)\s?\^(\{[^{}]{1,40}\}|[0-9a-zA-Z]|\\[a-zA-Z]+)\s?_(\{[^{}]{1,40}\}|[0-9a-zA-Z])"
)
_UNIT_VECTOR = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|hat|vec|widehat|overrightarrow|mathbf\{\\hat|hat\{\\mathbf|textbf)\s?\{\s?\\?([ijk])(?:math)?\s?\}+"
)
_RECURRING = re.compile(
    r"(?<![0-9.])([0-9]*\.[0-9]*?)([0-9]{1,6}?)\2{1,}(?:[0-9]{0,5})\s?(?:\.\.\.|…|\\(?:l|c)?dots)(?![0-9a-zA-Z])"
)
_DOTTED = re.compile(r"(\.[0-9]*)\\dot\s?\{?([0-9])\}?([0-9]*)\\dot\s?\{?([0-9])\}?")
_DOTTED_LAST = re.compile(r"(\.[0-9]*)\\(?:dot|bar)\s?(?:\{\s?([0-9]{1,20})\s?\}|([0-9]))(?![0-9\\])")
_OVERLINED = re.compile("(?:[0-9]\u0305){1,20}")
_SIGN_IN_BRACES = re.compile(r"(?<![\^_a-zA-Z])\{\s?([-+])\s?\}(?=[0-9])")
_FUNCTION_IN_BRACES = re.compile(r"(?<![_^}a-zA-Z])\{\s?(\\(?:sin|cos|tan|cot|sec|csc|ln|log))\s?\}")
_BOX_IN_BOX = re.compile(r"(?:(?<==)|(?<== ))\\(?:boxed|fbox)\s?\{([^{}]{1,200})\}\s*$")
_SIUNITX = re.compile(r"\\(?:SI|qty)\s?\{([^{}]{1,40})\}\s?\{([^{}]{1,60})\}")
_NUM = re.compile(r"\\num\s?\{([^{}]{1,40})\}")
_NUMBER_IN_TEXT = re.compile(
    r"\\(?:text|mathrm|mbox|textrm)\s?\{\s?(-?[0-9][0-9.,]*)(?:\s|~|\\[,; ]){1,3}([^\W\d_][^{}\\=]{0,40})\}"
)
_CASES_AS_ARRAY = re.compile(
    r"\\left\s?\\\{\s?\\begin\s?\{array\}\s?(?:\{[^{}]{0,20}\})?(.*?)\\end\s?\{array\}\s?\\right\s?\.", re.DOTALL
)
_CONSTANT_IN_WORDS = re.compile(r"(?<=\+)\s?\\(?:text|mathrm|textrm)\s?\{\s?[cC]onst(?:ant)?\.?\s?\}")
_PERCENT_OF = re.compile(r"(?<=%)\s?\\text\{ ?of (?:the |all )?[a-z]+(?: [a-z]+)?\.? ?\}$")
_SPACED_GROUPS = re.compile(
    r"(?<![0-9.,])([0-9]{1,3}(?: [0-9]{3}){2,}|[0-9]{1,3}(?:[\u00a0\u202f][0-9]{3})+)(?![0-9]|,[0-9]{3}|[.,][0-9]+[.,])"
)
_GROUPED = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")
_POINTS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:(?:\.[0-9]{3}){2,}(?:,[0-9]+)?|(?:\.[0-9]{3})+,[0-9]{1,2})(?![0-9.,])")
_TIMES_TEN = re.compile(r"(?<=[0-9]) ?[xX] ?(?=10\s?\^)")
_EXPONENT_GROUP = re.compile(r"\^\s?\(([^()]{1,40})\)")
_DECIMAL_EXPONENT = re.compile(r"\^\s?(-?[0-9]*\.[0-9]+)")
_LABEL = re.compile(r"\\(?:tag\*?|label)\s?\{[^{}]{0,30}\}")
_TEXT_SIGN = re.compile(r"\\(?:text|mathrm|textrm)\s?\{\s?([-+=,;])\s?\}")
_INVISIBLE_COMMAND = re.compile(
    r"\\[hv]?phantom\s?\{[^{}]*\}|\\[hv]space\*?\s?\{[^{}]*\}|\\(?:text|mathrm|mbox)\s?\{\s?\}|(?<=[0-9)])\{\}\s*$|(?:\\\\\s*)+$"
    r"|\\(?:rm|bf|it|tt|sf|sl|cal|mit)(?![a-zA-Z])(?!\s?\{)"
)
_QUAD_BETWEEN = re.compile(r"(?<=[0-9}a-zA-Z)])\s*\\q?quad\s*(?=[a-zA-Z](?:_[0-9])?\s?=)")
_ABSOLUTE = re.compile(r"(?<![a-zA-Z\\])abs\(([^()]{1,80})\)")
_ANGLES = re.compile(r"<([^<>=]+(?:,[^<>=]+)+)>")
_HEX = re.compile(r"^0x([0-9a-fA-F]{1,16})$")

_SPELLINGS = {
    "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "nicefrac": r"\frac", "sfrac": r"\frac", "flatfrac": r"\frac", "dbinom": r"\binom", "tbinom": r"\binom",
    "leq": r"\le", "leqslant": r"\le", "leqq": r"\le", "geq": r"\ge", "geqslant": r"\ge", "geqq": r"\ge", "ne": r"\neq",
    "lt": "<", "gt": ">", "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[", "rbrack": "]", "colon": ":", "mid": "|",
    "vert": "|", "lvert": "|", "rvert": "|", "degree": "°", "dots": r"\ldots", "cdots": r"\ldots", "dotsc": r"\ldots",
    "dotsb": r"\ldots", "varnothing": r"\emptyset", "backslash": r"\setminus", "smallsetminus": r"\setminus",
    "to": r"\to", "sim": r"\approx", "thickapprox": r"\approx", "approxeq": r"\approx", "ast": "*", "land": r"\text{ and }",
    "lor": r"\text{ or }", "wedge": r"\text{ and }", "vee": r"\text{ or }", "varphi": r"\phi", "varepsilon": r"\epsilon",
    "imath": "i", "euro": r"\text{€}", "pounds": r"\text{£}", "prime": "'", "div": "/", "operatorname*": r"\text",
    "infin": r"\infty", "lg": r"\log_{10}", "tg": r"\tan", "ctg": r"\cot", "arctg": r"\arctan", "arcctg": r"\arccot", "sh": r"\sinh",
    "ch": r"\cosh", "th": r"\tanh", "gtrsim": r"\gtrsim", "ldotp": ".", "dotsm": r"\ldots", "smallmatrix": r"\smallmatrix", "langle": "(", "rangle": ")", "rightarrow": r"\to", "overrightarrow": r"\vec", "implies": r"\Rightarrow",
}  # fmt: skip
_TEXT_COMMANDS = frozenset(
    re.split(
        " ",
        "text textbf textit textrm textnormal textsf texttt mathrm mathbf mathit mathsf mathtt mathbfit mbox hbox "
        "bold boldsymbol pmb bm operatorname emph underline rm",
    )
)
_NOTHING = frozenset(
    re.split(
        " ",
        "left right middle displaystyle textstyle scriptstyle limits nolimits bigl bigr Bigl Bigr biggl biggr Biggl Biggr "
        "big Big bigg Bigg mleft mright quad qquad thinspace hspace hfill allowbreak nonumber notag "
        "large Large LARGE huge Huge small footnotesize normalsize tiny itshape bfseries checkmark therefore enspace medspace",
    )
)
_COMMAND = re.compile(r"\\([a-zA-Z]+\*?)|\\(.)|(\$+)|(~)", re.DOTALL)
_IN_CODE = (("<=", r"\le "), (">=", r"\ge "), ("!=", r"\neq "), (r"\text{\$}", r"\$"), (r"\text{\%}", r"\%"), ("{:}", ":"))
_THIN_SPACES = ",;:! >"
_FULL_STOPS = re.compile(r"(?:(?<![.])[.]|[。।]|\s)+$")
_GROUPING = re.compile(
    r"(?<=[0-9])(?:\\[;:]|\{,\}|,\\!\s?|,\\,\s?|\\,|\{\s\}|\\ |\\!|'(?=[0-9]{3}(?![0-9])))(?=[0-9]{3}(?![0-9]))"
)
_ORDINAL = re.compile(r"(?<=[0-9])\s?(?:\^\s?\{?\s?)?(?:\\text\{\s?)?(?:st|nd|rd|th)(?![a-zA-Z])\s?\}{0,2}")
_DEGREES = re.compile(r"\^\s?(?:\\circ(?![a-zA-Z])|\{\s?\\circ\s?\}|°)|\\circ(?=\s*$)")
_ROMAN_ARGUMENT = re.compile(r"\\text\s?\{\s?([a-zA-Z])\s?\}")
_LONG_EXPONENT = re.compile(r"\^\s?(-?[0-9]{2,}|-[0-9a-zA-Z])(?![0-9])")
_POWER_IN_CODE = re.compile(r"(?<=[0-9a-zA-Z)\]}])\s?\*\*\s?(?=[0-9a-zA-Z({-])")
_SCIENTIFIC = re.compile(r"(?<![0-9a-zA-Z.])([0-9]+(?:\.[0-9]+)?)[eE]([+-]?[0-9]{1,4})(?![0-9a-zA-Z.])")
_SPACE_BEFORE_DIGIT = re.compile(r"(\\[a-zA-Z]+) (?=[0-9])")
_IDLE_SPACE = re.compile(r" (?!\w)|(?<!\w) ")
_WANTS_BRACES = re.compile(r"\\(?:frac|sqrt|binom)(?![a-zA-Z])")
_CIS = re.compile(
    r"(?:\\text\{ ?cis ?\}|\\cis|(?<![a-zA-Z])cis)(?![a-zA-Z]) ?(?:\(([^()]{1,40})\)|\{?([0-9.]{1,9}°?|\\frac\{[^{}]{1,20}\}\{[^{}]{1,20}\}|\\?[a-z]+)\}?)"
)
_ANGLE = re.compile(r"([0-9]+)°")
_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")
_TOKEN = re.compile(r"\\[a-zA-Z]+|\\?.", re.DOTALL)
_PERCENT = re.compile(
    r"(?<=[0-9}]) ?(?:\\text\{ ?)?(?:per ?cent|percentage|percent|pct)(?![a-zA-Z])(?! ?points)(?: ?\})?", re.IGNORECASE
)
_WORD_SQRT = re.compile(
    r"(?<![a-zA-Z\\])(sqrt|pi|infinity|infty|oo|inf|exp|sin(?! soluci)|cos|tan|cot|ln|log|arcsin|arccos|arctan)(?![a-zA-Z])"
)


def normalize(text: str) -> str:
    """Return the text in one spelling: no math delimiters, no idle white space, no decoration, LaTeX for Unicode symbols.

    White space between two word characters stays: `1 2` is not `12`. A dollar sign that is money becomes `\\$`.
    """
    if _PLAIN_NUMBER.fullmatch(text):
        return text
    text = _POINTS.sub(lambda found: found[0].replace(".", "").replace(",", "."), text)
    text = _TIMES_TEN.sub(r" \\times ", text)
    text = _SPACED_GROUPS.sub(lambda found: re.sub(r"\s", "", found[0]), text)
    text = _without_unicode(text)
    if quoted := _QUOTES.match(text.strip()):
        text = quoted[1]
    if "\\" in text:
        text = _respelled(text)
    if "{" in text:
        text = _SIGN_IN_BRACES.sub(r"\1", text)
    if "C" in text and ("_" in text or "^" in text):
        text = _COMBINATIONS.sub(_combinations, text)
    if text.endswith(")") and (repeating := _REPEATING_IN_PARENTHESES.fullmatch(text.strip())):
        text = rf"{repeating[1]}\overline{{{repeating[2]}}}"
    if "..." in text or "dots" in text:
        text = _RECURRING.sub(_recurring, text)
    text = _GROUPING.sub(",", text)
    for written, meant in _IN_CODE:
        text = text.replace(written, meant)
    text = _COMMAND.sub(_spell, text)
    text = _DEGREES.sub("°", text)
    text = " ".join(text.split())
    if not any(bracket in text for bracket in ("(", "[", r"\{")):  # `(1,234)` is a pair
        text = _GROUPED.sub(lambda found: found[0].replace(",", ""), text)
    text = _without_markdown(text)
    text = _FULL_STOPS.sub("", text) or text.strip()
    if "& " in text and "\\begin" not in text:
        text = re.sub(r" \\?& ", r"\\text{ and }", text)
    text = _PERCENT_OF.sub("", _PERCENT.sub("%", text))
    text = _ORDINAL.sub(r" \\text{th}", text)
    text = _POWER_IN_CODE.sub("^", text)
    if "^" in text:
        text = _DECIMAL_EXPONENT.sub(r"^{\1}", _EXPONENT_GROUP.sub(r"^{\1}", text))
    if "(" in text:
        text = _ABSOLUTE.sub(r"|\1|", text)
    if angles := _ANGLES.fullmatch(text):
        text = f"({angles[1]})"
    text = _LONG_EXPONENT.sub(r"^{\1}", text)
    text = _SCIENTIFIC.sub(r"\1\\times 10^{\2}", text)
    text = _WORD_SQRT.sub(_spell_word, text)
    text = _ROMAN_ARGUMENT.sub(_roman_letter, text)
    if "cis" in text:
        text = _CIS.sub(lambda found: rf"(\cos({found[1] or found[2]})+i\sin({found[1] or found[2]}))", text)
    text = _IDLE_SPACE.sub("", _SPACE_BEFORE_DIGIT.sub(r"\1", text))
    if "°" in text and _TRIGONOMETRY.search(text):
        text = _ANGLE.sub(r"(\\frac{\1\\pi}{180})", text)  # `\\sin 60°`
    return _with_braces(text)


_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")


def _respelled(text: str) -> str:
    """LaTeX that is written in more than one way, before single commands are respelled."""
    text = text.replace(r"\^circ", r"^\circ").replace(r"\^\circ", r"^\circ")
    if "\\begin" in text:
        text = _CASES_AS_ARRAY.sub(r"\\begin{cases}\1\\end{cases}", re.sub(r"\\cr(?![a-zA-Z])", r"\\\\", text))
        text, found = _ENVIRONMENT.subn(" ", text)
        if found:
            text = re.sub(r"\\\\(?:\[[^\]]{0,8}\])?\s*", ", ", text.replace("&", " ")).strip(" ,")
    elif "&" not in text and re.search(r"\\\\\s*(?![a-zA-Z])(?=.*[=])|\\\\\s*(?=[a-zA-Z]\s?=)", text):
        text = re.sub(r"\\\\(?:\s+(?=\S)|(?=[a-zA-Z]\s?=))", ", ", text)
    text = _INVISIBLE_COMMAND.sub(" ", _BOX_IN_BOX.sub(r"\1", text))
    text = _SIUNITX.sub(_with_unit, _NUM.sub(r"\1", text))
    text = _NUMBER_IN_TEXT.sub(r"\1\\text{ \2}", text)
    text = _CONSTANT_IN_WORDS.sub("C", text)
    text = _FUNCTION_IN_BRACES.sub(r"\1", text)
    text = _QUAD_BETWEEN.sub(", ", text)
    text = _TEXT_SIGN.sub(r"\1", _LABEL.sub("", _COLOR.sub("", text)))
    text = _ROW_SKIP.sub(r"\1", text)
    text = _MINUTES.sub(r" \1 ", text)
    text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
    text = _OPERATORNAME.sub(r"\\\1 ", text)
    text = _UPPER_FIRST.sub(r"\\\1_\3^\2", text)
    text = _UNIT_VECTOR.sub(r"\\hat{\1}", text)
    return _DOTTED_LAST.sub(r"\1\\overline{\2\3}", _DOTTED.sub(r"\1\\overline{\2\3\4}", text))


def _with_unit(found: re.Match[str]) -> str:
    """`\\SI{25}{m/s}`, `\\qty{25}{\\meter\\per\\second}` as a number and its unit."""
    unit = " ".join(found[2].replace("\\", " ").split())
    return rf"{found[1]}\text{{ {unit}}}"


def _combinations(found: re.Match[str]) -> str:
    """`C_{10}^3`, `{}_{10}C_3` as binomial coefficients."""
    return rf"\binom{{{found['n'] or found['below']}}}{{{found['k'] or found['above']}}}"


def _recurring(found: re.Match[str]) -> str:
    """`0.333...` is 0.3 with a period of 3; the digits must repeat three times, or a longer period twice."""
    written = re.match(r"[0-9]*", found[0][len(found[1]) :])
    digits = written[0] if written else ""
    enough = len(digits) >= (3 if len(found[2]) == 1 else 2 * len(found[2])) and (found[2] * len(digits)).startswith(digits)
    return rf"{found[1]}\overline{{{found[2]}}}" if enough else found[0]


def words(normalized: str) -> str:
    """Return a normalized text as words only: the contents of `\\text{…}`, single spaces, no quotes or full stops at the ends."""
    plain = normalized.replace(r"\text{", " ").replace("}", " ").replace("{", " ").replace("\\", " ")
    return " ".join(plain.split()).strip(" .,;:!\"'`*()")


def balanced(normalized: str) -> bool:
    """Return whether every bracket of a text that closes was opened, and every one that opens is closed."""
    depth = 0
    for token in _TOKEN.finditer(normalized):
        piece = token[0]
        if piece in ("(", "[", "{", r"\{"):
            depth += 1
        elif piece in (")", "]", "}", r"\}"):
            depth -= 1
            if depth < 0:
                return False
    return depth == 0


def _without_unicode(text: str) -> str:
    if text.isascii():
        return text
    text = _INVISIBLE.sub("", text)
    text = _OVERLINED.sub(lambda run: "\\overline{" + run[0].replace("\u0305", "") + "}", text)
    text = _ROOT_OF_GROUP.sub(r"\\sqrt{\1}", text)
    text = _SUPERSCRIPT.sub(lambda run: "^{" + "".join(map(_SUPERSCRIPTS.__getitem__, run[0])) + "}", text)
    text = _SUBSCRIPT.sub(lambda run: "_{" + "".join(map(_SUBSCRIPTS.__getitem__, run[0])) + "}", text)
    return "".join(map(_ascii, _ROOT_OF_NUMBER.sub(r"\\sqrt{\1}", text)))


def _ascii(char: str) -> str:
    """Return one character in ASCII where it has a plain reading; itself otherwise."""
    if char.isascii():
        return char
    if char in _SYMBOLS:
        return _SYMBOLS[char]
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    plain = unicodedata.normalize("NFKC", char)
    if "⁄" in plain:  # a vulgar fraction
        numerator, _, denominator = plain.partition("⁄")
        return rf"\frac{{{numerator}}}{{{denominator or 1}}}"
    return plain if len(plain) < 8 else char


def _spell(command: re.Match[str]) -> str:
    word, single, dollars, tie = command.groups()
    if dollars or tie:
        return " "
    if single is not None:
        if single == "\n":
            return " "
        if single in "()[]" or single in _THIN_SPACES:
            return " "
        if single == "%":
            return "%"
        return command[0]
    if word in _NOTHING:
        return " "
    if word in _TEXT_COMMANDS:
        return r"\text"
    return _SPELLINGS.get(word, command[0])


def _spell_word(word: re.Match[str]) -> str:
    return r"\infty " if word[1] in ("infinity", "infty", "oo", "inf") else rf"\{word[1]} "


def _roman_letter(found: re.Match[str]) -> str:
    """`\\mathrm{i}`, `\\mathrm{e}` are constants; another single letter in roman type may be a unit or a choice."""
    return found[1] if found[1] in "ie" else found[0]


def _without_markdown(text: str) -> str:
    for mark in ("**", "__", "*", "`"):
        while len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            text = text[len(mark) : -len(mark)].strip()
        stopped = text.rstrip(".,;:!")
        if len(stopped) > 2 * len(mark) and text.startswith(mark) and stopped.endswith(mark):
            text = stopped[len(mark) : -len(mark)].strip()
    return text


def _with_braces(text: str) -> str:
    """`\\frac12`, `\\frac{1}c`, `\\sqrt2`, `\\sqrt(2)` with the braces that LaTeX implies (and models mean)."""
    if not _WANTS_BRACES.search(text):
        return text
    return _Braces(_TOKEN.findall(text)).rest()


class _Braces:
    """Writes out the arguments of `\\frac`, `\\binom` and `\\sqrt`. Recursive, for texts that `guards.excess` lets through."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._next = 0

    def rest(self, closing: str = "") -> str:
        """Return what follows, up to and without the token `closing`."""
        out: list[str] = []
        while self._next < len(self._tokens):
            token = self._take()
            if token == closing:
                break
            out.append(self._write(token))
        return "".join(out)

    def _take(self) -> str:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _write(self, token: str) -> str:
        if token in (r"\frac", r"\binom"):
            return token + self._argument() + self._argument()
        if token == r"\sqrt":
            return token + self._index() + self._argument(of_root=True)
        if token == "{":
            return "{" + self.rest("}") + "}"
        return token

    def _argument(self, *, of_root: bool = False) -> str:
        while self._next < len(self._tokens) and self._tokens[self._next] == " ":
            self._next += 1
        if self._next == len(self._tokens) or self._tokens[self._next] in ("}", ")", "]", ","):
            return ""  # malformed; left as it is
        token = self._take()
        if of_root and token.isdecimal():  # `\\sqrt20`
            while self._next < len(self._tokens) and self._tokens[self._next].isdecimal():
                token += self._take()
        if token == "{":
            return "{" + self.rest("}") + "}"
        if token == "(":  # `\\sqrt(2)`
            return "{" + self.rest(")") + "}"
        return "{" + self._write(token) + "}"

    def _index(self) -> str:
        if self._next < len(self._tokens) and self._tokens[self._next] == "[":
            self._next += 1
            return "[" + self.rest("]") + "]"
        return ""
