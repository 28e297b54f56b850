"""Direct preference optimization: the loss of the paper and of TRL, pairs as reward models read them, training that resumes."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_runs import assert_bit_for_bit, at_step, interrupted, trained

from r1env.errors import UsageError
from r1env.preflight import PreflightError
from r1env.recipes import check_plan, execute, plan_training
from r1env_trainers.dpo import loop
from r1env_trainers.dpo.config import DPOConfig
from r1env_trainers.dpo.loop import dpo_loss
from r1env_trainers.model.load import load_model
from r1env_trainers.model.tiny import build_tokenizer
from r1env_trainers.reward_model.data import Pair


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def pair_file(path, count=40, *extra):
    rows = [{"prompt": f"s{n}?", "chosen": "".join(sorted(str(n))), "rejected": f"{n}0"} for n in range(1000, 1000 + count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *extra]))
    return str(path)


def plan(data, **settings):
    planned = plan_training("dpo", preset="tiny-cpu", overrides={"data": data, "checkpoint.every": 0, **settings})
    check_plan(planned)
    return planned


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=8),
    st.floats(0.01, 5),
    st.floats(0, 0.49),
)
def test_the_loss_is_that_of_the_paper(advantages, beta, smoothing):
    def bce(x):  # -log σ(x), stable
        return math.log1p(math.exp(-abs(x))) + max(-x, 0.0)

    found = dpo_loss(torch.tensor(advantages, dtype=torch.float64), beta, smoothing)
    expected = [(1 - smoothing) * bce(beta * a) + smoothing * bce(-beta * a) for a in advantages]
    assert found.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


ROWS = [Pair(({"role": "user", "content": f"s{n}?"},), "".join(sorted(str(n))), f"{n}0{n}") for n in (4071, 53, 918, 7)]


def losses_of(reference, **algo):
    """The loss of one batch under a policy that is not the reference."""
    policy = load_model("tiny", seed=1)
    config = DPOConfig(model="tiny", data="d", algo=algo)
    sides = [loop._sides(pair, policy.tokenizer, config) for pair in ROWS]
    return loop._measure(policy, reference, sides, config)


def test_the_loss_of_a_batch_is_trl_s_to_a_millionth(tmp_path):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    ours = losses_of(load_model("tiny", seed=0), beta=0.3)
    policy, reference = load_model("tiny", seed=1), load_model("tiny", seed=0)
    rows = [{"prompt": pair.prompt[0]["content"], "chosen": pair.chosen, "rejected": pair.rejected} for pair in ROWS]
    arguments = trl.DPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=len(rows),
        beta=0.3,
        loss_type=["sigmoid"],
        max_steps=1,
        report_to=[],
        use_cpu=True,
        gradient_checkpointing=False,
        bf16=False,
        disable_tqdm=True,
    )
    trainer = trl.DPOTrainer(
        model=policy.model,
        ref_model=reference.model,
        args=arguments,
        processing_class=policy.tokenizer,
        train_dataset=datasets.Dataset.from_list(rows),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    policy.model.eval()
    with torch.no_grad():
        theirs = float(trainer._compute_loss(policy.model, batch, return_outputs=False))
    assert ours["loss"] == pytest.approx(theirs, abs=1e-6)


def test_without_a_reference_the_policy_s_own_preferences_count():
    free = losses_of(None, reference_free=True, beta=0.3)
    policy = load_model("tiny", seed=1)
    own = losses_of(policy, beta=0.3)
    assert own["loss"] == pytest.approx(math.log(2), abs=1e-6)  # the policy is the reference
    assert own["accuracy"] == 0.5
    assert abs(free["loss"] - math.log(2)) > 1e-3


def test_it_learns_what_is_preferred_and_the_model_that_it_leaves_loads(tmp_path):
    run = trained(plan(pair_file(tmp_path / "p.jsonl", 80)), tmp_path / "run")
    first, last = run.metrics()[0], run.metrics()[-1]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert last["eval/accuracy"] > 0.9
    assert last["eval/loss"] < 0.5
    assert last["rewards/chosen"] > last["rewards/rejected"]
    load_model(str(run.model_dir("dpo")))


def test_a_run_resumes_bit_for_bit(tmp_path):
    planned = plan(pair_file(tmp_path / "p.jsonl"), steps=6, **{"checkpoint.every": 2, "eval.share": 0})
    whole = trained(planned, tmp_path / "whole")
    resumed = interrupted(planned, tmp_path / "broken", at_step(5))
    execute(planned, resumed)
    assert_bit_for_bit(resumed, whole, "dpo")


LONG = {"prompt": "s1?", "chosen": "1", "rejected": "2" * 300}


def test_a_pair_with_a_long_side_stops_the_run_or_is_left_out_whole(tmp_path, caplog):
    data = pair_file(tmp_path / "p.jsonl", 10, LONG)
    with pytest.raises(PreflightError, match=r"1 of 22 are too long, the first: .*p\.jsonl, line 11: 30\d tokens"):
        trained(plan(data, steps=1), tmp_path / "refused")
    config = DPOConfig(model="tiny", data=data, max_length=256, too_long="skip")
    kept = loop.prepare_pairs(loop._pairs_in(data, config), data, build_tokenizer(), config)
    assert len(kept) == 10
    assert "1 of 22 are too long" in caplog.text


def test_judged_pairs_are_turned_and_chosen_by_their_votes(tmp_path):
    judged = {"prompt": "1?", "chosen": "a", "rejected": "b"}
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(json.dumps({**judged, "votes": votes}) for votes in ([2, 2], [-1, -1], [0, 0])))
    pairs = loop._pairs_in(str(path), DPOConfig(model="tiny", data=str(path)))
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [("a", "b"), ("b", "a")]
    with pytest.raises(UsageError, match="no pair is left to learn from; lower min_margin"):
        loop._pairs_in(str(path), DPOConfig(model="tiny", data=str(path), min_margin=2))


def test_epochs_are_turned_into_steps(tmp_path):
    data = pair_file(tmp_path / "p.jsonl", 10)
    run = trained(plan(data, epochs=2, **{"optim.batch_size": 4, "eval.share": 0}), tmp_path / "run")
    assert len(run.metrics()) == 5


def test_pairs_that_differ_only_beyond_max_length_are_left_out(tmp_path, caplog):
    same = {"prompt": "1?", "chosen": "7" * 100 + "1", "rejected": "7" * 100 + "2"}
    config = DPOConfig(
        model="tiny", data=pair_file(tmp_path / "p.jsonl", 10, same), max_length=64, too_long="truncate", eval={"share": 0}
    )
    train, _ = loop._open(config, build_tokenizer())
    assert len(train) == 10
    assert "1 pairs are left out, since their responses are the same tokens" in caplog.text


def test_pairs_that_are_repeated_or_contradicted_are_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    one, other = ({"prompt": "1?", "chosen": a, "rejected": b} for a, b in ("xy", "yx"))
    config = DPOConfig(model="tiny", data=pair_file(tmp_path / "p.jsonl", 10, one, one, other), max_length=64)
    loop._open(config, build_tokenizer())
    assert "1 pairs repeat an earlier one; 3 pairs are also there the other way round" in caplog.text
