"""Reads every trait from the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestration.declarations.base import name_and_description, parse, yaml_file
from orchestration.declarations.decisions import columns_of, named_in
from orchestration.declarations.trait_checks import check_contradictions, check_trait
from orchestration.declarations.traits import THRESHOLDS_SUFFIX, TRAIT_FOLDER, Trait
from orchestration.errors import UsageError


def read_traits(manifest: Mapping[str, Any]) -> tuple[Trait, ...]:
    """Every trait of a manifest, checked, in the order of names.

    Raises:
        UsageError: a model in models/traits is not declared, or its declaration cannot be used.

    """
    behaviours = _behaviours(manifest)
    nodes = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    traits = []
    for key, node in manifest["nodes"].items():
        if not _is_trait(node):
            continue
        where = f"{yaml_file(node)}: trait {node['name']}"
        declared = node["config"].get("meta", {}).get("trait")
        if declared is None:
            raise UsageError(
                f"{where} has no config.meta.trait.",
                f"Declare it in the model's YAML entry; what is no trait does not belong into {TRAIT_FOLDER}.",
            )
        upstream = _upstream_nodes(manifest, key).values()
        trait = parse(
            Trait,
            declared
            | name_and_description(node)
            | {"ancestors": [other["name"] for other in upstream if _is_trait(other)]}
            | {"thresholds": columns_of(nodes.get(node["name"] + THRESHOLDS_SUFFIX, {"columns": {}}))},
            where,
        )
        columns = columns_of(nodes[f"{trait.entity}_features"])
        quoted = [f" {name} " for rule in trait.rules for name in trait.placeholders(rule.rule)]
        trait = trait.model_copy(update={"features": named_in((*trait.sql_texts, *quoted), columns)})
        check_trait(trait, behaviours, columns, where)
        traits.append(trait)
    names = {trait.name: trait for trait in traits}
    for trait in traits:
        check_contradictions(trait, names)
    return tuple(sorted(traits, key=lambda trait: trait.name))


def _is_trait(node: Mapping[str, Any]) -> bool:
    return bool(
        node["resource_type"] == "model"
        and node["original_file_path"].startswith(TRAIT_FOLDER)
        and not node["name"].endswith(THRESHOLDS_SUFFIX)
    )


def _upstream_nodes(manifest: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """Every node that a node is built on."""
    found: dict[str, Mapping[str, Any]] = {}
    left = [key]
    while left:
        for parent in manifest["nodes"][left.pop()]["depends_on"].get("nodes", ()):
            if parent in manifest["nodes"] and parent not in found:
                found[parent] = manifest["nodes"][parent]
                left.append(parent)
    return found


def _behaviours(manifest: Mapping[str, Any]) -> set[str]:
    """The closed vocabulary: what the seed's own test accepts."""
    for node in manifest["nodes"].values():
        if node.get("column_name") == "behaviour" and "event_catalog" in str(node.get("attached_node")):
            return set(node["test_metadata"]["kwargs"]["values"])
    raise UsageError(
        "seeds/_seeds.yml does not say which behaviours there are.",
        "Restore the accepted_values test of event_catalog.behaviour.",
    )
