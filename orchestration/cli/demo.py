"""Commands to try everything: simulate, run, dev."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from orchestration.cli.activate import sync_each
from orchestration.cli.app import UNDELIVERED, Call, command_of, main
from orchestration.cli.build import exit_code, recorded_day, show_failed_models, show_reasons
from orchestration.cli.console import OUT, VERDICTS, count_of, new_table, show_fact, show_path, show_text
from orchestration.errors import UsageError
from orchestration.pipeline.backfill import backfill
from orchestration.pipeline.status import home_status
from orchestration.simulator.bundled import SAMPLE
from orchestration.simulator.parameters import DEFAULT_END, Parameters, read_end
from orchestration.transform.clock import days_before, local_date

STABILITY_DAYS = 28
SIMULATION = "simulation"


@command_of(main)
@click.option("--accounts", default=Parameters.accounts, show_default=True, help="How many companies.")
@click.option("--days", default=Parameters.days, show_default=True, help="Length of the window.")
@click.option("--seed", default=Parameters.seed, show_default=True, help="Another seed gives another world.")
@click.option(
    "--difficulty",
    default=Parameters.difficulty,
    show_default=True,
    help="From 0 (clean behaviour) to 1 (noise, and states that look alike).",
)
@click.option("--end", default=str(DEFAULT_END), show_default=True, help="Day on which it ends, excluded (UTC).")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to put the files. Default: simulation in the home."
)
def simulate_command(
    call: Call, accounts: int, days: int, seed: int, difficulty: float, end: str, folder: Path | None
) -> None:
    """Make synthetic events whose hidden truth is known. Equal options give equal bytes."""
    from orchestration.simulator.make import make_simulation

    parameters = Parameters(accounts, days, seed, difficulty, read_end(end))
    if folder is None:
        call.home.prepare()
        folder = call.home.root / SIMULATION
    made = make_simulation(parameters, folder, call.progress)
    call.answer(made.as_dict(), show_simulation)


def show_simulation(answer: dict[str, Any]) -> None:
    """What was made, what was true in it, and how to load it."""
    OUT.print("[bold]Synthetic[/]: no real person did any of this.")
    OUT.print(
        f"{answer['events']:,} events of {answer['users']:,} users in {answer['accounts']:,} accounts and of"
        f" {answer['devices']:,} anonymous visitors; {answer['late']:,} late, {answer['repeated']:,} repeated."
    )
    table = new_table("hidden state", "of", "entities")
    for entity_type, states in answer["states"].items():
        for state, entities in states.items():
            table.add_row(state, entity_type, f"{entities:,}")
    OUT.print(table)
    folder = escape(answer["folder"])
    OUT.print(f"\nThe events, truth.csv and README.md are in {folder}", soft_wrap=True)
    OUT.print(f"Next: traithouse load {folder}/events.ndjson.gz --source {answer['source']}", soft_wrap=True)


@command_of(main)
def run_command(call: Call) -> int:
    """Try everything on sample data. Loads, refreshes, learns, backfills, syncs, and prints a summary."""
    from orchestration.landing.load import load
    from orchestration.pipeline.asset_reports import of_learned, of_load, of_refresh
    from orchestration.pipeline.refresh import refresh
    from orchestration.simulator.make import make_simulation
    from orchestration.simulator.write import EVENTS

    call.home.need_models_here("traithouse run (it learns from the past)")
    if call.home.settings.is_production:
        raise UsageError(
            "traithouse run loads sample data, and this is a production home.",
            "Load your own data: traithouse load FILE..., then traithouse refresh.",
        )
    home, project, notify = call.home, call.project, call.progress
    made = make_simulation(Parameters(), home.root / SIMULATION, notify)
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
    counted = ("accepted", "duplicates", "rejected")
    summary = {
        "load": {name: sum(getattr(loaded, name) for loaded in loads) for name in counted},
        "refresh": published.as_dict(),
        "syncs": [report.as_dict() for report in synced],
        "status": home_status(home),
    }
    call.answer(summary, show_summary)
    if any(report.error for report in synced):
        return UNDELIVERED
    return exit_code(published)


def _tell_dagster(call: Call) -> None:
    """So that the Dagster UI has a history from its first minute."""
    from orchestration.defs.reporting import drain_into_dagster

    drain_into_dagster(call.home, notify=call.progress)


def show_summary(answer: dict[str, Any]) -> None:
    """What was loaded, built, published and delivered, and where to look."""
    load, refresh, status = answer["load"], answer["refresh"], answer["status"]
    counts, totals = status["counts"] or {}, status["loads"] or {}
    OUT.print("\n[bold]Traithouse[/]: raw events in, gated and explained traits out\n")
    show_fact(
        "Events",
        f"{load['accepted']:,} loaded, {load['duplicates']:,} duplicate, {load['rejected']:,} rejected"
        f" ({totals.get('accepted', 0):,} in all)",
    )
    show_fact("Users", f"{counts.get('users', 0):,}")
    show_fact("Sessions", f"{counts.get('sessions', 0):,}")
    show_fact("Build", f"{refresh['build_id']} as of {refresh['as_of']} UTC")
    OUT.print()
    published = {trait["trait"]: trait for trait in status["traits"]}
    table = new_table("trait", "population", "prevalence", "verdict", "changes", "forward lift", "grade")
    for trait in refresh["traits"]:
        known = published.get(trait["trait"], {})
        table.add_row(
            trait["trait"],
            f"{trait['population']:,}",
            f"{trait['prevalence']:.1%}",
            VERDICTS[trait["verdict"]],
            f"{trait['changes']:,}",
            _lift(known),
            known.get("grade") or "-",
        )
    OUT.print(table)
    show_failed_models(refresh["failed_models"])
    show_reasons(refresh["traits"])
    measured = [trait for trait in status["traits"] if trait["lift_as_of"]]
    if measured:
        OUT.print("\n[dim]Forward lift: how often members then had the outcome, as a multiple of the others.[/]")
        OUT.print("[dim]Where its 95% interval includes 1, it is unproven on this data.[/]")
    for trait in measured:
        show_text(
            f"[dim]{trait['trait']}: {escape(trait['outcome'])}, since {trait['lift_as_of']:%Y-%m-%d}[/]", indent=2
        )
    OUT.print()
    delivered = sum(sync["delivered"] for sync in answer["syncs"])
    show_fact("Delivered", f"{count_of(delivered, 'record')}: " + ", ".join(sync["sync"] for sync in answer["syncs"]))
    if not refresh["published"] and not load["accepted"]:
        OUT.print("No new events, no changes, nothing published.")
    _show_where(Path(status["home"]))


def _show_where(home: Path) -> None:
    """Where to look next."""
    OUT.print("\nWhere to look next", style="bold")
    show_path("Snapshot", home / "serving" / "current" / "traithouse.duckdb", "published tables, schema traits")
    show_path("Outbox", home / "outbox", "what the syncs delivered")
    show_path("Explain", ".venv/bin/traithouse explain user_0000", "why a user has its traits")
    show_path("Dagster", "make dev", "runs, checks and lineage on http://127.0.0.1:3000")
    show_path("Docs", "docs/", "operate.md, sources.md, traits.md, syncs.md, api.md, engines.md, benchmarks.md")


def _lift(trait: dict[str, Any]) -> str:
    """Ratio and 95% interval; an interval that includes 1 proves nothing."""
    low, lift, high = (trait.get(name) for name in ("lift_low", "lift", "lift_high"))
    if lift is None:
        return "[dim]no past to measure it on[/]"
    interval = f"{lift:.2f} ({'?' if low is None else f'{low:.2f}'} to {'∞' if high is None else f'{high:.2f}'})"
    proven = (low is not None and low > 1) or (high is not None and high < 1)
    return interval if proven else f"{interval} [yellow]unproven[/]"


@command_of(main)
@click.option("--port", default=3000, show_default=True, help="Port on 127.0.0.1.")
def dev_command(call: Call, port: int) -> int:
    """Start the Dagster UI on 127.0.0.1."""
    # A shell starts its background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from orchestration.defs.dev import run_dagster

    _tell_dagster(call)
    call.progress.stop()
    click.echo(
        f"Dagster on http://127.0.0.1:{port} (home {call.home.root}); stop it with Ctrl-C.",
        err=True,
    )
    return run_dagster(call.home, port)
