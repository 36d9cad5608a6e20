"""What incremental rows were made with, as one hash: where it differs, everything is rebuilt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from orchestration.transform.dbt import Project
from orchestration.transform.node_results import is_trait
from orchestration.transform.project_files import read_yaml

# What a node's configuration says to readers only.
_NO_ROW = ("docs", "description")


def project_fingerprint(project: Project) -> str:
    """Hash over contents of all that can change a row up to the features, and over the engine; never over times.

    That is: models and seeds with their configuration and the types of their columns, macros (also those of packages
    and of dbt), all of dbt_project.yml and profiles.yml but comments, the vars, and the environment variables that any
    file reads by name. Traits are left out: every refresh evaluates them for everybody.
    """
    manifest = project.manifest_dict
    parts = [
        (unique_id, _contents(project, node), _settings(node))
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed") and not is_trait(project, unique_id)
    ]
    macros = [(unique_id, macro["macro_sql"]) for unique_id, macro in manifest["macros"].items()]
    files = [read_yaml(project.folder / name) for name in ("dbt_project.yml", "profiles.yml")]
    # Fast hashes and contracts differ between engines and their versions.
    engine = [project.home.settings.target, duckdb.__version__]
    facts = [sorted(parts), sorted(macros), files, project.variables, project.files.environment, engine]
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _contents(project: Project, node: Mapping[str, Any]) -> str:
    """SHA-256 of what a node is made of; of a seed over its file, for dbt hashes a large one by its path."""
    if node["resource_type"] != "seed":
        return str(node["checksum"]["checksum"])
    is_own = node["package_name"] == project.name or not node.get("root_path")
    folder = project.folder if is_own else Path(node["root_path"])
    with (folder / node["original_file_path"]).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _settings(node: Mapping[str, Any]) -> str:
    """A node's configuration, wherever it was given, and the types of its columns, as JSON."""
    config = {name: value for name, value in node["config"].items() if name not in _NO_ROW}
    types = {name: column.get("data_type") for name, column in node["columns"].items()}
    return json.dumps([config, types], sort_keys=True, default=str)
