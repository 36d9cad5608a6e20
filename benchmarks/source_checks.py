"""False alarms and misses of the source checks, on synthetic days that are known to be ordinary or faulty.

    python -m benchmarks.source_checks --seeds 1,7 --days 60

A simulation is built, and each of its last days is judged as the newest complete day: each critical check that fails is
a false alarm. Then faults are put into its last workdays, a fault and a day at a time, and the caught ones are counted.
Weekends are left out: so few people come that half a day without them shows nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from orchestration.gates.source_checks import judge_measures
from orchestration.gates.source_days import count_source_days
from orchestration.gates.source_groups import measure_groups
from orchestration.gates.source_history import History, read_histories
from orchestration.gates.source_measures import measure_day
from orchestration.gates.source_parts import NOTHING_MEASURED
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.refresh import write_and_audit
from orchestration.simulator.make import make_simulation
from orchestration.simulator.parameters import DEFAULT_END, SOURCE, Parameters
from orchestration.simulator.write import EVENTS
from orchestration.transform.dbt import Project

FAULTY_DAYS = 10
KIND = "kind_key in (select kind_key from events.event_kinds where event_name = '{}')"
LATER = "set occurred_at = occurred_at + interval 3 hour"

# Of the group's users, every event; ``make_groups`` chooses the groups.
LOST = "delete from events.event_log where {{day}} and node_key in (select user_key from lost where name = '{}')"

# What happens to the events of one day.
FAULTS = {
    "75% of the rows lost": "delete from events.event_log where {day} and hash(event_id) % 100 < 75",
    "75% of the people lost": "delete from events.event_log where {day} and hash(node_key) % 100 < 75",
    "morning missing": "delete from events.event_log where {day} and hour(occurred_at) < 12",
    "afternoon missing": "delete from events.event_log where {day} and hour(occurred_at) >= 12",
    "page views silent": f"delete from events.event_log where {{day}} and {KIND.format('Page Viewed')}",
    "comments silent": f"delete from events.event_log where {{day}} and {KIND.format('Comment Added')}",
    "occurred 3 hours later": f"update events.event_log {LATER} where {{day}}",
    "all times 3 hours later": f"update events.event_log {LATER}, received_at = received_at + interval 3 hour"
    " where {day}",
    "loaded twice, new ids": "insert into events.event_log select * replace (event_id || '#' as event_id)"
    " from events.event_log where {day}",
    "no name in the catalogue": "update events.event_log set rule_key = null where {day}",
    "so for half of the people": "update events.event_log set rule_key = null where {day} and hash(node_key) % 2 = 0",
    "largest account lost": LOST.format("largest account"),
    "account of five lost": LOST.format("account of five"),
    "largest plan lost": LOST.format("plan"),
    "users not identified": "update events.event_log set is_identified = false where {day}",
}


def refused(connection: duckdb.DuckDBPyConnection, history: History, day: date) -> list[str]:
    """Critical checks that a day fails; groups are measured in the tables that ``count`` made last."""
    groups = measure_groups(connection, SOURCE, day)
    judged = judge_measures(connection, SOURCE, [{**NOTHING_MEASURED, **measure_day(history, day), "groups": groups}])
    return [found.check.name for found in judged if found.check.severity == "critical" and not found.check.passed]


def known_until(connection: duckdb.DuckDBPyConnection, day: date) -> History:
    """The source as it was known at the end of a day."""
    return read_histories(connection, until=day)[SOURCE]


def count(connection: duckdb.DuckDBPyConnection) -> None:
    """Counts all days again."""
    count_source_days(
        connection,
        newest_day=DEFAULT_END,
        loaded_until=1,
        fingerprint="",
        time_zone="UTC",
        bucket_minutes=30,
        rebuild=True,
    )


def make_groups(connection: duckdb.DuckDBPyConnection) -> None:
    """Chooses the groups that faults lose: the table ``lost``."""
    connection.execute(
        """
        create or replace temp table lost as
        with sizes as (
            select account_id, count(*) as users from identity.memberships where is_current group by account_id
        ),
        plans as (
            select a.value as plan, sum(s.users) as users
            from identity.attributes as a
            inner join sizes as s on a.entity_id = s.account_id
            where a.entity_type = 'account' and a.attribute = 'plan' and a.valid_to is null
            group by a.value
        ),
        chosen as (
            select 'largest account' as name, arg_max(account_id, (users, account_id)) as account_id from sizes
            union all
            select 'account of five', max(account_id) from sizes where users = 5
            union all
            select 'plan', entity_id from identity.attributes
            where
                entity_type = 'account' and attribute = 'plan' and valid_to is null
                and value = (select arg_max(plan, (users, plan)) from plans)
        )
        select c.name, m.user_key
        from chosen as c inner join identity.memberships as m on c.account_id = m.account_id and m.is_current
        """
    )


def with_fault(connection: duckdb.DuckDBPyConnection, day: date, fault: str) -> History:
    """The source with a fault in one day; the event log is restored afterwards."""
    connection.execute("create or replace temp table kept as select * from events.event_log")
    connection.execute(fault.format(day=f"occurred_date = date '{day}'"))
    connection.execute("update events.event_log set occurred_date = cast(occurred_at as date)")
    count(connection)
    history = known_until(connection, day)
    connection.execute("create or replace table events.event_log as from kept")
    return history


def run(seeds: Sequence[int], days: int, accounts: int, console: Console) -> None:
    """Prints alarms over ordinary days, and how many faulty days were caught."""
    table = Table("seed", "days", "alarms", *FAULTS, title="critical verdicts on ordinary days, and faulty days caught")
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            home = Home(Settings(home=Path(folder) / "home"))
            make_simulation(Parameters(accounts=accounts, days=days + 60, seed=seed), Path(folder))
            load(home, [Path(folder) / EVENTS], source=SOURCE)
            write_and_audit(Project(home))
            with home.connect() as connection:
                count(connection)
                make_groups(connection)
                judged = [DEFAULT_END - timedelta(days=number) for number in range(days, 0, -1)]
                alarms = [
                    (day, names) for day in judged if (names := refused(connection, known_until(connection, day), day))
                ]
                for day, names in alarms:
                    console.print(f"seed {seed}, {day:%A %d %B}: {', '.join(names)}")
                workdays = [day for day in judged if day.weekday() < 5][-FAULTY_DAYS:]
                caught = [
                    sum(bool(refused(connection, with_fault(connection, day, fault), day)) for day in workdays)
                    for fault in FAULTS.values()
                ]
        table.add_row(str(seed), str(days), str(len(alarms)), *(f"{number} of {len(workdays)}" for number in caught))
    console.print(table)


def main() -> None:
    """Prints the table for the seeds of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,7")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--accounts", type=int, default=150)
    given = parser.parse_args()
    run([int(seed) for seed in given.seeds.split(",")], given.days, given.accounts, Console(width=200))


if __name__ == "__main__":
    main()
