"""The ways of decoding agree with each other and with transformers' `generate`, and the sampler cuts what they draw."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, GPT2Config, LlamaConfig, Qwen3Config

from r1env.engines import SamplingParams, derive_seed
from r1env.errors import EngineError
from r1env_trainers.generate.batches import Drawn, LlamaBatch, TransformersBatch
from r1env_trainers.generate.engine import Sampler, choose_decoding, decode_samples
from r1env_trainers.model.load import LoadedModel
from r1env_trainers.model.tiny import build_tokenizer

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
    "gemma3": (
        Gemma3TextConfig(
            **GROUPED,
            sliding_window=5,  # shorter than what is drawn
            layer_types=["sliding_attention", "full_attention"],
            query_pre_attn_scalar=20,
        ),
        LlamaBatch,
    ),
    "gpt2": (GPT2Config(**COMMON, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3), TransformersBatch),
}


def load(name: str) -> LoadedModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return LoadedModel(AutoModelForCausalLM.from_config(CONFIGS[name][0]).eval(), TOKENIZER)


@pytest.mark.parametrize("name", CONFIGS)
def test_each_kind_of_model_gets_its_way_of_decoding_and_the_greedy_tokens_of_generate(name):
    loaded = load(name)
    batch = choose_decoding(loaded)(PROMPTS, SamplingParams(n=1, max_new_tokens=2, temperature=0))
    with torch.no_grad():
        batch.advance()
    assert isinstance(batch._in_step, CONFIGS[name][1])
    for prompt in PROMPTS:
        theirs = loaded.model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=16, do_sample=False
        )[0, len(prompt) :]
        ours = Sampler(loaded).sample([prompt], SamplingParams(top_p=1.0, n=1, max_new_tokens=16, temperature=0)).ids[0]
        assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize(
    "how",
    [{"temperature": 1.0, "top_p": 1.0, "seed": 3}, {"temperature": 0.7, "top_p": 0.8, "seed": 4}, {"temperature": 0}],
    ids=str,
)
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_both_ways_draw_the_same_tokens_with_the_same_log_probs(name, how):
    params = SamplingParams(n=3, max_new_tokens=12, **how)
    loaded = load(name)
    one = LlamaBatch(loaded.model, PROMPTS, params)
    other = TransformersBatch(loaded.model, 0, PROMPTS, params)
    with torch.no_grad():
        for rows in ([0, 1, 2, 4, 7, 8], [1, 3, 5]):
            for _ in range(4):
                (ids, logprobs), (expected_ids, expected_logprobs) = one.advance(), other.advance()
                assert torch.equal(ids, expected_ids)
                assert torch.allclose(logprobs, expected_logprobs, atol=1e-4)
            one.keep(torch.tensor(rows))
            other.keep(torch.tensor(rows))
        for _ in range(4):
            assert torch.equal(one.advance()[0], other.advance()[0])


class Scripted:
    """A batch of rows that will say these tokens, `stride` at a time; `ahead` further strides are under way."""

    def __init__(self, rows: list[list[int]], stride: int, ahead: int = 0) -> None:
        self._tokens, self._stride, self.ahead = torch.tensor(rows), stride, ahead
        self._live, self._drawn = list(range(len(rows))), 0
        self.ended: list[list[int]] = []

    def advance(self) -> Drawn | None:
        rows = torch.tensor(self._live)
        ids = self._tokens[self._live, self._drawn : self._drawn + self._stride]
        self._drawn += ids.shape[1] if self._live else 0
        return Drawn(rows, ids, -ids.float()) if ids.numel() else None

    def end(self, rows: torch.Tensor) -> None:
        self.ended.append(rows.tolist())
        self._live = [row for row in self._live if row not in rows]


def scripted_sampler(batch: Scripted) -> Sampler:
    sampler = Sampler(load("llama"))
    sampler._start = lambda prompts, params: batch
    return sampler


@pytest.mark.parametrize(("stride", "ahead"), [(1, 0), (3, 0), (8, 0), (1, 1), (2, 1), (4, 2)])
def test_what_was_drawn_beyond_an_end_is_cut_off(stride, ahead):
    eos = TOKENIZER.eos_token_id
    rows = [[5, eos, 6, 7, 8, 9], [5, 6, 7, 8, 9, 10], [eos, 5, eos, 5, 5, 5], [5, 6, 7, 8, 9, eos]]
    sampler = scripted_sampler(Scripted(rows, stride, ahead))
    samples = sampler.sample([[3]] * 4, SamplingParams(top_p=1.0, n=1, max_new_tokens=6, temperature=1.0))
    assert samples.mask.sum(dim=1).tolist() == [2, 6, 1, 6]
    assert samples.finished.tolist() == [True, False, True, True]
    assert samples.ids[0].tolist() == [5, eos, 0, 0, 0, 0]
    assert samples.ids[2].tolist() == [eos, 0, 0, 0, 0, 0]
    assert samples.logprobs[0].tolist() == [-5, -eos, 0, 0, 0, 0]


@pytest.mark.parametrize(("stride", "ahead"), [(1, 0), (3, 0), (8, 0), (1, 1), (2, 1)])
def test_the_first_stop_text_ends_a_row_wherever_in_a_stride_it_falls(stride, ahead):
    one, two, three = (TOKENIZER.convert_tokens_to_ids(character) for character in "123")
    rows = [[three, one, two, one, two, three], [one, three, two, three, one, three]]
    sampler = scripted_sampler(Scripted(rows, stride, ahead))
    samples = sampler.sample([[3]] * 2, SamplingParams(top_p=1.0, n=1, max_new_tokens=6, temperature=1.0, stop=("12",)))
    assert samples.mask.sum(dim=1).tolist() == [3, 6]
    assert samples.finished.tolist() == [True, False]


def test_rows_leave_the_batch_when_they_have_ended():
    eos = TOKENIZER.eos_token_id
    batch = Scripted([[eos, 5, 5, 5], [5, 5, 5, 5], [5, eos, 5, 5]], stride=1)
    scripted_sampler(batch).sample([[3]] * 3, SamplingParams(top_p=1.0, n=1, max_new_tokens=4, temperature=1.0))
    assert batch.ended == [[0], [2]]


@pytest.mark.parametrize(("stride", "ahead"), [(1, 0), (2, 1)])
def test_every_row_is_told_of_once_and_as_soon_as_it_is_complete(stride, ahead):
    eos = TOKENIZER.eos_token_id
    told = []
    sampler = scripted_sampler(Scripted([[5, 6, 7, 8], [eos, 5, 5, 5], [5, 6, eos, 5], [5, 6, 7, eos]], stride, ahead))
    params = SamplingParams(max_new_tokens=4, temperature=1.0, top_p=1.0)
    samples = sampler.sample([[3]] * 4, params, on_finished=lambda rows, some: told.append((rows, some)))
    assert [rows for rows, _ in told] == [[1], [2], [0, 3]] if stride == 1 else [[1], [0, 2, 3]]
    for rows, some in told:
        for place, row in enumerate(rows):
            length = int(samples.mask[row].sum())
            assert int(some.mask[place].sum()) == length
            assert some.ids[place, :length].tolist() == samples.ids[row, :length].tolist()
            assert some.logprobs[place, :length].tolist() == samples.logprobs[row, :length].tolist()
            assert some.finished[place] == samples.finished[row]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_in_parts_draws_what_the_parts_alone_would_draw(name):
    loaded = load(name)
    whole = Sampler(loaded, max_rows=5).sample(
        PROMPTS, SamplingParams(top_p=1.0, n=2, max_new_tokens=12, temperature=1.0, seed=7)
    )  # two prompts at once
    sampler = Sampler(loaded)
    parts = [
        sampler.sample(prompts, SamplingParams(top_p=1.0, n=2, max_new_tokens=12, temperature=1.0, seed=seed))
        for seed, prompts in ((7, PROMPTS[:2]), (derive_seed(7, 2), PROMPTS[2:]))
    ]
    assert decode_samples(TOKENIZER, whole) == [text for part in parts for text in decode_samples(TOKENIZER, part)]
    assert torch.cat([part.finished for part in parts]).tolist() == whole.finished.tolist()
    assert torch.cat([part.mask.sum(dim=1) for part in parts]).tolist() == whole.mask.sum(dim=1).tolist()


@pytest.mark.parametrize("name", CONFIGS)
def test_no_completion_outgrows_the_context_and_each_prompt_has_its_own_room(name):
    loaded = load(name)
    sampler, context = Sampler(loaded), COMMON["max_position_embeddings"]
    prompts = [[5] * (context - 1), [6, 7] * 60, [9]]
    params = SamplingParams(n=2, max_new_tokens=20, temperature=1.0, top_p=1.0, seed=2)
    samples = sampler.sample(prompts, params)
    lengths, finished = samples.mask.sum(dim=1).tolist(), samples.finished.tolist()
    for row, (length, stopped) in enumerate(zip(lengths, finished, strict=True)):
        room = min(20, context - len(prompts[row // 2]))
        assert length <= room
        assert stopped == (samples.ids[row, int(length) - 1] == TOKENIZER.eos_token_id)
        assert stopped or length == room
    assert 1 in lengths  # the first prompt has room for one token


def test_a_row_that_its_context_cuts_off_leaves_the_batch():
    batch = Scripted([[5, 6, 7, 8], [5, 6, 7, 8]], stride=2)
    samples = scripted_sampler(batch).sample([[3] * 125, [3]], SamplingParams(max_new_tokens=4, temperature=1.0, top_p=1.0))
    assert samples.mask.sum(dim=1).tolist() == [3, 4]
    assert samples.finished.tolist() == [False, False]
    assert batch.ended == [[0]]


def test_a_prompt_without_room_is_an_error_and_no_token():
    with pytest.raises(EngineError, match="a prompt of 128 tokens leaves no room in the model's context of 128"):
        Sampler(load("gpt2")).sample([[3] * 128], SamplingParams())
