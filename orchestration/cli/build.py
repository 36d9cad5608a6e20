"""Commands that make and publish traits: refresh, publish, rollback, backfill, diff, learn."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from orchestration.cli.app import WITHHELD, Call, command_of, main
from orchestration.cli.console import OUT, VERDICTS
from orchestration.errors import UsageError
from orchestration.pipeline.backfill import HistoryDay, backfill
from orchestration.pipeline.diff import diff
from orchestration.publishing.publish import PublishReport
from orchestration.publishing.rollback import rollback


@command_of(main)
@click.option(
    "--as-of",
    help="Clock of the build: a date (its end) or a time; default: now, or the end of the data.",
)
@click.option("--full-refresh", is_flag=True, help="Rebuild everything from raw.")
def refresh_command(call: Call, as_of: str | None, full_refresh: bool) -> int:
    """Transform, judge and publish what was loaded."""
    from orchestration.pipeline.asset_events import of_refresh
    from orchestration.pipeline.refresh import refresh

    written, published = refresh(call.project, as_of=as_of, full_refresh=full_refresh, notify=call.progress)
    call.record(of_refresh(call.project, written, published))
    call.answer(published.as_dict(), show_refresh)
    return exit_code(published)


@command_of(main)
@click.option("--trait", help="With --accept: which withheld trait.")
@click.option("--accept", "why", help="Why its unusual values are real; recorded with who, when and what was observed.")
def publish_command(call: Call, trait: str | None, why: str | None) -> int:
    """Publish what passed in the current build once more; or let a withheld trait through on a person's word."""
    from orchestration.pipeline.asset_events import of_publish
    from orchestration.pipeline.refresh import accept_trait, publish_build

    if (trait is None) != (why is None):
        raise UsageError("--trait and --accept belong together.", 'traithouse publish --trait T --accept "reason"')
    if trait is None or why is None:
        published = publish_build(call.project, notify=call.progress)
    else:
        published = accept_trait(call.project, trait, why=why, who=_who(), notify=call.progress)
    call.record(of_publish(call.home, published))
    call.answer(published.as_dict(), show_refresh)
    return exit_code(published)


def show_refresh(refresh: dict[str, Any]) -> None:
    """What a refresh published."""
    table = Table("trait", "population", "prevalence", "verdict", "changes", box=None, header_style="dim")
    for trait in refresh["traits"]:
        table.add_row(
            trait["trait"],
            f"{trait['population']:,}",
            f"{trait['prevalence']:.1%}",
            VERDICTS[trait["verdict"]],
            f"{trait['changes']:,} ({trait['entered']:,} in, {trait['left']:,} out)",
        )
    OUT.print(f"Build {refresh['build_id']} as of {refresh['as_of']} UTC")
    OUT.print(table)
    show_failed_models(refresh["failed_models"])
    show_reasons(refresh["traits"])
    if not refresh["published"]:
        OUT.print("Nothing changed; the snapshot stays.")


def show_failed_models(models: Sequence[str]) -> None:
    """Models that dbt could not build."""
    for model in models:
        OUT.print(f"[red]failed[/]     {escape(model)}")


def show_reasons(traits: list[dict[str, Any]]) -> None:
    """Why traits are not published; traits that share a reason share a line."""
    same: dict[tuple[str, str], list[str]] = {}
    for trait in traits:
        if trait.get("reason") and trait["verdict"] != "passed":
            same.setdefault((trait["verdict"], trait["reason"]), []).append(trait["trait"])
    for (verdict, reason), names in same.items():
        OUT.print(f"{', '.join(names)}: {VERDICTS[verdict]}. {escape(reason)}")


@command_of(main)
@click.option("--to", help="Build to go back to; default: the one before the newest.")
@click.option("--reason", "why", required=True, help="Why; recorded.")
def rollback_command(call: Call, to: str | None, why: str) -> None:
    """Publish the values of an earlier build again, by compensating rows in the ledger."""
    from orchestration.pipeline.asset_events import of_rollback
    from orchestration.pipeline.refresh import serve_elsewhere

    done = rollback(call.home, call.project.catalog, to=to, who=_who(), why=why, notify=call.progress)
    serve_elsewhere(call.project, notify=call.progress)
    call.record([of_rollback(call.home, done)])
    call.answer(done.as_dict(), show_rollback)


def show_rollback(answer: dict[str, Any]) -> None:
    """What is published again."""
    OUT.print(
        f"Published again: the values of {answer['to']}; {answer['changes']:,} changes, as build {answer['build_id']}"
    )
    OUT.print(f"Rolled back: {', '.join(answer['undone'])}. The next refresh computes and judges everything anew.")


@command_of(main)
@click.option("--from", "first", required=True, type=click.DateTime(["%Y-%m-%d"]), help="First day.")
@click.option("--to", "last", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Last day, included.")
@click.option("--trait", "traits", multiple=True, help="This trait alone; may be given more than once.")
def backfill_command(call: Call, first: datetime, last: datetime, traits: tuple[str, ...]) -> None:
    """Write the history of days before a trait was published; it is never sent. Cut off, it goes on when run again."""
    done = backfill(
        call.project, first.date(), last.date(), traits=traits, on_day=recorded_day(call), notify=call.progress
    )
    call.answer(done.as_dict(), show_backfill)


def recorded_day(call: Call) -> Callable[[HistoryDay], None]:
    """Keeps each backfilled day for Dagster as soon as it is committed: a backfill may be cut off."""
    from orchestration.pipeline.asset_events import of_history_day

    return lambda day: call.record([of_history_day(day)])


def show_backfill(answer: dict[str, Any]) -> None:
    """Days and changes by trait, and what was left as it was."""
    OUT.print(f"History of {answer['first']} to {answer['last']}; nothing of it is sent")
    if answer["before_events"]:
        OUT.print(f"{answer['before_events']:,} days lie before the first event and were left out.")
    table = Table("trait", "days written", "changes", "left as they were", box=None, header_style="dim")
    for trait in answer["traits"]:
        kept = {
            "already published": trait["already_published"],
            "backfilled before": trait["already_backfilled"] - trait["other_version"],
            "backfilled by another version": trait["other_version"],
        }
        untold = f", {trait['untold']:,} without enough evidence" if trait["untold"] else ""
        table.add_row(
            trait["trait"],
            f"{trait['written']:,}{untold}",
            f"{trait['changes']:,}",
            ", ".join(f"{days:,} {why}" for why, days in kept.items() if days),
        )
    OUT.print(table)


@command_of(main)
@click.option("--trait", required=True, help="Whose definition.")
def diff_command(call: Call, trait: str) -> None:
    """What the definition of a trait, as it stands now, would change; nothing is published."""
    call.answer(diff(call.project, trait, notify=call.progress).as_dict(), show_diff)


def show_diff(answer: dict[str, Any]) -> None:
    """Before and after, who moves and why, and what syncs would send."""
    before = answer["published_version"]
    known = f"version {before} is published" if before else "nothing is published"
    OUT.print(f"{answer['trait']} version {answer['version']} as of {answer['as_of']} UTC; {known}")
    if not answer["told"]:
        OUT.print("[yellow]There is not enough evidence: it would not be published[/], values would stay as they are.")
    if answer["note"]:
        OUT.print(f"[yellow]{escape(answer['note'])}[/]")
    OUT.print(
        f"Members    {answer['members_before']:,} of {answer['population_before']:,}"
        f" ({answer['prevalence_before']:.1%}) -> {answer['members_after']:,} of {answer['population_after']:,}"
        f" ({answer['prevalence_after']:.1%})"
    )
    OUT.print(f"Moves      {answer['entered']:,} enter, {answer['left']:,} leave, {answer['changed']:,} values differ")
    for one in answer["examples"]:
        old, new = ("nothing" if value is None else escape(value) for value in (one["old_value"], one["value"]))
        OUT.print(
            f"  {escape(one['entity_id'])} {one['move']}: {old} -> {new}  [dim]{escape(one['reason'])}[/]",
            soft_wrap=True,
        )
    for sync in answer["syncs"]:
        OUT.print(f"{sync['sync']}: {sync['records_then']:,} records would be sent ({sync['records_now']:,} wait now)")


@command_of(main)
@click.option("--trait", "traits", multiple=True, help="This trait alone; may be given several times.")
@click.option("--as-of", help="What is known; a date (its end) or a time. Default: that of the last build.")
def learn_command(call: Call, traits: tuple[str, ...], as_of: str | None) -> None:
    """Learn the scores of score traits from the past and test them out of time; the next refresh uses them."""
    from orchestration.learning.learn import learn  # brings scikit-learn, which no other command waits for
    from orchestration.pipeline.asset_events import of_learned

    learned = learn(call.project, traits=traits, as_of=as_of, notify=call.progress)
    call.record(map(of_learned, learned))
    call.answer({"scores": [one.as_dict() for one in learned]}, show_learned)


def show_learned(answer: dict[str, Any]) -> None:
    """The points of each score, how well it foretold, and whether it is used."""
    for one in answer["scores"]:
        OUT.print(
            f"[bold]{escape(one['title'])}[/] ({one['trait']}, model {one['model_version']}"
            f"{'' if one['is_new'] else ', as before'}): {escape(one['outcome'])}"
        )
        if one["auc"] is None:
            OUT.print(f"  [yellow]no score[/]: {escape(one['reason'])}")
            continue
        OUT.print(
            f"  fitted to {one['fitted_rows']:,} rows, {one['fitted_positives']:,} with it; tested from"
            f" {one['fitted_until']} on with {one['tested_rows']:,}, {one['tested_positives']:,} with it"
        )
        OUT.print(
            f"  AUC {one['auc']:.3f} ({one['auc_low']:.3f} to {one['auc_high']:.3f}), Brier {one['brier']:.3f},"
            f" calibration error {one['calibration_error']:.3f}, top-decile lift {one['top_decile_lift']:.2f}"
        )
        OUT.print("  [green]in use[/]" if one["usable"] else f"  [yellow]not used[/]: {escape(one['reason'])}")
        OUT.print(_points(one["points"]))


def _points(bins: Sequence[dict[str, Any]]) -> Table:
    """A line a feature: what gives how many points."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    for feature in dict.fromkeys(one["feature"] for one in bins):
        own = [one for one in bins if one["feature"] == feature]
        told = [
            "{} {:+d}".format(
                "unknown"
                if one["is_missing"]
                else "all"
                if one["high"] is None and one["low"] is None
                else f"from {one['low']:g}"
                if one["low"] is not None
                else f"under {one['high']:g}",
                one["points"],
            )
            for one in own
            if one["points"] or not one["is_missing"]
        ]
        table.add_row(feature, escape(" | ".join(told)))
    return table


def exit_code(published: PublishReport) -> int:
    """3 where a trait is withheld, 1 where a model failed, else 0."""
    if published.withheld:
        return WITHHELD
    return 1 if published.failed_models else 0


def _who() -> str:
    return os.environ.get("TRAITHOUSE_USER") or getpass.getuser()
