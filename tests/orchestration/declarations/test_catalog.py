"""Declarations are checked, and errors name file, entry and key."""

import copy
from typing import Any

import pytest

from orchestration.declarations.catalog import read_catalog
from orchestration.errors import UsageError
from orchestration.sync.engine import checked_destination
from orchestration.transform.dbt import Project


@pytest.fixture
def manifest(project: Project) -> dict[str, Any]:
    keys = ("nodes", "exposures")
    return {key: copy.deepcopy(project.manifest_dict[key]) for key in keys}


def trait(manifest: dict[str, Any], name: str = "at_risk") -> dict[str, Any]:
    declared: dict[str, Any] = manifest["nodes"][f"model.traithouse.{name}"]["config"]["meta"]["trait"]
    return declared


def sync(manifest: dict[str, Any]) -> dict[str, Any]:
    declared: dict[str, Any] = manifest["exposures"]["exposure.traithouse.outbox"]["config"]["meta"]["sync"]
    return declared


def refused(manifest: dict[str, Any]) -> UsageError:
    with pytest.raises(UsageError) as error:
        read_catalog(manifest)
    return error.value


def test_a_misspelt_key_is_named_with_the_right_one(manifest: dict[str, Any]) -> None:
    trait(manifest)["ownr"] = trait(manifest).pop("owner")
    error = refused(manifest)
    assert "models/traits/users/at_risk.yml: trait at_risk" in error.message
    assert ("unknown key 'ownr'" in error.message, error.hint) == (True, "Did you mean 'owner'?")


def test_an_unknown_key_suggests_the_close_one(manifest: dict[str, Any]) -> None:
    trait(manifest)["titel"] = "x"
    error = refused(manifest)
    assert error.message == "models/traits/users/at_risk.yml: trait at_risk: unknown key 'titel'."
    assert error.hint == "Did you mean 'title'?"


def test_a_model_in_the_traits_folder_must_be_declared(manifest: dict[str, Any]) -> None:
    del manifest["nodes"]["model.traithouse.at_risk"]["config"]["meta"]["trait"]
    assert "has no config.meta.trait" in refused(manifest).message


def test_a_need_outside_the_vocabulary_is_refused(manifest: dict[str, Any]) -> None:
    trait(manifest)["needs"] = ["pricng"]
    error = refused(manifest)
    assert ("'pricng' is not a behaviour" in error.message, error.hint) == (True, "Did you mean 'pricing'?")


def test_an_outcome_is_behaviours_or_silence(manifest: dict[str, Any]) -> None:
    trait(manifest)["outcome"] = {"title": "x"}
    assert "either behaviours or silence" in refused(manifest).message


def test_a_sync_of_an_unknown_trait_is_refused(manifest: dict[str, Any]) -> None:
    sync(manifest)["traits"] = ["powr_user"]
    error = refused(manifest)
    said = "models/syncs/_syncs.yml: sync outbox: traits: there is no trait 'powr_user'."
    assert (error.message, error.hint) == (said, "Did you mean 'power_user'?")


def test_a_sync_that_its_destination_cannot_take_is_named_with_its_file(manifest: dict[str, Any]) -> None:
    sync(manifest)["destination"] = "carrier_pigeon"
    catalog = read_catalog(manifest)
    said = "models/syncs/_syncs.yml: sync outbox: there is no destination carrier_pigeon"
    with pytest.raises(UsageError, match=said):
        checked_destination(catalog, catalog.sync("outbox"))


def test_a_selector_takes_the_traits_whose_entry_matches(manifest: dict[str, Any]) -> None:
    sync(manifest)["traits"] = {"owner": "growth"}
    catalog = read_catalog(manifest)
    chosen = {one.name for one in catalog.traits_of(catalog.sync("outbox"))}
    assert chosen == {one.name for one in catalog.traits if one.owner == "growth" and one.entity == "user"}
    assert "ready_to_upgrade" in chosen and "power_user" not in chosen


def test_a_trait_says_which_traits_it_is_made_of(project: Project) -> None:
    upstream = {trait.name: trait.upstream_traits for trait in project.catalog.traits if trait.upstream_traits}
    assert upstream == {"lifecycle_stage": {"activated", "at_risk", "dormant", "resurrected"}}


def test_every_placeholder_of_a_sentence_stands_in_the_evidence(project: Project) -> None:
    for declared in project.catalog.traits:
        sql = project.manifest_dict["nodes"][f"model.traithouse.{declared.name}"]["raw_code"]
        for rule in declared.sentences:
            assert f"'{rule}'" in sql, (declared.name, rule)
            for name in declared.placeholders(rule):
                assert f"'{name}':" in sql, (declared.name, rule, name)
