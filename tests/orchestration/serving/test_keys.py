"""API keys: hashed, named, with roles; revoked at once; a damaged file lets nobody in."""

import pytest

from orchestration.errors import DamagedFileError, UsageError
from orchestration.home import Home
from orchestration.serving.keys import ROLES, add_key, hash_key, read_keys, revoke_key
from tests.api import client_of


def test_only_a_hash_of_a_key_is_kept(home: Home) -> None:
    made = add_key(home.serving, "backend", "reader", purpose="Marketing ")
    text = (home.serving / "keys.json").read_text()
    assert made not in text
    assert made.removeprefix("thk_") not in text
    [key] = read_keys(home.serving).values()
    assert (key.name, key.role, key.purpose, key.sha256) == ("backend", "reader", "marketing", hash_key(made))


def test_a_name_is_taken_once_and_has_a_form(home: Home) -> None:
    add_key(home.serving, "backend", "reader")
    with pytest.raises(UsageError, match="There is a key backend already"):
        add_key(home.serving, "backend", "operator")
    for name in ("", "A key", "../x", "a" * 65):
        with pytest.raises(UsageError, match="cannot be the name of a key"):
            add_key(home.serving, name, "reader")
    with pytest.raises(UsageError, match="There is no key other"):
        revoke_key(home.serving, "other")


def test_a_higher_role_may_what_a_lower_one_may(home: Home) -> None:
    for role in ROLES:
        add_key(home.serving, role, role)
    may = {key.name: [key.may(role) for role in ROLES] for key in read_keys(home.serving).values()}
    assert may == {
        "reader": [True, False, False],
        "operator": [True, True, False],
        "approver": [True, True, True],
    }


def test_a_revoked_key_is_refused_by_a_server_that_runs(sample_home: Home) -> None:
    with client_of(sample_home) as client:
        other = add_key(sample_home.serving, "other", "reader")
        client.publish()
        assert client.get("/v1/traits", other).status_code == 200
        assert client.get("/v1/traits", other[:-1]).status_code == 401
        revoke_key(sample_home.serving, "other")
        client.api.look()
        assert client.get("/v1/traits", other).status_code == 401
        assert client.get("/v1/traits").status_code == 200
        (sample_home.serving / "keys.json").write_text('{"keys": [{"name"')
        client.api.look()
        assert client.get("/v1/traits").status_code == 401
        assert "keys.json is damaged" in client.get("/healthz").json()["trouble"]
        with pytest.raises(DamagedFileError, match=r"keys\.json is damaged"):
            add_key(sample_home.serving, "new", "reader")


def test_a_key_may_also_stand_in_its_own_header(sample_home: Home) -> None:
    with client_of(sample_home) as client:
        client.publish()
        assert client.http.get("/v1/traits", headers={"X-API-Key": client.key}).status_code == 200
        for headers in (
            {},
            {"Authorization": client.key},
            {"Authorization": f"Basic {client.key}"},
            {"X-API-Key": "x" * 5_000},
        ):
            assert client.http.get("/v1/traits", headers=headers).status_code == 401
