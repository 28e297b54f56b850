from intervals import free, merged


def test_an_interval_within_another_changes_nothing():
    assert merged([(0, 10), (2, 3)]) == [(0, 10)]
    assert merged([(0, 10), (2, 3), (5, 12)]) == [(0, 12)]


def test_intervals_that_touch_become_one_and_empty_ones_go():
    assert merged([(3, 5), (0, 3), (7, 7), (9, 8)]) == [(0, 5)]


def test_time_before_between_and_after_is_free():
    assert free([(4, 6), (8, 9)], 0, 12) == [(0, 4), (6, 8), (9, 12)]
    assert free([(-5, 2), (11, 20)], 0, 12) == [(2, 11)]


def test_without_intervals_everything_is_free():
    assert free([], 3, 5) == [(3, 5)]
    assert free([(3, 5)], 3, 5) == []
