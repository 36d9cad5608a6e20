"""Whole files under names that follow from their content, in every format and place."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations

from orchestration.destinations import ClosedError, Record, UnavailableError
from orchestration.destinations.file import FileDestination
from orchestration.errors import UsageError
from orchestration.sync.validate import destination_of
from tests.orchestration.destinations.standins.file import FileStandIn

FORMATS = ("ndjson", "csv", "parquet")


class ElsewhereFileSystem(MemoryFileSystem):
    """A store of another machine, in which a file is seen while it is written; it says no where it is told to."""

    protocol = "elsewhere"
    store: dict[str, Any] = {}  # noqa: RUF012 - as its base has it
    pseudo_dirs = [""]  # noqa: RUF012 - as its base has it
    refuses: type[Exception] | None = None

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **given: Any) -> None:
        if self.refuses:
            raise self.refuses("key=AKIASECRET")
        super().pipe_file(path, value, mode=mode, **given)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[ElsewhereFileSystem]]:
    fsspec.register_implementation("elsewhere", ElsewhereFileSystem, clobber=True)
    yield ElsewhereFileSystem
    for kind in (ElsewhereFileSystem, MemoryFileSystem):
        kind.store.clear()


@pytest.fixture(params=["folder", "file://", "memory://bucket/traits", "elsewhere://bucket/traits"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {"folder": str(tmp_path / "a folder"), "file://": f"file://{tmp_path}/b"}.get(request.param, request.param)


def record_of(identifier: str, action: Any = "upsert", entity_id: str = "", **fields: Any) -> Record:
    return Record(
        sync="attacked",
        entity_type="user",
        entity_id=entity_id or identifier,
        identifier=identifier,
        action=action,
        fields=fields,
        changed=dict.fromkeys(fields),
        reasons={},
        build_id="000007",
        as_of=datetime(2024, 6, 30),
    )


def delivered(target: FileStandIn, *records: Record, outbox: Path = Path()) -> None:
    with closing(FileDestination(target.sync(), outbox)) as destination:
        assert destination.deliver(records) == [None] * len(records)


@pytest.mark.parametrize("fmt", FORMATS)
def test_files_replayed_in_order_give_what_was_delivered(fmt: str, place: str) -> None:
    target = FileStandIn(fmt, place)
    quoted = 'a "b", é\nc'
    delivered(
        target,
        record_of("a", stage=quoted, score=1.5, at_risk=True),
        record_of("b", stage="new", score=2.0, at_risk=False),
    )
    delivered(
        target,
        record_of("a", stage="active", score=None, at_risk=False),
        record_of("c@example.com", entity_id="c", stage="x"),
    )
    assert target.state() == {
        "a": {"stage": "active", "at_risk": False},
        "b": {"stage": "new", "score": 2.0, "at_risk": False},
        "c@example.com": {"stage": "x"},
    }
    delivered(
        target, record_of("b", "clear", stage=None, score=None, at_risk=None), record_of("a", "delete", stage=None)
    )
    assert target.state() == {"b": {}, "c@example.com": {"stage": "x"}}
    assert all(name.startswith("/attacked/000007-") and name.endswith(f".{fmt}") for name, _ in target.files())


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_repetition_overwrites_itself(fmt: str, place: str) -> None:
    target = FileStandIn(fmt, place)
    records = [record_of(f"e{number}", stage="new", score=number / 2) for number in range(3000)]
    for _ in range(3):
        delivered(target, *records)
    assert len(target.files()) == 1
    delivered(target, *records[1:])
    assert len(target.files()) == 2


def test_the_outbox_is_where_nothing_is_said(tmp_path: Path) -> None:
    target = FileStandIn()
    delivered(target, record_of("a", stage="new"), outbox=tmp_path)
    (path,) = (tmp_path / "attacked").iterdir()
    assert path.suffix == ".ndjson"


def test_parquet_has_types_also_where_a_file_has_no_value(tmp_path: Path) -> None:
    target = FileStandIn("parquet", str(tmp_path))
    record = record_of("a", stage="new", score=1.0, at_risk=True)
    delivered(target, record)
    delivered(target, replace(record, action="clear", fields=dict.fromkeys(record.fields), changed=record.fields))
    for path in (tmp_path / "attacked").iterdir():
        described = duckdb.sql(f"describe from '{path}'").fetchall()
        assert {row[0]: row[1] for row in described} == {
            "entity_type": "VARCHAR",
            "entity_id": "VARCHAR",
            "as_of": "TIMESTAMP",
            "build_id": "VARCHAR",
            "at_risk": "BOOLEAN",
            "score": "DOUBLE",
            "stage": "VARCHAR",
            "identifier": "VARCHAR",
            "action": "VARCHAR",
        }
        assert duckdb.sql(f"select as_of from '{path}'").fetchall() == [(datetime(2024, 6, 30),)]


def test_no_draft_is_left_and_no_part_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = FileStandIn("ndjson", "elsewhere://bucket/traits")
    delivered(target, record_of("a", stage="new"))
    assert [name for name, _ in target.files() if "/." in name] == []

    def cut(*given: Any, **rest: Any) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(ElsewhereFileSystem, "mv", cut)
    with pytest.raises(UnavailableError, match="ConnectionResetError"):
        delivered(target, record_of("a", stage="active"))
    whole = [name for name, _ in target.files() if "/." not in name]
    assert len(whole) == 1


@pytest.mark.parametrize(
    ("refuses", "kind"),
    [(PermissionError, ClosedError), (FileNotFoundError, ClosedError), (TimeoutError, UnavailableError)],
)
def test_what_a_store_says_tells_no_secret(
    elsewhere: type[ElsewhereFileSystem],
    monkeypatch: pytest.MonkeyPatch,
    refuses: type[Exception],
    kind: type[Exception],
) -> None:
    monkeypatch.setattr(elsewhere, "refuses", refuses)
    with pytest.raises(kind) as error:
        delivered(FileStandIn("ndjson", "elsewhere://bucket"), record_of("a", stage="new"))
    assert refuses.__name__ in str(error.value)
    assert "AKIASECRET" not in str(error.value)


def test_a_folder_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UnavailableError, match="cannot be written"):
        delivered(FileStandIn("ndjson", str(tmp_path / "taken")), record_of("a", stage="new"))


def test_only_another_machine_is_remote(place: str) -> None:
    assert FileDestination.is_remote(FileStandIn("csv", place).sync()) == place.startswith("elsewhere")
    assert FileDestination.is_remote(FileStandIn("csv", "s3://bucket/prefix").sync())
    assert not FileDestination.is_remote(FileStandIn().sync())


@pytest.mark.parametrize(
    ("path", "said"),
    [("there", "an absolute path"), ("file://there", "an absolute path"), ("ftp://ann:pass@host/x", "password")],
)
def test_a_path_that_cannot_be_used_says_why(path: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        destination_of(FileStandIn("ndjson", path).sync())
    assert "ann:pass" not in str(error.value)


def test_a_store_whose_package_is_missing_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = {"class": "far_store.Far", "err": "Install farfs to access it"}
    monkeypatch.setitem(known_implementations, "far", far)
    with pytest.raises(UsageError, match="far:// needs a package") as error:
        FileDestination(FileStandIn("ndjson", "far://bucket").sync(), tmp_path)
    assert error.value.hint == "Install farfs to access it."
    with pytest.raises(UsageError, match="no store is known by nowhere://"):
        FileDestination(FileStandIn("ndjson", "nowhere://bucket").sync(), tmp_path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["'=1+1", "'+49 170", "'-x", "'@sum", "'\tx", "'\rx", "1-2", "-2.5", "true"]),
        ({"escape_formulas": False}, ["=1+1", "+49 170", "-x", "@sum", "\tx", "\rx", "1-2", "-2.5", "true"]),
    ],
)
def test_a_text_that_a_spreadsheet_would_run_is_a_text(
    tmp_path: Path, options: dict[str, Any], expected: list[str]
) -> None:
    texts: list[Any] = ["=1+1", "+49 170", "-x", "@sum", "\tx", "\rx", "1-2", -2.5, True]
    target = FileStandIn("csv", str(tmp_path))
    sync = target.sync(options={"format": "csv", "path": str(tmp_path), **options})
    with closing(FileDestination(sync, Path())) as destination:
        destination.deliver([record_of("=cmd()", **{f"t{place}": text for place, text in enumerate(texts)})])
    (written,) = tmp_path.glob("**/*.csv")
    with written.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert [row[f"t{place}"] for place in range(len(texts))] == expected
    assert row["identifier"] == row["entity_id"] == ("=cmd()" if options else "'=cmd()")
