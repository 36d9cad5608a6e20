"""Files in the home's outbox: ``outbox/<sync>/<build>-<content>.ndjson`` or ``.csv``.

A file appears whole or not at all; its name follows from its content, so a repeated delivery overwrites itself.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from orchestration.destinations import Destination, ObjectKind, Options, Outcomes, Record, UnavailableError
from orchestration.project import write_atomically


class FileOptions(Options):
    """How rows are written: NDJSON carries changes and reasons, CSV one column a trait."""

    format: Literal["ndjson", "csv"] = "ndjson"


class FileDestination(Destination):
    """Acknowledged once the file has its name."""

    remote: ClassVar[bool] = False
    objects: ClassVar[Mapping[str, ObjectKind]] = {
        "users": ObjectKind("user", "user_id", deletes=True),
        "accounts": ObjectKind("account", "account_id", deletes=True),
    }
    batch_size: ClassVar[int] = 10_000
    options_type: ClassVar[type[Options]] = FileOptions

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Writes one file a batch."""
        text = _ndjson(records) if self.options.format == "ndjson" else _csv(records)
        first = records[0]
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        folder = self.outbox / first.sync
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / f"{first.build_id}-{digest}.{self.options.format}", text)
        except OSError as error:
            raise UnavailableError(f"{folder} cannot be written: {error.strerror}") from None
        return [None] * len(records)


def _ndjson(records: Sequence[Record]) -> str:
    return "".join(json.dumps(record.message(), sort_keys=True) + "\n" for record in records)


def _csv(records: Sequence[Record]) -> str:
    traits = sorted({name for record in records for name in record.fields})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["entity_type", "entity_id", "as_of", "build_id", *traits])
    for record in records:
        values = [json.dumps(v) if isinstance(v, bool) else v for v in map(record.fields.get, traits)]
        writer.writerow(
            [
                record.entity_type,
                record.entity_id,
                record.message()["as_of"],
                record.build_id,
                *values,
            ]
        )
    return text.getvalue()
