"""Commands that deliver published traits: sync."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from orchestration.cli.app import UNDELIVERED, Call, command_of, main
from orchestration.cli.console import OUT, count_of
from orchestration.declarations.syncs import Sync
from orchestration.declarations.table_copies import TableCopy
from orchestration.errors import TraithouseError, UsageError
from orchestration.sync.canary import MOST
from orchestration.sync.engine import pause, run_sync, take_over
from orchestration.sync.explain import explain_delivery
from orchestration.sync.ledger import EVERY_SYNC
from orchestration.sync.prepare import PrepareReport, prepare_sync
from orchestration.sync.report import CopyReport, SyncReport


@command_of(main)
@click.argument("name", required=False)
@click.option("--dry-run", is_flag=True, help="Show what would be sent; send nothing.")
@click.option("--force", is_flag=True, help="Send even what the breaker stops.")
@click.option("--retry-refused", is_flag=True, help="Send again what the destination refused and has not changed.")
@click.option("--prepare", is_flag=True, help="Check rights and fields at the destination; create missing fields.")
@click.option("--canary", type=click.IntRange(1, MOST), help="Deliver so many records only, and read them back.")
@click.option("--entity", help="Tell when this user or account was sent, or why not; send nothing.")
@click.option("--pause", "why", help="Send nothing until --resume, for this reason. Without NAME: every sync.")
@click.option("--resume", is_flag=True, help="End a pause.")
@click.option("--take-over", "takes_over", is_flag=True, help="Deliver from this copy of a home from now on.")
def sync_command(
    call: Call,
    name: str | None,
    dry_run: bool,
    force: bool,
    retry_refused: bool,
    prepare: bool,
    canary: int | None,
    entity: str | None,
    why: str | None,
    resume: bool,
    takes_over: bool,
) -> int:
    """Deliver changes of published traits: all syncs and copies of tables, or NAME."""
    if takes_over:
        take_over(call.home)
        call.answer({"home": str(call.home.root), "delivers": True}, show_taken_over)
        return 0
    catalog = call.project.catalog
    if why or resume:
        pause(call.home, catalog, name or EVERY_SYNC, None if resume else why)
        call.answer({"sync": name or "every sync", "paused": None if resume else why}, show_pause)
        return 0
    named = [catalog.delivery(name)] if name else [*catalog.syncs, *catalog.table_copies]
    chosen = [delivery for delivery in named if isinstance(delivery, Sync)]
    copies = [delivery for delivery in named if isinstance(delivery, TableCopy)]
    if entity:
        explained = {sync.name: explain_delivery(call.home, catalog, sync, entity) for sync in chosen}
        call.answer({"entity": entity, "syncs": explained}, show_entity_syncs)
        return 0
    if prepare:
        prepared = [report.as_dict() for report in prepare_each(call, chosen, dry_run=dry_run)]
        call.answer({"prepared": prepared}, show_prepared)
        return UNDELIVERED if any(report["error"] for report in prepared) else 0
    if canary and not (name and chosen):
        raise UsageError("--canary needs the name of a sync.", "Call it as traithouse sync NAME --canary 3.")
    how = {"force": force, "retry_refused": retry_refused, "canary": canary or 0}
    reports = sync_each(call, chosen, dry_run=dry_run, **how)
    copied = copy_each(call, copies, dry_run=dry_run)
    answer = {"syncs": [report.as_dict() for report in reports], "copies": [report.as_dict() for report in copied]}
    call.answer(answer, show_deliveries)
    return UNDELIVERED if any([*(report.error for report in reports), *(report.error for report in copied)]) else 0


def prepare_each(call: Call, chosen: Sequence[Sync], *, dry_run: bool = False) -> list[PrepareReport]:
    """Prepares the destinations of syncs; where there are several, one that cannot be prepared is a failed report."""
    reports = []
    for sync in chosen:
        try:
            report = prepare_sync(call.home, call.project.catalog, sync, dry_run=dry_run, notify=call.progress)
        except UsageError as error:
            if len(chosen) == 1:
                raise
            report = PrepareReport(sync.name, sync.destination, dry_run, error=f"{error.message} {error.hint}")
        reports.append(report)
    return reports


def sync_each(call: Call, chosen: Sequence[Sync], *, dry_run: bool = False, **how: Any) -> list[SyncReport]:
    """Runs syncs in order; where there are several, one that cannot run is a failed report."""
    from orchestration.pipeline.asset_reports import of_sync

    reports = []
    for sync in chosen:
        try:
            reports.append(
                run_sync(call.home, call.project.catalog, sync, dry_run=dry_run, notify=call.progress, **how)
            )
        except UsageError as error:
            # One sync that cannot run must not hold the others.
            if len(chosen) == 1:
                raise
            reports.append(SyncReport(sync.name, sync.destination, dry_run, error=f"{error.message} {error.hint}"))
        except TraithouseError:
            raise
        except Exception as error:
            # Its text may hold a secret, or personal data.
            reports.append(SyncReport(sync.name, sync.destination, dry_run, error=broken(error)))
    if not dry_run:
        call.record(event for report in reports for event in of_sync(report))
    return reports


def copy_each(call: Call, copies: Sequence[TableCopy], *, dry_run: bool = False) -> list[CopyReport]:
    """Writes copies of tables in order; where there are several, one that cannot be written is a failed report."""
    from orchestration.pipeline.asset_reports import of_copy
    from orchestration.sync.tables import copy_tables

    reports = []
    for copy in copies:
        try:
            reports.append(copy_tables(call.home, call.project.catalog, copy, dry_run=dry_run, notify=call.progress))
        except UsageError as error:
            if len(copies) == 1:
                raise
            reports.append(CopyReport(copy.name, dry_run=dry_run, error=f"{error.message} {error.hint}"))
        except TraithouseError:
            raise
        except Exception as error:
            reports.append(CopyReport(copy.name, dry_run=dry_run, error=broken(error)))
    if not dry_run:
        call.record(event for report in reports for event in of_copy(report))
    return reports


def broken(error: Exception) -> str:
    """What a report says of an error that nobody foresaw: its kind and its place, and nothing of its text."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"it broke off with {type(error).__name__} ({Path(place.filename).name}, line {place.lineno})"


def show_taken_over(answer: dict[str, Any]) -> None:
    """Which home delivers."""
    OUT.print(f"{escape(answer['home'])} delivers from now on.", soft_wrap=True)


def show_deliveries(answer: dict[str, Any]) -> None:
    """What each sync and each copy of tables did."""
    show_syncs(answer)
    for copy in answer["copies"]:
        if copy["error"]:
            OUT.print(f"{copy['copy']}: [red]nothing is written[/] ({escape(copy['error'])})", soft_wrap=True)
        dry = f"dry run{' (' + copy['why_dry'] + ')' if copy['why_dry'] else ''}; " if copy["dry_run"] else ""
        for table in copy["tables"]:
            how = ", the whole table was compared" if table["compared"] else ""
            rows = count_of(table["rows"], "row")
            done = f"{table['written']:,} written, {table['deleted']:,} deleted, {rows} there{how}"
            OUT.print(f"{copy['copy']}: {dry}{table['table']} {f'has {rows}' if copy['dry_run'] else done}")


def show_syncs(answer: dict[str, Any]) -> None:
    """What each sync delivered, or would deliver."""
    for sync in answer["syncs"]:
        if sync["paused"]:
            OUT.print(f"{sync['sync']}: [yellow]nothing is sent[/], {escape(sync['paused'])}")
            continue
        if sync["waits_until"]:
            OUT.print(f"{sync['sync']}: nothing is sent before {sync['waits_until']} (at_most_every)")
            continue
        if sync["dry_run"]:
            why = f" ({sync['why_dry']})" if sync["why_dry"] else ""
            OUT.print(
                f"{sync['sync']}: dry run{why}; {count_of(sync['planned'], 'record')} would be sent to"
                f" {sync['destination']} ({count_of(sync['operations'], 'billed or counted operation')})"
            )
            if sync["refusal"]:
                OUT.print(f"  [yellow]a real run would send nothing:[/] {escape(sync['refusal'])}")
        else:
            waited = f" ({sync['waited_seconds']:.0f} s of waiting)" if sync["waited_seconds"] >= 1 else ""
            OUT.print(
                f"{sync['sync']}: {sync['delivered']:,} of {count_of(sync['planned'], 'record')} delivered to"
                f" {sync['destination']}{waited}"
            )
        for reason, entities in sorted(sync["skipped"].items()):
            OUT.print(f"  {entities:,} not sent: {escape(reason)}")
        for trait, reason in sorted(sync["held"].items()):
            OUT.print(f"  [yellow]{escape(trait)} is left unchanged there[/]: {escape(reason)}")
        if sync["waiting"]:
            OUT.print(
                f"  [yellow]{sync['waiting']:,} were refused before and have not changed[/];"
                " --retry-refused sends them again"
            )
        if sync["error"]:
            OUT.print(f"  [red]{sync['failed']:,} failed[/] ({escape(sync['error'])})")
        if sync["not_tried"]:
            OUT.print(f"  {sync['not_tried']:,} are left for the next run")
        for sample in sync["samples"]:
            OUT.print_json(data=sample)
        for record in sync["canary"]:
            known_as = f" ({record['identifier']})" if record["identifier"] != record["entity_id"] else ""
            OUT.print(f"  {escape(record['entity_id'] + known_as)}: {escape(record['there'])}", soft_wrap=True)


def show_prepared(answer: dict[str, Any]) -> None:
    """What each destination has and lacks, and what was created."""
    for report in answer["prepared"]:
        dry = f" (dry run{', ' + report['why_dry'] if report['why_dry'] else ''})" if report["dry_run"] else ""
        OUT.print(f"{report['sync']}: {escape(report['destination'])}{escape(dry)}", soft_wrap=True)
        if report["note"]:
            OUT.print(f"  {escape(report['note'])}")
        for scope in report["missing_scopes"]:
            OUT.print(f"  [red]not allowed[/]: {escape(scope)}")
        for field in report["fields"]:
            color = {"wrong": "red", "missing": "yellow", "created": "green"}.get(field["state"], "default")
            note = f": {field['note']}" if field["note"] else ""
            what = f"{field['field']}[/] ({field['type']}, {escape(field['label'])}){escape(note)}"
            OUT.print(f"  [{color}]{field['state']}: {what}", soft_wrap=True)
        if report["error"]:
            OUT.print(f"  [red]not ready[/]: {escape(report['error'])}", soft_wrap=True)


def show_pause(answer: dict[str, Any]) -> None:
    """Whether a sync is paused now."""
    state = f"is paused: {answer['paused']}" if answer["paused"] else "is resumed."
    OUT.print(f"{escape(answer['sync'])} {escape(state)}")


def show_entity_syncs(answer: dict[str, Any]) -> None:
    """When one entity was sent by each sync, or why not."""
    for sync, explanation in answer["syncs"].items():
        OUT.print(f"{escape(sync)}: {escape(answer['entity'])} {escape(explanation)}", soft_wrap=True)
