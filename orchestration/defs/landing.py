"""Raw events: what lies in the home's inbox is loaded, and what is declared elsewhere is pulled."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import dagster as dg

from orchestration.defs.events import POOL, asset_key, checked, materialized
from orchestration.errors import UsageError
from orchestration.home import Home, Notify
from orchestration.landing.declared import Pull, declared_pulls
from orchestration.landing.load import is_empty, load
from orchestration.landing.loads import LoadReport
from orchestration.landing.pull import PullReport, pull
from orchestration.pipeline.asset_events import RAW_EVENTS, Checked
from orchestration.pipeline.asset_reports import of_loads
from orchestration.simulator.bundled import SAMPLE
from orchestration.transform.dbt import Project


@dataclass(frozen=True)
class Landed:
    """What one landing did: from where, each load and pull, and what was refused (file or table -> why)."""

    source: str
    reports: Sequence[LoadReport | PullReport]
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> int:
        """Rows added."""
        return sum(report.accepted for report in self.reports)


def land(home: Home, notify: Notify, pulls: Sequence[Pull] = ()) -> Landed:
    """Loads the inbox and pulls; a home that has nothing at all, outside production, gets the bundled sample.

    A file that was loaded moves to ``inbox/loaded``; one that cannot be read stays, and holds no other.
    """
    files = sorted(path for path in home.inbox.glob("*") if path.is_file() and not path.name.startswith("."))
    if not files and not pulls and not home.settings.is_production and is_empty(home):
        report = load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source, notify=notify)
        return Landed("the bundled sample, because the home was empty", [report])
    reports: list[LoadReport | PullReport] = []
    refused = {}
    for path in files:
        try:
            reports.append(load(home, [path], notify=notify))
        except UsageError as error:
            refused[path.name] = f"{error.message} {error.hint}"
            continue
        (home.inbox / "loaded").mkdir(exist_ok=True)
        path.rename(home.inbox / "loaded" / path.name)
    source = f"{len(reports)} of {len(files)} files of {home.inbox}"
    pulled = pull(home, pulls, notify=notify)
    for pulled_table in pulled:
        refused |= pulled_table.refused | ({pulled_table.table: pulled_table.error} if pulled_table.error else {})
    return Landed(f"{source}, {len(pulled)} pulled tables" if pulled else source, [*reports, *pulled], refused)


def definitions(project: Project) -> dg.Definitions:
    """The landing asset; the project's sources say what is pulled."""
    key = asset_key(RAW_EVENTS)

    @dg.asset(
        key=key,
        group_name="raw",
        kinds={"duckdb"},
        pool=POOL,
        check_specs=[dg.AssetCheckSpec("inbox", asset=key, description="All that waits could be loaded.")],
        description=(
            "Raw events, append-only, with load_id rising. Loads CSV, NDJSON and Parquet files whose columns are named "
            "like the event's fields from the home's inbox; `traithouse load` takes others. What "
            "a source declares under `pull` is copied from where it is."
        ),
    )
    def raw_events(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        landed = land(project.home, context.log.info, declared_pulls(project.manifest_dict))
        made = materialized(of_loads(project.home, landed.reports, landed.source))
        inbox = Checked(
            RAW_EVENTS,
            "inbox",
            passed=not landed.refused,
            is_critical=False,
            description=f"{len(landed.refused)} files or tables were refused" if landed.refused else "all was loaded",
            metadata={"refused": landed.refused},
        )
        return made._replace(check_results=[checked(inbox)])

    return dg.Definitions(assets=[raw_events])
