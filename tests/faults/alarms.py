"""False alarms and misses: ordinary days through the real gates, and on some of them a population that drops.

    python -m tests.faults.alarms           # 90 days
    python -m tests.faults.alarms --days 7

Every day's events of a synthetic product (weekly rhythm, companies that come and go) are loaded, built, judged and
published, as a schedule would. A trait that is withheld on such a day is a false alarm. On each third day, once there
are enough publishes to learn from, each trait in turn loses a quarter and then half of its rows, drawn by a hash, is
judged, and gets them back: it has to be withheld the same day.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from orchestration.declarations.traits import Trait
from orchestration.gates.candidate_checks import UPSTREAM
from orchestration.gates.candidates import audit
from orchestration.gates.verdicts import Verdict
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.refresh import write_and_audit
from orchestration.publishing.publish import publish
from orchestration.simulator.make import make_simulation
from orchestration.simulator.parameters import SOURCE, Parameters
from orchestration.simulator.write import EVENTS
from orchestration.transform.dbt import Project
from tests.builds import change_candidates
from tests.cache import parsed_project
from tests.faults.fixture import table

# Days that are known before the first refresh: enough for windows of 28 days and a usual week.
KNOWN_DAYS = 70
# Publishes that the gate may want to have seen before it knows what is usual.
LEARNING_DAYS = 7
EVERY_THIRD = 3
DROPS = (25, 50)
MOST_FALSE_ALARMS = 1 / 500
LEAST_CAUGHT = 0.95


@dataclass
class Alarms:
    """What the gates said.

    Attributes:
        judged: trait -> days on which it passed or was withheld.
        false: day and reason of each trait that was withheld on an ordinary day.
        dropped: percent of the rows lost -> trait-days on which that happened.
        caught: percent -> of these, withheld.
        missed: percent, trait and day of the others.

    """

    judged: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    false: list[str] = field(default_factory=list)
    dropped: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    caught: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    missed: list[str] = field(default_factory=list)

    @property
    def false_alarm_rate(self) -> float:
        """False alarms a trait-day."""
        return len(self.false) / max(1, sum(self.judged.values()))

    def caught_share(self, percent: int) -> float:
        """Of the days on which so many percent of a population were lost."""
        return self.caught[percent] / max(1, self.dropped[percent])


def days_of_events(folder: Path, parameters: Parameters) -> Iterator[tuple[date, Path]]:
    """Each day with a file of the events that were received on it; the known days are one."""
    make_simulation(parameters, folder / "simulation")
    first = (parameters.start + timedelta(days=KNOWN_DAYS - 1)).date()
    by_day: dict[date, list[str]] = defaultdict(list)
    with gzip.open(folder / "simulation" / EVENTS, "rt", encoding="utf-8") as lines:
        for line in lines:
            by_day[max(first, date.fromisoformat(json.loads(line)["received_at"][:10]))].append(line)
    for day in sorted(by_day):
        path = folder / f"{day}.ndjson"
        path.write_text("".join(by_day[day]), encoding="utf-8")
        yield day, path


def ordinary_days(
    folder: Path, parsed_project: Project, days: int, accounts: int, notify: Callable[[str], None]
) -> Alarms:
    """So many days, one by one, and nothing is lost on any of them."""
    return replayed(folder, parsed_project, days, accounts, notify, drops=())


def replayed(
    folder: Path,
    parsed_project: Project,
    days: int,
    accounts: int,
    notify: Callable[[str], None],
    drops: Sequence[int] = DROPS,
) -> Alarms:
    """So many days, one by one."""
    alarms = Alarms()
    home = Home(Settings(home=folder / "home"))
    project = parsed_project.replace(home)
    parameters = Parameters(accounts=accounts, days=KNOWN_DAYS + days, seed=11)
    for published, (day, events) in enumerate(days_of_events(folder, parameters)):
        if published > days:
            break
        load(home, [events], source=SOURCE)
        written = write_and_audit(project, as_of=str(day))
        if published:  # the first build has nothing to be compared with, and is no day of the replay
            _count(alarms, day, written.verdicts)
        passed = [verdict.trait for verdict in written.verdicts if verdict.verdict == "passed"]
        if drops and published >= LEARNING_DAYS and (published - LEARNING_DAYS) % EVERY_THIRD == 0:
            for percent in drops:
                _drop(home, project, alarms, [project.catalog.trait(name) for name in passed], percent, day)
            change_candidates(project)
            with home.lock("fault injection"):
                audit(project, traits=passed)
        publish(project)
        events.unlink()
        notify(
            f"{day}: {len(passed)} traits passed; {len(alarms.false)} false alarms so far, caught"
            f" {', '.join(f'{alarms.caught[percent]} of {alarms.dropped[percent]} at {percent}%' for percent in DROPS)}"
        )
    return alarms


def _count(alarms: Alarms, day: date, verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        alarms.judged[verdict.trait] += verdict.verdict in ("passed", "failed")
        if verdict.verdict == "failed":
            alarms.false.append(f"{day} {verdict.trait}: {verdict.reason}")


def _drop(home: Home, project: Project, alarms: Alarms, traits: Sequence[Trait], percent: int, day: date) -> None:
    """Takes rows of traits away as if their models had not made them, judges each by itself, and puts them back."""
    with home.lock("fault injection"):
        with home.connect() as connection:
            for trait in traits:
                connection.execute(f"create or replace table state.kept_{trait.name} as from {trait.candidate}")
                connection.execute(
                    f"delete from {trait.candidate} where hash({trait.id_column} || '{day}') % 100 < {percent}"
                )
        change_candidates(project)
        verdicts = {verdict.trait: verdict for verdict in audit(project, traits=[trait.name for trait in traits])}
        with home.connect() as connection:
            for trait in traits:
                connection.execute(f"delete from {trait.candidate}")
                connection.execute(f"insert into {trait.candidate} from state.kept_{trait.name}")
                connection.execute(f"drop table state.kept_{trait.name}")
    for trait in traits:
        broken = {
            check.name for check in verdicts[trait.name].checks if not check.passed and check.severity == "critical"
        }
        alarms.dropped[percent] += 1
        # That it is made of another one, which was caught, does not count.
        if broken - {UPSTREAM}:
            alarms.caught[percent] += 1
        else:
            alarms.missed.append(f"{day} {trait.name}: {percent}% of its rows were lost")


def summary(alarms: Alarms) -> str:
    """False alarms and catches beside their goals, as a table."""
    lines: list[Sequence[object]] = [
        (
            "ordinary trait-days withheld",
            len(alarms.false),
            sum(alarms.judged.values()),
            f"{alarms.false_alarm_rate:.2%}",
            f"at most {MOST_FALSE_ALARMS:.2%}",
        )
    ]
    for percent in DROPS:
        share, goal = alarms.caught_share(percent), f"at least {LEAST_CAUGHT:.0%}"
        lines.append(
            (f"{percent}% lost, caught that day", alarms.caught[percent], alarms.dropped[percent], f"{share:.1%}", goal)
        )
    return table(("what", "count", "of", "share", "goal"), lines)


def main() -> int:
    """Replays the days and prints what the gates said."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--accounts", type=int, default=80)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        alarms = replayed(
            Path(name),
            parsed_project(),
            given.days,
            given.accounts,
            lambda text: print(text, file=sys.stderr, flush=True),
        )
    print(summary(alarms))
    print(*alarms.false, *alarms.missed[:20], sep="\n")
    good = alarms.false_alarm_rate <= MOST_FALSE_ALARMS
    return 0 if good and all(alarms.caught_share(percent) >= LEAST_CAUGHT for percent in DROPS) else 1


if __name__ == "__main__":
    sys.exit(main())
