"""Anonymous visitors among the published rows."""

from __future__ import annotations

import duckdb


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
