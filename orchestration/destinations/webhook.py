"""Any HTTP endpoint, one POST a record, signed as Standard Webhooks (specification 1.0.0, standardwebhooks.com).

Headers ``webhook-id`` (the same for every attempt at one change), ``webhook-timestamp`` and ``webhook-signature``; the
secret (``whsec_...``) comes from the environment. A 2xx answer acknowledges; anything else, a redirect included, fails.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import httpx
from standardwebhooks.webhooks import Webhook

from orchestration.destinations import Destination, Failure, Options, Record
from orchestration.errors import UsageError


class WebhookOptions(Options):
    """Where to and with which secret.

    Attributes:
        url_env: name of the environment variable that holds the endpoint.
        secret_env: name of the environment variable that holds the signing secret.
        timeout_seconds: how long one POST may take.

    """

    url_env: str
    secret_env: str
    timeout_seconds: float = 10.0


class WebhookDestination(Destination):
    """Acknowledged by a 2xx answer."""

    remote: ClassVar[bool] = True
    batch_size: ClassVar[int] = 20
    options_type: ClassVar[type[Options]] = WebhookOptions

    def __init__(self, options: dict[str, Any], outbox: Any) -> None:
        super().__init__(options, outbox)
        self._client = httpx.Client(timeout=self.options.timeout_seconds, follow_redirects=False)

    def deliver(self, records: Sequence[Record]) -> list[Failure | None]:
        """Posts record by record."""
        url = _from_environment(self.options.url_env)
        if not url.startswith(("https://", "http://")):
            raise UsageError(f"{self.options.url_env} is not a URL.", "It is https://host/path.")
        try:
            signer = Webhook(_from_environment(self.options.secret_env))
        except Exception:  # the library raises several kinds, some with the secret in their text
            raise UsageError(
                f"{self.options.secret_env} is not a signing secret.",
                "It is whsec_ and base64 text.",
            ) from None
        return [self._post(url, signer, record) for record in records]

    def _post(self, url: str, signer: Webhook, record: Record) -> Failure | None:
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
            "webhook-signature": signer.sign(record.record_id, sent_at, body),
        }
        try:
            answer = self._client.post(url, content=body, headers=headers)
        except httpx.InvalidURL:
            raise UsageError(f"{self.options.url_env} is not a URL.", "It is https://host/path.") from None
        except httpx.HTTPError as error:
            return Failure(f"no answer: {type(error).__name__}", destination_down=True)
        if answer.is_success:
            return None
        down = answer.status_code in (408, 425, 429) or answer.is_server_error
        return Failure(f"answered {answer.status_code}", destination_down=down)

    def close(self) -> None:
        """Closes the connection pool."""
        self._client.close()


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise UsageError(f"The environment variable {name} is not set.", "The webhook destination reads it.")
    return value
