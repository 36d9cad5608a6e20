"""The data subject that an id belongs to, with every id that resolves to the same user."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from orchestration.errors import UsageError


@dataclass(frozen=True)
class Subject:
    """A data subject: the user or account that is forgotten.

    Attributes:
        entity_type: user or account.
        ids: every user_id and anonymous_id that is this user alone, or the account_id; sorted.
        events: event_ids of anonymous events that are this user's on devices that others use, too.

    """

    entity_type: str
    ids: tuple[str, ...]
    events: tuple[str, ...] = ()


def resolve(connection: duckdb.DuckDBPyConnection, entity_type: str, entity_id: str) -> Subject:
    """The subject of an id, with all that was merged with it; an id that identity does not know stands alone.

    Raises:
        UsageError: it is a device that several users share.

    """
    known = connection.execute(
        "select 1 from duckdb_tables() where schema_name = 'identity' and table_name = 'identity_nodes'"
    ).fetchone()
    if entity_type == "account" or known is None:
        return Subject(entity_type, (entity_id,))
    connection.execute(
        """
        create or replace temp table owners as
        select n.node_key, n.node_type, n.node_id, coalesce(m.canonical_key, n.node_key) as owner_key
        from identity.identity_nodes as n
        left join identity.identity_merges as m on n.node_key = m.user_key
        where n.node_type in ('user', 'anonymous')
        """
    )
    connection.execute(
        """
        create or replace temp table seen_on as
        select distinct o.anonymous_key, w.owner_key
        from identity.identity_observations as o inner join owners as w on o.user_key = w.node_key
        """
    )
    connection.execute(
        """
        create or replace temp table devices as
        select anonymous_key, count(*) as users, any_value(owner_key) as owner_key from seen_on group by anonymous_key
        """
    )
    named = connection.execute(
        """
        select o.node_type, coalesce(d.users, 0), coalesce(d.owner_key, o.owner_key)
        from owners as o left join devices as d on o.node_key = d.anonymous_key
        where o.node_id = $id
        """,
        {"id": entity_id},
    ).fetchall()
    owner_keys = sorted({owner for kind, users, owner in named if kind == "user" or users < 2})
    if named and not owner_keys:
        raise UsageError(
            f"{entity_id} is a device that {named[0][1]} users share.",
            "Forget each of these users by their user id.",
        )
    ids = connection.execute(
        """
        select o.node_id from owners as o
        left join devices as d on o.node_key = d.anonymous_key
        where
            (o.node_type = 'user' or d.anonymous_key is null) and list_contains($owner_keys, o.owner_key)
            or d.users = 1 and list_contains($owner_keys, d.owner_key)
        """,
        {"owner_keys": owner_keys},
    ).fetchall()
    events = connection.execute(
        """
        select distinct e.event_id
        from devices as d
        inner join identity.identity_links as l on d.anonymous_key = l.anonymous_key
        inner join owners as w on l.user_key = w.node_key and list_contains($owner_keys, w.owner_key)
        inner join owners as device on d.anonymous_key = device.node_key
        inner join raw.events as e
            on e.user_id is null and e.anonymous_id = device.node_id
            and e.occurred_at >= l.valid_from and e.occurred_at < l.valid_to
        where d.users > 1
        """,
        {"owner_keys": owner_keys},
    ).fetchall()
    return Subject(
        entity_type,
        tuple(sorted({entity_id} | {merged_id for (merged_id,) in ids})),
        tuple(sorted(event_id for (event_id,) in events)),
    )
