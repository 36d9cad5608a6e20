"""Dagster: the real definitions, run in this process."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.definitions import assembled, defs
from orchestration.defs import landing
from orchestration.defs.gates import SOURCE_CHECK_KEYS
from orchestration.defs.publishing import bar_chart
from orchestration.gates.candidate_checks import check_names
from orchestration.home import Home, silent
from orchestration.landing.load import load
from orchestration.pipeline import refresh
from orchestration.publishing.snapshot import served_manifest
from orchestration.transform.dbt import Project
from tests.conftest import queried, served


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(definitions: dg.Definitions, instance: dg.DagsterInstance, job: str = "land_and_refresh", **given: Any) -> Any:
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **given)


def test_everything_materializes_from_an_empty_home(home: Home, project_in: Any, instance: dg.DagsterInstance) -> None:
    definitions = assembled(project_in(home))
    result = run(definitions, instance)
    assert result.success
    materialized = {event.asset_key for event in result.get_asset_materialization_events()}
    executable = {
        spec.key
        for asset in definitions.resolve_asset_graph().assets_defs
        if asset.is_executable
        for spec in asset.specs
    }
    # History and scores have runs of their own.
    executable = {key for key in executable if key.path[0] not in ("history", "learning")}
    materialized = {key for key in materialized if key.path[0] != "history"}
    # The sample has no accounts and no trials: what needs them says so and publishes nothing.
    untold = {key for key in executable if key.path[0] == "traits"} - materialized
    assert materialized == executable - untold
    assert {key.path[-1] for key in untold} >= {"needs_teammate", "sleepy_trial", "stuck_setup"}
    assert {"at_risk", "power_user", "lifecycle_stage"}.isdisjoint(key.path[-1] for key in untold)
    red = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert {check.check_name for check in red} == {"required_behaviours"}
    assert served(home, "select count(*) from traits.user_traits") == [(600,)]


@pytest.mark.long
def test_a_failed_gate_is_a_red_check_and_withholds_its_trait_alone(
    sample_home: Home, sample_project: Project, instance: dg.DagsterInstance
) -> None:
    strict = [
        trait.model_copy(
            update={
                "gate": (trait.gate[0].model_copy(update={"kwargs": {"column": "value_number", "max_value": 0.0}}),)
            }
        )
        if trait.name == "power_user"
        else trait
        for trait in sample_project.catalog.traits
    ]
    stricter = sample_project.replace(catalog=sample_project.catalog.model_copy(update={"traits": tuple(strict)}))
    result = run(assembled(stricter), instance, "refresh")
    assert result.success
    checks = result.get_asset_check_evaluations()
    red = [check for check in checks if not check.passed and check.check_name != "required_behaviours"]
    assert [(check.asset_key.path, check.check_name, check.severity) for check in red] == [
        (["candidates", "power_user"], "column_mean_to_be_between", dg.AssetCheckSeverity.ERROR)
    ]
    assert 0 < float(str(red[0].metadata["observed"].value)) < 0.2
    assert "mean must be less than or equal to" in Path(str(red[0].metadata["data_docs"].value)).read_text()
    published = {
        e.asset_key.path[-1] for e in result.get_asset_materialization_events() if e.asset_key.path[0] == "traits"
    }
    assert "power_user" not in published
    assert published >= {"at_risk", "ready_to_upgrade", "lifecycle_stage"}


@pytest.mark.long
def test_a_candidate_that_does_not_compute_withholds_its_trait_alone(
    sample_home: Home, sample_project: Project, instance: dg.DagsterInstance
) -> None:
    broken = sample_project.manifest.deepcopy()
    broken.nodes["model.traithouse.at_risk"].raw_code = "select no_such_column from {{ ref('user_features') }}"
    sample_project = sample_project.replace(manifest=broken)
    result = run(assembled(sample_project), instance, "refresh")
    assert result.success
    red = {(c.asset_key.path[-1], c.check_name) for c in result.get_asset_check_evaluations() if not c.passed}
    assert {one for one in red if one[1] != "required_behaviours"} == {
        ("at_risk", "built"),
        ("lifecycle_stage", "built"),
        ("lifecycle_stage", "upstream"),
    }
    published = {
        e.asset_key.path[-1] for e in result.get_asset_materialization_events() if e.asset_key.path[0] == "traits"
    }
    assert published >= {"power_user", "ready_to_upgrade", "dormant"}
    assert published.isdisjoint({"at_risk", "lifecycle_stage"})


def test_one_candidate_alone_keeps_the_clock_and_the_watermark(
    sample_home: Home, sample_project: Project, instance: dg.DagsterInstance
) -> None:
    definitions = assembled(sample_project)
    before = queried(sample_home, "from state.watermark")
    selection = [dg.AssetKey(["candidates", "power_user"])]
    result = run(definitions, instance, asset_selection=selection)
    assert result.success
    assert [event.asset_key for event in result.get_asset_materialization_events()] == selection
    assert queried(sample_home, "from state.watermark") == before
    assert queried(sample_home, "select distinct as_of::varchar from candidates.power_user") == [
        ("2024-06-30 00:00:00",)
    ]


def test_a_published_trait_is_overdue_when_a_daily_refresh_did_not_publish_it(home: Home, project_in: Any) -> None:
    graph = assembled(project_in(home)).resolve_asset_graph()
    out = [key for key in graph.executable_asset_keys if key.path[0] in ("traits", "serving")]
    assert len(out) == len(project_in(home).catalog.traits) + 1
    for key in out:
        policy = graph.get(key).freshness_policy
        assert policy is not None
        assert timedelta(hours=24) < policy.fail_window.to_timedelta() < timedelta(hours=48)


def test_every_gate_key_is_a_real_asset_key(home: Home, project_in: Any) -> None:
    project = project_in(home)
    graph = assembled(project).resolve_asset_graph()
    keys = {key for key in graph.asset_check_keys if key.asset_key.path[0] == "candidates"}
    assert keys == {
        dg.AssetCheckKey(dg.AssetKey(["candidates", trait.name]), name)
        for trait in project.catalog.traits
        for name in check_names(trait)
    }
    nodes = project.manifest_dict["nodes"].values()
    assert {tuple(key.asset_key.path) for key in keys} <= {(node["schema"], node["name"]) for node in nodes}
    assert {key.asset_key for key in keys} <= graph.executable_asset_keys
    assert set(SOURCE_CHECK_KEYS) <= graph.asset_check_keys
    assert (
        {key.asset_key for key in SOURCE_CHECK_KEYS} == {dg.AssetKey(["raw", "events"])} <= graph.executable_asset_keys
    )
    assert {key.path[-1] for key in graph.executable_asset_keys if key.path[0] == "traits"} == {
        trait.name for trait in project.catalog.traits
    }


def test_no_check_holds_a_step_back(home: Home, project_in: Any) -> None:
    graph = assembled(project_in(home)).resolve_asset_graph()
    assert not any(graph.get_check_spec(key).blocking for key in graph.asset_check_keys)


@pytest.mark.long
def test_models_are_reported_while_others_run(
    sample_home: Home, sample_project: Project, instance: dg.DagsterInstance
) -> None:
    result = run(assembled(sample_project), instance, "refresh")
    log = instance.all_logs(result.run_id)
    reported = [
        number
        for number, entry in enumerate(log)
        if entry.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and entry.step_key == "warehouse"
    ]
    ended = [number for number, entry in enumerate(log) if (entry.user_message or "").endswith(": success")]
    before_the_last = sum(number < ended[-1] for number in reported)
    assert before_the_last > len(reported) / 2


@pytest.mark.long
def test_what_went_well_is_reported_when_the_build_breaks_later(
    sample_home: Home, sample_project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_audit(*_: Any, **__: Any) -> None:
        raise MemoryError("no audit")

    monkeypatch.setattr(refresh, "audit", no_audit)
    result = run(assembled(sample_project), instance, "refresh")
    assert not result.success
    stages = {event.asset_key.path[0] for event in result.get_asset_materialization_events()}
    assert stages >= {"events", "sessions", "features", "candidates"}
    assert "traits" not in stages


def test_assets_are_grouped_by_stage(home: Home, project_in: Any) -> None:
    graph = assembled(project_in(home)).resolve_asset_graph()
    for key in graph.executable_asset_keys:
        assert graph.get(key).group_name == key.path[0]


@pytest.mark.long
def test_published_traits_carry_what_a_person_looks_for(
    sample_home: Home, sample_project: Project, instance: dg.DagsterInstance
) -> None:
    result = run(assembled(sample_project), instance, "refresh")
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key.path == ["traits", "dormant"]]
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (metadata["dagster/row_count"], metadata["members"], metadata["prevalence"]) == (600, 37, 0.0617)
    assert metadata["changes"] == 0
    assert metadata["prevalence_history"].startswith("![prevalence](data:image/svg+xml;base64,")
    [day] = [e for e in result.get_asset_materialization_events() if e.asset_key.path == ["history", "dormant"]]
    assert (day.partition, day.materialization.metadata["members"].value) == ("2024-06-29", 37)
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key.path[-1] == "snapshot"]
    told = {name: value.value for name, value in event.materialization.metadata.items()}
    manifest = served_manifest(sample_home)
    for name in ("seconds", "bytes_written", "bytes_shared"):
        assert told[f"snapshot_{name}"] == manifest[name]


def test_the_sensor_asks_for_a_run_until_new_events_are_built(home: Home, project_in: Any, events_file: Any) -> None:
    sensor = assembled(project_in(home)).resolve_sensor_def("new_events")
    with dg.build_sensor_context() as context:
        assert isinstance(sensor(context), dg.SkipReason)
    load(home, [events_file([{"user_id": "u1", "event_name": "x", "occurred_at": "2025-01-01"}])])
    with dg.build_sensor_context() as context:
        request = sensor(context)
        assert isinstance(request, dg.RunRequest)
        assert str(request.run_key).startswith("load-1-")
    home.note(built_load_id=1)
    with dg.build_sensor_context() as context:
        assert isinstance(sensor(context), dg.SkipReason)


def test_the_inbox_is_loaded_and_production_never_gets_the_sample(home: Home, events_file: Any) -> None:
    production = Home(home.settings.model_copy(update={"env": "production"}))
    assert landing.land(production, silent).accepted == 0
    production.inbox.mkdir(parents=True)
    path = events_file([{"user_id": "u1", "event_name": "x", "occurred_at": "2025-01-01"}])
    path.rename(production.inbox / path.name)
    (production.inbox / "notes.txt").write_text("not events")
    landed = landing.land(production, silent)
    assert (landed.accepted, list(landed.refused)) == (1, ["notes.txt"])
    assert [file.name for file in production.inbox.iterdir() if file.is_file()] == ["notes.txt"]
    assert landing.land(production, silent).accepted == 0


@pytest.mark.long
def test_a_model_up_to_the_features_that_fails_makes_the_run_red_and_the_rest_is_published(
    sample_home: Home, sample_project: Project, instance: dg.DagsterInstance
) -> None:
    broken = sample_project.manifest.deepcopy()
    broken.nodes[
        "model.traithouse.account_windows"
    ].raw_code = "select no_such_column from {{ ref('fct_user_activity_daily') }}"
    sample_project = sample_project.replace(manifest=broken)
    before = queried(sample_home, "from state.watermark")
    result = run(assembled(sample_project), instance, "refresh")
    assert not result.success
    published = {
        e.asset_key.path[-1] for e in result.get_asset_materialization_events() if e.asset_key.path[0] == "traits"
    }
    assert published >= {"at_risk", "power_user", "ready_to_upgrade"}
    assert queried(sample_home, "from state.watermark") == before


@pytest.mark.long
def test_learning_is_a_job_that_says_why_a_score_is_not_used(
    sample_home: Home, project_in: Any, instance: dg.DagsterInstance
) -> None:
    result = run(assembled(project_in(sample_home)), instance, "learn")
    assert result.success
    stored = queried(sample_home, "select trait, usable, reason from learning.score_models order by trait")
    assert [row[0] for row in stored] == ["health", "likely_to_churn", "likely_to_convert"]
    assert all(usable or reason for _, usable, reason in stored)


def test_a_chart_of_nothing_but_zeros_is_drawn() -> None:
    assert "now 0.0%" in bar_chart([0.0, 0.0])


def test_the_module_that_dagster_loads_assembles_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAITHOUSE_HOME", str(tmp_path / "home"))
    loaded = defs()
    dg.Definitions.validate_loadable(loaded)
    assert json.dumps(sorted(s.name for s in loaded.schedules)) == '["daily", "weekly_learning"]'
