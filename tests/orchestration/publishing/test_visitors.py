"""Anonymous visitors among what is published."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from orchestration.home import Home
from orchestration.landing.load import load
from orchestration.publishing.publish import publish
from orchestration.publishing.rollback import rollback
from orchestration.transform.dbt import Project
from tests.builds import FLIP, next_build, publish_day
from tests.conftest import queried, served

MARKS = "select is_anonymous, count(*) from traits.{} group by all"


def test_a_home_of_an_earlier_version_says_at_its_next_publish_who_is_anonymous(
    sample_home: Home, sample_project: Project
) -> None:
    before = {table: queried(sample_home, MARKS.format(table)) for table in ("trait_values", "trait_changes")}
    assert {mark for rows in before.values() for mark, _ in rows} == {False}
    with sample_home.connect() as connection:
        connection.execute("drop view traits.user_traits")
        for table in before:
            connection.execute(f"alter table traits.{table} drop is_anonymous")
        connection.execute("insert into traits.trait_changes by name select 'user' as entity_type, 'gone' as entity_id")
    next_build(sample_project, as_of="2024-06-30")
    assert publish(sample_project).published
    assert served(sample_home, MARKS.format("trait_values")) == before["trait_values"]
    assert served(sample_home, "select distinct is_anonymous from traits.user_traits") == [(False,)]
    empty = "select entity_id from traits.trait_changes where is_anonymous is null"
    assert served(sample_home, empty) == [("gone",)]
    next_build(sample_project, as_of="2024-06-30")
    assert not publish(sample_project).published


def test_a_build_of_an_earlier_version_is_restored_with_what_is_known_now(
    sample_home: Home, sample_project: Project
) -> None:
    served_file = (sample_home.serving / "current" / "traithouse.duckdb").resolve()
    with duckdb.connect(str(served_file)) as connection:
        connection.execute("alter table traits.trait_values drop is_anonymous")
        connection.execute("alter table traits.trait_changes drop is_anonymous")
    next_build(sample_project, FLIP)
    publish(sample_project)
    with sample_home.connect() as connection:
        connection.execute(
            "update traits.trait_values set value = 'true' where trait = 'dormant' and entity_id in ("
            " select min(entity_id) from traits.trait_values where trait = 'dormant' and value = 'false')"
        )
    report = rollback(sample_home, sample_project.catalog, to=None, who="ada", why="a test")
    assert report.changes == 2
    for table in ("trait_values", "trait_changes"):
        assert [mark for mark, _ in served(sample_home, MARKS.format(table))] == [False]


@pytest.mark.long
def test_a_visitor_who_becomes_known_ends_as_merged(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    project = project_in(home)
    pages = [
        {"event_id": f"{kind}{name}{day}", "event_name": "page", kind: name, "occurred_at": f"2024-03-0{day} 10:00:00"}
        for kind, name in (("user_id", "ada"), ("user_id", "cy"), ("anonymous_id", "cookie"), ("anonymous_id", "other"))
        for day in (1, 2)
    ]
    load(home, [events_file(pages)])
    publish_day(project, as_of="2024-03-02")
    marks = "select distinct entity_id, is_anonymous from traits.{} where entity_type = 'user' order by all"
    expected = [("ada", False), ("cookie", True), ("cy", False), ("other", True)]
    assert served(home, marks.format("trait_values")) == expected
    assert served(home, marks.format("trait_changes")) == expected
    visitors = "select user_id from traits.user_traits where is_anonymous order by all"
    assert served(home, visitors) == [("cookie",), ("other",)]

    login = {"event_id": "login", "event_name": "page", "user_id": "bob", "anonymous_id": "cookie"}
    load(home, [events_file([login | {"occurred_at": "2024-03-03 09:00:00"}])])
    publish_day(project, as_of="2024-03-03")
    assert served(home, visitors) == [("other",)]
    ended = "select distinct entity_id, cause, is_anonymous from traits.trait_changes where new_value is null"
    assert served(home, ended) == [("cookie", "merged", True)]
    began = "select distinct is_anonymous from traits.trait_changes where entity_id = 'bob'"
    assert served(home, began) == [(False,)]
