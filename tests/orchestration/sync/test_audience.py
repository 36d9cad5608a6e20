"""Whom a sync sends, of a small snapshot."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Scope, Sync
from orchestration.errors import DamagedFileError, UsageError
from orchestration.home import Home
from orchestration.sync.audience import Audience, audience_hash, read_audience
from orchestration.sync.fields import read_fields
from tests.serving import catalog_of, serve

TRAITS = {"paying": "boolean", "score": "number", "stage": "category"}
VALUES = {
    "u1": {"paying": "true", "score": "1.5"},
    "u2": {"paying": "false", "stage": "new"},
    "u3": {"stage": "old"},
}
PEOPLE = {
    "u1": {"email": "a@x.org", "consent": "ads, product_mail"},
    "u2": {"email": "b@x.org", "consent": "ads"},
    "u3": {"consent": '["Product_Mail"]'},
}


def sync_of(**given: Any) -> Sync:
    declared = {"name": "crm", "description": "A test.", "destination": "file", "traits": "all"}
    return Sync.model_validate(declared | given)


def found(home: Home, sync: Sync, catalog: Catalog | None = None) -> Audience:
    return read_audience(home, catalog or catalog_of(TRAITS, sync), sync)


def who(found: Audience) -> dict[str, str]:
    return {identifier: wanted.entity_id for identifier, wanted in found.wanted.items()}


def why_skipped(found: Audience) -> dict[str, str]:
    return {entity: skipped.reason for entity, skipped in found.skipped.items()}


def test_everybody_with_a_value_of_one_of_the_traits_is_sent(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES)
    assert who(found(home, sync_of())) == {"u1": "u1", "u2": "u2", "u3": "u3"}
    assert who(found(home, sync_of(traits=("score",)))) == {"u1": "u1"}
    assert found(home, sync_of()).build_id.startswith("000001-")


def test_an_attribute_identifies_and_who_has_none_is_skipped(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, people=PEOPLE)
    made = found(home, sync_of(identifier="email"))
    assert who(made) == {"a@x.org": "u1", "b@x.org": "u2"}
    assert why_skipped(made) == {"u3": "no email"}


def test_the_lowest_id_keeps_an_identifier_that_several_have(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, people=PEOPLE | {"u2": {"email": "A@x.org "}, "u3": {"email": "a@X.org"}})
    made = found(home, sync_of(identifier="email"))
    assert who(made) == {"a@x.org": "u1"}
    assert why_skipped(made) == dict.fromkeys(("u2", "u3"), "identifier shared")
    assert made.skipped["u2"].detail == "its email is also that of u1"


def test_who_is_not_sent_keeps_nobody_from_an_identifier(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, people={user: {"email": "a@x.org"} for user in VALUES})
    made = found(home, sync_of(identifier="email", scope=Scope(trait="paying", value="false")))
    assert who(made) == {"a@x.org": "u2"}
    assert why_skipped(made) == dict.fromkeys(("u1", "u3"), "out of scope")


def test_only_those_whose_consent_names_the_purpose(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, people=PEOPLE)
    made = found(home, sync_of(purpose="product_mail"))
    assert set(made.wanted) == {"u1", "u3"}
    assert why_skipped(made) == {"u2": "no consent to product_mail"}
    # A part of a word is not the purpose.
    assert set(found(home, sync_of(purpose="mail")).wanted) == set()


def test_a_scope_may_be_a_trait_that_is_not_sent(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES)
    made = found(home, sync_of(traits=("stage",), scope=Scope(trait="paying", value="false")))
    assert set(made.wanted) == {"u2"}
    assert why_skipped(made) == {"u3": "out of scope"}


def test_a_trait_of_a_worse_grade_is_held_and_who_has_only_that_stays(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, grades={"paying": "A", "score": "B", "stage": "C"})
    made = found(home, sync_of(minimum_grade="B"))
    assert made.held == {"stage": "stability grade C, B is asked for"}
    assert set(made.wanted) == {"u1", "u2", "u3"}
    assert set(found(home, sync_of(minimum_grade="A")).held) == {"score", "stage"}
    serve(home, 2, VALUES, grades={"paying": "A"})
    assert found(home, sync_of(minimum_grade="C")).held["score"].startswith("stability grade not known yet")


def test_a_sync_of_which_every_trait_is_held_says_so(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, grades=dict.fromkeys(TRAITS, "C"))
    with pytest.raises(UsageError, match="no trait has the grade"):
        found(home, sync_of(minimum_grade="B"))


def test_the_source_follows_values_and_declaration_and_nothing_else(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, grades={"paying": "A", "score": "A", "stage": "C"})
    before = found(home, sync_of()).wanted
    serve(home, 2, VALUES | {"u2": {"paying": "true", "stage": "new"}}, grades={"stage": "C"})
    after = found(home, sync_of()).wanted
    assert [user for user in before if before[user].source != after[user].source] == ["u2"]
    renamed = found(home, sync_of(fields={"score": {"field": "points"}})).wanted
    assert all(after[user].source != renamed[user].source for user in after)
    # Values that change places do not look alike.
    serve(home, 3, {"u1": {"paying": "new", "stage": "true"}, "u2": {"paying": "true", "stage": "new"}})
    swapped = found(home, sync_of()).wanted
    assert swapped["u1"].source != swapped["u2"].source


def test_a_held_trait_is_no_part_of_the_source(home: Home) -> None:
    home.prepare()
    held = {"paying": "A", "score": "A", "stage": "C"}
    serve(home, 1, VALUES, grades=held)
    before = found(home, sync_of(minimum_grade="B")).wanted
    serve(home, 2, VALUES | {"u3": {"stage": "ancient"}}, grades=held)
    assert found(home, sync_of(minimum_grade="B")).wanted == before


def test_values_can_be_put_in_place_of_what_is_published(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES)
    sync = sync_of(traits=("paying",))
    made = read_audience(home, catalog_of(TRAITS, sync), sync, {"paying": {"u3": "true"}})
    assert set(made.wanted) == {"u3"}


def test_what_the_sync_needs_of_persons_has_to_have_been_read(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, people={"u1": {"email": "a@x.org"}})
    with pytest.raises(UsageError, match="consent of users has not been read"):
        found(home, sync_of(purpose="ads"))
    (home.serving / "current").unlink()
    with pytest.raises(DamagedFileError, match="current is missing"):
        found(home, sync_of())


def test_an_anonymous_visitor_is_sent_only_by_a_trait_of_everyone_and_with_its_values_alone(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, visitors=("u1", "u3"))
    sync = sync_of()
    made = found(home, sync)
    assert set(made.wanted) == {"u2"}
    assert why_skipped(made) == dict.fromkeys(("u1", "u3"), "anonymous visitor")
    catalog = catalog_of(TRAITS, sync, everyone=("stage",))
    asked = found(home, sync, catalog)
    assert set(asked.wanted) == {"u2", "u3"}
    assert why_skipped(asked) == {"u1": "anonymous visitor"}
    both = read_fields(asked.folder, sync, catalog.traits, ["u1", "u2", "u3"], {})
    assert {user: sorted(fields.values) for user, fields in both.items()} == {
        "u2": ["paying", "stage"],
        "u3": ["stage"],
    }


def test_traffic_of_anonymous_visitors_leaves_nothing_to_do(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES)
    sync = sync_of()
    catalog = catalog_of(TRAITS, sync)
    before = audience_hash(home, catalog, sync)
    serve(home, 2, VALUES | {"cookie": {"paying": "true"}}, visitors=("cookie",))
    assert audience_hash(home, catalog, sync) == before
    assert audience_hash(home, catalog_of(TRAITS, sync, everyone=("paying",)), sync) != before


def test_a_snapshot_that_does_not_say_who_is_anonymous_is_not_sent(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES)
    with duckdb.connect(str(home.serving / "current" / "traithouse.duckdb")) as connection:
        connection.execute("alter table traits.trait_values drop is_anonymous")
    with pytest.raises(UsageError, match="does not say who is an anonymous visitor"):
        found(home, sync_of())


def test_a_destination_that_takes_no_visitors_gets_none_even_by_a_trait_of_everyone(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, visitors=("u1", "u3"))
    sync = sync_of(destination="segment")
    asked = found(home, sync, catalog_of(TRAITS, sync, everyone=("stage",)))
    assert set(asked.wanted) == {"u2"}
