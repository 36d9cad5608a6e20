"""Reports what command-line runs did to Dagster's instance, each event exactly once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.engine import Engine

from orchestration.defs.events import asset_key, without_run
from orchestration.defs.instance import write_instance
from orchestration.home import Home, Notify, silent
from orchestration.pipeline.asset_events import AssetEvent, Checked
from orchestration.pipeline.outbox import dagster_folder, read, set_aside


def drain_into_dagster(home: Home, *, notify: Notify = silent) -> int:
    """Drains the outbox into the instance in the home; returns how many events were reported.

    Whatever goes wrong with it is told and raised to nobody: the events wait, and what the run did is done.
    """
    try:
        with dg.DagsterInstance.from_config(str(write_instance(home))) as instance:
            return drain(home, instance, notify=notify)
    except Exception as error:
        notify(f"Dagster could not be told what was done: {' '.join(str(error).split())[:300]}")
        return 0


def drain(home: Home, instance: dg.DagsterInstance, *, notify: Notify = silent) -> int:
    """Reports all that waits, oldest first; nothing while another process does.

    A part of the outbox that was being drained when its process was killed is gone on with: a file beside it says how
    many of its events were reported, and whether the next one was is asked of the instance.
    """
    count = 0
    folder = dagster_folder(home)
    try:
        with FileLock(folder / "drain.lock", timeout=0), _few_syncs():
            for segment in set_aside(home):
                count += _drain_segment(segment, instance, notify)
            for left_over in folder.glob("outbox-*.reported"):
                left_over.unlink()
    except Timeout:
        notify("another process tells Dagster what was done")
    return count


def _drain_segment(segment: Path, instance: dg.DagsterInstance, notify: Notify) -> int:
    events = read(segment)
    count_file = segment.with_suffix(".reported")
    counter = os.open(count_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        reported = int(os.read(counter, 20) or 0)
        for number, (event, recorded_at) in enumerate(events[reported:], start=reported):
            if number % 100 == 0:
                notify(f"telling Dagster what was done ({number} of {len(events)})")
            if number != reported or not is_reported(instance, event, recorded_at):
                instance.report_runless_asset_event(without_run(event, recorded_at))
            os.pwrite(counter, b"%020d" % (number + 1), 0)
    finally:
        os.close(counter)
    segment.unlink()
    count_file.unlink()
    return len(events) - reported


def is_reported(instance: dg.DagsterInstance, event: AssetEvent, recorded_at: float) -> bool:
    """Whether the newest event of the same asset and day, or of the same check, is this one."""
    key = asset_key(event.asset)
    if isinstance(event, Checked):
        check_key = dg.AssetCheckKey(key, event.check)
        history = instance.event_log_storage.get_asset_check_execution_history(check_key, limit=1)
        entry = history[0].event if history else None
        evaluation = entry.asset_check_evaluation if entry else None
        known = evaluation.metadata if evaluation else {}
    else:
        days = [event.partition] if event.partition else None
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=days)
        found = instance.fetch_materializations(wanted, limit=1).records
        materialization = found[0].asset_materialization if found else None
        known = materialization.metadata if materialization else {}
    return "recorded_at" in known and known["recorded_at"].value == recorded_at


@contextmanager
def _few_syncs() -> Iterator[None]:
    """Makes a thousand small writes bearable.

    Dagster opens and closes its SQLite files for every event, and the last one to close a file copies its log and waits
    for the disk. Here one connection to each file stays open, and only such copying waits for the disk. A killed
    process loses nothing by it.
    """
    with ExitStack() as open_files:
        kept: set[str] = set()

        def on_connect(connection: object, _: object) -> None:
            if not isinstance(connection, sqlite3.Connection):
                return
            connection.execute("pragma synchronous = normal")
            path = connection.execute("pragma database_list").fetchone()[2]
            if path and path not in kept:
                kept.add(path)
                keeper = open_files.enter_context(closing(sqlite3.connect(path, check_same_thread=False)))
                keeper.execute("select count(*) from sqlite_master").fetchone()

        sqlalchemy_event.listen(Engine, "connect", on_connect)
        try:
            yield
        finally:
            sqlalchemy_event.remove(Engine, "connect", on_connect)
