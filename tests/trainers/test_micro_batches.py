"""How a batch is cut for the memory of a device."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from r1env_trainers.model.batching import _cut, cut_evenly, micro_batches
from r1env_trainers.model.load import load_model

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
    batches = _cut([[place] for place in range(len(lengths))], lengths, budget)
    assert [place for batch in batches for place in batch] == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in batch) <= budget or len(batch) == 1 for batch in batches)
    for batch, following in itertools.pairwise(batches):
        assert sum(lengths[place] for place in batch) + lengths[following[0]] > budget  # no room was wasted


GROUPED = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 4)), min_size=1)  # lengths, and numbers of groups


@given(GROUPED, st.integers(1, 7))
def test_a_group_that_fits_into_one_micro_batch_is_not_torn(sequences, rows):
    lengths, groups = zip(*sequences, strict=True)
    batches = micro_batches(lengths, MODEL, rows, groups)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    assert max(map(len, batches)) <= rows
    for group in set(groups):
        holding = [batch for batch in batches if any(groups[place] == group for place in batch)]
        assert len(holding) == 1 or groups.count(group) > rows


@given(GROUPED, st.integers(1, 7))
def test_the_group_of_the_longest_sequence_comes_first_and_so_on(sequences, rows):
    lengths, groups = zip(*sequences, strict=True)
    order = list(dict.fromkeys(groups[place] for batch in micro_batches(lengths, MODEL, rows, groups) for place in batch))
    longest = [max(length for length, group in sequences if group == one) for one in order]
    assert longest == sorted(longest, reverse=True)


def test_a_group_larger_than_a_micro_batch_is_cut_and_the_next_one_fills_it_up_if_it_fits():
    assert micro_batches([9, 9, 9, 9, 9, 5, 5], MODEL, 4, [0, 0, 0, 0, 0, 1, 1]) == [[0, 1, 2, 3], [4, 5, 6]]
    assert micro_batches([9, 9, 9, 5, 5], MODEL, 4, [0, 0, 0, 1, 1]) == [[0, 1, 2], [3, 4]]


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 200))
def test_passes_of_a_gpu_are_as_few_as_the_budget_allows(lengths, budget):
    groups = [[place] for place in range(len(lengths))]
    batches = cut_evenly(groups, lengths, budget)
    assert [place for batch in batches for place in batch] == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in batch) <= budget or len(batch) == 1 for batch in batches)
    assert len(batches) == len(_cut(groups, lengths, budget))


@given(st.lists(st.integers(50, 350), min_size=200, max_size=600))
@settings(max_examples=25)
def test_no_pass_of_a_few_tokens_follows_full_ones(lengths):
    lengths = sorted(lengths, reverse=True)
    sizes = [
        sum(lengths[place] for place in batch)
        for batch in cut_evenly([[place] for place in range(len(lengths))], lengths, 32_768)
    ]
    assert min(sizes) > 0.5 * max(sizes)
