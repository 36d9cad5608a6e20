"""One call of dbt in this process: a fresh process would cost seconds a call."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.home import Home, Notify, silent

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


def run_dbt(
    home: Home,
    folder: Path,
    arguments: Sequence[str],
    *,
    manifest: Manifest | None = None,
    memory_limit: str | None = None,
    on_node: OnNode = ignore_node,
    notify: Notify = silent,
) -> Any:
    """Runs one command of dbt, and gives its ``dbtRunnerResult``.

    Args:
        home: whose warehouse it works on.
        folder: where dbt_project.yml and profiles.yml are.
        arguments: the command and its options.
        manifest: the parsed project; without it dbt parses.
        memory_limit: the engine's, in its words (``2GB``); without it that of the settings.
        on_node: called with each node that went well as soon as it has ended, in a thread of dbt's.
        notify: progress, a line a node.

    Raises:
        KeyboardInterrupt: dbt was interrupted.

    """
    from dbt.cli.main import dbtRunner

    def listen(event: Any) -> None:
        if event.info.name == "NodeFinished":
            node, result = event.data.node_info, event.data.run_result
            notify(f"{node.node_name}: {node.node_status}")
            ended = NodeResult(
                unique_id=node.unique_id,
                name=node.node_name,
                status=node.node_status,
                message=first_lines(result.message),
                seconds=round(result.execution_time, 3),
            )
            if ended.ok:
                on_node(ended)

    flags = ["--project-dir", folder, "--profiles-dir", folder, "--target-path", home.dbt_target]
    flags += ["--log-path", home.logs, "--log-level", "none", "--log-level-file", "info"]
    flags += ["--no-use-colors", "--no-send-anonymous-usage-stats"]
    with _environment(
        TRAITHOUSE_HOME=str(home.root),
        TRAITHOUSE_TARGET=home.settings.target,
        TRAITHOUSE_MEMORY_LIMIT=memory_limit or home.settings.memory_limit,
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
    """Closes the warehouse, which dbt keeps open through a run: opening it for each model costs more than the model."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    environment = DuckDBConnectionManager._ENV
    DuckDBConnectionManager.close_all_connections()
    if environment is not None:
        environment.close()


def first_lines(message: object) -> str:
    """A message of dbt's on one line, cut where it gets long."""
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
