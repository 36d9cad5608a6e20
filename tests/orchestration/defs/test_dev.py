"""``traithouse dev`` as a background job of a script: a signal ends all of its processes."""

import os
import signal
import time
from pathlib import Path

import dagster as dg
import pytest

from orchestration.defs.dev import fail_orphans
from orchestration.defs.instance import write_instance
from orchestration.home import Home
from tests.dagster_ui import dagster_ui

SECONDS_TO_END = 60


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_web_server_daemon_and_code_servers(home: Home, tmp_path: Path, number: signal.Signals) -> None:
    with dagster_ui(home, tmp_path / "dev.log") as dev:
        before = dev.processes()
        for part in ("orchestration dev", "dagster dev", "webserver", "daemon", "api grpc"):
            assert any(part in command for command in before.values()), (part, before)
        os.kill(dev.pid, number)
        until = time.monotonic() + SECONDS_TO_END
        while time.monotonic() < until and dev.processes():
            time.sleep(0.2)
        assert dev.processes() == {}


def test_a_run_that_was_cut_off_with_its_dagster_holds_no_other(home: Home) -> None:
    with dg.DagsterInstance.from_config(str(write_instance(home))) as instance:
        statuses = {"cut off": dg.DagsterRunStatus.STARTED, "waits": dg.DagsterRunStatus.NOT_STARTED}
        runs = {name: instance.add_run(dg.DagsterRun("refresh", status=status)) for name, status in statuses.items()}
        fail_orphans(home)
        after = {name: instance.get_run_by_id(run.run_id).status for name, run in runs.items()}  # type: ignore[union-attr]
    assert after == {"cut off": dg.DagsterRunStatus.FAILURE, "waits": dg.DagsterRunStatus.NOT_STARTED}
