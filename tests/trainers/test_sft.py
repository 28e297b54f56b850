"""Supervised fine-tuning: what is learnt from, and what the loss sees."""

from __future__ import annotations

import json
import math

import pytest
import torch

from r1env.errors import UsageError
from r1env_trainers.model.load import load_model
from r1env_trainers.model.session import learning_rate
from r1env_trainers.sft.config import SFTConfig
from r1env_trainers.sft.data import encode_within, open_demonstrations
from r1env_trainers.sft.loop import make_batch, response_loss
from r1env_trainers.sft.render import Demonstration, encode


@pytest.fixture(scope="module")
def loaded():
    torch.set_num_threads(1)
    return load_model("tiny", seed=0)


def pairs(loaded, *texts):
    encoded = [encode(demonstration(p, r), loaded.tokenizer) for p, r in texts]
    return [(one.prompt, one.response) for one in encoded]


def demonstration(prompt, response):
    return Demonstration(({"role": "user", "content": prompt},), {"role": "assistant", "content": response})


def test_the_loss_counts_the_response_and_its_end_and_nothing_else(loaded):
    (prompt, response), *_ = batch_pairs = pairs(loaded, ("s4071?", "0147"), ("s9?", "9"))
    assert response[-1] == loaded.tokenizer.eos_token_id
    assert len(response) == 5
    tokens = sum(len(r) for _, r in batch_pairs)
    loss = response_loss(loaded.model, make_batch(batch_pairs, loaded.tokenizer.pad_token_id, loaded.device), tokens)
    by_hand = 0.0
    for prompt, response in batch_pairs:
        with torch.no_grad():
            logits = loaded.model(torch.tensor([[*prompt, *response]])).logits[0].log_softmax(-1)
        by_hand -= sum(float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(response))
    assert float(loss.detach()) == pytest.approx(by_hand / tokens, abs=1e-5)


def test_padding_changes_no_loss(loaded):
    short = pairs(loaded, ("s1?", "1"))
    both = pairs(loaded, ("s1?", "1"), ("s40718?", "<think></think><answer>01478</answer>"))
    pad = loaded.tokenizer.pad_token_id
    alone = float(response_loss(loaded.model, make_batch(short, pad, loaded.device), 1))
    longer = float(response_loss(loaded.model, make_batch(both[1:], pad, loaded.device), 1))
    together = float(response_loss(loaded.model, make_batch(both, pad, loaded.device), 1))
    assert together == pytest.approx(alone + longer, abs=1e-3)


def test_a_demonstration_that_is_too_long_is_refused_not_cut(loaded):
    config = SFTConfig(model="tiny", data="d", max_length=10)
    with pytest.raises(UsageError, match="11 tokens, more than max_length 10"):
        encode_within(demonstration("s4071?", "0147"), loaded.tokenizer, config)
    cut = encode_within(demonstration("s4071?", "0147"), loaded.tokenizer, config.updated({"too_long": "truncate"}))
    assert loaded.tokenizer.decode(cut.response) == "0147"  # without the end, which would teach to stop here


def test_a_file_is_walked_in_a_new_order_each_epoch_and_the_same_one_each_time(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"{i}?", "completion": str(i)}) for i in range(8)))
    config = SFTConfig(model="tiny", data=str(path), seed=3)
    first, again = open_demonstrations(config), open_demonstrations(config)
    epochs = [[first.at(epoch * 8 + i).response["content"] for i in range(8)] for epoch in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [[str(i) for i in range(8)]] * 2
    assert epochs[0] != epochs[1]
    assert [again.at(i).response["content"] for i in range(8)] == epochs[0]


def test_chat_rows_keep_their_conversation(tmp_path):
    path = tmp_path / "data.jsonl"
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path.write_text(json.dumps({"messages": messages}))
    demonstration = open_demonstrations(SFTConfig(model="tiny", data=str(path))).at(0)
    assert demonstration == Demonstration(tuple(messages[:2]), messages[2], where=f"{path}, line 1")


@pytest.mark.parametrize(
    "row", [{}, {"prompt": "q"}, {"messages": [{"role": "user", "content": "q"}]}, {"prompt": 1, "completion": "a"}]
)
def test_a_row_that_is_no_demonstration_is_named(tmp_path, row):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"prompt": "q", "completion": "a"}) + "\n" + json.dumps(row))
    with pytest.raises(UsageError, match="line 2: "):
        open_demonstrations(SFTConfig(model="tiny", data=str(path)))


def test_demonstrations_come_from_one_place():
    for settings in ({}, {"data": "x", "env": "sort-4"}, {"env": "sort-4"}):
        with pytest.raises(ValueError, match=r"give either data|needs a demonstrator"):
            SFTConfig(model="tiny", **settings)


def test_the_base_model_of_the_demo_is_right_only_by_chance():
    config = SFTConfig(**SFTConfig.presets["tiny-cpu"].settings)
    demonstrations = open_demonstrations(config)
    shown = [demonstrations.at(i) for i in range(400)]
    digits = [(d.prompt[0]["content"][1:5], d.response["content"].removeprefix("<think></think><answer>")[:4]) for d in shown]
    assert all(sorted(question) == sorted(answer) for question, answer in digits)
    right = sum("".join(sorted(question)) == answer for question, answer in digits) / len(digits)
    assert 0.01 < right < 0.15  # 1/24, more where digits repeat


def test_the_learning_rate_warms_up_and_falls_to_its_floor():
    def rate(step, schedule="cosine"):
        return learning_rate(step, peak=1.0, warmup=4, total=14, schedule=schedule, floor=0.1)

    assert [rate(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert rate(4) == pytest.approx(1.0)
    assert 0.1 < rate(13) < 0.15  # the floor is one update behind the last
    assert rate(14) == pytest.approx(0.1)
    assert rate(99) == pytest.approx(0.1)
    assert rate(9, "constant") == 1.0
    assert rate(4, "linear") == pytest.approx(1.0)
    assert all(
        math.isfinite(learning_rate(0, peak=1.0, warmup=0, total=1, schedule=s)) for s in ("linear", "cosine", "constant")
    )
