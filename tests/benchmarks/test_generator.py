"""The generated raw events are what benchmarks/generator.py says of them."""

from dataclasses import replace

import duckdb
import pytest

from benchmarks.generator import Shape, adversarial_batch, append_batch, create_history

SHAPE = Shape(events=60_000, days=20, users=3_000, loads=2)


def made(shape: Shape) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    create_history(connection, shape)
    append_batch(connection, shape, 1_000)
    adversarial_batch(connection, shape, 500, pairs=10)
    return connection


@pytest.fixture(scope="module")
def raw() -> duckdb.DuckDBPyConnection:
    return made(SHAPE)


def first_row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row


def fingerprint(connection: duckdb.DuckDBPyConnection) -> tuple:
    return first_row(connection, "select count(*), sum(md5_number_lower(cast(e as varchar))) from raw.events as e")


def test_the_same_seed_gives_the_same_rows(raw: duckdb.DuckDBPyConnection) -> None:
    assert fingerprint(made(SHAPE)) == fingerprint(raw)
    assert fingerprint(made(replace(SHAPE, seed=1))) != fingerprint(raw)


def test_loads_are_recorded_as_a_load_records_them(raw: duckdb.DuckDBPyConnection) -> None:
    counted = raw.execute(
        "select load_id, count(*), max(occurred_at) from raw.events group by load_id order by load_id"
    ).fetchall()
    recorded = raw.execute("select load_id, accepted, newest_event_at from raw.loads order by load_id").fetchall()
    assert counted == recorded
    assert [count for _, count, _ in counted] == [30_000, 30_000, 1_000, 500]


def test_every_row_keeps_the_raw_contract(raw: duckdb.DuckDBPyConnection) -> None:
    broken = """
    select count(*) from raw.events
    where
        event_id is null or event_name is null or coalesce(user_id, anonymous_id) is null or occurred_at is null
        or occurred_at > loaded_at + interval 1 day or occurred_at > received_at
        or event_type not in ('track', 'page', 'identify', 'group', 'alias')
        or not coalesce(json_valid(properties) and json_type(properties) = 'OBJECT', true)
        or not coalesce(json_valid(context), true)
        or length(user_id) != 20
    """
    assert first_row(raw, broken) == (0,)


def test_shares_are_as_given(raw: duckdb.DuckDBPyConnection) -> None:
    repeated, late, pages, anonymous = first_row(
        raw,
        """
        select
            1 - count(distinct event_id) / count(*),
            avg(cast(received_at - occurred_at > interval 1 hour as integer)),
            avg(cast(event_type = 'page' as integer)),
            avg(cast(user_id is null as integer))
        from raw.events
        where load_id <= 2
        """,
    )
    assert repeated == pytest.approx(0.005, abs=0.001)
    assert late == pytest.approx(0.01, abs=0.003)
    assert pages == pytest.approx(0.1, abs=0.01)
    assert 0.1 < anonymous < 0.3


def test_a_few_users_do_most(raw: duckdb.DuckDBPyConnection) -> None:
    (share,) = first_row(
        raw,
        """
        with users as (
            select count(*) as events, percent_rank() over (order by count(*) desc) as rank
            from raw.events where user_id is not null group by user_id
        )
        select sum(events) filter (rank < 0.1) / sum(events) from users
        """,
    )
    assert share > 0.35


def test_devices_are_anonymous_before_their_user_signs_up(raw: duckdb.DuckDBPyConnection) -> None:
    later, devices = first_row(
        raw,
        """
        with devices as (
            select
                min(received_at) filter (user_id is null) as anonymous_at,
                min(received_at) filter (user_id is not null) as identified_at,
                count(distinct user_id) as users
            from raw.events where load_id <= 2 and anonymous_id is not null group by anonymous_id
        )
        select count(*) filter (anonymous_at < identified_at), count(*) filter (users > 1) from devices
        """,
    )
    assert later > 50
    assert devices == 0


def test_an_adversarial_batch_is_late_and_merges_the_heaviest(raw: duckdb.DuckDBPyConnection) -> None:
    late, aliases, heavy = first_row(
        raw,
        """
        select
            count(*) filter (received_at - occurred_at >= interval 90 day),
            count(*) filter (event_type = 'alias'),
            count(*) filter (event_type = 'alias' and previous_id in (
                select user_id from raw.events where load_id <= 2 group by user_id order by count(*) desc limit 100
            ))
        from raw.events where load_id = 4
        """,
    )
    # The others are aliases, and events of before that are received once more.
    assert late >= 485
    assert aliases == 10
    assert heavy >= 5
