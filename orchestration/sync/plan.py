"""The plan of a sync: what it wants, minus what was acknowledged. A run that was interrupted is resumed by planning."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.destinations import FieldNote, Record
from orchestration.home import Home
from orchestration.sync.audience import Audience, read_audience
from orchestration.sync.fields import EntityFields, Overrides, declaration_hash, read_fields
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.ledger_schema import Sent
from orchestration.sync.notes import field_notes, labelled, notes_of

# The breaker looks at shares of at least this many known records.
BREAKER_FROM = 100
# Source of a record that has to be written as a whole, also by the next run if this one does not get to it.
REWRITE = "anew"


@dataclass(frozen=True)
class Plan:
    """What one run has to do.

    Attributes:
        audience: what the sync wants to be at the destination.
        records: what has to be delivered: what clears or deletes first, then by identifier.
        known: records that the destination has.
        changes: of the records, those that change one that it has; the breaker counts them.
        refused: records that wait, because they were refused and have not changed.
        sources: identifier -> new source of an acknowledged record, to be written before anything is sent.
        settled: identifiers with a dead letter that no longer have to be delivered.
        skipped: reason -> entities.
        deferred: whether an entity is sent only after its earlier record is deleted there.

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


@dataclass(frozen=True)
class _Known:
    """What the ledger knows of one identifier.

    Attributes:
        acknowledged: what the destination has, also of a record that was cleared.
        in_doubt: what it may have.

    """

    acknowledged: Sent | None
    in_doubt: Sent | None

    @property
    def owners(self) -> list[str]:
        """Entities whose values the destination may have, those in doubt first."""
        return [sent.entity_id for sent in (self.in_doubt, self.acknowledged) if sent]

    @property
    def fields(self) -> dict[str, Any]:
        """Every field that the destination has or may have."""
        fields: dict[str, Any] = json.loads(self.acknowledged.fields) if self.acknowledged else {}
        return (json.loads(self.in_doubt.fields) | fields) if self.in_doubt else fields


@dataclass
class _Planning:
    """One sync's plan in the making: what is wanted and known, and what follows from both.

    Attributes:
        sent: identifier -> what the destination has.
        doubt: identifier -> what it may have.
        cleared: identifier -> what is left of a record that was cleared.
        refused: identifier -> source of what was refused; empty where refused records are to be sent again.
        forgotten: entities that the destination still has to delete.
        deleted: when the sync last deleted a record there; empty when it never did.
        cleared_to: field -> what it becomes when its trait is no longer published.
        notes: field -> what it says of which trait; held traits have none.
        moved: entities that are cleared or deleted under one identifier and may be sent under another: the
            destination may know both identifiers as the same record.
        waiting: identifiers that were refused and have not changed.

    """

    catalog: Catalog
    sync: Sync
    audience: Audience
    sent: dict[str, Sent]
    doubt: dict[str, Sent]
    cleared: dict[str, Sent]
    refused: dict[str, str]
    forgotten: set[str]
    deleted: str
    cleared_to: dict[str, Any]
    notes: dict[str, FieldNote]
    records: list[Record] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def deferred(self) -> set[str]:
        """Identifiers whose entity is sent only after what was known of it is deleted."""
        return {identifier for identifier, wanted in self.audience.wanted.items() if wanted.entity_id in self.forgotten}

    def known(self, identifier: str) -> _Known:
        """What the ledger knows of an identifier."""
        return _Known(self.sent.get(identifier) or self.cleared.get(identifier), self.doubt.get(identifier))

    def plan_removals(self) -> None:
        """Adds records that clear or delete what is no longer wanted."""
        mirrors = self.sync.mode == "mirror"
        kept = self.audience.wanted.keys() - self.deferred
        removed = (self.sent.keys() | self.doubt.keys()) - kept
        removed |= {
            identifier
            for identifier, left in self.cleared.items()
            if left.entity_id in self.forgotten or (mirrors and identifier not in self.audience.wanted)
        } - kept
        declaration = declaration_hash(self.catalog, self.sync)
        for identifier in sorted(removed):
            known = self.known(identifier)
            to_forget = [owner for owner in known.owners if owner in self.forgotten]
            action: Literal["clear", "delete"] = "delete" if mirrors or to_forget else "clear"
            source = f"gone-{action}-{declaration}"
            if self.refused.get(identifier) == source:
                self.waiting.add(identifier)
                continue
            fields = known.fields
            record = replace(
                self._record(identifier, (to_forget or known.owners)[0]),
                action=action,
                fields={name: self.cleared_to.get(name) for name in sorted(fields)},
                changed=dict(sorted(fields.items())),
                forgotten=bool(to_forget),
                source=source,
            )
            self.records.append(_placed(record, known, self.deleted))
            self.moved.update(known.owners)

    def changed_identifiers(self) -> list[str]:
        """Identifiers of which something wanted may differ from what was acknowledged."""
        return [
            identifier
            for identifier, wanted in self.audience.wanted.items()
            if (acknowledged := self.sent.get(identifier)) is None
            or acknowledged.source != wanted.source
            or acknowledged.entity_id != wanted.entity_id
            or identifier in self.doubt
            or wanted.entity_id in self.moved
        ]

    def plan_upsert(self, identifier: str, published: EntityFields, held_fields: set[str]) -> None:
        """Adds the record that writes what differs; ``held_fields`` stay as they are at the destination."""
        wanted, known = self.audience.wanted[identifier], self.known(identifier)
        there = known.fields
        has_other_owner = any(owner != wanted.entity_id for owner in known.owners)
        fields = dict(published.values)
        if not has_other_owner:
            fields |= {name: value for name, value in there.items() if name in held_fields}
        fields |= {name: self.cleared_to.get(name) for name in there.keys() - fields.keys()}
        was_rewritten = known.acknowledged is not None and known.acknowledged.source == REWRITE
        is_moved = wanted.entity_id in self.moved or was_rewritten
        write_all = known.in_doubt is not None or has_other_owner or is_moved
        changed = {
            name: there.get(name)
            for name in fields
            if write_all or name not in there or _differ(fields[name], there[name])
        }
        if is_moved:
            self.sources[identifier] = REWRITE
        if not changed:
            self.sources[identifier] = wanted.source
        elif self.refused.get(identifier) == wanted.source:
            self.waiting.add(identifier)
        else:
            record = replace(
                self._record(identifier, wanted.entity_id),
                fields=dict(sorted(fields.items())),
                changed=dict(sorted(changed.items())),
                reasons={name: reason for name, reason in published.reasons.items() if name in changed},
                source=wanted.source,
                notes=notes_of(self.notes, published, self.audience.as_of),
            )
            self.records.append(_placed(record, known, self.deleted))

    def _record(self, identifier: str, entity_id: str) -> Record:
        return Record(
            sync=self.sync.name,
            entity_type=self.sync.entity,
            entity_id=entity_id,
            identifier=identifier,
            action="upsert",
            fields={},
            changed={},
            reasons={},
            build_id=self.audience.build_id,
            as_of=self.audience.as_of,
            notes=self.notes,
        )


def plan(
    home: Home,
    catalog: Catalog,
    sync: Sync,
    ledger: SyncLedger,
    overrides: Overrides = MappingProxyType({}),
    *,
    retry_refused: bool = False,
) -> Plan:
    """What has to be delivered.

    ``overrides`` has values that count in place of what is published; with ``retry_refused``, records that were refused
    and have not changed are sent again.

    Raises:
        UsageError: nothing is published yet, or the declaration cannot be used.

    """
    audience = read_audience(home, catalog, sync, overrides)
    targets = {trait.name: sync.target(trait) for trait in catalog.traits_of(sync)}
    traits = [trait for trait in catalog.traits_of(sync) if trait.name not in audience.held]
    planning = _Planning(
        catalog=catalog,
        sync=sync,
        audience=audience,
        sent=ledger.sent(sync.name),
        doubt=ledger.in_doubt(sync.name),
        cleared=ledger.cleared(sync.name),
        refused={} if retry_refused else ledger.refused(sync.name),
        forgotten=ledger.forgotten(sync.name),
        deleted=ledger.noted(sync.name, "deleted") or "",
        cleared_to={target.field: target.cleared for target in targets.values()},
        notes=field_notes(sync, traits),
    )
    planning.plan_removals()
    identifiers = planning.changed_identifiers()
    entities = [audience.wanted[identifier].entity_id for identifier in identifiers]
    fields = read_fields(audience.folder, sync, traits, entities, overrides)
    held_fields = {targets[name].field for name in audience.held}
    deferred = planning.deferred
    for identifier in identifiers:
        if identifier not in deferred:
            entity_id = audience.wanted[identifier].entity_id
            planning.plan_upsert(identifier, fields.get(entity_id, EntityFields()), held_fields)
    records = labelled(home, sync, audience, sorted(planning.records, key=_removals_first))
    return Plan(
        audience=audience,
        records=records,
        known=len(planning.sent),
        changes=sum(record.identifier in planning.sent for record in records),
        refused=len(planning.waiting),
        sources=planning.sources,
        settled=ledger.dead_letters(sync.name) - {record.identifier for record in records} - planning.waiting,
        skipped=Counter(skipped.reason for skipped in audience.skipped.values()),
        deferred=bool(deferred),
    )


def _placed(record: Record, known: _Known, deleted: str) -> Record:
    """The record with what it comes after.

    A change that is in doubt keeps its id. Any other change comes after the one in doubt, even if it equals a change
    that was made before that: a receiver that drops repetitions has to take it again.
    """
    if known.in_doubt is None:
        after = known.acknowledged.after if known.acknowledged else deleted
        return replace(record, after=after) if after else record
    again = replace(record, after=known.in_doubt.after)
    return again if again.record_id == known.in_doubt.record_id else replace(record, after=known.in_doubt.record_id)


def _differ(value: Any, other: Any) -> bool:
    """Whether two values differ; true and 1 do, although they are equal in Python."""
    return bool(value != other) or isinstance(value, bool) is not isinstance(other, bool)


def _removals_first(record: Record) -> tuple[bool, str]:
    """An identifier that changes hands is cleared or deleted before somebody else gets it."""
    return (record.action == "upsert", record.identifier)
