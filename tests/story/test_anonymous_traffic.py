"""Traffic of devices that nobody has logged in from changes nothing that is said or sent of identified users."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.simulator.bundled import SAMPLE
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.plan import plan
from orchestration.transform.dbt import Project
from tests.builds import publish_day
from tests.cache import cached, copied, parsed_project
from tests.conftest import served

BEGIN, DAYS = datetime(2024, 1, 5), 176
CLOCKS = ("2024-06-22", "2024-06-29")
PAGES = ("home", "catalog", "search", "product_view")
ALL_EVENTS = (*PAGES, "add_to_cart", "shipping_details", "payment_details", "purchase", "payment_error", "support_chat")

SAID = {
    "trait_values": "select * from traits.trait_values where not is_anonymous",
    "trait_changes": "select * exclude (seq) from traits.trait_changes where not is_anonymous",
    "user_traits": "select * from traits.user_traits where not is_anonymous",
    "account_traits": "from traits.account_traits",
    "trait_thresholds": "from traits.trait_thresholds",
    "gate_verdicts": "select build_id, trait, verdict, reason, population, eligible, members, score_median, score_p95"
    " from traits.gate_verdicts",
    "trait_catalog": "from traits.trait_catalog",
    "source_verdicts": "select build_id, source, verdict, reason, touched from traits.source_verdicts",
}


def visits() -> Iterator[dict[str, Any]]:
    """A thousand devices with one or two page views, and two hundred that come often and do everything."""
    chance = random.Random(16)

    def event(device: str, name: str) -> dict[str, Any]:
        instant = BEGIN + timedelta(days=chance.randrange(DAYS), seconds=chance.randrange(80_000))
        return {"anonymous_id": device, "event_name": name, "occurred_at": f"{instant}Z"}

    for number in range(1000):
        for _ in range(chance.choice((1, 1, 2))):
            yield event(f"device_{number:04d}", chance.choice(PAGES))
    for number in range(200):
        for _ in range(chance.randrange(20, 120)):
            yield event(f"shopper_{number:03d}", chance.choice(ALL_EVENTS))


def make_homes(folder: Path) -> None:
    """Publishes the sample twice over, without the traffic and with it, each at two clocks."""
    file = folder / "visits.ndjson"
    file.write_text("".join(json.dumps({"event_id": f"v{n}", **event}) + "\n" for n, event in enumerate(visits())))
    for name in ("alone", "among_visitors"):
        home = Home(Settings(home=folder / name))
        load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source)
        if name == "among_visitors":
            load(home, [file], source=SAMPLE.source)
        for clock in CLOCKS:
            publish_day(parsed_project(home), as_of=clock)


@pytest.fixture(scope="session")
def homes() -> Path:
    """A folder with both homes; copy them."""
    return cached("visited", make_homes)


def planned(home: Home, project: Project) -> list[tuple[object, ...]]:
    """What the syncs of the project would deliver."""
    found: list[tuple[object, ...]] = []
    for sync in project.catalog.syncs:
        with SyncLedger(home) as ledger:
            records = plan(home, project.catalog, sync, ledger).records
        found += [(sync.name, r.identifier, r.entity_id, r.action, r.fields, r.reasons) for r in records]
    return found


@pytest.mark.long
@pytest.mark.parametrize("table", SAID)
def test_nothing_that_is_said_of_identified_users_changes(homes: Path, tmp_path: Path, table: str) -> None:
    alone, among_visitors = (
        served(copied(homes / name, tmp_path / name), f"{SAID[table]} order by all")
        for name in ("alone", "among_visitors")
    )
    assert among_visitors == alone
    assert alone or table.startswith("account")


@pytest.mark.long
def test_visitors_have_values_of_their_own_and_no_delivery(
    homes: Path, tmp_path: Path, project_in: Callable[[Home], Project]
) -> None:
    alone, among_visitors = (copied(homes / name, tmp_path / name) for name in ("alone", "among_visitors"))
    visitors = "select count(distinct user_id) from traits.user_traits where is_anonymous"
    assert (served(alone, visitors), served(among_visitors, visitors)) == ([(0,)], [(1200,)])
    records = planned(alone, project_in(alone))
    assert records
    assert planned(among_visitors, project_in(among_visitors)) == records
