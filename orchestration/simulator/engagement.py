"""What goes on in people: engagement that turns, fades, ends and sometimes comes back."""

from __future__ import annotations

import math

from orchestration.simulator.chance import Chance
from orchestration.simulator.people import FOREVER, Absence, Member
from orchestration.simulator.truth import Truth
from orchestration.simulator.world import LEVELS, MIDDLE, TURNS

RETURNED_DAYS = 28
# A person whose visits are down to this share counts as gone.
FADED = 0.06


class Engagement:
    """Turns the states of an account's members and records each turn.

    Attributes:
        closed: whether the account is closed; then no member comes back.

    """

    def __init__(self, chance: Chance, truth: Truth, difficulty: float) -> None:
        self._chance = chance
        self._truth = truth
        self._difficulty = difficulty
        self.closed = False

    def turn(self, member: Member, state: str, time: float) -> None:
        """The member enters an engagement state (nothing: leaves them all)."""
        chance = self._chance
        if state == member.state:
            return
        # A visit may go on past midnight, after the next day has already changed the state.
        time = max(time, member.state_since)
        member.state_since = time
        if member.state:
            self._truth.end("user", member.user_id, member.state, time)
        member.state = state
        if not state:
            return
        self._truth.begin("user", member.user_id, state, time)
        if state in LEVELS:
            member.level = state
            member.state_until = time + 21 + chance.wait(50)
        elif state == "disengaging":
            member.lost_at = time
            member.fade_days = chance.between(6, 12) * (1 + 0.4 * self._difficulty)
            gone = time - member.fade_days * math.log(FADED)
            member.recovers_at = time + chance.between(1, 2.2) * member.fade_days if chance.happens(0.22) else None
            member.state_until = member.recovers_at or gone
        else:
            member.returns_at = time + chance.between(24, 80) if chance.happens(0.35) and not self.closed else None
            member.state_until = member.returns_at or FOREVER
        self._drop_intentions(member, time)

    def _drop_intentions(self, member: Member, time: float) -> None:
        """Ends every intention of a member who has lost interest."""
        if member.state not in ("disengaging", "gone"):
            return
        if member.wants_until is not None:
            self.end_wanting(member, time)
        if member.shopping_until is not None:
            self.end_shopping(member, time)
        if member.blocked and member.state == "gone":
            self.end_blocked(member, time)
        if member.returned_until is not None:
            self._truth.end("user", member.user_id, "returned", time)
            member.returned_until = None

    def end_wanting(self, member: Member, time: float) -> None:
        """A higher plan is considered no more."""
        member.wants_until = None
        self._truth.end("user", member.user_id, "wants_upgrade", time)

    def end_shopping(self, member: Member, time: float) -> None:
        """Prices are looked at no more."""
        member.shopping_until = None
        self._truth.end("user", member.user_id, "price_shopping", time)

    def end_blocked(self, member: Member, time: float) -> None:
        """The step is overcome or given up."""
        member.blocked = None
        self._truth.end("user", member.user_id, "blocked", time)

    def find_value(self, member: Member, time: float) -> None:
        """The member has understood what the product is good for, and uses it at a level from now on."""
        member.value_at = time
        member.value_in = member.stall_in = None
        self._truth.begin("user", member.user_id, "found_value", time)
        self._truth.end("user", member.user_id, "trial_stalled", time)
        if member.shopping_until is not None:
            self.end_shopping(member, time)
        self.turn(member, self._chance.pick({"enthusiast": 0.3, "regular": 0.48, "casual": 0.22}), time)

    def pass_day(self, member: Member, day: int) -> None:
        """Changes of state at the beginning of a day."""
        if member.state and day >= member.state_until:
            self._turn_over(member, day)
        if member.returned_until is not None and day >= member.returned_until:
            self._truth.end("user", member.user_id, "returned", day)
            member.returned_until = None
        if member.wants_until is not None and day >= member.wants_until:
            self.end_wanting(member, day)
        if member.shopping_until is not None and day >= member.shopping_until:
            self.end_shopping(member, day)
        if self._chance.happens(0.002 + 0.004 * self._difficulty) and not member.is_champion:
            member.away = Absence(day, day + self._chance.between(4, 14))

    def _turn_over(self, member: Member, day: int) -> None:
        chance = self._chance
        if member.state == "gone":
            member.returned_until = day + RETURNED_DAYS
            self._truth.begin("user", member.user_id, "returned", day)
            member.remember(day, "come_back")
            if member.value_at is None and chance.happens(0.6):
                member.value_in = chance.whole(1, 3)
            self.turn(member, chance.pick({"enthusiast": 0.15, "regular": 0.6, "casual": 0.25}), day)
            member.state_until = day + RETURNED_DAYS + chance.wait(50)
        elif member.state == "disengaging":
            self.turn(member, member.level if member.recovers_at else "gone", day)
        elif member.value_at is None:
            self.turn(member, "disengaging" if chance.happens(0.7) else "casual", day)
            member.state_until = max(member.state_until, day + 7)
        else:
            self.turn(member, chance.pick(TURNS[member.level]), day)

    def level_days(self, member: Member) -> float:
        """Days a week of the member's level; the harder the world, the more alike the levels are."""
        blend = 0.55 * self._difficulty
        return math.exp((1 - blend) * math.log(LEVELS[member.level].days_a_week) + blend * math.log(MIDDLE.days_a_week))

    def probability(self, member: Member, day: int, weekday: int, quiet: float) -> float:
        """Probability that the member comes on a day; ``quiet`` is the factor of a holiday."""
        if not member.is_using:
            # A stray visit: a link in an old mail.
            return 0.0 if member.has_left else 0.001 + 0.012 * self._difficulty
        weekly = self.level_days(member) * member.energy
        share = 1 / 5
        if member.rhythm == "weekly":
            share = 0.42 if weekday == member.weekday else 0.05
        rate = weekly * share
        if weekday > 4:
            rate *= member.weekend
        if member.state == "disengaging":
            rate *= math.exp(-(day - member.lost_at) / member.fade_days)
        if self._truth.holds("user", member.user_id, "trial_stalled"):
            rate *= 0.08
        elif member.value_at is None and day - member.joined < 7:
            rate *= 1.6
        if member.wants_until is not None or member.blocked:
            rate *= 1.3
        if member.away and member.away.start <= day < member.away.end:
            rate *= 0.03
        return min(0.97, rate * quiet * (1.02 - 0.2 * self._difficulty * self._chance.number()))
