"""What the product's tracker does: it opens sessions, and says who somebody is."""

from __future__ import annotations

from typing import Any

from orchestration.simulator.account import Account
from orchestration.simulator.people import Member
from orchestration.simulator.stream import Session


def open_session(account: Account, member: Member, time: float) -> Session:
    """A session of a member who is signed in."""
    return account.stream.session(time, member.user_id, member.device, account.profile.account_id, member.browser)


def identify(account: Account, session: Session, member: Member) -> None:
    """Sends an identify event when the member's properties have changed, and a group event when the account's have."""
    trial: dict[str, Any] = {}
    if account.trial_open and account.trial_end is not None:
        trial["trial_end"] = account.parameters.stamp(account.trial_end)
    user_properties = (member.role, account.plan.name, *trial.values())
    if member.identified_as != user_properties:
        member.identified_as = user_properties
        session.identify(email=member.email, role=member.role, plan=account.plan.name, **trial)
    account_properties = (account.plan.name, account.plan.seats, *trial.values())
    if member.grouped_as != account_properties:
        member.grouped_as = account_properties
        session.group(name=account.profile.name, plan=account.plan.name, seats=account.plan.seats, **trial)
