"""The two parts of a source, known users and anonymous visitors: each has its own past, measures and checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.gates.engine import Judged
from orchestration.gates.source_checks import MEASURED_CHECKS, SOURCE_CHECKS
from orchestration.gates.source_history import History, Unit
from orchestration.gates.source_statistics import Measured


@dataclass
class SourcePart:
    """One part of a source while it is judged.

    Attributes:
        history: its past.
        outcomes: what the event catalogue says that its event names and behaviours mean for steps: failure, success.
        prefix: of the names of its checks; empty for known users.
        measures: by check, one mapping for each judged day.
        judged: the results; a broken row is a place in ``measures``.

    """

    history: History
    outcomes: Mapping[Unit, frozenset[str]]
    prefix: str = ""
    measures: list[Mapping[str, Measured]] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)

    def add(self, judged: Sequence[Judged], *, first: int) -> None:
        """Adds results over the measures of both parts, as far as they are about this one.

        Args:
            judged: a broken row is a place in the measures of both.
            first: place of this part's first measures.

        """
        for found in judged:
            places = range(first, first + len(self.measures))
            broken = tuple(place - first for place in found.broken if place in places)
            # What broke without a row could not be evaluated.
            passed = found.check.passed or (bool(found.broken) and not broken)
            measured = self.measures[broken[0] if broken else -1][found.check.name]
            declared = self.prefix + found.check.name
            expected = MEASURED_CHECKS[declared].expected
            check = replace(found.check, name=declared, passed=passed, expected=expected, observed=measured.observed)
            self.judged.append(Judged(check, broken))

    def failed(self, *severities: str) -> list[Judged]:
        """Results that did not hold; only of these severities, if any are given."""
        failed = (found for found in self.judged if not found.check.passed)
        return [found for found in failed if not severities or found.check.severity in severities]

    def touched(self, catalog: Catalog) -> set[str]:
        """Traits that need what is in doubt; when the whole part is, also those that need nothing."""
        delivered = self._needed(self.history.units)
        doubted: set[str] = set()
        for found in self.failed("critical"):
            name = found.check.name.removeprefix(self.prefix)
            about = [self.measures[place][name].behaviours for place in found.broken]
            if not about or None in about:
                return {trait.name for trait in catalog.traits if not trait.needs or delivered & set(trait.needs)}
            doubted.update(*(behaviours for behaviours in about if behaviours is not None))
        doubted = self._needed(unit for unit in self.history.units if unit[1] in doubted)
        return {trait.name for trait in catalog.traits if doubted & set(trait.needs)}

    def _needed(self, units: Iterable[Unit]) -> set[str]:
        """What traits may need of event names and behaviours: the behaviours, and the outcomes of steps."""
        return {name for unit in units for name in (unit[1], *self.outcomes.get(unit, ())) if name}


def read_outcomes(connection: duckdb.DuckDBPyConnection, source: str) -> dict[Unit, frozenset[str]]:
    """Outcomes of steps that the event catalogue names, by event name and behaviour."""
    found: dict[Unit, frozenset[str]] = {}
    for name, behaviour, outcome in connection.execute(
        """
        select distinct event_name, behaviour, outcome from events.catalog_rules
        where source in ('', $1) and outcome != ''
        """,
        [source],
    ).fetchall():
        found[name, behaviour] = found.get((name, behaviour), frozenset()) | {outcome}
    return found


NOTHING_MEASURED: Mapping[str, Measured] = dict.fromkeys(SOURCE_CHECKS, Measured(None, "not judged"))
"""Measures that pass every check."""
