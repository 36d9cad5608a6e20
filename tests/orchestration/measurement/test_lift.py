"""Lift: what followed in the 28 days after the clock, for those who had a trait then."""

from collections.abc import Callable

import duckdb
import pytest

from orchestration.home import Home, Settings
from orchestration.measurement.lift import Counts, risk_ratio
from orchestration.pipeline.refresh import publish_build, refresh
from orchestration.transform.dbt import Project
from tests.builds import FLIP, next_build
from tests.conftest import queried, served


def test_the_interval_is_that_of_the_published_example() -> None:
    """The worked example of scipy's documentation of relative_risk (27 of 122 against 44 of 487)."""
    low, ratio, high = risk_ratio(Counts(had=122, had_outcome=27, others=487, others_outcome=44))
    assert (low, ratio, high) == pytest.approx((1.584, 2.449, 3.787), abs=0.02)


def test_a_ratio_that_is_not_finite_is_null() -> None:
    low, ratio, high = risk_ratio(Counts(had=10, had_outcome=2, others=10, others_outcome=0))
    assert (ratio, high) == (None, None)
    assert low is None or low >= 0


@pytest.mark.long
def test_lift_sees_the_traits_as_they_were_and_only_then_the_28_days_after(
    sample_home: Home, project_in: Callable[[Home], Project], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The replayed counts equal those of a home that really stood at that day."""
    past = Home(Settings(home=tmp_path_factory.mktemp("past") / "home"))
    from orchestration.landing.load import load
    from orchestration.simulator.bundled import SAMPLE

    load(past, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source)
    refresh(project_in(past), as_of="2024-06-01")
    then = {row[0] for row in served(past, "select user_id from traits.user_traits where power_user")}
    measured = queried(
        sample_home,
        "select had, had_outcome, others, others_outcome from measurement.trait_lift where trait = 'power_user'",
    )
    active = {
        row[0]
        for row in queried(
            sample_home,
            """
            select distinct user_id from events.fct_events
            where behaviour = 'core_value' and occurred_at >= '2024-06-02' and occurred_at < '2024-06-30'
            """,
        )
    }
    others = {
        row[0]
        for row in served(
            past,
            """
            select entity_id from traits.trait_values
            where trait = 'power_user' and value = 'false' and json_extract_string(evidence, '$.eligible') = 'true'
            """,
        )
    }
    assert measured == [(len(then), len(then & active), len(others), len(others & active))]
    assert queried(sample_home, "select count(*) from duckdb_schemas() where schema_name like 'replay%'") == [(0,)]


@pytest.mark.long
def test_lift_is_measured_once_a_day_and_again_for_another_definition(
    sample_home: Home, sample_project: Project
) -> None:
    messages: list[str] = []
    for as_of in ("2024-06-30T00:00:00", "2024-06-30T12:00:00"):
        next_build(sample_project, as_of=as_of)
        publish_build(sample_project, notify=messages.append)
    assert [line for line in messages if line.startswith("measuring lift")] == []
    next_build(sample_project, as_of="2024-06-30")
    publish_build(sample_project, notify=messages.append)
    assert "measuring lift since 2024-06-03" in messages


def test_lift_that_cannot_be_measured_holds_nothing_back(
    sample_home: Home, sample_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise duckdb.Error("no disk")

    monkeypatch.setattr("orchestration.pipeline.refresh.measure_lift", fail)
    messages: list[str] = []
    next_build(sample_project, FLIP)
    report = publish_build(sample_project, notify=messages.append)
    assert report.published
    assert "lift could not be measured: no disk" in messages
