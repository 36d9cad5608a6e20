"""Proposed rows for what the catalogue does not know: events, properties of users and accounts, plans.

Reads ``events.unmapped_events`` and raw rows (orchestration/mapping/facts.py). The rules for events are in
orchestration/mapping/rules.py, those for properties and plans in orchestration/mapping/people.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import duckdb

from orchestration.declarations.event_types import IDENTITY_TYPES
from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.mapping.facts import EventKey, examples, most_frequent, raw_facts
from orchestration.mapping.people import AttributeRow, PlanRow, people_rows
from orchestration.mapping.proposal import Row, Unmapped, is_identity, propose
from orchestration.mapping.seeds import ATTRIBUTES, EVENTS, PLANS


@dataclass(frozen=True)
class Suggestions:
    """What the catalogue lacks, with proposals; ``left_out`` counts events beyond the limit."""

    events: tuple[Unmapped, ...]
    left_out: int = 0
    attributes: tuple[AttributeRow, ...] = ()
    plans: tuple[PlanRow, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """The proposed rows of the event catalogue."""
        return tuple(row for event in self.events for row in event.rows)

    @property
    def ranked_plans(self) -> tuple[PlanRow, ...]:
        """Plans whose name tells a rank; the others wait for a person."""
        return tuple(plan for plan in self.plans if plan.rank)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON; each ``csv`` is ready to paste below the header of its file."""
        return {
            "events": [asdict(event) | {"is_identity": is_identity(event)} for event in self.events],
            "left_out": self.left_out,
            "csv": EVENTS.csv(self.rows),
            "attributes": [asdict(row) for row in self.attributes],
            "attributes_csv": ATTRIBUTES.csv(self.attributes),
            "plans": [asdict(row) for row in self.plans],
            "plans_csv": PLANS.csv(self.ranked_plans),
        }

    @property
    def guesses(self) -> int:
        """Proposed rows that a person should doubt; every rank of a plan is one."""
        events, attributes = (sum(row.guess for row in self.rows), sum(row.guess for row in self.attributes))
        return events + attributes + len(self.ranked_plans)


def suggest(home: Home, limit: int = 100) -> Suggestions:
    """What the catalogue does not know, the most frequent first, each with a proposal.

    Raises:
        UsageError: nothing was built yet, or a file of the catalogue is not there or has other columns.
        WarehouseBusyError: another process holds the warehouse.

    """
    project = home.settings.project
    known = EVENTS.keys(project)
    with home.lock("traithouse catalog suggest"), home.connect() as connection:
        if not _exists(connection, "events", "unmapped_events"):
            raise UsageError("Nothing is built yet.", "Run traithouse refresh first; then ask again.")
        found = connection.execute(
            """
            select source, event_name, event_count, first_seen_at, last_seen_at from events.unmapped_events
            order by event_count desc, source, event_name
            """
        ).fetchall()
        totals = connection.execute(
            f"""
            select source, count(*) from events.event_log join events.event_kinds using (kind_key)
            where event_type not in {IDENTITY_TYPES} group by source
            """
        ).fetchall()
        shown = found[:limit]
        facts = raw_facts(connection, [EventKey(source, name) for source, name, *_ in shown])
        attributes, plans = people_rows(connection, project)
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
    return Suggestions(
        events=tuple(propose(events, facts, known, dict(totals))),
        left_out=max(len(found) - limit, 0),
        attributes=attributes,
        plans=plans,
    )


def append(home: Home, found: Suggestions) -> dict[str, int]:
    """Writes the proposals to the end of the project's files, once each; file -> rows that were new.

    A plan whose name tells no rank is left to a person.

    Raises:
        UsageError: a file is not there or has other columns.

    """
    project = home.settings.project
    written = {
        str(EVENTS.path): EVENTS.append(project, found.rows),
        str(ATTRIBUTES.path): ATTRIBUTES.append(project, found.attributes),
        str(PLANS.path): PLANS.append(project, found.ranked_plans),
    }
    return {path: count for path, count in written.items() if count}


def _exists(connection: duckdb.DuckDBPyConnection, schema: str, name: str) -> bool:
    row = connection.execute(
        "select 1 from information_schema.tables where table_schema = $1 and table_name = $2", [schema, name]
    ).fetchone()
    return row is not None
