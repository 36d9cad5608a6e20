"""A world in Segment's layout, with a table for each event, says what the same world says in the raw contract."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.simulator.make import make_simulation
from orchestration.simulator.parameters import SOURCE, Parameters
from orchestration.transform.dbt import Project
from tests.builds import publish_day
from tests.conftest import queried
from tests.segment_layout import CALLS, segment_tables, write_tables
from tests.streams.harness import build

CLOCKS = ("2024-06-20", "2024-06-30")


@pytest.fixture
def segment_project(project_copy: Path) -> Path:
    """The project with Segment's adapter alone, to which the catalogue gives the simulator's meanings."""
    settings = project_copy / "dbt_project.yml"
    settings.write_text(settings.read_text().replace("  sources: generic ", "  sources: segment "))
    catalog = project_copy / "seeds" / "event_catalog.csv"
    rows = [line for line in catalog.read_text().splitlines() if line.startswith(f"{SOURCE},")]
    calls = {"Page Viewed": "page", "User Identified": "identify", "Account Identified": "group"}
    for row in rows:
        for name, call in calls.items():
            row = row.replace(f",{name},", f",{call},")
        with catalog.open("a") as file:
            file.write(row.replace(f"{SOURCE},", "segment,", 1) + "\n")
    return project_copy


@pytest.mark.long
def test_traits_are_the_same_row_for_row_whenever_the_tables_come(
    tmp_path: Path, segment_project: Path, project_in: Callable[[Home], Project]
) -> None:
    make_simulation(Parameters(accounts=12, days=90, seed=5, end=date(2024, 6, 30)), tmp_path)
    with gzip.open(tmp_path / "events.ndjson.gz", "rt") as file:
        events = [json.loads(line) for line in file]
    halves = [[e for e in events if (e["received_at"] < CLOCKS[0]) is early] for early in (True, False)]

    own = Home(Settings(home=tmp_path / "own"))
    other = Home(Settings(home=tmp_path / "other", project=segment_project))
    for number, (half, clock) in enumerate(zip(halves, CLOCKS, strict=True)):
        path = tmp_path / f"own_{number}.ndjson"
        path.write_text("".join(json.dumps(event) + "\n" for event in half))
        load(own, [path], source=SOURCE)
        publish_day(project_in(own), as_of=clock)

        files = write_tables(tmp_path / f"tables_{number}", segment_tables(half))
        names = sorted(files, key=lambda name: (name != "tracks") == (number == 0))
        late = [name for name in names if name not in ("tracks", *CALLS.values())][:3] if number == 0 else []
        for name in names:
            if name not in late:
                load(other, [files[name]], source="segment", table=name)
        project = Project(other)
        if late:
            build(other, project, as_of=clock)
        for name in late:
            load(other, [files[name]], source="segment", table=name)
        publish_day(project, as_of=clock)

    differing, compared = {}, 0
    for trait in project_in(own).catalog.traits:
        ours, theirs = (queried(home, f"from {trait.candidate} order by all") for home in (own, other))
        compared += len(ours)
        if ours != theirs:
            differing[trait.name] = len({*map(str, ours)} ^ {*map(str, theirs)})
    assert differing == {}
    assert compared > 600
    assert queried(other, "select count(*) from events.quarantined_events") == [(0,)]
