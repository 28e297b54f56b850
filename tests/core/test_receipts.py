"""A run's scores can be checked later: the code is named, and a sample is scored again."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import r1env
from r1env.cli.main import make_app
from r1env.errors import UsageError
from r1env.plugins import installed
from r1env.receipts import receipt, receipts, rollout_of, verify
from r1env.rubrics import Rubric, WeightedReward
from r1env.runs.rollouts import LONGEST_TASK, RolloutRow
from r1env.runs.run import Run
from r1env.scoring import score
from r1env.types import Message, Rollout, Task, TaskKind, Turn

TASK = Task(
    id="t",
    prompt=({"role": "system", "content": "be brief"}, {"role": "user", "content": "2 + 2?"}),
    answer="4",
    tests=({"input": "1", "output": "2"},),
    kind=TaskKind.CODE,
    language="en",
    metadata={"level": 3, "solution": "x" * 500},
)


def rubric(file: Path, body: str) -> Rubric:
    """A rubric of one reward in a file of the user's own; its score of a completion is what `body` says."""
    file.write_text(f"def mine(completion, answer, level=None):\n    return {body}\n")
    return Rubric("own", [WeightedReward(installed().reward(f"{file}:mine"), 0.5)])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    own = rubric(tmp_path / "own.py", "float(answer in completion)")
    run = Run.create(tmp_path / "run", {"name": "demo", "stages": []}, seed=0)
    run.start_stage("rl")
    run.note(rubric=own.describe(), on_none=own.on_none, receipts=receipts([own]))
    for step in range(6):
        rollouts = [
            Rollout(task=TASK.model_copy(update={"id": f"t{step}"}), completion=text) for text in ("it is 4", "5", "44", "")
        ]
        rows = zip(rollouts, score(rollouts, own), strict=True)
        run.log_rollouts(step, [RolloutRow.of(one, found, group=0, sample=place) for place, (one, found) in enumerate(rows)])
    run.finish_stage("rl")
    return run


def test_a_receipt_names_distribution_version_and_all_sources_of_a_package() -> None:
    found = receipt(installed().reward("exact"))
    assert (found["distribution"], found["version"]) == ("r1env-logic", receipt(installed().reward("exact"))["version"])
    assert len(found["sources"] or "") == len(found["sha256"] or "") == 64
    assert found["sources"] != found["sha256"]


def test_a_reward_of_a_file_is_known_by_the_file(tmp_path: Path) -> None:
    (found,) = receipts([rubric(tmp_path / "own.py", "1.0")]).values()
    assert (found["distribution"], found["version"], found["sources"]) == (None, None, None)
    assert len(found["sha256"] or "") == 64


def test_the_same_code_agrees_and_whole_groups_are_drawn(run: Run) -> None:
    found = verify(run, installed(), count=5)
    assert (found.verified, found.agreeing, found.changes, found.code, found.good) == (8, 8, [], {}, True)
    assert verify(run, installed(), count=0).verified == 24


def test_other_code_is_named_with_every_score_that_it_changes(run: Run) -> None:
    (run.path.parent / "own.py").write_text(
        "def mine(completion, answer, level=None):\n    return float(answer == completion[-1:])\n"
    )
    assert verify(run, installed(), count=0).good  # "44" and "it is 4" still count
    (run.path.parent / "own.py").write_text("def mine(completion, answer, level=None):\n    return float(completion == '44')\n")
    found = verify(run, installed(), count=0)
    assert (found.verified, found.agreeing, found.good) == (24, 18, False)
    assert [key for key, _, _ in found.code["mine"]] == ["sha256"]
    assert {(change.task_id, change.what, change.before, change.now) for change in found.changes if change.step == 0} == {
        ("t0", "reward", 0.5, 0.0),
        ("t0", "mine", 1.0, 0.0),
        ("t0", "status", "ok", "wrong"),
    }


def test_the_command_says_so_and_exits_with_1(run: Run) -> None:
    program = make_app(installed())
    good = CliRunner().invoke(program, ["verify", str(run.path)])
    assert (good.exit_code, good.output) == (0, "24 rollouts scored again: 24 agree, 0 do not\n")
    (run.path.parent / "own.py").write_text("def mine(completion, answer, level=None):\n    return 1.0\n")
    bad = CliRunner().invoke(program, ["verify", str(run.path), "--rollouts", "4"])
    assert bad.exit_code == 1
    assert "the code of the reward 'mine' has changed: sha256 was" in bad.output
    assert "reward: differs in 2\n" in bad.output
    told = json.loads(CliRunner().invoke(program, ["verify", str(run.path), "--json"]).output)
    assert (told["good"], told["agreeing"]) == (False, 12)


def test_a_rollout_is_stored_as_rewards_see_it() -> None:
    messages: tuple[Message, ...] = (
        *TASK.prompt,
        {"role": "assistant", "content": "call", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 2}}}]},
        {"role": "tool", "content": "4", "name": "add"},
        {"role": "assistant", "content": "4"},
    )
    turns = (Turn(message=messages[2], replies=(messages[3],), reward=0.25), Turn(message=messages[4], reward=0.5))
    whole = Rollout(task=TASK, completion="4", messages=messages, turns=turns)
    row = RolloutRow.of(whole, r1env.Score(value=1.0)).record()
    again = rollout_of(row)
    assert (again.task, again.messages, again.completion) == (TASK, messages, "4")
    assert (len(Rollout(task=TASK, completion="4", messages=again.messages).turns), again.environment_reward) == (2, 0.75)


def test_what_cannot_be_scored_again_is_counted_with_the_reason(run: Run) -> None:
    large = TASK.model_copy(update={"tests": ({"input": "x" * LONGEST_TASK},)})
    failed = Rollout(task=TASK, completion="", error="the engine failed")
    (run.path / "checkpoints" / "rl" / "step-1").mkdir(parents=True)  # or the stage would begin anew
    run.start_stage("rl")
    rows = [RolloutRow.of(one, r1env.Score(value=0.0), group=0) for one in (Rollout(task=large, completion="4"), failed)]
    run.log_rollouts(9, rows)
    found = verify(run, installed(), count=0)
    assert dict(found.left_out) == {
        "the task is too large to be stored with each rollout": 1,
        "the environment or the engine had failed": 1,
    }
    assert found.verified == 24


def test_a_run_without_rubric_or_rollouts_is_refused(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"name": "demo", "stages": []}, seed=0)
    with pytest.raises(UsageError, match="no stage whose rollouts were scored"):
        verify(run, installed())
