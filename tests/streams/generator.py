"""Random streams of events, dense with what is hard to get right.

A stream is ``BATCHES`` batches of raw events (dicts with the fields of the raw contract; instants are naive UTC
datetimes), to be loaded one after another. Everything is chosen from short lists through one function ``pick``: from a
``random.Random`` (``random_stream``), or drawn by hypothesis, the plainest choice first, so that a failure shrinks
(``streams``). Nothing here is rejected only by its load time: streams may be loaded whenever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from hypothesis import strategies as st

Event = dict[str, Any]
Pick = Callable[[Sequence[Any]], Any]

SOURCE = "shop"
START = datetime(2025, 3, 1)
BATCHES = 4
# Clocks within the span of a stream, rising, one a batch; the last is after every event.
CLOCKS = [datetime(2025, 3, 1, 12), datetime(2025, 3, 3), datetime(2025, 3, 5, 0, 0, 0, 1), datetime(2025, 6, 15)]
ATTRIBUTE_CATALOG = [
    {"entity_type": entity_type, "property": name, "attribute": name}
    for entity_type, name in [("user", "email"), ("user", "plan"), ("account", "plan"), ("account", "seats")]
]
JUNK_IDS = ("null", "undefined", "anonymous")
BOT_PATTERN = "bot|crawler|spider"

PEOPLE = ["u1", "u2", "u3"]
CROWD = ["u1", "u2", "u3", "u4", "u5", "u6", "u7"]
DEVICES = ["a1", "a2", "u2"]  # u2: an anonymous id that is a user id too
ACCOUNTS = [None, None, "c1", "c2"]
JUNK = ["null", " Undefined ", "ANONYMOUS", "", "  "]
NAMES = [
    *("home", "product_view", "product_view", "search", "add_to_cart", "purchase", "support_chat", "not_in_catalog"),
    *("shipping_details", "payment_details", "payment_error", "payment_error", "checkout_bug", "error_page"),
]
CONTEXTS = [
    None,
    {"userAgent": "Mozilla/5.0"},
    {"user_agent": "Mozilla/5.0", "page": {"path": "/"}},
    {"userAgent": "Mozilla/5.0 (compatible; GoogleBot/2.1)"},
    {"user_agent": "nice CRAWLER"},
]
MINUTE = timedelta(minutes=1)
MICRO = timedelta(microseconds=1)
# Where moments gather: midnights, bucket bounds, an odd minute, before and long after the rest.
ANCHORS = [
    *(START + timedelta(days=1, hours=hours) for hours in (0, 12, 23.5)),
    *(START + timedelta(days=days, minutes=minutes) for days, minutes in [(0, 7), (2, 0), (3, 1439), (4, 0)]),
    *(START + timedelta(days=days) for days in (-90, 40, 91)),
]
# Around the gap of 30 minutes.
OFFSETS = [timedelta(0), 30 * MINUTE, 30 * MINUTE + MICRO, 30 * MINUTE - MICRO, -MICRO, MICRO, 29 * MINUTE, 61 * MINUTE]
SAID = [
    None,
    {"email": "a@shop.test"},
    {"email": "é@shop.test", "plan": "free"},
    {"plan": "pro"},
    {"plan": "free", "seats": 5},
    {"plan": None, "seats": 10, "email": ""},
    {"seats": "5", "colour": "red"},
    {"plan": "Null", "email": " none "},
    {"plan": "lost", "$set": {"plan": "pro"}, "$set_once": {"email": "once@shop.test", "plan": "basic"}},
    {"$set_once": {"plan": "basic"}},
    {"created_at": "2024-11-01T00:30:00Z"},
    {"created_at": "2025-02-27", "plan": "free"},
    {"created_at": "2026-01-01 00:00:00", "$set": {"createdAt": "2025-03-01T10:00:00+02:00"}},
    {"created_at": "2027-01-01"},
    {"$unset": ["plan", "colour"]},
    {"$unset": ["email"], "$set": {"email": "a@shop.test", "plan": "free"}},
]


def moment(pick: Pick) -> datetime:
    at: datetime = pick(ANCHORS[:7] * 3 + ANCHORS[7:]) + pick(OFFSETS)
    times: int = pick([0, 0, 0, 1, 2])
    later: timedelta = pick(OFFSETS)
    return at + times * later


def near(pick: Pick, at: datetime) -> datetime:
    """The same instant, or one around a gap or some days from it."""
    distance: timedelta = pick(
        [*OFFSETS, -30 * MINUTE, timedelta(days=1), timedelta(days=-1), 5 * MINUTE, timedelta(0)]
    )
    return at + distance


def event(pick: Pick, **given: Any) -> Event:
    """An event of someone, with what is ``given``; ``repeats`` and ``batch`` are read and dropped by ``stream``."""
    made = {
        "event_type": pick([None, "track", "track", "page"]),
        "event_name": pick(NAMES),
        "occurred_at": given["occurred_at"] if "occurred_at" in given else moment(pick),
        "user_id": pick([None, *PEOPLE, None]),
        "anonymous_id": pick([*DEVICES, None]),
        "previous_id": None,
        "account_id": pick(ACCOUNTS),
        "session_id": pick([None, None, "n1", "n2"]),
        "properties": pick([None, None, {}, {"price": 5, "name": "x"}]),
        "context": pick(CONTEXTS[:1] * 12 + CONTEXTS),
        "source": SOURCE,
        "batch": pick(range(BATCHES)),
        "repeats": 0,
    } | given
    if made["user_id"] is None and made["anonymous_id"] is None:
        made["anonymous_id"] = "a1"
    # Received at once, late, or at one of few instants, so that versions of an event tie.
    made.setdefault("received_at", pick([None, made["occurred_at"], START + timedelta(days=92), START]))
    return made


def someone(pick: Pick) -> list[Event]:
    return [event(pick)]


def again(pick: Pick) -> list[Event]:
    """Another version of an event that was sent before: of another time, user, content or receipt."""
    return [event(pick, repeats=pick([1, 2, 5]))]


def visit(pick: Pick) -> list[Event]:
    """One device, first without and then with a user, with silences of about the gap."""
    at, device, user = moment(pick), pick(DEVICES), pick(PEOPLE)
    events = []
    for known in pick([[False, True], [False, True, False], [True, False, False], [False, False, True, True]]):
        events.append(event(pick, occurred_at=at, anonymous_id=device, user_id=user if known else None))
        at = near(pick, at)
    said = {"event_type": "identify", "event_name": "identify", "properties": pick(SAID)}
    return [*events, event(pick, occurred_at=at, anonymous_id=device, user_id=user, **said)]


def shared_device(pick: Pick) -> list[Event]:
    """One device of two to seven users, some of them at one instant, and anonymous events around each of them."""
    at, device = moment(pick), pick(["d1", "d1", *DEVICES])
    events = [event(pick, occurred_at=near(pick, at), anonymous_id=device, user_id=None)]
    for user in CROWD[: pick([2, 6, 7, 5, 3, 6])]:
        events.append(event(pick, occurred_at=at, anonymous_id=device, user_id=user, context=None))
        if pick([False, True]):
            events.append(event(pick, occurred_at=near(pick, at), anonymous_id=device, user_id=None))
        at += pick([30 * MINUTE, timedelta(0), MICRO, timedelta(hours=20)])
    return [*events, event(pick, occurred_at=near(pick, at), anonymous_id=device, user_id=None)]


def aliases(pick: Pick) -> list[Event]:
    """Chains, cycles and trees of merges; also of an anonymous id, of an id that was never seen, of oneself."""
    shape = pick(
        [
            [("u1", "u2")],
            [("u1", "u2"), ("u2", "u3")],
            [("u3", "u2"), ("u2", "u1")],
            [("u1", "u2"), ("u2", "u1")],
            [("u2", "u3"), ("u3", "u1"), ("u1", "u2")],
            [("u1", "u2"), ("u1", "u3")],
            [("u1", "u3"), ("u2", "u3")],
            [("u4", "u5"), ("u5", "u4"), ("u4", "u1")],
            [("a1", "u1")],
            [("a1", "u1"), ("a1", "u2")],
            [("unseen", "u1")],
            [("u1", "unseen")],
            [("u2", "u2")],
            [("null", "u1")],
        ]
    )
    events = []
    for previous, user in shape:
        device = pick([None, None, *DEVICES])
        given = {"event_type": "alias", "event_name": "alias", "previous_id": previous}
        events.append(event(pick, user_id=user, anonymous_id=device, **given))
    return events


def profiles(pick: Pick) -> list[Event]:
    """Devices that are profiles of Snowplow's, merged with each other and with none, one or two users."""
    owned = pick([[], [("p1", "u1")], [("p2", "u1")], [("p1", "u1"), ("p2", "u2")]])
    events = [event(pick, anonymous_id=pick(["p1", "p2"]), user_id=None) for _ in range(3)]
    for previous, user in [("p2", "p1"), *owned]:
        given = {"event_type": "alias", "event_name": "alias", "source": "snowplow", "previous_id": previous}
        events.append(event(pick, user_id=user, anonymous_id=None, session_id=None, **given))
    return events


def half_an_alias(pick: Pick) -> list[Event]:
    """What looks like a merge and is none."""
    given = pick(
        [
            {"event_type": "alias", "user_id": None, "anonymous_id": "a1", "previous_id": "u2"},
            {"event_type": "alias", "user_id": " NULL ", "anonymous_id": "a1", "previous_id": "u2"},
            {"event_type": "alias", "user_id": "u1", "previous_id": None},
            {"event_type": "track", "user_id": "u1", "previous_id": "u2"},
            {"event_type": "alias", "user_id": "u1", "previous_id": "u2", "context": CONTEXTS[3]},
        ]
    )
    return [event(pick, **given)]


def membership(pick: Pick) -> list[Event]:
    """A user joins an account, leaves, and may be seen there again, at the same instant too."""
    at, user, account = moment(pick), pick([*PEOPLE, None]), pick(["c1", "c2"])
    events = []
    for properties in pick(
        [[{"left": True}], [{}, {"left": True}], [{"left": False}], [{"left": True}, {"plan": "pro"}]]
    ):
        said = (pick(SAID) or {}) | properties
        given = {"event_type": "group", "event_name": "group", "account_id": account, "properties": said}
        events.append(event(pick, occurred_at=at, user_id=user, **given))
        at = near(pick, at)
    if pick([False, True]):
        events.append(event(pick, occurred_at=at, user_id=user, account_id=account))
    return events


def failures(pick: Pick) -> list[Event]:
    """A step that fails again and again on a day, in one account or several, and may succeed."""
    at, user = moment(pick), pick(PEOPLE)
    names = [pick(["payment_error", "payment_error", "checkout_bug", "error_page"]) for _ in range(pick([2, 3, 4]))]
    names += pick([[], ["purchase"], ["payment_details"]])
    return [
        event(pick, occurred_at=at + n * pick([MICRO, MINUTE]), user_id=user, event_name=name)
        for n, name in enumerate(names)
    ]


def overlong_visit(pick: Pick) -> list[Event]:
    """A visit of more than twelve hours without a silence, across midnight or not, now and then with a hole."""
    step, user = pick([29 * MINUTE, 30 * MINUTE, 25 * MINUTE]), pick(PEOPLE)
    at = pick(ANCHORS[:7]) + pick(OFFSETS)
    kept = {"user_id": user, "anonymous_id": None, "context": None, "properties": None, "repeats": 0}
    return [
        event(pick, occurred_at=at + n * step, **kept) for n in range(pick([26, 31, 36])) if pick([True] * 40 + [False])
    ]


def junk(pick: Pick) -> list[Event]:
    """Ids that say nothing: they count as none, and with no other id the event is kept out."""
    field = pick(["user_id", "anonymous_id", "account_id", "previous_id"])
    return [event(pick, **{field: pick(JUNK)})]


def bad(pick: Pick) -> list[Event]:
    """Rows that are kept out; some are versions of a good event."""
    given = pick(
        [
            {"event_name": ""},
            {"event_name": None},
            {"user_id": "null", "anonymous_id": ""},
            {"user_id": "Undefined", "anonymous_id": None},
            {"occurred_at": None, "received_at": START},
            {"properties": [1]},
            {"properties": 5},
            {"properties": "text"},
        ]
    )
    return [event(pick, repeats=pick([0, 0, 1]), **given)]


SCENES = [
    *[someone] * 10,
    *[again] * 4,
    *[visit] * 4,
    *[shared_device] * 2,
    *[aliases] * 3,
    *[membership] * 2,
    *[failures] * 2,
    profiles,
    *[junk, bad, half_an_alias, overlong_visit],
]


def stream(scenes: list[list[Event]], prefix: str) -> list[list[Event]]:
    """Batches of the scenes' events, numbered; ids begin with the prefix, junk stays junk."""
    batches: list[list[Event]] = [[] for _ in range(BATCHES)]
    for number, made in enumerate(made for scene in scenes for made in scene):
        row = {name: value for name, value in made.items() if name not in ("batch", "repeats")}
        for name in ("user_id", "anonymous_id", "previous_id", "account_id", "session_id"):
            if row[name] is not None and row[name].strip().lower() not in ("", *JUNK_IDS):
                row[name] = prefix + row[name]
        row["event_id"] = f"{prefix}e{max(number - made['repeats'], 0)}"
        batches[made["batch"]].append(row)
    return batches


def as_landed(row: Event) -> Event:
    """The row as the loader stores it: trimmed, blanks are null, a type and properties are always there.

    A content hash is one of stored text, so give the oracle these rows when a stream went through the loader.
    """
    texts = {name: (value.strip() or None) if isinstance(value, str) else value for name, value in row.items()}
    return texts | {"event_type": row["event_type"] or "track", "properties": texts["properties"] or {}}


def random_stream(random: Random, prefix: str) -> list[list[Event]]:
    """A stream of about 5 to 40 events; all its ids begin with the prefix."""
    target, scenes = random.randint(5, 36), [someone(random.choice)]
    while sum(map(len, scenes)) < target:
        scenes.append(random.choice(SCENES)(random.choice))
    batches = stream(scenes, prefix)
    for batch in batches:
        random.shuffle(batch)
    return batches


@st.composite
def _scenes(draw: st.DrawFn) -> list[Event]:
    def pick(options: Sequence[Any]) -> Any:
        return draw(st.sampled_from(options))

    scene: list[Event] = pick(SCENES)(pick)
    return scene


def streams(prefix: str = "") -> st.SearchStrategy[list[list[Event]]]:
    """Streams that shrink: fewer scenes, plainer choices, one batch."""
    return st.lists(_scenes(), min_size=1, max_size=12).map(lambda scenes: stream(scenes, prefix))
