"""The lookup, as the API reads it: opened read-only, and changed for the next one as soon as the pointer names it."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from orchestration.errors import DamagedFileError, TraithouseError
from orchestration.published.lookup_file import FORMAT, POINTER, LookupPointer, read_pointer

Value = bool | float | str


class Held(NamedTuple):
    """A trait of an entity: its value, since when (UTC, ISO 8601), score, reason, and the build that said it."""

    value: Value
    since: str
    score: float | None
    reason: str
    build_id: str


class Entity(NamedTuple):
    """What is published of an entity: its traits by name, and the purposes that it consented to, in lower case."""

    traits: dict[str, Held]
    purposes: frozenset[str]


class Lookup:
    """One opened file. Each method is one read.

    Raises:
        DamagedFileError: it cannot be read, or another version wrote it.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._connection = sqlite3.connect(
                f"file:{path}?mode=ro", uri=True, check_same_thread=False, isolation_level=None
            )
            self._connection.execute("pragma mmap_size = 1073741824")
            self._read_facts()
        except (sqlite3.Error, KeyError, ValueError) as error:
            raise DamagedFileError(
                f"The lookup {path.name} cannot be read: {error}.", "The next publish writes another."
            ) from None
        if self.facts.get("format") != str(FORMAT):
            raise DamagedFileError(
                f"The lookup {path.name} has format {self.facts.get('format')}; this version reads {FORMAT}.",
                "Serve with the version that publishes.",
            )

    def _read_facts(self) -> None:
        self.facts: dict[str, str] = dict(self._connection.execute("select name, value from meta"))
        # The catalogue, by trait.
        self.traits: dict[str, dict[str, Any]] = {
            trait: orjson.loads(row)
            for trait, row in self._connection.execute("select trait, row from traits order by 1")
        }
        # Changes where something of every answer does: a trait is withheld, served to others, has another grade.
        told = ("verdict", "grade", "serve", "default_value")
        self.catalogue_mark = hash(tuple((name, *(row[key] for key in told)) for name, row in self.traits.items()))
        self.data_version = self._data_version()

    def _data_version(self) -> int:
        return int(self._connection.execute("pragma data_version").fetchone()[0])

    def reread(self) -> bool:
        """Reads catalogue and facts again if another process has written to the file; returns whether it has."""
        if self._data_version() == self.data_version:
            return False
        self._read_facts()
        return True

    @property
    def build_id(self) -> str:
        """The build that is served."""
        return self.facts["build_id"]

    def entity(self, entity_type: str, entity_id: str) -> Entity | None:
        """What is published of an entity; nothing where nobody knows it."""
        row = self.entity_row(entity_type, entity_id)
        if row is None:
            return None
        held = {
            trait: Held(self.typed(trait, value), *rest)
            for trait, (value, *rest) in orjson.loads(row[0]).items()
            if trait in self.traits
        }
        return Entity(held, purposes_in(row[1]))

    def entity_row(self, entity_type: str, entity_id: str) -> tuple[str, str | None] | None:
        """The same as it is stored: traits as JSON, and consent."""
        found: tuple[str, str | None] | None = self._connection.execute(
            "select traits, consent from entities where entity_type = ? and entity_id = ?", (entity_type, entity_id)
        ).fetchone()
        return found

    def members(self, trait: str, value: str, after: str, limit: int) -> list[tuple[str, str | None]]:
        """Entities that have a value, with what they said of consent, in order of their ids, after an id."""
        return self._connection.execute(
            """
            select m.entity_id, e.consent
            from members as m
            left join entities as e on e.entity_type = ? and e.entity_id = m.entity_id
            where m.trait = ? and m.value = ? and m.entity_id > ? order by m.entity_id limit ?
            """,
            (self.traits[trait]["entity_type"], trait, value, after, limit),
        ).fetchall()

    def changes(self, after: int, limit: int) -> Iterator[dict[str, Any]]:
        """Rows of the ledger after a number, in its order, with ``consent``."""
        cursor = self._connection.execute(
            """
            select c.*, e.consent from changes as c
            left join entities as e on e.entity_type = c.entity_type and e.entity_id = c.entity_id
            where c.seq > ? order by c.seq limit ?
            """,
            (after, limit),
        )
        names = [column[0] for column in cursor.description]
        return (dict(zip(names, row, strict=True)) for row in cursor.fetchall())

    def typed(self, trait: str, value: str) -> Value:
        """A published value as its type: a number of a flag is never written without its point."""
        kind = self.traits[trait]["value_type"]
        if kind == "boolean":
            return value == "true"
        return float(value) if kind == "number" else value

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()


def purposes_in(consent: str | None) -> frozenset[str]:
    """Purposes that a text of consent names, in lower case, as syncs read it."""
    return frozenset(filter(None, re.split(r"[^A-Za-z0-9_.:-]+", (consent or "").lower())))


class Lookups:
    """The lookup that a folder serves now. ``current`` is for one thread: the server's loop.

    Args:
        folder: ``serving/`` of a home, or a replica's copy.
        changed: called after each change, in the thread that looked.

    """

    def __init__(self, folder: Path, changed: Callable[[], None] = lambda: None) -> None:
        self._folder, self._changed = folder, changed
        self._current: Lookup | None = None
        self._stamp: tuple[int, int] | None = None
        self._pointer: LookupPointer | None = None
        self._lock = threading.Lock()
        self.trouble = ""

    @property
    def current(self) -> Lookup:
        """What is served.

        Raises:
            TraithouseError: nothing is published yet, or it cannot be read.

        """
        if self._current is None:
            raise TraithouseError(
                self.trouble or "Nothing is published yet.", "traithouse refresh publishes, and the API follows."
            )
        return self._current

    def look(self) -> bool:
        """Opens what the pointer names, if that changed; a file that cannot be read leaves the last one in place."""
        with self._lock:
            changed = self._follow() or (self._current is not None and self._current.reread())
        if changed:
            self._changed()
        return changed

    def _follow(self) -> bool:
        try:
            status = (self._folder / POINTER).stat()
        except OSError:
            return False  # What was served goes on.
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp == self._stamp and not self.trouble:
            return False
        pointer = read_pointer(self._folder)
        if pointer is None:
            self.trouble = f"{POINTER} in {self._folder.name}/ cannot be read."
            return False
        if pointer == self._pointer:
            self._stamp, self.trouble = stamp, ""
            return False
        try:
            opened = Lookup(self._folder / pointer.file)
        except DamagedFileError as error:
            self.trouble = error.message
            return False
        last, self._current, self._pointer = self._current, opened, pointer
        self._stamp, self.trouble = stamp, ""
        if last is not None:
            last.close()
        return True
