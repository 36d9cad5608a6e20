"""Commands that build and publish traits: refresh, publish, rollback, backfill, diff, learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from orchestration.cli.app import WITHHELD, Call, command_of, main
from orchestration.cli.console import OUT, VERDICTS, count_of, new_table, show_fact, show_text
from orchestration.errors import UsageError
from orchestration.pipeline.backfill import HistoryDay, backfill
from orchestration.pipeline.diff import diff
from orchestration.published.audit_log import user_name
from orchestration.publishing.publish import PublishReport
from orchestration.publishing.rollback import rollback


@command_of(main)
@click.option(
    "--as-of",
    help="Clock of the build: a date (its end) or a time. Default: now, or the end of the data.",
)
@click.option("--full-refresh", is_flag=True, help="Rebuild everything from raw.")
def refresh_command(call: Call, as_of: str | None, full_refresh: bool) -> int:
    """Build and audit traits from what was loaded, and publish them. What fails is withheld."""
    from orchestration.pipeline.asset_reports import of_refresh
    from orchestration.pipeline.refresh import refresh

    written, published = refresh(call.project, as_of=as_of, full_refresh=full_refresh, notify=call.progress)
    call.record(of_refresh(call.project, written, published))
    call.answer(published.as_dict(), show_refresh)
    return exit_code(published)


@command_of(main)
@click.option("--trait", help="The withheld trait that --waive lets through.")
@click.option("--waive", "why", help="Why its unusual values are real. Recorded with who, when and what was observed.")
def publish_command(call: Call, trait: str | None, why: str | None) -> int:
    """Publish what passed in the current build again. With --waive also a withheld trait."""
    from orchestration.pipeline.asset_reports import of_publish
    from orchestration.pipeline.refresh import publish_build
    from orchestration.pipeline.waive import waive_trait

    if (trait is None) != (why is None):
        raise UsageError(
            "--trait and --waive belong together.", 'traithouse publish --trait T --waive "why it is real"'
        )
    if trait is None or why is None:
        published = publish_build(call.project, notify=call.progress)
    else:
        published = waive_trait(call.project, trait, why=why, who=user_name(), notify=call.progress)
    call.record(of_publish(call.project, published))
    call.answer(published.as_dict(), show_refresh)
    return exit_code(published)


def show_refresh(refresh: dict[str, Any]) -> None:
    """What a refresh published."""
    table = new_table("trait", "population", "prevalence", "verdict", "changes")
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
    if any(trait["verdict"] == "failed" for trait in refresh["traits"]):
        show_waiving()
    if not refresh["published"]:
        OUT.print("Nothing changed; the snapshot stays as it is.")


def show_failed_models(models: Sequence[str]) -> None:
    """Models that dbt could not build."""
    for model in models:
        show_fact("[red]Failed[/]", escape(model))


def show_reasons(traits: list[dict[str, Any]]) -> None:
    """Why traits are not published; traits that share a reason share a paragraph."""
    sharing: dict[tuple[str, str], list[str]] = {}
    for trait in traits:
        if trait.get("reason") and trait["verdict"] != "passed":
            sharing.setdefault((trait["verdict"], trait["reason"]), []).append(trait["trait"])
    for (verdict, reason), names in sharing.items():
        show_text(f"{', '.join(names)}: {VERDICTS[verdict]}. {escape(reason)}")


def show_waiving() -> None:
    """What to do about withheld traits."""
    OUT.print("Withheld traits keep their last good values. Repair the cause, then run traithouse refresh.")
    OUT.print('If the change is real: traithouse publish --trait TRAIT --waive "why it is real"')


@command_of(main)
@click.option("--to", help="Build to go back to. Default: the one before the newest.")
@click.option("--reason", "why", required=True, help="Why. Recorded.")
def rollback_command(call: Call, to: str | None, why: str) -> None:
    """Publish the values of an earlier build again. The ledger keeps all its rows and gets compensating ones."""
    from orchestration.pipeline.asset_reports import of_rollback
    from orchestration.pipeline.refresh import serve_elsewhere

    done = rollback(call.home, call.project.catalog, to=to, who=user_name(), why=why, notify=call.progress)
    serve_elsewhere(call.project, notify=call.progress)
    call.record([of_rollback(call.home, done)])
    call.answer(done.as_dict(), show_rollback)


def show_rollback(answer: dict[str, Any]) -> None:
    """What is published again, and what comes next."""
    OUT.print(
        f"The values of build {answer['to']} are published again, as build {answer['build_id']}:"
        f" {count_of(answer['changes'], 'change')}."
    )
    OUT.print(f"Rolled back: {', '.join(answer['undone'])}. The next refresh builds and audits everything again.")


@command_of(main)
@click.option("--from", "first", required=True, type=click.DateTime(["%Y-%m-%d"]), help="First day.")
@click.option("--to", "last", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Last day, included.")
@click.option("--trait", "traits", multiple=True, help="Only this trait; may be repeated.")
def backfill_command(call: Call, first: datetime, last: datetime, traits: tuple[str, ...]) -> None:
    """Write the history of days before a trait was published. It is never sent. Run again, it resumes."""
    done = backfill(
        call.project, first.date(), last.date(), traits=traits, on_day=recorded_day(call), notify=call.progress
    )
    call.answer(done.as_dict(), show_backfill)


def recorded_day(call: Call) -> Callable[[HistoryDay], None]:
    """Keeps each backfilled day for Dagster as soon as it is committed, for a backfill may be interrupted."""
    from orchestration.pipeline.asset_reports import of_history_day

    return lambda day: call.record([of_history_day(day)])


def show_backfill(answer: dict[str, Any]) -> None:
    """Days and changes by trait, and what was left as it was."""
    OUT.print(f"History of {answer['first']} to {answer['last']}. It is never sent.")
    if answer["before_events"]:
        OUT.print(f"{count_of(answer['before_events'], 'day')} before the first event left out.")
    table = new_table("trait", "days written", "changes", "days left as they were")
    for trait in answer["traits"]:
        kept = {
            "already published": trait["already_published"],
            "backfilled before": trait["already_backfilled"] - trait["other_version"],
            "backfilled by another version": trait["other_version"],
        }
        lacking = trait["insufficient_evidence"]
        table.add_row(
            trait["trait"],
            f"{trait['written']:,}" + (f", {lacking:,} without enough evidence" if lacking else ""),
            f"{trait['changes']:,}",
            ", ".join(f"{days:,} {why}" for why, days in kept.items() if days),
        )
    OUT.print(table)


@command_of(main)
@click.option("--trait", required=True, help="The trait to compare.")
def diff_command(call: Call, trait: str) -> None:
    """Show what the current definition of a trait would change. Nothing is published."""
    call.answer(diff(call.project, trait, notify=call.progress).as_dict(), show_diff)


def show_diff(answer: dict[str, Any]) -> None:
    """Before and after, which entities move and why, and what syncs would send."""
    before = answer["published_version"]
    known = f"version {before} is published" if before else "nothing is published yet"
    OUT.print(f"{answer['trait']} version {answer['version']} as of {answer['as_of']} UTC; {known}.")
    if not answer["publishable"]:
        OUT.print("[yellow]There is not enough evidence to publish it[/]; published values would stay as they are.")
    if answer["note"]:
        OUT.print(f"[yellow]{escape(answer['note'])}[/]")
    show_fact(
        "Members",
        f"{answer['members_before']:,} of {answer['population_before']:,} ({answer['prevalence_before']:.1%})"
        f" -> {answer['members_after']:,} of {answer['population_after']:,} ({answer['prevalence_after']:.1%})",
    )
    show_fact("Moves", f"{answer['entered']:,} enter, {answer['left']:,} leave, {answer['changed']:,} values differ")
    for moved in answer["examples"]:
        old, new = ("nothing" if value is None else escape(value) for value in (moved["old_value"], moved["value"]))
        OUT.print(
            f"  {escape(moved['entity_id'])} {moved['move']}: {old} -> {new}  [dim]{escape(moved['reason'])}[/]",
            soft_wrap=True,
        )
    for sync in answer["syncs"]:
        OUT.print(
            f"{sync['sync']}: {count_of(sync['records_then'], 'record')} would be sent;"
            f" {sync['records_now']:,} wait to be sent now"
        )


@command_of(main)
@click.option("--trait", "traits", multiple=True, help="Only this trait; may be repeated.")
@click.option("--as-of", help="Learn from what was known then: a date (its end) or a time. Default: the last build.")
def learn_command(call: Call, traits: tuple[str, ...], as_of: str | None) -> None:
    """Learn score traits from the past and test them out of time. The next refresh uses them."""
    from orchestration.learning.learn import learn  # brings scikit-learn, which no other command waits for
    from orchestration.pipeline.asset_reports import of_learned

    learned = learn(call.project, traits=traits, as_of=as_of, notify=call.progress)
    call.record(map(of_learned, learned))
    call.answer({"scores": [score.as_dict() for score in learned]}, show_learned)


def show_learned(answer: dict[str, Any]) -> None:
    """The points of each score, how well it predicted, and whether it is used."""
    for score in answer["scores"]:
        OUT.print(
            f"[bold]{escape(score['title'])}[/] ({score['trait']}, model {score['model_version']}"
            f"{'' if score['is_new'] else ', as before'}): {escape(score['outcome'])}"
        )
        if score["auc"] is None:
            OUT.print(f"  [yellow]no score[/]: {escape(score['reason'])}")
            continue
        OUT.print(
            f"  fitted to {score['fitted_rows']:,} rows ({score['fitted_positives']:,} with the outcome), tested on"
            f" {score['tested_rows']:,} rows from {score['fitted_until']} on"
            f" ({score['tested_positives']:,} with the outcome)"
        )
        OUT.print(
            f"  AUC {score['auc']:.3f} ({score['auc_low']:.3f} to {score['auc_high']:.3f}), Brier {score['brier']:.3f},"
            f" calibration error {score['calibration_error']:.3f}, top-decile lift {score['top_decile_lift']:.2f}"
        )
        OUT.print("  [green]in use[/]" if score["usable"] else f"  [yellow]not used[/]: {escape(score['reason'])}")
        OUT.print(_points(score["points"]))


def _points(bins: Sequence[dict[str, Any]]) -> Table:
    """A line a feature: the points of each range of its values."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    for feature in dict.fromkeys(part["feature"] for part in bins):
        ranges = [part for part in bins if part["feature"] == feature and (part["points"] or not part["is_missing"])]
        table.add_row(feature, escape(" | ".join(f"{_range(part)} {part['points']:+d}" for part in ranges)))
    return table


def _range(part: dict[str, Any]) -> str:
    if part["is_missing"]:
        return "unknown"
    if part["low"] is not None:
        return f"from {part['low']:g}"
    return "all" if part["high"] is None else f"under {part['high']:g}"


def exit_code(published: PublishReport) -> int:
    """3 where a trait is withheld, 1 where a model failed, else 0."""
    if published.withheld:
        return WITHHELD
    return 1 if published.failed_models else 0
