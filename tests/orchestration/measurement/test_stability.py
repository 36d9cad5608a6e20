"""Stability: rates and spells from the ledger of 28 days."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest

from orchestration.declarations.decisions import TraitRule
from orchestration.declarations.traits import Outcome, Trait
from orchestration.home import Home
from orchestration.measurement.grades import Stability
from orchestration.measurement.stability import Spells, measure_window, median_dwell
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
    score="1",
    rules=(TraitRule(rule="any", text="It holds."),),
    outcome=Outcome(title="silence", silence=True),
    purpose="",
)
Change = tuple[str, str | None, str | None, float, str]
Measured = Callable[..., Stability]


@pytest.fixture
def measured(home: Home) -> Measured:
    """Stability of a ledger: entity, old and new value, day number (the morning it is published), cause.

    Entities whose names begin with ``cookie`` are anonymous.
    """

    def measure(changes: Sequence[Change], days: Sequence[int], trait: Trait = TRAIT) -> Stability:
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
                    "insert into traits.trait_changes values ($1, 'user', $2, 't', $3, $4, null, $5, 'b', $6, $7)",
                    [number, entity, old, new, instant, cause, entity.startswith("cookie")],
                )
                since[entity] = instant
                connection.execute("delete from traits.trait_values where entity_id = $1", [entity])
                if new is not None:
                    connection.execute(
                        "insert into traits.trait_values by name select 'user' as entity_type, $1 as entity_id,"
                        " 't' as trait, $2 as value, $3 as since, starts_with($1, 'cookie') as is_anonymous",
                        [entity, new, instant],
                    )
            return measure_window(connection, [trait], GRID)["t"]

    return measure


def test_first_values_and_changes_of_other_causes_are_no_flips(measured: Measured) -> None:
    first = [(f"u{number}", None, "true" if number < 5 else "false", 1, "behaviour") for number in range(10)]
    later: list[Change] = [
        ("new", None, "false", 2, "behaviour"),
        ("u0", "true", "false", 2, "definition"),
        ("u1", "true", None, 2, "identity"),
    ]
    found = measured([*first, *later], [1, 2, 3])
    assert (found.days, found.flip_rate, found.member_flip_rate, found.repeat_flip_share) == (3, 0, 0, 0)


def test_rates_are_means_over_the_days_after_the_first(measured: Measured) -> None:
    first: list[Change] = [
        (f"u{number}", None, "true" if number < 5 else "false", 1, "backfill") for number in range(10)
    ]
    later: list[Change] = [
        ("u0", "true", "false", 2, "behaviour"),
        ("u9", "false", "true", 2, "behaviour"),
        ("u0", "false", "true", 3, "behaviour"),
    ]
    found = measured([*first, *later], [1, 2, 3])
    # Day 2: two of ten flip; of u1 to u4, u9 and u0 (who left) two moved. Day 3: one of ten; of six members one came.
    assert found.flip_rate == pytest.approx((0.2 + 0.1) / 2)
    assert found.member_flip_rate == pytest.approx((2 / 6 + 1 / 6) / 2, abs=1e-4)


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
    found = measured(changes, [-10, *range(1, 29)])
    assert found.days == 28
    assert found.flip_rate == pytest.approx(0.5 / 28, abs=1e-5)
    assert found.median_dwell_days == 14
    # A member on 3 of the first 7 days, a half each; none on the last 7.
    assert found.prevalence_drift == pytest.approx(-100 * 3 / 7 / 2, abs=0.01)


def test_anonymous_visitors_change_no_rate_unless_the_trait_asks(measured: Measured) -> None:
    people: list[Change] = [("u0", None, "true", 1, "behaviour"), ("u1", None, "false", 1, "behaviour")]
    people += [("u0", "true", "false", 9, "behaviour")]
    visits: list[Change] = [(f"cookie{number}", None, "false", 1, "behaviour") for number in range(8)]
    visits += [(f"cookie{number}", "false", "true", 5, "behaviour") for number in range(3)]
    visits += [(f"cookie{number}", "true", "false", 6, "behaviour") for number in range(3)]
    days = range(1, 20)
    with_visits = measured([*people, *visits], days)
    assert with_visits.flip_rate == pytest.approx(0.5 / 18, abs=1e-5)
    assert (with_visits.repeat_flip_share, with_visits.median_dwell_days) == (0, 8)
    asked = measured([*people, *visits], days, TRAIT.model_copy(update={"everyone": True}))
    assert asked.flip_rate == pytest.approx((0.3 + 0.3 + 0.1) / 18, abs=1e-5)


def spell(found_at: int, ended_at: int, *, left: bool, count: int = 1) -> Spells:
    return Spells(found_at=found_at, ended_at=ended_at, has_left=left, count=count)


def test_the_median_spell_is_that_of_scipy_where_nothing_came_before() -> None:
    from scipy.stats import CensoredData, ecdf

    left, going = [1, 2, 2, 3, 5, 8, 9], [1, 4, 6, 6, 10]
    curve = ecdf(CensoredData(uncensored=left, right=going)).sf
    expected = next(age for age, rest in zip(curve.quantiles, curve.probabilities, strict=True) if rest <= 0.5)
    spells = [spell(0, age, left=True) for age in left] + [spell(0, age, left=False) for age in going]
    assert median_dwell(spells) == expected


def test_who_came_before_the_window_is_at_risk_from_the_age_it_was_found_at() -> None:
    # Without left truncation, ten old spells would make early leaving look rare.
    old, young = spell(100, 110, left=False, count=10), spell(0, 2, left=True, count=2)
    assert median_dwell([old, young]) == 2


def test_spells_that_half_never_leave_last_at_least_as_long_as_was_watched() -> None:
    assert median_dwell([spell(0, 5, left=True), spell(0, 20, left=False, count=9)]) == 20
    assert median_dwell([]) is None
