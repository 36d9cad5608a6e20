"""Tombstones say who was forgotten, as salted hashes; rows of the forgotten stay out of raw, and texts are redacted.

Grain of raw.tombstones: entity_type x id_hash. The entity_type is user (user_id or anonymous_id), account, event (the
event_id of a data subject whose device others use, too), or text (an id in lower case, for what others say). The hash
is of the id alone, so it is the same for every source. Nobody can read an id from it, but somebody who has an id can
tell whether it was forgotten.

How an id is found in longer texts stands in ``mentions.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import duckdb

from orchestration.landing.mentions import ID_NAME, SHORTEST_WORD, redact

PERSON_FIELDS = ("user_id", "anonymous_id", "previous_id")

# Where an id may stand in a text: a word, a word with dots, a whole JSON string.
_TOKENS = ("[A-Za-z0-9_@+-]{%d,}", "[A-Za-z0-9_@+.-]{%d,}", r'"((?:[^"\\]|\\.)*)"')


def hash_sql(entity_type: str, text: str, salt: str = "salt") -> str:
    """SQL of the hash of an id that stands in a column."""
    return f"sha256({salt} || ':' || {entity_type} || ':' || trim({text}))"


def add_tombstones(
    connection: duckdb.DuckDBPyConnection, entity_type: str, ids: Iterable[str], salt: str, at: datetime
) -> None:
    """Adds tombstones, once each, as of ``at`` (naive UTC); all tombstones of a home have the salt of its first."""
    for entity_id in sorted(set(ids)):
        connection.execute(
            f"""
            insert into raw.tombstones
            select salt, $type, id_hash, $at
            from (
                select salt, {hash_sql("$type", "$id")} as id_hash
                from (select coalesce((select any_value(salt) from raw.tombstones), $salt) as salt)
            ) as fresh
            where not exists (
                select 1 from raw.tombstones as t where t.entity_type = $type and t.id_hash = fresh.id_hash
            )
            """,
            {"type": entity_type, "id": entity_id, "salt": salt, "at": at},
        )


def has_tombstone(connection: duckdb.DuckDBPyConnection, entity_type: str, entity_id: str) -> bool:
    """Whether an id has a tombstone."""
    row = connection.execute(
        f"select 1 from raw.tombstones where entity_type = $type and id_hash = {hash_sql('$type', '$id')} limit 1",
        {"type": entity_type, "id": entity_id},
    ).fetchone()
    return row is not None


def drop_forgotten(connection: duckdb.DuckDBPyConnection, *, vendor: bool) -> None:
    """Moves records of the forgotten from table ``parsed`` to ``forgotten_records`` (grain: file x record_number).

    An event is theirs by its ids, a vendor's row by any of its values, and a rejected record by any word of its text.
    """
    connection.execute("create or replace temp table forgotten_records (file varchar, record_number bigint)")
    if not _any_tombstone(connection):
        return
    if vendor:
        own = f"""
            select file, record_number, id, kind
            from (
                select
                    file, record_number, unnest(json_keys(row_json)) as name,
                    unnest(json_extract_string(row_json, '$.*')) as id
                from parsed where row_json is not null
            ) cross join (select unnest(['user', 'account']) as kind)
            -- What may as well be a number or another word is an id only where the name of its column says so.
            where
                length(id) >= {SHORTEST_WORD} and not regexp_full_match(id, '[0-9]+')
                or regexp_full_match(name, '{ID_NAME}')
        """
    else:
        own = f"""
            select file, record_number, unnest([{", ".join(PERSON_FIELDS)}]) as id, 'user' as kind from parsed
            union all
            select file, record_number, account_id as id, 'account' as kind from parsed
        """
    connection.execute(
        f"""
        insert into forgotten_records
        with own as ({own}),
        worded as (
            select file, record_number, unnest({_tokens_sql("raw_text", SHORTEST_WORD)}) as id
            from parsed where reason is not null
        ),
        named as (
            select * from own
            union all
            select file, record_number, id, kind from worded cross join (select unnest(['user', 'account']) as kind)
        )
        select distinct n.file, n.record_number
        from named as n
        inner join raw.tombstones as t on t.entity_type = n.kind and t.id_hash = {hash_sql("n.kind", "n.id", "t.salt")}
        """
    )
    connection.execute(
        """
        delete from parsed using forgotten_records as gone
        where parsed.file = gone.file and parsed.record_number = gone.record_number
        """
    )


def withdraw_events(connection: duckdb.DuckDBPyConnection) -> None:
    """Deletes events with a tombstone of their own from table ``accepted``; they count as forgotten, without a file."""
    if not _any_tombstone(connection):
        return
    (count,) = connection.execute(
        f"""
        delete from accepted where exists (
            select 1 from raw.tombstones as t
            where t.entity_type = 'event' and t.id_hash = {hash_sql("'event'", "accepted.event_id", "t.salt")}
        )
        """
    ).fetchone() or (0,)
    connection.execute("insert into forgotten_records select null, null from range($1)", [count])


def redact_forgotten(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str]) -> None:
    """Redacts ids of the forgotten in texts of a table, where rows of others may mention them.

    An id is found as it was given, in lower case, and percent-encoded once or twice.
    """
    if not columns or not _any_tombstone(connection):
        return
    texts = " union all ".join(f"select {column} as text from {relation}" for column in columns)
    found = connection.execute(
        f"""
        with texts as (select text from ({texts}) where text is not null),
        encoded as (
            select distinct unnest(regexp_extract_all(text, '[^\s"&=]*%[^\s"&=]*')) as piece
            from texts where contains(text, '%')
        ),
        decoded as (
            select text from texts
            union all
            select try(url_decode(piece)) from encoded
            union all
            select try(url_decode(url_decode(piece))) from encoded
        ),
        given as (select distinct unnest({_tokens_sql("text")}) as word from decoded where text is not null),
        words as (select word from given union select lower(word) from given)
        select distinct words.word
        from words inner join raw.tombstones as t
            on t.entity_type != 'event' and t.id_hash = {hash_sql("t.entity_type", "words.word", "t.salt")}
        """
    ).fetchall()
    redact(connection, relation, columns, [word for (word,) in found])


def _tokens_sql(text: str, shortest: int = 1) -> str:
    """SQL for the list of all places in a text where an id may stand; words have at least so many characters."""
    word, dotted, string = (token.replace("%d", str(shortest)).replace("'", "''") for token in _TOKENS)
    return (
        f"list_concat(regexp_extract_all({text}, '{word}'), regexp_extract_all({text}, '{dotted}'),"
        f" regexp_extract_all({text}, '{string}', 1))"
    )


def _any_tombstone(connection: duckdb.DuckDBPyConnection) -> bool:
    return connection.execute("select 1 from raw.tombstones limit 1").fetchone() is not None
