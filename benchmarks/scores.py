"""Compares a scorecard with stronger and simpler models on the same rows: ``make bench-scores``.

The purchase log is that of CDNOW (see data/NOTICE.txt): everyone who first bought there in the first quarter of 1997,
followed until the end of June 1998. The question is, as of a date, who will buy again within 90 days. Features
know only purchases before the date. Models learn as of four dates whose 90 days have all passed by the date of the
test, and cross-validation among the learning rows alone chooses their parameters.

With ``ARGS="--home DIR"`` the same is done for every score trait of a home that has been refreshed, on the rows that
``traithouse learn`` fits to and tests on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from orchestration.home import Home, Settings
from orchestration.learning.quality import MOST_CALIBRATION_ERROR, Quality, measure_quality
from orchestration.learning.score_models import score_traits
from orchestration.learning.scorecard import fit_scorecard
from orchestration.learning.training_data import known_history, look_back
from orchestration.transform.dbt import Project

PURCHASES = Path(__file__).parent / "data" / "cdnow_purchases.txt.gz"
HORIZON_DAYS = 90
LEARNING_DATES = ("1997-10-01", "1997-11-01", "1997-12-01", "1998-01-01")
TEST_DATE = "1998-04-01"
SEED = 20240601
RECENCY = ("silent_days", "silence_in_gaps", "active_days_7d")  # the recency features that score traits have

console = Console(width=110)


def read_purchases(path: Path) -> pd.DataFrame:
    """One row a customer and day: customer_id, date, cds, dollars."""
    rows = pd.read_csv(path, sep=r"\s+", skiprows=1, names=["customer_id", "date", "cds", "dollars"], dtype=str)
    rows["date"] = pd.to_datetime(rows["date"], format="%Y%m%d")
    rows = rows.astype({"cds": int, "dollars": float})
    return rows.groupby(["customer_id", "date"], as_index=False).sum()


def features_as_of(purchases: pd.DataFrame, date: str) -> pd.DataFrame:
    """One row a customer who has bought before a date; all features are made of those purchases."""
    as_of = pd.Timestamp(date)
    known = purchases[purchases["date"] < as_of].copy()
    known["days_ago"] = (as_of - known["date"]).dt.days
    known["gap_days"] = known.groupby("customer_id")["date"].diff().dt.days
    of = known.groupby("customer_id")
    made = pd.DataFrame(
        {
            "days_since_last": of["days_ago"].min(),
            "days_since_first": of["days_ago"].max(),
            "purchase_days": of.size(),
            "purchase_days_30d": (known["days_ago"] <= 30).groupby(known["customer_id"]).sum(),
            "purchase_days_90d": (known["days_ago"] <= 90).groupby(known["customer_id"]).sum(),
            "purchase_days_180d": (known["days_ago"] <= 180).groupby(known["customer_id"]).sum(),
            "dollars": of["dollars"].sum(),
            "dollars_a_purchase": of["dollars"].mean().round(2),
            "cds": of["cds"].sum(),
            "usual_gap_days": of["gap_days"].median(),
        }
    )
    # How late a customer is, compared with the customer's usual gap: a month is long for some and short for others.
    made["silence_in_gaps"] = (made["days_since_last"] / made["usual_gap_days"].clip(lower=1)).round(2)
    made["active_span_share"] = (1 - made["days_since_last"] / made["days_since_first"]).round(3)
    return made.astype(float).sort_index()


def buys_within(purchases: pd.DataFrame, date: str, customers: pd.Index) -> np.ndarray:
    """1 for each customer who buys on the date or in the 89 days after it."""
    as_of = pd.Timestamp(date)
    until = as_of + pd.Timedelta(days=HORIZON_DAYS)
    buying = purchases.loc[(purchases["date"] >= as_of) & (purchases["date"] < until), "customer_id"]
    return customers.isin(buying).astype(float)


def compare(
    learn: pd.DataFrame,
    learned: np.ndarray,
    test: pd.DataFrame,
    tested: np.ndarray,
    *,
    groups: Sequence[object],
    test_groups: Sequence[object],
    recency: str,
) -> dict[str, Quality]:
    """Quality of every model on the same test rows.

    ``groups`` are the entities of the learning rows, ``test_groups`` those of the test rows, and ``recency`` is the
    feature that alone is one of the models.
    """
    folds = list(GroupKFold(n_splits=5).split(learn, learned, groups))

    def tuned(estimator: object, grid: Mapping[str, Sequence[object]]) -> Callable[[pd.DataFrame], np.ndarray]:
        search = GridSearchCV(estimator, grid, scoring="neg_log_loss", cv=folds).fit(learn, learned)
        return lambda rows: search.predict_proba(rows)[:, 1]

    card = fit_scorecard(learn, learned, groups)
    linear = make_pipeline(
        SimpleImputer(add_indicator=True),
        QuantileTransformer(n_quantiles=200, random_state=SEED),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
    plain = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), LogisticRegression(max_iter=1000))
    boosted = HistGradientBoostingClassifier(max_iter=150, random_state=SEED, early_stopping=False)
    penalties = {"logisticregression__C": [0.01, 0.1, 1.0, 10.0]}
    trees: dict[str, Sequence[object]] = {
        "max_leaf_nodes": [4, 8, 16],
        "learning_rate": [0.03, 0.1],
        "min_samples_leaf": [50, 200],
    }
    models = {
        "our scorecard": card.probability,
        f"{recency} alone": fit_scorecard(learn[[recency]], learned, groups).probability,
        "logistic regression": tuned(plain, penalties),
        "logistic regression on quantiles": tuned(linear, penalties),
        "gradient boosting": tuned(boosted, trees),
    }
    return {name: measure_quality(tested, model(test), test_groups) for name, model in models.items()}


def show(title: str, qualities: dict[str, Quality], most_below: float, most_error: float) -> bool:
    """A table of qualities; whether the goals are met."""
    first = next(iter(qualities.values()))
    table = Table(title=f"{title}: {first.rows} rows, {first.positives} positive", title_justify="left")
    for column in ("model", "AUC", "95% interval", "Brier", "calibration error", "top-decile lift"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, quality in qualities.items():
        table.add_row(
            name,
            f"{quality.auc:.4f}",
            f"{quality.auc_low:.3f} to {quality.auc_high:.3f}",
            f"{quality.brier:.4f}",
            f"{quality.calibration_error:.4f}",
            f"{quality.top_decile_lift:.2f}",
        )
    console.print(table)
    best = max(qualities, key=lambda name: qualities[name].auc)
    ours = qualities["our scorecard"]
    below = qualities[best].auc - ours.auc
    console.print(
        f"AUC below the best ({best}): {below:.4f} (goal: at most {most_below}); "
        f"calibration error: {ours.calibration_error:.4f} (goal: at most {most_error})"
    )
    return below <= most_below and ours.calibration_error <= most_error


def cdnow() -> bool:
    """Whether the goals are met on the purchase log."""
    purchases = read_purchases(PURCHASES)
    learning = {date: features_as_of(purchases, date) for date in LEARNING_DATES}
    learn = pd.concat(learning.values())
    learned = np.concatenate([buys_within(purchases, date, frame.index) for date, frame in learning.items()])
    test = features_as_of(purchases, TEST_DATE)
    tested = buys_within(purchases, TEST_DATE, test.index)
    qualities = compare(
        learn,
        learned,
        test,
        tested,
        groups=learn.index.tolist(),
        test_groups=test.index.tolist(),
        recency="days_since_last",
    )
    return show(f"CDNOW, who buys within {HORIZON_DAYS} days of {TEST_DATE}", qualities, 0.005, 0.03)


def project_in(home_folder: Path) -> bool:
    """Whether the goals are met for every score trait of a home; a trait that has too little past is left out."""
    home = Home(Settings(home=home_folder))
    project = Project(home)
    traits = score_traits(project)
    with home.lock("benchmark of scores"):
        data = look_back(project, traits, known_history(project), notify=console.log)
    good = []
    for trait in traits:
        fit, test = data[trait.name].fit, data[trait.name].test
        features = [name for name in fit.columns if name not in ("entity", "happened")]
        if not features or test["happened"].nunique() < 2:
            console.print(f"{trait.name}: too little past")
            continue
        qualities = compare(
            fit[features],
            fit["happened"].to_numpy(),
            test[features],
            test["happened"].to_numpy(),
            groups=fit["entity"].tolist(),
            test_groups=test["entity"].tolist(),
            recency=next(name for name in RECENCY if name in features),
        )
        good.append(show(f"{trait.name}, {trait.outcome.title}", qualities, 0.015, MOST_CALIBRATION_ERROR))
    return all(good)


def main() -> int:
    """Exit code 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="a home that has been refreshed")
    given = parser.parse_args()
    return int(not (project_in(given.home) if given.home else cdnow()))


if __name__ == "__main__":
    sys.exit(main())
