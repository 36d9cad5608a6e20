"""Refresh and publish from the command line."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from orchestration.cli import app as cli
from orchestration.home import Home
from orchestration.simulator.bundled import SAMPLE

Traithouse = Callable[..., Result]


def test_the_whole_line_from_an_empty_home(home: Home, traithouse: Traithouse) -> None:
    load = ("load", SAMPLE.path, "--map", "event_name=event", "--map", "occurred_at=timestamp", "--source", "shop")
    first = traithouse(*load, "--json", home=home)
    assert first.exit_code == 0
    assert json.loads(first.stdout)["accepted"] == 31_076
    assert traithouse("status", home=home).exit_code == 0
    refreshed = traithouse("refresh", "--json", home=home)
    assert refreshed.exit_code == 0
    verdicts = {t["trait"]: t["verdict"] for t in json.loads(refreshed.stdout)["traits"]}
    assert {name: verdicts[name] for name in ("at_risk", "power_user", "lifecycle_stage")} == {
        "at_risk": "passed",
        "power_user": "passed",
        "lifecycle_stage": "passed",
    }
    assert "failed" not in verdicts.values()
    synced = traithouse("sync", "--json", home=home)
    assert json.loads(synced.stdout)["syncs"][0]["delivered"] == 600


@pytest.mark.long
def test_a_withheld_trait_is_exit_code_3_and_status_says_why(
    sample_home: Home, traithouse: Traithouse, project_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_in(sample_home)
    strict = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "value_number", "max_value": 0.0}}
    broken = [
        t.model_copy(update={"gate": (t.gate[0].model_copy(update=strict),)}) if t.name == "power_user" else t
        for t in project.catalog.traits
    ]
    project = project.replace(catalog=project.catalog.model_copy(update={"traits": tuple(broken)}))
    monkeypatch.setattr(cli, "Project", lambda home: project)
    result = traithouse("refresh", home=sample_home)
    assert result.exit_code == 3
    assert "power_user: withheld. column_mean_to_be_between" in result.stdout
    status = json.loads(traithouse("status", "--json", home=sample_home).stdout)
    assert [trait["trait"] for trait in status["withheld"]] == ["power_user"]
    assert next(trait for trait in status["traits"] if trait["trait"] == "power_user")["members"] > 0
    text = traithouse("status", home=sample_home).stdout
    assert "power_user: withheld. column_mean_to_be_between: expected" in text
    assert "publish --trait TRAIT --waive" in text


def test_a_few_events_are_not_enough_evidence_and_no_failure(
    home: Home, traithouse: Traithouse, tmp_path: Path
) -> None:
    (tmp_path / "few.csv").write_text(
        "user_id,event_name,occurred_at\nu1,product_view,2025-01-01\nu2,product_view,2025-01-02\n"
    )
    assert traithouse("load", tmp_path / "few.csv", "--source", "shop", home=home).exit_code == 0
    result = traithouse("refresh", home=home)
    assert result.exit_code == 0
    assert "power_user: not enough evidence. Only 2 users were active" in result.stdout
    assert json.loads(traithouse("status", "--json", home=home).stdout)["withheld"] == []


@pytest.mark.long
def test_events_that_mean_nothing_to_the_catalogue_publish_nothing(home: Home, traithouse: Traithouse) -> None:
    load = ("load", SAMPLE.path, "--map", "event_name=event", "--map", "occurred_at=timestamp", "--source", "other")
    assert traithouse(*load, home=home).exit_code == 0
    result = traithouse("refresh", home=home)
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert re.search(r"power_user[\w, ]*: not enough evidence\. No loaded event means core_value", said)
    assert json.loads(traithouse("status", "--json", home=home).stdout)["served_build"] is not None
    # What needs no behaviour is published all the same.
    assert traithouse("explain", "user_0000", "--trait", "power_user", home=home).exit_code == 2
    assert traithouse("explain", "user_0000", "--trait", "dormant", home=home).exit_code == 0


@pytest.mark.long
def test_broken_derived_files_are_written_again(sample_home: Home, traithouse: Traithouse) -> None:
    (sample_home.root / "status.json").write_text("x")
    assert traithouse("status", home=sample_home).exit_code == 0
    (sample_home.serving / "current" / "traithouse.duckdb").write_text("junk")
    broken = traithouse("explain", "user_0000", home=sample_home)
    assert (broken.exit_code, "is damaged, so nothing is served" in broken.stderr) == (1, True)
    assert traithouse("refresh", home=sample_home).exit_code == 0
    assert traithouse("explain", "user_0000", home=sample_home).exit_code == 0
