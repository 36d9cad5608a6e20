"""Kills syncs with SIGKILL at random moments while new builds are published, and looks at what arrived.

    python -m tests.faults.syncs             # 120 kills
    python -m tests.faults.syncs --kills 10

Two destinations over loopback, each in a process of its own: the webhook (record by record) and one that takes batches.
A killed run is followed by the next one, often with another build. In the end an undisturbed run goes through; then the
destination has to hold what is published, as it is mapped. A record counts as a duplicate when the same change (its id)
was taken more than once; a kill may cost at most one batch a worker of them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import httpx

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.destinations import ObjectKind, Outcomes, Record, destinations
from orchestration.destinations._http import HttpDestination
from orchestration.home import Home, Settings
from orchestration.sync.engine import run_sync
from orchestration.sync.ledger import SyncLedger
from tests.children import in_child, kill_child, start_child
from tests.faults.fixture import table
from tests.orchestration.destinations.standins import Answer, HttpStandIn, Request
from tests.orchestration.destinations.standins.webhook import WebhookStandIn
from tests.serving import catalog_of, serve

ENTITIES = 400
LATENCY_SECONDS = 0.004
TRAITS = {"paying": "boolean", "score": "number", "stage": "category"}
Published = dict[str, dict[str, str]]


class BatchDestination(HttpDestination):
    """One call a batch; the answer takes it whole."""

    objects: ClassVar[Mapping[str, ObjectKind]] = {"users": ObjectKind("user", "id", deletes=True)}
    batch_size: ClassVar[int] = 25
    workers: ClassVar[int] = 3

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        rows = [[record.record_id, record.identifier, record.action, record.fields] for record in records]
        self.call("POST", "/batch", success=(200,), json=rows)
        return [None] * len(records)


class _CountingStandIn(HttpStandIn):
    """Counts what it takes, and answers with that at ``/counted``."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: Counter[str] = Counter()
        self.latency_seconds = LATENCY_SECONDS

    def handle(self, request: Request) -> Answer:
        if request.path == "/counted":
            return Answer(200, {"state": self.state(), "taken": self.taken})
        return self.take(request)

    @abstractmethod
    def take(self, request: Request) -> Answer:
        """The behaviour of the destination."""


class BatchStandIn(_CountingStandIn):
    """Keeps the fields of each identifier."""

    name = "batches"

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[str, Any]] = {}

    def declaration(self) -> dict[str, Any]:
        return {"destination": "batches", "options": {"base_url": self.url}}

    def environment(self) -> dict[str, str]:
        return {}

    def take(self, request: Request) -> Answer:
        for record_id, identifier, action, fields in request.json:
            self.taken[record_id] += 1
            if action == "delete":
                self.records.pop(identifier, None)
            else:
                self.records.setdefault(identifier, {}).update(fields)
        return Answer(200, {})

    def state(self) -> dict[str, dict[str, Any]]:
        return {
            identifier: {name: value for name, value in fields.items() if value is not None}
            for identifier, fields in self.records.items()
        }


class HookStandIn(WebhookStandIn, _CountingStandIn):
    """The webhook's own stand-in, which counts."""

    def handle(self, request: Request) -> Answer:
        return _CountingStandIn.handle(self, request)

    def take(self, request: Request) -> Answer:
        answer = WebhookStandIn.handle(self, request)
        if answer.status < 300:
            self.taken[request.headers["webhook-id"]] += 1
        return answer


@contextmanager
def serving(standin: _CountingStandIn, folder: Path) -> Iterator[None]:
    """The stand-in in a process of its own: who forks should have no threads."""
    port = folder / "port"

    def work() -> None:
        with standin.running(folder):
            draft = folder / "port.draft"
            draft.write_text(str(standin.port))
            draft.replace(port)
            while True:
                time.sleep(60)

    child = start_child(work)
    try:
        while not port.exists():
            time.sleep(0.01)
        standin.port = int(port.read_text())
        yield
    finally:
        kill_child(child)


@dataclass
class KilledSyncs:
    """What the kills of one destination came to.

    Attributes:
        destination: which.
        kills: runs that were killed before they ended.
        builds: published meanwhile.
        taken: records that the destination took.
        again: of these, changes that it had taken before.
        most_again: of one kill, on average between two runs that went through.
        allowed: duplicates that one kill may cost: a batch a worker.
        lost: identifiers whose record is not what is published.
        doubts: records in doubt in the end.
        letters: records that failed in the end.

    """

    destination: str
    allowed: int
    kills: int = 0
    builds: int = 0
    taken: int = 0
    again: int = 0
    most_again: float = 0.0
    lost: int = 0
    doubts: int = 0
    letters: int = 0

    @property
    def is_wrong(self) -> bool:
        return bool(self.lost or self.doubts or self.letters or self.most_again > self.allowed or not self.kills)


class DestinationKills:
    """One destination, one home."""

    def __init__(self, standin: _CountingStandIn, folder: Path, seed: int) -> None:
        self.standin, self.folder = standin, folder
        self.home = Home(Settings(home=folder / "home", env="production"))
        self.home.prepare()
        self.chance = random.Random(seed)
        self.sync: Sync = standin.sync(breaker=1.0, mode=self.chance.choice(["upsert", "mirror"]))
        self.catalog: Catalog = catalog_of(TRAITS, self.sync)
        self.published: Published = {}
        kind = destinations()[standin.name]
        self.done = KilledSyncs(standin.name, kind.workers * kind.batch_size)

    def publish(self) -> None:
        """Some change, some lose a trait, some go for good, some are new."""
        self.done.builds += 1
        for number in range(ENTITIES):
            lot = self.chance.random()
            if self.done.builds == 1 or lot < 0.3:
                self.published[f"e{number:04d}"] = {
                    "paying": self.chance.choice(["true", "false"]),
                    "score": str(self.chance.randrange(1000) / 10),
                    **({"stage": self.chance.choice(["new", "old"])} if lot < 0.25 else {}),
                }
            elif lot < 0.33:
                self.published.pop(f"e{number:04d}", None)
        number, published = self.done.builds, self.published
        assert in_child(lambda: serve(self.home, number, published)) == 0

    def expected(self) -> dict[str, dict[str, Any]]:
        """What has to be there, said without the engine."""
        return {
            entity: {
                name: text == "true" if name == "paying" else float(text) if name == "score" else text
                for name, text in traits.items()
            }
            for entity, traits in self.published.items()
        }

    def counted(self) -> dict[str, Any]:
        with httpx.Client() as client:
            found: dict[str, Any] = client.get(f"{self.standin.url}/counted").json()
        return found

    def again(self) -> int:
        return sum(count - 1 for count in self.counted()["taken"].values())

    def begin(self) -> int:
        return start_child(lambda: run_sync(self.home, self.catalog, self.sync), self.folder / "error")

    def finish(self) -> float:
        """An undisturbed run; how long it took."""
        begun = time.monotonic()
        assert in_child(lambda: run_sync(self.home, self.catalog, self.sync), self.folder / "error", 60) == 0, (
            self.folder / "error"
        ).read_text()
        return time.monotonic() - begun

    def run(self, kills: int) -> KilledSyncs:
        self.publish()
        seconds = self.finish()
        since, before = 0, self.again()
        while self.done.kills < kills:
            if self.chance.random() < 0.6:
                self.publish()
            child = self.begin()
            time.sleep(self.chance.uniform(0, seconds))
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                assert status == 0, (self.folder / "error").read_text()
            else:
                kill_child(child)
                since += 1
                self.done.kills += 1
            if since and self.chance.random() < 0.3:
                self.finish()
                self.done.most_again = max(self.done.most_again, (self.again() - before) / since)
                since, before = 0, self.again()
        self.finish()
        self.done.most_again = max(self.done.most_again, (self.again() - before) / max(1, since))
        return self._compared()

    def _compared(self) -> KilledSyncs:
        counted, wanted = self.counted(), self.expected()
        state = {entity: fields for entity, fields in counted["state"].items() if fields or self.sync.mode == "mirror"}
        self.done.lost = sum(state.get(entity) != wanted.get(entity) for entity in state.keys() | wanted.keys())
        self.done.taken = sum(counted["taken"].values())
        self.done.again = self.again()
        with SyncLedger(self.home) as ledger:
            self.done.doubts = len(ledger.in_doubt(self.sync.name))
            self.done.letters = len(ledger.dead_letters(self.sync.name))
        return self.done


def kill_syncs(kills: int, folder: Path, seed: int) -> list[KilledSyncs]:
    """Half of the kills at each destination."""
    destinations()["batches"] = BatchDestination
    done = []
    for number, standin in enumerate((HookStandIn(), BatchStandIn())):
        here = folder / standin.name
        here.mkdir()
        with serving(standin, here):
            os.environ.update(standin.environment())
            done.append(DestinationKills(standin, here, seed + number).run((kills + 1 - number) // 2))
    return done


def summary(done: Sequence[KilledSyncs]) -> str:
    """A line a destination."""
    head = ("destination", "kills", "builds", "records taken", "again", "again a kill", "allowed", "lost", "in doubt")
    return table(
        head,
        [
            (
                result.destination,
                result.kills,
                result.builds,
                result.taken,
                result.again,
                f"{result.again / max(1, result.kills):.1f}, at most {result.most_again:.1f}",
                result.allowed,
                result.lost,
                result.doubts + result.letters,
            )
            for result in done
        ],
    )


def main() -> int:
    """Kills, goes on, compares."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--kills", type=int, default=120)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        done = kill_syncs(given.kills, Path(name), given.seed)
    print(summary(done))
    print(json.dumps({"kills": sum(result.kills for result in done), "wrong": sum(result.is_wrong for result in done)}))
    return 1 if any(result.is_wrong for result in done) else 0


if __name__ == "__main__":
    sys.exit(main())
