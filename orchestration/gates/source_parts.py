"""The two parts of a source, known users and anonymous visitors: each has its own past, measures and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestration.declarations.catalog import Catalog
from orchestration.gates.engine import Judged
from orchestration.gates.source_checks import MEASURED_CHECKS, SOURCE_CHECKS
from orchestration.gates.source_history import History
from orchestration.gates.source_statistics import Measured


@dataclass
class SourcePart:
    """One part of a source while it is judged.

    Attributes:
        history: its past.
        prefix: of the names of its checks; empty for known users.
        measures: by check, one mapping for each judged day.
        judged: the results; a broken row is a place in ``measures``.

    """

    history: History
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
        """Traits that need what is in doubt; when the whole part is, also those that need no behaviour."""
        delivered = {behaviour for _, behaviour in self.history.units}
        doubted: set[str] = set()
        for found in self.failed("critical"):
            name = found.check.name.removeprefix(self.prefix)
            about = [self.measures[place][name].behaviours for place in found.broken]
            if not about or None in about:
                return {trait.name for trait in catalog.traits if not trait.needs or delivered & set(trait.needs)}
            doubted.update(*(behaviours for behaviours in about if behaviours is not None))
        return {trait.name for trait in catalog.traits if doubted & set(trait.needs)}


NOTHING_MEASURED: Mapping[str, Measured] = dict.fromkeys(SOURCE_CHECKS, Measured(None, "not judged"))
"""Measures that pass every check."""
