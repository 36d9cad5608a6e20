"""What an account goes through: the trial, and the story of its profile."""

from __future__ import annotations

from orchestration.simulator.account import Account, BrokenStep
from orchestration.simulator.people import Blocked, Member
from orchestration.simulator.profiles import BREAKABLE
from orchestration.simulator.world import BUSINESS, PLANS, STARTER, TEAM


class Story:
    """Begins each day of an account. Times are days since the window's start."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._chance = account.chance
        self._days = account.parameters.days
        self._onset: float | None = None
        self._story = account.profile.story
        self._champion: Member | None = None
        self._fading: dict[str, float] = {}
        self._recovery: float | None = None
        self._ends: float | None = None
        self._pace = self._chance.between(1.1, 2.4)
        self._broken_from: float | None = None
        self._seats_asked = False

    def open(self) -> None:
        """Adds the members that an account begins with, and schedules what will happen to it."""
        account, chance = self.account, self._chance
        if account.profile.established:
            for number in range(account.profile.members_at_first):
                account.add_established("admin" if number == 0 or (number == 1 and chance.happens(0.4)) else "member")
            self._schedule(0, self._days * chance.between(0.08, 0.8))
            if account.profile.broken_step:
                self._broken_from = self._days * chance.between(0.05, 0.9)
        else:
            self._open_trial()
            if account.profile.broken_step:
                self._broken_from = account.profile.signed_up - 1

    def _schedule(self, now: int, onset: float) -> None:
        self._onset = onset
        members = self.account.present
        if self._story == "champion":
            if len(members) < 3:
                self._story = "ordinary"
                return
            self._champion = self._chance.one_of(members[:2])
            self._make_champion(self._champion, now, onset)

    def _make_champion(self, member: Member, now: int, until: float) -> None:
        account = self.account
        if member.value_at is None:
            account.engagement.find_value(member, now)
        account.engagement.turn(member, "enthusiast", now)
        last = account.parameters.workday(int(until))
        member.state_until = last + 1
        member.is_champion = True
        member.volume = max(1.4, *(1.25 * other.volume for other in account.present))
        member.energy = max(1.25, *(other.energy for other in account.present))
        member.setup, member.value_in, member.block_at = [], None, None
        member.rhythm = member.rhythm if member.rhythm != "weekly" else "several"
        member.remember(last, "leave")

    def _open_trial(self) -> None:
        account, chance = self.account, self._chance
        profile = account.profile
        first = account.add_member("admin", profile.signed_up)
        first.setup = account.todo()
        account.engagement.turn(first, "regular" if chance.happens(0.75) else "casual", profile.signed_up)
        fate = chance.pick({"fast": 0.36, "slow": 0.2, "stalled": 0.32, "never": 0.12})
        if fate in ("fast", "slow"):
            first.value_in = chance.whole(1, 3) if fate == "fast" else chance.whole(3, 6)
        elif fate == "stalled":
            first.stall_in = chance.whole(1, 3)
        signed_up = int(profile.signed_up)
        if fate != "fast" and chance.happens(0.6):
            start = signed_up + chance.whole(1, 4)
            first.remember(start, "shop", chance.between(2, 7))
        if not profile.broken_step and chance.happens(0.15):
            first.block_at = chance.one_of(BREAKABLE)
        if profile.size > 1:
            # Somebody whom a broken setup stops asks colleagues.
            helps = 0.5 if profile.broken_step else 0
            lag = chance.pick({"soon": 0.34 + helps, "later": 0.3, "never": 0.36})
            if lag != "never":
                after = chance.whole(0, 1) if lag == "soon" else chance.whole(3, 9)
                day = signed_up if after == 0 else account.parameters.workday(signed_up + after)
                first.remember(day, "invite", chance.whole(1, min(4, profile.size - 1)))

    def begin_day(self, day: int) -> None:
        """What changes for the account at the beginning of a day."""
        account = self.account
        if account.trial_open and account.trial_end is not None and day > account.trial_end:
            account.expire(account.trial_end)
        self._break_setup(day)
        if not account.is_customer:
            return
        if self._onset is None:
            self._onset_after_purchase(day)
        elif day >= self._onset:
            getattr(self, f"_live_{self._story}", self._live_ordinary)(day)
        if self._fading:
            self._fade(day)
        self._live_on(day)

    def _onset_after_purchase(self, day: int) -> None:
        low, high = (0, 10) if self._story == "expanding" else (14, 50)
        self._schedule(day, day + self._chance.between(low, high))

    def _break_setup(self, day: int) -> None:
        account, chance = self.account, self._chance
        step = account.profile.broken_step
        if step and self._broken_from is not None and day >= self._broken_from and not account.closed:
            length = chance.between(5, 16)
            account.broken = BrokenStep(step, since=day, until=day + length)
            account.mark("setup_broken", max(day, account.profile.signed_up))
            self._broken_from = None
        if account.broken and day >= account.broken.until:
            account.unmark("setup_broken", account.broken.until)
            account.broken = None
        for member in account.present:
            self._unblock(member, day)

    def _unblock(self, member: Member, day: int) -> None:
        account = self.account
        if not member.blocked or day < member.blocked.until:
            return
        if member.blocked.gives_up:
            step = member.blocked.step
            account.engagement.end_blocked(member, member.blocked.until)
            member.setup = [other for other in member.setup if other != step]
            member.block_at = None
            member.value_in = None if self._chance.happens(0.6) else member.value_in
            if self._chance.happens(0.5) and member.is_using and not member.is_champion:
                account.engagement.turn(member, "disengaging", day)
        elif account.broken is None or account.broken.step != member.blocked.step:
            # The next try shows it; somebody who does not try within three days gives up.
            member.remember(day, "retry")
            member.blocked = Blocked(member.blocked.step, day + 3, gives_up=True, works=True)

    def _live_ordinary(self, day: int) -> None:
        """Nothing in particular."""

    def _live_expanding(self, day: int) -> None:
        account, chance = self.account, self._chance
        if self._ends is None:
            self._ends = day + chance.between(45, 95)
            if account.tier < BUSINESS:
                account.mark("expanding", day)
        if not account.is_in("expanding"):
            return
        admin = account.admin
        if admin is None or day >= self._ends:
            account.unmark("expanding", day)
            return
        if chance.happens(0.035):
            account.breadth = min(3, account.breadth + 1)
        full = account.seats_taken >= account.plan.seats
        if account.parameters.weekday(day) < 5 and admin.is_using and not self._seats_asked:
            if chance.happens(self._pace / 5):
                admin.remember(day, "invite", 1)
            if full and account.pressed_at is not None:
                self._seats_asked = True
                buys = chance.happens(0.72)
                if chance.happens(0.88):
                    if admin.value_at is None:
                        account.engagement.find_value(admin, day)
                    account.want_more(admin, day, chance.between(5, 18), buys)
                self._ends = day + chance.between(22, 40)
        elif self._seats_asked and not full and account.pressed_at is None and chance.happens(self._pace / 9):
            admin.remember(day, "invite", 1)

    def _live_disengaging(self, day: int) -> None:
        account = self.account
        if not self._fading and not account.is_in("disengaging") and self._ends is None:
            self._begin_fading(day, cancels=0.68)
        if self._recovery is not None and day >= self._recovery:
            account.unmark("disengaging", day)
            self._recovery = None

    def _live_champion(self, day: int) -> None:
        account, chance = self.account, self._chance
        if self._champion and self._champion.has_left:
            self._champion = None
            if chance.happens(0.35):
                self._story, self._onset = "disengaging", day + chance.between(7, 35)
            for member in account.present:
                if chance.happens(0.3) and member.is_using:
                    member.energy *= 0.7

    def _begin_fading(self, day: int, cancels: float) -> None:
        account, chance = self.account, self._chance
        account.mark("disengaging", day)
        self._ends = day
        self._fading = {member.user_id: day + chance.between(0, 12) for member in account.present}
        admin = account.admin
        if admin and chance.happens(cancels):
            cancel_day = account.parameters.workday(day + chance.whole(9, 52))
            admin.remember(cancel_day, "cancel")
            if account.tier >= TEAM and chance.happens(0.25):
                admin.remember(account.parameters.workday(day + chance.whole(4, 8)), "downgrade")
        elif chance.happens(0.5):
            self._recovery = day + chance.between(20, 45)

    def _fade(self, day: int) -> None:
        engagement = self.account.engagement
        for member in self.account.present:
            if day < self._fading.get(member.user_id, float("inf")):
                continue
            del self._fading[member.user_id]
            if member.is_using and member.state != "disengaging":
                engagement.turn(member, "disengaging", day)
                member.fade_days = self._chance.between(8, 16)
                member.recovers_at = self._recovery
                member.state_until = self._recovery or day + 2.8 * member.fade_days

    def _live_on(self, day: int) -> None:
        """What happens to any customer now and then."""
        account, chance = self.account, self._chance
        if account.parameters.weekday(day) > 4:
            return
        fading = account.is_in("disengaging")
        admin = account.admin
        if admin is None:
            return
        valued = [member for member in account.present if member.value_at is not None and member.is_using]
        if valued and account.tier < BUSINESS and not fading and chance.happens(0.0035):
            buyer = admin if admin in valued and chance.happens(0.8) else chance.one_of(valued)
            account.want_more(buyer, day, chance.between(7, 20), chance.happens(0.55))
        if account.profile.story != "solo" and not fading:
            room = min(account.profile.size, account.plan.seats) - account.seats_taken
            if room > 0 and admin.is_using and chance.happens(0.02):
                admin.remember(day, "invite", 1)
        if account.tier > STARTER and account.seats_taken <= PLANS[account.tier - 1].seats and chance.happens(0.002):
            admin.remember(day, "downgrade")
        if chance.happens(0.0006):
            admin.remember(day, "cancel")
        if len(account.present) > 2 and chance.happens(0.0009 * len(account.present)):
            leaver = chance.one_of(account.present)
            if leaver is not self._champion and not leaver.clients and leaver.is_using:
                leaver.remember(day, "leave")
        for member in account.present:
            if member.is_using and not member.blocked and not account.broken and chance.happens(0.0006):
                member.block_at = chance.one_of(("connect_source", "import_data"))
                member.setup = [member.block_at]
