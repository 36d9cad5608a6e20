"""The alert hook: a POST of JSON to ``TRAITHOUSE_ALERT_URL`` when a trait is withheld, or passes again.

``text`` is what chat tools show (Slack, Mattermost, Discord with /slack); the other keys are for programs. The address
is a secret: it is read from the environment when the alert is sent, and is in no log, error or table.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

import httpx

from orchestration.destinations._client import OversizedAnswerError, bounded_call, bounded_client
from orchestration.errors import WarehouseBusyError
from orchestration.home import Home, Notify, silent

ADDRESS = "TRAITHOUSE_ALERT_URL"
# For the whole call; an alert is one call, whatever it is answered, and the next publish is the next attempt.
SECONDS = 10.0


def alert(
    home: Home,
    build_id: str,
    judged: Collection[str],
    withheld: Mapping[str, str],
    *,
    notify: Notify = silent,
) -> bool:
    """Sends what changed since the last alert that arrived, and returns whether an alert was sent.

    An alert that does not arrive stops nothing; it is sent again after the next publish.

    Args:
        home: the home that published; its lock is taken for a moment, after the call.
        build_id: the build that was published.
        judged: traits that the build judged.
        withheld: those of them that it withheld -> the reason.
        notify: progress.

    """
    address = os.environ.get(ADDRESS)
    known: dict[str, str] = home.status().get("alerted") or {}
    fresh = {trait: reason for trait, reason in withheld.items() if trait not in known}
    recovered = sorted(trait for trait in known if trait in judged and trait not in withheld)
    if not address or not (fresh or recovered):
        return False
    lines = [f"{trait} is withheld: {reason}" for trait, reason in sorted(fresh.items())]
    lines += [f"{trait} is published again." for trait in recovered]
    message = {
        "text": "\n".join([f"Traithouse, build {build_id}", *lines]),
        "build_id": build_id,
        "withheld": [{"trait": trait, "reason": reason} for trait, reason in sorted(fresh.items())],
        "recovered": recovered,
    }
    try:
        with bounded_client(address, SECONDS) as client:
            bounded_call(client, "POST", address, SECONDS, json=message).raise_for_status()
    except httpx.HTTPStatusError as error:
        notify(f"the alert was refused with {error.response.status_code}; it will be sent again after the next publish")
        return False
    except (httpx.HTTPError, httpx.InvalidURL, OversizedAnswerError, ValueError) as error:
        notify(f"the alert could not be sent ({type(error).__name__}); it will be sent again after the next publish")
        return False
    try:
        with home.lock("traithouse, noting an alert"):
            home.note(alerted={trait: reason for trait, reason in known.items() if trait not in recovered} | fresh)
    except WarehouseBusyError:
        notify("the alert was sent, and could not be noted; it will be sent again after the next publish")
    return True
