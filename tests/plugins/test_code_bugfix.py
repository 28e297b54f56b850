"""Repair tasks show a repository, keep its tests to themselves, and are paid for a repair only."""

from __future__ import annotations

import difflib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import r1env
from r1env.errors import UsageError
from r1env_code.bugfix import apply_patch, bugfix, swebench
from r1env_code.reward import Code

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
@pytest.mark.parametrize("name", TASKS)
def test_the_bug_fails_and_its_repair_passes(name, docker):
    task = TASKS[name]
    answers = [f"```python\n{target_text(task)}```", task.metadata["fixture"]["right"]]
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


# Rows in SWE-bench's layout, with their repositories in a local folder.

STATS = "def mean(values):\n    return sum(values) / (len(values) + 1)\n\n\ndef largest(values):\n    return max(values)\n"
OLD_TESTS = "from stats import largest\n\n\ndef test_largest():\n    assert largest([1, 3, 2]) == 3\n\n\ndef test_flaky():\n    assert False\n"
ROW = {
    "repo": "own/stats",
    "instance_id": "own__stats-1",
    "base_commit": "abc123",
    "problem_statement": "mean() is too small.",
    "patch": (
        "diff --git a/stats.py b/stats.py\n--- a/stats.py\n+++ b/stats.py\n@@ -1,3 +1,3 @@\n def mean(values):\n"
        "-    return sum(values) / (len(values) + 1)\n+    return sum(values) / len(values)\n \n"
    ),
    "test_patch": (
        "diff --git a/tests/test_stats.py b/tests/test_stats.py\n--- a/tests/test_stats.py\n+++ b/tests/test_stats.py\n"
        "@@ -1,4 +1,8 @@\n-from stats import largest\n+from stats import largest, mean\n+\n+\n+def test_mean():\n+    assert mean([1, 3]) == 2\n \n \n"
        " def test_largest():\n"
    ),
    "FAIL_TO_PASS": '["tests/test_stats.py::test_mean"]',
    "PASS_TO_PASS": '["tests/test_stats.py::test_largest"]',
}


def swe_files(folder, *rows, name="own__stats-1", head=None):
    """Write the rows and one checkout, and return the options of `swebench`."""
    checkout = folder / "repositories" / name
    (checkout / "tests").mkdir(parents=True)
    (checkout / "stats.py").write_text(STATS)
    (checkout / "tests/test_stats.py").write_text(OLD_TESTS)
    if head is not None:
        (checkout / ".git/refs/heads").mkdir(parents=True)
        (checkout / ".git/HEAD").write_text("ref: refs/heads/main\n")
        (checkout / ".git/refs/heads/main").write_text(f"{head}\n")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"data": str(folder / "rows.jsonl"), "repositories": folder / "repositories"}


def test_a_row_of_swebench_shows_the_file_to_repair_and_is_judged_by_the_tests_it_names(tmp_path):
    task = swebench(**swe_files(tmp_path, ROW)).task(0)
    assert (task.id, task.metadata["target"]) == ("bugfix-own__stats-1", "stats.py")
    assert STATS.strip() in task.question
    assert "test_" not in task.question
    (test,) = task.tests
    text = test["files"]["tests/test_stats.py"]
    assert "def test_mean" in text
    assert "def test_largest" in text
    assert "flaky" not in text


@pytest.mark.docker
def test_the_patch_of_a_row_is_paid_and_the_bug_is_not(tmp_path, docker):
    task = swebench(**swe_files(tmp_path, ROW)).task(0)
    repaired = apply_patch({"stats.py": STATS}, ROW["patch"])["stats.py"]
    answers = [r1env.Rollout(task=task, completion=f"```python\n{text}```") for text in (repaired, STATS)]
    assert [found.value for found in r1env.score(answers, Code)] == [1.0, 0.0]


def test_a_clone_must_be_at_the_commit_of_the_row(tmp_path):
    options = swe_files(tmp_path, ROW, name="own__stats", head="abc123")
    assert swebench(**options).size == 1
    (options["repositories"] / "own__stats/.git/HEAD").write_text("fff999\n")
    with pytest.raises(UsageError, match="is at commit fff999; check out abc123"):
        swebench(**options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instance_id": "own__other-1", "repo": "own/other"}, "there is neither .*own__other-1 nor a clone"),
        ({"patch": ""}, "should change one Python file that is there, and changes none"),
        ({"patch": ROW["patch"].replace("len(values) + 1", "len(values) + 2")}, "does not fit 'stats.py' at line 2"),
        ({"patch": ROW["patch"].replace("stats.py", "other.py")}, "changes 'other.py', which is not there"),
        ({"patch": ROW["patch"][:-3]}, "ends within a hunk"),
        ({"FAIL_TO_PASS": "[]"}, "FAIL_TO_PASS is empty"),
        ({"FAIL_TO_PASS": '["tests/test_stats.py::test_median"]'}, "has no test 'test_median'"),
        ({"FAIL_TO_PASS": "["}, "own__stats-1: "),
    ],
)
def test_a_row_that_cannot_be_a_task_is_refused_by_name_or_skipped_and_counted(change, message, tmp_path, caplog):
    options = swe_files(tmp_path, ROW, ROW | change)
    with pytest.raises(UsageError, match=message) as refusal:
        swebench(**options)
    assert "line 2" in str(refusal.value)
    assert swebench(**options, bad_rows="skip").size == 1
    assert "left out 1 of 2 rows; the first: " in caplog.text


def test_swebench_says_what_it_needs():
    with pytest.raises(UsageError, match="needs data=FILE, the rows, and repositories=FOLDER"):
        swebench(data="rows.jsonl")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "", "-- c", "++ d"]), max_size=12),
    st.lists(st.sampled_from(["a", "b", "", "-- c", "++ d"]), max_size=12),
)
def test_a_diff_applied_to_the_old_text_gives_the_new_one(old, new):
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    patch = "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), "a/f.py", "b/f.py"))
    assert apply_patch({"f.py": before, "g.py": "x"}, patch) == {"f.py": after, "g.py": "x"}
