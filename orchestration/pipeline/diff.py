"""``traithouse diff``: what the current definition of a trait would change; nothing is published.

Every number is of those who count: anonymous visitors are left out, unless the trait declares ``everyone``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import duckdb

from orchestration.declarations.traits import Trait
from orchestration.errors import UsageError
from orchestration.home import Notify, silent
from orchestration.measurement.replay import Replay, is_publishable, last_date
from orchestration.published.sentences import sentence_sql
from orchestration.published.tables import PUBLISHED_TABLES
from orchestration.published.who_counts import counted, counts_everyone
from orchestration.publishing.snapshot import served_build
from orchestration.serving.snapshot import rows
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.plan import plan
from orchestration.transform.dbt import Project
from orchestration.transform.fingerprint import project_fingerprint
from orchestration.transform.state_tables import STATE_TABLES

EXAMPLES = 20
CHANGED_BEFORE = "The project has changed since it was built; models before the features are used as last built."


@dataclass(frozen=True)
class Diff:
    """What is published of a trait, and what its current definition gives at the same clock.

    Attributes:
        trait: its name.
        as_of: clock of the last build, naive UTC.
        version: of the definition in the project.
        published_version: of the published values; null when there are none.
        publishable: whether there is enough evidence to publish it; without it, values stay as they are.
        note: what the comparison leaves out; empty when nothing.
        population_before: entities with a value, published.
        population_after: with the definition.
        members_before: whose value is true (for other types: has one).
        members_after: with the definition.
        entered: entities that become members.
        left: entities that stop being members.
        changed: entities whose value differs, entered and left included.
        examples: up to 20 entities whose value differs, with the reason.
        syncs: for each sync that sends it, the records it would send, and those that wait already.

    """

    trait: str
    as_of: datetime
    version: int
    published_version: int | None
    publishable: bool
    note: str
    population_before: int
    population_after: int
    members_before: int
    members_after: int
    entered: int
    left: int
    changed: int
    examples: tuple[dict[str, Any], ...]
    syncs: tuple[dict[str, Any], ...]

    @property
    def prevalence_before(self) -> float:
        """Share of members, published."""
        return self.members_before / self.population_before if self.population_before else 0.0

    @property
    def prevalence_after(self) -> float:
        """Share of members with the definition."""
        return self.members_after / self.population_after if self.population_after else 0.0

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self) | {
            "prevalence_before": round(self.prevalence_before, 4),
            "prevalence_after": round(self.prevalence_after, 4),
        }


def diff(project: Project, name: str, *, notify: Notify = silent) -> Diff:
    """Replays one trait as of the last build and compares it with what is published.

    Raises:
        UsageError: there is no such trait, or nothing is built yet.

    """
    trait = project.catalog.trait(name)
    with project.home.lock("traithouse diff"):
        with project.home.connect() as connection:
            connection.execute(STATE_TABLES + PUBLISHED_TABLES)
            built = connection.execute("select as_of, fingerprint from state.watermark").fetchone()
        if built is None:
            raise UsageError("Nothing is built yet.", "Run traithouse refresh, then diff.")
        as_of, fingerprint = built
        notify(f"computing {name} as of {as_of} UTC")
        models = Replay(project, [name])
        with project.home.connect() as connection, models.over(connection, [as_of]) as clocks:
            next(clocks)
            publishable = is_publishable(connection, trait, last_date(as_of, project.time_zone))
            facts = _compared(connection, trait)
            values = dict(
                connection.execute(
                    f"""
                    select {trait.id_column}, cast(value as varchar) from replay_candidates."{name}"
                    where value is not null and {counted(trait, trait.id_column)}
                    """
                ).fetchall()
            )
        syncs = _syncs(project, trait, values) if publishable else []
    return Diff(
        trait=name,
        as_of=as_of,
        version=trait.version,
        publishable=publishable,
        note="" if fingerprint == project_fingerprint(project) else CHANGED_BEFORE,
        syncs=tuple(syncs),
        **facts,
    )


def _compared(connection: duckdb.DuckDBPyConnection, trait: Trait) -> dict[str, Any]:
    """Counts and examples of a ``Diff``, from the replayed candidate and what is published."""
    is_member, was_member = "coalesce(value = 'true', false)", "coalesce(old_value = 'true', false)"
    if trait.type != "boolean":
        is_member, was_member = "value is not null", "old_value is not null"
    connection.execute(
        f"""
        create or replace temp table compared as
        with incoming as (
            select
                {trait.id_column} as entity_id, cast(value as varchar) as value, {sentence_sql(trait)} as reason
            from replay_candidates."{trait.name}"
            where {counted(trait, trait.id_column)}
        ),
        known as (
            select entity_id, value, reason, definition_version from traits.trait_values
            where trait = $trait and ($everyone or is_anonymous is not true)
        )
        select
            coalesce(i.entity_id, k.entity_id) as entity_id, k.value as old_value, i.value,
            coalesce(i.reason, 'It is not in scope.') as reason, k.definition_version
        from incoming as i
        full join known as k on i.entity_id = k.entity_id
        """,
        {"trait": trait.name, "everyone": counts_everyone(trait)},
    )
    [facts] = rows(
        connection,
        f"""
        select
            max(definition_version) as published_version,
            count(old_value) as population_before, count(value) as population_after,
            count(*) filter ({was_member}) as members_before, count(*) filter ({is_member}) as members_after,
            count(*) filter ({is_member} and not {was_member}) as entered,
            count(*) filter ({was_member} and not {is_member}) as left,
            count(*) filter (value is distinct from old_value) as changed
        from compared
        """,
    )
    # Entities that enter or leave come first, in equal shares; then those whose value only changes.
    examples = rows(
        connection,
        f"""
        with moved as (
            select
                *,
                case
                    when {is_member} and not {was_member} then 'enters'
                    when {was_member} and not {is_member} then 'leaves'
                    else 'changes'
                end as move
            from compared where value is distinct from old_value
        )
        select entity_id, move, old_value, value, reason from moved
        order by move = 'changes', row_number() over (partition by move order by entity_id), move
        limit {EXAMPLES}
        """,
    )
    return facts | {"examples": tuple(sorted(examples, key=lambda moved: (moved["move"], moved["entity_id"])))}


def _syncs(project: Project, trait: Trait, values: dict[str, str]) -> list[dict[str, Any]]:
    """Records by sync: waiting now, and with the definition; before the first publish every entity is a record."""
    carrying = [sync for sync in project.catalog.syncs if trait in project.catalog.traits_of(sync)]
    if served_build(project.home) is None:
        return [{"sync": sync.name, "records_now": 0, "records_then": len(values)} for sync in carrying]
    with SyncLedger(project.home) as ledger:
        return [
            {
                "sync": sync.name,
                "records_now": len(plan(project.home, project.catalog, sync, ledger).records),
                "records_then": len(plan(project.home, project.catalog, sync, ledger, {trait.name: values}).records),
            }
            for sync in carrying
        ]
