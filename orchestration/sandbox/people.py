"""One person's hidden life with the product, day by day."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orchestration.sandbox.stream import FEATURES, STEPS, Stream, busyness
from orchestration.sandbox.truth import Truth

LEVELS = {"enthusiast": 0.85, "regular": 0.5, "casual": 0.2}
NEVER = float("inf")


@dataclass
class Trouble:
    """A step that does not work for somebody, between two days."""

    step: str
    since: float
    until: float
    overcome: bool


@dataclass
class Person:
    """A user of one account and what moves the user.

    Days are counted from the start of the sandbox. ``given_up`` is the day from which the user is gone for the reasons
    of the account (trial not bought, cancelled, left the company).
    """

    user_id: str
    stream: Stream
    truth: Truth
    difficulty: float
    joined: float
    level: str
    taste: np.ndarray
    finds_value: float = NEVER
    fades: float = NEVER
    fading_days: float = 4.0
    recovers: bool = False
    given_up: float = NEVER
    returns: float = NEVER
    stalled: tuple[float, float] | None = None
    wants: list[tuple[float, float, bool]] = field(default_factory=list)
    shops: tuple[float, float] | None = None
    trouble: Trouble | None = None
    away: list[tuple[float, float]] = field(default_factory=list)
    steps: list[str] = field(default_factory=lambda: list(STEPS))
    gone_since: float = NEVER
    breadth: float = 1.0

    def live(self, until: int) -> None:
        """Every day from joining to the end of the history."""
        for day in range(int(self.joined), until):
            self._live_one(day)
        self._note_engagement(until)

    def _drive(self, day: int) -> float:
        """Chance to open the product on a day that is a working day for everybody."""
        drive = LEVELS[self.level]
        if day >= self.given_up:
            drive *= 0.5 ** (day - self.given_up + 1) if day < self.given_up + 4 else 0.0
        elif day >= self.fades:
            if self.recovers and day >= self.fades + 3 * self.fading_days:
                return drive
            drive *= 0.5 ** ((day - self.fades + 1) / self.fading_days)
            if day >= self.fades + 5 * self.fading_days:
                drive = 0.0
        if self.returns <= day:
            return LEVELS[self.level] * 0.9
        if self.stalled and self.stalled[0] <= day < self.stalled[1]:
            drive *= 0.12
        if any(since <= day < until for since, until in self.away):
            drive = 0.0
        return drive

    def _live_one(self, day: int) -> None:
        random = self.stream.random
        drive = self._drive(day)
        keen = 0.9 if self._is_wanting(day) or self._is_blocked(day) else 0.0
        chance = max(drive, keen if drive > 0 else 0.0) * busyness(day, self.stream.start)
        if day == int(self.joined):
            chance = 1.0
        if drive == 0.0 and random.random() < 0.0015:
            chance = 1.0
        if random.random() >= chance:
            return
        at = max(day + float(np.clip(random.normal(0.55, 0.12), 0.05, 0.93)), self.joined + 0.004)
        for _ in range(1 + int(random.random() < 0.35)):
            at = self.stream.visit(at, self.user_id, self._doings(at)) + float(random.uniform(0.04, 0.15))
            if int(at) != day:
                return

    def _doings(self, at: float) -> list[tuple[str, dict[str, Any]]]:
        random = self.stream.random
        strength = {"enthusiast": 7, "regular": 5, "casual": 3}[self.level]
        doings: list[tuple[str, dict[str, Any]]] = []
        for feature in random.choice(FEATURES, size=1 + random.poisson(strength * 0.5 * self.breadth), p=self.taste):
            doings.append(("Feature Used", {"feature": str(feature)}))
        got_it = at >= self.finds_value
        if got_it or random.random() < 0.04 * self.difficulty:
            for _ in range(random.poisson(strength * 0.35) + int(got_it and random.random() < 0.6)):
                doings.append((str(random.choice(["Insight Saved", "Report Created", "Task Completed"])), {}))
            if got_it and random.random() < 0.3 and self.breadth > 0.6:
                doings.append((str(random.choice(["Comment Added", "Dashboard Shared"])), {}))
        if random.random() < 0.2:
            doings.append(("Settings Opened", {}))
        if self._is_wanting(at) and random.random() < 0.75:
            doings += [("Page Viewed", {"path": "/pricing", "kind": "page"})] * (1 + int(random.random() < 0.5))
            if random.random() < 0.3:
                doings.append(("Plan Limits Viewed", {}))
        elif self.shops and self.shops[0] <= at < self.shops[1] and random.random() < 0.8:
            doings += [("Page Viewed", {"path": "/pricing/compare", "kind": "page"})] * (1 + int(random.random() < 0.6))
        elif random.random() < 0.04 * self.difficulty:
            doings.append(("Page Viewed", {"path": "/pricing", "kind": "page"}))
        doings += self._setup(at)
        if random.random() < 0.03:
            doings.append(("Error Shown", {}))
        return doings

    def _setup(self, at: float) -> list[tuple[str, dict[str, Any]]]:
        """Setup steps come in order; each is tried until it works. Who is blocked tries again and again, and asks."""
        random = self.stream.random
        doings: list[tuple[str, dict[str, Any]]] = []
        if self.trouble and self._is_blocked(at):
            for _ in range(1 + random.poisson(1.2)):
                doings += [("Step Started", {"step": self.trouble.step}), ("Step Failed", {"step": self.trouble.step})]
            if random.random() < 0.25:
                doings.append(("Ticket Opened", {}))
            return doings
        if self.trouble and at >= self.trouble.until and self.trouble.step in self.steps:
            self.steps.remove(self.trouble.step)
            if self.trouble.overcome:
                return [("Step Started", {"step": self.trouble.step}), ("Step Completed", {"step": self.trouble.step})]
        if self.steps and self.trouble and at < self.trouble.since and self.steps[0] == self.trouble.step:
            return doings
        if self.steps and random.random() < 0.5:
            step = self.steps.pop(0)
            doings.append(("Step Started", {"step": step}))
            while random.random() < 0.12 + 0.15 * self.difficulty:
                doings += [("Step Failed", {"step": step}), ("Step Started", {"step": step})]
            doings.append(("Step Completed", {"step": step}))
        return doings

    def _is_wanting(self, at: float) -> bool:
        return any(since <= at < until for since, until, _ in self.wants)

    def _is_blocked(self, at: float) -> bool:
        return bool(self.trouble and self.trouble.since <= at < self.trouble.until)

    def _note_engagement(self, until: int) -> None:
        """Write down what this user was in, and when."""
        end = float(until)
        gone = self.given_up + 3
        if self.fades < self.given_up and not self.recovers:
            gone = min(gone, self.fades + 5 * self.fading_days)
        fading_ends = self.fades + (3 if self.recovers else 5) * self.fading_days
        engaged_until = min(self.fades, self.given_up)

        def note(state: str, started: float, ended: float) -> None:
            if started < end:
                self.truth.add("user", self.user_id, state, started, ended if ended < end else None)

        note(self.level, self.joined, engaged_until)
        if self.fades < self.given_up:
            note("disengaging", self.fades, min(fading_ends, gone))
            if self.recovers:
                note(self.level, fading_ends, self.given_up)
        note("gone", gone, self.returns)
        note("returned", self.returns, self.returns + 28)
        note("found_value", self.finds_value, NEVER)
        for since, to, _ in self.wants:
            note("wants_upgrade", since, min(to, engaged_until))
        if self.shops:
            note("price_shopping", self.shops[0], min(self.shops[1], self.finds_value, engaged_until))
        if self.stalled:
            note("trial_stalled", self.stalled[0], self.stalled[1])
        if self.trouble:
            note("blocked", self.trouble.since, min(self.trouble.until, engaged_until))
