"""What can be tested of the engine Spark without Spark; tests/spark has the rest."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from orchestration.errors import UsageError
from orchestration.home import PROJECT_ROOT, Home, Settings
from orchestration.measurement.replay import Replay
from orchestration.spark.pull import READ_AT_HOME, READ_TO_FORGET
from orchestration.spark.session import open_session
from orchestration.transform.dbt import Project

STAGE_TABLE = re.compile(
    r"\b(?:from|join|into|update|exists)\s+((?:events|identity|entities|sessions|activity|features)\.\w+)(?![\w{])"
)


def read_in(*rooms: str) -> set[str]:
    """Tables of stages that statements in some rooms name."""
    found: set[str] = set()
    for room in rooms:
        for source in (PROJECT_ROOT / "orchestration" / room).rglob("*.py"):
            found |= set(STAGE_TABLE.findall(source.read_text()))
    return found


def test_what_the_home_reads_of_the_models_comes_back() -> None:
    read = read_in("gates", "publishing", "published", "mapping", "serving", "pipeline")
    assert "events.event_log" in read
    # Duplicates are not counted again where the rows that were checked are on Spark.
    assert read - {"events.checked_events"} <= set(READ_AT_HOME)
    assert read_in("admin") - set(READ_AT_HOME) == set(READ_TO_FORGET)


def test_an_engine_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(UsageError, match="needs pyspark and dbt-spark"):
        open_session()


def test_the_past_is_not_replayed_by_another_engine(tmp_path: Path, project: Project) -> None:
    home = Home(Settings(home=tmp_path, target="spark"))
    with pytest.raises(UsageError, match="Looking at the past runs the models in DuckDB"):
        Replay(project.replace(home), ())
