"""Writes the lookup, which the API answers from, aside at each publish, and then lets its pointer name it."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

import duckdb

from orchestration.errors import TraithouseError
from orchestration.home import Home, write_atomically
from orchestration.published.contacts import CONSENT
from orchestration.published.file_hash import file_hash
from orchestration.published.lookup_file import FORMAT, LOOKUP_TABLES, POINTER, LookupPointer, read_pointer
from orchestration.published.rows import fetch_rows
from orchestration.published.served_copy import ServedCopy
from orchestration.published.tables import PUBLISHED_TABLES

KEPT_CHANGES = 500_000
# So many files stay beside the one that is served: a reader of another is about to notice.
_KEPT_FILES = 2
_BATCH = 50_000
_DRAFT = ".lookup-"


def has_lookup(home: Home, build_id: str, published_at: datetime) -> bool:
    """Whether the lookup of a build is there; a home of an earlier version has none."""
    pointer = read_pointer(home.serving)
    return (
        pointer is not None
        and (pointer.build_id, pointer.published_at) == (build_id, _written(published_at))
        and (home.serving / pointer.file).is_file()
    )


def write_lookup(home: Home, connection: duckdb.DuckDBPyConnection, build_id: str) -> Path:
    """Writes the lookup of what is published; a crash leaves the last one as it was.

    Args:
        home: where; hold its lock.
        connection: the warehouse.
        build_id: the build that was published last.

    """
    home.serving.mkdir(parents=True, exist_ok=True)
    for leftover in home.serving.glob(f"{_DRAFT}*"):
        leftover.unlink()
    draft = home.serving / f"{_DRAFT}{build_id}"
    try:
        with closing(sqlite3.connect(draft)) as lookup:
            # A draft that a crash cuts is thrown away.
            lookup.execute("pragma synchronous = off")
            lookup.execute("pragma journal_mode = off")
            lookup.executescript(LOOKUP_TABLES)
            published_at = _fill(lookup, connection, build_id)
            lookup.commit()
            lookup.execute("pragma journal_mode = wal")
        with draft.open("rb+") as written:
            os.fsync(written.fileno())
        # A build that is published again gets a new file: somebody reads the old one.
        names = chain([build_id], (f"{build_id}.{number}" for number in count(2)))
        targets = (home.serving / f"lookup-{name}.sqlite" for name in names)
        target = next(path for path in targets if not path.exists())
        pointer = LookupPointer(target.name, file_hash(draft), build_id, published_at)
        draft.rename(target)
    finally:
        for leftover in home.serving.glob(f"{draft.name}*"):
            leftover.unlink()
    write_atomically(home.serving / POINTER, json.dumps(pointer._asdict()))
    drop_old_lookups(home, _KEPT_FILES)
    copy_lookup(home)
    return target


def copy_lookup(home: Home) -> None:
    """Copies what is served to where replicas follow it (TRAITHOUSE_SERVE_TO); the next publish repairs a failure."""
    if home.settings.serve_to:
        trouble = None
        try:
            write_copy(home, kept=_KEPT_FILES)
        except TraithouseError as error:
            trouble = f"{error.message} {error.hint}"
        home.note(served_copy={**_copied(home), "trouble": trouble})


def write_copy(home: Home, *, kept: int) -> None:
    """The same, with so many lookups kept beside the one that is served.

    Raises:
        TraithouseError: the place cannot be reached.

    """
    pointer = read_pointer(home.serving)
    if home.settings.serve_to and pointer:
        ServedCopy(home.settings.serve_to, "TRAITHOUSE_SERVE_TO").write(home.serving, pointer, kept=kept)


def is_copy_behind(home: Home) -> bool:
    """Whether the place has another lookup, or the last copy failed."""
    return bool(home.settings.serve_to) and home.status().get("served_copy") != {**_copied(home), "trouble": None}


def lookup_problems(home: Home) -> list[str]:
    """What is wrong with what the API reads and with its copy, in words; call it where something is published."""
    pointer = read_pointer(home.serving)
    problems = []
    if pointer is None or not (home.serving / pointer.file).is_file():
        problems.append("The lookup that the API reads is missing; traithouse refresh writes it.")
    else:
        try:
            with closing(sqlite3.connect(f"file:{home.serving / pointer.file}?mode=ro", uri=True)) as lookup:
                is_whole = lookup.execute("pragma quick_check(1)").fetchone() == ("ok",)
        except sqlite3.Error:
            is_whole = False
        if not is_whole:
            problems.append(
                f"{home.serving / pointer.file} is damaged: delete it, and traithouse refresh writes another."
            )
    if trouble := (home.status().get("served_copy") or {}).get("trouble"):
        problems.append(trouble)
    return problems


def _copied(home: Home) -> dict[str, str]:
    pointer = read_pointer(home.serving)
    return {"to": home.settings.serve_to, "file": pointer.file if pointer else ""}


def rewrite_lookup(home: Home) -> None:
    """Writes the lookup of what the warehouse holds now, and deletes all others; none where nothing is published."""
    with home.connect() as connection:
        # A warehouse of an earlier version lacks some of the tables.
        connection.execute(PUBLISHED_TABLES)
        newest = connection.execute("select max(build_id) from traits.builds").fetchone()
        if newest and newest[0]:
            write_lookup(home, connection, newest[0])
        else:
            (home.serving / POINTER).unlink(missing_ok=True)
    drop_old_lookups(home)


def drop_old_lookups(home: Home, kept: int = 0) -> None:
    """Deletes lookups but the one that is served and so many before it; a reader of a deleted one is not disturbed."""
    pointer = read_pointer(home.serving)
    found = [path for path in home.serving.glob("lookup-*.sqlite") if pointer is None or path.name != pointer.file]
    found.sort(key=lambda path: path.stat().st_mtime_ns)
    for old in found[: max(0, len(found) - kept)]:
        for part in home.serving.glob(f"{old.name}*"):
            part.unlink()


def _fill(lookup: sqlite3.Connection, connection: duckdb.DuckDBPyConnection, build_id: str) -> str:
    """Fills the tables; returns when the build was published."""
    connection.execute(
        """
        create or replace temp table served_values as
        select v.*
        from traits.trait_values as v
        join traits.trait_catalog as c on v.trait = c.trait
        where coalesce(c.serve, 'server') != 'never' and (v.is_anonymous is not true or c.everyone)
        """
    )
    # Between forgetting and the rebuild there are no attributes, so nobody has consented to anything.
    exists = "select 1 from duckdb_columns() where schema_name = 'identity' and table_name = 'attributes'"
    source = "identity.attributes" if connection.execute(exists).fetchone() else "(from _no_attributes)"
    connection.execute(
        f"""
        create or replace temp table _no_attributes (
            entity_type varchar, entity_id varchar, attribute varchar, value varchar, valid_to timestamp
        );
        create or replace temp table served_consents as
        select entity_type, entity_id, min(value) as consent
        from {source} where attribute = '{CONSENT}' and valid_to is null group by all
        """
    )
    as_of, published_at = connection.execute(
        "select as_of, published_at from traits.builds where build_id = $1", [build_id]
    ).fetchone() or (None, None)
    oldest, newest = connection.execute(
        """
        select coalesce(min(seq), 0), coalesce(max(seq), 0) from (
            select seq from traits.trait_changes where seq > 0 order by seq desc limit $1
        )
        """,
        [KEPT_CHANGES],
    ).fetchone() or (0, 0)
    facts = {
        "build_id": build_id,
        "as_of": _written(as_of),
        "published_at": _written(published_at),
        "oldest_seq": oldest,
        "newest_seq": newest,
        "format": FORMAT,
    }
    lookup.executemany("insert into meta values (?, ?)", [(key, str(value)) for key, value in facts.items()])
    for row in fetch_rows(connection, _CATALOG):
        told = {name: _written(value) if isinstance(value, datetime) else value for name, value in row.items()}
        lookup.execute("insert into traits values (?, ?)", [row["trait"], json.dumps(told)])
    _copy(lookup, connection, "entities", _ENTITIES, [])
    _copy(lookup, connection, "members", _MEMBERS, [])
    _copy(lookup, connection, "changes", _CHANGES, [oldest])
    connection.execute("drop table served_values; drop table served_consents; drop table _no_attributes")
    return _written(published_at)


def _written(instant: datetime | None) -> str:
    return f"{instant.isoformat()}Z" if instant else ""


_TIME = "'%Y-%m-%dT%H:%M:%SZ'"
_CATALOG = """
    select
        c.* replace (
            coalesce(c.serve, 'server') as serve,
            -- A home of an earlier version has none until its trait is judged again.
            coalesce(c.default_value, case c.value_type when 'boolean' then 'false' when 'number' then '0' else '' end)
                as default_value
        ),
        coalesce(p.as_of, v.as_of) as judged_as_of
    from traits.trait_catalog as c
    -- A trait that was never published has nothing to serve.
    join (select trait, max(as_of) as as_of from served_values group by trait) as v on c.trait = v.trait
    left join (
        select trait, max(as_of) as as_of from traits.gate_verdicts where verdict = 'passed' group by trait
    ) as p on c.trait = p.trait
    order by c.trait
"""
_ENTITIES = f"""
    with valued as (
        select
            entity_type, entity_id,
            concat(
                '{{',
                string_agg(
                    concat(
                        to_json(trait)::varchar, ':',
                        json_array(value, strftime(since, {_TIME}), score, reason, build_id)::varchar
                    ),
                    ',' order by trait
                ),
                '}}'
            ) as traits
        from served_values
        group by entity_type, entity_id
    )
    select v.entity_type, v.entity_id, v.traits, c.consent
    from valued as v
    left join served_consents as c on v.entity_type = c.entity_type and v.entity_id = c.entity_id
    order by v.entity_type, v.entity_id
"""
_MEMBERS = "select trait, value, entity_id from served_values where value != 'false' order by all"
_CHANGES = f"""
    select
        c.seq, c.entity_type, c.entity_id, c.trait, c.old_value, c.new_value, strftime(c.as_of, {_TIME}), c.build_id,
        c.cause, v.reason
    from traits.trait_changes as c
    left join served_values as v
        on
            c.entity_type = v.entity_type and c.entity_id = v.entity_id and c.trait = v.trait
            and c.build_id = v.build_id and c.new_value = v.value
    join traits.trait_catalog as t on c.trait = t.trait
    where
        c.seq >= greatest($1, 1)
        -- A backfill writes history: nothing to act on.
        and c.cause is distinct from 'backfill'
        and coalesce(t.serve, 'server') != 'never' and (c.is_anonymous is not true or t.everyone)
    order by c.seq
"""


def _copy(
    lookup: sqlite3.Connection, connection: duckdb.DuckDBPyConnection, table: str, query: str, given: list[Any]
) -> None:
    cursor = connection.execute(query, given)
    marks = ", ".join("?" for _ in cursor.description or ())
    while rows := cursor.fetchmany(_BATCH):
        lookup.executemany(f"insert into {table} values ({marks})", rows)
