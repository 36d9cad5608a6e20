"""What benchmarks/bench.py measures, each a function that runs in a process of its own (see benchmarks/measure.py).

Arguments of a step are JSON values; it returns its stopwatch and a few facts.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.generator import Shape, adversarial_batch, append_batch, create_history
from benchmarks.measure import ROOT, Stopwatch, print_measure
from orchestration.home import Home, Settings

StepResult = tuple[Stopwatch, dict[str, Any]]

# Folders that follow the features; each has a cost of its own, which other benchmarks measure.
AFTER_FEATURES = ("traits", "plays", "syncs")
# The stages that are measured: a folder of models each, whose tables are in the schema of the same name.
STAGES = tuple(
    sorted(path.name for path in (ROOT / "models").iterdir() if path.is_dir() and path.name not in AFTER_FEATURES)
)
# What pages of the generated web events mean; the same rules stand in benchmarks/naive.
PAGE_RULES = (("/pricing", "pricing"), ("/invite", "invite"), ("/settings/team", "collaboration"))
# Tables that say what a build did, not what it made.
PER_BUILD = ("new_", "dirty_", "touched_", "replaced_")
KEPT = ("event_log", "quarantined_events", "identity_changes", "attributes", "memberships")


def prepare_project(project: str) -> StepResult:
    """Copies the project without what follows the features, and adds catalogue rows for the generated pages."""
    copy = Path(project)
    with Stopwatch() as watch:
        for stage in STAGES:
            shutil.copytree(ROOT / "models" / stage, copy / "models" / stage)
        for texts in (ROOT / "models").glob("*.md"):
            shutil.copy(texts, copy / "models" / texts.name)
        shutil.copytree(ROOT / "macros", copy / "macros")
        shutil.copytree(ROOT / "tests" / "data" / "generic", copy / "tests" / "data" / "generic")
        shutil.copytree(ROOT / "seeds", copy / "seeds", ignore=shutil.ignore_patterns("sample"))
        (copy / "tests" / "unit").mkdir(parents=True)
        for name in ("dbt_project.yml", "profiles.yml"):
            shutil.copy(ROOT / name, copy / name)
        catalog = copy / "seeds" / "event_catalog.csv"
        fields = csv.DictReader(catalog.read_text().splitlines()).fieldnames or []
        with catalog.open("a", newline="") as file:
            for pattern, behaviour in PAGE_RULES:
                rule = {"source": "shop", "event_name": "page", "property": "path", "match": "prefix"}
                csv.DictWriter(file, fields, lineterminator="\n").writerow(
                    rule | {"pattern": pattern, "behaviour": behaviour}
                )
    return watch, {}


def generate(home_folder: str, shape: dict[str, Any]) -> StepResult:
    """A home with a history."""
    home = Home(Settings(home=Path(home_folder)))
    with home.lock("benchmark"), home.connect() as connection, Stopwatch() as watch:
        create_history(connection, Shape(**shape))
    return watch, {"bytes": home.warehouse.stat().st_size}


def append(home_folder: str, shape: dict[str, Any], events: int, adversarial: bool = False) -> StepResult:
    """One more load."""
    home = Home(Settings(home=Path(home_folder)))
    add = adversarial_batch if adversarial else append_batch
    with home.lock("benchmark"), home.connect() as connection, Stopwatch() as watch:
        add(connection, Shape(**shape), events)
    return watch, {}


def scan(home_folder: str) -> StepResult:
    """Reads every value of seven raw columns, warm: the best of three."""
    texts = ("event_id", "event_name", "user_id", "anonymous_id", "account_id")
    sums = [f"sum(strlen({column}))" for column in texts]
    sums += [f"bit_xor(epoch_us({column}))" for column in ("occurred_at", "received_at")]
    home = Home(Settings(home=Path(home_folder)))
    with home.connect() as connection:
        watches = []
        for _ in range(3):
            with Stopwatch() as watch:
                connection.execute(f"select {', '.join(sums)} from raw.events").fetchall()
            watches.append(watch)
    return min(watches, key=lambda watch: watch.seconds), {}


def build(home_folder: str, project: str, full: bool) -> StepResult:
    """One build up to the features, with the project parsed."""
    from orchestration.transform.build import begin_build, run_build
    from orchestration.transform.dbt import Project

    home = Home(Settings(home=Path(home_folder), project=Path(project)))
    dbt = Project(home)
    _ = dbt.manifest, dbt.manifest_dict
    with home.lock("benchmark"), Stopwatch() as watch:
        made = begin_build(dbt, as_of=None, full_refresh=full)
        results = run_build(dbt, made)
    failed = [f"{result.name}: {result.message}" for result in results if not result.ok]
    if failed:
        raise SystemExit("\n".join(failed))
    if made.full_refresh != full:
        raise SystemExit(
            "A batch rebuilt the whole history, because the project or its definitions have changed. Run it again."
        )
    return watch, {
        "models": {result.name: result.seconds for result in results},
        "bytes": home.warehouse.stat().st_size,
        **_counts(home.warehouse, "sessions.fct_sessions", "activity.fct_user_activity_daily", "identity.dim_users"),
    }


def rewrite(home_folder: str) -> StepResult:
    """Writes the tables that a build has made once more, as they are: no full build can be faster."""
    home = Home(Settings(home=Path(home_folder)))
    file = home.root / "rewritten.duckdb"
    with home.connect() as connection, Stopwatch() as watch:
        connection.execute(f"attach '{file}' as rewritten")
        tables = connection.execute("select schema_name, table_name from duckdb_tables() order by all").fetchall()
        for schema, table in tables:
            if schema in STAGES:
                connection.execute(f"create table rewritten.{schema}_{table} as from {schema}.{table}")
        connection.execute("detach rewritten")
    file.unlink()
    return watch, {}


def naive(home_folder: str, folder: str, full: bool) -> StepResult:
    """One build of benchmarks/naive over the same raw table, into a file of its own, with the project parsed."""
    from dbt.cli.main import dbtRunner

    file = Path(folder) / "plain_dbt.duckdb"
    os.environ |= {
        "BENCH_NAIVE_FILE": str(file),
        "BENCH_WAREHOUSE": str(Home(Settings(home=Path(home_folder))).warehouse),
    }
    flags = ["--project-dir", str(ROOT / "benchmarks" / "naive"), "--profiles-dir", str(ROOT / "benchmarks" / "naive")]
    flags += ["--target-path", f"{folder}/naive_dbt", "--log-path", f"{folder}/naive_logs", "--log-level", "none"]
    manifest = dbtRunner().invoke(["parse", *flags]).result
    with Stopwatch() as watch:
        done = dbtRunner(manifest=manifest).invoke(["build", *(["--full-refresh"] if full else []), *flags])
    if not done.success:
        words = [node.message for node in done.result or () if str(node.status) not in ("success", "pass")]
        raise SystemExit(str(done.exception or words))
    return watch, {
        "models": {result.node.name: result.execution_time for result in done.result},
        "bytes": file.stat().st_size,
        **_counts(file, "naive.sessions", "naive.user_days", "naive.user_features"),
    }


def _counts(file: Path, sessions: str, days: str, users: str) -> dict[str, int]:
    with duckdb.connect(str(file), read_only=True) as connection:
        row = connection.execute(
            f"select (select count(*) from {sessions}), (select count(*) from {days}), (select count(*) from {users})"
        ).fetchone()
    return dict(zip(("sessions", "days", "users"), row or (), strict=True))


def copy_raw(home_folder: str, other_folder: str) -> StepResult:
    """Another home with the same raw rows, the newest load first: row order decides nothing."""
    from orchestration.landing.contract import RAW_TABLES

    source, target = (Home(Settings(home=Path(path))) for path in (home_folder, other_folder))
    with target.connect() as connection, Stopwatch() as watch:
        connection.execute(f"attach '{source.warehouse}' as source (read_only)")
        connection.execute(RAW_TABLES)
        loads = connection.execute("select load_id from source.raw.loads order by load_id desc").fetchall()
        for (load_id,) in loads:
            connection.execute("insert into raw.events from source.raw.events where load_id = $1", [load_id])
        connection.execute("insert into raw.loads from source.raw.loads")
    return watch, {}


def compare(home_folder: str, other_folder: str) -> StepResult:
    """Rows that stand in one home only, by table: all tables up to the features, without when a row was loaded."""
    differing = {}
    first, second = (Home(Settings(home=Path(path))) for path in (home_folder, other_folder))
    with first.connect() as connection, Stopwatch() as watch:
        connection.execute(f"attach '{second.warehouse}' as other (read_only)")
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name != 'other' order by all"
        ).fetchall()
        for schema, table in tables:
            made = schema in STAGES and table.startswith(("fct_", "dim_"))
            made = made or table in KEPT or schema == "features"
            if not made or table.startswith(PER_BUILD):
                continue
            mine, theirs = (
                f"select columns(name -> name not in ('load_id', 'loaded_at')) from {catalog}{schema}.{table}"
                for catalog in ("", "other.")
            )
            (rows,) = connection.execute(
                f"select count(*) from (({mine} except all {theirs}) union all ({theirs} except all {mine}))"
            ).fetchone() or (-1,)
            differing[f"{schema}.{table}"] = rows
    return watch, {"differing": differing}


def export(home_folder: str, file: str) -> StepResult:
    """The raw columns that a peer reads, as Parquet."""
    columns = (
        "event_id, event_name, occurred_at, user_id, anonymous_id,"
        " case when event_type = 'page' then json_extract_string(properties, '$.path') end as path,"
        " coalesce(json_extract_string(context, '$.userAgent') ilike '%bot%', false) as is_bot"
    )
    home = Home(Settings(home=Path(home_folder)))
    with home.connect() as connection, Stopwatch() as watch:
        connection.execute(f"copy (select {columns} from raw.events) to '{file}' (format parquet)")
    return watch, {}


def peer(name: str, file: str) -> StepResult:
    """The same result by a data frame library, held in memory."""
    from benchmarks.peers import PEERS

    features = PEERS[name]()
    with Stopwatch() as watch:
        facts = features(file)
    return watch, facts


STEPS: dict[str, Callable[..., StepResult]] = {
    step.__name__: step
    for step in (prepare_project, generate, append, scan, build, rewrite, naive, copy_raw, compare, export, peer)
}

if __name__ == "__main__":
    print_measure(*STEPS[sys.argv[1]](**json.loads(sys.argv[2])))
