"""Scorecards: points add up, SQL scores as Python does, noise is refused."""

import re
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from jinja2 import Environment
from scipy.special import expit

from orchestration.home import PROJECT_ROOT
from orchestration.learning.quality import MOST_CALIBRATION_ERROR, measure_quality
from orchestration.learning.scorecard import Scorecard, fit_scorecard


def sample(rows: int, seed: int, signal: float = 1.0) -> tuple[pd.DataFrame, np.ndarray]:
    """Counts, a skewed amount, a rhythm that is often unknown; the outcome follows them as far as the signal goes."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "days": random.integers(0, 29, rows).astype(float),
            "amount": np.round(random.exponential(20, rows), 2),
            "rhythm": np.where(random.random(rows) < 0.3, np.nan, np.round(random.gamma(2, 3, rows), 1)),
        }
    )
    log_odds = -0.5 + 0.12 * (14 - frame["days"]) + 0.05 * frame["rhythm"].fillna(-10) - 0.02 * frame["amount"]
    return frame, (random.random(rows) < expit(signal * log_odds)).astype(float)


@pytest.fixture(scope="module")
def card() -> Scorecard:
    return fit_scorecard(*sample(3000, seed=1))


def test_points_are_whole_and_add_up_and_every_sum_has_a_probability(card: Scorecard) -> None:
    frame, _ = sample(500, seed=2)
    points = card.points(frame)
    assert list(points.columns) == ["days", "amount", "rhythm"]
    assert all(isinstance(own.points, int) for own in card.bins)
    assert (points.sum(axis=1) == card.score(frame)).all()
    least = sum(min(own.points for own in card.bins if own.feature == name) for name in card.features)
    most = sum(max(own.points for own in card.bins if own.feature == name) for name in card.features)
    assert list(card.probabilities) == list(range(least, most + 1))


def test_probabilities_rise_with_the_points_and_have_three_decimals(card: Scorecard) -> None:
    probabilities = list(card.probabilities.values())
    assert probabilities == sorted(probabilities)
    assert all(0 < value < 1 and round(value, 3) == value for value in probabilities)


def test_bins_leave_no_gap_and_missing_has_its_own(card: Scorecard) -> None:
    for name in card.features:
        bins = [own for own in card.bins if own.feature == name]
        assert sum(own.is_missing for own in bins) == 1
        ranges = [own for own in bins if not own.is_missing]
        assert ranges[0].low is None and ranges[-1].high is None
        for own, following in pairwise(ranges):
            assert own.high == following.low
            assert own.points != following.points


def test_zero_points_are_what_the_average_row_has(card: Scorecard) -> None:
    frame, _ = sample(3000, seed=1)
    assert card.points(frame).mean().abs().max() < 0.5


def test_it_foretells_what_it_did_not_see_in_calibrated_probabilities(card: Scorecard) -> None:
    frame, happened = sample(4000, seed=3)
    quality = measure_quality(happened, card.probability(frame))
    assert quality.shortfall == ""
    assert quality.auc > 0.75
    assert quality.calibration_error < MOST_CALIBRATION_ERROR
    assert quality.top_decile_lift > 1.5


def test_points_are_finer_where_coarse_ones_would_cost_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.learning.scorecard.POINTS_TO_DOUBLE_ODDS", (1, 40))
    assert fit_scorecard(*sample(3000, seed=1)).points_to_double_odds == 40


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_refused(seed: int) -> None:
    frame, happened = sample(2000, seed, signal=0.0)
    card = fit_scorecard(frame[:1500], happened[:1500])
    quality = measure_quality(happened[1500:], card.probability(frame[1500:]))
    assert "AUC" in quality.shortfall


def test_wrong_probabilities_are_refused() -> None:
    frame, happened = sample(3000, seed=1)
    right = fit_scorecard(frame, happened).probability(frame)
    assert "off by" in measure_quality(happened, np.clip(right + 0.2, 0, 1)).shortfall


def test_same_frame_same_card(card: Scorecard) -> None:
    assert fit_scorecard(*sample(3000, seed=1)) == card


def test_a_feature_that_says_nothing_has_no_points() -> None:
    frame, happened = sample(1000, seed=4)
    card = fit_scorecard(frame.assign(always=1.0, never=np.nan), happened)
    assert {own.points for own in card.bins if own.feature in ("always", "never")} == {0}


def in_sql(card: Scorecard, frame: pd.DataFrame) -> list[int]:
    """Points as a score trait's model joins them, with the macro of the project."""
    source = re.sub(r"{#-.*?-#}", "", (PROJECT_ROOT / "macros" / "score.sql").read_text(), flags=re.S)
    (macro,) = re.findall(r"{% macro join_bin.*?endmacro %}", source, flags=re.S)
    join = Environment().from_string(macro).module.join_bin  # type: ignore[attr-defined]
    score_points = pd.DataFrame([vars(own) for own in card.bins]).astype({"low": float, "high": float})
    inputs = frame.rename_axis("number").reset_index()
    with duckdb.connect() as connection:
        connection.register("score_points_frame", score_points)
        connection.execute("create table score_points as select * from score_points_frame")
        connection.execute("update score_points set low = null where isnan(low)")
        connection.execute("update score_points set high = null where isnan(high)")
        connection.register("inputs_frame", inputs)
        columns = ", ".join(f"case when isnan({name}) then null else {name} end as {name}" for name in frame.columns)
        connection.execute(f"create table inputs as select number, {columns} from inputs_frame")
        total = " + ".join(f"{name}_bin.points" for name in card.features)
        joins = " ".join(join(name, "inputs") for name in card.features)
        return [row[0] for row in connection.execute(f"select {total} from inputs {joins} order by number").fetchall()]


@pytest.mark.parametrize("seed", range(3))
def test_sql_scores_as_python_does_also_at_the_edges(card: Scorecard, seed: int) -> None:
    frame, _ = sample(400, seed + 10)
    edges = pd.DataFrame(
        [
            {"days": value, "amount": value, "rhythm": value}
            for own in card.bins
            for edge in (own.low, own.high, None, 0.0, -1.0, 1e9)
            for value in ([np.nan] if edge is None else [edge, np.nextafter(edge, -np.inf), np.nextafter(edge, np.inf)])
        ]
    )
    both = pd.concat([frame, edges], ignore_index=True)
    assert in_sql(card, both) == card.score(both).tolist()


def test_the_bundled_purchases_come_with_their_licence() -> None:
    folder = Path(PROJECT_ROOT, "benchmarks", "data")
    assert "MIT License" in (folder / "LICENSE.txt").read_text()
    assert "cdnow_purchases.txt.gz" in (folder / "NOTICE.txt").read_text()
