"""The candidate audit: real Great Expectations verdicts on real candidates."""

from collections.abc import Iterable

import pytest

from orchestration.declarations.traits import Expectation
from orchestration.gates.candidate_checks import check_names
from orchestration.gates.candidates import audit
from orchestration.gates.verdicts import Verdict
from orchestration.home import Home
from orchestration.publishing.publish import publish
from orchestration.transform.dbt import Project
from tests.builds import FLIP, next_build
from tests.conftest import as_if_made, queried, served

AT_RISK_AND_DOWNSTREAM = ["at_risk", "lifecycle_stage"]


def judged(home: Home, project: Project, sql: str) -> dict[str, tuple[str, list[str]]]:
    """Changes something in the warehouse, then judges the same build again: verdict and failed checks by trait."""
    as_if_made(home, project, sql)
    return failed_checks(audit(project))


def failed_checks(verdicts: Iterable[Verdict]) -> dict[str, tuple[str, list[str]]]:
    """Verdict and failed checks by trait."""
    return {
        v.trait: (v.verdict, [check.name for check in v.checks if not check.passed and check.severity != "info"])
        for v in verdicts
    }


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


def test_a_required_behaviour_that_is_lost_leaves_the_last_values_and_says_why(
    sample_home: Home, sample_project: Project
) -> None:
    before = served(sample_home, "select * from traits.trait_values where trait = 'ready_to_upgrade' order by all")
    verdicts = judged(sample_home, sample_project, "delete from events.event_catalog where behaviour = 'pricing'")
    assert verdicts["ready_to_upgrade"] == ("not_enough_evidence", ["required_behaviours"])
    publish(sample_project)
    after = served(sample_home, "select * from traits.trait_values where trait = 'ready_to_upgrade' order by all")
    assert after == before != []


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


@pytest.mark.parametrize(
    ("change", "trait", "broken"),
    [
        # Evidence, score and value are made of the features, so only their shape is odd.
        ("adjusted_silent_days = adjusted_silent_days * 2", "at_risk", "score_factor"),
        ("adjusted_silent_days = -adjusted_silent_days", "at_risk", "score_sign"),
        ("adjusted_silent_days = 3", "at_risk", "score_rank"),
        ("adjusted_silent_days = null", "at_risk", "score_nulls"),
        ("silent_days = silent_days - 1", "dormant", "features"),
        ("core_value_28d = active_days_28d, active_days_28d = core_value_28d", "power_user", "features"),
    ],
)
def test_features_that_are_wrong_withhold_what_is_made_of_them(
    sample_home: Home, sample_project: Project, change: str, trait: str, broken: str
) -> None:
    verdicts = failed_checks(next_build(sample_project, f"update features.user_features set {change}").values())
    assert verdicts[trait][0] == "failed"
    assert broken in verdicts[trait][1]


@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        ("update candidates.power_user set value = not value where user_id = 'user_0001'", "value_agrees"),
        ("update candidates.power_user set score = score * 1.1", "score_agrees"),
        ("update candidates.power_user set evidence = replace(evidence, 'true', 'false')", "evidence_agrees"),
        ("update candidates.power_user set evidence = replace(evidence, 'below', '<b>below')", "markup"),
        ("update candidates.power_user__thresholds set enter_score = enter_score * 2", "evidence_agrees"),
        ("insert into candidates.power_user__thresholds from candidates.power_user__thresholds", "thresholds"),
        ("update candidates.power_user__thresholds set eligible_count = 1000", "thresholds_population"),
        ("delete from candidates.power_user where user_id = 'user_0001'", "complete"),
    ],
)
def test_a_candidate_that_its_declaration_does_not_give_is_withheld(
    sample_home: Home, sample_project: Project, fault: str, broken: str
) -> None:
    verdict, checks = judged(sample_home, sample_project, fault)["power_user"]
    assert verdict == "failed"
    assert broken in checks


def test_the_order_of_the_members_of_evidence_is_no_fault(sample_home: Home, sample_project: Project) -> None:
    turned = """
        update candidates.power_user set evidence = json_object(
            'derived', evidence -> 'derived', 'thresholds', evidence -> 'thresholds',
            'features', evidence -> 'features', 'eligible', evidence -> 'eligible', 'rule', evidence -> 'rule'
        )
    """
    assert judged(sample_home, sample_project, turned)["power_user"] == ("passed", [])


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
    next_build(sample_project, FLIP)
    wrong = tuple(
        trait.model_copy(update={"type": "number"}) if trait.name == "at_risk" else trait
        for trait in sample_project.catalog.traits
    )
    sample_project = sample_project.replace(catalog=sample_project.catalog.model_copy(update={"traits": wrong}))
    audit(sample_project)
    report = publish(sample_project)
    assert [trait.trait for trait in report.withheld] == AT_RISK_AND_DOWNSTREAM
    assert report.snapshot == report.build_id
