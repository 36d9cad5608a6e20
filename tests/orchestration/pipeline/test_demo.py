"""The demo: a world that ends today, published for 28 days; another day is another world."""

from collections.abc import Callable
from datetime import date

import pytest

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.pipeline.demo import make_demo
from orchestration.serving.lookup import Lookups
from orchestration.transform.dbt import Project
from tests.conftest import served


@pytest.mark.long
def test_a_demo_ends_today_and_has_a_history(home: Home, project_in: Callable[[Home], Project]) -> None:
    project, today = project_in(home), date(2026, 3, 1)
    # What the world of an earlier day has left.
    home.prepare()
    (home.root / "demo.json").write_text('{"end": "2026-02-28"}')
    (home.root / "left.txt").touch()
    assert make_demo(project, today=today, accounts=20)
    assert not (home.root / "left.txt").exists()
    [(days,)] = served(home, "select stability_days from traits.trait_catalog where trait = 'dormant'")
    assert days == 28
    lookups = Lookups(home.serving)
    lookups.look()
    assert lookups.current.facts["as_of"].startswith("2026-03-01")
    assert lookups.current.traits["needs_teammate"]["serve"] == "browser"
    assert not make_demo(project, today=today, accounts=20)


def test_a_home_with_other_data_is_left_alone(sample_home: Home, sample_project: Project) -> None:
    with pytest.raises(UsageError, match="holds other data"):
        make_demo(sample_project)
    assert sample_home.warehouse.exists()
