"""Streams that once went wrong, or that stand for a rule; each runs with the random ones."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.streams.generator import SOURCE, Event

START = datetime(2025, 3, 1)


def happened(hours: float, name: str = "product_view", **given: object) -> Event:
    """An event so many hours after the start."""
    nothing = dict.fromkeys(
        (
            "event_type",
            "user_id",
            "anonymous_id",
            "previous_id",
            "account_id",
            "session_id",
            "properties",
            "context",
            "received_at",
        )
    )
    return nothing | {"event_name": name, "occurred_at": START + timedelta(hours=hours), "source": SOURCE} | given


EXAMPLES: dict[str, list[list[Event]]] = {
    # The link by name hid that the first observation had come.
    "a device that bears a user's id is identified later": [
        [happened(1, user_id="u2"), happened(2, anonymous_id="u2")],
        [],
        [happened(50, user_id="u2", anonymous_id="u2")],
        [],
    ],
    # A merge of a user is no change of the device of the same name.
    "an alias of an id that was never a device changes one owner, not two": [
        [happened(1, user_id="u1"), happened(2, user_id="u2")],
        [happened(3, "alias", event_type="alias", previous_id="u1", user_id="u2")],
        [],
        [],
    ],
    "a merge of two users moves what both devices did before": [
        [
            happened(1, anonymous_id="a1"),
            happened(2, user_id="u1", anonymous_id="a1"),
            happened(23.9, anonymous_id="a2"),
        ],
        [happened(24.1, user_id="u2", anonymous_id="a2")],
        [happened(30, "alias", event_type="alias", previous_id="u2", user_id="u1")],
        [happened(24.0, "purchase", anonymous_id="a2")],
    ],
    "a late event joins two visits across midnight": [
        [happened(23.5, user_id="u1"), happened(24.4, user_id="u1")],
        [],
        [happened(23.95, user_id="u1")],
        [],
    ],
    # Nobody had a bucket of the device any more, so its former owner was forgotten.
    "a better version takes the only event of a device away while the device is identified": [
        [happened(1, anonymous_id="a1", received_at=START + timedelta(hours=9), event_id="e0")],
        [
            happened(1, user_id="u2", received_at=START, event_id="e0"),
            happened(2, user_id="u1", anonymous_id="a1"),
        ],
        [],
        [],
    ],
    "an alias of oneself is no merge and dates none": [
        [happened(1, "alias", event_type="alias", previous_id="u1", user_id="u1"), happened(1, user_id="u2")],
        [happened(9, "alias", event_type="alias", previous_id="u1", user_id="u2")],
        [],
        [],
    ],
    # Either bucket may be taken for the start of the visit; the other one went with the visit before.
    "two devices of one user begin a visit at one instant": [
        [
            happened(1, user_id="u1", anonymous_id="a1"),
            *(
                happened(30, anonymous_id=device, account_id=account)
                for device, account in (("a1", "c1"), ("a2", "c2"))
            ),
            happened(30, user_id="u1", anonymous_id="a2", account_id="c3"),
        ],
        [happened(30.5, user_id="u1", account_id="c1")],
        [],
        [],
    ],
    # The device's rows went by its id, and with them the user's.
    "a device that bears a user's id changes hands; what the user said of itself stays": [
        [happened(1, "identify", event_type="identify", user_id="u2", properties={"plan": "pro"})],
        [happened(30, user_id="u3", anonymous_id="u2")],
        [happened(60, user_id="u1", anonymous_id="u2")],
        [],
    ],
    "a better version takes the only event of a user away": [
        [happened(1, user_id="u1", received_at=START + timedelta(hours=9), event_id="e0")],
        [happened(1, user_id="u2", received_at=START, event_id="e0")],
        [],
        [],
    ],
}


def example_streams() -> dict[str, list[list[Event]]]:
    """The examples in id spaces of their own, by prefix."""
    streams = {}
    for number, batches in enumerate(EXAMPLES.values()):
        prefix, count = f"x{number:04d}-", 0
        prefixed: list[list[Event]] = []
        for batch in batches:
            rows = []
            for event in batch:
                row = dict(event)
                row["event_id"] = row.get("event_id") or f"n{count}"
                count += 1
                for name in ("event_id", "user_id", "anonymous_id", "previous_id", "account_id", "session_id"):
                    if row[name]:
                        row[name] = f"{prefix}{row[name]}"
                rows.append(row)
            prefixed.append(rows)
        streams[prefix] = prefixed
    return streams
