"""Customer.io (Journeys): attributes of people and of objects, by POST /api/v2/batch of the Track API.

Writes: one ``identify`` operation a record, with all of its fields. ``users`` are people, known by ``id`` (the
default), ``email`` or ``cio_id``; ``accounts`` are objects of the type that ``object_type_id`` names (1 is the first
one of a workspace), known by ``object_id``.

Limits: 500 KB a call and 32 KB an operation (both counted in thousands); 100 calls a second, which Customer.io calls
fair use. A batch has no other limit there; 1,000 is this destination's own.

Authentication: basic, with the site id and the API key of the Track API, from the variables that ``site_id_env`` and
``token_env`` name. ``region: eu`` for accounts of the European Union.

=================================  ====================================================================
Answer                             What is done
=================================  ====================================================================
200                                acknowledged
207 (or 200) with ``errors``       those named by ``batch_index`` are refused, the others acknowledged
... with an error that names none  the batch is halved until the error stands alone
400 (nothing was taken), 413       halved
401, 403                           nothing more is sent before the next run
429, 5xx, no answer                tried again; Retry-After is heeded
any other 2xx or body              in doubt, sent again
=================================  ====================================================================

Fields: booleans, numbers and strings of at most 1,000 bytes; at most 300 attributes of a person or object, names of at
most 150 bytes that are none of the identifiers and do not begin with ``cio_``, which Customer.io reserves.

A null is sent as an empty string, which removes the attribute from the profile. ``delete`` removes the person or the
object; one that is gone is no error. Customer.io answers before it applies: an acknowledgement says that the operation
was valid.

Sources: Customer.io's "Journeys Track API" (version 1.0.0 of its OpenAPI document: Track v2, limits) and "Manage
customer attributes". The members of an error (``batch_index``, ``reason``, ``field``, ``message``) are as open-source
clients read them. Verified: the official Python client (customerio 3.2.0) gets the same operations through the
stand-in; not against a live account, and that an empty string removes an attribute is not measured either.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from orchestration.declarations.syncs import Sync
from orchestration.destinations import Failure, ObjectKind, Options, Outcomes, Record, RefusedError, UnavailableError
from orchestration.destinations._http import HttpDestination, HttpOptions, json_object
from orchestration.destinations._pace import Pace, Rate
from orchestration.errors import UsageError

_IDENTIFIERS = {"users": ("id", "email", "cio_id"), "accounts": ("object_id",)}
_HOSTS = {"us": "https://track.customer.io", "eu": "https://track-eu.customer.io"}
_OPERATION_BYTES = 32_000
# Of a batch, whatever its operations: 200 has an empty object, 207 has errors.
SUCCESS = (200, 207)
_NAMES = r"(?!(?:id|email|cio_.*|object_id|object_type_id)$).{1,150}"


class CustomerioOptions(HttpOptions):
    """Which workspace.

    Attributes:
        region: where the account is kept.
        site_id_env: name of the environment variable that holds the site id.
        token_env: name of the environment variable that holds the API key of the Track API.
        object_type_id: type of the objects that accounts are.

    """

    region: Literal["us", "eu"] = "us"
    site_id_env: str = "CUSTOMERIO_SITE_ID"
    token_env: str = "CUSTOMERIO_API_KEY"  # noqa: S105 the name of a variable
    object_type_id: str = "1"


class CustomerioDestination(HttpDestination):
    """Acknowledged once Customer.io has found the operation valid."""

    objects: ClassVar[Mapping[str, ObjectKind]] = {
        "users": ObjectKind("user", "id", field_pattern=_NAMES, deletes=True),
        "accounts": ObjectKind("account", "object_id", field_pattern=_NAMES, deletes=True),
    }
    batch_size: ClassVar[int] = 1_000
    # The rest of the body, around the operations.
    batch_bytes: ClassVar[int] = 500_000 - len('{"batch":[]}')
    workers: ClassVar[int] = 4
    rates: ClassVar[tuple[Rate, ...]] = (Rate(100, 1.0),)
    options_type: ClassVar[type[Options]] = CustomerioOptions

    def __init__(self, sync: Sync, outbox: Path, pace: Pace | None = None) -> None:
        super().__init__(sync, outbox, pace)
        if self.identifier_field not in (known := _IDENTIFIERS[self.object_name]):
            raise UsageError(
                f"{sync.where}: identifier_field: Customer.io cannot find {self.object_name}"
                f" by {self.identifier_field!r}.",
                f"Set it to one of these: {', '.join(known)}.",
            )

    def address(self) -> str:
        """The region's host, unless another address is given."""
        return super().address() if self.options.base_url else _HOSTS[self.options.region]

    def headers(self) -> Mapping[str, str]:
        """Site id and key."""
        pair = f"{self.secret(self.options.site_id_env)}:{self.secret(self.options.token_env)}"
        basic = base64.b64encode(pair.encode()).decode()
        self._secrets.add(basic)
        return {"authorization": f"Basic {basic}"}

    def size(self, record: Record) -> int:
        """Bytes of the operation and the comma after it; what is sent has no spaces, so it is never larger."""
        return len(json.dumps(self._operation(record)))

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """The body of the call."""
        return [{"batch": [self._operation(record) for record in records]}]

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Makes one call, without the operations that are too large."""
        large = {record.identifier for record in records if self.size(record) > _OPERATION_BYTES}
        sent = [record for record in records if record.identifier not in large]
        failures = self._send_batch(sent) if sent else {}
        failures |= dict.fromkeys(large, Failure(f"the operation is larger than {_OPERATION_BYTES} bytes"))
        return [failures.get(record.identifier) for record in records]

    def _send_batch(self, records: Sequence[Record]) -> dict[str, Failure]:
        """Identifier -> why it was refused."""
        body = {"batch": [self._operation(record) for record in records]}
        answer = self.call("POST", "/api/v2/batch", success=SUCCESS, json=body)
        content = json_object(answer)
        errors = content.get("errors") or []
        if set(content) - {"errors"} or not isinstance(errors, list) or (answer.status_code == 207 and not errors):
            raise UnavailableError("the answer does not say whether the batch was taken")
        failures = {}
        for error in errors:
            place = error.get("batch_index") if isinstance(error, dict) else None
            if type(place) is not int or not 0 <= place < len(records):
                raise RefusedError(self.mask(f"an error that names no operation: {error}"))
            failures[records[place].identifier] = Failure(self.mask(_error_reason(error)))
        return failures

    def _operation(self, record: Record) -> dict[str, Any]:
        if self.object_name == "accounts":
            kind = "object"
            identifiers = {"object_type_id": self.options.object_type_id, "object_id": record.identifier}
        else:
            kind = "person"
            identifiers = {self.identifier_field: record.identifier}
        operation: dict[str, Any] = {"type": kind, "identifiers": identifiers}
        if record.action == "delete":
            return operation | {"action": "delete"}
        attributes = {name: "" if value is None else value for name, value in record.fields.items()}
        return operation | {"action": "identify", "attributes": attributes}

    def error_text(self, answer: Any) -> str:
        """The first error of a call that was refused as a whole."""
        try:
            return _error_reason(answer.json()["errors"][0])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return super().error_text(answer)


def _error_reason(error: Mapping[str, Any]) -> str:
    """Reason, field and message of an error."""
    return " ".join(str(error[name]) for name in ("reason", "field", "message") if error.get(name)) or str(error)
