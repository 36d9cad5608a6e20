"""A home that an earlier version made opens, keeps what it published, and continues from there."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from orchestration.admin.erasure import forget_people
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import HOME_VERSION, Home, Settings
from orchestration.pipeline.refresh import refresh
from orchestration.pipeline.status import home_status
from orchestration.publishing.rollback import rollback
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.plan import plan
from orchestration.transform.dbt import Project
from tests.conftest import NOW, queried, served
from tests.homes import unpack_home
from tests.orchestration.admin.search import places
from tests.orchestration.admin.test_rights import open_to_others


@pytest.fixture
def earlier_home(tmp_path: Path) -> Path:
    """A home of version 1."""
    return unpack_home(1, tmp_path / "home")


@pytest.fixture
def home_2(tmp_path: Path) -> Home:
    """A home of version 2, with a waiver, a rollback, a backfill and deliveries."""
    return Home(Settings(home=unpack_home(2, tmp_path / "home")))


@pytest.mark.long
def test_a_home_of_the_release_before_goes_on(earlier_home: Path, project_in: Callable[[Home], Project]) -> None:
    with duckdb.connect(str(earlier_home / "warehouse.duckdb"), read_only=True) as connection:
        columns = [name for name, *_ in connection.execute("describe traits.trait_catalog").fetchall()]
        ledger = connection.execute("from traits.trait_changes order by seq").fetchall()
        raw = connection.execute("from raw.events order by event_id").fetchall()
    assert "flip_rate" not in columns
    assert {row[3] for row in ledger} == {"at_risk", "power_user"}
    assert open_to_others(earlier_home) != []

    home = Home(Settings(home=earlier_home))
    before = home_status(home)
    assert {trait["trait"] for trait in before["traits"]} >= {"at_risk", "power_user"}
    project = project_in(home)
    written, published = refresh(project, now=NOW)

    assert written.build.full_refresh
    assert published.failed_models == ()
    assert queried(home, "from raw.events order by event_id") == raw
    # The history stands, row for row; what definitions of today decide otherwise is told behind it.
    after = queried(home, "select * exclude (is_anonymous) from traits.trait_changes order by seq")
    assert after[: len(ledger)] == ledger
    told = {(entity, trait): value for _, _, entity, trait, _, value, *_ in after}
    values = queried(home, "select entity_id, trait, value from traits.trait_values")
    assert {(entity, trait): value for entity, trait, value in values} == {k: v for k, v in told.items() if v}
    assert served(home, "select count(*) from traits.user_traits") == [(80,)]
    assert served(home, "select grade from traits.trait_catalog where trait = 'at_risk'") != []
    # What was delivered is remembered: a trait whose value stays is not sent again.
    with SyncLedger(home) as deliveries:
        known = deliveries.sent("outbox")
        records = plan(home, project.catalog, project.catalog.sync("outbox"), deliveries).records
    assert len(known) == 80
    for record in records:
        have = json.loads(known[record.entity_id].fields)
        assert all(record.fields[name] != have.get(name) for name in record.changed)
    assert json.loads((earlier_home / "home.json").read_text()) == {"version": HOME_VERSION}
    assert open_to_others(earlier_home) == []


def test_its_snapshot_is_read_before_any_refresh(earlier_home: Path) -> None:
    home = Home(Settings(home=earlier_home))
    status = home_status(home)
    assert status["served_build"] == "000002-20240630T000000Z"
    assert status["last_sync"]["sync"] == "outbox"


def test_its_snapshot_forgets(earlier_home: Path, project_in: Callable[[Home], Project]) -> None:
    home = Home(Settings(home=earlier_home))
    ((person,),) = served(home, "select entity_id from traits.trait_values order by all limit 1")
    assert any(path.suffix == ".parquet" for path in (home.serving / "current").resolve().iterdir())
    forget_people(project_in(home), [person])
    assert {name for name in places(home.root, [person]) if not name.startswith("sync_ledger.")} == set()
    (left,) = served(home, "select count(*) from traits.trait_values")
    parts = (home.serving / "current").resolve() / "trait_values"
    assert duckdb.execute(f"select count(*) from '{parts}/*.parquet'").fetchone() == left != (0,)


def test_a_home_with_waivers_and_history_continues_under_the_new_names(
    home_2: Home, project_in: Callable[[Home], Project]
) -> None:
    with duckdb.connect(str(home_2.warehouse), read_only=True) as connection:
        ledger = connection.execute("from traits.trait_changes order by seq").fetchall()
        waivers = connection.execute("from traits.acceptances").fetchall()
        grades = dict(connection.execute("select trait, grade from traits.trait_catalog").fetchall())
    project = project_in(home_2)
    with SyncLedger(home_2) as deliveries:
        known = deliveries.sent("outbox")
    _, published = refresh(project, now=NOW)

    assert published.failed_models == ()
    # The history stands, row for row, but for the word for what was waived; new rows follow it.
    after = queried(home_2, "select * exclude (is_anonymous) from traits.trait_changes order by seq")
    assert [row[:-1] for row in after[: len(ledger)]] == [row[:-1] for row in ledger]
    renamed = {old[-1]: new[-1] for old, new in zip(ledger, after, strict=False)}
    assert renamed == {word: word for word in ("behaviour", "backfill", "rollback")} | {"accepted": "waived"}
    said = {
        (entity, trait): value for _, _, entity, trait, _, value, *_ in sorted(after, key=lambda row: (row[7], row[0]))
    }
    values = queried(home_2, "select entity_id, trait, value from traits.trait_values")
    assert {(entity, trait): value for entity, trait, value in values} == {k: v for k, v in said.items() if v}
    # Backfilled days still count for the grade.
    assert {name for name, grade in grades.items() if grade} >= {"at_risk", "stuck", "dormant"}
    graded = "select trait, stability_days from traits.trait_catalog where grade is not null"
    assert dict(served(home_2, graded)).keys() >= {"at_risk", "dormant"}
    # Readers find waivers under both names, in the database and as Parquet.
    assert served(home_2, "from traits.waivers") == served(home_2, "from traits.acceptances") == waivers
    assert served(home_2, "select accepted_by, reason from traits.acceptances") == [
        ("ada", "the payment provider was down")
    ]
    snapshot = (home_2.serving / "current").resolve()
    assert duckdb.execute(f"select accepted_by from '{snapshot}/acceptances/*.parquet'").fetchall() == [("ada",)]
    assert duckdb.execute(f"select waived_by from '{snapshot}/waivers/*.parquet'").fetchall() == [("ada",)]
    # What was delivered is remembered: only changed values are sent.
    with SyncLedger(home_2) as deliveries:
        assert deliveries.sent("outbox") == known
        records = plan(home_2, project.catalog, project.catalog.sync("outbox"), deliveries).records
        assert len(deliveries.in_doubt("newsletter")) == 2
        assert len(deliveries.failure_rows()) == 1
    assert len(known) == 72
    for record in records:
        have = json.loads(known[record.entity_id].fields)
        assert all(record.fields[name] != have.get(name) for name in record.changed)


def test_nothing_is_sent_before_it_is_known_who_is_an_anonymous_visitor(
    home_2: Home, project_in: Callable[[Home], Project]
) -> None:
    project = project_in(home_2)
    with SyncLedger(home_2) as deliveries, pytest.raises(UsageError, match="anonymous visitor") as refused:
        plan(home_2, project.catalog, project.catalog.sync("outbox"), deliveries)
    assert "traithouse refresh" in refused.value.hint


def test_a_snapshot_of_the_version_before_can_be_rolled_back_to(
    home_2: Home, project_in: Callable[[Home], Project]
) -> None:
    project = project_in(home_2)
    before = served(home_2, "select entity_id, trait, value, since from traits.trait_values order by all")
    done = rollback(home_2, project.catalog, to=None, who="ada", why="a test")
    assert done.to == "000006-20240621T000000Z"
    back = rollback(home_2, project.catalog, to=done.to, who="ada", why="again")
    assert back.changes == 0
    assert served(home_2, "select count(*) from traits.trait_values") == [(len(before),)]
    assert served(home_2, "select reason from traits.waivers") == [("the payment provider was down",)]


def test_a_home_of_a_later_version_is_refused_and_left_alone(earlier_home: Path) -> None:
    (earlier_home / "home.json").write_text(json.dumps({"version": HOME_VERSION + 1}))
    with pytest.raises(TraithouseError, match=f"has version {HOME_VERSION + 1}"):
        Home(Settings(home=earlier_home)).prepare()
    assert open_to_others(earlier_home) != []
