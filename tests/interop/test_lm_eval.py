"""Beside lm-eval's own scorers, on generated texts: IFEval's 25 rules, Hendrycks' equality of formulas, the metrics of
DROP, and the letters of MMLU-Pro."""

from __future__ import annotations

import json
import random

import pytest

from r1env_benchmarks import rules
from r1env_benchmarks.ifeval import RULES, follows, follows_loosely

pytestmark = [pytest.mark.nightly]

TEXTS = 300  # for each rule

# The modules of the scorers are loaded without the package, which would import data sets and models, and NLTK's sentence model comes
# from `punkt`, since NLTK downloads its own.
SCORERS = r"""
import importlib.util, json, re, sys, types
from pathlib import Path

import langdetect, nltk, punkt
from nltk.tokenize.destructive import NLTKWordTokenizer

tokenizer = NLTKWordTokenizer()
nltk.data.find = nltk.download = lambda *_, **__: True
nltk.data.load = lambda *_, **__: types.SimpleNamespace(tokenize=punkt.sent_tokenize)
nltk.word_tokenize = lambda text: [word for sentence in punkt.sent_tokenize(text) for word in tokenizer.tokenize(sentence)]
langdetect.DetectorFactory.seed = 0
sys.modules["datasets"] = types.SimpleNamespace(Dataset=object)
root = Path(importlib.util.find_spec("lm_eval").origin).parent
for name in ("lm_eval", "lm_eval.tasks", "lm_eval.tasks.ifeval", "lm_eval.tasks.drop", "lm_eval.tasks.hendrycks_math"):
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]

from lm_eval.filters.extraction import RegexFilter
from lm_eval.tasks.drop.utils import get_metrics
from lm_eval.tasks.hendrycks_math.utils import is_equiv
from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT
from lm_eval.tasks.ifeval.utils import InputExample, test_instruction_following_loose, test_instruction_following_strict


def ifeval(case):
    row = InputExample(0, [case["rule"]], "", [case["arguments"]])
    return [check(row, case["text"]).follow_all_instructions for check in (test_instruction_following_strict, test_instruction_following_loose)]


template = (root / "tasks/mmlu_pro/_default_template_yaml").read_text("utf-8")
letter = RegexFilter(re.search("regex_pattern: '(.*)'", template)[1], fallback="")


KINDS = {
    "mmlu-pro": lambda case: letter.apply([[case["text"]]], [{}])[0][0] or None,
    "ifeval": ifeval,
    "hendrycks": lambda case: is_equiv(*case["pair"]),
    "drop": lambda case: list(map(float, get_metrics(case["prediction"], tuple(case["reference"])))),
}
for line in Path("cases.jsonl").read_text("utf-8").splitlines():
    case = json.loads(line)
    print(json.dumps(KINDS[case["kind"]](case)))
"""

WORDS = (
    "the", "cat", "Dog", "a mat.", "Mr. Smith", "U.S.", "don't", "CAN'T", "USA's", "I", "e.g.", "3.14", "1,000", "naïve", "ÉCOLE", "½", "मौसम", "天气。",
    "“so”", "«x»", "…", "—", "--", "P.S. x", "p. p.s", "[name]", "[a[b]", "]", "<<t>>", "<<>>", "*hi*", "**bold**", "***", "******", "- one", "* two",
    "** three", "SECTION 2", "Section X", '{"a": 1}', "```json", "```", "My answer is yes.", "my answer is no.", ",", "，", "!", "?", '"', "'",
    "forest", "Peace!", "#", "%",
)  # fmt: skip
SEPARATORS = (
    " ", " ", " ", "", "\n", "\n\n", "\n\n\n", " \n", "\t", "\u00a0", "\r\n", "\n***\n", "******", "\n* ", "\n- ", ". ",
)  # fmt: skip
LANGUAGES = (
    "The weather is very nice today.",
    "Das Wetter ist heute sehr schön.",
    "Сегодня очень хорошая погода.",
    "今日は天気がとても良いです。",
    "123 !",
)
VALUES = {
    "keywords": (["cat"], ["c.t", "dog"], ["naïve"]), "keyword": ("cat", "the", "i", "a+t"), "forbidden_words": (["cat"], ["a mat", "USA"]),
    "letter": tuple("aetsIo"), "language": ("en", "de", "ru", "ja"), "first_word": ("the", "mr", "cat"), "postscript_marker": ("P.S.", "P.P.S"),
    "section_spliter": ("SECTION", "Section"), "prompt_to_repeat": ("the cat", "Dog"), "end_phrase": ("Peace!", "cat"),
}  # fmt: skip
FORMULAS = (
    "\\frac", "\\dfrac", "\\tfrac", "{", "}", "1", "2", "10", "x", "/", "=", "\\sqrt", "\\text{ cm}", "\\%", "%", "\\$", ".5", " ", "k=", "\\left",
    "\\!", ",", "^\\circ", "\\pi", "0.5", "-", "\n",
)  # fmt: skip
CHOICES = (
    "the answer is ",
    "The answer is (",
    "Answer: ",
    "answer is **",
    "A",
    "(B)",
    "J)",
    "K",
    "c",
    "Because ",
    "\n",
    " ",
    "none",
)
SPANS = ("the", "An", "Ann", "Bo", "17", "17.0", "1,000", "-3", "5-yard", "$5", "U.S.", "nan", "!", "été")


def test_verdicts_are_those_of_lm_eval(interop):
    environment = interop("lm-eval")
    cases = list(generated(random.Random(0)))
    (environment.folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases), "utf-8")
    official = [json.loads(line) for line in environment.run("python", "-c", SCORERS).splitlines()]
    assert len(official) == len(cases)
    different = [(case, found) for case, found in zip(cases, official, strict=True) if ours(case) != found]
    assert not different, f"{len(different)} of {len(cases)}: {different[:3]}"
    verdicts = [found for case, found in zip(cases, official, strict=True) if case["kind"] == "ifeval"]
    assert sum(strict for strict, _ in verdicts) > len(verdicts) / 6  # the texts are not all wrong


def generated(generator):
    """Yield cases of every kind."""
    for name, rule in RULES.items():
        for _ in range(TEXTS):
            arguments = {one: argument(one, generator) for one in rule.arguments}
            if "nth_paragraph" in arguments:
                arguments["num_paragraphs"] = max(arguments["num_paragraphs"], arguments["nth_paragraph"])
            yield {"kind": "ifeval", "rule": name, "arguments": arguments, "text": text(name, generator)}
    for _ in range(10 * TEXTS):
        yield {"kind": "hendrycks", "pair": ["".join(generator.choices(FORMULAS, k=generator.randint(0, 6))) for _ in range(2)]}
        yield {"kind": "mmlu-pro", "text": "".join(generator.choices(CHOICES, k=generator.randint(0, 6)))}
        yield {"kind": "drop", "prediction": spans(generator), "reference": spans(generator)}


def argument(name, generator):
    if name in VALUES:
        return generator.choice(VALUES[name])
    return generator.choice(("less than", "at least")) if name.endswith("relation") else generator.randint(1, 5)


def text(rule, generator):
    words = generator.choices(WORDS, k=generator.choice((0, 1, 2, 4, 8, 16)))
    found = "".join(word + generator.choice(SEPARATORS) for word in words)
    if "language" in rule or "english" in rule:
        found = generator.choice((found, *LANGUAGES))
    return generator.choice(
        (found, found, found, found.upper(), found.lower(), f'"{found}"', f"Sure:\n{found}", f"{found}\nBye.")
    )


def spans(generator):
    return [" ".join(generator.choices(SPANS, k=generator.randint(0, 3))) for _ in range(generator.randint(1, 3))]


def ours(case):
    if case["kind"] == "hendrycks":
        return rules.hendrycks_equal(*case["pair"])
    if case["kind"] == "mmlu-pro":
        return rules.lm_eval_mmlu_pro_choice(case["text"])
    if case["kind"] == "drop":
        return list(rules.drop_metrics(case["prediction"], case["reference"]))
    read = {name: RULES[case["rule"]].arguments[name](value) for name, value in case["arguments"].items()}
    return [check(case["text"], case["rule"], read) for check in (follows, follows_loosely)]
