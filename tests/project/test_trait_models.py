"""The catalogue on synthetic users: every explanation reads true, stages and traits never contradict each other."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.declarations.traits import Trait
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.measurement.replay import Replay
from orchestration.published.sentences import sentence, sentence_sql
from orchestration.simulator.make import make_simulation
from orchestration.simulator.parameters import Parameters
from orchestration.simulator.write import EVENTS
from orchestration.transform.clock import days_before
from orchestration.transform.dbt import Project
from tests.builds import publish_day
from tests.cache import cached, copied, parsed_project
from tests.conftest import queried

FEATURES = {"user": "features.user_features", "account": "features.account_features"}


def make_home(folder: Path) -> None:
    made = Home(Settings(home=folder / "home"))
    make_simulation(Parameters(accounts=130, days=150), folder)
    load(made, [folder / EVENTS], source="sandbox")
    publish_day(parsed_project(made))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with synthetic events, refreshed; read it only."""
    return copied(cached("simulation", make_home) / "home", tmp_path_factory.mktemp("simulation") / "home")


def all_traits(project: Project) -> tuple[Trait, ...]:
    """Every declared trait."""
    return project.catalog.traits


def test_every_trait_has_an_owner_a_purpose_and_a_meaning(project: Project) -> None:
    for trait in all_traits(project):
        assert trait.owner and len(trait.purpose) > 20 and len(trait.description) > 40, trait.name


@pytest.mark.long
def test_every_explanation_quotes_its_own_evidence(simulated: Home, project: Project) -> None:
    for trait in all_traits(project):
        rows = queried(simulated, f"select {trait.id_column}, evidence, {sentence_sql(trait)} from {trait.candidate}")
        assert rows, trait.name
        for entity, evidence, reason in rows:
            assert reason == sentence(trait, evidence), (trait.name, entity)
            assert "None" not in reason and "null" not in reason, (trait.name, entity, reason)


@pytest.mark.long
def test_numbers_in_explanations_are_the_numbers_in_the_features(simulated: Home, project: Project) -> None:
    for trait in all_traits(project):
        relation = FEATURES[trait.entity]
        columns = [row[0] for row in queried(simulated, f"select column_name from (describe {relation})")]
        known = queried(
            simulated,
            f"select evidence, {', '.join(f'cast(f.{column} as varchar)' for column in columns)}"
            f" from {trait.candidate} as c join {relation} as f using ({trait.id_column})",
        )
        compared = 0
        for evidence, *values in known:
            of_the_entity = dict(zip(columns, values, strict=True))
            for name, number in json.loads(evidence)["features"].items():
                if of_the_entity.get(name) is not None and number is not None:
                    assert number == yaml.safe_load(of_the_entity[name]), (trait.name, name)
                    compared += 1
        assert compared, trait.name


def test_stage_and_traits_never_contradict_each_other(simulated: Home) -> None:
    wrong = queried(
        simulated,
        """
        select s.user_id, s.value, r.value, d.value, b.value, a.value
        from candidates.lifecycle_stage as s
        join candidates.at_risk as r using (user_id)
        join candidates.dormant as d using (user_id)
        join candidates.resurrected as b using (user_id)
        join candidates.activated as a using (user_id)
        where
            (s.value = 'slipping') != r.value
            or (s.value = 'dormant') != d.value
            or (s.value = 'resurrected' and not b.value)
            or (s.value = 'activated' and not a.value)
            or (s.value = 'new' and (a.value or r.value or d.value or b.value))
            or (r.value and d.value)
        """,
    )
    assert wrong == []


def test_prices_before_value_and_ready_to_upgrade_are_disjoint(simulated: Home) -> None:
    both = """
        select u.user_id from candidates.ready_to_upgrade as u join candidates.pricing_before_value as p using (user_id)
        where u.value and p.value
    """
    assert queried(simulated, both) == []


@pytest.mark.long
def test_realised_prevalence_stays_within_two_points_of_the_target(simulated: Home, project_in: Any) -> None:
    project = project_in(simulated)
    aimed = [trait for trait in all_traits(project) if trait.target]
    assert aimed
    (as_of,) = queried(simulated, "select as_of from state.current_build")[0]
    clocks = [days_before(as_of, back, project.time_zone) for back in range(30, -1, -1)]
    with simulated.lock("test"):
        replay = Replay(project, [trait.name for trait in aimed])
        with simulated.connect() as connection, replay.over(connection, clocks) as days:
            for number, clock in enumerate(days):
                for trait in aimed:
                    row = connection.execute(
                        f"""
                        select avg(cast(value as integer))
                        from replay_candidates."{trait.name}"
                        where json_extract_string(evidence, '$.eligible') = 'true'
                        """
                    ).fetchone()
                    # The reference needs its first days to settle.
                    if number >= 10 and row and trait.target:
                        assert abs(row[0] - trait.target) <= 0.02, (trait.name, clock, row[0])
