"""Signed tokens (JWT) of browsers: the subject is the only user that a browser can read.

HS256 with ``TRAITHOUSE_TOKEN_SECRET``, which the team's own backend signs with; RS256 with the public keys of
``TRAITHOUSE_TOKEN_JWKS``, a file as identity providers publish it. Several of each may hold at once, so that keys can
be changed without refusing anybody: ``TRAITHOUSE_TOKEN_SECRET_BEFORE``, and more keys in the file.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from pathlib import Path
from typing import Any

import jwt
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestration.errors import UsageError

AUDIENCE, STREAM_AUDIENCE = "traithouse", "traithouse-stream"
LONGEST_SECONDS = 3600
_LEEWAY_SECONDS = 5
_SHORTEST_SECRET = 32
_MOST_CACHED = 50_000


class TokenSettings(BaseSettings):
    """Read from the environment, each under ``TRAITHOUSE_`` and the field's name.

    Attributes:
        token_secret: what HS256 tokens are signed with.
        token_secret_before: the one before, which still holds.
        token_jwks: file with the public keys of RS256 tokens, in the form of RFC 7517.
        token_audience: ``aud`` of every token.

    """

    model_config = SettingsConfigDict(env_prefix="TRAITHOUSE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    token_secret: SecretStr | None = None
    token_secret_before: SecretStr | None = None
    token_jwks: Path | None = None
    token_audience: str = Field(default=AUDIENCE, min_length=1)

    @field_validator("token_secret", "token_secret_before")
    @classmethod
    def _is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value().encode()) < _SHORTEST_SECRET:
            raise ValueError(f"must have {_SHORTEST_SECRET} bytes or more; openssl rand -hex 32 makes one")
        return secret


class TokenError(Exception):
    """Why a token is refused, in a sentence without anything of the token."""


class Tokens:
    """Checks tokens; what was checked is remembered until it expires, because a signature costs more than a look-up."""

    def __init__(self, settings: TokenSettings) -> None:
        self._audience = settings.token_audience
        given = (settings.token_secret, settings.token_secret_before)
        self._secrets = [secret.get_secret_value() for secret in given if secret]
        self._jwks, self._stamp = settings.token_jwks, 0
        self._public: dict[str, Any] = {}
        self._checked: dict[str, tuple[str, float]] = {}
        # Without a secret streams are signed by this process alone; replicas share one.
        self._stream_secret = self._secrets[0] if self._secrets else secrets.token_hex(32)
        self.reread()

    def reread(self) -> None:
        """Reads the public keys again if their file changed.

        Raises:
            UsageError: it holds no RSA key.

        """
        if self._jwks is None:
            return
        try:
            stamp = self._jwks.stat().st_mtime_ns
            if stamp == self._stamp:
                return
            listed = json.loads(self._jwks.read_text())["keys"]
            keys = [jwt.PyJWK(key, algorithm="RS256") for key in listed if key.get("kty") == "RSA"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError):
            keys, stamp = [], 0
        if not keys:
            raise UsageError(
                "TRAITHOUSE_TOKEN_JWKS: the file holds no RSA key.",
                'Name a JSON file {"keys": [...]} with the public keys of those who sign the tokens.',
            )
        self._public = {key.key_id or "": key.key for key in keys}
        self._stamp = stamp
        self._checked.clear()

    def subject(self, token: str) -> str:
        """The user that a token speaks for.

        Raises:
            TokenError: it does not hold.

        """
        known = self._checked.get(token)
        if known and known[1] > time.time():
            return known[0]
        claims = self._claims(token, self._audience)
        if len(self._checked) >= _MOST_CACHED:
            self._checked.clear()
        self._checked[token] = (claims["sub"], float(claims["exp"]))
        return str(claims["sub"])

    def stream_token(self, subject: str, seconds: int = 300) -> str:
        """A token that opens the stream of one user and nothing else; it stands in a URL, so it is short-lived."""
        return self._signed(subject, STREAM_AUDIENCE, seconds)

    def stream_subject(self, token: str) -> str:
        """Whose stream a token opens.

        Raises:
            TokenError: it does not hold.

        """
        return str(self._claims(token, STREAM_AUDIENCE)["sub"])

    def _signed(self, subject: str, audience: str, seconds: int) -> str:
        claims = {"sub": subject, "aud": audience, "exp": int(time.time()) + seconds}
        return jwt.encode(claims, self._stream_secret, algorithm="HS256")

    def _claims(self, token: str, audience: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise TokenError("It is no signed token.") from None
        algorithm = header.get("alg")
        keys: list[Any]
        if audience == STREAM_AUDIENCE:
            keys = [self._stream_secret, *self._secrets]
        elif algorithm == "HS256":
            keys = list(self._secrets)
        else:
            named = self._public.get(str(header.get("kid", "")))
            keys = [named] if named else list(self._public.values()) if "kid" not in header else []
        allowed = "HS256" if audience == STREAM_AUDIENCE or algorithm == "HS256" else "RS256"
        why = "No key that this server knows has signed it."
        for key in keys:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key,
                    [allowed],
                    audience=audience,
                    leeway=_LEEWAY_SECONDS,
                    options={"require": ["exp", "sub", "aud"]},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError:
                raise TokenError("It has expired.") from None
            except jwt.InvalidAudienceError:
                raise TokenError("It was made for somebody else: its audience is another.") from None
            except jwt.MissingRequiredClaimError as error:
                raise TokenError(f"It lacks {error.claim}.") from None
            except (jwt.PyJWTError, ValueError, TypeError):
                raise TokenError("It is no signed token.") from None
            if not isinstance(claims["sub"], str) or not claims["sub"].strip():
                raise TokenError("It names no subject.")
            if float(claims["exp"]) > time.time() + LONGEST_SECONDS + _LEEWAY_SECONDS:
                raise TokenError("It holds for longer than an hour.")
            return claims
        raise TokenError(why)


def make_token(settings: TokenSettings, user_id: str, seconds: int) -> str:
    """A token as the team's backend makes it.

    Raises:
        UsageError: there is no secret, or it would hold too long.

    """
    if settings.token_secret is None:
        raise UsageError(
            "TRAITHOUSE_TOKEN_SECRET is not set.", "Set it to 32 random bytes or more; openssl rand -hex 32 makes them."
        )
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise UsageError(f"A token holds for 1 to {LONGEST_SECONDS} seconds.", "Give --seconds within that.")
    claims = {"sub": user_id, "aud": settings.token_audience, "exp": int(time.time()) + seconds}
    return jwt.encode(claims, settings.token_secret.get_secret_value(), algorithm="HS256")


def looks_signed(text: str) -> bool:
    """Whether a credential has the form of a token."""
    return re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", text) is not None
