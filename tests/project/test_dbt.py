"""dbt's own tests: data tests on the published sample, unit tests of the models."""

from orchestration.home import Home
from orchestration.transform.dbt import Project

VARIABLES = {"as_of": "2024-06-30 00:00:00"}


def test_every_data_and_unit_test_passes(sample_home: Home, sample_project: Project) -> None:
    with sample_home.lock("test"):
        results = sample_project.run("test", variables=VARIABLES)
    assert len(results) > 25
    assert [(result.name, result.status, result.message) for result in results if not result.ok] == []
