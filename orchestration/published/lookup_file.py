"""The lookup, which the API answers from: one SQLite file a build, and ``lookup.json``, which names the one that holds.

The file is named after its build; ``lookup.json`` is replaced in one step. Readers open the file with ``mode=ro``; it
is in WAL mode, so that a later transaction on it never blocks a reader. Tables:

- ``meta`` (grain: name): build_id, as_of and published_at (UTC, ISO 8601 with Z), newest_seq, oldest_seq, format.
- ``traits`` (grain: trait): the catalogue's row as JSON, with ``judged_as_of``, the clock of its last passing verdict.
- ``entities`` (grain: entity_type x entity_id): ``traits``, JSON of trait -> [value, since, score, reason, build_id],
  and ``consent``, the purposes as they were said, null where nobody was asked.
- ``members`` (grain: trait x value x entity_id): who has a value; false of a boolean trait is left out.
- ``changes`` (grain: seq): the newest rows of the ledger, but for backfilled ones. ``reason`` is that of the value
  where the change still holds.

Traits that are served to nobody (``serve: never``), identifiers, and anonymous visitors (unless the trait is of
everyone) are in none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from orchestration.home import read_json

POINTER, KEYS = "lookup.json", "keys.json"
FORMAT = 1

LOOKUP_TABLES = """
create table meta (name text primary key, value text) without rowid;
create table traits (trait text primary key, row text not null) without rowid;
create table entities (
    entity_type text, entity_id text, traits text not null, consent text, primary key (entity_type, entity_id)
) without rowid;
create table members (
    trait text, value text, entity_id text, primary key (trait, value, entity_id)
) without rowid;
create table changes (
    seq integer primary key, entity_type text, entity_id text, trait text, old_value text, new_value text, as_of text,
    build_id text, cause text, reason text
);
"""


class LookupPointer(NamedTuple):
    """What ``lookup.json`` says: the file's name, its SHA-256, its build, and when that was published."""

    file: str
    sha256: str
    build_id: str
    published_at: str


def read_pointer(folder: Path) -> LookupPointer | None:
    """What a folder says is served now; nothing where nothing has been published, or the pointer cannot be read."""
    return parse_pointer(read_json(folder / POINTER))


def parse_pointer(found: dict[str, object]) -> LookupPointer | None:
    """A pointer of its JSON; nothing where it is none. A file beside it, never elsewhere."""
    values = [found.get(name) for name in LookupPointer._fields]
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != len(values) or Path(texts[0]).name != texts[0]:
        return None
    return LookupPointer(*texts)
