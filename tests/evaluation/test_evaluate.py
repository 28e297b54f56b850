"""Evaluation against engines whose answers are known."""

from collections.abc import Sequence
from pathlib import Path

import pytest

import r1env
from r1env.data.sources import GeneratedSource, ListSource
from r1env.engines import SamplingParams, ScriptedEngine
from r1env.envs.environment import Environment
from r1env.errors import UsageError
from r1env.evaluation import EvaluationRow, evaluate
from r1env.evaluation.run import check_same, describe_environment
from r1env.plugins import installed
from r1env.rewards import Reward
from r1env.rubrics import Rubric, WeightedReward
from r1env.types import Completion, Conversation, FinishReason, Status, Task

SAMPLING = SamplingParams(temperature=0)


@r1env.reward(name="exact")
def exact(completion: str, answer: str) -> float:
    return float(completion == answer)


@r1env.reward(name="partial")
def partial(completion: str) -> float:
    return len(completion) / 4


@r1env.reward(name="moody")
def moody(completion: str) -> float:
    if completion == "0":
        raise RuntimeError("cannot")
    return 1.0


def environment(reward: Reward = exact, count: int = 4, **settings: object) -> Environment:
    tasks = [Task(id=str(i), prompt=str(i), answer=str(i)) for i in range(count)]
    fields: dict[str, object] = {
        "name": "echo",
        "source": ListSource(tasks),
        "rubric": Rubric("accuracy", [WeightedReward(reward)]),
        "accuracy": reward.name,
        "template": installed().template("plain"),
    }
    return Environment(**{**fields, **settings})  # type: ignore[arg-type]


class Cycling:
    """Answers sample j of every prompt with the prompt itself when j is even, and nothing otherwise; remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, SamplingParams]] = []

    def generate(self, prompts: Sequence[Conversation], sampling: SamplingParams) -> list[list[Completion]]:
        self.calls.append((len(prompts), sampling))
        return [
            [Completion(text=prompt[-1]["content"] if j % 2 == 0 else "", token_ids=(1, 2)) for j in range(sampling.n)]
            for prompt in prompts
        ]

    def close(self) -> None: ...


def test_accuracy_counts_correct_completions() -> None:
    found = evaluate(environment(), ScriptedEngine({"0": "0", "1": "1", "2": "wrong", "3": ""}), SAMPLING)
    assert found.accuracy == 0.5
    assert found.interval is not None
    assert found.interval[0] < 0.5 < found.interval[1]
    assert (found.tasks, found.samples, found.unscored, found.pass_at) == (4, 1, 0, {})
    assert found.statuses == {Status.OK: 2, Status.WRONG: 2}
    assert [row.correct for row in found.rows] == [True, True, False, False]
    assert found.mean_length == (1 + 1 + 5 + 0) / 4


def test_several_completions_give_pass_at_k() -> None:
    found = evaluate(environment(), Cycling(), SamplingParams(n=3))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.pass_at == {1: pytest.approx(2 / 3), 2: 1.0, 3: 1.0}
    assert found.mean_length == 2  # tokens, since the engine knows them


def test_an_unscored_completion_is_left_out_and_counted() -> None:
    found = evaluate(environment(moody), ScriptedEngine({"0": "0"}), SAMPLING)
    assert found.accuracy == 1.0
    assert found.unscored == 1
    assert found.rows[0].correct is None


def test_nothing_scored_is_no_accuracy_rather_than_zero() -> None:
    found = evaluate(environment(moody), ScriptedEngine("0"), SAMPLING)
    assert (found.accuracy, found.interval, found.unscored) == (None, None, 4)


def test_partial_credit_is_a_part_but_not_correct() -> None:
    found = evaluate(environment(partial), ScriptedEngine("ab"), SAMPLING)
    assert found.accuracy == 0.0
    assert found.parts == {"partial": 0.5}


def test_the_limit_takes_the_first_tasks_and_batches_do_not_change_them() -> None:
    engine, steps = Cycling(), []
    found = evaluate(environment(), engine, SAMPLING, limit=3, batch_size=2, progress=lambda *done: steps.append(done))
    assert [row.task_id for row in found.rows] == ["0", "1", "2"]
    assert [count for count, _ in engine.calls] == [2, 1]
    assert steps == [(2, 3), (3, 3)]


def test_every_batch_samples_under_its_own_seed_and_again_the_same() -> None:
    first, second = Cycling(), Cycling()
    for engine in (first, second):
        evaluate(environment(), engine, SamplingParams(seed=5), batch_size=2)
    seeds = [sampling.seed for _, sampling in first.calls]
    assert len(set(seeds)) == 2
    assert seeds == [sampling.seed for _, sampling in second.calls]


def test_the_stop_texts_of_the_template_reach_the_engine() -> None:
    engine = Cycling()
    evaluate(environment(template=installed().template("r1-zero")), engine, SamplingParams(stop=("</answer>", "END")), limit=1)
    assert engine.calls[0][1].stop == ("</answer>", "END")
    assert not engine.calls[0][1].chat


def test_many_turns_are_played_to_the_end_and_only_open_episodes_go_on() -> None:
    class AskAgain:
        def reply(self, task: Task, messages: Conversation) -> str | None:
            return "again" if task.id == "0" else None

    engine = Cycling()
    found = evaluate(environment(max_turns=3, other=AskAgain), engine, SAMPLING, limit=2)
    assert [count for count, _ in engine.calls] == [2, 1, 1]
    assert [row.completion for row in found.rows] == ["again", "1"]


def test_a_cut_off_completion_counts_as_truncated() -> None:
    class CutOff(Cycling):
        def generate(self, prompts: Sequence[Conversation], sampling: SamplingParams) -> list[list[Completion]]:
            return [[Completion(text="x", finish_reason=FinishReason.LENGTH)] for _ in prompts]

    assert evaluate(environment(), CutOff(), SAMPLING).truncated == 1.0


def test_a_rubric_without_the_checker_is_refused() -> None:
    with pytest.raises(UsageError, match="no reward 'accuracy'"):
        evaluate(environment(rubric=Rubric("other", [WeightedReward(partial)])), Cycling(), SAMPLING)


def test_an_endless_source_needs_a_limit() -> None:
    source = GeneratedSource(lambda rng: Task(id="x", prompt=str(rng.integers(9)), answer="1"))
    with pytest.raises(UsageError, match="limit"):
        evaluate(environment(source=source), Cycling(), SAMPLING)


def test_no_task_is_nothing_to_evaluate_on() -> None:
    with pytest.raises(UsageError, match="nothing to evaluate on"):
        evaluate(environment(), Cycling(), SAMPLING, limit=0)


def test_an_evaluation_survives_json() -> None:
    found = evaluate(environment(moody), ScriptedEngine("0"), SAMPLING, limit=1)
    again = type(found).model_validate_json(found.model_dump_json())
    assert again.rows[0].score == found.rows[0].score
    assert again.statuses == {Status.ERROR: 1}


def test_the_same_file_with_other_rows_is_another_evaluation(tmp_path: Path) -> None:
    data = tmp_path / "tasks.jsonl"
    data.write_text("{}\n")
    found = environment(options={"data": str(data)})
    before = {"environments": [describe_environment(found)], "seed": 1}
    check_same(before, {"environments": [describe_environment(found)], "seed": 1}, tmp_path)
    data.write_text("{} \n")
    with pytest.raises(UsageError, match=r"data_sha256 was \w+, is \w+; seed was 1, is 2"):
        check_same(before, {"environments": [describe_environment(found)], "seed": 2}, tmp_path)


def test_rows_come_while_others_are_sampled_and_only_what_is_missing_is_sampled_again() -> None:
    kept: list[EvaluationRow] = []
    whole = evaluate(environment(), Cycling(), SamplingParams(n=3, seed=1), batch_size=2, keep=kept.extend)
    kept.sort(key=lambda row: (row.position, row.sample))
    assert kept == [row.model_copy(update={"vote": None}) for row in whole.rows]  # votes need all completions of a task
    engine = Cycling()
    done = [row for row in whole.rows if (row.position, row.sample) not in {(0, 1), (3, 0), (3, 1), (3, 2)}]
    again = evaluate(environment(), engine, SamplingParams(n=3, seed=1), batch_size=2, done=done)
    assert [(prompts, params.first, params.n) for prompts, params in engine.calls] == [(1, 1, 1), (1, 0, 3)]
    assert [row.task_id for row in again.rows] == [row.task_id for row in whole.rows]


def test_completions_vote_by_what_the_reward_holds_equal() -> None:
    @r1env.reward(name="number", isolation="inline")
    def number(response: str, answer: str) -> float:
        return float(float(r1env.parse_response(response).answer or "nan") == float(answer))

    said = {"0": ["0", "0.0", "1", "1"], "1": ["1", "2", "2.0", "3"], "2": ["2", "2.0", "3", "3.0"]}

    class Voters(Cycling):
        def generate(self, prompts: Sequence[Conversation], sampling: SamplingParams) -> list[list[Completion]]:
            return [[Completion(text=f"<answer>{text}</answer>") for text in said[prompt[-1]["content"]]] for prompt in prompts]

    found = evaluate(environment(number, count=3), Voters(), SamplingParams(n=4))
    assert [[row.vote for row in found.rows[start : start + 4]] for start in (0, 4, 8)] == [
        [0, 0, 1, 1],
        [0, 1, 1, 2],
        [0, 0, 1, 1],
    ]
    # Task 0: two against two, one half; task 1: the commonest answer, 2, is wrong; task 2: two against two again.
    assert found.consensus == pytest.approx((0.5 + 0.0 + 0.5) / 3)


def test_what_a_plain_checker_cannot_compare_votes_by_its_text() -> None:
    found = evaluate(environment(), Cycling(), SamplingParams(n=3))
    assert {row.vote for row in found.rows if row.completion} == {0}
    assert found.consensus == 1.0
