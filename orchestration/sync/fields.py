"""What becomes of published values at a destination: each trait's field, the type of its values, and its sentence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.declarations.traits import Trait
from orchestration.published.who_counts import counts_everyone

Overrides = Mapping[str, Mapping[str, str]]
"""Trait -> entity -> value that counts in place of what is published."""

# From so many entities on, reading every row is faster than looking for theirs.
_READ_ALL_FROM = 100_000


@dataclass(frozen=True)
class EntityFields:
    """Fields of one entity: field -> value of its declared type, published sentence, and since when it holds."""

    values: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    since: dict[str, datetime] = field(default_factory=dict)


def read_fields(
    folder: Path, sync: Sync, traits: Sequence[Trait], entities: Sequence[str], overrides: Overrides
) -> dict[str, EntityFields]:
    """Entity -> its fields.

    Args:
        folder: the snapshot.
        sync: says what each trait becomes.
        traits: whose values are read.
        entities: whose fields are needed; those of others may be in the answer.
        overrides: values that count in place of what is published; they have no sentence.

    """
    found: dict[str, EntityFields] = {}
    if not entities:
        return found
    by_name = {trait.name: trait for trait in traits}
    targets = {trait.name: sync.target(trait) for trait in traits}
    with duckdb.connect(str(folder / "traithouse.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            """
            select entity_id, trait, value, reason, since from traits.trait_values
            where entity_type = $entity_type and list_contains($traits, trait)
                and (list_contains($of_everyone, trait) or is_anonymous is not true)
                and ($read_all or entity_id in (select unnest($entities::varchar[])))
            """,
            {
                "entity_type": sync.entity,
                "traits": [name for name in by_name if name not in overrides],
                "of_everyone": [trait.name for trait in traits if counts_everyone(trait)],
                "entities": entities,
                "read_all": len(entities) > _READ_ALL_FROM,
            },
        )
        while batch := rows.fetchmany(10_000):
            for entity_id, name, value, reason, since in batch:
                target, fields = targets[name], found.setdefault(entity_id, EntityFields())
                fields.values[target.field] = typed_value(by_name[name], value, target.cast)
                fields.reasons[target.field] = reason
                fields.since[target.field] = since
    for name in overrides.keys() & by_name.keys():
        target = targets[name]
        for entity_id, value in overrides[name].items():
            fields = found.setdefault(entity_id, EntityFields())
            fields.values[target.field] = typed_value(by_name[name], value, target.cast)
    return found


def declaration_hash(catalog: Catalog, sync: Sync) -> str:
    """Hash of what turns published values into fields."""
    targets = {trait.name: [trait.type, sync.target(trait).model_dump()] for trait in catalog.traits_of(sync)}
    facts = [sync.destination, sync.object, sync.identified_by, sync.identifier_field, targets, sync.options]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def typed_value(trait: Trait, text: str, cast: str) -> bool | float | str:
    """A published value, which is text, as the type that the destination expects."""
    if cast == "string" or trait.type not in ("boolean", "number"):
        return text
    if trait.type == "number":
        return float(text)
    return int(text == "true") if cast == "number" else text == "true"
