"""Events of one account, session by session."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from orchestration.simulator.chance import Chance

SECOND = 1 / 86_400
LATE_SHARE = 0.008
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/125.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_4) Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64) Chrome/124.0",
)


@dataclass(slots=True)
class Event:
    """One event; times are days since the window's start."""

    time: float
    received: float
    kind: str
    name: str
    user: str | None
    device: str
    account: str | None
    session: str
    browser: int
    properties: dict[str, Any]


@dataclass
class Stream:
    """All events of an account, and how their sessions are numbered."""

    account_id: str
    chance: Chance
    events: list[Event] = field(default_factory=list)
    sessions: int = 0

    def session(self, time: float, user: str | None, device: str, account: str | None, browser: int) -> Session:
        """A visit that begins at ``time``; some are offline, so that all of their events arrive late together."""
        self.sessions += 1
        offline = time + self.chance.between(1, 72) / 24 if self.chance.happens(LATE_SHARE) else None
        return Session(
            stream=self,
            time=time,
            user=user,
            device=device,
            account=account,
            browser=browser,
            session_id=f"s_{self.account_id}_{self.sessions}",
            offline_until=offline,
        )


@dataclass
class Session:
    """A visit: each event some seconds or minutes after the one before."""

    stream: Stream
    time: float
    user: str | None
    device: str
    account: str | None
    browser: int
    session_id: str
    offline_until: float | None

    def emit(self, kind: str, name: str, properties: dict[str, Any]) -> None:
        """One event, now; then time passes."""
        chance = self.stream.chance
        received = self.time + chance.between(0.2, 4) * SECOND
        if self.offline_until:
            received = max(received, self.offline_until + chance.between(0, 30) * SECOND)
        self.stream.events.append(
            Event(
                time=self.time,
                received=received,
                kind=kind,
                name=name,
                user=self.user,
                device=self.device,
                account=self.account,
                session=self.session_id,
                browser=self.browser,
                properties=properties,
            )
        )
        self.time += min(1_200.0, 30 * math.exp(0.9 * chance.normal())) * SECOND

    def track(self, name: str, **properties: Any) -> None:
        """Something was done."""
        self.emit("track", name, properties)

    def page(self, path: str) -> None:
        """A page was seen."""
        self.emit("page", "Page Viewed", {"path": path})

    def identify(self, **traits: Any) -> None:
        """The tracker says who it is."""
        self.emit("identify", "User Identified", traits)

    def group(self, **traits: Any) -> None:
        """The tracker says which account it is."""
        self.emit("group", "Account Identified", traits)
