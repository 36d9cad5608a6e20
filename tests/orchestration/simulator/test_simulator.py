"""The simulator: equal bytes, a truth that does not contradict itself, and events that the project reads."""

import csv
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orchestration.cli import app as cli
from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.landing.load import load
from orchestration.simulator.make import SimulationReport, make_simulation
from orchestration.simulator.parameters import SOURCE, Parameters, read_end
from orchestration.simulator.truth import ACCOUNT_STATES, ENGAGEMENT, USER_STATES
from tests.conftest import queried
from tests.streams.harness import build

SMALL = Parameters(accounts=40, days=90, seed=7)
FILES = ("events.ndjson.gz", "truth.csv", "README.md")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SimulationReport]:
    folder = tmp_path_factory.mktemp("simulation")
    return folder, make_simulation(SMALL, folder)


@pytest.fixture(scope="module")
def lines(small: tuple[Path, SimulationReport]) -> list[dict[str, Any]]:
    with gzip.open(small[0] / "events.ndjson.gz", "rt") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def truth(small: tuple[Path, SimulationReport]) -> list[dict[str, str]]:
    with (small[0] / "truth.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_equal_parameters_give_equal_bytes(small: tuple[Path, SimulationReport], tmp_path: Path) -> None:
    make_simulation(SMALL, tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (small[0] / name).read_bytes(), name


@pytest.mark.parametrize("other", [{"seed": 8}, {"difficulty": 0.6}, {"end": date(2024, 3, 31)}])
def test_other_parameters_give_another_world(
    other: dict[str, Any], small: tuple[Path, SimulationReport], tmp_path: Path
) -> None:
    make_simulation(Parameters(**{"accounts": 40, "days": 90, "seed": 7} | other), tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() != (small[0] / name).read_bytes(), name


def test_an_account_does_not_depend_on_how_many_there_are(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    make_simulation(Parameters(accounts=3, days=90, seed=7), tmp_path)
    with gzip.open(tmp_path / "events.ndjson.gz", "rt") as file:
        fewer = [json.loads(line) for line in file]
    first = {f"evt_{index:05d}" for index in range(3)}
    assert fewer == [line for line in lines if line["event_id"][:9] in first]


def test_every_event_says_that_it_is_synthetic(
    lines: list[dict[str, Any]], small: tuple[Path, SimulationReport]
) -> None:
    assert all(line["context"]["synthetic"] is True for line in lines)
    assert "synthetic" in (small[0] / "README.md").read_text()


def test_events_lie_in_the_window_in_the_order_of_arrival(lines: list[dict[str, Any]]) -> None:
    assert all("2024-04-01T00:00" <= line["occurred_at"] < "2024-06-30T00:00" for line in lines)
    assert [line["received_at"] for line in lines] == sorted(line["received_at"] for line in lines)
    assert all(line["occurred_at"] <= line["received_at"] for line in lines)


def test_a_tracker_s_troubles_are_there(lines: list[dict[str, Any]], small: tuple[Path, SimulationReport]) -> None:
    ids = Counter(line["event_id"] for line in lines)
    assert sum(count - 1 for count in ids.values()) == small[1].repeated > 20
    assert small[1].late > 50
    known = {line["anonymous_id"] for line in lines if "user_id" in line}
    first = {line["anonymous_id"]: line for line in reversed(lines)}
    anonymous = {device for device, line in first.items() if "user_id" not in line}
    assert anonymous & known, "nobody looked around before signing up"
    assert anonymous - known, "no stranger"
    accounts = defaultdict(set)
    for line in lines:
        if "user_id" in line and "account_id" in line:
            accounts[line["user_id"]].add(line["account_id"])
    assert max(map(len, accounts.values())) > 1, "no consultant"


def test_identify_carries_both_ids_and_follows_the_plan(lines: list[dict[str, Any]]) -> None:
    identified = [line for line in lines if line["event_type"] == "identify"]
    assert all({"user_id", "anonymous_id"} <= set(line) for line in identified)
    assert all(line["properties"]["email"].endswith("@example.com") for line in identified)
    bought = {(line["account_id"], line["properties"]["plan"]) for line in lines if line["event_name"] == "Subscribed"}
    grouped = {(line["account_id"], line["properties"].get("plan")) for line in lines if line["event_type"] == "group"}
    assert bought
    assert bought <= grouped


def test_only_states_that_the_readme_explains(
    truth: list[dict[str, str]], small: tuple[Path, SimulationReport]
) -> None:
    about = (small[0] / "README.md").read_text()
    for row in truth:
        assert row["state"] in about
        if "_" not in row["state"]:
            assert row["state"] in (USER_STATES if row["entity_type"] == "user" else ACCOUNT_STATES)


@pytest.mark.parametrize("difficulty", [0, 0.3, 1])
def test_engagement_states_do_not_overlap(difficulty: float, tmp_path: Path) -> None:
    make_simulation(Parameters(accounts=60, seed=3, difficulty=difficulty), tmp_path)
    intervals = defaultdict(list)
    for row in csv.DictReader((tmp_path / "truth.csv").read_text().splitlines()):
        if row["entity_type"] == "user" and row["state"] in ENGAGEMENT:
            intervals[row["entity_id"]].append((row["started_at"], row["ended_at"] or "9999"))
    for user, held in intervals.items():
        held.sort()
        for (_, ended), (started, _) in pairwise(held):
            assert ended <= started, user


def test_one_state_of_one_entity_does_not_overlap_itself(truth: list[dict[str, str]]) -> None:
    intervals = defaultdict(list)
    for row in truth:
        assert row["ended_at"] == "" or row["started_at"] < row["ended_at"], row
        intervals[row["entity_type"], row["entity_id"], row["state"]].append((row["started_at"], row["ended_at"]))
    for key, held in intervals.items():
        held.sort()
        for (_, ended), (started, _) in pairwise(held):
            assert ended and ended <= started, key


def test_what_is_true_shows_in_what_is_done(truth: list[dict[str, str]], lines: list[dict[str, Any]]) -> None:
    done: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        if "user_id" in line:
            done[line["user_id"]].append(line)
    for row in truth:
        within = [
            line
            for line in done[row["entity_id"]]
            if row["started_at"] <= line["occurred_at"] and line["occurred_at"] <= (row["ended_at"] or "9999")
        ]
        if row["state"] == "blocked":
            assert any(line["event_name"] == "Step Failed" for line in within), row
        if row["state"] == "left":
            assert not within, row
    left = {line["user_id"] for line in lines if line["properties"].get("left")}
    assert left == {row["entity_id"] for row in truth if row["state"] == "left"}
    cancelled = {line["account_id"] for line in lines if line["event_name"] == "Subscription Cancelled"}
    assert cancelled == {
        row["entity_id"] for row in truth if row["state"] == "cancelled" and row["entity_type"] == "account"
    }


def test_every_state_happens_at_the_default_size(tmp_path: Path) -> None:
    made = make_simulation(Parameters(), tmp_path)
    assert min(made.states["user"].values()) >= 10
    assert min(made.states["account"].values()) >= 10
    assert 60_000 <= made.events <= 130_000
    assert 500 <= made.users <= 700


@pytest.mark.long
def test_it_loads_and_the_catalogue_knows_every_event(
    small: tuple[Path, SimulationReport], home: Home, project_in: Callable[[Home], Any]
) -> None:
    loaded = load(home, [small[0] / "events.ndjson.gz"], source=SOURCE)
    assert loaded.rejected == 0
    assert loaded.accepted + loaded.duplicates == small[1].events + small[1].repeated
    build(home, project_in(home))
    assert queried(home, "select count(*) from events.unmapped_events") == [(0,)]
    assert queried(home, "select count(*) from events.quarantined_events") == [(0,)]
    assert queried(home, "select count(*) from events.fct_events") == [(small[1].events,)]
    named = "select count(*) from identity.dim_users where not is_anonymous"
    assert queried(home, named) == [(small[1].users,)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"accounts": 0},
        {"days": 27},
        {"seed": -1},
        {"difficulty": 1.1},
        {"difficulty": float("nan")},
        {"end": date(1969, 1, 1)},
    ],
)
def test_wrong_parameters_are_refused_with_a_hint(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        Parameters(**wrong)
    assert refused.value.hint.startswith("--")


def test_an_end_that_is_no_date_is_refused() -> None:
    with pytest.raises(UsageError, match="tomorrow"):
        read_end("tomorrow")


def test_the_command_says_that_it_is_synthetic(home: Home, tmp_path: Path) -> None:
    call = ["simulate", "--accounts", "4", "--days", "40", "--home", str(home.root)]
    said = CliRunner().invoke(cli.main, call)
    assert said.exit_code == 0
    assert "Synthetic" in said.stdout
    assert sorted(path.name for path in (home.root / "simulation").iterdir()) == sorted(FILES)
    answer = json.loads(CliRunner().invoke(cli.main, [*call, "--json", "--folder", str(tmp_path / "here")]).stdout)
    assert answer["synthetic"] is True
    assert answer["accounts"] == 4
    wrong = CliRunner().invoke(cli.main, [*call[:-2], "--days", "3", "--home", str(home.root)])
    assert wrong.exit_code == 2
    assert "Hint: --days" in wrong.stderr
