"""``traithouse``: what every command shares. The commands stand beside this file, by group.

Exit codes: 0 good, 2 usage or unreadable input, 3 some trait withheld, 4 some delivery failed, 5 warehouse busy,
1 anything else.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from orchestration.cli.console import Progress
from orchestration.damage import file_trouble
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Home, Settings
from orchestration.transform.dbt import Project

if TYPE_CHECKING:
    from orchestration.pipeline.asset_events import AssetEvent

UNREADABLE, WITHHELD, UNDELIVERED = 2, 3, 4
_INTERRUPTED = ("Interrupted.", "Run it again: unfinished work is repaired.")


class Call:
    """What every command needs: the home, its project, and how to speak."""

    def __init__(self, home: Path | None, target: str | None, as_json: bool, debug: bool) -> None:
        given: dict[str, Any] = {"home": home, "target": target}
        try:
            settings = Settings(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            where = f"--{name}" if given.get(name) is not None else f"TRAITHOUSE_{name.upper()}"
            raise UsageError(f"{where}: {first['msg']}.", "Correct the option or the environment variable.") from None
        self.home = Home(settings)
        self.as_json = as_json
        self.debug = debug
        self.progress = Progress()

    @functools.cached_property
    def project(self) -> Project:
        """The dbt project, parsed when it is first needed."""
        return Project(self.home)

    def answer(self, value: dict[str, Any], show: Callable[[dict[str, Any]], None]) -> None:
        """One JSON object on stdout, or the same for a person."""
        self.progress.stop()
        if self.as_json:
            click.echo(json.dumps(value, default=str, indent=1))
        else:
            show(value)

    def record(self, events: Iterable[AssetEvent]) -> None:
        """Keeps what was done for Dagster; where it cannot be kept, a message says so and the command goes on."""
        from orchestration.pipeline.outbox import append

        try:
            append(self.home, events)
        except (OSError, TimeoutError) as error:
            self.progress(f"Dagster will not show what was done: {error}")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="traithouse")
def main() -> None:
    """Raw product events in, gated and explained traits out."""


def command_of(group: click.Group) -> Callable[[Callable[..., int | None]], click.Command]:
    """Makes a function ``<name>_command`` a command of a group, with the options that all commands share.

    The function gets a ``Call`` and its own options, and returns an exit code, or nothing for 0.
    """

    def add(function: Callable[..., int | None]) -> click.Command:
        @functools.wraps(function)
        def wrapped(home: Path | None, target: str | None, as_json: bool, debug: bool, **arguments: Any) -> None:
            sys.exit(_guarded(function, home, target, as_json, debug, arguments))

        for option in (
            click.option("--debug", is_flag=True, help="Show the traceback of an error."),
            click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, progress on stderr."),
            click.option("--target", help="Engine: duckdb or spark (TRAITHOUSE_TARGET)."),
            click.option("--home", type=click.Path(path_type=Path), help="Home folder (TRAITHOUSE_HOME)."),
        ):
            wrapped = option(wrapped)
        made = click.command(name=function.__name__.removesuffix("_command"))(wrapped)
        group.add_command(made)
        return made

    return add


def _guarded(
    function: Callable[..., int | None],
    home: Path | None,
    target: str | None,
    as_json: bool,
    debug: bool,
    arguments: dict[str, Any],
) -> int:
    """Calls a command; an error becomes one sentence, a hint and an exit code."""
    call = None
    try:
        call = Call(home, target, as_json, debug)
        return function(call, **arguments) or 0
    except TraithouseError as error:
        if debug:
            raise
        return _complain(error.message, error.hint, error.exit_code, as_json)
    except KeyboardInterrupt:
        return _complain(*_INTERRUPTED, 1, as_json)
    except OSError as error:
        if debug:
            raise
        told = file_trouble(error, call.home.root if call else Path.cwd())
        return _complain(told.message, told.hint, told.exit_code, as_json)
    except Exception as error:
        if debug:
            raise
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = "Run it again with --debug to see the traceback."
        return _complain(f"{type(error).__name__}: {first_line}", hint, 1, as_json)
    finally:
        if call:
            call.progress.stop()


def _complain(message: str, hint: str, exit_code: int, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"error": message, "hint": hint, "exit_code": exit_code}))
    click.echo(f"Error: {message}", err=True)
    if hint:
        click.echo(f"Hint: {hint}", err=True)
    return exit_code


def entry() -> None:
    """Runs the command line; a wrong call is answered like every other error."""
    logging.raiseExceptions = False  # where dbt's log cannot be written, the command says why itself
    try:
        main.main(prog_name="traithouse", standalone_mode=False)
    except click.Abort:
        sys.exit(_complain(*_INTERRUPTED, 1, "--json" in sys.argv))
    except click.UsageError as error:
        hint = f"{error.ctx.command_path} --help" if error.ctx else "traithouse --help"
        sys.exit(_complain(error.format_message(), hint, 2, "--json" in sys.argv))
