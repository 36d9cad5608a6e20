"""What a visit consists of besides errands: setting up, coming closer to value, using features."""

from __future__ import annotations

from orchestration.simulator.account import Account
from orchestration.simulator.people import Blocked, Member
from orchestration.simulator.stream import Session
from orchestration.simulator.world import LEVELS, USES

APP_PAGES = ("/app", "/app/reports", "/app/dashboards", "/app/search", "/help/articles", "/settings/profile")
TICKETS = ("how_to", "data", "billing", "bug")


class Work:
    """Lets the members of an account work in a session that has begun."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._chance = account.chance
        self._difficulty = account.parameters.difficulty

    def do(self, session: Session, member: Member, day: int) -> None:
        """What a member does in a visit besides errands."""
        account, chance = self.account, self._chance
        if account.closed:
            session.page(chance.one_of(("/app/closed", "/app/reports", "/app")))
            return
        if member is account.members[0] and account.trial_open and account.project_at is None:
            self.create_project(session, member)
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
            self.use_features(session, member, 1 + chance.count(min(30, actions * (1 - 0.12 * self._difficulty))))
        self._happen_to(session)
        if member.stall_in == 0 and account.trial_open:
            self._stall(session, member)

    def _stall(self, session: Session, member: Member) -> None:
        """Momentum is lost after this visit; a few find it again."""
        member.stall_in = None
        self.account.truth.begin("user", member.user_id, "trial_stalled", session.time)
        if self._chance.happens(0.18):
            member.remember(int(session.time) + self._chance.whole(4, 9), "rekindle")

    def create_project(self, session: Session, member: Member) -> None:
        """The account's project is created; from then on the first member of a trial needs colleagues."""
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
                self.find_value(session, member)

    def find_value(self, session: Session, member: Member) -> None:
        """The member understands what the product is good for, and may think of buying it."""
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
                self.retry(session, member)
            elif chance.happens(0.75):
                self._fail(session, member, member.blocked.step)
            return
        broken = account.broken
        if broken and broken.step not in member.setup and member.is_using and chance.happens(0.5):
            # What worked until now has to be done again.
            member.setup = [broken.step, *member.setup]
        if not member.setup and chance.happens(0.012):
            member.setup = ["connect_source"]
        for _ in range(chance.whole(1, 3)):
            step = next((step for step in member.setup if step != "invite_team"), None)
            if step is None:
                return
            if (broken and broken.step == step) or member.block_at == step:
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
        if broken and broken.step == step:
            gives_up = chance.happens(0.3)
            until = day + chance.between(3, 7) if gives_up else broken.until
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

    def retry(self, session: Session, member: Member) -> None:
        """Tries the step that did not work once more, if it works again."""
        blocked = member.blocked
        if not blocked or not blocked.works:
            return
        session.track("Step Started", step=blocked.step)
        session.track("Step Completed", step=blocked.step)
        member.setup = [step for step in member.setup if step != blocked.step]
        member.block_at = None
        self.account.engagement.end_blocked(member, session.time)

    def _intend(self, session: Session, member: Member) -> None:
        """Visits to pages that show an intention, lasting or passing."""
        chance = self._chance
        if member.wants_until is not None or member.shopping_until is not None:
            if chance.happens(0.4):
                self.look_at_prices(session)
        elif chance.happens(0.006 + 0.04 * self._difficulty):
            session.page("/pricing")
        if self.account.truth.holds("user", member.user_id, "needs_team") and chance.happens(0.4):
            session.page("/settings/team")
            if chance.happens(0.5):
                session.track("Share Dialog Opened", colleagues=0)

    def look_at_prices(self, session: Session) -> None:
        """Pages and events of somebody who compares plans."""
        chance = self._chance
        session.page("/pricing")
        if chance.happens(0.5):
            session.page(f"/pricing/{chance.one_of(('starter', 'team', 'business'))}")
        if chance.happens(0.45):
            session.track("Plan Limits Viewed")
        if chance.happens(0.25):
            session.page("/settings/billing")

    def _look_around(self, session: Session, member: Member, count: int) -> None:
        """People who have not understood the product read and try."""
        chance = self._chance
        for _ in range(count):
            if chance.happens(0.62):
                session.page(chance.one_of(APP_PAGES))
            else:
                self._use(session, member, 3)

    def use_features(self, session: Session, member: Member, count: int) -> None:
        """Those who know what the product is good for use the features that they prefer, alone and together."""
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
