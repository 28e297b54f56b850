"""The ways of decoding agree with each other and with transformers' `generate`, and the sampler cuts what they draw."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen3Config

from r1env_trainers.decoding.batch import Draws
from r1env_trainers.decoding.choose import choose_decoding
from r1env_trainers.decoding.llama import LlamaBatch
from r1env_trainers.decoding.transformers import TransformersBatch
from r1env_trainers.models.load import LoadedModel
from r1env_trainers.models.tiny import build_tokenizer
from r1env_trainers.sampling import Sampler

TOKENIZER = build_tokenizer()
PROMPTS = [[5, 6, 7, 8], [9], [10, 11]]
COMMON = {
    "vocab_size": len(TOKENIZER),
    "max_position_embeddings": 128,
    "eos_token_id": 1,
    "bos_token_id": None,
    "pad_token_id": 0,
}
GROUPED = {
    **COMMON,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "initializer_range": 0.2,
}
CONFIGS = {
    "llama": (LlamaConfig(**GROUPED), LlamaBatch),
    "qwen3": (Qwen3Config(**GROUPED), LlamaBatch),
    "gpt2": (GPT2Config(**COMMON, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3), TransformersBatch),
}


def load(name: str) -> LoadedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return LoadedModel(AutoModelForCausalLM.from_config(CONFIGS[name][0]).eval(), TOKENIZER)


@pytest.mark.parametrize("name", CONFIGS)
def test_each_kind_of_model_gets_its_way_of_decoding_and_the_greedy_tokens_of_generate(name):
    loaded = load(name)
    assert isinstance(choose_decoding(loaded)(PROMPTS, 1, 2, Draws(0)), CONFIGS[name][1])
    for prompt in PROMPTS:
        theirs = loaded.model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=16, do_sample=False
        )[0, len(prompt) :]
        ours = Sampler(loaded).sample([prompt], n=1, max_new_tokens=16, temperature=0).ids[0]
        assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("draws", [Draws(1.0, seed=3), Draws(0.7, 0.8, seed=4), Draws(0)])
def test_both_ways_draw_the_same_tokens_with_the_same_log_probs(draws):
    loaded = load("llama")
    one = LlamaBatch(loaded.model, PROMPTS, 3, 12, draws)
    other = TransformersBatch(loaded.model, 0, PROMPTS, 3, 12, draws)
    with torch.no_grad():
        for rows in ([0, 1, 2, 4, 7, 8], [1, 3, 5]):
            (ids, logprobs), (expected_ids, expected_logprobs) = one.advance(4), other.advance(4)
            assert torch.equal(ids, expected_ids)
            assert torch.allclose(logprobs, expected_logprobs, atol=1e-4)
            one.keep(torch.tensor(rows))
            other.keep(torch.tensor(rows))
        assert torch.equal(one.advance(4)[0], other.advance(4)[0])


class Scripted:
    """A batch of rows that will say these tokens."""

    def __init__(self, rows: list[list[int]], stride: int) -> None:
        self._rows, self.stride, self._drawn = torch.tensor(rows), stride, 0
        self.kept: list[list[int]] = []

    def advance(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        ids = self._rows[:, self._drawn : self._drawn + count]
        self._drawn += count
        return ids, -ids.float()

    def keep(self, rows: torch.Tensor) -> None:
        self._rows = self._rows[rows]
        self.kept.append(rows.tolist())


def scripted_sampler(batch: Scripted) -> Sampler:
    sampler = Sampler(load("llama"))
    sampler._start = lambda prompts, n, max_new_tokens, draws: batch
    return sampler


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_what_was_drawn_beyond_an_end_is_cut_off(stride):
    eos = TOKENIZER.eos_token_id
    batch = Scripted([[5, eos, 6, 7, 8, 9], [5, 6, 7, 8, 9, 10], [eos, 5, eos, 5, 5, 5], [5, 6, 7, 8, 9, eos]], stride)
    samples = scripted_sampler(batch).sample([[3]] * 4, n=1, max_new_tokens=6, temperature=1.0)
    assert samples.mask.sum(dim=1).tolist() == [2, 6, 1, 6]
    assert samples.finished.tolist() == [True, False, True, True]
    assert samples.ids[0].tolist() == [5, eos, 0, 0, 0, 0]
    assert samples.ids[2].tolist() == [eos, 0, 0, 0, 0, 0]
    assert samples.logprobs[0].tolist() == [-5, -eos, 0, 0, 0, 0]


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_the_first_stop_text_ends_a_row_wherever_in_a_stride_it_falls(stride):
    one, two, three = (TOKENIZER.convert_tokens_to_ids(character) for character in "123")
    rows = [[three, one, two, one, two, three], [one, three, two, three, one, three]]
    samples = scripted_sampler(Scripted(rows, stride)).sample([[3]] * 2, n=1, max_new_tokens=6, temperature=1.0, stop=("12",))
    assert samples.mask.sum(dim=1).tolist() == [3, 6]
    assert samples.finished.tolist() == [True, False]


def test_rows_leave_the_batch_when_they_have_ended():
    eos = TOKENIZER.eos_token_id
    batch = Scripted([[eos, 5, 5, 5], [5, 5, 5, 5], [5, eos, 5, 5]], stride=1)
    scripted_sampler(batch).sample([[3]] * 3, n=1, max_new_tokens=4, temperature=1.0)
    assert batch.kept == [[1, 2], [0]]
