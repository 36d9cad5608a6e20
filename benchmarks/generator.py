"""Raw events in the form of the raw event contract, made in DuckDB from row numbers: the same seed, the same rows.

    python -m benchmarks.generator --home HOME --events 200000 --days 25

fills a home that ``traithouse refresh`` can work with. The rows:

- a few users do most (Zipf, exponent 2/3), on one to four devices; a weekend is half as busy, noon is busier than night
- sessions are bursts of about seven events, some seconds to five minutes apart
- a device's events before its user signs up, and one session in twenty later, carry no user_id
- one event in ten is a page with a path and a user agent; about one in a hundred identifies its user or account
- 1% occurred up to three days before they were received; 0.5% are received again, half of these in a later load
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb

from orchestration.landing.contract import RAW_TABLES

SOURCE = "shop"
CHUNK_EVENTS = 1_000_000
LATE_SHARE, LATE_DAYS, REPEATED_SHARE, BOT_SHARE = 0.01, 3, 0.005, 0.002

# Random draws of each event.
OF_EVENT = ("jitter", "kind", "name", "late", "delay", "bot")

# Names that seeds/event_catalog.csv maps, the frequent ones several times.
NAMES = (
    *["home"] * 3, *["catalog"] * 4, *["product_view"] * 6, *["search"] * 3, "filter_results", "promo_page", "compare",
    "wishlist_add", "review_page", "account_page", *["add_to_cart"] * 2, "cart", "shipping_details", "payment_details",
    "purchase", "payment_error", "checkout_bug", "error_page", "support_chat", "not_in_the_catalogue",
)  # fmt: skip
PATHS = ("/", "/docs", "/blog/42", "/pricing", "/pricing/teams", "/settings/team", "/invite", "/reports/weekly")


@dataclass(frozen=True)
class Shape:
    """What a history is like.

    Attributes:
        events: rows of the history, repeated ones included.
        days: calendar days that it covers.
        users: people, also those who never sign up; accounts are a fifth of them.
        loads: raw loads that it arrives in.
        seed: 0 to 4095.
        weekly: whether weekends are quieter.
        start: first midnight, UTC.

    """

    events: int
    days: int
    users: int
    loads: int = 1
    seed: int = 0
    weekly: bool = True
    start: datetime = field(default=datetime(2023, 1, 2))


def create_history(connection: duckdb.DuckDBPyConnection, shape: Shape) -> None:
    """Fills an empty raw.events with loads 1 to ``shape.loads``."""
    connection.execute(RAW_TABLES)
    end = shape.start
    for load in range(shape.loads):
        begin, days = end, shape.days * (load + 1) // shape.loads - shape.days * load // shape.loads
        end = begin + timedelta(days=days)
        events = shape.events * (load + 1) // shape.loads - shape.events * load // shape.loads
        _add_load(connection, shape, events, begin, end)


def append_batch(connection: duckdb.DuckDBPyConnection, shape: Shape, events: int) -> None:
    """Adds one load of events that follow the history, at its pace."""
    begin = _end_of_last_load(connection)
    _add_load(connection, shape, events, begin, begin + timedelta(days=shape.days * events / shape.events))


def adversarial_batch(connection: duckdb.DuckDBPyConnection, shape: Shape, events: int, pairs: int = 50) -> None:
    """Adds one load of events that all come 90 days late, and aliases that merge the heaviest users pairwise."""
    begin = _end_of_last_load(connection)
    end = begin + timedelta(days=shape.days * events / shape.events)
    _add_load(connection, shape, events, begin, end, days_late=90, merged_pairs=pairs)


def _end_of_last_load(connection: duckdb.DuckDBPyConnection) -> datetime:
    end: datetime
    (end,) = connection.execute("select max(loaded_at) from raw.loads").fetchone() or (None,)
    return end


def _add_load(
    connection: duckdb.DuckDBPyConnection,
    shape: Shape,
    events: int,
    begin: datetime,
    end: datetime,
    days_late: int = 0,
    merged_pairs: int = 0,
) -> None:
    """One load, in chunks of whole days, so that memory is bounded and rows lie in the order of their receipt."""
    (load_id,) = connection.execute("select coalesce(max(load_id), 0) + 1 from raw.loads").fetchone() or (1,)
    stamp = {"loaded_at": end, "load_id": load_id}
    connection.execute("begin")
    repeats = int(events * REPEATED_SHARE)
    connection.execute(f"create or replace temp table earlier as {_earlier_events_sql(repeats // 2)}", {"begin": begin})
    (old,) = connection.execute("select count(*) from earlier").fetchone() or (0,)
    repeats -= old
    made = events - repeats - old - merged_pairs
    days = max(1, (end - begin).days)
    chunks = min(days, -(-made // CHUNK_EVENTS))
    bounds = [
        (begin + (end - begin) * (days * part // chunks / days), made * part // chunks, repeats * part // chunks)
        for part in range(chunks + 1)
    ]
    for (opened, first, r0), (closed, last, r1) in pairwise(bounds):
        rows = _events_sql(shape, load_id, first, last - first, r1 - r0, opened, closed, days_late)
        connection.execute(f"insert into raw.events by name {rows}", stamp)
    # This insert comes last: in DuckDB 1.5.5, rows that follow an insert of no rows in the same transaction are not
    # visible until the file is reopened.
    connection.execute(
        "insert into raw.events select * replace ($loaded_at as loaded_at, $load_id as load_id) from earlier", stamp
    )
    if merged_pairs:
        connection.execute(f"insert into raw.events by name {_aliases_sql(shape, merged_pairs)}", stamp)
    connection.execute(
        """
        insert into raw.loads by name
        select
            $load_id as load_id, $source as source, 'raw.events' as table_name, [] as files, $loaded_at as loaded_at,
            count(*) as accepted, 0 as duplicates, 0 as rejected, max(occurred_at) as newest_event_at
        from raw.events where load_id = $load_id
        """,
        {**stamp, "source": SOURCE},
    )
    connection.execute("commit")


def _uniform(number: str, purpose: int, salt: int) -> str:
    """SQL for a double in [0, 1) that is independent for each number, purpose and salt.

    One number is hashed, for DuckDB's hash of several values only xors them.
    """
    return f"(hash(({salt << 32} + {number}) * 64 + {purpose}) / 18446744073709551616.0)"


def _user_id(seed: int, person: str) -> str:
    return f"'u' || left(md5('{seed}-' || cast({person} as bigint)), 19)"


def _pick(values: tuple[str, ...], uniform: str) -> str:
    return f"list_extract({list(values)}, 1 + cast(floor({uniform} * {len(values)}) as bigint))"


def _events_sql(
    shape: Shape,
    load_id: int,
    first: int,
    count: int,
    repeats: int,
    opened: datetime,
    closed: datetime,
    days_late: int,
) -> str:
    """Rows of events number ``first`` to ``first + count``, whose sessions begin between two instants."""
    own, people = shape.seed * 4096 + load_id, shape.seed * 4096
    days = (closed - opened).days
    micros = (closed - opened) // timedelta(microseconds=1)
    # Of two uniform times of day the mean is near noon; less than a day has no rhythm.
    moment = (
        f"floor({_uniform('n', 1, own)} * {days}) * 86400e6"
        f" + ({_uniform('n', 2, own)} + {_uniform('n', 3, own)}) / 2 * 86400e6"
        if days
        else f"{_uniform('n', 1, own)} * {micros}"
    )
    quiet = f"isodow(session_at) >= 6 and {_uniform('n', 4, own)} < 0.5" if shape.weekly and days > 6 else "false"
    # Zipf with a softened head: the density at rank r falls with (r + head) ^ (-2/3).
    head = shape.users / 10_000 + 1
    low, high = head ** (1 / 3), (shape.users + head) ** (1 / 3)
    rank = f"cast(floor(pow({low} + {_uniform('n', 5, own)} * {high - low}, 3) - {head}) as bigint)"
    sign_up_day = f"{shape.days} * 5 * ({_uniform('person', 0, people)} - 0.75)"
    stride = count // repeats if repeats else count + 1
    of_event = {name: _uniform("number", purpose, own) for purpose, name in enumerate(OF_EVENT, start=16)}
    return f"""
    with lengths as (
        select n, 1 + least(59, cast(floor(-ln(1 - {_uniform("n", 0, own)}) * 6.5) as bigint)) as length
        from range({first}, {first + count // 5 + 100}) as numbers (n)
    ),
    placed as (
        select n, length, cast(sum(length) over (order by n) as bigint) - length as before from lengths
    ),
    sessions as (
        select
            n,
            before,
            least(length, {count} - before) as length,
            greatest(0, least({shape.users - 1}, {rank})) as person,
            timestamp '{opened}' + to_microseconds(cast(floor({moment}) as bigint)) as session_at,
            5e6 + 295e6 * pow({_uniform("n", 6, own)}, 3) as pace,
            {_uniform("n", 7, own)} < 0.05 as logged_out
        from placed
        where before < {count}
    ),
    people as (
        select
            *,
            case
                when {quiet} then greatest(
                    session_at - to_days(cast(isodow(session_at) - 5 + floor({_uniform("n", 9, own)} * 5) as integer)),
                    timestamp '{opened}'
                )
                else session_at
            end as begins_at,
            timestamp '{shape.start}' + to_microseconds(cast({sign_up_day} * 86400e6 as bigint)) as signed_up_at,
            {_user_id(shape.seed, "person")} as person_id,
            cast(floor({_uniform("n", 8, own)} * (1 + 3 * pow({_uniform("person", 1, people)}, 2))) as bigint)
                as device,
            case when {_uniform("person", 2, people)} < 0.8
                then format('acct_{{:06d}}', cast(floor({_uniform("person", 3, people)} * {shape.users / 5}) as bigint))
            end as person_account
        from sessions
    ),
    steps as (
        select *, unnest(range(length)) as step from people
    ),
    numbered as (
        select *, {first} + before + step as number from steps
    ),
    sent as (
        select
            *,
            begins_at + to_microseconds(cast((step + {of_event["jitter"]}) * pace as bigint)) as sent_at,
            {of_event["kind"]} as kind,
            (number - {first}) % {stride} = 0 and (number - {first}) // {stride} < {repeats} as is_repeated
        from numbered
    ),
    known as (
        select *, case when sent_at >= signed_up_at and not logged_out then person_id end as user_id from sent
    ),
    typed as (
        select
            *,
            case
                when kind < 0.1 then 'page'
                when kind < 0.105 and user_id is not null then 'identify'
                when kind < 0.11 and user_id is not null and person_account is not null then 'group'
                else 'track'
            end as event_type,
            unnest(case when is_repeated then [0, 1] else [0] end) as receipt
        from known
    )
    select
        cast(cast(md5('{own}-' || number) as uuid) as varchar) as event_id,
        event_type,
        case event_type when 'track' then {_pick(NAMES, of_event["name"])} else event_type end as event_name,
        sent_at - interval {days_late} day - to_microseconds(cast(case
            when {of_event["late"]} < {LATE_SHARE} then {of_event["delay"]} * {LATE_DAYS} * 86400e6 else 0
        end as bigint)) as occurred_at,
        sent_at + interval 2 second + receipt * interval 10 minute as received_at,
        user_id,
        cast(cast(md5('{shape.seed}-' || person || '-' || device) as uuid) as varchar) as anonymous_id,
        case when user_id is not null then person_account end as account_id,
        case event_type
            when 'page' then format('{{{{"path": "{{}}", "title": "Page"}}}}', {_pick(PATHS, of_event["name"])})
            when 'identify' then format('{{{{"role": "{{}}"}}}}', {_pick(("admin", "member"), of_event["name"])})
            when 'group' then format('{{{{"plan": "{{}}"}}}}', {_pick(("free", "team"), of_event["name"])})
        end as properties,
        case when event_type = 'page' then format(
            '{{{{"userAgent": "{{}}", "locale": "en"}}}}',
            case when {of_event["bot"]} < {BOT_SHARE} then 'Examplebot/2.1' else 'Mozilla/5.0 (X11; Linux x86_64)' end
        ) end as context,
        '{SOURCE}' as source,
        $loaded_at as loaded_at,
        $load_id as load_id
    from typed
    order by received_at, event_id, receipt
    """


def _earlier_events_sql(count: int) -> str:
    """Events of the three days before a load, received once more."""
    return f"""
    select * replace ($begin as received_at)
    from raw.events
    where occurred_at >= $begin - interval {LATE_DAYS} day
    order by md5(event_id || received_at)
    limit {count}
    """


def _aliases_sql(shape: Shape, pairs: int) -> str:
    """Aliases of the heaviest users: rank 1 becomes rank 0, rank 3 becomes rank 2."""
    return f"""
    select
        cast(cast(md5('alias-{shape.seed}-' || pair) as uuid) as varchar) as event_id,
        'alias' as event_type,
        'alias' as event_name,
        $loaded_at - interval 1 hour as occurred_at,
        $loaded_at - interval 1 hour as received_at,
        {_user_id(shape.seed, "2 * pair")} as user_id,
        {_user_id(shape.seed, "2 * pair + 1")} as previous_id,
        '{SOURCE}' as source,
        $loaded_at as loaded_at,
        $load_id as load_id
    from range({pairs}) as pairs (pair)
    """


def main() -> None:
    """Fill a home from the command line."""
    from orchestration.home import Home, Settings

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--days", type=int, default=25)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--loads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    home = Home(Settings(home=given.home))
    with home.lock("benchmarks.generator"), home.connect() as connection:
        create_history(connection, Shape(given.events, given.days, given.users, given.loads, given.seed))


if __name__ == "__main__":
    main()
