"""Numbers of a candidate that its verdict keeps: how many rows it has, and how large its scores are."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from orchestration.declarations.traits import Trait
from orchestration.published.rows import fetch_rows

# A score of 0 has no size.
_HAS_SIZE = "isfinite(score) and score != 0"
# SQL of two quantiles over a candidate. Each is the score of a row: a value between two rows may have a magnitude that
# no row has.
SIZE_QUANTILES = ", ".join(
    f"quantile_disc(abs(score), {share}) filter ({_HAS_SIZE}) as {name}"
    for name, share in (("median", 0.5), ("p95", 0.95))
)


@dataclass(frozen=True)
class ScoreSizes:
    """How large the scores are.

    Attributes:
        scores: rows whose score is not 0.
        median: median of their absolute scores; null when there is none.
        p95: 95th percentile of the same.

    """

    scores: int
    median: float | None
    p95: float | None

    @property
    def words(self) -> str:
        """For a person."""
        if self.median is None or self.p95 is None:
            return "no score but 0"
        return f"median {self.median:.4g}, p95 {self.p95:.4g}"


@dataclass(frozen=True)
class RowCounts:
    """Rows of a candidate; the meaning of each number is that of ``Verdict``."""

    population: int = 0
    eligible: int = 0
    members: int = 0


def measure_scores(connection: duckdb.DuckDBPyConnection, trait: Trait) -> ScoreSizes:
    """How large the scores of a trait's candidate are."""
    (row,) = fetch_rows(
        connection, f"select count(*) filter ({_HAS_SIZE}) as scores, {SIZE_QUANTILES} from {trait.candidate}"
    )
    return ScoreSizes(**row)


def count_rows(connection: duckdb.DuckDBPyConnection, trait: Trait) -> RowCounts:
    """How many rows a trait's candidate has; evidence that is no JSON makes nobody eligible."""
    is_member = "value" if trait.type == "boolean" else "value is not null"
    (row,) = fetch_rows(
        connection,
        f"""
        select
            count(*) as population,
            count(*) filter (
                case when json_valid(evidence) then json_extract_string(evidence, '$.eligible') = 'true' end
            ) as eligible,
            count(*) filter ({is_member}) as members
        from {trait.candidate}
        """,
    )
    return RowCounts(**row)
