"""Who wants no profiling is in nothing that is published, and comes back when the objection is withdrawn."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.landing.load import load
from orchestration.published.state import ledger_state
from orchestration.publishing.publish import publish
from orchestration.publishing.rollback import rollback
from orchestration.serving.explain import explain
from orchestration.sync.engine import run_sync
from orchestration.transform.dbt import Project
from tests.builds import next_build, publish_day
from tests.conftest import queried, served

USER = "user_0007"
THEIRS = f"select count(*) from traits.trait_values where entity_id = '{USER}'"
OTHERS = f"select entity_id, trait, value, since from traits.trait_values where entity_id != '{USER}' order by all"
CAUSES = f"select distinct cause, new_value from traits.trait_changes where entity_id = '{USER}' order by all"
IN_LEDGER = f"select entity_id, trait, value from ({ledger_state('')}) order by all"
IN_VALUES = "select entity_id, trait, value from traits.trait_values order by all"


def say(home: Home, value: str) -> None:
    """As an identify event would, in a build of its own."""
    with home.connect() as connection:
        connection.execute("delete from identity.attributes where attribute = 'no_profiling'")
        connection.execute(
            "insert into identity.attributes by name select 'user' as entity_type, $1 as entity_id,"
            " 'no_profiling' as attribute, $2 as value, timestamp '2024-06-01' as valid_from",
            [USER, value],
        )


def test_an_objection_clears_values_syncs_and_rollbacks_and_nobody_else(
    sample_home: Home, sample_project: Project
) -> None:
    outbox = sample_project.catalog.sync("outbox")
    run_sync(sample_home, sample_project.catalog, outbox)
    others = served(sample_home, OTHERS)
    say(sample_home, "true")
    # Nothing of this build passes its gate: an objection does not wait for it.
    next_build(sample_project, traits=["account_at_risk"])
    report = publish(sample_project)
    assert report.published and not any(trait.verdict == "passed" for trait in report.traits)
    assert served(sample_home, THEIRS) == [(0,)]
    assert served(sample_home, OTHERS) == others
    assert ("objection", None) in served(sample_home, CAUSES)
    assert served(sample_home, IN_LEDGER) == served(sample_home, IN_VALUES)
    with pytest.raises(UsageError, match=f"{USER} wants no profiling"):
        explain(sample_home, sample_project.catalog, USER)
    assert run_sync(sample_home, sample_project.catalog, outbox).delivered == 1
    rollback(sample_home, sample_project.catalog, to=None, who="ada", why="a test")
    assert served(sample_home, THEIRS) == [(0,)]
    next_build(sample_project)
    publish(sample_project)
    assert served(sample_home, THEIRS) == [(0,)]
    say(sample_home, "False")
    next_build(sample_project)
    publish(sample_project)
    assert served(sample_home, THEIRS)[0][0] > 0
    assert served(sample_home, IN_LEDGER) == served(sample_home, IN_VALUES)


@pytest.mark.long
def test_an_identify_event_is_an_objection(
    sample_home: Home, sample_project: Project, events_file: Callable[..., Path]
) -> None:
    traits = {"no_profiling": True}
    event = {"event_type": "identify", "event_name": "identify", "user_id": USER, "occurred_at": "2024-06-30T10:00:00Z"}
    load(sample_home, [events_file([{**event, "event_id": "objects", "properties": traits}])])
    publish_day(sample_project)
    assert queried(sample_home, THEIRS) == [(0,)]
