"""What a run has to do: small snapshots, records acknowledged by hand, and runs against a board."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar

import pytest

from orchestration.declarations.syncs import Sync
from orchestration.destinations import Failure, Options, Record, destinations
from orchestration.errors import UsageError
from orchestration.home import Home, Settings
from orchestration.sync import engine
from orchestration.sync.engine import run_sync
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.ledger_schema import DeliveryResult
from orchestration.sync.plan import Plan, plan
from orchestration.sync.report import SyncReport
from tests.orchestration.sync.test_properties import CutOffError, World, installed
from tests.serving import SINCE, catalog_of, serve

TRAITS = {"paying": "boolean", "score": "number", "stage": "category"}
PUBLISHED = {"u1": {"paying": "true", "score": "1.5", "stage": "new"}}
REFUSED, DOWN = Failure("no such field"), Failure("down", again=True)


@pytest.fixture
def home(home: Home) -> Home:
    home.prepare()
    return Home(Settings(home=home.root, env="production"))


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with installed(made):
        yield made


def sync_of(**given: Any) -> Sync:
    return Sync.model_validate(
        {"name": "crm", "description": "A test.", "destination": "board", "traits": "all"} | given
    )


def planned(home: Home, sync: Sync, *, traits: dict[str, str] = TRAITS, retry_refused: bool = False) -> Plan:
    with SyncLedger(home) as ledger:
        return plan(home, catalog_of(traits, sync), sync, ledger, retry_refused=retry_refused)


def settle(home: Home, records: list[Record], failure: Failure | None = None) -> None:
    with SyncLedger(home) as ledger:
        ledger.settle(begun=records)
        ledger.settle([DeliveryResult(record, failure) for record in records])


def begin(home: Home, records: list[Record]) -> None:
    with SyncLedger(home) as ledger:
        ledger.settle(begun=records)


def only(made: Plan) -> Record:
    (record,) = made.records
    return record


def run(home: Home, sync: Sync, **given: Any) -> SyncReport:
    return run_sync(home, catalog_of(TRAITS, sync), sync, **given)


def test_a_first_record_has_every_field_with_its_sentence(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    record = only(planned(home, sync_of(fields={"score": {"field": "points", "cast": "string"}})))
    assert (record.action, record.identifier, record.after) == ("upsert", "u1", "")
    assert record.fields == {"paying": True, "points": "1.5", "stage": "new"}
    assert record.reasons["points"] == "score is 1.5."
    assert record.changed == dict.fromkeys(record.fields)


def test_only_what_differs_from_what_was_acknowledged_is_planned(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    settle(home, planned(home, sync_of()).records)
    assert planned(home, sync_of()).records == []
    serve(home, 2, {"u1": PUBLISHED["u1"] | {"score": "2"}})
    record = only(planned(home, sync_of()))
    assert record.changed == {"score": 1.5}
    assert record.delta == {"score": 2.0}


def test_a_renamed_field_clears_the_old_one(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    settle(home, planned(home, sync_of()).records)
    record = only(planned(home, sync_of(fields={"score": {"field": "points"}})))
    assert record.fields == {"paying": True, "points": 1.5, "score": None, "stage": "new"}
    assert record.changed == {"points": None, "score": 1.5}
    settle(home, [record])
    assert planned(home, sync_of(fields={"score": {"field": "points"}})).records == []


def test_another_type_is_a_change(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    settle(home, planned(home, sync_of()).records)
    casts = {"paying": {"cast": "number"}, "score": {"cast": "string"}}
    assert str(only(planned(home, sync_of(fields=casts))).delta) == "{'paying': 1, 'score': '1.5'}"


def test_a_value_that_is_no_longer_published_becomes_what_is_said(home: Home) -> None:
    sync = sync_of(fields={"stage": {"cleared": "none"}})
    serve(home, 1, PUBLISHED)
    settle(home, planned(home, sync).records)
    serve(home, 2, {"u1": {"paying": "true"}})
    record = only(planned(home, sync))
    assert record.delta == {"score": None, "stage": "none"}
    settle(home, [record])
    assert planned(home, sync).records == []


def test_who_is_gone_is_cleared_once_and_a_mirror_deletes(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    settle(home, planned(home, sync_of()).records)
    serve(home, 2, {})
    assert only(planned(home, sync_of(mode="mirror"))).action == "delete"
    record = only(planned(home, sync_of()))
    assert (record.action, record.fields) == ("clear", {"paying": None, "score": None, "stage": None})
    settle(home, [record])
    assert planned(home, sync_of()).records == []
    # What is left of a cleared record goes, once records are to be deleted.
    assert only(planned(home, sync_of(mode="mirror"))).action == "delete"


@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_who_comes_back_unchanged_is_another_change(home: Home, mode: str) -> None:
    ids = []
    for number, values in enumerate((PUBLISHED, {}, PUBLISHED, {}), start=1):
        serve(home, number, values)
        record = only(planned(home, sync_of(mode=mode)))
        ids.append(record.record_id)
        settle(home, [record])
    assert len(set(ids)) == 4


def test_held_fields_stay_as_they_are_there(home: Home) -> None:
    sync = sync_of(minimum_grade="B")
    serve(home, 1, PUBLISHED, grades=dict.fromkeys(TRAITS, "A"))
    settle(home, planned(home, sync).records)
    serve(home, 2, {"u1": {"paying": "false", "score": "7", "stage": "old"}}, grades={"paying": "A", "score": "C"})
    record = only(planned(home, sync))
    assert record.delta == {"paying": False}
    assert record.fields == {"paying": False, "score": 1.5, "stage": "new"}


def test_a_held_trait_clears_nobody_who_has_nothing_else(home: Home) -> None:
    sync = sync_of(minimum_grade="B", mode="mirror")
    values = {"u1": {"score": "1"}, "u2": {"paying": "true"}}
    serve(home, 1, values, grades=dict.fromkeys(TRAITS, "A"))
    settle(home, planned(home, sync).records)
    serve(home, 2, values, grades={"paying": "A", "score": "C"})
    assert planned(home, sync).records == []


def test_a_record_in_doubt_is_sent_again_with_everything_that_may_be_there(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    settle(home, planned(home, sync_of()).records)
    serve(home, 2, {"u1": {"paying": "false"}})
    begin(home, planned(home, sync_of(fields={"paying": {"field": "pays"}})).records)
    serve(home, 3, PUBLISHED)
    record = only(planned(home, sync_of()))
    assert record.fields == {"paying": True, "pays": None, "score": 1.5, "stage": "new"}
    assert set(record.changed) == set(record.fields)


def test_the_same_change_in_doubt_keeps_its_id_and_another_gets_one_of_its_own(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    first = only(planned(home, sync_of()))
    begin(home, [first])
    serve(home, 2, PUBLISHED)
    assert only(planned(home, sync_of())).record_id == first.record_id
    serve(home, 3, {"u1": PUBLISHED["u1"] | {"score": "2"}})
    second = only(planned(home, sync_of()))
    begin(home, [second])
    # Back to what was sent first: a receiver that has seen both must not take it for a repetition.
    serve(home, 4, PUBLISHED)
    third = only(planned(home, sync_of()))
    assert third.fields == first.fields
    assert len({first.record_id, second.record_id, third.record_id}) == 3


def test_what_was_refused_waits_until_it_changes_or_somebody_asks(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    settle(home, planned(home, sync_of()).records, REFUSED)
    waiting = planned(home, sync_of())
    assert (waiting.records, waiting.refused) == ([], 1)
    assert len(planned(home, sync_of(), retry_refused=True).records) == 1
    serve(home, 2, {"u1": PUBLISHED["u1"] | {"score": "2"}})
    assert len(planned(home, sync_of()).records) == 1


def test_what_was_not_answered_is_planned_again(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    settle(home, planned(home, sync_of()).records, DOWN)
    assert len(planned(home, sync_of()).records) == 1


def test_a_dead_letter_goes_when_there_is_nothing_to_deliver_any_more(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    settle(home, planned(home, sync_of()).records)
    serve(home, 2, {"u1": PUBLISHED["u1"] | {"score": "2"}})
    settle(home, planned(home, sync_of()).records, REFUSED)
    assert planned(home, sync_of()).settled == set()
    serve(home, 3, PUBLISHED)
    made = planned(home, sync_of())
    assert (made.records, made.settled) == ([], {"u1"})


def test_an_identifier_that_changes_hands_is_sent_in_full(home: Home) -> None:
    sync = sync_of(identifier="email")
    serve(home, 1, PUBLISHED, people={"u1": {"email": "a@x.org"}})
    settle(home, planned(home, sync).records)
    serve(home, 2, {"u2": PUBLISHED["u1"]}, people={"u2": {"email": "a@x.org"}})
    record = only(planned(home, sync))
    assert (record.action, record.entity_id, set(record.changed)) == ("upsert", "u2", set(TRAITS))
    with SyncLedger(home) as ledger:
        assert ledger.forget("user", ["u1"], ["crm"]) == ["crm"]
    settle(home, [record])
    with SyncLedger(home) as ledger:
        assert ledger.forgotten("crm") == set()


def test_another_identifier_clears_the_old_one_first(home: Home) -> None:
    sync = sync_of(identifier="email")
    serve(home, 1, PUBLISHED, people={"u1": {"email": "z@x.org"}})
    settle(home, planned(home, sync).records)
    serve(home, 2, PUBLISHED, people={"u1": {"email": "a@x.org"}})
    assert [(record.action, record.identifier) for record in planned(home, sync).records] == [
        ("clear", "z@x.org"),
        ("upsert", "a@x.org"),
    ]


def test_what_is_cleared_under_another_identifier_is_rewritten(home: Home) -> None:
    """A vendor may know both addresses as one contact, and then clearing the old one empties the new one."""
    sync = sync_of(identifier="email")
    serve(home, 1, PUBLISHED, people={"u1": {"email": "z@x.org"}})
    settle(home, planned(home, sync).records)
    serve(home, 2, PUBLISHED, people={"u1": {"email": "a@x.org"}})
    cleared, written = planned(home, sync).records
    settle(home, [cleared], REFUSED)
    settle(home, [written])
    assert planned(home, sync).records == []
    again = planned(home, sync, retry_refused=True)
    assert [(record.action, record.identifier) for record in again.records] == [
        ("clear", "z@x.org"),
        ("upsert", "a@x.org"),
    ]
    assert again.records[1].changed.keys() == {"paying", "score", "stage"}
    # Killed after the clear was acknowledged: what is noted before anything is sent tells the next run.
    with SyncLedger(home) as ledger:
        ledger.update_sources(sync.name, again.sources)
    settle(home, again.records[:1])
    assert only(planned(home, sync)).identifier == "a@x.org"


def test_a_held_value_is_not_handed_to_who_gets_the_identifier(home: Home) -> None:
    sync = sync_of(identifier="email", minimum_grade="B")
    serve(home, 1, PUBLISHED, grades=dict.fromkeys(TRAITS, "A"), people={"u1": {"email": "a@x.org"}})
    settle(home, planned(home, sync).records)
    grades = {"paying": "A", "score": "C", "stage": "A"}
    serve(home, 2, {"u2": {"paying": "true", "score": "7"}}, grades=grades, people={"u2": {"email": "a@x.org"}})
    record = only(planned(home, sync))
    assert (record.entity_id, record.fields) == ("u2", {"paying": True, "score": None, "stage": None})


def test_a_refused_clear_is_tried_again_under_another_mapping(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    settle(home, planned(home, sync_of()).records)
    serve(home, 2, {})
    settle(home, planned(home, sync_of()).records, REFUSED)
    assert planned(home, sync_of()).records == []
    assert only(planned(home, sync_of(mode="mirror"))).action == "delete"
    repaired = only(planned(home, sync_of(fields={"paying": {"cleared": False}})))
    assert (repaired.action, repaired.fields["paying"]) == ("clear", False)


def test_another_place_is_asked_about_and_force_starts_over(home: Home, world: World) -> None:
    class Elsewhere(Options):
        tuning: ClassVar[frozenset[str]] = frozenset({"speed"})
        table: str = "here"
        speed: int = 1

    serve(home, 1, many(5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(destinations()["board"], "options_type", Elsewhere)
        assert run(home, sync_of()).delivered == 5
        world.records.clear()
        assert run(home, sync_of(options={"speed": 2})).delivered == 0
        for given in ({}, {"dry_run": True}):
            with pytest.raises(UsageError, match="5 records were delivered to another place"):
                run(home, sync_of(options={"table": "there"}), **given)
        assert run(home, sync_of(options={"table": "there"}), force=True).delivered == 5
        assert len(world.state()) == 5
        assert run(home, sync_of(options={"table": "there"})).delivered == 0


def test_a_build_that_is_published_while_a_run_plans_is_looked_at_by_the_next(
    home: Home, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(home, 1, many(3))
    run(home, sync_of())
    planning = engine.plan

    def publishing_meanwhile(*given: Any, **more: Any) -> Plan:
        serve(home, 3, many(3, paying=2))
        return planning(*given, **more)

    serve(home, 2, many(3, paying=1))
    with monkeypatch.context() as patch:
        patch.setattr(engine, "plan", publishing_meanwhile)
        assert run(home, sync_of()).delivered == 2
    # Rolled back to what the hash was taken of.
    serve(home, 4, many(3, paying=1))
    assert run(home, sync_of()).delivered == 1


def test_who_is_forgotten_is_deleted_under_every_identifier_and_sent_later(home: Home) -> None:
    sync = sync_of(identifier="email")
    serve(home, 1, PUBLISHED, people={"u1": {"email": "a@x.org"}})
    settle(home, planned(home, sync).records)
    serve(home, 2, PUBLISHED, people={"u1": {"email": "b@x.org"}})
    begin(home, [record for record in planned(home, sync).records if record.action == "upsert"])
    with SyncLedger(home) as ledger:
        ledger.forget("user", ["u1"], ["crm"])
    # They are back under an address that the destination never had.
    serve(home, 3, PUBLISHED, people={"u1": {"email": "c@x.org"}})
    made = planned(home, sync)
    assert [(record.action, record.identifier, record.forgotten) for record in made.records] == [
        ("delete", "a@x.org", True),
        ("delete", "b@x.org", True),
    ]
    assert made.deferred
    settle(home, made.records)
    assert [(record.action, record.identifier) for record in planned(home, sync).records] == [("upsert", "c@x.org")]


def test_an_address_in_doubt_of_somebody_forgotten_is_deleted_whoever_had_it_before(home: Home) -> None:
    sync = sync_of(identifier="email")
    serve(home, 1, PUBLISHED, people={"u1": {"email": "a@x.org"}})
    settle(home, planned(home, sync).records)
    serve(home, 2, {"u2": PUBLISHED["u1"]}, people={"u2": {"email": "a@x.org"}})
    begin(home, planned(home, sync).records)
    with SyncLedger(home) as ledger:
        ledger.forget("user", ["u2"], ["crm"])
    serve(home, 3, {}, people={"u9": {"email": "z@x.org"}})
    record = only(planned(home, sync))
    assert (record.action, record.entity_id, record.forgotten) == ("delete", "u2", True)


def test_a_run_that_deletes_somebody_forgotten_is_not_the_last(home: Home, world: World) -> None:
    sync = sync_of()
    serve(home, 1, PUBLISHED)
    run(home, sync)
    with SyncLedger(home) as ledger:
        ledger.forget("user", ["u1"], ["crm"])
    serve(home, 2, PUBLISHED)
    assert (run(home, sync).delivered, world.state()) == (1, {})
    assert (run(home, sync).delivered, set(world.state())) == (1, {"u1"})
    assert run(home, sync).planned == 0


def many(count: int, paying: int = 0) -> dict[str, dict[str, str]]:
    return {f"u{number:03d}": {"paying": "true" if number < paying else "false"} for number in range(count)}


def test_from_now_on_sends_only_what_changes_after_the_first_run(home: Home, world: World) -> None:
    sync = sync_of(first="from_now_on")
    serve(home, 1, many(5))
    assert "counts as sent" in run(home, sync, dry_run=True).refusal
    assert (run(home, sync).planned, world.state()) == (0, {})
    serve(home, 2, many(6, paying=1))
    assert run(home, sync).delivered == 2
    assert world.state() == {"u000": {"paying": True}, "u005": {"paying": False}}


def test_the_breaker_refuses_many_changes_of_what_is_known_and_force_lets_them_through(
    home: Home, world: World
) -> None:
    serve(home, 1, many(120))
    assert run(home, sync_of()).delivered == 120
    serve(home, 2, many(120, paying=61))
    with pytest.raises(UsageError, match="would change 51% of 120"):
        run(home, sync_of())
    dry = run(home, sync_of(), dry_run=True)
    assert dry.planned == 61
    assert "would change 51% of 120" in dry.refusal
    assert run(home, sync_of(breaker=0.6), dry_run=True).refusal == ""
    assert run(home, sync_of(), force=True).delivered == 61
    # What is new at the destination is no change of it.
    serve(home, 3, many(400, paying=61))
    assert run(home, sync_of()).delivered == 280


def test_a_budget_holds_for_the_day_also_after_a_run_that_was_cut_off(
    home: Home, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(home, 1, many(20))
    sync = sync_of(budget=8)
    world.crash_at = ("log", 0, False)
    with pytest.raises(CutOffError):
        run(home, sync)
    assert len(world.ids) == 8
    assert run(home, sync).not_tried == 12
    assert len(world.ids) == 8
    tomorrow = datetime(2200, 1, 1)
    monkeypatch.setattr(engine, "utc_now", lambda: tomorrow)
    monkeypatch.setattr("orchestration.sync.ledger.utc_now", lambda: tomorrow)
    assert (run(home, sync).delivered, len(world.ids)) == (8, 16)
    assert (run(home, sync).delivered, len(world.ids)) == (0, 16)


def test_a_build_that_is_served_again_is_delivered_again(home: Home, world: World) -> None:
    serve(home, 1, many(7))
    run(home, sync_of())
    serve(home, 2, many(7, paying=7))
    world.faults.extend(["", "killed before"])
    with pytest.raises(CutOffError):
        run(home, sync_of(breaker=1.0))
    current = home.serving / "current"
    current.unlink()
    current.symlink_to("builds/000001-20240630T000000Z")
    run(home, sync_of())
    assert set(map(str, world.state().values())) == {"{'paying': False}"}


def test_a_record_says_of_which_trait_each_field_is_and_since_when(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    sync = sync_of(fields={"paying": {"field": "th_paying", "cleared": "no", "cast": "string"}})
    (record,) = planned(home, sync).records
    note = record.notes["th_paying"]
    assert (note.trait, note.type, note.owner, note.version) == ("paying", "boolean", "tests", 1)
    assert (note.cleared, note.since) == ("no", SINCE)
    settle(home, [record])
    serve(home, 2, {})
    (record,) = planned(home, sync).records
    assert (record.action, record.notes["th_paying"].since) == ("clear", None)


def test_a_label_is_read_of_who_is_sent_and_not_of_who_took_consent_back(home: Home) -> None:
    sync = sync_of(label="email", purpose="sales")
    catalog = catalog_of(TRAITS, sync)
    people = {"u1": {"email": "a@b.c", "consent": "sales"}, "u2": {"email": "d@e.f", "consent": "sales"}}
    values = {"u1": {"paying": "true"}, "u2": {"paying": "true"}}
    serve(home, 1, values, people=people, catalog=catalog)
    records = planned(home, sync).records
    assert [(record.entity_id, record.label) for record in records] == [("u1", "a@b.c"), ("u2", "d@e.f")]
    settle(home, records)
    people["u2"] = {"email": "d@e.f", "consent": ""}
    serve(home, 2, values, people=people, catalog=catalog)
    (record,) = planned(home, sync).records
    assert (record.entity_id, record.action, record.label) == ("u2", "clear", "")


def test_a_label_that_no_refresh_has_read_is_asked_for(home: Home) -> None:
    serve(home, 1, PUBLISHED)
    with pytest.raises(UsageError, match="email of users has not been read"):
        planned(home, sync_of(label="email"))
