"""The catalogue: what the project's YAML declares, as typed records.

The dbt manifest is the registry: a model under models/traits is a trait, an exposure with ``config.meta.sync`` is a
sync. Nothing is listed anywhere else.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestration.errors import UsageError

TRAIT_FOLDER = "models/traits/"
SYNC_FOLDER = "models/syncs/"
NOT_ENOUGH_EVIDENCE = "not_enough_evidence"
_PLACEHOLDER = re.compile(r"{(\w+)}")


class Declaration(BaseModel):
    """Part of a YAML entry; a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
        value: whom it is said of, where the trait is a category: those with this value.

    """

    title: str
    behaviours: tuple[str, ...] = ()
    silence: bool = False
    days: int = Field(default=28, ge=1)
    value: str = ""


class Trait(Declaration):
    """One trait: ``config.meta.trait`` of a model, with the model's own name and description.

    ``enter`` and ``exit`` give, for every rule that the model's evidence may name, the sentence that tells why an
    entity has the trait or has it not; {name} is a feature or threshold of the evidence. ``target`` is the share of the
    eligible that a population threshold aims at. ``upstream_traits`` is not declared: the traits that the
    model is built on, however many models lie between.
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


Scalar = bool | float | str | None
Grade = Literal["A", "B", "C"]


class Target(Declaration):
    """Where one trait goes at the destination.

    Attributes:
        field: name of the field there; the trait's own when it is left out.
        cast: type of the value there; the trait's own when it is left out.
        cleared: what stands there once the entity no longer has a published value; null where nothing is said.

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
        destination: name of a file in ``orchestration/destinations``.
        object: kind of record there; the destination's first one for the entity when it is left out.
        entity: whose traits.
        identifier: user_id, account_id, or a dated attribute (email, ...) by which the destination knows the entity.
        identifier_field: the destination's field of the identifier; its own default when it is left out.
        traits: names, ``all``, or keys and values of traits.
        fields: trait -> its field; a trait without an entry keeps its name and type.
        scope: only these entities; who leaves it is cleared.
        mode: upsert clears the fields of who is no longer sent; mirror deletes the record.
        schedule: cron, in the reporting time zone; left out: after each publish.
        purpose: only entities whose recorded consent names it.
        budget: most operations that the vendor bills, a UTC day.
        minimum_grade: traits whose measured stability grade is worse are not sent.
        first: ``everything``, or ``from_now_on``: what is published at the first run counts as sent.
        breaker: largest share of the records known there that one run may change, from 100 known records on; left out:
            half of them at a remote destination.
        paused: nothing is sent.
        options: the destination's own.
        file: not declared: where the rest is.

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
    purpose: str = ""
    budget: int | None = Field(default=None, ge=1)
    minimum_grade: Grade | None = None
    first: Literal["everything", "from_now_on"] = "everything"
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
        said = self.fields.get(trait.name, Target())
        return Target(field=said.field or trait.name, cast=said.cast or _CASTS[trait.type], cleared=said.cleared)


_CASTS: dict[str, Literal["boolean", "number", "string"]] = {
    "boolean": "boolean",
    "number": "number",
    "category": "string",
}
# What a value of a trait may become without a loss that nobody asked for.
_MAY_BECOME = {"boolean": ("boolean", "number", "string"), "number": ("number", "string"), "string": ("string",)}


T = TypeVar("T")
D = TypeVar("D", bound=Declaration)


class Catalog(BaseModel):
    """Everything that is declared."""

    model_config = ConfigDict(frozen=True)

    traits: tuple[Trait, ...]
    syncs: tuple[Sync, ...]

    def trait(self, name: str) -> Trait:
        """One trait by name."""
        return _named(name, {trait.name: trait for trait in self.traits}, "trait")

    def sync(self, name: str) -> Sync:
        """One sync by name."""
        return _named(name, {sync.name: sync for sync in self.syncs}, "sync")

    def traits_of(self, sync: Sync) -> tuple[Trait, ...]:
        """The traits that a sync sends: all of its entity, those named, or those whose entry matches a selector."""
        own = tuple(trait for trait in self.traits if trait.entity == sync.entity)
        if sync.traits == "all":
            return own
        if isinstance(sync.traits, dict):
            wanted = sync.traits.items()
            return tuple(t for t in own if all(str(getattr(t, key)) == value for key, value in wanted))
        return tuple(self.trait(name) for name in sync.traits)


def _named(name: str, items: Mapping[str, T], kind: str) -> T:
    if name in items:
        return items[name]
    raise UsageError(
        f"There is no {kind} {name}.",
        _suggest(name, items) or f"There are: {', '.join(sorted(items)) or 'none'}.",
    )


def read_catalog(manifest: Mapping[str, Any]) -> Catalog:
    """Reads and checks every declaration of a manifest (the dictionary form of dbt's manifest.json).

    Raises:
        UsageError: a declaration has an unknown or missing key, or speaks of something that does not exist.

    """
    behaviours = _behaviours(manifest)
    attributes = _attributes(manifest)
    traits = []
    for key, node in manifest["nodes"].items():
        if _is_trait(node):
            where = f"{_yaml_file(node)}: trait {node['name']}"
            meta = node["config"].get("meta", {}).get("trait")
            if meta is None:
                raise UsageError(
                    f"{where} has no config.meta.trait.",
                    "Its YAML entry is what makes a model a trait.",
                )
            upstream = [one["name"] for one in _upstream(manifest, key).values() if _is_trait(one)]
            traits.append(_parse(Trait, meta | _identity(node) | {"upstream_traits": upstream}, where))
            _check_trait(traits[-1], behaviours, where)
    syncs = []
    for exposure in manifest["exposures"].values():
        meta = exposure["config"].get("meta", {}).get("sync")
        if meta is None and exposure["original_file_path"].startswith(SYNC_FOLDER):
            raise UsageError(
                f"{_yaml_file(exposure)}: {exposure['name']} has no config.meta.sync.",
                "It is what makes an exposure a sync.",
            )
        if meta is not None:
            known = _identity(exposure) | {"file": _yaml_file(exposure)}
            syncs.append(_parse(Sync, meta | known, f"{known['file']}: sync {known['name']}"))
    catalog = Catalog(
        traits=tuple(sorted(traits, key=lambda trait: trait.name)),
        syncs=tuple(sorted(syncs, key=lambda sync: sync.name)),
    )
    for sync in catalog.syncs:
        _check_sync(sync, catalog, attributes)
    return catalog


def _is_trait(node: Mapping[str, Any]) -> bool:
    return bool(node["resource_type"] == "model" and node["original_file_path"].startswith(TRAIT_FOLDER))


def _upstream(manifest: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """Every node that a node is built on."""
    found: dict[str, Mapping[str, Any]] = {}
    left = [key]
    while left:
        for one in manifest["nodes"][left.pop()]["depends_on"].get("nodes", ()):
            if one in manifest["nodes"] and one not in found:
                found[one] = manifest["nodes"][one]
                left.append(one)
    return found


def _identity(node: Mapping[str, Any]) -> dict[str, str]:
    return {"name": node["name"], "description": " ".join(node["description"].split())}


def _yaml_file(node: Mapping[str, Any]) -> str:
    path = node.get("patch_path") or node["original_file_path"]
    return str(path).split("://")[-1]


def _parse(kind: type[D], declared: Mapping[str, Any], where: str) -> D:
    try:
        return kind.model_validate(declared)
    except ValidationError as error:
        # A misspelt key is both unknown and missing; the unknown one tells more.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{where}: unknown key {key!r}.", _suggest(key, kind.model_fields)) from None
        if first["type"] == "missing":
            raise UsageError(f"{where}: the key {key!r} is missing.", "It must be declared.") from None
        raise UsageError(f"{where}: {key}: {first['msg']}.", "Correct it in the YAML entry.") from None


def _suggest(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else ""


def _behaviours(manifest: Mapping[str, Any]) -> set[str]:
    """The closed vocabulary: what the seed's own test accepts."""
    for node in manifest["nodes"].values():
        if node.get("column_name") == "behaviour" and "event_catalog" in str(node.get("attached_node")):
            return set(node["test_metadata"]["kwargs"]["values"])
    raise UsageError(
        "seeds/_seeds.yml does not say which behaviours there are.",
        "Keep its accepted_values test.",
    )


def _attributes(manifest: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Entity and attribute: what the attribute catalogue says is kept of users and accounts."""
    for node in manifest["nodes"].values():
        if node["resource_type"] == "seed" and node["name"] == "attribute_catalog":
            with (Path(node["root_path"]) / node["original_file_path"]).open(newline="") as file:
                return {(row["entity_type"], row["attribute"]) for row in csv.DictReader(file)}
    return set()


def _check_trait(trait: Trait, behaviours: set[str], where: str) -> None:
    for behaviour in (*trait.needs, *trait.outcome.behaviours):
        if behaviour not in behaviours:
            hint = _suggest(behaviour, dict.fromkeys(behaviours))
            raise UsageError(f"{where}: {behaviour!r} is not a behaviour.", hint)
    if bool(trait.outcome.behaviours) == trait.outcome.silence:
        raise UsageError(f"{where}: its outcome is either behaviours or silence.", "Give one of the two.")
    if bool(trait.outcome.value) != (trait.type == "category"):
        raise UsageError(f"{where}: outcome.value belongs to a category, and to it alone.", "Say of whom it is said.")


def _check_sync(sync: Sync, catalog: Catalog, attributes: set[tuple[str, str]]) -> None:
    where = sync.where
    if isinstance(sync.traits, dict):
        for key in sync.traits:
            if key not in Trait.model_fields:
                raise UsageError(f"{where}: {key!r} is not a key of a trait.", _suggest(key, Trait.model_fields))
    elif sync.traits != "all":
        _check_names(sync.traits, catalog, f"{where}: traits")
    sent = catalog.traits_of(sync)
    for trait in sent:
        if trait.entity != sync.entity:
            raise UsageError(
                f"{where} sends {sync.entity}s, but {trait.name} is a trait of {trait.entity}s.",
                "Declare one sync for each entity.",
            )
    if not sync.is_native and (sync.entity, sync.identified_by) not in attributes:
        known = {f"{sync.entity}_id": 0} | {name: 0 for entity, name in attributes if entity == sync.entity}
        raise UsageError(
            f"{where}: identifier: {sync.identified_by!r} is no attribute of {sync.entity}s.",
            _suggest(sync.identified_by, known) or f"There are: {', '.join(sorted(known))}.",
        )
    _check_names(sync.fields, catalog, f"{where}: fields")
    names: dict[str, str] = {}
    for trait in sent:
        target = sync.target(trait)
        at = f"{where}: fields.{trait.name}"
        if target.field in names:
            raise UsageError(f"{at}: {names[target.field]} has the field {target.field!r}, too.", "Name another.")
        names[target.field] = trait.name
        if target.cast not in _MAY_BECOME[_CASTS[trait.type]]:
            raise UsageError(f"{at}: a {trait.type} cannot become a {target.cast}.", "Leave cast out.")
    if sync.scope is not None:
        _check_names([sync.scope.trait], catalog, f"{where}: scope.trait")
        if catalog.trait(sync.scope.trait).entity != sync.entity:
            raise UsageError(f"{where}: scope.trait: {sync.scope.trait} is not of {sync.entity}s.", "Name one that is.")
    if sync.purpose and sync.entity != "user":
        raise UsageError(f"{where}: purpose: accounts give no consent.", "Leave it out.")


def _check_names(names: Iterable[str], catalog: Catalog, where: str) -> None:
    known = {trait.name: trait for trait in catalog.traits}
    for name in names:
        if name not in known:
            raise UsageError(f"{where}: there is no trait {name!r}.", _suggest(name, known))
