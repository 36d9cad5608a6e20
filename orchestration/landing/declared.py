"""Declarations of pulls: ``config.meta.pull`` of a dbt source table, read from the manifest and checked."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator, model_validator

from orchestration.declarations.base import Declaration
from orchestration.errors import UsageError
from orchestration.landing.contract import FIELDS
from orchestration.landing.loads import LandingTarget
from orchestration.landing.places import DatabaseTable, UnloadedTable

PLACES = ("parquet", "database", "postgres", "unload")
_ENVIRONMENT = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)(.*)", re.DOTALL)


class PullDeclaration(Declaration):
    """Where a table is pulled from: one of the first four. The other keys are for ``raw.events`` alone.

    Attributes:
        parquet: glob of files, relative to the project's folder, or in an object store (``s3://``, ``gs://``);
            ``env:NAME`` at its start is an environment variable.
        database: a table that is read again from its cursor on.
        postgres: the same by its earlier name.
        unload: a table of a warehouse that writes Parquet into an object store, which is read from there.
        map: field of the raw event contract -> column.
        timezone: time zone of times without an offset.
        source: name of the source, for events that name none.

    """

    parquet: str | None = Field(default=None, min_length=1)
    database: DatabaseTable | None = None
    postgres: DatabaseTable | None = None
    unload: UnloadedTable | None = None
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
            raise ValueError("it is not a time zone; write a name such as Europe/Berlin") from None
        return value

    @model_validator(mode="after")
    def _one_place(self) -> PullDeclaration:
        if sum(getattr(self, key) is not None for key in PLACES) != 1:
            raise ValueError("give one of parquet, database and unload")
        return self

    @property
    def rows(self) -> DatabaseTable | None:
        """The table or schema of a database, if that is the place."""
        return self.database or self.postgres

    @property
    def place(self) -> str:
        """The key that says where the rows are."""
        return next(key for key in PLACES if getattr(self, key) is not None)


@dataclass(frozen=True)
class Pull:
    """A declaration and the table that it fills.

    Attributes:
        source: ``raw`` (events of any source), or a vendor, whose schema is ``raw_<source>``.
        table: name of the source's table.
        file: YAML file that declares it.
        declared: what the declaration says.

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
    def target(self) -> LandingTarget:
        """Where the rows go: those of source ``raw`` as events, checked like those of ``load``; others unchanged."""
        if self.source == "raw":
            return LandingTarget(self.declared.source, None, self.declared.map, self.declared.timezone)
        return LandingTarget(self.source, self.table)

    def folder_glob(self, project: Path) -> str:
        """The glob of its Parquet files, absolute, or with the scheme of an object store.

        Raises:
            UsageError: the environment variable is not set.

        """
        if self.declared.unload:
            return f"{self.declared.unload.to.rstrip('/')}/**/*.parquet"
        text = str(self.declared.parquet)
        match = _ENVIRONMENT.fullmatch(text)
        if match:
            # The value of the variable is a path, not a pattern, whatever characters it has.
            text = glob.escape(environment(match[1], f"{self.where}: pull.parquet")) + match[2]
        return text if "://" in text else str(Path(glob.escape(str(project))) / Path(text).expanduser())


def environment(name: str, where: str) -> str:
    """An environment variable that must be set.

    Raises:
        UsageError: it is not set; the message has the variable's name, never a value.

    """
    value = os.environ.get(name, "")
    if not value:
        raise UsageError(f"{where}: the environment variable {name} is not set.", f"Set {name} and pull again.")
    return value


def declared_pulls(manifest: Mapping[str, Any]) -> list[Pull]:
    """Every table of a dbt source that declares ``config.meta.pull``, sorted by source and table.

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
            raise UsageError(f"{where}: pull: only raw schemas are filled.", "Set the source's schema to raw_<source>.")
        source = schema.removeprefix("raw_")
        if source == "raw" and table != "events":
            raise UsageError(
                f"{where}: pull: only table events of source raw can be pulled.",
                "Declare a source of its own for the table.",
            )
        if not all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in (source, table)):
            raise UsageError(
                f"{where}: pull: the name of the source or table cannot be used.",
                "Use lower case letters, digits and _, and begin with a letter.",
            )
        pull = Pull(source, table, node["original_file_path"], _parse(declared, where))
        if source == "raw" and pull.declared.rows and pull.declared.rows.schema_name:
            raise UsageError(f"{where}: pull.{pull.declared.place}.schema is for vendors' tables.", "Name a table.")
        if source != "raw" and pull.declared.model_fields_set - set(PLACES):
            field = min(pull.declared.model_fields_set - set(PLACES))
            raise UsageError(
                f"{where}: pull.{field} is for raw.events alone.", f"Remove {field}: a vendor's table lands as it is."
            )
        pulls.append(pull)
    return sorted(pulls, key=lambda pull: (pull.source, pull.table))


def _parse(declared: object, where: str) -> PullDeclaration:
    try:
        return PullDeclaration.model_validate(declared)
    except ValidationError as error:
        # A misspelt key makes two errors, an unknown key and a missing one; the unknown key says more.
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        key = ".".join(["pull", *(str(part) for part in first["loc"])])
        known = {"extra_forbidden": "it is not a key here", "missing": "it is missing"}
        problem = known.get(first["type"], first["msg"].removeprefix("Value error, "))
        raise UsageError(f"{where}: {key}: {problem}.", "See docs/sources.md for the keys of a pull.") from None
