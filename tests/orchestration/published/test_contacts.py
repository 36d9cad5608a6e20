"""What publishing writes for syncs: identifiers and consent that declared syncs ask for, and nothing else."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from orchestration.declarations.syncs import Sync
from orchestration.home import Home
from orchestration.published.contacts import asked_contacts, contact_names, contacts_file, write_contacts
from tests.serving import catalog_of

TRAITS = {"paying": "boolean"}
ATTRIBUTES = """
create schema identity;
create table identity.attributes (
    entity_type varchar, entity_id varchar, attribute varchar, value varchar, valid_to timestamp
);
insert into identity.attributes values
    ('user', 'u1', 'email', 'old@x.org', timestamp '2024-06-01'), ('user', 'u1', 'email', 'a@x.org', null),
    ('user', 'u2', 'email', '', null), ('user', 'u1', 'role', 'admin', null),
    ('account', 'a1', 'email', 'c@x.org', null)
"""


def sync_of(**given: Any) -> Sync:
    declared = {"name": "crm", "description": "A test.", "destination": "file", "traits": "all"}
    return Sync.model_validate(declared | given)


@pytest.fixture
def warehouse() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(ATTRIBUTES)
    return connection


def test_publishing_is_asked_for_what_declared_syncs_need() -> None:
    syncs = (sync_of(name="a", identifier="email"), sync_of(name="b", purpose="ads"), sync_of(name="c"))
    assert contact_names(catalog_of(TRAITS, *syncs)) == [["user", "consent"], ["user", "email"]]
    assert contact_names(catalog_of(TRAITS, syncs[2])) == []


def test_the_file_has_the_values_that_hold_now_and_were_asked_for(
    home: Home, warehouse: duckdb.DuckDBPyConnection
) -> None:
    home.prepare()
    write_contacts(home, warehouse, catalog_of(TRAITS, sync_of(identifier="email", purpose="ads")))
    rows = duckdb.execute(f"from '{contacts_file(home)}'").fetchall()
    assert rows == [("user", "u1", "email", "a@x.org")]
    # Consent was asked for, though nobody has given any.
    assert asked_contacts(home) == [["user", "consent"], ["user", "email"]]


def test_without_a_sync_that_asks_there_is_no_file(home: Home, warehouse: duckdb.DuckDBPyConnection) -> None:
    home.prepare()
    write_contacts(home, warehouse, catalog_of(TRAITS, sync_of(identifier="email")))
    write_contacts(home, warehouse, catalog_of(TRAITS, sync_of()))
    assert not contacts_file(home).exists()
    assert asked_contacts(home) == []
