"""The benchmarks as one table (`BENCHMARKS`): columns, prompt, split, metric, licence and version of each. Plain data; reads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Category(StrEnum):
    """What a benchmark measures, as the tables of the DeepSeek-R1 paper group them."""

    MATHS = "mathematics"
    KNOWLEDGE = "knowledge"
    READING = "reading"
    INSTRUCTIONS = "instructions"
    FACTS = "facts"
    CHINESE = "chinese"
    PREFERENCE = "preference"
    CODE = "code"


OWN = "r1env"
"""The value of the option `extraction` that takes our own reader of answers."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: of the environment.
        title: as people call it.
        category: see `Category`.
        layout: the name of its layout in `r1env.data.layouts`, or in `r1env_benchmarks.tasks`.
        columns: what a row has, for people.
        prompt: the name of the template that puts a task as the benchmark does.
        metric: what is reported.
        reward: of our own reader, with `reward_options`.
        rules: further values of the option `extraction` → the rule of `r1env_benchmarks.rules` that each stands for.
        hub: the data set of the hub; empty where a file is needed.
        subset: its configuration; empty where one must be named, as for a set that has one for each subject.
        subjects: it has a configuration for each subject.
        split: the part that is evaluated, as the hub calls it.
        size: tasks of that part.
        licence: of the data, as its authors state it.
        unchecked: what of this nobody has looked up, `licence` or `hub`, with commas between them; empty where all of it was.
        version: which edition this is.
        paper: where it is described.
        source: the function that opens it, where that is not `r1env_benchmarks.tasks:open_benchmark`.
    """

    name: str
    title: str
    category: Category
    layout: str
    columns: str
    prompt: str
    metric: str
    reward: str
    reward_options: Mapping[str, object] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    hub: str = ""
    subset: str = ""
    subjects: int = 0
    split: str = "test"
    size: int = 0
    licence: str = "not stated"
    unchecked: str = ""
    version: str = ""
    paper: str = ""
    source: str = "r1env_benchmarks.tasks:open_benchmark"


_M, _K, _Z = Category.MATHS, Category.KNOWLEDGE, Category.CHINESE
_MATH_RULES = {"simple-evals": "simple-evals-math", "lm-eval": "lm-eval-math", "verl": "verl-dapo"}
_SIMPLE_EVALS = {"simple-evals": "simple-evals-choice"}
_OPENCOMPASS = {"opencompass": "opencompass-choice"}

# fmt: off
_ALL = (
    # Mathematics.
    Benchmark("gsm8k", "GSM8K", _M, "GSM8K", "question, answer", "boxed", "accuracy", "math",
        rules={"verl": "verl-gsm8k", "verl-flexible": "verl-gsm8k-flexible"},
        hub="openai/gsm8k", subset="main", size=1319, licence="MIT", version="2021", paper="arXiv 2110.14168"),
    Benchmark("svamp", "SVAMP", _M, "SVAMP", "Body, Question, Answer", "boxed", "accuracy", "math",
        size=1000, licence="MIT", version="2021", paper="arXiv 2103.07191"),
    Benchmark("mawps", "MAWPS", _M, "MAWPS", "input, target", "boxed", "accuracy", "math",
        size=2065, licence="MIT", unchecked="licence", version="2016, as in Qwen2.5-Math", paper="NAACL 2016, N16-1136"),
    Benchmark("math", "MATH", _M, "MATH", "problem, solution, level, type", "simple-evals-math", "accuracy", "math", rules=_MATH_RULES,
        hub="DigitalLearningGmbH/MATH-lighteval", size=5000, licence="MIT", version="2021", paper="arXiv 2103.03874"),
    Benchmark("math-500", "MATH-500", _M, "MATH-500", "problem, answer, solution, subject, level", "simple-evals-math", "accuracy", "math",
        rules=_MATH_RULES, hub="HuggingFaceH4/MATH-500", size=500, licence="MIT", unchecked="licence", version="2023, the split of PRM800K",
        paper="arXiv 2305.20050"),
    Benchmark("aime24", "AIME 2024", _M, "AIME", "problem|Problem, answer|Answer", "boxed", "pass@1 of k samples, cons@k", "math",
        rules=_MATH_RULES, hub="HuggingFaceH4/aime_2024", split="train", size=30, licence="problems of the MAA", version="2024"),
    Benchmark("aime25", "AIME 2025", _M, "AIME", "problem|Problem, answer|Answer", "boxed", "pass@1 of k samples, cons@k", "math",
        rules=_MATH_RULES, hub="math-ai/aime25", size=30, licence="problems of the MAA", version="2025"),
    Benchmark("amc23", "AMC 2023", _M, "AMC", "question|problem, answer", "boxed", "accuracy", "math",
        rules=_MATH_RULES, hub="math-ai/amc23", size=40, licence="problems of the MAA", version="2023, AMC 12A and 12B"),
    Benchmark("cnmo24", "CNMO 2024", _M, "AIME", "problem|Problem, answer|Answer", "boxed", "pass@1 of k samples, cons@k", "math",
        rules=_MATH_RULES, version="2024; any set with these columns"),
    Benchmark("olympiadbench", "OlympiadBench", _M, "OlympiadBench", "question, final_answer, answer_type, is_multiple_answer, error, unit",
        "olympiadbench", "accuracy", "benchmark", {"rule": "olympiadbench-exact"}, {"olympiadbench": "olympiadbench"},
        hub="Hothan/OlympiadBench", subset="OE_TO_maths_en_COMP", split="train", size=675, licence="Apache-2.0", version="2024",
        paper="arXiv 2402.14008"),
    Benchmark("minerva", "Minerva (OCW Courses)", _M, "Minerva", "question, answer; or problem, solution", "boxed", "accuracy", "math",
        rules={"lm-eval": "lm-eval-math"}, hub="math-ai/minervamath", size=272, unchecked="hub", version="2022", paper="arXiv 2206.14858"),
    # Knowledge, by choice.
    Benchmark("gpqa-diamond", "GPQA Diamond", _K, "GPQA", "Question, Correct Answer, Incorrect Answer 1 to 3", "simple-evals-choice",
        "pass@1 of k samples", "choice", rules=_SIMPLE_EVALS, hub="Idavidrein/gpqa", subset="gpqa_diamond", split="train", size=198,
        licence="CC-BY-4.0", version="2023", paper="arXiv 2311.12022"),
    Benchmark("mmlu", "MMLU", _K, "MMLU", "question, choices, answer, subject", "simple-evals-choice", "accuracy", "choice",
        rules=_SIMPLE_EVALS, hub="cais/mmlu", subset="all", size=14042, licence="MIT", version="2020", paper="arXiv 2009.03300"),
    Benchmark("mmlu-redux", "MMLU-Redux", _K, "MMLU-Redux", "question, choices, answer, error_type, correct_answer", "simple-evals-choice",
        "accuracy", "choice", rules=_SIMPLE_EVALS, hub="edinburgh-dawg/mmlu-redux-2.0", subjects=57, size=5700, licence="CC-BY-4.0",
        version="2.0", paper="arXiv 2406.04127"),
    Benchmark("mmlu-pro", "MMLU-Pro", _K, "MMLU-Pro", "question, options, answer, answer_index, category", "mmlu-pro",
        "accuracy, by category", "choice", rules={"mmlu-pro": "mmlu-pro", "lm-eval": "lm-eval-mmlu-pro"},
        hub="TIGER-Lab/MMLU-Pro", size=12032, licence="MIT", version="2024", paper="arXiv 2406.01574"),
    # Reading, instructions, facts.
    Benchmark("drop", "DROP", Category.READING, "DROP", "passage, question, answer, validated_answers; or context, ref_text",
        "simple-evals-drop", "F1, exact match", "benchmark", {"rule": "drop"},
        {"simple-evals": "simple-evals-drop", "lm-eval": "lm-eval-drop"},
        hub="EleutherAI/drop", split="validation", size=9536, licence="CC-BY-SA-4.0", version="2019", paper="arXiv 1903.00161"),
    Benchmark("ifeval", "IFEval", Category.INSTRUCTIONS, "IFEval", "prompt, instruction_id_list, kwargs", "plain",
        "accuracy by prompt and by instruction, strict and loose", "ifeval",
        hub="google/IFEval", split="train", size=541, licence="Apache-2.0", version="2023", paper="arXiv 2311.07911"),
    Benchmark("simpleqa", "SimpleQA", Category.FACTS, "SimpleQA", "problem, answer, metadata", "plain",
        "correct; by judge also correct given attempted", "short_answer", rules={"judge": "judge"},
        size=4326, licence="MIT", unchecked="licence", version="2024", paper="arXiv 2411.04368"),
    # Chinese.
    Benchmark("c-simpleqa", "Chinese SimpleQA", _Z, "Chinese SimpleQA", "question, answer", "plain",
        "correct; by judge also correct given attempted", "short_answer", rules={"judge": "judge"},
        hub="OpenStellarTeam/Chinese-SimpleQA", split="train", size=3000, licence="CC-BY-NC-SA-4.0", version="2024",
        paper="arXiv 2411.07140"),
    Benchmark("c-eval", "C-Eval", _Z, "C-Eval", "question, A, B, C, D, answer", "c-eval", "accuracy", "choice", rules=_OPENCOMPASS,
        hub="ceval/ceval-exam", subjects=52, split="val", size=1346, licence="CC-BY-NC-SA-4.0", version="2023", paper="arXiv 2305.08322"),
    Benchmark("cmmlu", "CMMLU", _Z, "CMMLU", "Question, A, B, C, D, Answer", "c-eval", "accuracy", "choice", rules=_OPENCOMPASS,
        hub="haonan-li/cmmlu", subjects=67, size=11582, licence="CC-BY-NC-SA-4.0", version="2023", paper="arXiv 2306.09212"),
    Benchmark("cluewsc", "CLUEWSC 2020", _Z, "CLUEWSC", "text, target, label", "cluewsc", "accuracy", "choice", rules=_OPENCOMPASS,
        hub="clue/clue", subset="cluewsc2020", split="validation", size=304, unchecked="licence", version="2020", paper="arXiv 2004.05986"),
    # Preference, by pairwise judge.
    Benchmark("alpaca-eval", "AlpacaEval 2", Category.PREFERENCE, "AlpacaEval", "instruction, output, generator", "plain",
        "win rate, length-controlled win rate", "pairwise", hub="tatsu-lab/alpaca_eval", subset="alpaca_eval_gpt4_baseline", split="eval",
        size=805, licence="CC-BY-NC-4.0", version="2.0", paper="arXiv 2404.04475"),
    Benchmark("arena-hard", "Arena-Hard", Category.PREFERENCE, "Arena-Hard", "uid, prompt; and the baseline's answers", "plain",
        "win rate over two orders, length-controlled win rate", "pairwise", {"strong": True}, size=750, licence="Apache-2.0", version="2.0",
        paper="arXiv 2406.11939"),
    # Programs.
    Benchmark("humaneval", "HumanEval", Category.CODE, "HumanEval", "prompt, entry_point, test", "plain", "pass@k", "code",
        hub="openai/openai_humaneval", size=164, licence="MIT", version="2021", paper="arXiv 2107.03374",
        source="r1env_benchmarks.code:humaneval"),
    Benchmark("humaneval-plus", "HumanEval+", Category.CODE, "HumanEval", "prompt, entry_point, test", "plain", "pass@k", "code",
        hub="evalplus/humanevalplus", size=164, licence="Apache-2.0", version="0.1.10", paper="arXiv 2305.01210",
        source="r1env_benchmarks.code:humaneval"),
    Benchmark("mbpp", "MBPP", Category.CODE, "MBPP", "text|prompt, test_list", "plain", "pass@k", "code",
        hub="google-research-datasets/mbpp", subset="full", size=500, licence="CC-BY-4.0", version="2021", paper="arXiv 2108.07732",
        source="r1env_benchmarks.code:mbpp"),
    Benchmark("mbpp-plus", "MBPP+", Category.CODE, "MBPP", "prompt, test_list, test", "plain", "pass@k", "code",
        hub="evalplus/mbppplus", size=378, licence="Apache-2.0", version="0.2.0", paper="arXiv 2305.01210",
        source="r1env_benchmarks.code:mbpp"),
    Benchmark("bigcodebench", "BigCodeBench", Category.CODE, "BigCodeBench", "instruct_prompt, complete_prompt, test, libs", "plain",
        "pass@1", "code", hub="bigcode/bigcodebench", split="v0.1.4", size=1140, licence="Apache-2.0", version="v0.1.4", paper="arXiv 2406.15877",
        source="r1env_benchmarks.code:bigcodebench"),
    Benchmark("livecodebench", "LiveCodeBench", Category.CODE, "LiveCodeBench",
        "question_content, public_test_cases, private_test_cases, contest_date", "plain", "pass@1 of k samples", "code",
        hub="livecodebench/code_generation_lite", subset="release_v6", size=1055, licence="CC, which one is not stated", version="release_v6", paper="arXiv 2403.07974",
        source="r1env_benchmarks.code:livecodebench"),
    Benchmark("codeforces", "Codeforces", Category.CODE, "Codeforces (open-r1)", "description, official_tests, time_limit, memory_limit",
        "plain", "pass@1 of k samples", "code", hub="open-r1/codeforces", subset="verifiable", licence="CC-BY-4.0", version="2025",
        source="r1env_benchmarks.code:codeforces"),
)
# fmt: on

BENCHMARKS: Mapping[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}
"""Benchmark by name."""


def markdown() -> str:
    """Return the table as the README shows it."""
    head = "| environment | benchmark | tasks | data (`hub` name, split) | columns of a row | prompt | metric | `extraction` | licence, version |"
    lines = [head, "|" + "---|" * head.count(" | ") + "---|"]
    for one in sorted(BENCHMARKS.values(), key=lambda one: list(Category).index(one.category)):
        data = f"`{one.hub}{':' + one.subset if one.subset else ''}`{_doubt(one, 'hub')}, {one.split}" if one.hub else "a file"
        extraction = ", ".join(f"`{name}`" for name in (OWN, *one.rules)) if one.category is not Category.CODE else ""
        cells = (
            f"`{one.name}`", one.title, f"{one.size:,}" if one.size else "", data, one.columns.replace("|", " or "), f"`{one.prompt}`",
            one.metric, extraction, ", ".join(filter(None, (one.licence + _doubt(one, "licence"), one.version))),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _doubt(about: Benchmark, what: str) -> str:
    return " (not checked)" if what in about.unchecked.split(", ") else ""
