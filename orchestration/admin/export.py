"""Everything that a home holds of a data subject, and all that was sent of it, in one file that a person can read.

The file is HTML when its name ends in .html, else JSON with the same parts:

- ``subject``: its ids, with all that was merged with them, and what else only this user is known by.
- ``traits``: each published value with its reason and since when; ``changes``: all earlier ones.
- ``sent``: for each sync, what its destination has, may have, or refused, under which identifier and since when.
- ``held``: rows of every table, by table; rows that are another's and mention the subject are counted in ``mentions``.
- ``files``: other files of the home that hold an id, backups among them.

It holds personal data: only its owner may read it, and it is never written into the home.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import duckdb

from orchestration.admin.erase_warehouse import ENTITY_COLUMNS, is_theirs
from orchestration.admin.erasure import ErasureScope, backups_in, is_handled, unknown_ids, with_delivered
from orchestration.admin.search_files import FileSearch, UnsearchableError
from orchestration.admin.subject import Subject, resolve
from orchestration.errors import UsageError
from orchestration.home import Home, Notify, silent, utc_now, write_atomically
from orchestration.landing.contract import RAW_TABLES
from orchestration.landing.mentions import mentioned, sql_pattern
from orchestration.published.rows import fetch_rows
from orchestration.sync.ledger import SyncLedger
from orchestration.transform.dbt import Project

# Numbers of people and devices; what they stand for is in identity_nodes.
_PERSON_KEYS = ("user_key", "node_key", "anonymous_key", "canonical_key", "from_key", "to_key")
# Of the views only these: all others repeat a table.
_VIEWS = ("user_features", "account_features", "user_traits", "account_traits")


def export_subject(
    project: Project, entity_id: str, entity_type: str = "user", *, notify: Notify = silent
) -> dict[str, Any]:
    """All that is held and was sent of a subject.

    Args:
        project: takes the lock of its home.
        entity_id: whom.
        entity_type: user or account.
        notify: progress.

    Raises:
        UsageError: nobody is known under this id, or it is a device that several users share.

    """
    home = project.home
    with home.lock("traithouse subject"):
        with home.connect() as connection:
            connection.execute(RAW_TABLES)
            subject = resolve(connection, entity_type, [entity_id], ErasureScope.of(project).identifiers)
            if unknown_ids(connection, [entity_id]):
                raise UsageError(f"There is no {entity_type} {entity_id} in this home.", "Check the id; case matters.")
            subject = with_delivered(home, subject)
            notify("reading tables")
            held, mentions = _held(connection, subject)
        notify("reading deliveries")
        sent = {name: records for name, records in _sent(home, subject).items() if records}
        notify("searching files")
        files = _files(home, subject)
    values = [row for row in held.pop("traits.trait_values", []) if row["entity_id"] in subject.ids]
    titles = {trait.name: trait.title for trait in project.catalog.traits}
    return {
        "exported_at": f"{utc_now().isoformat(timespec='seconds')}Z",
        "subject": {"type": entity_type, "ids": list(subject.ids), "identifiers": list(subject.identifiers)},
        "traits": [{"title": titles.get(row["trait"], row["trait"]), **row} for row in values],
        "changes": held.pop("traits.trait_changes", []),
        "sent": sent,
        "held": held,
        "mentions": mentions,
        "files": files,
    }


def write_export(home: Home, exported: dict[str, Any], path: Path) -> None:
    """Writes an export, for its owner alone to read.

    Raises:
        UsageError: the file would be in the home, or is there already.

    """
    path = path.expanduser().absolute()
    if path.resolve().is_relative_to(home.root.resolve()):
        raise UsageError(f"{path} is in the home, which holds the data already.", "Name a file outside the home.")
    if path.exists():
        raise UsageError(f"{path} is there already.", "Name another file, or delete it first.")
    content = (
        _page(exported) if path.suffix.lower() in (".html", ".htm") else json.dumps(exported, default=str, indent=1)
    )
    umask = os.umask(0o077)
    try:
        write_atomically(path, content)
    finally:
        os.umask(umask)


def _held(
    connection: duckdb.DuckDBPyConnection, subject: Subject
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, int]]:
    keys = _keys(connection, subject)
    held: dict[str, list[dict[str, Any]]] = {}
    mentions: dict[str, int] = {}
    relations = connection.execute(
        """
        select schema_name, table_name from duckdb_tables() where not internal and not temporary
        union all
        select schema_name, view_name from duckdb_views() where not internal and list_contains($views, view_name)
        order by all
        """,
        {"views": list(_VIEWS)},
    ).fetchall()
    for schema, table in relations:
        relation = f'"{schema}"."{table}"'
        columns = [(name, kind) for name, kind, *_ in connection.execute(f"describe {relation}").fetchall()]
        texts = [name for name, kind in columns if kind == "VARCHAR"]
        condition = is_theirs(schema, table, relation, texts, subject, connection)
        parts = [f"({condition.sql})"] if condition.sql else []
        given = dict(condition.given)
        numbers = [name for name, kind in columns if name in _PERSON_KEYS and kind == "BIGINT"]
        if keys and numbers and subject.entity_type == "user":
            parts += [f'list_contains($keys, "{name}")' for name in numbers]
            given["keys"] = keys
        theirs = " or ".join(f"coalesce({part}, false)" for part in parts) or "false"
        if rows := fetch_rows(connection, f"select * from {relation} where {theirs}", given):
            held[f"{schema}.{table}"] = rows
        named = {*ENTITY_COLUMNS["user"], *ENTITY_COLUMNS["account"], "event_id", "session_id", "id_hash"}
        for number, name in enumerate(name for name in texts if name not in named):
            if pattern := sql_pattern(mentioned(connection, relation, f'"{name}"', subject.texts)):
                others = f'not ({theirs}) and regexp_matches("{name}", $pattern{number})'
                found = connection.execute(
                    f"select count(*) from {relation} where {others}", given | {f"pattern{number}": pattern}
                ).fetchone()
                if found and found[0]:
                    mentions[f"{schema}.{table}.{name}"] = int(found[0])
    return held, mentions


def _keys(connection: duckdb.DuckDBPyConnection, subject: Subject) -> list[int]:
    """Numbers of the subject in the models."""
    exists = "select 1 from duckdb_tables() where schema_name = 'identity' and table_name = 'identity_nodes'"
    if connection.execute(exists).fetchone() is None:
        return []
    found = connection.execute(
        "select node_key from identity.identity_nodes"
        " where node_type in ('user', 'anonymous') and list_contains($ids, node_id)",
        {"ids": list(subject.ids)},
    ).fetchall()
    return [key for (key,) in found]


def _sent(home: Home, subject: Subject) -> dict[str, list[dict[str, Any]]]:
    """Sync, with its environment -> records of the subject, each with its state."""
    sent: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(home.root.glob("sync_ledger.*.sqlite")):
        environment = path.name.split(".")[1]
        with SyncLedger(home, path) as ledger:
            for row in ledger.records_of(subject.entity_type, subject.ids):
                sent.setdefault(f"{row.pop('sync')} ({environment})", []).append(row)
    return sent


def _files(home: Home, subject: Subject) -> dict[str, str]:
    """Other files of the home that hold an id, by path; a backup is named as a whole."""
    search = FileSearch(subject)
    found = {}
    for path in sorted(path for path in home.root.rglob("*") if path.is_file() and not path.is_symlink()):
        name = str(path.relative_to(home.root))
        if is_handled(home, path):
            continue
        try:
            if search.is_in_file(path) or search.is_in(f"/{name}".encode()):
                found[name] = "holds an id"
        except UnsearchableError as error:
            found[name] = f"not searched: {error}"
    for backup in backups_in(home):
        found[str(backup.relative_to(home.root))] = "a backup: what the home held when it was made"
    return found


def _page(exported: dict[str, Any]) -> str:
    """The export as a page, with a table for each part."""
    subject = exported["subject"]
    parts = [f"<h1>What is held of {escape(subject['type'])} {escape(subject['ids'][0])}</h1>"]
    parts.append(f"<p>Exported {escape(exported['exported_at'])}. All times are UTC.</p>")
    known = [*subject["ids"], *subject["identifiers"]]
    parts.append(f"<p>Known as: {', '.join(map(escape, known))}</p>")
    parts += _section("Traits", exported["traits"], ("title", "value", "reason", "since", "score"))
    parts += _section("Changes of traits", exported["changes"], ("as_of", "trait", "old_value", "new_value", "cause"))
    for sync, rows in exported["sent"].items():
        parts += _section(f"Sent by {sync}", rows)
    for table, rows in exported["held"].items():
        parts += _section(f"Table {table}", rows)
    mentions = [{"column": name, "rows": count} for name, count in exported["mentions"].items()]
    parts += _section("Rows of others that mention the subject (not shown)", mentions)
    files = [{"file": name, "why": why} for name, why in exported["files"].items()]
    parts += _section("Files of the home", files)
    style = (
        "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:4px}"
    )
    style += "td{max-width:40em;overflow-wrap:anywhere;vertical-align:top}h2{margin-top:2em}"
    head = f"<meta charset='utf-8'><title>What is held</title><style>{style}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>"


def _section(title: str, rows: Sequence[dict[str, Any]], columns: Iterable[str] = ()) -> list[str]:
    if not rows:
        return []
    names = list(columns) or list(rows[0])
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = ("".join(f"<td>{escape(_shown(row.get(name)))}</td>" for name in names) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return [f"<h2>{escape(title)} ({len(rows)})</h2><table><tr>{head}</tr>{body}</table>"]


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
