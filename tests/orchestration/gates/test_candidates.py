"""The candidate audit: real Great Expectations verdicts on real candidates."""

import pytest

from orchestration.declarations.traits import Expectation
from orchestration.gates.candidate_checks import check_names
from orchestration.gates.candidates import audit
from orchestration.home import Home
from orchestration.pipeline.refresh import waive_trait
from orchestration.publishing.publish import publish
from orchestration.transform.dbt import Project
from tests.builds import FLIP, next_build
from tests.conftest import as_if_made, queried, served

AT_RISK_AND_DOWNSTREAM = ["at_risk", "lifecycle_stage"]


def judged(home: Home, project: Project, sql: str) -> dict[str, tuple[str, list[str]]]:
    """Changes something in the warehouse, then judges the same build again: verdict and failed checks by trait."""
    as_if_made(home, project, sql)
    verdicts = audit(project)
    return {v.trait: (v.verdict, [check.name for check in v.checks if not check.passed]) for v in verdicts}


def test_good_candidates_pass_every_check(sample_home: Home, sample_project: Project) -> None:
    verdicts = judged(sample_home, sample_project, "select 1")
    assert {broken for _, checks in verdicts.values() for broken in checks} <= {"required_behaviours"}
    for trait in ("at_risk", "power_user", "ready_to_upgrade"):
        assert verdicts[trait] == ("passed", [])


def test_what_runs_is_what_is_announced(sample_home: Home, sample_project: Project) -> None:
    judged_in_full = [verdict for verdict in audit(sample_project) if verdict.verdict == "passed"]
    assert judged_in_full
    for verdict in judged_in_full:
        assert [c.name for c in verdict.checks] == check_names(sample_project.catalog.trait(verdict.trait))


@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        ("insert into candidates.at_risk select * from candidates.at_risk limit 1", "grain"),
        ("update candidates.at_risk set user_id = null where user_id = 'user_0001'", "entity"),
        pytest.param(
            "update candidates.at_risk set value = null where user_id = 'user_0001'", "value", marks=pytest.mark.long
        ),
        pytest.param(
            "update candidates.at_risk set score = 'nan' where user_id = 'user_0001'", "score", marks=pytest.mark.long
        ),
        ("update candidates.at_risk set score = 'inf' where user_id = 'user_0001'", "score"),
        pytest.param(
            "update candidates.at_risk set evidence = '{\"rule\": ' where user_id = 'user_0001'",
            "evidence",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "update candidates.at_risk set evidence = null where user_id = 'user_0001'",
            "evidence",
            marks=pytest.mark.long,
        ),
        ("update candidates.at_risk set evidence = '{\"rule\": \"whim\"}' where user_id = 'user_0001'", "evidence"),
        ("update candidates.at_risk set as_of = as_of - interval 1 day where user_id = 'user_0001'", "as_of"),
        ("delete from candidates.at_risk where user_id > 'user_0290'", "population"),
        pytest.param("delete from candidates.at_risk", "population", marks=pytest.mark.long),
        ("update candidates.at_risk set value = true", "column_mean_to_be_between"),
    ],
)
def test_a_fault_withholds_its_trait_and_its_downstream_traits_and_the_last_good_values_stay(
    sample_home: Home, sample_project: Project, fault: str, broken: str
) -> None:
    before = served(sample_home, "from traits.trait_values order by all")
    # DuckDB keeps a not null constraint of the contract; the fault gets past it as a hand in the warehouse would.
    queried(sample_home, "alter table candidates.at_risk alter user_id drop not null")
    verdicts = judged(sample_home, sample_project, fault)
    assert verdicts["at_risk"][0] == "failed"
    assert broken in verdicts["at_risk"][1]
    assert verdicts["lifecycle_stage"] == ("failed", ["upstream"])
    assert {name: verdicts[name] for name in ("power_user", "ready_to_upgrade")} == {
        "power_user": ("passed", []),
        "ready_to_upgrade": ("passed", []),
    }
    report = publish(sample_project)
    assert [trait.trait for trait in report.withheld] == AT_RISK_AND_DOWNSTREAM
    assert served(sample_home, "from traits.trait_values order by all") == before
    failed = "select trait from traits.trait_catalog where verdict = 'failed' order by 1"
    assert [name for (name,) in served(sample_home, failed)] == AT_RISK_AND_DOWNSTREAM


def test_a_required_behaviour_that_no_event_is_mapped_to_is_named_and_nothing_is_published(
    sample_home: Home, sample_project: Project
) -> None:
    queried(sample_home, "delete from traits.trait_values where trait = 'ready_to_upgrade'")
    verdicts = judged(sample_home, sample_project, "delete from events.event_catalog where behaviour = 'pricing'")
    assert verdicts["ready_to_upgrade"] == ("not_enough_evidence", ["required_behaviours"])
    assert verdicts["at_risk"][0] == "passed"
    reason = queried(sample_home, "select reason from state.gate_verdicts where trait = 'ready_to_upgrade'")
    assert reason == [("The event catalogue maps no event to pricing, which this trait needs.",)]


def test_a_required_behaviour_that_is_lost_withholds_the_trait(sample_home: Home, sample_project: Project) -> None:
    verdicts = judged(sample_home, sample_project, "delete from events.event_catalog where behaviour = 'pricing'")
    assert verdicts["ready_to_upgrade"] == ("failed", ["required_behaviours"])


def test_rows_that_the_model_did_not_make_are_not_judged_as_its_own(sample_home: Home, sample_project: Project) -> None:
    next_build(sample_project)
    queried(sample_home, "update candidates.at_risk set value = not value where user_id = 'user_0001'")
    verdicts = {verdict.trait: verdict for verdict in audit(sample_project)}
    assert verdicts["at_risk"].verdict == "failed"
    assert verdicts["at_risk"].reason == "Its rows are not those that its model made in this build."
    assert verdicts["power_user"].verdict == "passed"


@pytest.mark.parametrize(
    "gate",
    [
        {"type": "expect_column_men_to_be_between", "kwargs": {"column": "value_number"}},
        {"type": "expect_column_mean_to_be_between", "kwargs": {"colum": "value_number"}},
        {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "no_such_column", "max_value": 1}},
    ],
)
def test_an_expectation_that_cannot_be_evaluated_fails_its_trait_and_its_downstream_traits(
    sample_home: Home, sample_project: Project, gate: dict[str, object]
) -> None:
    broken = tuple(
        trait.model_copy(update={"gate": (Expectation.model_validate(gate),)}) if trait.name == "at_risk" else trait
        for trait in sample_project.catalog.traits
    )
    sample_project = sample_project.replace(catalog=sample_project.catalog.model_copy(update={"traits": broken}))
    verdicts = judged(sample_home, sample_project, "select 1")
    assert [name for name, (verdict, _) in verdicts.items() if verdict == "failed"] == AT_RISK_AND_DOWNSTREAM
    assert {verdicts[name][0] for name in ("power_user", "ready_to_upgrade")} == {"passed"}


def with_history(home: Home, days: int) -> None:
    """As if days before the first publish had been published alike."""
    for table, instants in (("traits.builds", ("as_of", "published_at")), ("traits.gate_verdicts", ("as_of",))):
        earlier = ", ".join(f"{name} - day * interval 1 day as {name}" for name in instants)
        queried(
            home,
            f"insert into {table} select t.* replace ('000000-' || day as build_id, {earlier})"
            f" from {table} as t, range(1, {days + 1}) as days (day)",
        )


@pytest.mark.long
def test_scores_of_another_magnitude_are_withheld_and_the_more_is_published_the_closer_they_are_looked_at(
    sample_home: Home, sample_project: Project
) -> None:
    next_build(sample_project)
    tenfold = "update candidates.power_user set score = score * 10"
    assert judged(sample_home, sample_project, tenfold)["power_user"] == ("passed", [])
    hundredfold = "update candidates.power_user set score = score * 10"
    assert judged(sample_home, sample_project, hundredfold)["power_user"] == ("failed", ["score_size"])
    with_history(sample_home, 6)
    back_to_tenfold = "update candidates.power_user set score = score / 10"
    verdicts = judged(sample_home, sample_project, back_to_tenfold)
    assert verdicts["power_user"] == ("failed", ["score_size"])
    assert verdicts["at_risk"] == ("passed", [])
    threefold = "update candidates.power_user set score = score * 0.3"
    assert judged(sample_home, sample_project, threefold)["power_user"] == ("passed", [])


@pytest.mark.long
def test_a_new_scale_of_scores_is_waived_and_usual_from_then_on(sample_home: Home, sample_project: Project) -> None:
    with_history(sample_home, 6)
    thousandfold = "update candidates.power_user set score = score * 1000"
    next_build(sample_project, as_of="2024-06-30")
    assert judged(sample_home, sample_project, thousandfold)["power_user"] == ("failed", ["score_size"])
    waive_trait(sample_project, "power_user", why="counted in thousandths now", who="ada")
    assert next_build(sample_project, as_of="2024-07-01")["power_user"].verdict == "passed"


def test_a_home_of_an_earlier_version_is_judged_without_a_past_of_scores(
    sample_home: Home, sample_project: Project
) -> None:
    for column in ("score_median", "score_p95"):
        for schema in ("state", "traits"):
            queried(sample_home, f"alter table {schema}.gate_verdicts drop column {column}")
    next_build(sample_project, FLIP)
    report = publish(sample_project)
    assert report.withheld == []
    assert served(sample_home, "select score_median > 0 from traits.gate_verdicts where trait = 'power_user'") == [
        (None,),
        (True,),
    ]


def test_values_of_another_type_than_declared_are_withheld(sample_home: Home, sample_project: Project) -> None:
    wrong = tuple(
        trait.model_copy(update={"type": "number"}) if trait.name == "at_risk" else trait
        for trait in sample_project.catalog.traits
    )
    sample_project = sample_project.replace(catalog=sample_project.catalog.model_copy(update={"traits": wrong}))
    next_build(sample_project, "update candidates.power_user set score = score + 1")
    report = publish(sample_project)
    assert [trait.trait for trait in report.withheld] == AT_RISK_AND_DOWNSTREAM
    assert report.snapshot == report.build_id
