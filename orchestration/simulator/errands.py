"""What people come for: errands that were put on the agenda of a day."""

from __future__ import annotations

from typing import Any

from orchestration.simulator.account import Account
from orchestration.simulator.people import Errand, Member
from orchestration.simulator.stream import Session
from orchestration.simulator.tracker import identify
from orchestration.simulator.work import Work
from orchestration.simulator.world import PLANS, STARTER, TEAM


class Errands:
    """Lets members do errands in a session that has begun; the errand named ``x`` is the method ``_do_x``."""

    def __init__(self, account: Account, work: Work) -> None:
        self.account = account
        self._work = work
        self._chance = account.chance

    def do(self, errand: Errand, session: Session, member: Member, day: int) -> None:
        """Does one errand; it may end the membership."""
        getattr(self, f"_do_{errand.name}")(session, member, day, errand.detail)

    def _do_retry(self, session: Session, member: Member, day: int, detail: Any) -> None:
        self._work.retry(session, member)

    def _do_come_back(self, session: Session, member: Member, day: int, detail: Any) -> None:
        """The visit itself is the errand."""

    def _do_rekindle(self, session: Session, member: Member, day: int, detail: Any) -> None:
        if self.account.trial_open and member.value_at is None:
            member.setup.clear()
            self._work.find_value(session, member)

    def _do_shop(self, session: Session, member: Member, day: int, length: float) -> None:
        """Looks at prices before having understood the product."""
        if member.value_at is not None or self.account.closed:
            return
        member.shopping_until = session.time + length
        self.account.truth.begin("user", member.user_id, "price_shopping", session.time)
        self._work.look_at_prices(session)
        for _ in range(self._chance.whole(1, 3)):
            member.remember(day + 1 + int(self._chance.between(0, length - 1)), "pricing")

    def _do_pricing(self, session: Session, member: Member, day: int, detail: Any) -> None:
        if member.wants_until is not None or member.shopping_until is not None:
            self._work.look_at_prices(session)

    def _do_invite(self, session: Session, member: Member, day: int, count: int) -> None:
        account, chance = self.account, self._chance
        if account.truth.holds("user", member.user_id, "trial_stalled"):
            return
        session.page("/settings/team")
        if "invite_team" in member.setup:
            session.track("Step Started", step="invite_team")
        for _ in range(count):
            if account.seats_taken >= account.plan.seats:
                session.track("Seat Limit Reached", seats=account.plan.seats)
                account.pressed_at = session.time
                return
            session.track("Invite Sent", role="member")
            if chance.happens(0.78):
                arrival = account.parameters.workday(day + chance.whole(1, 4))
                account.arrivals[arrival] = account.arrivals.get(arrival, 0) + 1
        if "invite_team" in member.setup:
            session.track("Step Completed", step="invite_team")
            member.setup.remove("invite_team")

    def _do_subscribe(self, session: Session, member: Member, day: int, detail: Any) -> None:
        account = self.account
        if account.is_customer or account.cancelled:
            return
        tier = TEAM if account.profile.size > 6 and self._chance.happens(0.6) else STARTER
        session.page("/settings/billing")
        session.track("Subscribed", plan=PLANS[tier].name, seats=PLANS[tier].seats)
        account.set_plan(tier, session.time)
        self._bought(session, member)

    def _do_upgrade(self, session: Session, member: Member, day: int, detail: Any) -> None:
        account = self.account
        if not account.is_customer or member.wants_until is None or account.tier + 1 >= len(PLANS):
            return
        session.page("/settings/billing")
        plan = PLANS[account.tier + 1]
        session.track("Plan Upgraded", plan=plan.name, seats=plan.seats, previous=account.plan.name)
        account.set_plan(account.tier + 1, session.time)
        self._bought(session, member)

    def _bought(self, session: Session, member: Member) -> None:
        """Ends what other members considered, for the plan is bought."""
        for other in self.account.members:
            if other.wants_until is not None:
                self.account.engagement.end_wanting(other, session.time)
        identify(self.account, session, member)

    def _do_downgrade(self, session: Session, member: Member, day: int, detail: Any) -> None:
        account = self.account
        if not account.is_customer or account.tier <= STARTER:
            return
        plan = PLANS[account.tier - 1]
        session.page("/settings/billing")
        session.track("Plan Downgraded", plan=plan.name, seats=plan.seats, previous=account.plan.name)
        account.set_plan(account.tier - 1, session.time)
        identify(self.account, session, member)

    def _do_cancel(self, session: Session, member: Member, day: int, detail: Any) -> None:
        account, chance = self.account, self._chance
        if not account.is_customer:
            return
        session.page("/settings/billing")
        session.track(
            "Subscription Cancelled",
            plan=account.plan.name,
            reason=chance.one_of(("too_expensive", "not_used", "switched", "other")),
        )
        account.cancel(session.time)
        identify(self.account, session, member)

    def _do_leave(self, session: Session, member: Member, day: int, detail: Any) -> None:
        """The last day in the company: some work, then the account loses the member."""
        self._work.do(session, member, day)
        session.group(left=True)
        self.account.leave(member, session.time)

    def _do_remove(self, session: Session, member: Member, day: int, user_id: str) -> None:
        session.page("/settings/team")
        session.track("Member Left", member=user_id)
