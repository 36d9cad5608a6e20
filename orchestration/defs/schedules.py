"""When the line runs: once a day, and soon after new events were loaded."""

import dagster as dg

from orchestration.defs.landing import KEY
from orchestration.project import House
from orchestration.warehouse.dbt import DbtProject


def definitions(house: House, project: DbtProject) -> dg.Definitions:
    """A job for everything behind the raw events, a daily schedule with landing, and a sensor on new loads."""
    landed = dg.AssetSelection.assets(KEY)
    refresh = dg.define_asset_job("refresh", selection=dg.AssetSelection.all() - landed)
    everything = dg.define_asset_job("land_and_refresh", selection=dg.AssetSelection.all())
    daily = dg.ScheduleDefinition(
        name="daily",
        job=everything,
        cron_schedule="15 0 * * *",
        execution_timezone=project.time_zone,
    )

    @dg.sensor(
        name="new_events",
        job=refresh,
        minimum_interval_seconds=30,
        description="Refreshes when events were loaded; reads the status file, so it works during a refresh.",
    )
    def new_events(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        load_id = str((house.status().get("loads") or {}).get("load_id") or "")
        if not load_id or load_id == context.cursor:
            return dg.SkipReason("No events were loaded since the last run.")
        context.update_cursor(load_id)
        return dg.RunRequest(run_key=f"load-{load_id}")

    return dg.Definitions(jobs=[refresh, everything], schedules=[daily], sensors=[new_events])
