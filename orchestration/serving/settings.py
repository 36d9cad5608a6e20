"""How the API is served: settings from the environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class ServeSettings(BaseSettings):
    """Read from the environment, each under ``TRAITHOUSE_SERVE_`` and the field's name. No secret is held here.

    Attributes:
        host: address to listen on; another than loopback belongs behind a proxy that ends TLS.
        port: to listen on.
        origins: web origins whose pages may read, separated by commas; none when empty.
        source: folder or object store that a replica follows; empty where the home is served.
        browser_purpose: browsers are answered for users whose consent names this; empty for any user.
        browser_rate: requests a second of one browser user; twice as many at once.
        key_rate: requests a second of one key; twice as many at once.
        most_streams: so many streams may be open.

    """

    model_config = SettingsConfigDict(env_prefix="TRAITHOUSE_SERVE_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(default=8090, ge=0, le=65535)
    origins: Annotated[tuple[str, ...], NoDecode] = ()
    source: str = Field(default="", validation_alias="TRAITHOUSE_SERVE_FROM")
    browser_purpose: str = ""
    browser_rate: int = Field(default=20, ge=1)
    key_rate: int = Field(default=5_000, ge=1)
    most_streams: int = Field(default=5_000, ge=1)

    @field_validator("origins", mode="before")
    @classmethod
    def _parted(cls, given: object) -> object:
        return tuple(filter(None, (part.strip() for part in given.split(",")))) if isinstance(given, str) else given

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest or "*" in rest:
                raise ValueError(f"{origin!r} is no origin, such as https://app.example.com")
        return origins
