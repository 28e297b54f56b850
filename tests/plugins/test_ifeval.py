"""The rules of IFEval, the check of a row, and the reward `ifeval`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env import Rollout, Task
from r1env.data.layouts import IFEVAL_RULES
from r1env.errors import DataError
from r1env_benchmarks import ifeval
from r1env_benchmarks.ifeval import RULES, follows, follows_loosely, instructions_of

CASES = Path(os.environ.get("R1ENV_TEST_DATA", ".")) / "layouts/ifeval_rule_cases.jsonl"
ARGUMENTS = {
    "keywords": ["cat"], "keyword": "cat", "frequency": 2, "relation": "at least", "forbidden_words": ["cat"], "letter": "a",
    "let_frequency": 2, "let_relation": "at least", "language": "en", "num_sentences": 2, "num_paragraphs": 2, "num_words": 2,
    "nth_paragraph": 1, "first_word": "a", "num_placeholders": 2, "postscript_marker": "P.S.", "num_bullets": 2, "num_highlights": 2,
    "section_spliter": "Part", "num_sections": 2, "prompt_to_repeat": "a", "end_phrase": "b", "capital_frequency": 2,
    "capital_relation": "at least",
}  # fmt: skip


def verdicts(rule, response, **arguments):
    ((name, read),) = instructions_of({"instruction_id_list": [rule], "kwargs": [arguments]})
    return follows(response, name, read), follows_loosely(response, name, read)


@pytest.mark.skipif(not CASES.is_file(), reason="R1ENV_TEST_DATA names no folder with layouts/ifeval_rule_cases.jsonl")
def test_recorded_verdicts_of_the_reference_implementation_are_reproduced():
    cases = [json.loads(line) for line in CASES.read_text("utf-8").splitlines()]
    wrong = [
        (case, found)
        for case in cases
        if (found := verdicts(case["instruction_id"], case["response"], **case["kwargs"])) != (case["strict"], case["loose"])
    ]
    assert not wrong, f"{len(cases) - len(wrong)} of {len(cases)} are right"


def test_there_are_25_rules_with_the_arguments_that_the_layout_knows():
    assert {name: tuple(rule.arguments) for name, rule in RULES.items()} == dict(IFEVAL_RULES)
    assert len(RULES) == 25


@pytest.mark.parametrize(
    ("rule", "arguments", "response", "strict", "loose"),
    [
        ("keywords:existence", {"keywords": ["s.n"]}, "The moon and the SUN", True, True),
        ("keywords:frequency", {"keyword": "an ", "frequency": 3, "relation": "less than"}, "banana and an", False, False),
        ("keywords:forbidden_words", {"forbidden_words": ["art"]}, "a party starts", True, True),
        ("keywords:letter_frequency", {"letter": "E", "let_frequency": 2, "let_relation": "less than"}, "Eve", False, False),
        (
            "keywords:letter_frequency",
            {"letter": "#", "let_frequency": 2, "let_relation": "at least"},
            "#one and #two",
            True,
            True,
        ),
        (
            "keywords:letter_frequency",
            {"letter": "!", "let_frequency": 2, "let_relation": "at least"},
            "Eat more! OK?",
            False,
            False,
        ),
        ("language:response_language", {"language": "it"}, "Oggi il cielo sopra la città è molto bello.", True, True),
        ("language:response_language", {"language": "zh-cn"}, "今天的天气很好，我们去公园散步吧。", True, True),
        ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "Dr. Ray left.", False, False),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 1}, "***\nonly\n***", True, True),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 0}, "***", True, True),
        ("length_constraints:number_words", {"num_words": 3.0, "relation": "at least"}, "x-y_z w", True, True),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "don"},
            "Don't go",
            True,
            True,
        ),
        ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a[b] c]", False, False),
        ("detectable_content:postscript", {"postscript_marker": "Note:"}, "text NOTE: x", True, True),
        ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "*\nnext", True, True),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "Here:\n\n  - a\n  - b\nDone", True, True),
        ("detectable_format:constrained_response", {}, "well: My answer is no.", True, True),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "***both***", True, True),
        ("detectable_format:multiple_sections", {"section_spliter": "Part ", "num_sections": 2}, "Part 1 x Part2", True, True),
        ("detectable_format:json_format", {}, "Here:\n```json\n[]\n```", False, True),
        ("detectable_format:title", {}, "<<>>", False, False),
        ("combination:two_responses", {}, "one******\n******two", False, False),
        ("combination:repeat_prompt", {"prompt_to_repeat": "Sing!"}, "Sure:\nsing! la la", False, True),
        ("startend:end_checker", {"end_phrase": "Bye."}, '"See you. bye."', True, True),
        ("startend:quotation", {}, '"', False, False),
        (
            "change_case:capital_word_frequency",
            {"capital_frequency": 4, "capital_relation": "at least"},
            "I CAN'T. STOP",  # CA and N'T are two words
            True,
            True,
        ),
        ("change_case:english_capital", {}, "THE WEATHER IS FINE TODAY", True, True),
        ("change_case:english_lowercase", {}, "das wetter ist heute wirklich sehr schön", False, False),
        ("punctuation:no_comma", {}, "a, b\nc", False, True),
    ],
)
def test_a_rule(rule, arguments, response, strict, loose):
    assert verdicts(rule, response, **arguments) == (strict, loose)


def test_an_empty_response_follows_nothing():
    assert verdicts("punctuation:no_comma", " \n") == (False, False)


@pytest.mark.parametrize(
    ("rules", "kwargs", "message"),
    [
        (["keywords:existence"], [{}], r"'kwargs\[0\]' has no 'keywords', which keywords:existence needs"),
        (["punctuation:no_comma", "startend:end_checker"], [None, {"end_phrase": None}], r"'kwargs\[1\]' has no 'end_phrase'"),
        (["format:emoji"], [{}], r"'instruction_id_list\[0\]' is 'format:emoji': IFEval has no such rule; known: keywords:"),
        (["length_constraints:number_words"], [{"num_words": 5, "relation": "exactly"}], "write 'less than' or 'at least'"),
        (["length_constraints:number_words"], [{"num_words": 5.5, "relation": "at least"}], "a whole number, 0 or more"),
        (["detectable_format:number_bullet_lists"], [{"num_bullets": True}], "a whole number, 0 or more"),
        (["language:response_language"], [{"language": "zh"}], "no language that can be detected; known: af, .*zh-cn"),
        (
            ["keywords:frequency"],
            [{"keyword": "(", "frequency": 1, "relation": "at least"}],
            "reads it as a regular expression",
        ),
        (
            ["keywords:letter_frequency"],
            [{"letter": "ab", "let_frequency": 1, "let_relation": "at least"}],
            "write one character",
        ),
        (["keywords:existence"], [{"keywords": []}], "a list of texts, not empty"),
        (["detectable_content:postscript"], [{"postscript_marker": "P.S.("}], "reads it as a regular expression"),
        (
            ["length_constraints:nth_paragraph_first_word"],
            [{"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "So"}],
            r"'kwargs\[0\].nth_paragraph' is 3, more than num_paragraphs",
        ),
        (["punctuation:no_comma"], [], "a list of 1 objects"),
        (["punctuation:no_comma"], ["x"], "write an object with the arguments"),
        ([], [], "a list of rules, not empty"),
    ],
)
def test_a_row_that_cannot_be_checked_is_refused(rules, kwargs, message):
    row = {"key": 1, "prompt": "Write.", "instruction_id_list": rules, "kwargs": kwargs}
    with pytest.raises(DataError, match=message):
        ifeval.check_row(row)


def test_the_reward_reports_strict_and_loose_by_prompt_and_by_instruction():
    metadata = {
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{"num_words": None}, {"num_words": 3, "relation": "at least"}],
    }
    task = Task(id="t", prompt="Write.", metadata=metadata)
    completion = "<think>commas, commas</think>\n\nSure, here it is:\nthree words here"
    scores = [
        r1env.get_reward("ifeval", loose=loose).score(Rollout(task=task, completion=completion)) for loose in (False, True)
    ]
    assert [score.value for score in scores] == [0.0, 1.0]
    parts = {name.partition("/")[2]: value for name, value in scores[0].parts.items() if "/" in name}
    assert parts == {
        "prompt_strict": 0.0, "prompt_loose": 1.0, "instructions": 2.0, "followed_strict": 1.0, "followed_loose": 2.0,
    }  # fmt: skip
    assert scores[0].reason == "not followed: punctuation:no_comma"


def test_a_task_without_instructions_is_unscored():
    score = r1env.get_reward("ifeval").score(Rollout(task=Task(id="t", prompt="Write."), completion="x"))
    assert (score.value, score.status) == (None, r1env.Status.UNPARSEABLE)


@pytest.mark.parametrize("text", ["[" * 20_000, "\n" * 20_000, "<<" * 10_000, "*" * 20_000, "p." * 10_000, " " * 20_000 + "x"])
def test_no_response_takes_a_rule_long(text):
    start = time.process_time()
    for rule in RULES.values():
        rule.check(text, **{name: read(ARGUMENTS[name]) for name, read in rule.arguments.items()})
    assert time.process_time() - start < 2  # about 0.1 here; a pattern that backtracks takes minutes


@given(st.text(alphabet="aB'\"[]<>*-.,!? \n1`{}", max_size=40))
def test_no_text_makes_a_rule_raise(text):
    for name, rule in RULES.items():
        if "language" not in name and "english" not in name:
            assert follows(text, name, {one: read(ARGUMENTS[one]) for one, read in rule.arguments.items()}) in (True, False)
