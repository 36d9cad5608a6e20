"""Explanations: sentences of today, examples, and what is said of an entity that is not there."""

import pytest

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.serving.explain import examples, explain
from orchestration.transform.dbt import Project


def test_each_published_trait_of_an_entity_is_a_row_with_a_sentence(sample_home: Home, sample_project: Project) -> None:
    found = explain(sample_home, sample_project.catalog, "user_0000")
    assert [row["trait"] for row in found] == sorted(row["trait"] for row in found)
    assert {"at_risk", "dormant", "power_user"} <= {row["trait"] for row in found}
    for row in found:
        assert row["now"].endswith(".")
        assert row["evidence"]["rule"]
    [only] = explain(sample_home, sample_project.catalog, "user_0000", trait="dormant")
    assert only == next(row for row in found if row["trait"] == "dormant")


def test_examples_show_each_trait_half_of_them_with_it(sample_home: Home, sample_project: Project) -> None:
    found = examples(sample_home, sample_project.catalog, 4, trait="power_user")
    assert [row["value"] for row in found] == ["true", "true", "false", "false"]


def test_a_misspelt_entity_is_told_the_closest_names(sample_home: Home, sample_project: Project) -> None:
    with pytest.raises(UsageError) as error:
        explain(sample_home, sample_project.catalog, "user_000O")
    assert error.value.message == "There is no user user_000O among the published traits."
    assert error.value.hint.startswith("Did you mean user_000")


def test_an_entity_like_no_other_is_told_how_to_see_some(sample_home: Home, sample_project: Project) -> None:
    with pytest.raises(UsageError) as error:
        explain(sample_home, sample_project.catalog, "nobody")
    assert error.value.hint == "600 users have traits; traithouse explain --examples 3 shows some."


def test_a_trait_without_a_value_for_a_known_entity_is_named(sample_home: Home, sample_project: Project) -> None:
    with pytest.raises(UsageError, match="health is not published for user_0000"):
        explain(sample_home, sample_project.catalog, "user_0000", trait="health")


def test_before_the_first_publish_it_says_what_to_do(home: Home, project: Project) -> None:
    with pytest.raises(UsageError, match="Nothing is published yet") as error:
        explain(home, project.catalog, "user_0000")
    assert error.value.hint.startswith("traithouse refresh")
