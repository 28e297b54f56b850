from ledger import balance_before, statement

ENTRIES = [("2024-01-05", "rent", -50000), ("2024-01-31", "wages", 210005), ("2024-02-01", "bread", -350)]


def test_the_last_day_belongs_to_the_period():
    assert statement(ENTRIES, "2024-01-01", "2024-01-31") == [
        "opening 0.00",
        "2024-01-05 rent -500.00",
        "2024-01-31 wages 2100.05",
        "closing 1600.05",
    ]


def test_the_balance_before_a_date_leaves_that_date_out():
    assert balance_before(ENTRIES, "2024-01-31") == -50000
    assert balance_before(ENTRIES, "2024-02-02") == 159655
    assert balance_before(ENTRIES, "2024-01-05") == 0


def test_a_period_in_the_middle_opens_with_what_was_there():
    assert statement(ENTRIES, "2024-02-01", "2024-02-28") == ["opening 1600.05", "2024-02-01 bread -3.50", "closing 1596.55"]


def test_nothing_is_a_statement_too():
    assert statement([], "2024-01-01", "2024-01-31") == ["opening 0.00", "closing 0.00"]
