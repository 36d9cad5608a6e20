"""Who counts: identified users, in every share, threshold, fit, grade and sync; anonymous visitors have values only.

A trait that declares ``everyone`` counts all of its users. An account is never anonymous.
"""

from __future__ import annotations

import duckdb

from orchestration.declarations.traits import Trait

# SQL of the ids of anonymous visitors.
_VISITORS = "select user_id from identity.dim_users where is_anonymous"


def counts_everyone(trait: Trait) -> bool:
    """Whether each entity that has a value of the trait counts."""
    return trait.entity == "account" or bool(getattr(trait, "everyone", False))


def counted(trait: Trait, entity_id: str) -> str:
    """SQL condition: whether an entity counts, by what identity says now; a row without an id counts.

    Args:
        trait: which.
        entity_id: SQL of the entity's id.

    """
    return "true" if counts_everyone(trait) else f"coalesce({entity_id} not in ({_VISITORS}), true)"


def mark_visitors(connection: duckdb.DuckDBPyConnection) -> int:
    """Brings ``is_anonymous`` of published values up to what identity says, and counts the entities that it changes.

    Rows of the ledger say what was true at the change: only those of an earlier version, which say nothing, are filled;
    where the entity is gone by now, they stay empty. A value of an entity that is gone belongs to no identified user.
    Call it in a transaction.
    """
    found = "select 1 from duckdb_columns() where schema_name = 'identity' and table_name = 'dim_users'"
    if connection.execute(found).fetchone() is None:
        return 0
    connection.execute(
        """
        create or replace temp table marked as
        with marks as (
            select distinct entity_type, entity_id, is_anonymous as was from traits.trait_values
        )
        select
            m.entity_type, m.entity_id, m.was,
            coalesce(u.is_anonymous, m.was, m.entity_type = 'user') as is_anonymous
        from marks as m
        left join identity.dim_users as u on m.entity_type = 'user' and m.entity_id = u.user_id
        where m.was is distinct from coalesce(u.is_anonymous, m.was, m.entity_type = 'user')
        """
    )
    connection.execute(
        """
        update traits.trait_values as v set is_anonymous = m.is_anonymous
        from (select distinct entity_type, entity_id, is_anonymous from marked) as m
        where v.entity_type = m.entity_type and v.entity_id = m.entity_id
        """
    )
    connection.execute(
        """
        update traits.trait_changes as c set is_anonymous = u.is_anonymous
        from identity.dim_users as u
        where c.is_anonymous is null and c.entity_type = 'user' and c.entity_id = u.user_id;
        update traits.trait_changes set is_anonymous = false where is_anonymous is null and entity_type = 'account'
        """
    )
    row = connection.execute("select count(*) from marked").fetchone()
    return int(row[0]) if row else 0
