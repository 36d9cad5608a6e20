"""The same rows through dlt's custom destination; run by a Python that has dlt, with nothing of this project.

    python benchmarks/dlt_peer.py FILE URL ROWS BATCH WORKERS

Prints the seconds of the pipeline. Several files, so that several workers have something to load at once.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

FILE, URL = sys.argv[1], sys.argv[2]
ROWS, BATCH, WORKERS = (int(number) for number in sys.argv[3:6])
os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "LOAD__WORKERS": str(WORKERS),
    "DATA_WRITER__FILE_MAX_ITEMS": str(max(BATCH, ROWS // (4 * WORKERS))),
    "DATA_WRITER__BUFFER_MAX_ITEMS": str(max(BATCH, ROWS // (4 * WORKERS))),
}

import dlt  # noqa: E402
import httpx  # noqa: E402

client = httpx.Client(base_url=URL)


@dlt.destination(batch_size=BATCH, loader_file_format="typed-jsonl", max_parallel_load_jobs=WORKERS)  # type: ignore[untyped-decorator, unused-ignore]
def stand_in(items: Any, table: Any) -> None:
    """Posts a batch."""
    client.post("/batch", json=items).raise_for_status()


@dlt.resource(name="records", max_table_nesting=0)  # type: ignore[untyped-decorator, unused-ignore]
def rows() -> Iterator[Any]:
    """The file, in lists."""
    with Path(FILE).open() as lines:
        wanted = islice(lines, ROWS)
        while some := [json.loads(line) for line in islice(wanted, 10_000)]:
            yield some


with tempfile.TemporaryDirectory() as folder:
    begun = time.perf_counter()
    dlt.pipeline("peer", destination=stand_in, pipelines_dir=folder).run(rows())
    print(time.perf_counter() - begun)
