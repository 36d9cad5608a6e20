"""Failures that the event catalogue does not map are said to be unknown, and never that there were none."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.simulator.bundled import SAMPLE
from orchestration.transform.dbt import Project
from tests.builds import publish_day
from tests.conftest import queried, served


@pytest.mark.long
def test_a_trait_of_failures_that_nobody_maps_is_not_judged_and_says_so(tmp_path: Path, project_copy: Path) -> None:
    catalog = project_copy / "seeds" / "event_catalog.csv"
    rows = catalog.read_text().splitlines(keepends=True)
    kept = [row for row in rows if not (row.startswith("shop,") and row.rstrip().endswith(",failure"))]
    assert len(rows) - len(kept) == 3
    catalog.write_text("".join(kept))
    home = Home(Settings(home=tmp_path / "home", project=project_copy))
    load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source)
    publish_day(Project(home), as_of="2024-06-29")

    verdicts = dict(queried(home, "select trait, verdict || ': ' || reason from state.gate_verdicts"))
    assert verdicts["stuck"] == (
        "not_enough_evidence: No loaded event means a step's failure, which this trait needs; "
        "seeds/event_catalog.csv says what events mean."
    )
    rules = queried(home, "select distinct evidence->>'rule', value from candidates.stuck")
    assert rules == [("not_observed", False)]
    assert served(home, "select count(*) from traits.trait_values where trait = 'stuck'") == [(0,)]
    said = served(home, "select distinct reason from traits.trait_values where reason like '%failed%'")
    assert said == []
