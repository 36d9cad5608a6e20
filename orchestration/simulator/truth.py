"""The hidden truth: who was in which state, from when to when."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

EntityType = Literal["user", "account"]

# A user is in at most one of these at a time.
ENGAGEMENT = ("enthusiast", "regular", "casual", "disengaging", "gone")

USER_STATES = {
    "found_value": "has understood what the product is good for; lasting",
    "enthusiast": "heavy, engaged use across features",
    "regular": "steady use on some days of the week",
    "casual": "looks in now and then",
    "disengaging": "has lost interest: does less and less; ends with `gone`, or with a level again (recovery)",
    "gone": "uses it no more; a rare stray visit is noise",
    "returned": "has really come back after `gone`; 28 days",
    "wants_upgrade": "considers a higher plan (from a trial: a paid one) after having found value; ends with the "
    "purchase or with the interest",
    "price_shopping": "looks at prices before having found value",
    "trial_stalled": "lost momentum in an open trial before finding value; ends with value or with the trial",
    "blocked": "a step does not work for them and they keep trying; ends when they overcome it or give up",
    "needs_team": "admin of a trial who would need colleagues: from the project's creation to the first accepted "
    "invitation, or the trial's end",
    "cancelled": "the subscription of their account has ended",
    "left": "works for the company no more; lasting",
}
ACCOUNT_STATES = {
    "expanding": "rolls the product out: members and breadth of use grow until the seats are full",
    "solo": "one person's tool by nature, mostly one feature, nobody is invited; lasting",
    "setup_broken": "one step fails for everybody",
    "disengaging": "the whole account fades; many cancel 1 to 8 weeks after the onset",
    "champion_left": "the heaviest member has left the company; from their last day on",
    "cancelled": "the subscription has ended",
}
LABELS = {
    "plan_trial, plan_starter, plan_team, plan_business": "account: the plan while it lasts",
    "size_small, size_medium, size_large": "account: how many colleagues could use it (to 3, to 9, more)",
    "rhythm_daily, rhythm_several, rhythm_weekly": "user: on how many days they prefer to do their work",
}


@dataclass
class StateInterval:
    """A state of an entity; times are days since the window's start, and ``ended`` is none while it lasts."""

    entity_type: EntityType
    entity_id: str
    state: str
    started: float
    ended: float | None = None


@dataclass
class Truth:
    """Collects intervals; a state that lasts does not begin again, and one that does not last cannot end."""

    intervals: list[StateInterval] = field(default_factory=list)
    _open: dict[tuple[EntityType, str, str], StateInterval] = field(default_factory=dict)

    def begin(self, entity_type: EntityType, entity_id: str, state: str, time: float) -> None:
        """The entity enters a state."""
        key = (entity_type, entity_id, state)
        if key not in self._open:
            self._open[key] = StateInterval(entity_type=entity_type, entity_id=entity_id, state=state, started=time)
            self.intervals.append(self._open[key])

    def end(self, entity_type: EntityType, entity_id: str, state: str, time: float) -> None:
        """The entity leaves a state."""
        interval = self._open.pop((entity_type, entity_id, state), None)
        if interval:
            interval.ended = max(time, interval.started)

    def holds(self, entity_type: EntityType, entity_id: str, state: str) -> bool:
        """Whether the entity is in the state now."""
        return (entity_type, entity_id, state) in self._open

    def seen(self, days: int) -> list[StateInterval]:
        """Intervals as the window shows them: none that begins after it, and no end of those that end after it."""
        return [
            replace(held, ended=None if held.ended is None or held.ended >= days else held.ended)
            for held in self.intervals
            if held.started < days
            and (held.ended is None or (held.ended > 0 and held.ended - held.started > 1 / 86_400))
        ]
