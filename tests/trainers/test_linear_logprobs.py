"""Log-probs of a linear head in chunks: the same numbers and gradients as from whole logits."""

from __future__ import annotations

import pytest
import torch

from r1env_trainers.model import logprobs as module
from r1env_trainers.model.logprobs import linear_logprobs, linear_logprobs_and_entropies


@pytest.fixture
def tensors(monkeypatch):
    monkeypatch.setitem(module.LEAST_ROWS, "cpu", 1)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(11, 8, generator=generator)
    head = torch.randn(23, 8, generator=generator)
    return hidden.requires_grad_(), head.requires_grad_(), torch.randint(0, 23, (11,), generator=generator)


@pytest.mark.parametrize("chunk_rows", [1, 4, 11, 100])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_chunks_change_neither_log_probs_nor_gradients(tensors, monkeypatch, chunk_rows, temperature):
    monkeypatch.setitem(module.CHUNK_ELEMENTS, "cpu", chunk_rows * 23)
    hidden, head, ids = tensors
    weights = torch.linspace(-1, 2, 11)
    whole = (hidden @ head.T / temperature).log_softmax(-1).gather(1, ids[:, None]).squeeze(1)
    expected = torch.autograd.grad((whole * weights).sum(), (hidden, head))
    ours = linear_logprobs(hidden, head, ids, temperature)
    gradients = torch.autograd.grad((ours * weights).sum(), (hidden, head))
    assert torch.allclose(ours, whole, atol=1e-5)
    for mine, theirs in zip(gradients, expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("chunk_rows", [1, 4, 11, 100])
def test_chunks_change_neither_entropies_nor_gradients(tensors, monkeypatch, chunk_rows):
    monkeypatch.setitem(module.CHUNK_ELEMENTS, "cpu", chunk_rows * 23)
    hidden, head, ids = tensors
    weights = torch.linspace(-1, 2, 11)
    whole = torch.distributions.Categorical(logits=hidden @ head.T / 0.6)
    expected = torch.autograd.grad(((whole.log_prob(ids) + whole.entropy()) * weights).sum(), (hidden, head))
    logprobs, entropies = linear_logprobs_and_entropies(hidden, head, ids, 0.6)
    gradients = torch.autograd.grad(((logprobs + entropies) * weights).sum(), (hidden, head))
    assert torch.allclose(logprobs, whole.log_prob(ids), atol=1e-5)
    assert torch.allclose(entropies, whole.entropy(), atol=1e-5)
    for mine, theirs in zip(gradients, expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("chunk_rows", [4, 100])
def test_a_token_that_is_never_drawn_has_no_probability_and_no_gradient(tensors, monkeypatch, chunk_rows):
    monkeypatch.setitem(module.CHUNK_ELEMENTS, "cpu", chunk_rows * 23)
    hidden, head, ids = tensors
    ids = ids.masked_fill(ids == 5, 6)
    others = torch.arange(23) != 5
    whole = torch.distributions.Categorical(logits=hidden @ head[others].T / 0.6)
    expected_logprobs = whole.log_prob(ids - (ids > 5).long())
    expected = torch.autograd.grad((expected_logprobs + whole.entropy()).sum(), (hidden, head))
    logprobs, entropies = linear_logprobs_and_entropies(hidden, head, ids, 0.6, forbidden=5)
    gradients = torch.autograd.grad((logprobs + entropies).sum(), (hidden, head))
    torch.testing.assert_close(logprobs, expected_logprobs)
    torch.testing.assert_close(entropies, whole.entropy())
    for mine, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    assert float(gradients[1][5].abs().max()) == 0


@pytest.mark.parametrize("chunk_rows", [10, 11])
def test_logits_are_computed_again_only_where_they_do_not_fit_into_a_chunk(tensors, monkeypatch, chunk_rows):
    monkeypatch.setitem(module.CHUNK_ELEMENTS, "cpu", chunk_rows * 23)
    hidden, head, ids = tensors
    products: list[int] = []
    logits_of = module.logits_of
    monkeypatch.setattr(module, "logits_of", lambda *tensors: products.append(len(tensors[0])) or logits_of(*tensors))
    linear_logprobs(hidden, head, ids).sum().backward()
    assert sum(products) == (11 if chunk_rows == 11 else 22)


def test_logits_that_would_overflow_give_finite_log_probs(tensors):
    hidden, head, ids = tensors
    logprobs = linear_logprobs(hidden * 1e4, head, ids)
    assert logprobs.isfinite().all()
    assert (logprobs <= 0).all()


def test_no_token_at_all_is_no_error(tensors):
    hidden, head, ids = tensors
    nothing = linear_logprobs(hidden[:0], head, ids[:0])
    nothing.sum().backward()
    assert nothing.shape == (0,)


def test_bfloat16_states_are_summed_in_float32(tensors):
    hidden, head, ids = tensors
    rounded_hidden, rounded_head = hidden.detach().bfloat16(), head.detach().bfloat16()
    exact = (rounded_hidden.double() @ rounded_head.double().T).log_softmax(-1).gather(1, ids[:, None]).squeeze(1)
    assert torch.allclose(linear_logprobs(rounded_hidden, head.detach(), ids).double(), exact, atol=1e-5)
