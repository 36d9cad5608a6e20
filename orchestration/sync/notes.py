"""What records say besides their values: of which traits their fields are, and by what people know the entity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import duckdb

from orchestration.declarations.syncs import Sync
from orchestration.declarations.traits import Trait
from orchestration.destinations import FieldNote, Record
from orchestration.home import Home
from orchestration.sync.audience import NO_CONSENT, Audience, needed_contacts
from orchestration.sync.fields import EntityFields


def field_notes(sync: Sync, traits: Sequence[Trait]) -> dict[str, FieldNote]:
    """Field -> what it says of which trait, for an entity without any published value."""
    notes = {}
    for trait in traits:
        target = sync.target(trait)
        notes[target.field] = FieldNote(trait.name, trait.title, trait.type, trait.owner, trait.version, target.cleared)
    return notes


def notes_of(notes: Mapping[str, FieldNote], published: EntityFields, as_of: datetime) -> dict[str, FieldNote]:
    """Notes of an entity's fields; a value that counts in place of what is published holds from ``as_of`` on."""
    return {
        name: replace(note, since=published.since.get(name, as_of)) if name in published.values else note
        for name, note in notes.items()
    }


def labelled(home: Home, sync: Sync, audience: Audience, records: list[Record]) -> list[Record]:
    """The records with their labels, where the sync declares one.

    Somebody who was forgotten, or has taken consent back, is known by the id alone.

    Raises:
        UsageError: no refresh has read the labels yet.

    """
    if not sync.label:
        return records
    with duckdb.connect() as connection:
        labels = dict(
            connection.execute(
                """
                select entity_id, min(value) from read_parquet($contacts)
                where entity_type = $entity and attribute = $label
                    and entity_id in (select unnest($entities::varchar[]))
                group by entity_id
                """,
                {
                    "contacts": str(needed_contacts(home, sync)),
                    "entity": sync.entity,
                    "label": sync.label,
                    "entities": [record.entity_id for record in records if _is_named(audience, record)],
                },
            ).fetchall()
        )
    return [replace(record, label=labels.get(record.entity_id, "")) for record in records]


def _is_named(audience: Audience, record: Record) -> bool:
    skipped = audience.skipped.get(record.entity_id)
    return not record.forgotten and (skipped is None or not skipped.reason.startswith(NO_CONSENT))
