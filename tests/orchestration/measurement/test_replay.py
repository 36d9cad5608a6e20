"""Replay: past clocks from the project's own SQL."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime

import pytest

from orchestration.errors import TraithouseError
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.measurement.replay import ANY_CLOCK, Replay, replay
from orchestration.pipeline.refresh import write_and_audit
from orchestration.simulator.bundled import SAMPLE
from orchestration.transform.dbt import Project
from tests.conftest import queried

CLOCK = datetime(2024, 6, 2)


def schemas(home: Home) -> int:
    return int(queried(home, "select count(*) from duckdb_schemas() where schema_name like 'replay%'")[0][0])


@pytest.mark.long
def test_replayed_candidates_equal_those_of_a_refresh_at_that_clock(
    sample_home: Home,
    sample_project: Project,
    project_in: Callable[[Home], Project],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    past = Home(Settings(home=tmp_path_factory.mktemp("past") / "home"))
    load(past, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source)
    write_and_audit(project_in(past), as_of="2024-06-01")
    with sample_home.lock("test"), closing(replay(sample_project, [CLOCK])) as clocks:
        assert next(clocks) == CLOCK
        for trait in sample_project.catalog.traits:
            replayed = f'replay_candidates."{trait.name}"'
            columns = "select column_name, column_type from (describe {})"
            assert queried(sample_home, columns.format(replayed)) == queried(past, columns.format(trait.candidate))
            rows = "select * from {} order by all"
            assert queried(sample_home, rows.format(replayed)) == queried(past, rows.format(trait.candidate))
    assert schemas(sample_home) == 0


def test_only_the_named_traits_and_what_they_need_are_replayed(sample_home: Home, sample_project: Project) -> None:
    with sample_home.lock("test"), closing(replay(sample_project, [CLOCK], traits=["at_risk"])) as clocks:
        next(clocks)
        made = queried(sample_home, "select table_name from duckdb_tables() where schema_name = 'replay_candidates'")
    assert sorted(made) == [("at_risk",), ("at_risk__thresholds",)]


def test_nothing_is_left_of_a_replay_that_fails(sample_home: Home, sample_project: Project) -> None:
    clocks = replay(sample_project, [CLOCK], traits=["at_risk"])
    with pytest.raises(RuntimeError), sample_home.lock("test"), closing(clocks):
        next(clocks)
        assert schemas(sample_home) == 3
        raise RuntimeError
    assert schemas(sample_home) == 0


def test_state_is_carried_with_the_clock_of_its_last_change(sample_home: Home, sample_project: Project) -> None:
    """A user's since is the first of the clocks in a row at which the value was the same."""
    clocks = [datetime(2024, 6, day) for day in range(1, 6)]
    values: dict[str, list[tuple[datetime, str]]] = {}
    with sample_home.lock("test"):
        for clock in replay(sample_project, clocks, traits=["at_risk"]):
            state = {
                entity: (value, since)
                for entity, value, since in queried(
                    sample_home, "select entity_id, value, since from replay_state.trait_state where trait = 'at_risk'"
                )
            }
            for entity, past in values.items():
                since = next(
                    at for number, (at, _) in enumerate(past) if len({value for _, value in past[number:]}) == 1
                )
                assert state[entity] == (past[-1][1], since)
            for entity, value in queried(
                sample_home, 'select user_id, cast(value as varchar) from replay_candidates."at_risk"'
            ):
                values.setdefault(entity, []).append((clock, value))
    assert any(len({value for _, value in past}) > 1 for past in values.values())


def test_a_model_that_reckons_with_the_clock_in_python_is_refused(
    sample_home: Home, sample_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sample_project.compiled

    def reckoning(**arguments: object) -> dict[str, str]:
        sql = real(**arguments)  # type: ignore[arg-type]
        week_before = str(ANY_CLOCK.date().replace(day=15))
        return {name: text.replace("select", f"select date '{week_before}', ", 1) for name, text in sql.items()}

    monkeypatch.setattr(sample_project, "compiled", reckoning)
    with pytest.raises(TraithouseError, match="cannot be replayed"):
        Replay(sample_project, ["at_risk"])
