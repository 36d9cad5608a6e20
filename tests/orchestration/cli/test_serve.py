"""Commands about serving: keys and tokens, and settings that cannot be used."""

import json
import socket
from collections.abc import Callable

import pytest

from orchestration.home import Home
from orchestration.serving.keys import add_key, read_keys
from orchestration.serving.tokens import Tokens, TokenSettings
from tests.api import SECRET
from tests.orchestration.cli.conftest import Traithouse

TOKENS = ("TRAITHOUSE_TOKEN_SECRET", "TRAITHOUSE_TOKEN_JWKS")


def test_keys_are_made_listed_and_revoked_and_each_act_is_written_down(
    home: Home, traithouse: Traithouse, acts: Callable[[Home], list[tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAITHOUSE_USER", "ada")
    made = traithouse("keys", "add", "crm", "--role", "operator", "--purpose", "marketing", home=home)
    key = made.stdout.strip()
    assert key.startswith("thk_")
    assert key not in made.stderr
    listed = json.loads(traithouse("keys", "list", "--json", home=home).stdout)["keys"]
    assert [(row["name"], row["role"], row["purpose"]) for row in listed] == [("crm", "operator", "marketing")]
    assert "crm" in traithouse("keys", "list", home=home).stdout
    assert traithouse("keys", "revoke", "crm", home=home).exit_code == 0
    assert read_keys(home.serving) == {}
    assert "There is no key crm." in traithouse("keys", "revoke", "crm", home=home).stderr
    assert acts(home) == [("ada", "key added", "crm", "role operator"), ("ada", "key revoked", "crm", "")]


@pytest.fixture
def acts() -> Callable[[Home], list[tuple[str, ...]]]:
    """What the audit log of a home says."""
    from orchestration.published.audit_log import opened_acts

    def read(home: Home) -> list[tuple[str, ...]]:
        with opened_acts(home) as log:
            return log.execute("select actor, act, object, detail from audit_log order by act_id").fetchall()

    return read


def test_a_key_is_copied_to_where_replicas_follow(
    sample_home: Home, traithouse: Traithouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = sample_home.root / "place"
    monkeypatch.setenv("TRAITHOUSE_SERVE_TO", str(place))
    traithouse("keys", "add", "crm", home=sample_home)
    assert read_keys(place) == read_keys(sample_home.serving) != {}
    traithouse("keys", "revoke", "crm", home=sample_home)
    assert read_keys(place) == {}


def test_a_token_of_the_command_is_what_the_server_takes(
    home: Home, traithouse: Traithouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAITHOUSE_TOKEN_SECRET", SECRET)
    made = traithouse("token", "user_0000", home=home)
    assert Tokens(TokenSettings()).subject(made.stdout.strip()) == "user_0000"
    monkeypatch.delenv("TRAITHOUSE_TOKEN_SECRET")
    refused = traithouse("token", "user_0000", home=home)
    assert (refused.exit_code, "TRAITHOUSE_TOKEN_SECRET is not set" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRAITHOUSE_SERVE_PORT", "none"),
        ("TRAITHOUSE_SERVE_ORIGINS", "*"),
        ("TRAITHOUSE_SERVE_ORIGINS", "https://app.example.com/path"),
        ("TRAITHOUSE_SERVE_KEY_RATE", "0"),
        ("TRAITHOUSE_TOKEN_SECRET", "short"),
        ("TRAITHOUSE_TOKEN_JWKS", "nowhere.json"),
        ("TRAITHOUSE_SERVE_FROM", "nothing://place"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    home: Home, traithouse: Traithouse, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    told = traithouse("serve", home=home)
    assert (told.exit_code, name in told.stderr) == (2, True), told.stderr
    if name in TOKENS:
        assert value not in told.stderr.replace(name, "")


def test_an_address_that_is_taken_is_told(home: Home, traithouse: Traithouse) -> None:
    add_key(home.serving, "tests", "reader")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        told = traithouse("serve", "--port", str(busy.getsockname()[1]), home=home)
    assert told.exit_code == 1
    assert "Nothing can listen on 127.0.0.1" in told.stderr
