"""Syncs: ``config.meta.sync`` of the exposures in models/syncs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from orchestration.declarations.base import (
    Declaration,
    Duration,
    did_you_mean,
    name_and_description,
    named,
    parse,
    yaml_file,
)
from orchestration.declarations.traits import Trait
from orchestration.errors import UsageError

SYNC_FOLDER = "models/syncs/"

Scalar = bool | float | str | None
Grade = Literal["A", "B", "C"]

_CASTS: dict[str, Literal["boolean", "number", "string"]] = {
    "boolean": "boolean",
    "number": "number",
    "category": "string",
}
# What a value of a trait may become without a loss that nobody asked for.
_MAY_BECOME = {"boolean": ("boolean", "number", "string"), "number": ("number", "string"), "string": ("string",)}


class Target(Declaration):
    """Where one trait goes at the destination.

    Attributes:
        field: name of the field there; the trait's own when it is left out.
        cast: type of the value there; the trait's own when it is left out.
        cleared: what stands there once the entity no longer has a published value; null when it is left out.

    """

    field: str = ""
    cast: Literal["boolean", "number", "string", ""] = ""
    cleared: Scalar = None


class Scope(Declaration):
    """Entities that a sync sends: those whose published value of a trait is this one."""

    trait: str
    value: str = "true"


class Sync(Declaration):
    """One reverse sync: ``config.meta.sync`` of an exposure, with the exposure's own name and description.

    Attributes:
        name: of the exposure.
        description: of the exposure.
        destination: name of a file in ``orchestration/destinations``.
        object: kind of record there; the destination's first one for the entity when it is left out.
        entity: whose traits.
        identifier: user_id, account_id, or a dated attribute (email, ...) by which the destination knows the entity.
        identifier_field: the destination's field of the identifier; its own default when it is left out.
        traits: names, ``all``, or keys and values of traits.
        fields: trait -> its field; a trait without an entry keeps its name and type.
        scope: only these entities; an entity that leaves the scope is cleared.
        mode: upsert clears the fields of an entity that is no longer sent; mirror deletes its record.
        schedule: cron, in the reporting time zone; left out: after each publish.
        at_most_every: shortest time between two deliveries; a run before it sends nothing, and the next one sends it
            all. What has to be deleted of somebody who was forgotten does not wait.
        purpose: only entities whose recorded consent names it.
        budget: most operations that the vendor bills, a UTC day.
        minimum_grade: traits whose measured stability grade is worse are not sent.
        first: ``everything``, or ``from_now_on``: what is published at the first run counts as sent; the destination's
            own when it is left out.
        label: a dated attribute by which people know the entity (name, ...), for destinations that people read.
        breaker: largest share of the records known there that one run may change, from 100 known records on; left out:
            half of them at a remote destination.
        paused: nothing is sent.
        options: the destination's own.
        file: not declared: the YAML file that declares it.

    """

    name: str
    description: str
    destination: str
    traits: Literal["all"] | tuple[str, ...] | dict[str, str]
    entity: Literal["user", "account"] = "user"
    object: str = ""
    identifier: str = ""
    identifier_field: str = ""
    fields: dict[str, Target] = Field(default_factory=dict)
    scope: Scope | None = None
    mode: Literal["upsert", "mirror"] = "upsert"
    schedule: str = ""
    at_most_every: Duration | None = None
    purpose: str = ""
    budget: int | None = Field(default=None, ge=1)
    minimum_grade: Grade | None = None
    first: Literal["everything", "from_now_on", ""] = ""
    label: str = ""
    breaker: float | None = Field(default=None, gt=0, le=1)
    paused: bool = False
    options: dict[str, Any] = Field(default_factory=dict)
    file: str = ""

    @property
    def where(self) -> str:
        """What an error begins with."""
        return f"{self.file}: sync {self.name}" if self.file else f"sync {self.name}"

    @property
    def identified_by(self) -> str:
        """``user_id``, ``account_id`` or the name of an attribute."""
        return self.identifier or f"{self.entity}_id"

    @property
    def is_native(self) -> bool:
        """Whether the identifier is the published id itself."""
        return self.identified_by == f"{self.entity}_id"

    def target(self, trait: Trait) -> Target:
        """Field, type and cleared value of a trait, with nothing left out."""
        declared = self.fields.get(trait.name, Target())
        return Target(
            field=declared.field or trait.name, cast=declared.cast or _CASTS[trait.type], cleared=declared.cleared
        )

    def select(self, traits: Sequence[Trait]) -> tuple[Trait, ...]:
        """The traits that it sends: all of its entity, those named, or those whose entry matches a selector.

        Raises:
            UsageError: it names a trait that is not among them.

        """
        of_entity = tuple(trait for trait in traits if trait.entity == self.entity)
        if self.traits == "all":
            return of_entity
        if isinstance(self.traits, dict):
            wanted = self.traits.items()
            return tuple(t for t in of_entity if all(str(getattr(t, key)) == value for key, value in wanted))
        by_name = {trait.name: trait for trait in traits}
        return tuple(named(name, by_name, "trait") for name in self.traits)


def read_syncs(manifest: Mapping[str, Any], traits: Sequence[Trait]) -> tuple[Sync, ...]:
    """Every sync of a manifest, checked against the traits, in the order of names.

    Raises:
        UsageError: an exposure in models/syncs is not declared, or its declaration cannot be used.

    """
    attributes = _attributes(manifest)
    syncs = []
    for exposure in manifest["exposures"].values():
        file = yaml_file(exposure)
        meta = exposure["config"].get("meta", {})
        declared = meta.get("sync")
        if declared is not None:
            known = name_and_description(exposure) | {"file": file}
            syncs.append(parse(Sync, declared | known, f"{file}: sync {exposure['name']}"))
        elif exposure["original_file_path"].startswith(SYNC_FOLDER) and "tables" not in meta:
            raise UsageError(
                f"{file}: {exposure['name']} has neither config.meta.sync nor config.meta.tables.",
                f"Declare it in the exposure's entry; what is no sync does not belong into {SYNC_FOLDER}.",
            )
    syncs.sort(key=lambda sync: sync.name)
    for sync in syncs:
        _check_sync(sync, traits, attributes)
    return tuple(syncs)


def _attributes(manifest: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Entity and attribute: what the attribute catalogue says is kept of users and accounts."""
    for node in manifest["nodes"].values():
        if node["resource_type"] == "seed" and node["name"] == "attribute_catalog":
            with (Path(node["root_path"]) / node["original_file_path"]).open(newline="") as file:
                return {(row["entity_type"], row["attribute"]) for row in csv.DictReader(file)}
    return set()


def _check_sync(sync: Sync, traits: Sequence[Trait], attributes: set[tuple[str, str]]) -> None:
    where = sync.where
    if isinstance(sync.traits, dict):
        for key in sync.traits:
            if key not in Trait.model_fields:
                hint = did_you_mean(key, Trait.model_fields)
                raise UsageError(f"{where}: traits: {key!r} is not a key of a trait.", hint)
    elif sync.traits != "all":
        _check_names(sync.traits, traits, f"{where}: traits")
    if not sync.is_native:
        _check_attribute(sync, "identifier", sync.identified_by, attributes, [f"{sync.entity}_id"])
    if sync.label:
        _check_attribute(sync, "label", sync.label, attributes)
    _check_names(sync.fields, traits, f"{where}: fields")
    _check_fields(sync, traits)
    if sync.scope is not None:
        _check_names([sync.scope.trait], traits, f"{where}: scope.trait")
        if sync.scope.trait not in {trait.name for trait in traits if trait.entity == sync.entity}:
            raise UsageError(
                f"{where}: scope.trait: {sync.scope.trait} is not a trait of {sync.entity}s.",
                f"Name a trait of {sync.entity}s.",
            )
    if sync.purpose and sync.entity != "user":
        raise UsageError(f"{where}: purpose: accounts give no consent.", "Leave it out.")


def _check_attribute(
    sync: Sync, key: str, name: str, attributes: set[tuple[str, str]], others: Sequence[str] = ()
) -> None:
    if (sync.entity, name) not in attributes:
        known = sorted({*others} | {attribute for entity, attribute in attributes if entity == sync.entity})
        raise UsageError(
            f"{sync.where}: {key}: {name!r} is no attribute of {sync.entity}s.",
            did_you_mean(name, known) or f"There are: {', '.join(known)}.",
        )


def _check_fields(sync: Sync, traits: Sequence[Trait]) -> None:
    """Each trait that is sent is of the sync's entity, and has a field of its own that can hold it."""
    trait_of: dict[str, str] = {}
    for trait in sync.select(traits):
        if trait.entity != sync.entity:
            raise UsageError(
                f"{sync.where}: traits: {trait.name} is a trait of {trait.entity}s, and the sync sends {sync.entity}s.",
                "Declare one sync for each entity.",
            )
        target = sync.target(trait)
        where = f"{sync.where}: fields.{trait.name}"
        if target.field in trait_of:
            other = trait_of[target.field]
            raise UsageError(f"{where}: {other} has the field {target.field!r}, too.", "Give it another field.")
        trait_of[target.field] = trait.name
        if target.cast not in _MAY_BECOME[_CASTS[trait.type]]:
            raise UsageError(f"{where}: a {trait.type} cannot become a {target.cast}.", "Leave cast out.")


def _check_names(names: Iterable[str], traits: Sequence[Trait], where: str) -> None:
    known = [trait.name for trait in traits]
    for name in names:
        if name not in known:
            raise UsageError(f"{where}: there is no trait {name!r}.", did_you_mean(name, known))
