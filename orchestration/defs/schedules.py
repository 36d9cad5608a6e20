"""When the line runs: once a day, and soon after new events were loaded."""

import dagster as dg

from orchestration.defs import history, learning
from orchestration.defs.events import asset_key
from orchestration.defs.gates import SOURCE_CHECK_KEYS
from orchestration.defs.reporting import drain
from orchestration.defs.syncs import scheduled_apart
from orchestration.home import utc_now
from orchestration.pipeline.asset_events import RAW_EVENTS
from orchestration.transform.dbt import Project


def definitions(project: Project) -> dg.Definitions:
    """A job for everything behind the raw events, a daily schedule with landing, and a sensor on new loads.

    What has a schedule of its own, and the days of history, which are filled when a person asks, are not in these jobs.
    """
    home = project.home
    landed = dg.AssetSelection.assets(asset_key(RAW_EVENTS))
    daily_assets = (
        dg.AssetSelection.all() - scheduled_apart(project) - history.selection(project) - learning.selection(project)
    )
    refresh = dg.define_asset_job(
        "refresh",
        selection=(daily_assets - landed) | dg.AssetSelection.checks(*SOURCE_CHECK_KEYS),
        description="Transform what was loaded, judge it, publish what passed, and deliver it.",
    )
    everything = dg.define_asset_job(
        "land_and_refresh", selection=daily_assets, description="Load what waits in the inbox, pull, and refresh."
    )
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

    @dg.sensor(
        name="command_line_runs",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Shows here what `traithouse` did on the command line while this was open; starts no run.",
    )
    def command_line_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason(f"{drain(home, context.instance)} events of command-line runs were reported.")

    return dg.Definitions(jobs=[refresh, everything], schedules=[daily], sensors=[new_events, command_line_runs])
