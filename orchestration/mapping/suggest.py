"""Events without a row in the catalogue, and proposed rows for each, by the rules of orchestration/mapping/rules.py.

Reads ``events.unmapped_events`` and raw rows (orchestration/mapping/facts.py).
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from orchestration.errors import UsageError
from orchestration.home import Home, write_atomically
from orchestration.mapping.facts import EventKey, Facts, PathStart, examples, most_frequent, raw_facts
from orchestration.mapping.rules import Meaning, meaning, outcome, path_meaning, stem, thing, words
from orchestration.mapping.vocabulary import PAGE

COLUMNS = ("source", "event_name", "property", "match", "pattern", "behaviour", "feature", "step", "outcome")
SEED = Path("seeds") / "event_catalog.csv"
CORE_CANDIDATES = 10
KEYWORD_PATHS = 10
PLAIN_PATHS = 5


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


class RowKey(NamedTuple):
    """Grain of the seed."""

    source: str
    event_name: str
    property: str
    pattern: str


def _key(row: Row) -> RowKey:
    return RowKey(row.source, row.event_name, row.property, row.pattern)


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
class Suggestions:
    """Unmapped events with their proposals; ``left_out`` counts those beyond the limit."""

    events: tuple[Unmapped, ...]
    left_out: int = 0
    rows: tuple[Row, ...] = ()

    @property
    def csv(self) -> str:
        """The proposed rows, ready to paste below the header of the seed."""
        return _csv(self.rows, "\n")

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"events": [asdict(event) for event in self.events], "left_out": self.left_out, "csv": self.csv}


def suggest(home: Home, limit: int = 100) -> Suggestions:
    """Unmapped events, the most frequent first, each with a proposal.

    Raises:
        UsageError: nothing was built yet.
        WarehouseBusyError: another process holds the warehouse.

    """
    with home.lock("traithouse catalog suggest"), home.connect() as connection:
        if not _exists(connection, "events", "unmapped_events"):
            raise UsageError("Nothing is built yet.", "Run traithouse refresh first; then ask again.")
        found = connection.execute(
            """
            select source, event_name, event_count, first_seen_at, last_seen_at from events.unmapped_events
            order by event_count desc, source, event_name
            """
        ).fetchall()
        shown = found[:limit]
        facts = raw_facts(connection, [EventKey(source, name) for source, name, *_ in shown])
    events = [
        Unmapped(
            source=source,
            event_name=name,
            event_type=most_frequent(facts[EventKey(source, name)].types),
            event_count=count,
            first_seen_at=first_seen_at,
            last_seen_at=last_seen_at,
            examples=examples(facts[EventKey(source, name)]),
        )
        for source, name, count, first_seen_at, last_seen_at in shown
    ]
    proposed = propose(events, facts, _seed_keys(home.settings.project / SEED))
    return Suggestions(
        events=tuple(proposed),
        left_out=max(len(found) - limit, 0),
        rows=tuple(row for event in proposed for row in event.rows),
    )


def append(home: Home, rows: Sequence[Row]) -> int:
    """Writes rows to the end of the project's catalogue, once each, and returns how many were new.

    Raises:
        UsageError: the file is not there or has other columns.

    """
    path = home.settings.project / SEED
    known = _seed_keys(path)
    new = [row for row in rows if _key(row) not in known]
    with path.open(newline="", encoding="utf-8") as file:
        text = file.read()
    newline = "\r\n" if "\r\n" in text else "\n"
    if new:
        start = text if text.endswith("\n") else text + newline
        write_atomically(path, start + _csv(new, newline))
    return len(new)


def propose(events: Sequence[Unmapped], facts: Mapping[EventKey, Facts], known: set[RowKey]) -> list[Unmapped]:
    """The events, each with rows that the catalogue does not have yet, or with a note why there are none."""
    steps: dict[tuple[str, str], set[str]] = defaultdict(set)
    for event in events:
        steps[event.source, stem(event.event_name)].add(outcome(event.event_name))
    core: Counter[str] = Counter()
    proposed = []
    for event in events:
        rows, note = [], ""
        if event.event_type in ("identify", "group", "alias"):
            note = f"{event.event_type} events say who, not what"
        elif _is_page(event):
            rows = [*_path_rows(event, facts[EventKey(event.source, event.event_name)].paths), _page_row(event)]
        elif suggested := meaning(event.event_name):
            rows = [_row(event, suggested, steps[event.source, stem(event.event_name)])]
        elif core[event.source] < CORE_CANDIDATES:
            core[event.source] += 1
            what = Meaning("core_value", thing(event.event_name), True, "no keyword, but frequent")
            rows = [_row(event, what, steps[event.source, stem(event.event_name)])]
        else:
            note = "no keyword, and not among the most frequent"
        new = tuple(row for row in rows if _key(row) not in known)
        if rows and not new:
            note = "the proposed rows are in the seed already; refresh applies them"
        proposed.append(replace(event, rows=new, note=note))
    return proposed


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
    return _row(event, replace(suggested, feature=feature), set())


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
                rows.setdefault(prefix, _row(event, what, set(), start.property, prefix))
        if start.first:
            plain[start.property, f"{start.host}{start.first}"] += count
    frequent = sorted(plain.items(), key=lambda item: (-item[1], item[0]))
    others = [(key, prefix) for (key, prefix), _ in frequent if prefix not in rows]
    for key, prefix in others[:PLAIN_PATHS]:
        rows[prefix] = _row(event, path_meaning(prefix.rpartition("/")[2]), set(), key, prefix)
    return list(rows.values())


def _row(event: Unmapped, suggested: Meaning, kinds: set[str], key: str = "", prefix: str = "") -> Row:
    """A row of the catalogue; events that begin and end the same thing share its step."""
    kind = outcome(event.event_name) if not prefix else "failure" if suggested.behaviour == "error" else ""
    paired = len(kinds - {""}) > 1 or suggested.behaviour == "error"
    step = stem(event.event_name) if kind and paired and not prefix else ""
    return Row(
        source=event.source,
        event_name=event.event_name,
        property=key,
        match="prefix" if prefix else "",
        pattern=prefix,
        behaviour=suggested.behaviour,
        feature=suggested.feature,
        step=step,
        outcome=kind if step or suggested.behaviour == "error" else "",
        guess=suggested.guess,
        why=suggested.why,
    )


def _exists(connection: duckdb.DuckDBPyConnection, schema: str, name: str) -> bool:
    row = connection.execute(
        "select 1 from information_schema.tables where table_schema = $1 and table_name = $2", [schema, name]
    ).fetchone()
    return row is not None


def _seed_keys(path: Path) -> set[RowKey]:
    if not path.is_file():
        raise UsageError(f"There is no {SEED}.", "The project needs this file: it is its event catalogue.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UsageError(f"{SEED} has other columns than expected.", f"Its columns have to be: {','.join(COLUMNS)}")
        return {RowKey(*(row[name] or "" for name in RowKey._fields)) for row in reader}


def _csv(rows: Iterable[Row], newline: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator=newline).writerows([getattr(row, column) for column in COLUMNS] for row in rows)
    return text.getvalue()
