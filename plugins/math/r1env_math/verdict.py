"""`verify`: is the final answer of a completion the reference answer, and how was that decided?"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction

import r1env
from r1env_math import symbolic
from r1env_math.ambiguity import Case, doubt, doubt_of_equal
from r1env_math.ast import (
    INFINITY,
    Approximate,
    Congruence,
    Equation,
    Expression,
    Form,
    Interval,
    Items,
    Matrix,
    Option,
    Piecewise,
    Ratio,
    Region,
    Words,
)
from r1env_math.choice import Index, Pick, content_of_reference, letters_of_reference, options_of, pick
from r1env_math.compare import Context, Scalars, equal
from r1env_math.exact import approximation, has_finite_decimal
from r1env_math.extraction import PERCENT_DROPPED, Extraction, readings
from r1env_math.guards import excess, repeats_question, unevaluated
from r1env_math.normalize import normalize
from r1env_math.numeric import rational, value_of
from r1env_math.parser import read
from r1env_math.phrases import DENIAL, writes_decimal_comma
from r1env_math.policy import AnswerPolicy
from r1env_math.reference import final_answer
from r1env_math.units import asked_for, quantity
from r1env_math.vocabulary import CHANGES, MEASURES, UNCLEAR, number_in_words, unit_of


class How(StrEnum):
    """What a verdict rests on."""

    TEXT = "text"  # both are the same text, or words that were compared as words
    EXACT = "exact"  # compared by exact arithmetic
    NUMERIC = "numeric"  # equal within the policy's tolerance, or as a rounded reference
    SET = "set"  # lists, tuples, sets, intervals or matrices, compared item by item and exactly
    CHOICE = "choice"  # a choice letter
    SYMBOLIC = "symbolic"  # computer algebra was needed for at least one part
    NO_ANSWER = "no_answer"  # the completion gives no single answer
    EXCESS = "excess"  # the answer is too long, too deep or too large to be looked at
    UNEVALUATED = "unevaluated"  # the answer is an integral, sum or limit still to be worked out, and the reference is none
    UNKNOWN_WORD = "unknown_word"  # a word beside a number of the answer is no known unit, and the number would be right
    AMBIGUOUS = "ambiguous"  # the answer is right in one reading of its notation, or of the reference, and wrong in another
    UNREADABLE = "unreadable"  # the answer is no mathematics that can be read
    BAD_REFERENCE = "bad_reference"  # the reference cannot be read, so nothing can be said


_STATUS = {
    How.NO_ANSWER: r1env.Status.NO_ANSWER,
    How.EXCESS: r1env.Status.UNPARSEABLE,
    How.UNREADABLE: r1env.Status.UNPARSEABLE,
    How.UNKNOWN_WORD: r1env.Status.UNPARSEABLE,
    How.AMBIGUOUS: r1env.Status.UNPARSEABLE,
    How.BAD_REFERENCE: r1env.Status.UNPARSEABLE,
}
_SAYINGS = {
    How.TEXT: "compared as text",
    How.EXACT: "compared exactly",
    How.NUMERIC: "equal after rounding",
    How.SET: "compared item by item",
    How.CHOICE: "compared as choices",
    How.SYMBOLIC: "compared by computer algebra",
    How.UNREADABLE: "cannot be read as mathematics",
    How.BAD_REFERENCE: "the reference answer cannot be read as mathematics",
}
_SHOWN = 200  # characters of a form in a verdict


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a completion is right, and why.

    Attributes:
        correct: None when it cannot be said: the reference cannot be read, or the answer is right in one reading only.
        how: see `How`.
        extracted: the answer that was found in the completion.
        reference_form, answer_form: how the two were read, for a person; empty where they were not.
        reason: one line for a person.
        seconds: CPU seconds that this took.
        open: computer algebra was not allowed and could say otherwise.
    """

    correct: bool | None
    how: How
    extracted: str | None
    reason: str
    reference_form: str = ""
    answer_form: str = ""
    seconds: float = 0.0
    open: bool = False

    @property
    def status(self) -> r1env.Status:
        """The status of the score that this verdict makes."""
        refused = r1env.Status.OK if self.correct else r1env.Status.WRONG
        return _STATUS.get(self.how, refused)


def verify(answer: str, completion: str, *, task: r1env.Task | None = None, policy: AnswerPolicy | None = None) -> Verdict:
    """Check a completion against the reference `answer`.

    Runs in this process and may take as long as SymPy takes; the reward `math` runs it in a worker with limits.

    Args:
        task: whose question it is. Where it asks for a percentage, `25` and `25\\%` are one answer.
        policy: what counts as the answer; see `AnswerPolicy`.
    """
    start = time.process_time()
    policy = policy or AnswerPolicy()
    verdict = _best(answer, completion, task, policy, with_algebra=True)
    return replace(verdict, seconds=time.process_time() - start)


def verify_choice(
    answer: str,
    completion: str,
    *,
    task: r1env.Task | None = None,
    policy: AnswerPolicy | None = None,
    index: Index = Index.AUTO,
) -> Verdict:
    """Check which option a completion picks against the reference: letters, an option's text, or an index.

    Example:
        >>> task = r1env.Task(id="1", prompt="What is 6*7?  A) 41  B) 42", answer="B")
        >>> verify_choice("B", "The correct option is B.", task=task).correct
        True
    """
    start = time.process_time()
    policy, options = policy or AnswerPolicy(), options_of(task)
    reference = letters_of_reference(answer, options, index)
    if reference is None:
        if options and final_answer(answer) is not None:
            verdict = Verdict(None, How.BAD_REFERENCE, None, "the reference names none of the options, or several")
        elif not (final_answer(answer) or "").strip():
            verdict = Verdict(None, How.BAD_REFERENCE, None, "the reference is empty")
        else:
            verdict = _best_of_readings(
                answer, completion, task, policy, with_algebra=False
            )  # an option's text, options unknown
    else:
        verdict = _picked(reference, pick(completion, options or content_of_reference(answer), policy))
    return replace(verdict, seconds=time.process_time() - start)


def _picked(reference: frozenset[str], picked: Pick) -> Verdict:
    shown = "".join(sorted(reference)), "".join(sorted(picked.letters))
    if picked.candidates:  # unscored only where one of them is right: contradicting oneself is no way round a zero
        return Verdict(None if reference in picked.candidates else False, How.CHOICE, picked.text, picked.reason, *shown)
    if not picked.letters:
        return Verdict(False, How.NO_ANSWER, picked.text, picked.reason, *shown)
    return Verdict(reference == picked.letters, How.CHOICE, picked.text, f"{_SAYINGS[How.CHOICE]} ({picked.reason})", *shown)


def _best(answer: str, completion: str, task: r1env.Task | None, policy: AnswerPolicy, *, with_algebra: bool) -> Verdict:
    """Return the verdict on letters where the reference is one, or where the question shows options; else that of the readings."""
    reference = final_answer(answer)
    if reference is not None and len(reference) < 200:
        letter = letters_of_reference(reference, {}, Index.NONE) if _LETTER.search(reference) else None
        if letter is not None and len(letter) == 1:
            return _picked(letter, pick(completion, options_of(task) or content_of_reference(reference), policy))
        options = options_of(task) if task is not None and (task.metadata or _LETTER.search(task.question)) else {}
        if options and (named := letters_of_reference(reference, options, Index.NONE)) is not None:
            verdict = _picked(named, pick(completion, options, policy))
            if verdict.correct is not False or letter is not None:
                return verdict
    return _best_of_readings(answer, completion, task, policy, with_algebra=with_algebra)


_LETTER = re.compile(r"(?<![a-zA-Z])[A-J](?![a-z])")


def _best_of_readings(
    answer: str, completion: str, task: r1env.Task | None, policy: AnswerPolicy, *, with_algebra: bool
) -> Verdict:
    """Return the verdict on the first reading that is right; that on the first reading where none is."""
    first: Verdict | None = None
    for found in readings(completion, policy):
        if found.context == PERCENT_DROPPED and task is not None and task.question:
            continue
        verdict = _of_reading(answer, found, task, policy, with_algebra=with_algebra)
        for other in found.others if verdict.correct is not False else ():
            rival = _of_reading(answer, replace(found, text=other), task, policy, with_algebra=with_algebra)
            if rival.correct is False and rival.how is not How.UNREADABLE:
                verdict = Verdict(False, How.NO_ANSWER, None, "different answers are stated", open=rival.open)
                break
        if verdict.correct:
            return verdict
        if first is None or (first.correct is False and verdict.correct is None):
            first = replace(verdict, open=verdict.open or (first is not None and first.open))
        elif verdict.open:
            first = replace(first, open=True)
    assert first is not None  # there is at least one reading
    return first


def _of_reading(
    answer: str, found: Extraction, task: r1env.Task | None, policy: AnswerPolicy, *, with_algebra: bool
) -> Verdict:
    verdict = _refused_unread(answer, found) or _compared(answer, found, task, policy, with_algebra=with_algebra)
    if not found.doubt or not verdict.correct or (found.text == final_answer(answer) and answer.rstrip().endswith("!")):
        return verdict
    return replace(verdict, correct=None, how=How.AMBIGUOUS, reason=found.doubt)


def settle(
    answer: str, completion: str, *, task: r1env.Task | None = None, policy: AnswerPolicy | None = None
) -> Verdict | None:
    """Return what `verify` says where exact arithmetic alone decides; None where more is needed. Quick; without SymPy."""
    start = time.process_time()
    verdict = _best(answer, completion, task, policy or AnswerPolicy(), with_algebra=False)
    return None if verdict.open else replace(verdict, seconds=time.process_time() - start)


def fault_of_reference(answer: str, *, with_algebra: bool = True) -> str | None:
    """Return why a reference answer cannot be compared with anything but its own text; None when it can.

    Args:
        with_algebra: ask SymPy for what exact arithmetic cannot read.
    """
    reference = _prepared(answer)
    if reference is not None and isinstance(read(reference), Congruence):
        return None
    if reference is None:
        return "it is empty" if not answer.strip() else excess(answer) or "it is a text that marks no answer"
    unread = [text for text in _expressions(read(reference)) if not _is_readable(text, with_algebra=with_algebra)]
    return f"{unread[0]!r} is no mathematics that can be read" if unread else None


def _refused_unread(answer: str, found: Extraction) -> Verdict | None:
    if final_answer(answer) is None and (found.text or "").strip() != answer.strip():
        return Verdict(None, How.BAD_REFERENCE, found.text, "the reference is empty, or a text that marks no answer")
    if found.text is None:
        return Verdict(False, How.NO_ANSWER, None, found.reason)
    if found.text.strip() and found.text.strip() in (
        final_answer(answer),
        answer.strip(),
    ):  # before the guards: a reference of any size equals itself
        return Verdict(True, How.TEXT, found.text, f"the same text ({found.reason})", answer[:_SHOWN], found.text[:_SHOWN])
    if too_much := excess(found.text):
        return Verdict(False, How.EXCESS, found.text[:100], too_much)
    if DENIAL.match(found.text):
        return Verdict(False, How.NO_ANSWER, found.text, "the answer is denied")
    return None


def _compared(answer: str, found: Extraction, task: r1env.Task | None, policy: AnswerPolicy, *, with_algebra: bool) -> Verdict:
    assert found.text is not None  # `_refused_unread` came first
    reference, given = _prepared(answer), normalize(found.text)
    if reference is None:
        return Verdict(None, How.BAD_REFERENCE, found.text, _SAYINGS[How.BAD_REFERENCE])
    if reference == given:
        if r"\frac" in answer and answer.count("{") != answer.count("}"):
            return Verdict(None, How.BAD_REFERENCE, found.text, _SAYINGS[How.BAD_REFERENCE])
        return Verdict(True, How.TEXT, found.text, f"the same text ({found.reason})", reference[:_SHOWN], given[:_SHOWN])
    if too_much := excess(given):  # digits of other scripts, superscripts
        return Verdict(False, How.EXCESS, found.text, too_much)
    given = _worked_out(reference, given)
    if left_over := unevaluated(reference, given):
        return Verdict(False, How.UNEVALUATED, found.text, left_over)
    question = task.question if task is not None else ""
    scalars = Scalars(policy, Context(question), symbolic=_same_by_algebra if with_algebra else None)
    forms = read(_compound(reference, "", in_base_units=True) or reference), read(given)
    correct: bool | None = bool(given) and (
        equal(*forms, scalars)
        or any(equal(forms[0], read(other), scalars) for other in _other_writings(reference, given, found, task))
    )
    how = _how(forms[0], scalars)
    if correct and question and repeats_question(reference, given, question):
        return Verdict(False, How.UNEVALUATED, found.text, "the answer only repeats what the question gives")
    if doubtful := doubt_of_equal(reference, given) if correct else doubt(Case(reference, given, question, policy)):
        reason = f"{doubtful} ({found.reason})"
        open_ = not correct and not with_algebra and _is_open(forms, scalars)
        return Verdict(None, How.AMBIGUOUS, found.text, reason, _shown(forms[0]), _shown(forms[1]), open=open_)
    if not correct and scalars.unknown:
        reason = f"{scalars.unknown!r} is no known unit, and the number would be right ({found.reason})"
        return Verdict(None, How.UNKNOWN_WORD, found.text, reason, _shown(forms[0]), _shown(forms[1]))
    if not correct and not with_algebra:
        reason, wanted = f"{_SAYINGS[how]} ({found.reason})", _is_open(forms, scalars)
        return Verdict(correct, how, found.text, reason, _shown(forms[0]), _shown(forms[1]), open=wanted)
    if not correct:
        if not all(map(_is_readable, _expressions(forms[0]))):
            correct, how = None, How.BAD_REFERENCE
        elif not all(map(_is_readable, _expressions(forms[1]))):
            how = How.UNREADABLE
    return Verdict(correct, how, found.text, f"{_SAYINGS[how]} ({found.reason})", _shown(forms[0]), _shown(forms[1]))


def _worked_out(reference: str, given: str) -> str:
    """Return the result of `\\lim_{x\\to0} f=1`, which repeats the question before its result; other answers as they are."""
    if "=" not in given or not unevaluated(reference, given):
        return given
    form = read(given)
    if not isinstance(form, Equation) or not all(isinstance(member, Expression) for member in form.members):
        return given
    *before, last = (member.text for member in form.members if isinstance(member, Expression))
    return last if all(unevaluated(reference, each) for each in before) and not unevaluated(reference, last) else given


def _is_open(forms: tuple[Form, Form], scalars: Scalars) -> bool:
    """Return whether computer algebra could call equal what exact arithmetic did not."""
    known = all(_is_readable(each, with_algebra=False) for form in forms for each in _expressions(form))
    return scalars.wants_symbolic or not known


_DECIMAL_COMMA = re.compile(r"(?<![0-9.,])(-?[0-9]+)(?:,|\{,\})([0-9]{1,2}|[0-9]{4,12})(?![0-9.,])")
_COMMA_AND_WORD = re.compile(r"[0-9],[0-9]+ ?[^\W\d_]{2,}")
_PARAMETERS = frozenset("kmnltsujrACcKλμ")
_SPACED_GROUPS = re.compile(r"-?[1-9][0-9]{0,2}(?: [0-9]{3})+")
_WORDS_FIRST = re.compile(r"(?:\\text\{ ?)?([a-z -]{3,40}?) ?\}?\((-?[0-9]{1,12})\)\}?")
_COMBINATIONS = re.compile(r"(?:C|\\text\{ ?C ?\}|nCr)\(([0-9]{1,3}),([0-9]{1,3})\)")
_EQUAL_ASIDE = re.compile(r"([^()=]{1,60}?) ?\(=([^()=]{1,60})\)")
_IN_WORDS_TOO = re.compile(r"(.+?) ?\(([a-z -]{3,40})\)")
_ASIDE = re.compile(
    r"(.+?) ?(?:\(|\\text\{ ?\(? ?)(?:(?P<or>or)\b ?)?(?P<sign>i\.e\.|=|\\approx|approximately|approx\.?|about|≈)?:? ?\}? ?(?:\\approx)? ?(?P<rounded>-?[0-9][0-9.,/%]*)\)?\}?\)?"
)
_LED_BY_PROSE = re.compile(
    r"(?!.*\b(?:not|no|none|but|never|except|excluding|other|or|nor|neither|outside|beyond|without|minus|negative|opposite|complement|reflection|inverse)\b)[a-zA-Z ]{3,60}? ?([(\[].{1,80}[)\]])"
)


def _other_writings(reference: str, given: str, found: Extraction, task: r1env.Task | None) -> Iterator[str]:
    """Yield how else an answer may be meant where the question, or the reference, leaves no doubt."""
    written = found.text or ""
    if "," in given and _DECIMAL_COMMA.search(written) and ("." in reference or _COMMA_AND_WORD.search(written)):
        context = task.question if task is not None and task.question else f"{found.context} {written}"
        if writes_decimal_comma(context):
            yield normalize(_DECIMAL_COMMA.sub(r"\1.\2", written))
    if aside := _ASIDE.fullmatch(given):  # `\frac12 (0.5)`, `\frac{1}{3} (approximately 0.333)`
        exact, rounded = value_of(quantity(aside[1]).core), rational(aside["rounded"].replace(",", ""))
        near = approximation(exact) if exact is not None and exact.rational is None else None
        if near is not None and rounded is not None and aside["sign"] and _rounds(Fraction(near), rounded, aside["rounded"]):
            yield aside[1]  # `12\pi (\approx 37.7)`
        if (
            exact is not None
            and exact.rational is not None
            and rounded is not None
            and _rounds(exact.rational, rounded, aside["rounded"])
            # "0.125 (or 0.13)" gives two answers; that of 1/3 has no end, so "or 0.333" can only mean the same
            and not (aside["or"] and not aside["sign"] and has_finite_decimal(exact.rational) and exact.rational != rounded)
        ):
            yield aside[1]
    if chained := _EQUAL_ASIDE.fullmatch(given):
        yield f"{chained[1]}={chained[2]}"  # `1024 (=2^{10})`
    if (spoken := _IN_WORDS_TOO.fullmatch(given)) and rational(spoken[1]) == number_in_words(spoken[2]) is not None:
        yield spoken[1]  # `5 (five)`
    if (spoken := _WORDS_FIRST.fullmatch(given)) and rational(spoken[2]) == number_in_words(spoken[1]) is not None:
        yield spoken[2]  # `five (5)`
    if combinations := _COMBINATIONS.fullmatch(given):
        yield rf"\binom{{{combinations[1]}}}{{{combinations[2]}}}"
    if (labelled := _labelled(given)) is not None:
        yield labelled
    if "_" in given and _CHEMICAL.fullmatch(_unmarked(given)) and _unmarked(given) == _unmarked(reference):
        yield reference  # `H_2O` with some of it in roman type
    if prose := _LED_BY_PROSE.fullmatch(given):
        yield prose[1]
    if (renamed := _renamed(reference, given, task.question if task is not None else "")) is not None:
        yield renamed
    question = task.question if task is not None else ""
    if _SPACED_GROUPS.fullmatch(given) and writes_decimal_comma(question):
        yield given.replace(" ", "")
    for in_base_units in (True, False):
        if (compound := _compound(given, question, in_base_units=in_base_units)) is not None:
            yield compound


_CHEMICAL = re.compile(r"(?:\(?[A-Z][a-z]?\)?(?:_[0-9]{1,3})?){1,12}")


def _unmarked(text: str) -> str:
    return re.sub(r"\\text|[{} ]", "", text)


_LABELLED = re.compile(r"(?:\\text\{ ?)?(?:the )?([a-zA-Z]{2,20}):? ?\}? ?(-?[0-9][0-9./]*|\\frac\{[0-9]+\}\{[0-9]+\})%?")


def _labelled(given: str) -> str | None:
    """`switch 3/4, stay 1/4`: values with their names, as a tuple."""
    parts = [_LABELLED.fullmatch(part.strip()) for part in given.split(",")] if "," in given else []
    found = [part for part in parts if part is not None]
    names = {part[1].lower() for part in found}
    if len(found) < 2 or len(found) < len(parts) or len(names) < len(found) or names & (CHANGES | UNCLEAR):
        return None
    return f"({','.join(part[2] for part in found)})"


def _rounds(exact: Fraction, rounded: Fraction, written: str) -> bool:
    places = len(written.rstrip("%").partition(".")[2])
    scale = 100 if "%" in written else 1
    return bool(abs(exact - rounded) * scale * 10**places <= Fraction(1, 2))


_LETTER_ALONE = re.compile(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])|(?<=[0-9])[a-zA-Z](?![a-zA-Z])")


def _renamed(reference: str, given: str, question: str) -> str | None:
    """Return an answer with the reference's letter for a bound variable or a free parameter: `f(m)=2m`, `x=2\\pi n`, `x^2+K`.

    A letter that the question uses is no free one.
    """
    expected, found = (set(_LETTER_ALONE.findall(_COMMANDS_AND_TEXT.sub(" ", text))) for text in (reference, given))
    ours, theirs = expected - found, found - expected
    if len(ours) != 1 or len(theirs) != 1:
        return None
    (old,), (new,) = theirs, ours
    asked = set(_LETTER_ALONE.findall(_COMMANDS_AND_TEXT.sub(" ", question)))
    if new in asked and old not in asked:
        return None
    named = all(
        re.match(rf"[a-zA-Z](?:\({letter}\)|_{letter}|_\{{{letter}\}})=", text)
        for letter, text in ((new, reference), (old, given))
    )
    if not named and not ({old, new} <= _PARAMETERS and _is_free(reference, new) and _is_free(given, old)):
        return None
    return re.sub(rf"(?<![a-zA-Z\\]){old}(?![a-zA-Z])", new, given)


_COMMANDS_AND_TEXT = re.compile(r"\\(?:text|mathbb)\{[^{}]*\}|\\[a-zA-Z]+")


def _is_free(text: str, letter: str) -> bool:
    """Return whether a letter is a free parameter as far as the text shows: an integer, a constant of integration, one of a curve."""
    if letter in "ACcKk" and re.search(rf"\+{letter}$|^[a-z](?:\([a-z]\))?={letter}(?![a-zA-Z_0-9(])(?:.*[a-z])", text):
        return True
    if letter in "ACcK":
        return False
    if re.search(rf"(?:^|,)[^=,]*(?<![a-zA-Z\\]){letter}(?![a-zA-Z])[^=,]*=", text):
        return False  # it is given a value
    if r"\mathbb{Z}" in text or "integer" in text or ("=" in text and r"\pi" in text):
        return True
    if re.fullmatch(
        rf"[a-zA-Z]=(?:-?[0-9]*{letter}|[0-9]+\^(?:{letter}|\{{{letter}\}})|{letter}\^\{{?[0-9]\}}?)(?:[+-][0-9]+)?", text
    ):
        return letter in "kmnlj"
    return letter in "tsurλμk" and text.count("=") > 1


_COMPOUND = re.compile(r" ?(?:[0-9.]+ *[a-zA-Z]{1,8}[ ,]*(?:and)?[ ,]*){2,4}")
_ASKED_UNITS = (
    "minutes",
    "hours",
    "seconds",
    "days",
    "cents",
    "dollars",
    "inches",
    "feet",
    "meters",
    "centimeters",
    "grams",
    "ounces",
    "pounds",
)


def _compound(given: str, question: str, *, in_base_units: bool) -> str | None:
    """`3 hours and 20 minutes`, `5 feet 6 inches` in the unit that the question names; in seconds, metres, … for a comparison."""
    plain = re.sub(r"\\text|\\\$|[{}]", " ", given)
    if not _COMPOUND.fullmatch(plain):
        return None
    total, dimensions = Fraction(0), None
    for amount, word in re.findall(r"([0-9]+(?:\.[0-9]+)?) *([a-zA-Z]{1,8})", plain):
        unit = unit_of(word)
        if unit is None or unit not in MEASURES or dimensions not in (None, MEASURES[unit][1]):
            return None
        dimensions = MEASURES[unit][1]
        total += Fraction(amount) * MEASURES[unit][0]
    if dimensions is None:
        return None
    if not in_base_units:
        asked = asked_for(question)
        for word in _ASKED_UNITS:
            unit = unit_of(word)
            if word in asked and unit is not None and MEASURES[unit][1] == dimensions:
                return f"{total / MEASURES[unit][0]}"
        if "dollar" in dimensions:
            return f"{total}"
        return None
    base = {"time": "s", "length": "m", "mass": "kg", "dollar": "dollars", "volume": "l"}.get(next(iter(dimensions)))
    return f"{total}\\text{{{base}}}" if base else None


def _prepared(answer: str) -> str | None:
    """Return the reference in one spelling; None when there is nothing, or too much."""
    final = final_answer(answer)
    return None if final is None or excess(final) else normalize(final) or None


def _same_by_algebra(reference: str, answer: str) -> bool:
    complex_numbers = symbolic.mentions_i(reference) or symbolic.mentions_i(answer)
    first, second = (symbolic.read(text, complex_numbers=complex_numbers) for text in (reference, answer))
    return first is not None and second is not None and symbolic.equal(first, second)


def _is_readable(expression: str, *, with_algebra: bool = True) -> bool:
    core = quantity(expression).core
    if value_of(core) is not None or core.lstrip("+-") == INFINITY:
        return True
    return with_algebra and symbolic.read(core, complex_numbers=symbolic.mentions_i(core)) is not None


def _expressions(form: Form | Interval) -> Iterator[str]:
    """Yield every expression in a form."""
    match form:
        case Expression(text):
            yield text
        case Equation(members=(_, *values), names=(_, *_)):
            for value in values:
                yield from _expressions(value)
        case Items(items=parts) | Equation(members=parts) | Region(pieces=parts):
            for part in parts:
                yield from _expressions(part)
        case Interval(low, high):
            yield from (low, high)
        case Matrix(rows):
            for row in rows:
                yield from row
        case Approximate(exact, rounded):
            yield from (*_expressions(exact), *_expressions(rounded))
        case Ratio(terms):
            yield from terms
        case Piecewise(pieces):
            for value, _ in pieces:
                yield from _expressions(value)


def _how(reference: Form, scalars: Scalars) -> How:
    if scalars.used_symbolic:
        return How.SYMBOLIC
    if scalars.used_rounding:
        return How.NUMERIC
    match reference:
        case Option():
            return How.CHOICE
        case Words():
            return How.TEXT
        case Items() | Region() | Matrix():
            return How.SET
    return How.EXACT


def _shown(form: Form) -> str:
    return str(form)[:_SHOWN]
