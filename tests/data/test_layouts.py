"""Layouts of public data sets: what their rows are read as, and what is said about rows that are broken. The rows are our own."""

from __future__ import annotations

import base64
import json
import pickle
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1env.data import ColumnMap, read_rows
from r1env.data.layouts import LAYOUTS, Reading, example_of, layout_named, read_examples, recognise, without_instruction
from r1env.data.programs import TestsError, unpack_tests
from r1env.errors import DataError, UnknownNameError
from r1env.types import TaskKind


def packed(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(value)))).decode()


STDIO = [{"input": "4\n", "output": "2\n", "testtype": "stdin"}]
LIVECODEBENCH = {
    "question_content": "Halve the number.",
    "question_id": "h1",
    "contest_date": "2024-12-01T00:00:00",
    "starter_code": "",
    "public_test_cases": json.dumps(STDIO),
    "private_test_cases": packed(STDIO * 3),
    "metadata": "{}",
}
ISLAND = "Ann says that Bea lies. Who is a knight?"
VERL = {"data_source": "ours", "ability": "math", "extra_info": {"index": 4, "split": "train"}}


def asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


# row, the layout's name, kind, the question, the answer, tests, demonstrations
ROWS = {
    "gsm8k": (
        {"question": "Four hens lay 3 eggs each. How many?", "answer": "4*3=<<4*3=12>>12 eggs.\n#### 12"},
        ("GSM8K", "math", "Four hens lay 3 eggs each. How many?", "4*3=<<4*3=12>>12 eggs.\n#### 12", 0, 1),
    ),
    "math": (
        {"problem": "Find $5^2$.", "level": "Level 1", "type": "Algebra", "solution": "It is $\\boxed{25}$."},
        ("MATH", "math", "Find $5^2$.", "It is $\\boxed{25}$.", 0, 1),
    ),
    "numina": (
        {"problem": "Halve 9.", "solution": "$\\boxed{4.5}$", "answer": "4.5", "problem_type": "a", "question_type": "b"},
        ("NuminaMath-1.5", "math", "Halve 9.", "4.5", 0, 1),
    ),
    "openr1": (
        {
            **{"problem": "Double 8.", "solution": "$\\boxed{16}$", "answer": "16", "uuid": "x"},
            "generations": ["<think>a</think>16", "<think>b</think>17"],
            **{"correctness_math_verify": [True, False], "correctness_llama": None},
            "messages": [*asked("Double 8."), {"role": "assistant", "content": "16"}],
        },
        ("OpenR1-Math-220k", "math", "Double 8.", "16", 0, 1),
    ),
    "dapo": (
        {
            **VERL,
            "prompt": asked(
                "Solve the following math problem step by step. The last line of your response should be of the form Answer: $Answer "
                "(without quotes) where $Answer is the answer to the problem.\n\nOf what is 7 the half?\n\nRemember to put your answer "
                'on its own line after "Answer:".'
            ),
            "reward_model": {"ground_truth": "14", "style": "rule"},
        },
        ("verl", "math", "Of what is 7 the half?", "14", 0, 0),
    ),
    "verl code": (
        {
            **{**VERL, "ability": "code"},
            "prompt": asked("Read a number and print its half.\n\n```python\nYour code\n```"),
            "reward_model": {"ground_truth": '{"inputs": ["4\\n", "6\\n"], "outputs": ["2\\n", "3\\n"]}', "style": "rule"},
        },
        ("verl", "code", "Read a number and print its half.\n\n```python\nYour code\n```", None, 2, 0),
    ),
    "tinyzero": (
        {
            **VERL,
            "prompt": asked(
                "A conversation between User and Assistant. They talk.\nUser: Make 7 of [3, 4].\nAssistant: Let me solve it.\n<think>"
            ),
            "reward_model": {"ground_truth": {"numbers": [3, 4], "target": 7}, "style": "rule"},
        },
        ("verl, Countdown (TinyZero)", "logic", "Make 7 of [3, 4].", None, 0, 0),
    ),
    "logic-rl": (
        {
            **VERL,
            "quiz": ISLAND,
            "prompt": asked(
                f"<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\n{ISLAND}\n<|im_end|>\n<|im_start|>assistant\n"
            ),
            "reward_model": {"ground_truth": {"solution_text_format": "(1) Ann is a knight", "statements": "()"}},
        },
        ("verl, knights and knaves (Logic-RL)", "logic", ISLAND, "(1) Ann is a knight", 0, 0),
    ),
    "orz": (
        {"0": {"from": "human", "value": "Add 1 and 8."}, "1": {"from": "assistant", "ground_truth": {"value": "9"}}},
        ("Open-Reasoner-Zero", "math", "Add 1 and 8.", "9", 0, 0),
    ),
    "float answer": (
        {"id": 3, "question": "Half of 54?", "answer": 27.0, "url": "u"},
        ("questions with a short answer", "math", "Half of 54?", "27", 0, 0),
    ),
    "mmlu": (
        {"question": "Which is green?", "choices": ["Blood", "Grass"], "answer": 1, "subject": "colours"},
        ("MMLU", "choice", "Which is green?\n\nA) Blood\nB) Grass", "B", 0, 0),
    ),
    "mmlu-pro": (
        {"question": "Which is wet?", "options": ["Sand", "Sea", "N/A"], "answer": "B", "answer_index": 1},
        ("MMLU-Pro", "choice", "Which is wet?\n\nA) Sand\nB) Sea", "B", 0, 0),
    ),
    "nemo choice": (
        {
            "responses_create_params": {"input": asked("Which barks?\nA: Cat\nB: Dog")},
            **{"options": [{"A": "Cat"}, {"B": "Dog"}], "expected_answer": "B"},
        },
        ("NeMo Gym, choice", "choice", "Which barks?\nA: Cat\nB: Dog", "B", 0, 0),
    ),
    "drop": (
        {
            **{"passage": "Ida and Jo sang.", "question": "Who sang?"},
            "answer": {"number": "", "date": {"day": "", "month": "", "year": ""}, "spans": ["Ida", "Jo"]},
        },
        ("DROP", "short", "Ida and Jo sang.\n\nWho sang?", "Ida, Jo", 0, 0),
    ),
    "apps": (
        {
            **{"question": "Add the numbers.", "solutions": "", "starter_code": "class Solution:\n    def add(self, a, b):"},
            "input_output": '{"fn_name": "add", "inputs": [[1, 2]], "outputs": [[3]]}',
        },
        ("APPS or TACO", "code", None, None, 1, 0),
    ),
    "livecodebench": (LIVECODEBENCH, ("LiveCodeBench", "code", None, None, 3, 0)),
    "kodcode": (
        {
            **{"question": "Write `inc`.", "style": "instruct", "solution": "def inc(n): return n + 1"},
            "test": "from solution import inc\n\ndef test_inc():\n    assert inc(1) == 2\n",
        },
        ("KodCode", "code", None, None, 1, 1),
    ),
    "synthetic": (
        {"prompt": "Which is the square of 3? Put your answer in \\boxed{}.", "verification_info": "{'ground_truth': '9'}"},
        ("SYNTHETIC-1 and 2", "math", "Which is the square of 3?", "9", 0, 0),
    ),
    "ifeval": (
        {"prompt": "Sing without commas.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"keywords": None}]},
        ("IFEval or IFBench", "chat", "Sing without commas.", None, 0, 0),
    ),
    "alpaca": (
        {"instruction": "Spell it.", "input": "cat", "output": "c a t", "system": "Be kind.", "history": [["Hi", "Ho"]]},
        ("Alpaca", "chat", "Spell it.\ncat", None, 0, 1),
    ),
    "sharegpt": (
        {
            "conversations": [
                {"from": "human", "value": "Light!"},
                {"from": "function_call", "value": '{"name": "lamp", "arguments": {"on": true}}'},
                {"from": "observation", "value": "on"},
                {"from": "gpt", "value": "It is on."},
            ]
        },
        ("ShareGPT", "chat", "Light!", None, 0, 1),
    ),
    "openthoughts": (
        {
            "system": "Think.",
            "conversations": [
                {"from": "user", "value": "Add 2 and 2."},
                {
                    "from": "assistant",
                    "value": "<|begin_of_thought|>\n\n2 and 2\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n4\n\n<|end_of_solution|>",
                },
            ],
        },
        ("ShareGPT", "chat", "Add 2 and 2.", None, 0, 1),
    ),
    "prompt and completion": (
        {"prompt": "The sea is", "completion": " wide."},
        ("prompts with completions", "chat", "The sea is", None, 0, 1),
    ),
    "messages": (
        {"messages": [*asked("Hi"), {"role": "assistant", "content": "Ho"}]},
        ("conversations", "chat", "Hi", None, 0, 1),
    ),
    "messages and an answer": (
        {"messages": asked("Add 4 and 4."), "answer": "8", "source": "ours"},
        ("conversations with an answer", "math", "Add 4 and 4.", "8", 0, 0),
    ),
    "question, answer and response": (
        {"question": "Add 4 and 5.", "answer": "9", "response": "It is 9."},
        ("questions with completions", "math", "Add 4 and 5.", "9", 0, 1),
    ),
    "text": ({"text": "Once upon a time."}, ("plain text", None, None, None, 0, 0)),
    "pair": (
        {"prompt": "The sea is", "chosen": " wide.", "rejected": " dry."},
        ("preference pairs", None, "The sea is", None, 0, 0),
    ),
    "dialogue pair": (
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Ho", "rejected": "\n\nHuman: Hi\n\nAssistant: Go away"},
        ("preference pairs without a prompt", None, "Hi", None, 0, 0),
    ),
    "ours": (
        {"id": "a", "prompt": "Add 3 and 4.", "answer": 7, "kind": "math", "colour": "red"},
        ("r1env", "math", "Add 3 and 4.", "7", 0, 0),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_read_as_what_it_is(name):
    row, (layout, kind, question, answer, tests, demonstrations) = ROWS[name]
    example = example_of(row)
    asked_last = next((m["content"] for m in reversed(example.prompt) if m["role"] == "user"), None)
    assert (example.layout, example.kind) == (layout, kind)
    assert example.answer == answer
    assert (len(example.tests), len(example.demonstrations)) == (tests, demonstrations)
    if question is not None:
        assert asked_last == question
    kept = {column for column, meaning in example.columns.items() if meaning != "tests"}
    assert kept <= example.metadata.keys()
    assert example.columns.keys() == row.keys()


def test_every_column_reaches_the_metadata_whatever_its_name():
    row = {"question": "Add 1 and 1.", "answer": "2", "level": 3, "domain": ["x -> y"], "a/b-c.d": None, "raw": b"\xff"}
    metadata = example_of(row).metadata
    assert {key: metadata[key] for key in ("level", "domain", "a/b-c.d")} == {"level": 3, "domain": ["x -> y"], "a/b-c.d": None}
    assert json.loads(json.dumps(metadata))["question"] == "Add 1 and 1."


def test_thinking_and_tool_calls_stay_what_they_are():
    assert example_of(ROWS["openthoughts"][0]).demonstrations[0] == (
        {"role": "assistant", "content": "4", "reasoning_content": "2 and 2"},
    )
    call = example_of(ROWS["sharegpt"][0]).prompt[1]["tool_calls"][0]["function"]
    assert call == {"name": "lamp", "arguments": {"on": True}}
    row = {
        "messages": [
            *asked("Light!"),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "7", "function": {"name": "lamp", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "7", "content": [{"type": "text", "text": "on"}]},
            {"role": "assistant", "content": "On.", "reasoning_content": "it is"},
        ],
        "tools": '[{"type": "function", "function": {"name": "lamp"}}]',
    }
    example = example_of(row)
    assert [message["role"] for message in example.prompt] == ["user", "assistant", "tool"]
    assert example.prompt[1]["tool_calls"][0] == {"type": "function", "id": "7", "function": {"name": "lamp", "arguments": {}}}
    assert (example.prompt[2]["content"], example.prompt[2]["tool_call_id"]) == ("on", "7")
    assert example.demonstrations[0][0]["reasoning_content"] == "it is"
    assert example.tools[0]["function"]["name"] == "lamp"


def test_a_pair_is_cut_where_its_sides_part():
    example = example_of(ROWS["dialogue pair"][0])
    assert (example.chosen[0]["content"], example.rejected[0]["content"]) == ("Ho", "Go away")
    row = {
        "prompt": "Name a tree.",
        "chosen": [*asked("Name a tree."), {"role": "assistant", "content": "Oak"}],
        "rejected": [*asked("Name a tree."), {"role": "assistant", "content": "Cod"}],
    }
    assert example_of(row).chosen == ({"role": "assistant", "content": "Oak"},)


def test_an_instruction_about_the_form_is_taken_off_and_nothing_else():
    messages = ({"role": "user", "content": "Is 3 odd? Put your answer in \\boxed{}."},)
    assert without_instruction(messages) == (({"role": "user", "content": "Is 3 odd?"},), "Put your answer in \\boxed{}.")
    plain = ({"role": "user", "content": "Solve the following math problems."},)
    assert without_instruction(plain) == (plain, "")
    example = example_of(ROWS["dapo"][0], reading=Reading(keep_instruction=True))
    assert example.prompt[-1]["content"].endswith('after "Answer:".')


@given(st.text(max_size=80))
def test_taking_an_instruction_off_loses_no_letter_of_a_question(text):
    (message,), instruction = without_instruction(({"role": "user", "content": text},))
    assert message["content"] == text or instruction


def test_rows_left_out_by_a_rule_of_the_set_say_why():
    row = {**ROWS["numina"][0], "answer": "proof"}
    assert example_of(row).left_out == "answer is 'proof'"
    assert example_of({**ROWS["apps"][0], "input_output": ""}, layout_named("APPS or TACO")).left_out == "input_output is ''"


def test_a_choice_is_shuffled_by_a_seed_and_the_letter_goes_with_its_option():
    row = {"Question": "Who barks?", "Correct Answer": "Dog", **{f"Incorrect Answer {n}": f"Cat {n}" for n in (1, 2, 3)}}
    letters = set()
    for place in range(40):
        example = example_of(row, None, place)
        assert example.metadata["options"][example.answer] == "Dog"
        letters.add(example.answer)
    assert letters == set("ABCD")
    assert example_of(row, None, 7) == example_of(row, None, 7)


# Faults.

CHOICE = ROWS["mmlu-pro"][0]
BROKEN = [
    (
        {**ROWS["gsm8k"][0], "answer": "It is 12."},
        "GSM8K",
        "'answer' is \"It is 12.\": GSM8K references .* mark the answer with '####'",
    ),
    ({**ROWS["gsm8k"][0], "answer": 12}, "GSM8K", r"'answer' is 12 \(int\)"),
    ({**ROWS["gsm8k"][0], "answer": "x\n#### "}, "GSM8K", "nothing follows '####'"),
    ({"question": "Add."}, "GSM8K", "no column 'answer', where GSM8K rows have the reference; its columns: question"),
    ({**ROWS["gsm8k"][0], "question": " "}, "GSM8K", "no user's message with text"),
    (
        {"question": "Add.", "answer": None, "solution": "long"},
        "questions with a short answer",
        "'answer' is null: write the ref",
    ),
    ({"question": "Add.", "answer": float("nan")}, "", "write a finite number"),
    ({"question": "Add.", "answer": {"x": 1}}, "", r"\(dict\): write the reference answer as text"),
    ({**CHOICE, "answer": "A"}, "", "'answer_index' is 1, which is another option or none"),
    ({**CHOICE, "options": []}, "", "write a list of 2 to 10 options, none of them empty"),
    ({**CHOICE, "answer": "K"}, "", "names none of the 2 options; write a letter from A to B"),
    ({**ROWS["mmlu"][0], "answer": 2}, "", "names none of the 2 options"),
    (
        {**ROWS["openr1"][0], "correctness_math_verify": [True]},
        "",
        "different lengths: generations 2, correctness_math_verify 1",
    ),
    ({**ROWS["openr1"][0], "generations": "text"}, "", "'generations' is \"text\": write a list"),
    ({**ROWS["dapo"][0], "prompt": "text"}, "", "'prompt' is \"text\": write messages there"),
    ({**ROWS["dapo"][0], "prompt": []}, "", "write the question there"),
    ({**ROWS["dapo"][0], "reward_model": {"style": "rule"}}, "", "'reward_model.ground_truth' is null"),
    ({**ROWS["dapo"][0], "reward_model": "{}"}, "", "'reward_model' is \"{}\": write an object"),
    ({**ROWS["pair"][0], "rejected": " wide."}, "", "are equal"),
    ({**ROWS["pair"][0], "rejected": asked("x")}, "", "one is text and the other messages"),
    ({**ROWS["pair"][0], "chosen": ""}, "", "'chosen' is \"\": write the response there"),
    ({"prompt": "The sea is", "chosen": " wide."}, "", "no column 'rejected', which preference pairs rows have"),
    ({"prompt": None, "chosen": "a", "rejected": "b"}, "", "have no prompt"),
    ({**ROWS["ifeval"][0], "kwargs": []}, "", "write a list of 1 objects"),
    ({**ROWS["ifeval"][0], "instruction_id_list": ["dance:now"]}, "", "there is no such rule"),
    ({**ROWS["ifeval"][0], "instruction_id_list": ["keywords:existence"]}, "", "keywords:existence needs keywords"),
    ({**LIVECODEBENCH, "private_test_cases": "?"}, "", "'private_test_cases': it is neither JSON nor JSON packed"),
    ({**LIVECODEBENCH, "contest_date": "soon"}, "", "'contest_date': 'soon' is no date"),
    ({**LIVECODEBENCH, "metadata": None}, "", "'metadata': there is none"),
    (
        {**LIVECODEBENCH, "private_test_cases": json.dumps([{"input": "1", "output": "1", "testtype": "functional"}])},
        "",
        "no func_name",
    ),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "", "its role is 'wizard'; known: system, user"),
    ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "", "images and audio cannot be read"),
    ({"prompt": "x", "kind": "math"}, "", "no column 'answer', where r1env rows have the reference"),
    ({"prompt": "x", "tests": "{oops"}, "", "'tests': it is neither JSON nor a Python literal"),
    ({"prompt": "x", "completions": ["a"], "labels": []}, "", "a list 'labels' of the same length"),
    (
        {"question": "Who?", "context": "Ann did.", "answers": {"text": ["Ann"]}},
        "",
        "no known layout, and 'answers' may be the reference",
    ),
    ({"target": 5, "nums": "3 4"}, "Countdown", "'nums' is \"3 4\": write a list of whole numbers"),
    (
        {"Frage": "Was?", "Antwort": "Das"},
        "",
        "no known layout; its columns: Frage, Antwort; .*--map question=Frage,answer=Antwort",
    ),
]


@pytest.mark.parametrize(("row", "layout", "message"), BROKEN)
def test_a_broken_row_is_refused_in_one_line(row, layout, message):
    with pytest.raises(DataError, match=message) as caught:
        example_of(row, layout_named(layout) if layout else None)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_rows_that_disagree_name_the_first_of_each_layout(tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_text("".join(json.dumps(ROWS[name][0]) + "\n" for name in ("gsm8k", "gsm8k", "pair")))
    with pytest.raises(
        DataError, match=r"mixed.jsonl, line 3: the rows disagree: this one is laid out as preference pairs, .*line 1 as GSM8K"
    ):
        list(iter(read_examples(path)))
    path.write_text(json.dumps(ROWS["gsm8k"][0]) + "\n" + json.dumps({"question": "x"}) + "\n")
    with pytest.raises(DataError, match="line 2: no column 'answer'"):
        list(iter(read_examples(path)))


def test_a_column_map_takes_the_place_of_recognition(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"Frage": "2 mal 3?", "Antwort": [{"wert": 6.0}], "Stufe": 1}) + "\n")
    (example,) = read_examples(path, columns=ColumnMap.parse("question=Frage,answer=Antwort[0].wert"))
    assert (example.prompt[0]["content"], example.answer, example.kind) == ("2 mal 3?", "6", "math")
    assert example.columns == {"Frage": "question", "Antwort": "answer", "Stufe": "metadata"}
    with pytest.raises(DataError, match=r"no 'Fragen' \(--map question=Fragen\); its columns: Frage"):
        read_examples(path, columns=ColumnMap.parse("question=Fragen"))


def test_layouts_have_different_names_and_are_found_by_them():
    names = [layout.name for layout in LAYOUTS]
    assert len(set(names)) == len(names)
    assert layout_named("gsm8k").name == "GSM8K"
    with pytest.raises(UnknownNameError, match="unknown layout 'GSM8'; did you mean"):
        layout_named("GSM8")


# What is hostile.


def test_packed_tests_run_no_code_and_are_bounded(tmp_path):
    class Touch:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    with pytest.raises(TestsError, match=r"the pickle asks for (io|_io)\.open, and should hold text alone"):
        unpack_tests(base64.b64encode(zlib.compress(pickle.dumps(Touch()))).decode())
    assert not (tmp_path / "touched").exists()
    bomb = base64.b64encode(zlib.compress(pickle.dumps("0" * 50_000_000), 9)).decode()
    with pytest.raises(TestsError, match="larger than"):
        unpack_tests(bomb)
    assert unpack_tests(packed(STDIO)) == STDIO


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_packed_bytes_are_tests_or_a_fault(data):
    for text in (data.decode("latin-1"), base64.b64encode(data).decode(), base64.b64encode(zlib.compress(data)).decode()):
        try:
            unpack_tests(text)
        except TestsError:
            continue


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 40)
    | st.floats()
    | st.sampled_from(["", "x", "A", "{}", "[]", "#### 4", "user"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "input", "output"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(ROWS)), st.data())
def test_a_row_of_a_known_layout_with_any_values_is_an_example_or_a_fault(name, data):
    row = dict(ROWS[name][0])
    for column in data.draw(st.sets(st.sampled_from(sorted(row)), min_size=1)):
        row[column] = data.draw(VALUES)
    try:
        example_of(row)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both outcomes are right


def test_a_value_of_an_unheard_of_type_is_refused_with_the_layout_and_the_columns():
    row = dict(ROWS["ifeval"][0]) | {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [1]}
    with pytest.raises(DataError, match=r"kwargs\[0\].*write an object with the rule's arguments"):
        example_of(row)
    row = dict(ROWS["livecodebench"][0]) | {"public_test_cases": True}
    with pytest.raises(DataError, match=r"LiveCodeBench has there .*by a map"):
        example_of(row)


def test_a_later_row_does_not_fall_back_on_another_column(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "Add.", "answer": "1"}\n{"question": "Add.", "answer": null, "label": "7"}\n')
    with pytest.raises(DataError, match="line 2: 'answer' is null"):
        list(iter(read_examples(path)))


def test_the_row_and_its_file_are_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "Add.", "answer": "1"}\n{"question": "Add.", "answer": null}\n')
    with pytest.raises(DataError) as caught:
        list(iter(read_examples(path)))
    assert str(caught.value) == f"{path}, line 2: 'answer' is null: write the reference answer there"
    assert recognise(read_rows(path)[0]).kind is TaskKind.MATH
