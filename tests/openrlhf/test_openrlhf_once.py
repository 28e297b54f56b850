"""A tokenizer goes along with every prompt of OpenRLHF's; it is to be pickled and read once."""

from __future__ import annotations

import copyreg
import pickle
from types import ModuleType, SimpleNamespace

import pytest
from ray import cloudpickle

from r1env_openrlhf import hooks as once
from r1env_openrlhf.hooks import _send_tokenizer_once, pickle_once


class Heavy:
    read = 0
    written = 0

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def __getstate__(self):
        Heavy.written += 1
        return {"words": self.words}

    def __setstate__(self, state):
        Heavy.read += 1
        self.words = state["words"]


@pytest.fixture(autouse=True)
def nothing_sent_yet(monkeypatch):
    monkeypatch.setattr(once, "_sent", {})
    monkeypatch.setattr(once, "_received", {})
    Heavy.read = Heavy.written = 0
    yield
    copyreg.dispatch_table.pop(Heavy, None)


@pytest.mark.parametrize("module", [pickle, cloudpickle])
def test_an_object_is_written_once_and_read_once_however_often_it_is_sent(module):
    heavy = Heavy(["a", "b"])
    pickle_once(heavy)
    first, second = (pickle.loads(module.dumps({"hf_tokenizer": heavy, "prompt": prompt})) for prompt in "xy")
    assert first["hf_tokenizer"].words == ["a", "b"]
    assert first["hf_tokenizer"] is second["hf_tokenizer"]
    assert (Heavy.written, Heavy.read) == (1, 1)
    assert (first["prompt"], second["prompt"]) == ("x", "y")


def test_two_objects_of_a_type_stay_two():
    one, other = Heavy(["a"]), Heavy(["b"])
    pickle_once(one)
    assert [pickle.loads(pickle.dumps(heavy)).words for heavy in (one, other)] == [["a"], ["b"]]


def test_openrlhf_sends_its_tokenizer_once():
    class SamplesGenerator:
        def __init__(self, tokenizer: Heavy) -> None:
            self.tokenizer = tokenizer

    module = ModuleType("samples_generator")
    module.SamplesGenerator = SamplesGenerator
    _send_tokenizer_once(module)
    generator = module.SamplesGenerator(Heavy(["a"]))
    for _ in range(3):
        pickle.loads(cloudpickle.dumps(SimpleNamespace(tokenizer=generator.tokenizer)))
    assert Heavy.read == 1
