"""The losses of on-policy distillation, held against sums written out and against each other."""

from __future__ import annotations

import math

import pytest
import torch

from r1env.errors import UsageError
from r1env_trainers.distill import divergence
from r1env_trainers.distill.divergence import chunked_reverse_kl, policy_gradient, reverse_kl
from r1env_trainers.distill.loop import check_one_tokenizer
from r1env_trainers.model.load import load_model
from r1env_trainers.model.logprobs import Predicted, completion_logprobs, predicted
from r1env_trainers.sft.loop import make_batch

PAIRS = [([4, 39, 5, 51], [6, 1]), ([31, 4, 3, 51], [55, 56, 57, 3, 4, 58, 1]), ([4], [5, 5, 5, 1])]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def test_reverse_kl_is_the_sum_over_the_vocabulary_with_the_student_first():
    student, teacher = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([[0.0, 0.0]])  # 1/4, 3/4 and 1/2, 1/2
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert reverse_kl(student, teacher).item() == pytest.approx(expected)


def test_reverse_kl_is_torchs_own_and_zero_between_equals():
    student, teacher = torch.randn(5, 11), torch.randn(5, 11)
    theirs = torch.nn.functional.kl_div(
        (teacher / 0.7).log_softmax(-1), (student / 0.7).log_softmax(-1), log_target=True, reduction="none"
    )
    torch.testing.assert_close(reverse_kl(student, teacher, 0.7), theirs.sum(-1))
    torch.testing.assert_close(reverse_kl(student, student), torch.zeros(5), atol=1e-6, rtol=0)


def test_the_gradient_of_a_sampled_token_is_that_of_the_exact_divergence_on_average():
    """Exact, not by drawing: the expectation over all tokens, weighted by the student's probabilities."""
    logits, teacher = torch.randn(1, 7, dtype=torch.float64, requires_grad=True), torch.randn(1, 7, dtype=torch.float64)
    (exact,) = torch.autograd.grad(reverse_kl(logits, teacher).sum(), logits)
    logprobs = logits.log_softmax(-1)
    losses = policy_gradient(logprobs[0], teacher.log_softmax(-1)[0])
    (expected,) = torch.autograd.grad((logprobs.exp().detach()[0] * losses).sum(), logits)
    torch.testing.assert_close(expected, exact)


@pytest.mark.parametrize("elements", [1, 300, 2**24])
@pytest.mark.parametrize(("student", "teacher"), [("tiny-gpt2", "tiny-2m"), ("tiny-2m", "tiny-gpt2"), ("tiny-2m", "tiny-2m")])
def test_chunks_change_neither_the_divergence_nor_its_gradient(monkeypatch, student, teacher, elements):
    monkeypatch.setitem(divergence.CHUNK_ELEMENTS, "cpu", elements)
    ours, theirs = load_model(student, seed=1), load_model(teacher, seed=2)
    batch = make_batch(PAIRS, ours.pad, ours.device)
    found = chunked_reverse_kl(predicted(ours.model, batch), predicted(theirs.model, batch), 0.8)

    def logits(loaded):
        rows = [
            loaded.model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1] for prompt, response in PAIRS
        ]
        return torch.cat(rows)

    expected = reverse_kl(logits(ours), logits(theirs).detach(), 0.8)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    weights = list(ours.model.parameters())
    for one, other in zip(torch.autograd.grad(found.sum(), weights), torch.autograd.grad(expected.sum(), weights), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_predictions_stand_in_the_order_of_the_log_probs():
    loaded = load_model("tiny-gpt2", seed=1)
    batch = make_batch(PAIRS, loaded.pad, loaded.device)
    found = predicted(loaded.model, batch)
    assert found.ids.tolist() == [token for _, response in PAIRS for token in response]
    logprobs = (found.features @ found.head.T).log_softmax(-1).gather(1, found.ids[:, None]).squeeze(1)
    torch.testing.assert_close(logprobs, completion_logprobs(loaded.model, batch)[batch.completion_mask > 0])


def test_a_vocabulary_padded_to_a_larger_size_is_cut_to_the_smaller():
    student, teacher = torch.randn(4, 10), torch.randn(4, 12)
    found = chunked_reverse_kl(Predicted(student, None, torch.arange(4)), Predicted(teacher, None, torch.arange(4)))
    torch.testing.assert_close(found, reverse_kl(student, teacher[:, :10]))


def test_models_whose_tokens_mean_different_things_are_refused():
    check_one_tokenizer(load_model("tiny-gpt2"), load_model("tiny-2m"))
    with pytest.raises(UsageError, match=r"their tokenizers differ in .* use method=sft"):
        check_one_tokenizer(load_model("tiny-gpt2"), load_model("tiny"))
