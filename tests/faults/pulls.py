"""Kills pulls with SIGKILL at random moments, pulls again, and compares the copy with the table.

    python -m tests.faults.pulls                            # a million rows, 20 kills of each server; writes pulls.md
    python -m tests.faults.pulls --rows 4000 --kills 2

Postgres and MariaDB are real servers. The table has ties at its cursor and rows without one. After every kill rows are
added, also some that were committed late. Half of the kills are of the first pull, half of later ones, which read what
came since. A pull is killed between its start and a little more than the time that an undisturbed one takes, so that
some signals come into its last step, and some too late.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from orchestration.home import PROJECT_ROOT, Home, Settings
from orchestration.landing.pull import pull
from tests.faults.fixture import table
from tests.mariadb import running_mariadb
from tests.orchestration.landing.conftest import one_pull
from tests.postgres import running_server

TABLE = Path(__file__).with_suffix(".md")
NOW = datetime(2027, 1, 1)
MOST_LATE = 200
# Half a second for every row, so that two share each second; every 97th has no cursor.
ROWS = {
    "postgres": """
        insert into sales.orders
        select n, 'u' || n % 5000, jsonb_build_object('plan', 'pro', 'n', n),
            case when n % 97 > 0 then timestamptz '2025-01-01Z' + (n / 2 + {late}) * interval '1 second' end
        from generate_series({first}, {last}) as n
    """,
    "mariadb": """
        insert into sales.orders
        select seq, concat('u', seq % 5000), json_object('plan', 'pro', 'n', seq),
            case when seq % 97 > 0 then timestamp '2025-01-01 00:00:00' + interval (seq div 2 + {late}) second end
        from sales.seq_{first}_to_{last}
    """,
}
CREATE = {
    "postgres": "create table sales.orders (id bigint, user_id text, detail jsonb, received_at timestamptz)",
    "mariadb": "create table sales.orders (id bigint, user_id varchar(9), detail json, received_at timestamp null)",
}


@dataclass
class KilledPulls:
    """What the kills of one server's pulls came to.

    Attributes:
        server: which.
        rows: of the table, in the end.
        kills: pulls that were killed before they ended.
        late: pulls that had ended when the signal came.
        went_on: pulls that were not disturbed.
        peak_megabytes: the most memory that an undisturbed pull held.
        lost: rows of the table that a copy does not have, after a pull that went on to its end.
        doubled: rows that it has more than once.

    """

    server: str
    rows: int = 0
    kills: int = 0
    late: int = 0
    went_on: int = 0
    peak_megabytes: int = 0
    lost: int = 0
    doubled: int = 0

    @property
    def is_wrong(self) -> bool:
        return bool(self.lost or self.doubled or not self.kills)


class PullKills:
    """One server, one home."""

    def __init__(self, server: str, engine: sa.Engine, folder: Path, rows: int, seed: int) -> None:
        self.done = KilledPulls(server)
        self.engine = engine
        self.folder, self.home = folder, folder / "trial"
        self.rows = rows
        self.chance = random.Random(f"{seed}-{server}")
        with engine.begin() as connection:
            connection.exec_driver_sql(CREATE[server])
        self.add(rows)

    def add(self, rows: int, late: int = 0) -> None:
        """Adds rows to the table; late ones have an earlier time than rows that are there."""
        first, self.done.rows = self.done.rows + 1, self.done.rows + rows
        sql = ROWS[self.done.server].format(first=first, last=self.done.rows, late=-late)
        with self.engine.begin() as connection:
            connection.exec_driver_sql(sql.replace("%", "%%"))

    def kill(self, kills: int) -> None:
        """Kills some pulls, half of them of the first pull."""
        seconds = self._seconds()
        self._new_home()
        while self.done.kills < kills - kills // 2:
            # What has ended is compared, and the next first pull is that of a new home.
            if self._ends_before_its_kill(seconds):
                self._compare()
                self._new_home()
        self._seconds()
        self._compare()
        self.add(self.rows // 10)
        seconds = self._seconds()
        ended = True
        while self.done.kills < kills:
            if ended:
                self.add(self.rows // 10)
            ended = self._ends_before_its_kill(seconds)
        self._seconds()
        self._compare()

    def _new_home(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        self.home = self.folder / f"home{self.done.late}"

    def _ends_before_its_kill(self, seconds: float) -> bool:
        # An overlap of an hour holds 7,200 rows; the late ones are ten minutes late.
        self.add(max(1, self.rows // 1000), self.chance.choice((0, 600)))
        with _pulling(self.home) as child:
            with suppress(subprocess.TimeoutExpired):
                child.wait(self.chance.uniform(0, 1.1 * seconds))
            child.kill()
            child.wait()
        ended = child.returncode == 0
        self.done.late += ended
        assert self.done.late < MOST_LATE, "nearly every signal came too late"
        self.done.kills += not ended
        return ended

    def _seconds(self) -> float:
        """Pulls without a kill, and says how long it took."""
        started = time.monotonic()
        with _pulling(self.home) as child:
            peak, _ = child.communicate(timeout=1800)
        if child.returncode:
            raise AssertionError(f"the pull of {self.done.server} failed")
        self.done.went_on += 1
        self.done.peak_megabytes = max(self.done.peak_megabytes, int(peak) // 1024)
        return time.monotonic() - started

    def _compare(self) -> None:
        home = Home(Settings(home=self.home))
        with home.lock("compare"), home.connect() as connection:
            row = connection.execute(
                """
                select count(distinct id), count(*), (select sum(accepted) from raw.loads)
                from raw_shop.orders
                where cast(id as bigint) between 1 and $rows
                    and json_extract_string(detail, '$.n') = id and user_id = 'u' || cast(id as bigint) % 5000
                """,
                {"rows": self.done.rows},
            ).fetchone()
        assert row is not None
        distinct, every, accepted = row
        self.done.lost += self.done.rows - distinct
        self.done.doubled += max(every, accepted) - distinct


@contextmanager
def _pulling(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A pull in a process of its own, from the moment that it has started."""
    command = [sys.executable, "-m", "tests.faults.pulls", "--pull", str(home)]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        yield child


def pull_once(home: Path) -> int:
    """The work of the process that is killed; prints the most memory that it held, in kilobytes."""
    import resource

    declared = {"url_env": "SHOP_URL", "table": "sales.orders", "cursor": "received_at", "overlap": "1 hour"}
    print("started", flush=True)
    (report,) = pull(Home(Settings(home=home)), [one_pull({"database": declared})], now=NOW)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    if report.error:
        print(report.error, file=sys.stderr)
    return 1 if report.error else 0


def kill_pulls(rows: int, kills: int, seed: int) -> list[KilledPulls]:
    """Kills pulls of each server."""
    done = []
    for name, running in (("postgres", running_server), ("mariadb", running_mariadb)):
        with tempfile.TemporaryDirectory() as folder, running() as server:
            engine = sa.create_engine(server.owner_url)
            os.environ["SHOP_URL"] = server.url
            if name == "postgres":
                server.execute("create schema sales")
            trial = PullKills(name, engine, Path(folder), rows, seed)
            trial.kill(kills)
            engine.dispose()
            done.append(trial.done)
    return done


def summary(done: list[KilledPulls]) -> str:
    """What happened, as a table."""
    head = ["server", "rows", "killed", "signal too late", "undisturbed", "peak memory", "lost", "double"]
    lines = [
        [
            result.server,
            f"{result.rows:,}",
            result.kills,
            result.late,
            result.went_on,
            f"{result.peak_megabytes:,} MB",
            result.lost,
            result.doubled,
        ]
        for result in done
    ]
    return table(head, lines)


def main() -> int:
    """Kills, pulls again, compares."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--pull", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.pull:
        return pull_once(given.pull)
    done = kill_pulls(given.rows, given.kills, given.seed)
    print(summary(done))
    if given.rows == parser.get_default("rows"):
        TABLE.write_text(f"# Killed pulls\n\n`make prove-pulls` writes this.\n\n{summary(done)}\n")
    print(json.dumps({"kills": sum(result.kills for result in done), "wrong": sum(result.is_wrong for result in done)}))
    return 1 if any(result.is_wrong for result in done) else 0


if __name__ == "__main__":
    sys.exit(main())
