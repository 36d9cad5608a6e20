"""One build: what it reads, at which clock, and when it counts as done.

The watermark is committed last: a build that was cut off is made again from the same watermark, and every model is
written so that making it again gives the same rows.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from orchestration.declarations.traits import TRAIT_FOLDER
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Notify, silent, utc_now
from orchestration.landing.contract import RAW_TABLES
from orchestration.transform.clock import resolve_as_of
from orchestration.transform.content import content_hash
from orchestration.transform.dbt import GOOD_STATUSES, NodeResult, OnNode, Project, ignore_node

STATE_TABLES = """
create schema if not exists state;
create table if not exists state.trait_state (
    entity_type varchar, entity_id varchar, trait varchar, value varchar, since timestamp
);
create table if not exists state.trait_thresholds (trait varchar, threshold varchar, value double);
create table if not exists state.current_build (
    build_number bigint, build_id varchar, as_of timestamp, previous_as_of timestamp,
    loaded_after bigint, loaded_until bigint, full_refresh boolean, fingerprint varchar, started_at timestamp
);
create table if not exists state.watermark (load_id bigint, as_of timestamp, fingerprint varchar);
create table if not exists state.node_results (
    build_id varchar, unique_id varchar, name varchar, status varchar, message varchar, seconds double,
    content_hash varchar
);
create table if not exists state.retention (
    table_name varchar, kept_from timestamp, rows_deleted bigint, deleted_at timestamp, is_rebuilt boolean
);
create schema if not exists learning;
create table if not exists learning.score_models (
    trait varchar, model_version bigint, definition_version bigint, is_declared boolean,
    as_of varchar, fitted_until varchar, fitted_rows bigint, fitted_positives bigint, base_rate double,
    tested_rows bigint, tested_positives bigint, auc double, auc_low double, auc_high double, brier double,
    calibration_error double, top_decile_lift double, usable boolean, reason varchar
);
create table if not exists learning.score_points (
    trait varchar, model_version bigint, feature varchar, low double, high double, is_missing boolean, points bigint
);
create table if not exists learning.score_probabilities (
    trait varchar, model_version bigint, points bigint, probability double
);
"""

# What DuckDB says, also where it wraps one error in another.
WANT_OF_MEMORY = re.compile("out of memory|failed to pin|(could not|failed to) allocate", re.IGNORECASE)


@dataclass(frozen=True)
class Build:
    """What identifies a build and bounds its input.

    Attributes:
        build_number: rising, from 1.
        build_id: number and as_of, sortable.
        as_of: exclusive upper bound of what is known, naive UTC.
        previous_as_of: as_of of the last build that ended; events from then on are newly visible.
        loaded_after: loads above it are new.
        loaded_until: newest load that this build reads.
        full_refresh: everything is rebuilt.
        fingerprint: of all that decides rows up to the features; another one forces a full refresh.
        started_at: wall clock, naive UTC.

    """

    build_number: int
    build_id: str
    as_of: datetime
    previous_as_of: datetime | None
    loaded_after: int
    loaded_until: int
    full_refresh: bool
    fingerprint: str
    started_at: datetime

    @property
    def variables(self) -> dict[str, object]:
        """The run arguments of the dbt models."""
        given: dict[str, object] = {"as_of": str(self.as_of), "build_id": self.build_id}
        if not self.full_refresh:
            given["loaded_after"] = self.loaded_after
            given["previous_as_of"] = str(self.previous_as_of) if self.previous_as_of else None
        return given


def begin_build(
    project: Project,
    *,
    as_of: str | None,
    full_refresh: bool,
    partial: bool = False,
    now: datetime | None = None,
) -> Build:
    """Decides what a build reads, and writes it down; call it under the lock.

    A partial build (some models only) keeps the clock of the last whole one, so that no model is ahead of another.

    Raises:
        UsageError: as_of cannot be used, or there are no events.
        TraithouseError: everything has to be rebuilt, and raw no longer holds everything.

    """
    if partial and as_of is not None:
        raise UsageError(
            "A part of the project cannot be built at another clock.", "Build all of it, or leave as_of out."
        )
    now = now or utc_now()
    fingerprint = project_fingerprint(project)
    with project.home.connect() as connection:
        connection.execute(RAW_TABLES + STATE_TABLES)
        newest, newest_load = connection.execute(
            "select max(newest_event_at), coalesce(max(load_id), 0) from raw.loads"
        ).fetchone() or (None, 0)
        watermark = connection.execute("select load_id, as_of, fingerprint from state.watermark").fetchone()
        load_id, previous_as_of, built_from = watermark or (-1, None, None)
        resolved = resolve_as_of(
            str(previous_as_of) if partial and previous_as_of else as_of,
            now=now,
            newest_event=newest,
            last_published=last_published_as_of(connection),
            time_zone=project.time_zone,
        )
        begun = connection.execute("select build_number, as_of from state.current_build").fetchone()
        last_number, last_as_of = begun or (0, previous_as_of)
        # Another definition, or a clock before that of the last build, also of one that was cut off: start over.
        start_over = full_refresh or built_from != fingerprint or resolved < last_as_of
        kept_from = raw_kept_from(connection)
        if start_over and not full_refresh and kept_from:
            raise TraithouseError(
                f"Everything has to be rebuilt, and raw rows from before {kept_from} UTC were deleted for their age.",
                "traithouse refresh --full-refresh does it without them: what looks back further is cut short.",
            )
        number = last_number + 1
        build = Build(
            build_number=number,
            build_id=f"{number:06d}-{resolved:%Y%m%dT%H%M%SZ}",
            as_of=resolved,
            previous_as_of=previous_as_of,
            loaded_after=load_id,
            loaded_until=newest_load,
            full_refresh=start_over,
            fingerprint=fingerprint,
            started_at=now,
        )
        connection.execute("begin")
        if start_over:
            # Until it has ended, no watermark is true of the tables that it rebuilds.
            connection.execute("delete from state.watermark")
        connection.execute("delete from state.current_build")
        connection.execute(
            "insert into state.current_build values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            list(asdict(build).values()),
        )
        connection.execute("commit")
    return build


def raw_kept_from(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """From when on raw is complete, when rows that a rebuild would miss were deleted for their age; naive UTC."""
    connection.execute(STATE_TABLES)
    row = connection.execute(
        "select max(kept_from) from state.retention where starts_with(table_name, 'raw')"
        " and table_name != 'raw.rejected_events' and not is_rebuilt"
    ).fetchone()
    kept_from: datetime | None = row[0] if row else None
    return kept_from


def current_build(connection: duckdb.DuckDBPyConnection) -> Build | None:
    """The build that was begun last."""
    connection.execute(STATE_TABLES)
    row = connection.execute("select * from state.current_build").fetchone()
    return Build(*row) if row else None


def last_published_as_of(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """as_of of the newest publish, or nothing."""
    exists = connection.execute(
        "select 1 from duckdb_tables() where schema_name = 'traits' and table_name = 'builds'"
    ).fetchone()
    if not exists:
        return None
    row = connection.execute("select max(as_of) from traits.builds").fetchone()
    newest: datetime | None = row[0] if row else None
    return newest


def run_build(
    project: Project,
    build: Build,
    *,
    select: Sequence[str] = (),
    fetch: Callable[[], None] | None = None,
    on_node: OnNode = ignore_node,
    notify: Notify = silent,
) -> list[NodeResult]:
    """Runs seeds and models of a build, and commits the watermark when all up to the features went well.

    Args:
        project: what to run; hold the lock of its home.
        build: from ``begin_build``.
        select: a part of the project; a part never moves the watermark.
        fetch: brings what the models made into the home, where an engine elsewhere ran them.
        on_node: called with each node that went well, as soon as it has ended.
        notify: progress.

    """
    results = _run_within_memory(project, build, _whole_stages(project, select), on_node, notify)
    if fetch:
        fetch()
    with project.home.connect() as connection:
        connection.execute("begin")
        connection.execute("delete from state.node_results where build_id != $1", [build.build_id])
        candidates = {f"model.{project.name}.{trait.name}": trait for trait in project.catalog.traits}
        for result in results:
            trait = candidates.get(result.unique_id) if result.ok else None
            content = content_hash(connection, trait.candidate, trait.id_column) if trait else None
            connection.execute(
                "insert into state.node_results values ($1, $2, $3, $4, $5, $6, $7)",
                [build.build_id, *vars(result).values(), content],
            )
        if not select and all(result.ok for result in results if not is_trait(project, result.unique_id)):
            connection.execute("delete from state.watermark")
            connection.execute(
                "insert into state.watermark values ($1, $2, $3)",
                [build.loaded_until, build.as_of, build.fingerprint],
            )
            if build.full_refresh:
                connection.execute("update state.retention set is_rebuilt = true")
        connection.execute("commit")
    return results


def _run_within_memory(
    project: Project, build: Build, select: Sequence[str], on_node: OnNode, notify: Notify
) -> list[NodeResult]:
    """An increment gets little memory, which would only hold what was read; more when that is too little."""
    settings = project.home.settings
    small, large = settings.increment_memory_limit, settings.memory_limit
    with duckdb.connect() as connection:
        (is_less,) = connection.execute(
            "select parse_formatted_bytes($1) < parse_formatted_bytes($2)", [small, large]
        ).fetchone() or (False,)
    results: list[NodeResult] = []
    for limit in [small, large] if is_less and not build.full_refresh else [large]:
        results = project.run(
            "build",
            select=select,
            variables=build.variables,
            full_refresh=build.full_refresh,
            memory_limit=limit,
            on_node=on_node,
            notify=notify,
        )
        wanting = [one.name for one in results if one.status == "error" and WANT_OF_MEMORY.search(one.message)]
        if not wanting:
            break
        notify(f"{limit} of memory was too little for {', '.join(wanting)}")
    return results


def _whole_stages(project: Project, select: Sequence[str]) -> list[str]:
    """A part of the traits may be built alone; of what lies before them, all or nothing.

    Up to the features each model takes from the one before it what this very run has to do.
    """
    nodes = project.manifest_dict["nodes"].values()
    traits = {node["name"] for node in nodes if is_trait(project, node["unique_id"])}
    if not select or set(select) <= traits:
        return list(select)
    folders = sorted(
        {path.parts[1] for node in nodes if (path := Path(node["original_file_path"])).parts[0] == "models"}
        - {Path(TRAIT_FOLDER).parts[-1]}
    )
    return [*select, *(f"path:models/{folder}" for folder in folders)]


def failed_models(connection: duckdb.DuckDBPyConnection, project: Project) -> list[str]:
    """Seeds and models up to the features that failed in the current build; a trait's failure is its gate's matter."""
    rows = connection.execute(
        """
        select unique_id, name, status, message from state.node_results
        where build_id = (select build_id from state.current_build) order by name
        """
    ).fetchall()
    return [
        f"{name}: {message}"
        for unique_id, name, status, message in rows
        if status not in (*GOOD_STATUSES, "skipped") and not is_trait(project, unique_id)
    ]


def is_trait(project: Project, unique_id: str) -> bool:
    """Whether a node is a trait's candidate."""
    node = project.manifest_dict["nodes"].get(unique_id, {})
    return bool(node.get("original_file_path", "").startswith(TRAIT_FOLDER))


def project_fingerprint(project: Project) -> str:
    """Hash of the models up to the features, macros, seeds and vars: what incremental rows were made with."""
    manifest = project.manifest_dict
    parts = [
        (unique_id, node["checksum"]["checksum"])
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed") and not is_trait(project, unique_id)
    ]
    parts += [
        (unique_id, macro["macro_sql"])
        for unique_id, macro in manifest["macros"].items()
        if macro["package_name"] == manifest["metadata"]["project_name"]
    ]
    # Fast hashes and contracts are one engine's own.
    engine = [project.home.settings.target, duckdb.__version__]
    text = json.dumps([sorted(parts), project.variables, engine], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
