"""Commands that bring events in, and say what they mean: load, pull, catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from orchestration.cli.app import UNREADABLE, Call, command_of, main
from orchestration.cli.console import OUT, count_of
from orchestration.errors import UsageError
from orchestration.mapping.suggest import append, suggest


@command_of(main)
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
    from orchestration.landing.load import load
    from orchestration.pipeline.asset_events import of_load

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
    call.record([of_load(call.home, loaded, f"{len(files)} files")])
    call.answer(loaded.as_dict(), show_load)


def show_load(load: dict[str, Any]) -> None:
    """What a load added."""
    OUT.print(
        f"{load['accepted']:,} loaded into {load['table']}, {load['duplicates']:,} duplicate,"
        f" {load['rejected']:,} rejected"
    )
    for reason, count in load["reasons"].items():
        OUT.print(f"  {count:,} rejected: {escape(reason)}")
    if load["reasons"]:
        OUT.print("  They are kept in raw.rejected_events.")
    if load["forgotten"]:
        OUT.print(f"  {load['forgotten']:,} left out: of somebody who was forgotten.")


@command_of(main)
@click.argument("source", required=False)
def pull_command(call: Call, source: str | None) -> int:
    """Copy what is new from where the sources declare it to be (`pull`), all of them or SOURCE, into schema raw."""
    from orchestration.landing.declared import declared_pulls
    from orchestration.landing.pull import pull
    from orchestration.pipeline.asset_events import of_load

    declared = declared_pulls(call.project.manifest_dict)
    chosen = [one for one in declared if source in (None, one.source)]
    if not chosen:
        what = "No source declares" if source is None else f"{source} does not declare"
        raise UsageError(f"{what} where to pull from.", "Say it in models/staging/<source>/_<source>.yml: meta.pull.")
    reports = pull(call.home, chosen, notify=call.progress)
    call.record(of_load(call.home, report, f"pulled from {report.source}") for report in reports)
    call.answer({"pulls": [one.as_dict() for one in reports]}, show_pulls)
    return UNREADABLE if any(one.failed for one in reports) else 0


def show_pulls(answer: dict[str, Any]) -> None:
    """What each pull added."""
    for one in answer["pulls"]:
        if one["error"] and not one["load_id"]:
            OUT.print(f"[red]{one['table']}[/]: {escape(one['error'])}", soft_wrap=True)
            continue
        show_load(one)
        for path, reason in one["refused"].items():
            OUT.print(f"  [red]not read[/] {escape(path)}: {escape(reason)}", soft_wrap=True)
        if one["error"]:
            OUT.print(f"  [red]{escape(one['error'])}[/]")


@main.group("catalog")
def catalog_group() -> None:
    """What events mean, seeds/event_catalog.csv; each subcommand has --json, too."""


@command_of(catalog_group)
@click.option("--append", "write", is_flag=True, help="Write the proposed rows to seeds/event_catalog.csv.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="How many events, most frequent.")
def suggest_command(call: Call, write: bool, limit: int) -> None:
    """List events that the catalogue does not know, with examples and a proposed row each."""
    found = suggest(call.home, limit)
    answer = found.as_dict()
    if write and not call.as_json:
        call.answer(answer, show_suggestions)
    if write:
        answer = {"appended": append(call.home, found.rows), "guesses": sum(row.guess for row in found.rows)} | (
            answer if call.as_json else {}
        )
    call.answer(answer, show_appended if write else show_suggestions)


def show_suggestions(answer: dict[str, Any]) -> None:
    """Unmapped events, what is proposed for each and what of it is a guess; then the rows to paste."""
    if not answer["events"]:
        OUT.print("The catalogue knows every event.")
        return
    for one in answer["events"]:
        seen = f"{one['first_seen_at']:%Y-%m-%d} to {one['last_seen_at']:%Y-%m-%d}"
        OUT.print(
            f"[bold]{escape(one['event_name'])}[/] of {one['source']}: {count_of(one['event_count'], 'event')}, {seen}",
            soft_wrap=True,
        )
        for example in one["examples"]:
            OUT.print(f"    {escape(example)}", style="dim", soft_wrap=True)
        for row in one["rows"]:
            OUT.print(f"  {_proposal(row)}", soft_wrap=True)
        if one["note"]:
            OUT.print(f"  no proposal: {escape(one['note'])}", soft_wrap=True)
    if answer["left_out"]:
        OUT.print(f"{answer['left_out']:,} rarer events are left out (--limit).")
    if answer["csv"]:
        OUT.print("\nFor seeds/event_catalog.csv; look at each guess, then refresh:", style="bold")
        OUT.out(answer["csv"], highlight=False, end="")


def _proposal(row: dict[str, Any]) -> str:
    where = f"{row['property']} starts with {row['pattern']}: " if row["pattern"] else ""
    said = [row["behaviour"], *(f"{name} {row[name]}" for name in ("feature", "step", "outcome") if row[name])]
    mark = "[yellow]guess[/]" if row["guess"] else "[green]rule[/] "
    return f"{mark} {escape(where + ', '.join(said))} [dim]({escape(row['why'])})[/]"


def show_appended(answer: dict[str, Any]) -> None:
    """What was written to the seed."""
    OUT.print(f"{answer['appended']:,} rows written to seeds/event_catalog.csv.")
    if answer["guesses"]:
        OUT.print(f"{answer['guesses']:,} proposals are guesses: look at them, then traithouse refresh.")
