"""What a sync may read of the served snapshot: the values of the entities that count."""

from __future__ import annotations

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.destinations import destinations
from orchestration.errors import UsageError
from orchestration.published.who_counts import counts_everyone
from orchestration.sync.fields import Overrides


def traits_of_everyone(catalog: Catalog, sync: Sync) -> list[str]:
    """Names of the traits of which a sync sends anonymous visitors, too."""
    destination = destinations().get(sync.destination)
    if destination and not destination.visitors:
        return []
    return [trait.name for trait in catalog.traits if counts_everyone(trait)]


def need_marks(connection: duckdb.DuckDBPyConnection) -> None:
    """Checks that the snapshot says who is anonymous: one of an earlier version does not.

    Raises:
        UsageError: it does not.

    """
    says = "select 1 from duckdb_columns() where table_name = 'trait_values' and column_name = 'is_anonymous'"
    if connection.execute(says).fetchone() is None:
        raise UsageError(
            "What is published does not say who is an anonymous visitor, because an earlier version published it.",
            "Run traithouse refresh, then sync again.",
        )


def create_current_values(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, sync: Sync, overrides: Overrides
) -> None:
    """Creates ``current_values``: what is published of the sync's entities, with overrides in its place.

    Values of anonymous visitors that are not sent are in ``visitors``.
    """
    need_marks(connection)
    connection.execute("create temp table overrides (entity_id varchar, trait varchar, value varchar)")
    for trait, values in overrides.items():
        if values:
            connection.execute(
                "insert into overrides select unnest($ids), $trait, unnest($values)",
                {"ids": list(values), "trait": trait, "values": list(values.values())},
            )
    entity, replaced = sync.entity, ", ".join(f"'{name}'" for name in overrides) or "''"
    of_everyone = ", ".join(f"'{name}'" for name in traits_of_everyone(catalog, sync)) or "''"
    connection.execute(
        f"""
        create temp view published as
        select entity_id, trait, value, is_anonymous is not true or trait in ({of_everyone}) as is_sent
        from served.traits.trait_values where entity_type = '{entity}';
        create temp view visitors as select entity_id, trait from published where not is_sent;
        create temp view current_values as
        select entity_id, trait, value from published
        where is_sent and trait not in ({replaced})
        union all
        select entity_id, trait, value from overrides
        """
    )
