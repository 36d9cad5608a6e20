"""Where learned scores are stored: tables of schema ``learning``, which the SQL of score traits reads.

A model is added and never changed, but for one column: ``is_declared`` is set before each refresh, and says whether the
definition that the model was fitted to is still the declared one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.traits import Trait
from orchestration.published.rows import fetch_rows, insert_row
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
    """Traits that are decided by learned points."""
    return [trait for trait in project.catalog.traits if trait.scorecard]


class SavedModel(NamedTuple):
    """Version of a stored model, and whether it was added now."""

    version: int
    is_new: bool


def save_model(
    connection: duckdb.DuckDBPyConnection,
    model: ScoreModel,
    points: Sequence[Mapping[str, Any]],
    probabilities: Mapping[int, float],
) -> SavedModel:
    """Adds a model, unless it equals the newest one of its trait.

    Args:
        connection: the warehouse.
        model: what was learned.
        points: feature, low, high, is_missing, points of every bin.
        probabilities: sum of points to probability.

    """
    newest = newest_model(connection, model.trait)
    if newest and {name: newest[name] for name in model.row} == model.row and newest["points"] == list(points):
        return SavedModel(int(newest["model_version"]), is_new=False)
    version = int(newest["model_version"]) + 1 if newest else 1
    stored = model.row | {"model_version": version, "is_declared": True}
    connection.execute("begin")
    insert_row(connection, "learning.score_models", stored)
    for bin_points in points:
        row = {"trait": model.trait, "model_version": version, **bin_points}
        insert_row(connection, "learning.score_points", row)
    connection.execute(
        """
        insert into learning.score_probabilities (trait, model_version, points, probability)
        select $trait, $version, unnest($points::bigint[]), unnest($probabilities::double[])
        """,
        {
            "trait": model.trait,
            "version": version,
            "points": list(probabilities),
            "probabilities": list(probabilities.values()),
        },
    )
    connection.execute("commit")
    return SavedModel(version, is_new=True)


def newest_model(connection: duckdb.DuckDBPyConnection, trait: str) -> dict[str, Any] | None:
    """Row of a trait's newest model, with its bins as ``points``."""
    found = fetch_rows(
        connection,
        "select * from learning.score_models where trait = $trait order by model_version desc nulls last limit 1",
        {"trait": trait},
    )
    if not found:
        return None
    points = fetch_rows(
        connection,
        """
        select feature, low, high, is_missing, points from learning.score_points
        where trait = $trait and model_version = $version order by rowid
        """,
        {"trait": trait, "version": found[0]["model_version"]},
    )
    return found[0] | {"points": points}


def mark_declared_models(connection: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    """Marks the models of declared definitions; one of another version has other features, and is not used."""
    connection.execute(
        """
        update learning.score_models
        set is_declared = list_contains($declared, trait || ' ' || definition_version)
        where is_declared != list_contains($declared, trait || ' ' || definition_version)
        """,
        {"declared": [f"{trait.name} {trait.version}" for trait in catalog.traits]},
    )
