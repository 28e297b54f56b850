"""Repair tasks show a repository, keep its tests to themselves, and are paid for a repair only."""

from __future__ import annotations

import json

import pytest

import r1env
from r1env_code.bugfix import bugfix
from r1env_code.reward import Code

REPAIRED = {
    "bugfix-ledger": [
        ("if when > date) if entries and entries[0][0] > date else 0", "if when < date)"),
        ("when < last", "when <= last"),
    ],
    "bugfix-intervals": [
        ("result[-1][0], end)", "result[-1][0], max(end, result[-1][1]))"),
        ("zip(busy, [*busy[1:], ", "zip([(start, start), *busy], [*busy, "),
    ],
}
SOURCE = bugfix()
TASKS = {task.id: task for task in map(SOURCE.task, range(SOURCE.size))}


def target_text(task):
    """The file to repair, as the prompt shows it."""
    return task.question.partition(f"`{task.metadata['target']}`:\n```python\n")[2].partition("```")[0]


def test_the_prompt_shows_the_repository_and_none_of_the_tests():
    for task in TASKS.values():
        assert all(text.strip() in task.question for text in task.metadata["files"].values())
        for test in task.tests:
            assert not any(
                line.strip() in task.question
                for text in test["files"].values()
                for line in text.split("\n")
                if "assert" in line
            )


@pytest.mark.docker
@pytest.mark.parametrize("name", REPAIRED)
def test_the_bug_fails_and_its_repair_passes(name, docker):
    task = TASKS[name]
    repaired = target_text(task)
    for bug, repair in REPAIRED[name]:
        assert bug in repaired
        repaired = repaired.replace(bug, repair)
    answers = [f"```python\n{text}```" for text in (target_text(task), repaired)]
    scores = r1env.score([r1env.Rollout(task=task, completion=answer) for answer in answers], Code)
    assert [found.value for found in scores] == [0.0, 1.0], scores


def write(folder, **changes):
    for name in ("repository", "tests"):
        (folder / "one" / name).mkdir(parents=True)
    (folder / "one/repository/a.py").write_text("def f(): return 1\n")
    (folder / "one/tests/test_a.py").write_text("from a import f\n\ndef test_f():\n    assert f() == 2\n")
    (folder / "one/task.json").write_text(json.dumps({"issue": "f is wrong", "target": "a.py"} | changes))


def test_a_folder_of_ones_own_is_read(tmp_path):
    write(tmp_path)
    task = bugfix(tmp_path).task(0)
    assert (task.id, task.metadata["target"], len(task.tests)) == ("bugfix-one", "a.py", 1)


def test_a_folder_without_tasks_or_with_a_broken_one_is_refused(tmp_path):
    with pytest.raises(r1env.UsageError, match="there are no tasks"):
        bugfix(tmp_path)
    write(tmp_path, target="b.py")
    with pytest.raises(r1env.UsageError, match=r"one: its target 'b.py' is no file of the repository; there are a.py"):
        bugfix(tmp_path)
    (tmp_path / "one/task.json").write_text("{")
    with pytest.raises(r1env.UsageError, match="environment 'bugfix': cannot read the tasks of"):
        bugfix(tmp_path)
