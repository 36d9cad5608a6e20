"""Tables of the sync ledger, how those of an earlier version become them, and what their rows mean.

Names of stored tables and columns stay as they are, so that a ledger of any earlier version can be opened.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import NamedTuple

from orchestration.destinations import Failure, Record

# Source of a record that was cleared: the destination still has the record, without our values.
CLEARED = "gone"

_TABLES = """
create table if not exists sent (
    sync text, identifier text, entity_type text, entity_id text, fields text, source text, build_id text,
    acknowledged_at text, primary key (sync, identifier)
);
create table if not exists in_doubt (
    sync text, identifier text, entity_type text, entity_id text, fields text, build_id text, begun_at text,
    unanswered integer, after text, record_id text, primary key (sync, identifier)
);
create table if not exists dead_letters (
    sync text, identifier text, entity_type text, entity_id text, source text, build_id text, reason text,
    kind text, tries integer, first_failed_at text, failed_at text, primary key (sync, identifier)
);
create table if not exists runs (
    sync text, started_at text, ended_at text, build_id text, dry_run integer, planned integer, delivered integer,
    failed integer, skipped integer, not_tried integer, operations integer, retries integer, waited_seconds real,
    latency_p50_ms real, latency_p95_ms real, error text
);
create table if not exists spent (sync text, day text, operations integer, primary key (sync, day));
create table if not exists notes (sync text, name text, value text, primary key (sync, name));
create table if not exists forgotten (
    sync text, entity_type text, entity_id text, primary key (sync, entity_type, entity_id)
);
"""

# The first version kept records by entity, because there were no other identifiers.
_MIGRATION = """
begin;
insert or ignore into sent (
    sync, identifier, entity_type, entity_id, fields, source, build_id, acknowledged_at
)
    select sync, entity_id, entity_type, entity_id, traits, '', build_id, acknowledged_at from acknowledged;
drop table acknowledged;
insert or ignore into dead_letters (
    sync, identifier, entity_type, entity_id, source, build_id, reason, kind, tries, first_failed_at, failed_at
)
    select sync, entity_id, entity_type, entity_id, '', build_id, reason, 'refused', 1, failed_at, failed_at
    from failures;
drop table failures;
insert into runs (sync, started_at, ended_at, build_id, dry_run, planned, delivered, failed)
    select sync, started_at, ended_at, build_id, dry_run, planned, delivered, failed from log;
drop table log;
commit;
"""


def create_tables(connection: sqlite3.Connection) -> None:
    """Creates the tables that are missing, and moves the rows of the first version into them."""
    connection.executescript(_TABLES)
    if connection.execute("select 1 from sqlite_master where name = 'acknowledged'").fetchone():
        connection.executescript(_MIGRATION)


class Sent(NamedTuple):
    """What a destination is known to have under one identifier, or what it may have.

    Attributes:
        entity_id: whose values they are.
        source: hash of the published values and the declaration that the fields were made from.
        build_id: the snapshot's build.
        fields: field -> value, as JSON.
        after: when it was acknowledged; of a record in doubt, what it came after (``Record.after``).
        record_id: of a record in doubt, the change's own id.

    """

    entity_id: str
    source: str
    build_id: str
    fields: str
    after: str
    record_id: str = ""


class DeliveryResult(NamedTuple):
    """How one record went; no failure means that it was acknowledged."""

    record: Record
    failure: Failure | None = None


@dataclass(frozen=True)
class Run:
    """One run of one sync; a row of table runs and of traits.sync_log.

    Attributes:
        sync: name of the sync.
        started_at: naive UTC, as text.
        ended_at: naive UTC, as text.
        build_id: the snapshot's build.
        dry_run: whether nothing was sent.
        planned: records that had to be delivered.
        delivered: of these, acknowledged.
        failed: of these, refused or not answered.
        skipped: entities that were not sent for a reason that is no failure (no identifier, no consent, ...).
        not_tried: records left for the next run.
        operations: what the vendor bills or counts.
        retries: batches that were sent again.
        waited_seconds: how long limits and pauses held the run.
        latency_p50_ms: of a batch, from sending to acknowledgement.
        latency_p95_ms: the same.
        error: the most frequent reason of failure.

    """

    sync: str
    started_at: str
    ended_at: str
    build_id: str
    dry_run: bool
    planned: int
    delivered: int
    failed: int
    skipped: int = 0
    not_tried: int = 0
    operations: int = 0
    retries: int = 0
    waited_seconds: float = 0.0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    error: str = ""
