"""Traits: the record of ``config.meta.trait`` of a model in models/traits."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from orchestration.declarations.base import Declaration
from orchestration.declarations.decisions import Column, Contradiction, Derived, TraitRule

TRAIT_FOLDER = "models/traits/"
THRESHOLDS_SUFFIX = "__thresholds"
# Rules that judge nothing: the trait's own evidence does not suffice; or what it needs has never been observed.
NOT_ENOUGH_EVIDENCE, NOT_OBSERVED = "not_enough_evidence", "not_observed"
NOT_OBSERVED_TEXT = "Cannot be judged: no event means {not_observed}."
UNJUDGED = (NOT_ENOUGH_EVIDENCE, NOT_OBSERVED)
# What a trait may need besides behaviours: a step that failed, a step that was got through.
STEP_OUTCOMES = ("failure", "success")
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
        needs: what it decides on: behaviours, and ``failure`` or ``success`` of steps.
        applies_to: SQL over the feature row: the entities that it has a value for.
        population: SQL over the feature row: whom thresholds are taken from. Identified users only.
        everyone: whether anonymous visitors belong to its population and may be delivered.
        eligible: SQL over features, derived values and thresholds: who could have it; the population when not given.
        derived: values that it computes, in order.
        scorecard: features and derived values whose learned points add up to its score; they make the derived values
            ``<name>_points``, ``points`` and ``probability``.
        score: SQL of the score.
        rules: in order; the first that holds decides.
        monotone: feature or derived value -> whether the score rises or falls with it.
        half_life_days: after so many days without anything new a score is half; null where scores do not fade.
        contradicts: values of other traits that its members may not have.
        outcome: what it warns of or promises.
        gate: extra expectations.
        purpose: what it may be used for.
        serve: who may ask the API for it: servers alone, browsers too (each for its own user), or nobody.
        default: what the API answers for an entity without a value; false, 0 or an empty text when not given.
        upstream_traits: traits whose values it reads, each as a column that is null where that trait was not judged.
        ancestors: not declared: all traits that the model is built on, however many models lie between.
        features: not declared: the columns of the feature row that these texts name.
        thresholds: not declared: the columns of ``<trait>__thresholds``; none without such a model.

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
    applies_to: str = "true"
    population: str = "true"
    everyone: bool = False
    eligible: str = ""
    derived: tuple[Derived, ...] = ()
    scorecard: tuple[str, ...] = ()
    score: str
    rules: tuple[TraitRule, ...] = Field(min_length=1)
    monotone: dict[str, Literal["rising", "falling"]] = Field(default_factory=dict)
    half_life_days: float | None = Field(default=None, gt=0)
    contradicts: tuple[Contradiction, ...] = ()
    outcome: Outcome
    gate: tuple[Expectation, ...] = ()
    purpose: str
    serve: Literal["server", "browser", "never"] = "server"
    default: bool | float | str | None = None
    upstream_traits: tuple[str, ...] = ()
    ancestors: frozenset[str] = frozenset()
    features: tuple[Column, ...] = ()
    thresholds: tuple[Column, ...] = ()

    @field_validator("derived", mode="before")
    @classmethod
    def _named(cls, declared: Any) -> Any:
        """A mapping from name to entry is a list of entries with names."""
        if not isinstance(declared, dict):
            return declared
        entries = {name: entry if isinstance(entry, dict) else {"sql": str(entry)} for name, entry in declared.items()}
        return [{"name": name, **entry} for name, entry in entries.items()]

    @property
    def default_value(self) -> str:
        """What the API answers for an entity without a value, written like a published value."""
        if self.default is None:
            return {"boolean": "false", "number": "0", "category": ""}[self.type]
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)

    @property
    def candidate(self) -> str:
        """Relation of the candidate."""
        return f'candidates."{self.name}"'

    @property
    def thresholds_model(self) -> str:
        """Name of the model of its thresholds; empty when it has none."""
        return self.name + THRESHOLDS_SUFFIX if self.thresholds else ""

    @property
    def id_column(self) -> str:
        """``user_id`` or ``account_id``."""
        return f"{self.entity}_id"

    @property
    def sentences(self) -> dict[str, str]:
        """Rule -> sentence."""
        return {rule.rule: rule.text for rule in self.rules} | {
            NOT_OBSERVED: "Cannot be judged: no event means {not_observed}."
        }

    @property
    def sql_texts(self) -> tuple[str, ...]:
        """All of its SQL."""
        values = [str(rule.value) for rule in self.rules if self.type == "number"]
        conditions = [rule.when for rule in self.rules]
        derived = [value.sql for value in self.derived]
        return (
            self.applies_to,
            self.population,
            self.eligible,
            self.score,
            *derived,
            *self.scorecard,
            *conditions,
            *values,
        )

    def placeholders(self, rule: str) -> list[str]:
        """Names of the evidence that the sentence of a rule quotes."""
        return _PLACEHOLDER.findall(self.sentences[rule])
