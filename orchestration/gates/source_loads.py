"""The loads of a source that are judged as new, and what is measured of their rows.

Anonymous events are no part of these measures: those without a user_id, of a device that is known with none.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from orchestration.declarations.event_types import IDENTITY_TYPES
from orchestration.gates.source_statistics import Measured
from orchestration.gates.source_verdicts import SourceVerdict
from orchestration.transform.build import Build

# Rows of raw.loads; `accepted` is without what Traithouse itself delivered.
_LOADS = """(
    select loads.* replace (greatest(loads.accepted - coalesce(own.rows, 0), 0) as accepted)
    from raw.loads as loads
    left join (select load_id, count(*) as rows from events.own_deliveries group by load_id) as own using (load_id)
)"""


@dataclass(frozen=True)
class Loads:
    """Loads of a source that are judged: those with a load_id above ``after`` and up to ``until``."""

    after: int
    until: int


def loads_to_judge(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    build: Build,
    loaded_until: int,
    last: SourceVerdict | None,
) -> Loads:
    """Loads since the last verdict; when nothing came but anonymous events, those of that verdict: it still stands.

    Args:
        connection: the warehouse, after ``count_source_days``.
        source: whose loads.
        build: the current one.
        loaded_until: newest load that the event log holds.
        last: the last verdict on the source before this build; none when it is seen for the first time.

    """
    if last is None:
        return Loads(build.loaded_after, loaded_until)
    came = connection.execute(
        f"""
        with came as ({all_new_rows(source, Loads(last.loaded_until, loaded_until))})
        select 1 from {_LOADS}
        where source = $1 and load_id > $2 and load_id <= $3 and accepted > 0
            and (rejected > 0 or load_id not in (select load_id from came))
        union all
        select 1 from came where not is_anonymous
        limit 1
        """,
        [source, last.loaded_until, loaded_until],
    ).fetchone()
    return Loads(last.loaded_until, loaded_until) if came else Loads(last.loaded_after, last.loaded_until)


def new_rows(source: str, loads: Loads) -> str:
    """SQL of a source's events in these loads, anonymous ones left out."""
    return f"select * from ({all_new_rows(source, loads)}) where not is_anonymous"


def all_new_rows(source: str, loads: Loads) -> str:
    """SQL of all of a source's events in these loads."""
    name = source.replace("'", "''")
    return f"""
        select
            log.event_id, kinds.event_name, log.occurred_at, log.received_at, log.node_key as entity, log.load_id,
            coalesce(rules.behaviour, '') = '' and kinds.event_type not in {IDENTITY_TYPES} as is_unmapped,
            not log.is_identified and known.anonymous_key is null as is_anonymous
        from events.event_log as log
        inner join events.event_kinds as kinds on log.kind_key = kinds.kind_key
        left join events.catalog_rules as rules on log.rule_key = rules.rule_key
        left join known_devices as known on log.anonymous_key = known.anonymous_key
        where kinds.source = '{name}' and log.load_id > {loads.after} and log.load_id <= {loads.until}
    """


def measure_loads(connection: duckdb.DuckDBPyConnection, source: str, loads: Loads, rows: str) -> dict[str, Measured]:
    """Measures of the new rows by check: the share refused, and of the other rows the shares unmapped, late and early.

    Args:
        connection: the warehouse.
        source: whose rows.
        loads: which loads.
        rows: SQL of the new rows, as ``new_rows`` gives it.

    """
    count, unmapped, late, early = connection.execute(
        f"""
        select
            count(*), count(*) filter (is_unmapped),
            count(*) filter (received_at > occurred_at + interval 1 day),
            count(*) filter (received_at < occurred_at - interval 5 minute)
        from ({rows})
        """
    ).fetchone() or (0, 0, 0, 0)
    shares = {"unmapped": unmapped, "lateness": late, "clock_skew": early}
    words = {name: Measured(found / count if count else None, f"{found} of {count}") for name, found in shares.items()}
    refused = _refused(connection, source, loads)
    return words | {"rejected": refused, "rejected_share": refused}


_USER_KEYS, _DEVICE_KEYS = (
    ", ".join(f"json_extract_string(raw_text, '$.{key}')" for key in keys)
    for keys in (("user_id", "userId"), ("anonymous_id", "anonymousId"))
)
_NAMES_NO_USER = f"""case when json_valid(raw_text)
    then coalesce({_USER_KEYS}, '') = '' and coalesce({_DEVICE_KEYS}, '') != '' else false end"""


def _refused(connection: duckdb.DuckDBPyConnection, source: str, loads: Loads) -> Measured:
    """Share of the rows of the new loads that were rejected at load or quarantined after it, with the reasons.

    A load without any accepted row is left out: it changed nothing, and the command ``load`` has said so. A row that
    was rejected as anonymous is one that can be read, and names a device and no user.
    """
    given = [loads.after, loads.until, source]
    rows = all_new_rows(source, loads)
    total, rejected, anonymous = connection.execute(
        f"""
        select
            coalesce(sum(accepted + duplicates + rejected), 0), coalesce(sum(rejected), 0),
            (select count(*) from ({rows}) where is_anonymous)
        from {_LOADS}
        where load_id > $1 and load_id <= $2 and accepted > 0
            and (source = $3 or load_id in (select load_id from ({rows})))
        """,
        given,
    ).fetchone() or (0, 0, 0)
    reasons = connection.execute(
        f"""
        with refused as (
            select reason, {_NAMES_NO_USER} as is_anonymous from raw.rejected_events
            where load_id > $1 and load_id <= $2 and (source = $3 or load_id in (select load_id from ({rows})))
                and load_id in (select load_id from {_LOADS} where accepted > 0)
            union all
            select quarantine_reason, user_id is null and anonymous_id is not null from events.quarantined_events
            where load_id > $1 and load_id <= $2 and source = $3
        )
        select reason, count(*) filter (not is_anonymous), count(*) filter (is_anonymous)
        from refused group by reason order by 2 desc, 1
        """,
        given,
    ).fetchall()
    quarantined, of_devices = connection.execute(
        """
        select count(*), count(*) filter (user_id is null and anonymous_id is not null)
        from events.quarantined_events where load_id > $1 and load_id <= $2 and source = $3
        """,
        given,
    ).fetchone() or (0, 0)
    # Rejected records are kept once, however often they were loaded, and counted each time.
    anonymous_refused = sum(count for *_, count in reasons)
    refused = rejected + quarantined - anonymous_refused
    # What was quarantined is not among the events.
    total -= anonymous + of_devices + min(rejected, anonymous_refused - of_devices)
    reasons = [(reason, count) for reason, count, _ in reasons if count]
    frequent = ", ".join(f"{reason} ({count})" for reason, count in reasons[:3])
    words = f"{refused} of {total}" + (f": {frequent}" if frequent else "")
    return Measured(refused / total if total else None, words)
