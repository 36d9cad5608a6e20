"""Where raw events already are: ``config.meta.pull`` of a dbt source table, read from the manifest and checked."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator, model_validator

from orchestration.declarations.base import Declaration
from orchestration.errors import UsageError
from orchestration.landing.contract import FIELDS
from orchestration.landing.loads import Destination

_OVERLAP = re.compile(r"(\d+) (second|minute|hour|day)s?")
_ENVIRONMENT = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)(.*)", re.DOTALL)


class PostgresTable(Declaration):
    """A table or view in Postgres, read from where the last pull ended.

    Attributes:
        dsn_env: environment variable with the connection string; the string itself is never declared.
        table: ``schema.table``.
        cursor: column that rises with new rows: a time, a date or a whole number.
        overlap: how far before the last cursor reading begins again, for rows that were committed late; an interval
            such as "1 hour", or a plain number for a cursor that is a number.

    """

    dsn_env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    table: str = Field(pattern=r"^[^.\"\s]+\.[^.\"\s]+$")
    cursor: str = Field(min_length=1)
    overlap: str = "1 hour"

    @field_validator("overlap", mode="before")
    @classmethod
    def _readable(cls, value: object) -> str:
        text = str(value).strip()
        if not (text.isdigit() or _OVERLAP.fullmatch(text)):
            raise ValueError("say it like '1 hour', '30 minutes', or a number for a cursor that is a number")
        return text

    @property
    def overlap_number(self) -> int | None:
        """The overlap of a cursor that is a number."""
        return int(self.overlap) if self.overlap.isdigit() else None

    @property
    def overlap_time(self) -> timedelta | None:
        """The overlap of a cursor that is a time."""
        match = _OVERLAP.fullmatch(self.overlap)
        return timedelta(**{f"{match[2]}s": int(match[1])}) if match else None


class PullDeclaration(Declaration):
    """One of ``parquet`` and ``postgres``; the rest only says how rows of ``raw.events`` are read.

    Attributes:
        parquet: glob of files, from the project's folder; ``env:NAME`` at its beginning is an environment variable.
        postgres: a table to follow.
        map: field of the raw event contract -> column.
        timezone: what a time without an offset is in.
        source: name of events that carry none.

    """

    parquet: str | None = Field(default=None, min_length=1)
    postgres: PostgresTable | None = None
    map: dict[str, str] = Field(default_factory=dict)
    timezone: str = "UTC"
    source: str = Field(default="generic", pattern=r"^[a-z][a-z0-9_]*$")

    @field_validator("map")
    @classmethod
    def _fields(cls, value: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(value) - set(FIELDS))
        if unknown:
            raise ValueError(f"{unknown[0]} is not a field of an event")
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("it is not a time zone") from None
        return value

    @model_validator(mode="after")
    def _one_of_both(self) -> PullDeclaration:
        if (self.parquet is None) == (self.postgres is None):
            raise ValueError("give either parquet or postgres")
        return self


@dataclass(frozen=True)
class Pull:
    """One declaration and the table that it fills.

    Attributes:
        source: ``raw`` (events of any source), or a vendor, whose schema is ``raw_<source>``.
        table: name of the source's table.
        file: YAML file that declares it.
        declared: what it says.

    """

    source: str
    table: str
    file: str
    declared: PullDeclaration

    @property
    def where(self) -> str:
        """File and table, for errors."""
        return f"{self.file}: table {self.landed_in}"

    @property
    def landed_in(self) -> str:
        """The table that is filled."""
        return "raw.events" if self.source == "raw" else f"raw_{self.source}.{self.table}"

    @property
    def destination(self) -> Destination:
        """Where the rows go: events of source ``raw`` through the same checks as ``load``, others unchanged."""
        if self.source == "raw":
            return Destination(self.declared.source, None, self.declared.map, self.declared.timezone)
        return Destination(self.source, self.table)

    def folder_glob(self, project: Path) -> str:
        """The glob of its Parquet files, absolute.

        Raises:
            UsageError: the environment variable is not set.

        """
        text = str(self.declared.parquet)
        match = _ENVIRONMENT.fullmatch(text)
        if match:
            # What the variable says is a path, whatever characters are in it.
            text = glob.escape(environment(match[1], f"{self.where}: pull.parquet")) + match[2]
        return str(Path(glob.escape(str(project))) / Path(text).expanduser())


def environment(name: str, where: str) -> str:
    """An environment variable that must be set.

    Raises:
        UsageError: it is not; told is its name, never a value.

    """
    value = os.environ.get(name, "")
    if not value:
        raise UsageError(f"{where}: the environment variable {name} is not set.", f"Set {name} and pull again.")
    return value


def declared_pulls(manifest: Mapping[str, Any]) -> list[Pull]:
    """Every table of a dbt source that declares ``config.meta.pull``, by name.

    Args:
        manifest: the dictionary form of dbt's manifest.json.

    Raises:
        UsageError: a declaration cannot be used; file, table and field are named.

    """
    pulls = []
    for node in manifest["sources"].values():
        declared = node["config"].get("meta", {}).get("pull")
        if declared is None:
            continue
        schema, table = node["schema"], node["identifier"]
        where = f"{node['original_file_path']}: table {schema}.{table}"
        if schema != "raw" and not schema.startswith("raw_"):
            raise UsageError(f"{where}: pull: only raw schemas are filled.", "Write `schema: raw_<source>`.")
        source = schema.removeprefix("raw_")
        if source == "raw" and table != "events":
            raise UsageError(f"{where}: pull: source raw has events alone.", "Declare a source of its own.")
        if not all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in (source, table)):
            raise UsageError(f"{where}: pull: it cannot be a name.", "Use lower case letters, digits and _.")
        pull = Pull(source, table, node["original_file_path"], _parse(declared, where))
        if source != "raw" and pull.declared.model_fields_set - {"parquet", "postgres"}:
            field = min(pull.declared.model_fields_set - {"parquet", "postgres"})
            raise UsageError(f"{where}: pull.{field} is for raw.events alone.", "A vendor's table lands as it is.")
        pulls.append(pull)
    return sorted(pulls, key=lambda pull: (pull.source, pull.table))


def _parse(declared: object, where: str) -> PullDeclaration:
    try:
        return PullDeclaration.model_validate(declared)
    except ValidationError as error:
        # A misspelt key is both unknown and missing; the unknown one tells more.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        key = ".".join(["pull", *(str(part) for part in first["loc"])])
        said = {"extra_forbidden": "it is not a key here", "missing": "it is missing"}
        what = said.get(first["type"], first["msg"].removeprefix("Value error, "))
        raise UsageError(f"{where}: {key}: {what}.", "README tells what a pull may declare.") from None
