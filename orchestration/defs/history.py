"""History of each trait: one asset a trait, one partition a day, backfilled or published.

An asset of its own, for daily partitions on the published traits would break the step that they share with the
unpartitioned snapshot (dagster#23824). A publish at midnight reports the day that it ends here as well, so that the
days of a trait are one row.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from orchestration.declarations.traits import Trait
from orchestration.defs.events import POOL, asset_key, metadata_of
from orchestration.home import Home, utc_now
from orchestration.pipeline.asset_events import history_key
from orchestration.pipeline.asset_reports import of_history_day
from orchestration.pipeline.backfill import HistoryDay, backfill
from orchestration.transform.clock import local_date
from orchestration.transform.dbt import Project

# A home that was refreshed so lately is alive: its partitions go on with the calendar.
ALIVE = timedelta(days=2)


def definitions(project: Project) -> dg.Definitions:
    """The assets; each run fills all the days that were asked for."""
    days = partitions(project.home, project.time_zone)
    return dg.Definitions(assets=[_asset(project, trait, days) for trait in project.catalog.traits])


def selection(project: Project) -> dg.AssetSelection:
    """All of history, which no refresh waits for."""
    return dg.AssetSelection.assets(*(asset_key(history_key(trait.name)) for trait in project.catalog.traits))


def partitions(home: Home, time_zone: str) -> dg.DailyPartitionsDefinition:
    """Days from the first event to the last refresh, both as the last refresh wrote them down; read from one file.

    A home that was never built has no days yet. The partitions of one that is refreshed daily go on with the calendar.
    """
    status = home.status()
    today = datetime.now(ZoneInfo(time_zone)).date()
    first = date.fromisoformat(status["first_event_day"]) if status.get("first_event_day") else today
    as_of = (status.get("last_refresh") or {}).get("as_of")
    days_behind = 0
    if as_of and utc_now() - datetime.fromisoformat(as_of) > ALIVE:
        end = max(local_date(datetime.fromisoformat(as_of), time_zone), first + timedelta(days=1))
        days_behind = (today - end).days
    # Counted back from today: with an end_date, Dagster 1.13 asks for the plot of the last days before today.
    return dg.DailyPartitionsDefinition(start_date=first.isoformat(), timezone=time_zone, end_offset=-days_behind)


def _asset(project: Project, trait: Trait, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    key = asset_key(history_key(trait.name))
    features = dg.AssetKey(["features", f"{trait.entity}_features"])

    @dg.multi_asset(
        name=f"history_{trait.name}",
        specs=[
            dg.AssetSpec(
                key,
                group_name="history",
                deps=[features],
                kinds={"duckdb"},
                owners=[f"team:{trait.owner}"],
                description=(
                    f"{trait.title}, day by day. Materializing it backfills days before the trait was first "
                    f"published, as today's definition decides them: rows of traits.trait_changes with cause "
                    f"`backfill`, which are never sent. A day that was backfilled or published stays as it is."
                ),
            )
        ],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def history(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        first, last = context.partition_key_range.start, context.partition_key_range.end

        def on_day(day: HistoryDay) -> None:
            event = of_history_day(day)
            context.add_asset_metadata(metadata_of(event), asset_key=key, partition_key=event.partition)

        report = backfill(
            project,
            date.fromisoformat(first),
            date.fromisoformat(last),
            traits=[trait.name],
            on_day=on_day,
            notify=context.log.info,
        )
        [done] = report.traits
        context.log.info(
            f"{done.written} days written; {done.already_backfilled} were backfilled before, "
            f"{done.already_published} are published, {report.before_events} lie before the first event."
        )
        yield dg.MaterializeResult(asset_key=key)

    return history
