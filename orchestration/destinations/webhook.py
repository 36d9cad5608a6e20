"""Any HTTP endpoint, one POST a record, signed as Standard Webhooks (specification 1.0.0, standardwebhooks.com).

Headers ``webhook-id`` (the same for every attempt at one change), ``webhook-timestamp`` and ``webhook-signature``; the
secret (``whsec_...``) comes from the environment. A 2xx answer acknowledges; 410 says that the endpoint is gone, and
nothing more is sent before the next run; 408, 425, 429 and 5xx are tried again; anything else, a redirect included, is
refused. No vendor limit; the endpoint may ask for a pause with 429 and Retry-After.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import ClassVar

import httpx
from standardwebhooks.webhooks import Webhook

from orchestration.destinations import (
    ClosedError,
    ObjectKind,
    Options,
    Outcomes,
    Record,
)
from orchestration.destinations._http import HttpDestination, checked_address
from orchestration.errors import UsageError

# Standard Webhooks 1.0.0: "A 2xx status code" acknowledges.
SUCCESS = tuple(range(200, 300))


class WebhookOptions(Options):
    """The endpoint, and the secret that signs.

    Attributes:
        url_env: name of the environment variable that holds the endpoint.
        secret_env: name of the environment variable that holds the signing secret.
        timeout_seconds: how long a POST may take.

    """

    tuning: ClassVar[frozenset[str]] = frozenset({"secret_env", "timeout_seconds"})
    url_env: str
    secret_env: str
    timeout_seconds: float = 10.0


class WebhookDestination(HttpDestination):
    """Acknowledged by a 2xx answer."""

    objects: ClassVar[Mapping[str, ObjectKind]] = {
        "users": ObjectKind("user", "entity_id", deletes=True),
        "accounts": ObjectKind("account", "entity_id", deletes=True),
    }
    batch_size: ClassVar[int] = 20
    batch_bytes: ClassVar[int] = 20 << 20
    workers: ClassVar[int] = 4
    options_type: ClassVar[type[Options]] = WebhookOptions

    def address(self) -> str:
        """The endpoint; no message has it, because its path or query may be a secret."""
        return checked_address(self.secret(self.options.url_env), self.options.url_env)

    @cached_property
    def _signer(self) -> Webhook:
        try:
            return Webhook(self.secret(self.options.secret_env))
        except UsageError:
            raise
        except Exception:  # the library raises several kinds, some with the secret in their text
            raise UsageError(
                f"{self.options.secret_env} is not a signing secret.",
                "Set it to whsec_ followed by base64 text.",
            ) from None

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Posts record by record."""
        return self.deliver_each(records, self._post)

    def _post(self, record: Record) -> None:
        body = json.dumps(
            {
                "type": "traits.changed",
                "timestamp": f"{record.as_of.isoformat()}Z",
                "data": record.message(),
            },
            sort_keys=True,
        )
        sent_at = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": record.record_id,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": self._signer.sign(record.record_id, sent_at, body),
        }
        # The address is given in full, because joining a path to it would add a slash, even after a query.
        answer = self.call("POST", self.address(), success=SUCCESS, content=body, headers=headers, accepted=(410,))
        if answer.status_code == 410:
            raise ClosedError("answered 410: the endpoint is gone (set the address of another, or pause the sync)")

    def error_text(self, answer: httpx.Response) -> str:
        """Nothing, because the answer of an unknown endpoint may have anything in it."""
        return ""
