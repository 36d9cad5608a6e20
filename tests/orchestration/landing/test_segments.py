"""Segments: acknowledged is on the disk, a kill costs nothing that was acknowledged, and nothing lands twice."""

import json
import os
import resource
import signal
import threading
import time
from pathlib import Path

import pytest

from orchestration.home import Home
from orchestration.landing import segments
from orchestration.landing.segments import SegmentError, SegmentWriter, drain_segments
from tests.children import in_child, start_child
from tests.conftest import queried

IDS = "select event_id, source from raw.events order by 1"


def event(name: str) -> bytes:
    told = {"event_id": name, "event_name": "opened", "user_id": "user", "occurred_at": "2024-06-01T10:00:00Z"}
    return json.dumps(told).encode()


def folder(home: Home, source: str = "web") -> Path:
    home.prepare()
    return home.root / "segments" / source


def files(home: Home) -> list[str]:
    return sorted(path.suffix for path in (home.root / "segments").rglob("*") if path.is_file())


def test_what_is_acknowledged_lands_once_with_its_source(home: Home) -> None:
    for source in ("web", "backend"):
        writer = SegmentWriter(folder(home, source))
        for number in range(3):
            writer.append([event(f"{source}-{number}"), event(f"{source}-{number}b")]).result(30)
        writer.close()
    assert drain_segments(home) == 2
    names = sorted(f"{source}-{number}{b}" for source in ("web", "backend") for number in range(3) for b in ("", "b"))
    assert queried(home, IDS) == [(name, name.partition("-")[0]) for name in names]
    assert files(home) == []
    assert drain_segments(home) == 0


def test_many_callers_share_a_write_to_the_disk(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    real = os.fdatasync

    def counted(file: int) -> None:
        nonlocal syncs
        syncs += 1
        time.sleep(0.01)
        real(file)

    monkeypatch.setattr(segments.os, "fdatasync", counted)
    writer = SegmentWriter(folder(home))

    def send(caller: int) -> None:
        for number in range(10):
            writer.append([event(f"{caller}-{number}")]).result(10)

    callers = [threading.Thread(target=send, args=(caller,)) for caller in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    writer.close()
    assert syncs < 120
    drain_segments(home)
    assert len(queried(home, IDS)) == 160


def test_a_file_that_is_written_to_is_left_and_sealed_by_its_age(home: Home) -> None:
    writer = SegmentWriter(folder(home), seal_seconds=4)
    writer.append([event("first")]).result(30)
    assert files(home) == [".open"]
    assert drain_segments(home) == 0
    ends = time.monotonic() + 20
    while files(home) != [".ndjson"]:
        assert time.monotonic() < ends
        time.sleep(0.05)
    writer.append([event("second")]).result(30)
    assert drain_segments(home) == 1
    writer.close()
    assert drain_segments(home) == 1
    assert [row[0] for row in queried(home, IDS)] == ["first", "second"]


def test_after_a_kill_all_that_was_acknowledged_is_there_and_half_a_line_is_not(home: Home, tmp_path: Path) -> None:
    acknowledged = tmp_path / "acknowledged"

    def write() -> None:
        writer = SegmentWriter(folder(home))
        with acknowledged.open("a") as log:
            for number in range(100_000):
                writer.append([event(f"e{number}")]).result(30)
                log.write(f"e{number}\n")
                log.flush()

    for _ in range(3):
        acknowledged.write_text("")
        child = start_child(write)
        while acknowledged.read_text().count("\n") < 5:
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with next(folder(home).glob("*.open")).open("ab") as file:
            file.write(b'{"event_id": "cut o')
        drain_segments(home)
        landed = {row[0] for row in queried(home, IDS)}
        assert set(acknowledged.read_text().split()) <= landed
    assert queried(home, "select count(*) from raw.rejected_events") == [(0,)]


def test_a_drain_that_is_cut_off_before_it_deletes_lands_nothing_twice(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SegmentWriter(folder(home))
    writer.append([event("first"), event("second")]).result(30)
    writer.close()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: os._exit(9))
        assert in_child(lambda: drain_segments(home)) != 0
    assert files(home) == [".ndjson"]
    drain_segments(home)
    assert [row[0] for row in queried(home, IDS)] == ["first", "second"]


def test_a_full_disk_acknowledges_nothing_and_loses_nothing(home: Home, tmp_path: Path) -> None:
    answers = tmp_path / "answers"

    def write() -> None:
        writer = SegmentWriter(folder(home))
        writer.append([event("before")]).result(30)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        told = []
        for name in ("x" * 10_000, "after"):
            try:
                writer.append([event(name)]).result(30)
                told.append("durable")
            except SegmentError as error:
                told.append(error.message)
        writer.close()
        answers.write_text(json.dumps(told))

    assert in_child(write) == 0
    assert json.loads(answers.read_text()) == ["The disk refuses: File too large.", "durable"]
    drain_segments(home)
    assert [row[0] for row in queried(home, IDS)] == ["after", "before"]


def test_what_cannot_be_an_event_is_kept_aside_and_holds_no_other(home: Home) -> None:
    for source, content in (("bad", b"[]"), ("web", event("good"))):
        writer = SegmentWriter(folder(home, source))
        writer.append([content]).result(30)
        writer.close()
    told: list[str] = []
    assert drain_segments(home, notify=told.append) == 1
    assert any("lies in segments/unread" in line for line in told)
    assert queried(home, IDS) == [("good", "web")]
    with pytest.raises(ValueError, match="one line"):
        SegmentWriter(folder(home)).append([b"a\nb"])
