"""Whom a sync sends, of a small snapshot."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Scope, Sync
from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.sync.audience import Audience, audience, declaration_hash, people_names, typed
from tests.serving import catalog_of, serve, trait

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
    return audience(home, catalog or catalog_of(TRAITS, sync), sync)


def who(found: Audience) -> dict[str, str]:
    return {identifier: one.entity_id for identifier, one in found.wanted.items()}


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
    assert made.skipped == {"u3": "no email"}


def test_the_least_id_keeps_an_identifier_that_several_have(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, people=PEOPLE | {"u2": {"email": "A@x.org "}, "u3": {"email": "a@X.org"}})
    made = found(home, sync_of(identifier="email"))
    assert who(made) == {"a@x.org": "u1"}
    assert made.skipped == dict.fromkeys(("u2", "u3"), "email is that of u1, too")


def test_who_is_not_sent_keeps_nobody_from_an_identifier(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, people={one: {"email": "a@x.org"} for one in VALUES})
    made = found(home, sync_of(identifier="email", scope=Scope(trait="paying", value="false")))
    assert who(made) == {"a@x.org": "u2"}
    assert made.skipped == dict.fromkeys(("u1", "u3"), "out of scope")


def test_only_those_whose_consent_names_the_purpose(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, people=PEOPLE)
    made = found(home, sync_of(purpose="product_mail"))
    assert set(made.wanted) == {"u1", "u3"}
    assert made.skipped == {"u2": "no consent to product_mail"}
    # A part of a word is not the purpose.
    assert set(found(home, sync_of(purpose="mail")).wanted) == set()


def test_a_scope_may_be_a_trait_that_is_not_sent(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES)
    made = found(home, sync_of(traits=("stage",), scope=Scope(trait="paying", value="false")))
    assert set(made.wanted) == {"u2"}
    assert made.skipped == {"u3": "out of scope"}


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
    assert [one for one in before if before[one].source != after[one].source] == ["u2"]
    renamed = found(home, sync_of(fields={"score": {"field": "points"}})).wanted
    assert all(after[one].source != renamed[one].source for one in after)
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
    made = audience(home, catalog_of(TRAITS, sync), sync, {"paying": {"u3": "true"}})
    assert set(made.wanted) == {"u3"}


def test_what_the_sync_needs_of_persons_has_to_have_been_read(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, people={"u1": {"email": "a@x.org"}})
    with pytest.raises(UsageError, match="consent of users has not been read"):
        found(home, sync_of(purpose="ads"))
    with pytest.raises(UsageError, match="Nothing is published yet"):
        (home.serving / "current").unlink()
        found(home, sync_of())


def test_publishing_is_asked_for_what_declared_syncs_need() -> None:
    syncs = (sync_of(name="a", identifier="email"), sync_of(name="b", purpose="ads"), sync_of(name="c"))
    assert people_names(catalog_of(TRAITS, *syncs)) == [["user", "consent"], ["user", "email"]]
    assert people_names(catalog_of(TRAITS, syncs[2])) == []


def test_the_declaration_hash_knows_what_changes_fields() -> None:
    plain = sync_of()
    hashes = {
        declaration_hash(catalog_of(TRAITS, plain), one)
        for one in (
            plain,
            sync_of(fields={"score": {"cast": "string"}}),
            sync_of(fields={"score": {"cleared": 0}}),
            sync_of(identifier="email"),
            sync_of(traits=("score",)),
        )
    }
    assert len(hashes) == 5
    assert declaration_hash(catalog_of(TRAITS, plain), sync_of(schedule="0 5 * * *", budget=7)) in hashes


def test_text_becomes_the_type_that_is_asked_for() -> None:
    paying, score, stage = (trait(name, kind) for name, kind in TRAITS.items())
    assert [typed(paying, text, "boolean") for text in ("true", "false")] == [True, False]
    assert [typed(paying, "true", cast) for cast in ("string", "number")] == ["true", 1]
    assert [typed(score, "1.50", cast) for cast in ("number", "string")] == [1.5, "1.50"]
    assert typed(stage, "new", "string") == "new"
