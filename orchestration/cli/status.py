"""Commands that tell what is there: status, explain, doctor."""

from __future__ import annotations

from typing import Any

import click
from rich.markup import escape

from orchestration.cli.app import Call, command_of, main
from orchestration.cli.build import show_failed_models, show_reasons, show_waiving
from orchestration.cli.console import (
    OUT,
    SOURCE_VERDICTS,
    VERDICTS,
    count_of,
    new_table,
    show_fact,
    show_path,
    show_text,
)
from orchestration.errors import UsageError
from orchestration.pipeline.doctor import doctor
from orchestration.pipeline.status import home_status
from orchestration.serving.explain import examples, explain


@command_of(main)
def status_command(call: Call) -> None:
    """Show what is loaded, fresh, published and withheld. It answers while a refresh runs, too."""
    call.answer(home_status(call.home), show_status)


def show_status(status: dict[str, Any]) -> None:
    """What is loaded, built, published and withheld, and what to do next."""
    show_path("Home", status["home"], f"({status['environment']})")
    for words in status["broken"]:
        show_fact("[red]Broken[/]", escape(words))
    if status["busy"]:
        stage = (status["running"] or {}).get("stage")
        show_fact("Running", (f"{stage}: " if stage else "") + escape(status["busy"]))
    _show_loaded(status)
    if status["counts"]:
        users, sessions = (status["counts"].get(name, 0) for name in ("users", "sessions"))
        show_fact("Built", f"{count_of(users, 'user')}, {count_of(sessions, 'session')}")
    if last := status["last_refresh"]:
        ended = str(last["ended_at"])[:19]
        show_fact("Refreshed", f"build {last['build_id']} as of {last['as_of']} UTC, ended {ended} UTC")
        show_failed_models(last.get("failed_models") or ())
    if error := status["last_error"]:
        at = str(error["at"])[:19]
        show_fact("[red]Failed[/]", f"{error['stage']} at {at} UTC: {escape(error['error'])}")
    if status["served_build"]:
        show_fact("Served", f"build {status['served_build']}")
        _show_traits(status["traits"])
    elif status["loads"]:
        show_fact("Served", "nothing yet: traithouse refresh")
    show_reasons([trait | {"verdict": "failed"} for trait in status["withheld"]])
    show_reasons([trait | {"verdict": "not_enough_evidence"} for trait in status["not_enough_evidence"]])
    if status["withheld"]:
        show_waiving()
    if status["data_docs"]:
        show_path("Data Docs", status["data_docs"], "what the gates expected and found")
    if status["sync_failures"]:
        failed = count_of(status["sync_failures"], "record")
        OUT.print(f"[red]{failed} could not be delivered[/]: traithouse sync tries again.")


def _show_loaded(status: dict[str, Any]) -> None:
    """Events in all, and each source with the last verdict on it."""
    if loads := status["loads"]:
        show_fact(
            "Loaded",
            f"{count_of(loads['accepted'], 'event')}, {loads['duplicates']:,} duplicate, {loads['rejected']:,} rejected"
            f"; newest {loads['newest_event_at']} UTC ({_ago(status['newest_event_hours_ago'])})",
        )
    else:
        show_fact("Loaded", "nothing yet: traithouse load FILE...")
    for words in status["unread"]:
        show_fact("[yellow]Unread[/]", escape(words))
    _show_rows(status["rows"])
    for source in status["sources"]:
        verdict = SOURCE_VERDICTS.get(source["verdict"], VERDICTS["none"])
        loaded = f"loaded {str(source['loaded_at'])[:19]} UTC, " if source["loaded_at"] else ""
        reason = f". {escape(source['reason'])}" if source["reason"] else ""
        show_fact("Source", f"{escape(source['source'])}: {loaded}{verdict}{reason}")


def _show_traits(traits: list[dict[str, Any]]) -> None:
    table = new_table("trait", "members", "prevalence", "verdict", "grade", "flips a day", "values of build")
    for trait in traits:
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
    for trait in traits:
        if trait.get("grade_reason"):
            show_text(f"[dim]{trait['trait']}: {escape(trait['grade_reason'])}[/]", indent=2)


def _ago(hours: float | None) -> str:
    if hours is None:
        return "time unknown"
    return f"{count_of(round(hours), 'hour')} ago" if hours < 48 else f"{hours / 24:,.0f} days ago"


@command_of(main)
@click.argument("entity", required=False)
@click.option("--examples", "count", type=click.IntRange(1), help="Show so many entities of each trait.")
@click.option("--entity-type", type=click.Choice(["user", "account"]), default="user", show_default=True)
@click.option("--trait", help="Only this trait.")
def explain_command(call: Call, entity: str | None, count: int | None, entity_type: str, trait: str | None) -> None:
    """Explain why ENTITY has its traits."""
    if count:
        drawn = examples(call.home, call.project.catalog, count, trait=trait)
        call.answer({"examples": drawn}, show_examples)
        return
    if entity is None:
        raise UsageError("No entity is given.", "traithouse explain ENTITY, or traithouse explain --examples 10.")
    found = explain(call.home, call.project.catalog, entity, entity_type=entity_type, trait=trait)
    call.answer({"entity_type": entity_type, "entity_id": entity, "traits": found}, show_explanation)


def show_explanation(answer: dict[str, Any]) -> None:
    """Each trait in sentences."""
    visitor = any(trait["is_anonymous"] for trait in answer["traits"])
    what = "Anonymous visitor" if visitor else answer["entity_type"].title()
    OUT.print(f"{what} {escape(answer['entity_id'])}")
    for trait in answer["traits"]:
        score = "" if trait["score"] is None else f", score {trait['score']:g}"
        OUT.print(f"\n{trait['title']} ({trait['trait']}): {_value(trait)}, since {trait['since']} UTC{score}")
        show_text(escape(trait["now"]), indent=2, hanging=0)
        if trait["now"] != trait["reason"]:
            show_text(f"When it changed: {escape(trait['reason'])}", indent=2, style="dim")


def show_examples(answer: dict[str, Any]) -> None:
    """A few entities of each trait, one sentence each."""
    last = ""
    for example in answer["examples"]:
        if example["trait"] != last:
            OUT.print(f"\n[bold]{example['title']}[/] ({example['trait']})")
        last = example["trait"]
        show_text(f"{_value(example)}  {escape(example['entity_id'])}: {escape(example['now'])}", indent=2)


def _value(trait: dict[str, Any]) -> str:
    return {"true": "[green]yes[/]", "false": "no"}.get(trait["value"], escape(trait["value"]))


def _show_rows(tables: list[dict[str, Any]]) -> None:
    """Where all rows have gone, a line a source and table."""
    for table in tables:
        parts = " + ".join(
            f"{table[name]:,} {name}" for name in ("used", "duplicate", "quarantined", "returned", "unread")
        )
        where = f"{table['source']} in {table['table']}"
        show_fact("Rows", f"{where}: {table['loaded']:,} loaded = {parts}; {table['rejected']:,} rejected")


@command_of(main)
def doctor_command(call: Call) -> int:
    """Check home, lock, versions, declarations, rows and event catalogue. Exit code 1 means that it found problems."""
    found = doctor(call.project)
    call.answer(found, show_doctor)
    return 1 if found["problems"] else 0


def show_doctor(answer: dict[str, Any]) -> None:
    """Facts, then problems."""
    show_path("Home", answer["home"], f"({answer['environment']}, engine {answer['target']})")
    show_fact("Space", f"warehouse {answer['warehouse_mb']:,} MB, disk {answer['disk_free_gb']:,} GB free")
    show_fact("Lock", escape(answer["lock"]))
    show_fact("Versions", ", ".join(f"{name} {version}" for name, version in answer["versions"].items()))
    show_fact("Traits", ", ".join(answer["traits"]))
    show_fact("Syncs", ", ".join(answer["syncs"]))
    _show_rows(answer["rows"])
    for source in answer["catalogue_coverage"]:
        events = count_of(source["events"], "event")
        show_fact("Catalogue", f"{source['source']}: {source['mapped']:.1%} of {events} have a behaviour")
    if answer["lock"] != "free":
        show_fact("Catalogue", "not checked, for the warehouse is busy")
    for problem in answer["problems"]:
        show_fact("[yellow]Problem[/]", escape(problem))
    if not answer["problems"]:
        OUT.print("No problems found.")
