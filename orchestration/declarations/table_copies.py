"""Copies of published tables: ``config.meta.tables`` of the exposures in models/syncs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from orchestration.declarations.base import Declaration, name_and_description, parse, yaml_file
from orchestration.errors import UsageError

CopiedTable = Literal["user_traits", "account_traits", "trait_changes"]


class TableCopy(Declaration):
    """Published tables that a database holds, too, with the exposure's own name and description.

    Attributes:
        name: of the exposure.
        description: of the exposure.
        url_env: name of the environment variable that holds the database's address.
        into: schema there, which must exist; the database's own default when it is left out.
        tables: which; they have the same names there.
        population: ``identified`` leaves anonymous visitors out.
        file: not declared: the YAML file that declares it.

    """

    name: str
    description: str
    url_env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    into: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    tables: tuple[CopiedTable, ...] = Field(default=("user_traits", "account_traits", "trait_changes"), min_length=1)
    population: Literal["identified", "everyone"] = "identified"
    file: str = ""

    @property
    def where(self) -> str:
        """What an error begins with."""
        return f"{self.file}: tables of {self.name}" if self.file else f"tables of {self.name}"


def read_table_copies(manifest: Mapping[str, Any]) -> tuple[TableCopy, ...]:
    """Every copy of a manifest, in the order of names.

    Raises:
        UsageError: a declaration cannot be used.

    """
    copies = []
    for exposure in manifest["exposures"].values():
        meta = exposure["config"].get("meta", {})
        if "tables" not in meta:
            continue
        file = yaml_file(exposure)
        if "sync" in meta:
            raise UsageError(
                f"{file}: {exposure['name']} has both config.meta.sync and config.meta.tables.",
                "Declare an exposure for each.",
            )
        known = name_and_description(exposure) | {"file": file}
        copies.append(parse(TableCopy, meta["tables"] | known, f"{file}: tables of {exposure['name']}"))
    return tuple(sorted(copies, key=lambda copy: copy.name))
