"""What a trait's declaration must hold, beyond the shape of its keys; an error names file, entry and key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestration.declarations.base import did_you_mean
from orchestration.declarations.decisions import Column, named_in
from orchestration.declarations.traits import NOT_ENOUGH_EVIDENCE, NOT_OBSERVED, STEP_OUTCOMES, Trait
from orchestration.errors import UsageError

# Types whose text differs between engines, or between a reader and the next.
_NO_EVIDENCE_TYPES = ("timestamp", "date")


def check_trait(trait: Trait, behaviours: set[str], columns: Sequence[Column], where: str) -> None:
    """Checks one trait.

    Args:
        trait: the parsed declaration.
        behaviours: the vocabulary.
        columns: of the feature row.
        where: file and entry.

    Raises:
        UsageError: it cannot be used.

    """
    _check_needs(trait, behaviours, where)
    if (trait.serve, trait.entity) == ("browser", "account"):
        raise UsageError(
            f"{where}: serve: a browser reads its own user only, and this trait is of accounts.",
            "Write server, or serve a trait of users.",
        )
    expected = {"boolean": bool, "number": float, "category": str}[trait.type]
    if trait.default is not None and not isinstance(trait.default, expected):
        raise UsageError(
            f"{where}: default: {trait.default!r} is no value of a {trait.type} trait.",
            "Write a value of its type, or leave the key out.",
        )
    _check_outcome(trait, where)
    _check_rules(trait, where)
    _check_columns(trait, columns, where)
    for upstream in trait.upstream_traits:
        if upstream not in trait.ancestors:
            raise UsageError(
                f"{where}: upstream_traits: the model does not read {upstream!r}.",
                "Read it with ref(), or do not name it.",
            )
        if not any(f"{upstream} is null" in rule.when for rule in trait.rules):
            raise UsageError(
                f"{where}: rules: none says what holds where {upstream!r} was not judged.",
                f"Add a rule with `when: {upstream} is null` before the rules that read it.",
            )


def check_contradictions(trait: Trait, traits: Mapping[str, Trait]) -> None:
    """Checks that what a trait contradicts is a trait of the same entity, and that no circle arises.

    Raises:
        UsageError: it is not.

    """
    for contradiction in trait.contradicts:
        other = traits.get(contradiction.trait)
        where = f"trait {trait.name}: contradicts: {contradiction.trait!r}"
        if other is None:
            raise UsageError(f"{where} is not a trait.", did_you_mean(contradiction.trait, traits))
        if other.entity != trait.entity:
            raise UsageError(f"{where} describes another entity.", f"Name a trait of a {trait.entity}.")
    seen, left = set[str](), [trait.name]
    while left:
        for name in {*(found.trait for found in traits[left.pop()].contradicts)} & traits.keys() - seen:
            if name == trait.name:
                raise UsageError(
                    f"trait {trait.name}: contradicts: it comes back to the trait itself.",
                    "Name each pair once, in the trait that is to be withheld.",
                )
            seen.add(name)
            left.append(name)


def _check_needs(trait: Trait, behaviours: set[str], where: str) -> None:
    needed = behaviours | {*STEP_OUTCOMES}
    for key, named, known in (
        ("needs", trait.needs, needed),
        ("outcome.behaviours", trait.outcome.behaviours, behaviours),
    ):
        for behaviour in named:
            if behaviour not in known:
                raise UsageError(
                    f"{where}: {key}: {behaviour!r} is not a behaviour.",
                    did_you_mean(behaviour, known) or f"There are: {', '.join(sorted(known))}.",
                )


def _check_outcome(trait: Trait, where: str) -> None:
    if bool(trait.outcome.behaviours) == trait.outcome.silence:
        raise UsageError(f"{where}: outcome: it is either behaviours or silence.", "Declare one of the two.")
    if trait.type == "category" and not trait.outcome.value:
        raise UsageError(f"{where}: outcome.value is missing.", "Name the category that the outcome is measured on.")
    if trait.type != "category" and trait.outcome.value:
        raise UsageError(f"{where}: outcome.value is for categories only.", f"Leave it out: this is a {trait.type}.")


def _check_columns(trait: Trait, columns: Sequence[Column], where: str) -> None:
    for column in trait.features:
        if column.type in _NO_EVIDENCE_TYPES:
            raise UsageError(
                f"{where}: {column.name} is a {column.type}, which a trait cannot decide from.",
                "Add what you need of it to the features: a number of days, or whether it is there.",
            )
    taken = {column.name for column in (*columns, *trait.thresholds)} | {*trait.upstream_traits, "prior"}
    for derived in trait.derived:
        if derived.name in taken:
            raise UsageError(f"{where}: derived: {derived.name!r} is the name of something else.", "Rename it.")
        taken.add(derived.name)
    learned = {f"{name}_points" for name in trait.scorecard} | {"points", "probability"} if trait.scorecard else set()
    known = taken | learned
    for name in (*trait.scorecard, *trait.monotone):
        if name not in known:
            raise UsageError(f"{where}: {name!r} is no feature and no derived value.", did_you_mean(name, known))
    for rule in trait.rules:
        for name in trait.placeholders(rule.rule):
            if name not in known:
                raise UsageError(
                    f"{where}: rules: the text of {rule.rule!r} quotes {name!r}, which is not in the evidence.",
                    did_you_mean(name, known),
                )


def _check_rules(trait: Trait, where: str) -> None:
    names = [rule.rule for rule in trait.rules]
    if len({*names}) < len(names) or NOT_OBSERVED in names:
        raise UsageError(f"{where}: rules: a name is taken twice, or reserved.", "Give each rule a name of its own.")
    for rule in trait.rules[:-1]:
        if not rule.when:
            raise UsageError(f"{where}: rules: {rule.rule!r} has no `when`, and others follow.", "Move it to the end.")
    if trait.rules[-1].when:
        raise UsageError(
            f"{where}: rules: the last one has a `when`, so an entity may have no rule.", "Add a rule without `when`."
        )
    for rule in trait.rules:
        given = rule.value is not None
        fits = {
            "boolean": not given or isinstance(rule.value, bool),
            "category": not given or isinstance(rule.value, str),
            "number": isinstance(rule.value, str),
        }[trait.type]
        if not fits:
            raise UsageError(f"{where}: rules: the value of {rule.rule!r} is not a {trait.type}.", "Correct the value.")
    if any(named_in([rule.when], trait.thresholds) for rule in trait.rules) and NOT_ENOUGH_EVIDENCE not in names:
        raise UsageError(
            f"{where}: rules: none is named {NOT_ENOUGH_EVIDENCE!r}, though a rule compares with thresholds.",
            "Say from when on the population is too small to compare with.",
        )
