"""The ledger: why a value has gone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.home import Home
from orchestration.landing.load import load
from orchestration.pipeline.refresh import write_and_audit
from orchestration.publishing.publish import publish
from orchestration.transform.dbt import Project
from tests.conftest import queried


@pytest.mark.long
def test_a_user_that_was_merged_into_another_is_cleared_because_of_identity(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    project = project_in(home)
    pages = [
        {"event_id": f"{user}{day}", "event_name": "page", "user_id": user, "occurred_at": f"2024-03-0{day} 10:00:00"}
        for user in ("ada", "bob", "cy")
        for day in (1, 2)
    ]
    load(home, [events_file(pages)])
    write_and_audit(project, as_of="2024-03-02")
    publish(project)
    before = queried(home, "select distinct trait from traits.trait_values where entity_id = 'bob' order by all")
    assert before
    alias = {"event_id": "x", "event_type": "alias", "event_name": "alias", "previous_id": "bob", "user_id": "ada"}
    load(home, [events_file([alias | {"occurred_at": "2024-03-03 09:00:00"}])])
    write_and_audit(project, as_of="2024-03-03")
    publish(project)
    assert queried(home, "select user_id from identity.dim_users order by all") == [("ada",), ("cy",)]
    assert queried(home, "select count(*) from traits.trait_values where entity_id = 'bob'") == [(0,)]
    gone = "select trait, new_value, cause from traits.trait_changes where entity_id = 'bob' and old_value is not null"
    assert queried(home, f"{gone} order by all") == [(trait, None, "identity") for (trait,) in before]
    other = "select count(*) from traits.trait_changes where entity_id != 'bob' and cause = 'identity'"
    assert queried(home, other) == [(0,)]
