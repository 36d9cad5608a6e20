"""Replicas: they follow a folder or an object store, without a home, and go on where it is gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Home
from orchestration.published.lookup_file import read_pointer
from orchestration.published.served_copy import ServedCopy
from orchestration.serving.keys import add_key, read_keys
from orchestration.serving.lookup import Lookups
from orchestration.serving.replica import Replica
from tests.api import republish
from tests.object_store import Bucket, running_store


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with running_store() as opened:
        yield opened


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "folder":
        return str(tmp_path / "place")
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{bucket.name}/{tmp_path.name}/served"


def test_a_replica_has_what_was_published_last_and_its_keys(sample_home: Home, place: str, tmp_path: Path) -> None:
    home = Home(sample_home.settings.model_copy(update={"serve_to": place}))
    add_key(home.serving, "backend", "reader")
    own = tmp_path / "replica"
    own.mkdir()
    replica = Replica(ServedCopy(place, "TRAITHOUSE_SERVE_FROM"), own)
    assert not replica.copy()
    for _ in range(3):
        build = republish(home)
        assert replica.copy()
        assert not replica.copy()
        lookups = Lookups(own)
        lookups.look()
        assert lookups.current.build_id == build
        assert len(list(own.glob("lookup-*.sqlite"))) == 1
    assert read_keys(own) == read_keys(home.serving)


def test_another_file_under_the_name_of_a_lookup_is_not_served(sample_home: Home, tmp_path: Path) -> None:
    home = Home(sample_home.settings.model_copy(update={"serve_to": str(tmp_path / "place")}))
    own = tmp_path / "replica"
    own.mkdir()
    replica = Replica(ServedCopy(str(tmp_path / "place"), "TRAITHOUSE_SERVE_FROM"), own)
    republish(home)
    replica.copy()
    before = read_pointer(own)
    build = republish(home)
    (tmp_path / "place" / f"lookup-{build}.sqlite").write_bytes(b"another")
    with pytest.raises(TraithouseError, match=f"lookup-{build}.sqlite is not the file that lookup.json names"):
        replica.copy()
    assert read_pointer(own) == before
    (tmp_path / "place" / f"lookup-{build}.sqlite").unlink()
    with pytest.raises(TraithouseError, match="TRAITHOUSE_SERVE_FROM cannot be reached: FileNotFoundError"):
        replica.copy()
    assert sorted(path.name for path in own.iterdir()) == [before.file if before else "", "lookup.json"]


def test_a_store_that_is_no_store_is_told_without_its_secret() -> None:
    with pytest.raises(UsageError, match="TRAITHOUSE_SERVE_FROM: nothing here reads such an address"):
        ServedCopy("nothing://user:secret@host/x", "TRAITHOUSE_SERVE_FROM")
