"""Grades: steadiness and lift decide what a trait may be used for."""

from dataclasses import replace

import pytest

from orchestration.declarations.decisions import TraitRule
from orchestration.declarations.traits import Outcome, Trait
from orchestration.measurement.grades import Stability, graded
from orchestration.measurement.lift import RiskRatio

TRAIT = Trait(
    name="t",
    description="",
    title="T",
    entity="user",
    type="boolean",
    owner="somebody",
    version=2,
    score="1",
    rules=(TraitRule(rule="any", text="It holds."),),
    outcome=Outcome(title="silence", silence=True),
    purpose="",
)
STEADY = Stability(
    days=28,
    flip_rate=0.001,
    member_flip_rate=0.01,
    repeat_flip_share=0.0,
    median_dwell_days=20.0,
    prevalence_drift=1.0,
)


@pytest.mark.parametrize(
    ("stability", "lift", "grade"),
    [
        (STEADY, RiskRatio(1.2, 1.5, 1.9), "A"),
        (STEADY, None, "A"),
        (STEADY, RiskRatio(0.9, 1.5, 1.9), "B"),
        (STEADY, RiskRatio(0.7, 0.9, 1.2), "C"),
        (replace(STEADY, flip_rate=0.01), RiskRatio(1.2, 1.5, 1.9), "B"),
        (replace(STEADY, flip_rate=0.05), RiskRatio(1.2, 1.5, 1.9), "C"),
        (replace(STEADY, median_dwell_days=2), RiskRatio(1.2, 1.5, 1.9), "C"),
        (replace(STEADY, prevalence_drift=-7), RiskRatio(1.2, 1.5, 1.9), "B"),
        (replace(STEADY, days=13), RiskRatio(1.2, 1.5, 1.9), None),
    ],
)
def test_a_grade_asks_for_steadiness_and_worth(stability: Stability, lift: RiskRatio | None, grade: str | None) -> None:
    found, reason = graded(TRAIT, stability, lift)
    assert found == grade
    assert bool(reason) == (grade != "A")


def test_a_number_has_no_grade() -> None:
    assert graded(TRAIT.model_copy(update={"type": "number"}), STEADY, None)[0] is None
