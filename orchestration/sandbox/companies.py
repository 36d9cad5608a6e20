"""One company: who works there, how its trial goes, whether it buys, grows, fades, loses its champion."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from orchestration.sandbox.parameters import Parameters
from orchestration.sandbox.people import NEVER, Person, Trouble
from orchestration.sandbox.stream import FEATURES, STEPS, Stream
from orchestration.sandbox.truth import Truth

PLANS = ("starter", "team", "business")
SEATS = {"trial": 10, "starter": 5, "team": 12, "business": 40}


class Company:
    """An account; everything about it follows from its own random numbers."""

    def __init__(self, number: int, parameters: Parameters, truth: Truth) -> None:
        """Decide what will happen; nothing has happened yet."""
        self.parameters, self.truth, self.number = parameters, truth, number
        self.random = random = np.random.default_rng([parameters.seed, number])
        self.account_id = f"sandbox_account_{number:05d}"
        self.stream = Stream(parameters.start, parameters.days, self.account_id, random)
        share = (number + random.random()) / parameters.accounts
        # A quarter signs up in the first three weeks; the others follow, more of them later.
        later = 21 + (parameters.days * 0.95 - 21) * max(0.0, (share - 0.25) / 0.75) ** 0.8
        self.begins = 0.4 + (21 * float(random.random()) if share < 0.25 else float(later))
        self.is_solo = bool(random.random() < 0.22)
        self.size = 1 if self.is_solo else 2 + int(random.poisson(2.2))
        self.trial_days = 30 if random.random() < 0.2 else 14
        self.plan, self.seats = "trial", SEATS["trial"]
        self.people: list[Person] = []
        self.cancels = NEVER

    def live(self) -> None:
        """From the first anonymous visit to the end of the history."""
        founder = self._join(self.begins, is_founder=True)
        self._say_plan(self.begins + 0.002, founder)
        self._trial(founder)
        buys = self._decides(founder)
        self._team(founder, buys)
        self._setup_trouble()
        if buys < NEVER:
            self._subscribed_life(founder, buys)
        else:
            leaves = self.begins + self.trial_days + float(self.random.uniform(-1, 3))
            for person in self.people:
                person.given_up = min(person.given_up, leaves)
        self._personal_lives()
        for person in self.people:
            person.live(self.parameters.days)

    def _join(self, at: float, *, is_founder: bool) -> Person:
        random = self.random
        user = f"sandbox_user_{self.number:05d}_{len(self.people):02d}"
        truth = self.truth
        if not is_founder and random.random() < 0.04:
            # A consultant works for several companies; whose states are whose cannot be told, so none are noted.
            user = f"sandbox_consultant_{int(random.integers(1 + self.parameters.accounts // 15)):04d}"
            truth = Truth()
        level = str(random.choice(["enthusiast", "regular", "casual"], p=[0.12, 0.58, 0.3]))
        concentration = 0.25 if self.is_solo else 1.2
        taste = random.dirichlet([concentration] * len(FEATURES))
        person = Person(user, self.stream, truth, self.parameters.difficulty, at, level, taste)
        person.breadth = 0.5 if self.is_solo else 1.0
        device = f"device_{user}"
        if is_founder:
            for _ in range(1 + random.poisson(2)):
                seen = at - float(random.exponential(2)) - 0.01
                path = "/pricing" if random.random() < 0.15 else "/features"
                self.stream.add(seen, "Page Viewed", anonymous=device, kind="page", account="", path=path)
            self.stream.add(at, "Signed Up", user=user, anonymous=device)
        else:
            self.stream.add(at, "Invite Accepted", user=user, anonymous=device)
        role = "admin" if is_founder else "member"
        self.stream.add(
            at + 0.001,
            "Identified",
            user=user,
            anonymous=device,
            kind="identify",
            email=f"{user}@example.com",
            role=role,
        )
        self.people.append(person)
        return person

    def _say_plan(self, at: float, who: Person) -> None:
        said: dict[str, Any] = {"name": f"Synthetic company {self.number}", "plan": self.plan, "seats": self.seats}
        if self.plan == "trial":
            said["trial_end"] = self._date(self.begins + self.trial_days)
        self.stream.add(at, "Company Described", user=who.user_id, kind="group", **said)

    def _date(self, day: float) -> str:
        return (self.parameters.start + timedelta(seconds=round(day * 86_400))).isoformat()

    def _trial(self, founder: Person) -> None:
        random, begins = self.random, self.begins
        self.stream.add(begins + 0.003, "Trial Started", user=founder.user_id)
        end = begins + self.trial_days
        fate = random.random()
        if fate < 0.6:
            founder.finds_value = begins + float(random.exponential(1.5)) + 0.01
        elif fate < 0.85:
            stalls = begins + float(random.uniform(0.5, 3))
            founder.stalled = (stalls, end)
            if random.random() < 0.25:
                founder.finds_value = float(random.uniform(stalls + 4, end + 1))
                founder.stalled = (stalls, min(end, founder.finds_value))
        if (founder.finds_value == NEVER and random.random() < 0.5) or fate > 0.85:
            since = begins + float(random.uniform(0, 2))
            founder.shops = (since, min(founder.finds_value, since + float(random.uniform(5, 12))))

    def _decides(self, founder: Person) -> float:
        """The day of the subscription, or never."""
        random, end = self.random, self.begins + self.trial_days
        likely = 0.75 if founder.finds_value < end - 3 else 0.05
        if random.random() >= likely:
            return NEVER
        buys = end - float(random.uniform(0, 4))
        wakes = max(buys - float(random.uniform(4, 9)), founder.finds_value)
        founder.wants.append((wakes, buys, True))
        return buys

    def _team(self, founder: Person, buys: float) -> None:
        random, begins = self.random, self.begins
        made = begins + float(random.exponential(0.8)) + 0.01
        has_made = random.random() < 0.9
        if has_made:
            self.stream.add(made, "Project Created", user=founder.user_id)
        if self.is_solo:
            self.truth.add("account", self.account_id, "solo", begins, None)
            return
        invites = made + (float(random.exponential(1.0)) if random.random() < 0.45 else float(random.uniform(4, 20)))
        alone_until = begins + self.trial_days
        if buys == NEVER and invites > alone_until - 1:
            invites = NEVER
        at = invites
        for number in range(1, self.size):
            if at >= self.parameters.days:
                break
            self.stream.add(at, "Invite Sent", user=founder.user_id)
            joins = at + float(random.exponential(0.5)) + 0.02
            if buys == NEVER and joins > alone_until:
                break
            person = self._join(joins, is_founder=False)
            if random.random() < 0.8:
                person.finds_value = joins + float(random.exponential(2.5))
            if number == 1:
                alone_until = min(alone_until, joins)
            at += float(random.exponential(3))
        if has_made:
            self.truth.add("user", founder.user_id, "needs_team", made, min(alone_until, self.parameters.days))

    def _setup_trouble(self) -> None:
        random = self.random
        broken = not self.is_solo and len(self.people) > 1 and random.random() < 0.15
        if broken:
            last = self.people[min(2, len(self.people) - 1)].joined
            step = str(random.choice(STEPS))
            since = last + float(random.uniform(0.5, 2))
            until = since + float(random.uniform(4, 9))
            for person in self.people:
                if person.joined <= since:
                    person.trouble = Trouble(step, since, until, overcome=True)
            self.truth.add("account", self.account_id, "setup_broken", since, min(until, self.parameters.days))
        for person in self.people:
            if person.trouble is None and random.random() < 0.16:
                since = person.joined + float(random.exponential(2)) + 0.3
                overcome = bool(random.random() < 0.6)
                until = since + float(random.uniform(2.5, 7))
                person.trouble = Trouble(str(random.choice(STEPS)), since, until, overcome)
                if not overcome and random.random() < 0.5:
                    person.fades = person.trouble.until

    def _subscribed_life(self, founder: Person, buys: float) -> None:
        random, days = self.random, self.parameters.days
        rank = 0 if self.is_solo else int(random.choice(3, p=[0.45, 0.4, 0.15]))
        self.plan, self.seats = PLANS[rank], max(SEATS[PLANS[rank]], 2)
        self.stream.add(buys, "Subscribed", user=founder.user_id, plan=self.plan)
        self._say_plan(buys + 0.001, founder)
        fades = buys + 20 + float(random.exponential(260))
        if not self.is_solo and rank < 2 and random.random() < 0.4:
            fades = max(fades, self._expand(founder, buys + float(random.uniform(10, 50)), rank))
        elif rank < 2 and random.random() < 0.5 and founder.finds_value < NEVER:
            self._consider_upgrade(founder, buys + float(random.uniform(12, 90)), rank, likely=0.6)
        if fades < days - 2:
            self._fade(founder, fades)
        elif len(self.people) >= 3 and random.random() < 0.35:
            self._lose_champion(founder, buys)

    def _expand(self, founder: Person, since: float, rank: int) -> float:
        """Hire until the seats are taken, then buy the next plan; returns when it is over."""
        random, days = self.random, self.parameters.days
        at, free = since, self.seats - len(self.people)
        for _ in range(max(free, 0)):
            at += float(random.exponential(2.2))
            if at >= days:
                break
            self.stream.add(at, "Invite Sent", user=founder.user_id)
            person = self._join(at + 0.05 + float(random.exponential(0.3)), is_founder=False)
            person.finds_value = person.joined + float(random.exponential(1.5))
            person.level = "regular" if person.level == "casual" else person.level
        over = self._consider_upgrade(founder, at - 2, rank, likely=0.85) if at < days else days
        self.truth.add("account", self.account_id, "expanding", since, over if over < days else None)
        return over + 20

    def _consider_upgrade(self, founder: Person, since: float, rank: int, *, likely: float) -> float:
        decides = since + float(self.random.uniform(7, 18))
        buys = bool(self.random.random() < likely)
        founder.wants.append((since, decides, buys))
        if buys:
            self.plan, self.seats = PLANS[rank + 1], SEATS[PLANS[rank + 1]]
            self.stream.add(decides, "Plan Upgraded", user=founder.user_id, plan=self.plan)
            self._say_plan(decides + 0.001, founder)
        return decides

    def _fade(self, founder: Person, since: float) -> None:
        random, days = self.random, self.parameters.days
        pace = float(random.uniform(3, 7))
        for person in self.people:
            person.fades, person.fading_days, person.recovers = since + float(random.uniform(0, 3)), pace, False
            person.wants = [want for want in person.wants if want[1] < since]
        if random.random() < 0.75:
            self.cancels = since + float(random.uniform(10, 50))
        ends = min(self.cancels, since + 5 * pace + 3)
        self.truth.add("account", self.account_id, "disengaging", since, ends if ends < days else None)
        if self.cancels < days:
            self.stream.add(self.cancels, "Subscription Cancelled", user=founder.user_id)
            self.truth.add("account", self.account_id, "cancelled", self.cancels, None)
            for person in self.people:
                person.given_up = min(person.given_up, self.cancels)
                self.truth.add("user", person.user_id, "cancelled", self.cancels, None)

    def _lose_champion(self, founder: Person, buys: float) -> None:
        random, days = self.random, self.parameters.days
        since = buys + 30 + float(random.uniform(0, max(days - buys - 30, 1)))
        here = [person for person in self.people if person.joined < since - 25]
        if since >= days or len(here) < 3:
            return
        champion = here[0]
        champion.level = "enthusiast"
        for person in here[1:]:
            person.level = "casual" if random.random() < 0.6 else "regular"
        champion.given_up = since - 3
        champion.fades = NEVER
        self.truth.add("account", self.account_id, "champion_left", since, min(since + 56, days))
        if random.random() < 0.4:
            told = since + float(random.uniform(2, 15))
            self.stream.add(told, "Member Left", user=champion.user_id, kind="group", left="true")

    def _personal_lives(self) -> None:
        """What has nothing to do with the company: holidays of one's own, losing interest, coming back."""
        random, days = self.random, self.parameters.days
        for person in self.people:
            at = person.joined + float(random.exponential(150 / (0.2 + self.parameters.difficulty)))
            while at < days:
                person.away.append((at, at + float(random.uniform(4, 12))))
                at += 30 + float(random.exponential(150 / (0.2 + self.parameters.difficulty)))
            if person.fades == NEVER and person.given_up == NEVER:
                slow = {"enthusiast": 700, "regular": 320, "casual": 200}[person.level]
                fades = person.joined + 15 + float(random.exponential(slow))
                is_founder = person is self.people[0]
                if fades < days and not (is_founder and person.wants):
                    person.fades, person.fading_days = fades, float(random.uniform(2, 6))
                    person.recovers = bool(random.random() < 0.2)
            gone = min(person.given_up + 3, person.fades + 5 * person.fading_days if not person.recovers else NEVER)
            if gone < days - 35 and person.given_up == NEVER and random.random() < 0.35:
                person.returns = gone + 30 + float(random.exponential(25))
