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
    upstream = {trait.name: trait.upstream_traits for trait in project.catalog.traits if trait.upstream_traits}
    assert upstream == {"lifecycle_stage": {"activated", "at_risk", "dormant", "resurrected"}}


def test_every_placeholder_of_a_sentence_stands_in_the_evidence(project: Project) -> None:
    for declared in project.catalog.traits:
        sql = project.manifest_dict["nodes"][f"model.traithouse.{declared.name}"]["raw_code"]
        for rule in declared.sentences:
            assert f"'{rule}'" in sql, (declared.name, rule)
            for name in declared.placeholders(rule):
                assert f"'{name}':" in sql, (declared.name, rule, name)
