"""Whatever happens on the way: once the destination is healthy, it holds what is published, as it is mapped.

The destination drops repetitions of a change by its id, as receivers of webhooks do; so an id must never be that of
another change, though that may have been made before.
"""

from __future__ import annotations

import json
import random
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Scope, Sync, Target
from orchestration.destinations import (
    ClosedError,
    Destination,
    Failure,
    LimitedError,
    ObjectKind,
    Outcomes,
    Record,
    RefusedError,
    UnavailableError,
    destinations,
)
from orchestration.errors import UsageError
from orchestration.home import Home, Settings
from orchestration.sync import deliver, engine
from orchestration.sync.engine import run_sync
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.report import SyncReport
from tests.serving import catalog_of, serve

USERS = [f"u{number}" for number in range(5)]
EMAILS = ["p0@x.org", "p1@x.org", "p2@x.org", "P1@x.org"]
TRAITS = {"paying": "boolean", "score": "number", "stage": "category"}
TEXTS = {"paying": ["true", "false"], "score": ["1.5", "2"], "stage": ["new", "old"]}
# Each of many thousand commits waits for the disk, which tells nothing here.
IN_MEMORY = Path("/dev/shm")
COMMITS = ["begin_run", "settle", "update_sources", "drop_dead_letters", "note", "log"]
FAULTS = ["down", "lost", "limited", "half", "refused", "closed", "killed before", "killed after", "broken"]


class World:
    """What is at the destination, and what goes wrong with the next calls."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.owners: dict[str, str] = {}
        self.ids: set[str] = set()
        self.faults: deque[str] = deque()
        self.poisoned: set[str] = set()
        self.crash_at: tuple[str, int, bool] | None = None
        self.lock = threading.Lock()

    def take(self, record: Record) -> None:
        if record.record_id in self.ids:
            return
        self.ids.add(record.record_id)
        if record.action == "delete":
            self.records.pop(record.identifier, None)
            self.owners.pop(record.identifier, None)
        else:
            self.records[record.identifier] = self.records.get(record.identifier, {}) | record.fields
            self.owners[record.identifier] = record.entity_id

    def state(self) -> dict[str, dict[str, Any]]:
        return {
            identifier: {name: value for name, value in fields.items() if value is not None}
            for identifier, fields in self.records.items()
        }


class CutOffError(BaseException):
    """As Ctrl-C or a lost power: nothing handles it."""


class Board(Destination):
    """Batches of three, two at once; only the fields that a record names are written."""

    remote: ClassVar[bool] = True
    objects: ClassVar[Mapping[str, ObjectKind]] = {"users": ObjectKind("user", "id", deletes=True)}
    batch_size: ClassVar[int] = 3
    workers: ClassVar[int] = 2
    world: ClassVar[World]

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        with self.world.lock:
            return self._deliver(records)

    def _deliver(self, records: Sequence[Record]) -> Outcomes:
        world = self.world
        fault = world.faults.popleft() if world.faults else ""
        if fault == "down":
            raise UnavailableError("down")
        if fault == "limited":
            raise LimitedError("slowly", 0.0)
        if fault == "closed":
            raise ClosedError("go away")
        if fault == "killed before":
            raise CutOffError
        if fault == "refused" and any(record.identifier in world.poisoned for record in records):
            raise RefusedError("a bad batch")
        results: Outcomes = []
        for number, record in enumerate(records):
            if record.identifier in world.poisoned:
                results.append(Failure("a bad row"))
            elif fault == "half" and number % 2:
                results.append(Failure("locked", again=True))
            else:
                world.take(record)
                results.append(None)
        if fault == "lost":
            raise UnavailableError("no answer")
        if fault == "killed after":
            raise CutOffError
        if fault == "broken":
            raise KeyError("a bug of the destination, after the vendor took it")
        return results


@contextmanager
def installed(world: World) -> Iterator[None]:
    """The destination among the others, and a ledger that crashes where the world says so."""

    def crashing(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def commit(*given: Any, **named: Any) -> Any:
            if world.crash_at is None or world.crash_at[0] != name:
                return plain(*given, **named)
            _, left, after = world.crash_at
            world.crash_at = (name, left - 1, after) if left else None
            if left:
                return plain(*given, **named)
            if after:
                plain(*given, **named)
            raise CutOffError

        return commit

    with pytest.MonkeyPatch.context() as patch:
        Board.world = world
        patch.setitem(destinations(), "board", Board)
        patch.setattr(deliver, "FIRST_BACKOFF_SECONDS", 0.0)
        for name in COMMITS:
            patch.setattr(SyncLedger, name, crashing(name, getattr(SyncLedger, name)))
        yield


class Delivering(RuleBasedStateMachine):
    """Publishes, disturbs, syncs in any order; ``teardown`` heals and compares."""

    @initialize(
        by_email=st.booleans(),
        narrow=st.booleans(),
        mode=st.sampled_from(["upsert", "mirror"]),
        budget=st.sampled_from([None, None, 4]),
        seed=st.integers(0, 1 << 30),
    )
    def begin(self, by_email: bool, narrow: bool, mode: str, budget: int | None, seed: int) -> None:
        # With few users and values the same change comes again and again, and so would its id.
        self.narrow = narrow
        self.chance = random.Random(seed)
        self.healed = False
        self.folder = tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        self.home = Home(Settings(home=Path(self.folder.name) / "home", env="production"))
        self.home.prepare()
        self.world = World()
        self.installed = installed(self.world)
        self.installed.__enter__()
        self.day = 0
        self.number = 0
        self.traits = dict(TRAITS)
        self.values: dict[str, dict[str, str]] = {}
        self.people: dict[str, dict[str, str]] = {user: {} for user in USERS}
        self.grades = dict.fromkeys(TRAITS, "A")
        self.forgotten_there: set[str] = set()
        self.declared: dict[str, Any] = {
            "name": "board",
            "description": "A test.",
            "destination": "board",
            "traits": "all",
            "identifier": "email" if by_email else "",
            "mode": mode,
            "fields": {"stage": {"cleared": "none"}},
        }
        self.budget = budget
        self.publish({"u0": "x", "u1": "y"}, everybody=False)

    # What is declared and published.

    @property
    def sync(self) -> Sync:
        return Sync.model_validate(self.declared)

    @property
    def catalog(self) -> Catalog:
        return catalog_of(self.traits, self.sync)

    @property
    def published(self) -> dict[str, dict[str, str]]:
        users = [user for user in (USERS[:2] if self.narrow else USERS) if user in self.values]
        traits = self.traits.keys() & ({"paying"} if self.narrow else TRAITS)
        return {user: {name: text for name, text in self.values[user].items() if name in traits} for user in users}

    def serve(self) -> None:
        self.number += 1
        serve(
            self.home,
            self.number,
            self.published,
            grades=self.grades,
            people=self.people,
        )
        # A publish asks for every attribute that a declaration needs, also where nobody has it.
        (self.home.root / "contacts.json").write_text('[["user", "email"], ["user", "consent"]]')
        if not self.healed:
            self.perhaps_run()

    def perhaps_run(self) -> None:
        """What happens is mostly followed by a run, which is often disturbed."""
        if self.chance.random() < 0.5:
            self.world.faults.extend(self.chance.choices(FAULTS, k=self.chance.choice([1, 1, 2, 6])))
        if self.chance.random() < 0.15:
            self.world.crash_at = (self.chance.choice(COMMITS), self.chance.randrange(3), self.chance.random() < 0.5)
        if self.chance.random() < 0.8:
            self.synced()
        if self.chance.random() < 0.7:
            self.world.faults.clear()

    @rule(
        seeds=st.dictionaries(st.sampled_from(USERS), st.text("abcdef", min_size=1, max_size=3)),
        everybody=st.booleans(),
    )
    def publish(self, seeds: dict[str, str], everybody: bool) -> None:
        for user in USERS if everybody else seeds:
            seed = sum(map(ord, seeds.get(user, user)))
            self.values[user] = {
                name: texts[(seed >> place) % 2]
                for place, (name, texts) in enumerate(TEXTS.items())
                if (seed >> (place + 3)) % 4
            }
            self.people[user].setdefault("email", EMAILS[seed % len(EMAILS)])
            self.people[user].setdefault("consent", "ads, mail")
        self.serve()

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(list(TEXTS)), which=st.integers(0, 2))
    def change_one(self, user: str, name: str, which: int) -> None:
        said = self.values.setdefault(user, {})
        said.pop(name, None)
        if which < 2:
            said[name] = TEXTS[name][which]
        self.serve()

    @rule(old=st.sampled_from(USERS), new=st.sampled_from(USERS), same_email=st.booleans(), same_values=st.booleans())
    def merge(self, old: str, new: str, same_email: bool, same_values: bool) -> None:
        if old == new:
            return
        gone, person = self.values.pop(old, {}), self.people[old]
        self.values[new] = gone if same_values else {**gone, **self.values.get(new, {})}
        if same_email and "email" in person:
            self.people[new]["email"] = person["email"]
        self.people[new].setdefault("consent", person.get("consent", ""))
        self.people[old] = {}
        self.serve()

    @rule(user=st.sampled_from(USERS), email=st.sampled_from([*EMAILS, ""]))
    def another_email(self, user: str, email: str) -> None:
        self.people[user].pop("email", None)
        if email:
            self.people[user]["email"] = email
        self.serve()

    @rule(user=st.sampled_from(USERS), purposes=st.sampled_from(["", "ads", "mail", "Mail,ads", '["mail"]']))
    def consent(self, user: str, purposes: str) -> None:
        self.people[user]["consent"] = purposes
        self.serve()

    @rule(name=st.sampled_from(list(TRAITS)), there=st.booleans())
    def retire_or_declare(self, name: str, there: bool) -> None:
        kept = {
            trait: kind
            for trait, kind in TRAITS.items()
            if (trait == name and there) or (trait != name and trait in self.traits)
        }
        scope = self.declared.get("scope")
        if kept and (scope is None or scope.trait in kept):
            self.traits = kept
            self.serve()

    @rule(name=st.sampled_from(list(TRAITS)), grade=st.sampled_from(["A", "C"]))
    def grade(self, name: str, grade: str) -> None:
        self.grades[name] = grade
        self.serve()

    @rule(asked=st.booleans())
    def ask_for_grade(self, asked: bool) -> None:
        self.declared["minimum_grade"] = "B" if asked else None

    @rule(scoped=st.booleans())
    def change_scope(self, scoped: bool) -> None:
        self.declared["scope"] = Scope(trait="paying") if scoped and "paying" in self.traits else None

    @rule(purpose=st.sampled_from(["", "mail"]))
    def change_purpose(self, purpose: str) -> None:
        self.declared["purpose"] = purpose

    @rule(field=st.sampled_from(["", "points"]), text=st.booleans())
    def rename(self, field: str, text: bool) -> None:
        self.declared["fields"] = {
            "stage": {"cleared": "none"},
            "score": {"field": field, "cast": "string" if text else ""},
        }

    @rule(user=st.sampled_from(USERS))
    def forget(self, user: str) -> None:
        known = {identifier for identifier, owner in self.world.owners.items() if owner == user}
        self.values.pop(user, None)
        self.people[user] = {}
        with SyncLedger(self.home) as ledger:
            pending = ledger.forget("user", [user], ["board"])
        if pending:
            self.forgotten_there |= known
        self.serve()

    # What goes wrong.

    @rule()
    def outage(self) -> None:
        self.world.faults.extend(["down"] * 12)

    @rule()
    def answers_lost(self) -> None:
        self.world.faults.extend(["lost"] * 5)

    @rule(user=st.sampled_from(USERS + EMAILS))
    def poison(self, user: str) -> None:
        self.world.poisoned.add(user)

    @rule()
    def get_well(self) -> None:
        self.world.poisoned.clear()

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.declared["paused"] = paused

    @precondition(lambda self: self.number > 1)
    @rule()
    def serve_an_older_build_again(self) -> None:
        """As a restore does; the next publish undoes it."""
        current = self.home.serving / "current"
        builds = sorted((self.home.serving / "builds").iterdir())
        current.unlink()
        current.symlink_to(builds[-2].relative_to(self.home.serving))
        self.run()
        current.unlink()
        current.symlink_to(builds[-1].relative_to(self.home.serving))

    @rule()
    def run(self) -> None:
        self.synced()

    @rule(again=st.booleans())
    def run_twice(self, again: bool) -> None:
        self.synced()
        self.synced(retry_refused=again)

    def synced(self, *, retry_refused: bool = False) -> SyncReport | None:
        self.day += 1
        sync = self.sync.model_copy(update={"budget": self.budget})
        day = engine.utc_now() + timedelta(days=self.day)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(engine, "utc_now", lambda: day)
                patch.setattr("orchestration.sync.ledger.utc_now", lambda: day + timedelta(seconds=1))
                before = len(self.world.ids)
                report = run_sync(self.home, self.catalog, sync, retry_refused=retry_refused)
        except (CutOffError, KeyError):
            return None
        except UsageError as error:
            assert "minimum_grade" in str(error), error
            return None
        if self.budget:
            assert report.operations <= self.budget
            assert len(self.world.ids) - before <= self.budget
        if sync.paused:
            assert len(self.world.ids) == before
        return report

    # What has to hold.

    @invariant()
    def what_counts_as_sent_is_there(self) -> None:
        if not hasattr(self, "home"):
            return
        state = self.world.state()
        with SyncLedger(self.home) as ledger:
            doubt, sent = ledger.in_doubt("board"), ledger.sent("board")
        for identifier, acknowledged in sent.items():
            if identifier not in doubt:
                fields = {name: value for name, value in json.loads(acknowledged.fields).items() if value is not None}
                assert state.get(identifier) == fields, identifier
        for identifier, values in state.items():
            left = {value for value in values.values() if value != "none"}
            assert not left or identifier in sent or identifier in doubt, f"{identifier} is there and nobody knows"

    def expected(self) -> dict[str, dict[str, Any]]:
        """Identifier -> field -> value of who is to be there; said without the engine."""
        wanted: dict[str, dict[str, Any]] = {}
        for user, said in sorted(self.published.items()):
            person = self.people[user]
            if not said:
                continue
            if self.declared.get("scope") and said.get("paying") != "true":
                continue
            if self.declared.get("purpose") and "mail" not in person.get("consent", "").lower():
                continue
            identifier = person.get("email", "").lower() if self.declared["identifier"] else user
            if identifier and identifier not in wanted:
                wanted[identifier] = {self.field(name): self.value(name, text) for name, text in said.items()}
        return wanted

    def field(self, name: str) -> str:
        return Target.model_validate(self.declared["fields"].get(name, {})).field or name

    def value(self, name: str, text: str) -> Any:
        if name == "paying":
            return text == "true"
        if name == "score" and Target.model_validate(self.declared["fields"].get(name, {})).cast != "string":
            return float(text)
        return text

    def until_nothing_is_left(self) -> None:
        for _ in range(40):
            report = self.synced(retry_refused=True)
            assert report is not None
            assert report.failed == 0, report
            if not report.planned:
                return
        raise AssertionError("it never ends")

    def compare(self, without: set[str]) -> None:
        state, wanted = self.world.state(), self.expected()
        cleared = "none" if "stage" in self.traits else None
        for identifier, fields in wanted.items():
            there = state.get(identifier, {})
            for name in (fields.keys() | there.keys()) - without:
                allowed = [fields[name]] if name in fields else ["none"] if name == "stage" and cleared else []
                if name in fields or there[name] is not None:
                    assert there.get(name) in allowed, (identifier, name, there, fields)
        for identifier in state.keys() - wanted.keys():
            assert self.declared["mode"] == "upsert", f"{identifier} should have been deleted"
            assert set(state[identifier].values()) <= {"none"}, (identifier, state[identifier])
        for identifier in self.forgotten_there - wanted.keys():
            assert identifier not in state, f"{identifier} was forgotten"

    def teardown(self) -> None:
        if not hasattr(self, "home"):
            return
        self.healed = True
        try:
            self.world.faults.clear()
            self.world.poisoned.clear()
            self.world.crash_at = None
            self.declared["paused"] = False
            held = {name for name in self.traits if self.declared.get("minimum_grade") and self.grades[name] > "B"}
            if held != set(self.traits):
                with SyncLedger(self.home) as ledger:
                    sure = ledger.sent("board").keys() - ledger.in_doubt("board").keys()
                before = {
                    identifier: dict(fields) for identifier, fields in self.world.state().items() if identifier in sure
                }
                owners = dict(self.world.owners)
                self.until_nothing_is_left()
                for identifier in self.expected().keys() & before.keys():
                    if self.world.owners[identifier] == owners[identifier]:
                        for name in map(self.field, held):
                            assert self.world.state()[identifier].get(name) == before[identifier].get(name)
                self.compare({self.field(name) for name in held} | ({"score", "points"} if "score" in held else set()))
            self.grades = dict.fromkeys(TRAITS, "A")
            self.serve()
            self.until_nothing_is_left()
            self.compare(set())
            self.what_counts_as_sent_is_there()
            with SyncLedger(self.home) as ledger:
                assert ledger.in_doubt("board") == {}
                assert ledger.dead_letters("board") == set()
                assert ledger.forgotten("board") == set()
                assert set(ledger.sent("board")) == set(self.expected())
        finally:
            self.installed.__exit__(None, None, None)
            self.folder.cleanup()


class DeliveringAtLength(Delivering):
    """The same, with more examples."""


def with_examples(count: int) -> settings:
    return settings(
        max_examples=count,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        # Shrinking takes minutes; raise the number of examples and add Phase.shrink where one fails.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


TestDelivering = Delivering.TestCase
TestDelivering.settings = with_examples(8)
TestDeliveringAtLength = pytest.mark.long(DeliveringAtLength.TestCase)
TestDeliveringAtLength.settings = with_examples(32)
