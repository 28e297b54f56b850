"""The table of benchmarks: prompts, splits, scorers and licences; and the traps of public evaluators, which ours do not have."""

from __future__ import annotations

import csv
import json
import os
import random
import re
from collections import Counter
from pathlib import Path

import pytest

import r1env
from r1env import Rollout, UsageError
from r1env.errors import DataError, NoSplitError
from r1env.preflight import Preflight, check_tasks
from r1env_benchmarks.plugin import FIXTURES
from r1env_benchmarks.rules import RULES
from r1env_benchmarks.table import BENCHMARKS, Category, markdown
from r1env_benchmarks.tasks import on_the_hub, open_benchmark

README = Path(__file__).parents[2] / "plugins/benchmarks/README.md"
LAYOUTS = Path(os.environ.get("R1ENV_TEST_DATA", ".")) / "layouts"
TEXTS = [one for one in BENCHMARKS.values() if one.category not in (Category.CODE, Category.PREFERENCE)]
JUDGE = {"url": "http://localhost:1/v1", "model": "m"}


def write(folder, *rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def made(name, **options):
    return r1env.make_environment(name, **{"data": str(FIXTURES / f"{name}.jsonl"), **options})


def asked(environment, index=0):
    return environment.template.messages(environment.task(index))[-1]["content"]


def values(environment, *completions, index=0):
    task = environment.task(index)
    return [one.value for one in r1env.score([Rollout(task=task, completion=text) for text in completions], environment.rubric)]


def test_the_readme_has_the_table():
    assert markdown() in README.read_text("utf-8")


@pytest.mark.parametrize("about", BENCHMARKS.values(), ids=BENCHMARKS)
def test_every_benchmark_says_where_it_is_from(about):
    assert about.licence
    assert about.version
    assert about.hub or about.columns
    assert set(about.rules.values()) <= set(RULES) | {"judge"}
    assert Path(r1env.installed().environment(about.name).fixture.options["data"]).is_file()


def test_the_fixtures_are_small():
    assert sum(path.stat().st_size for path in FIXTURES.iterdir()) < 16_000


@pytest.mark.parametrize("about", TEXTS, ids=[one.name for one in TEXTS])
@pytest.mark.skipif(not LAYOUTS.is_dir(), reason="R1ENV_TEST_DATA names no folder with layouts/")
def test_rows_in_the_layout_of_the_public_set_are_read(about):
    files = {
        "gsm8k": ["gsm8k"], "math": ["math_hendrycks"], "math-500": ["math500"], "aime24": ["aime24_h4", "aime24_maxwell"],
        "aime25": ["aime25"], "amc23": ["amc23"], "olympiadbench": ["olympiadbench"], "minerva": ["minervamath", "minerva_raw"],
        "gpqa-diamond": ["gpqa_diamond"], "mmlu": ["mmlu"], "mmlu-redux": ["mmlu_redux"], "mmlu-pro": ["mmlu_pro"],
        "drop": ["drop_hf", "drop_simple_evals"], "ifeval": ["ifeval", "ifeval_nullfilled"], "simpleqa": ["simpleqa"], "c-eval": ["ceval"],
        "cmmlu": ["cmmlu"], "cluewsc": ["cluewsc"],
    }  # fmt: skip
    for name in files.get(about.name, []):
        environment = made(about.name, data=str(LAYOUTS / f"{name}.jsonl"))
        for index in range(environment.source.size):
            assert asked(environment, index)
            assert about.name == "ifeval" or environment.task(index).answer
    if not files.get(about.name):
        pytest.skip("there are no rows of this set")


LETTERED = {"A": "5", "B": "4", "C": "3", "D": "2"}
VARIANTS = [
    ("gsm8k", {"problem": "2 + 2?", "expected_answer": "4"}),
    ("gsm8k", {"data_source": "gsm8k", "prompt": [{"role": "user", "content": "2 + 2?"}], "ability": "math",
               "reward_model": {"style": "rule", "ground_truth": "4"}}),
    ("mawps", {"question": "2 + 2?", "chain": "", "result": "4"}),
    ("math", {"problem": "2 + 2?", "solution": "So it is $\\boxed{4}$."}),
    ("math-500", {"": 0, "Question": "2 + 2?", "Answer": "4"}),
    ("aime24", {"ID": "I-1", "Year": 2024, "Question": "2 + 2?", "Answer": 4}),
    ("aime25", {"problem": "2 + 2?", "expected_answer": "004", "reference_solution": "?"}),
    ("amc23", {"problem": "2 + 2?", "answer": 4.0}),
    ("gpqa-diamond", {"question": "2 + 2?", "options": list(LETTERED.values()), "answer": "B"}),
    ("mmlu", {"": 0, "Question": "2 + 2?", **LETTERED, "Answer": "B", "Subject": "sums"}),
    ("mmlu", {"input": "2 + 2?", **LETTERED, "target": "B"}),
    ("mmlu-pro", {"question": "2 + 2?", "options": list(LETTERED.values()), "answer": "B", "category": "math"}),
    ("drop", {"passage": "4 boats sank.", "question": "How many?", "answers_spans": {"spans": ["4", "4"], "types": ["number"] * 2}}),
    ("simpleqa", {"problem": "2 + 2?", "answer": "4", "answer_type": "Number"}),
    ("c-simpleqa", {"problem": "2 + 2?", "answer": "4"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row"), VARIANTS)
def test_rows_of_other_copies_of_a_set_are_read(tmp_path, name, row):
    environment = made(name, data=write(tmp_path, row))
    choice = environment.source.kind == "choice"
    gold, wrong = ("B", "A") if choice else (environment.task(0).answer, "-98")
    assert environment.task(0).answer in ("B", "4", "004", row.get("solution"))
    assert values(environment, f"Answer: {gold}", f"\\boxed{{{gold}}}", f"Answer: {wrong}", f"\\boxed{{{wrong}}}") == [
        1.0,
        1.0,
        0.0,
        0.0,
    ]


FLOWERS = ["red lead", "rose", "leaf", "snow"]  # the second is right
OPTIONS = {
    "list": FLOWERS,
    "by letter": dict(zip("ABCD", FLOWERS, strict=True)),
    "by small letter": dict(zip("abcd", FLOWERS, strict=True)),
    "by number from 0": dict(zip("0123", FLOWERS, strict=True)),
    "label and text": {"label": list("ABCD"), "text": FLOWERS},
    "list of label and text": [{"label": label, "text": text} for label, text in zip("ABCD", FLOWERS, strict=True)],
    "list of key and value": [{"key": label, "value": text} for label, text in zip("ABCD", FLOWERS, strict=True)],
    "list of one each": [{label: text} for label, text in zip("ABCD", FLOWERS, strict=True)],
    "JSON text": json.dumps(FLOWERS),
    "Python text": repr(FLOWERS),
    "JSON text by letter": json.dumps(dict(zip("ABCD", FLOWERS, strict=True))),
    "A)": [f"{label}) {text}" for label, text in zip("ABCD", FLOWERS, strict=True)],
    "A.": [f"{label}. {text}" for label, text in zip("ABCD", FLOWERS, strict=True)],
    "A:": [f"{label}: {text}" for label, text in zip("ABCD", FLOWERS, strict=True)],
    "(A)": [f"({label}) {text}" for label, text in zip("ABCD", FLOWERS, strict=True)],
    "A) without a blank": [f"{label}){text}" for label, text in zip("ABCD", FLOWERS, strict=True)],
    "lines": "\n".join(f"{label}) {text}" for label, text in zip("ABCD", FLOWERS, strict=True)),
    "fillers": [*FLOWERS, "N/A", None, float("nan")],
    "fillers by letter": {**dict(zip("ABCD", FLOWERS, strict=True)), "E": None, "F": ""},
}
GOLDS = (
    1,
    1.0,
    "1",
    "1.0",
    [1],
    [0, 1, 0, 0],
    "B",
    " b ",
    "(B)",
    "B.",
    "B)",
    ["B"],
    "rose",
    "Rose",
    "B) rose",
    "B. rose",
    "(B) rose",
)
NOT_GOLDS = (
    None,
    "",
    "E",
    "e)",
    4,
    "4",
    -1,
    1.5,
    True,
    [],
    [0, 0, 0, 0],
    "lily",
    "A) rose",
    "The answer is B",
    float("nan"),
    {"value": "B"},
)


@pytest.mark.parametrize("column", ["options", "choices"])
@pytest.mark.parametrize("form", OPTIONS)
def test_options_and_their_answer_are_read_in_every_form_or_refused(tmp_path, form, column):
    for gold in GOLDS:
        task = choice_task(tmp_path, {"question": "A flower?", column: OPTIONS[form], "answer": gold})
        assert (task.answer, list(task.metadata["options"].values())) == ("B", FLOWERS), gold
        assert task.question.endswith("A) red lead\nB) rose\nC) leaf\nD) snow")
    for gold in NOT_GOLDS:
        with pytest.raises(DataError, match=r"rows.jsonl, line 1: 'answer' is ") as caught:
            choice_task(tmp_path, {"question": "A flower?", column: OPTIONS[form], "answer": gold})
        assert "\n" not in str(caught.value)


def choice_task(folder, row):
    return open_benchmark("mmlu", data=write(folder, row)).task(0)


@pytest.mark.parametrize("name", [one.name for one in TEXTS if one.reward == "choice" and one.name != "cluewsc"])
def test_every_benchmark_of_choices_takes_rows_with_common_names(tmp_path, name):
    for question, answer in (("question", "answer"), ("Question", "label"), ("prompt", "target"), ("input", "answerKey")):
        row = {question: "A flower?", "options": FLOWERS, answer: "B"}
        assert open_benchmark(name, data=write(tmp_path, row)).task(0).answer == "B"


@pytest.mark.parametrize(
    ("options", "answer", "message"),
    [
        (["1", "2", "3"], "2", "it names 2 of the options, as a text, a label or an index; write a letter from A to C"),
        ([1, 2, 3], 2, "it names 2 of the options"),
        (["B", "A", "C"], "A", "it names 2 of the options"),
        (["rose", "rose", "leaf"], "rose", "it names 2 of the options"),
        ({"1": "leaf", "2": "rose"}, "0", "names none of the 2 options"),
        (["leaf", "", "rose"], "rose", "'options' is .* write a list of 2 to 10 options, none of them empty"),
        (["leaf", None, "rose"], "rose", "none of them empty"),
        (["leaf", ["rose"]], "rose", "none of them empty"),
        ("leaf, rose", "rose", "'options' is \"leaf, rose\": write a list"),
        (["leaf", "rose"], 2, r"or give first_index=1, if they count from 1"),
    ],
)
def test_options_that_can_be_understood_in_two_ways_are_refused(tmp_path, options, answer, message):
    with pytest.raises(DataError, match=message):
        open_benchmark("mmlu-pro", data=write(tmp_path, {"question": "A flower?", "options": options, "answer": answer}))


def test_labels_that_are_numbers_come_before_indices(tmp_path):
    row = {"question": "A flower?", "choices": {"label": ["1", "2"], "text": ["rose", "leaf"]}, "answerKey": "1"}
    assert open_benchmark("mmlu-pro", data=write(tmp_path, row)).task(0).answer == "A"
    assert open_benchmark("mmlu-pro", data=write(tmp_path, {**row, "answerKey": 1})).task(0).answer == "A"


def test_texts_that_are_numbers_do_not_change_what_an_index_is(tmp_path):
    row = {"question": "2 + 2?", "choices": ["3", "4", "5", "6"], "answer": 3}
    assert open_benchmark("mmlu", data=write(tmp_path, row)).task(0).answer == "D"
    assert open_benchmark("mmlu", data=write(tmp_path, row), first_index=1).task(0).answer == "C"


MATHS = {
    "gsm8k": "question",
    "mawps": "input",
    "math-500": "problem",
    "aime24": "Problem",
    "amc23": "question",
    "minerva": "problem",
}


@pytest.mark.parametrize(
    "answer", [None, "", " ", "nan", "None", "N/A", "<NA>", float("nan"), True, [], ["7", "-98"], {"value": 7}]
)
@pytest.mark.parametrize("name", MATHS)
def test_a_reference_that_is_none_is_refused_with_row_and_column(tmp_path, name, answer):
    column = "Answer" if MATHS[name] == "Problem" else "target" if name == "mawps" else "answer"
    with pytest.raises(DataError, match=rf"rows.jsonl, line 1: '{column}' is .*write|'####'") as caught:
        open_benchmark(name, data=write(tmp_path, {MATHS[name]: "3 + 4?", column: answer}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mmlu-pro", "drop", "ifeval", "cluewsc", "olympiadbench"])
def test_a_csv_file_holds_lists_and_objects_as_text(tmp_path, name):
    rows = [json.loads(line) for line in (FIXTURES / f"{name}.jsonl").read_text("utf-8").splitlines()]
    columns = [column for column in rows[0] if column != "fixture"]
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            cells = [row.get(column) for column in columns]
            writer.writerow([json.dumps(cell) if isinstance(cell, list | dict) else cell for cell in cells])
    environment = made(name, data=str(tmp_path / "rows.csv"))
    for index, row in enumerate(row for row in rows if "fixture" in row):
        right, wrong = values(environment, row["fixture"]["right"], row["fixture"]["wrong"], index=index)
        assert right == 1
        assert wrong < 1


def test_a_final_answer_comes_before_a_worked_solution(tmp_path):
    row = {"problem": "3 + 4?", "solution": "It is long.", "final_answer": "7"}
    assert open_benchmark("minerva", data=write(tmp_path, row)).task(0).answer == "7"


def test_a_row_of_ifeval_without_its_columns_is_no_prompt_to_be_scored(tmp_path):
    row = {"prompt": "No commas.", "instruction_ids": ["punctuation:no_comma"], "kwargs": [{}]}
    with pytest.raises(DataError, match="line 1: no column 'instruction_id_list', which IFEval or IFBench rows have"):
        made("ifeval", data=write(tmp_path, row))


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        (
            "mmlu-redux",
            {"question": "2 + 2?", "choices": ["4", "5"], "answer": 0, "subject": "sums"},
            "is laid out as MMLU, and MMLU-Redux",
        ),
        (
            "aime24",
            {"question": "2 + 2?", "choices": ["4", "5"], "answer": 0},
            "line 1: it is laid out as MMLU, and AIME rows are wanted",
        ),
        ("aime24", {"problem": "2 + 2?"}, "no column 'answer|Answer', which AIME rows have"),
        (
            "drop",
            {"passage": "Al, Bo", "question": "Who?", "answers_spans": {"spans": ["Al", "Bo"]}},
            "has 2 different answers; one is",
        ),
    ],
)
def test_rows_of_another_set_are_refused(tmp_path, name, row, message):
    with pytest.raises(DataError, match=re.escape(message)):
        made(name, data=write(tmp_path, row))


@pytest.mark.parametrize("name", ["ifeval", "mmlu-pro"])
@pytest.mark.skipif(not LAYOUTS.is_dir(), reason="R1ENV_TEST_DATA names no folder with layouts/")
def test_every_broken_row_is_refused_with_its_number(tmp_path, name):
    lines = (LAYOUTS / f"{name.replace('-', '_')}_broken.jsonl").read_text("utf-8").splitlines()
    refused = 0
    for line in lines:
        try:
            made(name, data=write(tmp_path, json.loads(line)))
        except DataError as error:
            refused += "rows.jsonl, line 1" in str(error)
    assert refused >= len(lines) - (name == "mmlu-pro")  # one row of MMLU-Pro has its options as text, and they can be read


# Prompts.


def test_prompts_are_those_of_the_authors():
    assert asked(made("mmlu")).endswith("\n\nA) 7\nB) 9\nC) 12\nD) 15")
    assert "LETTER is one of ABCD. Think step by step before answering.\n\nWhich number is even?" in asked(made("mmlu"))
    assert asked(made("math")).endswith(
        'Remember to put your answer on its own line after "Answer:", and you do not need to use a \\boxed command.'
    )
    pro = asked(made("mmlu-pro"))
    assert pro.startswith("The following are multiple choice questions (with answers) about chemistry. Think step by step")
    assert pro.endswith("E. iodine\nF. argon\nAnswer: Let's think step by step.")  # the fillers are gone
    assert asked(made("olympiadbench"), 1).count("(unit)") == 1
    assert "each of them should be a numerical value. Please calculate" in asked(made("olympiadbench"))
    assert asked(made("drop")).startswith("---\nPassage: The ferry took")
    assert asked(made("c-eval", subject="数学")).startswith(
        "以下是中国关于数学考试的单项选择题，请选出其中的正确答案。\n下列哪个数是偶数？____\nA. 3\n"
    )
    assert asked(made("cluewsc")).endswith("是否指代“小刚”？\nA. 是\nB. 否\n请从”A“，”B“中进行选择。\n答：")
    assert asked(made("aime24")).endswith("put your final answer within \\boxed{}.")
    assert asked(made("simpleqa")) == "In which town is the made-up museum of chairs?"
    assert "\\boxed" in asked(made("mmlu", template="boxed"))


def test_a_chinese_problem_of_olympiadbench_is_put_in_chinese(tmp_path):
    row = {
        "question": "求 $x$。", "final_answer": ["$1,x+1$"], "answer_type": "Numerical,Expression", "is_multiple_answer": True, "unit": "m",
        "language": "Chinese", "subject": "Physics", "error": None,
    }  # fmt: skip
    text = asked(made("olympiadbench", data=write(tmp_path, row)))
    assert text.startswith("以下是中国物理竞赛中的解答题，题目有多个答案，答案类型分别为数值、表达式。")
    assert "\\boxed{用英文逗号连接的多个答案}(单位)。”显式给出结果，注意答案的单位不要放在\\boxed{}中。" in text


def test_examples_are_shown_before_the_task(tmp_path):
    worked = {"question": "2 + 2?", "options": ["4", "5"], "answer": "A", "answer_index": 0, "category": "chemistry"}
    rows = [{**worked, "cot_content": f"A: Let's think step by step. Way {n}. The answer is (A)."} for n in range(4)]
    environment = made("mmlu-pro", examples=write(tmp_path, *rows), shots=2, bad_rows="skip")
    text = asked(environment)
    assert text.count("Way ") == 2
    assert "B. 5\nAnswer: Let's think step by step. Way" in text
    assert text == asked(made("mmlu-pro", examples=write(tmp_path, *rows), shots=2, bad_rows="skip"))
    with pytest.raises(DataError, match="line 2: 2 examples are to be shown before it, and 0 fit"):
        made("mmlu-pro", examples=write(tmp_path, *rows), shots=2)
    drop = made("drop", examples=str(FIXTURES / "drop.jsonl"), shots=2)
    assert "# Examples\n---\nPassage: " in asked(drop)
    assert "Answer: Mia, Tom\n" in asked(drop)
    assert "\n# Your Task\n\n---\nPassage: " in asked(drop)
    for options, message in (({"shots": 3}, "needs examples=FILE"), ({"shots": 3, "examples": "x"}, "shows no examples")):
        with pytest.raises(UsageError, match=message):
            made("drop" if "needs" in message else "mmlu", **options)


# The traps.


def gpqa(tmp_path, count=400):
    rows = [
        {"Question": f"Number {n}?", "Correct Answer": f"{n}", **{f"Incorrect Answer {k}": f"-{n}{k}" for k in (1, 2, 3)}}
        for n in range(count)
    ]
    return write(tmp_path, *rows)


@pytest.mark.parametrize(
    "options", [{}, {"shuffle_seed": 42}, {"order": "simple-evals"}], ids=["default", "seed 42", "simple-evals"]
)
def test_a_model_that_always_says_one_letter_is_right_a_quarter_of_the_time(tmp_path, options):
    source = open_benchmark("gpqa-diamond", data=gpqa(tmp_path), **options)
    golds = Counter(source.task(place).answer for place in range(source.size))
    assert set(golds) == set("ABCD")
    assert max(golds.values()) < 140  # of 400; five standard deviations above 100 are 143
    for place in range(0, 400, 40):
        task = source.task(place)
        assert task.metadata["options"][task.answer] == str(place)


def test_the_order_of_simple_evals_is_the_one_of_its_script(tmp_path):
    source = open_benchmark("gpqa-diamond", data=gpqa(tmp_path, 20), order="simple-evals")
    generator = random.Random(0)
    for place in range(20):
        shown = source.task(place).metadata["options"]
        texts = [str(place), f"-{place}1", f"-{place}2", f"-{place}3"]
        assert list(shown.values()) == [texts[one] for one in generator.sample(range(4), 4)]


CHOICES = [one.name for one in TEXTS if one.reward == "choice"]


@pytest.mark.parametrize("name", CHOICES)
def test_neither_the_thinking_nor_a_missing_answer_is_paid(name):
    for extraction in ("r1env", *BENCHMARKS[name].rules):
        environment = made(name, extraction=extraction)
        gold = environment.task(0).answer
        other = "A" if gold != "A" else "B"
        said = f"Answer: {gold}. The answer is ({gold})."
        completions = (
            f"<think>{said}</think>\nThe answer is ({other}).\nAnswer: {other}",
            f"<think>{said}",
            "i do not know",
            "",
        )
        assert values(environment, *completions) == [0.0] * 4, extraction


def test_what_one_side_lacks_is_not_paid(tmp_path):
    interval = {
        "question": "?",
        "final_answer": ["$(1,2)$"],
        "answer_type": "Interval",
        "is_multiple_answer": False,
        "error": None,
    }
    environment = made("olympiadbench", data=write(tmp_path, interval))
    assert values(environment, "\\boxed{(1,2)}", "\\boxed{(1,2,3)}") == [1.0, 0.0]
    assert values(made("olympiadbench"), "\\boxed{3}", "\\boxed{3,-2,5}", "\\boxed{-2,3}") == [0.0, 0.0, 1.0]
    drop = made("drop")
    assert values(drop, "Answer: Mia", "Answer: Mia and Tom", "Answer: Mia, Tom, Lea", index=1) == [
        0.5,
        1.0,
        pytest.approx(0.67),
    ]


def test_a_scratch_box_does_not_spoil_a_right_answer():
    environment = made("olympiadbench")
    assert values(environment, "We try \\boxed{4}. That is wrong. So the final answer is \\boxed{3,-2}.") == [1.0]
    assert values(made("olympiadbench", extraction="olympiadbench"), "First \\boxed{4}, then \\boxed{3,-2}.") == [0.0]


def test_a_tolerance_of_the_row_counts_and_a_percentage_does_not():
    environment = made("olympiadbench")
    assert values(environment, "\\boxed{30.45}", "\\boxed{30.6}", "\\boxed{3040}", index=1) == [1.0, 0.0, 0.0]
    assert values(made("olympiadbench", extraction="olympiadbench"), "\\boxed{3040}", index=1) == [1.0]


def test_a_corrected_answer_of_mmlu_redux_is_the_reference():
    assert made("mmlu-redux").task(0).answer == "C"


# Options that a benchmark does not have, and rows that it cannot use.


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mmlu", {"extraction": "lm-eval"}, "environment 'mmlu': extraction is 'lm-eval'; known: r1env, simple-evals"),
        ("mmlu", {"order": "simple-evals"}, "it has no option 'order'; GPQA has"),
        ("gpqa-diamond", {"order": "random"}, "order is 'random'; known: simple-evals"),
        ("simpleqa", {"extraction": "judge"}, "scored by a judge: say judge.url=URL and judge.model=NAME"),
        ("simpleqa", {"judge": JUDGE}, "extraction=r1env asks no judge"),
        ("mmlu", {"baseline": "x.jsonl"}, "compares with no baseline"),
        ("c-eval", {"data": None}, "a configuration for each of its 52 subjects; name one or several with subset=law,logic"),
        ("cnmo24", {"data": None}, "environment 'cnmo24' needs data: --data FILE with the columns problem"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        made(name, **options)


def test_the_hub_is_asked_for_the_part_that_is_evaluated():
    assert on_the_hub("a/b", None, "c", "validation") == ("hub:a/b:c", "validation")
    assert on_the_hub("a/b", "test", "law, logic", "val") == (["hub:a/b:law", "hub:a/b:logic"], "val")
    assert on_the_hub("hub:a/b@x", None, "") == ("hub:a/b@x", None)
    with pytest.raises(NoSplitError, match="is for evaluation, and what the hub calls 'train' is its only split"):
        on_the_hub("a/b", "train", "", "train")


def test_a_numbered_label_of_cluewsc_must_be_explained(tmp_path):
    row = {"text": "小刚累了，他睡着了。", "target": {"span1_text": "小刚", "span2_text": "他"}, "label": 0}
    with pytest.raises(DataError, match="copies of the set number their classes in two ways: say true_label=0 or 1"):
        made("cluewsc", data=write(tmp_path, row))
    assert made("cluewsc", data=write(tmp_path, row), true_label=0).task(0).answer == "A"
    assert made("cluewsc", data=write(tmp_path, row), true_label=1).task(0).answer == "B"


def test_rows_that_cannot_be_scored_are_refused_or_left_out(tmp_path):
    rule = {"prompt": "Write.", "instruction_id_list": ["keywords:existence"], "kwargs": [{}]}
    with pytest.raises(DataError, match=r"rows.jsonl, line 1: 'kwargs\[0\]' has no 'keywords'"):
        made("ifeval", data=write(tmp_path, rule))
    with pytest.raises(DataError, match=r"line 1: 'instruction_id_list\[0\]' is 'count:words': IFEval has no such rule"):
        made("ifeval", data=write(tmp_path, {**rule, "instruction_id_list": ["count:words"]}))
    problem = {
        "question": "?",
        "final_answer": ["4"],
        "answer_type": "Numerical",
        "is_multiple_answer": False,
        "error": "about 1",
    }
    with pytest.raises(DataError, match="line 1: 'error' is 'about 1': write a number, or one for each answer"):
        made("olympiadbench", data=write(tmp_path, problem))
    person = {**problem, "error": None, "answer_type": "Need_human_evaluate"}
    assert made("olympiadbench", data=write(tmp_path, person, {**problem, "error": "0.1, 2"})).source.size == 1


@pytest.mark.parametrize("about", TEXTS, ids=[one.name for one in TEXTS])
def test_the_check_before_an_evaluation_finds_how_an_answer_is_written(about):
    for extraction in ("r1env", *(name for name, rule in about.rules.items() if rule not in ("judge", "olympiadbench"))):
        report = check_tasks(made(about.name, extraction=extraction), Preflight())
        assert not [fault for fault in report.faults if "no way of writing an answer" in fault.remedy], extraction
        # verl does not read 1,200, and lm-eval pays no answer of several spans.
        assert not report.faults or (about.name, extraction) in [("gsm8k", "verl-flexible"), ("drop", "lm-eval")], extraction
