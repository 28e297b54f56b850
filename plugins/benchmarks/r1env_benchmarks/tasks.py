"""`open_benchmark`: the tasks of a benchmark of the table, from the hub or from a file with the set's own columns."""

from __future__ import annotations

import functools
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from r1env import TaskKind, UsageError
from r1env.data.layouts import Computed, Layout, has_columns, layout_named, read_examples, recognise
from r1env.data.rows import FORMATS, HUB, MISSING, Row, Source, at_path, read_rows, where_of
from r1env.data.tasks import Data, FileTasks, file_tasks, source_of_split
from r1env.errors import DataError, NoSplitError
from r1env_benchmarks import ifeval
from r1env_benchmarks.prompts import EXAMPLES
from r1env_benchmarks.table import BENCHMARKS, OWN, Benchmark, Category

Order = Literal["", "simple-evals"]


def open_benchmark(
    benchmark: str,
    data: Data | None = None,
    split: str | None = None,
    subset: str = "",
    extraction: str = OWN,
    examples: Source | None = None,
    shots: int = 0,
    order: Order = "",
    subject: str = "",
    true_label: int | None = None,
    judge: Mapping[str, Any] | None = None,
    baseline: Source | None = None,
    **options: Any,
) -> FileTasks:
    """Return the tasks of a benchmark, and which reward scores them.

    Args:
        benchmark: its name in `BENCHMARKS`.
        data: where the rows are, or the name of a data set of the hub; or one of them for each split. None for the benchmark's own.
        split: None or `test` for the part that is evaluated, whatever the hub calls it. A file has one part.
        subset: of the data set of the hub; several subjects are separated by commas.
        extraction: how an answer is read and compared: `r1env`, or an evaluator whose rule is taken instead (see the table).
        examples: where rows are that are shown before the task, with `shots`.
        shots: how many of them, drawn by the number of the row; of the same category where the benchmark has categories.
        order: of the options of GPQA. By default each row has an order of its own, by `shuffle_seed`; `simple-evals` gives the order that
            its script draws for the first repetition.
        subject: named in the prompt of C-Eval and CMMLU.
        true_label: the class that means "true", for copies of CLUEWSC whose labels are numbers: copies differ.
        judge: options of the reward `simpleqa` (with `extraction=judge`) or `pairwise`: `url` and `model`, which may also stand in the
            variables R1ENV_JUDGE_URL and R1ENV_JUDGE_MODEL, and others.
        baseline: answers to compare with, rows with `output` or as Arena-Hard's models write them; matched by `uid` or `instruction`. Without
            it, the column `output` of AlpacaEval.
        options: see `r1env.data.tasks.file_tasks`.

    Raises:
        UsageError: an option that this benchmark does not have.
        NoSplitError: the benchmark has no such part.
        DataError: a row cannot be a task.

    Example:
        >>> open_benchmark("gpqa-diamond", data="gpqa_diamond.csv", extraction="simple-evals")  # doctest: +SKIP
    """
    about = BENCHMARKS[benchmark]
    source, split = on_the_hub(_data_of(about, data), split, _subset_of(about, data, subset), about.split)
    layout = _layout(about, source, split, order, true_label)
    if subject:
        layout = _with_extra(layout, lambda _: {"subject": subject})
    if shots:
        layout = _with_extra(layout, _shown_before(about, layout, examples, shots))
    if about.category is Category.PREFERENCE:
        layout = _with_extra(layout, _compared_with(about, baseline))
    elif baseline is not None:
        raise UsageError(f"environment {benchmark!r} compares with no baseline")
    tasks = file_tasks(source, split, layout=layout, name=benchmark, **options)
    tasks.checker = _checker(about, extraction, judge)
    return tasks


def _checker(about: Benchmark, extraction: str, judge: Mapping[str, Any] | None) -> tuple[str, Mapping[str, Any]]:
    """Return the name of the reward that scores the tasks, and its options."""
    if extraction != OWN and extraction not in about.rules:
        raise UsageError(f"environment {about.name!r}: extraction is {extraction!r}; known: {', '.join((OWN, *about.rules))}")
    rule = about.rules.get(extraction, "")
    if rule == "judge" or about.category is Category.PREFERENCE:
        from r1env_judge.rewards import judge_options

        options = judge_options(judge)
        if not {"url", "model"} <= options.keys():
            raise UsageError(f"environment {about.name!r} is scored by a judge: say judge.url=URL and judge.model=NAME")
        return ("simpleqa" if rule else about.reward), {**about.reward_options, **options}
    if judge:
        raise UsageError(f"environment {about.name!r}: extraction={extraction} asks no judge")
    return ("benchmark", {"rule": rule}) if rule else (about.reward, about.reward_options)


# Where the rows are.


def on_the_hub(data: Data, split: str | None, subset: str | None, own_split: str = "test") -> tuple[Source, str | None]:
    """Return the source of `data`, and the split to take of it.

    A name `owner/dataset` that is no file becomes `hub:owner/dataset:subset`; several subsets become several sources. There the splits None
    and `test` are what is evaluated.

    Args:
        subset: of the data set; a file has none.
        own_split: what the hub calls the part that is evaluated.

    Raises:
        NoSplitError: the part that is evaluated is asked for as training data.
    """
    if isinstance(data, Mapping):
        source, split = source_of_split(data, split)
    else:
        source = data
    text = str(source)
    is_name = isinstance(source, str) and text.count("/") == 1 and not text.endswith(tuple(FORMATS)) and not Path(text).exists()
    if not is_name and not text.startswith(HUB):
        return source, split
    if split == "train" == own_split:
        raise NoSplitError(f"{text} is for evaluation, and what the hub calls 'train' is its only split; train on other data")
    split = own_split if split in (None, "test") else split
    if text.startswith(HUB):
        return text, None if "@" in text else split
    subsets = [name.strip() for name in (subset or "").split(",")]
    names = [f"{HUB}{text}" + (f":{name}" if name else "") for name in subsets]
    return names[0] if len(names) == 1 else names, split


def _data_of(about: Benchmark, data: Data | None) -> Data:
    if data is None and not about.hub:
        raise UsageError(f"environment {about.name!r} needs data: --data FILE with the columns {about.columns}")
    return about.hub if data is None else data


def _subset_of(about: Benchmark, data: Data | None, subset: str) -> str:
    if about.subjects and not subset and (data is None or data == about.hub):
        raise UsageError(
            f"environment {about.name!r}: {about.hub} has a configuration for each of its {about.subjects} subjects; "
            "name one or several with subset=law,logic, or give data=FILE"
        )
    return subset or about.subset


# What the rows mean.


def _layout(about: Benchmark, source: Source, split: str | None, order: Order, true_label: int | None) -> Layout:
    if order and about.layout != "GPQA":
        raise UsageError(f"environment {about.name!r}: it has no option 'order'; GPQA has")
    if order not in ("", "simple-evals"):
        raise UsageError(f"environment {about.name!r}: order is {order!r}; known: simple-evals")
    if order:
        return _GPQA_IN_ORDER
    if about.layout == "CLUEWSC":
        return _cluewsc(true_label)
    own = LAYOUTS.get(about.layout) or layout_named(about.layout)
    if own.kind is TaskKind.CHAT and about.layout != "Arena-Hard":
        return own  # any row with a prompt would do, and could not be scored
    layout = _of_rows(own, read_rows(source, split).first)
    return replace(layout, check=_one_answer(layout)) if layout.kind in (TaskKind.MATH, TaskKind.SHORT) else layout


def _one_answer(layout: Layout) -> Callable[[Mapping[str, Any]], None]:
    """Return a check that the reference of a row is one answer: what stands for none would be compared as text, and always be wrong."""
    columns = layout.answer.split("|") if isinstance(layout.answer, str) else []
    nothing = ("nan", "n/a", "null", "none") if layout.kind is TaskKind.MATH else ("nan", "n/a", "null")

    def check(row: Mapping[str, Any]) -> None:
        if layout.check is not None:
            layout.check(row)
        path, answer = next(
            ((path, found) for path in columns if (found := at_path(row, path)) not in (MISSING, None)), ("", None)
        )
        if isinstance(answer, bool) or (isinstance(answer, str) and answer.strip().lower() in nothing):
            raise DataError(where_of(row), f"{path!r} is {answer!r}: write the reference answer there")
        if isinstance(answer, list | tuple) and len(answer) > 1 and layout.name != "OlympiadBench":
            raise DataError(
                where_of(row),
                f"{path!r} is a list of {len(answer)}: write one text, with commas between the parts of one answer",
            )

    return check


def _of_rows(own: Layout, first: Mapping[str, Any]) -> Layout:
    """Return the layout of a benchmark's rows: its own, another in which it was published, or a general one of the same kind of task.

    A row that is laid out as another set is left to the benchmark's own layout, which refuses it: MMLU is not to be scored as MMLU-Redux.
    """
    if has_columns(own, first):
        return own
    for layout in PUBLISHED_AS.get(own.name, ()):
        if has_columns(layout, first):
            return layout
    try:
        # A column that is null in the first row is there all the same, and what it lacks will be said.
        other = recognise({name: "" if value is None else value for name, value in first.items()})
    except DataError:
        return own
    kind = other.kind(first) if callable(other.kind) else other.kind
    if kind is own.kind and (other.weak or other.name in _GENERAL):
        return other
    if own.kind is TaskKind.SHORT and other.name == "questions with a short answer":
        return replace(other, kind=TaskKind.SHORT)
    return own


def _with_extra(layout: Layout, extra: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Layout:
    """Return the layout with more metadata, computed of a row."""
    before = layout.extra
    return replace(layout, extra=extra if before is None else lambda row: {**before(row), **extra(row)})


def _shown_before(
    about: Benchmark, layout: Layout, examples: Source | None, shots: int
) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Return a function of a row that gives the examples that are shown before it, as text.

    Raises:
        UsageError: the benchmark has no prompt with examples, or no rows were named.
        DataError: there are fewer examples.
    """
    if about.prompt not in EXAMPLES:
        raise UsageError(f"environment {about.name!r} shows no examples; shots is {shots}")
    if examples is None:
        raise UsageError(f"environment {about.name!r}: shots={shots} needs examples=FILE, rows that are not evaluated")
    write, column = EXAMPLES[about.prompt]
    pools: dict[Any, list[str]] = defaultdict(list)
    for example in read_examples(examples, layout=layout):
        pools[example.row.get(column) if column else None].append(write(example.metadata))

    def shown(row: Mapping[str, Any]) -> Mapping[str, Any]:
        pool = pools[row.get(column) if column else None]
        if len(pool) < shots:
            raise DataError(where_of(row), f"{shots} examples are to be shown before it, and {len(pool)} fit")
        return {"examples": random.Random(row.number if isinstance(row, Row) else 0).sample(pool, shots)}

    return shown


def _compared_with(about: Benchmark, baseline: Source | None) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Return a function of a row that gives the answer it is compared with.

    Raises:
        UsageError: there are no answers to compare with.
    """
    if baseline is None:
        if about.layout != "AlpacaEval":
            raise UsageError(f"environment {about.name!r} needs baseline=FILE, the answers to compare with")
        return lambda row: {"baseline": _answer_of(row)}
    columns = ("instruction",) if about.layout == "AlpacaEval" else ("uid", "question_id")

    def named(row: Mapping[str, Any]) -> Any:
        return next((row[column] for column in columns if row.get(column) is not None), None)

    answers = {named(row): _answer_of(row) for row in read_rows(baseline)}

    def compared_with(row: Mapping[str, Any]) -> Mapping[str, Any]:
        if named(row) not in answers:
            column = next((column for column in columns if column in row), columns[0])
            raise DataError(where_of(row), f"{baseline} has no answer with its {column!r}, {str(named(row))[:60]!r}")
        return {"baseline": answers[named(row)]}

    return compared_with


def _answer_of(row: Mapping[str, Any]) -> str:
    """Return the answer of a row of model outputs.

    It is the column `output`, the last message, whose content may be an object, or the last turn of the first choice (Arena-Hard v0.1).
    """
    answer = row.get("output") or at_path(row, "choices[0].turns[-1].content")
    if answer is MISSING:
        answer = None
    if answer is None and isinstance(row.get("messages"), list) and row["messages"]:
        answer = row["messages"][-1].get("content")
    if isinstance(answer, Mapping):
        answer = answer.get("answer")
    if not isinstance(answer, str) or not answer.strip():
        raise DataError(
            where_of(row), "there is no answer in 'output', in the last of 'messages', or in the turns of 'choices'"
        )
    return answer


def _svamp_question(row: Mapping[str, Any]) -> str:
    body, question = str(row.get("Body") or "").strip(), str(row.get("Question") or "").strip()
    end = "" if body.endswith((".", "!", "?", ",")) else "."
    return f"{body}{end} {question}" if question else ""


def _tolerances(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tolerance of each answer of a row of OlympiadBench, whose column `error` is text.

    Raises:
        DataError: it holds something else than numbers.
    """
    given = row.get("error")
    if given is None or not str(given).strip():
        return {}
    try:
        return {"tolerances": [float(one) for one in str(given).split(",")]}
    except ValueError:
        raise DataError(where_of(row), f"'error' is {str(given)[:40]!r}: write a number, or one for each answer") from None


def _for_a_person(row: Mapping[str, Any]) -> str:
    return "its answer needs a person to judge it" if "Need_human" in str(row.get("answer_type")) else ""


def _spans(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the references of a row of DROP, each a list of spans: those of `validated_answers` too."""
    several = row.get("validated_answers") or {}
    keys = ("number", "date", "spans")
    found = [
        row["answer"],
        *(dict(zip(keys, one, strict=True)) for one in zip(*(several.get(key) or [] for key in keys), strict=False)),
    ]
    references = []
    for one in found:
        date = one.get("date") or {}
        when = " ".join(str(date.get(key) or "") for key in ("day", "month", "year")).split()
        number, spans = str(one.get("number") or ""), [str(span) for span in one.get("spans") or []]
        references.append([number] if number else spans or ([" ".join(when)] if when else []))
    return {"spans": [list(one) for one in dict.fromkeys(map(tuple, references)) if one]}


def _only_span(row: Mapping[str, Any]) -> str:
    """Return the answer of a row of DROP with the column `answers_spans`.

    Raises:
        DataError: there is none, or there are several: whether they are one answer or those of several annotators is not said there.
    """
    spans = at_path(row, "answers_spans.spans")
    different = list(dict.fromkeys(spans)) if isinstance(spans, list) else []
    if len(different) != 1:
        raise DataError(
            where_of(row),
            f"'answers_spans.spans' has {len(different)} different answers; one is needed, since spans of one answer and answers of "
            "several annotators look alike there: give the rows of EleutherAI/drop instead, or leave such rows out by bad_rows=skip",
        )
    return str(different[0])


@functools.cache
def _simple_evals_orders(count: int) -> list[list[int]]:
    """Return the orders of options that simple-evals draws for the first rows of GPQA."""
    generator = random.Random(0)
    return [generator.sample(range(4), 4) for _ in range(count)]


def _in_order(row: Mapping[str, Any]) -> dict[str, str]:
    place = row.number - 1 if isinstance(row, Row) else 0
    texts = [str(row[name]).strip() for name in ("Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3)))]
    drawn = _simple_evals_orders(max(512, 1 << place.bit_length()))[place]
    return dict(zip("ABCD", (texts[one] for one in drawn), strict=True))


def _letter_in_order(row: Mapping[str, Any]) -> str:
    right = str(row["Correct Answer"]).strip()
    return next(letter for letter, text in _in_order(row).items() if text == right)


def _cluewsc(true_label: int | None) -> Layout:
    layout = layout_named("CLUEWSC")

    def answer(row: Mapping[str, Any]) -> str:
        label = at_path(row, "label")
        if isinstance(label, int) and not isinstance(label, bool):
            if true_label is None:
                raise DataError(
                    where_of(row),
                    f"'label' is the class {label}, and copies of the set number their classes in two ways: say true_label=0 or 1",
                )
            return "A" if label == true_label else "B"
        if str(label).lower() not in ("true", "false"):
            raise DataError(where_of(row), f"'label' is {label!r}: write true or false")
        return "A" if str(label).lower() == "true" else "B"

    return replace(layout, answer=Computed("label", answer))


_MATH = TaskKind.MATH
_GPQA_IN_ORDER = replace(
    layout_named("GPQA"),
    answer=Computed("Correct Answer", _letter_in_order),
    options=Computed("Correct Answer", _in_order),
    answer_is="letter",
)
# fmt: off
LAYOUTS: Mapping[str, Layout] = {
    "SVAMP": Layout("SVAMP", "Body, Question, Answer", _MATH, Computed("Question", _svamp_question), "Answer"),
    "MAWPS": Layout("MAWPS", "input, target", _MATH, "input", "target"),
    "AIME": Layout("AIME", "problem|Problem, answer|Answer", _MATH, "problem|Problem", "answer|Answer"),
    "AMC": Layout("AMC", "question|problem, answer", _MATH, "question|problem", "answer"),
    "MATH-500": Layout("MATH-500", "problem, answer", _MATH, "problem", "answer", id="unique_id"),
    "Minerva": Layout(
        "Minerva", "question|problem, answer|final_answer|expected_answer|solution", _MATH, "question|problem",
        "answer|final_answer|expected_answer|solution",
    ),
    "OlympiadBench": replace(layout_named("OlympiadBench"), extra=_tolerances, leave_out=_for_a_person),
    "DROP": replace(layout_named("DROP"), extra=_spans),
    "IFEval": replace(layout_named("IFEval or IFBench"), check=ifeval.check_row),
    "Chinese SimpleQA": Layout("Chinese SimpleQA", "question, answer", TaskKind.SHORT, "question", "answer"),
}
# fmt: on
"""Layouts of benchmarks beside those of `r1env.data.layouts`."""

_LETTERS = Computed("A|B|C|D", lambda row: {letter: str(row[letter]) for letter in "ABCD" if row.get(letter) is not None})
_SHORT = TaskKind.SHORT
PUBLISHED_AS: Mapping[str, tuple[Layout, ...]] = {
    "MAWPS": (Layout("MAWPS (Calc-mawps)", "question, chain, result", _MATH, "question", "result"),),
    "MMLU": (
        Layout(
            "MMLU (simple-evals)", "Question, A, B, C, D, Answer, Subject", TaskKind.CHOICE, "Question", "Answer", options=_LETTERS,
            answer_is="letter",
        ),
        Layout("MMLU (by letter)", "input, A, B, C, D, target", TaskKind.CHOICE, "input", "target", options=_LETTERS, answer_is="letter"),
    ),
    "DROP": (
        layout_named("DROP (simple-evals)"),
        Layout(
            "DROP (answers_spans)", "passage, question, answers_spans", _SHORT, layout_named("DROP").question,
            Computed("answers_spans", _only_span),
        ),
    ),
    "SimpleQA": (Layout("SimpleQA Verified", "problem, answer, answer_type", _SHORT, "problem", "answer"),),
    "Arena-Hard": (Layout("Arena-Hard v0.1", "question_id, category, turns", TaskKind.CHAT, "turns[0].content", id="question_id"),),
}  # fmt: skip
"""Other layouts in which a set has been published, by the name of the benchmark's own layout; tried in this order."""

_GENERAL = ("verl", "Open-Reasoner-Zero evaluation", "Open-Reasoner-Zero evaluation, choice", "NeMo Gym", "NeMo Gym, choice")
"""Layouts of frameworks, in which any set may be written."""
