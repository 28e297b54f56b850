"""How a batch is cut for the memory of a device."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from r1env_trainers.micro_batches import _cut_by_tokens, micro_batches
from r1env_trainers.models.load import load_model

MODEL = load_model("tiny").model


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 7) | st.none())
def test_every_sequence_is_in_one_micro_batch_and_longer_ones_come_first(lengths, rows):
    batches = micro_batches(lengths, MODEL, rows)
    places = [place for batch in batches for place in batch]
    assert sorted(places) == list(range(len(lengths)))
    assert [lengths[place] for place in places] == sorted(lengths, reverse=True)
    assert max(map(len, batches)) <= (rows or 8)


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 200))
def test_a_token_budget_is_kept_but_for_a_sequence_that_is_longer_alone(lengths, budget):
    batches = _cut_by_tokens(range(len(lengths)), lengths, budget)
    assert [place for batch in batches for place in batch] == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in batch) <= budget or len(batch) == 1 for batch in batches)
    for batch, following in itertools.pairwise(batches):
        assert sum(lengths[place] for place in batch) + lengths[following[0]] > budget  # no room was wasted
