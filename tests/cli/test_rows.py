"""A sampled rollout, written as a row and read back."""

from r1env.cli.rows import parse_row, sampled_row
from r1env.runs.files import to_json
from r1env.types import Rollout, Task, TaskKind


def test_a_row_brings_back_the_task_and_the_completion() -> None:
    task = Task(
        id="t",
        prompt=({"role": "system", "content": "be brief"}, {"role": "user", "content": "q\ud800"}),
        tests=({"input": "1", "output": "2"},),
        kind=TaskKind.CODE,
        language="en",
        metadata={"level": 3},
    )
    row_id, again = parse_row(to_json(sampled_row(Rollout(task=task, completion="c\x00"), 0)).encode(), 1)
    assert row_id == "t"
    assert again.completion == "c\x00"
    assert again.task == task.model_copy(update={"metadata": {"level": 3, "sample": 0, "finish_reason": "stop"}})
