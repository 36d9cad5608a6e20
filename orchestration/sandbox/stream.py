"""Events as a tracker would send them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

FEATURES = ("board", "timeline", "reports", "automation", "forms", "goals", "files", "chat")
STEPS = ("connect_source", "import_data", "invite_team", "first_report")
HOLIDAYS = (17, 86, 121, 160)


@dataclass
class Stream:
    """Events of one account, in the form of raw events.

    Time is days since the start of the sandbox, with a fraction.
    """

    start: datetime
    days: int
    account_id: str
    random: np.random.Generator
    rows: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def add(
        self, at: float, event: str, /, *, user: str = "", anonymous: str = "", kind: str = "track", **given: Any
    ) -> None:
        """One event with its properties; what lies after the end of the history is not seen.

        ``account=""`` leaves the account out.
        """
        if not 0 <= at < self.days:
            return
        account = given.pop("account", self.account_id)
        occurred = self.start + timedelta(seconds=round(at * 86_400, 3))
        late = self.random.random() < 0.02
        delay = self.random.uniform(3_600, 3 * 86_400) if late else self.random.uniform(0.1, 5)
        row = {
            "event_id": f"{self.account_id}-{len(self.rows):06d}",
            "event_type": kind,
            "event_name": event,
            "occurred_at": occurred.isoformat(timespec="milliseconds"),
            "received_at": (occurred + timedelta(seconds=round(delay, 3))).isoformat(timespec="milliseconds"),
            "user_id": user or None,
            "anonymous_id": anonymous or None,
            "account_id": account or None,
            "properties": given,
            "context": {"synthetic": True},
        }
        self.rows.append((at, row))
        if self.random.random() < 0.005:
            self.rows.append((at, row))

    def visit(self, at: float, user: str, doings: list[tuple[str, dict[str, Any]]]) -> float:
        """Several doings one after the other within one visit; returns when it ended."""
        self.add(at, "App Opened", user=user, kind="page")
        for name, given in doings:
            at += float(self.random.exponential(90)) / 86_400 + 4 / 86_400
            self.add(at, name, user=user, **given)
        return at


def busyness(day: int, start: datetime) -> float:
    """How much of an ordinary working day a day is: weekends and holidays are quieter for everybody."""
    if (start + timedelta(days=day)).weekday() >= 5:
        return 0.15
    return 0.15 if day % 365 in HOLIDAYS else 1.0
