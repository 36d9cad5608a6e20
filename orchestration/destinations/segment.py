"""Segment's HTTP Tracking API, or RudderStack's, which is the same: POST /v1/batch of the traits that changed.

Writes: one ``identify`` a user (``userId`` is the identifier; anonymous ids are never sent) or one ``group`` an account
(``groupId`` is the identifier) with the fields that changed, and one ``track`` for each value of a boolean or category
that somebody enters or leaves: ``Trait Entered``, ``Trait Left`` with trait, field, value, since, reason, version and
build_id. Every call of Segment needs a userId or an anonymousId, a group call too, and ties that person to the group.
So what is about an account alone has one fixed ``anonymousId``, ``traithouse``: no user becomes a member, and all
accounts together count as one tracked user. Tracks of accounts carry ``context.groupId``.

Limits: 500 KB a call, 32 KB a message (both counted in thousands). Of more than 2,500 messages a call, Segment answers
200 and drops the rest; each message here has more than 200 bytes, so 500 KB hold fewer. RudderStack takes 4 MB a call,
and is given no more than Segment. 50 calls a second are this destination's own limit.

Authentication: basic, with the write key of the source as user and no password, from the variable that
``write_key_env`` names. ``region: eu`` for workspaces of the European Union. ``service: rudderstack`` sends to the data
plane whose address is in the variable that ``data_plane_env`` names.

================================  ==============================================
Answer                            What is done
================================  ==============================================
200 with {"success": true}        acknowledged by Segment
200 with the text OK              acknowledged by RudderStack
400, 413                          halved
401, 403, 404                     nothing more is sent before the next run
429, 5xx, no answer               tried again; Retry-After is heeded
any other 2xx or body             in doubt, sent again
================================  ==============================================

Segment answers 200 for a wrong write key and for a message that it drops: an acknowledgement says that the call came
in, not more. The debugger of the source shows what was dropped.

A repetition has the same ``messageId`` (``traithouse-delivery-`` and a hash of the change), by which Segment drops it
for at least a day; RudderStack does so for as long as it is configured to. ``context.library.name`` is ``traithouse``.

A null clears a trait; what a tool behind Segment makes of null is the tool's.
Users and groups cannot be deleted here: that is Segment's regulation API, which needs another token and suppresses the
user for good, so a record to be deleted is cleared.

Sources: Segment's documentation ("HTTP API": endpoint, authentication, errors, limits; "Spec: Common fields":
messageId, timestamp; "Spec: Group", and the action "Send Group" of Segment Connections, where reverse ETL ends, in
segmentio/action-destinations: "Either `Anonymous ID` or `User ID` must be defined"; "Regional Segment"), RudderStack's
"HTTP API" and "HTTP source". Not verified against a live account.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from orchestration.declarations.own_deliveries import ENTERED, LEFT, LIBRARY, MESSAGE_ID_PREFIX, SENDER
from orchestration.declarations.syncs import Sync
from orchestration.destinations import Failure, ObjectKind, Outcomes, Record, UnavailableError
from orchestration.destinations._http import HttpDestination, HttpOptions, checked_address, json_of
from orchestration.destinations._moves import Move, moves
from orchestration.destinations._pace import Pace, Rate
from orchestration.errors import UsageError

_HOSTS = {"us": "https://api.segment.io", "eu": "https://events.eu1.segmentapis.com"}
_PATH = "/v1/batch"
_MESSAGE_BYTES = 32_000
# Both answer with this status alone, whatever came of each message.
SUCCESS = (200,)
_NAMES = r"[^.$\s][^.$]{0,149}"


class SegmentOptions(HttpOptions):
    """Which source.

    Attributes:
        service: segment, or rudderstack.
        region: where a workspace of Segment is kept.
        write_key_env: name of the environment variable that holds the write key of the source.
        data_plane_env: name of the environment variable that holds the address of RudderStack's data plane.
        events: whether Trait Entered and Trait Left are sent.
        integrations: destination of the workspace -> whether it gets what is sent; ``All`` is every other one.

    """

    tuning: ClassVar[frozenset[str]] = HttpOptions.tuning | {"events", "integrations"}
    service: Literal["segment", "rudderstack"] = "segment"
    region: Literal["us", "eu"] = "us"
    write_key_env: str = "SEGMENT_WRITE_KEY"
    data_plane_env: str = "RUDDERSTACK_DATA_PLANE_URL"
    events: bool = True
    integrations: dict[str, bool] = Field(default_factory=dict)


class SegmentDestination(HttpDestination):
    """Acknowledged once the call came in."""

    objects: ClassVar[Mapping[str, ObjectKind]] = {
        "users": ObjectKind("user", "userId", field_pattern=_NAMES),
        "groups": ObjectKind("account", "groupId", field_pattern=_NAMES),
    }
    visitors: ClassVar[bool] = False
    batch_size: ClassVar[int] = 500
    # The rest of the body, around the messages.
    batch_bytes: ClassVar[int] = 500_000 - len('{"batch":[]}')
    workers: ClassVar[int] = 4
    rates: ClassVar[tuple[Rate, ...]] = (Rate(50, 1.0),)
    options_type: ClassVar[type[HttpOptions]] = SegmentOptions

    def __init__(self, sync: Sync, outbox: Path, pace: Pace | None = None) -> None:
        super().__init__(sync, outbox, pace)
        expected = self.object_of(sync).kind.identifier_field
        if self.identifier_field != expected:
            raise UsageError(
                f"{sync.where}: identifier_field: Segment knows {self.object_name} by {expected} alone.",
                "Leave identifier_field out.",
            )

    def address(self) -> str:
        """The region's host, or the data plane, unless another address is given."""
        if self.options.base_url:
            return super().address()
        if self.options.service == "rudderstack":
            return checked_address(self.secret(self.options.data_plane_env), self.options.data_plane_env)
        return _HOSTS[self.options.region]

    def headers(self) -> Mapping[str, str]:
        """The write key."""
        basic = base64.b64encode(f"{self.secret(self.options.write_key_env)}:".encode()).decode()
        self._secrets.add(basic)
        return {"authorization": f"Basic {basic}"}

    def is_final(self, answer: Any) -> bool:
        """Whether there is no source of this write key."""
        return bool(answer.status_code == 404)

    def size(self, record: Record) -> int:
        """Bytes of the record's messages and the commas after them; what is sent has no spaces."""
        return sum(len(json.dumps(message)) for message in self._messages(record))

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """The body of the call."""
        return [{"batch": [message for record in records for message in self._messages(record)]}]

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Makes one call, without records that have too large a message."""
        failures: dict[str, Failure] = {}
        batch: list[Any] = []
        for record in records:
            messages = self._messages(record)
            if any(len(json.dumps(message)) > _MESSAGE_BYTES for message in messages):
                failures[record.identifier] = Failure(f"a message is larger than {_MESSAGE_BYTES} bytes")
            else:
                batch += messages
        if batch:
            self._send_batch(batch)
        return [failures.get(record.identifier) for record in records]

    def _send_batch(self, messages: Sequence[Any]) -> None:
        """Sends messages.

        Raises:
            UnavailableError: the answer does not say that they came in.

        """
        answer = self.call("POST", _PATH, success=SUCCESS, json={"batch": messages})
        if self.options.service == "rudderstack":
            # As text, or as a text of JSON.
            taken = answer.text.strip() in ("OK", '"OK"')
        else:
            content = json_of(answer)
            taken = isinstance(content, dict) and set(content) == {"success"} and content["success"] is True
        if not taken:
            raise UnavailableError("the answer does not say whether the batch was taken")

    def _messages(self, record: Record) -> list[dict[str, Any]]:
        traits = record.fields if record.action != "upsert" else record.delta
        call = "group" if self.object_name == "groups" else "identify"
        messages = [self._message(record, call, "", record.as_of) | {"traits": traits}]
        if self.options.events:
            messages += [self._track(record, move) for move in moves(record, restate=True)]
        return messages

    def _track(self, record: Record, move: Move) -> dict[str, Any]:
        event = ENTERED if move.entered else LEFT
        properties = {
            "trait": move.note.trait,
            "field": move.field,
            "value": move.value,
            "since": _instant(move.since),
            "reason": move.reason or None,
            "version": move.note.version,
            "build_id": record.build_id,
        }
        message = self._message(record, "track", f"{event} {move.field} {move.value}", move.since)
        return message | {"event": event, "properties": properties}

    def _message(self, record: Record, kind: str, what: str, at: datetime) -> dict[str, Any]:
        """What all messages of a record have; ``what`` tells them apart."""
        context: dict[str, Any] = {"library": {"name": LIBRARY, "version": _version()}}
        message: dict[str, Any] = {"type": kind}
        if self.object_name == "groups":
            message["anonymousId"] = SENDER
            if kind == "group":
                message["groupId"] = record.identifier
            else:
                context["groupId"] = record.identifier
        else:
            message["userId"] = record.identifier
        unique = hashlib.sha256(f"{record.record_id} {kind} {what}".encode()).hexdigest()[:32]
        message |= {"messageId": f"{MESSAGE_ID_PREFIX}{unique}", "timestamp": _instant(at), "context": context}
        return message | ({"integrations": self.options.integrations} if self.options.integrations else {})


def _instant(naive: datetime) -> str:
    return f"{naive.isoformat(timespec='milliseconds')}Z"


def _version() -> str:
    try:
        return version("traithouse")
    except PackageNotFoundError:
        return "0"
