"""Great Expectations over rows of the warehouse: every row that broke an expectation is named."""

import duckdb

from orchestration.gates.engine import Expected, run_suite_by_row


def test_every_row_that_broke_an_expectation_is_named() -> None:
    suite = [
        Expected("low", "expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "m", "column_B": "low"}),
        Expected("known", "expect_column_values_to_not_be_null", {"column": "m"}),
    ]
    rows = "select range as number, case when range < 90 then 0 else 2 end as m, 1 as low from range(100)"
    with duckdb.connect() as connection:
        low, known = run_suite_by_row(connection, "rows", rows, suite, "number")
    assert low.broken == tuple(range(90))
    assert (known.check.passed, known.broken) == (True, ())
