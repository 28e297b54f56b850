"""Losses, advantages and engines of others in training: by name, by module and by file."""

from __future__ import annotations

import pytest
import torch
from training_runs import trained

import r1env
from r1env.engines import SamplingParams, ScriptedEngine, TokenEngine
from r1env.errors import UsageError
from r1env.plugins import installed
from r1env.recipes import plan_training
from r1env.types import FinishReason
from r1env_trainers.generate.choose import EncodingEngine
from r1env_trainers.model.load import load_model
from r1env_trainers.model.logprobs import TokenBatch, completion_logprobs
from r1env_trainers.rl.advantages import estimate_advantages, group_mean
from r1env_trainers.rl.losses import aggregate, estimate_kl, loss_denominator, other_loss, policy_loss, policy_ratio

MINE = """
import itertools
from r1env.types import Completion

CALLS = []

def doubled(rewards):
    CALLS.append("advantage")
    return 2 * (rewards - rewards.nanmean(dim=1, keepdim=True)).nan_to_num(0.0)

def reinforce(logprobs, old_logprobs, advantages, *, mask):
    CALLS.append("loss")
    assert advantages.shape == logprobs.shape == mask.shape
    return -advantages * logprobs

class Counting:
    def __init__(self, model, start=0):
        CALLS.append(f"engine {model} {start}")
        self.numbers = itertools.count(start)
    def generate(self, prompts, params):
        return [[Completion(text=str(next(self.numbers) % 10)) for _ in range(params.n)] for _ in prompts]
    def close(self):
        CALLS.append("closed")

def geometric(logprobs, old_logprobs, mask):
    CALLS.append("ratio")
    return (((logprobs - old_logprobs) * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)).exp()

def longest(per_token, mask, *, max_new_tokens):
    CALLS.append(f"aggregation {max_new_tokens}")
    return (per_token * mask).sum(), mask.sum(1).amax()

def absolute(logprobs, reference):
    CALLS.append("kl")
    return (logprobs - reference).abs()

def one_number_too(logprobs, other):
    return logprobs.sum()

def just_the_mean(per_token, mask):
    return (per_token * mask).sum() / mask.sum()

def minus_one(per_token, mask):
    return (per_token * mask).sum(), -1.0

def a_word(per_token, mask):
    return (per_token * mask).sum(), "three"

def row(rewards):
    return rewards[0]

def not_finite(rewards):
    return rewards

def one_number(logprobs, old_logprobs, advantages, **_):
    return logprobs.sum()
"""
SMALL = {
    "steps": 2,
    "sampling.prompts_per_step": 2,
    "sampling.group_size": 4,
    "eval.every": 0,
    "checkpoint.every": 100,
    "algo.track_kl": False,
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def mine(tmp_path):
    """`mine("f")`: how the settings name the function of a file."""
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return lambda name: f"{path}:{name}"


def digit_rubric(tmp_path) -> str:
    path = tmp_path / "digits.py"
    path.write_text("def digits(completion):\n    return sum(int(c) for c in completion if c.isdigit()) / 10\n")
    return f"{path}:digits"


def calls(mine) -> list[str]:
    return installed().load(type(installed().engine("scripted")), mine("CALLS"))


def test_a_run_learns_with_the_loss_the_advantage_and_the_engine_of_a_file(tmp_path, mine):
    settings = {
        **SMALL,
        "rubric": digit_rubric(tmp_path),
        "algo.advantage": mine("doubled"),
        "algo.loss": mine("reinforce"),
        "engine": {"name": mine("Counting"), "options": {"start": 3}},
    }
    run = trained(plan_training("grpo", preset="tiny-cpu", overrides=settings), tmp_path / "run")
    assert calls(mine)[0] == "engine tiny 3"
    assert {"advantage", "loss"} < set(calls(mine))
    assert calls(mine)[-1] == "closed"
    rows = run.metrics()
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["reward"] is not None and abs(row["logprob_gap"]) < 1e-4 for row in rows)


def test_a_run_learns_with_the_ratio_the_aggregation_and_the_kl_estimator_of_a_file(tmp_path, mine):
    settings = {
        **SMALL,
        "rubric": digit_rubric(tmp_path),
        "sampling.max_new_tokens": 5,
        "algo.policy_ratio": mine("geometric"),
        "algo.loss_aggregation": mine("longest"),
        "algo.kl_estimator": mine("absolute"),
        "algo.kl_coef": 0.1,
    }
    run = trained(plan_training("grpo", preset="tiny-cpu", overrides=settings), tmp_path / "run")
    assert {"ratio", "aggregation 5", "kl"} <= set(calls(mine))
    assert all(row["grad_norm"] > 0 for row in run.metrics())


def test_the_scripted_engine_trains_too(tmp_path):
    settings = {**SMALL, "rubric": digit_rubric(tmp_path), "engine": {"name": "scripted", "options": {"text": "77"}}}
    run = trained(plan_training("grpo", preset="tiny-cpu", overrides=settings), tmp_path / "run")
    assert [row["reward"] for row in run.metrics()] == pytest.approx([1.4] * 2)


def test_a_group_reward_sees_every_group_whole_in_training_though_episodes_are_scored_as_they_end(tmp_path):
    path = tmp_path / "grouped.py"
    path.write_text(
        "import r1env\n"
        "@r1env.reward(scope='group', isolation='process')\n"
        "def size(completions, task):\n"
        "    return [r1env.Score(value=len(completions) + place / 10) for place in range(len(completions))]\n"
    )
    run = trained(plan_training("grpo", preset="tiny-cpu", overrides={**SMALL, "rubric": f"{path}:size"}), tmp_path / "run")
    assert [row["reward"] for row in run.metrics()] == pytest.approx([4.15, 4.15])
    assert [row["unscored"] for row in run.metrics()] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"algo.advantage": "dr_grop"}, "unknown advantage 'dr_grop'; did you mean 'dr_grpo'"),
        ({"algo.loss": "cliped"}, "unknown loss 'cliped'; did you mean 'clipped'"),
        ({"engine.name": "vlm"}, "unknown engine 'vlm'; did you mean 'vllm'"),
        ({"algo.kl_estimator": "k4"}, "unknown KL estimator 'k4'; did you mean 'k3'"),
        ({"algo.policy_ratio": "sequences"}, "unknown policy ratio 'sequences'; did you mean 'sequence'"),
        ({"algo.loss_aggregation": "token_mean"}, "unknown loss aggregation 'token_mean'; did you mean 'token-mean'"),
        ({"algo.loss": "no_such.py:f"}, "cannot load the loss 'no_such.py:f': cannot read"),
        ({"algo.loss": "math:tau"}, "'math:tau' is a float, not a function or class for the loss"),
        ({"algo.advantage": "math:nothing"}, "cannot load the advantage 'math:nothing'"),
        ({"algo.loss": "cispo", "algo.policy_ratio": "sequence"}, "policy_ratio and dual_clip describe loss=clipped"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_with_the_settings(settings, message):
    with pytest.raises(UsageError) as caught:
        plan_training("grpo", preset="tiny-cpu", overrides={**SMALL, **settings})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "math:sqrt"}, "algo.loss=math:sqrt raised TypeError on small tensors"),
        ({"loss": "one_number"}, r"it must return a loss per token"),
        ({"advantage": "row"}, r"returned \[3\]|returned \[2\]"),
        ({"policy_ratio": "one_number_too"}, "a ratio per token or per sequence"),
        ({"kl_estimator": "one_number_too", "kl_coef": 0.1}, "an estimate per token"),
        ({"loss_aggregation": "just_the_mean"}, "a total and a count"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused_before_the_first_step(settings, message, mine, tmp_path):
    named = {key: mine(value) if isinstance(value, str) and ":" not in value else value for key, value in settings.items()}
    with pytest.raises(UsageError, match=message):
        r1env.train("grpo", preset="tiny-cpu", algo=named, output=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run").exists()


def test_editing_the_file_of_a_loss_changes_the_next_run_and_not_this_one(tmp_path):
    path = tmp_path / "edited.py"
    rubric = digit_rubric(tmp_path)

    def write(factor):
        path.write_text(f"def loss(logprobs, old_logprobs, advantages):\n    return -{factor} * advantages * logprobs\n")

    def first_losses(folder, edit):
        settings = {**SMALL, "rubric": rubric, "algo.loss": f"{path}:loss"}
        run = r1env.train("grpo", preset="tiny-cpu", output=tmp_path / folder, listeners=[lambda event: edit()], **settings)
        return [row["grad_norm"] for row in run.metrics()]

    write(1)
    undisturbed = first_losses("undisturbed", lambda: None)
    assert first_losses("edited", lambda: write(5)) == undisturbed
    assert first_losses("next", lambda: None)[0] == pytest.approx(5 * undisturbed[0], rel=1e-4)


def test_an_estimator_that_returns_something_else_is_named(mine):
    rewards = torch.tensor([[0.0, 1.0, torch.nan], [1.0, 1.0, 1.0]])
    assert torch.equal(estimate_advantages("dr_grpo", rewards), group_mean(rewards))
    with pytest.raises(UsageError, match=r"returned \[3\] for rewards of shape \[2, 3\]"):
        estimate_advantages(mine("row"), rewards)
    with pytest.raises(UsageError, match="returned a value that is not finite"):
        estimate_advantages(mine("not_finite"), rewards)


def test_a_loss_gets_tensors_of_one_shape_and_must_return_one(mine):
    logprobs, old, mask = torch.randn(2, 3), torch.randn(2, 3), torch.ones(2, 3)
    advantages = torch.tensor([1.0, -1.0])
    clip = {"clip_low": 0.2, "clip_high": 0.3}
    expected = -advantages[:, None] * logprobs
    assert torch.equal(other_loss(mine("reinforce"), logprobs, old, advantages, mask=mask, **clip), expected)
    ours = other_loss("clipped", logprobs, old, advantages, mask=mask, **clip)
    assert torch.equal(ours, policy_loss(logprobs, old, advantages, mask=mask, **clip))
    with pytest.raises(UsageError, match=r"returned \[\]; it must return a loss per token, \[2, 3\]"):
        other_loss(mine("one_number"), logprobs, old, advantages, mask=mask, **clip)


def test_the_functions_of_a_file_give_what_ours_give(mine):
    logprobs, old = torch.randn(2, 3), torch.randn(2, 3)
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    assert torch.allclose(
        policy_ratio(mine("geometric"), logprobs, old, mask), policy_ratio("sequence", logprobs, old, mask), atol=1e-6
    )
    assert torch.equal(estimate_kl(mine("absolute"), logprobs, old), estimate_kl("k1", logprobs, old).abs())
    assert loss_denominator(mask, mine("longest"), 5) == 3.0
    assert aggregate(logprobs, mask, mine("longest"), 3.0) == aggregate(logprobs, mask, "token-mean", 3.0)


def test_a_ratio_an_estimate_or_an_aggregation_of_another_shape_is_named(mine):
    logprobs, mask = torch.randn(2, 3), torch.ones(2, 3)
    with pytest.raises(
        UsageError, match=r"returned \[\]; it must return a ratio per token or per sequence, \[2, 3\] or \[2, 1\]"
    ):
        policy_ratio(mine("one_number_too"), logprobs, logprobs, mask)
    with pytest.raises(UsageError, match=r"returned \[\]; it must return an estimate per token, \[2, 3\]"):
        estimate_kl(mine("one_number_too"), logprobs, logprobs)
    with pytest.raises(UsageError, match="returned Tensor; it must return a total and a count"):
        loss_denominator(mask, mine("just_the_mean"), 5)
    with pytest.raises(UsageError, match="returned str; it must return a total and a count, scalars"):
        loss_denominator(mask, mine("a_word"), 5)
    with pytest.raises(UsageError, match=r"returned the count -1\.0; it must be finite and not negative"):
        loss_denominator(mask, mine("minus_one"), 5)


def test_an_engine_that_knows_text_gets_tokens_and_the_policys_logprobs():
    loaded = load_model("tiny")
    engine = EncodingEngine(ScriptedEngine("1234"), loaded)
    assert isinstance(engine, TokenEngine)
    prompt = loaded.tokenizer("5 6", add_special_tokens=False)["input_ids"]
    whole, _ = engine.generate_tokens([prompt], SamplingParams(n=2, temperature=1.0, top_p=1.0, max_new_tokens=20))
    assert (whole.text, whole.finish_reason) == ("1234", FinishReason.STOP)
    assert whole.token_ids[-1] == loaded.tokenizer.eos_token_id
    ids = torch.tensor([whole.token_ids])
    batch = TokenBatch(torch.tensor([prompt]), torch.ones(1, len(prompt), dtype=torch.long), ids, torch.ones(ids.shape))
    with torch.no_grad():
        expected = completion_logprobs(loaded.model, batch, 1.0, loaded.never_drawn)[0]
    assert torch.allclose(torch.tensor(whole.logprobs), expected, atol=1e-5)
    (cut,) = engine.generate_tokens([prompt], SamplingParams(temperature=1.0, max_new_tokens=2))
    assert (cut.text, cut.finish_reason, len(cut.token_ids), len(cut.logprobs)) == ("12", FinishReason.LENGTH, 2, 2)


def test_an_engine_that_answers_with_nothing_still_has_a_token_to_learn_from():
    loaded = load_model("tiny")
    engine = EncodingEngine(ScriptedEngine(""), loaded)
    (row,) = engine.generate_tokens([[5, 6]], SamplingParams(temperature=1.0))
    assert (row.text, row.token_ids, len(row.logprobs)) == ("", (loaded.tokenizer.eos_token_id,), 1)
