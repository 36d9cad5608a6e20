"""Commands that administer a home: forget, backup, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from orchestration.admin.backup import backup
from orchestration.admin.restore import restore
from orchestration.cli.app import Call, command_of, main
from orchestration.cli.build import exit_code, show_refresh
from orchestration.cli.console import OUT, count_of


@command_of(main)
@click.argument("entity")
@click.option("--entity-type", type=click.Choice(["user", "account"]), default="user", show_default=True)
@click.option("--accept-loss", is_flag=True, help="Rebuild although raw rows were deleted for their age.")
def forget_command(call: Call, entity: str, entity_type: str, accept_loss: bool) -> int:
    """Delete ENTITY from the home for good. What was merged with it is deleted, too; then everything is rebuilt."""
    from orchestration.pipeline.asset_reports import of_publish
    from orchestration.pipeline.forget import forget

    done, published = forget(call.project, entity, entity_type, accept_loss=accept_loss, notify=call.progress)
    call.record(of_publish(call.project, published))
    call.answer({"forgotten": done.as_dict(), "refresh": published.as_dict()}, show_forgotten)
    return exit_code(published)


def show_forgotten(answer: dict[str, Any]) -> None:
    """What was deleted, and what is still to do."""
    done = answer["forgotten"]
    rows = sum(done["rows"].values())
    OUT.print(
        f"Forgotten: {count_of(done['ids'], 'id')}, {count_of(rows, 'row')} of raw and published tables,"
        f" {count_of(len(done['files']), 'other file')}; {count_of(done['backups'], 'backup')} searched."
    )
    for path, action in done["files"].items():
        OUT.print(f"  {escape(path)}: {action}", soft_wrap=True)
    for sync in done["pending"]:
        OUT.print(f"  [yellow]{escape(sync)}[/] still holds what was delivered: traithouse sync removes it there.")
    show_refresh(answer["refresh"])


@command_of(main)
@click.option("--to", type=click.Path(path_type=Path), help="Where to put it. Default: backups in the home folder.")
def backup_command(call: Call, to: Path | None) -> None:
    """Copy warehouse, snapshot and sync ledgers as of one moment."""
    call.answer(backup(call.project, to, notify=call.progress).as_dict(), show_backup)


def show_backup(answer: dict[str, Any]) -> None:
    """Where the backup is."""
    of = f"build {answer['build_id']}" if answer["build_id"] else "nothing is published yet"
    OUT.print(f"{escape(answer['folder'])}: {answer['bytes'] / 1e6:,.1f} MB, {of}", soft_wrap=True)


@command_of(main)
@click.argument("backup", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace what the home holds; it is moved aside.")
def restore_command(call: Call, backup: Path, force: bool) -> None:
    """Return the home to the state of BACKUP. Entities that were forgotten since stay forgotten."""
    done = restore(call.project, backup, force=force, notify=call.progress)
    call.answer(done.as_dict(), show_restored)


def show_restored(answer: dict[str, Any]) -> None:
    """What the home is now, where its former contents are, and what comes next."""
    OUT.print(f"Restored from {escape(answer['backup'])}.", soft_wrap=True)
    if answer["replaced"]:
        folder = escape(answer["replaced"])
        OUT.print(f"Its former contents are in {folder}; delete them when you do not need them.", soft_wrap=True)
    if answer["forgotten"]:
        OUT.print(f"Removed again: {count_of(answer['forgotten'], 'id')} forgotten since the backup.")
        OUT.print("Next: traithouse refresh")
