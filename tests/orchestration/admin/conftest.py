"""A home in which a person has left traces everywhere, and the same home without the person."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.gates.failed_rows import FAILED_ROWS
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.simulator.bundled import SAMPLE
from orchestration.sync.engine import run_sync
from orchestration.transform.dbt import Project
from tests.builds import publish_day
from tests.cache import cached, copied, parsed_project
from tests.conftest import NOW
from tests.orchestration.admin.search import PAT

START = datetime(2024, 6, 1, 9)


def event(number: int, **given: Any) -> dict[str, Any]:
    """An event of the story, so many hours after its start."""
    defaults = {"event_id": f"story-{number}", "event_name": "page", "occurred_at": START + timedelta(hours=number)}
    return {name: str(value) if name == "occurred_at" else value for name, value in (defaults | given).items()}


def story(*, with_pat: bool) -> list[dict[str, Any]]:
    """Pat on a phone of her own and on a tablet that Otto uses before and after her."""
    pats = [
        event(1, anonymous_id="dev-pat-phone"),
        event(2, anonymous_id="dev-pat-phone", user_id="u-pat-former"),
        event(3, event_type="alias", user_id=PAT, previous_id="u-pat-former"),
        event(12, anonymous_id="dev-shared-tablet", user_id=PAT, account_id="acme-inc"),
        event(13, anonymous_id="dev-shared-tablet"),
    ]
    mention = PAT if with_pat else "forgotten"
    ottos = [
        event(10, anonymous_id="dev-shared-tablet", user_id="u-otto-other", account_id="acme-inc"),
        event(11, anonymous_id="dev-shared-tablet"),
        event(20, anonymous_id="dev-shared-tablet", user_id="u-otto-other"),
        event(21, user_id="u-otto-other", event_name="invite", properties={"to": mention, "page": f"/u/{mention}/x"}),
    ]
    return sorted(ottos + (pats if with_pat else []), key=lambda row: row["occurred_at"])


def write_ndjson(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Newline-delimited JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


VENDOR_ROWS = [
    {"id": "t1", "userId": "u-otto-other", "context_page_path": f"/u/{PAT}"},
    {"id": "t2", "userId": PAT, "context_page_path": "/"},
]


def fill(home: Home, project: Project, folder: Path, *, with_pat: bool) -> None:
    """Loads sample and story, and refreshes; the same loads in both homes."""
    load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source, now=NOW)
    load(home, [write_ndjson(folder / "story.ndjson", story(with_pat=with_pat))], source="story", now=NOW)
    publish_day(project, now=NOW)
    # Loaded and not built yet.
    bad = [{"user_id": PAT, "event_name": "page", "occurred_at": "never"}] if with_pat else []
    load(home, [write_ndjson(folder / "bad.ndjson", [*bad, event(30, user_id="u-otto-other")])], now=NOW)
    tracks = VENDOR_ROWS if with_pat else [VENDOR_ROWS[0] | {"context_page_path": "/u/forgotten"}]
    load(home, [write_ndjson(folder / "tracks.ndjson", tracks)], source="vendor", table="tracks", now=NOW)


def fill_with_traces(folder: Path) -> None:
    """Makes a home full of Pat."""
    home = Home(Settings(home=folder / "home"))
    project = parsed_project(home)
    fill(home, project, folder, with_pat=True)
    run_sync(home, project.catalog, project.catalog.sync("outbox"))
    with home.connect() as connection:
        connection.execute(FAILED_ROWS)
        rows = [(user, json.dumps({"user_id": user, "value": None})) for user in (PAT, "u-otto-other")]
        connection.executemany("insert into state.failed_rows values ('b', 'at_risk', 'value', 2, ?, ?)", rows)
    write_ndjson(home.inbox / "loaded" / "story.ndjson", story(with_pat=True))
    with gzip.open(home.inbox / "loaded" / f"export of {PAT}.csv.gz", "wt") as stream:
        stream.write(f'user,note\nu-otto-other,"asked\nfor {PAT}"\n{PAT},hers\nu-otto-other,his\n')
    (home.logs / "old.log").write_text(f"could not judge {PAT}.\nnor u-other-secret\n")
    (home.root / "data_docs").mkdir(exist_ok=True)
    (home.root / "data_docs" / "index.html").write_text(f"<td>{PAT}</td><td>u-otto-other</td>")
    (home.root / "unknown.bin").write_bytes(b"\xff\xfe" + PAT.encode())
    (home.root / "dagster").mkdir(exist_ok=True)
    with closing(sqlite3.connect(home.root / "dagster" / "runs.sqlite")) as connection, connection:
        connection.execute("create table event_logs (event text)")
        connection.execute("insert into event_logs values (?)", (json.dumps({"observed": PAT}),))


@pytest.fixture(scope="session")
def traced_folder() -> Path:
    """A home full of Pat; copy it, do not touch it."""
    return cached("traced", fill_with_traces) / "home"


@pytest.fixture
def traced_home(traced_folder: Path, tmp_path: Path) -> Home:
    """A copy of the home full of Pat, for one test."""
    return copied(traced_folder, tmp_path / "home")


@pytest.fixture
def traced_project(traced_home: Home, project_in: Callable[[Home], Project]) -> Project:
    """The project in ``traced_home``."""
    return project_in(traced_home)
