"""dbt in this process: parse once, run warm (a fresh process would cost seconds a call)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import yaml

from orchestration.declarations.catalog import Catalog, read_catalog
from orchestration.errors import TraithouseError
from orchestration.home import Home, Notify, silent, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbt.contracts.graph.manifest import Manifest


GOOD_STATUSES = ("success", "pass", "warn", "no-op")


@dataclass(frozen=True)
class NodeResult:
    """How one dbt node went.

    Attributes:
        unique_id: dbt's name of the node.
        name: model, seed or test.
        status: success, pass, warn, fail, error or skipped.
        message: dbt's words, first lines only.
        seconds: how long it took.

    """

    unique_id: str
    name: str
    status: str
    message: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether what depends on it may be believed."""
        return self.status in GOOD_STATUSES


OnNode = Callable[[NodeResult], None]


def ignore_node(result: NodeResult) -> None:
    """A node that nobody waits for."""


class Project:
    """The dbt project of a home."""

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
    def manifest(self) -> Manifest:
        """The parsed project; dbt's partial parsing makes an unchanged one cheap.

        Raises:
            TraithouseError: the project does not parse.

        """
        self.home.prepare()
        result = self._invoke(["parse"], None, silent)
        if not result.success:
            raise TraithouseError(
                f"The dbt project does not parse: {_first_lines(result.exception)}",
                "Correct the file that it names.",
            )
        manifest: Manifest = result.result
        manifest.disabled = {}  # adapters that are not enabled: of no use here, and dbt cannot copy them
        return manifest

    @cached_property
    def manifest_dict(self) -> dict[str, Any]:
        """The manifest in the form of manifest.json; kept until a file of the project changes.

        So what only asks what is declared (explain, sync, Dagster loading its definitions) need not wait for dbt.
        """
        self.home.prepare()
        kept = self.home.dbt_target / f"manifest-{self._files_fingerprint()}.json"
        try:
            text = kept.read_text()
        except FileNotFoundError:
            text = json.dumps(self.manifest.writable_manifest().to_dict(omit_none=False), default=str)
            for old in self.home.dbt_target.glob("manifest-*.json"):
                old.unlink(missing_ok=True)
            write_atomically(kept, text)
        manifest: dict[str, Any] = json.loads(text)
        return manifest

    def _files_fingerprint(self) -> str:
        """Hash over name, size and time of every file that dbt reads, over dbt's version and the engine."""
        files = [self.folder / "dbt_project.yml", self.folder / "profiles.yml"]
        for folder in ("models", "macros", "seeds", "tests/unit", "tests/data"):
            files += sorted((self.folder / folder).rglob("*"))
        facts = [(str(path), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files if path.is_file()]
        return hashlib.sha256(json.dumps([facts, version("dbt-core"), self.home.settings.target]).encode()).hexdigest()[
            :16
        ]

    @cached_property
    def catalog(self) -> Catalog:
        """What the project declares."""
        return read_catalog(self.manifest_dict)

    @cached_property
    def variables(self) -> dict[str, Any]:
        """The scalar vars of dbt_project.yml."""
        declared: dict[str, Any] = yaml.safe_load((self.folder / "dbt_project.yml").read_text())["vars"]
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
        """Runs ``build`` (seeds and models) or ``test`` and returns how each node went; call it under the lock.

        ``memory_limit`` is the engine's, in its words; without it that of the settings. ``on_node`` is called with each
        node that went well as soon as it has ended, in a thread of dbt's.

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
        return [
            NodeResult(
                unique_id=one.node.unique_id,
                name=one.node.name,
                status=str(one.status),
                message=_first_lines(one.message),
                seconds=round(one.execution_time, 3),
            )
            for one in self._results(arguments, manifest or self.manifest, notify, memory_limit, on_node)
            if one.node.resource_type != "operation"
        ]

    def compiled(self, *, select: Sequence[str], variables: Mapping[str, object]) -> dict[str, str]:
        """SQL of the selected models, as a rebuild would run them, by unique_id; call it under the lock.

        Raises:
            TraithouseError: a model does not compile.

        """
        arguments = ["compile", "--no-write-json", "--vars", json.dumps(dict(variables)), "--full-refresh"]
        arguments += ["--threads", "1", "--select", *select]
        arguments += ["--exclude", "resource_type:test", "resource_type:unit_test"]
        results = self._results(arguments, self.manifest, silent)
        broken = [one for one in results if str(one.status) not in GOOD_STATUSES]
        if broken:
            raise TraithouseError(
                f"{broken[0].node.name} does not compile: {_first_lines(broken[0].message)}", "Correct its SQL."
            )
        return {one.node.unique_id: one.node.compiled_code for one in results}

    def _results(
        self,
        arguments: list[str],
        manifest: Manifest,
        notify: Notify,
        memory_limit: str | None = None,
        on_node: OnNode = ignore_node,
    ) -> list[Any]:
        result = self._invoke(arguments, manifest, notify, memory_limit, on_node)
        if result.result is None:
            raise TraithouseError(
                f"dbt stopped: {_first_lines(result.exception)}",
                f"Its log is in {self.home.logs}.",
            )
        return list(result.result)

    def _invoke(
        self,
        arguments: list[str],
        manifest: Manifest | None,
        notify: Notify,
        memory_limit: str | None = None,
        on_node: OnNode = ignore_node,
    ) -> Any:
        from dbt.cli.main import dbtRunner

        def listen(event: Any) -> None:
            if event.info.name == "NodeFinished":
                node, result = event.data.node_info, event.data.run_result
                notify(f"{node.node_name}: {node.node_status}")
                ended = NodeResult(
                    unique_id=node.unique_id,
                    name=node.node_name,
                    status=node.node_status,
                    message=_first_lines(result.message),
                    seconds=round(result.execution_time, 3),
                )
                if ended.ok:
                    on_node(ended)

        flags = [
            "--project-dir",
            self.folder,
            "--profiles-dir",
            self.folder,
            "--target-path",
            self.home.dbt_target,
        ]
        flags += ["--log-path", self.home.logs, "--log-level", "none", "--log-level-file", "info"]
        flags += ["--no-use-colors", "--no-send-anonymous-usage-stats"]
        with _environment(
            TRAITHOUSE_HOME=str(self.home.root),
            TRAITHOUSE_TARGET=self.home.settings.target,
            TRAITHOUSE_MEMORY_LIMIT=memory_limit or self.home.settings.memory_limit,
        ):
            runner = dbtRunner(manifest=manifest, callbacks=[listen])
            try:
                result = runner.invoke([*arguments, *(str(flag) for flag in flags)])
            finally:
                close_warehouse()
        if result.result is None and not isinstance(result.exception, Exception):
            raise KeyboardInterrupt
        return result


def close_warehouse() -> None:
    """Let go of the file, which dbt keeps open through a run: opening it for each model costs more than the model."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    environment = DuckDBConnectionManager._ENV
    DuckDBConnectionManager.close_all_connections()
    if environment is not None:
        environment.close()


def _first_lines(message: object) -> str:
    return " ".join(str(message).split())[:300]


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """profiles.yml reads paths from the environment; they are put back afterwards."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
