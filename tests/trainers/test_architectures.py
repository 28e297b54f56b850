"""What a trainer computes of a batch is what the model computes of each row alone, for every architecture of docs/models.md."""

from pathlib import Path

import pytest
import torch
from tiny_architectures import ATTENTION, HYBRID, VOCABULARY, build
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from r1env.envs.suite import make_suite
from r1env.rewards import reward
from r1env.rubrics import RubricSpec
from r1env_trainers.generate.engine import LocalEngine, Sampler
from r1env_trainers.model.batching import left_pad
from r1env_trainers.model.checkpoint import save_model
from r1env_trainers.model.llama import is_llama
from r1env_trainers.model.load import LoadedModel, load_model
from r1env_trainers.model.logprobs import (
    TokenBatch,
    completion_logprobs,
    completion_logprobs_and_entropies,
    has_plain_head,
    padded_logprobs,
)
from r1env_trainers.model.session import make_optimizer
from r1env_trainers.model.tiny import build_tokenizer
from r1env_trainers.rl.config import GRPOConfig
from r1env_trainers.rl.rollouts import collect
from r1env_trainers.rl.update import update

LENGTHS = [(40, 20), (3, 4), (5, 30), (25, 1)]  # of prompts and completions: far beyond the sliding windows


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def make_batch() -> TokenBatch:
    generator = torch.Generator().manual_seed(1)
    draw = lambda n: torch.randint(3, VOCABULARY, (n,), generator=generator).tolist()  # noqa: E731
    rows = [(draw(prompt), draw(completion)) for prompt, completion in LENGTHS]
    prompt_ids, prompt_mask = left_pad([prompt for prompt, _ in rows], 0, torch.device("cpu"))
    width = max(length for _, length in LENGTHS)
    ids, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width)
    for row, (_, completion) in enumerate(rows):
        ids[row, : len(completion)] = torch.tensor(completion)
        mask[row, : len(completion)] = 1
    return TokenBatch(prompt_ids, prompt_mask, ids, mask)


def alone(model, batch: TokenBatch, row: int) -> torch.Tensor:
    """The log-probs of a row by the model itself: no padding, no mask, no helper of the trainers."""
    prompt, completion = LENGTHS[row]
    ids = torch.cat([batch.prompt_ids[row, -prompt:], batch.completion_ids[row, :completion]])
    logprobs = model(input_ids=ids[None], use_cache=False).logits[0].log_softmax(-1)
    return logprobs[prompt - 1 : -1].gather(1, ids[prompt:, None]).squeeze(1)


@pytest.mark.parametrize("name", [*ATTENTION, *HYBRID])
def test_rows_of_a_batch_have_the_log_probs_and_gradients_they_have_alone(name):
    model, batch = build(name), make_batch()
    together = completion_logprobs(model, batch)
    assert bool((together[batch.completion_mask == 0] == 0).all())
    (-together.sum()).backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    assert gradients
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())
    model.zero_grad(set_to_none=True)
    loss = torch.zeros(())
    for row, (_, length) in enumerate(LENGTHS):
        expected = alone(model, batch, row)
        torch.testing.assert_close(together[row, :length], expected, atol=2e-4, rtol=1e-4)
        loss = loss - expected.sum()
    loss.backward()
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            assert (gradients[name] - weight.grad).norm() <= 1e-3 * (weight.grad.norm() + 1), name


@pytest.mark.parametrize("name", ["gemma3_text", "gemma2", "phi", "gpt2", "llama"])
def test_a_head_is_multiplied_in_chunks_only_where_it_is_nothing_but_a_product(name):
    model, batch = build(name), make_batch()
    assert has_plain_head(model) is (name not in ("gemma2", "phi"))  # a cap; a bias
    with torch.no_grad():
        expected = padded_logprobs(model, batch, 0.7)
        logprobs, entropies = completion_logprobs_and_entropies(model, batch, 0.7)
    torch.testing.assert_close(logprobs, expected, atol=2e-4, rtol=1e-4)
    assert bool((entropies[batch.completion_mask > 0] > 0).all())


def nan_where_nothing_is_seen(module, query, key, value, attention_mask, scaling=None, **_):
    """Attention as some kernels compute it: softmax over scores that are all minus infinity is NaN."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is None:
        attention_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    weights = scores.masked_fill(~attention_mask, -torch.inf).softmax(dim=-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


@pytest.mark.parametrize("name", ["gemma3_text", "gemma2", "mistral", "phi3"])
def test_no_token_of_a_batch_sees_nothing(name):
    AttentionInterface.register("nan_where_nothing_is_seen", nan_where_nothing_is_seen)
    AttentionMaskInterface.register("nan_where_nothing_is_seen", ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model, batch = build(name), make_batch()
    model.set_attn_implementation("nan_where_nothing_is_seen")
    # The control: with padding on the left such a kernel breaks every gradient, though the log-probs asked for may be finite.
    mask = torch.cat([batch.prompt_mask, batch.present.long()], dim=1)
    ids = torch.cat([batch.prompt_ids, batch.completion_ids], dim=1)
    model(input_ids=ids, attention_mask=mask, use_cache=False).logits[mask > 0].sum().backward()
    assert any(not bool(weight.grad.isfinite().all()) for weight in model.parameters() if weight.grad is not None)
    model.zero_grad(set_to_none=True)
    logprobs = completion_logprobs(model, batch)
    logprobs.sum().backward()
    assert bool(logprobs.isfinite().all())
    assert all(bool(weight.grad.isfinite().all()) for weight in model.parameters() if weight.grad is not None)


# The whole way of a model through a trainer: sampled, trained, saved and loaded.


@reward(name="many")
def many(completion):
    return len(completion) / 50


def config_of(name):
    return GRPOConfig(
        model=name,
        env="sort-4",
        env_options={"style": "compact"},
        rubric={"name": "many", "rewards": [{"reward": f"{__name__}:many"}]},
        sampling={"prompts_per_step": 3, "group_size": 3, "max_new_tokens": 8},
        optim={"lr": 1e-3, "warmup_steps": 0},
    )


@pytest.mark.parametrize("name", [*ATTENTION, *HYBRID])
def test_a_model_is_sampled_trained_saved_and_loaded(name, tmp_path):
    loaded = LoadedModel(build(name), build_tokenizer())
    config = config_of(name)
    suite = make_suite("guess-number", rubric=RubricSpec.model_validate(config.rubric), split="train", style="compact")
    experience = collect(suite, loaded, LocalEngine(Sampler(loaded)), config, 0)
    assert len(set(experience.tokens.lengths.tolist())) > 1  # rows of unequal length, some of which end early
    before = {key: weight.detach().clone() for key, weight in loaded.model.named_parameters()}
    found = update(loaded, make_optimizer(loaded, config), experience, config, 0)
    assert found["logprob_gap"] < 1e-5
    assert found["updates"] == 1
    assert found["grad_norm"] > 0
    assert any(not torch.equal(weight, before[key]) for key, weight in loaded.model.named_parameters())
    save_model(tmp_path / "model", loaded)
    again = load_model(str(tmp_path / "model"))
    assert type(again.model) is type(loaded.model)
    batch = experience.tokens
    with torch.no_grad():
        torch.testing.assert_close(
            completion_logprobs(again.model, batch), completion_logprobs(loaded.model, batch), atol=1e-6, rtol=0
        )


def test_the_page_of_models_lists_those_that_are_tested_and_says_how_each_is_computed():
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(row[0] for row in rows) == sorted(f"`{name}`" for name in [*ATTENTION, *HYBRID])
    for cell, logprobs, sampled in rows:
        name = cell.strip("`")
        model = build(name)
        assert ("packed" in logprobs) is is_llama(model)
        assert ("all logits" in logprobs) is not (is_llama(model) or has_plain_head(model))
        assert ("a prefill for each" in sampled) is (name in HYBRID)
