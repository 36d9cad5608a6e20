"""The dbt project: one asset a seed or model, reported as it ends, and the candidate audit at the end of the step."""

import ctypes
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, build_dbt_asset_specs

from orchestration.defs.events import POOL, checked, materialized
from orchestration.defs.gates import candidate_checks
from orchestration.defs.lease import LEASE, RunLease
from orchestration.pipeline.asset_reports import of_candidate_audit, of_models
from orchestration.pipeline.refresh import Written, audit_again, write_and_audit
from orchestration.transform.dbt import Project
from orchestration.transform.runner import NodeResult, OnNode


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


def definitions(project: Project) -> dg.Definitions:
    """All of dbt as one step, any part of which may be selected."""
    specs = build_dbt_asset_specs(manifest=project.manifest_dict, dagster_dbt_translator=Translator())
    models = {spec.key: str(spec.metadata["dagster_dbt/unique_id"]).split(".")[-1] for spec in specs}

    @dg.multi_asset(
        name="warehouse",
        specs=specs,
        check_specs=candidate_checks(project),
        can_subset=True,
        pool=POOL,
        required_resource_keys={LEASE},
    )
    def warehouse(
        context: dg.AssetExecutionContext, config: RefreshConfig
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        selected = context.selected_asset_keys
        wanted = context.selected_asset_check_keys
        lease: RunLease = context.resources.lease
        lease.acquire()
        if selected:
            build = _Build(
                lambda on_node: write_and_audit(
                    project,
                    as_of=config.as_of,
                    full_refresh=config.full_refresh,
                    select=() if selected == models.keys() else [models[key] for key in selected],
                    on_begin=lambda begun: lease.note_build(begun.build_id),
                    on_node=on_node,
                    notify=context.log.info,
                )
            )
            for result in build.results():
                for event in of_models(project, [result], str(lease.build_id)):
                    # A trait that is selected alone brings its thresholds with it.
                    if (made := materialized(event)).asset_key in selected:
                        yield made
            verdicts = build.written.verdicts
        else:
            traits = [key.asset_key.path[-1] for key in wanted]
            verdicts = audit_again(project, traits, notify=context.log.info)
            for verdict in verdicts[:1]:
                lease.note_build(verdict.build_id)
        for checked_event in of_candidate_audit(project.home, verdicts):
            result_of_check = checked(checked_event)
            if dg.AssetCheckKey(result_of_check.asset_key, checked_event.check) in wanted:  # type: ignore[arg-type]
                yield result_of_check

    return dg.Definitions(assets=[warehouse])


class _Build:
    """A build in a thread of its own, so that the step can report each node as it ends."""

    def __init__(self, work: Callable[[OnNode], Written]) -> None:
        self._work = work
        self._ended: queue.SimpleQueue[NodeResult | None] = queue.SimpleQueue()
        self._outcome: Written | BaseException | None = None

    @property
    def written(self) -> Written:
        """What came of it, once it is over.

        Raises:
            Exception: what the build raised.

        """
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        if self._outcome is None:
            raise RuntimeError("The build is not over.")
        return self._outcome

    def results(self) -> Iterator[NodeResult]:
        """Each node that went well as it ends, and then the others; raises what the build raised.

        Whoever stops listening, as a run that is cancelled does, stops the build: the model that runs now is the last.
        """
        thread = threading.Thread(target=self._run, name="build", daemon=True)
        thread.start()
        reported: set[str] = set()
        try:
            while (result := self._ended.get()) is not None:
                if result.unique_id not in reported:
                    reported.add(result.unique_id)
                    yield result
        except BaseException:
            _interrupt(thread)
            raise
        finally:
            thread.join()
        yield from (result for result in self.written.results if result.unique_id not in reported)

    def _run(self) -> None:
        try:
            self._outcome = self._work(self._ended.put)
        except BaseException as error:
            self._outcome = error
        finally:
            self._ended.put(None)


def _interrupt(thread: threading.Thread) -> None:
    """Raises KeyboardInterrupt in a thread, as Ctrl-C does in the main one."""
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))
