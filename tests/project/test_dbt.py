"""dbt's own tests: data tests on the published sample, unit tests of the models."""

from orchestration.home import House
from orchestration.transform.dbt import DbtProject

VARIABLES = {"as_of": "2024-06-30 00:00:00"}


def test_every_data_and_unit_test_passes(sample_house: House, sample_project: DbtProject) -> None:
    with sample_house.lock("test"):
        results = sample_project.run("test", variables=VARIABLES)
    assert len(results) > 25
    assert [(result.name, result.status, result.message) for result in results if not result.ok] == []
