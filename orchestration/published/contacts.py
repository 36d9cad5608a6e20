"""Identifiers, labels and consent of entities: personal, so in no published table.

Publishing writes those that declared syncs need into ``contacts.parquet`` of the home, which syncs alone read. Grain:
entity_type x entity_id x attribute; value is text, never empty, and the one that holds now. ``contacts.json`` lists the
pairs of entity_type and attribute that were asked for, for a pair may have been asked for and have no row.
"""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.home import Home, write_atomically

CONSENT = "consent"


def contacts_file(home: Home) -> Path:
    """The Parquet file; there is none when no declared sync needs it."""
    return home.root / "contacts.parquet"


def asked_contacts_file(home: Home) -> Path:
    """The list of what was asked for."""
    return home.root / "contacts.json"


def contact_names(catalog: Catalog) -> list[list[str]]:
    """Pairs of entity_type and attribute that declared syncs need, sorted."""
    needed = {(sync.entity, sync.identified_by) for sync in catalog.syncs if not sync.is_native}
    needed |= {(sync.entity, sync.label) for sync in catalog.syncs if sync.label}
    needed |= {(sync.entity, CONSENT) for sync in catalog.syncs if sync.purpose}
    return [list(pair) for pair in sorted(needed)]


def asked_contacts(home: Home) -> list[list[str]]:
    """Pairs of entity_type and attribute that the file was written for; none when there is no file."""
    listed = asked_contacts_file(home)
    if not listed.exists() or not contacts_file(home).exists():
        return []
    names: list[list[str]] = json.loads(listed.read_text())
    return names


def write_contacts(home: Home, connection: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    """Writes identifiers, labels and consent as they are now, or removes the files when no sync needs any.

    Args:
        home: where; hold its lock.
        connection: the warehouse.
        catalog: whose syncs ask.

    """
    names = contact_names(catalog)
    target, listed = contacts_file(home), asked_contacts_file(home)
    if not names:
        target.unlink(missing_ok=True)
        listed.unlink(missing_ok=True)
        return
    draft = target.with_suffix(".draft")
    quoted = str(draft).replace("'", "''")
    connection.execute("create or replace temp table asked (entity_type varchar, attribute varchar)")
    connection.executemany("insert into asked (entity_type, attribute) values (?, ?)", names)
    connection.execute(
        f"""
        copy (
            select a.entity_type, a.entity_id, a.attribute, a.value
            from identity.attributes as a
            semi join asked using (entity_type, attribute)
            where a.valid_to is null and a.value is not null and a.value != ''
            order by all
        ) to '{quoted}' (format parquet)
        """
    )
    draft.replace(target)
    write_atomically(listed, json.dumps(names))
