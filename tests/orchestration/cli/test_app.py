"""What all commands share: exit codes, one JSON object, errors of one sentence and a hint."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import click
import pytest
from click.testing import CliRunner, Result

from orchestration.cli import app as cli
from orchestration.home import Home
from orchestration.simulator.bundled import SAMPLE

Traithouse = Callable[..., Result]


def commands(group: click.Group, *before: str) -> Iterator[list[str]]:
    """Names of every command, with the groups that it stands in."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        else:
            yield [*before, name]


def test_every_command_has_help_and_the_shared_options() -> None:
    names = list(commands(cli.main))
    assert {"load", "refresh", "sync", "status", "forget", "simulate"} <= {name for name, *_ in names}
    for name in names:
        result = CliRunner().invoke(cli.main, [*name, "--help"])
        assert result.exit_code == 0
        assert all(option in result.output for option in ("--home", "--target", "--json", "--debug")), name


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


def test_an_unexpected_error_shows_its_traceback_only_when_asked(
    home: Home, traithouse: Traithouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAITHOUSE_MEMORY_LIMIT", "much")
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


def test_a_wrong_call_is_one_json_object_too() -> None:
    command = [sys.executable, "-m", "orchestration", "explain", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert json.loads(result.stdout)["exit_code"] == 2
    assert result.stderr.startswith("Error: No entity is given.")


LIGHT = """
import sys
from click.testing import CliRunner
from orchestration.cli.app import main
result = CliRunner().invoke(main, sys.argv[1:])
assert result.exit_code == 0, result.output
heavy = {"dbt", "great_expectations", "sklearn", "scipy", "pandas", "numpy", "dagster", "sqlalchemy", "pyspark"}
print(sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["refresh", "--help"], ["status"]])
def test_help_and_status_import_nothing_heavy(home: Home, arguments: list[str]) -> None:
    """In a process of its own, for this one has imported everything already."""
    where = ["--home", str(home.root)] if arguments == ["status"] else []
    command = [sys.executable, "-c", LIGHT, *arguments, *where]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "[]\n"), found.stderr
