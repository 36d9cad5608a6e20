"""The door in, as checks on the raw events: one a kind of expectation, over all sources."""

from collections.abc import Iterator, Sequence

import dagster as dg

from orchestration.defs.landing import KEY, POOL
from orchestration.gates.source_checks import ROW_CHECKS, SOURCE_CHECKS, source_check_names
from orchestration.gates.source_verdicts import SourceVerdict, load_source_verdicts
from orchestration.home import Home
from orchestration.transform.build import current_build

CHECK_KEYS = [dg.AssetCheckKey(KEY, name) for name in source_check_names()]


def definitions(home: Home) -> dg.Definitions:
    """Checks that show what the refresh has decided; they are evaluated after it and decide nothing themselves."""

    @dg.multi_asset_check(
        name="door_in",
        specs=[
            dg.AssetCheckSpec(
                key.name,
                asset=KEY,
                description=_description(key.name),
                additional_deps=[dg.AssetKey(["events", "event_log"])],
            )
            for key in CHECK_KEYS
        ],
        can_subset=True,
        pool=POOL,
    )
    def door_in(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with home.lock("traithouse refresh"), home.connect() as connection:
            build = current_build(connection)
            verdicts = load_source_verdicts(connection, build.build_id) if build else []
        for key in CHECK_KEYS:
            if key in context.selected_asset_check_keys:
                yield _result(key.name, verdicts)

    return dg.Definitions(asset_checks=[door_in])


def _description(name: str) -> str:
    expected = ROW_CHECKS[name] if name in ROW_CHECKS else SOURCE_CHECKS[name].expected
    return f"Each source: {expected}."


def _result(name: str, verdicts: Sequence[SourceVerdict]) -> dg.AssetCheckResult:
    found = {verdict.source: check for verdict in verdicts for check in verdict.checks if check.name == name}
    failed = {source: check for source, check in found.items() if not check.passed}
    critical = name in ROW_CHECKS or SOURCE_CHECKS[name].severity == "critical"
    touched = {trait for verdict in verdicts if verdict.source in failed for trait in verdict.touched}
    return dg.AssetCheckResult(
        asset_key=KEY,
        check_name=name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if critical else dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{source}: found {check.observed}" for source, check in (failed or found).items()),
        metadata={
            "observed": dg.MetadataValue.json({source: check.observed for source, check in found.items()}),
            "withheld": ", ".join(sorted(touched)) if critical and touched else "none",
        },
    )
