"""What people do when they come: each visit is a session whose events follow from what they feel and intend."""

from __future__ import annotations

from typing import Any

from orchestration.simulator.account import Account
from orchestration.simulator.people import Blocked, Member
from orchestration.simulator.stream import Session
from orchestration.simulator.world import LEVELS, PLANS, STARTER, TEAM, USES

PUBLIC_PAGES = ("/", "/product", "/blog/getting-started", "/customers", "/docs", "/integrations")
APP_PAGES = ("/app", "/app/reports", "/app/dashboards", "/app/search", "/help/articles", "/settings/profile")
TICKETS = ("how_to", "data", "billing", "bug")


class Visits:
    """Lets the members of an account come."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._chance = account.chance
        self._difficulty = account.parameters.difficulty
        self._invited_by_hand: set[str] = set()

    def strangers(self) -> None:
        """Visitors of the public site who never sign up."""
        chance = self._chance
        for number in range(chance.count(0.7)):
            device = f"dev_{self.account.profile.account_id[4:]}_x{number}"
            day = chance.between(0, self.account.parameters.days)
            for later in range(1 + chance.count(0.5)):
                self._public_visit(day + later * chance.between(0.5, 4), device, 0.4)

    def before_sign_up(self, member: Member) -> None:
        """The first member looks around before signing up; nobody knows yet who it is."""
        chance = self._chance
        for _ in range(chance.whole(1, 4)):
            self._public_visit(member.joined - chance.between(0.1, 14), member.device, 0.5)

    def _public_visit(self, time: float, device: str, prices: float) -> None:
        chance = self._chance
        session = self.account.stream.session(time, None, device, None, chance.whole(0, 2))
        for _ in range(chance.whole(1, 4)):
            session.page(chance.one_of(PUBLIC_PAGES))
        if chance.happens(prices):
            session.page("/pricing")

    def sign_up(self, member: Member) -> None:
        """The first visit of the first member."""
        account, chance = self.account, self._chance
        session = self._session(member, member.joined)
        session.user = session.account = None
        session.page("/signup")
        session.user, session.account = member.user_id, account.profile.account_id
        self._tell(session, member)
        session.track("Signed Up", method=chance.one_of(("email", "google")))
        session.track("Trial Started", plan="trial", days=account.profile.trial_days)
        if chance.happens(0.88):
            self._create_project(session, member)
        self._work(session, member, int(member.joined))

    def join(self, member: Member) -> None:
        """The first visit of somebody who accepts an invitation."""
        session = self._session(member, member.joined)
        session.user = session.account = None
        session.page("/invite/accept")
        session.user, session.account = member.user_id, self.account.profile.account_id
        self._tell(session, member)
        session.track("Invite Accepted")
        for other in self.account.members:
            self.account.truth.end("user", other.user_id, "needs_team", session.time)
        self._work(session, member, int(member.joined))

    def stray(self, member: Member, day: int) -> None:
        """Somebody who is gone opens a link."""
        session = self._session(member, self._hour(member, day))
        session.page(self._chance.one_of(APP_PAGES))

    def visit(self, member: Member, day: int) -> None:
        """Everything that a member does on a day."""
        chance = self._chance
        errands = member.agenda.pop(day, [])
        extra = chance.count(0.45) if member.state == "enthusiast" else int(chance.happens(0.12))
        time = self._hour(member, day)
        for number in range(1 + min(extra, 3)):
            if member.has_left or time >= day + 1.25:
                return
            if member.clients and number + chance.number() > 0.5 and not errands:
                time = self._work_elsewhere(member, time)
            else:
                time = self._own_visit(member, day, time, errands if number == 0 else [])
            time += chance.between(1, 4) / 24

    def _own_visit(self, member: Member, day: int, time: float, errands: list[tuple[str, Any]]) -> float:
        chance = self._chance
        session = self._session(member, time)
        if chance.happens(0.04):
            # Signed out: who it is, is known from the sign-in on.
            session.user = session.account = None
            session.page("/login")
            session.user, session.account = member.user_id, self.account.profile.account_id
        self._tell(session, member)
        session.page("/app")
        for errand, detail in errands:
            getattr(self, f"_do_{errand}")(session, member, day, detail)
            if member.has_left:
                return session.time
        self._work(session, member, day)
        return session.time

    def _hour(self, member: Member, day: int) -> float:
        hour = member.hour - self.account.profile.zone + 1.3 * self._chance.normal()
        return max(day + 0.01, day + hour / 24, member.joined + 0.02)

    def _session(self, member: Member, time: float) -> Session:
        return self.account.stream.session(
            time, member.user_id, member.device, self.account.profile.account_id, member.browser
        )

    def _tell(self, session: Session, member: Member) -> None:
        """The tracker says who and whose it is, when that has changed."""
        account = self.account
        trial: dict[str, Any] = {}
        if account.trial_open and account.trial_end is not None:
            trial["trial_end"] = account.parameters.stamp(account.trial_end)
        news = (member.role, account.plan.name, *trial.values())
        if member.told != news:
            member.told = news
            session.identify(email=member.email, role=member.role, plan=account.plan.name, **trial)
        news = (account.plan.name, account.plan.seats, *trial.values())
        if member.told_account != news:
            member.told_account = news
            session.group(name=account.profile.name, plan=account.plan.name, seats=account.plan.seats, **trial)

    def _work_elsewhere(self, member: Member, time: float) -> float:
        """A consultant works for a client."""
        client = self._chance.one_of(member.clients)
        session = self.account.stream.session(time, member.user_id, member.device, client, member.browser)
        if client not in member.met:
            member.met.add(client)
            session.track("Invite Accepted")
        session.page("/app")
        self._use_features(session, member, 1 + self._chance.count(4))
        return session.time

    def _work(self, session: Session, member: Member, day: int) -> None:
        """What a visit consists of besides errands."""
        account, chance = self.account, self._chance
        if account.closed:
            session.page(chance.one_of(("/app/closed", "/app/reports", "/app")))
            return
        if member is account.members[0] and account.trial_open and account.project_at is None:
            self._create_project(session, member)
        first_today = member.last_active_day != day
        member.last_active_day = day
        self._set_up(session, member, day)
        if first_today:
            self._come_closer(session, member)
        self._intend(session, member)
        level = LEVELS[member.level]
        actions = level.actions * member.volume * (0.6 if member.state == "disengaging" else 1)
        if member.value_at is None:
            self._look_around(session, member, chance.count(min(20, 3 + actions * 0.5)))
        else:
            self._use_features(session, member, 1 + chance.count(min(30, actions * (1 - 0.12 * self._difficulty))))
        self._happen_to(session)
        if member.stall_in == 0 and account.trial_open:
            self._stall(session, member)

    def _stall(self, session: Session, member: Member) -> None:
        """The last visit before momentum is lost is over; a few find it again."""
        member.stall_in = None
        self.account.truth.begin("user", member.user_id, "trial_stalled", session.time)
        if self._chance.happens(0.18):
            member.remember(int(session.time) + self._chance.whole(4, 9), "rekindle")

    def _create_project(self, session: Session, member: Member) -> None:
        account = self.account
        session.track("Project Created")
        account.project_at = session.time
        if account.profile.size > 1 and len(account.members) == 1:
            account.truth.begin("user", member.user_id, "needs_team", session.time)

    def _come_closer(self, session: Session, member: Member) -> None:
        """Another active day on the way to value, or to losing momentum."""
        account = self.account
        if member.value_at is not None or member.blocked:
            return
        if member.stall_in is not None and account.trial_open:
            member.stall_in -= 1
            return
        if member.value_in is not None and "first_report" not in member.setup:
            member.value_in -= 1
            if member.value_in <= 0:
                self._find_value(session, member)

    def _find_value(self, session: Session, member: Member) -> None:
        account, chance = self.account, self._chance
        session.track("Report Created", feature="reports")
        account.engagement.find_value(member, session.time)
        for _ in range(chance.whole(2, 5)):
            session.track("Report Viewed", feature="reports")
        if account.trial_open and member.role == "admin" and account.trial_end is not None:
            self._decide(member, int(session.time) + 1)

    def _decide(self, member: Member, day: int) -> None:
        """Who has found value in a trial thinks of buying, and some do."""
        account, chance = self.account, self._chance
        last = int(account.trial_end or day)
        buys = chance.happens(0.57)
        start = min(last - 1, day + chance.whole(0, 5))
        if start >= day and chance.happens(0.85 if buys else 0.4):
            account.want_more(member, start, min(last - start - 1, chance.between(5, 14)), buys)
        elif buys:
            member.remember(max(day, min(last, day + chance.whole(2, 12))), "subscribe")

    def _set_up(self, session: Session, member: Member, day: int) -> None:
        account, chance = self.account, self._chance
        if member.blocked:
            if member.blocked.works:
                self._do_retry(session, member, day, None)
            elif chance.happens(0.75):
                self._fail(session, member, member.blocked.step)
            return
        broken = account.broken
        if broken and broken[0] not in member.setup and member.is_using and chance.happens(0.5):
            # What worked until now has to be done again.
            member.setup = [broken[0], *member.setup]
        if not member.setup and chance.happens(0.012):
            member.setup = ["connect_source"]
        for _ in range(chance.whole(1, 3)):
            step = next((one for one in member.setup if one != "invite_team"), None)
            if step is None:
                return
            if (broken and broken[0] == step) or member.block_at == step:
                self._block(session, member, step, day)
                return
            session.track("Step Started", step=step)
            if chance.happens(0.05 + 0.15 * self._difficulty):
                session.track("Step Failed", step=step, reason="invalid_input")
                if chance.happens(0.25):
                    return
                session.track("Step Started", step=step)
            session.track("Step Completed", step=step)
            member.setup.remove(step)
            if step == "first_report":
                session.track("Report Created", feature="reports")

    def _block(self, session: Session, member: Member, step: str, day: int) -> None:
        """A step begins not to work for a member."""
        account, chance = self.account, self._chance
        account.truth.begin("user", member.user_id, "blocked", session.time)
        broken = account.broken
        if broken and broken[0] == step:
            gives_up = chance.happens(0.3)
            until = day + chance.between(3, 7) if gives_up else broken[2]
        else:
            gives_up = chance.happens(0.35)
            until = session.time + 0.3 + min(8, chance.wait(3))
        member.blocked = Blocked(step, until, gives_up)
        self._fail(session, member, step)
        for later in range(1, 5):
            if session.time + later < until and chance.happens(0.5):
                member.remember(int(session.time) + later, "retry")

    def _fail(self, session: Session, member: Member, step: str) -> None:
        chance = self._chance
        for _ in range(chance.whole(1, 3)):
            session.track("Step Started", step=step)
            session.track("Step Failed", step=step, reason=chance.one_of(("timeout", "forbidden", "server_error")))
            if chance.happens(0.4):
                session.track("Error Shown", code=chance.one_of((403, 500, 502, 504)))
        if chance.happens(0.25):
            session.page("/help/troubleshooting")
        if chance.happens(0.2):
            session.track("Ticket Opened", topic="setup", step=step)

    def _do_retry(self, session: Session, member: Member, day: int, detail: Any) -> None:
        blocked = member.blocked
        if not blocked or not blocked.works:
            return
        session.track("Step Started", step=blocked.step)
        session.track("Step Completed", step=blocked.step)
        member.setup = [step for step in member.setup if step != blocked.step]
        member.block_at = None
        self.account.engagement.end_blocked(member, session.time)

    def _do_come_back(self, session: Session, member: Member, day: int, detail: Any) -> None:
        """Coming is all."""

    def _do_rekindle(self, session: Session, member: Member, day: int, detail: Any) -> None:
        if self.account.trial_open and member.value_at is None:
            member.setup.clear()
            self._find_value(session, member)

    def _do_shop(self, session: Session, member: Member, day: int, length: float) -> None:
        """Prices are looked at before the product was understood."""
        if member.value_at is not None or self.account.closed:
            return
        member.shopping_until = session.time + length
        self.account.truth.begin("user", member.user_id, "price_shopping", session.time)
        self._look_at_prices(session)
        for _ in range(self._chance.whole(1, 3)):
            member.remember(day + 1 + int(self._chance.between(0, length - 1)), "pricing")

    def _do_pricing(self, session: Session, member: Member, day: int, detail: Any) -> None:
        if member.wants_until is not None or member.shopping_until is not None:
            self._look_at_prices(session)

    def _look_at_prices(self, session: Session) -> None:
        chance = self._chance
        session.page("/pricing")
        if chance.happens(0.5):
            session.page(f"/pricing/{chance.one_of(('starter', 'team', 'business'))}")
        if chance.happens(0.45):
            session.track("Plan Limits Viewed")
        if chance.happens(0.25):
            session.page("/settings/billing")

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
        rung = TEAM if account.profile.size > 6 and self._chance.happens(0.6) else STARTER
        session.page("/settings/billing")
        session.track("Subscribed", plan=PLANS[rung].name, seats=PLANS[rung].seats)
        account.set_plan(rung, session.time)
        self._bought(session, member)

    def _do_upgrade(self, session: Session, member: Member, day: int, detail: Any) -> None:
        account = self.account
        if not account.is_customer or member.wants_until is None or account.rung + 1 >= len(PLANS):
            return
        session.page("/settings/billing")
        plan = PLANS[account.rung + 1]
        session.track("Plan Upgraded", plan=plan.name, seats=plan.seats, previous=account.plan.name)
        account.set_plan(account.rung + 1, session.time)
        self._bought(session, member)

    def _bought(self, session: Session, member: Member) -> None:
        """Whoever else considered it need not any more."""
        for other in self.account.members:
            if other.wants_until is not None:
                self.account.engagement.end_wanting(other, session.time)
        self._tell(session, member)

    def _do_downgrade(self, session: Session, member: Member, day: int, detail: Any) -> None:
        account = self.account
        if not account.is_customer or account.rung <= STARTER:
            return
        plan = PLANS[account.rung - 1]
        session.page("/settings/billing")
        session.track("Plan Downgraded", plan=plan.name, seats=plan.seats, previous=account.plan.name)
        account.set_plan(account.rung - 1, session.time)
        self._tell(session, member)

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
        self._tell(session, member)

    def _do_leave(self, session: Session, member: Member, day: int, detail: Any) -> None:
        """The last day in the company: some work, then goodbye."""
        self._work(session, member, day)
        session.group(left=True)
        self.account.leave(member, session.time)

    def _do_remove(self, session: Session, member: Member, day: int, user_id: str) -> None:
        session.page("/settings/team")
        session.track("Member Left", member=user_id)

    def _intend(self, session: Session, member: Member) -> None:
        """What intentions, lasting and passing ones, show themselves by."""
        chance = self._chance
        if member.wants_until is not None or member.shopping_until is not None:
            if chance.happens(0.4):
                self._look_at_prices(session)
        elif chance.happens(0.006 + 0.04 * self._difficulty):
            session.page("/pricing")
        if self.account.truth.holds("user", member.user_id, "needs_team") and chance.happens(0.4):
            session.page("/settings/team")
            if chance.happens(0.5):
                session.track("Share Dialog Opened", colleagues=0)

    def _look_around(self, session: Session, member: Member, count: int) -> None:
        """Without having understood it, people read and try."""
        chance = self._chance
        for _ in range(count):
            if chance.happens(0.62):
                session.page(chance.one_of(APP_PAGES))
            else:
                self._use(session, member, 3)

    def _use_features(self, session: Session, member: Member, count: int) -> None:
        """Those who know what it is good for work with what is dear to them, alone and together."""
        account, chance = self.account, self._chance
        alone = len(account.present) < 2 or account.profile.story == "solo"
        solo = account.profile.story == "solo"
        breadth = 1 if solo else min(len(member.features), LEVELS[member.level].breadth + account.breadth)
        for _ in range(count):
            kind = chance.number()
            if kind < 0.22:
                session.page(chance.one_of(APP_PAGES))
            elif kind < 0.36 and not alone:
                session.track(chance.pick({"Comment Added": 0.5, "Dashboard Shared": 0.3, "Report Shared": 0.2}))
            else:
                self._use(session, member, 2 if solo and chance.happens(0.06) else breadth)

    def _use(self, session: Session, member: Member, breadth: int) -> None:
        chance = self._chance
        place = 0
        while place < breadth - 1 and chance.happens(0.62):
            place += 1
        feature = member.features[place]
        if feature in USES:
            session.track(chance.pick(dict(USES[feature])), feature=feature)
        else:
            session.track("Feature Used", feature=feature)

    def _happen_to(self, session: Session) -> None:
        """Errors, questions and settings come to everybody."""
        chance = self._chance
        if chance.happens(0.02 + 0.06 * self._difficulty):
            session.track("Error Shown", code=chance.one_of((404, 500, 504)))
        if chance.happens(0.006):
            session.track("Ticket Opened", topic=chance.one_of(TICKETS))
        if chance.happens(0.05):
            session.track("Settings Opened")
