"""A local S3 server for tests: moto's, on loopback, always stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import duckdb
from moto.server import ThreadedMotoServer


class Bucket:
    """A bucket; ``environment`` is what its user sets."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "s3cr3t-key",
            "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-the-key",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="owner",
            aws_secret_access_key="owner",
            region_name="us-east-1",
        )
        self._client.create_bucket(Bucket=name)

    def put(self, key: str, content: bytes) -> None:
        """Writes an object."""
        self._client.put_object(Bucket=self.name, Key=key, Body=content)

    def put_rows(self, key: str, sql: str, folder: Path) -> None:
        """Writes the rows of a query as Parquet."""
        duckdb.execute(f"copy ({sql}) to '{folder / 'object.parquet'}' (format parquet)")
        self.put(key, (folder / "object.parquet").read_bytes())

    def remove(self, key: str) -> None:
        """Removes an object."""
        self._client.delete_object(Bucket=self.name, Key=key)


@contextmanager
def running_store(name: str = "exports") -> Iterator[Bucket]:
    """A server with one bucket, until the context ends."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield Bucket(name, server.get_host_and_port()[1])
    finally:
        server.stop()
