"""Leaks that were planted are found, and what all questions share is no leak."""

from hypothesis import given
from hypothesis import strategies as st

from r1env.evaluation.decontaminate import Index, Text, words_of

QUESTION = "A baker has seven trays of eleven rolls each and sells forty of them before noon. How many rolls are left?"


def index_of(*questions: str, n: int = 10) -> Index:
    index = Index(n)
    index.add("bench", [Text(f"q{number}", question) for number, question in enumerate(questions)])
    return index


def test_a_question_is_found_whatever_stands_around_it_and_however_it_is_spaced() -> None:
    leak = "Solve this:\n\n" + QUESTION.upper().replace(" ", "  ") + " Show your work."
    [hit] = index_of("Something else entirely that nobody would ever think of asking anyone at all", QUESTION).find(leak)
    assert (hit.benchmark, hit.task) == ("bench", "q1")
    assert hit.shared.split() == words_of(QUESTION)[:10]


def test_a_paraphrase_and_a_calculation_in_common_are_no_leak() -> None:
    index = index_of(QUESTION + " 7 * 11 = 77, 77 - 40 = 37, so 37 rolls")
    assert index.find("Seven trays, each of eleven rolls: a baker sells forty by noon. What remains?") == []
    assert index.find("So 7 * 11 = 77, 77 - 40 = 37, as before") == []


def test_an_instruction_that_many_questions_share_is_left_out() -> None:
    instruction = " Please reason step by step and put your final answer within a box."
    subjects = ("cat", "dog", "horse", "goat", "sheep", "duck", "goose", "hen", "pig", "cow")
    questions = [
        f"The farmer's {subject} ate {number} apples and then slept under the old tree all day long."
        for number, subject in enumerate(subjects)
    ]
    index = index_of(*(question + instruction for question in questions))
    assert index.common["bench"] > 0
    assert index.find("What is one plus one?" + instruction) == []
    assert [hit.task for hit in index.find(questions[3] + instruction)] == ["q3"]
    assert index_of(*questions[:2], QUESTION + instruction).find(QUESTION) != []


def test_a_short_question_is_found_whole_and_a_very_short_one_not_at_all() -> None:
    index = index_of("Who wrote the first dictionary?", "2 + 2?")
    assert [hit.task for hit in index.find("Tell me: who wrote the first dictionary? And why?")] == ["q0"]
    assert index.find("What is 2 + 2?") == []


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_is_around_a_question_it_is_found(before: str, after: str) -> None:
    assert [hit.task for hit in index_of(QUESTION).find(f"{before} {QUESTION} {after}")] == ["q0"]


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    index = index_of(text, n=3)
    index.find(text)
