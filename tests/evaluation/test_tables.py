"""Evaluations side by side: the tables of the paper, and the report of an evaluation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.errors import UsageError
from r1env.evaluation.evaluate import EvaluationRow, summarize
from r1env.evaluation.report import _fenced, read_parts, write_report
from r1env.evaluation.run import EvaluationRun
from r1env.evaluation.tables import Verdicts, by_stratum, paper_table, read_contestants, stratum_keys
from r1env.types import FinishReason, Score, Status

HOSTILE = "</script><b>x</b> | ``` \n```\n\u202e"


def evaluation(path: Path, model: str, verdicts: dict[str, list[bool | None]], **more: object) -> Path:
    """Write a complete evaluation; `verdicts` are by task, one for each completion."""
    settings = {
        "models": [model],
        "engine": "scripted",
        "sampling": {"n": 1, "temperature": 0.6, "top_p": 0.95, "max_new_tokens": 16},
        "environments": [
            {
                "name": "quiz",
                "split": "test",
                "options": {},
                "data_sha256": None,
                "template": {"name": "plain", "example": [{"role": "user", "content": HOSTILE}]},
            }
        ],
    }
    rows = [
        EvaluationRow(
            position=position,
            task_id=task,
            sample=sample,
            prompt=str(more.get("prompt", f"what is {task}?")),
            completion=str(more.get("completion", "so it is")),
            answer="4",
            score=Score(
                value=None if verdict is None else float(verdict),
                parts={"exact": float("nan") if verdict is None else float(verdict)},
                status=Status.ERROR if verdict is None else Status.OK if verdict else Status.WRONG,
                reason="the judge is away" if verdict is None else "" if verdict else f"not {position % 2}",
            ),
            correct=verdict,
            length=10 * position + sample,
            finish_reason=FinishReason.STOP,
            vote=None if len(of_task) == 1 else int(not verdict),
            metadata={"level": position % 3},
        )
        for position, (task, of_task) in enumerate(verdicts.items())
        for sample, verdict in enumerate(of_task)
    ]
    run = EvaluationRun.create(path, settings, seed=0)
    run.finish({(model, "quiz"): summarize("quiz", rows, samples=len(next(iter(verdicts.values()))))})
    return path


def single(right: int, of: int) -> dict[str, list[bool | None]]:
    return {f"t{number}": [number < right] for number in range(of)}


def test_the_best_number_is_bold_only_where_the_paired_difference_is_significant(tmp_path: Path) -> None:
    contestants = read_contestants(
        [evaluation(tmp_path / "weak", "m", single(20, 30)), evaluation(tmp_path / "strong", "m", single(30, 30))]
    )
    # Ten tasks changed, all for the better: McNemar's p is 2 / 2**10 = 0.00195.
    table = paper_table(contestants)
    assert table.columns == ("benchmark", "metric", "weak:m", "strong:m")
    assert table.rows == (("quiz", "pass@1", "66.7 [48.8, 80.8]", "100.0 [88.6, 100.0]"),)
    assert table.bold == ((0, 3),)
    assert "**100.0 [88.6, 100.0]**" in table.markdown()
    assert "<b>100.0 [88.6, 100.0]</b>" in table.html()
    assert paper_table(contestants, alpha=0.001).bold == ()


def test_five_of_thirty_is_no_significant_difference_and_a_single_model_has_none(tmp_path: Path) -> None:
    runs = [evaluation(tmp_path / "a", "m", single(25, 30)), evaluation(tmp_path / "b", "m", single(30, 30))]
    assert paper_table(read_contestants(runs)).bold == ()  # p = 2 / 2**5 = 0.0625
    assert paper_table(read_contestants(runs[1:])).bold == ()


def test_other_questions_under_the_same_ids_are_not_compared(tmp_path: Path) -> None:
    runs = [
        evaluation(tmp_path / "weak", "m", single(0, 30)),
        evaluation(tmp_path / "strong", "m", single(30, 30), prompt="another question"),
    ]
    assert paper_table(read_contestants(runs)).bold == ()


def test_metrics_of_several_completions_are_those_of_a_calculation_by_hand(tmp_path: Path) -> None:
    verdicts: dict[str, list[bool | None]] = {"a": [True, False, False, False], "b": [True, True, True, False]}
    [found] = read_contestants([evaluation(tmp_path / "run", "m", verdicts)])
    table = paper_table([found], ["pass@1", "pass@2", "cons", "length"])
    by_metric = {record["metric"]: record["models"]["m"]["value"] for record in table.data}
    # pass@2: 1 - C(3, 2)/C(4, 2) = 1/2 and 1; the majority is wrong in a and right in b; lengths 0…3 and 10…13.
    assert by_metric == {"pass@1": 0.5, "pass@2": 0.75, "cons@4": 0.5, "length": 6.5}


@pytest.mark.parametrize("metric", ["pass", "pass@", "pass@x", "acc"])
def test_an_unknown_metric_is_refused(tmp_path: Path, metric: str) -> None:
    contestants = read_contestants([evaluation(tmp_path / "run", "m", single(1, 2))])
    with pytest.raises(UsageError, match="unknown metric"):
        paper_table(contestants, [metric])


def test_labels_name_the_columns_and_a_stage_is_called_by_its_name(tmp_path: Path) -> None:
    run = evaluation(tmp_path / "run", "runs/x/checkpoints/rl/model", single(1, 2))
    assert [one.label for one in read_contestants([run])] == ["rl"]
    assert [one.label for one in read_contestants([run], ["after RL"])] == ["after RL"]
    with pytest.raises(UsageError, match="2 labels for 1 models"):
        read_contestants([run], ["a", "b"])


def test_metadata_with_few_values_divide_the_tasks_and_numbers_are_in_order() -> None:
    tasks = [Verdicts("?", {"level": number % 11, "id": number, "one": 1}) for number in range(30)]
    assert stratum_keys(tasks) == ["level"]
    groups = by_stratum([*tasks, Verdicts("?", {})], "level")
    assert list(groups) == [*map(str, range(11)), "none"]
    assert [len(group) for group in groups.values()] == [3] * 8 + [2] * 3 + [1]


def test_a_report_has_numbers_strata_reasons_and_what_is_unscored(tmp_path: Path) -> None:
    verdicts = single(20, 30) | {"broken": [None]}
    run = EvaluationRun.open(evaluation(tmp_path / "run", "m", verdicts, completion=HOSTILE))
    [part] = read_parts(run)
    tables = {table.title: table for table in part.tables}
    assert tables["Numbers"].rows[0] == ("pass@1", "66.7%", "48.8% to 80.8%")
    assert tables["By level"].rows[0][:3] == ("0", "11", "70.0%")  # positions 0, 3, … 27 are scored, 30 is not
    assert [row[:2] for row in tables["Wrong, by reason"].rows] == [("not 0", "5"), ("not 1", "5")]
    assert tables["Unscored, by reason"].rows == (("the judge is away", "1", "3.2%"),)
    assert {wrong.row.task_id for wrong in part.wrong} == {f"t{number}" for number in range(20, 30)}
    page = write_report(run).read_text("utf-8")
    assert HOSTILE not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    markdown = write_report(run, "markdown").read_text("utf-8")
    assert "| pass@1" in markdown
    assert json.loads((run.path / "summary.json").read_text())[0]["accuracy"] == pytest.approx(2 / 3)


@given(st.text(alphabet="`~ab\n\r \u2028", max_size=60))
def test_no_text_closes_its_code_block(text: str) -> None:
    first, *inside, last, end = re.split(r"\r\n|\r|\n", _fenced(text))
    fence = first.removesuffix("text")
    assert (last, end) == (fence, "")
    assert not any(re.fullmatch(f" {{0,3}}{fence}`*\\s*", line) for line in inside)
