"""A destination is looked at before anything is created, and what is missing is created with type and label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.home import Home, Settings
from orchestration.sync.prepare import NOTHING_TO_PREPARE, PrepareReport, prepare_sync
from orchestration.transform.dbt import Project
from tests.orchestration.destinations.standins import HttpStandIn, standin
from tests.orchestration.destinations.standins.hubspot import HubspotStandIn
from tests.orchestration.destinations.standins.intercom import IntercomStandIn
from tests.orchestration.destinations.standins.salesforce import SalesforceStandIn

FIELDS = {
    "at_risk": {"field": "th_at_risk", "cleared": False},
    "power_user": {"field": "th_power", "cast": "number"},
    "lifecycle_stage": {"field": "th_stage"},
}


@pytest.fixture
def catalog(sample_project: Project) -> Catalog:
    return sample_project.catalog


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(Settings(home=tmp_path / "prepared", env="production"))


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpStandIn]:
    made = standin(request.param)
    assert isinstance(made, HttpStandIn)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    with made.running(tmp_path):
        yield made


def wanted(target: HttpStandIn, **given: Any) -> Sync:
    fields = FIELDS
    if target.name == "salesforce":
        fields = {trait: {**declared, "field": f"{declared['field']}__c"} for trait, declared in FIELDS.items()}
    return target.sync(**{"traits": tuple(FIELDS), "fields": fields} | given)


def states(report: PrepareReport) -> list[str]:
    return [field.state for field in report.fields]


def there(target: HttpStandIn) -> dict[str, Any]:
    """Every field that the vendor has, with its type."""
    assert isinstance(target, HubspotStandIn | IntercomStandIn | SalesforceStandIn)
    return dict(target.attributes if isinstance(target, IntercomStandIn) else target.types)


@pytest.mark.parametrize("target", ["hubspot", "salesforce", "intercom"], indirect=True)
def test_missing_fields_are_shown_first_then_created_with_type_and_label_and_then_there(
    target: HttpStandIn, home: Home, catalog: Catalog
) -> None:
    sync, before = wanted(target), there(target)
    dry = prepare_sync(home, catalog, sync, dry_run=True)
    assert (dry.error, states(dry)) == ("", ["there", "missing", "missing", "missing"])
    assert there(target) == before
    made = prepare_sync(home, catalog, sync)
    assert (made.error, states(made)) == ("", ["there", "created", "created", "created"])
    kinds = [there(target)[field.field] for field in made.fields[1:]]
    assert (
        kinds
        == {
            "hubspot": ["bool", "number", "string"],
            "salesforce": [bool, (int, float), str],
            "intercom": ["boolean", "float", "string"],
        }[target.name]
    )
    titles = [catalog.trait(name).title for name in FIELDS]
    if isinstance(target, HubspotStandIn | SalesforceStandIn):
        assert [target.labels[field.field] for field in made.fields[1:]] == titles
    if not isinstance(target, SalesforceStandIn):
        again = prepare_sync(home, catalog, sync)
        assert states(again) == ["there"] * 4


@pytest.mark.parametrize("target", ["salesforce"], indirect=True)
def test_a_permission_set_makes_created_fields_editable(
    target: SalesforceStandIn, home: Home, catalog: Catalog
) -> None:
    options = target.declaration()["options"]
    without = prepare_sync(home, catalog, wanted(target))
    assert "give the sync's user the right" in without.fields[1].note
    assert target.hidden == {"th_at_risk__c", "th_power__c", "th_stage__c"}
    # Nobody may see them, so they look as if they were missing; the vendor says that they are there.
    assert "DUPLICATE_DEVELOPER_NAME" in prepare_sync(home, catalog, wanted(target)).error
    for name in target.hidden:
        del target.types[name]
    target.hidden.clear()
    sync = wanted(target, options={**options, "permission_set": "Traithouse"})
    assert states(prepare_sync(home, catalog, sync)) == ["there", "created", "created", "created"]
    assert not target.hidden
    assert states(prepare_sync(home, catalog, sync)) == ["there"] * 4


@pytest.mark.parametrize("target", ["hubspot"], indirect=True)
def test_a_missing_scope_or_a_wrong_field_creates_nothing(target: HubspotStandIn, home: Home, catalog: Catalog) -> None:
    target.scopes.remove("crm.schemas.contacts.write")
    before = there(target)
    report = prepare_sync(home, catalog, wanted(target))
    assert report.missing_scopes == ("crm.schemas.contacts.write",)
    assert report.error == "the key lacks crm.schemas.contacts.write"
    target.scopes.append("crm.schemas.contacts.write")
    target.types["th_power"] = before["th_power"] = "date"
    report = prepare_sync(home, catalog, wanted(target))
    assert (states(report), report.error) == (["there", "missing", "wrong", "missing"], "1 wrong")
    assert report.fields[2].note == "it is a property of type date, and a number is sent"
    assert there(target) == before
    report = prepare_sync(home, catalog, wanted(target, identifier="", identifier_field="stage"))
    assert report.fields[0].note == "its values need not be unique; create another that requires unique values"


@pytest.mark.parametrize("target", ["hubspot"], indirect=True)
def test_a_missing_identifier_is_created_with_unique_values(
    target: HubspotStandIn, home: Home, catalog: Catalog
) -> None:
    report = prepare_sync(home, catalog, wanted(target, identifier="", identifier_field="th_user_id"))
    assert states(report) == ["created"] * 4
    assert "th_user_id" in target.unique


@pytest.mark.parametrize("target", ["intercom"], indirect=True)
def test_attributes_of_companies_are_text(target: IntercomStandIn, home: Home, catalog: Catalog) -> None:
    (trait,) = [trait for trait in catalog.traits if trait.name == "account_at_risk"]
    sync = target.sync(entity="account", object="companies", traits=(trait.name,))
    assert states(prepare_sync(home, catalog, sync)) == ["there", "created"]
    assert target.company_attributes[trait.name] == "string"


@pytest.mark.parametrize("target", ["hubspot"], indirect=True)
def test_outside_production_nothing_is_created(target: HubspotStandIn, tmp_path: Path, catalog: Catalog) -> None:
    before = there(target)
    report = prepare_sync(Home(Settings(home=tmp_path / "development")), catalog, wanted(target))
    assert report.dry_run and "production" in report.why_dry
    assert there(target) == before


@pytest.mark.parametrize("target", ["braze"], indirect=True)
def test_a_destination_that_makes_fields_itself_needs_nothing(
    target: HttpStandIn, home: Home, catalog: Catalog
) -> None:
    assert prepare_sync(home, catalog, target.sync(traits=("at_risk",))).note == NOTHING_TO_PREPARE


@pytest.mark.parametrize("target", ["hubspot", "salesforce", "intercom"], indirect=True)
@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"results": 5, "data": 5, "fields": 5}', b'{"results": [5]}', b"<html>"]
)
def test_an_answer_that_cannot_be_read_is_an_error_and_creates_nothing(
    target: HttpStandIn, home: Home, catalog: Catalog, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = type(target).handle
    monkeypatch.setattr(type(target), "handle", lambda self, request: _garbled(handle(self, request), request, body))
    before = there(target)
    report = prepare_sync(home, catalog, wanted(target))
    assert report.error
    assert there(target) == before


def _garbled(answer: Any, request: Any, body: bytes) -> Any:
    return answer if "oauth" in request.path else replace(answer, body=body)
