"""Wrong candidates through the candidate audit: which are withheld, and the smallest swap of values that is caught.

    python -m tests.faults.wrong_candidates             # all of them, as a table
    python -m tests.faults.wrong_candidates --only score --days 0

Each wrong candidate is put in the place of a good one, in a home whose next day is judged and not published; what is
made of wrong features is made by the declarations. A part that was finished is not made again while the code stays the
same (``--again``). Ordinary days are those of tests/faults/alarms.py, without its drops.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from orchestration.gates.candidate_order import judged_in_order
from orchestration.gates.candidates import audit
from orchestration.gates.verdicts import Verdict
from orchestration.home import Home
from orchestration.transform.dbt import Project
from tests.builds import make_candidate, record_candidates
from tests.cache import CACHE, parsed_project
from tests.faults.alarms import LEARNING_DAYS, MOST_FALSE_ALARMS, ordinary_days
from tests.faults.fixture import Fixture, cached_fixture, table

LEAST_WITHHELD = 0.9
DONE = CACHE / "wrong_candidates.json"
# What was found, for a reader who does not run it.
TABLE = Path(__file__).with_suffix(".md")
FEATURES = "features.user_features"


@dataclass(frozen=True)
class Wrong:
    """One wrong candidate.

    Attributes:
        name: what is wrong.
        trait: which may not pass.
        sql: makes it so.
        of_features: whether it changes features, which the candidates are then made of.

    """

    name: str
    trait: str
    sql: str
    of_features: bool = False


def wrong_candidates() -> list[Wrong]:
    """The list."""
    return [*_wrong_scores(), *_wrong_values(), *_wrong_evidence(), *_wrong_rows(), *_wrong_features()]


def _wrong_scores() -> Iterator[Wrong]:
    for trait, name, score in (
        ("power_user", "scores negated", "-score"),
        ("at_risk", "scores negated", "-score"),
        ("dormant", "scores constant", "7"),
        ("activated", "scores null", "null"),
        ("power_user", "half of the scores null", "case when hash(user_id) % 2 = 0 then score end"),
        ("dormant", "scores times two", "score * 2"),
        ("at_risk", "scores plus a tenth", "score * 1.1"),
        ("champion_left", "scores plus one", "score + 1"),
        ("lifecycle_stage", "scores rounded to tens", "10 * floor(score / 10)"),
        ("single_player", "scores a hundredth", "score / 100"),
    ):
        yield Wrong(name, trait, f"update candidates.{trait} set score = {score}")
    for trait in ("power_user", "expansion_ready"):
        yield Wrong("scores permuted", trait, _permuted(trait, "score"))


def _wrong_values() -> Iterator[Wrong]:
    yield Wrong("all values turned round", "power_user", "update candidates.power_user set value = not value")
    yield Wrong("all values false", "dormant", "update candidates.dormant set value = false")
    yield Wrong("values permuted", "activated", _permuted("activated", "value"))
    yield Wrong("stages permuted", "lifecycle_stage", _permuted("lifecycle_stage", "value"))
    yield Wrong(
        "one value turned round",
        "resurrected",
        "update candidates.resurrected set value = not value where user_id = (select min(user_id) from"
        " candidates.resurrected)",
    )
    yield Wrong(
        "one stage is another",
        "lifecycle_stage",
        "update candidates.lifecycle_stage set value = 'engaged' where user_id = (select min(user_id) from"
        " candidates.lifecycle_stage where value = 'dormant')",
    )


def _wrong_evidence() -> Iterator[Wrong]:
    yield Wrong("evidence of another user", "power_user", _permuted("power_user", "evidence"))
    yield Wrong("evidence of another account", "champion_left", _permuted("champion_left", "evidence"))
    for trait, name, evidence in (
        ("dormant", "a rule that is not declared", "replace(evidence, 'awake', 'asleep')"),
        ("dormant", "the rule of the contrary", "replace(evidence, 'awake', 'silent')"),
        ("at_risk", "eligible turned round", "replace(evidence, '\"eligible\": true', '\"eligible\": false')"),
        ("power_user", "a feature too high", "replace(evidence, '\"core_value_28d\": 1', '\"core_value_28d\": 9')"),
        ("at_risk", "a threshold of its own", "replace(evidence, 'usual_active_days\": ', 'usual_active_days\": 1')"),
        ("stuck", "markup in a text", "replace(evidence, 'no_failure', '<script>no_failure')"),
        ("resurrected", "a member more", 'json_merge_patch(evidence, \'{"features": {"email": "a@b.c"}}\')'),
        ("sleepy_trial", "no derived values", "json_merge_patch(evidence, '{\"derived\": null}')"),
    ):
        yield Wrong(f"evidence: {name}", trait, f"update candidates.{trait} set evidence = {evidence}")
    for trait, name, change in (
        ("power_user", "doubled", "enter_score = enter_score * 2"),
        ("at_risk", "lowered", "usual_active_days = usual_active_days - 2"),
        ("activated", "of half a population", "eligible_count = eligible_count / 2"),
    ):
        yield Wrong(f"thresholds {name}", trait, f"update candidates.{trait}__thresholds set {change}")
        yield Wrong(
            f"thresholds {name}, candidate made of them",
            trait,
            f"update candidates.{trait}__thresholds set {change}",
            of_features=True,
        )


def _wrong_rows() -> Iterator[Wrong]:
    for trait, name, sql in (
        ("power_user", "one row lost", "delete from {} where user_id = (select max(user_id) from {})"),
        ("dormant", "a tenth of the rows lost", "delete from {} where hash(user_id) % 10 = 0"),
        ("at_risk", "five rows doubled", "insert into {} from {} limit 5"),
        ("activated", "rows of one account lost", f"delete from {{}} where user_id in ({_of_one('account_id')})"),
        ("resurrected", "rows of one plan lost", f"delete from {{}} where user_id in ({_of_one('plan')})"),
        ("needs_teammate", "the clock of yesterday", "update {} set as_of = as_of - interval 1 day"),
        ("sleepy_trial", "the clock of an hour later", "update {} set as_of = as_of + interval 1 hour"),
        ("dormant", "ids that nobody has", "update {} set user_id = 'x' || user_id where hash(user_id) % 20 = 0"),
        ("single_player", "accounts that nobody has", "update {} set account_id = 'x' || account_id"),
    ):
        yield Wrong(name, trait, sql.replace("{}", f"candidates.{trait}"))
    for trait in ("at_risk", "dormant", "power_user"):
        yield Wrong(
            "values, scores and evidence of yesterday",
            trait,
            f"update candidates.{trait} set (value, score, evidence) = (v.value::boolean, v.score, v.evidence)"
            f" from traits.trait_values as v where v.trait = '{trait}' and v.entity_id = user_id",
        )


def _wrong_features() -> Iterator[Wrong]:
    for trait, name, change in (
        ("at_risk", "counts every silence twice", "adjusted_silent_days = adjusted_silent_days * 2"),
        ("at_risk", "counts silence backwards", "adjusted_silent_days = -adjusted_silent_days"),
        ("at_risk", "knows one silence", "adjusted_silent_days = 3"),
        ("dormant", "is a day behind", "silent_days = silent_days - 1"),
        ("dormant", "lets everybody have left", "has_left = true"),
        ("power_user", "swaps two windows", "core_value_28d = active_days_28d, active_days_28d = core_value_28d"),
        ("power_user", "lets the free plan cancel", "is_cancelled = true where plan is null or plan = 'free'"),
        ("lifecycle_stage", "lets everybody have cancelled", "is_cancelled = true"),
        ("resurrected", "gives returns to others", "silent_days_before_return = 40, days_since_return = 5"),
        ("pricing_before_value", "loses looks at pricing", "pricing_28d = 0"),
        ("sleepy_trial", "puts everybody in a trial", "is_in_trial = true, has_started_trial = true"),
        ("activated", "counts first values tenfold", "core_value_first_7d = 10 * core_value_first_7d"),
    ):
        yield Wrong(f"features: {name}", trait, f"update {FEATURES} set {change}", of_features=True)
    for name, column in (("one plan", "plan"), ("one account", "account_id"), ("one role", "role")):
        sql = f"delete from {FEATURES} where user_id in ({_of_one(column)})"
        yield Wrong(f"features lose {name}", "dormant", sql, of_features=True)
    yield Wrong(
        "features make known users anonymous",
        "power_user",
        f"update {FEATURES} set is_anonymous = true where hash(user_id) % 4 = 0",
        of_features=True,
    )


def _of_one(column: str) -> str:
    """SQL: users of the most frequent account, plan or role."""
    most = f"select mode({column}) from {FEATURES} where {column} is not null"
    return f"select user_id from {FEATURES} where {column} = ({most})"


def _permuted(trait: str, column: str) -> str:
    """SQL that hands a column on to the next entity."""
    id_column = "account_id" if trait in ("champion_left", "expansion_ready", "single_player") else "user_id"
    others = (
        f"select {id_column} as id, lag({column}, 1, (select max_by({column}, {id_column}) from candidates.{trait}))"
    )
    others += f" over (order by {id_column}) as other from candidates.{trait}"
    return f"update candidates.{trait} set {column} = o.other from ({others}) as o where o.id = {id_column}"


def written_home(fixture: Fixture, folder: Path) -> tuple[Home, Project]:
    """A home whose next day was judged and not published, with features that can be changed."""
    home = fixture.copy(fixture.written, folder)
    with home.connect() as connection:
        for entity in ("user", "account"):
            name = f"features.{entity}_features"
            connection.execute(f"create temp table kept_{entity} as from {name}")
            connection.execute(f"drop view {name}")
            connection.execute(f"create table {name} as from kept_{entity}")
    return home, fixture.project_of(home)


def judged(project: Project, wrong: Wrong, names: Sequence[str]) -> Verdict:
    """The verdict on a wrong candidate; the home is as before afterwards."""
    saved = [
        name
        for trait in project.catalog.traits
        for name in (trait.candidate, *([f'candidates."{trait.thresholds_model}"'] if trait.thresholds else []))
    ] + [FEATURES, "state.gate_verdicts"]
    with project.home.connect() as connection:
        for number, name in enumerate(saved):
            connection.execute(f"create or replace table state.saved_{number} as from {name}")
        connection.execute(wrong.sql)
        if wrong.of_features:
            for trait in judged_in_order(project.catalog.traits):
                make_candidate(connection, project, trait)
        record_candidates(connection, project)
    with project.home.lock("wrong candidates"):
        verdicts = {verdict.trait: verdict for verdict in audit(project, traits=names)}
    with project.home.connect() as connection:
        for number, name in enumerate(saved):
            connection.execute(f"delete from {name}")
            connection.execute(f"insert into {name} from state.saved_{number}")
        record_candidates(connection, project)
    return verdicts[wrong.trait]


def smallest_swap(project: Project, trait: str) -> int | None:
    """Between how few pairs of entities values have to be swapped to be caught; null where all have the same value."""
    found = project.catalog.trait(trait)
    with project.home.connect() as connection:
        pairs = _swappable(connection, found.candidate, found.id_column)
    for count in (1, 2, 5, 10, 50):
        if count > len(pairs):
            return None
        swaps = ";".join(
            f"update {found.candidate} set value = case {found.id_column} when '{one}' then {a} else {b} end"
            f" where {found.id_column} in ('{one}', '{other}')"
            for one, other, a, b in pairs[:count]
        )
        if judged(project, Wrong("swap", trait, swaps), [trait]).verdict == "failed":
            return count
    return None


def _swappable(connection: duckdb.DuckDBPyConnection, relation: str, id_column: str) -> list[tuple[str, str, str, str]]:
    """Pairs of entities with different values: both ids, and what each is to have, as SQL."""
    rows = connection.execute(f"select {id_column}, cast(value as varchar) from {relation} order by 1").fetchall()
    first = rows[0][1]
    same = [row for row in rows if row[1] == first]
    other = [row for row in rows if row[1] != first]
    return [(a[0], b[0], f"'{b[1]}'", f"'{a[1]}'") for a, b in zip(same, other, strict=False)]


def main() -> int:
    """Judges every wrong candidate, and prints what came of it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--only", default="", help="wrong candidates whose trait or name holds this")
    parser.add_argument("--days", type=int, default=38, help="ordinary days")
    parser.add_argument("--again", action="store_true", help="make finished parts again")
    given = parser.parse_args()
    fixture = cached_fixture()
    done = _read_done(fixture) if not given.again else {}
    with tempfile.TemporaryDirectory() as folder:
        _, project = written_home(fixture, Path(folder) / "home")

        def once(key: str, make: Callable[[], object]) -> Any:
            if key not in done:
                done[key] = make()
                DONE.write_text(json.dumps({"of": str(fixture.folder), "done": done}))
                print(key, done[key], file=sys.stderr, flush=True)
            return done[key]

        lines = []
        for wrong in wrong_candidates():
            if wrong.trait in fixture.passed and given.only in f"{wrong.trait} {wrong.name}":
                found = once(f"{wrong.trait}: {wrong.name}", lambda wrong=wrong: _outcome(project, wrong))  # type: ignore[misc]
                lines.append((wrong.trait, wrong.name, *found))
        swaps = [
            (trait, once(f"swap {trait}", lambda trait=trait: smallest_swap(project, trait)) or "all alike")  # type: ignore[misc]
            for trait in sorted(fixture.passed)
            if not given.only
        ]
    withheld = sum(line[2] == "withheld" for line in lines)
    parts = [
        table(("trait", "wrong candidate", "verdict", "by"), lines),
        f"{withheld} of {len(lines)} wrong candidates withheld",
    ]
    good = withheld >= LEAST_WITHHELD * len(lines)
    if swaps:
        parts.append(table(("trait", "fewest pairs of entities whose values are swapped, caught"), swaps))
    if given.days:
        alarms = once(f"{given.days} days", lambda: _alarms(given.days))
        false, days, *reasons = alarms
        parts += [f"{false} of {days} ordinary trait-days withheld", *reasons]
        good = good and false <= MOST_FALSE_ALARMS * days
    print(*parts, sep="\n\n")
    if not given.only:
        TABLE.write_text("\n\n".join(["# Wrong candidates", "`make prove-audit` writes this.", *parts]) + "\n")
    return 0 if good else 1


def _outcome(project: Project, wrong: Wrong) -> list[str]:
    verdict = judged(project, wrong, [wrong.trait])
    broken = ", ".join(check.name for check in verdict.broken) or verdict.reason[:80]
    return ["withheld" if verdict.verdict == "failed" else verdict.verdict, broken]


def _alarms(days: int) -> list[object]:
    """False alarms, trait-days that were judged, and the reasons."""
    with tempfile.TemporaryDirectory() as folder:
        found = ordinary_days(
            Path(folder),
            parsed_project(),
            days + LEARNING_DAYS,
            accounts=60,
            notify=lambda text: print(text, file=sys.stderr, flush=True),
        )
    return [len(found.false), sum(found.judged.values()), *found.false]


def _read_done(fixture: Fixture) -> dict[str, Any]:
    if not DONE.exists():
        return {}
    kept = json.loads(DONE.read_text())
    return dict(kept["done"]) if kept["of"] == str(fixture.folder) else {}


if __name__ == "__main__":
    sys.exit(main())
