"""What the invented product is: its plans, features, steps, and how much people of each kind do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PricingPlan:
    """A plan that accounts subscribe to; PLANS has them from the lowest to the highest."""

    name: str
    seats: int


PLANS = (PricingPlan("trial", 5), PricingPlan("starter", 5), PricingPlan("team", 15), PricingPlan("business", 50))
TRIAL, STARTER, TEAM, BUSINESS = range(4)
NO_PLAN = PricingPlan("none", 0)

STEPS = ("connect_source", "import_data", "invite_team", "first_report")
FEATURES = ("reports", "dashboards", "explore", "alerts", "exports", "segments", "forecasts", "templates")

# Month and day; on these everybody is quieter.
HOLIDAYS = {(1, 1), (4, 1), (5, 1), (5, 20), (7, 4), (8, 15), (10, 3), (11, 28), (12, 24), (12, 25), (12, 26), (12, 31)}


@dataclass(frozen=True)
class Level:
    """An engagement level.

    Attributes:
        days_a_week: days with a visit, in a week without holidays.
        actions: things done in a visit.
        breadth: features used.

    """

    days_a_week: float
    actions: float
    breadth: int


LEVELS = {"enthusiast": Level(3.6, 3.5, 6), "regular": Level(2.0, 2.3, 4), "casual": Level(0.6, 1.8, 2)}
MIDDLE = Level(1.6, 2.3, 3)

# Level, and how likely each state comes after it.
TURNS = {
    "enthusiast": {"regular": 0.8, "casual": 0.13, "disengaging": 0.07},
    "regular": {"enthusiast": 0.42, "casual": 0.42, "disengaging": 0.16},
    "casual": {"regular": 0.66, "disengaging": 0.34},
}

# Events that show a feature being used, with their shares.
USES = {
    "reports": (("Report Viewed", 0.75), ("Report Created", 0.25)),
    "dashboards": (("Dashboard Viewed", 0.85), ("Dashboard Created", 0.15)),
}

COMPANY_WORDS = (
    ("Amber", "Birch", "Cedar", "Delta", "Ember", "Fjord", "Grove", "Harbor", "Indigo", "Juniper", "Kestrel", "Lumen",
     "Maple", "North", "Opal", "Pine", "Quartz", "River", "Summit", "Tidal"),
    ("Analytics", "Bakery", "Clinic", "Design", "Energy", "Foods", "Games", "Homes", "Labs", "Logistics", "Media",
     "Mobility", "Partners", "Retail", "Robotics", "Software", "Studio", "Systems", "Travel", "Works"),
)  # fmt: skip
