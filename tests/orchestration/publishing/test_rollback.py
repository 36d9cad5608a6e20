"""Back to an earlier build: the same values as then, a ledger that adds up, and a way forward."""

import duckdb
import pytest

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.pipeline.refresh import publish_build
from orchestration.published.state import ledger_state
from orchestration.publishing.publish import publish
from orchestration.publishing.rollback import rollback
from orchestration.transform.dbt import Project
from tests.builds import FLIP, next_build
from tests.conftest import queried, served

VALUES = (
    "select entity_type, entity_id, trait, value, score, evidence, reason, since from traits.trait_values order by all"
)
WIDE = "select * from traits.user_traits order by user_id"
IN_LEDGER = f"select entity_id, trait, value from ({ledger_state('')}) order by all"
IN_VALUES = "select entity_id, trait, value from traits.trait_values order by all"


@pytest.fixture
def next_day(sample_home: Home, sample_project: Project) -> Home:
    """The sample and one more published day, on which one value changed."""
    next_build(sample_project, FLIP)
    publish(sample_project)
    return sample_home


def test_values_are_those_of_then_and_the_ledger_adds_up(next_day: Home, sample_project: Project) -> None:
    with_bad_day = served(next_day, VALUES)
    first, second = served(next_day, "select build_id from traits.builds order by build_id")
    kept = next_day.serving / "builds" / first[0] / "traithouse.duckdb"
    done = rollback(next_day, sample_project.catalog, to=None, who="ada", why="a test event got in")
    assert (done.to, done.undone) == (first[0], (second[0],))
    assert done.changes > 0
    with duckdb.connect(str(kept), read_only=True) as then:
        assert served(next_day, VALUES) == then.execute(VALUES).fetchall() != with_bad_day
        assert served(next_day, WIDE) == then.execute(WIDE).fetchall()
    assert queried(next_day, IN_LEDGER) == queried(next_day, IN_VALUES)
    newest = "select build_id, kind, reason, rolled_back from traits.builds order by build_id desc limit 2"
    assert served(next_day, newest) == [
        (done.build_id, "rollback", f"to {first[0]}, by ada: a test event got in", False),
        (second[0], "refresh", None, True),
    ]


@pytest.mark.long
def test_what_was_rolled_back_is_not_published_again_but_the_next_build_is(
    next_day: Home, sample_project: Project
) -> None:
    bad = served(next_day, VALUES)
    rollback(next_day, sample_project.catalog, to=None, who="ada", why="a test event got in")
    restored = served(next_day, VALUES)
    assert {trait.verdict for trait in publish_build(sample_project).traits} == {"none"}
    assert served(next_day, VALUES) == restored
    next_build(sample_project)
    report = publish(sample_project)
    assert report.withheld == []
    assert [row[:6] for row in served(next_day, VALUES)] == [row[:6] for row in bad]


def test_a_build_that_is_not_retained_is_refused(sample_home: Home, sample_project: Project) -> None:
    with pytest.raises(UsageError, match="no earlier build"):
        rollback(sample_home, sample_project.catalog, to=None, who="ada", why="a whim")
    with pytest.raises(UsageError, match="no earlier build 000099"):
        rollback(sample_home, sample_project.catalog, to="000099", who="ada", why="a whim")
