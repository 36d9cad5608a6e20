"""Declarations of syncs are checked, and errors name file, entry and key."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestration.declarations.catalog import read_catalog
from orchestration.errors import UsageError
from orchestration.sync.validate import checked_destination

Declared = dict[str, Any]
Refused = Callable[[], UsageError]
OUTBOX = "models/syncs/_syncs.yml: sync outbox"


def test_a_sync_of_an_unknown_trait_is_refused(sync: Declared, refused: Refused) -> None:
    sync["traits"] = ["powr_user"]
    error = refused()
    assert error.message == f"{OUTBOX}: traits: there is no trait 'powr_user'."
    assert error.hint == "Did you mean 'power_user'?"


def test_a_trait_of_the_other_entity_is_refused(sync: Declared, refused: Refused) -> None:
    sync["traits"] = ["health"]
    assert refused().message == f"{OUTBOX}: traits: health is a trait of accounts, and the sync sends users."


def test_a_scope_of_the_other_entity_is_refused(sync: Declared, refused: Refused) -> None:
    sync["scope"] = {"trait": "health"}
    assert refused().message == f"{OUTBOX}: scope.trait: health is not a trait of users."


def test_a_selector_by_an_unknown_key_is_refused(sync: Declared, refused: Refused) -> None:
    sync["traits"] = {"ownr": "growth"}
    error = refused()
    assert error.message == f"{OUTBOX}: traits: 'ownr' is not a key of a trait."
    assert error.hint == "Did you mean 'owner'?"


def test_a_selector_takes_the_traits_whose_entry_matches(manifest: Declared, sync: Declared) -> None:
    sync["traits"] = {"owner": "growth"}
    catalog = read_catalog(manifest)
    chosen = {trait.name for trait in catalog.traits_of(catalog.sync("outbox"))}
    assert chosen == {trait.name for trait in catalog.traits if trait.owner == "growth" and trait.entity == "user"}
    assert "ready_to_upgrade" in chosen and "power_user" not in chosen


def test_a_destination_that_does_not_exist_is_named_with_the_file(manifest: Declared, sync: Declared) -> None:
    sync["destination"] = "carrier_pigeon"
    catalog = read_catalog(manifest)
    with pytest.raises(UsageError, match=f"{OUTBOX}: there is no destination carrier_pigeon"):
        checked_destination(catalog, catalog.sync("outbox"))


def test_an_exposure_in_the_syncs_folder_must_be_declared(manifest: Declared, refused: Refused) -> None:
    del manifest["exposures"]["exposure.traithouse.outbox"]["config"]["meta"]["sync"]
    assert refused().message == "models/syncs/_syncs.yml: outbox has neither config.meta.sync nor config.meta.tables."


def test_a_label_that_is_no_attribute_is_refused(sync: Declared, refused: Refused) -> None:
    sync["label"] = "emial"
    error = refused()
    assert error.message == f"{OUTBOX}: label: 'emial' is no attribute of users."
    assert error.hint == "Did you mean 'email'?"
