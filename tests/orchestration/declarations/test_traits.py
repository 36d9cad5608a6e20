"""Declarations of traits are checked, and errors name file, entry and key."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestration.errors import UsageError
from orchestration.transform.dbt import Project

Declared = dict[str, Any]
Refused = Callable[[], UsageError]
AT_RISK = "models/traits/users/at_risk.yml: trait at_risk"


def test_a_misspelt_key_is_named_with_the_right_one(trait: Declared, refused: Refused) -> None:
    trait["ownr"] = trait.pop("owner")
    error = refused()
    assert (error.message, error.hint) == (f"{AT_RISK}: unknown key 'ownr'.", "Did you mean 'owner'?")


def test_an_unknown_key_suggests_the_close_one(trait: Declared, refused: Refused) -> None:
    trait["titel"] = "x"
    error = refused()
    assert (error.message, error.hint) == (f"{AT_RISK}: unknown key 'titel'.", "Did you mean 'title'?")


def test_a_model_in_the_traits_folder_must_be_declared(manifest: Declared, refused: Refused) -> None:
    del manifest["nodes"]["model.traithouse.at_risk"]["config"]["meta"]["trait"]
    assert refused().message == f"{AT_RISK} has no config.meta.trait."


@pytest.mark.parametrize("key", ["needs", "outcome.behaviours"])
def test_a_behaviour_outside_the_vocabulary_is_refused_with_its_key(
    trait: Declared, refused: Refused, key: str
) -> None:
    if key == "needs":
        trait["needs"] = ["pricng"]
    else:
        trait["outcome"] = {"title": "x", "behaviours": ["pricng"]}
    error = refused()
    assert error.message == f"{AT_RISK}: {key}: 'pricng' is not a behaviour."
    assert error.hint == "Did you mean 'pricing'?"


@pytest.mark.parametrize("outcome", [{}, {"behaviours": ["pricing"], "silence": True}])
def test_an_outcome_is_behaviours_or_silence(trait: Declared, refused: Refused, outcome: Declared) -> None:
    trait["outcome"] = {"title": "x", **outcome}
    assert "outcome: it is either behaviours or silence" in refused().message


def test_the_outcome_of_a_category_names_its_value_and_no_other_does(trait: Declared, refused: Refused) -> None:
    trait["outcome"] |= {"value": "new"}
    assert refused().message == f"{AT_RISK}: outcome.value is for categories only."
    trait["type"] = "category"
    del trait["outcome"]["value"]
    assert refused().message == f"{AT_RISK}: outcome.value is missing."


def test_a_trait_knows_its_upstream_traits(project: Project) -> None:
    upstream = {trait.name: trait.ancestors for trait in project.catalog.traits if trait.ancestors}
    assert upstream == {"lifecycle_stage": {"activated", "at_risk", "dormant", "resurrected"}}


def test_a_trait_knows_the_features_and_thresholds_that_it_names(project: Project) -> None:
    power_user = project.catalog.trait("power_user")
    assert [column.name for column in power_user.features] == ["is_cancelled", "active_days_28d", "core_value_28d"]
    assert [column.name for column in power_user.thresholds] == ["trait", "eligible_count", "enter_score", "exit_score"]
    assert project.catalog.trait("dormant").thresholds == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"when": "last_pricing_at is null"}, "last_pricing_at is a timestamp, which a trait cannot decide from."),
        ({"text": "Silent for {days}."}, "rules: the text of 'cancelled' quotes 'days', which is not in the evidence."),
        ({"value": "churned"}, "rules: the value of 'cancelled' is not a boolean."),
        ({"rule": "dormant"}, "rules: a name is taken twice, or reserved."),
        ({"rule": "not_observed"}, "rules: a name is taken twice, or reserved."),
        ({"when": ""}, "rules: 'cancelled' has no `when`, and others follow."),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(
    trait: Declared, refused: Refused, change: Declared, message: str
) -> None:
    trait["rules"][1] |= change
    assert refused().message == f"{AT_RISK}: {message}"


def test_the_last_rule_holds_for_all_the_others(trait: Declared, refused: Refused) -> None:
    trait["rules"][-1]["when"] = "silent_days = 0"
    assert "the last one has a `when`" in refused().message


def test_thresholds_need_a_rule_for_too_few(trait: Declared, refused: Refused) -> None:
    trait["rules"][0]["rule"] = "too_few"
    trait["rules"][2]["when"] = "population_gap_days > 3"
    assert "none is named 'not_enough_evidence'" in refused().message


def test_a_derived_value_has_a_name_of_its_own(trait: Declared, refused: Refused) -> None:
    trait["derived"]["silent_days"] = "7"
    assert refused().message == f"{AT_RISK}: derived: 'silent_days' is the name of something else."


def test_an_upstream_trait_that_was_not_judged_has_a_rule(manifest: Declared, refused: Refused) -> None:
    stage = manifest["nodes"]["model.traithouse.lifecycle_stage"]["config"]["meta"]["trait"]
    stage["rules"] = [rule for rule in stage["rules"] if rule["rule"] != "unknown"]
    assert "none says what holds where 'activated' was not judged" in refused().message


@pytest.mark.parametrize(
    ("contradicts", "message"),
    [
        ([{"trait": "dormnt"}], "contradicts: 'dormnt' is not a trait."),
        ([{"trait": "health"}], "contradicts: 'health' describes another entity."),
        ([{"trait": "power_user"}], "contradicts: it comes back to the trait itself."),
    ],
)
def test_contradictions_are_pairs_in_one_order(
    trait: Declared, manifest: Declared, refused: Refused, contradicts: list[Declared], message: str
) -> None:
    manifest["nodes"]["model.traithouse.power_user"]["config"]["meta"]["trait"]["contradicts"] = [{"trait": "at_risk"}]
    trait["contradicts"] = contradicts
    assert message in refused().message
