"""Which entities a sync sends, and under which identifier: the served snapshot, through the declaration.

Identifiers and consent are personal: they are read from the contacts of the home (published/contacts.py). Anonymous
visitors are not sent; of a trait that declares ``everyone`` they are, with the values of such traits alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import duckdb

from orchestration.damage import served_folder
from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.declarations.traits import Trait
from orchestration.errors import UsageError
from orchestration.home import Home, read_json
from orchestration.published.contacts import CONSENT, asked_contacts, contacts_file
from orchestration.sync.fields import Overrides, declaration_hash
from orchestration.sync.served_values import create_current_values, need_marks, traits_of_everyone

# What a reason to skip begins with.
NO_CONSENT = "no consent to"


class Wanted(NamedTuple):
    """An entity that a sync sends.

    Attributes:
        entity_id: user_id or account_id.
        source: hash of the published values and of the declaration.

    """

    entity_id: str
    source: str


class Skipped(NamedTuple):
    """Why an entity that has a value of the sync's traits is not sent.

    Attributes:
        reason: what is counted, the same for every such entity.
        detail: what is said of this entity, where the reason alone does not tell.

    """

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Audience:
    """What a sync wants to be at its destination.

    Attributes:
        build_id: the snapshot's build.
        as_of: the snapshot's clock, naive UTC.
        folder: the snapshot.
        wanted: identifier -> the entity that is sent under it.
        skipped: entity -> why it is not sent.
        held: trait -> why its fields stay as they are.

    """

    build_id: str
    as_of: datetime
    folder: Path
    wanted: dict[str, Wanted]
    skipped: dict[str, Skipped] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)


def read_audience(home: Home, catalog: Catalog, sync: Sync, overrides: Overrides = MappingProxyType({})) -> Audience:
    """The entities that a sync sends now.

    Args:
        home: whose snapshot.
        catalog: what is declared.
        sync: whose audience.
        overrides: values that count in place of what is published.

    Raises:
        UsageError: nothing is published yet, or no refresh has read the identifiers and consent that the sync needs.

    """
    folder = served_folder(home.serving)
    manifest = read_json(folder / "manifest.json")
    contacts = needed_contacts(home, sync)
    traits = catalog.traits_of(sync)
    with duckdb.connect() as connection:
        attached = str(folder / "traithouse.duckdb").replace("'", "''")
        connection.execute(f"attach '{attached}' as served (read_only)")
        held = _held(connection, sync, traits)
        sent = [trait.name for trait in traits if trait.name not in held]
        create_current_values(connection, catalog, sync, overrides)
        rows = connection.execute(
            f"""
            with entities as (
                -- An entity that has only held traits is still sent: its fields stay as they are.
                select
                    entity_id,
                    -- Two numbers of 64 bits, because writing one of 128 bits as text is very slow.
                    concat_ws(
                        '-', $declaration,
                        bit_xor(md5_number_upper(trait || chr(31) || value)) filter (list_contains($sent, trait)),
                        bit_xor(md5_number_lower(trait || chr(31) || value)) filter (list_contains($sent, trait))
                    ) as source
                from current_values where list_contains($chosen, trait) group by entity_id
            ),
            {_CONTACTS if contacts else _NO_CONTACTS}
            select
                e.entity_id, e.source,
                case when $native then e.entity_id else i.value end as identifier,
                $scope::varchar is null or s.entity_id is not null as in_scope,
                $purpose = '' or list_contains(
                    list_transform(string_split_regex(coalesce(c.value, ''), '[^[:alnum:]_.:-]+'), x -> lower(x)),
                    lower($purpose)
                ) as has_consent
            from entities as e
            left join identifiers as i on e.entity_id = i.entity_id
            left join consents as c on e.entity_id = c.entity_id
            left join (
                select entity_id from current_values where trait = $scope::varchar and value = $scope_value::varchar
            ) as s on e.entity_id = s.entity_id
            order by e.entity_id
            """,
            {
                "sent": sent,
                "chosen": [trait.name for trait in traits],
                "declaration": declaration_hash(catalog, sync),
                "native": sync.is_native,
                "scope": sync.scope.trait if sync.scope else None,
                "scope_value": sync.scope.value if sync.scope else None,
                "purpose": sync.purpose,
                **(
                    {"contacts": str(contacts), "entity": sync.entity, "attribute": sync.identified_by}
                    if contacts
                    else {}
                ),
            },
        ).fetchall()
        visitors = connection.execute(
            "select distinct entity_id from visitors where list_contains($chosen, trait)",
            {"chosen": [trait.name for trait in traits]},
        ).fetchall()
    wanted: dict[str, Wanted] = {}
    skipped = {entity_id: Skipped("anonymous visitor") for (entity_id,) in visitors}
    for entity_id, source, identifier, in_scope, has_consent in rows:
        skipped.pop(entity_id, None)
        if not in_scope:
            skipped[entity_id] = Skipped("out of scope")
        elif not has_consent:
            skipped[entity_id] = Skipped(f"{NO_CONSENT} {sync.purpose}")
        elif not identifier:
            skipped[entity_id] = Skipped(f"no {sync.identified_by}")
        elif identifier in wanted:
            # The lowest id keeps it, whatever was sent before: the result does not depend on the order of runs.
            owner = wanted[identifier].entity_id
            skipped[entity_id] = Skipped("identifier shared", f"its {sync.identified_by} is also that of {owner}")
        else:
            wanted[identifier] = Wanted(entity_id, source)
    as_of = datetime.fromisoformat(str(manifest["as_of"]))
    return Audience(str(manifest["build_id"]), as_of, folder, wanted, skipped, held)


def audience_hash(home: Home, catalog: Catalog, sync: Sync) -> str:
    """Hash of all that decides what a sync sends; builds that differ in other things only have the same hash.

    It takes a small part of the time of planning.

    Raises:
        UsageError: as ``read_audience``.

    """
    folder = served_folder(home.serving)
    contacts = needed_contacts(home, sync)
    traits = catalog.traits_of(sync)
    with duckdb.connect() as connection:
        attached = str(folder / "traithouse.duckdb").replace("'", "''")
        connection.execute(f"attach '{attached}' as served (read_only)")
        held = _held(connection, sync, traits)
        need_marks(connection)
        scoped = {sync.scope.trait} if sync.scope else set()
        names = sorted({trait.name for trait in traits} | scoped)
        # A row of a held trait counts, but not its value: an entity may have nothing else.
        hashes: list[object] = list(
            connection.execute(
                """
                select
                    count(*),
                    bit_xor(md5_number(concat_ws(
                        chr(31), entity_id, trait, case when list_contains($held, trait) then '' else value end
                    )))
                from served.traits.trait_values
                where
                    entity_type = $entity and list_contains($names, trait)
                    and (list_contains($of_everyone, trait) or is_anonymous is not true)
                """,
                {
                    "held": sorted(held.keys() - scoped),
                    "entity": sync.entity,
                    "names": names,
                    "of_everyone": traits_of_everyone(catalog, sync),
                },
            ).fetchone()
            or ()
        )
        if contacts:
            hashes += (
                connection.execute(
                    """
                    select count(*), bit_xor(md5_number(concat_ws(chr(31), entity_id, attribute, value)))
                    from read_parquet($contacts)
                    where entity_type = $entity and list_contains($names, attribute)
                    """,
                    {"contacts": str(contacts), "entity": sync.entity, "names": [sync.identified_by, CONSENT]},
                ).fetchone()
                or ()
            )
    facts = [hashes, sorted(held), sync.model_dump(mode="json"), declaration_hash(catalog, sync)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


_CONTACTS = """
contacts as (select * from read_parquet($contacts) where entity_type = $entity),
-- Mail systems ignore the case of an address, so two spellings of it are the same record there.
identifiers as (
    select entity_id, min(case when attribute = 'email' then lower(trim(value)) else value end) as value
    from contacts where attribute = $attribute group by entity_id
),
consents as (select entity_id, min(value) as value from contacts where attribute = 'consent' group by entity_id)
"""
_NO_CONTACTS = """
identifiers as (select null::varchar as entity_id, null::varchar as value where false),
consents as (select null::varchar as entity_id, null::varchar as value where false)
"""


def needed_contacts(home: Home, sync: Sync) -> Path | None:
    """The file of identifiers, labels and consent; nothing when the sync needs none of them.

    Raises:
        UsageError: no refresh has read what the sync needs.

    """
    needed = [[sync.entity, sync.identified_by]] if not sync.is_native else []
    needed += [[sync.entity, sync.label]] if sync.label else []
    needed += [[sync.entity, CONSENT]] if sync.purpose else []
    if not needed:
        return None
    names = asked_contacts(home)
    for entity, attribute in needed:
        if [entity, attribute] not in names:
            raise UsageError(
                f"{sync.where}: {attribute} of {entity}s has not been read since the sync was declared.",
                "Run traithouse refresh to read it, then sync again.",
            )
    return contacts_file(home)


def _held(connection: duckdb.DuckDBPyConnection, sync: Sync, traits: Sequence[Trait]) -> dict[str, str]:
    """Trait -> why it is held: its measured stability grade is worse than the sync asks for.

    Raises:
        UsageError: every trait of the sync is held.

    """
    if sync.minimum_grade is None:
        return {}
    grades = dict(connection.execute("select trait, grade from served.traits.trait_catalog").fetchall())
    held = {}
    for trait in traits:
        grade = grades.get(trait.name)
        if grade is None or grade > sync.minimum_grade:
            held[trait.name] = f"stability grade {grade or 'not known yet'}, {sync.minimum_grade} is asked for"
    if traits and len(held) == len(traits):
        name, reason = next(iter(held.items()))
        raise UsageError(
            f"{sync.where}: no trait has the grade that minimum_grade asks for ({name}: {reason}).",
            "Lower minimum_grade, or name other traits.",
        )
    return held
