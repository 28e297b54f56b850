"""Every built-in reward through every adapter on the same fifty rollouts: the same numbers, and what each adapter says of a missing score."""

from __future__ import annotations

import asyncio
import json
import math
from types import SimpleNamespace
from unittest.mock import patch

import pytest

import r1env
from r1env.adapters import areal, nemo_gym, nemo_rl, openrlhf, skyrl, slime, swift, torchtitan, trl, verl
from r1env.adapters.core import TASK_FIELD, load_rubric, task_field
from r1env.plugins import installed
from r1env.rubrics import Rubric
from r1env.types import Rollout, Task, TaskKind

NEEDS_MORE = {"code": "a container", "helpful": "a served judge", "harmless": "a served judge", "judge": "a served judge"}
REWARDS = [name for name in installed().provided("rewards") if name not in NEEDS_MORE]
RULED = {"name": "ruled", "rewards": [{"reward": "benchmark", "options": {"rule": "simple-evals-choice"}}]}
"""The reward `benchmark` has to be told whose rule it follows."""
UNSCORED = -7.0

ANSWERS = ("7", "1/2", "B", "blue whale", None)
TEXTS = (
    "<think>I add, and wait, I check.</think>\n<answer>{}</answer>",
    "The answer is \\boxed{{{}}}.",
    "<answer>{}</answer>",
    "so it is it is it is it is it is it is it is it is {}",
    "",
    '<think>{{</think><answer>{{"a": 1}}</answer>',
    "Die Antwort lautet {} \ud800.",
    "<think>no end {}",
    "1 + 2 * 3 = {}",
    "{} and then \\boxed{{8}}",
)


def fifty() -> list[Rollout]:
    rollouts = []
    for number, (answer, text) in enumerate((answer, text) for answer in ANSWERS for text in TEXTS):
        task = Task(
            id=f"t{number}",
            prompt="What is it? Answer A, B or C.",
            answer=answer,
            kind=TaskKind.CHOICE if answer == "B" else TaskKind.MATH,
            language="en",
            metadata={"numbers": [1, 2, 3], "target": 7, "options": ["A", "B", "C"], "schema": {"type": "object"}},
        )
        rollouts.append(Rollout(task=task, completion=text.format(answer or "nothing")))
    return rollouts


ROLLOUTS = fifty()


def prompts():
    return [[dict(message) for message in rollout.task.prompt] for rollout in ROLLOUTS]


def rows():
    return [{TASK_FIELD: task_field(rollout.task)} for rollout in ROLLOUTS]


def by_trl(rubric: Rubric):
    columns = {TASK_FIELD: [task_field(rollout.task) for rollout in ROLLOUTS]}
    completions = [rollout.completion for rollout in ROLLOUTS]
    return trl.reward_function(rubric)(prompts=prompts(), completions=completions, **columns)


def by_swift(rubric):
    made = swift.reward_class(rubric)(None)
    return made(
        [rollout.completion for rollout in ROLLOUTS], messages=prompts(), **{TASK_FIELD: [row[TASK_FIELD] for row in rows()]}
    )


def by_verl(rubric):
    compute = verl.reward_function(rubric, unscored=UNSCORED)
    told = [compute("d", rollout.completion, rollout.task.answer, row) for rollout, row in zip(ROLLOUTS, rows(), strict=True)]
    return [None if one["error"] else one["score"] for one in told], [one["score"] for one in told]


def by_openrlhf(rubric):
    reward_func = openrlhf.reward_function(rubric, unscored=UNSCORED)
    labels = [openrlhf.label_of(rollout.task) for rollout in ROLLOUTS]
    told = reward_func([f"Q{rollout.completion}" for rollout in ROLLOUTS], ["Q"] * 50, labels)
    errors, rewards = told["extra_logs"]["error"], told["rewards"]
    return [None if error else reward for error, reward in zip(errors, rewards, strict=True)], rewards


def by_slime(rubric):
    samples = [
        SimpleNamespace(prompt="Q", response=rollout.completion, label=rollout.task.answer, metadata=row, status="COMPLETED")
        for rollout, row in zip(ROLLOUTS, rows(), strict=True)
    ]
    values = asyncio.run(slime.reward_function(rubric, unscored=UNSCORED)(None, samples))
    return [None if one.metadata["r1env"]["error"] else value for one, value in zip(samples, values, strict=True)], values


def by_areal(rubric):
    with patch.object(areal, "_configured", lambda: (rubric, UNSCORED)):
        given = [areal.reward_fn("Q", one.completion, [], [], **row) for one, row in zip(ROLLOUTS, rows(), strict=True)]
    return [None if value == UNSCORED else value for value in given], given


def by_torchtitan(rubric):
    score = torchtitan.reward_coroutine(rubric, unscored=UNSCORED)
    silent = torchtitan.reward_coroutine(rubric)

    async def ask(rollout, row):
        turn = SimpleNamespace(completion_message={"role": "assistant", "content": rollout.completion})
        said = SimpleNamespace(turns=[turn])
        value = await score(said, row)
        try:
            return await silent(said, row), value
        except torchtitan.UnscoredError:
            return None, value

    async def ask_all():
        return await asyncio.gather(*(ask(rollout, row) for rollout, row in zip(ROLLOUTS, rows(), strict=True)))

    told = asyncio.run(ask_all())
    return [value for value, _ in told], [value for _, value in told]


def by_skyrl(rubric):
    values, numbers = [], []
    for rollout in ROLLOUTS:
        row = skyrl.row_of(rollout.task)
        episode = skyrl.R1Env({"rubric": rubric, "unscored": UNSCORED}, {key: row[key] for key in row if key != "prompt"})
        episode.init(row["prompt"])
        step = episode.step(rollout.completion)
        assert step["done"]
        values.append(None if step["metadata"]["error"] else step["reward"])
        numbers.append(step["reward"])
    return values, numbers


def by_nemo_rl(rubric):
    pytest.importorskip("torch")
    logs = [
        [*prompt, {"role": "assistant", "content": one.completion}] for prompt, one in zip(prompts(), ROLLOUTS, strict=True)
    ]
    step = nemo_rl.RubricEnvironment({"rubric": rubric, "unscored": UNSCORED}).step(logs, rows())
    assert step.terminateds.all()
    errors = [fields["r1env"]["error"] for fields in step.metadata]
    values = step.rewards.tolist()
    return [None if error else value for error, value in zip(errors, values, strict=True)], values


def by_nemo_gym(rubric):
    values = []
    for rollout in ROLLOUTS:
        output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": rollout.completion}]}]
        request = {**nemo_gym.row_of(rollout.task), "response": {"output": output}}
        (score,) = r1env.score([nemo_gym.rollout_of_request(json.loads(json.dumps(request)))], rubric)
        told = nemo_gym.answer(request, score, rubric)
        values.append(None if told["mask_sample"] else told["reward"])
    return values


def by_native(rubric):
    testclient = pytest.importorskip("fastapi.testclient", reason="the extra r1env[server] is not installed")
    from r1env.server.app import make_app

    items = [{**json.loads(task_field(rollout.task)), "completion": rollout.completion} for rollout in ROLLOUTS]
    body = json.dumps({"items": items})
    answer = testclient.TestClient(make_app(rubric)).post(
        "/v1/score", content=body, headers={"Content-Type": "application/json"}
    )
    return [score["value"] for score in answer.json()["scores"]]


ADAPTERS = (
    by_trl,
    by_swift,
    by_verl,
    by_openrlhf,
    by_slime,
    by_areal,
    by_torchtitan,
    by_skyrl,
    by_nemo_rl,
    by_nemo_gym,
    by_native,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", REWARDS)
def test_a_reward_gives_the_same_numbers_through_every_adapter(name):
    rubric = load_rubric(RULED if name == "benchmark" else name)
    expected = [score.value for score in r1env.score(ROLLOUTS, rubric)]
    for adapter in ADAPTERS:
        given = adapter(rubric)
        values, numbers = given if isinstance(given, tuple) else (given, None)
        assert [value is None for value in values] == [value is None for value in expected], adapter.__name__
        # OpenRLHF is told multiples of 2**-12, NeMo-RL float32.
        assert [v for v in values if v is not None] == pytest.approx([v for v in expected if v is not None], abs=2e-4), (
            adapter.__name__
        )
        if numbers is not None:
            assert {number for number, value in zip(numbers, expected, strict=True) if value is None} <= {UNSCORED}


def test_the_fifty_rollouts_have_right_wrong_and_missing_scores():
    values = [score.value for score in r1env.score(ROLLOUTS, load_rubric("short_answer"))]
    assert len(ROLLOUTS) == 50
    assert None in values
    assert len({value for value in values if value is not None}) >= 2


@pytest.mark.parametrize("adapter", [areal, nemo_gym, nemo_rl, openrlhf, skyrl, slime, swift, torchtitan, trl, verl])
def test_each_adapter_says_what_becomes_of_a_score_without_a_value_and_with_what_it_ran(adapter):
    said = " ".join(adapter.__doc__.split())
    assert "score without a value becomes **" in said or "score without a value therefore **" in said
    assert hasattr(adapter, "TESTED_WITH")


# The calls of stacks that are not installed here, restated.


def test_areal_calls_with_text_and_special_tokens_and_the_columns_by_name(monkeypatch):
    monkeypatch.setenv("R1ENV_RUBRIC", "format")
    monkeypatch.setenv("R1ENV_UNSCORED", "-1")
    areal._configured.cache_clear()
    try:
        right = "<think>a</think>\n<answer>5</answer><|im_end|>"
        assert areal.reward_fn("<|im_start|>user\n2+3<|im_end|>", right, [1], [2], answer="5", query_id="q") == 1.0
        assert areal.reward_fn("p", "x", [], [], messages=[{"role": "user", "content": "2+3"}], answer="5") == 0.0
        monkeypatch.setenv("R1ENV_RUBRIC", "environment")
        areal._configured.cache_clear()
        assert areal.reward_fn("p", "x", [], []) == -1.0
    finally:
        areal._configured.cache_clear()


def test_slime_passes_one_sample_or_a_list_and_a_label_that_may_hold_the_task():
    custom_rm = slime.reward_function("integer")
    task = Task(id="1", prompt="2+3", answer="5")
    sample = SimpleNamespace(
        prompt=[{"role": "user", "content": "2+3"}],
        response="<answer>5</answer><|im_end|>",
        label=openrlhf.label_of(task),
        metadata={},
        status=SimpleNamespace(value="truncated"),
    )
    assert asyncio.run(custom_rm(SimpleNamespace(), sample)) == 1.0
    assert asyncio.run(custom_rm(SimpleNamespace(), [sample, sample], evaluation=True)) == [1.0, 1.0]
    assert sample.metadata["r1env"] == {"error": 0.0, "integer": 1.0}


def test_skyrl_plays_an_environment_with_turns():
    environment = r1env.make_environment("guess-number")
    task = environment.task(0)
    row = skyrl.row_of(task, environment="guess-number")
    episode = skyrl.R1Env(None, {key: value for key, value in row.items() if key != "prompt"})
    opening, _ = episode.init(row["prompt"])
    assert opening[-1]["role"] == "user"
    wrong = episode.step("<think>a</think><answer>-5</answer>")
    assert (wrong["done"], wrong["reward"], wrong["observations"][0]["role"]) == (False, 0.0, "user")
    right = episode.step(f"<think>a</think><answer>{task.answer}</answer>")
    assert (right["done"], right["reward"]) == (True, 1.0)
    assert skyrl.R1Env.aggregate_metrics([episode.get_metrics(), {"turns": 4}]) == {"turns": 3.0}
    episode.close()


def test_nothing_that_travels_is_a_nan():
    rubric = load_rubric("short_answer")
    (score,) = r1env.score(ROLLOUTS[-1:], rubric)
    told = nemo_gym.answer({}, score, rubric)
    assert all(math.isfinite(part) for part in told["reward_components"].values())
