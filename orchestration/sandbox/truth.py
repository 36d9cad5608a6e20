"""The hidden states, and since when and until when somebody was in one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

STATES = {
    "user": {
        "found_value": "has understood what the product is good for; lasts",
        "enthusiast": "uses it on most working days",
        "regular": "uses it some days a week",
        "casual": "uses it now and then",
        "disengaging": "has lost interest: visits become rarer from day to day, until gone or won back",
        "gone": "uses it no more",
        "returned": "came back for real after having been gone; counted for 28 days",
        "wants_upgrade": "really considers to buy, or a higher plan, after having got value; until bought or given up",
        "price_shopping": "compares prices before having understood what the product is good for",
        "trial_stalled": "has lost momentum in an open trial before getting value; until value or the end of the trial",
        "blocked": "a step does not work for this user; until it works or the user gives up",
        "needs_team": "leads a trial whose use needs colleagues and has invited none; until the first joins or the end",
        "cancelled": "the account of the user has cancelled",
    },
    "account": {
        "expanding": "people and use grow until the seats of the plan run out",
        "solo": "made for one person's use of mostly one feature; never invites",
        "setup_broken": "one setup step does not work for anybody of the account",
        "disengaging": "the whole account fades; most of them cancel",
        "champion_left": "the heaviest member has left the company, others carry on; counted for 56 days",
        "cancelled": "has cancelled",
    },
}


@dataclass(frozen=True)
class Interval:
    """Somebody was in a state from one instant to another; both in days since the start, no end while it lasts."""

    entity_type: str
    entity_id: str
    state: str
    started: float
    ended: float | None


@dataclass
class Truth:
    """What was known to nobody but the simulation."""

    intervals: list[Interval] = field(default_factory=list)

    def add(self, entity_type: str, entity_id: str, state: str, started: float, ended: float | None) -> None:
        """Note a state; one that ended before it began never was."""
        if state not in STATES[entity_type]:
            raise ValueError(f"There is no state {state} of a {entity_type}.")
        if ended is None or ended > started:
            self.intervals.append(Interval(entity_type, entity_id, state, started, ended))

    def sorted(self) -> Iterator[Interval]:
        """In the order of the file."""
        yield from sorted(self.intervals, key=lambda one: (one.entity_type, one.entity_id, one.state, one.started))
