"""The catalogue: every declaration of the project, read from dbt's manifest.

The manifest is the registry: a model under models/traits is a trait, an exposure with ``config.meta.sync`` is a sync,
and one with ``config.meta.tables`` a copy of published tables. Nothing is listed anywhere else. A further kind of
declaration is a file of its own with a ``read_<kind>`` function, and a field of ``Catalog``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from orchestration.declarations.base import named
from orchestration.declarations.syncs import Sync, read_syncs
from orchestration.declarations.table_copies import TableCopy, read_table_copies
from orchestration.declarations.trait_manifest import read_traits
from orchestration.declarations.traits import Trait


class Catalog(BaseModel):
    """Everything that is declared."""

    model_config = ConfigDict(frozen=True)

    traits: tuple[Trait, ...]
    syncs: tuple[Sync, ...]
    table_copies: tuple[TableCopy, ...] = ()

    def trait(self, name: str) -> Trait:
        """The trait of this name; a UsageError where there is none."""
        return named(name, {trait.name: trait for trait in self.traits}, "trait")

    def sync(self, name: str) -> Sync:
        """The sync of this name; a UsageError where there is none."""
        return named(name, {sync.name: sync for sync in self.syncs}, "sync")

    def delivery(self, name: str) -> Sync | TableCopy:
        """The sync, or the copy of tables, of this name; a UsageError where there is none."""
        items: dict[str, Sync | TableCopy] = {sync.name: sync for sync in self.syncs}
        return named(name, items | {copy.name: copy for copy in self.table_copies}, "sync")

    def traits_of(self, sync: Sync) -> tuple[Trait, ...]:
        """The traits that a sync sends."""
        return sync.select(self.traits)


def read_catalog(manifest: Mapping[str, Any]) -> Catalog:
    """Reads and checks every declaration of a manifest (the dictionary form of dbt's manifest.json).

    Raises:
        UsageError: a declaration has an unknown or missing key, or names something that does not exist.

    """
    traits = read_traits(manifest)
    return Catalog(traits=traits, syncs=read_syncs(manifest, traits), table_copies=read_table_copies(manifest))
