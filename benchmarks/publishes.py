"""What ten publishes of 1% changes cost at a million entities: time, bytes written and disk that is used.

    python -m benchmarks.publishes --entities 1000000
    python -m benchmarks.publishes --active 10      # the 1% are always of the same tenth of the users

One trait of as many users as asked for; in each build 1% of them change. Transforming and judging are not measured.
Where all users change equally often (the default), every Parquet file with values loses rows in each build. Where only
a share of the users is active, values that have not changed for long lie in files that stay. For that, the active users
change once together, many builds after the first, before the measuring begins. Ratios are to writing all values once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from orchestration.gates.verdicts import Verdict, save_verdicts
from orchestration.home import Home, Settings, utc_now
from orchestration.publishing.publish import publish
from orchestration.transform.content import content_hash
from orchestration.transform.dbt import Project
from orchestration.transform.state_tables import STATE_TABLES

TRAIT = "stuck"
SHARE = 100
# Numbers of builds after the first begin here.
LATER = 64


def candidates(connection: duckdb.DuckDBPyConnection, entities: int, number: int, as_of: datetime, active: int) -> None:
    """Candidates of one build: each flips a hundredth of the users; with --active, build 1 flips all who are active."""
    evidence = '{"rule": "no_failure", "eligible": true, "features": {"failures_7d": 0}, "thresholds": {"failures": 3}}'
    # A user in ``every`` is active; each build flips one in ``turns`` of them, which is a hundredth of all users.
    every = SHARE // active
    turns = active
    first = 0 if active == SHARE else 1
    connection.execute("create schema if not exists candidates")
    connection.execute(
        f"""
        create or replace table candidates.{TRAIT} as
        with users as (
            select
                n, n % {every} = 0 as is_active,
                len(list_filter(range({first} + 1, {number} + 1), lambda k: k % {turns} = (n // {every}) % {turns}))
                + if({number} >= {first}, {first}, 0) as turned
            from range({entities}) as r(n)
        )
        select
            'user_' || lpad(cast(n as varchar), 9, '0') as user_id, is_active and turned % 2 = 1 as value,
            cast(case when is_active and turned > 0 then turned end as double) as score, '{evidence}' as evidence,
            timestamp '{as_of}' as as_of
        from users
        """
    )


def main() -> None:
    """Prints a line for each publish, and the disk space that is used in the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--publishes", type=int, default=10)
    parser.add_argument("--active", type=int, default=SHARE, choices=(1, 2, 4, 5, 10, 20, 25, 50, SHARE), metavar="%")
    given = parser.parse_args()
    warm_up = 0 if given.active == SHARE else 1
    heads = ("publish", "changes", "seconds", "ratio", "database MB", "Parquet MB", "ratio ", "files", "new")
    table = Table(*heads, box=None, header_style="bold")
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Settings(home=Path(folder) / "home"))
        project = Project(home)
        trait = project.catalog.trait(TRAIT)
        first: tuple[float, float] | None = None
        for number in range(given.publishes + 1 + warm_up):
            as_of = datetime(2026, 1, 1) + timedelta(days=number)
            with home.lock("benchmark"), home.connect() as connection:
                connection.execute(STATE_TABLES + "create schema if not exists identity")
                candidates(connection, given.entities, number, as_of, given.active)
                connection.execute(
                    f"create or replace table identity.dim_users as select user_id from candidates.{TRAIT}"
                )
                connection.execute("delete from state.current_build")
                build_number = LATER + number if number else 1
                build_id = f"{build_number:06d}-{as_of:%Y%m%dT%H%M%SZ}"
                connection.execute(
                    """
                    insert into state.current_build by name
                    select
                        $build_number as build_number, $build_id as build_id, $as_of as as_of, 0 as loaded_after,
                        0 as loaded_until, false as full_refresh, '' as fingerprint, $now as started_at
                    """,
                    {"build_number": build_number, "build_id": build_id, "as_of": as_of, "now": utc_now()},
                )
                content = content_hash(connection, trait.candidate, trait.id_column)
                verdict = Verdict(
                    build_id=build_id,
                    trait=TRAIT,
                    as_of=as_of,
                    definition_version=trait.version,
                    verdict="passed",
                    reason="",
                    population=given.entities,
                    eligible=given.entities,
                    members=number * given.entities // SHARE,
                    content_hash=content,
                    decided_at=utc_now(),
                )
                save_verdicts(connection, [verdict])
            began = time.perf_counter()
            report = publish(project)
            seconds = time.perf_counter() - began
            served = (home.serving / "current").resolve()
            sizes = [
                (path.suffix == ".parquet", path.stat().st_size, path.stat().st_nlink == 1)
                for path in served.rglob("*")
                if path.is_file()
            ]
            parquet = sum(size for is_parquet, size, new in sizes if is_parquet and new) / 1e6
            database = sum(size for is_parquet, size, _ in sizes if not is_parquet) / 1e6
            first = first or (seconds, parquet)
            changes = sum(trait.changes for trait in report.traits)
            table.add_row(
                "all values once" if number == 0 else "active once" if number <= warm_up else str(number - warm_up),
                f"{changes:,}",
                f"{seconds:.1f}",
                f"{seconds / first[0]:.2f}",
                f"{database:.1f}",
                f"{parquet:.2f}",
                f"{parquet / first[1]:.2f}",
                str(len(sizes)),
                str(sum(new for *_, new in sizes)),
            )
        used = sum(path.stat().st_size / path.stat().st_nlink for path in home.serving.rglob("*") if path.is_file())
        warehouse = home.warehouse.stat().st_size
    console = Console(width=120)
    console.print(table)
    console.print(f"Disk in the end: warehouse {warehouse / 1e6:.0f} MB, {used / 1e6:.0f} MB of retained snapshots")


if __name__ == "__main__":
    main()
