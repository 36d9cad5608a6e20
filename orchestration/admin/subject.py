"""The data subject that an id belongs to, with every id that resolves to the same user."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb

from orchestration.errors import UsageError


@dataclass(frozen=True)
class Subject:
    """A data subject, or several of one type: the users or accounts that are forgotten.

    Attributes:
        entity_type: user or account.
        ids: every user_id and anonymous_id that is this user alone, or the account_id; sorted.
        events: event_ids of anonymous events that are this user's on devices that others use, too.
        identifiers: other texts that only this user is known by, such as an email address; they are redacted, and no
            row of another is deleted for them.

    """

    entity_type: str
    ids: tuple[str, ...]
    events: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is looked for in texts."""
        return (*self.ids, *self.identifiers)


def resolve(
    connection: duckdb.DuckDBPyConnection, entity_type: str, entity_ids: Sequence[str], attributes: Collection[str] = ()
) -> Subject:
    """The subject of some ids, with all that was merged with them; an id that identity does not know stands alone.

    Args:
        connection: the warehouse.
        entity_type: of the ids.
        entity_ids: whom.
        attributes: names of those whose values are identifiers.

    Raises:
        UsageError: one is a device that several users share.

    """
    known = connection.execute(
        "select 1 from duckdb_tables() where schema_name = 'identity' and table_name = 'identity_nodes'"
    ).fetchone()
    if entity_type == "account" or known is None:
        return Subject(entity_type, tuple(sorted(set(entity_ids))))
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
        select o.node_id, o.node_type, coalesce(d.users, 0), coalesce(d.owner_key, o.owner_key)
        from owners as o left join devices as d on o.node_key = d.anonymous_key
        where list_contains($ids, o.node_id)
        """,
        {"ids": list(entity_ids)},
    ).fetchall()
    owner_keys = sorted({owner for _, kind, users, owner in named if kind == "user" or users < 2})
    shared = {node_id: users for node_id, _, users, _ in named if users > 1}
    shared = {node_id: shared[node_id] for node_id in shared.keys() - {row[0] for row in named if row[1] == "user"}}
    if shared:
        device, users = min(shared.items())
        raise UsageError(
            f"{device} is a device that {users} users share.",
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
    merged = tuple(sorted({*entity_ids, *(merged_id for (merged_id,) in ids)}))
    return Subject(
        entity_type,
        merged,
        tuple(sorted(event_id for (event_id,) in events)),
        identifiers_of(connection, merged, attributes),
    )


def identifiers_of(
    connection: duckdb.DuckDBPyConnection, ids: Collection[str], attributes: Collection[str]
) -> tuple[str, ...]:
    """Values of attributes, at any time, that only these users have: texts that they are known by."""
    known = "select 1 from duckdb_columns() where schema_name = 'identity' and table_name = 'attributes'"
    if connection.execute(known).fetchone() is None:
        return ()
    found = connection.execute(
        """
        select min(trim(value)) from identity.attributes
        where entity_type = 'user' and list_contains($attributes, attribute) and trim(coalesce(value, '')) != ''
        group by lower(trim(value))
        having bool_and(list_contains($ids, entity_id))
        order by 1
        """,
        {"attributes": sorted(attributes), "ids": list(ids)},
    ).fetchall()
    return tuple(value for (value,) in found if value not in ids)
