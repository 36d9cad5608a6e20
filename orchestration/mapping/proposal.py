"""Rows of the event catalogue that are proposed for events which it does not know."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from orchestration.declarations.event_types import IDENTITY_TYPES
from orchestration.mapping.facts import STATES, STEPS, EventKey, Facts, PathStart
from orchestration.mapping.rules import Meaning, base, meaning, outcome, path_meaning, stem, thing, words
from orchestration.mapping.vocabulary import BROKEN, DONE, FAILED, LOOKED, NEGATED, PAGE

# Without a word that the rules know, an event may be what the product is for where it makes up this share of all.
FREQUENT = 0.05
KEYWORD_PATHS = 10
PLAIN_PATHS = 5
MOST_STEPS = 10
# Calls that say who somebody is, where a tracker sends them as events of their own name.
IDENTITY_NAMES = frozenset(
    ["$identify", "$groupidentify", "$create_alias", "$merge_dangerously", "$set", "$groups", *IDENTITY_TYPES]
)


@dataclass(frozen=True)
class Row:
    """A proposed row of the catalogue; ``guess`` and ``why`` are shown and not written to the file."""

    source: str
    event_name: str
    property: str
    match: str
    pattern: str
    behaviour: str
    feature: str
    step: str
    outcome: str
    guess: bool
    why: str


@dataclass(frozen=True)
class Unmapped:
    """An event that the catalogue does not know. Grain is source and event_name; times are naive UTC.

    Attributes:
        source: name under which it was loaded.
        event_name: as it stands in raw.
        event_type: most frequent type of its rows; empty when none was found.
        event_count: events.
        first_seen_at: oldest one.
        last_seen_at: newest one.
        examples: texts ``property=value`` of at most 80 characters, without personal data.
        rows: the proposal; may be empty.
        note: why there is no proposal; empty when there is one.

    """

    source: str
    event_name: str
    event_type: str
    event_count: int
    first_seen_at: datetime
    last_seen_at: datetime
    examples: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Ending:
    """How a thing begins, succeeds and fails.

    Attributes:
        step: name of the step; empty where nothing is known of how it ends.
        kinds: the outcomes that the names of its events tell.

    """

    step: str
    kinds: frozenset[str]


def is_identity(event: Unmapped) -> bool:
    """Whether an event says who somebody is, and not what was done."""
    return event.event_type in IDENTITY_TYPES or event.event_name in IDENTITY_NAMES


def propose(
    events: Sequence[Unmapped],
    facts: Mapping[EventKey, Facts],
    known: set[tuple[str, ...]],
    totals: Mapping[str, int],
) -> list[Unmapped]:
    """The events, each with rows that the catalogue does not have yet, or with a note why there are none.

    Args:
        events: what the catalogue does not know.
        facts: what raw rows say of each.
        known: keys of the rows of the catalogue.
        totals: events of each source, known and unknown.

    """
    endings = _endings(events)
    proposed = []
    for event in events:
        found, ending = facts[EventKey(event.source, event.event_name)], endings[_thing_key(event)]
        rows, note = [], ""
        share = event.event_count / max(totals.get(event.source, 0), event.event_count)
        if is_identity(event):
            note = f"{event.event_type or 'identity'} events say who, not what"
        elif _is_page(event):
            rows = [*_path_rows(event, found.paths), _page_row(event)]
        elif suggested := meaning(event.event_name):
            rows = _rows(event, suggested, ending, found)
        elif share >= FREQUENT:
            why = f"no word that the rules know, but frequent: {share:.0%} of the events of {event.source}"
            rows = _rows(event, Meaning("core_value", thing(event.event_name), True, why), ending, found)
        else:
            note = f"no word that the rules know, and rare ({share:.1%} of the events): say yourself what it means"
        new = tuple(row for row in rows if (row.source, row.event_name, row.property, row.pattern) not in known)
        if rows and not new:
            note = "the proposed rows are in the seed already; refresh applies them"
        proposed.append(replace(event, rows=new, note=note))
    return proposed


def _thing_key(event: Unmapped) -> tuple[str, frozenset[str]]:
    return event.source, frozenset(base(word) for word in stem(event.event_name).split("_"))


def _endings(events: Sequence[Unmapped]) -> dict[tuple[str, frozenset[str]], Ending]:
    """Events that begin, end or fail the same thing share its step, whatever the order and the form of the words."""
    named: dict[tuple[str, frozenset[str]], list[tuple[str, str]]] = defaultdict(list)
    for event in events:
        named[_thing_key(event)].append((outcome(event.event_name), stem(event.event_name)))
    endings = {}
    for key, pairs in named.items():
        kinds = frozenset(kind for kind, _ in pairs if kind)
        told = sorted((kind != "failure", step) for kind, step in pairs if kind)
        steps = "failure" in kinds or len(kinds) > 1
        endings[key] = Ending(told[0][1] if steps else "", kinds)
    return endings


def _rows(event: Unmapped, suggested: Meaning, ending: Ending, facts: Facts) -> list[Row]:
    """A row for the name, and before it rows for what its properties say of how it went or at which step."""
    kind = outcome(event.event_name)
    done = not kind and not set(words(event.event_name)) & LOOKED
    # Where a thing can fail, the event that says it was done is its success.
    if done and "failure" in ending.kinds and "success" not in ending.kinds:
        kind = "success"
    told = bool(ending.step) or suggested.behaviour == "error"
    named = _row(event, suggested, ending.step if kind else "", kind if told else "")
    return [*_state_rows(event, named, facts), *_step_rows(event, named, facts)] or [named]


def _state_rows(event: Unmapped, named: Row, facts: Facts) -> list[Row]:
    """Rows for values that say failure or success, with the row for the name; none where no value says failure."""
    if named.behaviour == "error":
        return []
    step = stem(event.event_name)
    for key in STATES:
        values = facts.states.get(key, Counter())
        failing = sorted(value for value in values if _state(key, value) == "failure")
        if not failing:
            continue
        good = sorted(value for value in values if _state(key, value) == "success")
        rows = [
            _told(
                event,
                Meaning("error", thing(event.event_name), _is_doubtful(key, value), f"{key} is {value}"),
                key,
                value,
                step,
                "failure",
            )
            for value in failing
        ]
        rows += [
            replace(named, property=key, match="equals", pattern=value, step=step, outcome="success") for value in good
        ]
        others = set(values) - set(failing) - set(good)
        ends = not good and not others and not named.outcome
        return [*rows, replace(named, step=step, outcome="success") if ends else named]
    return []


def _state(key: str, value: str) -> str:
    found = set(words(value))
    if key in ("success", "succeeded", "ok"):
        return {"false": "failure", "true": "success"}.get(value.lower(), "")
    return "failure" if found & (FAILED | NEGATED) else "success" if found & (DONE | {"ok", "paid", "passed"}) else ""


def _is_doubtful(key: str, value: str) -> bool:
    """Whether a value that is taken for a failure may mean something else."""
    return value.lower() != "false" and not set(words(value)) & BROKEN


def _step_rows(event: Unmapped, named: Row, facts: Facts) -> list[Row]:
    """A row for each step that a property names, where the event says how it went; with the row for the name."""
    kind = named.outcome or outcome(event.event_name)
    key = next((key for key in STEPS if 1 < len(facts.states.get(key, ())) <= MOST_STEPS), "")
    if not kind or not key or _state_rows(event, named, facts):
        return []
    rows = [
        replace(
            named,
            property=key,
            match="equals",
            pattern=value,
            step="_".join([*stem(event.event_name).split("_"), *words(value)])[:60],
            outcome=kind,
        )
        for value in sorted(facts.states[key])
    ]
    return [*rows, named]


def _told(event: Unmapped, what: Meaning, key: str, value: str, step: str, kind: str) -> Row:
    return replace(_row(event, what, step, kind), property=key, match="equals", pattern=value)


def _is_page(event: Unmapped) -> bool:
    found = set(words(event.event_name))
    plain = found <= PAGE | {"view", "viewed", "views", "visited", "loaded", "a"} and found & PAGE
    return event.event_type in ("page", "screen") or bool(plain)


def _page_row(event: Unmapped) -> Row:
    """A row for every other page of the event; the event's own name may say more than navigation."""
    suggested = path_meaning(event.event_name)
    feature = thing(event.event_name)
    if suggested.behaviour == "navigation" or not feature:
        suggested = Meaning("navigation", feature, guess=False, why="a page view")
    return _row(event, replace(suggested, feature=feature))


def _path_rows(event: Unmapped, paths: Counter[PathStart]) -> list[Row]:
    """A prefix rule for each part of a path that means more than navigation, and for the most frequent other parts."""
    rows: dict[str, Row] = {}
    plain: Counter[tuple[str, str]] = Counter()
    ranked = sorted(paths.items(), key=lambda item: (-item[1], item[0]))
    for start, count in ranked:
        # The deeper part says more, but a rule that is sure counts before a guess.
        prefixes = {start.first + start.second: start.second, start.first: start.first}
        suggested = [(path_meaning(part), start.host + prefix) for prefix, part in prefixes.items() if part]
        telling = [(what, prefix) for what, prefix in suggested if what.behaviour != "navigation"]
        for what, prefix in sorted(telling, key=lambda pair: pair[0].guess)[:1]:
            if len(rows) < KEYWORD_PATHS:
                rows.setdefault(prefix, _path_row(event, what, start.property, prefix))
        if start.first:
            plain[start.property, f"{start.host}{start.first}"] += count
    frequent = sorted(plain.items(), key=lambda item: (-item[1], item[0]))
    others = [(key, prefix) for (key, prefix), _ in frequent if prefix not in rows]
    for key, prefix in others[:PLAIN_PATHS]:
        rows[prefix] = _path_row(event, path_meaning(prefix.rpartition("/")[2]), key, prefix)
    return list(rows.values())


def _path_row(event: Unmapped, suggested: Meaning, key: str, prefix: str) -> Row:
    failed = "failure" if suggested.behaviour == "error" else ""
    return replace(_row(event, suggested, "", failed), property=key, match="prefix", pattern=prefix)


def _row(event: Unmapped, suggested: Meaning, step: str = "", kind: str = "") -> Row:
    return Row(
        source=event.source,
        event_name=event.event_name,
        property="",
        match="",
        pattern="",
        behaviour=suggested.behaviour,
        feature=suggested.feature,
        step=step,
        outcome=kind,
        guess=suggested.guess,
        why=suggested.why,
    )
