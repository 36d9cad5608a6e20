"""Makes a serving snapshot with the tables that syncs read; there is no warehouse and no dbt behind it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.declarations.traits import Trait
from orchestration.home import Home
from orchestration.published.contacts import asked_contacts_file, contact_names, contacts_file

SINCE = datetime(2024, 6, 29)
Values = Mapping[str, Mapping[str, str]]


def trait(name: str, kind: str = "boolean", entity: str = "user") -> Trait:
    """A declared trait; what syncs do not read is filled up."""
    return Trait.model_validate(
        {
            "name": name,
            "description": "For a test.",
            "title": name,
            "entity": entity,
            "type": kind,
            "owner": "tests",
            "version": 1,
            "score": "1",
            "rules": [{"rule": "rule", "value": "true", "text": "It holds."}],
            "outcome": {"title": "It happens.", "silence": True},
            "purpose": "A test.",
        }
    )


def catalog_of(traits: Mapping[str, str], *syncs: Sync, everyone: Sequence[str] = ()) -> Catalog:
    """Traits (name -> type) and syncs; those named in ``everyone`` count anonymous visitors, too."""
    declared = (trait(name, kind).model_copy(update={"everyone": name in everyone}) for name, kind in traits.items())
    return Catalog(traits=tuple(declared), syncs=syncs)


def serve(
    home: Home,
    number: int,
    values: Values,
    *,
    grades: Mapping[str, str] | None = None,
    people: Mapping[str, Mapping[str, str]] | None = None,
    catalog: Catalog | None = None,
    entity: str = "user",
    visitors: Sequence[str] = (),
) -> None:
    """Publishes a snapshot as readers find it.

    Args:
        home: where.
        number: of the build.
        values: entity -> trait -> published text.
        grades: trait -> measured stability grade.
        people: entity -> attribute -> value, as it is now.
        catalog: its syncs say which of these are kept; all, when it is left out.
        entity: user or account.
        visitors: entities that are anonymous.

    """
    build_id = f"{number:06d}-20240630T000000Z"
    folder = home.serving / "builds" / build_id
    folder.mkdir(parents=True)
    rows = [
        (entity_id, name, text) for entity_id, traits in sorted(values.items()) for name, text in sorted(traits.items())
    ]
    with duckdb.connect(str(folder / "traithouse.duckdb")) as connection:
        connection.execute(
            """
            create schema traits;
            create table traits.trait_values (
                entity_type varchar, entity_id varchar, trait varchar, value varchar, reason varchar,
                is_anonymous boolean, since timestamp
            );
            create table traits.trait_catalog (trait varchar, grade varchar);
            """
        )
        marked = [(entity, *row, f"{row[1]} is {row[2]}.", str(row[0] in visitors), str(SINCE)) for row in rows]
        _insert(connection, "traits.trait_values", marked, 7)
        _insert(connection, "traits.trait_catalog", list((grades or {}).items()), 2)
        if people is not None:
            attributes = [
                (entity, person, name, text) for person, known in sorted(people.items()) for name, text in known.items()
            ]
            draft = home.root / "contacts.draft"
            connection.execute(
                "create temp table people (entity_type varchar, entity_id varchar, attribute varchar, value varchar)"
            )
            _insert(connection, "people", attributes, 4)
            connection.execute(f"copy people to '{draft}' (format parquet)")
            draft.replace(contacts_file(home))
            names = {(entity, name) for known in people.values() for name in known}
            asked = contact_names(catalog) if catalog else [list(name) for name in sorted(names)]
            asked_contacts_file(home).write_text(json.dumps(asked))
    manifest = {"build_id": build_id, "as_of": "2024-06-30 00:00:00", "published_at": "2024-06-30 01:00:00"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    fresh = home.serving / f".current-{os.getpid()}"
    fresh.symlink_to(folder.relative_to(home.serving))
    fresh.replace(home.serving / "current")


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[Any], width: int) -> None:
    """Column by column, for DuckDB is slow at single rows."""
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        marks = ", ".join(f"unnest(${place + 1}::varchar[])" for place in range(width))
        connection.execute(f"insert into {table} select {marks}", columns)
