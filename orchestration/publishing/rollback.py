"""Back to an earlier build: values, state and ledger become what they were, by rows that say so.

Nothing is erased: the ledger gets compensating rows (cause ``rollback``), the builds that are undone stay in the list
and are marked, and the rollback is itself a build. What was made in the meantime can no longer be published; the next
refresh makes and judges it again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.errors import UsageError
from orchestration.home import Home, Notify, read_json, silent, utc_now
from orchestration.published.objections import create_objectors
from orchestration.published.tables import PUBLISHED_TABLES, WIDE_TABLES, wide_view
from orchestration.publishing.ledger import withdraw_objectors
from orchestration.publishing.publish import ever_published
from orchestration.publishing.snapshot import write_snapshot
from orchestration.publishing.visitors import mark_visitors
from orchestration.transform.state_tables import STATE_TABLES


@dataclass(frozen=True)
class RollbackReport:
    """What a rollback did.

    Attributes:
        build_id: the build that the rollback is.
        to: the build whose values are published again.
        as_of: clock of the newest build, which the rollback keeps, naive UTC.
        changes: rows added to the ledger.
        undone: builds that are marked as rolled back.

    """

    build_id: str
    to: str
    as_of: datetime
    changes: int
    undone: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def rollback(
    home: Home, catalog: Catalog, *, to: str | None, who: str, why: str, notify: Notify = silent
) -> RollbackReport:
    """Publishes the values of a retained build again, as a new build.

    Args:
        home: where; takes its lock.
        catalog: what is declared.
        to: build_id of a retained build; the build before the newest when not given.
        who: the person.
        why: the person's reason, in words.
        notify: progress.

    Raises:
        UsageError: there is no such build, or its snapshot is no longer retained.

    """
    purpose = "traithouse rollback"
    with home.lease(purpose), home.lock(purpose), home.connect() as connection:
        connection.execute(PUBLISHED_TABLES + STATE_TABLES)
        builds = connection.execute(
            "select build_id, as_of from traits.builds where not coalesce(rolled_back, false) order by build_id"
        ).fetchall()
        names = [name for name, _ in builds]
        kept = _retained(home)
        possible = [name for name in names[:-1] if name in kept]
        target = to or (possible[-1] if possible else "")
        if target not in possible:
            raise UsageError(
                f"There is no earlier build {to} to go back to." if to else "There is no earlier build to go back to.",
                f"Retained are: {', '.join(possible) or 'none'} (TRAITHOUSE_BUILDS_KEPT).",
            )
        undone = tuple(names[names.index(target) + 1 :])
        as_of = builds[-1][1]
        notify(f"restoring the values of {target}")
        connection.execute(f"attach '{str(kept[target]).replace(chr(39), chr(39) * 2)}' as target (read_only)")
        try:
            connection.execute("begin")
            build_id = _next_build(connection, as_of)
            changes = _restore(connection, build_id, as_of)
            # Who has objected since stays out.
            create_objectors(connection)
            changes += withdraw_objectors(connection, build_id, as_of)
            mark_visitors(connection)
            for entity in WIDE_TABLES:
                connection.execute(wide_view(entity, ever_published(connection, catalog)))
            _record(connection, build_id, as_of, changes, undone, f"to {target}, by {who}: {why}")
            connection.execute("commit")
        finally:
            connection.execute("detach target")
        notify("writing the serving snapshot")
        write_snapshot(home, connection, build_id)
    home.note(last_refresh=(home.status().get("last_refresh") or {}) | {"rolled_back_to": target})
    return RollbackReport(build_id, target, as_of, changes, undone)


def _retained(home: Home) -> dict[str, Path]:
    """Database of each retained build; the newest database where a build was published more than once."""
    folders = (home.serving / "builds").glob("*") if (home.serving / "builds").is_dir() else ()
    found: dict[str, tuple[str, Path]] = {}
    for folder in folders:
        manifest = read_json(folder / "manifest.json")
        name, at = manifest.get("build_id"), str(manifest.get("published_at"))
        if name and not folder.name.startswith(".") and at >= found.get(name, ("", folder))[0]:
            found[name] = (at, folder / "traithouse.duckdb")
    return {name: path.resolve() for name, (_, path) in found.items()}


def _next_build(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> str:
    """Takes the next build number, so that verdicts on what was built before belong to another build."""
    (number,) = connection.execute("select coalesce(max(build_number), 0) + 1 from state.current_build").fetchone() or (
        1,
    )
    build_id = f"{number:06d}-{as_of:%Y%m%dT%H%M%SZ}"
    connection.execute("update state.current_build set build_number = $1, build_id = $2", [number, build_id])
    return build_id


def _restore(connection: duckdb.DuckDBPyConnection, build_id: str, as_of: datetime) -> int:
    """Makes values, thresholds and catalogue those of the attached database; returns the rows added to the ledger."""
    same_row = " and ".join(
        f"c.{name} is not distinct from t.{name}"
        for name in ("value", "score", "evidence", "reason", "since", "definition_version")
    )
    # A build of an earlier version does not say who is anonymous.
    columns = [row[0] for row in connection.execute("describe target.traits.trait_values").fetchall()]
    said = "t.is_anonymous, c.is_anonymous" if "is_anonymous" in columns else "c.is_anonymous"
    connection.execute(
        f"""
        create or replace temp table restored as
        select
            coalesce(t.entity_type, c.entity_type) as entity_type, coalesce(t.entity_id, c.entity_id) as entity_id,
            coalesce(t.trait, c.trait) as trait, t.value, t.score, t.evidence, t.reason, t.since, t.as_of,
            t.definition_version, c.value as old_value, c.since as old_since, coalesce({said}) as is_anonymous
        from traits.trait_values as c
        full join target.traits.trait_values as t
            on c.entity_type = t.entity_type and c.entity_id = t.entity_id and c.trait = t.trait
        where not ({same_row}) or c.entity_id is null or t.entity_id is null
        """
    )
    written = connection.execute(
        """
        insert into traits.trait_changes by name
        select
            (select coalesce(max(seq), 0) from traits.trait_changes)
            + row_number() over (order by trait, entity_type, entity_id) as seq,
            entity_type, entity_id, trait, old_value, value as new_value, old_since,
            $as_of as as_of, $build_id as build_id, 'rollback' as cause, is_anonymous
        from restored
        where value is distinct from old_value
        """,
        {"as_of": as_of, "build_id": build_id},
    ).fetchone()
    connection.execute(
        """
        delete from traits.trait_values as v using restored as r
        where v.entity_type = r.entity_type and v.entity_id = r.entity_id and v.trait = r.trait
        """
    )
    connection.execute(
        """
        insert into traits.trait_values by name
        select * exclude (old_value, old_since), $build_id as build_id from restored where value is not null
        """,
        {"build_id": build_id},
    )
    newest = (
        "select trait, threshold, arg_max(value, (as_of, build_id)) as value,"
        " arg_max(definition_version, (as_of, build_id)) as definition_version"
        " from {}.trait_thresholds group by trait, threshold"
    )
    connection.execute(
        f"""
        insert into traits.trait_thresholds by name
        select t.trait, t.threshold, t.value, t.definition_version, $as_of as as_of, $build_id as build_id
        from ({newest.format("target.traits")}) as t
        left join ({newest.format("traits")}) as c on t.trait = c.trait and t.threshold = c.threshold
        where c.value is distinct from t.value or c.definition_version is distinct from t.definition_version
        """,
        {"as_of": as_of, "build_id": build_id},
    )
    connection.execute("delete from traits.trait_catalog")
    connection.execute("insert into traits.trait_catalog by name select * from target.traits.trait_catalog")
    return int(written[0]) if written else 0


def _record(
    connection: duckdb.DuckDBPyConnection,
    build_id: str,
    as_of: datetime,
    changes: int,
    undone: tuple[str, ...],
    why: str,
) -> None:
    connection.execute("update traits.builds set rolled_back = true where list_contains($1, build_id)", [list(undone)])
    connection.execute(
        """
        insert into traits.builds by name
        select
            $build_id as build_id, $as_of as as_of, $now as started_at, $now as published_at, 0 as seconds,
            $changes as changes,
            (select count(*) from traits.trait_values where build_id = $build_id) as values_written,
            0 as traits_published, 0 as traits_withheld, 'rollback' as kind, $why as reason, false as rolled_back
        """,
        {"build_id": build_id, "as_of": as_of, "now": utc_now(), "changes": changes, "why": why},
    )
