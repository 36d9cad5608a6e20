"""The API as an ASGI application: routes, and what all of them share (who asks, how often, errors, metrics, log)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestration.errors import TraithouseError
from orchestration.serving.access import Access, Caller, RequestError
from orchestration.serving.answers import age_seconds, catalogue, changes, entity_traits, members
from orchestration.serving.flags import FlagError, context_of, etag_of, evaluate, evaluate_all
from orchestration.serving.http import JSON, json_response, read_body, read_limit, read_number, refusal
from orchestration.serving.lookup import Lookups
from orchestration.serving.metrics import LOG, Metrics, log_request, request_id
from orchestration.serving.settings import ServeSettings
from orchestration.serving.streams import Announcer, ChangeReader, EventStream, FlagReader, Found
from orchestration.serving.tokens import Tokens

LOOK_SECONDS = 0.25
_STREAMS_OF_ONE = 20
_STREAM_TOKEN_SECONDS = 300
_INACTIVITY_SECONDS = 120

Handler = Callable[[Request], Awaitable[tuple[Response | ASGIApp, Caller | None]]]


class Api:
    """What is behind the routes.

    Args:
        folder: ``serving/`` of a home, or a replica's copy of it.
        settings: of the server.
        tokens: of browsers.

    """

    def __init__(self, folder: Path, settings: ServeSettings, tokens: Tokens) -> None:
        self.announcer, self.metrics = Announcer(), Metrics()
        self.lookups = Lookups(folder, self.announcer.announce)
        self._access, self._settings, self._tokens = Access(folder, settings, tokens), settings, tokens
        self._streams: Counter[str] = Counter()
        self._troubles: list[str] = []
        self._description = orjson.dumps(yaml.safe_load((Path(__file__).parent / "openapi.yaml").read_text()))

    def application(self) -> ASGIApp:
        """The application."""
        handlers: dict[str, tuple[str, Handler]] = {
            "/v1/users/{entity_id:path}/traits": ("GET", self._user),
            "/v1/accounts/{entity_id:path}/traits": ("GET", self._account),
            "/v1/traits": ("GET", self._catalogue),
            "/v1/traits/{trait}/members": ("GET", self._members),
            "/v1/changes": ("GET", self._changes),
            "/v1/changes/stream": ("GET", self._change_stream),
            "/v1/stream": ("GET", self._flag_stream),
            "/v1/openapi.json": ("GET", self._describe),
            "/ofrep/v1/evaluate/flags/{key}": ("POST", self._flag),
            "/ofrep/v1/evaluate/flags": ("POST", self._flags),
            "/healthz": ("GET", self._health),
            "/metrics": ("GET", self._metrics),
        }
        routes = [
            Route(path, self._endpoint(path, handler), methods=[method]) for path, (method, handler) in handlers.items()
        ]
        cors = Middleware(
            CORSMiddleware,
            allow_origins=self._settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "if-none-match", "x-api-key", "x-request-id"],
            expose_headers=["ETag", "Retry-After", "X-Request-Id", "Traithouse-Build"],
            # Without it, every evaluation of a page costs a second request before it.
            max_age=7_200,
        )
        routed = Starlette(routes=routes, middleware=[cors], lifespan=self._lifespan)

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            # Thousands of streams stay open, and each layer around one costs memory.
            is_stream = scope["type"] == "http" and (scope["method"], scope["path"]) == ("GET", "/v1/stream")
            stream = self._browser_stream(scope) if is_stream else None
            await (stream or routed)(scope, receive, send)

        return application

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.look()
        following = asyncio.create_task(self._follow())
        yield
        following.cancel()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Takes up what changed on disk: the lookup, keys, public keys of tokens."""
        troubles = []
        for reread in (self.lookups.look, self._access.reread, self._tokens.reread):
            try:
                reread()
            except Exception as error:
                # What was served goes on; the message names files of the server, nothing of a person.
                troubles.append(f"{type(error).__name__}: {error}")
        for trouble in troubles:
            if trouble not in self._troubles:
                LOG.error(trouble)
        self._troubles = troubles

    def _endpoint(self, route: str, handler: Handler) -> Callable[[Request], Awaitable[ASGIApp]]:
        async def endpoint(request: Request) -> ASGIApp:
            began = time.perf_counter()
            known = request_id(request.headers.get("x-request-id"))
            caller = None
            try:
                response, caller = await handler(request)
            except FlagError as error:
                told = {"errorCode": error.code, "errorDetails": error.message}
                response = json_response(
                    {**({"key": key} if (key := request.path_params.get("key")) else {}), **told}, error.status
                )
            except RequestError as error:
                response = refusal(error)
            except TraithouseError as error:
                response = refusal(RequestError(503, "not_ready", f"{error.message} {error.hint}", 1))
            except ClientDisconnect:
                response = refusal(RequestError(400, "bad_request", "The request ended early."))
            except Exception as error:
                # The text of an unexpected error may hold what was asked for.
                LOG.error(
                    "%s in %s, request %s", type(error).__name__, route, known, exc_info=LOG.isEnabledFor(logging.DEBUG)
                )
                told = {"errorDetails": f"An unexpected error; request {known}."}
                response = json_response(
                    {**told, "error": {"code": "unexpected", "message": told["errorDetails"]}}, 500
                )
            seconds = time.perf_counter() - began
            status = response.status_code if isinstance(response, Response) else 200
            if isinstance(response, Response):
                response.headers["X-Request-Id"] = known
            self.metrics.observe(route, status, seconds)
            log_request(
                request=known,
                route=route,
                method=request.method,
                status=status,
                milliseconds=1000 * seconds,
                caller=caller.name if caller else "-",
            )
            return response

        return endpoint

    async def _user(self, request: Request) -> tuple[Response, Caller]:
        return self._entity(request, "user")

    async def _account(self, request: Request) -> tuple[Response, Caller]:
        return self._entity(request, "account")

    def _entity(self, request: Request, entity_type: str) -> tuple[Response, Caller]:
        caller, lookup = self._access.caller(request.headers), self.lookups.current
        only = frozenset(request.query_params.getlist("trait"))
        answer = entity_traits(lookup, caller, entity_type, request.path_params["entity_id"], only)
        return self._built(json_response(answer)), caller

    async def _catalogue(self, request: Request) -> tuple[Response, Caller]:
        caller = self._access.caller(request.headers)
        return self._built(json_response(catalogue(self.lookups.current, caller))), caller

    async def _members(self, request: Request) -> tuple[Response, Caller]:
        caller, asked = self._access.caller(request.headers), request.query_params
        trait, value = request.path_params["trait"], asked.get("value", "true")
        found = members(self.lookups.current, caller, trait, value, asked.get("cursor", ""), read_limit(asked))
        return self._built(json_response(found)), caller

    async def _changes(self, request: Request) -> tuple[Response, Caller]:
        caller, asked = self._access.caller(request.headers), request.query_params
        found = changes(self.lookups.current, caller, read_number(asked.get("after", "0"), "after"), read_limit(asked))
        return self._built(json_response(found)), caller

    async def _change_stream(self, request: Request) -> tuple[ASGIApp, Caller]:
        caller = self._access.caller(request.headers)
        caller.need("reader")
        given = request.headers.get("last-event-id") or request.query_params.get("after", "0")
        return self._opened(caller, ChangeReader(self.lookups, caller, read_number(given, "after"))), caller

    def _browser_stream(self, scope: Scope) -> ASGIApp | None:
        """The stream that a browser asks for; nothing where it is refused, for the route says why."""
        request = Request(scope)
        try:
            caller = self._access.stream_caller(request.query_params.get("token", ""))
            origin = request.headers.get("origin", "")
            allowed = [(b"access-control-allow-origin", origin.encode()), (b"vary", b"Origin")]
            headers = allowed if origin in self._settings.origins else []
            stream = self._opened(caller, FlagReader(self.lookups, caller), headers)
        except (RequestError, TraithouseError):
            return None
        self.metrics.observe("/v1/stream", 200, 0.0)
        log_request(request="-", route="/v1/stream", method="GET", status=200, milliseconds=0.0, caller=caller.name)
        return stream

    async def _flag_stream(self, request: Request) -> tuple[ASGIApp, Caller]:
        caller = self._access.stream_caller(request.query_params.get("token", ""))
        return self._opened(caller, FlagReader(self.lookups, caller)), caller

    def _opened(
        self, caller: Caller, read: Callable[[], Found], headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> ASGIApp:
        """A stream, where there is room for one more."""
        who = caller.subject or f"key {caller.name}"
        if self.announcer.open >= self._settings.most_streams or self._streams[who] >= _STREAMS_OF_ONE:
            raise RequestError(503, "too_many_streams", "Too many streams are open.", 5)
        stream = EventStream(self.announcer, read, headers)

        async def counted(*connection: Any) -> None:
            self._streams[who] += 1
            try:
                await stream(*connection)
            finally:
                self._streams[who] -= 1
                if not self._streams[who]:
                    del self._streams[who]

        return counted

    async def _flag(self, request: Request) -> tuple[Response, Caller]:
        caller = self._access.caller(request.headers)
        context = context_of(await read_body(request))
        answer = evaluate(self.lookups.current, caller, request.path_params["key"], context)
        return self._built(json_response(answer)), caller

    async def _flags(self, request: Request) -> tuple[Response, Caller]:
        caller = self._access.caller(request.headers)
        context = context_of(await read_body(request))
        flags = orjson.dumps(evaluate_all(self.lookups.current, caller, context))
        tag = etag_of(flags)
        asked = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
        if tag in asked or tag.strip('"') in asked:
            return self._built(Response(status_code=304, headers={"ETag": tag})), caller
        streams = b""
        if caller.subject:
            token = self._tokens.stream_token(caller.subject, _STREAM_TOKEN_SECONDS)
            listed = {"type": "sse", "endpoint": {"requestUri": f"/v1/stream?token={token}"}}
            streams = b',"eventStreams":' + orjson.dumps([{**listed, "inactivityDelaySec": _INACTIVITY_SECONDS}])
        body = b'{"flags":' + flags + streams + b"}"
        return self._built(Response(body, media_type=JSON, headers={"ETag": tag})), caller

    async def _describe(self, _: Request) -> tuple[Response, None]:
        return Response(self._description, media_type=JSON), None

    async def _health(self, _: Request) -> tuple[Response, None]:
        lookup = self.lookups.current
        facts = lookup.facts
        answer = {
            "status": "ok",
            "build_id": lookup.build_id,
            "as_of": facts["as_of"],
            "published_at": facts["published_at"],
            "age_seconds": age_seconds(facts["as_of"]),
            "trouble": self.lookups.trouble or self._access.trouble or None,
        }
        return self._built(json_response(answer)), None

    async def _metrics(self, request: Request) -> tuple[Response, Caller]:
        caller = self._access.caller(request.headers)
        caller.need("reader")
        age = age_seconds(self.lookups.current.facts["as_of"])
        text = self.metrics.text(streams=self.announcer.open, age=age)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8"), caller

    def _built(self, response: Response) -> Response:
        """The answer with the build that it was made from; it is of one person, so no cache may keep it."""
        response.headers["Traithouse-Build"] = self.lookups.current.build_id
        response.headers["Cache-Control"] = "private, no-store"
        return response
