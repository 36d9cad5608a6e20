"""Where learned scores are kept: tables of schema ``learning``, which the SQL of score traits reads.

A model is added, never changed. Only whether its definition is still the declared one is told anew before each refresh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import duckdb

from orchestration.declarations.catalog import Catalog, Trait
from orchestration.transform.dbt import Project


@dataclass(frozen=True)
class ScoreModel:
    """One row of ``learning.score_models`` (described in models/traits/_learning.yml), and the bins of the model."""

    trait: str
    definition_version: int
    as_of: datetime
    fitted_until: datetime
    fitted_rows: int
    fitted_positives: int
    base_rate: float | None
    tested_rows: int
    tested_positives: int
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    brier: float | None
    calibration_error: float | None
    top_decile_lift: float | None
    usable: bool
    reason: str

    @property
    def row(self) -> dict[str, Any]:
        """As it is stored: instants are text, which every engine reads alike."""
        return asdict(self) | {"as_of": str(self.as_of), "fitted_until": str(self.fitted_until)}


def score_traits(project: Project) -> list[Trait]:
    """Traits whose SQL reads learned points."""
    return [
        project.catalog.trait(node["name"])
        for node in sorted(project.manifest_dict["nodes"].values(), key=lambda node: str(node["name"]))
        if node["resource_type"] == "model"
        and any(parent.endswith(".learning.score_points") for parent in node["depends_on"]["nodes"])
    ]


def save_model(
    connection: duckdb.DuckDBPyConnection,
    model: ScoreModel,
    points: Sequence[Mapping[str, Any]],
    probabilities: Mapping[int, float],
) -> tuple[int, bool]:
    """Adds a model, unless it is the newest one again; gives its version and whether it is new.

    Args:
        connection: the warehouse.
        model: what was learned.
        points: feature, low, high, is_missing, points of every bin.
        probabilities: sum of points to probability.

    """
    newest = newest_model(connection, model.trait)
    if newest and {name: newest[name] for name in model.row} == model.row and newest["points"] == list(points):
        return int(newest["model_version"]), False
    version = int(newest["model_version"]) + 1 if newest else 1
    stored = model.row | {"model_version": version, "is_declared": True}
    connection.execute("begin")
    _insert(connection, "score_models", stored)
    for one in points:
        _insert(connection, "score_points", {"trait": model.trait, "model_version": version, **one})
    connection.execute(
        """
        insert into learning.score_probabilities
        select $1, $2, unnest($3::bigint[]), unnest($4::double[])
        """,
        [model.trait, version, list(probabilities), list(probabilities.values())],
    )
    connection.execute("commit")
    return version, True


def newest_model(connection: duckdb.DuckDBPyConnection, trait: str) -> dict[str, Any] | None:
    """Row of a trait's newest model, with its bins as ``points``."""
    found = _rows(
        connection,
        "select * from learning.score_models where trait = $1 order by model_version desc nulls last limit 1",
        [trait],
    )
    if not found:
        return None
    points = _rows(
        connection,
        """
        select feature, low, high, is_missing, points from learning.score_points
        where trait = $1 and model_version = $2 order by rowid
        """,
        [trait, found[0]["model_version"]],
    )
    return found[0] | {"points": points}


def mark_declared_models(connection: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    """A model of another version of a definition scores nobody: it was fitted to other features."""
    connection.execute(
        """
        update learning.score_models
        set is_declared = list_contains($declared, trait || ' ' || definition_version)
        where is_declared != list_contains($declared, trait || ' ' || definition_version)
        """,
        {"declared": [f"{trait.name} {trait.version}" for trait in catalog.traits]},
    )


def _insert(connection: duckdb.DuckDBPyConnection, table: str, row: Mapping[str, Any]) -> None:
    names = ", ".join(row)
    values = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    connection.execute(f"insert into learning.{table} ({names}) values ({values})", list(row.values()))


def _rows(connection: duckdb.DuckDBPyConnection, query: str, given: Sequence[Any]) -> list[dict[str, Any]]:
    result = connection.execute(query, list(given))
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
