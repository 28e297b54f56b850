"""The prompts of the benchmarks, word for word as their authors or the evaluator named in the template's name put a task.

What an evaluator writes around a question belongs to the number it publishes. `template=boxed` or `template=plain` puts the same tasks in
another way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r1env.data.layouts import LETTERS
from r1env.types import Conversation, Task

SIMPLE_EVALS_CHOICE = (
    "Answer the following multiple choice question. The last line of your response should be of the following format: "
    "'Answer: $LETTER' (without quotes) where LETTER is one of {letters}. Think step by step before answering.\n\n{question}"
)
SIMPLE_EVALS_MATH = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: $ANSWER (without "
    "quotes) where $ANSWER is the answer to the problem.\n\n{question}\n\nRemember to put your answer on its own line after "
    '"Answer:", and you do not need to use a \\boxed command.'
)
DROP_HEAD = "You will be asked to read a passage and answer a question. Some examples of passages and Q&A are provided below.\n\n# Examples"
DROP_TAIL = '\n# Your Task\n\n---\n{context} \n\nThink step by step, then write a line of the form "Answer: $ANSWER" at the end of your response.'
MMLU_PRO_HEAD = (
    "The following are multiple choice questions (with answers) about {category}. Think step by step and then finish your answer "
    'with "the answer is (X)" where X is the correct letter choice.\n\n\n'
)


def simple_evals_choice(task: Task) -> Conversation:
    """Put a question with options as simple-evals does for GPQA and MMLU."""
    letters = "".join(_options(task)) or LETTERS[:4]
    return _last(task, lambda question: SIMPLE_EVALS_CHOICE.format(letters=letters, question=question))


def simple_evals_math(task: Task) -> Conversation:
    """Put a problem as simple-evals does for MATH."""
    return _last(task, lambda question: SIMPLE_EVALS_MATH.format(question=question))


def simple_evals_drop(task: Task) -> Conversation:
    """Put a passage and a question as simple-evals does for DROP, behind the examples that the task was opened with (3 there)."""
    head = DROP_HEAD + "".join(task.metadata.get("examples", ())) if task.metadata.get("examples") else ""
    tail = DROP_TAIL if head else DROP_TAIL.removeprefix("\n# Your Task\n\n")
    return _last(task, lambda question: head + tail.format(context=_drop_context(task.metadata, question)))


def mmlu_pro(task: Task) -> Conversation:
    """Put a question as MMLU-Pro's script does, behind the examples that the task was opened with (5 of the same category there)."""
    category = task.metadata.get("category") or "various subjects"
    head = MMLU_PRO_HEAD.format(category=category) + "".join(task.metadata.get("examples", ()))
    return _last(task, lambda question: f"{head}{_mmlu_pro_question(_bare(task, question), _options(task))}")


def olympiadbench(task: Task) -> Conversation:
    """Put a problem as OlympiadBench does: the subject, the type of the answer, and where it is to stand, in the language of the problem."""
    about = task.metadata
    prompt = _olympiad_chinese(about) if about.get("language") == "Chinese" else _olympiad_english(about)
    return _last(task, lambda question: f"{prompt}\n{question}")


def c_eval(task: Task) -> Conversation:
    """Put a question as C-Eval does without examples. The subject is named where the task has one (the option `subject`)."""
    subject = task.metadata.get("subject")
    head = (
        f"以下是中国关于{subject}考试的单项选择题，请选出其中的正确答案。"
        if subject
        else "以下是单项选择题，请选出其中的正确答案。"
    )
    options = _options(task)
    listed = "".join(f"{letter}. {text}\n" for letter, text in options.items())
    return _last(task, lambda question: f"{head}\n{_bare(task, question)}\n{listed}答案: ")


def cluewsc(task: Task) -> Conversation:
    """Put a pronoun and what it may stand for as OpenCompass does."""
    listed = "".join(f"{letter}. {text}\n" for letter, text in _options(task).items())
    return _last(task, lambda question: f"{_bare(task, question)}\n{listed}请从”A“，”B“中进行选择。\n答：")


# Examples before the task.


def drop_example(example: Mapping[str, Any]) -> str:
    """Return a row of DROP as an example. Its answer is the column `completion`, or the first reference."""
    completion = example.get("completion")
    answer = completion if isinstance(completion, str) else f" {', '.join((example.get('spans') or [['']])[0])}"
    return f"\n---\n{_drop_context(example, str(example.get('context') or example.get('question') or ''))} {answer.strip()}\n"


def mmlu_pro_example(example: Mapping[str, Any]) -> str:
    """Return a row of MMLU-Pro's validation split as an example, with its worked answer."""
    worked = str(example.get("cot_content") or "").removeprefix("A: Let's think step by step.").strip()
    return f"{_mmlu_pro_question(str(example['question']), example['options'])} {worked}\n\n"


EXAMPLES: Mapping[str, tuple[Callable[[Mapping[str, Any]], str], str]] = {
    "simple-evals-drop": (drop_example, ""),
    "mmlu-pro": (mmlu_pro_example, "category"),
}
"""Template → how it writes a row as an example, and the column that an example and the task have in common; empty for none."""


def _last(task: Task, put: Callable[[str], str]) -> Conversation:
    """Return the task's messages with the content of the last one put in another way."""
    *earlier, last = task.prompt
    return (*earlier, {**last, "content": put(last["content"])})


def _options(task: Task) -> Mapping[str, str]:
    options = task.metadata.get("options")
    return options if isinstance(options, Mapping) else {}


def _bare(task: Task, question: str) -> str:
    """Return a question without the options that the layout wrote below it."""
    listed = "\n".join(f"{letter}) {text}" for letter, text in _options(task).items())
    return question.removesuffix(listed).strip()


def _mmlu_pro_question(question: str, options: Mapping[str, str]) -> str:
    listed = "".join(f"{letter}. {text}\n" for letter, text in options.items())
    return f"Question:\n{question}\nOptions:\n{listed}Answer: Let's think step by step."


def _drop_context(about: Mapping[str, Any], question: str) -> str:
    """Return passage and question as the files of simple-evals write them in one column."""
    passage = about.get("passage")
    return question if passage is None else f"Passage: {passage}\nQuestion: {about.get('question')}\nAnswer:"


_ENGLISH_TYPES = {
    "Numerical": "a numerical value",
    "Expression": "an expression",
    "Equation": "an equation",
    "Interval": "an interval",
}
_CHINESE_TYPES = {"Numerical": "数值", "Expression": "表达式", "Equation": "方程", "Interval": "区间"}


def _olympiad_types(about: Mapping[str, Any], names: Mapping[str, str]) -> Sequence[str]:
    """Return the types of the answers in words, one where all are alike; none where the prompt does not say them."""
    given = str(about.get("answer_type") or "")
    parts = given.split(",") if about.get("is_multiple_answer") else [given]
    types = [next((names[name] for name in names if name in part), "") for part in parts]
    if not all(types):
        return ()
    return types[:1] if len(set(types)) == 1 else types


def _olympiad_english(about: Mapping[str, Any]) -> str:
    several, unit = about.get("is_multiple_answer"), about.get("unit")
    types = _olympiad_types(about, _ENGLISH_TYPES)
    kind = ""
    if types and not several:
        kind = f"The answer of The problem should be {types[0]}. "
    elif len(types) == 1:
        kind = f"The problem has multiple answers, each of them should be {types[0]}. "
    elif types:
        kind = f"The problem has multiple answers, with the answers in order being {', '.join(types)}. "
    box = "\\boxed{multiple answers connected with commas}" if several else "\\boxed{answer}"
    note = ", note that the unit of the answer should not be included in \\boxed{}" if unit else ""
    return (
        f"The following is an open-ended problem from an International {'Physics' if about.get('subject') == 'Physics' else 'Math'} "
        f"competition. {kind}Please calculate the answer according to the given requirements and the information provided. Please use "
        "LaTeX format to represent the variables and formulas used in the solution process and results. Please end your solution with "
        f'"So the final answer is {box}{"(unit)" if unit else ""}." and give the result explicitly{note}.'
    )


def _olympiad_chinese(about: Mapping[str, Any]) -> str:
    several, unit = about.get("is_multiple_answer"), about.get("unit")
    types = _olympiad_types(about, _CHINESE_TYPES)
    kind = ""
    if types and not several:
        kind = f"，答案类型为{types[0]}"
    elif types:
        kind = f"，题目有多个答案，答案类型{'均' if len(types) == 1 else '分别'}为{'、'.join(types)}"
    box = "\\boxed{用英文逗号连接的多个答案}" if several else "\\boxed{答案}"
    note = "，注意答案的单位不要放在\\boxed{}中" if unit else ""
    return (
        f"以下是中国{'物理' if about.get('subject') == 'Physics' else '数学'}竞赛中的解答题{kind}。请根据题目的要求和所提供的信息计算得出答案。"
        "解答过程和结果中使用的变量和公式请使用LaTeX格式表示。"
        f"请在最后以“所以最终答案是{box}{'(单位)' if unit else ''}。”显式给出结果{note}。"
    )
