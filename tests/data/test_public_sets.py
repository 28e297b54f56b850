"""Every layout that we have rows of, against an oracle of its own: where the question and the reference stand, said a second time.

The rows are not in the repository; R1ENV_TEST_DATA names their folder.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import r1env
from r1env.adapters import openrlhf, trl, verl
from r1env.cli.main import make_app
from r1env.data import read_rows
from r1env.data.layouts import Example, example_of, layout_named, read_examples
from r1env.data.tasks import file_tasks
from r1env.errors import DataError
from r1env.types import Rollout

ROOT = Path(os.environ.get("R1ENV_TEST_DATA", "."))
FOLDER = ROOT / "layouts"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="R1ENV_TEST_DATA names no folder with layouts/")

Row = Any
Get = Callable[[Row], Any]


def at(*path: Any) -> Get:
    def get(row: Row) -> Any:
        for step in path:
            row = row[step]
        return row

    return get


def last(*path: Any) -> Get:
    """The text of the last user's message at a path."""
    return lambda row: next(
        one.get("content", one.get("value"))
        for one in reversed(at(*path)(row))
        if one.get("role", one.get("from")) in ("user", "human")
    )


def number(key: str) -> Get:
    return lambda row: str(int(row[key])) if float(row[key]).is_integer() else str(row[key])


def letter(key: str) -> Get:
    return lambda row: "ABCDEFGHIJ"[row[key]]


def inside(*fragments: str) -> Get:
    """The question begins with the column's text, whatever is put behind it."""
    return lambda row: at(*fragments)(row)


def truth(row: Row) -> Any:
    return row["reward_model"]["ground_truth"]


def info(row: Row) -> Any:
    value = row["verification_info"]
    return json.loads(value) if isinstance(value, str) else value


def unpacked(text: str) -> list[Any]:
    return json.loads(text if text.startswith("[") else pickle.loads(zlib.decompress(base64.b64decode(text))))


def io_count(text: Any) -> int:
    value = json.loads(text) if isinstance(text, str) else text
    return len(value["inputs"])


NONE: Get = lambda row: None  # noqa: E731
TEXT_OF_DIALOGUE: Get = lambda row: row["chosen"].split("\n\nHuman: ")[-1].split("\n\nAssistant:")[0]  # noqa: E731
COMMON: Get = lambda row: last("chosen")(row)  # noqa: E731

# name → kind, where the question's text stands, the reference, how many tests
TASKS: dict[str, tuple[str, Get, Get, Get]] = {
    **{
        name: ("math", at(question), at(answer), lambda row: 0)
        for name, question, answer in (
            ("aime24_h4", "problem", "answer"),
            ("aime25", "problem", "answer"),
            ("bbh", "input", "target"),
            ("big_math", "problem", "answer"),
            ("dapo_math_17k_processed", "prompt", "solution"),
            ("deepmath_103k", "question", "final_answer"),
            ("deepscaler", "problem", "answer"),
            ("gsm8k", "question", "answer"),
            ("limo", "question", "answer"),
            ("math500", "problem", "answer"),
            ("math_hendrycks", "problem", "solution"),
            ("minerva_raw", "problem", "solution"),
            ("minervamath", "question", "answer"),
            ("nemo_gym_math", "question", "expected_answer"),
            ("numinamath_1_5", "problem", "answer"),
            ("numinamath_cot", "problem", "solution"),
            ("numinamath_tir", "problem", "solution"),
            ("openmathreasoning", "problem", "expected_answer"),
            ("openr1_math_220k", "problem", "answer"),
            ("s1k", "question", "solution"),
            ("s1k_1_1", "question", "solution"),
            ("verifiers_question", "question", "answer"),
        )
    },
    "aime24_maxwell": ("math", at("Problem"), number("Answer"), lambda row: 0),
    "amc23": ("math", at("question"), number("answer"), lambda row: 0),
    "olympiadbench": ("math", at("question"), lambda row: row["final_answer"] and row["final_answer"][0], lambda row: 0),
    "openrlhf_prompts": (
        "math",
        lambda row: row["input"] if isinstance(row["input"], str) else last("input")(row),
        at("answer"),
        lambda row: 0,
    ),
    "orz_57k": ("math", at(0, "value"), at(1, "ground_truth", "value"), lambda row: 0),
    "trl_prompt_only_conversational": ("math", last("prompt"), at("solution"), lambda row: 0),
    **{name: ("math", at("extra_info", "question"), truth, lambda row: 0) for name in ("verl_gsm8k", "verl_gsm8k_tool")},
    "verl_math": ("math", lambda row: last("prompt")(row).partition(" Let's think")[0], truth, lambda row: 0),
    "dapo_math_17k": ("math", lambda row: last("prompt")(row).split("\n\n")[1], truth, lambda row: 0),
    "skywork_or1_math": ("math", last("prompt"), truth, lambda row: 0),
    # choice
    "ceval": ("choice", at("question"), at("answer"), lambda row: 0),
    "cmmlu": ("choice", at("Question"), at("Answer"), lambda row: 0),
    "cluewsc": ("choice", at("text"), lambda row: "A" if row["label"] == "true" else "B", lambda row: 0),
    "mmlu": ("choice", at("question"), letter("answer"), lambda row: 0),
    "mmlu_pro": ("choice", at("question"), at("answer"), lambda row: 0),
    "mmlu_redux": ("choice", at("question"), lambda row: row["correct_answer"] or "ABCD"[row["answer"]], lambda row: 0),
    "nemo_gym_mcqa": (
        "choice",
        lambda row: last("responses_create_params", "input")(row).rpartition("boxed{}.\n")[2],
        at("expected_answer"),
        lambda row: 0,
    ),
    "supergpqa": ("choice", at("question"), at("answer_letter"), lambda row: 0),
    # short answers
    "simpleqa": ("short", at("problem"), at("answer"), lambda row: 0),
    "drop_simple_evals": ("short", at("context"), lambda row: row["ref_text"].split("|")[0], lambda row: 0),
    "drop_hf": (
        "short",
        at("passage"),
        lambda row: row["answer"]["number"] or ", ".join(row["answer"]["spans"]),
        lambda row: 0,
    ),
    # logic
    "countdown": ("logic", lambda row: "Use each of the numbers", NONE, lambda row: 0),
    "countdown_tinyzero_verl": ("logic", lambda row: "Using the numbers", NONE, lambda row: 0),
    "knights_knaves": ("logic", at("quiz"), at("solution_text_format"), lambda row: 0),
    "logic_rl_kk_verl": ("logic", at("quiz"), at("solution_text_format"), lambda row: 0),
    "reasoning_gym": ("logic", at("question"), at("answer"), lambda row: 0),
    "nemo_gym_reasoning_gym": ("logic", at("question"), at("answer"), lambda row: 0),
    # programs
    "apps": ("code", at("question"), NONE, lambda row: io_count(row["input_output"]) if row["input_output"] else 0),
    "taco": ("code", at("question"), NONE, lambda row: io_count(row["input_output"])),
    "code_contests": (
        "code",
        at("description"),
        NONE,
        lambda row: (
            len(row["private_tests"]["input"]) + len(row["generated_tests"]["input"]) or len(row["public_tests"]["input"])
        ),
    ),
    "codeforces_openr1": ("code", at("description"), NONE, lambda row: len(row["official_tests"])),
    "openr1_verifiable_coding": ("code", at("problem"), NONE, lambda row: len(row["verification_info"]["test_cases"])),
    "kodcode_v1": ("code", lambda row: "" if row["style"] == "complete" else row["question"], NONE, lambda row: 1),
    "bigcodebench": ("code", at("instruct_prompt"), NONE, lambda row: 1),
    "humaneval": ("code", lambda row: "Complete this Python function", NONE, lambda row: 1),
    "humanevalplus_jsonl": ("code", lambda row: "Complete this Python function", NONE, lambda row: 1),
    "mbpp": ("code", at("text"), NONE, lambda row: len(row["test_list"]) + len(row["challenge_test_list"]) - 1),
    "mbpp_sanitized": ("code", at("prompt"), NONE, lambda row: max(1, len(row["test_list"]) - 1)),
    "mbppplus": ("code", at("prompt"), NONE, lambda row: 1),
    "livecodebench": ("code", at("question_content"), NONE, lambda row: len(unpacked(row["private_test_cases"]))),
    "rllm_code": (
        "code",
        at("problem"),
        NONE,
        lambda row: len(row["tests"]) if isinstance(row["tests"], list) else len(row["tests"].get("inputs", [0])),
    ),
    "skywork_or1_code": ("code", last("prompt"), NONE, lambda row: len(json.loads(truth(row)).get("inputs", [0]))),
    "nemo_gym_code": (
        "code",
        last("responses_create_params", "input"),
        NONE,
        lambda row: len(row["verifier_metadata"]["unit_tests"]["inputs"]),
    ),
    # instructions without a reference
    **{name: ("chat", at("prompt"), NONE, lambda row: 0) for name in ("ifeval", "ifeval_nullfilled", "ifbench")},
    **{name: ("chat", at("prompt"), NONE, lambda row: 0) for name in ("arena_hard_question", "trl_prompt_only")},
    "alpaca_eval": ("chat", at("instruction"), NONE, lambda row: 0),
    # demonstrations
    "alpaca": ("chat", at("instruction"), NONE, lambda row: 0),
    "sharegpt": ("chat", last("conversations"), NONE, lambda row: 0),
    "openthoughts_114k": ("chat", last("conversations"), NONE, lambda row: 0),
    **{
        name: ("chat", last("messages"), NONE, lambda row: 0)
        for name in ("tulu3_sft", "trl_messages", "trl_tool_calls", "verl_multiturn_sft")
    },
    "trl_prompt_completion": ("chat", at("prompt"), NONE, lambda row: 0),
    "trl_prompt_completion_conversational": ("chat", last("prompt"), NONE, lambda row: 0),
    # of several kinds
    "eurus2_rl": (
        "",
        lambda row: last("prompt")(row).partition("\n\nPresent")[0],
        lambda row: truth(row) if row["ability"] == "math" else None,
        lambda row: io_count(truth(row)) if row["ability"] == "code" else 0,
    ),
    "rlvr_open_instruct": (
        "",
        last("messages"),
        lambda row: None if row["dataset"] == "ifeval" else row["ground_truth"],
        lambda row: 0,
    ),
    "synthetic1": (
        "",
        lambda row: row["prompt"].partition(" Put your")[0],
        lambda row: info(row).get("ground_truth"),
        lambda row: len(info(row).get("test_cases", [])),
    ),
    "synthetic2": (
        "",
        lambda row: row["prompt"].partition(" Put the")[0],
        lambda row: info(row).get("ground_truth"),
        lambda row: len(info(row).get("test_cases", [])),
    ),
    "openthoughts_114k_metadata": (
        "",
        at("problem"),
        lambda row: None if row["test_cases"] else row["ground_truth_solution"],
        lambda row: io_count(row["test_cases"]) if row["test_cases"] else 0,
    ),
    "verifiers_prompt": ("", last("prompt"), lambda row: row.get("answer"), lambda row: 0),
    "orz_eval": ("", last("prompt"), at("final_answer"), lambda row: 0),
}

# name → what the row has besides a task, of the example's fields
OTHERS: dict[str, tuple[str, ...]] = {
    "gpqa_diamond": ("answer",),
    "arena_hard_answer": ("prompt", "demonstrations"),
    "arena_hard_judgment": (),
    "hh_rlhf": ("prompt", "chosen", "rejected"),
    "llamafactory_kto": ("prompt", "demonstrations"),
    "llamafactory_preference": ("prompt", "chosen", "rejected"),
    "swe_bench_prediction": (),
    "swe_bench_verified": ("prompt",),
    "trl_language_modeling": ("text",),
    "trl_preference": ("prompt", "chosen", "rejected"),
    "trl_preference_implicit": ("prompt", "chosen", "rejected"),
    "trl_stepwise": ("prompt", "steps"),
    "trl_unpaired_preference": ("prompt", "demonstrations"),
    "ultrafeedback_binarized": ("prompt", "chosen", "rejected"),
}


def files(name: str) -> list[Path]:
    return [path for suffix in (".jsonl", ".json", ".parquet") if (path := FOLDER / f"{name}{suffix}").exists()]


def examples_of(path: Path) -> list[Example]:
    return list(iter(read_examples(path)))


def raw_rows(name: str) -> list[Row]:
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines() if line.strip()]


def test_every_set_that_we_have_rows_of_has_an_oracle():
    there = {path.stem for path in FOLDER.glob("*.jsonl")}
    special = {name for name in there if "broken" in name or "hostile" in name or name.endswith("_cases")}
    assert there - special == TASKS.keys() | OTHERS.keys()
    assert len(TASKS) + len(OTHERS) == 102


@pytest.mark.parametrize("name", TASKS)
def test_a_set_of_tasks_gives_the_right_question_reference_tests_and_kind(name):
    kind, question, answer, tests = TASKS[name]
    for path in files(name):
        examples = examples_of(path)
        rows = raw_rows(name)
        assert len(examples) == len(rows)
        for example, row in zip(examples, rows, strict=True):
            asked = next(m["content"] for m in reversed(example.prompt) if m["role"] == "user")
            wanted = str(question(row)).strip()
            assert wanted in asked if kind in ("code", "short", "logic") else asked.startswith(wanted), path
            if example.left_out:
                continue
            reference = answer(row)
            assert example.answer == (None if reference is None else str(reference).strip()), path
            assert len(example.tests) == tests(row), path
            if kind:
                assert example.kind == kind, path


@pytest.mark.parametrize("name", OTHERS)
def test_other_sets_give_what_they_have(name):
    for path in files(name):
        for example in examples_of(path):
            for field in OTHERS[name]:
                assert getattr(example, field), (path, field)


@pytest.mark.parametrize("name", [*TASKS, *OTHERS])
def test_no_column_is_lost_in_any_format(name):
    for path in files(name):
        for example in examples_of(path):
            assert example.columns.keys() == example.row.keys(), path
            for column, meaning in example.columns.items():
                assert column in example.metadata or "tests" in meaning, (path, column)


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name][0] == "code"])
def test_tests_are_those_that_the_sandbox_reads(name):
    models = pytest.importorskip("r1env_sandbox.models")
    for example in examples_of(FOLDER / f"{name}.jsonl"):
        for test in example.tests:
            models.TestCase.model_validate(test)


def test_a_shuffled_choice_keeps_its_right_option():
    for example in examples_of(FOLDER / "gpqa_diamond.jsonl"):
        assert example.metadata["options"][example.answer] == example.row["Correct Answer"].strip()


def test_further_references_of_drop_are_kept():
    first, second = examples_of(FOLDER / "drop_simple_evals.jsonl")
    assert (first.metadata["answers"], second.answer, second.metadata["answers"]) == (["17 points"], "Ann, Bo", ["Bo, Ann"])


def test_python_literals_are_data_all_the_way():
    row = read_rows(FOLDER / "s1k.jsonl")[0]
    assert ast.literal_eval(row["metadata"])["answer"] == "144"
    assert example_of(row).metadata["metadata"] == row["metadata"]


@pytest.mark.parametrize(
    "name",
    [
        *("gsm8k", "ifeval", "livecodebench", "mmlu_pro", "openr1_math_220k", "orz_57k", "trl_preference", "verl_math"),
        "livecodebench_hostile",
    ],
)
def test_every_broken_row_is_refused_with_its_place(name):
    path = FOLDER / (f"{name}_broken.jsonl" if name != "livecodebench_hostile" else "livecodebench_hostile_pickle.jsonl")
    layout = layout_named("GSM8K") if name == "gsm8k" else None
    rows = list(iter(read_rows(path)))
    for row in rows:
        with pytest.raises(DataError, match=rf"line {row.number}: ") as caught:
            example_of(row, layout)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600


UNPAID = {
    "numinamath_cot": "its second row is a proof, whose reference marks no answer: unscored, and reported",
    "drop_hf": "references of several spans are lists, which the reward for short answers leaves unscored",
    "drop_simple_evals": "the same",
    "bbh": "its third reference is an unbalanced brace, which no box can hold",
}


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name][0] in ("math", "choice", "short")])
def test_the_environment_of_ones_own_rows_pays_its_own_references(name):
    environment = r1env.make_environment("data", data=str(FOLDER / f"{name}.jsonl"))
    assert environment.source.size >= 1
    for index in range(environment.source.size):
        task = environment.task(index)
        right = r1env.Rollout(task=task, completion=f"Thus the answer is \\boxed{{{task.answer}}}.")
        (score,) = r1env.score([right], environment.rubric)
        unpaid = name in UNPAID and (score.value is None or name == "bbh")
        assert score.value == 1.0 or unpaid, (task.answer, score)


# GSM8K as it is: worked solutions as references.


@pytest.fixture(scope="module")
def gsm8k() -> list[dict[str, str]]:
    path = ROOT / "gsm8k_test.jsonl"
    if not path.exists():
        pytest.skip("R1ENV_TEST_DATA has no gsm8k_test.jsonl")
    return list(iter(read_rows(path)))


def boxed(row: dict[str, str]) -> str:
    return f"So it is \\boxed{{{row['answer'].rpartition('####')[2].strip().replace(',', '')}}}."


def test_gsm8k_as_it_is_is_paid_through_trl(gsm8k):
    function = trl.reward_function("math")
    values = function(
        prompts=[row["question"] for row in gsm8k],
        completions=[boxed(row) for row in gsm8k],
        answer=[row["answer"] for row in gsm8k],
    )
    assert (len(values), values.count(1.0)) == (1319, 1319)


def test_gsm8k_as_it_is_is_paid_through_verl(gsm8k):
    function = verl.reward_function("math")
    found = [function("gsm8k", boxed(row), row["answer"], {"question": row["question"]}) for row in gsm8k]
    assert [one["score"] for one in found] == [1.0] * 1319


def test_gsm8k_as_it_is_is_paid_through_openrlhf(gsm8k):
    function = openrlhf.reward_function("math")
    prompts = [row["question"] for row in gsm8k]
    found = function(
        [prompt + boxed(row) for prompt, row in zip(prompts, gsm8k, strict=True)], prompts, [row["answer"] for row in gsm8k]
    )
    assert found["rewards"] == [1.0] * 1319


@pytest.mark.parametrize("question", ["question", "prompt"])
def test_gsm8k_as_it_is_is_paid_by_the_command_that_scores(gsm8k, question, tmp_path):
    given, scores = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{question: row["question"], "answer": row["answer"], "completion": boxed(row)} for row in gsm8k]
    given.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    app = make_app(r1env.installed())
    done = CliRunner().invoke(app, ["score", "--reward", "math", "--input", str(given), "--output", str(scores)])
    assert done.exit_code == 0, done.output
    assert [row["value"] for row in read_rows(scores)] == [1.0] * 1319


def test_gsm8k_as_it_is_is_paid_in_its_environment_and_in_that_of_ones_own_rows(gsm8k):
    for name in ("gsm8k", "data"):
        environment = r1env.make_environment(name, data=str(ROOT / "gsm8k_test.jsonl"))
        rollouts = [Rollout(task=environment.task(index), completion=boxed(row)) for index, row in enumerate(gsm8k)]
        assert [score.value for score in r1env.score(rollouts, environment.rubric)] == [1.0] * 1319


def test_the_references_of_gsm8k_are_counted_and_shown(gsm8k, caplog):
    caplog.set_level("INFO", "r1env.data")
    source = file_tasks(str(ROOT / "gsm8k_test.jsonl")).checked(r1env.get_reward("math").read_reference)
    assert source.size == 1319
    assert "1,319 references read from worked solutions" in caplog.text
    assert "as GSM8K rows (math)" in caplog.text
