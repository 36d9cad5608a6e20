"""The oracle against small examples whose rows are worked out by hand; all on 3 March 2025 unless a date is given."""

import csv
import hashlib
from datetime import date, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.home import PROJECT_ROOT
from tests.streams.generator import ATTRIBUTE_CATALOG, BATCHES, CLOCKS, JUNK_IDS, as_landed, random_stream, streams
from tests.streams.oracle import (
    BEHAVIOURS,
    COLUMNS,
    OracleSettings,
    Row,
    accepted_events,
    content_hash,
    expected,
    quarantine_reason,
    sort_rows,
)

SHOP_CATALOG = list(csv.DictReader((PROJECT_ROOT / "seeds" / "event_catalog.csv").open(encoding="utf-8")))
AS_OF = datetime(2025, 3, 10)


def at(text: str) -> datetime:
    """'10:00', '10:00:00.000001' or '2025-03-04 10:00'."""
    return datetime.fromisoformat(text if "-" in text else f"2025-03-03 {text}")


def rule(
    event_name: str, behaviour: str = "", feature: str = "", step: str = "", outcome: str = "", **given: str
) -> Any:
    blank = {"source": "shop", "property": "", "match": "", "pattern": ""}
    return (
        blank
        | {"event_name": event_name, "behaviour": behaviour, "feature": feature, "step": step}
        | {"outcome": outcome}
        | given
    )


CATALOG = [
    rule("view", "core_value", "product"),
    rule("address", "pricing", "checkout", "shipping", "start"),
    rule("pay", "subscribed", "checkout", "payment", "success"),
    rule("more", "upgraded", "checkout"),
    rule("declined", "error", "checkout", "payment", "failure"),
    rule("crash", "error", "", "", "failure"),
    rule("home", "navigation", "home"),
    rule("cancel", "cancelled"),
    rule("try", "trial_started"),
]


def sent(time: str, user: str | None = None, anonymous: str | None = None, name: str = "home", **given: Any) -> Any:
    """An event, of an id of its own when none is given."""
    row = {"event_name": name, "occurred_at": at(time), "user_id": user, "anonymous_id": anonymous, "source": "shop"}
    row |= given
    return {"event_id": hashlib.md5(repr(row).encode()).hexdigest()} | row


def alias(time: str, previous: str | None, user: str | None, **given: Any) -> Any:
    return sent(time, user, name="alias", event_type="alias", previous_id=previous, **given)


def rows(table: str, events: list[Any], columns: str = "", as_of: datetime = AS_OF, **given: Any) -> list[Row]:
    """Rows of a table; of some columns when they are named."""
    catalog, attribute_catalog = given.pop("catalog", CATALOG), given.pop("attribute_catalog", ATTRIBUTE_CATALOG)
    found = expected(
        events,
        as_of=as_of,
        catalog=catalog,
        attribute_catalog=attribute_catalog,
        settings=OracleSettings(**({"junk_ids": JUNK_IDS} | given)),
    )[table]
    places = [COLUMNS[table].index(column) for column in columns.split() or COLUMNS[table]]
    return sort_rows(tuple(row[place] for place in places) for row in found)


def counts(**given: int) -> tuple[int, ...]:
    return tuple(given.get(behaviour, 0) for behaviour in BEHAVIOURS)


# Events


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"event_id": None, "event_name": None}, "no event_id"),
        ({"event_id": "  "}, "no event_id"),
        ({"event_name": "", "user_id": None}, "no event_name"),
        ({"user_id": "null"}, "no user_id or anonymous_id"),
        ({"user_id": " Undefined ", "occurred_at": None}, "no user_id or anonymous_id"),
        ({"user_id": "", "anonymous_id": "a"}, None),
        ({"occurred_at": None, "properties": []}, "no readable occurred_at"),
        ({"occurred_at": "yesterday"}, "no readable occurred_at"),
        ({"loaded_at": at("2025-03-02 10:00")}, None),
        ({"loaded_at": at("2025-03-02 09:59:59.999999"), "properties": []}, "occurred_at too late"),
        ({"properties": None}, None),
        ({"properties": "{}"}, "properties not an object"),
        ({"properties": [1]}, "properties not an object"),
    ],
)
def test_the_first_reason_that_holds_keeps_a_row_out(change: dict[str, Any], reason: str | None) -> None:
    raw = sent("10:00", "u") | change
    assert quarantine_reason(raw, OracleSettings(junk_ids=JUNK_IDS)) == reason
    assert len(rows("events.fct_events", [raw])) == (reason is None)


def test_ids_that_say_nothing_become_null_and_others_stay_as_they_are() -> None:
    [event] = accepted_events(
        [sent("10:00", " u ", "ANONYMOUS", account_id=" ", previous_id="null")], [], OracleSettings(junk_ids=JUNK_IDS)
    )
    assert (event.user_id, event.anonymous_id, event.account_id, event.previous_id) == (" u ", None, None, None)


def test_of_versions_the_first_received_stays() -> None:
    first = sent("12:00", "first", event_id="e", received_at=at("12:01"))
    late = sent("10:00", "late", event_id="e", received_at=at("12:02"))
    assert rows("events.fct_events", [late, first], "user_id occurred_at") == [("first", at("12:00"))]
    # Without an instant of receipt, the one of occurrence stands for it.
    unknown = sent("12:01:30", "unknown", event_id="e")
    assert rows("events.fct_events", [unknown, late, first], "user_id") == [("first",)]
    assert rows("events.fct_events", [unknown, late], "user_id") == [("unknown",)]
    # A version that is kept out takes part no more; another source's event is another event.
    bad = sent("09:00", "bad", event_id="e", properties=[1])
    other = sent("09:00", "other", event_id="e", source="app")
    assert rows("events.fct_events", [bad, late, other], "source user_id") == [("app", "other"), ("shop", "late")]


def test_the_content_breaks_ties_of_versions() -> None:
    versions = [
        sent("1970-01-01 00:00:02", "u", "a", event_id="e", account_id=account, received_at=at("12:00"))
        | {"event_type": "alias", "previous_id": "p", "session_id": "n", "properties": {"b": "é", "a": [1, None]}}
        for account in ("x", "y", " NULL")
    ]
    texts = [f'home|u|a|{account}|2000000|{{"a":[1,null],"b":"é"}}||n|alias|p|shop' for account in ("x", "y", "")]
    hashes = [hashlib.md5(text.encode()).hexdigest() for text in texts]
    assert [content_hash(version, OracleSettings()) for version in versions] == hashes
    bare = {"event_name": "home", "occurred_at": at("1970-01-01 00:00"), "source": "shop"}
    assert content_hash(bare, OracleSettings()) == hashlib.md5(b"home||||0||||||shop").hexdigest()
    [event] = accepted_events(versions, [], OracleSettings(junk_ids=JUNK_IDS))
    assert event.account_id == [("x"), ("y"), None][hashes.index(min(hashes))]


def test_the_most_specific_catalogue_row_gives_the_meaning() -> None:
    catalog = [
        rule("view", "core_value", source=""),
        rule("view", "pricing", property="path", match="prefix", pattern="/p"),
        rule("view", "support", source="shop"),
        rule("view", "error", source="app"),
    ]
    events = [sent("10:00", "u", name="view", source=source) for source in ("app", "shop", "web")]
    events.append(sent("10:00", "u", name="other", source="web2"))
    assert rows("events.fct_events", events, "source behaviour", catalog=catalog) == [
        ("app", "error"),
        ("shop", "support"),
        ("web", "core_value"),
        ("web2", ""),
    ]


def test_bots_and_later_events_are_kept_but_not_seen() -> None:
    events = [
        sent("10:00", "person", context={"userAgent": "Mozilla"}),
        sent("10:00", "bot1", context={"userAgent": "GoogleBot/2"}),
        sent("10:00", "bot2", context={"user_agent": "a Spider"}),
        sent("11:00", "later"),
    ]
    found = dict(rows("events.fct_events", events, "user_id is_bot"))
    assert found == {"person": False, "bot1": True, "bot2": True, "later": False}
    assert rows("identity.dim_users", events, "user_id", as_of=at("11:00")) == [("person",)]
    assert rows("identity.dim_users", events, "user_id", as_of=at("11:00:00.000001")) == [("later",), ("person",)]


# Identity


def owners(events: list[Any], **given: Any) -> dict[datetime, str]:
    """Owner by the instant of the event; the examples have one event an instant where they ask."""
    found = rows("sessions.fct_sessions", events, "started_at user_id", session_gap_minutes=1, **given)
    return dict(found)  # type: ignore[arg-type]


def test_a_device_belongs_to_its_first_user_before_and_to_the_last_seen_after() -> None:
    events = [sent(time, None, "a") for time in ("08:00", "10:05", "12:05")]
    events += [sent("10:00", "u2", "a"), sent("12:00", "u1", "a")]
    found = owners(events)
    assert [found[at(time)] for time in ("08:00", "10:05", "12:05")] == ["u2", "u2", "u1"]
    changes = [
        ("anonymous", "a", at("10:00"), "a", "u2", "identified"),
        ("anonymous", "a", at("12:00"), "u2", "u1", "identified"),
    ]
    assert rows("identity.identity_changes", events) == changes


def test_users_seen_at_one_instant_the_least_owns_before_and_the_greatest_from_then_on() -> None:
    events = [sent("10:00", user, "a") for user in ("u2", "u1", "u3")]
    events += [sent("09:00", None, "a"), sent("11:00", None, "a")]
    found = owners(events)
    assert (found[at("09:00")], found[at("11:00")]) == ("u1", "u3")
    assert sorted(rows("identity.dim_users", events, "user_id event_count")) == [("u1", 2), ("u2", 1), ("u3", 2)]
    assert rows("identity.identity_changes", events) == [("anonymous", "a", at("10:00"), "a", "u3", "identified")]


def test_a_device_of_too_many_users_links_to_nobody_from_the_last_of_them_on() -> None:
    events = [sent(time, user, "a") for time, user in [("10:00", "u1"), ("11:00", "u2"), ("12:00", "u1")]]
    anonymous = [sent(time, None, "a") for time in ("09:00", "12:59", "13:00:00.000001", "15:00")]
    two = owners(events + anonymous, shared_device_users=2)
    assert [two[event["occurred_at"]] for event in anonymous] == ["u1"] * 4
    events += [sent("13:00", "u3", "a"), sent("14:00", "u1", "a")]
    three = rows("sessions.fct_sessions", events + anonymous, "user_id started_at ended_at", shared_device_users=2)
    assert three == [
        ("a", at("13:00:00.000001"), at("13:00:00.000001")),
        ("a", at("15:00"), at("15:00")),
        ("u1", at("09:00"), at("09:00")),
        ("u1", at("10:00"), at("10:00")),
        ("u1", at("12:00"), at("12:00")),
        ("u1", at("12:59"), at("12:59")),
        ("u1", at("14:00"), at("14:00")),
        ("u2", at("11:00"), at("11:00")),
        ("u3", at("13:00"), at("13:00")),
    ]
    assert rows("identity.identity_changes", events, shared_device_users=2) == [
        ("anonymous", "a", at("10:00"), "a", "u1", "identified"),
        ("anonymous", "a", at("11:00"), "u1", "u2", "identified"),
        ("anonymous", "a", at("12:00"), "u2", "u1", "identified"),
        ("anonymous", "a", at("13:00"), "u1", "a", "shared_device"),
    ]


def test_users_of_a_shared_device_are_counted_in_the_order_they_were_seen_in() -> None:
    # u2 and u3 come at one instant: u2 is the second, u3 the third user.
    events = [sent("10:00", "u9", "a"), sent("11:00", "u3", "a"), sent("11:00", "u2", "a"), sent("12:00", "u4", "a")]
    events += [sent("11:00", None, "a"), sent("10:59", None, "a")]
    assert ("a", 1) in rows("identity.dim_users", events, "user_id event_count", shared_device_users=2)
    assert ("u9", 2) in rows("identity.dim_users", events, "user_id event_count", shared_device_users=2)
    assert ("u3", 2) in rows("identity.dim_users", events, "user_id event_count", shared_device_users=3)


def test_a_device_that_is_shared_from_its_first_instant_on_never_changes() -> None:
    events = [sent("10:00", "u1", "a"), sent("10:00", "u2", "a"), sent("09:00", None, "a"), sent("10:00", None, "a")]
    assert rows("identity.identity_changes", events, shared_device_users=1) == []
    assert rows("identity.dim_users", events, "user_id event_count", shared_device_users=1) == [
        ("a", 1),
        ("u1", 2),
        ("u2", 1),
    ]


@pytest.mark.parametrize(
    ("edges", "canonical"),
    [
        (["u1>u2"], {"u1": "u2", "u2": "u2"}),
        (["u1>u2", "u2>u3"], {"u1": "u3", "u2": "u3", "u3": "u3"}),
        (["u2>u1", "u1>u2"], {"u1": "u1", "u2": "u1"}),
        (["u2>u3", "u3>u1", "u1>u2"], {"u1": "u1", "u2": "u1", "u3": "u1"}),
        (["u1>u3", "u1>u2"], {"u1": "u2", "u2": "u2", "u3": "u2"}),
        (["u1>u3", "u2>u3"], {"u1": "u3", "u2": "u3", "u3": "u3"}),
        (["u1>u2", "u2>u1", "u1>u9"], {"u1": "u9", "u2": "u9", "u9": "u9"}),
        (["u1>u1"], {"u1": "u1"}),
        (["x>a", "x>B"], {"x": "B", "a": "B", "B": "B"}),
        (["é>z", "z>é"], {"é": "z", "z": "z"}),
    ],
)
def test_merged_users_are_one(edges: list[str], canonical: dict[str, str]) -> None:
    events = [alias(f"1{n}:00", *edge.split(">")) for n, edge in enumerate(edges)]
    assert {user: owners([*events, sent("18:00", user)])[at("18:00")] for user in canonical} == canonical


def test_what_is_no_visible_alias_of_two_ids_merges_nothing() -> None:
    events = [
        sent("10:00", "u2", previous_id="u1"),
        alias("10:01", "u1", None, anonymous_id="x"),
        alias("10:02", "null", "u2"),
        alias("10:03", "u1", "u2", context={"userAgent": "bot"}),
        alias("2025-03-10 00:00", "u1", "u2"),
        sent("11:00", "u1"),
    ]
    assert rows("identity.dim_users", events, "user_id") == [("u1",), ("u2",), ("x",)]
    assert rows("identity.identity_changes", events) == []


def test_an_alias_is_an_observation_on_the_previous_id_as_anonymous_id() -> None:
    events = [sent("09:00", None, "a"), sent("11:00", None, "a"), alias("10:00", "a", "u")]
    assert rows("identity.dim_users", events, "user_id event_count is_anonymous") == [("u", 3, False)]
    assert rows("identity.identity_changes", events) == [("user", "a", at("10:00"), "a", "u", "aliased")]
    # The device of the alias itself is observed too.
    events = [alias("10:00", "p", "u", anonymous_id="d"), sent("09:00", None, "d")]
    assert rows("identity.dim_users", events, "user_id event_count") == [("u", 2)]
    assert rows("identity.identity_changes", events) == [
        ("anonymous", "d", at("10:00"), "d", "u", "identified"),
        ("user", "p", at("10:00"), "p", "u", "aliased"),
    ]


def test_an_id_linked_to_nobody_is_owned_by_the_user_of_its_name_and_then_by_the_user_who_took_that_over() -> None:
    events = [sent("10:00", "x"), sent("09:00", None, "x")]
    assert rows("identity.dim_users", events, "user_id event_count is_anonymous") == [("x", 2, False)]
    # x merges into u; as a device, x is seen with one user too many from 12:00 on.
    events = [sent("09:00", None, "x"), alias("10:00", "x", "u"), sent("12:00", "v", "x"), sent("13:00", None, "x")]
    assert rows("identity.dim_users", events, "user_id event_count", shared_device_users=1) == [("u", 3), ("v", 1)]
    assert rows("identity.dim_users", events, "user_id event_count") == [("u", 2), ("v", 2)]
    assert rows("identity.identity_changes", events) == [
        ("anonymous", "x", at("12:00"), "u", "v", "identified"),
        ("user", "x", at("10:00"), "x", "u", "aliased"),
    ]


def test_changes_name_users_after_all_merges_and_leave_out_what_changes_nothing() -> None:
    events = [sent("09:00", "u1", "a"), sent("09:30", "u2", "a"), sent("09:40", "u3", "a"), sent("09:50", "u3", "a")]
    events += [alias("10:00", "u1", "u2"), alias("11:00", "u0", "u1"), alias("08:00", "u2", "u2")]
    assert rows("identity.identity_changes", events) == [
        ("anonymous", "a", at("09:00"), "a", "u2", "identified"),
        ("anonymous", "a", at("09:40"), "u2", "u3", "identified"),
        ("user", "u0", at("11:00"), "u0", "u2", "aliased"),
        ("user", "u1", at("10:00"), "u1", "u2", "aliased"),
    ]


def test_dim_users() -> None:
    events = [sent("10:00", None, "a"), sent("12:00", None, "a"), sent("11:00", "u"), sent("08:00", None, "b")]
    events += [sent("13:00", "u", "b")]
    assert rows("identity.dim_users", events) == [
        ("a", at("10:00"), at("12:00"), 2, True),
        ("u", at("08:00"), at("13:00"), 3, False),
    ]


def test_attributes() -> None:
    def said(time: str, user: str | None, kind: str = "identify", **given: Any) -> Any:
        anonymous, account = (None if user else "d"), given.pop("account", None)
        return sent(time, user, anonymous, event_type=kind, account_id=account, properties=given)

    events = [
        said("10:00", "u", email="b@x", plan="free", seats=7),
        said("10:00", "u", email="a@x"),
        said("11:00", "u", email="b@x", plan=""),
        said("12:00", "u", email=None, plan="pro"),
        said("13:00", "u", plan="free"),
        said("13:00", "u", kind="track", plan="gold"),
        said("10:00", None, plan="free"),
        said("10:00", "u", kind="group", account="c", seats=5, plan="team", email="c@x"),
        said("12:00", None, kind="group", account="c", seats=10, plan={"b": 1, "a": True}),
        said("12:00", "u", kind="group", seats=99),
    ]
    assert rows("identity.attributes", events) == [
        ("account", "c", "plan", "team", at("10:00"), at("12:00")),
        ("account", "c", "plan", '{"a":true,"b":1}', at("12:00"), None),
        ("account", "c", "seats", "10", at("12:00"), None),
        ("account", "c", "seats", "5", at("10:00"), at("12:00")),
        ("user", "d", "plan", "free", at("10:00"), None),
        ("user", "u", "email", "b@x", at("10:00"), None),
        ("user", "u", "plan", "free", at("10:00"), at("12:00")),
        ("user", "u", "plan", "free", at("13:00"), None),
        ("user", "u", "plan", "pro", at("12:00"), at("13:00")),
    ]


def test_what_posthog_sets_sets_once_and_takes_back() -> None:
    def said(time: str, kind: str = "identify", **given: Any) -> Any:
        properties = {
            f"${name}" if name in ("set", "set_once", "unset") else name: value for name, value in given.items()
        }
        return sent(time, "u", event_type=kind, source="posthog", properties=properties)

    events = [
        said("09:00", set_once={"plan": "basic", "email": "a@x"}, plan="lost"),
        said("10:00", kind="track", set={"plan": "pro"}, plan="lost"),
        said("11:00", set_once={"plan": "free", "email": "b@x"}),
        said("12:00", unset=["plan"]),
        said("13:00", unset=["plan", "email"], set={"email": "c@x"}),
        said("14:00", set_once={"plan": "team"}),
        said("15:00", kind="track", plan="lost"),
        said("16:00", plan="null"),
    ]
    assert rows("identity.attributes", events) == [
        ("user", "u", "email", "a@x", at("09:00"), at("13:00")),
        ("user", "u", "plan", "basic", at("09:00"), at("10:00")),
        ("user", "u", "plan", "pro", at("10:00"), at("12:00")),
        ("user", "u", "plan", "team", at("14:00"), None),
    ]


def test_two_properties_of_one_attribute_the_greatest_text_holds() -> None:
    catalog = [{"entity_type": "user", "property": name, "attribute": "email"} for name in ("email", "mail")]
    events = [sent("10:00", "u", event_type="identify", properties={"email": "a", "mail": "b"})]
    assert rows("identity.attributes", events, "value", attribute_catalog=catalog) == [("b",)]


def test_memberships() -> None:
    def left(time: str, user: str, account: str, said: Any = True, kind: str = "group") -> Any:
        return sent(time, user, event_type=kind, account_id=account, properties={"left": said})

    events = [
        *(sent("09:00", "u1", account_id="c"), left("10:00", "u1", "c"), sent("11:00", "u1", account_id="c2")),
        *(sent("10:00", "u2", account_id="c"), left("10:00", "u2", "c"), sent("10:30", "u2")),
        *(left("10:00", "u3", "c"), sent("10:00:00.000001", "u3", account_id="c")),
        *(left("10:00", "u4", "c", False), left("10:00", "u5", "c", kind="track"), left("10:00", "u6", "c", "true")),
    ]
    assert rows("identity.memberships", events) == [
        ("u1", "c", at("09:00"), at("10:00"), at("10:00")),
        ("u1", "c2", at("11:00"), None, at("11:00")),
        ("u2", "c", at("10:00"), at("10:00"), at("10:00")),
        ("u3", "c", at("10:00"), None, at("10:00:00.000001")),
        ("u4", "c", at("10:00"), None, at("10:00")),
        ("u5", "c", at("10:00"), None, at("10:00")),
        ("u6", "c", at("10:00"), at("10:00"), at("10:00")),
    ]


# Sessions


def test_only_a_silence_longer_than_the_gap_begins_a_visit() -> None:
    events = [sent(time, "u") for time in ("10:30", "10:00", "11:00:00.000001", "11:30:00.000001", "12:00:00.000001")]
    columns = "visit_started_at started_at ended_at duration_seconds event_count"
    assert rows("sessions.fct_sessions", events, columns) == [
        (at("10:00"), at("10:00"), at("10:30"), 1800, 2),
        (at("11:00:00.000001"), at("11:00:00.000001"), at("12:00:00.000001"), 3600, 3),
    ]


def test_a_visit_is_cut_at_bounds_of_buckets() -> None:
    # Buckets of 30 minutes, two a session: 10:00 (10:29), 10:30, then 11:00 and 11:30, then 12:00.
    times = ["10:29", "10:31", "10:59:59.999999", "11:00", "11:30", "11:59:59.999999", "12:00"]
    columns = "visit_started_at started_at ended_at duration_seconds event_count"
    assert rows("sessions.fct_sessions", [sent(time, "u") for time in times], columns, session_max_minutes=60) == [
        (at("10:29"), at("10:29"), at("10:59:59.999999"), 1859, 3),
        (at("10:29"), at("11:00"), at("11:59:59.999999"), 3599, 3),
        (at("10:29"), at("12:00"), at("12:00"), 0, 1),
    ]


def test_a_visit_of_twelve_hours_is_cut_once() -> None:
    # From 10:20 on a visit's 24 buckets end before 22:00; the next part ends before 10:00 of the next day.
    times = [
        f"2025-03-0{3 + minute // 1440} {minute // 60 % 24:02}:{minute % 60:02}" for minute in range(620, 2061, 30)
    ]
    found = rows("sessions.fct_sessions", [sent(time, "u") for time in times], "started_at ended_at event_count")
    assert found == [
        (at("10:20"), at("21:50"), 24),
        (at("22:20"), at("2025-03-04 09:50"), 24),
        (at("2025-03-04 10:20"), at("2025-03-04 10:20"), 1),
    ]


def test_a_session_row() -> None:
    events = [
        sent("10:00:00.5", "u", name="home"),
        sent("10:10", "u", name="view", account_id="c2"),
        sent("10:10", "u", name="declined", account_id="c1"),
        sent("10:20:00.4", "u", name="unknown", account_id="c0", session_id="n"),
    ]
    name = hashlib.md5(b"u|1740996000500000").hexdigest()
    times = (at("10:00:00.5"), at("10:00:00.5"), at("10:20:00.4"))
    behaviours = counts(navigation=1, core_value=1, error=1)
    assert rows("sessions.fct_sessions", events) == [
        (name, "u", "c1", None, *times, date(2025, 3, 3), 1199, 4, *behaviours)
    ]


def test_native_sessions_know_no_gap_and_others_are_cut_among_themselves() -> None:
    events = [sent("10:00", "u", session_id="n"), sent("21:50", "u", session_id="n")]
    events += [sent("10:20", "u"), sent("10:50", "u", session_id=""), sent("10:40", "v", session_id="n")]
    columns = "session_id user_id native_session_id visit_started_at started_at ended_at"
    ids = [
        hashlib.md5(text).hexdigest()
        for text in (b"u|1740996000000000|n", b"u|1740997200000000", b"v|1740998400000000|n")
    ]
    last = at("21:50")
    assert rows("sessions.fct_sessions", events, columns, session_ids="native") == sort_rows(
        [
            (ids[0], "u", "n", at("10:00"), at("10:00"), last),
            (ids[1], "u", None, at("10:20"), at("10:20"), at("10:50")),
            (ids[2], "v", "n", at("10:40"), at("10:40"), at("10:40")),
        ]
    )
    columns = "user_id native_session_id started_at event_count"
    assert rows("sessions.fct_sessions", events, columns) == [
        ("u", None, at("10:00"), 3),
        ("u", None, last, 1),
        ("v", None, at("10:40"), 1),
    ]


def test_a_native_session_id_that_comes_back_is_no_session_of_months() -> None:
    # One event of January has the id of a session in March, which goes on for 13 hours.
    times = ["2025-01-03 09:00", "10:10", "18:00", "21:50", "22:10", "23:10"]
    events = [sent(time, "u", session_id="n") for time in times]
    native = {"session_ids": "native"}
    assert rows("sessions.fct_sessions", events, "visit_started_at started_at duration_seconds", **native) == [
        (at("2025-01-03 09:00"), at("2025-01-03 09:00"), 0),
        (at("10:10"), at("10:10"), 42_000),
        (at("10:10"), at("22:10"), 3_600),
    ]
    assert rows("activity.fct_user_activity_daily", events, "activity_date session_count active_seconds", **native) == [
        (date(2025, 1, 3), 1, 0),
        (THIRD, 2, 45_600),
    ]


def test_parallel_sessions_count_once_and_seconds_on_the_day_on_which_they_were_spent() -> None:
    # Two tabs from 23:00 and 23:30 to 00:10 and 00:20, the second for an account; then one alone.
    times = {"a": ["23:00", "2025-03-04 00:10"], "b": ["23:30", "2025-03-04 00:20"]}
    times |= {"c": ["2025-03-04 09:00", "2025-03-04 09:05"]}
    events = [sent(t, "u", session_id=n, account_id="c" if n == "b" else None) for n, its in times.items() for t in its]
    columns, native = "activity_date session_count active_seconds", {"session_ids": "native"}
    assert rows("activity.fct_user_activity_daily", events, columns, **native) == [
        (THIRD, 1, 3_600),
        (FOURTH, 1, 1_500),
    ]
    assert rows("activity.fct_account_activity_daily", events, columns, **native) == [
        (THIRD, 1, 1_800),
        (FOURTH, 0, 1_200),
    ]


def test_days_are_those_of_the_reporting_time_zone() -> None:
    events = [sent("22:59:59.999999", "u"), sent("23:00", "u")]
    zone = {"reporting_time_zone": "Europe/Berlin"}
    assert rows("sessions.fct_sessions", events[1:], "session_date", **zone) == [(date(2025, 3, 4),)]
    assert rows("activity.fct_user_activity_daily", events, "activity_date session_count active_seconds", **zone) == [
        (date(2025, 3, 3), 1, 0),
        (date(2025, 3, 4), 0, 0),
    ]
    # The day that as_of ends is the one before: 23:00 UTC is midnight there.
    features = "events_1d active_days_7d"
    assert rows("features.user_features", events[:1], features, as_of=at("23:00"), **zone) == [(1, 1)]
    assert rows("features.user_features", events[:1], features, as_of=at("23:00:00.000001"), **zone) == [(0, 1)]


# Activity

BUSY_DAY = [
    sent("10:00", "u", name="view", account_id="c"),
    sent("10:05", "u", name="view", account_id="c"),
    sent("10:06", "u", name="address", account_id="c"),
    sent("10:07", "u", name="declined", account_id="c"),
    sent("10:08", "u", name="declined", account_id="c"),
    sent("10:09", "u", name="pay", account_id="c"),
    sent("10:10", "u", name="more", account_id="c"),
    sent("12:00", "u", name="declined"),
    sent("12:01", "u", name="crash"),
    sent("12:02", "u", name="unknown"),
    sent("12:00", "v", name="declined", account_id="c"),
    sent("12:10", "v", name="view", account_id="c"),
    sent("2025-03-04 12:00", "u", name="view", account_id="c"),
]
THIRD = date(2025, 3, 3)
FOURTH = date(2025, 3, 4)
# Neither core value, pricing, purchase, trial nor cancellation.
NEVER = (None,) * 5


def test_activity_of_users_in_accounts() -> None:
    u_in_c = counts(core_value=2, pricing=1, error=2, subscribed=1, upgraded=1)
    next_day = at("2025-03-04 12:00")
    assert rows("activity.fct_user_account_activity_daily", BUSY_DAY) == [
        ("u", "", THIRD, 3, 2, *counts(error=2), at("12:00"), at("12:02"), *NEVER),
        ("u", "c", THIRD, 7, 2, *u_in_c, at("10:00"), at("10:10"), at("10:00"), at("10:06"), at("10:10"), None, None),
        ("u", "c", FOURTH, 1, 0, *counts(core_value=1), next_day, next_day, next_day, *NEVER[1:]),
        ("v", "c", THIRD, 2, 1, *counts(core_value=1, error=1), at("12:00"), at("12:10"), at("12:10"), *NEVER[1:]),
    ]


def test_features_used() -> None:
    assert rows("activity.fct_feature_usage_daily", BUSY_DAY) == [
        ("u", "", THIRD, "checkout", 1),
        ("u", "c", THIRD, "checkout", 5),
        ("u", "c", THIRD, "product", 2),
        ("u", "c", FOURTH, "product", 1),
        ("v", "c", THIRD, "checkout", 1),
        ("v", "c", THIRD, "product", 1),
    ]


def test_steps_tried() -> None:
    assert rows("activity.fct_step_activity_daily", BUSY_DAY) == [
        ("u", "", THIRD, "payment", 0, 0, 1, at("12:00"), None),
        ("u", "c", THIRD, "payment", 0, 1, 2, at("10:08"), at("10:09")),
        ("u", "c", THIRD, "shipping", 1, 0, 0, None, None),
        ("v", "c", THIRD, "payment", 0, 0, 1, at("12:00"), None),
    ]


def test_days_of_users() -> None:
    u_day = (10, 4, *counts(core_value=2, pricing=1, error=4, subscribed=1, upgraded=1), at("10:00"), at("12:02"))
    v_day = (2, 1, *counts(core_value=1, error=1), at("12:00"), at("12:10"), at("12:10"), *NEVER[1:])
    next_day = at("2025-03-04 12:00")
    assert rows("activity.fct_user_activity_daily", BUSY_DAY) == [
        # Sessions of 600 and 120 seconds; payment failed three times over all accounts.
        ("u", THIRD, *u_day, at("10:00"), at("10:06"), at("10:10"), None, None, 2, 720, 2, 2),
        ("u", FOURTH, 1, 0, *counts(core_value=1), next_day, next_day, next_day, *NEVER[1:], 1, 0, 1, 0),
        ("v", THIRD, *v_day, 1, 600, 2, 0),
    ]


def test_days_of_accounts() -> None:
    day = (9, 3, *counts(core_value=3, pricing=1, error=3, subscribed=1, upgraded=1), at("10:00"), at("12:10"))
    next_day = at("2025-03-04 12:00")
    assert rows("activity.fct_account_activity_daily", BUSY_DAY) == [
        # Sessions of 600 seconds of both users; payment failed three times over both.
        ("c", THIRD, *day, at("10:00"), at("10:06"), at("10:10"), None, None, 2, 1200, 2, 2, 2),
        ("c", FOURTH, 1, 0, *counts(core_value=1), next_day, next_day, next_day, *NEVER[1:], 1, 0, 1, 0, 1),
    ]


def test_a_session_counts_on_the_day_it_began_and_for_the_account_it_has() -> None:
    events = [sent("23:50", "u"), sent("2025-03-04 00:10", "u", account_id="c")]
    columns = "activity_date event_count session_count active_seconds"
    assert rows("activity.fct_user_activity_daily", events, columns) == [(THIRD, 1, 1, 600), (FOURTH, 1, 0, 600)]
    # On the third, the account had a session but no event: it has no such day.
    assert rows("activity.fct_account_activity_daily", events, columns) == [(FOURTH, 1, 0, 600)]


# Features


def test_features_of_windows() -> None:
    # The last date is 9 March. Windows begin on that day, 3 March, 10 February and 10 December; the one before the last
    # 28 days on 13 January.
    days = ["2025-03-09", "2025-03-08", "2025-03-03", "2025-03-02", "2025-02-10", "2025-02-09", "2025-01-13"]
    days += ["2025-01-12", "2024-12-10", "2024-12-09"]
    events = [sent(f"{day} 10:00", "u", name="view") for day in days]
    events += [sent("2025-03-09 23:59:59.999999", "u", name="declined"), sent("2025-03-02 12:00", "u", name="crash")]
    events += [sent("2025-02-09 10:10", "u", name="declined")]
    columns = COLUMNS["features.user_features"][1:12]
    [row] = rows("features.user_features", events, " ".join([*columns, "previous_active_days_28d"]))
    assert dict(zip([*columns, "previous_active_days_28d"], row, strict=True)) == {
        "active_days_7d": 3,
        "active_days_28d": 5,
        "active_days_90d": 9,
        "events_1d": 2,
        "events_7d": 4,
        "events_28d": 7,
        "events_90d": 12,
        "sessions_28d": 7,
        "core_value_28d": 5,
        "failures_28d": 2,
        "features_28d": 2,
        "previous_active_days_28d": 2,
    }


@pytest.mark.parametrize(
    ("days", "row"),
    [
        (["03-09"], (date(2025, 3, 9), date(2025, 3, 9), 1, 1, 0)),
        (["03-05", "03-04", "03-02", "03-01"], (date(2025, 3, 1), date(2025, 3, 5), 2, 2, 3)),
        (["02-27", "02-28", "03-01", "03-05"], (date(2025, 2, 27), date(2025, 3, 5), 1, 3, 3)),
    ],
)
def test_streaks_and_gaps(days: list[str], row: Row) -> None:
    events = [sent(f"2025-{day} 10:00", "u") for day in days]
    columns = "first_active_date last_active_date current_streak_days longest_streak_days gap_count"
    assert rows("features.user_features", events, columns) == [row]


def test_gaps_count_for_a_year_and_streaks_for_ever() -> None:
    # 4 March 2024 lies 364 days before 3 March 2025, 3 March 2024 365 days.
    days = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-03-03", "2024-03-04", "2025-03-03"]
    events = [sent(f"{day} 10:00", "u") for day in days]
    columns = "longest_streak_days gap_count active_days_90d"
    assert rows("features.user_features", events, columns) == [(3, 2, 1)]


def test_of_cancellation_and_purchase_the_later_holds_whoever_of_the_account_did_it() -> None:
    def cancelled(*acts: tuple[str, str, str | None, str | None]) -> tuple[dict[str, bool], dict[str, bool]]:
        events = [sent(time, user, name=name, account_id=account) for time, name, user, account in acts]
        return (
            dict(rows("features.user_features", events, "user_id is_cancelled")),
            dict(rows("features.account_features", events, "account_id is_cancelled")),
        )

    assert cancelled(("11:08", "cancel", "u", "c"), ("11:12", "pay", "u", "c")) == ({"u": False}, {"c": False})
    assert cancelled(("11:08", "pay", "u", "c"), ("11:12", "cancel", "u", "c")) == ({"u": True}, {"c": True})
    assert cancelled(("11:08", "pay", "u", "c"), ("11:08", "cancel", "v", "c")) == ({"u": True, "v": True}, {"c": True})
    colleague = cancelled(("11:00", "home", "v", "c"), ("11:08", "cancel", "u", "c"), ("11:12", "more", "v", None))
    assert colleague == ({"u": True, "v": False}, {"c": True})


def test_a_purchase_also_by_a_colleague_uses_up_the_looks_before_it() -> None:
    looks = [sent(time, "u", name="address", account_id="c") for time in ("10:00", "11:00", "11:00:00.000001", "12:00")]
    columns = "user_id pricing_since_purchase_28d"
    assert rows("features.user_features", looks, columns) == [("u", 4)]
    for buyer, account in (("u", None), ("v", "c")):
        events = [*looks, sent("11:00", buyer, name="pay", account_id=account)]
        assert ("u", 2) in rows("features.user_features", events, columns)
    assert ("u", 4) in rows("features.user_features", [*looks, sent("11:00", "v", name="pay")], columns)
    assert rows("activity.fct_pricing_looks", [*looks[:1], looks[0] | {"event_id": "again"}]) == [
        ("u", THIRD, at("10:00"), 2)
    ]


def test_last_trial_start_and_cancellation_of_a_day() -> None:
    events = [sent(time, "u", name=name) for time in ("10:00", "11:00") for name in ("try", "cancel")]
    columns = "last_trial_started_at last_cancelled_at"
    assert rows("activity.fct_user_activity_daily", events, columns) == [(at("11:00"), at("11:00"))]


# Streams


def tables(events: list[dict[str, Any]], as_of: datetime) -> dict[str, list[Row]]:
    return expected(
        events,
        as_of=as_of,
        catalog=SHOP_CATALOG,
        attribute_catalog=ATTRIBUTE_CATALOG,
        settings=OracleSettings(junk_ids=JUNK_IDS),
    )


def test_streams_are_a_function_of_their_seed_and_hold_what_is_hard() -> None:
    def made() -> list[list[list[dict[str, Any]]]]:
        random = Random(7)
        return [random_stream(random, f"s{n}-") for n in range(100)]

    assert made() == made()
    events = [event for stream in made() for batch in stream for event in batch]
    assert {len(stream) for stream in made()} == {BATCHES}
    found = tables(events, CLOCKS[-1])
    assert {row[-1] for row in found["identity.identity_changes"]} == {"identified", "shared_device", "aliased"}
    assert [row for row in found["sessions.fct_sessions"] if row[4] != row[5]]
    assert [row for row in found["identity.memberships"] if row[3]]
    assert [row for row in found["identity.attributes"] if row[-1]]
    assert [row for row in found["events.fct_events"] if row[-1]]
    assert [event for event in events if quarantine_reason(event, OracleSettings(junk_ids=JUNK_IDS))]


def test_the_loader_changes_no_good_row_but_its_hash() -> None:
    row = sent("10:00", " Undefined ", "a", session_id="", context=None, properties=None, event_type=None)
    landed = row | {"user_id": "Undefined", "session_id": None, "properties": {}, "event_type": "track"}
    assert as_landed(row) == landed
    assert tables([row], AS_OF) == tables([landed], AS_OF)
    assert content_hash(row, OracleSettings()) != content_hash(landed, OracleSettings())


def test_streams_of_other_prefixes_do_not_touch() -> None:
    random = Random(3)
    first, second = ([event for batch in random_stream(random, prefix) for event in batch] for prefix in ("s1-", "s2-"))
    apart, together = [tables(first, CLOCKS[-1]), tables(second, CLOCKS[-1])], tables(first + second, CLOCKS[-1])
    assert together == {table: sort_rows(apart[0][table] + apart[1][table]) for table in COLUMNS}


@settings(max_examples=50, deadline=None, derandomize=True)
@given(stream=streams("s-"), clock=st.sampled_from(CLOCKS), random=st.randoms(use_true_random=False))
def test_order_and_repetition_of_rows_change_nothing(stream: Any, clock: datetime, random: Random) -> None:
    events = [event for batch in stream for event in batch]
    again = [*events, *events[: len(events) // 2]]
    random.shuffle(again)
    found = tables(events, clock)
    assert tables(again, clock) == found
    visible = sum(row[3] for row in found["identity.dim_users"])
    assert sum(row[9] for row in found["sessions.fct_sessions"]) == visible
    assert sum(row[3] for row in found["activity.fct_user_account_activity_daily"]) == visible
    assert sum(row[2] for row in found["activity.fct_user_activity_daily"]) == visible
    assert len(found["features.user_features"]) == len(found["identity.dim_users"])
