"""Do traits find what they are named after? Precision, recall and delay against the simulator's hidden states.

    python -m benchmarks.traits --seeds 11 12 13 --days 90

For every seed a product is simulated, loaded and refreshed, and its last days are replayed day by day. The table has
for each trait, and for the one-line rule that a product manager would write instead:

- precision: of the entities that entered, the share that were in the hidden state then, or no longer than two days ago
- recall: of the hidden states that began within these days, the share that was found before it was over (two days more
  are allowed)
- delay: median days from the hidden onset to the entry, of those found
- flips: values that changed, a day, as a share of the population; once as published, once without hysteresis
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb
from rich.console import Console
from rich.table import Table

from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.measurement.replay import Replay
from orchestration.pipeline.refresh import refresh
from orchestration.simulator.make import make_simulation
from orchestration.simulator.parameters import SOURCE, Parameters
from orchestration.simulator.write import TRUTH
from orchestration.transform.dbt import Project

GRACE = timedelta(days=2)
BURN_IN = 7


@dataclass(frozen=True)
class Judged:
    """Hidden states that a trait is compared with.

    Attributes:
        states: hidden states in which an entry is right.
        onset: the state whose beginnings are to be found; the first of them if not given.
        unless: an onset in one of these states, or within a day before one, does not count: it is of no use to anybody.
        rule: the static rule, a condition over user_features or account_features called f.

    """

    states: tuple[str, ...]
    rule: str
    onset: str = ""
    unless: tuple[str, ...] = ()

    @property
    def found(self) -> str:
        """The state whose beginnings count."""
        return self.onset or self.states[0]


CHAMPION_AWAY = (
    "exists (select 1 from replay_features.account_members as m where m.account_id = f.account_id"
    " and m.activity_share_8w >= 0.4 and m.silent_days >= 14)"
)
ALONE = (
    "f.is_in_trial and f.days_since_start >= 3 and 1 = (select a.member_count"
    " from replay_features.account_features as a where a.account_id = f.account_id)"
)
# The traits leave out everybody whose subscription or job has ended.
OVER = ("cancelled", "left")
USERS = {
    "power_user": Judged(("enthusiast",), "f.active_days_7d >= 5"),
    "activated": Judged(("found_value",), "f.core_value_90d >= 1"),
    "at_risk": Judged(("disengaging", "gone", "left"), "f.silent_days between 7 and 30", unless=OVER),
    "dormant": Judged(("gone", "disengaging", "left"), "f.silent_days between 30 and 90", unless=OVER),
    "resurrected": Judged(("returned",), "f.silent_days_before_return >= 30 and f.days_since_return < 7"),
    "ready_to_upgrade": Judged(("wants_upgrade",), "f.pricing_7d >= 1"),
    "pricing_before_value": Judged(("price_shopping",), "f.pricing_28d >= 1 and f.first_core_value_at is null"),
    "sleepy_trial": Judged(("trial_stalled", "disengaging", "gone"), "f.is_in_trial and f.silent_days >= 3"),
    "stuck": Judged(("blocked",), "f.failures_7d >= 3"),
    "needs_teammate": Judged(("needs_team",), ALONE),
}
ACCOUNTS = {
    "expansion_ready": Judged(("expanding",), "f.seat_share >= 0.8"),
    "single_player": Judged(("solo",), "f.member_count = 1"),
    "stuck_setup": Judged(("setup_broken",), "f.failures_7d >= 5"),
    "account_at_risk": Judged(("disengaging", "cancelled"), "f.silent_days between 7 and 30"),
    "champion_left": Judged(("champion_left",), CHAMPION_AWAY),
}


@dataclass
class Intervals:
    """When an entity was in a hidden state."""

    spans: list[tuple[datetime, datetime]] = field(default_factory=list)

    def holds(self, clock: datetime) -> bool:
        """Whether the entity is in the state, or left it within the grace period."""
        return any(started <= clock <= ended + GRACE for started, ended in self.spans)


@dataclass
class Tally:
    """Right and wrong entries, found and missed states, over all seeds."""

    right: int = 0
    wrong: int = 0
    delays: list[float] = field(default_factory=list)
    missed: int = 0
    flips: int = 0
    entity_days: int = 0

    @property
    def precision(self) -> float | None:
        """Share of entries that were right."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else None

    @property
    def recall(self) -> float | None:
        """Share of states that were found."""
        return len(self.delays) / (len(self.delays) + self.missed) if self.delays or self.missed else None

    @property
    def delay(self) -> float | None:
        """Median days."""
        return statistics.median(self.delays) if self.delays else None

    @property
    def flip_rate(self) -> float:
        """Changes a day and entity."""
        return self.flips / self.entity_days if self.entity_days else 0.0


class Day(NamedTuple):
    """Who had a trait at a clock, and how many entities there were."""

    clock: datetime
    members: set[str]
    population: int


Members = dict[str, list[Day]]


def prepared(parameters: Parameters, folder: Path) -> tuple[Home, Project]:
    """A home with one simulation, refreshed."""
    home = Home(Settings(home=folder / "home"))
    make_simulation(parameters, folder)
    load(home, [folder / "events.ndjson.gz"], source=SOURCE)
    project = Project(home)
    refresh(project)
    return home, project


def replayed_members(home: Home, replay: Replay, clocks: Sequence[datetime], *, remembers: bool) -> Members:
    """Trait, and ``static <trait>``, to who had it at each clock, and the population."""
    members: Members = defaultdict(list)
    with home.connect() as connection, replay.over(connection, clocks, remembers=remembers) as days:
        for clock in days:
            for entity, judged in (("user", USERS), ("account", ACCOUNTS)):
                for trait, how in judged.items():
                    candidate = f'select {entity}_id, value from replay_candidates."{trait}"'
                    members[trait].append(_read(connection, clock, candidate))
                    if remembers:
                        features = f"replay_features.{entity}_features"
                        static = f"select {entity}_id, coalesce({how.rule}, false) from {features} as f"
                        members[f"static {trait}"].append(_read(connection, clock, static))
    return members


def _read(connection: duckdb.DuckDBPyConnection, clock: datetime, query: str) -> Day:
    rows = connection.execute(query).fetchall()
    return Day(clock, members={entity for entity, value in rows if value}, population=len(rows))


def read_truth(file: Path) -> dict[tuple[str, str, str], Intervals]:
    """(Entity type, state, entity) to its intervals."""
    truth: dict[tuple[str, str, str], Intervals] = defaultdict(Intervals)
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            started, ended = (_instant(row[name]) for name in ("started_at", "ended_at"))
            span = (started or datetime.min, ended or datetime.max - GRACE)
            truth[row["entity_type"], row["state"], row["entity_id"]].spans.append(span)
    return truth


def _instant(text: str) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=None) if text else None


def tally(
    days: Sequence[Day],
    entity: str,
    how: Judged,
    truth: dict[tuple[str, str, str], Intervals],
    into: Tally,
) -> None:
    """Counts one seed; a member when counting begins has not entered."""
    before: set[str] | None = None
    first_counted = days[BURN_IN].clock
    for number, day in enumerate(days):
        if before is not None and number > BURN_IN:
            into.flips += len(day.members ^ before)
            into.entity_days += day.population
            for entered in day.members - before:
                held = [truth[key] for state in how.states if (key := (entity, state, entered)) in truth]
                right = any(intervals.holds(day.clock) for intervals in held)
                into.right += right
                into.wrong += not right
        before = day.members
    last = days[-1].clock
    for (kind, state, entity_id), intervals in truth.items():
        if kind != entity or state != how.found:
            continue
        for started, ended in intervals.spans:
            # What began in the last days may still be found.
            over = any(
                truth[kind, other, entity_id].holds(started + timedelta(days=1))
                for other in how.unless
                if (kind, other, entity_id) in truth
            )
            if over or not first_counted <= started <= last - timedelta(days=10) or ended - started < timedelta(days=1):
                continue
            found = _first_day(days, entity_id, started, ended + GRACE)
            if found is None:
                into.missed += 1
            else:
                into.delays.append(max(0.0, (found - started).total_seconds() / 86_400))


def _first_day(days: Sequence[Day], entity_id: str, started: datetime, until: datetime) -> datetime | None:
    for day in days:
        if started <= day.clock <= until and entity_id in day.members:
            return day.clock
    return None


def measured(parameters: Parameters, days: int, tallies: dict[str, Tally]) -> Iterator[str]:
    """Adds one seed to the tallies; yields what it is doing."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"seed {parameters.seed}: simulating, loading, refreshing"
        home, project = prepared(parameters, Path(folder))
        truth = read_truth(Path(folder) / TRUTH)
        end = datetime(parameters.end.year, parameters.end.month, parameters.end.day)
        clocks = [end - timedelta(days=back) for back in range(days + BURN_IN, -1, -1)]
        with home.lock("benchmark"):
            replay = Replay(project)
            yield f"seed {parameters.seed}: replaying {len(clocks)} days"
            members = replayed_members(home, replay, clocks, remembers=True)
            yield f"seed {parameters.seed}: replaying them without hysteresis"
            forgetful = replayed_members(home, replay, clocks, remembers=False)
    for entity, judged in (("user", USERS), ("account", ACCOUNTS)):
        for trait, how in judged.items():
            for name, source in ((trait, members), (f"static {trait}", members)):
                tally(source[name], entity, how, truth, tallies[name])
            tally(forgetful[trait], entity, how, truth, tallies[f"forgetful {trait}"])


def shown(tallies: dict[str, Tally]) -> Table:
    """The table."""
    table = Table(box=None, header_style="bold")
    for title in (
        "trait",
        "precision",
        "recall",
        "delay",
        "static: precision",
        "recall",
        "delay",
        "entries",
        "onsets",
        "flips/day",
        "without hysteresis",
        "its delay",
    ):
        table.add_column(title, justify="left" if title == "trait" else "right")
    for trait in (*USERS, *ACCOUNTS):
        ours, static, forgetful = tallies[trait], tallies[f"static {trait}"], tallies[f"forgetful {trait}"]
        table.add_row(
            trait,
            *(_share(ours.precision), _share(ours.recall), _days(ours.delay)),
            *(_share(static.precision), _share(static.recall), _days(static.delay)),
            str(ours.right + ours.wrong),
            str(len(ours.delays) + ours.missed),
            f"{ours.flip_rate:.2%}",
            f"{forgetful.flip_rate:.2%}",
            _days(forgetful.delay),
        )
    return table


def _share(number: float | None) -> str:
    return "-" if number is None else f"{number:.2f}"


def _days(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"


def main() -> None:
    """Print the table for the seeds and parameters of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--accounts", type=int, default=150)
    parser.add_argument("--difficulty", type=float, default=0.3)
    parser.add_argument("--days", type=int, default=90, help="days that are replayed")
    given = parser.parse_args()
    console = Console(width=170)
    tallies: dict[str, Tally] = defaultdict(Tally)
    for seed in given.seeds:
        parameters = Parameters(accounts=given.accounts, seed=seed, difficulty=given.difficulty)
        for doing in measured(parameters, given.days, tallies):
            console.log(doing)
    console.print(f"Synthetic: {given.accounts} accounts, difficulty {given.difficulty}, seeds {given.seeds}")
    console.print(shown(tallies))


if __name__ == "__main__":
    main()
