"""A manifest to change, and what reading it then says."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from orchestration.declarations.catalog import read_catalog
from orchestration.errors import UsageError
from orchestration.transform.dbt import Project

Refused = Callable[[], UsageError]


@pytest.fixture
def manifest(project: Project) -> dict[str, Any]:
    return {key: copy.deepcopy(project.manifest_dict[key]) for key in ("nodes", "exposures")}


@pytest.fixture
def trait(manifest: dict[str, Any]) -> dict[str, Any]:
    """What the YAML entry of at_risk declares."""
    declared: dict[str, Any] = manifest["nodes"]["model.traithouse.at_risk"]["config"]["meta"]["trait"]
    return declared


@pytest.fixture
def sync(manifest: dict[str, Any]) -> dict[str, Any]:
    """What the YAML entry of the sync outbox declares."""
    declared: dict[str, Any] = manifest["exposures"]["exposure.traithouse.outbox"]["config"]["meta"]["sync"]
    return declared


@pytest.fixture
def refused(manifest: dict[str, Any]) -> Refused:
    """Reads the changed manifest, which must be refused, and gives the error."""

    def read() -> UsageError:
        with pytest.raises(UsageError) as error:
            read_catalog(manifest)
        return error.value

    return read
