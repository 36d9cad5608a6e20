"""What incremental rows were made with, as one hash: where it differs, everything is rebuilt."""

from __future__ import annotations

import hashlib
import json

import duckdb

from orchestration.transform.dbt import Project
from orchestration.transform.node_results import is_trait


def project_fingerprint(project: Project) -> str:
    """Hash over the contents of the models up to the features, macros, seeds and vars, and over the engine.

    Traits are left out: every refresh evaluates them for everybody.
    """
    manifest = project.manifest_dict
    parts = [
        (unique_id, node["checksum"]["checksum"])
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed") and not is_trait(project, unique_id)
    ]
    parts += [
        (unique_id, macro["macro_sql"])
        for unique_id, macro in manifest["macros"].items()
        if macro["package_name"] == manifest["metadata"]["project_name"]
    ]
    # Fast hashes and contracts differ between engines and their versions.
    engine = [project.home.settings.target, duckdb.__version__]
    text = json.dumps([sorted(parts), project.variables, engine], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
