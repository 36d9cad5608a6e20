"""Lands whose a Snowplow profile is, as rows of ``raw_snowplow.identities``.

Snowplow's Identities gives each event the id of a profile (entity ``identity``), and says with an event
(``identity_merge``) that profiles are one. A profile is a device here: events without a user are its own. A row says
that a former id is part of another: a merged profile of the surviving one, a profile of the first user that it was seen
with. A second user of a profile is merged with nobody, as with any device that users share.

Sources: Iglu Central, com.snowplowanalytics.snowplow/identity and identity_merge, versions 1-0-0 (camel case) and
2-0-0.
"""

from __future__ import annotations

from datetime import datetime

import duckdb

from orchestration.landing.sql import clean_id, stated

SOURCE, EVENTS, TABLE = "snowplow", "events", "identities"
_VENDOR = "com_snowplowanalytics_snowplow"
_COLUMNS = {
    "event_name": ("event_name",),
    "user_id": ("user_id",),
    "derived_tstamp": ("derived_tstamp",),
    "collector_tstamp": ("collector_tstamp",),
    "envelope": ("unstruct_event",),
    "entity": (f"contexts_{_VENDOR}_identity_2", f"contexts_{_VENDOR}_identity_1"),
    "merge_event": (f"unstruct_event_{_VENDOR}_identity_merge_2", f"unstruct_event_{_VENDOR}_identity_merge_1"),
}


def land_identities(connection: duckdb.DuckDBPyConnection, load_id: int, loaded_at: datetime) -> None:
    """Lands the identities that the events of a load tell and that are not known yet.

    Grain of the table: user_id x previous_id. Its time is that of the event that told it.
    """
    events, identities = f"raw_{SOURCE}.{EVENTS}", f"raw_{SOURCE}.{TABLE}"
    known = {name.lower(): name for name, *_ in connection.execute(f"describe {events}").fetchall()}
    if not any(name in known for name in (*_COLUMNS["entity"], *_COLUMNS["merge_event"], "unstruct_event")):
        return
    picked = {
        name: f"coalesce({', '.join([*(chr(34) + known[c] + chr(34) for c in found if c in known), 'null'])})"
        for name, found in _COLUMNS.items()
    }
    connection.execute(
        f"""
        create table if not exists {identities} (
            event_id varchar, told_by varchar, user_id varchar, previous_id varchar, derived_tstamp varchar,
            collector_tstamp varchar, loaded_at timestamp, load_id bigint
        )
        """
    )
    connection.execute(
        f"""
        insert into {identities}
        with loaded as (
            select {", ".join(f"{sql} as {name}" for name, sql in picked.items())}
            from {events} where load_id = $load_id
        ),
        read as (
            select
                * exclude (user_id), {stated(clean_id("user_id"))} as user_id,
                json_extract(try_cast(entity as json), '$[0]') as profile,
                coalesce(
                    try_cast(merge_event as json), json_extract(try_cast(envelope as json), '$.data.data')
                ) as merge
            from loaded
        ),
        told as (
            select
                'identity_merge' as told_by, {_id("merge")} as user_id, {_id("merged")} as previous_id,
                derived_tstamp, collector_tstamp
            from (
                select *, unnest(cast(json_extract(merge, '$.merged') as json[])) as merged
                from read where event_name = 'identity_merge'
            )
            union all
            select 'identity' as told_by, user_id, {_id("profile")} as previous_id, derived_tstamp, collector_tstamp
            from read
        ),
        first_told as (
            select
                md5(user_id || ' ' || previous_id) as event_id, told_by, user_id, previous_id, derived_tstamp,
                collector_tstamp
            from told
            where user_id != '' and previous_id != user_id
            qualify row_number() over (
                partition by told_by, previous_id, case when told_by = 'identity_merge' then user_id end
                order by derived_tstamp, user_id, collector_tstamp
            ) = 1
        )
        select first_told.*, $loaded_at, $load_id
        from first_told
        where not exists (
            select 1 from {identities} as known
            where known.told_by = first_told.told_by and known.previous_id = first_told.previous_id
                and (known.told_by = 'identity' or known.user_id = first_told.user_id)
        )
        """,
        {"load_id": load_id, "loaded_at": loaded_at},
    )


def _id(profile: str) -> str:
    """SQL for the id of a profile's JSON object."""
    return f"coalesce(json_extract_string({profile}, '$.snowplow_id'), json_extract_string({profile}, '$.snowplowId'))"
