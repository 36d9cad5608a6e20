"""What the tables up to the features must hold, in plain Python: slow, obvious, and written without a look at the SQL.

``expected`` takes raw events (dicts with the fields of the raw contract; instants are ``datetime``, naive ones are UTC;
properties and context are dicts or None) and gives rows, sorted by ``sort_rows``, with naive UTC instants.

Where the semantics leave a choice, this is what is assumed:
- Blank event_id and event_name (after trimming spaces) count as missing. A cleaned id that stays is not trimmed.
- An event without ``loaded_at`` passes the test against its load time. Properties that are None are an empty object.
- Quarantined rows take no part in the choice between versions of an event.
- ``events.fct_events`` keeps bots and events after ``as_of``; every other table sees visible events only.
- The owner of an event of an id linked to nobody is ``canonical(anonymous_id)``, which is the id when nobody merged it.
- A device is shared by distinct user ids as they were sent, before merges.
- An alias whose previous_id equals its user_id is an observation but no edge.
- Identity changes have one row a node and instant: the new owner is the one from that instant on. Each old owner is
  the new one of the row before; so a device that is shared from its first instant on never changed.
- A user's ``aliased`` change is dated by the aliases that are edges, whichever side of them the user is on.
- A native session id of '' is none. A silence of exactly session_max_minutes does not end a native session.
- Sessions of a user that touch at an instant are parallel.
- A session whose ``session_date`` is a day on which its account has no event is on no row of the account's days.
- An attribute's value is the text itself or, for other JSON values, their JSON text. ``left`` is true or 'true'.
- Memberships: an event at the very instant of leaving is not later than it.
- Acts at one instant: a cancellation holds against a purchase, and a purchase uses up a look.
- ``gap_count`` counts every pair of neighbouring active days, the next day included.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


BEHAVIOURS = _names(
    "activation core_value collaboration invite pricing error setup signed_up trial_started subscribed upgraded "
    "downgraded cancelled support navigation"
)
PURCHASES = ("subscribed", "upgraded")
_COUNTS = " ".join(f"{behaviour}_count" for behaviour in BEHAVIOURS)
_MEASURES = (
    f"event_count failure_count {_COUNTS} first_event_at last_event_at first_core_value_at last_pricing_at "
    "last_purchase_at last_trial_started_at last_cancelled_at"
)
_DAY_MEASURES = f"{_MEASURES} session_count active_seconds feature_count repeated_failure_count"
_FEATURES = (
    "active_days_7d active_days_28d active_days_90d events_1d events_7d events_28d events_90d "
    "sessions_28d core_value_28d failures_28d features_28d first_active_date last_active_date "
    "current_streak_days longest_streak_days gap_count previous_active_days_28d"
)
COLUMNS = {
    "events.fct_events": _names("source event_id occurred_at user_id anonymous_id behaviour is_bot"),
    "identity.dim_users": _names("user_id first_seen_at last_seen_at event_count is_anonymous"),
    "identity.identity_changes": _names("node_type node_id changed_at old_user_id new_user_id cause"),
    "identity.attributes": _names("entity_type entity_id attribute value valid_from valid_to"),
    "identity.memberships": _names("user_id account_id valid_from valid_to last_event_at"),
    "sessions.fct_sessions": _names(
        "session_id user_id account_id native_session_id visit_started_at started_at ended_at session_date "
        f"duration_seconds event_count {_COUNTS}"
    ),
    "activity.fct_user_account_activity_daily": _names(f"user_id account_id activity_date {_MEASURES}"),
    "activity.fct_feature_usage_daily": _names("user_id account_id activity_date feature event_count"),
    "activity.fct_step_activity_daily": _names(
        "user_id account_id activity_date step start_count success_count failure_count last_failure_at last_success_at"
    ),
    "activity.fct_pricing_looks": _names("user_id activity_date occurred_at look_count"),
    "activity.fct_user_activity_daily": _names(f"user_id activity_date {_DAY_MEASURES}"),
    "activity.fct_account_activity_daily": _names(f"account_id activity_date {_DAY_MEASURES} active_users"),
    "features.user_features": _names(f"user_id {_FEATURES} started_date is_cancelled pricing_since_purchase_28d"),
    "features.account_features": _names(
        f"account_id {_FEATURES} started_date active_users_7d active_users_90d is_cancelled"
    ),
}

Row = tuple[Any, ...]
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


NULL_MARKERS = ("", "null", "none", "nil", "undefined", "nan", "nat", "(null)", "<null>", "<na>")
OPERATIONS = ("set", "set_once", "unset")


@dataclass(frozen=True)
class OracleSettings:
    """The project's variables of the same names."""

    session_gap_minutes: int = 30
    session_max_minutes: int = 720
    session_ids: str = "gap"
    shared_device_users: int = 5
    junk_ids: tuple[str, ...] = ("null", "undefined", "none")
    bot_pattern: str = "bot|crawler|spider"
    reporting_time_zone: str = "UTC"


@dataclass(frozen=True)
class Event:
    """An accepted event: ids are cleaned, its meaning is looked up, an empty feature, step or outcome is ''."""

    source: str
    event_id: str
    event_type: str
    occurred_at: datetime
    user_id: str | None
    anonymous_id: str | None
    previous_id: str | None
    account_id: str | None
    session_id: str | None
    properties: dict[str, Any]
    behaviour: str
    feature: str
    step: str
    outcome: str
    is_bot: bool


@dataclass(frozen=True)
class Session:
    """Events of one owner, in the order of their time."""

    user_id: str
    native_session_id: str | None
    visit_started_at: datetime
    events: list[Event]

    @property
    def started_at(self) -> datetime:
        return self.events[0].occurred_at

    @property
    def duration_seconds(self) -> int:
        return (self.events[-1].occurred_at - self.started_at) // timedelta(seconds=1)

    @property
    def account_id(self) -> str | None:
        return min(((e.occurred_at, e.account_id) for e in self.events if e.account_id), default=(None, None))[1]


# Small things


def instant(value: object) -> datetime | None:
    """A naive UTC instant; None when it is not readable as one."""
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def micros(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def json_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows in an order that takes nulls, last."""
    return sorted(rows, key=lambda row: tuple((value is None, "" if value is None else value) for value in row))


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


# Events


def clean(value: str | None, settings: OracleSettings) -> str | None:
    return None if value is None or value.strip(" ").lower() in ("", *settings.junk_ids) else value


def quarantine_reason(raw: dict[str, Any], settings: OracleSettings) -> str | None:
    """The first reason to keep a raw row out, None for a good row."""
    occurred_at, loaded_at = instant(raw.get("occurred_at")), instant(raw.get("loaded_at"))
    if not (raw.get("event_id") or "").strip(" "):
        return "no event_id"
    if not (raw.get("event_name") or "").strip(" "):
        return "no event_name"
    if clean(raw.get("user_id"), settings) is None and clean(raw.get("anonymous_id"), settings) is None:
        return "no user_id or anonymous_id"
    if occurred_at is None:
        return "no readable occurred_at"
    if loaded_at is not None and occurred_at > loaded_at + DAY:
        return "occurred_at too late"
    if not isinstance(raw.get("properties"), dict | None):
        return "properties not an object"
    return None


def content_hash(raw: dict[str, Any], settings: OracleSettings) -> str:
    """What breaks ties between versions of an event that were received at one instant."""
    occurred_at = instant(raw["occurred_at"])
    raw = raw | {
        name: clean(raw.get(name), settings) for name in ("user_id", "anonymous_id", "account_id", "previous_id")
    }
    texts = [raw.get(field) for field in ("event_name", "user_id", "anonymous_id", "account_id")]
    texts += [None if occurred_at is None else str(micros(occurred_at))]
    texts += [None if raw.get(field) is None else json_text(raw[field]) for field in ("properties", "context")]
    texts += [raw.get(field) for field in ("session_id", "event_type", "previous_id", "source")]
    return md5("|".join(text or "" for text in texts))


def meaning(raw: dict[str, Any], catalog: list[dict[str, Any]]) -> dict[str, str]:
    """Behaviour, feature, step and outcome by the most specific catalogue row; rows on a property are not looked at."""
    rules = [
        rule
        for rule in catalog
        if rule["event_name"] == raw["event_name"] and not rule["property"] and rule["source"] in ("", raw["source"])
    ]
    rule = max(rules, key=lambda rule: rule["source"], default={})
    return {name: rule.get(name) or "" for name in ("behaviour", "feature", "step", "outcome")}


def is_bot(raw: dict[str, Any], settings: OracleSettings) -> bool:
    context = raw.get("context") or {}
    agent = context.get("userAgent") or context.get("user_agent") or ""
    return re.search(settings.bot_pattern, agent.lower()) is not None


def accepted_events(raws: list[dict[str, Any]], catalog: list[dict[str, Any]], settings: OracleSettings) -> list[Event]:
    """The first received version of every good event."""
    good = [raw for raw in raws if quarantine_reason(raw, settings) is None]

    def age(raw: dict[str, Any]) -> tuple[datetime | None, str]:
        return instant(raw.get("received_at")) or instant(raw["occurred_at"]), content_hash(raw, settings)

    events = []
    for versions in grouped(good, lambda raw: (raw["source"], raw["event_id"])).values():
        raw = min(versions, key=age)
        names = ("user_id", "anonymous_id", "previous_id", "account_id")
        ids: dict[str, Any] = {name: clean(raw.get(name), settings) for name in names}
        events.append(
            Event(
                source=raw["source"],
                event_id=raw["event_id"],
                event_type=raw.get("event_type") or "track",
                occurred_at=instant(raw["occurred_at"]) or EPOCH,
                session_id=raw.get("session_id") or None,
                properties=raw.get("properties") or {},
                is_bot=is_bot(raw, settings),
                **ids,
                **meaning(raw, catalog),
            )
        )
    return events


# Identity


class Identity:
    """Who owns which event, by everything that is visible."""

    def __init__(self, events: list[Event], settings: OracleSettings) -> None:
        self.edges: list[tuple[datetime, str, str]] = []
        self.observations: dict[str, set[tuple[datetime, str]]] = {}
        self.shared_device_users = settings.shared_device_users
        for event in events:
            if event.user_id is None:
                continue
            if event.anonymous_id is not None:
                self.observations.setdefault(event.anonymous_id, set()).add((event.occurred_at, event.user_id))
            if event.event_type == "alias" and event.previous_id is not None:
                self.observations.setdefault(event.previous_id, set()).add((event.occurred_at, event.user_id))
                if event.previous_id != event.user_id:
                    self.edges.append((event.occurred_at, event.previous_id, event.user_id))

        self.users = {end for _, *ends in self.edges for end in ends}
        self.merged = {user: self.survivor(user) for user in self.users}

    def survivor(self, user: str) -> str:
        """The id that stays of everything that aliases connect."""
        component = {user}
        while grown := {end for _, a, b in self.edges if {a, b} & component for end in (a, b)} - component:
            component |= grown
        ends = component - {previous for _, previous, _ in self.edges}
        return min(ends or component)

    def canonical(self, user: str) -> str:
        return self.merged.get(user, user)

    def shared_at(self, anonymous: str) -> datetime | None:
        """When the device was seen with one user too many; None when never."""
        seen = self.observations.get(anonymous, set())
        users = sorted(min(pair for pair in seen if pair[1] == user) for user in {user for _, user in seen})
        return users[self.shared_device_users][0] if len(users) > self.shared_device_users else None

    def link(self, anonymous: str, at: datetime) -> str | None:
        """The user of an anonymous id at an instant."""
        seen = self.observations.get(anonymous)
        shared_at = self.shared_at(anonymous)
        if not seen or (shared_at is not None and at >= shared_at):
            return None
        before = [pair for pair in seen if pair[0] <= at]
        return (max(before) if before else min(seen))[1]

    def owner(self, event: Event) -> str:
        if event.user_id is not None:
            return self.canonical(event.user_id)
        assert event.anonymous_id is not None
        return self.canonical(self.link(event.anonymous_id, event.occurred_at) or event.anonymous_id)

    def changes(self) -> list[Row]:
        rows: list[Row] = []
        for anonymous, seen in self.observations.items():
            owner = self.canonical(anonymous)
            for at in sorted({at for at, _ in seen}):
                user = self.link(anonymous, at)
                new = self.canonical(user or anonymous)
                if new != owner:
                    rows.append(("anonymous", anonymous, at, owner, new, "identified" if user else "shared_device"))
                owner = new
        for user in self.users:
            if self.canonical(user) != user:
                named_at = min(at for at, a, b in self.edges if user in (a, b))
                rows.append(("user", user, named_at, user, self.canonical(user), "aliased"))
        return rows


def attributes(owned: list[tuple[str, Event]], catalog: list[dict[str, Any]]) -> list[Row]:
    said: dict[tuple[str, str, str], dict[datetime, dict[str, str]]] = {}
    for owner, event in owned:
        if event.event_type == "group":
            entity = ("account", event.account_id or "")
        elif event.event_type == "identify" or event.source in ("amplitude", "posthog", "snowplow"):
            entity = ("user", owner)
        else:
            continue
        operations = {name: event.properties[f"${name}"] for name in OPERATIONS if event.properties.get(f"${name}")}
        if event.event_type == "group" or (event.event_type == "identify" and not operations):
            operations = {"set": event.properties}
        for rule in catalog:
            if rule["entity_type"] != entity[0] or not entity[1]:
                continue
            for operation, properties in operations.items():
                text = "" if operation == "unset" else stated(properties.get(rule["property"]))
                if text is None or (operation == "unset" and rule["property"] not in properties):
                    continue
                at = said.setdefault((*entity, rule["attribute"]), {}).setdefault(event.occurred_at, {})
                at[operation] = max(text, at.get(operation, text))
    rows: list[Row] = []
    for key, instants in said.items():
        value, since = None, None
        for at, operations in sorted(instants.items()):
            now = value
            if "unset" in operations:
                now = None
            elif "set" in operations:
                now = operations["set"]
            elif value is None:
                now = operations["set_once"]
            if now != value:
                rows += [(*key, value, since, at)] if value is not None else []
                value, since = now, at
        rows += [(*key, value, since, None)] if value is not None else []
    return rows


def stated(value: Any) -> str | None:
    """The text of a value; null for a word that means null."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json_text(value)
    return None if text.strip(" ").lower() in NULL_MARKERS else text


def memberships(owned: list[tuple[str, Event]]) -> list[Row]:
    rows: list[Row] = []
    with_account = [(owner, event) for owner, event in owned if event.account_id]
    for (owner, account), pairs in grouped(with_account, lambda pair: (pair[0], pair[1].account_id)).items():
        events = [event for _, event in pairs]
        last = max(event.occurred_at for event in events)
        left = [e.occurred_at for e in events if e.event_type == "group" and e.properties.get("left") in (True, "true")]
        first = min(event.occurred_at for event in events)
        rows.append((owner, account, first, last if last in left else None, last))
    return rows


# Sessions


def visits(events: list[Event], gap: timedelta) -> list[list[Event]]:
    found: list[list[Event]] = []
    for event in sorted(events, key=lambda event: event.occurred_at):
        if not found or event.occurred_at - found[-1][-1].occurred_at > gap:
            found.append([])
        found[-1].append(event)
    return found


def sessions_of(owner: str, events: list[Event], settings: OracleSettings) -> list[Session]:
    gap = timedelta(minutes=settings.session_gap_minutes)
    buckets = settings.session_max_minutes // settings.session_gap_minutes
    by_id = grouped(events, lambda event: event.session_id if settings.session_ids == "native" else None)
    without_id = by_id.pop(None, [])
    sessions: list[Session] = []
    found: list[tuple[str | None, list[Event]]] = []
    for session_id, members in by_id.items():
        longest = timedelta(minutes=settings.session_max_minutes)
        found += [(session_id, visit) for visit in visits(members, longest)]
    found += [(None, visit) for visit in visits(without_id, gap)]
    for session_id, visit in found:
        began = visit[0].occurred_at
        first = (began - EPOCH) // gap
        parts: dict[int, list[Event]] = {}
        for event in visit:
            parts.setdefault(((event.occurred_at - EPOCH) // gap - first) // buckets, []).append(event)
        sessions += [Session(owner, session_id, began, members) for members in parts.values()]
    return sessions


def apart(sessions: list[Session]) -> list[Session]:
    """Sessions of one user without those that began within an earlier one."""
    ordered = sorted(sessions, key=lambda session: (session.started_at, session_row(session, date.min)[0]))
    return [
        s for n, s in enumerate(ordered) if all(other.events[-1].occurred_at < s.started_at for other in ordered[:n])
    ]


def seconds_on(day: date, sessions: list[Session], zone: ZoneInfo) -> int:
    """Whole seconds of a day that lie in at least one of a user's sessions."""
    begins, ends = (
        datetime.combine(midnight, time.min, zone).astimezone(UTC).replace(tzinfo=None) for midnight in (day, day + DAY)
    )
    spent, until = timedelta(0), begins
    for session in sorted(sessions, key=lambda session: session.started_at):
        began_at, ended_at = max(session.started_at, until), min(session.events[-1].occurred_at, ends)
        if ended_at > began_at:
            spent, until = spent + (ended_at - began_at), ended_at
    return spent // timedelta(seconds=1)


def session_row(session: Session, day: date) -> Row:
    native = session.native_session_id
    name = f"{session.user_id}|{micros(session.started_at)}" + (f"|{native}" if native else "")
    return (
        *(md5(name), session.user_id, session.account_id, native, session.visit_started_at, session.started_at),
        *(session.events[-1].occurred_at, day, session.duration_seconds, len(session.events)),
        *behaviour_counts(session.events),
    )


# Activity


def behaviour_counts(events: list[Event]) -> tuple[int, ...]:
    return tuple(sum(event.behaviour == behaviour for event in events) for behaviour in BEHAVIOURS)


def measures(events: list[Event]) -> Row:
    def times(*behaviours: str) -> list[datetime]:
        return [event.occurred_at for event in events if event.behaviour in behaviours]

    every = [event.occurred_at for event in events]
    return (
        len(events),
        sum(event.outcome == "failure" for event in events),
        *behaviour_counts(events),
        *(min(every), max(every), min(times("core_value"), default=None)),
        *(max(times(*behaviours), default=None) for behaviours in [("pricing",), PURCHASES]),
        *(max(times(behaviour), default=None) for behaviour in ("trial_started", "cancelled")),
    )


def day_measures(events: list[Event], session_count: int, active_seconds: int) -> Row:
    """Measures of a user's or an account's day."""
    failed = grouped((e for e in events if e.step and e.outcome == "failure"), lambda event: event.step)
    features = {event.feature for event in events if event.feature}
    repeated = sum(len(failures) - 1 for failures in failed.values())
    return (*measures(events), session_count, active_seconds, len(features), repeated)


def step_measures(events: list[Event]) -> Row:
    times = {name: [e.occurred_at for e in events if e.outcome == name] for name in ("start", "success", "failure")}
    last_failure, last_success = (max(times[name], default=None) for name in ("failure", "success"))
    return (*(len(found) for found in times.values()), last_failure, last_success)


# Features


def features(days: dict[date, list[Event]], sessions: dict[date, list[Session]], last_date: date) -> Row:
    """Of one user or account; ``days`` holds the events of every active day, ``sessions`` those that began on a day."""

    def window(length: int, back: int = 0) -> list[date]:
        return [day for day in days if last_date - (back + length) * DAY < day <= last_date - back * DAY]

    def events(length: int) -> list[Event]:
        return [event for day in window(length) for event in days[day]]

    def streak(end: date) -> int:
        return 1 + streak(end - DAY) if end - DAY in days else 1

    active = sorted(days)
    gaps = [later for later in active[1:] if active[-1] - later < 365 * DAY]
    return (
        *(len(window(length)) for length in (7, 28, 90)),
        *(len(events(length)) for length in (1, 7, 28, 90)),
        sum(len(sessions.get(day, [])) for day in window(28)),
        sum(event.behaviour == "core_value" for event in events(28)),
        sum(event.outcome == "failure" for event in events(28)),
        len({event.feature for event in events(28) if event.feature}),
        *(active[0], active[-1]),
        *(streak(active[-1]), max(streak(day) for day in active)),
        len(gaps),
        len(window(28, back=28)),
    )


def last_time(events: Iterable[Event], *behaviours: str) -> datetime | None:
    return max((event.occurred_at for event in events if event.behaviour in behaviours), default=None)


def is_cancelled(events: list[Event]) -> bool:
    """Whether the last cancellation is no earlier than the last purchase."""
    cancelled_at, bought_at = last_time(events, "cancelled"), last_time(events, *PURCHASES)
    return cancelled_at is not None and (bought_at is None or cancelled_at >= bought_at)


def open_looks(own: list[Event], events: list[Event], day_of: Callable[[datetime], date], last_date: date) -> int:
    """Looks at pricing of the last 28 days that no purchase in ``events`` has used up."""
    bought_at = last_time(events, *PURCHASES) or datetime.min
    looks = [event.occurred_at for event in own if event.behaviour == "pricing" and event.occurred_at > bought_at]
    return sum(day_of(at) > last_date - 28 * DAY for at in looks)


# All tables


def expected(
    events: list[dict[str, Any]],
    *,
    as_of: datetime,
    catalog: list[dict[str, Any]],
    attribute_catalog: list[dict[str, Any]],
    settings: OracleSettings,
) -> dict[str, list[Row]]:
    """Table to its rows: columns as in ``COLUMNS``, rows as ``sort_rows`` orders them."""
    zone, clock = ZoneInfo(settings.reporting_time_zone), instant(as_of)
    assert clock is not None

    def day_of(at: datetime) -> date:
        return at.replace(tzinfo=UTC).astimezone(zone).date()

    accepted = accepted_events(events, catalog, settings)
    visible = [event for event in accepted if event.occurred_at < clock and not event.is_bot]
    identity = Identity(visible, settings)
    owned = [(identity.owner(event), event) for event in visible]
    by_owner = {owner: [event for _, event in pairs] for owner, pairs in grouped(owned, lambda pair: pair[0]).items()}
    sessions = [s for owner, its in by_owner.items() for s in sessions_of(owner, its, settings)]
    tables: dict[str, list[Row]] = {table: [] for table in COLUMNS}

    tables["events.fct_events"] = [
        (e.source, e.event_id, e.occurred_at, e.user_id, e.anonymous_id, e.behaviour, e.is_bot) for e in accepted
    ]
    for owner, its in by_owner.items():
        times = [event.occurred_at for event in its]
        anonymous = all(e.user_id is None or (e.source == "snowplow" and e.event_type == "alias") for e in its)
        tables["identity.dim_users"].append((owner, min(times), max(times), len(its), anonymous))
    tables["identity.identity_changes"] = identity.changes()
    tables["identity.attributes"] = attributes(owned, attribute_catalog)
    members = memberships(owned)
    tables["identity.memberships"] = members
    tables["sessions.fct_sessions"] = [session_row(session, day_of(session.started_at)) for session in sessions]

    dated = [(owner, event.account_id or "", day_of(event.occurred_at), event) for owner, event in owned]
    for key, found in grouped(dated, lambda item: item[:3]).items():
        its = [item[3] for item in found]
        tables["activity.fct_user_account_activity_daily"].append((*key, *measures(its)))
        for feature, used in grouped((e for e in its if e.feature), lambda event: event.feature).items():
            tables["activity.fct_feature_usage_daily"].append((*key, feature, len(used)))
        for step, tried in grouped((e for e in its if e.step), lambda event: event.step).items():
            tables["activity.fct_step_activity_daily"].append((*key, step, *step_measures(tried)))

    sessions_of_users = grouped(sessions, lambda session: session.user_id)
    counted = [session for its in sessions_of_users.values() for session in apart(its)]
    user_sessions = grouped(counted, lambda session: (session.user_id, day_of(session.started_at)))
    for user_day, found in grouped(dated, lambda item: (item[0], item[2])).items():
        its = [item[3] for item in found]
        seconds = seconds_on(user_day[1], sessions_of_users[user_day[0]], zone)
        measured = day_measures(its, len(user_sessions.get(user_day, [])), seconds)
        tables["activity.fct_user_activity_daily"].append((*user_day, *measured))
        looks = grouped((event for event in its if event.behaviour == "pricing"), lambda event: event.occurred_at)
        tables["activity.fct_pricing_looks"] += [(*user_day, at, len(same)) for at, same in looks.items()]
    of_members = grouped(sessions, lambda session: (session.account_id or "", session.user_id))
    counted = [session for its in of_members.values() for session in apart(its)]
    account_sessions = grouped(counted, lambda session: (session.account_id or "", day_of(session.started_at)))
    for account_day, found in grouped((d for d in dated if d[1]), lambda item: (item[1], item[2])).items():
        its = [item[3] for item in found]
        member_times = (own for (account, _), own in of_members.items() if account == account_day[0])
        seconds = sum(seconds_on(account_day[1], own, zone) for own in member_times)
        measured = day_measures(its, len(account_sessions.get(account_day, [])), seconds)
        users = {item[0] for item in found}
        tables["activity.fct_account_activity_daily"].append((*account_day, *measured, len(users)))

    last_date = day_of(clock - MICROSECOND)
    created = {
        (entity_type, entity): day_of(instant(datetime.fromisoformat(value)) or EPOCH)
        for entity_type, entity, attribute, value, _, until in tables["identity.attributes"]
        if attribute == "created_at" and until is None
    }
    for owner, its in by_owner.items():
        days = grouped(its, lambda event: day_of(event.occurred_at))
        began = {day: user_sessions.get((owner, day), []) for day in days}
        joined = [
            (joined_at, account) for user, account, joined_at, left_at, _ in members if user == owner and not left_at
        ]
        # Of several accounts the one that was joined last, what was done for it by whomever included.
        current = min((account for at, account in joined if at == max(joined)[0]), default=None)
        acted = its + [event for _, event in owned if current and event.account_id == current]
        standing = (is_cancelled(acted), open_looks(its, acted, day_of, last_date))
        said = created.get(("user", owner))
        known = [said] if said and said <= max(days) else []
        known += sorted(day_of(event.occurred_at) for event in its if event.behaviour == "signed_up")[:1]
        started = min(known, default=min(days))
        tables["features.user_features"].append((owner, *features(days, began, last_date), started, *standing))
    for account, found in grouped((d for d in dated if d[1]), lambda item: item[1]).items():
        days = grouped((item[3] for item in found), lambda event: day_of(event.occurred_at))
        began = {day: account_sessions.get((account, day), []) for day in days}
        breadth = [
            len({owner for owner, _, day, _ in found if last_date - length * DAY < day <= last_date})
            for length in (7, 90)
        ]
        standing_of_account = is_cancelled([item[3] for item in found])
        said = created.get(("account", account))
        started = min(said, min(days)) if said and said <= max(days) else min(days)
        tables["features.account_features"].append(
            (account, *features(days, began, last_date), started, *breadth, standing_of_account)
        )
    return {table: sort_rows(rows) for table, rows in tables.items()}
