"""What is proposed for events by their names, how frequent they are, and what their properties tell."""

from collections import Counter
from datetime import datetime

import pytest

from orchestration.mapping.facts import EventKey, Facts
from orchestration.mapping.proposal import Row, Unmapped, propose
from orchestration.mapping.rules import base

MOMENT = datetime(2025, 3, 1)


def proposed(
    counts: dict[str, int],
    states: dict[str, dict[str, dict[str, int]]] | None = None,
    total: int = 0,
    kind: str = "track",
) -> dict[str, Unmapped]:
    """The proposals for events of source app, from their counts and the values of properties that tell how it went."""
    events = [Unmapped("app", name, kind, count, MOMENT, MOMENT) for name, count in counts.items()]
    facts = {EventKey("app", name): Facts() for name in counts}
    for name, values in (states or {}).items():
        for key, counted in values.items():
            facts[EventKey("app", name)].states[key] = Counter(counted)
    found = propose(events, facts, set(), {"app": total or sum(counts.values())})
    return {event.event_name: event for event in found}


def told(rows: tuple[Row, ...]) -> list[tuple[str, str, str, str]]:
    return [(row.pattern, row.behaviour, row.step, row.outcome) for row in rows]


def test_a_name_without_a_known_word_is_core_value_only_where_it_is_frequent() -> None:
    found = proposed({"Blorp": 5, "Fnord": 4}, total=100)
    (row,) = found["Blorp"].rows
    assert (row.behaviour, row.guess) == ("core_value", True)
    assert "frequent: 5% of the events of app" in row.why
    assert found["Fnord"].rows == ()
    assert "rare (4.0% of the events)" in found["Fnord"].note


@pytest.mark.parametrize("kind", ["identify", "group", "alias"])
def test_who_somebody_is_needs_no_row(kind: str) -> None:
    event = proposed({"Order Completed": 9}, kind=kind)["Order Completed"]
    assert (event.rows, event.note) == ((), f"{kind} events say who, not what")


@pytest.mark.parametrize("name", ["$identify", "$groupidentify", "$create_alias", "$set", "identify", "group", "alias"])
def test_a_call_that_says_who_under_a_name_of_its_own_needs_no_row(name: str) -> None:
    assert proposed({name: 9})[name].rows == ()


def test_a_thing_and_its_failure_share_a_step_whatever_the_form_of_the_words() -> None:
    found = proposed(
        {"Document Uploaded": 9, "Upload Document Failed": 3, "Document Upload Clicked": 5, "Report Created": 9}
    )
    assert told(found["Upload Document Failed"].rows) == [("", "error", "upload_document", "failure")]
    assert told(found["Document Uploaded"].rows) == [("", "core_value", "upload_document", "success")]
    assert told(found["Document Upload Clicked"].rows) == [("", "navigation", "", "")]
    assert told(found["Report Created"].rows) == [("", "core_value", "", "")]


def test_a_value_that_says_failure_is_a_row_of_its_own_and_the_rest_is_success() -> None:
    found = proposed({"Export Run": 9, "Sync": 9}, {"Export Run": {"status": {"failed": 2}}})
    assert told(found["Export Run"].rows) == [
        ("failed", "error", "export_run", "failure"),
        ("", "core_value", "export_run", "success"),
    ]
    assert told(found["Sync"].rows) == [("", "core_value", "", "")]


def test_where_values_say_more_than_two_things_only_those_that_say_success_are_success() -> None:
    values = {"denied": 1, "timed_out": 1, "completed": 5, "pending": 2}
    found = proposed({"Export Run": 9}, {"Export Run": {"status": values}})
    assert told(found["Export Run"].rows) == [
        ("denied", "error", "export_run", "failure"),
        ("timed_out", "error", "export_run", "failure"),
        ("completed", "core_value", "export_run", "success"),
        ("", "core_value", "", ""),
    ]
    found = proposed({"Export Run": 9}, {"Export Run": {"success": {"false": 2, "true": 7}}})
    assert told(found["Export Run"].rows)[:2] == [
        ("false", "error", "export_run", "failure"),
        ("true", "core_value", "export_run", "success"),
    ]


def test_a_value_that_may_mean_something_else_is_a_guess() -> None:
    found = proposed({"Export Run": 9}, {"Export Run": {"status": {"failed": 1, "blocked": 1, "not_completed": 1}}})
    guesses = {row.pattern: row.guess for row in found["Export Run"].rows if row.behaviour == "error"}
    assert guesses == {"failed": False, "blocked": True, "not_completed": True}


def test_values_without_a_failure_say_nothing() -> None:
    found = proposed({"Export Run": 9}, {"Export Run": {"status": {"active": 2, "done": 7}}})
    assert told(found["Export Run"].rows) == [("", "core_value", "", "")]


def test_steps_that_a_property_names_are_steps() -> None:
    steps = {"step": {"Billing Address": 3, "card": 2}}
    found = proposed({"Onboarding Failed": 5, "Onboarding Completed": 5}, {"Onboarding Failed": steps})
    assert told(found["Onboarding Failed"].rows) == [
        ("Billing Address", "error", "onboarding_billing_address", "failure"),
        ("card", "error", "onboarding_card", "failure"),
        ("", "error", "onboarding", "failure"),
    ]


@pytest.mark.parametrize(
    "forms", [("upload", "uploads", "uploaded", "uploading"), ("submit", "submitted"), ("save", "saved")]
)
def test_forms_of_a_word_have_one_base(forms: tuple[str, ...]) -> None:
    assert len({base(form) for form in forms}) == 1
