"""The fault matrix: what is broken, which traits are withheld for it, and what the user is told.

    python -m tests.faults.inject                # all of them, as a table
    python -m tests.faults.inject --only verdict # those whose stage or name holds the word

Each fault meets a home of its own. Whatever it breaks, readers find of each trait that is withheld the last good
rows, of every other trait the rows of an undisturbed home, and nothing else.
"""

from __future__ import annotations

import argparse
import ctypes
import gzip
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from orchestration.cli import app as cli
from orchestration.declarations.catalog import Catalog
from orchestration.errors import TraithouseError
from orchestration.gates.candidates import audit
from orchestration.home import Home
from orchestration.landing.load import load
from orchestration.pipeline.refresh import write_and_audit
from orchestration.publishing.publish import PublishReport, publish
from orchestration.simulator.parameters import SOURCE
from orchestration.transform.build import begin_build
from orchestration.transform.dbt import Project
from tests.builds import change_candidates
from tests.children import in_child, kill_child, start_child
from tests.faults.fixture import (
    NEXT_DAY,
    Fixture,
    Rows,
    cached_fixture,
    contradictions,
    differing,
    served_rows,
    table,
)

SNAPSHOT = "writing the serving snapshot"
# Above what a status file needs, below any snapshot and any transaction of a warehouse.
SMALLEST_DISK = 65_536


@dataclass
class Injection:
    """A home into which a fault is injected, and what its user reads."""

    fixture: Fixture
    home: Home
    project: Project
    folder: Path
    messages: list[str] = field(default_factory=list)

    def sql(self, *statements: str) -> None:
        """Changes the warehouse as a person with DuckDB would."""
        with self.home.connect() as connection:
            for statement in statements:
                connection.execute(statement)

    def made(self, *statements: str) -> None:
        """Changes candidates as if their models had made them so in this build."""
        change_candidates(self.project, *statements)

    def load(self, path: Path) -> None:
        """Loads a file; keeps what the load says, also when it refuses."""
        try:
            report = load(self.home, [path], source=SOURCE, notify=self.messages.append)
        except TraithouseError as error:
            self.refused(error)
        else:
            self.messages.append(json.dumps(report.as_dict()))

    def refused(self, error: BaseException) -> None:
        """Keeps what an error tells its reader."""
        self.messages.append(f"{type(error).__name__}: {error} {getattr(error, 'hint', '')}")

    def day(self) -> list[dict[str, Any]]:
        """The events of the next day."""
        return [json.loads(line) for line in self.fixture.next_day.read_text().splitlines()]

    def file(self, lines: Iterable[object], name: str = "day.ndjson") -> Path:
        """A file of lines; what is not text becomes JSON."""
        path = self.folder / name
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        return path

    def refresh(self) -> None:
        """Writes and judges the next day."""
        write_and_audit(self.project, as_of=NEXT_DAY, notify=self.messages.append)

    def publish(self) -> PublishReport:
        """Publishes, and keeps what the report says."""
        report = publish(self.project, notify=self.messages.append)
        self.messages += [f"{trait.trait}: {trait.verdict}. {trait.reason}" for trait in report.traits]
        self.messages += report.failed_models
        return report

    def command(self, *arguments: str) -> int:
        """A call of the command line and its exit code."""
        result = CliRunner().invoke(cli.main, [*arguments, "--home", str(self.home.root)])
        self.messages.append(result.output)
        return result.exit_code

    @property
    def current(self) -> Path:
        """The link that readers follow."""
        return self.home.serving / "current"


def published_cut_off(injection: Injection, at: Callable[[str], None]) -> None:
    """A publish in a child to which something happens on the way."""
    error_file = injection.folder / "error"
    status = in_child(lambda: publish(injection.project, notify=at), error_file)
    assert status != 0, "the publish ended as if nothing had happened"
    injection.messages.append(error_file.read_text() if error_file.exists() else "")


def killed_at(message: str) -> Callable[[Injection], None]:
    """A publish that is killed when it says so."""

    def at(said: str) -> None:
        if said == message:
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda injection: published_cut_off(injection, at)


def disk_full_at(message: str) -> Callable[[Injection], None]:
    """A publish from whose message on no file can grow."""

    def at(said: str) -> None:
        if said == message:
            resource.setrlimit(resource.RLIMIT_FSIZE, (SMALLEST_DISK, SMALLEST_DISK))

    return lambda injection: published_cut_off(injection, at)


def read_only(*folders: str) -> Callable[[Injection], None]:
    """A publish by somebody who may not write some folders of the home."""

    def cut_off(injection: Injection) -> None:
        paths = [injection.home.root / name for name in folders]
        for path in paths:
            path.chmod(0o500)
        error_file = injection.folder / "error"

        def work() -> None:
            _as_ordinary_user()
            publish(injection.project)

        status = in_child(work, error_file)
        for path in paths:
            path.chmod(0o700)
        assert status != 0, "a folder that cannot be written was written"
        injection.messages.append(error_file.read_text() if error_file.exists() else "")

    return cut_off


def _as_ordinary_user() -> None:
    """Gives up root's right to write what nobody may write (Linux); nothing to give up for anybody else."""
    if os.geteuid() == 0:
        version, current = 0x20080522, (ctypes.c_uint32 * 2)(0x20080522, 0)
        none = (ctypes.c_uint32 * 6)()
        if version and ctypes.CDLL(None, use_errno=True).capset(current, none) != 0:
            raise OSError(ctypes.get_errno(), "the rights of root could not be given up")


@dataclass(frozen=True)
class Fault:
    """One row of the matrix.

    Attributes:
        name: what is broken.
        stage: where.
        inject: breaks it; the home is ``written``, or with ``rebuilt`` ``published``.
        judged: traits that are judged again afterwards, as if the gate had only now come to them.
        withheld: traits that may not go out.
        message: pattern that a message to the user has to match.
        rebuilt: the next day is written and judged afterwards.
        repair: with it, the first publish must not change what readers find; after it, all goes out.
        publish: how it is published at first.
        retired: traits whose values go.
        other_day: the events themselves are others; of a trait that goes out, readers find what this build made.

    """

    name: str
    stage: str
    inject: Callable[[Injection], object]
    judged: tuple[str, ...] = ()
    withheld: frozenset[str] = frozenset()
    message: str = ""
    rebuilt: bool = False
    repair: Callable[[Injection], object] | None = None
    publish: Callable[[Injection], object] = Injection.publish
    retired: frozenset[str] = frozenset()
    other_day: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a fault.

    Attributes:
        withheld: traits whose rows are not those of an undisturbed home.
        went_out: the others.
        message: the first line that matches; empty when nothing did.
        wrong: rows that are neither the last good ones of a withheld trait nor the undisturbed ones of another.
        contradictions: what the snapshot says in two ways.

    """

    withheld: frozenset[str]
    went_out: frozenset[str]
    message: str
    wrong: dict[str, int]
    contradictions: tuple[str, ...]


def run(fault: Fault, fixture: Fixture, folder: Path) -> Outcome:
    """Lets a fault happen to a home of its own."""
    home = fixture.copy(fixture.published if fault.rebuilt else fixture.written, folder / "home")
    injection = Injection(fixture, home, fixture.project_of(home), folder)
    fault.inject(injection)
    if fault.rebuilt:
        injection.refresh()
    if fault.judged:
        with home.lock("fault injection"):
            audit(injection.project, traits=fault.judged)
    if fault.repair:
        try:
            fault.publish(injection)
        except (TraithouseError, OSError) as error:
            injection.refused(error)
        untouched = served_rows(home) if injection.current.exists() else fixture.before
        assert differing(untouched, fixture.before) == {}, "a publish that did not end changed what readers find"
        fault.repair(injection)
        injection.publish()
    else:
        fault.publish(injection)
    found = served_rows(home)
    kept = {name for name in fixture.passed if found.get(name) == fixture.before[name] != fixture.undisturbed[name]}
    if fault.other_day:
        found = {name: _as_undisturbed(injection, name, rows) for name, rows in found.items()}
    withheld = fixture.passed if "every" in fault.withheld else fault.withheld
    expected: Rows = {
        name: fixture.before[name] if name in withheld and not fault.other_day else rows
        for name, rows in fixture.undisturbed.items()
        if name not in fault.retired
    }
    if not fault.other_day:
        kept = {name for name in fixture.passed if found.get(name) != fixture.undisturbed[name]} - fault.retired
    lines = [line for text in injection.messages for line in text.splitlines()]
    matching = next((line for line in lines if fault.message and re.search(fault.message, line)), "")
    return Outcome(
        withheld=frozenset(kept),
        went_out=fixture.passed - kept,
        message=matching,
        wrong=differing(found, expected),
        contradictions=tuple(contradictions(home)),
    )


def _as_undisturbed(injection: Injection, name: str, rows: list[Any]) -> list[Any]:
    """The undisturbed rows in place of those of another day, if they are what its candidate holds or the last good."""
    if name not in injection.fixture.passed or rows == injection.fixture.before[name]:
        return injection.fixture.undisturbed.get(name, [])
    trait = injection.project.catalog.trait(name)
    with injection.home.connect() as connection:
        made = connection.execute(
            f"select {trait.id_column}, cast(value as varchar), score, evidence from {trait.candidate}"
        ).fetchall()
    published = {(row[1], row[3], row[4], row[5]) for row in rows}
    return injection.fixture.undisturbed[name] if published == set(made) else rows


def candidate(name: str, statement: str, message: str, trait: str = "at_risk", *, also: tuple[str, ...] = ()) -> Fault:
    """A fault of a candidate that its model itself has made."""
    traits = (trait, *also)
    free = [f"alter table candidates.{name} alter {_id_of(name)} drop not null" for name in traits]

    def inject(injection: Injection) -> None:
        injection.made(*free, *statement.split(";"))

    return Fault(name, "candidates", inject, traits, with_stage(*traits), message)


def with_stage(*traits: str) -> frozenset[str]:
    """Traits with the one that is made of others: what that would say is as wrong as they are."""
    made_of_them = {"activated", "at_risk", "dormant", "resurrected"} & {*traits}
    return frozenset(traits) | ({"lifecycle_stage"} if made_of_them else set())


def _id_of(trait: str) -> str:
    return "account_id" if trait in ("champion_left", "single_player", "stuck_setup", "expansion_ready") else "user_id"


# Traits of the fixture that need a behaviour; the others need events of whatever name.
NEED_A_BEHAVIOUR = frozenset(
    {
        "activated",
        "at_risk",
        "lifecycle_stage",
        "needs_teammate",
        "power_user",
        "pricing_before_value",
        "sleepy_trial",
        "stuck",
        "stuck_setup",
    }
)
SOME = "user_id in (select user_id from candidates.at_risk order by user_id limit 20)"


def candidate_faults() -> list[Fault]:
    """Wrong rows that a model made."""
    update = "update candidates.at_risk set"
    evidence = "evidence: expected JSON that names a declared rule"
    return [
        candidate("ids are null", f"{update} user_id = null where {SOME}", "entity: expected every user_id "),
        candidate(
            "rows come twice",
            "insert into candidates.at_risk select * from candidates.at_risk limit 20",
            "grain: expected one row for each user",
        ),
        candidate("two columns are swapped", f"{update} user_id = evidence, evidence = user_id", evidence),
        candidate("values are null", f"{update} value = null where {SOME}", "value: expected every value known"),
        candidate(
            "values are of another type",
            "create or replace table candidates.at_risk as"
            " select * replace (case when value then 'yes' else 'no' end as value) from candidates.at_risk",
            "value_type: expected every value a boolean",
        ),
        candidate(
            "all are true",
            f"{update} value = true",
            "column_mean_to_be_between: expected at most half of the population",
        ),
        candidate(
            "all are false",
            "update candidates.activated set value = false",
            "activated: failed",
            "activated",
        ),
        candidate(
            "each fifth value is turned round",
            "update candidates.dormant set value = not value where hash(user_id) % 5 = 0",
            "dormant: failed",
            "dormant",
        ),
        candidate(
            "scores are not a number", f"{update} score = 'nan' where {SOME}", "score: expected every score null"
        ),
        candidate("scores are infinite", f"{update} score = '-inf' where {SOME}", "score: expected every score null"),
        candidate(
            "scores are in another unit",
            "update candidates.power_user set score = score * 1000",
            "power_user: failed. score_size: expected scores as large as those published",
            "power_user",
        ),
        candidate("evidence is cut off", f"{update} evidence = left(evidence, 40) where {SOME}", evidence),
        candidate("evidence is null", f"{update} evidence = null where {SOME}", evidence),
        candidate("evidence is a list", f"{update} evidence = '[' || evidence || ']'", evidence),
        candidate("evidence names no rule", f'{update} evidence = \'{{"rule": "whim"}}\' where {SOME}', evidence),
        candidate(
            "evidence lacks a number of its sentence",
            f"{update} evidence = json_merge_patch(evidence, '{{\"features\": null}}')",
            evidence,
        ),
        candidate(
            "the clock is yesterday's", f"{update} as_of = as_of - interval 1 day", "as_of: expected every as_of 2024"
        ),
        candidate(
            "the clock is tomorrow's", f"{update} as_of = as_of + interval 1 day where {SOME}", "as_of: expected"
        ),
        candidate("no row is left", "delete from candidates.at_risk", "population: expected [0-9]+ rows or more"),
        candidate(
            "less than half of the population is left",
            "delete from candidates.at_risk where user_id >"
            " (select quantile_disc(user_id, 0.4) from candidates.at_risk)",
            "population: expected [0-9]+ rows or more",
        ),
        candidate(
            "a quarter of the population is lost",
            "delete from candidates.at_risk where hash(user_id) % 4 = 0",
            "population: expected",
        ),
        candidate(
            "the population is threefold",
            "insert into candidates.at_risk select at_risk.* replace (user_id || n as user_id)"
            " from candidates.at_risk, (values ('_a'), ('_b')) as t(n)",
            "at_risk: failed",
        ),
        candidate(
            "ids are of another name space",
            f"{update} user_id = 'crm-' || user_id",
            "at_risk: failed",
        ),
        candidate(
            "a category is empty",
            "update candidates.lifecycle_stage set value = '' where value = 'dormant'",
            "value_type: expected every value a category",
            "lifecycle_stage",
        ),
        candidate(
            "a category was never declared",
            "update candidates.lifecycle_stage set value = 'asleep' where value = 'dormant'",
            "column_values_to_be_in_set: expected the seven stages",
            "lifecycle_stage",
        ),
        candidate(
            "an account's rows come twice",
            "insert into candidates.champion_left select * from candidates.champion_left limit 3",
            "grain: expected one row for each account",
            "champion_left",
        ),
        candidate(
            "two traits are broken in two ways",
            f"{update} value = null where {SOME}; delete from candidates.single_player",
            "single_player: failed. .*population",
            also=("single_player",),
        ),
        Fault(
            "a number is in another unit",
            "candidates",
            lambda injection: injection.made("update candidates.health set value = 5000"),
            ("health",),
            frozenset({"health"}),
            "health: failed. column_values_to_be_between: expected a number from 0 to 100",
        ),
        Fault(
            "a candidate is gone",
            "candidates",
            lambda injection: injection.sql("drop table candidates.at_risk"),
            ("at_risk",),
            with_stage("at_risk"),
            "at_risk: failed. Its gate could not be evaluated",
        ),
        Fault(
            "a column is gone",
            "candidates",
            lambda injection: injection.sql("alter table candidates.at_risk drop column score"),
            ("at_risk",),
            with_stage("at_risk"),
            "at_risk: failed. Its gate could not be evaluated",
        ),
        Fault(
            "rows are written by hand before the gate looks",
            "candidates",
            lambda injection: injection.sql(f"{update} value = not value where {SOME}"),
            ("at_risk",),
            with_stage("at_risk"),
            "Its rows are not those that its model made in this build",
        ),
        Fault(
            "the catalogue forgets what pricing is",
            "candidates",
            lambda injection: injection.sql("delete from events.event_catalog where behaviour = 'pricing'"),
            ("pricing_before_value", "at_risk"),
            frozenset({"pricing_before_value"}),
            "pricing_before_value: failed. The event catalogue maps no event to pricing",
        ),
    ]


def verdict_faults() -> list[Fault]:
    """Verdicts that do not speak of what would be published."""
    verdicts = "update state.gate_verdicts set"
    flip = (
        "update candidates.at_risk set value = not value where user_id = (select min(user_id) from candidates.at_risk)"
    )
    changed = "at_risk: failed. Its values changed after they were judged"
    unjudged = "at_risk: none. It was not judged in this build"

    def broken(name: str, *statements: str, message: str, withheld: frozenset[str] = frozenset({"at_risk"})) -> Fault:
        return Fault(name, "verdicts", lambda injection: injection.sql(*statements), withheld=withheld, message=message)

    def forge(injection: Injection) -> None:
        injection.made(flip, "update candidates.at_risk set value = true")
        with injection.home.lock("fault injection"):
            audit(injection.project, traits=["at_risk"])
        injection.sql(f"{verdicts} verdict = 'passed', reason = '' where trait = 'at_risk'")

    every = frozenset({"every"})
    mine = "where trait = 'at_risk'"
    return [
        broken("a verdict is missing", f"delete from state.gate_verdicts {mine}", message=unjudged),
        broken("all verdicts are missing", "drop table state.gate_verdicts", message=unjudged, withheld=every),
        broken("a verdict is of another build", f"{verdicts} build_id = '000001-x' {mine}", message=unjudged),
        broken(
            "all verdicts are of another build", f"{verdicts} build_id = '000099-x'", message=unjudged, withheld=every
        ),
        broken(
            "a verdict is of another definition",
            f"{verdicts} definition_version = definition_version + 1 {mine}",
            message="at_risk: failed. Its definition changed after it was judged",
        ),
        broken("a verdict is of other rows", f"{verdicts} content_hash = '264:0' {mine}", message=changed),
        broken("a verdict speaks in another word", f"{verdicts} verdict = 'PASSED ' {mine}", message="at_risk: PASSED"),
        broken("a verdict cannot be read", f"{verdicts} checks = '[{{' {mine}", message=unjudged),
        Fault(
            "a verdict was turned from failed to passed",
            "verdicts",
            forge,
            withheld=with_stage("at_risk"),
            message="at_risk: failed. Its verdict says passed, and its checks do not",
        ),
        broken("a value changed after the audit", flip, message=changed),
        broken(
            "a score changed after the audit",
            "update candidates.at_risk set score = score + 0.001 where user_id ="
            " (select max(user_id) from candidates.at_risk where score is not null)",
            message=changed,
        ),
        broken(
            "evidence changed after the audit",
            "update candidates.at_risk set evidence = replace(evidence, 'false', 'true')",
            message=changed,
        ),
        broken(
            "a row came after the audit",
            "insert into candidates.at_risk select * replace ('nobody' as user_id) from candidates.at_risk limit 1",
            message=changed,
        ),
        broken(
            "a row went after the audit",
            "delete from candidates.at_risk where user_id = (select max(user_id) from candidates.at_risk)",
            message=changed,
        ),
        broken(
            "two rows changed places after the audit",
            "update candidates.at_risk set user_id = case user_id"
            " when (select min(user_id) from candidates.at_risk where value) then"
            " (select min(user_id) from candidates.at_risk where not value)"
            " when (select min(user_id) from candidates.at_risk where not value) then"
            " (select min(user_id) from candidates.at_risk where value) else user_id end",
            message=changed,
        ),
    ]


def publish_faults() -> list[Fault]:
    """What happens to a publish on its way."""

    def stalled(
        name: str,
        cut_off: Callable[[Injection], object],
        message: str,
        repair: Callable[[Injection], object] = lambda _: None,
    ) -> Fault:
        return Fault(name, "publish", lambda _: None, message=message, publish=cut_off, repair=repair)

    def busy(injection: Injection) -> None:
        ready = injection.folder / "ready"

        def hold() -> None:
            with injection.home.lock("traithouse refresh"):
                ready.touch()
                time.sleep(120)

        child = start_child(hold)
        try:
            while not ready.exists():
                time.sleep(0.01)
            assert injection.command("refresh") == 5
            assert injection.command("status") == 0
        finally:
            kill_child(child)

    def back(injection: Injection) -> None:
        assert injection.command("refresh", "--as-of", "2024-06-20") == 2

    def clock_back(injection: Injection) -> None:
        with injection.home.lock("fault injection"):
            made = begin_build(injection.project, as_of=None, full_refresh=False, now=datetime(2024, 6, 1))
        injection.messages.append(f"as_of {made.as_of}")

    def rewritten(injection: Injection) -> None:
        injection.refresh()
        # The number of a build rises with each that was begun.
        injection.sql(
            "update state.current_build set build_id = '000002' || substr(build_id, 7)",
            "update state.gate_verdicts set build_id = '000002' || substr(build_id, 7)",
            "update state.node_results set build_id = '000002' || substr(build_id, 7)",
        )

    def retire(injection: Injection) -> None:
        catalog = injection.project.catalog
        left = tuple(trait for trait in catalog.traits if trait.name != "at_risk")
        injection.project = injection.project.replace(catalog=Catalog(traits=left, syncs=catalog.syncs))

    return [
        stalled("killed while a trait is published", killed_at("publishing lifecycle_stage"), ""),
        stalled("killed before the first trait", killed_at("publishing activated"), ""),
        stalled("killed between commit and snapshot", killed_at(SNAPSHOT), ""),
        stalled(
            "the disk is full while a trait is published", disk_full_at("publishing at_risk"), "(?i)file too large"
        ),
        stalled("the disk is full while the snapshot is written", disk_full_at(SNAPSHOT), "(?i)file too large"),
        stalled("the folder of snapshots is read-only", read_only("serving/builds"), "(?i)permission denied"),
        stalled("the serving folder is read-only", read_only("serving"), "(?i)permission denied"),
        stalled("the home is read-only", read_only("."), "(?i)permission denied"),
        stalled("two refreshes at once", busy, "The warehouse is busy: `traithouse refresh`"),
        stalled("an older clock is asked for", back, "is before 2024-06-27 00:00:00 UTC, which is published"),
        stalled("the wall clock is set back", clock_back, "as_of 2024-06-27 00:00:00", rewritten),
        Fault(
            "a trait is no longer declared",
            "publish",
            retire,
            retired=frozenset({"at_risk"}),
        ),
    ]


def snapshot_faults() -> list[Fault]:
    """A snapshot, or what lies beside it, that was harmed before the next publish."""

    def harmed(name: str, inject: Callable[[Injection], object], message: str = "", **more: Any) -> Fault:
        return Fault(name, "snapshot", inject, message=message, **more)

    def file(name: str) -> Callable[[Injection], Path]:
        return lambda injection: injection.current.resolve() / name

    def overwrite(at: Callable[[Injection], Path], content: bytes) -> Callable[[Injection], object]:
        return lambda injection: at(injection).write_bytes(content)

    def dangle(injection: Injection) -> None:
        shutil.rmtree(injection.current.resolve())

    def truncate(injection: Injection) -> None:
        os.truncate(injection.current.resolve() / "traithouse.duckdb", 8192)

    def harm_parts(injection: Injection) -> None:
        for path in injection.current.resolve().rglob("*.parquet"):
            os.truncate(path, 64)

    def folder_for_link(injection: Injection) -> None:
        target = injection.current.resolve()
        injection.current.unlink()
        shutil.copytree(target, injection.current)

    def leftovers(injection: Injection) -> None:
        for name in (".draft-000001-x", ".draft-000002-20240628T000000Z"):
            folder = injection.home.serving / "builds" / name
            folder.mkdir()
            (folder / "traithouse.duckdb").write_bytes(b"half")
        (injection.home.serving / ".current-1").symlink_to("builds/nowhere")

    def same_name(injection: Injection) -> None:
        (injection.home.serving / "builds" / "000002-20240628T000000Z").mkdir()

    def dead_holder(injection: Injection) -> None:
        (injection.home.root / "lock").touch()
        (injection.home.root / "lock.json").write_text('{"pid": 1, "purpose": "tra')

    return [
        harmed(
            "status.json is cut off",
            overwrite(lambda injection: injection.home.root / "status.json", b'{"loads": {"lo'),
        ),
        harmed(
            "status.json is not text", overwrite(lambda injection: injection.home.root / "status.json", b"\xff\x00")
        ),
        harmed("manifest.json is cut off", overwrite(file("manifest.json"), b'{"build_id": "0000')),
        harmed("manifest.json is a list", overwrite(file("manifest.json"), b"[]")),
        harmed("manifest.json is gone", lambda injection: file("manifest.json")(injection).unlink()),
        harmed("the link leads nowhere", dangle),
        harmed("the link is gone", lambda injection: injection.current.unlink()),
        harmed(
            "a folder stands where the link should",
            folder_for_link,
            message="serving/current is a folder, where a link",
            publish=Injection.publish,
            repair=lambda injection: shutil.rmtree(injection.current),
        ),
        harmed("drafts of a killed publish are left", leftovers),
        harmed("a folder of the next build's name is there already", same_name),
        harmed("the database is garbage", overwrite(file("traithouse.duckdb"), b"no database" * 1000)),
        harmed("the database is cut off", truncate),
        harmed("the database is empty", overwrite(file("traithouse.duckdb"), b"")),
        harmed("all parts of Parquet are cut off", harm_parts),
        harmed("everything served is gone", lambda injection: shutil.rmtree(injection.home.serving)),
        harmed("the lock of a killed process is left", dead_holder),
    ]


def raw_faults() -> list[Fault]:
    """What comes in broken: refused as a whole, put aside row by row, or found by the source checks."""

    def refused(name: str, write: Callable[[Injection], Path], message: str) -> Fault:
        """A file of which nothing may land; the good one of the same day has landed."""

        def inject(injection: Injection) -> None:
            before = _landed(injection)
            injection.load(write(injection))
            assert _landed(injection) == before, "events of a refused file have landed"

        return Fault(name, "raw", inject, message=message)

    def truncated(injection: Injection) -> Path:
        whole = gzip.compress(injection.fixture.next_day.read_bytes())
        path = injection.folder / "day.ndjson.gz"
        path.write_bytes(whole[: len(whole) // 2])
        return path

    def renamed(injection: Injection) -> Path:
        return injection.file({"happened": event.pop("occurred_at"), **event} for event in injection.day())

    def swapped(injection: Injection) -> Path:
        return injection.file(
            event | {"event_name": event["occurred_at"], "occurred_at": event["event_name"]}
            for event in injection.day()
        )

    def nobody(injection: Injection) -> Path:
        return injection.file(event | {"user_id": None, "anonymous_id": "  "} for event in injection.day())

    def csv(injection: Injection) -> Path:
        return injection.file(["event_name,occurred_at,occurred_at,user_id", "x,2024-06-27,2024-06-27,u"], "day.csv")

    def with_broken_lines(injection: Injection) -> None:
        """Each good event with a column more, and beside them lines that are wrong in many ways."""
        good = injection.day()
        event = good[0]
        later = (datetime(2026, 1, 1) + timedelta(days=36_500)).isoformat()
        lines: list[object] = [given | {"new_column": 7} for given in good]
        lines += [
            '{"event_name": ',
            "[1, 2]",
            '{"event_name": NaN}',
            '"\\ud800"',
            "\u0000",
            event | {"event_id": "f1", "occurred_at": later},
        ]
        lines += [
            event | {"event_id": "n1", "user_id": None, "anonymous_id": None},
            event | {"event_id": "n2", "event_name": ""},
        ]
        lines += [
            event | {"event_id": "t1", "occurred_at": "27/06/2024 at noon"},
            event | {"event_id": "t2", "occurred_at": "1812-06-24"},
        ]
        lines += [event | {"event_id": "k1", "event_type": "wink"}, event | {"event_id": "p1", "properties": "none"}]
        injection.load(injection.file(lines))

    def twice(injection: Injection) -> None:
        injection.load(injection.fixture.next_day)
        injection.load(injection.fixture.next_day)
        injection.load(injection.file(reversed(injection.fixture.next_day.read_text().splitlines()), "again.ndjson"))

    def unmapped(injection: Injection) -> None:
        injection.load(injection.file(event | {"event_name": f"v2 {event['event_name']}"} for event in injection.day()))

    def half(injection: Injection) -> None:
        injection.load(injection.file(event for event in injection.day() if event["received_at"][11:13] < "12"))

    def shifted(injection: Injection) -> None:
        def earlier(text: str) -> str:
            return (datetime.fromisoformat(text) - timedelta(hours=9)).isoformat()

        injection.load(
            injection.file(event | {"occurred_at": earlier(event["occurred_at"])} for event in injection.day())
        )

    def silent(injection: Injection) -> None:
        names = [event["event_name"] for event in injection.day()]
        loudest = max(set(names), key=names.count)
        injection.load(injection.file(event for event in injection.day() if event["event_name"] != loudest))

    def anonymous(injection: Injection) -> None:
        injection.load(injection.file({k: v for k, v in event.items() if k != "user_id"} for event in injection.day()))

    every = frozenset({"every"})

    def seen(
        name: str,
        inject: Callable[[Injection], object],
        message: str,
        withheld: frozenset[str] = every,
    ) -> Fault:
        """A day that is wrong as a whole, which only the source checks can tell."""
        return Fault(name, "raw", inject, withheld=withheld, message=message, rebuilt=True, other_day=True)

    return [
        refused("the file is empty", lambda injection: injection.file([]), "No row was accepted"),
        refused("the file is cut off", truncated, "cannot be read: Compressed file ended"),
        refused("a column was renamed", renamed, "No column gives occurred_at"),
        refused("two columns are swapped", swapped, "No row was accepted; .* most of all: occurred_at is not a time"),
        refused("all ids are null", nobody, "No row was accepted; .* most of all: neither user_id nor anonymous_id"),
        refused("a header names a column twice", csv, "has no usable header line"),
        refused(
            "the file is of another kind",
            lambda injection: injection.file(["x"], "day.xlsx"),
            "of a kind that cannot be read",
        ),
        Fault("a file is loaded three times", "raw", twice, message='"accepted": 0, "duplicates": [1-9]', rebuilt=True),
        Fault("some lines are broken", "raw", with_broken_lines, message='"rejected": 1[0-9]', rebuilt=True),
        seen("half a day is missing", half, "silence: .* 12 hours without an event on 2024-06-27"),
        seen(
            "a tracker is silent",
            silent,
            "pricing_before_value: failed.* silent: Page Viewed",
            frozenset({"pricing_before_value"}),
        ),
        seen("times are of another zone", shifted, "hours: expected people at their usual hours of the day"),
        seen(
            "events have new names",
            unmapped,
            "at_risk: failed.* event catalogue",
            NEED_A_BEHAVIOUR,
        ),
        seen("users are no longer named", anonymous, "ids: expected at least half of the usual share of events"),
    ]


def _landed(injection: Injection) -> list[Any]:
    with injection.home.connect() as connection:
        return connection.execute("select count(*), sum(hash(e)) from raw.events as e").fetchall()


def staging_faults() -> list[Fault]:
    """Models that fail, and tables that are no longer what models expect."""
    every = frozenset({"every"})

    def broken_model(name: str) -> Callable[[Injection], None]:
        def inject(injection: Injection) -> None:
            manifest = injection.project.manifest.deepcopy()
            manifest.nodes[f"model.traithouse.{name}"].raw_code = "select no_such_column from (select 1) as t"
            injection.project = injection.project.replace(manifest=manifest)
            injection.load(injection.fixture.next_day)

        return inject

    def lost_column(injection: Injection) -> None:
        injection.load(injection.fixture.next_day)
        injection.sql("alter table raw.events rename column occurred_at to happened_at")

    def no_prior_state(injection: Injection) -> None:
        injection.load(injection.fixture.next_day)
        injection.sql("drop table state.trait_state", "drop table state.trait_thresholds")

    return [
        Fault(
            "a trait's model fails",
            "staging",
            broken_model("at_risk"),
            withheld=with_stage("at_risk"),
            message="at_risk: failed. It was not computed, because the model failed",
            rebuilt=True,
        ),
        Fault(
            "a model of features fails",
            "staging",
            broken_model("account_windows"),
            withheld=frozenset({"champion_left", "expansion_ready", "single_player", "stuck_setup"}),
            message="^account_windows: .*no_such_column",
            rebuilt=True,
        ),
        Fault(
            "a raw table lost a column",
            "staging",
            lost_column,
            withheld=every,
            message="at_risk: failed. It was not computed, because an upstream model failed",
            rebuilt=True,
        ),
        Fault("the state before is missing", "staging", no_prior_state, rebuilt=True),
    ]


def faults() -> list[Fault]:
    """The matrix."""
    return [
        *raw_faults(),
        *staging_faults(),
        *candidate_faults(),
        *verdict_faults(),
        *publish_faults(),
        *snapshot_faults(),
    ]


def wrongs(fault: Fault, outcome: Outcome, fixture: Fixture) -> list[str]:
    """What is not as the matrix says; empty when all is."""
    due = fixture.passed if "every" in fault.withheld else fault.withheld & fixture.passed
    found = []
    if missed := due - outcome.withheld:
        found.append(f"went out: {', '.join(sorted(missed))}")
    if held := outcome.withheld - due:
        found.append(f"withheld though good: {', '.join(sorted(held))}")
    if outcome.wrong:
        found.append(f"wrong rows: {outcome.wrong}")
    if fault.message and not outcome.message:
        found.append(f"no message says {fault.message!r}")
    return found + list(outcome.contradictions)


def main() -> int:
    """Lets every fault happen, and prints what came of it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--only", default="", help="faults whose stage or name holds this")
    given = parser.parse_args()
    lines, surprises = [], 0
    wrong_rows = good_withheld = 0
    with tempfile.TemporaryDirectory() as folder:
        fixture = cached_fixture()
        for number, fault in enumerate(fault for fault in faults() if given.only in f"{fault.stage} {fault.name}"):
            place = Path(folder) / f"fault_{number}"
            place.mkdir()
            try:
                outcome = run(fault, fixture, place)
                found = wrongs(fault, outcome, fixture)
                withheld, went_out = outcome.withheld, len(outcome.went_out)
                message, rows = outcome.message, sum(outcome.wrong.values())
            except Exception as error:
                found = [f"{type(error).__name__}: {' '.join(str(error).split())}"]
                withheld, went_out, message, rows = frozenset(), 0, "", 0
            shutil.rmtree(place)
            surprises += bool(found)
            wrong_rows += rows
            good_withheld += any(text.startswith("withheld though good") for text in found)
            verdict = "; ".join(found) or "as it should"
            names = "all" if withheld == fixture.passed else ", ".join(sorted(withheld)) or "none"
            lines.append((fault.stage, fault.name, names, went_out, message.strip()[:90], rows, verdict))
            print(f"{fault.stage}: {fault.name}: {verdict}", file=sys.stderr, flush=True)
    print(table(("stage", "fault", "withheld", "went out", "message", "wrong rows", "outcome"), lines))
    print(
        f"{len(lines)} faults: {len(lines) - surprises} as they should, {surprises} surprises;"
        f" {wrong_rows} wrong rows published, {good_withheld} faults withheld a good trait"
    )
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
