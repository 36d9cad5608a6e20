"""Who comes when: each visit is a session whose events follow from what people feel and intend."""

from __future__ import annotations

from collections.abc import Sequence

from orchestration.simulator.account import Account
from orchestration.simulator.errands import Errands
from orchestration.simulator.people import Errand, Member
from orchestration.simulator.tracker import identify, open_session
from orchestration.simulator.work import APP_PAGES, Work

PUBLIC_PAGES = ("/", "/product", "/blog/getting-started", "/customers", "/docs", "/integrations")


class Visits:
    """Lets the members of an account come."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._chance = account.chance
        self._work = Work(account)
        self._errands = Errands(account, self._work)

    def strangers(self) -> None:
        """Visitors of the public site who never sign up."""
        chance = self._chance
        for number in range(chance.count(0.7)):
            device = f"dev_{self.account.profile.account_id[4:]}_x{number}"
            day = chance.between(0, self.account.parameters.days)
            for later in range(1 + chance.count(0.5)):
                self._public_visit(day + later * chance.between(0.5, 4), device, 0.4)

    def before_sign_up(self, member: Member) -> None:
        """The first member looks around before signing up, still anonymous."""
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
        session = open_session(self.account, member, member.joined)
        session.user = session.account = None
        session.page("/signup")
        session.user, session.account = member.user_id, account.profile.account_id
        identify(self.account, session, member)
        session.track("Signed Up", method=chance.one_of(("email", "google")))
        session.track("Trial Started", plan="trial", days=account.profile.trial_days)
        if chance.happens(0.88):
            self._work.create_project(session, member)
        self._work.do(session, member, int(member.joined))

    def join(self, member: Member) -> None:
        """The first visit of somebody who accepts an invitation."""
        session = open_session(self.account, member, member.joined)
        session.user = session.account = None
        session.page("/invite/accept")
        session.user, session.account = member.user_id, self.account.profile.account_id
        identify(self.account, session, member)
        session.track("Invite Accepted")
        for other in self.account.members:
            self.account.truth.end("user", other.user_id, "needs_team", session.time)
        self._work.do(session, member, int(member.joined))

    def stray(self, member: Member, day: int) -> None:
        """Somebody who is gone opens a link."""
        session = open_session(self.account, member, self._hour(member, day))
        session.page(self._chance.one_of(APP_PAGES))

    def visit(self, member: Member, day: int) -> None:
        """Everything that a member does on a day, in one session or several."""
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

    def _own_visit(self, member: Member, day: int, time: float, errands: Sequence[Errand]) -> float:
        chance = self._chance
        session = open_session(self.account, member, time)
        if chance.happens(0.04):
            # Signed out: the events carry a user only after the sign-in.
            session.user = session.account = None
            session.page("/login")
            session.user, session.account = member.user_id, self.account.profile.account_id
        identify(self.account, session, member)
        session.page("/app")
        for errand in errands:
            self._errands.do(errand, session, member, day)
            if member.has_left:
                return session.time
        self._work.do(session, member, day)
        return session.time

    def _work_elsewhere(self, member: Member, time: float) -> float:
        """A consultant works for a client."""
        client = self._chance.one_of(member.clients)
        session = self.account.stream.session(time, member.user_id, member.device, client, member.browser)
        if client not in member.met:
            member.met.add(client)
            session.track("Invite Accepted")
        session.page("/app")
        self._work.use_features(session, member, 1 + self._chance.count(4))
        return session.time

    def _hour(self, member: Member, day: int) -> float:
        hour = member.hour - self.account.profile.zone + 1.3 * self._chance.normal()
        return max(day + 0.01, day + hour / 24, member.joined + 0.02)
