"""Commands that administer a home: forget, backup, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from orchestration.admin.backup import backup
from orchestration.admin.export import export_subject, write_export
from orchestration.admin.restore import restore
from orchestration.cli.app import Call, command_of, main
from orchestration.cli.build import exit_code, show_refresh
from orchestration.cli.console import OUT, count_of
from orchestration.errors import UsageError


@command_of(main)
@click.argument("entity", required=False)
@click.option("--file", "listed", type=click.Path(path_type=Path), help="Forget every id of this file, one a line.")
@click.option("--entity-type", type=click.Choice(["user", "account"]), default="user", show_default=True)
@click.option("--accept-loss", is_flag=True, help="Rebuild although raw rows were deleted for their age.")
def forget_command(call: Call, entity: str | None, listed: Path | None, entity_type: str, accept_loss: bool) -> int:
    """Delete ENTITY from the home for good. What was merged with it is deleted, too; then everything is rebuilt."""
    from orchestration.pipeline.asset_reports import of_publish
    from orchestration.pipeline.forget import forget

    if (entity is None) is (listed is None):
        raise UsageError("Name an id, or a file of ids with --file.", "traithouse forget user_0001")
    ids = read_ids(listed) if listed else [str(entity)]
    done, published = forget(call.project, ids, entity_type, accept_loss=accept_loss, notify=call.progress)
    call.record(of_publish(call.project, published))
    call.answer({"forgotten": done.as_dict(), "refresh": published.as_dict()}, show_forgotten)
    return exit_code(published)


def read_ids(path: Path) -> list[str]:
    """Ids of a file, one a line, each once; empty lines and lines that begin with # are left out.

    Raises:
        UsageError: the file cannot be read, or has no id.

    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read: {reason}.", "Write one id a line, in UTF-8.") from None
    ids = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not ids:
        raise UsageError(f"{path} has no id.", "Write one id a line.")
    return list(dict.fromkeys(ids))


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
@click.argument("entity")
@click.option("--entity-type", type=click.Choice(["user", "account"]), default="user", show_default=True)
@click.option("--export", "path", type=click.Path(path_type=Path), help="Write everything to this file (.html, .json).")
def subject_command(call: Call, entity: str, entity_type: str, path: Path | None) -> None:
    """Tell what is held of ENTITY, and what was sent where; --export writes all of it into one readable file."""
    exported = export_subject(call.project, entity, entity_type, notify=call.progress)
    if path:
        write_export(call.home, exported, path)
    counted = {
        "subject": exported["subject"],
        "traits": len(exported["traits"]),
        "changes": len(exported["changes"]),
        "sent": {sync: len(records) for sync, records in exported["sent"].items()},
        "held": {table: len(rows) for table, rows in exported["held"].items()},
        "mentions": exported["mentions"],
        "files": exported["files"],
        "export": str(path) if path else None,
    }
    call.answer(counted, show_subject)


def show_subject(answer: dict[str, Any]) -> None:
    """How much is held where."""
    subject = answer["subject"]
    OUT.print(f"Known as: {escape(', '.join([*subject['ids'], *subject['identifiers']]))}", soft_wrap=True)
    OUT.print(f"{count_of(answer['traits'], 'trait')}, {count_of(answer['changes'], 'change')} of traits")
    for sync, records in answer["sent"].items():
        OUT.print(f"sent by {escape(sync)}: {count_of(records, 'record')}")
    for table, rows in answer["held"].items():
        OUT.print(f"{escape(table)}: {count_of(rows, 'row')}")
    for column, rows in answer["mentions"].items():
        OUT.print(f"{escape(column)}: {count_of(rows, 'row')} of others mention the {subject['type']}")
    for name, why in answer["files"].items():
        OUT.print(f"{escape(name)}: {escape(why)}", soft_wrap=True)
    if answer["export"]:
        OUT.print(f"Written to {escape(answer['export'])}; only you can read it.", soft_wrap=True)


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
