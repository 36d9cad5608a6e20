"""Stability: rates and stays from the ledger of 28 days, and the grade that they give."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from orchestration.declarations.traits import Outcome, Trait
from orchestration.home import Home
from orchestration.measurement.stability import Stability, Stays, _measure, graded, median_dwell
from orchestration.published.tables import BACKFILLED_DAYS, PUBLISHED_TABLES

START = datetime(2025, 3, 1)
GRID = [START + timedelta(days=number) for number in range(29)]
TRAIT = Trait(
    name="t",
    description="",
    title="T",
    entity="user",
    type="boolean",
    owner="somebody",
    version=2,
    enter={},
    outcome=Outcome(title="silence", silence=True),
    purpose="",
)
STEADY = Stability(28, 0.001, 0.01, 0.0, 20.0, 1.0)

Change = tuple[str, str | None, str | None, float, str]
Measured = Callable[[Sequence[Change], Sequence[int]], Stability]


@pytest.fixture
def measured(home: Home) -> Measured:
    """Stability of a ledger: entity, old and new value, day number (the morning it is published), cause."""

    def measure(changes: Sequence[Change], days: Sequence[int]) -> Stability:
        with home.connect() as connection:
            connection.execute(PUBLISHED_TABLES + BACKFILLED_DAYS)
            for day in days:
                connection.execute(
                    "insert into state.backfilled_days values ('t', $1, 2, true)", [START + timedelta(days=day)]
                )
            since: dict[str, datetime] = {}
            for number, (entity, old, new, day, cause) in enumerate(changes):
                instant = START + timedelta(days=day)
                connection.execute(
                    "insert into traits.trait_changes values ($1, 'user', $2, 't', $3, $4, null, $5, 'b', $6)",
                    [number, entity, old, new, instant, cause],
                )
                since[entity] = instant
                connection.execute("delete from traits.trait_values where entity_id = $1", [entity])
                if new is not None:
                    connection.execute(
                        "insert into traits.trait_values by name select 'user' as entity_type, $1 as entity_id,"
                        " 't' as trait, $2 as value, $3 as since",
                        [entity, new, instant],
                    )
            return _measure(connection, [TRAIT], GRID)["t"]

    return measure


def test_first_values_and_changes_of_other_causes_are_no_flips(measured: Measured) -> None:
    first = [(f"u{number}", None, "true" if number < 5 else "false", 1, "behaviour") for number in range(10)]
    later: list[Change] = [
        ("new", None, "false", 2, "behaviour"),
        ("u0", "true", "false", 2, "definition"),
        ("u1", "true", None, 2, "identity"),
    ]
    one = measured([*first, *later], [1, 2, 3])
    assert (one.days, one.flip_rate, one.member_flip_rate, one.repeat_flip_share) == (3, 0, 0, 0)


def test_rates_are_means_over_the_days_after_the_first(measured: Measured) -> None:
    first: list[Change] = [
        (f"u{number}", None, "true" if number < 5 else "false", 1, "backfill") for number in range(10)
    ]
    later: list[Change] = [
        ("u0", "true", "false", 2, "behaviour"),
        ("u9", "false", "true", 2, "behaviour"),
        ("u0", "false", "true", 3, "behaviour"),
    ]
    one = measured([*first, *later], [1, 2, 3])
    # Day 2: two of ten flip; of u1 to u4, u9 and u0 (who left) two moved. Day 3: one of ten; of six members one came.
    assert one.flip_rate == pytest.approx((0.2 + 0.1) / 2)
    assert one.member_flip_rate == pytest.approx((2 / 6 + 1 / 6) / 2, abs=1e-4)


def test_within_a_day_only_its_end_counts(measured: Measured) -> None:
    changes: list[Change] = [
        ("u0", None, "true", 1, "behaviour"),
        ("u0", "true", "false", 1.3, "behaviour"),
        ("u0", "false", "true", 1.6, "behaviour"),
    ]
    assert measured(changes, [1, 2]).flip_rate == 0


def test_who_flips_three_times_is_counted_among_all_that_were_members(measured: Measured) -> None:
    values = ["true", "false", "true", "false"]
    changes: list[Change] = [("u0", None, "true", 1, "behaviour"), ("u1", None, "true", 1, "behaviour")]
    changes += [("u2", None, "false", 1, "behaviour")]
    changes += [("u0", values[day - 1], values[day], day + 1, "behaviour") for day in (1, 2, 3)]
    assert measured(changes, [1, 2, 3, 4]).repeat_flip_share == 0.5


def test_history_before_the_window_is_what_it_opens_with(measured: Measured) -> None:
    changes: list[Change] = [
        ("u0", None, "true", -10, "behaviour"),
        ("u1", None, "false", -10, "behaviour"),
        ("u0", "true", "false", 4, "behaviour"),
    ]
    one = measured(changes, [-10, *range(1, 29)])
    assert one.days == 28
    assert one.flip_rate == pytest.approx(0.5 / 28, abs=1e-5)
    assert one.median_dwell_days == 14
    # A member on 3 of the first 7 days, a half each; none on the last 7.
    assert one.prevalence_drift == pytest.approx(-100 * 3 / 7 / 2, abs=0.01)


def test_the_median_stay_is_that_of_scipy_where_nothing_came_before() -> None:
    from scipy.stats import CensoredData, ecdf

    left, going = [1, 2, 2, 3, 5, 8, 9], [1, 4, 6, 6, 10]
    curve = ecdf(CensoredData(uncensored=left, right=going)).sf
    expected = next(age for age, rest in zip(curve.quantiles, curve.probabilities, strict=True) if rest <= 0.5)
    stays = [Stays(0, age, True, 1) for age in left] + [Stays(0, age, False, 1) for age in going]
    assert median_dwell(stays) == expected


def test_who_came_before_the_window_is_at_risk_from_the_age_it_was_found_at() -> None:
    # Without left truncation, ten old stays would make early leaving look rare.
    old, young = Stays(100, 110, False, 10), Stays(0, 2, True, 2)
    assert median_dwell([old, young]) == 2


def test_stays_that_half_never_leave_last_at_least_as_long_as_was_watched() -> None:
    assert median_dwell([Stays(0, 5, True, 1), Stays(0, 20, False, 9)]) == 20
    assert median_dwell([]) is None


@pytest.mark.parametrize(
    ("stability", "lift", "grade"),
    [
        (STEADY, (1.2, 1.5, 1.9), "A"),
        (STEADY, None, "A"),
        (STEADY, (0.9, 1.5, 1.9), "B"),
        (STEADY, (0.7, 0.9, 1.2), "C"),
        (replace(STEADY, flip_rate=0.01), (1.2, 1.5, 1.9), "B"),
        (replace(STEADY, flip_rate=0.05), (1.2, 1.5, 1.9), "C"),
        (replace(STEADY, median_dwell_days=2), (1.2, 1.5, 1.9), "C"),
        (replace(STEADY, prevalence_drift=-7), (1.2, 1.5, 1.9), "B"),
        (replace(STEADY, days=13), (1.2, 1.5, 1.9), None),
    ],
)
def test_a_grade_asks_for_steadiness_and_worth(
    stability: Stability, lift: tuple[float, float, float] | None, grade: str | None
) -> None:
    found, reason = graded(TRAIT, stability, lift)
    assert found == grade
    assert bool(reason) == (grade != "A")


def test_a_number_has_no_grade() -> None:
    assert graded(TRAIT.model_copy(update={"type": "number"}), STEADY, None)[0] is None
