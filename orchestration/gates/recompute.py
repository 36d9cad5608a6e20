"""SQL that recomputes a trait from its declaration: what each entity's row has to be.

The model renders the same texts by macros/trait.sql, on either engine. This is the audit's own rendering, for DuckDB: a
candidate whose rows differ was not made by its declaration from these features, thresholds and prior values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from orchestration.declarations.decisions import Column, Derived
from orchestration.declarations.traits import NOT_OBSERVED, UNJUDGED, Trait

_WORD = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class Inputs:
    """Where a trait is recomputed from.

    Attributes:
        features: relation of the feature rows.
        minimum_population: the var.

    """

    features: str
    minimum_population: int


@dataclass(frozen=True)
class EvidenceMember:
    """One member of the evidence: SQL name of its value, and how it is written (a number of decimals, or its kind)."""

    name: str
    kind: str | int


def features_of(trait: Trait) -> tuple[str, ...]:
    """Columns of the feature row that recomputing a trait reads."""
    also = (trait.id_column, *(["is_anonymous"] if trait.entity == "user" else []))
    computed = {value.name for value in trait.derived} | {*_learned(trait)}
    followed = (name for name in trait.monotone if name not in computed)
    return tuple(dict.fromkeys((*also, *(column.name for column in trait.features), *followed)))


def expected_steps(trait: Trait, inputs: Inputs) -> str:
    """SQL of the steps up to ``expected``: a row an entity, to follow ``with``.

    Its columns are entity_id, is_counted, value (text), score, evidence, is_eligible, rule, and for each declared
    ``monotone`` a double ``monotone_<name>``.
    """
    late = _late_values(trait)
    early = [value for value in trait.derived if value.name not in late]
    thresholds = f"cross join {thresholds_relation(trait)} as thresholds" if trait.thresholds else ""
    columns = "".join(f"thresholds.{column.name}, " for column in trait.thresholds if column.name != "trait")
    upstream = "".join(f"{_judged_value(name)} as {name}, " for name in trait.upstream_traits)
    joins = "".join(
        f" left join {_once(trait, name)} as {name} on features.{trait.id_column} = {name}.{trait.id_column}"
        for name in trait.upstream_traits
    )
    is_counted = "not features.is_anonymous" if trait.entity == "user" and not trait.everyone else "true"
    monotone = "".join(f", cast({name} as double) as monotone_{name}" for name in trait.monotone)
    steps = f"""
        judged as (
            select
                features.*, {is_counted} as is_counted, {columns}
                needs.{NOT_OBSERVED}, coalesce(prior_state.value, '') as prior, {upstream}
                {_derived_columns(early)}
                cast({inputs.minimum_population} as bigint) as minimum_population
            from (select * from {inputs.features} where {trait.applies_to}) as features
            {thresholds}
            cross join ({_unobserved(trait)}) as needs
            left join state.trait_state as prior_state
                on prior_state.trait = '{trait.name}' and features.{trait.id_column} = prior_state.entity_id
            {joins}
        ),
    """
    last = "judged"
    if trait.scorecard:
        steps += _scored_steps(trait, [value for value in trait.derived if value.name in late])
        last = "scored"
    return (
        steps
        + f"""
        decided as (
            select *, {_decided_rule(trait)} as rule, {_decided_eligible(trait)} as is_eligible from {last}
        ),
        expected as (
            select
                {trait.id_column} as entity_id, is_counted, rule, is_eligible,
                cast({_decided_value(trait)} as varchar) as value,
                cast({trait.score} as double) as score,
                {_evidence(trait)} as evidence
                {monotone}
            from decided
        )
    """
    )


def thresholds_relation(trait: Trait) -> str:
    """Relation of the trait's thresholds."""
    return f'candidates."{trait.thresholds_model}"'


def evidence_members(trait: Trait) -> dict[str, list[EvidenceMember]]:
    """Part of the evidence -> its members, in order."""
    features = [EvidenceMember(column.name, _kind(column)) for column in trait.features]
    derived = [
        EvidenceMember(NOT_OBSERVED, "text"),
        *(EvidenceMember(f"{name}_points", "number") for name in trait.scorecard),
    ]
    if trait.scorecard:
        derived.append(EvidenceMember("points", "number"))
    for value in trait.derived:
        is_decimal = value.type == "number" and value.digits
        derived.append(EvidenceMember(value.name, value.digits if is_decimal and value.digits else value.type))
    numbers = [column for column in trait.thresholds if column.type in ("bigint", "double")]
    return {
        "features": features,
        "derived": derived,
        "thresholds": [EvidenceMember(column.name, _kind(column)) for column in numbers],
    }


def comparable_evidence(trait: Trait, evidence: str) -> str:
    """SQL of an evidence as a list of texts, which is the same whatever the order of its members."""
    members = [
        f"json_extract_string({evidence}, '$.{part}.{member.name}')"
        for part, named in evidence_members(trait).items()
        for member in named
    ]
    keys = [f"cast(len(json_keys({evidence}, '$.{part}')) as varchar)" for part in evidence_members(trait)]
    top = [f"json_extract_string({evidence}, '$.{key}')" for key in ("rule", "eligible")]
    return f"[{', '.join((*top, *keys, *members))}]"


def _kind(column: Column) -> str | int:
    if column.type == "string":
        return "text"
    return column.digits if column.type == "double" else column.type


def _judged_value(upstream: str) -> str:
    unjudged = ", ".join(f"'{rule}'" for rule in UNJUDGED)
    rule = f"case when json_valid({upstream}.evidence) then json_extract_string({upstream}.evidence, '$.rule') end"
    return f"case when {rule} not in ({unjudged}) then {upstream}.value end"


def _once(trait: Trait, upstream: str) -> str:
    """A row an entity, also where the other candidate has more: that is its own fault."""
    id_column = trait.id_column
    return f'(select distinct on ({id_column}) {id_column}, value, evidence from candidates."{upstream}")'


def _unobserved(trait: Trait) -> str:
    needed = " union all ".join(f"select '{name}' as behaviour" for name in trait.needs)
    if not needed:
        return f"select cast(null as varchar) as {NOT_OBSERVED}"
    return f"""
        select min(behaviour) as {NOT_OBSERVED} from ({needed}) as needed
        anti join features.observed_behaviours as observed using (behaviour)
    """


def _derived_columns(values: Iterable[Derived]) -> str:
    return "".join(f"{_derived(value)} as {value.name}, " for value in values)


def _derived(value: Derived) -> str:
    if value.type != "number":
        return f"cast({value.sql} as {'varchar' if value.type == 'text' else value.type})"
    if value.digits is None:
        return f"cast({value.sql} as bigint)"
    power = 10**value.digits
    if value.digits == 0:
        return f"cast(floor(cast({value.sql} as double) + 0.5) as bigint)"
    return f"floor(cast({value.sql} as double) * {power} + 0.5) / {power}"


def _learned(trait: Trait) -> set[str]:
    """Names of what a scorecard gives."""
    return {"points", "probability", *(f"{name}_points" for name in trait.scorecard)} if trait.scorecard else set()


def _late_values(trait: Trait) -> set[str]:
    """Derived values that read points or a probability, themselves or by way of another."""
    if not trait.scorecard:
        return set()
    learned = _learned(trait)
    late: set[str] = set()
    for value in trait.derived:
        if {*_WORD.findall(value.sql)} & (learned | late):
            late.add(value.name)
    return late


def _scored_steps(trait: Trait, late: Iterable[Derived]) -> str:
    """The learned points of each value of the scorecard, their sum, its probability, and what is made of it."""
    columns = "".join(f"{name}_bin.points as {name}_points, " for name in trait.scorecard)
    total = " + ".join(f"{name}_bin.points" for name in trait.scorecard)
    bins = "".join(
        f"""
            left join score_points as {name}_bin
                on {name}_bin.feature = '{name}'
                and case
                    when judged.{name} is null then {name}_bin.is_missing
                    else
                        not {name}_bin.is_missing
                        and ({name}_bin.low is null or judged.{name} >= {name}_bin.low)
                        and ({name}_bin.high is null or judged.{name} < {name}_bin.high)
                end
        """
        for name in trait.scorecard
    )
    learned = f"""
        from learning.{{table}} as learned
        inner join {thresholds_relation(trait)} as thresholds on learned.model_version = thresholds.model_version
        where learned.trait = '{trait.name}' and thresholds.is_usable
    """
    return f"""
        score_points as (select learned.* {learned.format(table="score_points")}),
        score_probabilities as (
            select learned.points, learned.probability {learned.format(table="score_probabilities")}
        ),
        pointed as (select judged.*, {columns} {total} as points from judged {bins}),
        scored as (
            select pointed.*, score_probabilities.probability, {_derived_columns(late)} true as is_scored
            from pointed
            left join score_probabilities on pointed.points = score_probabilities.points
        ),
    """


def _decided_rule(trait: Trait) -> str:
    cases = "".join(
        f" when {rule.when} then '{rule.rule}'" if rule.when else f" else '{rule.rule}'" for rule in trait.rules
    )
    return f"case when {NOT_OBSERVED} is not null then '{NOT_OBSERVED}'{cases} end"


def _decided_eligible(trait: Trait) -> str:
    return f"coalesce(({trait.eligible or trait.population}) and is_counted, false)"


def _decided_value(trait: Trait) -> str:
    if trait.type == "boolean":
        holds = ", ".join(f"'{rule.rule}'" for rule in trait.rules if rule.value)
        return f"rule in ({holds or 'null'})"
    is_number = trait.type == "number"
    cases = "".join(
        f" when '{rule.rule}' then {rule.value if is_number else quoted(str(rule.value or rule.rule))}"
        for rule in trait.rules
    )
    value = f"case rule{cases} else {0 if is_number else quoted('unknown')} end"
    return value


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _evidence(trait: Trait) -> str:
    parts = "".join(
        f" || ', \"{part}\": {{' || {_json_members(members)} || '}}'"
        for part, members in evidence_members(trait).items()
    )
    return f"'{{\"rule\": \"' || rule || '\", \"eligible\": ' || cast(is_eligible as varchar){parts} || '}}'"


def _json_members(members: Iterable[EvidenceMember]) -> str:
    pieces = []
    for number, member in enumerate(members):
        if member.kind == "text":
            signs = """chr(92) || '"<>' || chr(9) || chr(10) || chr(13), '/`()   '"""
            text = f"""'"' || translate({member.name}, {signs}) || '"'"""
        elif isinstance(member.kind, int):
            text = f"cast(cast({member.name} as decimal(18, {member.kind})) as varchar)"
        else:
            text = f"cast({member.name} as varchar)"
        pieces.append(f"""'{", " * bool(number)}"{member.name}": ' || coalesce({text}, 'null')""")
    return " || ".join(pieces) or "''"
