"""Places in databases and warehouses, as ``config.meta.pull`` of a source table declares them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator, model_validator

from orchestration.declarations.base import Declaration

_OVERLAP = re.compile(r"(\d+) (second|minute|hour|day)s?")
_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"


class CursorTable(Declaration):
    """A table that is read from where the last pull ended.

    Attributes:
        cursor: column that rises with new rows: a time, a date or a whole number.
        overlap: how far before the last cursor the next pull starts, for rows that were committed late: an interval
            such as "1 hour", or a plain number for a cursor that is a number.

    """

    cursor: str = Field(min_length=1)
    overlap: str = "1 hour"

    @field_validator("overlap", mode="before")
    @classmethod
    def _readable(cls, value: object) -> str:
        text = str(value).strip()
        if not (text.isdigit() or _OVERLAP.fullmatch(text)):
            raise ValueError(
                "write an interval such as '1 hour' or '30 minutes', or a number for a cursor that is a number"
            )
        return text

    @property
    def overlap_number(self) -> int | None:
        """The overlap, if the cursor is a number."""
        return int(self.overlap) if self.overlap.isdigit() else None

    @property
    def overlap_time(self) -> timedelta | None:
        """The overlap, if the cursor is a time."""
        match = _OVERLAP.fullmatch(self.overlap)
        return timedelta(**{f"{match[2]}s": int(match[1])}) if match else None


class DatabaseTable(CursorTable):
    """A table or view in a database, or each of a schema, which is read from where the last pull ended.

    Attributes:
        url_env: name of the environment variable that holds the address: SQLAlchemy's URL, or Postgres's own string.
            The address itself is never declared.
        dsn_env: the same by its earlier name.
        table: ``schema.table``; a table alone is one of the schema or database that the address opens.
        schema_name: ``schema`` instead of a table: a table of the source reads the table of its name there, and
            Segment's ``track_properties`` those of all events.

    """

    url_env: str | None = Field(default=None, pattern=_NAME)
    dsn_env: str | None = Field(default=None, pattern=_NAME)
    table: str = Field(default="", pattern=r"^[^.\"\s]+(\.[^.\"\s]+){0,2}$")
    schema_name: str | None = Field(default=None, alias="schema", pattern=r"^[^.\"\s]+(\.[^.\"\s]+)?$")

    @model_validator(mode="after")
    def _one_address_and_place(self) -> DatabaseTable:
        if (self.url_env is None) == (self.dsn_env is None):
            raise ValueError("give url_env, the environment variable that holds the address")
        if bool(self.table) == bool(self.schema_name):
            raise ValueError("give either table or schema")
        return self

    @property
    def address_env(self) -> tuple[str, str]:
        """The environment variable that holds the address, and the field that names it."""
        return (self.url_env, "url_env") if self.url_env else (str(self.dsn_env), "dsn_env")


class UnloadedTable(CursorTable):
    """A table of a warehouse that is not read in place: it writes new rows as Parquet into an object store.

    Attributes:
        engine: whose statement is printed.
        table: as the warehouse names it, with its schema, dataset or catalog.
        cursor: a column of type TIMESTAMP (Redshift: in UTC), or of whole numbers.
        to: the prefix in the object store, for example ``s3://bucket/tracks``.

    """

    engine: Literal["bigquery", "redshift", "databricks"]
    table: str = Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){0,2}$")
    cursor: str = Field(pattern=_NAME)
    to: str = Field(pattern=r"^(s3|gs|abfss)://[A-Za-z0-9._@/=-]+$")
