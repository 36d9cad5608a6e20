"""Bounds beside the measures of a candidate."""

from typing import Any

import pytest

from orchestration.declarations.decisions import Column
from orchestration.declarations.traits import Trait
from orchestration.gates.candidate_bounds import Circumstances, with_bounds
from orchestration.gates.candidate_order import judged_in_order
from orchestration.published.history import PublishedPast

MEASURED: dict[str, Any] = {
    "population": 200,
    "members": 20,
    "flipped": 4,
    "vanished": 0,
    "vanished_groups": 0,
    "thresholds": 0,
    "unjudged": None,
    "due_population": 100,
    "scores": 200,
    "score_median": 3.0,
    "score_p95": 9.0,
    "published": 200,
    "nulls": 10,
    "old_nulls": 12,
    "scores_in_both": 180,
    "negative": 0,
    "old_negative": 0,
    "ranked_count": 180,
    "old_spread": True,
    "rank_agreement": 0.9,
    "new_squares": 121.0,
    "old_squares": 100.0,
    "products": 110.0,
    "new_total": 110.0,
    "old_total": 100.0,
}


def a_trait(**given: object) -> Trait:
    declared: dict[str, object] = {
        "name": "keen",
        "description": "A trait.",
        "title": "Keen",
        "entity": "user",
        "type": "boolean",
        "owner": "product",
        "version": 1,
        "score": "score",
        "rules": [{"rule": "any", "text": "Any."}],
        "outcome": {"title": "silence", "silence": True},
        "purpose": "A test.",
        "thresholds": (
            Column(name="eligible_count", type="bigint"),
            Column(name="enter_score", type="double", digits=2),
        ),
    }
    return Trait.model_validate(declared | given)


def bounded(given: dict[str, Any] | None = None, trait: Trait | None = None, **circumstances: Any) -> dict[str, Any]:
    row = {
        "past": PublishedPast(rows=200),
        "hours_allowed": 72.0,
        "hours_behind": 3.0,
        "thresholds": {"eligible_count": 100, "enter_score": 4.0},
        "published_thresholds": {"enter_score": (4.1,)},
    }
    return with_bounds(trait or a_trait(), MEASURED | (given or {}), Circumstances(**(row | circumstances)))


def holds(row: dict[str, Any], name: str) -> bool:
    """What Great Expectations will find: a measure or an end that is null is not compared."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    value = row.get(name)
    return value is None or ((low is None or value >= low) and (high is None or value <= high))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "score_factor"),
        ({"rank_agreement": 0.0}, "score_rank"),
        ({"rank_agreement": None}, "score_rank"),
        ({"negative": 180}, "score_sign"),
        ({"nulls": 105}, "score_nulls"),
        ({"nulls": 200}, "score_nulls"),
        ({"new_total": 200.0}, "score_total"),
        ({"due_population": 200}, "thresholds_population"),
        ({"vanished": 2}, "vanished"),
        ({"vanished_groups": 1}, "vanished_groups"),
        ({"flipped": 110}, "flips"),
        ({"population": 120}, "population"),
    ],
)
def test_what_is_unusual_lies_outside_its_bounds(given: dict[str, Any], name: str) -> None:
    assert not holds(bounded(given), name)


def test_scores_that_moved_by_factors_of_their_own_have_no_common_factor() -> None:
    assert bounded({"products": 105.0})["score_factor"] is None


def test_scores_that_fade_may_all_fall_by_their_half_life_and_no_further() -> None:
    fading, days = a_trait(half_life_days=7), {"past": PublishedPast(rows=200, days=1)}
    half_lives = {share: {"new_squares": 100 * share**2, "products": 100 * share} for share in (0.5 ** (1 / 7), 0.8)}
    assert [holds(bounded(given, fading, **days), "score_factor") for given in half_lives.values()] == [True, False]
    assert [holds(bounded(given, **days), "score_factor") for given in half_lives.values()] == [False, False]


def test_a_threshold_moves_by_a_little_and_by_what_it_has_moved_by_before() -> None:
    moved = {"thresholds": {"eligible_count": 100, "enter_score": 6.0}}
    assert holds(bounded(), "thresholds_move")
    assert not holds(bounded(**moved), "thresholds_move")
    assert holds(bounded(**moved, published_thresholds={"enter_score": (2.0, 4.1)}), "thresholds_move")


def test_scores_of_another_model_are_not_compared_with_those_published() -> None:
    row = bounded(
        {"rank_agreement": 0.0},
        thresholds={"model_version": 2},
        published_thresholds={"model_version": (1.0,)},
    )
    assert "score_rank" not in row
    assert "score_factor" not in row


def test_a_trait_is_judged_behind_those_that_it_is_made_of_and_compared_with() -> None:
    first = a_trait(name="a", contradicts=[{"trait": "b"}])
    second = a_trait(name="b", ancestors=["c"], upstream_traits=["c"])
    assert [trait.name for trait in judged_in_order([first, second, a_trait(name="c")])] == ["c", "b", "a"]
