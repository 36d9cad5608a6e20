"""A withheld trait: status, failed rows, waiver, published; and what cannot be waived."""

import json

import pytest

from orchestration.errors import UsageError
from orchestration.gates.candidates import audit
from orchestration.home import Home
from orchestration.pipeline.refresh import publish_build
from orchestration.pipeline.status import home_status
from orchestration.pipeline.waive import waive_trait
from orchestration.transform.dbt import Project
from tests.builds import next_build
from tests.conftest import as_if_made, queried, served

# As if silence were counted twice: unusual, and nothing that contradicts anything else.
DOUBLED = "update features.user_features set adjusted_silent_days = adjusted_silent_days * 2"


def withhold(home: Home, project: Project, sql: str) -> None:
    """Makes candidates so, has them judged, and publishes the rest."""
    if sql == DOUBLED:
        next_build(project, sql)
    else:
        as_if_made(home, project, sql)
        audit(project)
    publish_build(project)


def test_a_real_shift_is_let_through_with_who_when_why_and_what(sample_home: Home, sample_project: Project) -> None:
    withhold(sample_home, sample_project, DOUBLED)
    withheld, downstream = home_status(sample_home)["withheld"]
    assert withheld["trait"] == "at_risk"
    assert downstream == {"trait": "lifecycle_stage", "reason": "Its upstream trait at_risk is withheld."}
    assert "score_factor" in withheld["reason"]
    scores = "select sum(score) from traits.trait_values where trait = 'at_risk'"
    [(before,)] = served(sample_home, scores)
    with pytest.raises(UsageError, match="upstream"):
        waive_trait(sample_project, "lifecycle_stage", why="a customer left", who="ada")

    report = waive_trait(sample_project, "at_risk", why="a customer left", who="ada")
    assert report.withheld == []
    [(after,)] = served(sample_home, scores)
    assert after == pytest.approx(2 * before, rel=0.01)
    [(who, why, checks)] = served(sample_home, "select waived_by, reason, checks from traits.waivers")
    assert (who, why) == ("ada", "a customer left")
    assert {check["name"] for check in json.loads(checks)} == {"score_factor"}
    [(verdict, reason)] = served(
        sample_home, "select verdict, verdict_reason from traits.trait_catalog where trait = 'at_risk'"
    )
    assert (verdict, reason) == ("passed", "Waived by ada: a customer left")


@pytest.mark.long
def test_a_waiver_is_of_one_content_alone(sample_home: Home, sample_project: Project) -> None:
    withhold(sample_home, sample_project, DOUBLED)
    waive_trait(sample_project, "at_risk", why="a customer left", who="ada")
    withhold(sample_home, sample_project, "delete from candidates.at_risk where user_id > 'user_0200'")
    assert [trait["trait"] for trait in home_status(sample_home)["withheld"]] == ["at_risk", "lifecycle_stage"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("update candidates.at_risk set value = null where user_id = 'user_0001'", "value"),
        ("update candidates.at_risk set evidence = '[]' where user_id = 'user_0001'", "evidence"),
        ("update candidates.at_risk set user_id = 'nobody' where user_id = 'user_0001'", "known"),
    ],
)
def test_what_is_wrong_cannot_be_waived(sample_home: Home, sample_project: Project, sql: str, named: str) -> None:
    withhold(sample_home, sample_project, sql)
    with pytest.raises(UsageError, match=named):
        waive_trait(sample_project, "at_risk", why="looks fine", who="ada")
    assert served(sample_home, "select count(*) from traits.waivers") == [(0,)]


def test_what_is_not_withheld_needs_no_waiver(sample_home: Home, sample_project: Project) -> None:
    with pytest.raises(UsageError, match="is passed, not withheld"):
        waive_trait(sample_project, "at_risk", why="looks fine", who="ada")
    with pytest.raises(UsageError, match="needs a reason"):
        waive_trait(sample_project, "at_risk", why=" ", who="ada")


def test_failed_rows_are_kept_with_their_total(sample_home: Home, sample_project: Project) -> None:
    as_if_made(sample_home, sample_project, "update candidates.at_risk set score = 'nan' where user_id < 'user_0100'")
    audit(sample_project)
    rows = "select check_name, total, count(*), min(row_json) from state.failed_rows group by all"
    kept_rows = {check: rest for check, *rest in queried(sample_home, rows)}
    assert {*kept_rows} == {"score", "score_agrees"}
    total, kept, row = kept_rows["score"]
    assert total > kept == 20
    assert json.loads(row)["user_id"] == "user_0000"
