"""Who decodes where: rows take slots in order and leave them, within the slots, the places of prompts and the memory there are."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from r1env_trainers.generate.cache import Capacity, Slots


@given(st.data(), st.integers(1, 12), st.integers(1, 5), st.integers(1, 20), st.integers(1, 6))
def test_every_row_begins_once_and_in_order_and_nothing_is_held_twice(data, prompts, n, slots, places):
    rows = prompts * n
    schedule = Slots(rows, n, slots, places)
    begun: list[int] = []
    while new := schedule.begin():
        begun += new
        assert begun == list(range(len(begun)))
        while True:
            assert list(schedule.live) == sorted(schedule.live)
            assert len(set(schedule.live.values())) == len(schedule.live) <= slots
            assert len(set(schedule.places.values())) == len(schedule.places) <= places
            assert {row // n for row in schedule.live} <= set(schedule.places)
            if not schedule.live:
                break
            ended = data.draw(st.lists(st.sampled_from(list(schedule.live)), min_size=1, unique=True))
            schedule.end(ended)
            assert not set(ended) & set(schedule.live)
            begun += schedule.begin()
    assert len(begun) == rows
    assert not schedule.live
    assert not schedule.places


def test_where_all_rows_fit_each_has_the_slot_of_its_number():
    schedule = Slots(6, 2, 100, 3)
    assert schedule.begin() == [0, 1, 2, 3, 4, 5]
    assert schedule.live == {row: row for row in range(6)}
    assert schedule.places == {0: 0, 1: 1, 2: 2}


def test_waiting_rows_begin_when_they_can_fill_a_quarter_of_the_slots():
    schedule = Slots(100, 1, 16, 32)
    schedule.begin()
    schedule.end([3, 4, 5])
    assert schedule.begin() == []
    schedule.end([8, 8, 3])
    assert schedule.begin() == [16, 17, 18, 19]


def test_free_slots_without_a_place_for_a_prompt_do_not_count():
    schedule = Slots(160, 4, 32, 8)
    assert schedule.begin() == [*range(32)]
    schedule.end([row for row in range(32) if row % 4])  # 24 slots, and every prompt still has a row
    assert schedule.begin() == []
    schedule.end([0])
    assert schedule.begin() == []
    schedule.end([4])
    assert schedule.begin() == [*range(32, 40)]


@given(st.integers(0, 1000))
def test_the_prompts_of_many_rows_are_run_a_few_times_only(seed):
    lengths, drawn = random.Random(seed), Counter[int]()
    rows, n, slots = 1024, 16, 128
    schedule = Slots(rows, n, slots, Capacity(rows // n, 64, rows, 256).with_rows(slots).prompts)
    length = [1 + int(lengths.expovariate(0.02)) for _ in range(rows)]
    begins = 0
    while (new := schedule.begin()) or schedule.live:
        begins += bool(new)
        drawn.update(list(schedule.live))
        schedule.end([row for row in list(schedule.live) if drawn[row] >= length[row]])
    assert begins <= 4 * rows / slots  # a quarter of the slots at a time


def test_the_last_waiting_row_waits_for_a_single_slot_only():
    schedule = Slots(17, 1, 16, 17)
    schedule.begin()
    schedule.end([3])
    assert schedule.begin() == [16]


def test_ending_a_row_twice_frees_its_slot_once():
    schedule = Slots(3, 1, 2, 3)
    schedule.begin()
    schedule.end([0])
    schedule.end([0])
    assert schedule.begin() == [2]
    assert schedule.begin() == []


@given(
    st.builds(Capacity, st.integers(1, 300), st.integers(1, 500), st.integers(300, 3000), st.integers(1, 500)),
    st.integers(0, 10**10),
)
def test_rows_are_as_many_as_memory_is_enough_for(wanted, budget):
    given_rows = wanted.within(budget, 1000, 5000)
    assert (given_rows.prompt_tokens, given_rows.new_tokens) == (wanted.prompt_tokens, wanted.new_tokens)
    assert 1 <= given_rows.rows <= wanted.rows
    assert given_rows.size(1000, 5000) <= budget or given_rows.rows == 1
    if wanted.size(1000, 5000) <= budget:
        assert given_rows == wanted
    elif given_rows.rows > 1:
        assert wanted.with_rows(given_rows.rows * 2).size(1000, 5000) > budget


def test_fewer_rows_keep_three_times_their_share_of_prompts():
    assert Capacity(100, 64, 800, 96).with_rows(80) == Capacity(30, 64, 80, 96)
    assert Capacity(100, 64, 800, 96).with_rows(800) == Capacity(100, 64, 800, 96)
    assert Capacity(100, 64, 800, 96).with_rows(1) == Capacity(2, 64, 1, 96)
