"""When the line runs: once a day, and soon after new events were loaded."""

import dagster as dg

from orchestration.defs.gates import CHECK_KEYS
from orchestration.defs.landing import KEY
from orchestration.defs.syncs import scheduled_apart
from orchestration.home import Home, utc_now
from orchestration.transform.dbt import Project


def definitions(home: Home, project: Project) -> dg.Definitions:
    """A job for everything behind the raw events, a daily schedule with landing, and a sensor on new loads."""
    landed = dg.AssetSelection.assets(KEY)
    apart = scheduled_apart(project)
    behind = (dg.AssetSelection.all() - landed - apart) | dg.AssetSelection.checks(*CHECK_KEYS)
    refresh = dg.define_asset_job("refresh", selection=behind)
    everything = dg.define_asset_job("land_and_refresh", selection=dg.AssetSelection.all() - apart)
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
        status = home.status()
        load_id = (status.get("loads") or {}).get("load_id") or 0
        if load_id <= status.get("built_load_id", 0):
            return dg.SkipReason("No events were loaded since the last build.")
        # One run a load; one that failed is asked for again in the next hour.
        return dg.RunRequest(run_key=f"load-{load_id}-{utc_now():%Y%m%dT%H}")

    return dg.Definitions(jobs=[refresh, everything], schedules=[daily], sensors=[new_events])
