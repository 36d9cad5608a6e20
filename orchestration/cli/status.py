"""Commands that tell what is there: status, explain, doctor."""

from __future__ import annotations

from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from orchestration.cli.app import Call, command_of, main
from orchestration.cli.build import show_failed_models, show_reasons
from orchestration.cli.console import OUT, SOURCE_VERDICTS, VERDICTS
from orchestration.errors import UsageError
from orchestration.pipeline.doctor import doctor
from orchestration.pipeline.status import home_status
from orchestration.serving.explain import examples, explain


@command_of(main)
def status_command(call: Call) -> None:
    """What is loaded, fresh, published, withheld and why; also while a refresh runs."""
    call.answer(home_status(call.home), show_status)


def show_status(status: dict[str, Any]) -> None:
    """What is loaded, published, withheld."""
    loads, counts = status["loads"] or {}, status["counts"] or {}
    OUT.print(f"Home       {status['home']} ({status['environment']})")
    if status["busy"]:
        stage = (status["running"] or {}).get("stage", "")
        OUT.print(f"Running    {stage} {escape(status['busy'])}")
    if loads:
        OUT.print(
            f"Loaded     {loads['accepted']:,} events, {loads['duplicates']:,} duplicate,"
            f" {loads['rejected']:,} rejected;"
            f" newest {loads['newest_event_at']} UTC ({_ago(status['newest_event_hours_ago'])})"
        )
    else:
        OUT.print("Loaded     nothing yet: traithouse load FILE...")
    for one in status["sources"]:
        verdict = SOURCE_VERDICTS.get(one["verdict"], VERDICTS["none"])
        loaded = f"loaded {str(one['loaded_at'])[:19]} UTC, " if one["loaded_at"] else ""
        reason = f". {escape(one['reason'])}" if one["reason"] else ""
        OUT.print(f"Source     {escape(one['source'])}: {loaded}{verdict}{reason}", soft_wrap=True)
    if counts:
        OUT.print(f"Built      {counts.get('users', 0):,} users, {counts.get('sessions', 0):,} sessions")
    last = status["last_refresh"]
    if last:
        OUT.print(
            f"Refreshed  build {last['build_id']} as of {last['as_of']} UTC, ended {str(last['ended_at'])[:19]} UTC"
        )
        show_failed_models(last.get("failed_models") or ())
    if status["last_error"]:
        error = status["last_error"]
        OUT.print(f"[red]Failed[/]     {error['stage']} at {str(error['at'])[:19]} UTC: {escape(error['error'])}")
    if status["served_build"]:
        OUT.print(f"Served     build {status['served_build']}")
        table = Table(
            "trait",
            "members",
            "prevalence",
            "verdict",
            "grade",
            "flips a day",
            "values of build",
            box=None,
            header_style="dim",
        )
        for trait in status["traits"]:
            table.add_row(
                trait["trait"],
                f"{trait['members']:,} of {trait['population']:,}",
                f"{trait['prevalence']:.1%}",
                VERDICTS[trait["verdict"]],
                trait.get("grade") or "-",
                "" if trait.get("flip_rate") is None else f"{trait['flip_rate']:.2%}",
                trait["values_build_id"] or "never published",
            )
        OUT.print(table)
        for trait in status["traits"]:
            if trait.get("grade_reason"):
                OUT.print(f"  [dim]{trait['trait']}: {escape(trait['grade_reason'])}[/]", soft_wrap=True)
    for kind in ("withheld", "not_enough_evidence"):
        show_reasons([one | {"verdict": "failed" if kind == "withheld" else kind} for one in status[kind]])
    if status["withheld"]:
        OUT.print(
            "They keep their last good values. Repair the cause and refresh; or, where the shift is real:"
            ' traithouse publish --trait T --waive "why"'
        )
    if status["data_docs"]:
        OUT.print(f"What the gate expected and found: {status['data_docs']}", soft_wrap=True)
    if status["sync_failures"]:
        OUT.print(f"[red]{status['sync_failures']:,} records could not be delivered[/]; the next sync tries again.")


def _ago(hours: float | None) -> str:
    if hours is None:
        return "no time known"
    return f"{hours:.0f} hours ago" if hours < 48 else f"{hours / 24:,.0f} days ago"


@command_of(main)
@click.argument("entity", required=False)
@click.option("--examples", "count", type=click.IntRange(1), help="So many entities of each trait, instead of ENTITY.")
@click.option("--entity-type", type=click.Choice(["user", "account"]), default="user", show_default=True)
@click.option("--trait", help="This trait alone.")
def explain_command(call: Call, entity: str | None, count: int | None, entity_type: str, trait: str | None) -> None:
    """Why ENTITY has the traits it has."""
    if count:
        drawn = examples(call.home, call.project.catalog, count, trait=trait)
        call.answer({"examples": drawn}, show_examples)
        return
    if entity is None:
        raise UsageError("Explain whom?", "traithouse explain ENTITY, or --examples 10.")
    found = explain(call.home, call.project.catalog, entity, entity_type=entity_type, trait=trait)
    call.answer({"entity_type": entity_type, "entity_id": entity, "traits": found}, show_explanation)


def show_explanation(answer: dict[str, Any]) -> None:
    """Each trait in sentences."""
    OUT.print(f"{answer['entity_type']} {escape(answer['entity_id'])}")
    for trait in answer["traits"]:
        value = {"true": "[green]yes[/]", "false": "no"}.get(trait["value"], escape(trait["value"]))
        score = "" if trait["score"] is None else f", score {trait['score']:g}"
        OUT.print(f"\n{trait['title']} ({trait['trait']}): {value}, since {trait['since']} UTC{score}")
        OUT.print(f"  {escape(trait['now'])}", soft_wrap=True)
        if trait["now"] != trait["reason"]:
            OUT.print(f"  When it changed: {escape(trait['reason'])}", style="dim", soft_wrap=True)


def show_examples(answer: dict[str, Any]) -> None:
    """A few entities of each trait, one sentence each."""
    last = ""
    for one in answer["examples"]:
        if one["trait"] != last:
            OUT.print(f"\n[bold]{one['title']}[/] ({one['trait']})")
        last = one["trait"]
        value = {"true": "[green]yes[/]", "false": "no "}.get(one["value"], escape(one["value"]))
        OUT.print(f"  {value} {escape(one['entity_id'])}: {escape(one['now'])}", soft_wrap=True)


@command_of(main)
def doctor_command(call: Call) -> None:
    """Home, lock, versions, declarations, catalogue coverage."""
    call.answer(doctor(call.project), show_doctor)


def show_doctor(answer: dict[str, Any]) -> None:
    """Facts, then problems."""
    for name in ("home", "warehouse_mb", "disk_free_gb", "lock", "environment", "target"):
        OUT.print(f"{name:13} {escape(str(answer[name]))}")
    OUT.print(f"{'versions':13} {', '.join(f'{name} {version}' for name, version in answer['versions'].items())}")
    OUT.print(f"{'traits':13} {', '.join(answer['traits'])}")
    OUT.print(f"{'syncs':13} {', '.join(answer['syncs'])}")
    for one in answer["catalogue_coverage"]:
        OUT.print(f"{'catalogue':13} {one['source']}: {one['mapped']:.1%} of {one['events']:,} events have a behaviour")
    for problem in answer["problems"]:
        OUT.print(f"[yellow]problem[/]       {escape(problem)}")
    if not answer["problems"]:
        OUT.print("No problems found.")
