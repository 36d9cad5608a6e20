"""The life of an account, day by day."""

from __future__ import annotations

from datetime import timedelta

from orchestration.simulator.account import Account
from orchestration.simulator.parameters import Parameters
from orchestration.simulator.people import Member
from orchestration.simulator.profiles import Profile
from orchestration.simulator.story import Story
from orchestration.simulator.visits import Visits
from orchestration.simulator.world import HOLIDAYS

# These happen whether or not the member still uses the product otherwise.
DUTIES = {"cancel", "leave", "remove", "downgrade"}
# Only these bring back somebody who has lost momentum.
CALLS = DUTIES | {"rekindle", "subscribe"}
HOLIDAY_FACTOR = 0.15


def live(parameters: Parameters, profile: Profile) -> Account:
    """An account with everything that happened to it in the window."""
    account = Account(parameters, profile)
    story, visits = Story(account), Visits(account)
    visits.strangers()
    story.open()
    first_day = max(0, int(profile.signed_up)) if not profile.established else 0
    for day in range(first_day, parameters.days):
        if day == first_day and not profile.established:
            story.begin_day(day)
            visits.before_sign_up(account.members[0])
            visits.sign_up(account.members[0])
            continue
        story.begin_day(day)
        _arrive(account, visits, day)
        date = parameters.start + timedelta(days=day)
        quiet = HOLIDAY_FACTOR if (date.month, date.day) in HOLIDAYS else 1.0
        for member in account.present:
            if member.joined < day:
                _come(account, visits, member, day, quiet)
    return account


def _come(account: Account, visits: Visits, member: Member, day: int, quiet: float) -> None:
    engagement = account.engagement
    engagement.pass_day(member, day)
    errands = member.agenda.get(day, [])
    stalled = account.truth.holds("user", member.user_id, "trial_stalled")
    called = any(errand.name in (CALLS if stalled else DUTIES) for errand in errands)
    called = called or bool(errands and member.is_using and not stalled)
    weekday = account.parameters.weekday(day)
    comes = account.chance.happens(engagement.probability(member, day, weekday, quiet))
    if called or (comes and member.is_using):
        visits.visit(member, day)
    elif comes:
        visits.stray(member, day)
    member.agenda.pop(day, None)


def _arrive(account: Account, visits: Visits, day: int) -> None:
    """Invited people accept."""
    chance = account.chance
    for _ in range(account.arrivals.pop(day, 0)):
        if len(account.present) >= account.plan.seats:
            return
        member = account.add_member("member", day + chance.between(0.3, 0.7) - account.profile.zone / 24 * 0.5)
        if chance.happens(0.35):
            member.setup = ["connect_source"]
        if chance.happens(0.75):
            member.value_in = chance.whole(1, 5)
        account.engagement.turn(member, "regular" if chance.happens(0.65) else "casual", member.joined)
        if member.value_in is None:
            member.state_until = day + chance.between(7, 35)
        visits.join(member)
