"""What is read of raw rows, and what of it is shown."""

import json

import duckdb
import pytest

from orchestration.mapping.facts import EventKey, Facts, _count_values, examples, raw_facts


def test_a_vendors_rows_are_read_as_its_adapter_gives_them() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            """
            create schema staging;
            create view staging.stg_generic__events as select 1 as x;
            create view staging.stg_gone__events as select 1 as source;
            create view staging.stg_segment__events as
            select * from (values
                ('segment', 'Opened', 'track', timestamp '2025-01-01', '{"plan": "pro", "path": "/a/b/c?d"}'),
                ('segment', 'Opened', 'page', timestamp '2025-01-02', '{"plan": "free", "url": "https://h/pricing"}'),
                ('segment', 'Opened', 'page', timestamp '2025-01-03', 'no "path" JSON'),
                ('segment', 'Opened', 'track', timestamp '2024-12-01', '{"status": "failed", "ok": true}'),
                ('segment', 'Opened', 'track', timestamp '2024-12-01', 'no "status"'),
                ('segment', 'Closed', 'track', timestamp '2025-01-02', '{}')
            ) as t (source, event_name, event_type, occurred_at, properties)
            """
        )
        facts = raw_facts(connection, [EventKey("segment", "Opened")])
    assert list(facts) == [("segment", "Opened")]
    found = facts[EventKey("segment", "Opened")]
    assert dict(found.types) == {"track": 3, "page": 2}
    assert dict(found.paths) == {("path", "", "/a", "/b"): 1, ("url", "https://h", "/pricing", ""): 1}
    assert {key: dict(values) for key, values in found.states.items()} == {"status": {"failed": 1}, "ok": {"true": 1}}
    assert examples(found) == ("plan=free", "ok=true", "path=/a/b/c")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a@example.com", "***"),
        ("https://h/p?to=a%40example.com", "https://h/p"),
        ("+49 30 1234567", "***"),
        ("192.168.1.10", "***"),
        ("/users/4711/settings?x=1", "/users/***/settings"),
        ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "***"),
        ("2025-01-31", "2025-01-31"),
        ("two\n lines", "two lines"),
        (True, "true"),
        (12.5, "12.5"),
    ],
)
def test_values_are_shown_without_what_says_who_somebody_is(value: object, shown: str) -> None:
    facts = Facts()
    _count_values(facts.values, json.dumps({"note": value, "user_id": "u1", "Full Name": "A", "a@b": 1}))
    assert examples(facts) == (f"note={shown}",)
