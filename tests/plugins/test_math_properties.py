"""What holds for every answer, every text and every policy: rewrites are accepted, changed digits refused, policies nest."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import r1env
from r1env_math import AnswerPolicy, verify
from r1env_math.verdict import settle

WHERES = ("strict", "explicit", "lenient")
NUMBERS = st.one_of(st.integers(-(10**9), 10**9).map(Fraction), st.fractions(min_value=-500, max_value=500, max_denominator=60))
LANGUAGES = {
    "en": "The answer is {}.", "zh": "答案是{}。", "ja": "答え：{}", "ko": "정답: {}", "fr": "Réponse : {}", "de": "Antwort: {}",
    "es": "Respuesta: {}", "pt": "Resposta: {}", "it": "Risposta: {}", "ru": "Ответ: {}", "ar": "الجواب: {}", "hi": "उत्तर: {}",
    "bn": "উত্তর: {}", "th": "คำตอบ: {}", "sw": "Jibu: {}", "te": "సమాధానం: {}", "tr": "Cevap: {}", "vi": "Đáp án: {}",
    "nl": "Antwoord: {}", "pl": "Odpowiedź: {}", "sv": "Svar: {}", "da": "Svaret er {}.", "no": "Svaret er: {}", "cs": "Odpověď: {}",
    "fi": "Vastaus: {}", "hu": "Válasz: {}", "ro": "Răspuns: {}", "id": "Jawaban: {}", "el": "Απάντηση: {}", "he": "תשובה: {}",
    "uk": "Відповідь: {}", "bg": "Отговор: {}", "fa": "پاسخ: {}", "ta": "பதில்: {}",
}  # fmt: skip
WRAPPERS = (
    "{}", "${}$", "\\text{{{}}}", "{{{}}}", "**{}**", "\\mathbf{{{}}}", "\\displaystyle {}", "\\color{{red}}{{{}}}", "x = {}", "= {}",
    "{}\\ ", "{}~", "{}.", "\\left({}\\right)", "{}\\text{{ cm}}", "{} \\mathrm{{~kg}}",
)  # fmt: skip
FRAGMENTS = (
    "\\boxed{5}", "\\boxed{6}", "The answer is 5.", "Answer: 6", "#### 5", "5", "6", " is wrong", "Wait, ", "not ", "maybe ", "\n", " ", "$", "(", ")",
    "<answer>5</answer>", "<answer>", "</think>", "Suppose ", "5 cm", "5万", "12:00", "{", "}", "\\frac12", "(a) ", "(b) ", "Question: ", "0 (or 7)",
    "%", "or", "5, 6", "故选B", "答案", "**Final Answer**\n", "A", "B",
)  # fmt: skip
TEXTS = st.one_of(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join), st.text(max_size=60))
REFERENCES = ("5", "6", "\\frac12", "0", "x+1", "B", "5\\text{ cm}", "(5,6)", "12:00", "50000", "yes")


def tex(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value)
    return f"{'-' if value < 0 else ''}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


@settings(max_examples=300, deadline=None)
@given(NUMBERS, st.sampled_from(WRAPPERS))
def test_every_way_to_write_a_number_is_accepted(value, wrapper):
    assert verify(tex(value), f"\\boxed{{{wrapper.format(tex(value))}}}").correct is True


@settings(max_examples=200, deadline=None)
@given(NUMBERS, st.sampled_from(WRAPPERS), st.data())
def test_every_changed_digit_is_refused(value, wrapper, data):
    written = tex(value)
    places = [at for at, char in enumerate(written) if char.isdigit()]
    at = data.draw(st.sampled_from(places))
    digit = data.draw(st.sampled_from([each for each in "123456789" if each != written[at]]))
    changed = written[:at] + digit + written[at + 1 :]
    top, _, bottom = changed.removeprefix("-").removeprefix("\\frac{").rstrip("}").partition("}{")
    if Fraction(int(top), int(bottom or 1)) == abs(value):
        return
    assert verify(written, f"\\boxed{{{wrapper.format(changed)}}}").correct is False


@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=15, deadline=None)
@given(st.integers(2, 10**6), st.integers(1, 99))
def test_an_answer_is_announced_in_every_language(language, number, off):
    completion = "40 + 2.\n" + LANGUAGES[language].format(number)
    assert verify(str(number), completion).correct is True
    assert verify(str(number + off), completion).correct is False


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.sampled_from(REFERENCES))
def test_a_more_generous_policy_pays_whatever_a_stricter_one_pays(completion, reference):
    paid = [verify(reference, completion, policy=AnswerPolicy(where=where)).correct is True for where in WHERES]
    assert paid == sorted(paid)


@settings(max_examples=200, deadline=None)
@given(
    st.text(min_size=1, max_size=80).filter(lambda text: text.strip() and not set(text) & set("<\\{}#$【")),
    st.sampled_from(WHERES),
)
def test_an_answer_that_is_the_reference_to_the_letter_is_right_under_every_policy(reference, where):
    verdict = verify(reference, f"<answer>{reference}</answer>", policy=AnswerPolicy(where=where))
    assert verdict.correct is not False or "hedged" in verdict.reason or verdict.reason.startswith("the answer is")


@pytest.mark.parametrize("where", WHERES)
@pytest.mark.parametrize(
    "reference", ["9" * 700, "2024^{4046}", "x^{99999}+1", "(" * 40 + "1" + ")" * 40, "9^{9^{9}}", "\\sum_{i=1}^{10^9} i"]
)
def test_size_does_not_matter_where_both_are_the_same_text(reference, where):
    assert verify(reference, f"\\boxed{{{reference}}}", policy=AnswerPolicy(where=where)).correct is True


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(REFERENCES), TEXTS), min_size=2, max_size=6))
def test_the_order_of_evaluation_changes_no_verdict(pairs):
    forwards = [verify(*pair).correct for pair in pairs]
    backwards = [verify(*pair).correct for pair in reversed(pairs)]
    assert forwards == backwards[::-1]


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.sampled_from(REFERENCES))
def test_what_is_settled_at_once_is_what_the_worker_says(completion, reference):
    at_once = settle(reference, completion)
    assert at_once is None or at_once.correct is verify(reference, completion).correct


@settings(max_examples=100, deadline=None)
@given(
    st.integers(-50, 50),
    st.sampled_from(["or", "and not", "if", "maybe", "unless", "seven", "plus or minus"]),
    st.integers(51, 99),
)
def test_words_in_a_product_that_vanishes_earn_nothing(number, word, other):
    for answer in (f"{number} + 0({word} {other})", f"{number} \\cdot ({word})^0", f"{number} + 0 {word}"):
        assert verify(str(number), f"\\boxed{{{answer}}}").correct is not True


SCALES = {
    "thousand": 1000, "million": 10**6, "millions": 10**6, "billion": 10**9, "lakh": 10**5, "crore": 10**7, "万": 10**4, "亿": 10**8, "千": 1000,
    "만": 10**4, "억": 10**8, "тысяч": 1000, "миллионов": 10**6, "млрд": 10**9, "Millionen": 10**6, "Milliarden": 10**9, "milliards": 10**9,
    "millones": 10**6, "milhões": 10**6, "miliardi": 10**9, "miljoen": 10**6, "tysięcy": 1000, "milyon": 10**6, "triệu": 10**6, "juta": 10**6,
    "ribu": 1000, "हजार": 1000, "करोड़": 10**7, "लाख": 10**5, "ล้าน": 10**6, "مليون": 10**6, "dozen": 12,
}  # fmt: skip


@pytest.mark.parametrize("word", SCALES)
def test_a_scale_word_multiplies_in_every_language(word):
    assert verify(str(5 * SCALES[word]), f"\\boxed{{5 {word}}}").correct is True
    assert verify("5", f"\\boxed{{5 {word}}}").correct is False


@pytest.mark.parametrize("word", ["florps", "zorg", "snarfblats", "хрюмзиков", "квуксов"])
def test_an_unknown_word_beside_the_right_number_is_not_judged_unless_the_question_has_it(word):
    task = r1env.Task(id="t", prompt=f"How many {word} are there?", answer="5")
    assert verify("5", f"\\boxed{{5 {word}}}").correct is None
    assert verify("6", f"\\boxed{{5 {word}}}").correct is False
    assert verify("5", f"\\boxed{{5 {word}}}", task=task).correct is True
