"""``traithouse``: a thin face on the functions that the Dagster assets call.

Exit codes: 0 good, 2 usage or unreadable input, 3 some trait withheld, 4 some delivery failed, 5 warehouse busy,
1 anything else.
"""

from __future__ import annotations

import functools
import getpass
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from orchestration.admin.backup import backup
from orchestration.admin.restore import restore
from orchestration.cli import console as report
from orchestration.declarations.catalog import Sync
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Home, Settings
from orchestration.landing.declared import declared_pulls
from orchestration.landing.load import load
from orchestration.landing.pull import pull
from orchestration.mapping.suggest import append, suggest
from orchestration.pipeline.backfill import backfill
from orchestration.pipeline.diff import diff
from orchestration.pipeline.forget import forget
from orchestration.pipeline.refresh import publish_build, refresh, serve_elsewhere, waive_trait
from orchestration.pipeline.status import doctor, examples, explain, home_status
from orchestration.publishing.publish import PublishReport
from orchestration.publishing.rollback import rollback
from orchestration.simulator.bundled import SAMPLE
from orchestration.simulator.make import make_simulation
from orchestration.simulator.parameters import DEFAULT_END, Parameters, read_end
from orchestration.simulator.write import EVENTS
from orchestration.sync.engine import EVERY_SYNC, SyncReport, pause, run_sync, why_not
from orchestration.transform.clock import days_before, local_date
from orchestration.transform.dbt import Project

UNREADABLE, WITHHELD, UNDELIVERED = 2, 3, 4
STABILITY_DAYS = 28


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
        self.progress = report.Progress()

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


def command(function: Callable[..., int | None]) -> click.Command:
    """A command with the options that all share; errors become one sentence and a hint."""

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
    return click.command(name=function.__name__.removesuffix("_command"))(wrapped)


def _guarded(
    function: Callable[..., int | None],
    home: Path | None,
    target: str | None,
    as_json: bool,
    debug: bool,
    arguments: dict[str, Any],
) -> int:
    call = None
    try:
        call = Call(home, target, as_json, debug)
        return function(call, **arguments) or 0
    except TraithouseError as error:
        if debug:
            raise
        return _complain(error.message, error.hint, error.exit_code, as_json)
    except KeyboardInterrupt:
        return _complain("Interrupted.", "Run it again; what was begun is made good.", 1, as_json)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}.", "Check the path and its rights (--home).", 1, as_json)
    except Exception as error:
        if debug:
            raise
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return _complain(
            f"{type(error).__name__}: {first_line}",
            "Run it again with --debug for the traceback.",
            1,
            as_json,
        )
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
    """Run the command line; a wrong call is answered like every other error."""
    try:
        main.main(prog_name="traithouse", standalone_mode=False)
    except click.Abort:
        sys.exit(_complain("Interrupted.", "Run it again; what was begun is made good.", 1, "--json" in sys.argv))
    except click.UsageError as error:
        hint = f"{error.ctx.command_path} --help" if error.ctx else "traithouse --help"
        sys.exit(_complain(error.format_message(), hint, 2, "--json" in sys.argv))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="traithouse")
def main() -> None:
    """Raw product events in, gated and explained traits out."""


@main.add_command
@command
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="FIELD=COLUMN",
    help="Which column gives a field of an event.",
)
@click.option("--timezone", default="UTC", show_default=True, help="Zone of times without an offset.")
@click.option("--source", help="Name of the source (default: generic).")
@click.option("--table", help="Land the rows unchanged in raw_<source>.<table>.")
@click.option("--keep-repeats", is_flag=True, help="Equal rows of one file are separate events.")
def load_command(
    call: Call,
    files: tuple[Path, ...],
    mapping: tuple[str, ...],
    timezone: str,
    source: str | None,
    table: str | None,
    keep_repeats: bool,
) -> None:
    """Load CSV, NDJSON or Parquet FILES (also .gz, .zst) into schema raw."""
    pairs = [pair.partition("=") for pair in mapping]
    for field, equals, column in pairs:
        if not (field and equals and column):
            raise UsageError(f"--map {field}{equals}{column} is not FIELD=COLUMN.", "--map occurred_at=timestamp")
    loaded = load(
        call.home,
        files,
        mapping={field: column for field, _, column in pairs},
        timezone=timezone,
        source=source,
        table=table,
        keep_repeats=keep_repeats,
        notify=call.progress,
    )
    call.answer(loaded.as_dict(), report.show_load)


@main.add_command
@command
@click.argument("source", required=False)
def pull_command(call: Call, source: str | None) -> int:
    """Copy what is new from where the sources declare it to be (`pull`), all of them or SOURCE, into schema raw."""
    declared = declared_pulls(call.project.manifest_dict)
    chosen = [one for one in declared if source in (None, one.source)]
    if not chosen:
        what = "No source declares" if source is None else f"{source} does not declare"
        raise UsageError(f"{what} where to pull from.", "Say it in models/staging/<source>/_<source>.yml: meta.pull.")
    reports = pull(call.home, chosen, notify=call.progress)
    call.answer({"pulls": [one.as_dict() for one in reports]}, report.show_pulls)
    return UNREADABLE if any(one.failed for one in reports) else 0


@main.add_command
@command
@click.option(
    "--as-of",
    help="Clock of the build: a date (its end) or a time; default: now, or the end of the data.",
)
@click.option("--full-refresh", is_flag=True, help="Rebuild everything from raw.")
def refresh_command(call: Call, as_of: str | None, full_refresh: bool) -> int:
    """Transform, judge and publish what was loaded."""
    _, published = refresh(call.project, as_of=as_of, full_refresh=full_refresh, notify=call.progress)
    call.answer(published.as_dict(), report.show_refresh)
    return _exit_code(published)


@main.add_command
@command
@click.option("--trait", help="With --waive: which withheld trait.")
@click.option("--waive", "why", help="Why its unusual values are real; recorded with who, when and what was observed.")
def publish_command(call: Call, trait: str | None, why: str | None) -> int:
    """Publish what passed in the current build once more; or let a withheld trait through on a person's word."""
    if (trait is None) != (why is None):
        raise UsageError("--trait and --waive belong together.", 'traithouse publish --trait T --waive "reason"')
    if trait is None or why is None:
        published = publish_build(call.project, notify=call.progress)
    else:
        published = waive_trait(call.project, trait, why=why, who=_person(), notify=call.progress)
    call.answer(published.as_dict(), report.show_refresh)
    return _exit_code(published)


@main.add_command
@command
@click.option("--to", help="Build to go back to; default: the one before the newest.")
@click.option("--reason", "why", required=True, help="Why; recorded.")
def rollback_command(call: Call, to: str | None, why: str) -> None:
    """Publish the values of an earlier build again, by compensating rows in the ledger."""
    done = rollback(call.home, call.project.catalog, to=to, who=_person(), why=why, notify=call.progress)
    serve_elsewhere(call.project, notify=call.progress)
    call.answer(done.as_dict(), report.show_rollback)


def _person() -> str:
    return os.environ.get("TRAITHOUSE_USER") or getpass.getuser()


@main.add_command
@command
@click.option("--from", "first", required=True, type=click.DateTime(["%Y-%m-%d"]), help="First day.")
@click.option("--to", "last", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Last day, included.")
@click.option("--trait", "traits", multiple=True, help="This trait alone; may be given more than once.")
def backfill_command(call: Call, first: datetime, last: datetime, traits: tuple[str, ...]) -> None:
    """Write the history of days before a trait was published; it is never sent. Cut off, it goes on when run again."""
    done = backfill(call.project, first.date(), last.date(), traits=traits, notify=call.progress)
    call.answer(done.as_dict(), report.show_backfill)


@main.add_command
@command
@click.option("--trait", required=True, help="Whose definition.")
def diff_command(call: Call, trait: str) -> None:
    """What the definition of a trait, as it stands now, would change; nothing is published."""
    call.answer(diff(call.project, trait, notify=call.progress).as_dict(), report.show_diff)


@main.group("catalog")
def catalog_group() -> None:
    """What events mean, seeds/event_catalog.csv; each subcommand has --json, too."""


@catalog_group.add_command
@command
@click.option("--append", "write", is_flag=True, help="Write the proposed rows to seeds/event_catalog.csv.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="How many events, most frequent.")
def suggest_command(call: Call, write: bool, limit: int) -> None:
    """List events that the catalogue does not know, with examples and a proposed row each."""
    found = suggest(call.home, limit)
    answer = found.as_dict()
    if write and not call.as_json:
        call.answer(answer, report.show_suggestions)
    if write:
        answer = {"appended": append(call.home, found.rows), "guesses": sum(row.guess for row in found.rows)} | (
            answer if call.as_json else {}
        )
    call.answer(answer, report.show_appended if write else report.show_suggestions)


@main.add_command
@command
@click.option("--accounts", default=Parameters.accounts, show_default=True, help="How many companies.")
@click.option("--days", default=Parameters.days, show_default=True, help="Length of the window.")
@click.option("--seed", default=Parameters.seed, show_default=True, help="Another seed is another world.")
@click.option(
    "--difficulty",
    default=Parameters.difficulty,
    show_default=True,
    help="0 is clean behaviour, 1 is noise and states that look alike.",
)
@click.option("--end", default=str(DEFAULT_END), show_default=True, help="Midnight UTC at which it ends, excluded.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to; default: sandbox in the home folder.")
def sandbox_command(
    call: Call, accounts: int, days: int, seed: int, difficulty: float, end: str, folder: Path | None
) -> None:
    """Make synthetic events of an invented product whose hidden truth is known; the same call, the same bytes."""
    parameters = Parameters(accounts, days, seed, difficulty, read_end(end))
    if folder is None:
        call.home.prepare()
        folder = call.home.root / "sandbox"
    made = make_simulation(parameters, folder, call.progress)
    call.answer(made.as_dict(), report.show_sandbox)


@main.add_command
@command
@click.option("--trait", "traits", multiple=True, help="This trait alone; may be given several times.")
@click.option("--as-of", help="What is known; a date (its end) or a time. Default: that of the last build.")
def learn_command(call: Call, traits: tuple[str, ...], as_of: str | None) -> None:
    """Learn the scores of score traits from the past and test them out of time; the next refresh uses them."""
    from orchestration.learning.learn import learn  # brings scikit-learn, which no other command waits for

    learned = learn(call.project, traits=traits, as_of=as_of, notify=call.progress)
    call.answer({"scores": [one.as_dict() for one in learned]}, report.show_learned)


@main.add_command
@command
@click.argument("name", required=False)
@click.option("--dry-run", is_flag=True, help="Show what would be sent.")
@click.option("--force", is_flag=True, help="Send also what the breaker refuses.")
@click.option("--retry-refused", is_flag=True, help="Send again what was refused and has not changed.")
@click.option("--entity", help="Tell when this user or account went, or why it did not; send nothing.")
@click.option("--pause", "why", help="Send nothing more, for this reason; without NAME: no sync at all.")
@click.option("--resume", is_flag=True, help="Go on after a pause.")
def sync_command(
    call: Call,
    name: str | None,
    dry_run: bool,
    force: bool,
    retry_refused: bool,
    entity: str | None,
    why: str | None,
    resume: bool,
) -> int:
    """Deliver changes of published traits to where the syncs say; all of them, or NAME."""
    catalog = call.project.catalog
    if why or resume:
        pause(call.home, catalog, name or EVERY_SYNC, None if resume else why)
        call.answer({"sync": name or "every sync", "paused": None if resume else why}, report.show_pause)
        return 0
    chosen = [catalog.sync(name)] if name else catalog.syncs
    if entity:
        told = {one.name: why_not(call.home, catalog, one, entity) for one in chosen}
        call.answer({"entity": entity, "syncs": told}, report.show_entity_syncs)
        return 0
    reports = _sync_all(call, chosen, dry_run=dry_run, force=force, retry_refused=retry_refused)
    call.answer({"syncs": [one.as_dict() for one in reports]}, report.show_syncs)
    return UNDELIVERED if any(one.error for one in reports) else 0


def _sync_all(call: Call, chosen: Sequence[Sync], *, dry_run: bool = False, **how: bool) -> list[SyncReport]:
    reports = []
    for one in chosen:
        try:
            reports.append(run_sync(call.home, call.project.catalog, one, dry_run=dry_run, notify=call.progress, **how))
        except UsageError as error:
            # One sync that cannot run must not hold the others.
            if len(chosen) == 1:
                raise
            reports.append(SyncReport(one.name, one.destination, dry_run, error=f"{error.message} {error.hint}"))
    return reports


@main.add_command
@command
def status_command(call: Call) -> None:
    """What is loaded, fresh, published, withheld and why; also while a refresh runs."""
    call.answer(home_status(call.home), report.show_status)


@main.add_command
@command
@click.argument("entity", required=False)
@click.option("--examples", "count", type=click.IntRange(1), help="So many entities of each trait, instead of ENTITY.")
@click.option("--entity-type", type=click.Choice(["user", "account"]), default="user", show_default=True)
@click.option("--trait", help="This trait alone.")
def explain_command(call: Call, entity: str | None, count: int | None, entity_type: str, trait: str | None) -> None:
    """Why ENTITY has the traits it has."""
    if count:
        drawn = examples(call.home, call.project.catalog, count, trait=trait)
        call.answer({"examples": drawn}, report.show_examples)
        return
    if entity is None:
        raise UsageError("Explain whom?", "traithouse explain ENTITY, or --examples 10.")
    found = explain(call.home, call.project.catalog, entity, entity_type=entity_type, trait=trait)
    call.answer({"entity_type": entity_type, "entity_id": entity, "traits": found}, report.show_explanation)


@main.add_command
@command
@click.argument("entity")
@click.option("--entity-type", type=click.Choice(["user", "account"]), default="user", show_default=True)
@click.option("--accept-loss", is_flag=True, help="Rebuild without raw rows that were deleted for their age.")
def forget_command(call: Call, entity: str, entity_type: str, accept_loss: bool) -> int:
    """Delete ENTITY and all that was merged with it from the whole home, for good; then everything is rebuilt."""
    done, published = forget(call.project, entity, entity_type, accept_loss=accept_loss, notify=call.progress)
    call.answer({"forgotten": done.as_dict(), "refresh": published.as_dict()}, report.show_forgotten)
    return _exit_code(published)


@main.add_command
@command
@click.option("--to", type=click.Path(path_type=Path), help="Folder for it; default: backups in the home folder.")
def backup_command(call: Call, to: Path | None) -> None:
    """Copy warehouse, served snapshot and sync ledgers, all of one moment."""
    call.answer(backup(call.project, to, notify=call.progress).as_dict(), report.show_backup)


@main.add_command
@command
@click.argument("backup", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace what the home holds; it is kept aside.")
def restore_command(call: Call, backup: Path, force: bool) -> None:
    """Make the home what it was when BACKUP was made; who was forgotten since stays forgotten."""
    done = restore(call.project, backup, force=force, notify=call.progress)
    call.answer(done.as_dict(), report.show_restored)


@main.add_command
@command
def doctor_command(call: Call) -> None:
    """Home, lock, versions, declarations, catalogue coverage."""
    call.answer(doctor(call.project), report.show_doctor)


@main.add_command
@command
def run_command(call: Call) -> int:
    """The whole line on the bundled sample and a synthetic one: load, refresh, learn, backfill, sync, one summary."""
    call.home.need_models_here("traithouse run (it learns from the past)")
    if call.home.settings.is_production:
        raise UsageError(
            "The sample does not belong into a production home.",
            "traithouse load FILE..., then refresh.",
        )
    home, project, notify = call.home, call.project, call.progress
    made = make_simulation(Parameters(), home.root / "sandbox", notify)
    loads = [
        load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source, notify=notify),
        load(home, [Path(made.folder) / EVENTS], source=made.source, notify=notify),
    ]
    written, published = refresh(project, notify=notify)
    if published.published:
        # Scores are learned from the past that is now known, and 28 days of history say how steady a trait is.
        from orchestration.learning.learn import learn

        learn(project, notify=notify)
        last = local_date(days_before(written.build.as_of, 2, project.time_zone), project.time_zone)
        backfill(project, last - timedelta(days=STABILITY_DAYS - 1), last, notify=notify)
        _, published = refresh(project, notify=notify)
    synced = _sync_all(call, project.catalog.syncs) if published.snapshot else []
    summary = {
        "load": {name: sum(getattr(one, name) for one in loads) for name in ("accepted", "duplicates", "rejected")},
        "refresh": published.as_dict(),
        "syncs": [one.as_dict() for one in synced],
        "status": home_status(home),
    }
    call.answer(summary, report.show_summary)
    if any(one.error for one in synced):
        return UNDELIVERED
    return _exit_code(published)


def _exit_code(published: PublishReport) -> int:
    if published.withheld:
        return WITHHELD
    return 1 if published.failed_models else 0


@main.add_command
@command
@click.option("--port", default=3000, show_default=True, help="Port on 127.0.0.1.")
def dev_command(call: Call, port: int) -> None:
    """Open the Dagster UI on loopback."""
    from orchestration.defs.instance import dagster_environment

    environment = dagster_environment(call.home)
    call.progress.stop()
    click.echo(
        f"Dagster on http://127.0.0.1:{port} (home {call.home.root}); stop it with Ctrl-C.",
        err=True,
    )
    arguments = ["dev", "-m", "orchestration.definitions", "-h", "127.0.0.1", "-p", str(port)]
    os.chdir(call.home.settings.project)
    os.execve(Path(sys.executable).with_name("dagster"), ["dagster", *arguments], environment)  # noqa: S606
