"""The plan of a sync: what is wanted, minus what was acknowledged. Resuming after a crash is planning again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.destinations import Record
from orchestration.home import Home
from orchestration.sync.audience import Audience, audience, declaration_hash, typed
from orchestration.sync.ledger import Sent, SyncLedger

BREAKER_FROM = 100
# Source of a record that has to be written again as a whole, whatever becomes of the run that first plans to.
WRITE_ANEW = "anew"


@dataclass(frozen=True)
class Plan:
    """What one run has to do.

    Attributes:
        audience: whom the sync wants at the destination.
        records: what has to be delivered, by identifier.
        known: records that the destination has.
        changes: of the records, those that change one that it has; what the breaker counts.
        refused: records that wait, because they were refused as they are.
        sources: identifier -> new source of what was acknowledged, to be noted before anything is sent.
        settled: identifiers with a dead letter that no longer have to be delivered.
        skipped: reason -> entities.
        deferred: whether somebody is sent only after what the destination had of them before is deleted.

    """

    audience: Audience
    records: list[Record]
    known: int
    changes: int
    refused: int
    sources: dict[str, str]
    settled: set[str]
    skipped: Counter[str]
    deferred: bool

    @property
    def changed_share(self) -> float:
        """Share of the known records that the run changes; 0 while the destination has fewer than a hundred."""
        return self.changes / self.known if self.known >= BREAKER_FROM else 0.0


def plan(
    home: Home,
    catalog: Catalog,
    sync: Sync,
    ledger: SyncLedger,
    instead: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    *,
    retry_refused: bool = False,
) -> Plan:
    """What has to be delivered.

    ``instead`` has, by trait and entity, values that count in place of what is published; ``retry_refused`` sends also
    what was refused as it is.

    Raises:
        UsageError: nothing is published yet, or the declaration cannot be used.

    """
    wanted = audience(home, catalog, sync, instead)
    there, doubt, refused = ledger.sent(sync.name), ledger.in_doubt(sync.name), ledger.refused(sync.name)
    cleared, forgotten = ledger.cleared(sync.name), ledger.forgotten(sync.name)
    deleted = ledger.noted(sync.name, "deleted") or ""
    deferred = {identifier for identifier, one in wanted.wanted.items() if one.entity_id in forgotten}
    targets = {trait.name: sync.target(trait) for trait in catalog.traits_of(sync)}
    # What fields become whose trait is no longer published, and fields of traits that are held, as they are there.
    cleared_to = {target.field: target.cleared for target in targets.values()}
    held = {targets[name].field for name in wanted.held}
    records: list[Record] = []
    waiting: set[str] = set()
    # Who is let go of under one identifier and sent under another: the destination may know both as one record.
    moved: set[str] = set()
    declaration = declaration_hash(catalog, sync)
    gone = (there.keys() | doubt.keys()) - (wanted.wanted.keys() - deferred)
    gone |= {
        identifier
        for identifier, one in cleared.items()
        if one.entity_id in forgotten or (sync.mode == "mirror" and identifier not in wanted.wanted)
    } - (wanted.wanted.keys() - deferred)
    for identifier in sorted(gone):
        before, unsure = there.get(identifier) or cleared.get(identifier), doubt.get(identifier)
        owners = [had.entity_id for had in (unsure, before) if had]
        to_forget = [owner for owner in owners if owner in forgotten]
        have = _had(before, unsure)
        action: Literal["clear", "delete"] = "delete" if sync.mode == "mirror" or to_forget else "clear"
        source = f"gone-{action}-{declaration}"
        if refused.get(identifier) == source and not retry_refused:
            waiting.add(identifier)
            continue
        record = replace(
            _record(sync, wanted, identifier, (to_forget or owners)[0]),
            action=action,
            fields={name: cleared_to.get(name) for name in sorted(have)},
            changed=dict(sorted(have.items())),
            forgotten=bool(to_forget),
            source=source,
        )
        records.append(_placed(record, before, unsure, deleted))
        moved.update(owners)
    dirty = [
        identifier
        for identifier, one in wanted.wanted.items()
        if (acknowledged := there.get(identifier)) is None
        or acknowledged.source != one.source
        or acknowledged.entity_id != one.entity_id
        or identifier in doubt
        or one.entity_id in moved
    ]
    fields, reasons = _fields(catalog, sync, wanted, dirty, instead)
    sources: dict[str, str] = {}
    for identifier in dirty:
        one = wanted.wanted[identifier]
        if identifier in deferred:
            continue
        before, unsure = there.get(identifier) or cleared.get(identifier), doubt.get(identifier)
        have = _had(before, unsure)
        want = fields.get(one.entity_id, {})
        is_anothers = any(had is not None and had.entity_id != one.entity_id for had in (before, unsure))
        want |= {name: value for name, value in have.items() if name in held and not is_anothers}
        want |= {name: cleared_to.get(name) for name in have.keys() - want.keys()}
        is_moved = one.entity_id in moved or (before is not None and before.source == WRITE_ANEW)
        anew = unsure is not None or is_anothers or is_moved
        changed = {name: have.get(name) for name in want if anew or name not in have or _differ(want[name], have[name])}
        if is_moved:
            sources[identifier] = WRITE_ANEW
        if not changed:
            sources[identifier] = one.source
        elif refused.get(identifier) == one.source and not retry_refused:
            waiting.add(identifier)
        else:
            record = replace(
                _record(sync, wanted, identifier, one.entity_id),
                fields=dict(sorted(want.items())),
                changed=dict(sorted(changed.items())),
                reasons={name: why for name, why in reasons.get(one.entity_id, {}).items() if name in changed},
                source=one.source,
            )
            records.append(_placed(record, before, unsure, deleted))
    settled = ledger.letters(sync.name) - {record.identifier for record in records} - waiting
    changes = sum(record.identifier in there for record in records)
    skipped = Counter(_kind(reason) for reason in wanted.skipped.values())
    records.sort(key=_clears_first)
    return Plan(wanted, records, len(there), changes, len(waiting), sources, settled, skipped, bool(deferred))


def _placed(record: Record, before: Sent | None, unsure: Sent | None, deleted: str) -> Record:
    """The record with what it comes after.

    A change that is in doubt keeps its id. Any other comes after the one in doubt, for it may be one that was made
    before that, and a receiver that drops repetitions has to take it again.
    """
    if unsure is None:
        after = before.after if before else deleted
        return replace(record, after=after) if after else record
    again = replace(record, after=unsure.after)
    return again if again.record_id == unsure.record_id else replace(record, after=unsure.record_id)


def _differ(one: Any, other: Any) -> bool:
    """Also true and 1 do, which are equal in Python."""
    return bool(one != other) or isinstance(one, bool) is not isinstance(other, bool)


def _clears_first(record: Record) -> tuple[bool, str]:
    """An identifier that changed hands is let go of before somebody else gets it."""
    return (record.action == "upsert", record.identifier)


def _kind(reason: str) -> str:
    return "identifier shared" if reason.endswith(", too") else reason


def _record(sync: Sync, wanted: Audience, identifier: str, entity_id: str) -> Record:
    return Record(
        sync=sync.name,
        entity_type=sync.entity,
        entity_id=entity_id,
        identifier=identifier,
        action="upsert",
        fields={},
        changed={},
        reasons={},
        build_id=wanted.build_id,
        as_of=wanted.as_of,
    )


def _had(sent: Sent | None, doubt: Sent | None) -> dict[str, Any]:
    """Every field that the destination has or may have."""
    have: dict[str, Any] = json.loads(sent.fields) if sent else {}
    return (json.loads(doubt.fields) | have) if doubt else have


def _fields(
    catalog: Catalog,
    sync: Sync,
    wanted: Audience,
    identifiers: Iterable[str],
    instead: Mapping[str, Mapping[str, str]],
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, str]]]:
    """Entity -> field -> value, and the sentence of each, of some identifiers."""
    traits = {trait.name: trait for trait in catalog.traits_of(sync) if trait.name not in wanted.held}
    targets = {name: sync.target(trait) for name, trait in traits.items()}
    entities = [wanted.wanted[identifier].entity_id for identifier in identifiers]
    fields: dict[str, dict[str, Any]] = {}
    reasons: dict[str, dict[str, str]] = {}
    if not entities:
        return fields, reasons
    with duckdb.connect(str(wanted.folder / "traithouse.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            """
            select entity_id, trait, value, reason from traits.trait_values
            where entity_type = $1 and list_contains($2, trait)
                and ($4 or entity_id in (select unnest($3::varchar[])))
            """,
            [sync.entity, [name for name in traits if name not in instead], entities, len(entities) > 100_000],
        )
        while batch := rows.fetchmany(10_000):
            for entity_id, name, value, reason in batch:
                target = targets[name]
                fields.setdefault(entity_id, {})[target.field] = typed(traits[name], value, target.cast)
                reasons.setdefault(entity_id, {})[target.field] = reason
    for name, values in instead.items():
        if name in traits:
            target = targets[name]
            for entity_id, value in values.items():
                fields.setdefault(entity_id, {})[target.field] = typed(traits[name], value, target.cast)
    return fields, reasons
