"""Learns the scores of score traits from the home's own past, point in time, and tests them out of time.

orchestration/learning/training_data.py says which rows a score is fitted to and tested on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from typing import NamedTuple

import duckdb
import pandas as pd

from orchestration.declarations.traits import Trait
from orchestration.errors import UsageError
from orchestration.home import Notify, silent
from orchestration.learning.quality import measure_quality
from orchestration.learning.score_models import ScoreModel, newest_model, save_model, score_traits
from orchestration.learning.scorecard import LEAST_OF_EACH_TO_FIT, LEAST_OF_EACH_TO_TEST, Scorecard, fit_scorecard
from orchestration.learning.training_data import WARM_UP_DAYS, KnownHistory, TrainingData, known_history, look_back
from orchestration.transform.dbt import Project


@dataclass(frozen=True)
class Learned:
    """What was learned of a trait.

    Attributes:
        trait: the trait.
        model: numbers of fit and test.
        version: version of the stored model.
        is_new: whether the model was added now; learning the same again adds nothing.
        card: the points; None where too little has happened.

    """

    trait: Trait
    model: ScoreModel
    version: int
    is_new: bool
    card: Scorecard | None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            **self.model.row,
            "title": self.trait.title,
            "outcome": self.trait.outcome.title,
            "model_version": self.version,
            "is_new": self.is_new,
            "points": [asdict(score_bin) for score_bin in self.card.bins] if self.card else [],
        }


class Fitted(NamedTuple):
    """A model, and its points; None where too little has happened."""

    model: ScoreModel
    card: Scorecard | None


def learn(
    project: Project,
    *,
    traits: Sequence[str] = (),
    as_of: str | None = None,
    notify: Notify = silent,
) -> list[Learned]:
    """Learns score traits, all or those named, and stores a model of each; a model that fails its test is never used.

    Args:
        project: what is declared.
        traits: names.
        as_of: the clock, as for a refresh, but no later than the last build's, which is the default.
        notify: progress.

    Raises:
        TraithouseError: nothing has been built.
        UsageError: a trait has no score, or as_of cannot be used.

    """
    chosen = _chosen(project, traits)
    with project.home.lock("traithouse learn"):
        history = known_history(project, as_of)
        data = look_back(project, chosen, history, notify=notify)
        learned = []
        for trait in chosen:
            notify(f"learning {trait.name}")
            model, card = fit_and_test(trait, data[trait.name], history)
            points = [asdict(score_bin) for score_bin in card.bins] if card else []
            with project.home.connect() as connection:
                _only_forward(connection, trait, history.as_of)
                saved = save_model(connection, model, points, card.probabilities if card else {})
            learned.append(Learned(trait, model, version=saved.version, is_new=saved.is_new, card=card))
    return learned


def fit_and_test(trait: Trait, data: TrainingData, history: KnownHistory) -> Fitted:
    """A model of what past clocks showed: fitted to the older ones, tested on the newer ones."""
    fit, test = data.fit, data.test
    model = ScoreModel(
        trait=trait.name,
        definition_version=trait.version,
        as_of=history.as_of,
        fitted_until=history.as_of,
        fitted_rows=len(fit),
        fitted_positives=int(fit["happened"].sum()),
        base_rate=None,
        tested_rows=len(test),
        tested_positives=int(test["happened"].sum()),
        auc=None,
        auc_low=None,
        auc_high=None,
        brier=None,
        calibration_error=None,
        top_decile_lift=None,
        usable=False,
        reason="",
    )
    lacking = _lacking(trait, fit, test, history.first_date)
    if lacking:
        return Fitted(replace(model, reason=lacking), None)
    features = [name for name in fit.columns if name not in ("entity", "happened")]
    card = fit_scorecard(fit[features], fit["happened"].to_numpy(), fit["entity"].tolist())
    quality = measure_quality(test["happened"].to_numpy(), card.probability(test), test["entity"].tolist())
    tested = replace(
        model,
        fitted_until=min(data.test_clocks),
        base_rate=round(float(fit["happened"].mean()), 4),
        tested_rows=quality.rows,
        tested_positives=quality.positives,
        auc=quality.auc,
        auc_low=quality.auc_low,
        auc_high=quality.auc_high,
        brier=quality.brier,
        calibration_error=quality.calibration_error,
        top_decile_lift=quality.top_decile_lift,
        usable=not quality.shortfall,
        reason=quality.shortfall,
    )
    return Fitted(tested, card)


def _chosen(project: Project, names: Sequence[str]) -> list[Trait]:
    scored = score_traits(project)
    for name in names:
        if project.catalog.trait(name) not in scored:
            raise UsageError(
                f"{name} has no score to learn.",
                f"Traits with a score: {', '.join(trait.name for trait in scored) or 'none'}.",
            )
    return [trait for trait in scored if not names or trait.name in names]


def _only_forward(connection: duckdb.DuckDBPyConnection, trait: Trait, as_of: datetime) -> None:
    newest = newest_model(connection, trait.name)
    if newest and datetime.fromisoformat(newest["as_of"]) > as_of:
        raise UsageError(
            f"{trait.name} was learned as of {newest['as_of']} UTC, which is later.",
            "Name a later --as-of, or use another --home to look at the past.",
        )


def _lacking(trait: Trait, fit: pd.DataFrame, test: pd.DataFrame, first_date: date) -> str:
    """What is missing for a model, with numbers; empty when nothing is."""
    horizon = trait.outcome.days
    earliest = first_date + timedelta(days=WARM_UP_DAYS + 2 * horizon)
    if not len(fit) and not len(test):
        return (
            f"in the history since {first_date} nobody was eligible {horizon} days ago or longer; there must be"
            f" {LEAST_OF_EACH_TO_FIT} with {trait.outcome.title} and {LEAST_OF_EACH_TO_FIT} without, and it takes until"
            f" {earliest} at least to learn and to test"
        )
    for rows, least, what in (
        (fit, LEAST_OF_EACH_TO_FIT, "to learn from"),
        (test, LEAST_OF_EACH_TO_TEST, "to test on"),
    ):
        with_it = int(rows["happened"].sum())
        if min(with_it, len(rows) - with_it) < least:
            return (
                f"{what} there are {with_it} with {trait.outcome.title} and {len(rows) - with_it} without,"
                f" and there must be {least} of each; the history begins on {first_date} and it takes until"
                f" {earliest} at least to learn and to test"
            )
    return ""
