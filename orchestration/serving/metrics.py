"""What the server says about itself: metrics for Prometheus, and one line of log a request, without personal data."""

from __future__ import annotations

import json
import logging
import re
import secrets

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LOG = logging.getLogger("traithouse.serve")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "traithouse_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "traithouse_request_seconds",
            "From a request's arrival to its answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._streams = Gauge("traithouse_open_streams", "Streams that are open.", registry=self._registry)
        self._age = Gauge(
            "traithouse_served_age_seconds", "Since the clock of the build that is served.", registry=self._registry
        )

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Counts a request; the route is its template, never a path with an id in it."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self, *, streams: int, age: int | None) -> bytes:
        """All of them, in the text format of Prometheus."""
        self._streams.set(streams)
        self._age.set(float("nan") if age is None else age)
        return generate_latest(self._registry)


def request_id(given: str | None) -> str:
    """The caller's id of a request, where it is one, or a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def log_request(*, request: str, route: str, method: str, status: int, milliseconds: float, caller: str) -> None:
    """Writes the line of a request: no path, no query, no id of a person."""
    if LOG.isEnabledFor(logging.INFO):
        told = {
            "request_id": request,
            "method": method,
            "route": route,
            "status": status,
            "ms": round(milliseconds, 2),
            "caller": caller,
        }
        LOG.info(json.dumps(told))
