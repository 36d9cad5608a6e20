"""An account while it lives: its plan, its members, and what changes them."""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.simulator.chance import Chance
from orchestration.simulator.engagement import Engagement
from orchestration.simulator.parameters import Parameters
from orchestration.simulator.people import FOREVER, Member, new_member
from orchestration.simulator.profiles import Profile, clients_of
from orchestration.simulator.stream import Stream
from orchestration.simulator.truth import Truth
from orchestration.simulator.world import BUSINESS, NO_PLAN, PLANS, STEPS, TRIAL, PricingPlan


@dataclass(frozen=True)
class BrokenStep:
    """A step that fails for everybody in the account; times are days since the window's start."""

    step: str
    since: float
    until: float


class Account:
    """One company. Times are days since the window's start.

    Attributes:
        tier: index of its plan in PLANS.
        trial_end: when the trial ends or ended.
        trial_open: whether it is in its trial.
        closed: whether the trial has run out, or the subscription has ended.
        cancelled: whether the subscription has ended.
        members: everybody who ever joined, the first one first.
        arrivals: day to the number of people who accept an invitation on it.
        broken: the step that fails for everybody now.
        breadth: how many more features than usual people use, because the product is rolled out.
        pressed_at: when the seats did not suffice for the first time since the last upgrade.
        project_at: when its project was created.

    """

    def __init__(self, parameters: Parameters, profile: Profile) -> None:
        self.parameters = parameters
        self.profile = profile
        self.chance = Chance(parameters.seed, 2 * profile.index + 1)
        self.truth = Truth()
        self.stream = Stream(profile.account_id, self.chance)
        self.engagement = Engagement(self.chance, self.truth, parameters.difficulty)
        self.tier = profile.plan
        self.trial_open = not profile.established
        self.trial_end: float | None = None if profile.established else profile.signed_up + profile.trial_days
        self.closed = self.cancelled = False
        self.members: list[Member] = []
        self.arrivals: dict[int, int] = {}
        self.broken: BrokenStep | None = None
        self.breadth = 0
        self.pressed_at: float | None = None
        self.project_at: float | None = None
        self._label()

    def _label(self) -> None:
        size = "small" if self.profile.size <= 3 else "medium" if self.profile.size <= 9 else "large"
        self.mark(f"size_{size}", self.profile.signed_up)
        self.mark(f"plan_{PLANS[self.tier].name}", self.profile.signed_up)
        if self.profile.story == "solo":
            self.mark("solo", self.profile.signed_up)

    @property
    def plan(self) -> PricingPlan:
        """The plan; none after the subscription has ended."""
        return NO_PLAN if self.cancelled else PLANS[self.tier]

    @property
    def is_customer(self) -> bool:
        """Whether it pays."""
        return not (self.closed or self.trial_open)

    @property
    def present(self) -> list[Member]:
        """Members who work for the company."""
        return [member for member in self.members if not member.has_left]

    @property
    def seats_taken(self) -> int:
        """Members and invitations."""
        return len(self.present) + sum(self.arrivals.values())

    @property
    def admin(self) -> Member | None:
        """The member who acts for the account."""
        present = self.present
        admins = [member for member in present if member.role == "admin"]
        using = [member for member in admins if member.is_using]
        return next(iter(using or admins), None)

    def mark(self, state: str, time: float) -> None:
        """The account enters a state."""
        self.truth.begin("account", self.profile.account_id, state, time)

    def unmark(self, state: str, time: float) -> None:
        """The account leaves a state."""
        self.truth.end("account", self.profile.account_id, state, time)

    def is_in(self, state: str) -> bool:
        """Whether the account is in a state."""
        return self.truth.holds("account", self.profile.account_id, state)

    def add_member(self, role: str, joined: float) -> Member:
        """Somebody becomes a member; not yet using it."""
        member = new_member(
            self.chance, self.profile.account_id, len(self.members), role, joined, self.parameters.difficulty
        )
        if not self.members and self.profile.is_consultant:
            member.clients = clients_of(self.parameters, self.profile)
        self.members.append(member)
        self.truth.begin("user", member.user_id, f"rhythm_{member.rhythm}", joined)
        return member

    def add_established(self, role: str) -> Member:
        """Somebody who has been a member since before the window."""
        chance = self.chance
        member = self.add_member(role, -chance.between(20, 300))
        member.level = chance.pick({"enthusiast": 0.25, "regular": 0.45, "casual": 0.3})
        if chance.happens(0.9):
            member.value_at = member.joined + chance.between(1, 15)
            self.truth.begin("user", member.user_id, "found_value", member.value_at)
        else:
            member.level = "casual"
        self.engagement.turn(member, member.level, max(member.joined, -chance.between(1, 60)))
        member.state_until = chance.wait(60)
        return member

    def set_plan(self, tier: int, time: float) -> None:
        """The account has another plan from now on; the trial, if any, is over."""
        self.unmark(f"plan_{PLANS[self.tier].name}", time)
        self.tier = tier
        self.pressed_at = None
        self.closed = False
        self.engagement.closed = False
        self.mark(f"plan_{PLANS[tier].name}", time)
        if self.trial_open:
            self.end_trial(time)

    def end_trial(self, time: float) -> None:
        """The trial is over, and with it the states that belong to one."""
        self.trial_open = False
        for member in self.members:
            self.truth.end("user", member.user_id, "trial_stalled", time)
            self.truth.end("user", member.user_id, "needs_team", time)

    def expire(self, time: float) -> None:
        """The trial has run out without a purchase."""
        self.end_trial(time)
        self._close()
        self.unmark(f"plan_{PLANS[TRIAL].name}", time)
        first = self.members[0]
        for member in self.present:
            self.engagement.turn(member, "gone", time + self.chance.between(0, 0.5))
            if member is first and self.chance.happens(0.14):
                member.returns_at = member.state_until = time + self.chance.between(20, 50)
                if self.chance.happens(0.5):
                    day = self.parameters.workday(int(member.returns_at) + self.chance.whole(3, 10))
                    member.remember(day, "subscribe")

    def cancel(self, time: float) -> None:
        """The subscription ends; most people stop at once, some look in for a few days more."""
        self.unmark("disengaging", time)
        self.unmark("expanding", time)
        self.unmark("champion_left", time)
        self.unmark("setup_broken", time)
        self.unmark(f"plan_{PLANS[self.tier].name}", time)
        self.cancelled = True
        self.broken = None
        self._close()
        self.mark("cancelled", time)
        for member in self.present:
            self.truth.begin("user", member.user_id, "cancelled", time)
            if member.is_using and self.chance.happens(0.4):
                self.engagement.turn(member, "disengaging", time)
                member.fade_days, member.recovers_at, member.state_until = 2, None, int(time) + 5
            else:
                self.engagement.turn(member, "gone", time)
                member.state_until = FOREVER

    def _close(self) -> None:
        self.closed = True
        self.engagement.closed = True
        self.arrivals.clear()
        for member in self.members:
            member.agenda.clear()

    def leave(self, member: Member, time: float) -> None:
        """A member leaves the company; somebody else becomes admin if nobody is left who is."""
        member.has_left = True
        self.engagement.turn(member, "gone", time)
        self.engagement.turn(member, "", time)
        self.truth.begin("user", member.user_id, "left", time)
        if member.is_champion:
            self.mark("champion_left", time)
        present = self.present
        if present and not any(colleague.role == "admin" for colleague in present):
            successor = max(present, key=lambda other: (other.is_using, other.value_at is not None, -other.joined))
            successor.role = "admin"
        admin = self.admin
        if admin:
            admin.remember(self.parameters.workday(int(time) + 1), "remove", member.user_id)

    def want_more(self, member: Member, day: int, length: float, buys: bool) -> None:
        """A member considers a higher plan for some days, and buys it in the end, or does not."""
        if member.wants_until is not None or not member.is_using or self.tier == BUSINESS:
            return
        self.truth.begin("user", member.user_id, "wants_upgrade", day + member.hour / 24)
        last = self.parameters.workday(day + max(1, round(length)))
        member.wants_until = last + 1
        for _ in range(self.chance.whole(2, 4)):
            member.remember(self.parameters.workday(day + int(self.chance.between(0, last - day))), "pricing")
        if buys:
            member.remember(last, "subscribe" if self.trial_open else "upgrade")

    def todo(self) -> list[str]:
        """Steps that a first member has to set up."""
        return [step for step in STEPS if step != "invite_team" or self.profile.story != "solo"]
