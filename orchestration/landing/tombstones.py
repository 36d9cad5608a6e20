"""Who was forgotten, as salted hashes, and how rows that name them are kept out of raw and blotted out of texts.

Grain of raw.tombstones: entity_type x id_hash; entity_type is user (user_id or anonymous_id), account, or event (an
event_id that belonged to a person whose device others use, too). The hash is of the id alone, so it holds for every
source. No id can be read from it, but whoever has an id can tell whether it was forgotten.

Within longer texts an id is found as a word; one of fewer than SHORTEST_WORD characters only as a whole JSON string,
for such an id is as likely a number or a word of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from html import escape

import duckdb

FORGOTTEN = "forgotten"
SHORTEST_WORD = 6
PERSON_FIELDS = ("user_id", "anonymous_id", "previous_id")

_WORD = "[A-Za-z0-9_@+-]"
_NO_WORD = "[^A-Za-z0-9_@+-]"
# Where an id may stand in a text: a word, a word with dots, a whole JSON string.
_TOKENS = (f"{_WORD}{{{SHORTEST_WORD},}}", f"[A-Za-z0-9_@+.-]{{{SHORTEST_WORD},}}", r'"((?:[^"\\]|\\.)*)"')


def hash_sql(entity_type: str, text: str, salt: str = "salt") -> str:
    """SQL of the hash of an id that stands in a column."""
    return f"sha256({salt} || ':' || {entity_type} || ':' || trim({text}))"


def add_tombstones(
    connection: duckdb.DuckDBPyConnection, entity_type: str, ids: Iterable[str], salt: str, at: datetime
) -> None:
    """Adds tombstones, once each; all tombstones of a home have the salt of its first."""
    for one in sorted(set(ids)):
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
            {"type": entity_type, "id": one, "salt": salt, "at": at},
        )


def has_tombstone(connection: duckdb.DuckDBPyConnection, entity_type: str, one: str) -> bool:
    """Whether an id has a tombstone."""
    row = connection.execute(
        f"select 1 from raw.tombstones where entity_type = $type and id_hash = {hash_sql('$type', '$id')} limit 1",
        {"type": entity_type, "id": one},
    ).fetchone()
    return row is not None


def drop_forgotten(connection: duckdb.DuckDBPyConnection, *, vendor: bool) -> None:
    """Takes records of the forgotten out of table ``parsed``, and names them in ``forgotten_records``.

    An event is theirs by its ids, a vendor's row by any of its values, and one that cannot be read by any word of it.
    """
    connection.execute("create or replace temp table forgotten_records (file varchar, record_number bigint)")
    if not _any_tombstone(connection):
        return
    if vendor:
        own = """
            select file, record_number, id, kind
            from (
                select file, record_number, unnest(json_extract_string(row_json, '$.*')) as id
                from parsed where row_json is not null
            ) cross join (select unnest(['user', 'account']) as kind)
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
            select file, record_number, unnest({_tokens_sql("raw_text")}) as id
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
    """Takes single events with a tombstone out of table ``accepted``; each is a forgotten record without a file."""
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
    """Blots the forgotten out of texts of a table in which rows of others may mention them."""
    if not columns or not _any_tombstone(connection):
        return
    texts = " union all ".join(f"select {column} as text from {relation}" for column in columns)
    found = connection.execute(
        f"""
        with words as (
            select distinct unnest({_tokens_sql("text")}) as word from ({texts}) where text is not null
        )
        select distinct words.word
        from words inner join raw.tombstones as t
            on t.entity_type != 'event' and t.id_hash = {hash_sql("t.entity_type", "words.word", "t.salt")}
        """
    ).fetchall()
    redact(connection, relation, columns, [word for (word,) in found])


def redact(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], ids: Collection[str]) -> None:
    """Replaces ids within the texts of some columns by a word."""
    words, strings = sql_patterns(ids)
    for column in columns:
        for pattern, to in ((words, rf"\1{FORGOTTEN}\2"), (words, rf"\1{FORGOTTEN}\2"), (strings, f'"{FORGOTTEN}"')):
            # Twice: of two ids with one character between them, the first pass takes that character.
            if pattern:
                connection.execute(
                    f"update {relation} set {column} = regexp_replace({column}, $pattern, $to, 'g')"
                    f" where regexp_matches({column}, $pattern)",
                    {"pattern": pattern, "to": to},
                )


def sql_patterns(ids: Collection[str]) -> tuple[str, str]:
    """RE2 patterns: of ids that are found as words, and of those that are found as JSON strings; empty for none."""
    words = spellings(one for one in ids if len(one) >= SHORTEST_WORD)
    short = spellings(one for one in ids if len(one) < SHORTEST_WORD)
    return (
        f"(^|{_NO_WORD})(?:{'|'.join(words)})($|{_NO_WORD})" if words else "",
        f'"(?:{"|".join(short)})"' if short else "",
    )


def byte_pattern(ids: Collection[str]) -> re.Pattern[bytes]:
    """The same, over the bytes of a file."""
    words = spellings(one for one in ids if len(one) >= SHORTEST_WORD)
    short = spellings(one for one in ids if len(one) < SHORTEST_WORD)
    parts = [f"(?<!{_WORD})(?:{'|'.join(words)})(?!{_WORD})"] if words else []
    parts += [f'(?<=")(?:{"|".join(short)})(?=")'] if short else []
    return re.compile("|".join(parts).encode())


def spellings(ids: Iterable[str]) -> list[str]:
    """How ids stand in texts, in JSON and in HTML, escaped for a pattern; the longest first."""
    spelt = set()
    for one in ids:
        spelt |= {one, json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1], escape(one)}
    return [re.escape(one) for one in sorted(spelt, key=lambda text: (-len(text), text))]


def _tokens_sql(text: str) -> str:
    word, dotted, string = (token.replace("'", "''") for token in _TOKENS)
    return (
        f"list_concat(regexp_extract_all({text}, '{word}'), regexp_extract_all({text}, '{dotted}'),"
        f" regexp_extract_all({text}, '{string}', 1))"
    )


def _any_tombstone(connection: duckdb.DuckDBPyConnection) -> bool:
    return connection.execute("select 1 from raw.tombstones limit 1").fetchone() is not None
