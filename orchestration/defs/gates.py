"""Both gates, as checks: the source checks on the raw events, and the candidate audit on each trait's candidate.

They show what a refresh has decided and decide nothing themselves: no check blocks a step, for one failed candidate
would hold every other trait. What is published, publishing decides (gates/verdicts.py).
"""

from collections.abc import Iterator

import dagster as dg

from orchestration.defs.events import POOL, asset_key, checked
from orchestration.defs.lease import LEASE
from orchestration.gates.candidate_checks import check_names
from orchestration.gates.source_checks import MEASURED_CHECKS, ROW_CHECKS, source_check_names
from orchestration.gates.source_verdicts import load_source_verdicts
from orchestration.pipeline.asset_events import RAW_EVENTS, candidate_key
from orchestration.pipeline.asset_reports import of_source_checks
from orchestration.transform.build import current_build
from orchestration.transform.dbt import Project

SOURCE_CHECK_KEYS = [dg.AssetCheckKey(asset_key(RAW_EVENTS), name) for name in source_check_names()]


def candidate_checks(project: Project) -> list[dg.AssetCheckSpec]:
    """Checks of the candidate audit, for the step that makes and judges the candidates."""
    return [
        dg.AssetCheckSpec(
            name,
            asset=asset_key(candidate_key(trait.name)),
            description=f"Candidate audit of {trait.title}: {name}.",
        )
        for trait in project.catalog.traits
        for name in check_names(trait)
    ]


def definitions(project: Project) -> dg.Definitions:
    """The source checks, one a kind of expectation over all sources; evaluated after the events were transformed."""
    home = project.home

    @dg.multi_asset_check(
        name="source_checks",
        specs=[
            dg.AssetCheckSpec(
                key.name,
                asset=key.asset_key,
                description=_description(key.name),
                additional_deps=[dg.AssetKey(["events", "event_log"])],
            )
            for key in SOURCE_CHECK_KEYS
        ],
        can_subset=True,
        pool=POOL,
        required_resource_keys={LEASE},
    )
    def source_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        build_id = context.resources.lease.build_id
        with home.lock("Dagster's source checks"), home.connect() as connection:
            build = current_build(connection)
            build_id = build_id or (build.build_id if build else "")
            verdicts = load_source_verdicts(connection, build_id)
        for event in of_source_checks(verdicts):
            if dg.AssetCheckKey(asset_key(event.asset), event.check) in context.selected_asset_check_keys:
                yield checked(event)

    return dg.Definitions(asset_checks=[source_checks])


def _description(name: str) -> str:
    expected = ROW_CHECKS[name] if name in ROW_CHECKS else MEASURED_CHECKS[name].expected
    return f"Source check, for each source: {expected}."
