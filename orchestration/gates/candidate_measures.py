"""Numbers of a candidate, by one SQL statement a trait; nothing is decided here.

It compares the rows with what the declaration gives and with what is published, and counts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import duckdb

from orchestration.declarations.traits import UNJUDGED, Trait
from orchestration.gates.candidate_checks import BOUNDED_ROWS, checks_of, population_counts
from orchestration.gates.candidate_features import MERGED, FeatureRows
from orchestration.gates.recompute import (
    Inputs,
    comparable_evidence,
    evidence_members,
    expected_steps,
    quoted,
    thresholds_relation,
)
from orchestration.published.rows import fetch_rows
from orchestration.published.sentences import quoted_value

# A score of 0 has no size.
_HAS_SIZE = "is_counted and isfinite(score) and score != 0"
# Two scores are the same when engines may have rounded them differently.
_SAME = "abs({a} - {b}) <= 1e-9 * greatest(1, abs({b}))"
# Ranks of more entities tell no more.
MOST_RANKED = 20_000
_IN_BOTH = "is_counted and isfinite(score) and isfinite(old_score)"


def compared_steps(trait: Trait, rows: FeatureRows, inputs: Inputs, as_of: datetime) -> str:
    """SQL of the step ``compared``, to follow ``with``: a row an entity that is in the candidate or ought to be.

    Its columns are those of the candidate, entity_id, and what ``CANDIDATE_CHECKS`` asks of a row.
    """
    id_column = trait.id_column
    monotone = "".join(f", e.monotone_{name}" for name in trait.monotone)
    return f"""
        {expected_steps(trait, inputs)},
        candidate as (select *, true as is_in_candidate from {trait.candidate}),
        published as (
            select entity_id, value, score, is_anonymous, definition_version
            from traits.trait_values where trait = '{trait.name}'
        ),
        gone as (
            select entity_id from published
            where
                is_anonymous is not true and definition_version = {trait.version}
                and entity_id not in (select {id_column} from {trait.candidate} where {id_column} is not null)
                and entity_id not in (select entity_id from {MERGED} where entity_type = '{trait.entity}')
        ),
        disagreeing as ({rows.disagreeing(trait)}),
        joined as (
            select
                c.*, coalesce(c.{id_column}, e.entity_id) as entity_id,
                c.is_in_candidate is not null as is_there, e.entity_id is not null as is_expected,
                coalesce(e.is_counted, true) as is_counted, coalesce(e.is_eligible, false) as is_eligible,
                e.rule as due_rule, e.value as due_value, e.score as due_score, e.evidence as due_evidence,
                cast(c.value as varchar) as text_value,
                coalesce(c.evidence = e.evidence, false) as has_due_evidence,
                p.value as old_value, p.score as old_score, p.value is not null as is_published
                {monotone}
            from candidate as c
            full join expected as e on c.{id_column} = e.entity_id
            left join published as p
                on p.entity_id = coalesce(c.{id_column}, e.entity_id) and p.definition_version = {trait.version}
        ),
        compared as (
            select
                *,
                as_of = timestamp '{as_of}' as is_of_build,
                {_agrees_in_value(trait)} as agrees_in_value,
                score is not distinct from due_score or coalesce({_SAME.format(a="score", b="due_score")}, false)
                    as agrees_in_score,
                {_is_readable(trait)} as is_readable,
                {_agrees_in_evidence(trait)} as agrees_in_evidence,
                {_has_markup(trait)} as has_markup,
                {_is_typed(trait)} as is_typed,
                is_published and text_value is distinct from old_value as flips
            from joined
        )
    """


def measure_candidate(
    connection: duckdb.DuckDBPyConnection, trait: Trait, rows: FeatureRows, inputs: Inputs, as_of: datetime
) -> dict[str, Any]:
    """All numbers of a trait's candidate, by name; the measures of the checks have the checks' names."""
    counts = "".join(
        f"count(*) filter ({check.rows}) as {check.name}, "
        for check in checks_of(trait)
        if check.rows and check.name not in (*BOUNDED_ROWS, "grain", "features")
    )
    unjudged = ", ".join(map(quoted, UNJUDGED))
    is_member = "text_value = 'true'" if trait.type == "boolean" else "value is not null"
    steps = compared_steps(trait, rows, inputs, as_of)
    (measured,) = fetch_rows(
        connection,
        f"""
        with {steps},
        counted as (
            select
                {counts}
                count(*) filter (is_there) - count(distinct entity_id) filter (is_there)
                    - count(*) filter (is_there and entity_id is null) as grain,
                count(*) filter (is_there and is_counted) as population,
                count(*) filter (is_there and is_counted and is_eligible) as eligible,
                count(*) filter (is_there and is_counted and {is_member}) as members,
                max(evidence) filter (is_there and due_rule in ({unjudged})) as unjudged,
                count(*) filter (is_counted and flips) as flipped,
                count(*) filter (is_there and is_counted and is_published) as published,
                count(*) filter (is_there and is_counted and is_published and score is null) as nulls,
                count(*) filter (is_there and is_counted and is_published and old_score is null) as old_nulls,
                count(*) filter ({_IN_BOTH}) as scores_in_both,
                count(*) filter ({_IN_BOTH} and score < 0) as negative,
                count(*) filter ({_IN_BOTH} and old_score < 0) as old_negative,
                count(*) filter ({_HAS_SIZE}) as scores,
                quantile_disc(abs(score), 0.5) filter ({_HAS_SIZE}) as score_median,
                quantile_disc(abs(score), 0.95) filter ({_HAS_SIZE}) as score_p95,
                (select count(*) from gone) as vanished,
                {_factor()}
            from compared
        ),
        {_ranked(trait, rows)}
        select * from counted cross join ranked cross join followed cross join compared_population
        """,
    )
    if trait.thresholds:
        measured["thresholds"] = abs(len(thresholds_of(connection, trait)) - 1)
    measured["features"] = rows.wrong_for(trait)
    gone = f"with {steps} select entity_id from gone"
    measured["vanished_groups"] = _vanished_groups(connection, trait, gone) if measured["vanished"] else 0
    return measured


def thresholds_of(connection: duckdb.DuckDBPyConnection, trait: Trait) -> list[dict[str, Any]]:
    """Rows of a trait's thresholds: one, if all is well."""
    return fetch_rows(connection, f"select * from {thresholds_relation(trait)}") if trait.thresholds else []


def _vanished_groups(connection: duckdb.DuckDBPyConnection, trait: Trait, gone: str) -> int:
    """Accounts, plans and countries of two or more who are published, of whom nobody is left."""
    if trait.entity != "user":
        return 0
    (row,) = fetch_rows(
        connection,
        f"""
        with groups as (
            select user_id as entity_id, 'account' as kind, account_id as name from identity.memberships
            union
            select entity_id, attribute, value from identity.attributes
            where entity_type = 'user' and attribute in ('plan', 'country') and valid_to is null
        ),
        counted as (
            select g.kind, g.name, count(distinct v.entity_id) as published, count(distinct gone.entity_id) as gone
            from groups as g
            inner join traits.trait_values as v on v.trait = '{trait.name}' and v.entity_id = g.entity_id
            left join ({gone}) as gone on gone.entity_id = g.entity_id
            group by g.kind, g.name
        )
        select count(*) filter (published >= 2 and gone = published) as lost from counted
        """,
    )
    return int(row["lost"])


def _agrees_in_value(trait: Trait) -> str:
    if trait.type == "number":
        return "try_cast(text_value as double) is not distinct from try_cast(due_value as double)"
    return "text_value is not distinct from due_value"


def _is_typed(trait: Trait) -> str:
    is_typed = {
        "boolean": "text_value in ('true', 'false')",
        "number": "isfinite(try_cast(text_value as double))",
        "category": "text_value != ''",
    }[trait.type]
    return f"case when agrees_in_value or text_value is null then true else coalesce({is_typed}, false) end"


def _is_readable(trait: Trait) -> str:
    """The evidence is JSON that names a declared rule, and the sentence of the rule can be written."""
    cases = []
    for rule in trait.sentences:
        known = [f"{quoted_value(placeholder)} is not null" for placeholder in trait.placeholders(rule)]
        cases.append(f"when '{rule}' then {' and '.join(known) or 'true'}")
    return f"""
        case
            when has_due_evidence then true
            when json_valid(evidence) and json_type(evidence) = 'OBJECT'
                then case json_extract_string(evidence, '$.rule') {" ".join(cases)} else false end
            else false
        end
    """


def _agrees_in_evidence(trait: Trait) -> str:
    return f"""
        case
            when has_due_evidence then true
            when json_valid(evidence)
                then {comparable_evidence(trait, "evidence")} = {comparable_evidence(trait, "due_evidence")}
            else false
        end
    """


def _has_markup(trait: Trait) -> str:
    """Numbers hold none, so that evidence without a text need not be searched where it is what it has to be."""
    has_text = any(member.kind == "text" for named in evidence_members(trait).values() for member in named)
    found = "coalesce(regexp_matches(evidence, '[<>\\x00-\\x1F]'), false)"
    return found if has_text else f"case when has_due_evidence then false else {found} end"


def _factor() -> str:
    """Sums, squares and products of the scores and those published."""
    pairs = {"new_squares": "score * score", "old_squares": "old_score * old_score", "products": "score * old_score"}
    pairs |= {"new_total": "abs(score)", "old_total": "abs(old_score)"}
    return ", ".join(f"sum({product}) filter ({_IN_BOTH}) as {name}" for name, product in pairs.items())


def _ranked(trait: Trait, rows: FeatureRows) -> str:
    """Agreement of ranks (Spearman) of the scores with those published, and with what they are declared to follow.

    Each is over a sample where there are many; null without two different scores.
    """
    sample = f"hash(entity_id) % {max(1, rows.size // MOST_RANKED)} = 0"
    follows = ", ".join(
        f"corr(score_rank, {'-' if way == 'falling' else ''}{name}_rank) as follows_{name}"
        for name, way in trait.monotone.items()
    )
    ranks = "".join(f", rank() over (order by monotone_{name}) as {name}_rank" for name in trait.monotone)
    known = "".join(f" and monotone_{name} is not null" for name in trait.monotone)
    thresholds = f"{_count('judged', f'({trait.population}) and is_counted')} as due_population" * bool(
        population_counts(trait)
    )
    return f"""
        ranked as (
            select corr(score_rank, old_rank) as rank_agreement, count(*) filter (old_score != 0) as ranked_count,
                max(old_rank) > 1 as old_spread
            from (
                select
                    old_score, rank() over (order by score) as score_rank, rank() over (order by old_score) as old_rank
                from compared where {_IN_BOTH} and {sample}
            )
        ),
        followed as (
            select count(*) as follower_count{", " * bool(follows)}{follows}
            from (
                select rank() over (order by score) as score_rank{ranks}
                from compared where is_counted and isfinite(score){known} and {sample}
            )
        ),
        compared_population as (select {thresholds or "null as due_population"})
    """


def _count(relation: str, condition: str) -> str:
    return f"(select count(*) from {relation} where {condition})"
