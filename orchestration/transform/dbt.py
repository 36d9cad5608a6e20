"""The dbt project: parsed once, run in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml

from orchestration.declarations.catalog import Catalog, read_catalog
from orchestration.errors import TraithouseError
from orchestration.home import Home, Notify, read_json, silent, write_atomically
from orchestration.transform.project_files import ProjectFiles, read_yaml
from orchestration.transform.runner import GOOD_STATUSES, NodeResult, OnNode, first_lines, ignore_node, run_dbt

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest


class Project:
    """The dbt project, and the home that it is run in: nearly every function of the package takes one.

    What it declares is parsed when first asked for, and kept: ``manifest`` (dbt's own object, which a run needs),
    ``manifest_dict`` (the same as a dictionary; on disk, too, so that most commands never wait for dbt), ``catalog``
    (the traits and syncs in it) and ``variables``. Nothing that is parsed depends on the home. When files of the
    project change, make a new object.

    Attributes:
        home: the folder of the warehouse and of everything that is published; the lock is taken by who calls.
        folder: where dbt_project.yml is.

    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.folder = home.settings.project

    def replace(self, home: Home | None = None, **parsed: Any) -> Project:
        """The same project in another home, or with another ``manifest``, ``catalog`` or ``variables``.

        What was parsed already is shared, for it says nothing of a home.
        """
        other = Project(home or self.home)
        shared = ("manifest", "manifest_dict", "catalog", "variables")
        known = {name: self.__dict__[name] for name in shared if name in self.__dict__}
        other.__dict__.update(known | parsed)
        return other

    @cached_property
    def files(self) -> ProjectFiles:
        """The files that are parsed."""
        return ProjectFiles(self.folder)

    @cached_property
    def manifest(self) -> Manifest:
        """The parsed project; dbt's partial parsing makes an unchanged one cheap.

        Raises:
            TraithouseError: the project does not parse.

        """
        self.home.prepare()
        self.files.drop_stale_parse(self.home)
        result = run_dbt(self.home, self.folder, ["parse"])
        if isinstance(result.exception, OSError):
            raise result.exception
        if not result.success:
            raise TraithouseError(
                f"The dbt project does not parse: {first_lines(result.exception)}",
                "Correct the file that it names.",
            )
        self.files.keep_states(self.home)
        manifest: Manifest = result.result
        manifest.disabled = {}  # adapters that are not enabled: of no use here, and dbt cannot copy them
        return manifest

    @cached_property
    def manifest_dict(self) -> dict[str, Any]:
        """The manifest in the form of manifest.json; kept until a file of the project changes.

        So what only asks what is declared (explain, sync, Dagster loading its definitions) need not wait for dbt.
        """
        self.home.prepare()
        kept = self.home.dbt_target / f"manifest-{self.files.fingerprint(self.home.settings.target)}.json"
        manifest = read_json(kept)
        if "nodes" not in manifest:
            text = json.dumps(self.manifest.writable_manifest().to_dict(omit_none=False), default=str)
            for old in self.home.dbt_target.glob("manifest-*.json"):
                old.unlink(missing_ok=True)
            write_atomically(kept, text)
            manifest = json.loads(text)
        return manifest

    @cached_property
    def catalog(self) -> Catalog:
        """What the project declares."""
        return read_catalog(self.manifest_dict)

    @cached_property
    def variables(self) -> dict[str, Any]:
        """The scalar vars of dbt_project.yml."""
        declared: dict[str, Any] = read_yaml(self.folder / "dbt_project.yml").get("vars") or {}
        return declared

    @property
    def name(self) -> str:
        """Dbt's name of the project."""
        return str(self.manifest_dict["metadata"]["project_name"])

    @property
    def time_zone(self) -> str:
        """Reporting time zone."""
        return str(self.variables["reporting_time_zone"])

    def run(
        self,
        command: str,
        *,
        select: Sequence[str] = (),
        variables: Mapping[str, object],
        full_refresh: bool = False,
        manifest: Manifest | None = None,
        memory_limit: str | None = None,
        on_node: OnNode = ignore_node,
        notify: Notify = silent,
    ) -> list[NodeResult]:
        """Runs ``build`` (seeds and models) or ``test``, and gives how each node went; call it under the lock.

        Args:
            command: ``build`` or ``test``.
            select: names or selectors of dbt; empty for everything.
            variables: run arguments of the models (macros/clock.sql); those that are None are left out.
            full_refresh: everything is rebuilt.
            manifest: a changed manifest, in place of the project's own.
            memory_limit: the engine's, in its words (``2GB``); without it that of the settings.
            on_node: called with each node that went well as soon as it has ended, in a thread of dbt's.
            notify: progress.

        Raises:
            TraithouseError: dbt could not run at all.

        """
        given = {name: value for name, value in variables.items() if value is not None}
        arguments = [
            command,
            # Nobody reads dbt's artifacts of a run, and writing them takes longer than most models of a refresh.
            "--no-write-json",
            "--vars",
            yaml.safe_dump(given, default_flow_style=True, width=10_000).strip(),
        ]
        if command == "build":
            arguments += ["--resource-type", "seed", "--resource-type", "model"]
        if select:
            arguments += ["--select", *select]
        if full_refresh and command != "test":
            arguments.append("--full-refresh")
            if not self.home.settings.on_spark:
                # One large model uses every processor; two at once only take each other's memory.
                arguments += ["--threads", "1"]
        results = self._results(
            arguments, manifest=manifest or self.manifest, memory_limit=memory_limit, on_node=on_node, notify=notify
        )
        return [
            NodeResult(
                unique_id=result.node.unique_id,
                name=result.node.name,
                status=str(result.status),
                message=first_lines(result.message),
                seconds=round(result.execution_time, 3),
            )
            for result in results
            if result.node.resource_type != "operation"
        ]

    def compiled(self, *, select: Sequence[str], variables: Mapping[str, object]) -> dict[str, str]:
        """SQL of the selected models, as a rebuild would run them, by unique_id; call it under the lock.

        Raises:
            TraithouseError: a model does not compile.

        """
        arguments = ["compile", "--no-write-json", "--vars", json.dumps(dict(variables)), "--full-refresh"]
        arguments += ["--threads", "1", "--select", *select]
        arguments += ["--exclude", "resource_type:test", "resource_type:unit_test"]
        results = self._results(arguments, manifest=self.manifest)
        broken = [result for result in results if str(result.status) not in GOOD_STATUSES]
        if broken:
            raise TraithouseError(
                f"{broken[0].node.name} does not compile: {first_lines(broken[0].message)}", "Correct its SQL."
            )
        return {result.node.unique_id: result.node.compiled_code for result in results}

    def _results(self, arguments: list[str], *, manifest: Manifest, **options: Any) -> list[Any]:
        """Dbt's own results of a command; ``options`` as of ``run_dbt``."""
        result = run_dbt(self.home, self.folder, arguments, manifest=manifest, **options)
        if isinstance(result.exception, OSError):
            raise result.exception
        if result.result is None:
            raise TraithouseError(f"dbt stopped: {first_lines(result.exception)}", f"Its log is in {self.home.logs}.")
        return list(result.result)
