"""What syncs cost: rows a second, how much of a vendor's limit is used, and a sync that has nothing to do.

    python -m benchmarks.syncs --rows 100000 --idle-rows 1000000

The stand-in is a process of its own and only counts, so that it does not slow the others down. It is given the same
rows by the engine in batches of a hundred, by a script that posts one record at a time, and by dlt's custom destination
(in a virtualenv of its own; left out where there is none). The script and dlt remember nothing and check nothing.
At a latency the script takes so long that it is given a part of the rows; the table has rows a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import duckdb
import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.measure import ROOT, Stopwatch
from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.declarations.traits import Trait
from orchestration.destinations import ObjectKind, Outcomes, Record, destinations
from orchestration.destinations._http import HttpDestination
from orchestration.destinations._pace import Rate
from orchestration.home import Home, Settings
from orchestration.sync.engine import run_sync
from orchestration.sync.report import SyncReport

# HubSpot, private apps of professional and enterprise accounts: calls in any ten seconds; records a batch call.
LIMIT, BATCH, WORKERS = Rate(190, 10.0), 100, 8
LATENCY_SECONDS = 0.15
SLOW_ROWS = 500

console = Console(width=130)


class Rows(NamedTuple):
    """Rows that somebody delivered, and how long it took."""

    who: str
    rows: int
    seconds: float

    @property
    def speed(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


class Batches(HttpDestination):
    """A batch a call, as CRMs have them."""

    objects: ClassVar[Mapping[str, ObjectKind]] = {"users": ObjectKind("user", "id")}
    batch_size: ClassVar[int] = BATCH
    workers: ClassVar[int] = WORKERS

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """The stand-in takes every batch as a whole."""
        rows = [{"id": record.identifier, "fields": record.fields} for record in records]
        self.call("POST", "/batch", success=(200, 201, 202, 204), json=rows)
        return [None] * len(records)


class LimitedBatches(Batches):
    """Under HubSpot's limit."""

    rates: ClassVar[tuple[Rate, ...]] = (LIMIT,)


class StandIn(asyncio.Protocol):
    """Reads a request, counts its rows, answers; ``limited`` refuses what is over the limit with 429."""

    counts: ClassVar[dict[str, float]] = {}
    taken: ClassVar[deque[float]] = deque()
    latency, limited = 0.0, False

    def connection_made(self, transport: Any) -> None:
        """Begins."""
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answers each whole request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            if head.startswith(b"get"):
                self.answer(200, json.dumps(self.counts).encode())
            elif head.startswith(b"delete"):
                self.counts.clear()
                self.taken.clear()
                self.answer(200, b"{}")
            else:
                self.write(body)

    def write(self, body: bytes) -> None:
        """A call that writes."""
        now, counts = time.monotonic(), self.counts
        if self.limited:
            while self.taken and self.taken[0] <= now - LIMIT.seconds:
                self.taken.popleft()
            if len(self.taken) >= LIMIT.calls:
                counts["refused"] = counts.get("refused", 0) + 1
                self.answer(429, b"{}")
                return
            self.taken.append(now)
        counts["calls"] = counts.get("calls", 0) + 1
        counts["rows"] = counts.get("rows", 0) + body.count(b'"id":')
        counts.setdefault("first", now)
        counts["last"] = now
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, self.answer, 200, b"{}")
        else:
            self.answer(200, b"{}")

    def answer(self, status: int, body: bytes) -> None:
        """Sends an answer."""
        self.transport.write(
            b"HTTP/1.1 %d .\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )


async def serve(latency: float, limited: bool) -> None:
    """The stand-in, until it is killed; its port is the first line that it prints."""
    StandIn.latency, StandIn.limited = latency, limited
    server = await asyncio.get_running_loop().create_server(StandIn, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def standin(latency: float = 0.0, *, limited: bool = False) -> Iterator[str]:
    """Address of a stand-in in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.syncs", "--serve", str(latency), *(["--limited"] if limited else [])]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert child.stdout is not None  # noqa: S101
    try:
        yield f"http://127.0.0.1:{child.stdout.readline().strip()}"
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def counted(url: str) -> dict[str, float]:
    """What the stand-in took since it was last asked."""
    counts: dict[str, float] = httpx.get(url).json()
    httpx.delete(url)
    return counts


def declared(url: str, destination: str, **given: Any) -> tuple[Catalog, Sync]:
    """Three traits and one sync."""
    traits = [
        Trait.model_validate(
            {
                **{"name": name, "title": name, "description": name, "type": kind, "entity": "user", "owner": "x"},
                **{"version": 1, "score": "1", "rules": [{"rule": "r", "text": "It is."}], "purpose": "x"},
                **{"outcome": {"title": "x", "silence": True}},
            }
        )
        for name, kind in (("paying", "boolean"), ("score", "number"), ("stage", "category"))
    ]
    sync: dict[str, Any] = {"name": "crm", "description": "x", "destination": destination, "traits": "all"}
    sync |= {"options": {"base_url": url}, "breaker": 1.0}
    made = Sync.model_validate(sync | given)
    return Catalog(traits=tuple(traits), syncs=(made,)), made


def publish(home: Home, number: int, users: int, traits: int, changed: int = 0) -> None:
    """A snapshot of so many users with so many traits each; the score of the first ``changed`` users differs."""
    home.prepare()
    folder = home.serving / "builds" / f"{number:06d}"
    folder.mkdir(parents=True)
    with duckdb.connect(str(folder / "traithouse.duckdb")) as connection:
        connection.execute(
            f"""
            create schema traits;
            create table traits.trait_catalog as select 'score' as trait, 'A' as grade;
            create table traits.trait_values as
            select
                'user' as entity_type, 'user_' || lpad(cast(n as varchar), 9, '0') as entity_id, trait,
                case trait
                    when 'score' then cast((n % 1000) / 10 + if(n < {changed}, 1000, 0) as varchar)
                    when 'paying' then if(n % 3 = 0, 'true', 'false') else 'new'
                end as value,
                'It is so.' as reason, false as is_anonymous
            from range({users}) as r(n)
            cross join (select unnest(['score', 'paying', 'stage'][:{traits}]) as trait)
            order by trait, entity_id
            """
        )
    facts = {"build_id": f"{number:06d}", "as_of": "2026-01-01 00:00:00"}
    (folder / "manifest.json").write_text(json.dumps(facts))
    current = home.serving / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(folder.relative_to(home.serving))


def by_engine(folder: Path, url: str, rows: int, destination: str) -> tuple[SyncReport, Stopwatch]:
    """A first sync of all rows, from a new home."""
    home = Home(Settings(home=folder, env="production"))
    publish(home, 1, rows, 3)
    catalog, sync = declared(url, destination)
    with Stopwatch() as watch:
        report = run_sync(home, catalog, sync)
    if report.delivered != rows:
        raise SystemExit(f"{report.delivered} of {rows} delivered: {report.error}")
    return report, watch


def by_script(file: Path, url: str, rows: int) -> Stopwatch:
    """A record at a time over one connection: the script that people write first."""
    with Stopwatch() as watch, httpx.Client(base_url=url) as client, file.open() as lines:
        for _, line in zip(range(rows), lines, strict=False):
            client.post("/record", content=line).raise_for_status()
    return watch


def by_dlt(python: Path, file: Path, url: str, rows: int) -> float | None:
    """Seconds of dlt's pipeline with a custom destination, batches and workers as the engine's; none without dlt."""
    if not python.exists():
        return None
    command = [str(python), str(ROOT / "benchmarks" / "dlt_peer.py"), str(file), url]
    command += [str(rows), str(BATCH), str(WORKERS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"dlt: {done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def rates(folder: Path, rows: int, dlt: Path) -> None:
    """Rows a second at no latency and at some, of each."""
    file = folder / "rows.ndjson"
    with file.open("w") as lines:
        for number in range(rows):
            fields = {"paying": number % 3 == 0, "score": number % 1000 / 10, "stage": "new"}
            lines.write(json.dumps({"id": f"user_{number:09d}", "fields": fields}) + "\n")
    table = Table("latency", "who", "rows", "seconds", "rows/s", "ratio to the script", box=None, header_style="bold")
    for latency in (0.0, LATENCY_SECONDS):
        with standin(latency) as url:
            few = rows if not latency else min(rows, SLOW_ROWS)
            measured = [Rows("script, a record at a time", few, by_script(file, url, few).seconds)]
            checked(url, few)
            _, watch = by_engine(folder / f"engine-{latency}", url, rows, "batches")
            measured.append(Rows("engine", rows, watch.seconds))
            checked(url, rows)
            seconds = by_dlt(dlt, file, url, rows)
            if seconds:
                measured.append(Rows("dlt, custom destination", rows, seconds))
                checked(url, rows)
        first = measured[0]
        for done in measured:
            ratio = done.speed / first.speed
            cells = (f"{done.rows:,}", f"{done.seconds:.1f}", f"{done.speed:,.0f}", f"{ratio:.1f}")
            table.add_row(f"{latency * 1000:.0f} ms", done.who, *cells)
        if len(measured) < 3:
            console.print("dlt is not installed, so it is left out; make bench-sync installs it.")
    console.print(table)


def checked(url: str, rows: int) -> None:
    """Ends the benchmark unless the stand-in got all rows."""
    counts = counted(url)
    if counts.get("rows") != rows:
        raise SystemExit(f"the stand-in got {counts} of {rows} rows")


def share_of_limit(folder: Path, rows: int) -> None:
    """How much of the vendor's limit is used: the least time that it allows, over the time that passed."""
    with standin(LATENCY_SECONDS, limited=True) as url:
        report, watch = by_engine(folder / "limited", url, rows, "limited")
        counts = counted(url)
    calls, passed = int(counts["calls"]), counts["last"] - counts["first"]
    least = (calls - 1) // LIMIT.calls * LIMIT.seconds
    share = least / passed if least else 1.0
    table = Table("limit", "calls", "least s", "s", "share used", "goal", "answered 429", box=None, header_style="bold")
    table.add_row(
        f"{LIMIT.calls} / {LIMIT.seconds:.0f} s",
        f"{calls:,}",
        f"{least:.0f}",
        f"{passed:.1f} ({watch.seconds:.1f} with planning)",
        f"{share:.1%}",
        ">= 95%",
        f"{counts.get('refused', 0):.0f} (waited {report.waited_seconds:.0f} s)",
    )
    console.print(table)


def idle(folder: Path, rows: int) -> None:
    """What a sync costs that has nothing to do, and a sync that has a little to do."""
    home = Home(Settings(home=folder / "idle", env="production"))
    table = Table("1 trait", "seconds", "CPU s", "peak GB so far", "goal", box=None, header_style="bold")
    with standin() as url:
        catalog, sync = declared(url, "batches", first="from_now_on", traits=("score",))
        steps = [
            ("begins: all count as sent", 0, ""),
            ("the same snapshot again", None, "< 1 s"),
            ("a new snapshot, nothing changed", 0, "< 1 s"),
            ("a new snapshot, 0.1% changed and sent", rows // 1000, ""),
        ]
        for number, (what, changed, goal) in enumerate(steps):
            if changed is not None:
                publish(home, number, rows, 1, changed)
            with Stopwatch() as watch:
                report = run_sync(home, catalog, sync)
            if report.delivered != (changed or 0):
                raise SystemExit(f"{what}: {report}")
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            table.add_row(what, f"{watch.seconds:.2f}", f"{watch.cpu_seconds:.2f}", f"{peak / 1e9:.1f}", goal)
    console.print(f"{rows:,} published rows")
    console.print(table)


def main() -> None:
    """Prints three tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--idle-rows", type=int, default=1_000_000)
    parser.add_argument("--dlt", type=Path, default=ROOT / ".venv" / "dlt" / "bin" / "python", help="a Python with dlt")
    parser.add_argument("--only", choices=["rates", "limit", "idle"])
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--limited", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        asyncio.run(serve(given.serve, given.limited))
    destinations().update(batches=Batches, limited=LimitedBatches)
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.only in (None, "idle"):
            idle(folder, given.idle_rows)
        if given.only in (None, "rates"):
            rates(folder, given.rows, given.dlt)
        if given.only in (None, "limit"):
            share_of_limit(folder, given.rows)


if __name__ == "__main__":
    main()
