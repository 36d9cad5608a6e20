"""Requests and answers of HTTP: bodies within a bound, numbers of a query, JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from orchestration.serving.access import RequestError
from orchestration.serving.answers import MOST_ROWS

JSON = "application/json"
_LARGEST_BODY = 65_536
_BODY_SECONDS = 10


def json_response(value: Mapping[str, Any], status: int = 200) -> Response:
    """A value as JSON."""
    return Response(orjson.dumps(value), status, media_type=JSON)


def refusal(error: RequestError) -> Response:
    """The answer to a request that is not answered."""
    response = json_response(
        {"error": {"code": error.code, "message": error.message}, "errorDetails": error.message}, error.status
    )
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def read_body(request: Request) -> bytes:
    """The body of a request.

    Raises:
        RequestError: it is too large, or takes too long.

    """
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > _LARGEST_BODY:
                    raise RequestError(413, "too_large", f"A body has {_LARGEST_BODY} bytes at most.")
    except TimeoutError:
        raise RequestError(408, "too_slow", f"The body did not come within {_BODY_SECONDS} seconds.") from None
    return bytes(body)


def read_limit(asked: Mapping[str, str]) -> int:
    """How many rows of a page are asked for.

    Raises:
        RequestError: it is no number of rows.

    """
    limit = read_number(asked.get("limit", "100"), "limit")
    if not 1 <= limit <= MOST_ROWS:
        raise RequestError(400, "bad_request", f"limit: from 1 to {MOST_ROWS}.")
    return limit


def read_number(text: str, name: str) -> int:
    """A whole number of a query.

    Raises:
        RequestError: it is none.

    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise RequestError(400, "bad_request", f"{name}: a whole number, not {text[:20]!r}.")
    return int(text)
