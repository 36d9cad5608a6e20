"""What becomes of published values at a destination."""

from __future__ import annotations

from typing import Any

from orchestration.declarations.syncs import Sync
from orchestration.home import Home
from orchestration.sync.fields import EntityFields, declaration_hash, read_fields, typed_value
from tests.serving import SINCE, catalog_of, serve, trait

TRAITS = {"paying": "boolean", "score": "number", "stage": "category"}


def sync_of(**given: Any) -> Sync:
    declared = {"name": "crm", "description": "A test.", "destination": "file", "traits": "all"}
    return Sync.model_validate(declared | given)


def test_fields_have_the_declared_names_and_types_and_the_published_sentences(home: Home) -> None:
    home.prepare()
    serve(home, 1, {"u1": {"paying": "true", "score": "1.5"}, "u2": {"stage": "new"}})
    sync = sync_of(fields={"score": {"field": "points", "cast": "string"}})
    traits = [trait(name, kind) for name, kind in TRAITS.items()]
    found = read_fields((home.serving / "current").resolve(), sync, traits, ["u1"], {})
    assert found == {
        "u1": EntityFields(
            {"paying": True, "points": "1.5"},
            {"paying": "paying is true.", "points": "score is 1.5."},
            {"paying": SINCE, "points": SINCE},
        )
    }


def test_overrides_count_in_place_of_what_is_published_and_have_no_sentence(home: Home) -> None:
    home.prepare()
    serve(home, 1, {"u1": {"paying": "true", "stage": "new"}})
    traits = [trait(name, kind) for name, kind in TRAITS.items()]
    overrides = {"paying": {"u2": "false"}, "unknown": {"u1": "x"}}
    found = read_fields((home.serving / "current").resolve(), sync_of(), traits, ["u1", "u2"], overrides)
    assert found == {
        "u1": EntityFields({"stage": "new"}, {"stage": "stage is new."}, {"stage": SINCE}),
        "u2": EntityFields({"paying": False}),
    }


def test_the_declaration_hash_knows_what_changes_fields() -> None:
    plain = sync_of()
    hashes = {
        declaration_hash(catalog_of(TRAITS, plain), sync)
        for sync in (
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
    assert [typed_value(paying, text, "boolean") for text in ("true", "false")] == [True, False]
    assert [typed_value(paying, "true", cast) for cast in ("string", "number")] == ["true", 1]
    assert [typed_value(score, "1.50", cast) for cast in ("number", "string")] == [1.5, "1.50"]
    assert typed_value(stage, "new", "string") == "new"
