"""The light forward pass of Llama-shaped models against transformers' own, and how a model that does not fit is noticed."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from r1env_trainers.model import logprobs as forward_module
from r1env_trainers.model.attention import Packing, pack_prompts_once
from r1env_trainers.model.llama import compiled, is_llama, obstacle
from r1env_trainers.model.logprobs import TokenBatch, completion_logprobs, micro_batches_of, packed_logprobs, padded_logprobs

SIZES = {
    "vocab_size": 60,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,  # large, so that mistakes show
}
LLAMA3_ROTARY = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
GEMMA = {
    "num_hidden_layers": 3,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "sliding_window": 5,  # shorter than the sequences of the tests
    "query_pre_attn_scalar": 20,
    "tie_word_embeddings": True,
}
GPT2 = GPT2Config(vocab_size=60, n_embd=32, n_layer=1, n_head=2)
Forward = Callable[[PreTrainedModel, TokenBatch, float], Tensor]
FITTING = {
    "llama": LlamaConfig(**SIZES),
    "llama-tied": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "llama3-rotary": LlamaConfig(**SIZES, rope_parameters=LLAMA3_ROTARY),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES),
    "mistral": MistralConfig(**SIZES, sliding_window=None),
    "gemma3": Gemma3TextConfig(**(SIZES | GEMMA)),
}


def make(config: PretrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms start at one and biases at zero, where a forgotten one would not show
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@functools.cache
def one_llama() -> PreTrainedModel:
    torch.set_num_threads(1)
    return make(FITTING["llama"])


@pytest.fixture(params=FITTING)
def model(request):
    torch.set_num_threads(1)
    return make(FITTING[request.param])


def make_batch(prompts: list[int], completions: list[int], seed: int = 0) -> TokenBatch:
    """Random tokens of these lengths, prompts padded on the left, completions on the right."""
    generator = torch.Generator().manual_seed(seed)
    rows, longest, length = len(prompts), max(prompts), max(completions)
    prompt_mask = (torch.arange(longest) >= longest - torch.tensor(prompts)[:, None]).long()
    completion_mask = (torch.arange(length) < torch.tensor(completions)[:, None]).float()
    draw = lambda columns: torch.randint(3, 60, (rows, columns), generator=generator)  # noqa: E731
    return TokenBatch(draw(longest) * prompt_mask, prompt_mask, draw(length), completion_mask)


def test_log_probs_and_gradients_are_those_of_transformers(model):
    assert is_llama(model)
    assert_agree(model, make_batch([7, 1, 4], [9, 3, 1]))


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=5))
@settings(max_examples=25)
def test_what_stands_beside_a_sequence_changes_nothing(lengths):
    model = one_llama()
    prompts, completions = [p for p, _ in lengths], [max(1, c) if i == 0 else c for i, (_, c) in enumerate(lengths)]
    batch = make_batch(prompts, completions)
    with torch.no_grad():
        together = completion_logprobs(model, batch)
        for row in range(len(lengths)):
            alone = completion_logprobs(model, batch.select(torch.tensor([row])))
            assert torch.allclose(together[row, : alone.shape[1]], alone[0], atol=1e-4)
    assert (together[batch.completion_mask == 0] == 0).all()


def share_prompts(batch: TokenBatch, prompts: list[int]) -> TokenBatch:
    """The batch with each row's prompt taken from row `prompts[row]`."""
    return TokenBatch(
        batch.prompt_ids[prompts], batch.prompt_mask[prompts], batch.completion_ids, batch.completion_mask, batch.context_mask
    )


def gradients_of(forward: Forward, model: PreTrainedModel, batch: TokenBatch) -> tuple[Tensor, list[Tensor]]:
    """Log-probs, and the gradients of a sum in which each of them weighs something else."""
    weights = torch.randn(batch.completion_ids.shape, generator=torch.Generator().manual_seed(1))
    model.zero_grad()
    logprobs = forward(model, batch, 0.7)
    (logprobs * weights).sum().backward()
    return logprobs.detach(), [parameter.grad for parameter in model.parameters()]


def assert_agree(model: PreTrainedModel, batch: TokenBatch) -> None:
    (ours, our_gradients), (theirs, their_gradients) = (
        gradients_of(forward, model, batch) for forward in (packed_logprobs, padded_logprobs)
    )
    assert torch.allclose(ours, theirs, atol=1e-4)
    for mine, other in zip(our_gradients, their_gradients, strict=True):
        # As near as transformers' own in float32 are to those in float64; of a token that is all but certain 1 - p is mostly rounding.
        assert (mine - other).norm() <= 1e-4 * (other.norm() + 1)


def test_layers_that_are_computed_again_have_the_same_gradients(model, monkeypatch):
    monkeypatch.setattr("r1env_trainers.model.llama.recomputes", lambda model, tokens: True)
    assert_agree(model, make_batch([7, 1, 4], [9, 3, 1]))


# A mini-batch in passes: their gradients add up to its own, whatever their sizes.

UNEVEN = make_batch([7, 6, 4, 3, 2, 1], [9, 8, 8, 7, 3, 1])
SPLITS = {"even": [[0, 1, 2], [3, 4, 5]], "a small second one": [[0, 1, 2, 3, 4], [5]], "three": [[0], [1, 2, 3, 4], [5]]}
ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 0.25}
"""How far gradients may lie from those in float64, relative to their norm. A gradient that was never written lies further."""


def accumulated(model: PreTrainedModel, batch: TokenBatch, passes: list[list[int]]) -> list[Tensor]:
    """The gradients that several backward passes leave, as a trainer takes them."""
    weights = torch.randn(batch.completion_ids.shape, generator=torch.Generator().manual_seed(1))
    model.zero_grad(set_to_none=True)
    for rows in passes:
        part = batch.select(torch.tensor(rows))
        logprobs = completion_logprobs(model, part, 0.7)
        (logprobs * weights[rows, : logprobs.shape[1]]).sum().backward()
    return [parameter.grad for parameter in model.parameters()]


@functools.cache
def exact_gradients(name: str) -> list[Tensor]:
    """Those of transformers in float64, of all rows in one pass."""
    model = make(FITTING[name]).double()
    weights = torch.randn(UNEVEN.completion_ids.shape, generator=torch.Generator().manual_seed(1))
    (padded_logprobs(model, UNEVEN, 0.7) * weights).sum().backward()
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("again", [False, True], ids=["kept", "computed again"])
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("passes", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("name", ["llama-tied", "qwen3", "gemma3"])
def test_the_gradients_of_unequal_passes_add_up_to_those_of_one(name, passes, dtype, again, monkeypatch):
    model = make(FITTING[name])
    assert is_llama(model)
    monkeypatch.setattr("r1env_trainers.model.llama.recomputes", lambda model, tokens: again)
    monkeypatch.setattr("r1env_trainers.model.llama.compute_dtype", lambda device: dtype)
    for found, exact in zip(accumulated(model, UNEVEN, passes), exact_gradients(name), strict=True):
        assert (found - exact).norm() <= ROUNDING[dtype] * (exact.norm() + 1)


def test_memory_that_was_never_written_does_not_reach_the_gradients(monkeypatch):
    """Buffers that are made without being filled hold what was there before, here the largest numbers there are."""
    model, expected = make(FITTING["gemma3"]), exact_gradients("gemma3")
    assert is_llama(model)
    plain, like, new = torch.empty, torch.empty_like, Tensor.new_empty
    filled = lambda made: made.fill_(1e30) if made.is_floating_point() else made  # noqa: E731
    monkeypatch.setattr(torch, "empty", lambda *sizes, **named: filled(plain(*sizes, **named)))
    monkeypatch.setattr(torch, "empty_like", lambda *sizes, **named: filled(like(*sizes, **named)))
    monkeypatch.setattr(Tensor, "new_empty", lambda *sizes, **named: filled(new(*sizes, **named)))
    monkeypatch.setattr("r1env_trainers.model.logprobs.keeps_logits", lambda hidden, head: False)
    for found, exact in zip(accumulated(model, UNEVEN, SPLITS["a small second one"]), expected, strict=True):
        assert (found - exact).norm() <= 1e-4 * (exact.norm() + 1)


def test_layers_are_compiled_without_the_kernels_that_leave_gradients_unwritten(monkeypatch):
    asked: dict[str, object] = {}
    monkeypatch.setattr(torch, "compile", lambda function, options: asked.update(options or {}))
    compiled(one_llama)
    assert asked == {"triton.mix_order_reduction": False} or torch.__version__ < "2.10"


def test_prompts_that_rows_share_change_neither_log_probs_nor_gradients(model):
    batch = make_batch([7, 3, 7, 5, 3, 7], [9, 3, 1, 4, 6, 2])
    assert_agree(model, share_prompts(batch, [0, 1, 0, 3, 1, 0]))  # groups of three, of two and of one, in any order


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=6), st.data())
@settings(max_examples=25)
def test_whatever_is_shared_the_numbers_are_those_of_transformers(rows, data):
    prompts, sources, completions = map(list, zip(*rows, strict=True))
    batch = make_batch(prompts, [max(1, completions[0]), *completions[1:]])
    reading = st.lists(st.booleans(), min_size=batch.completion_ids.shape[1], max_size=batch.completion_ids.shape[1])
    context = torch.tensor([data.draw(reading) for _ in prompts]) & batch.present  # an environment's turns
    mask = batch.completion_mask * ~context
    batch = TokenBatch(batch.prompt_ids, batch.prompt_mask, batch.completion_ids, mask, context)
    assert_agree(one_llama(), share_prompts(batch, [source % len(prompts) for source in sources]))


def test_a_shared_prompt_goes_through_the_model_once(monkeypatch):
    tokens: list[int] = []
    hidden_states = forward_module.packed_hidden_states
    monkeypatch.setattr(
        forward_module,
        "packed_hidden_states",
        lambda model, ids, packing: tokens.append(len(ids)) or hidden_states(model, ids, packing),
    )
    apart = make_batch([7, 7, 4], [2, 3, 5])
    packed_logprobs(one_llama(), apart, 1.0)
    packed_logprobs(one_llama(), share_prompts(apart, [0, 0, 2]), 1.0)
    assert tokens == [7 + 2 + 7 + 3 + 4 + 5, 7 + 2 + 3 + 4 + 5]


def test_prompts_are_the_same_by_their_tokens_not_by_what_pads_them():
    ids = torch.tensor([[9, 5, 6], [8, 5, 6], [8, 5, 6], [5, 6, 5]])
    mask = torch.tensor([[0, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]])
    assert TokenBatch(ids, mask, ids, mask.float()).prompt_numbers() == [0, 0, 1, 2]


def test_rows_of_one_prompt_stay_in_one_micro_batch():
    batch = share_prompts(make_batch([3] * 6, [9, 8, 7, 6, 5, 4]), [0, 1, 2, 0, 1, 2])
    assert micro_batches_of(batch, one_llama(), 2) == [[0, 3], [1, 4], [2, 5]]
    assert micro_batches_of(batch, make(GPT2), 2) == [[0, 1], [2, 3], [4, 5]]  # by length, where nothing is shared


def test_rows_with_a_shared_prompt_go_on_from_one_copy_of_it():
    packing, places = pack_prompts_once([2, 1, 2], [3, 2, 1], [0, 1, 0], torch.device("cpu"))
    assert packing.starts.tolist() == [0, 2, 5]
    assert packing.positions.tolist() == [0, 1, 0, 1, 2, 2, 3, 4, 2]
    assert places.tolist() == [0, 1, 5, 6, 7, 2, 3, 4, 0, 1, 8]
    assert packing.context == 5


def test_a_packing_numbers_the_tokens_of_each_sequence_from_zero():
    packing = Packing.of([2, 3], torch.device("cpu"))
    assert packing.starts.tolist() == [0, 2, 5]
    assert packing.positions.tolist() == [0, 1, 0, 1, 2]
    assert (packing.longest, packing.sequences) == (3, 2)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (GPT2, "GPT2LMHeadModel is not one of"),
        (MistralConfig(**SIZES, sliding_window=32), "a sliding window of 32"),
        (Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=32), "a sliding window of 32"),
        (LlamaConfig(**SIZES, hidden_act="gelu"), "activation 'gelu'"),
        (LlamaConfig(**SIZES, attention_bias=True), "biases outside"),
        (LlamaConfig(**SIZES, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}), "rotary embedding"),
    ],
)
def test_a_model_that_does_not_fit_is_left_to_transformers(config, reason):
    model = make(config)
    assert reason in obstacle(model)
    batch = make_batch([3, 2], [2, 4])
    with torch.no_grad():
        torch.testing.assert_close(completion_logprobs(model, batch), padded_logprobs(model, batch, 1.0), atol=1e-5, rtol=1e-5)


def test_a_wrapped_projection_is_left_to_transformers():
    class Adapter(nn.Linear):
        """As adapters do: a Linear that computes more."""

    model = make(FITTING["llama"])
    model.model.layers[1].mlp.down_proj = Adapter(96, 64, bias=False)
    assert "Adapter, not a plain Linear" in obstacle(model)


def test_a_class_that_computes_something_else_than_it_used_to_is_noticed_by_its_numbers(caplog):
    model = make(FITTING["llama"])
    model.model.layers[0].self_attn.scaling *= 1.5
    assert obstacle(model) is None
    assert not is_llama(model)
    assert "own forward pass is off by" in caplog.text
