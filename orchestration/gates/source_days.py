"""How much each source delivered, by day and by hour: the past that the source checks compare a new day with.

A day is counted again when a load brings events of it, so late and repeated events are counted once, and a build that
was cut off may count again. The cost follows the days that new loads touch.

Anonymous events are counted apart: those without a user_id, of a device that no event until the end of that day names
together with a user_id. So a device counts as known from the day on which its user logs in, and no day before changes.
"""

from __future__ import annotations

from datetime import date, timedelta

import duckdb

SOURCE_DAY_TABLES = """
create schema if not exists state;
-- Grain: source x event_name x behaviour x day (reporting time zone) x is_anonymous. users: different ids that did it.
create table if not exists state.source_days (
    source varchar, event_name varchar, behaviour varchar, day date, events bigint, users bigint, is_anonymous boolean
);
-- Grain: source x day x hour (UTC) x is_anonymous. users: different ids in that hour; identified: of these, with a
-- user_id; shifted: events received whole hours before or after they occurred.
create table if not exists state.source_hours (
    source varchar, day date, hour timestamp, events bigint, users bigint, identified bigint, shifted bigint,
    is_anonymous boolean
);
-- Grain: source x day x user_key, for events with a user_id.
create table if not exists state.source_users (source varchar, day date, user_key bigint);
-- One row: the newest load that was counted, and the definitions that the event log was made with.
create table if not exists state.source_days_counted (load_id bigint, fingerprint varchar);
-- A home of an earlier version lacks these columns; its rows are counted anew.
alter table state.source_days add column if not exists is_anonymous boolean;
alter table state.source_hours add column if not exists is_anonymous boolean;
"""
COUNTED_TABLES = ("source_days", "source_hours", "source_users")

# Older days are neither counted nor compared.
COUNTED_DAYS = 120
# A lag so close to whole hours comes from a wrong time zone, unless it is longer than time zones differ.
WHOLE_HOURS_SLACK_SECONDS = 120
LARGEST_SHIFT_HOURS = 14


def count_source_days(
    connection: duckdb.DuckDBPyConnection,
    *,
    newest_day: date,
    loaded_until: int,
    fingerprint: str,
    time_zone: str,
    bucket_minutes: int,
    rebuild: bool = False,
) -> None:
    """Brings ``COUNTED_TABLES`` up to a load, and makes the temporary table ``known_devices``.

    Args:
        connection: the warehouse, with the event log.
        newest_day: the day that as_of lies in; days until it are counted, ``COUNTED_DAYS`` back.
        loaded_until: newest load that the event log holds.
        fingerprint: of the definitions that the event log was made with; when it changes, all days are counted again.
        time_zone: whose days count.
        bucket_minutes: length of the buckets of ``events.replaced_events``.
        rebuild: count all days again.

    """
    connection.execute(SOURCE_DAY_TABLES)
    counted = connection.execute("select load_id, fingerprint from state.source_days_counted").fetchone()
    unmarked = connection.execute("select 1 from state.source_hours where is_anonymous is null limit 1").fetchone()
    everything = rebuild or counted is None or counted[1] != fingerprint or unmarked is not None
    first_day = newest_day - timedelta(days=COUNTED_DAYS)
    connection.execute(
        f"""
        create or replace temp table known_devices as
        select anonymous_key, min({_day("occurred_at", time_zone)}) as known_from
        from events.event_log
        where is_identified and anonymous_key is not null
        group by anonymous_key
        """
    )
    if everything or counted is None:
        touched = (
            f"select cast(unnest(generate_series(date '{first_day}', date '{newest_day}', interval 1 day)) as date)"
        )
    else:
        # A replaced version of an event may lie on another day than the version that replaced it.
        replaced_at = f"make_timestamp(bucket * {bucket_minutes} * 60000000)"
        touched = f"""
            select {_day("occurred_at", time_zone)} from events.event_log where load_id > {counted[0]}
            union
            select {_day(replaced_at, time_zone)} from events.replaced_events
            union
            -- A device that is known by now was anonymous when its days were counted.
            select {_day("log.occurred_at", time_zone)}
            from events.event_log as log
            inner join known_devices as known on log.anonymous_key = known.anonymous_key
            where
                not log.is_identified and {_day("log.occurred_at", time_zone)} >= known.known_from
                and log.anonymous_key in (
                    select anonymous_key from events.event_log where is_identified and load_id > {counted[0]}
                )
        """
    connection.execute("begin")
    connection.execute(
        f"""
        create or replace temp table touched_days as
        select day from ({touched}) as touched (day) where day between date '{first_day}' and date '{newest_day}'
        """
    )
    for table in COUNTED_TABLES:
        connection.execute(
            f"delete from state.{table} where {'true' if everything else 'day in (from touched_days)'}"
            f" or day < date '{first_day}'"
        )
    connection.execute(_counted_events(time_zone))
    connection.execute(
        """
        insert into state.source_days by name
        select
            source, event_name, behaviour, day, count(*) as events, count(distinct node_key) as users, is_anonymous
        from counted_events
        group by source, event_name, behaviour, day, is_anonymous
        """
    )
    connection.execute(
        """
        insert into state.source_hours by name
        select
            source, day, date_trunc('hour', occurred_at) as hour, count(*) as events,
            count(distinct node_key) as users, count(distinct node_key) filter (is_identified) as identified,
            count(*) filter (is_shifted) as shifted, is_anonymous
        from counted_events
        group by source, day, date_trunc('hour', occurred_at), is_anonymous
        """
    )
    connection.execute(
        """
        insert into state.source_users by name
        select distinct source, day, node_key as user_key
        from counted_events
        where is_identified and node_key is not null
        """
    )
    connection.execute("delete from state.source_days_counted")
    connection.execute(
        "insert into state.source_days_counted (load_id, fingerprint) values ($1, $2)", [loaded_until, fingerprint]
    )
    connection.execute("drop view counted_events")
    connection.execute("commit")


def _counted_events(time_zone: str) -> str:
    """SQL of a view: events of the touched days, machines left out."""
    hour = 3_600_000_000
    return f"""
        create or replace temp view counted_events as
        with placed as (
            select *, {_day("occurred_at", time_zone)} as day, abs(epoch_us(received_at) - epoch_us(occurred_at)) as lag
            from events.event_log
            -- Two days of slack allow for any time zone; the bounds let an engine skip old days.
            where not is_bot and occurred_date between
                (select min(day) - 2 from touched_days) and (select max(day) + 2 from touched_days)
        )
        select
            kinds.source, kinds.event_name, coalesce(rules.behaviour, '') as behaviour, placed.day, placed.occurred_at,
            placed.node_key, placed.is_identified,
            not placed.is_identified and coalesce(placed.day < known.known_from, true) as is_anonymous,
            placed.lag > {hour // 2} and placed.lag < {LARGEST_SHIFT_HOURS * hour + hour // 2}
            and abs(placed.lag - {hour} * round(placed.lag / {hour})) < {WHOLE_HOURS_SLACK_SECONDS * 1_000_000}
            as is_shifted
        from placed
        semi join touched_days on placed.day = touched_days.day
        inner join events.event_kinds as kinds on placed.kind_key = kinds.kind_key
        left join events.catalog_rules as rules on placed.rule_key = rules.rule_key
        left join known_devices as known on placed.anonymous_key = known.anonymous_key
    """


def _day(instant: str, time_zone: str) -> str:
    """SQL of the calendar day of a naive UTC instant."""
    local = instant if time_zone == "UTC" else f"timezone('{time_zone}', timezone('UTC', {instant}))"
    return f"cast({local} as date)"
