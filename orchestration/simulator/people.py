"""Members: what is lasting about a person, and what goes on in them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from orchestration.simulator.chance import Chance
from orchestration.simulator.world import FEATURES

FOREVER = float("inf")
RHYTHMS = {"daily": 0.25, "several": 0.55, "weekly": 0.2}
FIRST_NAMES = (
    "ada", "ben", "cleo", "dan", "eva", "finn", "gia", "hugo", "iris", "jon", "kim", "leo", "mia", "nils", "ona", "pia",
    "quin", "rosa", "sam", "tess", "udo", "vera", "wim", "xena", "yann", "zoe",
)  # fmt: skip


class Errand(NamedTuple):
    """Something to be done on a day; ``detail`` depends on the name (orchestration/simulator/errands.py)."""

    name: str
    detail: Any = None


class Absence(NamedTuple):
    """A holiday; days since the window's start, the end excluded."""

    start: float
    end: float


@dataclass
class Blocked:
    """A step that does not work for somebody.

    Attributes:
        step: which.
        until: when it changes, in days since the window's start.
        gives_up: whether the person gives up then; else it works again.
        works: whether it works again, which the person does not know yet.

    """

    step: str
    until: float
    gives_up: bool
    works: bool = False


@dataclass
class Member:
    """A person in an account. Times are days since the window's start; ``None`` means not, or not yet.

    Attributes:
        user_id: id in events.
        device: anonymous id of the browser.
        browser: which of the browsers it is.
        role: admin or member.
        joined: when they signed up or accepted the invitation.
        rhythm: key of RHYTHMS.
        weekday: the day of the week that those of weekly rhythm prefer.
        energy: factor on how often they come.
        volume: factor on how much they do in a visit.
        weekend: factor on weekends.
        hour: hour at which they usually begin; UTC.
        features: the product's features, the preferred ones first.
        level: engagement level, or the last one.
        state: the engagement state that they are in now, or nothing.
        state_since: since when.
        state_until: when it turns.
        value_at: when they found value.
        value_in: visits on different days that finding it still takes; none: they will not.
        stall_in: visits on different days until they lose momentum in a trial.
        setup: steps still to be done.
        block_at: step that will not work for them alone.
        blocked: the step that does not work now.
        wants_until: until when they consider a higher plan.
        shopping_until: until when they look at prices without having found value.
        lost_at: onset of disengaging.
        fade_days: how fast they fade: after so many days visits are 2.7 times (e) as rare.
        recovers_at: when they recover instead of going.
        returns_at: when they come back after having gone.
        returned_until: until when they count as returned.
        away: their last holiday, or the next one.
        agenda: errands by day.
        identified_as: properties of the last identify event.
        grouped_as: properties of the last group event.
        last_active_day: day of the last visit.
        has_left: whether they work for the company no more.
        is_champion: whether they do most in the account, until they leave the company.
        clients: accounts of others that they work for.
        met: clients that they have begun to work for.

    """

    user_id: str
    device: str
    browser: int
    role: str
    joined: float
    rhythm: str
    weekday: int
    energy: float
    volume: float
    weekend: float
    hour: float
    features: list[str]
    level: str = "casual"
    state: str = ""
    state_since: float = -FOREVER
    state_until: float = FOREVER
    value_at: float | None = None
    value_in: int | None = None
    stall_in: int | None = None
    setup: list[str] = field(default_factory=list)
    block_at: str | None = None
    blocked: Blocked | None = None
    wants_until: float | None = None
    shopping_until: float | None = None
    lost_at: float = 0
    fade_days: float = 7
    recovers_at: float | None = None
    returns_at: float | None = None
    returned_until: float | None = None
    away: Absence | None = None
    agenda: dict[int, list[Errand]] = field(default_factory=dict)
    identified_as: tuple[Any, ...] = ()
    grouped_as: tuple[Any, ...] = ()
    last_active_day: int = -1_000
    has_left: bool = False
    is_champion: bool = False
    clients: list[str] = field(default_factory=list)
    met: set[str] = field(default_factory=set)

    @property
    def email(self) -> str:
        """Address at a domain that belongs to nobody."""
        return f"{self.user_id}@example.com"

    @property
    def is_using(self) -> bool:
        """Whether they still use the product, however little."""
        return self.state not in ("", "gone") and not self.has_left

    def remember(self, day: int, errand: str, detail: Any = None) -> None:
        """Puts something on the agenda of a day."""
        self.agenda.setdefault(day, []).append(Errand(errand, detail))


def new_member(chance: Chance, account_id: str, number: int, role: str, joined: float, difficulty: float) -> Member:
    """A person with habits of their own; the harder the world, the more people differ."""
    spread = 0.12 + 0.5 * difficulty
    rhythm = chance.pick(RHYTHMS)
    user_id = f"{chance.one_of(FIRST_NAMES)}_{account_id[4:]}_{number:02d}"
    return Member(
        user_id=user_id,
        device=f"dev_{account_id[4:]}_{number:02d}_{chance.whole(100, 999)}",
        browser=chance.whole(0, 2),
        role=role,
        joined=joined,
        rhythm=rhythm,
        weekday=chance.whole(0, 4),
        energy=math.exp(spread * chance.normal()) * (1.35 if rhythm == "daily" else 1),
        volume=math.exp(spread * chance.normal()) * {"daily": 0.75, "several": 1.0, "weekly": 1.7}[rhythm],
        weekend=chance.between(0.02, 0.2),
        hour=min(15, max(6, 9.5 + 1.6 * chance.normal())),
        features=chance.order(FEATURES),
    )
