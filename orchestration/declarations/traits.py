"""Traits: ``config.meta.trait`` of the models in models/traits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from orchestration.declarations.base import Declaration, did_you_mean, name_and_description, parse, yaml_file
from orchestration.errors import UsageError

TRAIT_FOLDER = "models/traits/"
NOT_ENOUGH_EVIDENCE = "not_enough_evidence"
_PLACEHOLDER = re.compile(r"{(\w+)}")


class Expectation(Declaration):
    """An extra expectation of a trait, in Great Expectations' own form.

    The batch is the candidate with one more column, ``value_number`` (1 for true, 0 for false, or the number).
    """

    type: str
    kwargs: dict[str, Any] = Field(default_factory=dict)
    severity: Literal["critical", "warning", "info"] = "critical"
    description: str = ""


class Outcome(Declaration):
    """What the trait warns of or promises in the days after it: a behaviour, or silence.

    Attributes:
        title: what it is, for a person.
        behaviours: at least one event of one of these.
        silence: no event at all.
        days: within how many days.
        value: where the trait is a category: the value whose entities the outcome is measured on.

    """

    title: str
    behaviours: tuple[str, ...] = ()
    silence: bool = False
    days: int = Field(default=28, ge=1)
    value: str = ""


class Trait(Declaration):
    """One trait: ``config.meta.trait`` of a model, with the model's own name and description.

    Attributes:
        name: of the model.
        description: of the model.
        title: for a person.
        entity: whom it describes.
        type: of its value.
        owner: the team that answers for it.
        version: of the definition; raised when the definition changes.
        target: share of the eligible that a population threshold aims at.
        needs: behaviours without which it cannot be decided.
        enter: rule -> the sentence that tells why an entity has the trait; {name} is a feature or threshold of the
            evidence. Every rule that the model's evidence may name stands here or in ``exit``.
        exit: rule -> the sentence that tells why an entity has it not.
        outcome: what it warns of or promises.
        gate: extra expectations.
        purpose: what it may be used for.
        upstream_traits: not declared: the traits that the model is built on, however many models lie between.

    """

    name: str
    description: str
    title: str
    entity: Literal["user", "account"]
    type: Literal["boolean", "number", "category"]
    owner: str
    version: int = Field(ge=1)
    target: float | None = Field(default=None, gt=0, lt=1)
    needs: tuple[str, ...] = ()
    enter: dict[str, str]
    exit: dict[str, str] = Field(default_factory=dict)
    outcome: Outcome
    gate: tuple[Expectation, ...] = ()
    purpose: str
    upstream_traits: frozenset[str] = frozenset()

    @property
    def candidate(self) -> str:
        """Relation of the candidate."""
        return f'candidates."{self.name}"'

    @property
    def id_column(self) -> str:
        """``user_id`` or ``account_id``."""
        return f"{self.entity}_id"

    @property
    def sentences(self) -> dict[str, str]:
        """Rule -> sentence."""
        return self.enter | self.exit

    def placeholders(self, rule: str) -> list[str]:
        """Names of the evidence that the sentence of a rule quotes."""
        return _PLACEHOLDER.findall(self.sentences[rule])


def read_traits(manifest: Mapping[str, Any]) -> tuple[Trait, ...]:
    """Every trait of a manifest, checked, in the order of names.

    Raises:
        UsageError: a model in models/traits is not declared, or its declaration cannot be used.

    """
    behaviours = _behaviours(manifest)
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
        upstream = [other["name"] for other in _upstream_nodes(manifest, key).values() if _is_trait(other)]
        trait = parse(Trait, declared | name_and_description(node) | {"upstream_traits": upstream}, where)
        _check_trait(trait, behaviours, where)
        traits.append(trait)
    return tuple(sorted(traits, key=lambda trait: trait.name))


def _is_trait(node: Mapping[str, Any]) -> bool:
    return bool(node["resource_type"] == "model" and node["original_file_path"].startswith(TRAIT_FOLDER))


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


def _check_trait(trait: Trait, behaviours: set[str], where: str) -> None:
    for key, named in (("needs", trait.needs), ("outcome.behaviours", trait.outcome.behaviours)):
        for behaviour in named:
            if behaviour not in behaviours:
                raise UsageError(
                    f"{where}: {key}: {behaviour!r} is not a behaviour.",
                    did_you_mean(behaviour, behaviours) or f"There are: {', '.join(sorted(behaviours))}.",
                )
    if bool(trait.outcome.behaviours) == trait.outcome.silence:
        raise UsageError(f"{where}: outcome: it is either behaviours or silence.", "Declare one of the two.")
    if trait.type == "category" and not trait.outcome.value:
        raise UsageError(f"{where}: outcome.value is missing.", "Name the category that the outcome is measured on.")
    if trait.type != "category" and trait.outcome.value:
        raise UsageError(f"{where}: outcome.value is for categories only.", f"Leave it out: this is a {trait.type}.")
