"""One build: what it reads, at which clock, and when it counts as done.

The watermark is saved last: a build that was cut off is repeated from the same watermark, and every model is written so
that a repetition gives the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime

import duckdb

from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Notify, silent, utc_now
from orchestration.landing.contract import RAW_TABLES
from orchestration.transform.clock import resolve_as_of
from orchestration.transform.dbt import Project
from orchestration.transform.fingerprint import project_fingerprint
from orchestration.transform.node_results import is_trait, save_results, whole_stages
from orchestration.transform.runner import NodeResult, OnNode, ignore_node
from orchestration.transform.state_tables import STATE_TABLES
from orchestration.transform.watermark import Watermark, delete_watermark, raw_kept_from, read_watermark, save_watermark

# What DuckDB says, also where it wraps one error in another.
_OUT_OF_MEMORY = re.compile("out of memory|failed to pin|(could not|failed to) allocate", re.IGNORECASE)


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
        fingerprint: of all that decides rows up to the features; another one than the watermark's forces a rebuild.
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


_COLUMNS = tuple(field.name for field in fields(Build))


def begin_build(
    project: Project,
    *,
    as_of: str | None,
    full_refresh: bool,
    partial: bool = False,
    now: datetime | None = None,
) -> Build:
    """Decides what a build reads, and makes it the current one; call it under the lock.

    Args:
        project: what will be run.
        as_of: as given on the command line (``resolve_as_of``).
        full_refresh: rebuild everything, also what could be kept.
        partial: only some models will run; they keep the clock of the last whole build, so that none is ahead of the
            others.
        now: wall clock, naive UTC.

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
        watermark = read_watermark(connection)
        resolved = resolve_as_of(
            str(watermark.as_of) if partial and watermark.as_of else as_of,
            now=now,
            newest_event=newest,
            last_published=last_published_as_of(connection),
            time_zone=project.time_zone,
        )
        last = current_build(connection)
        # A build that was cut off may have left tables at its clock.
        last_as_of = last.as_of if last else watermark.as_of
        is_earlier = last_as_of is not None and resolved < last_as_of
        start_over = full_refresh or watermark.fingerprint != fingerprint or is_earlier
        kept_from = raw_kept_from(connection)
        if start_over and not full_refresh and kept_from:
            raise TraithouseError(
                f"Everything has to be rebuilt, and raw rows from before {kept_from} UTC were deleted for their age.",
                "traithouse refresh --full-refresh does it without them: what looks back further is cut short.",
            )
        number = last.build_number + 1 if last else 1
        build = Build(
            build_number=number,
            build_id=f"{number:06d}-{resolved:%Y%m%dT%H%M%SZ}",
            as_of=resolved,
            previous_as_of=watermark.as_of,
            loaded_after=watermark.load_id,
            loaded_until=newest_load,
            full_refresh=start_over,
            fingerprint=fingerprint,
            started_at=now,
        )
        connection.execute("begin")
        if start_over:
            delete_watermark(connection)
        connection.execute("delete from state.current_build")
        values = ", ".join(f"${column}" for column in _COLUMNS)
        connection.execute(f"insert into state.current_build ({', '.join(_COLUMNS)}) values ({values})", asdict(build))
        connection.execute("commit")
    return build


def current_build(connection: duckdb.DuckDBPyConnection) -> Build | None:
    """The build that was begun last."""
    connection.execute(STATE_TABLES)
    row = connection.execute(f"select {', '.join(_COLUMNS)} from state.current_build").fetchone()
    return Build(**dict(zip(_COLUMNS, row, strict=True))) if row else None


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
    """Runs seeds and models of a build, and saves its watermark when all up to the features went well.

    Args:
        project: what to run; hold the lock of its home.
        build: from ``begin_build``.
        select: a part of the project; a part never moves the watermark.
        fetch: copies what the models made into the home, where another engine ran them.
        on_node: called with each node that went well, as soon as it has ended.
        notify: progress.

    """
    results = _run_within_memory(project, build, whole_stages(project, select), on_node, notify)
    if fetch:
        fetch()
    with project.home.connect() as connection:
        connection.execute("begin")
        save_results(connection, project, build.build_id, results)
        if not select and all(result.ok for result in results if not is_trait(project, result.unique_id)):
            save_watermark(
                connection,
                Watermark(load_id=build.loaded_until, as_of=build.as_of, fingerprint=build.fingerprint),
            )
            if build.full_refresh:
                connection.execute("update state.retention set is_rebuilt = true")
        connection.execute("commit")
    return results


def _run_within_memory(
    project: Project, build: Build, select: Sequence[str], on_node: OnNode, notify: Notify
) -> list[NodeResult]:
    """Runs an increment with little memory, for more would only cache what was read; with all where that fails."""
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
        starved = [
            result.name for result in results if result.status == "error" and _OUT_OF_MEMORY.search(result.message)
        ]
        if not starved:
            break
        notify(f"{limit} of memory was too little for {', '.join(starved)}")
    return results
