"""A stranger's events, loaded and refreshed: what the catalogue does not know comes with rows to paste."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orchestration.cli import app as cli
from orchestration.errors import UsageError
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.mapping.seeds import EVENTS
from orchestration.mapping.suggest import Suggestions, append, suggest
from orchestration.pipeline.doctor import doctor
from orchestration.transform.dbt import Project
from tests.builds import publish_day
from tests.cache import cached, copied, parsed_project
from tests.conftest import queried

TRACKS = {
    "Signed Up": 3,
    "Invite Sent": 2,
    "checkout_started": 5,
    "checkout_completed": 3,
    "checkout_failed": 1,
    "Report Created": 9,
    "Report Exported": 4,
    "Order Cancelled": 1,
}
PAGES = [
    "/pricing",
    "/pricing/teams-and-more?email=a@example.com",
    "/settings/team",
    "/settings/profile",
    "/reports/12345",
    "/reports/678",
    "/",
    "/u-42/secret",
]


def stranger_events() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, count in TRACKS.items():
        for number in range(count):
            properties = {
                "plan": "pro" if number else "free",
                "contact": f"user{number}@example.com",
                "email": f"user{number}@example.com",
                "title": "x" * 30 + " y" * 60,
                "nested": {"a": 1},
                "seats": 5,
            }
            found.append({"event_name": name, "properties": properties})
    for path in PAGES:
        found.append({"event_name": "Page Viewed", "event_type": "page", "properties": {"path": path}})
    found.append({"event_name": "Docs", "event_type": "page", "properties": {"url": "https://x.example/docs/a?b=c"}})
    found.append({"event_name": "identify", "event_type": "identify", "properties": {"tier": "Team Annual"}})
    found.append({"event_name": "identify", "event_type": "identify", "properties": {"plan": "gold", "shoe": 44}})
    return [
        {"user_id": f"u{n % 4}", "occurred_at": f"2025-03-{1 + n % 20:02}T10:00:00Z", "source": "app"} | event
        for n, event in enumerate(found)
    ]


def make_stranger(folder: Path) -> None:
    file = folder / "events.ndjson"
    file.write_text("".join(json.dumps(event) + "\n" for event in stranger_events()))
    made = Home(Settings(home=folder / "home"))
    load(made, [file])
    publish_day(parsed_project(made))


@pytest.fixture
def stranger(tmp_path: Path, project_copy: Path) -> Home:
    """A home of a stranger's events, with a project of its own to write to."""
    copied(cached("stranger", make_stranger) / "home", tmp_path / "home")
    return Home(Settings(home=tmp_path / "home", project=project_copy))


def proposed(found: Suggestions) -> dict[tuple[str, str], tuple[str, str, str, str, bool]]:
    return {(r.event_name, r.pattern): (r.behaviour, r.feature, r.step, r.outcome, r.guess) for r in found.rows}


def test_each_unmapped_event_comes_with_its_count_and_a_proposal(stranger: Home) -> None:
    found = suggest(stranger)
    assert {(event.source, event.event_name): event.event_count for event in found.events} == {
        ("app", name): count for name, count in (TRACKS | {"Page Viewed": len(PAGES), "Docs": 1, "identify": 2}).items()
    }
    counts = [event.event_count for event in found.events]
    assert counts == sorted(counts, reverse=True)
    rows = proposed(found)
    assert rows["Signed Up", ""] == ("signed_up", "", "", "", False)
    assert rows["Invite Sent", ""] == ("invite", "", "", "", False)
    assert rows["checkout_started", ""] == ("pricing", "checkout", "checkout", "start", False)
    assert rows["checkout_completed", ""] == ("subscribed", "", "checkout", "success", False)
    assert rows["checkout_failed", ""] == ("error", "checkout", "checkout", "failure", False)
    assert rows["Report Created", ""] == ("core_value", "report", "", "", True)
    assert rows["Order Cancelled", ""] == ("navigation", "order", "", "", True)
    notes = {event.event_name: event.note for event in found.events if not event.rows}
    assert notes == {"identify": "identify events say who, not what"}
    assert [(row.property, row.attribute, row.guess) for row in found.attributes] == [("tier", "plan", True)]
    assert [(plan.plan, plan.rank) for plan in found.plans] == [("gold", ""), ("team annual", "2")]


def test_page_views_become_prefix_rules_and_the_rest_navigation(stranger: Home) -> None:
    rows = proposed(suggest(stranger))
    assert rows["Page Viewed", "/pricing"] == ("pricing", "pricing", "", "", False)
    assert rows["Page Viewed", "/settings/team"] == ("collaboration", "team", "", "", True)
    assert rows["Page Viewed", "/settings"] == ("navigation", "settings", "", "", False)
    assert rows["Page Viewed", "/reports"] == ("navigation", "reports", "", "", False)
    assert rows["Page Viewed", ""] == ("navigation", "", "", "", False)
    assert rows["Docs", "https://x.example/docs"] == ("support", "docs", "", "", True)
    assert rows["Docs", ""] == ("support", "docs", "", "", True)
    assert not [pattern for _, pattern in rows if "42" in pattern or "@" in pattern]


def test_examples_are_short_and_hold_nothing_personal(stranger: Home) -> None:
    for event in suggest(stranger).events:
        assert len(event.examples) <= 3
        for example in event.examples:
            assert len(example) <= 80
            assert "@" not in example
            assert not example.startswith("email")
    created = next(event for event in suggest(stranger).events if event.event_name == "Report Created")
    assert created.examples[:2] == ("contact=***", "plan=pro")


def test_the_block_is_the_seed_without_its_header(stranger: Home) -> None:
    found = suggest(stranger)
    rows = list(csv.reader(io.StringIO(EVENTS.csv(found.rows))))
    assert len(rows) == len(found.rows)
    assert {len(row) for row in rows} == {len(EVENTS.columns)}
    assert "guess" not in EVENTS.csv(found.rows)


@pytest.mark.long
def test_appended_rows_map_every_event_after_a_refresh(stranger: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAITHOUSE_PROJECT", str(stranger.settings.project))
    before = (stranger.settings.project / EVENTS.path).read_text()

    def call(*arguments: str) -> Any:
        result = CliRunner().invoke(cli.main, ["catalog", "suggest", *arguments, "--home", str(stranger.root)])
        assert result.exit_code == 0, result.output
        return result

    shown = call("--append").stdout
    assert "app,checkout_failed,,,,error,checkout,checkout,failure" in shown
    assert "guess core_value, feature report (created)" in shown
    assert "plan gold (1 event): its name does not tell its rank; add a row `gold,RANK`" in shown
    assert "1 row written to seeds/plan_catalog.csv." in shown
    assert "identify of app: who, not what; no row is needed." in shown
    assert "The catalogue knows every event." not in shown
    seeds = stranger.settings.project / "seeds"
    assert (seeds / "attribute_catalog.csv").read_text().endswith("\nuser,tier,plan\n")
    assert (seeds / "plan_catalog.csv").read_text().endswith("\nteam annual,2\n")
    after = (stranger.settings.project / EVENTS.path).read_text()
    assert after.startswith(before)
    again = json.loads(call("--append", "--json").stdout)
    assert (again["appended"], again["csv"], again["attributes"]) == (0, "", [])
    assert [plan["plan"] for plan in again["plans"]] == ["gold"]
    assert "in the seed already" in again["events"][0]["note"]
    assert (stranger.settings.project / EVENTS.path).read_text() == after
    publish_day(Project(stranger))
    assert queried(stranger, "select event_name from events.unmapped_events") == [("identify",)]
    assert "The catalogue knows every event.\nidentify of app: who, not what" in call().stdout
    report = doctor(Project(stranger))
    assert report["catalogue_coverage"] == [{"source": "app", "events": 37, "mapped": 1.0}]
    assert [problem for problem in report["problems"] if "event catalogue (" in problem] == []
    assert queried(
        stranger,
        "select behaviour, count(*) from events.fct_events where event_type = 'page' group by 1 order by 1",
    ) == [("collaboration", 1), ("navigation", 5), ("pricing", 2), ("support", 1)]


def test_before_a_refresh_it_says_what_to_do(home: Home, events_file: Callable[..., Path]) -> None:
    load(home, [events_file(stranger_events())])
    with pytest.raises(UsageError, match="Nothing is built yet") as error:
        suggest(home)
    assert "traithouse refresh" in error.value.hint


@pytest.mark.long
def test_a_catalogue_that_knows_everything_needs_nothing(sample_home: Home) -> None:
    assert suggest(sample_home) == Suggestions(())


def test_rarer_events_can_be_left_out(stranger: Home) -> None:
    found = suggest(stranger, limit=2)
    assert [event.event_name for event in found.events] == ["Report Created", "Page Viewed"]
    assert found.left_out == 9


def test_a_file_with_windows_line_ends_keeps_them(stranger: Home) -> None:
    seed = stranger.settings.project / EVENTS.path
    seed.write_bytes(seed.read_bytes().replace(b"\n", b"\r\n"))
    assert append(stranger, suggest(stranger))
    text = seed.read_bytes()
    assert text.count(b"\n") == text.count(b"\r\n")
