"""Raw events: what lies in the home's inbox is loaded."""

from pathlib import Path

import dagster as dg

from orchestration.landing.load import LoadReport, load
from orchestration.project import House
from orchestration.sample import SAMPLE

KEY = dg.AssetKey(["raw", "events"])
POOL = "warehouse"


def land(house: House, log: dg.DagsterLogManager) -> tuple[LoadReport | None, str]:
    """Loads the inbox; a house that has nothing at all, outside production, gets the bundled sample."""
    files = sorted(path for path in house.inbox.glob("*") if path.is_file() and not path.name.startswith("."))
    if files:
        return load(house, files, notify=log.info), f"{len(files)} files of {house.inbox}"
    if not house.status().get("loads") and not house.settings.is_production:
        report = load(house, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source, notify=log.info)
        return report, "the bundled sample, because the house was empty"
    return None, f"nothing: {house.inbox} is empty"


def definitions(house: House) -> dg.Definitions:
    """The landing asset."""

    @dg.asset(
        key=KEY,
        group_name="raw",
        kinds={"duckdb"},
        pool=POOL,
        description=(
            "Raw events, append-only, with load_id rising. Loads CSV, NDJSON and Parquet files whose columns are named "
            f"like the event's fields from the inbox ({Path('inbox')} in the home); `traithouse load` takes others."
        ),
    )
    def raw_events(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        report, source = land(house, context.log)
        totals = house.status().get("loads") or {}
        return dg.MaterializeResult(
            metadata={
                "source": source,
                "accepted": report.accepted if report else 0,
                "duplicates": report.duplicates if report else 0,
                "rejected": report.rejected if report else 0,
                "dagster/row_count": totals.get("accepted", 0),
                "newest_event_at": str(totals.get("newest_event_at")),
            }
        )

    return dg.Definitions(assets=[raw_events])
