"""`r1env score`, line by line, as programs outside rely on it."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as given_examples
from hypothesis import strategies as st
from typer.testing import CliRunner

import r1env
from r1env.cli.main import make_app
from r1env.cli.rows import CHUNK_LINES, Output, group_chunks
from r1env.plugins import installed
from r1env.scoring import score


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_line_gets_a_line_in_the_same_order(r1env_program: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(
        lines(
            {"id": "7", "prompt": "say 42", "completion": "42", "answer": "42"},
            {"id": "8", "prompt": "say 42", "completion": "41", "answer": "42"},
        )
    )
    result = r1env_program("score", "--reward", "exact", "--input", source, "--output", target)
    assert (result.exit_code, result.stdout) == (0, "")
    first, second = rows(target.read_text())
    assert first.pop("seconds") >= 0
    verdict = {"id": "7", "value": 1.0, "parts": {"exact": 1.0}, "status": "ok", "reason": ""}
    assert first == {**verdict, "prompt": "say 42", "completion": "42", "answer": "42"}
    assert list(second) == ["id", "value", "parts", "status", "reason", "seconds", "prompt", "completion", "answer"]
    assert (second["value"], second["status"]) == (0.0, "wrong")


def test_stdin_and_stdout_are_the_defaults(r1env_program: Any) -> None:
    result = r1env_program("score", "--reward", "exact", stdin=lines({"id": "1", "completion": "a", "answer": "a"}))
    assert result.exit_code == 0
    assert [row["value"] for row in rows(result.stdout)] == [1.0]


def test_no_lines_in_no_lines_out(r1env_program: Any) -> None:
    result = r1env_program("score", "--reward", "exact", stdin="")
    assert (result.exit_code, result.stdout) == (0, "")


MALFORMED = {
    "not JSON": ("{'id': 1}", None, "not JSON"),
    "not an object": ("[1, 2]", None, "expected an object, got list"),
    "empty": ("", None, "not JSON"),
    "no completion": ('{"id": "a"}', "a", "the completion must be text, and is missing"),
    "completion of the wrong type": ('{"id": "a", "completion": 7}', "a", "the completion must be text, not int"),
    "answer of the wrong type": (
        '{"id": "a", "completion": "", "answer": [1]}',
        "a",
        "answer: Input should be a valid string",
    ),
    "unknown kind": ('{"id": "a", "completion": "", "kind": "poem"}', "a", "kind"),
    "tests of the wrong type": ('{"id": "a", "completion": "", "tests": 3}', "a", "tests"),
    "id of the wrong type": ('{"id": {}, "completion": ""}', None, "the id must be text or a number, not dict"),
    "too deep": ("[" * 100_000, None, "nested too deeply"),
    "too long a number": ('{"id": "a", "completion": "", "n": ' + "9" * 10_000 + "}", None, "not JSON"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_line_is_told_and_the_rest_are_scored(r1env_program: Any, case: str) -> None:
    line, row_id, reason = MALFORMED[case]
    good = {"id": "good", "completion": "a", "answer": "a"}
    result = r1env_program("score", "--reward", "exact", stdin=lines(good, line, good))
    assert result.exit_code == 1
    before, bad, after = rows(result.stdout)
    assert (before["value"], after["value"]) == (1.0, 1.0)
    assert reason in bad.pop("reason")
    assert {key: bad[key] for key in list(bad)[:5]} == {
        "id": row_id,
        "value": None,
        "parts": {},
        "status": "error",
        "seconds": 0,
    }
    assert result.stderr.strip().splitlines()[-1] == (
        "error: 1 malformed line; it has status 'error' and the reason in the output"
    )


def test_the_reason_names_the_line(r1env_program: Any) -> None:
    result = r1env_program("score", "--reward", "exact", stdin=lines({"completion": "a", "answer": "a"}, "x"))
    assert rows(result.stdout)[1]["reason"].startswith("line 2:")


def test_bytes_that_are_no_text_are_one_malformed_line(r1env_program: Any) -> None:
    result = r1env_program("score", "--reward", "exact", stdin=b'{"completion": "\xff"}\n{"completion": "a", "answer": "a"}\n')
    assert [row["value"] for row in rows(result.stdout)] == [None, 1.0]


def test_a_last_line_without_its_newline_counts(r1env_program: Any) -> None:
    result = r1env_program("score", "--reward", "exact", stdin='{"completion": "a", "answer": "a"}')
    assert len(rows(result.stdout)) == 1


def test_an_id_comes_back_as_it_was_given(r1env_program: Any) -> None:
    given = [
        {"id": 7, "completion": "a", "answer": "a"},
        {"completion": "a", "answer": "a"},
        {"id": "é", "completion": "a", "answer": "a"},
    ]
    result = r1env_program("score", "--reward", "exact", stdin=lines(*given))
    assert [row["id"] for row in rows(result.stdout)] == [7, None, "é"]


def test_a_number_is_taken_as_an_answer(r1env_program: Any) -> None:
    result = r1env_program("score", "--reward", "exact", stdin=lines({"completion": "42", "answer": 42}))
    assert rows(result.stdout)[0]["value"] == 1.0


def test_known_fields_reach_the_task_and_others_its_metadata(r1env_program: Any) -> None:
    row = {"id": "1", "completion": "x", "tests": [{"in": 1}, {"in": 2}], "language": "en", "kind": "code", "bonus": 3}
    result = r1env_program("score", "--reward", "detail", stdin=lines(row))
    assert rows(result.stdout)[0]["parts"] == {"detail": 5.0, "detail/a": 2.0, "detail/b": 3.0}


def test_a_reward_that_raises_is_a_row_without_a_value_and_parts_that_are_null(r1env_program: Any) -> None:
    result = r1env_program("score", "--reward", "detail", stdin=lines({"id": "1", "completion": "raise"}))
    (row,) = rows(result.stdout)
    assert (row["value"], row["status"]) == (None, "error")
    assert row["parts"] == {"detail": None, "detail/a": None, "detail/b": None}
    assert "as asked" in row["reason"]
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == "no score for 1 (error)"
    assert result.stderr.splitlines()[1] == "most frequent reason (1 of the first 1 rows): RuntimeError: as asked"


def test_what_a_reward_prints_is_no_row_of_the_output(r1env_program: Any, tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text("def chatty(completion):\n    print('hello')\n    return 1.0\n")
    result = r1env_program("score", "--reward", f"{tmp_path / 'chatty.py'}:chatty", stdin=lines({"id": "1", "completion": "x"}))
    assert [row["value"] for row in rows(result.stdout)] == [1.0]
    assert "hello" in result.stderr


def test_hostile_completions_pass_through(r1env_program: Any) -> None:
    hostile = ["", "\x00", "\ud800", "\u202e", "\u2028", "x" * 1_000_000]
    given = [{"id": str(i), "completion": text, "answer": text} for i, text in enumerate(hostile)]
    result = r1env_program("score", "--reward", "exact", stdin=lines(*given))
    assert [row["value"] for row in rows(result.stdout)] == [1.0] * len(hostile)


def test_options_set_the_rewards_options(r1env_program: Any) -> None:
    text = lines({"completion": "A", "answer": "a"})
    assert rows(r1env_program("score", "--reward", "exact", stdin=text).stdout)[0]["value"] == 0.0
    result = r1env_program("score", "--reward", "exact", "--option", "ignore_case=true", stdin=text)
    assert rows(result.stdout)[0]["value"] == 1.0


def test_a_rubric_takes_its_accuracy_from_an_option(r1env_program: Any) -> None:
    text = lines({"completion": "A", "answer": "a"})
    arguments = ("score", "--rubric", "accuracy", "--accuracy", "exact")
    result = r1env_program(*arguments, "--option", "accuracy.ignore_case=true", stdin=text)
    assert rows(result.stdout)[0]["parts"] == {"exact": 1.0}
    refused = r1env_program(*arguments, "--option", "ignore_case=true", stdin=text)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "REWARD.KEY=VALUE" in refused.stderr


def test_a_rubric_may_be_a_file(r1env_program: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nrewards:\n- {reward: exact, weight: 2}\n- {reward: detail, weight: 0}\n")
    text = lines({"completion": "a", "answer": "a"})
    result = r1env_program("score", "--rubric", tmp_path / "mine.yaml", stdin=text)
    (row,) = rows(result.stdout)
    assert row["value"] == 2.0
    assert list(row["parts"]) == ["exact", "detail", "detail/a", "detail/b"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give one of --reward NAME and --rubric"),
        (("--reward", "exact", "--rubric", "zero"), "give one of"),
        (("--reward", "exakt"), "did you mean 'exact'?"),
        (("--rubric", "acuracy"), "did you mean 'accuracy'"),
        (("--rubric", "accuracy", "--accuracy", "exakt"), "did you mean 'exact'?"),
        (("--reward", "exact", "--option", "ignore_cas=1"), "did you mean 'ignore_case'?"),
        (("--reward", "exact", "--option", "ignore_case"), "write key=value"),
        (("--reward", "exact", "--input", "nowhere.jsonl"), "cannot read nowhere.jsonl"),
        (("--reward", "exact", "--output", "no/where.jsonl"), "cannot write no/where.jsonl"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(r1env_program: Any, arguments: tuple[str, ...], told: str) -> None:
    result = r1env_program("score", *arguments, stdin="")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert told in result.stderr


def test_the_output_cannot_be_the_input(r1env_program: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(lines({"completion": "a", "answer": "a"}))
    result = r1env_program("score", "--reward", "exact", "--input", path, "--output", path)
    assert result.exit_code == 2
    assert json.loads(path.read_text())["completion"] == "a"


def test_a_long_input_is_scored_in_bounded_chunks(r1env_program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def spy(rollouts: Any, scorer: Any, *, pool: Any) -> Any:
        seen.append(len(rollouts))
        return score(rollouts, scorer)

    monkeypatch.setattr("r1env.cli.rows.score", spy)
    monkeypatch.setattr("r1env.cli.rows.CHUNK_BYTES", 5_000)
    text = lines(*({"id": str(i), "completion": "a" * 1000, "answer": "a"} for i in range(23)))
    result = r1env_program("score", "--reward", "exact", stdin=text)
    assert [row["id"] for row in rows(result.stdout)] == [str(i) for i in range(23)]
    assert max(seen) <= 5
    assert sum(seen) == 23


def test_the_installed_program_scores_with_a_strangers_reward(tmp_path: Path) -> None:
    (tmp_path / "my_rewards.py").write_text(
        "import r1env\n\n@r1env.reward(name='short')\ndef short(completion: str) -> float:\n    return float(len(completion) < 3)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", "from r1env.cli.main import main; main()", "score", "--reward", "my_rewards:short"],
        input=lines({"id": "1", "completion": "ab"}, "oops", {"id": "3", "completion": "abc"}),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=60,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert [row["value"] for row in rows(result.stdout)] == [1.0, None, 0.0]


# Rewards of other scopes

GROUPED = """
from typer.testing import CliRunner

import r1env

@r1env.reward(scope="group")
def seen(completions, task):
    return [r1env.Score(value=float(len(completions)), reason=" ".join(completions))] * len(completions)
"""


def test_rows_of_one_id_are_a_group_wherever_they_stand_in_the_file(r1env_program: Any, tmp_path: Path) -> None:
    (tmp_path / "grouped.py").write_text(GROUPED)
    rows_in = [{"id": str(n % 3), "prompt": "q", "completion": str(n), "sample": n, "pad": "x" * 20_000} for n in range(1200)]
    source = tmp_path / "in.jsonl"
    source.write_text(lines(*rows_in))
    result = r1env_program("score", "--reward", f"{tmp_path}/grouped.py:seen", "--input", str(source))
    found = rows(result.stdout)
    assert [row["id"] for row in found] == [row["id"] for row in rows_in]
    assert {row["value"] for row in found} == {400.0}
    assert found[1]["reason"].startswith("1 4 7 10")


NOTED = """
from pathlib import Path
from typer.testing import CliRunner

import r1env

@r1env.reward(scope="group", isolation="inline")
def noted(completions, task):
    with (Path(__file__).parent / "calls").open("a") as calls:
        print(task.id, file=calls)
    return [float(len(completions))] * len(completions)
"""


def test_a_resumed_run_of_a_group_reward_scores_nothing_again_but_the_rows_around_the_kill(
    r1env_program: Any, tmp_path: Path
) -> None:
    (tmp_path / "noted.py").write_text(NOTED)
    source, target, calls = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "calls"
    source.write_text(lines(*({"id": n // 2, "completion": str(n)} for n in range(3 * CHUNK_LINES))))
    arguments = ("score", "--reward", f"{tmp_path}/noted.py:noted", "--input", source, "--output", target)
    assert r1env_program(*arguments).exit_code == 0
    complete = target.read_text()
    target.unlink()
    calls.unlink()
    written = complete.splitlines(keepends=True)[: CHUNK_LINES + 101]  # within a task
    target.with_name("out.jsonl.partial").write_text("".join(written) + '{"id": 3')
    assert r1env_program(*arguments, "--resume").exit_code == 0
    assert [{**row, "seconds": 0} for row in rows(target.read_text())] == [{**row, "seconds": 0} for row in rows(complete)]
    assert target.read_text().startswith("".join(written))
    scored_again = set(map(int, calls.read_text().split()))
    assert scored_again == set(range(CHUNK_LINES // 2, 3 * CHUNK_LINES // 2))


def test_new_rows_are_added_to_the_output_of_a_group_reward_unless_they_belong_to_its_tasks(
    r1env_program: Any, tmp_path: Path
) -> None:
    (tmp_path / "noted.py").write_text(NOTED)
    source, target, calls = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "calls"
    arguments = ("score", "--reward", f"{tmp_path}/noted.py:noted", "--input", source, "--output", target)
    given = [{"id": name, "completion": "x"} for name in "aabb"]
    source.write_text(lines(*given))
    r1env_program(*arguments)
    given += [{"id": "c", "completion": "x"}] * 3
    source.write_text(lines(*given))
    assert r1env_program(*arguments, "--resume").exit_code == 0
    assert [row["value"] for row in rows(target.read_text())] == [2, 2, 2, 2, 3, 3, 3]
    assert calls.read_text().split() == ["a", "b", "c"]
    before = target.read_text()
    source.write_text(lines(*given, {"id": "c", "completion": "y"}))
    refused = r1env_program(*arguments, "--resume")
    assert (refused.exit_code, "scores all rows of a task together" in refused.stderr) == (2, True)
    assert (target.read_text(), sorted(path.name for path in tmp_path.glob("out*"))) == (before, ["out.jsonl"])


def test_resuming_the_output_of_another_input_is_refused_for_a_group_reward_too(r1env_program: Any, tmp_path: Path) -> None:
    (tmp_path / "noted.py").write_text(NOTED)
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    arguments = ("score", "--reward", f"{tmp_path}/noted.py:noted", "--input", source, "--output", target)
    source.write_text(lines(*({"id": name, "completion": "x"} for name in "aab")))
    r1env_program(*arguments)
    source.write_text(lines({"id": "a", "completion": "x"}))
    refused = r1env_program(*arguments, "--resume")
    assert (refused.exit_code, "it is of another input" in refused.stderr) == (2, True)


@given_examples(st.lists(st.one_of(st.integers(0, 5), st.none()), max_size=40), st.integers(0, 40), st.integers(1, 6))
def test_no_task_is_spread_over_two_chunks_and_no_line_is_left_out(ids: list[int | None], done: int, size: int) -> None:
    source = [json.dumps({"id": name, "completion": "x"}).encode() + b"\n" for name in ids]
    done = min(done, len(ids))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("r1env.cli.rows.CHUNK_LINES", size)
        found = list(group_chunks(source, r1env.reward(scope="group", isolation="inline")(first_of_all), done=done))
    numbers = [number for chunk in found for number, _ in chunk]
    assert numbers == list(range(len(ids) + 1 - len(numbers), len(ids) + 1))
    assert len(numbers) >= len(ids) - done
    for name in range(6):
        assert sum(any(ids[number - 1] == name for number, _ in chunk) for chunk in found) <= 1


def first_of_all(completions: list[str]) -> list[float]:
    return [1.0] * len(completions)


def test_a_row_without_an_id_is_malformed_for_a_group_reward(r1env_program: Any, tmp_path: Path) -> None:
    (tmp_path / "grouped.py").write_text(GROUPED)
    text = lines({"completion": "a"}, {"id": 0, "completion": "b"})
    result = r1env_program("score", "--reward", f"{tmp_path}/grouped.py:seen", stdin=text)
    first, second = rows(result.stdout)
    assert (result.exit_code, first["status"]) == (1, "error")
    assert first["reason"] == "line 1: no id; a reward of scope group needs it to tell which task the row belongs to"
    assert (second["value"], second["reason"]) == (1.0, "b")


def test_only_scores_of_turns_have_the_field_turns(r1env_program: Any, tmp_path: Path) -> None:
    (tmp_path / "turns.py").write_text("import r1env\n@r1env.reward(scope='turn')\ndef brief(completion):\n    return 1.0\n")
    row = lines({"id": "1", "completion": "a", "answer": "a"})
    (found,) = rows(r1env_program("score", "--reward", f"{tmp_path}/turns.py:brief", stdin=row).stdout)
    assert found["turns"] == [1.0]
    (plain,) = rows(r1env_program("score", "--reward", "exact", stdin=row).stdout)
    assert "turns" not in plain


# The command as a product


def test_the_columns_of_the_input_come_along_unless_they_are_not_wanted(r1env_program: Any) -> None:
    row = {"id": 7, "completion": "a", "answer": "a", "source": {"book": 3}, "value": "mine"}
    (found,) = rows(r1env_program("score", "--reward", "exact", stdin=lines(row)).stdout)
    assert (found["value"], found["input.value"], found["source"]) == (1.0, "mine", {"book": 3})
    (bare,) = rows(r1env_program("score", "--reward", "exact", "--no-carry", stdin=lines(row)).stdout)
    assert list(bare) == ["id", "value", "parts", "status", "reason", "seconds"]


def test_a_malformed_row_keeps_its_columns_too(r1env_program: Any) -> None:
    (found,) = rows(r1env_program("score", "--reward", "exact", stdin=lines({"completion": 7, "source": "b"})).stdout)
    assert (found["status"], found["source"]) == ("error", "b")


def test_columns_of_other_names_are_mapped(r1env_program: Any) -> None:
    row = {"uid": "q1", "problem": "1 + 1?", "reward_model": {"ground_truth": "2"}, "responses": ["no", "2"], "bonus": 1}
    mapping = "id=uid,question=problem,answer=reward_model.ground_truth,completion=responses[1]"
    result = r1env_program("score", "--reward", "exact", "--map", mapping, stdin=lines(row, {**row, "responses": ["2"]}))
    first, second = rows(result.stdout)
    assert (first["id"], first["value"], first["bonus"]) == ("q1", 1.0, 1)
    assert (second["status"], "and is missing" in second["reason"]) == ("error", True)
    refused = r1env_program("score", "--reward", "exact", "--map", "question=problm,answer=a", stdin=lines(row))
    assert (refused.exit_code, "no 'problm'" in refused.stderr, "--map question=problem" in refused.stderr) == (2, True, True)


def test_a_known_layout_needs_no_map_and_is_named(r1env_program: Any) -> None:
    row = {
        "data_source": "openai/gsm8k",
        "prompt": [{"role": "user", "content": "1 + 1?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "2"},
        "extra_info": {"split": "test", "index": 0},
        "completion": "2",
    }
    result = r1env_program("score", "--reward", "exact", stdin=lines(row))
    assert rows(result.stdout)[0]["value"] == 1.0, result.output
    assert "reading the input as verl rows" in result.stderr


def test_a_summary_is_printed_where_no_program_reads_it(r1env_program: Any) -> None:
    given = [{"id": str(n), "completion": "a", "answer": "ab"[n % 2]} for n in range(10)]
    result = r1env_program("score", "--reward", "exact", stdin=lines(*given))
    scored, seconds = result.stderr.splitlines()
    assert scored == "scored 10 rows: mean 0.5; ok 5, wrong 5"
    assert seconds.startswith("seconds: p50 0.0")
    assert seconds.count("row ") == 3
    assert len(rows(result.stdout)) == 10


def test_a_hundred_rows_that_fail_for_one_reason_stop_the_command(r1env_program: Any, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(lines(*({"id": n, "response": "a", "gold": "a"} for n in range(1000))))
    arguments = ("score", "--reward", "exact", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl")
    result = r1env_program(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "the first 100 rows all failed for one reason: the completion must be text, and is missing" in result.stderr
    assert "--map question=" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    assert r1env_program(*arguments, "--keep-going").exit_code == 1
    assert len(rows((tmp_path / "out.jsonl").read_text())) == 1000


def test_one_good_row_among_the_first_hundred_lets_the_command_go_on(r1env_program: Any) -> None:
    bad = {"id": "1", "completion": "raise"}
    result = r1env_program("score", "--reward", "detail", stdin=lines(*[bad] * 60, {**bad, "completion": "a"}, *[bad] * 100))
    assert len(rows(result.stdout)) == 161


PROGRAM = [sys.executable, "-c", "from r1env.cli.main import main; main()", "score"]
SHORT = "import os, time, r1env\n\n@r1env.reward(name='short')\ndef short(completion: str) -> float:\n    {}\n    return float(completion)\n"


@pytest.fixture
def short(tmp_path: Path) -> Callable[..., str]:
    """A file with a reward that does something first; gives what names it."""

    def write(first: str = "pass") -> str:
        (tmp_path / "short.py").write_text(SHORT.format(first))
        return f"{tmp_path / 'short.py'}:short"

    return write


def test_a_program_that_waits_for_each_score_gets_it(short: Callable[..., str]) -> None:
    program = subprocess.Popen(
        [*PROGRAM, "--reward", short()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert program.stdin
    assert program.stdout
    for number in range(3):
        program.stdin.write(lines({"id": number, "completion": str(number)}))
        program.stdin.flush()
        assert json.loads(program.stdout.readline())["value"] == number
    program.stdin.close()
    assert program.wait(30) == 0


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_was_and_writes_each_row_once(
    short: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, partial = (tmp_path / name for name in ("in.jsonl", "out.jsonl", "out.jsonl.partial"))
    source.write_text(lines(*({"id": n, "completion": str(n)} for n in range(3000))))
    command = [*PROGRAM, "--reward", short("time.sleep(0.001)"), "--input", str(source), "--output", str(target), "--resume"]
    kills = 0
    while kills < 3:
        before = partial.stat().st_size if partial.exists() else 0
        program = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while program.poll() is None and (not partial.exists() or partial.stat().st_size == before):
            time.sleep(0.01)
        program.kill()
        program.wait()
        kills += 1
        assert not target.exists(), "only a complete file has its name"
        with partial.open("a") as file:
            file.write('{"id": 17, "val')  # as if it had been killed while writing
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    assert [row["id"] for row in rows(target.read_text())] == list(range(3000))
    assert "after the" in finished.stderr
    assert not partial.exists()


def test_resuming_the_output_of_another_input_is_refused(r1env_program: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines({"id": "a", "completion": "x", "answer": "x"}))
    (tmp_path / "b.jsonl").write_text(lines({"id": "b", "completion": "x", "answer": "x"}))
    assert (
        r1env_program("score", "--reward", "exact", "--input", tmp_path / "a.jsonl", "--output", tmp_path / "o.jsonl").exit_code
        == 0
    )
    result = r1env_program(
        "score", "--reward", "exact", "--input", tmp_path / "b.jsonl", "--output", tmp_path / "o.jsonl", "--resume"
    )
    assert (result.exit_code, "it is of another input" in result.stderr) == (2, True)


def test_a_resumed_output_takes_the_rows_that_were_added_to_the_input(r1env_program: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given = [{"id": n, "completion": "x", "answer": "x"} for n in range(5)]
    source.write_text(lines(*given[:3]))
    arguments = ("score", "--reward", "exact", "--input", source, "--output", target)
    r1env_program(*arguments)
    before = target.read_text()
    source.write_text(lines(*given))
    assert r1env_program(*arguments, "--resume").exit_code == 0
    assert target.read_text().startswith(before)
    assert [row["id"] for row in rows(target.read_text())] == list(range(5))


def test_two_programs_never_write_one_output(r1env_program: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.jsonl"
    given = lines({"id": 1, "completion": "x", "answer": "x"})
    arguments = ("score", "--reward", "exact", "--output", target)
    refused: list[Any] = []
    write = Output.write

    def while_writing(self: Output, new: Any) -> None:
        write(self, new)
        if not refused:
            refused.append(None)
            refused[0] = r1env_program(*arguments, stdin=given)

    monkeypatch.setattr(Output, "write", while_writing)
    assert r1env_program(*arguments, stdin=given).exit_code == 0
    (other,) = refused
    assert (other.exit_code, "another program is writing" in other.stderr) == (2, True)
    assert [row["id"] for row in rows(target.read_text())] == [1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_with_the_name_of_the_file(r1env_program: Any) -> None:
    result = r1env_program("score", "--reward", "exact", "--output", "/dev/full", stdin=lines({"completion": "a"}))
    assert result.stderr.strip() == "error: cannot write /dev/full: No space left on device"


def test_an_output_that_cannot_be_written_is_not_begun(r1env_program: Any, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("precious\n")
    result = r1env_program("score", "--reward", "exact", "--input", tmp_path / "nowhere.jsonl", "--output", target)
    assert (result.exit_code, target.read_text()) == (2, "precious\n")


def test_tables_in_and_out(r1env_program: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('id,completion,answer,note\n1,a,a,"x, ""y"""\n2,b,a,\n')
    result = r1env_program("score", "--reward", "exact", "--input", source, "--output", target)
    assert result.exit_code == 0, result.output
    with target.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["id"], float(first["value"]), first["note"], json.loads(first["parts"])) == (
        "1",
        1.0,
        'x, "y"',
        {"exact": 1.0},
    )
    assert (float(second["value"]), second["status"]) == (0.0, "wrong")


def test_explain_says_in_words_why_the_first_rows_have_their_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r1env.cli.score.EXPLAINED", 2)
    row = {"id": 1, "answer": "4", "completion": "<think>2 + 2</think> <answer>4</answer>"}
    lines = [json.dumps({**row, **more}) for more in ({}, {"id": "\x1b[2J", "completion": "\\boxed{5}"}, {})]
    result = CliRunner().invoke(
        make_app(installed()), ["score", "--rubric", "zero", "--explain"], input="\n".join(lines) + "\n", env={"COLUMNS": "200"}
    )
    assert result.exit_code == 0
    told = result.stderr.splitlines()
    assert told[:3] == [
        "row 1 (id 1): 1.1, status ok: it was scored, and earned something",
        "  math 1, times its weight 1 = 1",
        "  format 1, times its weight 0.1 = 0.1",
    ]
    assert told[3].startswith("  because: math: ")
    assert told[4].startswith("row 2 (id ␛[2J): 0, status wrong")
    assert not [line for line in told if line.startswith("row 3")]
    assert len(result.stdout.splitlines()) == 3
