"""Files in an object store, through fsspec: what is there, and a copy of one of them to read.

Credentials and the endpoint are those of the store's own library (for S3 botocore: AWS_ACCESS_KEY_ID, AWS_PROFILE, a
role, AWS_ENDPOINT_URL, ...); nothing of them is in a message.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from orchestration.errors import UsageError

# What a scheme needs beside this package, and how long its library waits.
_PACKAGES = {"s3": "traithouse[s3]", "gs": "gcsfs", "abfss": "adlfs"}
OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 3}}}
}
_REASONS = {
    "NoCredentialsError": "no credentials were found",
    "PartialCredentialsError": "its credentials are incomplete",
    "PermissionError": "access is refused",
    "FileNotFoundError": "there is no such bucket or object",
    "EndpointConnectionError": "nothing listens there",
    "ConnectTimeoutError": "it did not answer in time",
}


class ObjectStamp(NamedTuple):
    """What tells whether a file changed: size in bytes, time of change in nanoseconds, and the store's ETag, if any."""

    size_bytes: int
    modified_ns: int
    etag: str = ""


class ObjectStore:
    """The store of a pattern such as ``s3://bucket/tracks/**/*.parquet``.

    Raises:
        UsageError: the store cannot be reached, or its library is missing.

    """

    def __init__(self, pattern: str, where: str) -> None:
        self.scheme = pattern.partition("://")[0]
        self._pattern, self._where = pattern, where
        problem = ""
        try:
            options = OPTIONS.get(self.scheme, {})
            self._store = fsspec.filesystem(self.scheme, skip_instance_cache=True, **options)
        except (ImportError, ValueError):
            problem = self.scheme
        if problem:
            package = _PACKAGES.get(problem, f"the package that fsspec names for {problem}")
            raise UsageError(f"{where}: the library for {problem}:// is not installed.", f"pip install {package}")

    def stamps(self) -> dict[str, ObjectStamp]:
        """File, with its scheme -> its stamp, in the order of names."""
        found: dict[str, dict[str, Any]] = {}
        with self._explained(self._pattern):
            found = self._store.glob(self._pattern, detail=True)
        return {
            f"{self.scheme}://{path}": ObjectStamp(
                int(facts.get("size") or 0), _nanoseconds(facts), str(facts.get("ETag") or facts.get("etag") or "")
            )
            for path, facts in sorted(found.items())
            if facts.get("type") == "file"
        }

    @contextmanager
    def copy(self, path: str) -> Iterator[Path]:
        """A copy of a file on this machine, as long as it is read."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.rpartition("/")[2]
            with self._explained(path):
                self._store.get_file(path, str(copy))
            yield copy

    @contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        reason = ""
        try:
            yield
        # The libraries of stores share no class of errors.
        except Exception as error:
            known = (_REASONS.get(kind.__name__) for kind in type(error).__mro__)
            reason = next(filter(None, known), f"{type(error).__name__} of its library")
        if reason:
            raise UsageError(
                f"{self._where}: {path} cannot be read: {reason}.",
                "Check the address and the credentials, then pull again.",
            )


def _nanoseconds(facts: dict[str, Any]) -> int:
    """When a file was changed, if its store says so."""
    at = facts.get("LastModified") or facts.get("mtime") or facts.get("last_modified")
    return int(at.timestamp()) * 1_000_000_000 if isinstance(at, datetime) else 0
