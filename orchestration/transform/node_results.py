"""Nodes of a build: which of them run together, and how each of them went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import duckdb

from orchestration.declarations.traits import THRESHOLDS_SUFFIX, TRAIT_FOLDER
from orchestration.transform.content import content_hash
from orchestration.transform.dbt import Project
from orchestration.transform.runner import GOOD_STATUSES, NodeResult


def is_trait(project: Project, unique_id: str) -> bool:
    """Whether a node is a trait's candidate or its thresholds."""
    node = project.manifest_dict["nodes"].get(unique_id, {})
    return bool(node.get("original_file_path", "").startswith(TRAIT_FOLDER))


def whole_stages(project: Project, select: Sequence[str]) -> list[str]:
    """The selection of nodes, and every stage up to the features unless all of it are traits.

    Up to the features each model takes from the one before it what this very run has to do, so a part of them would
    miss work. Traits may be built alone. Nothing selected stays nothing: dbt then runs everything.
    """
    nodes = project.manifest_dict["nodes"].values()
    traits = {node["name"] for node in nodes if is_trait(project, node["unique_id"])}
    if not select or set(select) <= traits:
        return [*select, *({name + THRESHOLDS_SUFFIX for name in select} & traits)]
    folders = sorted(
        {path.parts[1] for node in nodes if (path := Path(node["original_file_path"])).parts[0] == "models"}
        - {Path(TRAIT_FOLDER).parts[-1]}
    )
    return [*select, *(f"path:models/{folder}" for folder in folders)]


def save_results(
    connection: duckdb.DuckDBPyConnection, project: Project, build_id: str, results: Iterable[NodeResult]
) -> None:
    """Adds results to ``state.node_results``, which keeps one build; a trait's with the hash of its candidate."""
    connection.execute("delete from state.node_results where build_id != $1", [build_id])
    candidates = {f"model.{project.name}.{trait.name}": trait for trait in project.catalog.traits}
    for result in results:
        trait = candidates.get(result.unique_id) if result.ok else None
        content = content_hash(connection, trait.candidate, trait.id_column) if trait else None
        connection.execute(
            """
            insert into state.node_results
                (build_id, unique_id, name, status, message, seconds, content_hash)
            values ($build_id, $unique_id, $name, $status, $message, $seconds, $content_hash)
            """,
            asdict(result) | {"build_id": build_id, "content_hash": content},
        )


def failed_models(connection: duckdb.DuckDBPyConnection, project: Project) -> list[str]:
    """``name: message`` of seeds and models up to the features that failed in the current build, by name.

    Traits are left out, for each has a verdict of its own.
    """
    rows = connection.execute(
        """
        select unique_id, name, status, message from state.node_results
        where build_id = (select build_id from state.current_build) order by name
        """
    ).fetchall()
    return [
        f"{name}: {message}"
        for unique_id, name, status, message in rows
        if status not in (*GOOD_STATUSES, "skipped") and not is_trait(project, unique_id)
    ]
