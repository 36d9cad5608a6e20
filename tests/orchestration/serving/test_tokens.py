"""Tokens: what is signed by whom, for whom, and for how long."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.serving.server import read_settings
from orchestration.serving.tokens import TokenError, Tokens, TokenSettings, make_token
from tests.api import SECRET, client_of, token

OTHER = "another secret of thirty-two bytes, or more"
KEY, NEXT_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


def tokens_of(**given: Any) -> Tokens:
    return Tokens(TokenSettings(token_secret=SecretStr(SECRET), **given))


def write_jwks(path: Path, **keys: rsa.RSAPrivateKey) -> Path:
    listed = [
        json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | {"kid": name} for name, key in keys.items()
    ]
    path.write_text(json.dumps({"keys": listed}))
    return path


def signed(key: Any, algorithm: str = "RS256", kid: str | None = "first", **claims: Any) -> str:
    given = {"sub": "user", "aud": "traithouse", "exp": int(time.time()) + 60, **claims}
    return jwt.encode(given, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def test_a_signed_subject_is_who_asks() -> None:
    assert tokens_of().subject(token("user")) == "user"
    assert tokens_of().subject(make_token(TokenSettings(token_secret=SecretStr(SECRET)), "user", 60)) == "user"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (token("user", seconds=-60), "It has expired."),
        (token("user", secret=OTHER), "No key that this server knows has signed it."),
        (token("user", aud="others"), "It was made for somebody else"),
        (token("user", aud="traithouse-stream"), "It was made for somebody else"),
        (token("user", aud=None), "It lacks aud."),
        (token("user", exp=None), "It lacks exp."),
        (token("user", sub=None), "It lacks sub."),
        (token(" "), "It names no subject."),
        (token("user", seconds=7_300), "It holds for longer than an hour."),
        (token("user", exp=float("inf")), "It is no signed token."),
        (token("user", nbf=int(time.time()) + 600), "It is no signed token."),
        (jwt.encode({"sub": "user", "aud": "traithouse", "exp": time.time() + 60}, "", algorithm="none"), ""),
        (signed(SECRET * 2, "HS512"), ""),
        ("a.b.c", "It is no signed token."),
    ],
)
def test_what_does_not_hold_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(TokenError) as error:
        tokens_of().subject(text)
    assert why in str(error.value)
    assert text not in str(error.value)


def test_a_changed_signature_payload_or_header_is_refused() -> None:
    parts = token("user").split(".")
    others = token("other").split(".")
    for number in range(3):
        mixed = [*parts[:number], others[number], *parts[number + 1 :]]
        if mixed != parts:
            with pytest.raises(TokenError):
                tokens_of().subject(".".join(mixed))


def test_the_secret_before_still_holds_and_a_removed_one_does_not() -> None:
    both = Tokens(TokenSettings(token_secret=SecretStr(OTHER), token_secret_before=SecretStr(SECRET)))
    assert both.subject(token("user")) == both.subject(token("user", secret=OTHER)) == "user"
    with pytest.raises(TokenError):
        Tokens(TokenSettings(token_secret=SecretStr(OTHER))).subject(token("user"))


def test_public_keys_are_changed_without_refusing_anybody(tmp_path: Path) -> None:
    path = write_jwks(tmp_path / "jwks.json", first=KEY)
    tokens = tokens_of(token_jwks=path)
    assert tokens.subject(signed(KEY)) == tokens.subject(signed(KEY, kid=None)) == "user"
    for wrong in (signed(NEXT_KEY, kid="next"), signed(NEXT_KEY), signed(NEXT_KEY, kid=None)):
        with pytest.raises(TokenError):
            tokens.subject(wrong)
    write_jwks(path, first=KEY, next=NEXT_KEY)
    tokens.reread()
    assert tokens.subject(signed(KEY)) == tokens.subject(signed(NEXT_KEY, kid="next")) == "user"
    write_jwks(path, next=NEXT_KEY)
    tokens.reread()
    with pytest.raises(TokenError):
        tokens.subject(signed(KEY))


def test_a_public_key_is_never_taken_for_a_secret(tmp_path: Path) -> None:
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    tokens = Tokens(TokenSettings(token_jwks=write_jwks(tmp_path / "jwks.json", first=KEY)))
    import base64
    import hashlib
    import hmac

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    head = part(json.dumps({"alg": "HS256", "kid": "first"}).encode())
    claims = {"sub": "user", "aud": "traithouse", "exp": int(time.time()) + 60}
    text = head + b"." + part(json.dumps(claims).encode())
    forged = text + b"." + part(hmac.new(pem, text, hashlib.sha256).digest())
    with pytest.raises(TokenError):
        tokens.subject(forged.decode())


def test_a_file_without_a_key_is_told(tmp_path: Path) -> None:
    for content in ("", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "eA"}]}', '{"keys": 7}'):
        path = tmp_path / "jwks.json"
        path.write_text(content)
        with pytest.raises(UsageError, match="TRAITHOUSE_TOKEN_JWKS"):
            tokens_of(token_jwks=path)
    with pytest.raises(UsageError, match="TRAITHOUSE_TOKEN_JWKS"):
        tokens_of(token_jwks=tmp_path / "nowhere.json")


def test_a_file_that_becomes_unreadable_is_told_once_and_its_keys_hold(
    sample_home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_jwks(tmp_path / "jwks.json", first=KEY)
    with client_of(sample_home, TokenSettings(token_jwks=path)) as client:
        path.write_text("{")
        for _ in range(3):
            client.api.look()
        assert [record.message for record in caplog.records if "TRAITHOUSE_TOKEN_JWKS" in record.message] == [
            "UsageError: TRAITHOUSE_TOKEN_JWKS: the file holds no RSA key."
        ]
        assert client.flags("user_0000", signed(KEY, sub="user_0000")).status_code == 200


def test_a_stream_is_opened_by_its_own_token_alone() -> None:
    tokens = tokens_of()
    assert tokens.stream_subject(tokens.stream_token("user")) == "user"
    with pytest.raises(TokenError):
        tokens.stream_subject(token("user"))
    with pytest.raises(TokenError):
        tokens.subject(tokens.stream_token("user"))
    # Replicas with the same secret open each other's streams.
    assert tokens_of().stream_subject(tokens.stream_token("user")) == "user"


def test_a_short_secret_is_refused_by_its_name_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAITHOUSE_TOKEN_SECRET", "short-secret")
    with pytest.raises(UsageError) as error:
        read_settings(TokenSettings)
    assert error.value.message.startswith("TRAITHOUSE_TOKEN_SECRET: must have 32 bytes or more")
    assert "short-secret" not in repr(error.value) + error.value.message
    with pytest.raises(UsageError, match="TRAITHOUSE_TOKEN_SECRET is not set"):
        make_token(TokenSettings(token_secret=None), "user", 60)
    assert SECRET not in repr(TokenSettings(token_secret=SecretStr(SECRET)))
