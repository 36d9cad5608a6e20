"""The three files of the catalogue under seeds/: their columns, the rows they have, and rows added at their end."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestration.errors import UsageError
from orchestration.home import write_atomically


@dataclass(frozen=True)
class Seed:
    """A file of the catalogue.

    Attributes:
        path: relative to the project.
        columns: its header.
        grain: the columns that name a row.

    """

    path: Path
    columns: tuple[str, ...]
    grain: tuple[str, ...]

    def rows(self, project: Path) -> list[dict[str, str]]:
        """The rows of the file.

        Raises:
            UsageError: the file is not there or has other columns.

        """
        path = project / self.path
        if not path.is_file():
            raise UsageError(f"There is no {self.path}.", "The project needs this file: it is part of its catalogue.")
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != self.columns:
                raise UsageError(
                    f"{self.path} has other columns than expected.", f"Its columns have to be: {','.join(self.columns)}"
                )
            return [{column: row[column] or "" for column in self.columns} for row in reader]

    def key(self, row: dict[str, str]) -> tuple[str, ...]:
        """What names a row."""
        return tuple(row[column] for column in self.grain)

    def keys(self, project: Path) -> set[tuple[str, ...]]:
        """What names the rows that the file has."""
        return {self.key(row) for row in self.rows(project)}

    def csv(self, rows: Iterable[object], newline: str = "\n") -> str:
        """Rows ready to paste below the header; they are records with the columns as attributes."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator=newline)
        writer.writerows([getattr(row, column) for column in self.columns] for row in rows)
        return text.getvalue()

    def append(self, project: Path, rows: Sequence[object]) -> int:
        """Writes rows to the end of the file, once each, and returns how many were new.

        Raises:
            UsageError: the file is not there or has other columns.

        """
        known = self.keys(project)
        new = []
        for row in rows:
            key = tuple(str(getattr(row, column)) for column in self.grain)
            if key not in known:
                known.add(key)
                new.append(row)
        path = project / self.path
        with path.open(newline="", encoding="utf-8") as file:
            text = file.read()
        newline = "\r\n" if "\r\n" in text else "\n"
        if new:
            write_atomically(path, (text if text.endswith("\n") else text + newline) + self.csv(new, newline))
        return len(new)


EVENTS = Seed(
    Path("seeds") / "event_catalog.csv",
    ("source", "event_name", "property", "match", "pattern", "behaviour", "feature", "step", "outcome"),
    ("source", "event_name", "property", "pattern"),
)
ATTRIBUTES = Seed(
    Path("seeds") / "attribute_catalog.csv",
    ("entity_type", "property", "attribute"),
    ("entity_type", "property", "attribute"),
)
PLANS = Seed(Path("seeds") / "plan_catalog.csv", ("plan", "rank"), ("plan",))
