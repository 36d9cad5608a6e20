"""One Spark application that serves a home: it goes through the steps of a job, each a function of this file.

A process of its own, for a catalog on disk opens in one process only, and so that it can be killed. Argument: the path
of a job (JSON); what the steps return is written beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from orchestration.cli.app import main as command_line
from orchestration.gates.verdicts import last_verdicts
from orchestration.home import Home, Settings
from orchestration.pipeline.refresh import audit_again, publish_build
from orchestration.published.tables import TABLES, WIDE_TABLES
from orchestration.spark.build import MARKER, drop_other_watermark
from orchestration.spark.serve import serve_on_spark
from orchestration.spark.session import open_session, set_view
from orchestration.transform.dbt import Project
from tests.builds import take_as_passed
from tests.conftest import as_if_made
from tests.spark.cluster import die_with_parent


def opened(home_folder: str) -> tuple[Home, Project]:
    home = Home(Settings(home=Path(home_folder), target="spark"))
    return home, Project(home)


def traithouse(*arguments: str) -> int:
    """Exit code of a command."""
    try:
        command_line.main([*arguments], prog_name="traithouse", standalone_mode=False)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def leave_behind(table: str) -> None:
    """What a process leaves that was killed while it made a table: files of a table that nobody knows."""
    spark = open_session()
    schema, name = table.split(".")
    spark.sql(f"create schema if not exists {schema}")
    folder = Path(spark.catalog.getDatabase(schema).locationUri.removeprefix("file:")) / name
    folder.mkdir()
    (folder / "part-0.parquet").write_text("cut off")


def is_rebuilt_next(home_folder: str) -> bool:
    """Whether the next build would rebuild everything."""
    home, _ = opened(home_folder)
    with home.lock("test"):
        drop_other_watermark(home)
        with home.connect() as connection:
            return connection.execute("select 1 from state.watermark").fetchone() is None


def mark_as_building() -> None:
    """What a process leaves that was killed while dbt ran."""
    set_view(open_session(), MARKER, "select 'building' as watermark")


def withhold(home_folder: str, trait: str) -> list[str]:
    """Publishes the current build again with another score of every candidate, and no value of one of them.

    Gives the traits that the gate withholds.
    """
    home, project = opened(home_folder)
    with home.lock("test"):
        sql = "".join(f"update {trait.candidate} set score = score * 1.25;" for trait in project.catalog.traits)
        as_if_made(home, project, f"{sql} update {project.catalog.trait(trait).candidate} set value = null")
        names = [trait.name for trait in project.catalog.traits]
        audit_again(project, names)
        # The scores alone would be withheld, too; here they stand for those of another day.
        others = [name for name in names if trait not in (name, *project.catalog.trait(name).ancestors)]
        with home.connect() as connection:
            judged = last_verdicts(connection)
        take_as_passed(project, [name for name in others if judged[name].verdict == "failed"])
        return [trait.trait for trait in publish_build(project).withheld]


def serve(home: str) -> str | None:
    """The version that is served."""
    _, project = opened(home)
    return serve_on_spark(project)


def serve_snapshot(home: str, name: str) -> str | None:
    """Serves a snapshot as if the home had just written it."""
    point_to(home, name)
    return serve(home)


def point_to(home: str, name: str) -> None:
    current = Path(home) / "serving" / "current"
    current.unlink()
    current.symlink_to(Path("builds") / name)


def serve_and_die(home: str, name: str, when: str, seconds: float = 0) -> None:
    """Serves a snapshot, and is killed with its Java so long after it reported a step that begins so."""
    point_to(home, name)

    def kill() -> None:
        os.killpg(os.getpgrp(), signal.SIGKILL)

    def progress(message: str) -> None:
        if message.startswith(when):
            threading.Timer(seconds, kill).start() if seconds else kill()

    _, project = opened(home)
    serve_on_spark(project, notify=progress)


def export(folder: str, *tables: str) -> dict[str, str]:
    """Parquet of what readers see, of all tables or those named."""
    spark = open_session()
    written = {}
    for table in tables or (*TABLES, *WIDE_TABLES.values()):
        written[f"traits.{table}"] = f"{folder}/{table}"
        spark.table(f"traits.{table}").write.parquet(f"{folder}/{table}")
    return written


def stored() -> dict[str, list[list[str]]]:
    """Part and version of every partition of the store, by table; what is served, and what manifests name."""
    spark = open_session()
    found = {
        "served": [[row[0]] for row in spark.sql("select distinct version from traits_store.served").collect()],
        "named": sorted(
            list(row)
            for row in spark.sql("select distinct table_name, part, written from traits_store.manifests").collect()
        ),
    }
    for table in (*TABLES, "manifests"):
        rows = spark.sql(f"show partitions traits_store.{table}").collect()
        found[table] = [[key.partition("=")[2] for key in row[0].split("/")] for row in rows]
    return found


def read_while_serving(home: str, names: list[str]) -> list[list[str]]:
    """Serves snapshots one after the other, two of them being kept, while a session of its own reads in a loop.

    Each row is one query: the newest build of four relations.
    """
    seen: list[list[str]] = []
    done = threading.Event()
    reader = open_session().newSession()
    relations = ("traits.builds", "traits.gate_verdicts", "traits.trait_values", "traits_store.served")
    query = f"select {', '.join(f'(select max(build_id) from {relation})' for relation in relations)}"

    def read() -> None:
        try:
            while not done.is_set():
                seen.append([str(value) for value in reader.sql(query).collect()[0]])
        except Exception as error:
            seen.append([f"{type(error).__name__}: {str(error)[:500]}"])

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number, name in enumerate(names):
            if number > 1:
                shutil.rmtree(Path(home) / "serving" / "builds" / names[number - 2])
            serve_snapshot(home, name)
    finally:
        done.set()
        thread.join()
    return seen


def run(job_file: Path) -> None:
    results = []
    for name, *arguments in json.loads(job_file.read_text()):
        results.append(globals()[name](*arguments))
        (job_file.parent / "result.json").write_text(json.dumps(results))


if __name__ == "__main__":
    die_with_parent()
    run(Path(sys.argv[1]))
    # The session's own goodbye takes seconds; the group is ended by who started it.
    sys.stdout.flush()
    os._exit(0)
