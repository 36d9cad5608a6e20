"""Contradictions: members of a trait of whom another trait says what its declaration excludes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import duckdb

from orchestration.declarations.decisions import Contradiction
from orchestration.declarations.traits import Trait
from orchestration.gates.recompute import quoted


@dataclass(frozen=True)
class JudgedRows:
    """One contradiction, and what the other trait says.

    Attributes:
        contradiction: as declared.
        is_candidate: whether the other's candidate speaks; else what is published of it.

    """

    contradiction: Contradiction
    is_candidate: bool

    def key(self, trait: Trait) -> str:
        """Of its row among the measures."""
        which = "candidate" if self.is_candidate else "published"
        return f"{trait.name} {self.contradiction.trait} {self.contradiction.value} {which}"

    @property
    def entities(self) -> str:
        """SQL: the entities that have the other value."""
        other, value = self.contradiction.trait, quoted(self.contradiction.value)
        if self.is_candidate:
            ids = "columns('^(user|account)_id$')"
            return f'select {ids} from candidates."{other}" where cast(value as varchar) = {value}'
        return f"select entity_id from traits.trait_values where trait = '{other}' and value = {value}"

    @property
    def rows(self) -> str:
        """SQL condition of the members that contradict."""
        return f"is_counted and text_value = 'true' and entity_id in ({self.entities})"


def bases(trait: Trait, made: Collection[str]) -> list[JudgedRows]:
    """What a trait is compared with: both, for which of them speaks is known only when the other was judged."""
    return [
        JudgedRows(contradiction, is_candidate)
        for contradiction in trait.contradicts
        for is_candidate in (True, False)
        if not is_candidate or contradiction.trait in made
    ]


def count_contradictions(connection: duckdb.DuckDBPyConnection, trait: Trait, basis: JudgedRows, counted: str) -> int:
    """Members that contradict.

    Args:
        connection: the warehouse.
        trait: whose candidate.
        basis: what the other trait says.
        counted: SQL condition of those who count.

    """
    row = connection.execute(
        f"""
        select count(*) from {trait.candidate}
        where cast(value as varchar) = 'true' and {counted} and {trait.id_column} in ({basis.entities})
        """
    ).fetchone()
    return int(row[0]) if row else 0


def speaking(trait: Trait, found: Mapping[str, JudgedRows], passed: Collection[str]) -> list[str]:
    """Keys of the measures that decide: the candidate's where the other trait has passed, else what is published."""
    return [key for key, basis in found.items() if basis.is_candidate == (basis.contradiction.trait in passed)]
