"""Commands to try the whole line: sandbox, run, dev."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from orchestration.cli.activate import sync_each
from orchestration.cli.app import UNDELIVERED, Call, command_of, main
from orchestration.cli.build import exit_code, recorded_day, show_failed_models, show_reasons
from orchestration.cli.console import OUT, VERDICTS
from orchestration.errors import UsageError
from orchestration.pipeline.backfill import backfill
from orchestration.pipeline.status import home_status
from orchestration.simulator.bundled import SAMPLE
from orchestration.simulator.parameters import DEFAULT_END, Parameters, read_end
from orchestration.transform.clock import days_before, local_date

STABILITY_DAYS = 28


@command_of(main)
@click.option("--accounts", default=Parameters.accounts, show_default=True, help="How many companies.")
@click.option("--days", default=Parameters.days, show_default=True, help="Length of the window.")
@click.option("--seed", default=Parameters.seed, show_default=True, help="Another seed is another world.")
@click.option(
    "--difficulty",
    default=Parameters.difficulty,
    show_default=True,
    help="0 is clean behaviour, 1 is noise and states that look alike.",
)
@click.option("--end", default=str(DEFAULT_END), show_default=True, help="Midnight UTC at which it ends, excluded.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to; default: sandbox in the home folder.")
def sandbox_command(
    call: Call, accounts: int, days: int, seed: int, difficulty: float, end: str, folder: Path | None
) -> None:
    """Make synthetic events of an invented product whose hidden truth is known; the same call, the same bytes."""
    from orchestration.simulator.make import make_simulation

    parameters = Parameters(accounts, days, seed, difficulty, read_end(end))
    if folder is None:
        call.home.prepare()
        folder = call.home.root / "sandbox"
    made = make_simulation(parameters, folder, call.progress)
    call.answer(made.as_dict(), show_sandbox)


def show_sandbox(answer: dict[str, Any]) -> None:
    """What was made of nothing, and what was true in it."""
    OUT.print("[bold]Synthetic[/]: no real person did any of this.", soft_wrap=True)
    OUT.print(
        f"{answer['events']:,} events of {answer['users']:,} users in {answer['accounts']:,} accounts, and of"
        f" {answer['devices']:,} strangers; {answer['late']:,} late, {answer['repeated']:,} repeated"
    )
    table = Table("hidden state", "of", "entities", box=None, header_style="dim")
    for entity_type, states in answer["states"].items():
        for state, entities in states.items():
            table.add_row(state, entity_type, f"{entities:,}")
    OUT.print(table)
    folder = escape(answer["folder"])
    OUT.print(f"\nEvents, truth.csv and README.md are in {folder}", soft_wrap=True)
    OUT.print(f"  traithouse load {folder}/events.ndjson.gz --source {answer['source']}", soft_wrap=True)


@command_of(main)
def run_command(call: Call) -> int:
    """The whole line on the bundled sample and a synthetic one: load, refresh, learn, backfill, sync, one summary."""
    from orchestration.landing.load import load
    from orchestration.pipeline.asset_events import of_learned, of_load, of_refresh
    from orchestration.pipeline.refresh import refresh
    from orchestration.simulator.make import make_simulation
    from orchestration.simulator.write import EVENTS

    call.home.need_models_here("traithouse run (it learns from the past)")
    if call.home.settings.is_production:
        raise UsageError(
            "The sample does not belong into a production home.",
            "traithouse load FILE..., then refresh.",
        )
    home, project, notify = call.home, call.project, call.progress
    made = make_simulation(Parameters(), home.root / "sandbox", notify)
    loads = [
        load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source, notify=notify),
        load(home, [Path(made.folder) / EVENTS], source=made.source, notify=notify),
    ]
    call.record(of_load(home, loaded, "a bundled sample") for loaded in loads)
    written, published = refresh(project, notify=notify)
    call.record(of_refresh(project, written, published))
    if published.published:
        # Scores are learned from the past that is now known, and 28 days of history say how steady a trait is.
        from orchestration.learning.learn import learn

        call.record(map(of_learned, learn(project, notify=notify)))
        last = local_date(days_before(written.build.as_of, 2, project.time_zone), project.time_zone)
        backfill(project, last - timedelta(days=STABILITY_DAYS - 1), last, on_day=recorded_day(call), notify=notify)
        written, published = refresh(project, notify=notify)
        call.record(of_refresh(project, written, published))
    synced = sync_each(call, project.catalog.syncs) if published.snapshot else []
    _tell_dagster(call)
    summary = {
        "load": {name: sum(getattr(one, name) for one in loads) for name in ("accepted", "duplicates", "rejected")},
        "refresh": published.as_dict(),
        "syncs": [one.as_dict() for one in synced],
        "status": home_status(home),
    }
    call.answer(summary, show_summary)
    if any(one.error for one in synced):
        return UNDELIVERED
    return exit_code(published)


def _tell_dagster(call: Call) -> None:
    """So that the Dagster UI has a history from its first minute."""
    from orchestration.defs.outbox import drain_into_dagster

    drain_into_dagster(call.home, notify=call.progress)


def show_summary(answer: dict[str, Any]) -> None:
    """The one summary of the whole line."""
    load, refresh, status = answer["load"], answer["refresh"], answer["status"]
    counts, totals = status["counts"] or {}, status["loads"] or {}
    OUT.print("\n[bold]Traithouse[/]: raw events in, gated traits out\n")
    OUT.print(
        f"Events     {load['accepted']:,} loaded, {load['duplicates']:,} duplicate, {load['rejected']:,} rejected"
        f" (in all {totals.get('accepted', 0):,})"
    )
    OUT.print(f"Users      {counts.get('users', 0):,}")
    OUT.print(f"Sessions   {counts.get('sessions', 0):,}")
    OUT.print(f"Build      {refresh['build_id']} as of {refresh['as_of']} UTC\n")
    lifts = {trait["trait"]: trait for trait in status["traits"]}
    table = Table(
        "trait",
        "population",
        "prevalence",
        "verdict",
        "changes",
        "forward lift",
        "grade",
        box=None,
        header_style="dim",
    )
    for trait in refresh["traits"]:
        table.add_row(
            trait["trait"],
            f"{trait['population']:,}",
            f"{trait['prevalence']:.1%}",
            VERDICTS[trait["verdict"]],
            f"{trait['changes']:,} ({trait['entered']:,} in, {trait['left']:,} out)",
            _lift(lifts.get(trait["trait"], {})),
            lifts.get(trait["trait"], {}).get("grade") or "-",
        )
    OUT.print(table)
    show_failed_models(refresh["failed_models"])
    show_reasons(refresh["traits"])
    for name, trait in lifts.items():
        if trait["lift_as_of"]:
            OUT.print(f"  [dim]lift of {name}: {trait['outcome']}, since {trait['lift_as_of']:%Y-%m-%d}[/]")
    delivered = sum(sync["delivered"] for sync in answer["syncs"])
    OUT.print(f"\nDelivered  {delivered:,} records: " + ", ".join(s["sync"] for s in answer["syncs"]))
    if not refresh["published"] and not load["accepted"]:
        OUT.print("No new events, no changes, nothing published.")
    home = status["home"]
    OUT.print("\nWhere to look next", style="bold")
    OUT.print(
        f"  {home}/serving/current/traithouse.duckdb  [dim]the published tables, schema traits[/]",
        soft_wrap=True,
    )
    OUT.print(f"  {home}/outbox  [dim]what was delivered[/]", soft_wrap=True)
    OUT.print("  .venv/bin/traithouse explain user_0000  [dim]why one user has its traits[/]")
    OUT.print("  make dev  [dim]the Dagster UI[/]")


def _lift(trait: dict[str, Any]) -> str:
    """Ratio and 95% interval; an interval that includes 1 proves nothing."""
    low, lift, high = (trait.get(name) for name in ("lift_low", "lift", "lift_high"))
    if lift is None:
        return "[dim]no past to measure it on[/]"
    interval = f"{lift:.2f} ({'?' if low is None else f'{low:.2f}'} to {'∞' if high is None else f'{high:.2f}'})"
    proven = (low is not None and low > 1) or (high is not None and high < 1)
    return interval if proven else f"{interval} [yellow]unproven on this data[/]"


@command_of(main)
@click.option("--port", default=3000, show_default=True, help="Port on 127.0.0.1.")
def dev_command(call: Call, port: int) -> int:
    """Open the Dagster UI on loopback."""
    from orchestration.defs.dev import run_dagster

    _tell_dagster(call)
    call.progress.stop()
    click.echo(
        f"Dagster on http://127.0.0.1:{port} (home {call.home.root}); stop it with Ctrl-C.",
        err=True,
    )
    return run_dagster(call.home, port)
