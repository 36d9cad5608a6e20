"""The rows of one trait (values, ledger of changes, thresholds), written inside the transaction of publishing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.traits import Trait
from orchestration.published.objections import is_objector
from orchestration.published.rows import fetch_rows
from orchestration.published.sentences import sentence_sql
from orchestration.published.state import ledger_state
from orchestration.published.tables import BACKFILLED_DAYS
from orchestration.transform.build import Build


@dataclass(frozen=True)
class TraitCounts:
    """What publishing one trait wrote.

    Attributes:
        written: entities with a changed row, of which perhaps only the evidence changed.
        changes: entities whose value changed: rows added to the ledger.
        entered: entities whose value became true (for other types: that got a value).
        left: entities whose value was true (for other types: that had a value) and no longer is.

    """

    written: int = 0
    changes: int = 0
    entered: int = 0
    left: int = 0


NOTHING_WRITTEN = TraitCounts()


def publish_trait(
    connection: duckdb.DuckDBPyConnection, trait: Trait, build: Build, *, waived: bool = False
) -> TraitCounts:
    """Writes the rows of one trait that changed.

    A trait that has no values and was backfilled continues from its history. An anonymous visitor who no longer exists
    became known: the device belongs to a user now (cause ``merged``). A user who no longer exists is another one now.

    Args:
        connection: the warehouse, with the table ``objectors``; call it in a transaction.
        trait: whose candidate passed.
        build: the current one.
        waived: whether it passed because of a waiver; the ledger says so.

    """
    connection.execute(BACKFILLED_DAYS)
    connection.execute(
        f"""
        create or replace temp table moved as
        with incoming as (
            select
                {trait.id_column} as entity_id, cast(value as varchar) as value, score, evidence,
                {sentence_sql(trait)} as reason
            from {trait.candidate}
            where not {is_objector(trait.entity, trait.id_column)}
        ),
        valued as (
            select * from traits.trait_values where trait = $trait
        ),
        backfilled as (
            {ledger_state("where trait = $trait and not exists (select 1 from valued)")}
        ),
        known as (
            select entity_id, value, since, score, evidence, reason, is_anonymous, definition_version from valued
            union all
            select
                entity_id, value, since, null, null, null, null,
                (select arg_max(definition_version, as_of) from state.backfilled_days where trait = $trait)
            from backfilled
        ),
        anybody as (
            select
                {trait.id_column} as entity_id,
                {"is_anonymous" if trait.entity == "user" else "false"} as is_anonymous
            from identity.dim_{trait.entity}s
        )
        select
            coalesce(i.entity_id, k.entity_id) as entity_id,
            i.value, k.value as old_value, k.since as old_since, i.score, i.evidence,
            i.value is distinct from k.value as flips,
            case when i.value is distinct from k.value then i.reason else coalesce(k.reason, i.reason) end as reason,
            case when i.value is distinct from k.value then $as_of else k.since end as since,
            coalesce(a.is_anonymous, k.is_anonymous) as is_anonymous,
            case
                when {is_objector(trait.entity, "k.entity_id")} then 'objection'
                when i.entity_id is null and a.entity_id is null and k.is_anonymous then 'merged'
                when i.entity_id is null and a.entity_id is null then 'identity'
                when k.definition_version != $version then 'definition'
                when $waived then 'waived'
                else 'behaviour'
            end as cause
        from incoming as i
        full join known as k on i.entity_id = k.entity_id
        left join anybody as a on coalesce(i.entity_id, k.entity_id) = a.entity_id
        where
            i.value is distinct from k.value
            or i.score is distinct from k.score
            or i.evidence is distinct from k.evidence
            or k.definition_version is distinct from $version
        """,
        {"trait": trait.name, "as_of": build.as_of, "version": trait.version, "waived": waived},
    )
    connection.execute(
        """
        insert into traits.trait_changes by name
        select
            (select coalesce(max(seq), 0) from traits.trait_changes) + row_number() over (order by entity_id) as seq,
            $entity as entity_type, entity_id, $trait as trait, old_value, value as new_value, old_since,
            $as_of as as_of, $build_id as build_id, cause, is_anonymous
        from moved
        where flips
        order by entity_id
        """,
        {
            "entity": trait.entity,
            "trait": trait.name,
            "as_of": build.as_of,
            "build_id": build.build_id,
        },
    )
    connection.execute(
        "delete from traits.trait_values where trait = $1 and entity_id in (select entity_id from moved)",
        [trait.name],
    )
    connection.execute(
        """
        insert into traits.trait_values by name
        select
            $entity as entity_type, entity_id, $trait as trait, value, score, evidence, reason, since, $as_of as as_of,
            $version as definition_version, $build_id as build_id, is_anonymous
        from moved
        where value is not null
        order by entity_id
        """,
        {
            "entity": trait.entity,
            "trait": trait.name,
            "as_of": build.as_of,
            "version": trait.version,
            "build_id": build.build_id,
        },
    )
    _publish_thresholds(connection, trait, build)
    has_now, had = "coalesce(value = 'true', false)", "coalesce(old_value = 'true', false)"
    if trait.type != "boolean":
        has_now, had = "value is not null", "old_value is not null"
    (counts,) = fetch_rows(
        connection,
        f"""
        select
            count(*) as written,
            count(*) filter (flips) as changes,
            count(*) filter (({has_now}) and not ({had})) as entered,
            count(*) filter (({had}) and not ({has_now})) as left
        from moved
        """,
    )
    return TraitCounts(**counts)


def _publish_thresholds(connection: duckdb.DuckDBPyConnection, trait: Trait, build: Build) -> None:
    """Adds the thresholds that differ from the last published ones; every row of a candidate has the same ones."""
    connection.execute(
        f"""
        insert into traits.trait_thresholds by name
        with carried as (
            select json_extract(evidence, '$.thresholds') as thresholds from {trait.candidate} limit 1
        ),
        incoming as (
            select unnest(json_keys(thresholds)) as threshold, thresholds from carried
        ),
        last_known as (
            select
                threshold, arg_max(value, (as_of, build_id)) as value,
                arg_max(definition_version, (as_of, build_id)) as version
            from traits.trait_thresholds where trait = $trait group by threshold
        ),
        valued as (
            select threshold, try_cast(json_extract_string(thresholds, '$."' || threshold || '"') as double) as value
            from incoming
        )
        select
            $trait as trait, v.threshold, v.value, $version as definition_version, $as_of as as_of,
            $build_id as build_id
        from valued as v
        left join last_known as l on v.threshold = l.threshold
        where l.threshold is null or l.value is distinct from v.value or l.version is distinct from $version
        """,
        {
            "trait": trait.name,
            "version": trait.version,
            "as_of": build.as_of,
            "build_id": build.build_id,
        },
    )


def prune_ledger(connection: duckdb.DuckDBPyConnection, horizon: datetime) -> int:
    """Deletes rows before a horizon on which no state after it depends, and counts them; call it in a transaction.

    The last row of each entity and trait before the horizon is kept, unless it ends the value, and so is the first row
    of each trait.
    """
    row = connection.execute(
        """
        delete from traits.trait_changes where seq in (
            select seq from traits.trait_changes
            where as_of < $horizon
            qualify
                (
                    new_value is null
                    or row_number() over (partition by entity_type, entity_id, trait order by as_of desc, seq desc) > 1
                )
                and row_number() over (
                    partition by trait order by cause = 'backfill', as_of, seq
                ) > 1
        )
        """,
        {"horizon": horizon},
    ).fetchone()
    return int(row[0]) if row else 0


def withdraw_objectors(connection: duckdb.DuckDBPyConnection, build_id: str, as_of: datetime) -> int:
    """Clears what is published of users who want no profiling, of withheld traits too, and counts the rows.

    The table ``objectors`` says who they are. Their history stays in the ledger.
    """
    withdrawn = connection.execute(
        f"""
        insert into traits.trait_changes by name
        select
            (select coalesce(max(seq), 0) from traits.trait_changes)
            + row_number() over (order by trait, entity_id) as seq,
            entity_type, entity_id, trait, value as old_value, null as new_value, since as old_since,
            $as_of as as_of, $build_id as build_id, 'objection' as cause, is_anonymous
        from traits.trait_values
        where entity_type = 'user' and {is_objector("user", "entity_id")}
        """,
        {"as_of": as_of, "build_id": build_id},
    ).fetchone()
    connection.execute(
        f"delete from traits.trait_values where entity_type = 'user' and {is_objector('user', 'entity_id')}"
    )
    return int(withdrawn[0]) if withdrawn else 0


def retire(connection: duckdb.DuckDBPyConnection, catalog: Catalog, build: Build) -> int:
    """Clears traits that are no longer declared and counts their rows; their history stays in the ledger."""
    declared = [trait.name for trait in catalog.traits]
    retired = connection.execute(
        """
        insert into traits.trait_changes by name
        select
            (select coalesce(max(seq), 0) from traits.trait_changes)
            + row_number() over (order by trait, entity_id) as seq,
            entity_type, entity_id, trait, value as old_value, null as new_value, since as old_since,
            $as_of as as_of, $build_id as build_id, 'retirement' as cause, is_anonymous
        from traits.trait_values
        where not list_contains($declared, trait)
        """,
        {"declared": declared, "as_of": build.as_of, "build_id": build.build_id},
    ).fetchone()
    for table in ("traits.trait_values", "traits.trait_thresholds", "state.gate_verdicts"):
        connection.execute(f"delete from {table} where not list_contains($1, trait)", [declared])
    orphans = connection.execute(
        "select table_name from duckdb_tables() where schema_name = 'candidates' and not list_contains($1, table_name)",
        [[*declared, *(trait.thresholds_model for trait in catalog.traits)]],
    ).fetchall()
    for (name,) in orphans:
        connection.execute(f'drop table candidates."{name}"')
    return int(retired[0]) if retired else 0
