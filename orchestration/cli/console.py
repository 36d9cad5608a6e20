"""How answers look in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_OUT = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
_VERDICTS = {
    "passed": "[green]passed[/]",
    "failed": "[red]withheld[/]",
    "not_enough_evidence": "[yellow]not enough evidence[/]",
    "none": "[dim]not judged[/]",
}
_SOURCE_VERDICTS = {"passed": "[green]passed[/]", "warned": "[yellow]warned[/]", "failed": "[red]failed[/]"}


class Progress:
    """Shows on stderr what happens now: a spinner in a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._spinner = self._console.status("") if sys.stderr.isatty() else None
        self._last = ""

    def __call__(self, message: str) -> None:
        """Show a message."""
        if self._spinner:
            self._spinner.update(escape(message))
            self._spinner.start()
        elif message != self._last:
            self._console.print(f"  {escape(message)}", style="dim", soft_wrap=True)
        self._last = message

    def stop(self) -> None:
        """Clears the spinner."""
        if self._spinner:
            self._spinner.stop()


def show_sandbox(answer: dict[str, Any]) -> None:
    """What was made of nothing, and what was true in it."""
    _OUT.print("[bold]Synthetic[/]: no real person did any of this.", soft_wrap=True)
    _OUT.print(
        f"{answer['events']:,} events of {answer['users']:,} users in {answer['accounts']:,} accounts, and of"
        f" {answer['devices']:,} strangers; {answer['late']:,} late, {answer['repeated']:,} repeated"
    )
    table = Table("hidden state", "of", "entities", box=None, header_style="dim")
    for entity_type, states in answer["states"].items():
        for state, entities in states.items():
            table.add_row(state, entity_type, f"{entities:,}")
    _OUT.print(table)
    folder = escape(answer["folder"])
    _OUT.print(f"\nEvents, truth.csv and README.md are in {folder}", soft_wrap=True)
    _OUT.print(f"  traithouse load {folder}/events.ndjson.gz --source {answer['source']}", soft_wrap=True)


def show_load(load: dict[str, Any]) -> None:
    """What a load added."""
    _OUT.print(
        f"{load['accepted']:,} loaded into {load['table']}, {load['duplicates']:,} duplicate,"
        f" {load['rejected']:,} rejected"
    )
    for reason, count in load["reasons"].items():
        _OUT.print(f"  {count:,} rejected: {escape(reason)}")
    if load["reasons"]:
        _OUT.print("  They are kept in raw.rejected_events.")
    if load["forgotten"]:
        _OUT.print(f"  {load['forgotten']:,} left out: of somebody who was forgotten.")


def show_forgotten(answer: dict[str, Any]) -> None:
    """What was deleted, and what is still to be done."""
    done = answer["forgotten"]
    rows = sum(done["rows"].values())
    _OUT.print(
        f"Forgotten: {_count(done['ids'], 'id')}, {_count(rows, 'row')} of raw and published tables,"
        f" {_count(len(done['files']), 'other file')}, {_count(done['backups'], 'backup')} gone through."
    )
    for path, action in done["files"].items():
        _OUT.print(f"  {escape(path)}: {action}", soft_wrap=True)
    for sync in done["pending"]:
        _OUT.print(f"  [yellow]{escape(sync)}[/] still has the person: traithouse sync clears it there.")
    show_refresh(answer["refresh"])


def show_backup(answer: dict[str, Any]) -> None:
    """Where a backup is."""
    of = f"of build {answer['build_id']}" if answer["build_id"] else "nothing was published yet"
    _OUT.print(f"{escape(answer['folder'])}: {answer['bytes'] / 1e6:,.1f} MB, {of}", soft_wrap=True)


def show_restored(answer: dict[str, Any]) -> None:
    """What a home is now, and where it is what it was."""
    _OUT.print(f"Restored from {escape(answer['backup'])}.", soft_wrap=True)
    if answer["replaced"]:
        _OUT.print(f"What it held is in {escape(answer['replaced'])}; delete it when it is not needed.", soft_wrap=True)
    if answer["forgotten"]:
        _OUT.print(f"{_count(answer['forgotten'], 'id')} forgotten since was taken out; traithouse refresh rebuilds.")


def show_pulls(answer: dict[str, Any]) -> None:
    """What each pull added."""
    for one in answer["pulls"]:
        if one["error"] and not one["load_id"]:
            _OUT.print(f"[red]{one['table']}[/]: {escape(one['error'])}", soft_wrap=True)
            continue
        show_load(one)
        for path, reason in one["refused"].items():
            _OUT.print(f"  [red]not read[/] {escape(path)}: {escape(reason)}", soft_wrap=True)
        if one["error"]:
            _OUT.print(f"  [red]{escape(one['error'])}[/]")


def show_suggestions(answer: dict[str, Any]) -> None:
    """Unmapped events, what is proposed for each and what of it is a guess; then the rows to paste."""
    if not answer["events"]:
        _OUT.print("The catalogue knows every event.")
        return
    for one in answer["events"]:
        seen = f"{one['first_seen_at']:%Y-%m-%d} to {one['last_seen_at']:%Y-%m-%d}"
        _OUT.print(
            f"[bold]{escape(one['event_name'])}[/] of {one['source']}: {_count(one['event_count'], 'event')}, {seen}",
            soft_wrap=True,
        )
        for example in one["examples"]:
            _OUT.print(f"    {escape(example)}", style="dim", soft_wrap=True)
        for row in one["rows"]:
            _OUT.print(f"  {_proposal(row)}", soft_wrap=True)
        if one["note"]:
            _OUT.print(f"  no proposal: {escape(one['note'])}", soft_wrap=True)
    if answer["left_out"]:
        _OUT.print(f"{answer['left_out']:,} rarer events are left out (--limit).")
    if answer["csv"]:
        _OUT.print("\nFor seeds/event_catalog.csv; look at each guess, then refresh:", style="bold")
        _OUT.out(answer["csv"], highlight=False, end="")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _proposal(row: dict[str, Any]) -> str:
    where = f"{row['property']} starts with {row['pattern']}: " if row["pattern"] else ""
    said = [row["behaviour"], *(f"{name} {row[name]}" for name in ("feature", "step", "outcome") if row[name])]
    mark = "[yellow]guess[/]" if row["guess"] else "[green]rule[/] "
    return f"{mark} {escape(where + ', '.join(said))} [dim]({escape(row['why'])})[/]"


def show_appended(answer: dict[str, Any]) -> None:
    """What was written to the seed."""
    _OUT.print(f"{answer['appended']:,} rows written to seeds/event_catalog.csv.")
    if answer["guesses"]:
        _OUT.print(f"{answer['guesses']:,} proposals are guesses: look at them, then traithouse refresh.")


def show_refresh(refresh: dict[str, Any]) -> None:
    """What a refresh published."""
    table = Table("trait", "population", "prevalence", "verdict", "changes", box=None, header_style="dim")
    for trait in refresh["traits"]:
        table.add_row(
            trait["trait"],
            f"{trait['population']:,}",
            f"{trait['prevalence']:.1%}",
            _VERDICTS[trait["verdict"]],
            f"{trait['changes']:,} ({trait['entered']:,} in, {trait['left']:,} out)",
        )
    _OUT.print(f"Build {refresh['build_id']} as of {refresh['as_of']} UTC")
    _OUT.print(table)
    _failed_models(refresh["failed_models"])
    _reasons(refresh["traits"])
    if not refresh["published"]:
        _OUT.print("Nothing changed; the snapshot stays.")


def _failed_models(models: Sequence[str]) -> None:
    for model in models:
        _OUT.print(f"[red]failed[/]     {escape(model)}")


def _reasons(traits: list[dict[str, Any]]) -> None:
    same: dict[tuple[str, str], list[str]] = {}
    for trait in traits:
        if trait.get("reason") and trait["verdict"] != "passed":
            same.setdefault((trait["verdict"], trait["reason"]), []).append(trait["trait"])
    for (verdict, reason), names in same.items():
        _OUT.print(f"{', '.join(names)}: {_VERDICTS[verdict]}. {escape(reason)}")


def show_learned(answer: dict[str, Any]) -> None:
    """The points of each score, how well it foretold, and whether it is used."""
    for one in answer["scores"]:
        _OUT.print(
            f"[bold]{escape(one['title'])}[/] ({one['trait']}, model {one['model_version']}"
            f"{'' if one['is_new'] else ', as before'}): {escape(one['outcome'])}"
        )
        if one["auc"] is None:
            _OUT.print(f"  [yellow]no score[/]: {escape(one['reason'])}")
            continue
        _OUT.print(
            f"  fitted to {one['fitted_rows']:,} rows, {one['fitted_positives']:,} with it; tested from"
            f" {one['fitted_until']} on with {one['tested_rows']:,}, {one['tested_positives']:,} with it"
        )
        _OUT.print(
            f"  AUC {one['auc']:.3f} ({one['auc_low']:.3f} to {one['auc_high']:.3f}), Brier {one['brier']:.3f},"
            f" calibration error {one['calibration_error']:.3f}, top-decile lift {one['top_decile_lift']:.2f}"
        )
        _OUT.print("  [green]in use[/]" if one["usable"] else f"  [yellow]not used[/]: {escape(one['reason'])}")
        _OUT.print(_points(one["points"]))


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


def show_syncs(answer: dict[str, Any]) -> None:
    """What each sync delivered, or would."""
    for sync in answer["syncs"]:
        if sync["paused"]:
            _OUT.print(f"{sync['sync']}: [yellow]nothing is sent[/], {escape(sync['paused'])}")
            continue
        if sync["dry_run"]:
            why = f" ({sync['why_dry']})" if sync["why_dry"] else ""
            _OUT.print(
                f"{sync['sync']}: dry run{why}; {sync['planned']:,} records would be sent to {sync['destination']}"
                f" ({sync['operations']:,} operations that it bills or counts)"
            )
            if sync["refusal"]:
                _OUT.print(f"  [yellow]as it stands, {escape(sync['refusal'])}[/]")
        else:
            waited = f", {sync['waited_seconds']:.0f} s of it waiting" if sync["waited_seconds"] >= 1 else ""
            _OUT.print(
                f"{sync['sync']}: {sync['delivered']:,} of {sync['planned']:,} delivered to"
                f" {sync['destination']}{waited}"
            )
        for reason, entities in sorted(sync["skipped"].items()):
            _OUT.print(f"  {entities:,} not sent: {escape(reason)}")
        for trait, reason in sorted(sync["held"].items()):
            _OUT.print(f"  [yellow]{escape(trait)} stays as it is there[/]: {escape(reason)}")
        if sync["waiting"]:
            _OUT.print(f"  [yellow]{sync['waiting']:,} were refused as they are[/]; --retry-refused sends them again")
        if sync["error"]:
            _OUT.print(f"  [red]{sync['failed']:,} failed[/] ({escape(sync['error'])})")
        if sync["not_tried"]:
            _OUT.print(f"  {sync['not_tried']:,} are left for the next run")
        for sample in sync["samples"]:
            _OUT.print_json(data=sample)


def show_pause(answer: dict[str, Any]) -> None:
    """Whether a sync is paused now."""
    said = f"paused: {answer['paused']}" if answer["paused"] else "goes on"
    _OUT.print(f"{escape(answer['sync'])} {escape(said)}")


def show_entity_syncs(answer: dict[str, Any]) -> None:
    """When one entity went to each sync, or why it did not."""
    for sync, told in answer["syncs"].items():
        _OUT.print(f"{escape(sync)}: {escape(answer['entity'])} {escape(told)}", soft_wrap=True)


def show_rollback(answer: dict[str, Any]) -> None:
    """What is published again."""
    _OUT.print(
        f"Published again: the values of {answer['to']}; {answer['changes']:,} changes, as build {answer['build_id']}"
    )
    _OUT.print(f"Rolled back: {', '.join(answer['undone'])}. The next refresh computes and judges everything anew.")


def show_backfill(answer: dict[str, Any]) -> None:
    """Days and changes by trait, and what was left as it was."""
    _OUT.print(f"History of {answer['first']} to {answer['last']}; nothing of it is sent")
    if answer["before_events"]:
        _OUT.print(f"{answer['before_events']:,} days lie before the first event and were left out.")
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
    _OUT.print(table)


def show_diff(answer: dict[str, Any]) -> None:
    """Before and after, who moves and why, and what syncs would send."""
    before = answer["published_version"]
    known = f"version {before} is published" if before else "nothing is published"
    _OUT.print(f"{answer['trait']} version {answer['version']} as of {answer['as_of']} UTC; {known}")
    if not answer["told"]:
        _OUT.print("[yellow]There is not enough evidence: it would not be published[/], values would stay as they are.")
    if answer["note"]:
        _OUT.print(f"[yellow]{escape(answer['note'])}[/]")
    _OUT.print(
        f"Members    {answer['members_before']:,} of {answer['population_before']:,}"
        f" ({answer['prevalence_before']:.1%}) -> {answer['members_after']:,} of {answer['population_after']:,}"
        f" ({answer['prevalence_after']:.1%})"
    )
    _OUT.print(f"Moves      {answer['entered']:,} enter, {answer['left']:,} leave, {answer['changed']:,} values differ")
    for one in answer["examples"]:
        old, new = ("nothing" if value is None else escape(value) for value in (one["old_value"], one["value"]))
        _OUT.print(
            f"  {escape(one['entity_id'])} {one['move']}: {old} -> {new}  [dim]{escape(one['reason'])}[/]",
            soft_wrap=True,
        )
    for sync in answer["syncs"]:
        _OUT.print(f"{sync['sync']}: {sync['records_then']:,} records would be sent ({sync['records_now']:,} wait now)")


def show_status(status: dict[str, Any]) -> None:
    """What is loaded, published, withheld."""
    loads, counts = status["loads"] or {}, status["counts"] or {}
    _OUT.print(f"Home       {status['home']} ({status['environment']})")
    if status["busy"]:
        stage = (status["running"] or {}).get("stage", "")
        _OUT.print(f"Running    {stage} {escape(status['busy'])}")
    if loads:
        _OUT.print(
            f"Loaded     {loads['accepted']:,} events, {loads['duplicates']:,} duplicate,"
            f" {loads['rejected']:,} rejected;"
            f" newest {loads['newest_event_at']} UTC ({_ago(status['newest_event_hours_ago'])})"
        )
    else:
        _OUT.print("Loaded     nothing yet: traithouse load FILE...")
    for one in status["sources"]:
        verdict = _SOURCE_VERDICTS.get(one["verdict"], _VERDICTS["none"])
        loaded = f"loaded {str(one['loaded_at'])[:19]} UTC, " if one["loaded_at"] else ""
        reason = f". {escape(one['reason'])}" if one["reason"] else ""
        _OUT.print(f"Source     {escape(one['source'])}: {loaded}{verdict}{reason}", soft_wrap=True)
    if counts:
        _OUT.print(f"Built      {counts.get('users', 0):,} users, {counts.get('sessions', 0):,} sessions")
    last = status["last_refresh"]
    if last:
        _OUT.print(
            f"Refreshed  build {last['build_id']} as of {last['as_of']} UTC, ended {str(last['ended_at'])[:19]} UTC"
        )
        _failed_models(last.get("failed_models") or ())
    if status["last_error"]:
        error = status["last_error"]
        _OUT.print(f"[red]Failed[/]     {error['stage']} at {str(error['at'])[:19]} UTC: {escape(error['error'])}")
    if status["served_build"]:
        _OUT.print(f"Served     build {status['served_build']}")
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
                _VERDICTS[trait["verdict"]],
                trait.get("grade") or "-",
                "" if trait.get("flip_rate") is None else f"{trait['flip_rate']:.2%}",
                trait["values_build_id"] or "never published",
            )
        _OUT.print(table)
        for trait in status["traits"]:
            if trait.get("grade_reason"):
                _OUT.print(f"  [dim]{trait['trait']}: {escape(trait['grade_reason'])}[/]", soft_wrap=True)
    for kind in ("withheld", "not_enough_evidence"):
        _reasons([one | {"verdict": "failed" if kind == "withheld" else kind} for one in status[kind]])
    if status["withheld"]:
        _OUT.print(
            "They keep their last good values. Repair the cause and refresh; or, where the shift is real:"
            ' traithouse publish --trait T --waive "why"'
        )
    if status["data_docs"]:
        _OUT.print(f"What the gate expected and found: {status['data_docs']}", soft_wrap=True)
    if status["sync_failures"]:
        _OUT.print(f"[red]{status['sync_failures']:,} records could not be delivered[/]; the next sync tries again.")


def _ago(hours: float | None) -> str:
    if hours is None:
        return "no time known"
    return f"{hours:.0f} hours ago" if hours < 48 else f"{hours / 24:,.0f} days ago"


def show_explanation(answer: dict[str, Any]) -> None:
    """Each trait in sentences."""
    _OUT.print(f"{answer['entity_type']} {escape(answer['entity_id'])}")
    for trait in answer["traits"]:
        value = {"true": "[green]yes[/]", "false": "no"}.get(trait["value"], escape(trait["value"]))
        score = "" if trait["score"] is None else f", score {trait['score']:g}"
        _OUT.print(f"\n{trait['title']} ({trait['trait']}): {value}, since {trait['since']} UTC{score}")
        _OUT.print(f"  {escape(trait['now'])}", soft_wrap=True)
        if trait["now"] != trait["reason"]:
            _OUT.print(f"  When it changed: {escape(trait['reason'])}", style="dim", soft_wrap=True)


def show_examples(answer: dict[str, Any]) -> None:
    """A few entities of each trait, one sentence each."""
    last = ""
    for one in answer["examples"]:
        if one["trait"] != last:
            _OUT.print(f"\n[bold]{one['title']}[/] ({one['trait']})")
        last = one["trait"]
        value = {"true": "[green]yes[/]", "false": "no "}.get(one["value"], escape(one["value"]))
        _OUT.print(f"  {value} {escape(one['entity_id'])}: {escape(one['now'])}", soft_wrap=True)


def show_doctor(answer: dict[str, Any]) -> None:
    """Facts, then problems."""
    for name in ("home", "warehouse_mb", "disk_free_gb", "lock", "environment", "target"):
        _OUT.print(f"{name:13} {escape(str(answer[name]))}")
    _OUT.print(f"{'versions':13} {', '.join(f'{name} {version}' for name, version in answer['versions'].items())}")
    _OUT.print(f"{'traits':13} {', '.join(answer['traits'])}")
    _OUT.print(f"{'syncs':13} {', '.join(answer['syncs'])}")
    for one in answer["catalogue_coverage"]:
        _OUT.print(
            f"{'catalogue':13} {one['source']}: {one['mapped']:.1%} of {one['events']:,} events have a behaviour"
        )
    for problem in answer["problems"]:
        _OUT.print(f"[yellow]problem[/]       {escape(problem)}")
    if not answer["problems"]:
        _OUT.print("No problems found.")


def show_summary(answer: dict[str, Any]) -> None:
    """The one summary of the whole line."""
    load, refresh, status = answer["load"], answer["refresh"], answer["status"]
    counts, totals = status["counts"] or {}, status["loads"] or {}
    _OUT.print("\n[bold]Traithouse[/]: raw events in, gated traits out\n")
    _OUT.print(
        f"Events     {load['accepted']:,} loaded, {load['duplicates']:,} duplicate, {load['rejected']:,} rejected"
        f" (in all {totals.get('accepted', 0):,})"
    )
    _OUT.print(f"Users      {counts.get('users', 0):,}")
    _OUT.print(f"Sessions   {counts.get('sessions', 0):,}")
    _OUT.print(f"Build      {refresh['build_id']} as of {refresh['as_of']} UTC\n")
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
            _VERDICTS[trait["verdict"]],
            f"{trait['changes']:,} ({trait['entered']:,} in, {trait['left']:,} out)",
            _lift(lifts.get(trait["trait"], {})),
            lifts.get(trait["trait"], {}).get("grade") or "-",
        )
    _OUT.print(table)
    _failed_models(refresh["failed_models"])
    _reasons(refresh["traits"])
    for name, trait in lifts.items():
        if trait["lift_as_of"]:
            _OUT.print(f"  [dim]lift of {name}: {trait['outcome']}, since {trait['lift_as_of']:%Y-%m-%d}[/]")
    delivered = sum(sync["delivered"] for sync in answer["syncs"])
    _OUT.print(f"\nDelivered  {delivered:,} records: " + ", ".join(s["sync"] for s in answer["syncs"]))
    if not refresh["published"] and not load["accepted"]:
        _OUT.print("No new events, no changes, nothing published.")
    home = status["home"]
    _OUT.print("\nWhere to look next", style="bold")
    _OUT.print(
        f"  {home}/serving/current/traithouse.duckdb  [dim]the published tables, schema traits[/]",
        soft_wrap=True,
    )
    _OUT.print(f"  {home}/outbox  [dim]what was delivered[/]", soft_wrap=True)
    _OUT.print("  .venv/bin/traithouse explain user_0000  [dim]why one user has its traits[/]")
    _OUT.print("  make dev  [dim]the Dagster UI[/]")


def _lift(trait: dict[str, Any]) -> str:
    """Ratio and 95% interval; an interval that includes 1 proves nothing."""
    low, lift, high = (trait.get(name) for name in ("lift_low", "lift", "lift_high"))
    if lift is None:
        return "[dim]no past to measure it on[/]"
    interval = f"{lift:.2f} ({'?' if low is None else f'{low:.2f}'} to {'∞' if high is None else f'{high:.2f}'})"
    proven = (low is not None and low > 1) or (high is not None and high < 1)
    return interval if proven else f"{interval} [yellow]unproven on this data[/]"
