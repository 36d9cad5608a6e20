"""Raw events: what lies in the home's inbox is loaded, and what is declared elsewhere is pulled."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import dagster as dg

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.landing.declared import Pull, declared_pulls
from orchestration.landing.load import is_empty, load
from orchestration.landing.loads import LoadReport
from orchestration.landing.pull import PullReport, pull
from orchestration.simulator.bundled import SAMPLE
from orchestration.transform.dbt import Project

KEY = dg.AssetKey(["raw", "events"])
POOL = "warehouse"


@dataclass(frozen=True)
class Landed:
    """What one landing did: from where, rows, and files and tables that were refused with their reasons."""

    source: str
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def land(home: Home, log: dg.DagsterLogManager, pulls: Sequence[Pull] = ()) -> Landed:
    """Loads the inbox and pulls; a home that has nothing at all, outside production, gets the bundled sample.

    A file that was loaded moves to ``inbox/loaded``; one that cannot be read stays, and holds no other.
    """
    files = sorted(path for path in home.inbox.glob("*") if path.is_file() and not path.name.startswith("."))
    if not files and not pulls and not home.settings.is_production and is_empty(home):
        report = load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source, notify=log.info)
        source = "the bundled sample, because the home was empty"
        return Landed(source, report.accepted, report.duplicates, report.rejected)
    reports, refused = [], {}
    for path in files:
        try:
            reports.append(load(home, [path], notify=log.info))
        except UsageError as error:
            refused[path.name] = f"{error.message} {error.hint}"
            continue
        (home.inbox / "loaded").mkdir(exist_ok=True)
        path.rename(home.inbox / "loaded" / path.name)
    pulled = pull(home, pulls, notify=log.info)
    for one in pulled:
        refused |= one.refused | ({one.table: one.error} if one.error else {})
    everything: list[LoadReport | PullReport] = [*reports, *pulled]
    source = f"{len(reports)} of {len(files)} files of {home.inbox}"
    return Landed(
        f"{source}, {len(pulled)} pulled tables" if pulled else source,
        accepted=sum(one.accepted for one in everything),
        duplicates=sum(one.duplicates for one in everything),
        rejected=sum(one.rejected for one in everything),
        refused=refused,
    )


def definitions(home: Home, project: Project | None = None) -> dg.Definitions:
    """The landing asset; the project's sources say what is pulled."""
    declaring = project or Project(home)

    @dg.asset(
        key=KEY,
        group_name="raw",
        kinds={"duckdb"},
        pool=POOL,
        check_specs=[dg.AssetCheckSpec("inbox", asset=KEY, description="All that waits could be loaded.")],
        description=(
            "Raw events, append-only, with load_id rising. Loads CSV, NDJSON and Parquet files whose columns are named "
            "like the event's fields from the home's inbox; `traithouse load` takes others. What "
            "a source declares under `pull` is copied from where it is."
        ),
    )
    def raw_events(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        landed = land(home, context.log, declared_pulls(declaring.manifest_dict))
        totals = home.status().get("loads") or {}
        return dg.MaterializeResult(
            metadata={
                "source": landed.source,
                "accepted": landed.accepted,
                "duplicates": landed.duplicates,
                "rejected": landed.rejected,
                "dagster/row_count": totals.get("accepted") or 0,
                "newest_event_at": str(totals.get("newest_event_at")),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name="inbox",
                    passed=not landed.refused,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"refused": dg.MetadataValue.json(landed.refused)},
                )
            ],
        )

    return dg.Definitions(assets=[raw_events])
