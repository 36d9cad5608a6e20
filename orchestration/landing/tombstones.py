"""Tombstones say who was forgotten, as salted hashes; rows of the forgotten stay out of raw, and texts are redacted.

Grain of raw.tombstones: entity_type x id_hash. The entity_type is user (user_id or anonymous_id), account, or event
(the event_id of a data subject whose device others use, too). The hash is of the id alone, so it is the same for every
source. Nobody can read an id from it, but somebody who has an id can tell whether it was forgotten.

In longer texts an id is found as a word, in every case and however it is escaped (``spellings``). An id of fewer than
SHORTEST_WORD characters is found only as a whole JSON string, because it may as well be a number or another word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from html import escape
from typing import NamedTuple

import duckdb

FORGOTTEN = "forgotten"
SHORTEST_WORD = 6
PERSON_FIELDS = ("user_id", "anonymous_id", "previous_id")

_WORD = "[A-Za-z0-9_@+-]"
_NO_WORD = "[^A-Za-z0-9_@+-]"
# What ends in a letter or digit and is no part of a word: an escaped character before it. Of fixed widths.
_ESCAPES = ("%[0-9A-Fa-f]{2}", "%25[0-9A-Fa-f]{2}", r"\\u[0-9A-Fa-f]{4}", r"\\[bfnrt]")
# Where an id may stand in a text: a word, a word with dots, a whole JSON string.
_TOKENS = (f"{_WORD}{{{SHORTEST_WORD},}}", f"[A-Za-z0-9_@+.-]{{{SHORTEST_WORD},}}", r'"((?:[^"\\]|\\.)*)"')


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


def redact(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], ids: Collection[str]) -> None:
    """Replaces ids in the texts of some columns by the word ``forgotten``."""
    patterns = sql_patterns(ids)
    as_word, as_string = rf"\1{FORGOTTEN}\2", f'"{FORGOTTEN}"'
    # Words twice: of two ids with one character between them, the first pass uses up that character.
    for column in columns:
        for pattern, replacement in (
            (patterns.words, as_word),
            (patterns.words, as_word),
            (patterns.strings, as_string),
        ):
            if pattern:
                connection.execute(
                    f"update {relation} set {column} = regexp_replace({column}, $pattern, $replacement, 'g')"
                    f" where regexp_matches({column}, $pattern)",
                    {"pattern": pattern, "replacement": replacement},
                )


class IdPatterns(NamedTuple):
    """RE2 patterns of ids that are found as words, and of ids that are found as JSON strings; empty for none."""

    words: str
    strings: str


def sql_patterns(ids: Collection[str]) -> IdPatterns:
    """Patterns of ids for DuckDB."""
    words, short = spellings(_long(ids)), spellings(_short(ids))
    return IdPatterns(
        words=f"(^|{_NO_WORD}|{'|'.join(_ESCAPES)})(?i:{'|'.join(words)})($|{_NO_WORD})" if words else "",
        strings=f'"(?:{"|".join(short)})"' if short else "",
    )


def byte_pattern(ids: Collection[str]) -> re.Pattern[bytes]:
    """The same as one Python pattern for the bytes of a file."""
    words, short = spellings(_long(ids)), spellings(_short(ids))
    begins = "|".join([f"(?<!{_WORD})", *(f"(?<={escaped})" for escaped in _ESCAPES)])
    parts = [f"(?:{begins})(?i:{'|'.join(words)})(?!{_WORD})"] if words else []
    parts += [f'(?<=")(?:{"|".join(short)})(?=")'] if short else []
    return re.compile("|".join(parts).encode())


def spellings(ids: Iterable[str]) -> list[str]:
    """Patterns of ids as they are written in texts, JSON, HTML and URLs, also encoded twice; the longest first."""
    return ["".join(_character(character) for character in text) for text in sorted(ids, key=lambda t: (-len(t), t))]


def _character(character: str) -> str:
    """Pattern of a character in every spelling; letters and digits of ASCII are written as they are."""
    if character.isascii() and character.isalnum():
        return character
    # Beyond ASCII, letters of both cases: patterns for bytes know the cases of ASCII only.
    written = sorted({character, character.lower(), character.upper()}, key=lambda text: (text != character, text))
    patterns = [re.escape(text) for text in written]
    for text in written:
        percent = "".join(f"%(?:25)*(?i:{byte:02x})" for byte in text.encode("utf-8", "surrogatepass"))
        units = text.encode("utf-16-be", "surrogatepass").hex()
        json_units = "".join(rf"\\+u(?i:{units[at : at + 4]})" for at in range(0, len(units), 4))
        points = [f"&#(?:{ord(point)}|[xX]0*(?i:{ord(point):x}));" for point in text]
        patterns += [percent, json_units, "".join(points)]
    patterns += [rf"\\+{re.escape(character)}"] if character in '"\\/' else []
    patterns += [re.escape(escape(character))] if escape(character) != character else []
    patterns += [r"\+"] if character == " " else []
    return f"(?:{'|'.join(patterns)})"


def _long(ids: Collection[str]) -> list[str]:
    return [text for text in ids if len(text) >= SHORTEST_WORD]


def _short(ids: Collection[str]) -> list[str]:
    return [text for text in ids if len(text) < SHORTEST_WORD]


def _tokens_sql(text: str) -> str:
    """SQL for the list of all places in a text where an id may stand."""
    word, dotted, string = (token.replace("'", "''") for token in _TOKENS)
    return (
        f"list_concat(regexp_extract_all({text}, '{word}'), regexp_extract_all({text}, '{dotted}'),"
        f" regexp_extract_all({text}, '{string}', 1))"
    )


def _any_tombstone(connection: duckdb.DuckDBPyConnection) -> bool:
    return connection.execute("select 1 from raw.tombstones limit 1").fetchone() is not None
