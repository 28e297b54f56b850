"""Reward models: what is learnt from, what is learnt, and that length is not."""

from __future__ import annotations

import itertools
import json
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_runs import assert_same_weights, at_step, interrupted, told, trained
from transformers import AutoModelForSequenceClassification

from r1env.errors import UsageError
from r1env.recipes import check_plan, execute, plan_training
from r1env_trainers.model.load import load_model
from r1env_trainers.reward_model.config import RewardModelConfig
from r1env_trainers.reward_model.data import Pair, open_examples, select_pairs, split_by_prompt
from r1env_trainers.reward_model.loop import auc, pair_accuracy, pairwise_loss, pointwise_loss
from r1env_trainers.reward_model.model import RewardModel, encode, load_reward_model, rewards_of, with_scalar_head

QUICK = {"steps": 40, "optim.batch_size": 32, "optim.warmup_steps": 5}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def question(text):
    return ({"role": "user", "content": text},)


def text_of(rng, length, marks, alphabet="abcdef"):
    """`length` letters, of which `marks` are a z: the quality of a response."""
    letters = ["z"] * marks + [rng.choice(alphabet) for _ in range(length - marks)]
    rng.shuffle(letters)
    return "".join(letters)


def pair_row(rng, number, *, votes=None):
    better, worse = text_of(rng, rng.randint(8, 14), 3), text_of(rng, rng.randint(8, 14), 0)
    return {"prompt": f"q{number}?", "chosen": better, "rejected": worse} | ({"votes": votes} if votes else {})


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def train(tmp_path, name="run", **settings):
    plan = plan_training("reward_model", preset="tiny-cpu", overrides={**QUICK, **settings})
    check_plan(plan)
    return trained(plan, tmp_path / name)


def last(run, key):
    return [row[key] for row in run.metrics() if key in row][-1]


# What is learnt


@pytest.mark.slow
def test_a_preference_that_can_be_learnt_is_recovered_and_one_that_cannot_is_not(tmp_path):
    rng = random.Random(1)
    rows = [pair_row(rng, number) for number in range(600)]
    learnt = train(tmp_path, data=write(tmp_path / "pairs.jsonl", rows), eval={"share": 0.3})
    assert last(learnt, "eval/accuracy") >= 0.9

    turned = [row if rng.random() < 0.5 else row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    shuffled = train(tmp_path, "control", data=write(tmp_path / "shuffled.jsonl", turned), eval={"share": 0.3})
    assert 0.35 < last(shuffled, "eval/accuracy") < 0.65


@pytest.mark.slow
def test_safety_labels_are_recovered_from_the_reasoning_too(tmp_path):
    rng = random.Random(2)
    rows = []
    for number in range(500):
        safe = rng.random() < 0.7
        thought = text_of(rng, 12, 0 if safe else 3)
        rows.append({"prompt": f"q{number}?", "completion": f"<think>{thought}</think>{text_of(rng, 6, 0)}", "safe": safe})
    data = write(tmp_path / "labels.jsonl", rows)
    whole = train(tmp_path, data=data, objective="pointwise", reads="completion", eval={"share": 0.3})
    assert last(whole, "eval/auc") >= 0.95
    summary = train(tmp_path, "summary", data=data, objective="pointwise", reads="response", eval={"share": 0.3})
    assert 0.3 < last(summary, "eval/auc") < 0.7

    model = RewardModel(str(whole.model_dir("reward_model")), "cpu")
    good, bad = model.score([(question("q1?"), f"<think>{t}</think>abc") for t in ("abcabcabcabc", "abczzabczabc")])
    assert bad < 0.5 < good


@pytest.mark.nightly
def test_balancing_takes_the_shortcut_over_length_away(tmp_path):
    """The better response was chosen in 85 % of the pairs, the longer one in 90 %: length tells more, until the pairs are balanced."""
    rng = random.Random(3)
    rows = []
    for number in range(2000):
        short, long = rng.randint(6, 8), rng.randint(18, 22)
        marks = (4, 0) if rng.random() < 0.85 else (0, 4)
        lengths = (long, short) if rng.random() < 0.9 else (short, long)
        chosen, rejected = (text_of(rng, *shape) for shape in zip(lengths, marks, strict=True))
        rows.append({"prompt": f"q{number}?", "chosen": chosen, "rejected": rejected})
    data = write(tmp_path / "pairs.jsonl", rows)
    by_length = {}  # what thirteen more letters are worth, in units of four good ones
    for balance in (True, False):
        run = train(tmp_path, f"run-{balance}", data=data, pairs={"balance_lengths": balance}, eval={"share": 0})
        by_length[balance] = gain(run, [(7, 2), (20, 2)]) / gain(run, [(13, 0), (13, 4)])
    assert by_length[False] > 0.1
    assert abs(by_length[True]) < 0.05


def gain(run, shapes):
    """By how much the second of two shapes of texts (length, marks) is rewarded more than the first, on the mean."""
    model = RewardModel(str(run.model_dir("reward_model")), "cpu")
    texts = [(question("q0?"), text_of(random.Random(n), *shape)) for n in range(30) for shape in shapes]
    rewards = np.array(model.rewards(texts)).reshape(30, 2)
    return float((rewards[:, 1] - rewards[:, 0]).mean())


# The folder


def test_a_run_that_was_interrupted_and_resumed_is_bit_for_bit_the_uninterrupted_one(tmp_path):
    rng = random.Random(4)
    data = write(tmp_path / "pairs.jsonl", [pair_row(rng, number) for number in range(40)])
    settings = {"steps": 6, "optim.batch_size": 8, "checkpoint.every": 2, "eval.every": 3, "eval.share": 0.3, "data": data}
    whole = train(tmp_path, "whole", **settings)
    plan = plan_training("reward_model", preset="tiny-cpu", overrides={**QUICK, **settings})
    resumed = interrupted(plan, tmp_path / "cut", at_step(5))
    execute(plan, resumed)
    folders = [str(r.model_dir("reward_model")) for r in (whole, resumed)]
    one, other = (load_reward_model(folder) for folder in folders)
    assert one.record == other.record
    assert_same_weights(other.loaded.model.state_dict(), one.loaded.model.state_dict())
    assert told(resumed) == told(whole)

    # transformers reads the folder as a classifier, and gives the same rewards
    theirs = AutoModelForSequenceClassification.from_pretrained(folders[0])
    ids = [encode(one.loaded.tokenizer, question(q), "abz") for q in ("q1?", "a longer question?")]
    with torch.no_grad():
        alone = [float(theirs(torch.tensor([sequence])).logits) for sequence in ids]
        ours = rewards_of(one.loaded, ids).tolist()
    assert ours == pytest.approx(alone, abs=1e-5)

    # in [0, 1], None where it is too long, and the same alone as in company, to the last bit
    model = RewardModel(folders[0], "cpu")
    items = [(question("q1?"), text) for text in ("zzz", "a", "a" * 300, "a" * 1_000_000, "lone \ud800", "")]
    scores = model.score(items)
    assert [score is None for score in scores] == [False, False, True, True, False, False]
    assert all(score is None or 0 <= score <= 1 for score in scores)
    assert [model.score([item])[0] for item in items] == scores


@pytest.fixture(scope="module")
def tiny():
    return load_model("tiny", seed=0)


def test_a_head_leaves_the_body_and_the_random_generator_as_they_were(tiny):
    before = torch.get_rng_state()
    one, other = (with_scalar_head(load_model("tiny", seed=0), device="cpu", seed=seed) for seed in (0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    body = tiny.model.base_model.state_dict()
    assert all(torch.equal(weight, body[name]) for name, weight in one.model.base_model.state_dict().items())
    assert one.model.score.weight.shape == (1, 128)
    assert not torch.equal(one.model.score.weight, other.model.score.weight)


def test_a_special_token_that_a_policy_spells_out_stays_text(tiny):
    eos = tiny.tokenizer.eos_token_id
    ids = encode(tiny.tokenizer, question("q?"), "a<eos>b")
    assert ids.count(eos) == 1
    assert ids[-1] == eos


def test_padding_changes_no_reward(tiny):
    loaded = with_scalar_head(load_model("tiny", seed=0), device="cpu", seed=0)
    ids = [encode(loaded.tokenizer, question("q?"), text) for text in ("a", "a much longer text")]
    with torch.no_grad():
        assert rewards_of(loaded, ids).tolist() == pytest.approx([float(rewards_of(loaded, [one])) for one in ids], abs=1e-5)


def test_a_folder_that_is_no_reward_model_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no reward model"):
        load_reward_model(tmp_path)


# Data and selection


def pair(chosen, rejected, *votes):
    return Pair(question("q"), chosen, rejected, votes)


def test_pairs_with_a_small_mean_vote_or_equal_responses_are_dropped_and_lost_votes_turn_a_pair():
    pairs = [
        pair("aa", "b", 2, 1, 1, 1),
        pair("aa", "b", 1, 1, 1, 1),
        pair("aa", "b", -2, -2, -1, -2),
        pair("aa", "aa", 2, 2),
        pair("aa", "b"),
    ]
    kept = select_pairs(pairs, 1.0, balance_lengths=False)
    assert kept == [pairs[0], pair("b", "aa", 2, 2, 1, 2), pairs[4]]


texts = st.text("ab", max_size=12)


@given(st.lists(st.tuples(texts, texts, st.lists(st.integers(-2, 2), max_size=4)), max_size=60))
def test_after_balancing_the_longer_response_is_chosen_as_often_as_the_shorter(rows):
    pairs = [pair(chosen, rejected, *votes) for chosen, rejected, votes in rows]
    kept, all_kept = select_pairs(pairs, 0.0), select_pairs(pairs, 0.0, balance_lengths=False)
    differences = [len(p.chosen) - len(p.rejected) for p in kept]
    assert sum(d > 0 for d in differences) == sum(d < 0 for d in differences)
    assert [p for p in all_kept if len(p.chosen) == len(p.rejected)] == [p for p in kept if len(p.chosen) == len(p.rejected)]
    remaining = iter(all_kept)
    assert all(any(p is other or p == other for other in remaining) for p in kept)  # a subset, in order


def test_of_the_more_frequent_kind_the_surest_pairs_stay():
    longer = [pair("aaaa", "b", vote) for vote in (1.5, 2, 1.2)]
    shorter = [pair("a", "bbbb", 1.1)]
    assert select_pairs([*longer, *shorter]) == [longer[1], *shorter]


def test_one_prompts_rows_are_never_on_both_sides():
    pairs = [Pair(question(f"q{n % 50}"), str(n), "x") for n in range(500)]
    train_side, heldout = split_by_prompt(pairs, 0.3, seed=0)
    assert not {p.prompt[0]["content"] for p in train_side} & {p.prompt[0]["content"] for p in heldout}
    assert len(train_side) + len(heldout) == 500
    assert 0.1 < len(heldout) / 500 < 0.5
    assert split_by_prompt(pairs, 0.3, seed=1)[1] != heldout


def test_a_pair_is_read_without_its_thinking_unless_the_model_is_to_read_it(tmp_path):
    data = write(
        tmp_path / "p.jsonl", [{"prompt": "q", "chosen": "<think>long thought</think>a", "rejected": "<think>b</think>c"}]
    )
    settings = {"model": "tiny", "data": data, "eval.share": 0, "pairs.balance_lengths": False}
    (summary,) = open_examples(RewardModelConfig(**settings)).train
    (whole,) = open_examples(RewardModelConfig(**settings, reads="completion")).train
    assert (summary.chosen, summary.rejected) == ("a", "c")
    assert whole.chosen == "<think>long thought</think>a"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"prompt": "q", "chosen": "a"}, "line 1: no column 'rejected'"),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "prompt"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "votes": ["x"]}, "votes"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "no row is left to train on"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path, row, complaint):
    with pytest.raises(UsageError, match=complaint):
        open_examples(RewardModelConfig(model="tiny", data=write(tmp_path / "p.jsonl", [row])))


# Formulas


def test_the_pairwise_loss_is_bradley_terrys_with_a_margin():
    chosen, rejected, margin = torch.tensor([2.0, 0.0]), torch.tensor([0.5, 1.0]), torch.tensor([0.0, 1.0])
    expected = [-math.log(1 / (1 + math.exp(-x))) for x in (1.5, -2.0)]
    assert pairwise_loss(chosen, rejected, margin).tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.isfinite(pairwise_loss(torch.tensor([-1e4]), torch.tensor([1e4]), torch.zeros(1))).all()


def test_the_pointwise_loss_is_cross_entropy():
    expected = [-math.log(1 / (1 + math.exp(-2.0))), -math.log(1 - 1 / (1 + math.exp(-2.0)))]
    assert pointwise_loss(torch.tensor([2.0, 2.0]), torch.tensor([1.0, 0.0])).tolist() == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=30))
def test_the_auc_is_the_chance_that_a_positive_beats_a_negative(items):
    positives = [value for value, label in items if label]
    negatives = [value for value, label in items if not label]
    found = auc([value for value, _ in items], [label for _, label in items])
    if not positives or not negatives:
        assert math.isnan(found)
    else:
        wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p, n in itertools.product(positives, negatives)]
        assert found == pytest.approx(sum(wins) / len(wins))


def test_a_tie_is_half_a_pair_and_no_pairs_have_no_accuracy():
    assert pair_accuracy([1.0, 0.0, -1.0, 2.0]) == 0.625
    assert math.isnan(pair_accuracy([]))


def test_a_reward_model_whose_texts_end_with_the_pad_token_is_read_right_by_transformers(tmp_path):
    causal = load_model("tiny")
    causal.tokenizer.pad_token = causal.tokenizer.eos_token
    loaded = with_scalar_head(causal, device="cpu", seed=1)
    loaded.model.save_pretrained(tmp_path)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    ids = encode(loaded.tokenizer, question("q?"), "abc")
    with torch.no_grad():
        assert theirs(input_ids=torch.tensor([ids])).logits.item() == pytest.approx(rewards_of(loaded, [ids]).item(), abs=1e-6)
        with pytest.raises(ValueError, match="padding token"):
            theirs(input_ids=torch.tensor([ids, ids]))


def test_labels_of_one_kind_are_refused(tmp_path):
    rows = [{"prompt": "q?", "completion": f"{n}", "safe": True} for n in range(8)]
    config = RewardModelConfig(model="tiny", data=write(tmp_path / "l.jsonl", rows), objective="pointwise")
    with pytest.raises(UsageError, match="every row is labelled safe, so there is nothing to tell apart"):
        open_examples(config)


def test_how_many_pairs_the_selection_keeps_is_said(tmp_path):
    rows = [{"prompt": f"q{n}?", "chosen": "long answer", "rejected": "no"} for n in range(8)]
    rows += [{"prompt": f"r{n}?", "chosen": "yes", "rejected": "not"} for n in range(8)]
    config = RewardModelConfig(model="tiny", data=write(tmp_path / "p.jsonl", rows), eval={"share": 0})
    (fact,) = open_examples(config).facts
    assert fact == "8 of 16 pairs are selected (pairs.min_margin, pairs.balance_lengths)"
    with pytest.raises(UsageError, match=r"lower pairs\.min_margin or eval\.share, set pairs\.balance_lengths=false"):
        open_examples(config.model_copy(update={"data": write(tmp_path / "one.jsonl", rows[:8])}))
