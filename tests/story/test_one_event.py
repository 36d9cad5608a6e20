"""One event's trip, from the raw row to the delivered trait."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.home import Home
from orchestration.landing.load import load
from orchestration.pipeline.refresh import refresh
from orchestration.serving.explain import explain
from orchestration.sync.engine import run_sync
from orchestration.transform.dbt import Project
from tests.conftest import queried, served


@pytest.mark.long
def test_a_look_at_checkout_becomes_a_delivered_trait(
    sample_home: Home, sample_project: Project, events_file: Callable[..., Path]
) -> None:
    home, project, user = sample_home, sample_project, "user_0002"
    outbox = project.catalog.sync("outbox")
    run_sync(home, project.catalog, outbox)
    before = queried(home, f"select pricing_since_purchase_28d from features.user_features where user_id = '{user}'")

    # The others come as they did on the Sunday before: a day on which one user came would not pass the source checks.
    others = queried(
        home,
        "select user_id, event_name, cast(occurred_at + interval 7 day as varchar) from raw.events"
        f" where cast(occurred_at as date) = '2024-06-23' and user_id != '{user}'",
    )
    names = ("user_id", "event_name", "occurred_at")
    load(home, [events_file(dict(zip(names, row, strict=True)) for row in others)], source="shop")

    # Raw: the user looks at checkout four times on the next morning; one row comes twice.
    first = {"user_id": user, "event_name": "shipping_details", "occurred_at": "2024-06-30T09:00:00Z"}
    second = first | {"event_name": "payment_details", "occurred_at": "2024-06-30T09:10:00Z"}
    third = second | {"occurred_at": "2024-06-30T09:29:59Z"}
    fourth = second | {"occurred_at": "2024-06-30T09:20:00Z"}
    loaded = load(home, [events_file([first, second, third, third, fourth])], source="shop")
    assert (loaded.accepted, loaded.duplicates) == (4, 1)

    # Write, audit, publish.
    written, report = refresh(project)
    assert not written.build.full_refresh
    assert str(report.as_of) == "2024-07-01 00:00:00"

    # Events: once, with their meaning. One session. One day. Features.
    meant = queried(
        home,
        "select distinct event_name, behaviour, step from events.fct_events"
        f" where user_id = '{user}' and load_id = 3 order by event_name",
    )
    assert meant == [("payment_details", "pricing", "payment"), ("shipping_details", "pricing", "shipping")]
    session = "select event_count, pricing_count, duration_seconds from sessions.fct_sessions"
    assert queried(home, f"{session} where user_id = '{user}' and session_date = '2024-06-30'") == [(4, 4, 1799)]
    day = "select event_count, session_count, last_pricing_at::varchar from activity.fct_user_activity_daily"
    assert queried(home, f"{day} where user_id = '{user}' and activity_date = '2024-06-30'") == [
        (4, 1, "2024-06-30 09:29:59")
    ]
    after = queried(
        home,
        f"select pricing_since_purchase_28d, days_since_pricing from features.user_features where user_id = '{user}'",
    )
    assert after == [(before[0][0] + 4, 0)]

    # Candidate, gate, ledger, reason.
    candidate = f"select value, evidence from candidates.ready_to_upgrade where user_id = '{user}'"
    [(value, evidence)] = queried(home, candidate)
    assert value is True
    assert json.loads(evidence)["rule"] == "strong_intent"
    assert report.withheld == []
    change = f"select old_value, new_value, cause from traits.trait_changes where entity_id = '{user}'"
    assert served(home, f"{change} and trait = 'ready_to_upgrade' order by seq desc limit 1") == [
        ("false", "true", "behaviour")
    ]
    [explained] = explain(home, project.catalog, user, trait="ready_to_upgrade")
    assert explained["now"].startswith(
        f"Looked at pricing or checkout {after[0][0]} times within 28 days and after any purchase, last 0 days ago"
    )

    # Delivered, with from, to and why; and never again.
    run_sync(home, project.catalog, outbox)
    newest = max((home.outbox / "outbox").glob("*.ndjson"), key=lambda path: path.stat().st_mtime_ns)
    messages = {message["entity_id"]: message for message in map(json.loads, newest.read_text().splitlines())}
    assert messages[user]["changed"]["ready_to_upgrade"] == {"from": False, "to": True, "reason": explained["now"]}
    assert run_sync(home, project.catalog, outbox).planned == 0
