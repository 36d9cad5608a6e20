"""What was expected of a candidate and found, in words for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestration.declarations.traits import Trait
from orchestration.gates.candidate_checks import HIGH, LOW, CandidateCheck
from orchestration.gates.interval import LEAST_HISTORY


def expected_words(check: CandidateCheck, trait: Trait, row: Mapping[str, Any]) -> str:
    """What a check expects of this trait, with its bounds."""
    text = check.expected.format(entity=trait.entity, id=trait.id_column, type=trait.type)
    if check.is_counted:
        return text
    if check.name == "population":
        high = row.get("population_high")
        return f"{row.get('population_low')} rows or more" + (f", {high} at most" if high else "")
    spans = [_span(row.get(column + LOW), row.get(column + HIGH)) for column in check.columns]
    known = ", ".join(span for span in spans if span)
    if not known and check.name == "prevalence":
        known = f"any, as there are fewer than {LEAST_HISTORY} publishes to compare with"
    return f"{text}: {known or 'nothing to compare with'}"


def observed_words(check: CandidateCheck, row: Mapping[str, Any]) -> str:
    """What was found."""
    if check.is_counted:
        return f"{row.get(check.name)} rows otherwise"
    found = [(column, row.get(column)) for column in check.columns]
    if check.name == "score_size":
        known = [f"{column.removeprefix('score_')} {value:.4g}" for column, value in found if value is not None]
        return ", ".join(known) or "no score but 0"
    value = found[0][1]
    if value is None:
        return "nothing to compare"
    moved = f" of what is usual, in {row['moved_threshold']}" if check.name == "thresholds_move" else ""
    return f"{value:.4g}{moved}" if isinstance(value, float) else f"{value}{moved}"


def _span(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if low is None or high is None:
        return f"{low:.4g} or more" if high is None else f"{high:.4g} or less"
    return f"{low:.4g} to {high:.4g}"
