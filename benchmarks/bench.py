"""Prints the goals for cost, each a ratio that this one run measured: ``make bench``, or ``make bench ARGS=--quick``.

Three histories of the same pace and the same people, so that only their length differs. In each: a full build, three
equal batches (with --quick: one), each step in a process of its own. The two smaller ones also take the worst kind of
batch (90 days late, heavy users merged), and are compared row for row with a full build of the same raw events. The
plain dbt project (benchmarks/naive) builds the two smaller ones, pandas and Polars the smallest.

Ratios carry over to other machines; seconds do not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import ROOT, Measured, StepError, run_step

QUICK, USUAL = (200_000, 800_000, 3_200_000), (5_000_000, 20_000_000, 80_000_000)
# Of the middle history: 100 days, a batch is a day of it, people do 100 events each.
DAYS, BATCH_SHARE, EVENTS_PER_USER = 100, 100, 100
HOUR_EVENTS = 10_000
BATCHES, QUICK_BATCHES = 3, 1
# Raw, models and room for what spills; a history that is compared is held twice, and once by plain dbt.
DISK_BYTES_PER_EVENT, DISK_BYTES_COMPARED = 400, 1_000
REQUIREMENTS = "benchmarks/requirements.lock"

console = Console()


@dataclass
class History:
    """What was measured on one history; null where a step does not belong to its size."""

    events: int
    scan: Measured
    full: Measured
    batches: list[Measured] = field(default_factory=list)
    hour: Measured | None = None
    adversarial: Measured | None = None
    rewrite: Measured | None = None
    naive_full: Measured | None = None
    naive_batch: Measured | None = None
    peers: dict[str, Measured] = field(default_factory=dict)
    differing: dict[str, int] = field(default_factory=dict)

    @property
    def batch(self) -> Measured:
        """The batch of median time."""
        return sorted(self.batches, key=lambda batch: batch.seconds)[len(self.batches) // 2]


@dataclass(frozen=True)
class Goal:
    """One line of the table; a line without a goal is only reported."""

    what: str
    value: float
    at_most: float | None = None
    at_least: float | None = None
    form: str = ".2f"

    @property
    def verdict(self) -> str:
        """Met, missed, or nothing to meet."""
        if self.at_most is None and self.at_least is None:
            return ""
        met = self.value <= self.at_most if self.at_most is not None else self.value >= (self.at_least or 0)
        return "met" if met else "missed"

    @property
    def goal(self) -> str:
        """What to reach, in words."""
        if self.at_most is not None:
            return f"<= {self.at_most:{self.form}}"
        return f">= {self.at_least:{self.form}}" if self.at_least is not None else ""


def main() -> None:
    """Measure, print, and keep the numbers."""
    given = _arguments()
    sizes = given.sizes or (QUICK if given.quick else USUAL)
    folder = given.folder.absolute()
    try:
        _demand_disk(folder, sizes)
        histories = _measure(sizes, QUICK_BATCHES if given.quick else BATCHES, folder)
    except StepError as error:
        console.print(f"[red]{error}", highlight=False)
        raise SystemExit(1) from None
    finally:
        shutil.rmtree(folder / "work", ignore_errors=True)
    goals = judge(histories)
    _print(histories, goals, given.quick)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(_record(histories, goals), indent=1))
    console.print(f"Numbers: {given.json}", highlight=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and one batch: shows that it works, not what it costs"
    )
    parser.add_argument("--sizes", type=_sizes, help="three numbers of events; usually 5M,20M,80M")
    folder = ROOT / "benchmarks" / "target"
    parser.add_argument("--folder", type=Path, default=folder, help="where the histories are held meanwhile")
    parser.add_argument("--json", type=Path, default=folder / "bench.json", help="where the numbers go")
    return parser.parse_args()


def _sizes(text: str) -> tuple[int, ...]:
    factors = {"k": 1_000, "m": 1_000_000}
    sizes = tuple(
        int(float(part[:-1]) * factors[part[-1].lower()]) if part[-1].lower() in factors else int(part)
        for part in text.split(",")
    )
    if len(sizes) != 3 or list(sizes) != sorted(set(sizes)):
        raise argparse.ArgumentTypeError("three rising numbers of events, like 5M,20M,80M")
    return sizes


def _demand_disk(folder: Path, sizes: tuple[int, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = max(sizes[-1] * DISK_BYTES_PER_EVENT, sizes[-2] * DISK_BYTES_COMPARED)
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise StepError(
            f"{folder} has {free / 1e9:.0f} GB free; these sizes need {wanted / 1e9:.0f} GB. "
            "Give smaller sizes (--sizes 2M,8M,32M, --quick) or a folder on another disk (--folder)."
        )


def _measure(sizes: tuple[int, ...], batches: int, folder: Path) -> list[History]:
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    project = work / "project"
    run_step("project", "prepare_project", project=project)
    histories = []
    for events in sizes:
        place = work / str(events)
        place.mkdir()
        histories.append(_measure_history(events, sizes, batches, project, place))
        shutil.rmtree(place)
    return histories


def _measure_history(events: int, sizes: tuple[int, ...], batches: int, project: Path, place: Path) -> History:
    small, middle, large = sizes
    home, size = place / "home", _short(events)
    shape = {"events": events, "days": max(1, events * DAYS // middle), "users": middle // EVENTS_PER_USER}

    def step(label: str, name: str, /, **arguments: Any) -> Measured:
        done = run_step(f"{size} {label}", name, **arguments)
        console.print(
            f"{done.step:28} {done.seconds:8.2f} s {done.cpu_seconds:8.2f} CPU-s {done.peak_gb:6.2f} GB",
            highlight=False,
        )
        return done

    step("generated", "generate", home_folder=home, shape=shape)
    history = History(
        events=events,
        scan=step("scan of 7 columns", "scan", home_folder=home),
        full=step("full", "build", home_folder=home, project=project, full=True),
    )
    if events == middle:
        history.rewrite = step("its tables written again", "rewrite", home_folder=home)
    if events != large:
        history.naive_full = step("plain dbt, full", "naive", home_folder=home, folder=place, full=True)
    if events == small:
        step("exported", "export", home_folder=home, file=place / "events.parquet")
        for name in ("polars", "pandas"):
            try:
                history.peers[name] = step(name, "peer", name=name, file=place / "events.parquet")
            except StepError as error:
                missing = "No module named" in str(error)
                reason = f"install {REQUIREMENTS} to compare with it" if missing else str(error)
                console.print(f"{name} is left out: {reason}")
    for number in range(1, batches + 1):
        step(f"batch {number} loaded", "append", home_folder=home, shape=shape, events=middle // BATCH_SHARE)
        history.batches.append(step(f"batch {number}", "build", home_folder=home, project=project, full=False))
        if number == 1 and events == middle:
            history.naive_batch = step("plain dbt, batch", "naive", home_folder=home, folder=place, full=False)
    if events == large:
        step("an hour loaded", "append", home_folder=home, shape=shape, events=HOUR_EVENTS)
        history.hour = step("an hour", "build", home_folder=home, project=project, full=False)
    else:
        (place / "plain_dbt.duckdb").unlink(missing_ok=True)
        late = {"home_folder": home, "shape": shape, "events": middle // BATCH_SHARE, "adversarial": True}
        step("adversarial batch loaded", "append", **late)
        history.adversarial = step("adversarial batch", "build", home_folder=home, project=project, full=False)
        step("raw copied", "copy_raw", home_folder=home, other_folder=place / "full")
        step("full, all loads", "build", home_folder=place / "full", project=project, full=True)
        compared = step("compared", "compare", home_folder=home, other_folder=place / "full")
        history.differing = compared.facts["differing"]
    return history


def judge(histories: list[History]) -> list[Goal]:
    """The goals, from the histories in rising size."""
    small, middle, large = histories
    naive_full, naive_batch, adversarial = middle.naive_full, middle.naive_batch, middle.adversarial
    if not (naive_full and naive_batch and adversarial and large.hour and middle.rewrite):
        raise ValueError("a step of the middle or the large history is missing")
    sizes = [_short(history.events) for history in histories]
    per_event = [history.full.cpu_seconds / history.events for history in (middle, large)]
    steps = [*large.batches, large.hour]
    goals = [
        Goal(f"full build / scan of 7 columns, {sizes[1]}", middle.full.seconds / middle.scan.seconds, 22, form=".1f"),
        Goal(f"plain dbt / Traithouse: full, {sizes[1]}", naive_full.seconds / middle.full.seconds, None, 4),
        Goal(
            f"plain dbt / Traithouse: 1% batch, {sizes[1]}", naive_batch.seconds / middle.batches[0].seconds, None, 12
        ),
        Goal(f"1% batch / full build, {sizes[1]}", middle.batch.seconds / middle.full.seconds, 0.05, form=".1%"),
        Goal(f"growth exponent of a fixed batch, {', '.join(sizes)}", growth_exponent(histories), 0.10),
        Goal(f"full CPU per event, {sizes[2]} / {sizes[1]}", per_event[1] / per_event[0], 1.15),
        Goal(f"peak GB, full build, {sizes[2]}", large.full.peak_gb, 4.5),
        Goal(f"peak GB, batch, {sizes[2]}", max(step.peak_gb for step in steps), 1.0),
        Goal(
            f"rows that differ, incremental against full, {', '.join(sizes[:2])}",
            sum(sum(history.differing.values()) for history in (small, middle)),
            0,
            form=".0f",
        ),
        Goal(f"full build / writing its tables once, {sizes[1]}", middle.full.seconds / middle.rewrite.seconds),
        Goal(f"adversarial batch / full build, {sizes[1]}", adversarial.seconds / middle.full.seconds, form=".1%"),
        Goal(f"seconds of an hour of {HOUR_EVENTS:,} events, {sizes[2]}", large.hour.seconds),
        Goal(f"CPU-s of an hour of {HOUR_EVENTS:,} events, {sizes[2]}", large.hour.cpu_seconds),
    ]
    if small.naive_full:
        others = {"plain dbt": small.naive_full, **small.peers}
        goals += [
            Goal(f"{name} / Traithouse: full, {sizes[0]}", other.seconds / small.full.seconds)
            for name, other in others.items()
        ]
    return goals


def growth_exponent(histories: list[History]) -> float:
    """Slope of log(time of a fixed batch) over log(length of the history), by least squares."""
    sizes = [math.log(history.events) for history in histories]
    times = [math.log(median(batch.seconds for batch in history.batches)) for history in histories]
    mean_size, mean_time = sum(sizes) / len(sizes), sum(times) / len(times)
    covariance = sum((size - mean_size) * (time - mean_time) for size, time in zip(sizes, times, strict=True))
    return covariance / sum((size - mean_size) ** 2 for size in sizes)


def _print(histories: list[History], goals: list[Goal], quick: bool) -> None:
    small, middle, _ = histories
    table = Table(title="Goals", title_justify="left")
    for column in ("what", "measured", "goal", ""):
        table.add_column(column, justify="left" if column in ("what", "") else "right")
    for goal in goals:
        colour = {"met": "[green]", "missed": "[red]"}.get(goal.verdict, "")
        table.add_row(goal.what, f"{goal.value:{goal.form}}", goal.goal, colour + goal.verdict)
    console.print(table)
    for history in (small, middle):
        for name, rows in history.differing.items():
            if rows:
                console.print(f"[red]{_short(history.events)}: {rows:,} rows of {name} differ", highlight=False)
    if quick:
        console.print("The goals are meant for the usual sizes; at these, dbt's own cost for each model weighs most.")

    # A model that grows from left to right, or costs most in a batch, is the next to improve.
    table = Table(title="Seconds by model: the slowest", title_justify="left")
    for column in (
        "model",
        f"full {_short(middle.events)}",
        *(f"batch {_short(history.events)}" for history in histories),
    ):
        table.add_column(column, justify="left" if column == "model" else "right")
    full = middle.full.facts["models"]
    batches = [history.batch.facts["models"] for history in histories]
    shown = {*_slowest(full), *_slowest(batches[1]), *_slowest(batches[2])}
    for model in sorted(shown, key=lambda name: -batches[1].get(name, 0)):
        table.add_row(model, *(f"{seconds.get(model, 0):.2f}" for seconds in (full, *batches)))
    console.print(table)

    table = Table(title=f"The same {_short(small.events)} events, in full", title_justify="left")
    for column in ("by", "s", "CPU-s", "peak GB", "sessions", "user days", "users"):
        table.add_column(column, justify="left" if column == "by" else "right")
    everybody = {"Traithouse": small.full, "plain dbt": small.naive_full, **small.peers}
    for name, done in everybody.items():
        if done:
            counts = (f"{done.facts[key]:,}" for key in ("sessions", "days", "users"))
            table.add_row(name, f"{done.seconds:.1f}", f"{done.cpu_seconds:.1f}", f"{done.peak_gb:.2f}", *counts)
    console.print(table)


def _slowest(models: dict[str, float]) -> list[str]:
    return sorted(models, key=lambda name: -models[name])[:8]


def _short(events: int) -> str:
    return f"{events / 1e6:g}M" if events >= 1_000_000 else f"{events / 1e3:g}k"


def _record(histories: list[History], goals: list[Goal]) -> dict[str, Any]:
    from orchestration.pipeline.doctor import versions

    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processors": os.cpu_count(),
        "platform": sys.platform,
        "versions": versions(),
        "goals": [asdict(goal) | {"verdict": goal.verdict} for goal in goals],
        "histories": [asdict(history) for history in histories],
    }


if __name__ == "__main__":
    main()
