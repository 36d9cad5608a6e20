"""Faults on the way of a publish, and of the snapshot that it finds."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestration.declarations.catalog import Catalog
from orchestration.publishing.publish import publish
from orchestration.transform.build import begin_build
from tests.children import in_child, kill_child, start_child
from tests.faults.injection import Fault, Injection

SNAPSHOT = "writing the serving snapshot"
# Above what a status file needs, below any snapshot and any transaction of a warehouse.
SMALLEST_DISK = 65_536


def published_cut_off(injection: Injection, at: Callable[[str], None]) -> None:
    """A publish in a child to which something happens on the way."""
    error_file = injection.folder / "error"
    status = in_child(lambda: publish(injection.project, notify=at), error_file)
    assert status != 0, "the publish ended as if nothing had happened"
    injection.messages.append(error_file.read_text() if error_file.exists() else "")


def killed_at(message: str) -> Callable[[Injection], None]:
    """A publish that is killed when it says so."""

    def at(said: str) -> None:
        if said == message:
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda injection: published_cut_off(injection, at)


def disk_full_at(message: str) -> Callable[[Injection], None]:
    """A publish from whose message on no file can grow."""

    def at(said: str) -> None:
        if said == message:
            resource.setrlimit(resource.RLIMIT_FSIZE, (SMALLEST_DISK, SMALLEST_DISK))

    return lambda injection: published_cut_off(injection, at)


def read_only(*folders: str) -> Callable[[Injection], None]:
    """A publish by somebody who may not write some folders of the home."""

    def cut_off(injection: Injection) -> None:
        paths = [injection.home.root / name for name in folders]
        for path in paths:
            path.chmod(0o500)
        error_file = injection.folder / "error"

        def work() -> None:
            _as_ordinary_user()
            publish(injection.project)

        status = in_child(work, error_file)
        for path in paths:
            path.chmod(0o700)
        assert status != 0, "a folder that cannot be written was written"
        injection.messages.append(error_file.read_text() if error_file.exists() else "")

    return cut_off


def _as_ordinary_user() -> None:
    """Gives up root's right to write what nobody may write (Linux); nothing to give up for anybody else."""
    if os.geteuid() == 0:
        version, current = 0x20080522, (ctypes.c_uint32 * 2)(0x20080522, 0)
        none = (ctypes.c_uint32 * 6)()
        if version and ctypes.CDLL(None, use_errno=True).capset(current, none) != 0:
            raise OSError(ctypes.get_errno(), "the rights of root could not be given up")


def publish_faults() -> list[Fault]:
    """What happens to a publish on its way."""

    def stalled(
        name: str,
        cut_off: Callable[[Injection], object],
        message: str,
        repair: Callable[[Injection], object] = lambda _: None,
    ) -> Fault:
        return Fault(name, "publish", lambda _: None, message=message, publish=cut_off, repair=repair)

    def busy(injection: Injection) -> None:
        ready = injection.folder / "ready"

        def hold() -> None:
            with injection.home.lock("traithouse refresh"):
                ready.touch()
                time.sleep(120)

        child = start_child(hold)
        try:
            while not ready.exists():
                time.sleep(0.01)
            assert injection.command("refresh") == 5
            assert injection.command("status") == 0
        finally:
            kill_child(child)

    def back(injection: Injection) -> None:
        assert injection.command("refresh", "--as-of", "2024-06-20") == 2

    def clock_back(injection: Injection) -> None:
        with injection.home.lock("fault injection"):
            made = begin_build(injection.project, as_of=None, full_refresh=False, now=datetime(2024, 6, 1))
        injection.messages.append(f"as_of {made.as_of}")

    def rewritten(injection: Injection) -> None:
        injection.refresh()
        # The number of a build rises with each that was begun.
        injection.sql(
            "update state.current_build set build_id = '000002' || substr(build_id, 7)",
            "update state.gate_verdicts set build_id = '000002' || substr(build_id, 7)",
            "update state.node_results set build_id = '000002' || substr(build_id, 7)",
        )

    def retire(injection: Injection) -> None:
        catalog = injection.project.catalog
        left = tuple(trait for trait in catalog.traits if trait.name != "at_risk")
        injection.project = injection.project.replace(catalog=Catalog(traits=left, syncs=catalog.syncs))

    return [
        stalled("killed while a trait is published", killed_at("publishing lifecycle_stage"), ""),
        stalled("killed before the first trait", killed_at("publishing activated"), ""),
        stalled("killed between commit and snapshot", killed_at(SNAPSHOT), ""),
        stalled(
            "the disk is full while a trait is published", disk_full_at("publishing at_risk"), "(?i)file too large"
        ),
        stalled("the disk is full while the snapshot is written", disk_full_at(SNAPSHOT), "(?i)file too large"),
        stalled("the folder of snapshots is read-only", read_only("serving/builds"), "(?i)permission denied"),
        stalled("the serving folder is read-only", read_only("serving"), "(?i)permission denied"),
        stalled("the home is read-only", read_only("."), "(?i)permission denied"),
        stalled("two refreshes at once", busy, "The warehouse is busy: `traithouse refresh`"),
        stalled("an older clock is asked for", back, "is before 2024-06-27 00:00:00 UTC, which is published"),
        stalled("the wall clock is set back", clock_back, "as_of 2024-06-27 00:00:00", rewritten),
        Fault(
            "a trait is no longer declared",
            "publish",
            retire,
            retired=frozenset({"at_risk"}),
        ),
    ]


def snapshot_faults() -> list[Fault]:
    """A snapshot, or what lies beside it, that was harmed before the next publish."""

    def harmed(name: str, inject: Callable[[Injection], object], message: str = "", **more: Any) -> Fault:
        return Fault(name, "snapshot", inject, message=message, **more)

    def file(name: str) -> Callable[[Injection], Path]:
        return lambda injection: injection.current.resolve() / name

    def overwrite(at: Callable[[Injection], Path], content: bytes) -> Callable[[Injection], object]:
        return lambda injection: at(injection).write_bytes(content)

    def dangle(injection: Injection) -> None:
        shutil.rmtree(injection.current.resolve())

    def truncate(injection: Injection) -> None:
        os.truncate(injection.current.resolve() / "traithouse.duckdb", 8192)

    def harm_parts(injection: Injection) -> None:
        for path in injection.current.resolve().rglob("*.parquet"):
            os.truncate(path, 64)

    def folder_for_link(injection: Injection) -> None:
        target = injection.current.resolve()
        injection.current.unlink()
        shutil.copytree(target, injection.current)

    def leftovers(injection: Injection) -> None:
        for name in (".draft-000001-x", ".draft-000002-20240628T000000Z"):
            folder = injection.home.serving / "builds" / name
            folder.mkdir()
            (folder / "traithouse.duckdb").write_bytes(b"half")
        (injection.home.serving / ".current-1").symlink_to("builds/nowhere")

    def same_name(injection: Injection) -> None:
        (injection.home.serving / "builds" / "000002-20240628T000000Z").mkdir()

    def dead_holder(injection: Injection) -> None:
        (injection.home.root / "lock").touch()
        (injection.home.root / "lock.json").write_text('{"pid": 1, "purpose": "tra')

    return [
        harmed(
            "status.json is cut off",
            overwrite(lambda injection: injection.home.root / "status.json", b'{"loads": {"lo'),
        ),
        harmed(
            "status.json is not text", overwrite(lambda injection: injection.home.root / "status.json", b"\xff\x00")
        ),
        harmed("manifest.json is cut off", overwrite(file("manifest.json"), b'{"build_id": "0000')),
        harmed("manifest.json is a list", overwrite(file("manifest.json"), b"[]")),
        harmed("manifest.json is gone", lambda injection: file("manifest.json")(injection).unlink()),
        harmed("the link leads nowhere", dangle),
        harmed("the link is gone", lambda injection: injection.current.unlink()),
        harmed(
            "a folder stands where the link should",
            folder_for_link,
            message="serving/current is a folder, where a link",
            publish=Injection.publish,
            repair=lambda injection: shutil.rmtree(injection.current),
        ),
        harmed("drafts of a killed publish are left", leftovers),
        harmed("a folder of the next build's name is there already", same_name),
        harmed("the database is garbage", overwrite(file("traithouse.duckdb"), b"no database" * 1000)),
        harmed("the database is cut off", truncate),
        harmed("the database is empty", overwrite(file("traithouse.duckdb"), b"")),
        harmed("all parts of Parquet are cut off", harm_parts),
        harmed("everything served is gone", lambda injection: shutil.rmtree(injection.home.serving)),
        harmed("the lock of a killed process is left", dead_holder),
    ]
