"""The command line: exit codes, one JSON object, errors of one sentence and a hint."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from orchestration.cli import app as cli
from orchestration.cli import demo
from orchestration.home import Home
from orchestration.simulator.bundled import SAMPLE
from orchestration.simulator.parameters import Parameters
from orchestration.sync import deliver
from orchestration.transform.dbt import Project

Traithouse = Callable[..., Result]


@pytest.fixture
def traithouse(project_in: Callable[[Home], Project], monkeypatch: pytest.MonkeyPatch) -> Traithouse:
    """Calls the command line in this process, with the project parsed already."""
    monkeypatch.setattr(cli, "Project", project_in)

    def call(*arguments: object, home: Home) -> Result:
        return CliRunner().invoke(cli.main, [*map(str, arguments), "--home", str(home.root)])

    return call


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


def test_every_command_has_help() -> None:
    for name in cli.main.commands:
        result = CliRunner().invoke(cli.main, [name, "--help"])
        assert result.exit_code == 0
        assert "--json" in result.output


def test_run_again_loads_changes_and_delivers_nothing(
    home: Home, traithouse: Traithouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "Parameters", lambda: Parameters(accounts=8, days=60))
    first = traithouse("run", home=home)
    assert first.exit_code == 0
    assert "0 rejected" in first.stdout
    result = traithouse("run", home=home)
    assert result.exit_code == 0
    assert " 0 loaded, " in result.stdout
    assert "unproven on this data" in result.stdout
    assert "Delivered  0 records" in result.stdout
    assert "No new events, no changes, nothing published." in result.stdout


def test_run_refuses_a_production_home(home: Home, traithouse: Traithouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAITHOUSE_ENV", "production")
    assert traithouse("run", home=home).exit_code == 2


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
    assert [one["trait"] for one in status["withheld"]] == ["power_user"]
    assert next(one for one in status["traits"] if one["trait"] == "power_user")["members"] > 0
    text = traithouse("status", home=sample_home).stdout
    assert "power_user: withheld. column_mean_to_be_between: expected" in text


def test_a_failed_delivery_is_exit_code_4(
    sample_home: Home, traithouse: Traithouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "FIRST_BACKOFF_SECONDS", 0.001)
    sample_home.outbox.write_text("a file where the folder should be")
    result = traithouse("sync", home=sample_home)
    assert result.exit_code == 4
    assert "600 failed" in result.stdout
    sample_home.outbox.unlink()
    assert traithouse("sync", home=sample_home).exit_code == 0


@pytest.mark.parametrize("command", [["refresh"], ["load", str(SAMPLE.path), *["--map", "event_name=event"]]])
def test_a_held_warehouse_is_exit_code_5_and_nothing_half_done(
    sample_home: Home, traithouse: Traithouse, command: list[str]
) -> None:
    before = sample_home.status()
    holder = (
        "import sys, time; from pathlib import Path; from orchestration.home import Home, Settings\n"
        f"home = Home(Settings(home=Path({str(sample_home.root)!r})))\n"
        "with home.lock('traithouse refresh'): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        result = traithouse(*command, home=sample_home)
        status = traithouse("status", home=sample_home)
        process.communicate("")
    assert result.exit_code == 5
    assert "The warehouse is busy: `traithouse refresh` (process" in result.stderr
    assert "Running" in status.stdout
    assert sample_home.status() == before


def test_a_program_that_has_the_warehouse_file_open_is_exit_code_5(sample_home: Home, traithouse: Traithouse) -> None:
    holder = (
        f"import duckdb, sys; c = duckdb.connect({str(sample_home.warehouse)!r})\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        result = traithouse("refresh", home=sample_home)
        process.communicate("")
    assert result.exit_code == 5
    assert "another program has the file warehouse.duckdb open" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sync", "inbox"], "There is no sync inbox."),
        (["explain", "user_0001", "--trait", "powr_user"], "There is no trait powr_user."),
        (["explain", "nobody"], "There is no user nobody among the published traits."),
        (["load", "missing.csv"], "There is no file missing.csv."),
        (["load", "x.csv", "--map", "event_name"], "--map event_name is not FIELD=COLUMN."),
        (
            ["refresh", "--as-of", "2024-01-01"],
            "--as-of 2024-01-01 is before 2024-06-30 00:00:00 UTC, which is published.",
        ),
    ],
)
def test_errors_are_one_sentence_and_a_hint(
    sample_home: Home, traithouse: Traithouse, arguments: list[str], message: str
) -> None:
    result = traithouse(*arguments, home=sample_home)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == f"Error: {message}"
    assert result.stderr.splitlines()[1].startswith("Hint: ")
    assert "Traceback" not in result.output


def test_an_error_is_one_json_object_too(home: Home, traithouse: Traithouse) -> None:
    result = traithouse("refresh", "--json", home=home)
    assert json.loads(result.stdout) == {
        "error": "There are no events yet.",
        "hint": "traithouse load FILE... brings them in.",
        "exit_code": 2,
    }


def test_an_unexpected_error_shows_its_traceback_only_when_asked(home: Home, traithouse: Traithouse) -> None:
    home.prepare()
    home.warehouse.write_text("not a database, but long enough to be read as one " * 100)
    quiet = traithouse("refresh", home=home)
    assert (quiet.exit_code, "Traceback" in quiet.output) == (1, False)
    assert "--debug" in quiet.stderr
    loud = traithouse("refresh", "--debug", home=home)
    assert loud.exception is not None
    assert not isinstance(loud.exception, SystemExit)


def test_a_home_of_another_version_is_refused(home: Home, traithouse: Traithouse) -> None:
    home.prepare()
    (home.root / "home.json").write_text('{"version": 99}')
    result = traithouse("refresh", home=home)
    assert result.exit_code == 1
    assert "has version 99" in result.stderr


def test_explain_speaks_in_sentences_whose_numbers_are_the_features(sample_home: Home, traithouse: Traithouse) -> None:
    answer = json.loads(traithouse("explain", "user_0000", "--json", home=sample_home).stdout)
    with duckdb.connect(str(sample_home.warehouse), read_only=True) as connection:
        cursor = connection.execute("select * from features.user_features where user_id = 'user_0000'")
        names = [column[0] for column in cursor.description or ()]
        features = dict(zip(names, cursor.fetchone() or (), strict=True))
    for trait in answer["traits"]:
        assert trait["reason"].endswith(".")
        for name, value in trait["evidence"]["features"].items():
            if name in features:
                assert features[name] == value, (trait["trait"], name)
    shown = traithouse("explain", "user_0000", "--trait", "at_risk", home=sample_home).stdout
    assert "At risk (at_risk): no, since 2024-06-30 00:00:00 UTC" in shown
    assert "Silent for 11 days" in shown


def test_doctor_reports_coverage_and_what_is_unmapped(
    sample_home: Home, traithouse: Traithouse, tmp_path: Path
) -> None:
    report = json.loads(traithouse("doctor", "--json", home=sample_home).stdout)
    assert report["catalogue_coverage"] == [{"source": "shop", "events": 31_076, "mapped": 1.0}]
    assert (report["problems"], report["lock"]) == ([], "free")
    (tmp_path / "new.csv").write_text("user_id,event_name,occurred_at\nuser_0001,teleported,2024-06-29 10:00:00\n")
    traithouse("load", tmp_path / "new.csv", "--source", "shop", home=sample_home)
    traithouse("refresh", home=sample_home)
    report = json.loads(traithouse("doctor", "--json", home=sample_home).stdout)
    assert report["problems"] == ["teleported of shop (1 events) is not in the event catalogue."]


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


def test_broken_derived_files_are_made_anew(sample_home: Home, traithouse: Traithouse) -> None:
    (sample_home.root / "status.json").write_text("x")
    assert traithouse("status", home=sample_home).exit_code == 0
    (sample_home.serving / "current" / "traithouse.duckdb").write_text("junk")
    broken = traithouse("explain", "user_0000", home=sample_home)
    assert (broken.exit_code, "snapshot cannot be read" in broken.stderr) == (1, True)
    assert traithouse("refresh", home=sample_home).exit_code == 0
    assert traithouse("explain", "user_0000", home=sample_home).exit_code == 0


def test_a_wrong_call_is_one_json_object_too() -> None:
    command = [sys.executable, "-m", "orchestration", "explain", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert json.loads(result.stdout)["exit_code"] == 2
    assert result.stderr.startswith("Error: Explain whom?")
