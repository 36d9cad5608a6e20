"""Raw events: what lies in the home's inbox is loaded."""

from dataclasses import dataclass, field

import dagster as dg

from orchestration.errors import UsageError
from orchestration.landing.load import is_empty, load
from orchestration.project import House
from orchestration.sample import SAMPLE

KEY = dg.AssetKey(["raw", "events"])
POOL = "warehouse"


@dataclass(frozen=True)
class Landed:
    """What one landing did: from where, rows, and files that were refused with their reasons."""

    source: str
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def land(house: House, log: dg.DagsterLogManager) -> Landed:
    """Loads the inbox; a house that has nothing at all, outside production, gets the bundled sample.

    A file that was loaded moves to ``inbox/loaded``; one that cannot be read stays, and holds no other.
    """
    files = sorted(path for path in house.inbox.glob("*") if path.is_file() and not path.name.startswith("."))
    if not files and not house.settings.is_production and is_empty(house):
        report = load(house, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source, notify=log.info)
        source = "the bundled sample, because the house was empty"
        return Landed(source, report.accepted, report.duplicates, report.rejected)
    reports, refused = [], {}
    for path in files:
        try:
            reports.append(load(house, [path], notify=log.info))
        except UsageError as error:
            refused[path.name] = f"{error.message} {error.hint}"
            continue
        (house.inbox / "loaded").mkdir(exist_ok=True)
        path.rename(house.inbox / "loaded" / path.name)
    return Landed(
        f"{len(reports)} of {len(files)} files of {house.inbox}",
        accepted=sum(report.accepted for report in reports),
        duplicates=sum(report.duplicates for report in reports),
        rejected=sum(report.rejected for report in reports),
        refused=refused,
    )


def definitions(house: House) -> dg.Definitions:
    """The landing asset."""

    @dg.asset(
        key=KEY,
        group_name="raw",
        kinds={"duckdb"},
        pool=POOL,
        check_specs=[dg.AssetCheckSpec("inbox", asset=KEY, description="Every file of the inbox could be loaded.")],
        description=(
            "Raw events, append-only, with load_id rising. Loads CSV, NDJSON and Parquet files whose columns are named "
            "like the event's fields from the home's inbox; `traithouse load` takes others."
        ),
    )
    def raw_events(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        landed = land(house, context.log)
        totals = house.status().get("loads") or {}
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
