"""The dbt project: one asset a seed or model, and on each candidate one asset check an expectation of its gate."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, build_dbt_asset_specs

from orchestration.declarations.catalog import Trait
from orchestration.defs.landing import POOL
from orchestration.gates.candidate_checks import check_names
from orchestration.gates.data_docs import page_of
from orchestration.gates.verdicts import Check, Verdict
from orchestration.home import Home
from orchestration.pipeline.refresh import audit_again, write_and_audit
from orchestration.transform.build import is_trait
from orchestration.transform.dbt import Project

SEVERITIES = {"critical": dg.AssetCheckSeverity.ERROR}


class RefreshConfig(dg.Config):
    """Launchpad: the clock of the build, and whether everything is rebuilt."""

    as_of: str | None = None
    full_refresh: bool = False


class Translator(DagsterDbtTranslator):  # type: ignore[misc]
    """Assets are called as in SQL, and grouped by the stage that their schema is named after."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Schema and name."""
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The stage."""
        return str(dbt_resource_props["schema"])


def candidate_key(trait: Trait) -> dg.AssetKey:
    """Asset of a trait's candidate."""
    return dg.AssetKey(["candidates", trait.name])


def definitions(home: Home, project: Project) -> dg.Definitions:
    """All of dbt as one step, any part of which may be selected."""
    specs = build_dbt_asset_specs(manifest=project.manifest_dict, dagster_dbt_translator=Translator())
    unique_ids = {spec.key: spec.metadata["dagster_dbt/unique_id"] for spec in specs}
    keys = {unique_id: key for key, unique_id in unique_ids.items()}

    @dg.multi_asset(
        name="warehouse",
        specs=specs,
        check_specs=[
            dg.AssetCheckSpec(name, asset=candidate_key(trait), description=f"Gate of {trait.title}: {name}.")
            for trait in project.catalog.traits
            for name in check_names(trait)
        ],
        can_subset=True,
        pool=POOL,
    )
    def warehouse(
        context: dg.AssetExecutionContext, config: RefreshConfig
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        selected = context.selected_asset_keys
        wanted = context.selected_asset_check_keys
        if not selected:
            judged = audit_again(project, [key.asset_key.path[-1] for key in wanted], notify=context.log.info)
            yield from _check_results(home, judged, wanted)
            return
        written = write_and_audit(
            project,
            as_of=config.as_of,
            full_refresh=config.full_refresh,
            select=() if selected == set(unique_ids) else [unique_ids[key].split(".")[-1] for key in selected],
            notify=context.log.info,
        )
        for result in written.results:
            # A candidate that failed has its old rows and a red gate; the others are published all the same.
            if result.ok or is_trait(project, result.unique_id):
                metadata: dict[str, float | str] = {
                    "status": result.status,
                    "seconds": result.seconds,
                    "build_id": written.build.build_id,
                }
                yield dg.MaterializeResult(asset_key=keys[result.unique_id], metadata=metadata)
        yield from _check_results(home, written.verdicts, wanted)

    return dg.Definitions(assets=[warehouse])


def _check_results(
    home: Home, verdicts: Iterable[Verdict], wanted: Collection[dg.AssetCheckKey]
) -> Iterator[dg.AssetCheckResult]:
    index = Path(home.status().get("data_docs") or "none")
    for verdict in verdicts:
        page = page_of(index, verdict.trait)
        for check in verdict.checks:
            key = dg.AssetCheckKey(dg.AssetKey(["candidates", verdict.trait]), check.name)
            if key in wanted:
                yield _check_result(key, verdict, check, page)


def _check_result(key: dg.AssetCheckKey, verdict: Verdict, check: Check, page: Path | None) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=check.passed,
        severity=SEVERITIES.get(check.severity, dg.AssetCheckSeverity.WARN),
        description=f"expected {check.expected}; found {check.observed}",
        metadata={
            "expected": check.expected,
            "observed": check.observed,
            "severity": check.severity,
            "population": verdict.population,
            "prevalence": round(verdict.prevalence, 4),
            "build_id": verdict.build_id,
            **({"data_docs": dg.MetadataValue.path(page)} if page else {}),
        },
    )
