"""One cluster for all tests of the engine."""

from collections.abc import Iterator

import pytest

from tests.spark.cluster import Cluster, cluster


@pytest.fixture(scope="session")
def spark_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster."""
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made
