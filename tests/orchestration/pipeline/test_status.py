"""Status: its sources, and that it answers while a refresh runs."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestration.cli import app as cli
from orchestration.home import PROJECT_ROOT, Home
from orchestration.landing.load import load
from orchestration.pipeline.refresh import write_and_audit
from orchestration.pipeline.status import home_status
from orchestration.transform.dbt import Project


@pytest.mark.long
def test_status_answers_while_a_refresh_runs(sample_home: Home) -> None:
    """The refresh is a real one, in another process."""
    command = [
        sys.executable,
        "-m",
        "orchestration",
        "refresh",
        "--as-of",
        "2024-07-01",
        "--home",
        str(sample_home.root),
    ]
    seen = []
    with subprocess.Popen(
        [*command, "--json"], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        while process.poll() is None:
            status = home_status(sample_home)
            seen.append((status["running"] or {}).get("stage"))
            assert status["served_build"] is not None
            assert {"at_risk", "power_user"} <= {trait["trait"] for trait in status["traits"]}
            time.sleep(0.1)
        output, _ = process.communicate()
    assert process.returncode == 0
    assert json.loads(output)["build_id"] == "000002-20240702T000000Z"
    assert {"transforming", "publishing"} <= set(seen)
    after = home_status(sample_home)
    assert (after["busy"], after["running"], after["served_build"]) == (None, None, "000002-20240702T000000Z")


@pytest.mark.long
def test_each_source_is_shown_with_its_newest_load_its_last_verdict_and_the_reason(
    sample_home: Home, sample_project: Project, events_file: Callable[..., Path]
) -> None:
    [shop] = home_status(sample_home)["sources"]
    assert (shop["source"], shop["build_id"]) == ("shop", "000001-20240630T000000Z")
    assert (shop["verdict"], shop["reason"]) == ("passed", "")

    good = {"event_name": "Ticket Opened", "occurred_at": "2024-06-29T08:00:00", "user_id": "user_0001"}
    refused = [{**good, "occurred_at": f"soon, {number}"} for number in range(3)]
    load(sample_home, [events_file([good, *refused])], source="desk", now=datetime(2024, 6, 30, 9))
    loaded = {"loaded_at": "2024-06-30 09:00:00", "newest_event_at": "2024-06-29 08:00:00"}
    unjudged = {"build_id": None, "verdict": None, "reason": None}
    assert home_status(sample_home)["sources"] == [{"source": "desk", **loaded, **unjudged}, shop]
    assert "Source     desk: loaded 2024-06-30 09:00:00 UTC, not judged\n" in status_text(sample_home)

    written = write_and_audit(sample_project, as_of="2024-06-30")
    desk, _ = home_status(sample_home)["sources"]
    assert desk.items() >= {**loaded, "build_id": written.build.build_id, "verdict": "failed"}.items()
    assert desk["reason"].startswith("rejected: expected at most half of the new rows refused, found 3 of 4: ")
    text = status_text(sample_home)
    unwrapped = " ".join(text.split())
    assert "Source desk: loaded 2024-06-30 09:00:00 UTC, failed. rejected: expected at most half " in unwrapped
    assert "Source     shop: loaded " in text
    assert [line for line in text.splitlines() if len(line) > 120 and str(sample_home.root) not in line] == []


def status_text(home: Home) -> str:
    """As a person reads it."""
    return CliRunner().invoke(cli.main, ["status", "--home", str(home.root)]).output
