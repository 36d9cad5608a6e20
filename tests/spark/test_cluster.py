"""The cluster is real, and nothing of it is left behind, however its user ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.spark.cluster import cluster, members

HERE = Path(__file__).parents[2]


def test_every_part_is_a_process_of_its_own_and_none_is_left(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        running = members(made.group)
        # The supervisor, the master and two workers.
        assert len(running) == 4
        assert made.master.startswith("spark://127.0.0.1:")
    assert members(made.group) == []


def test_none_is_left_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a failing test"), cluster(tmp_path) as made:
        raise ValueError("a failing test")
    assert members(made.group) == []


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_none_is_left_when_its_user_is_killed(tmp_path: Path, ending: signal.Signals) -> None:
    program = (
        "import signal, sys, time; from pathlib import Path; from tests.spark.cluster import cluster\n"
        # A background job of a shell ignores it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with cluster(Path(sys.argv[1])) as made: print(made.group, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    user = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert user.stdout is not None
    group = int(user.stdout.readline())
    assert len(members(group)) == 4
    os.kill(user.pid, ending)
    user.wait()
    user.stdout.close()
    deadline = time.monotonic() + 10
    while members(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert members(group) == []
