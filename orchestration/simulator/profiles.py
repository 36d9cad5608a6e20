"""What is lasting about an account: drawn once, before anything happens."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from orchestration.simulator.chance import Chance
from orchestration.simulator.parameters import Parameters
from orchestration.simulator.world import BUSINESS, COMPANY_WORDS, PLANS, STARTER, TEAM, TRIAL

ESTABLISHED_SHARE = 0.42
# What an account will go through, with the share of each.
STORIES = {"ordinary": 0.26, "solo": 0.13, "expanding": 0.21, "disengaging": 0.18, "champion": 0.22}
BREAKABLE = ("connect_source", "import_data", "first_report")
# The first member of accounts 3, 28, 53 and so on is a consultant who works for other accounts, too.
CONSULTANT_EVERY, CONSULTANT_AT = 25, 3


@dataclass(frozen=True)
class Profile:
    """An account's lasting things.

    Attributes:
        index: number of the account.
        account_id: its id in events.
        name: its name.
        established: whether it was there before the window began.
        signed_up: days since the window's start; negative for an established one.
        story: key of STORIES.
        size: colleagues who could use the product, the first one included.
        plan: index in PLANS of the plan that it begins with.
        trial_days: how long its trial is.
        zone: hours that its local time is ahead of UTC.
        broken_step: the step that will break for everybody, or none.

    """

    index: int
    account_id: str
    name: str
    established: bool
    signed_up: float
    story: str
    size: int
    plan: int
    trial_days: int
    zone: int
    broken_step: str | None

    @property
    def members_at_first(self) -> int:
        """Members of an established account when the window begins."""
        if self.story == "expanding":
            return max(2, round(PLANS[self.plan].seats * 0.45))
        return min(self.size, PLANS[self.plan].seats)

    @property
    def is_consultant(self) -> bool:
        """Whether its first member works for other accounts, too."""
        return self.index % CONSULTANT_EVERY == CONSULTANT_AT


@functools.lru_cache(maxsize=512)
def profile_of(parameters: Parameters, index: int) -> Profile:
    """The profile of an account; the same whichever accounts were drawn before."""
    chance = Chance(parameters.seed, 2 * index)
    consultant = index % CONSULTANT_EVERY == CONSULTANT_AT
    established = chance.happens(ESTABLISHED_SHARE) or consultant
    # Later weeks bring more sign-ups: the density rises linearly, from 0.6 to 1.4.
    place = (-0.6 + math.sqrt(0.36 + 1.6 * chance.number())) / 0.8
    day = parameters.workday(int(place * (parameters.days - 2)))
    signed_up = min(day, parameters.days - 1) + chance.between(0.3, 0.7)
    story = "ordinary" if consultant else chance.pick(STORIES)
    size = min(45, max(2, round(4 * math.exp(0.75 * chance.normal()))))
    if story == "solo":
        size = 1
    elif story != "ordinary":
        size = max(4, size)
    plan = TRIAL
    if established:
        signed_up = -chance.between(40, 400)
        plan = STARTER if size <= PLANS[STARTER].seats else TEAM if size <= PLANS[TEAM].seats else BUSINESS
        if story == "expanding":
            plan = min(plan, TEAM)
    words, kinds = COMPANY_WORDS
    return Profile(
        index=index,
        account_id=f"acc_{index:05d}",
        name=f"{chance.one_of(words)} {chance.one_of(kinds)} {index}",
        established=established,
        signed_up=signed_up,
        story=story,
        size=size,
        plan=plan,
        trial_days=14 if chance.happens(0.8) else 30,
        zone=chance.one_of((-6, -5, 0, 1, 1, 2, 5)),
        broken_step=chance.one_of(BREAKABLE) if size > 2 and chance.happens(0.26 if established else 0.17) else None,
    )


def clients_of(parameters: Parameters, profile: Profile) -> list[str]:
    """Accounts that a consultant works for besides the own one: up to two that will stay customers."""
    following = ((profile.index + step) % parameters.accounts for step in range(1, min(30, parameters.accounts)))
    others = (profile_of(parameters, index) for index in following)
    fitting = [other.account_id for other in others if other.established and other.story in ("ordinary", "expanding")]
    return fitting[:2]
