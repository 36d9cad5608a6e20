"""Lock and lease, held by real processes."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from orchestration.errors import WarehouseBusyError
from orchestration.home import Home


@contextmanager
def held_elsewhere(home: Home, what: str, seconds: float = 3600) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock or the lease so long; killed at the end."""
    holder = (
        "import time; from pathlib import Path; from orchestration.home import Home, Settings\n"
        f"with Home(Settings(home=Path({str(home.root)!r}))).{what}('traithouse refresh'):\n"
        f"    print('held', flush=True); time.sleep({seconds})"
    )
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def waiting(home: Home, seconds: float) -> Home:
    return Home(home.settings.model_copy(update={"lock_wait_seconds": seconds}))


@pytest.mark.parametrize("what", ["lock", "lease"])
def test_another_process_is_told_who_holds_it_and_exits_5(home: Home, what: str) -> None:
    held = getattr(waiting(home, 0.1), what)
    with held_elsewhere(home, what) as process:
        with pytest.raises(WarehouseBusyError, match=rf"`traithouse refresh` \(process {process.pid}\)"), held("test"):
            pass
        said = home.busy() if what == "lock" else home.leased()
        assert said
        assert str(process.pid) in said
    assert WarehouseBusyError.exit_code == 5


@pytest.mark.parametrize("what", ["lock", "lease"])
def test_a_killed_holder_holds_nothing(home: Home, what: str) -> None:
    with held_elsewhere(home, what) as process:
        process.kill()
        process.wait()
        with getattr(home, what)("test"):
            assert (home.busy() if what == "lock" else home.leased()) is not None
    assert (home.busy(), home.leased()) == (None, None)


def test_who_waits_gets_the_lease_when_it_is_free(home: Home) -> None:
    start = time.monotonic()
    with held_elsewhere(home, "lease", 1), waiting(home, 60).lease("test"):
        assert 0.5 < time.monotonic() - start < 30


def test_the_lease_leaves_the_lock_to_others(home: Home) -> None:
    with held_elsewhere(home, "lease"), home.lock("test"), home.connect() as connection:
        connection.execute("select 1")


def test_a_step_takes_again_what_its_run_holds(home: Home) -> None:
    with home.lease("run"), home.lock("run"), home.lease("step"), home.lock("step"):
        pass
    assert (home.busy(), home.leased()) == (None, None)
