"""Makes a simulation: lets every account live, and writes what it did and what was true of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from orchestration.home import Notify, silent
from orchestration.simulator.chance import Chance
from orchestration.simulator.life import live
from orchestration.simulator.parameters import SOURCE, Parameters
from orchestration.simulator.profiles import profile_of
from orchestration.simulator.truth import ACCOUNT_STATES, USER_STATES, StateInterval
from orchestration.simulator.write import ABOUT, EVENTS, TRUTH, record, write_about, write_events, write_truth

REPEATED_SHARE = 0.005
LATE_DAYS = 1 / 24
# Far from the seeds of the accounts, so that repeated events change nothing that happens in them.
REPEATS_FROM = 1_000_000


class Line(NamedTuple):
    """An event as it is written, in the order of the file: by the time of receipt (days), then by id."""

    received: float
    event_id: str
    text: str


@dataclass(frozen=True)
class SimulationReport:
    """What was made; all of it synthetic.

    Attributes:
        folder: where the files are.
        source: name to load them under.
        parameters: what they were made from.
        accounts: accounts with events.
        users: users with events that name them.
        devices: devices whose user never became known.
        events: different events.
        late: of these, received an hour or more after they happened.
        repeated: lines that repeat an event.
        states: by entity type and hidden state, how many entities were in it at some time of the window.

    """

    folder: str
    source: str
    parameters: dict[str, Any]
    accounts: int
    users: int
    devices: int
    events: int
    late: int
    repeated: int
    states: dict[str, dict[str, int]]

    def as_dict(self) -> dict[str, Any]:
        """For the command line."""
        return {"synthetic": True} | asdict(self)


def make_simulation(parameters: Parameters, folder: Path, notify: Notify = silent) -> SimulationReport:
    """Writes ``events.ndjson.gz``, ``truth.csv`` and ``README.md`` into a folder; equal parameters, equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[Line] = []
    intervals: list[StateInterval] = []
    counts: Counter[str] = Counter()
    users: set[str] = set()
    accounts: set[str] = set()
    devices: dict[str, bool] = {}
    for index in range(parameters.accounts):
        if index % 50 == 0:
            notify(f"synthetic accounts: {index:,} of {parameters.accounts:,}")
        account = live(parameters, profile_of(parameters, index))
        intervals += account.truth.seen(parameters.days)
        repeats = Chance(parameters.seed, REPEATS_FROM + index)
        events = [event for event in account.stream.events if 0 <= event.time < parameters.days]
        for number, event in enumerate(sorted(events, key=lambda event: event.time)):
            event_id = f"evt_{index:05d}_{number:06d}"
            lines.append(Line(event.received, event_id, record(parameters, event_id, event, event.received)))
            counts["events"] += 1
            counts["late"] += event.received - event.time >= LATE_DAYS
            if repeats.happens(REPEATED_SHARE):
                # Half of them are sent again as they were, half arrive a second time.
                again = event.received + (repeats.between(0.001, 2) if repeats.happens(0.5) else 0)
                lines.append(Line(again, event_id, record(parameters, event_id, event, again)))
                counts["repeated"] += 1
            devices[event.device] = devices.get(event.device, False) or event.user is not None
            if event.user:
                users.add(event.user)
            if event.account:
                accounts.add(event.account)
    notify("writing synthetic events")
    lines.sort()
    write_events(folder / EVENTS, (line.text for line in lines))
    write_truth(folder / TRUTH, parameters, intervals)
    report = SimulationReport(
        folder=str(folder),
        source=SOURCE,
        parameters={
            "accounts": parameters.accounts,
            "days": parameters.days,
            "seed": parameters.seed,
            "difficulty": parameters.difficulty,
            "end": str(parameters.end),
        },
        accounts=len(accounts),
        users=len(users),
        devices=sum(not known for known in devices.values()),
        events=counts["events"],
        late=counts["late"],
        repeated=counts["repeated"],
        states=_states(intervals),
    )
    write_about(
        folder / ABOUT, parameters, {"events": report.events, "users": report.users, "accounts": report.accounts}
    )
    return report


def _states(intervals: list[StateInterval]) -> dict[str, dict[str, int]]:
    entities = {(held.entity_type, held.state, held.entity_id) for held in intervals}
    counts = Counter((entity_type, state) for entity_type, state, _ in entities)
    return {
        "user": {state: counts["user", state] for state in USER_STATES},
        "account": {state: counts["account", state] for state in ACCOUNT_STATES},
    }
