"""Commands that bring events in and give them a meaning: load, pull, catalog."""

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
    help="Column that holds a field of the event; repeat it for each field.",
)
@click.option("--timezone", help="Time zone of times without an offset (default: UTC).")
@click.option("--source", help="Name of the source (default: generic).")
@click.option("--table", help="Load the rows unchanged into raw_<source>.<table>.")
@click.option("--tables", is_flag=True, help="The same, each file into the table of its name.")
@click.option("--encoding", help="Encoding of the files, for example utf-16 or windows-1252 (default: UTF-8).")
@click.option("--keep-repeats", is_flag=True, help="Keep equal rows of one file as separate events.")
def load_command(
    call: Call,
    files: tuple[Path, ...],
    mapping: tuple[str, ...],
    timezone: str | None,
    source: str | None,
    table: str | None,
    tables: bool,
    encoding: str | None,
    keep_repeats: bool,
) -> int:
    """Load CSV, JSON (an object a line, or an array) or Parquet FILES into schema raw, also compressed (.gz, .zst)."""
    from orchestration.landing.event_tables import adapter_of, repeated_table
    from orchestration.landing.load import load
    from orchestration.pipeline.asset_reports import of_load
    from orchestration.pipeline.reconciliation import enabled_sources

    pairs = [pair.partition("=") for pair in mapping]
    for field, equals, column in pairs:
        if not (field and equals and column):
            raise UsageError(f"--map {field}{equals}{column} is not FIELD=COLUMN.", "--map occurred_at=timestamp")
    if tables and (table or not source):
        raise UsageError("--tables needs --source, and no --table.", "For example: --source segment --tables")
    batches: list[tuple[tuple[Path, ...], str | None]] = [(files, table)]
    if tables:
        batches = [((path,), path.name.partition(".")[0].lower()) for path in files]
    adapter = adapter_of(source) if (table or tables) and source else "generic"
    unread = "" if adapter in enabled_sources(call.project) else adapter
    answers: list[dict[str, Any]] = []
    for paths, into in batches:
        if tables and (repeated := repeated_table(source or "", into or "")):
            answers.append({"file": str(paths[0]), "repeats": repeated})
            continue
        try:
            loaded = load(
                call.home,
                paths,
                mapping={field: column for field, _, column in pairs},
                timezone=timezone,
                source=source,
                table=into,
                keep_repeats=keep_repeats,
                encoding=encoding,
                notify=call.progress,
            )
        except UsageError as error:
            # One file that cannot be loaded does not hold up the others.
            if not tables:
                raise
            answers.append({"file": str(paths[0]), "error": f"{error.message} {error.hint}"})
            continue
        call.record([of_load(call.home, loaded, f"{len(paths) - len(loaded.refused)} files")])
        answers.append(loaded.as_dict() | {"unread_source": unread})
    call.answer({"tables": answers} if tables else answers[0], show_tables if tables else show_load)
    return UNREADABLE if any(answer.get("error") or answer.get("refused") for answer in answers) else 0


def show_tables(answer: dict[str, Any]) -> None:
    """What each file added to its table, and what comes next."""
    for table in answer["tables"]:
        if "error" in table:
            OUT.print(f"[red]not loaded[/] {escape(table['file'])}: {escape(table['error'])}", soft_wrap=True)
        elif "repeats" in table:
            why = f"it holds nothing that {table['repeats']} does not hold"
            OUT.print(f"passed over {escape(table['file'])}: {why}", soft_wrap=True)
        else:
            _show_counts(table)
    loaded = [table for table in answer["tables"] if "accepted" in table]
    if loaded:
        show_next(loaded[-1] | {"accepted": sum(table["accepted"] for table in loaded)})


def show_load(load: dict[str, Any]) -> None:
    """What a load added, and what comes next."""
    _show_counts(load)
    _show_refused(load)
    show_next(load)


def show_next(load: dict[str, Any]) -> None:
    """What comes after a load."""
    if source := load["unread_source"]:
        OUT.print(f"  [yellow]Nobody reads {source} yet.[/] Add it to the var sources in dbt_project.yml, then:")
    if load["accepted"]:
        OUT.print("Next: traithouse refresh")


def _show_counts(load: dict[str, Any]) -> None:
    OUT.print(
        f"{load['accepted']:,} loaded into {load['table']}, {load['duplicates']:,} duplicate,"
        f" {load['rejected']:,} rejected"
    )
    for reason, count in load["reasons"].items():
        OUT.print(f"  {count:,} rejected: {escape(reason)}")
    if load["reasons"]:
        OUT.print("  Rejected rows are kept in raw.rejected_events.")
    if load["forgotten"]:
        OUT.print(f"  {load['forgotten']:,} left out: their user or account was forgotten.")


def _show_refused(report: dict[str, Any]) -> None:
    for path, reason in report["refused"].items():
        OUT.print(f"  [red]not read[/] {escape(path)}: {escape(reason)}", soft_wrap=True)


@command_of(main)
@click.argument("source", required=False)
@click.option("--plan", is_flag=True, help="Print the statements that unload new rows of a warehouse; pull nothing.")
def pull_command(call: Call, source: str | None, plan: bool) -> int:
    """Load new rows from where sources declare them. All sources with meta.pull, or SOURCE."""
    from orchestration.landing.declared import declared_pulls
    from orchestration.landing.pull import pull
    from orchestration.landing.unload import unload_statements
    from orchestration.pipeline.asset_reports import of_load

    declared = declared_pulls(call.project.manifest_dict)
    chosen = [declaration for declaration in declared if source in (None, declaration.source)]
    if not chosen:
        what = "No source declares" if source is None else f"{source} does not declare"
        raise UsageError(f"{what} where to pull from.", "Declare meta.pull in models/staging/<source>/_<source>.yml.")
    if plan:
        statements = unload_statements(call.home, chosen)
        if not statements:
            raise UsageError("Nothing is unloaded: no table declares pull.unload.", "See docs/sources.md.")
        call.answer({"statements": statements}, show_plan)
        return 0
    reports = pull(call.home, chosen, notify=call.progress)
    call.record(of_load(call.home, report, f"pulled from {report.source}") for report in reports)
    call.answer({"pulls": [report.as_dict() for report in reports]}, show_pulls)
    return UNREADABLE if any(report.failed for report in reports) else 0


def show_plan(answer: dict[str, Any]) -> None:
    """What to run in each warehouse, as SQL that can be piped into its client."""
    for table, statement in answer["statements"].items():
        OUT.out(f"-- {table}\n{statement}", highlight=False)
    OUT.out("-- Next: traithouse pull", highlight=False)


def show_pulls(answer: dict[str, Any]) -> None:
    """What each pull added, and what comes next."""
    for pulled in answer["pulls"]:
        if pulled["error"] and not pulled["load_id"]:
            OUT.print(f"[red]{pulled['table']}[/]: {escape(pulled['error'])}", soft_wrap=True)
            continue
        if pulled["passed_over"]:
            reasons = "; ".join(f"{table}: {reason}" for table, reason in pulled["passed_over"].items())
            OUT.print(f"{count_of(len(pulled['passed_over']), 'table')} not read: {escape(reasons)}", soft_wrap=True)
            continue
        _show_counts(pulled)
        read = pulled["predicate"] or "every row"
        volume = f"{count_of(pulled['rows'], 'row')}, {pulled['bytes']:,} bytes"
        OUT.print(f"  from {escape(pulled['origin'])}: {volume}; {escape(read)}", soft_wrap=True)
        _show_refused(pulled)
        if pulled["error"]:
            OUT.print(f"  [red]{escape(pulled['error'])}[/]")
    if any(pulled["accepted"] for pulled in answer["pulls"]):
        OUT.print("Next: traithouse refresh")


@main.group("catalog")
def catalog_group() -> None:
    """What events, properties and plans mean: the catalogue under seeds/."""


@command_of(catalog_group)
@click.option("--append", "write", is_flag=True, help="Write the proposed rows to the files under seeds/.")
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1),
    help="List so many events, the most frequent first.",
)
def suggest_command(call: Call, write: bool, limit: int) -> None:
    """List events, properties and plans that the catalogue does not know, each with a proposed row."""
    found = suggest(call.home, limit)
    answer = found.as_dict()
    if write and not call.as_json:
        call.answer(answer, show_suggestions)
    if write:
        written = append(call.home, found)
        answer = {"appended": sum(written.values()), "files": written, "guesses": found.guesses} | (
            answer if call.as_json else {}
        )
    call.answer(answer, show_appended if write else show_suggestions)


def show_suggestions(answer: dict[str, Any]) -> None:
    """What the catalogue lacks, what is proposed for each and what of it is a guess; then the rows to paste."""
    identity = [event for event in answer["events"] if event["is_identity"]]
    for event in answer["events"]:
        if event["is_identity"]:
            continue
        seen = f"{event['first_seen_at']:%Y-%m-%d} to {event['last_seen_at']:%Y-%m-%d}"
        name = f"[bold]{escape(event['event_name'])}[/] of {event['source']}"
        OUT.print(f"{name}: {count_of(event['event_count'], 'event')}, {seen}", soft_wrap=True)
        for example in event["examples"]:
            OUT.print(f"    {escape(example)}", style="dim", soft_wrap=True)
        for row in event["rows"]:
            OUT.print(f"  {_proposal(row)}", soft_wrap=True)
        if event["note"]:
            OUT.print(f"  no proposal: {escape(event['note'])}", soft_wrap=True)
    if answer["left_out"]:
        OUT.print(f"{answer['left_out']:,} rarer events are not listed; --limit lists more.")
    elif len(identity) == len(answer["events"]):
        OUT.print("The catalogue knows every event.")
    if identity:
        names = ", ".join(f"{event['event_name']} of {event['source']}" for event in identity)
        OUT.print(f"{escape(names)}: who, not what; no row is needed.", soft_wrap=True)
    _show_people(answer)
    for file, name in (("event", "csv"), ("attribute", "attributes_csv"), ("plan", "plans_csv")):
        if answer[name]:
            OUT.print(f"\nRows for seeds/{file}_catalog.csv:", style="bold")
            OUT.out(answer[name], highlight=False, end="")
    if answer["csv"] or answer["attributes_csv"] or answer["plans_csv"]:
        OUT.print("\nCheck each guess; --append writes the rows, a refresh applies them.")


def _show_people(answer: dict[str, Any]) -> None:
    """Properties of users and accounts, and plans; a plan without a rank says what is to do."""
    for row in answer["attributes"]:
        what = f"{row['property']} of {row['entity_type']}s ({count_of(row['count'], 'event')})"
        OUT.print(f"{_mark(row['guess'])} {escape(what)}: attribute {row['attribute']}", soft_wrap=True)
    for plan in answer["plans"]:
        what = f"plan {escape(plan['plan'])} ({count_of(plan['count'], 'event')})"
        if plan["rank"]:
            OUT.print(f"{_mark(True)} {what}: rank {plan['rank']}", soft_wrap=True)
        else:
            OUT.print(
                f"{what}: its name does not tell its rank; add a row `{escape(plan['plan'])},RANK`"
                " to seeds/plan_catalog.csv, higher is more",
                soft_wrap=True,
            )


def _mark(guess: bool) -> str:
    return "[yellow]guess[/]" if guess else "[green]rule[/] "


def _proposal(row: dict[str, Any]) -> str:
    relation = "is" if row["match"] == "equals" else "starts with"
    where = f"{row['property']} {relation} {row['pattern']}: " if row["pattern"] else ""
    meaning = [row["behaviour"], *(f"{name} {row[name]}" for name in ("feature", "step", "outcome") if row[name])]
    return f"{_mark(row['guess'])} {escape(where + ', '.join(meaning))} [dim]({escape(row['why'])})[/]"


def show_appended(answer: dict[str, Any]) -> None:
    """What was written to the seeds, and what comes next."""
    if not answer["appended"]:
        OUT.print("Nothing to write: the catalogue has every proposed row.")
        return
    for path, count in answer["files"].items():
        OUT.print(f"{count_of(count, 'row')} written to {path}.")
    if answer["guesses"]:
        OUT.print(f"{count_of(answer['guesses'], 'proposal')} to check: marked as a guess above.")
    OUT.print("Next: traithouse refresh")
