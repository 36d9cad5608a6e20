"""Proposed rows for what identify and group events say: properties that are attributes, and plans without a rank."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from orchestration.mapping.facts import adapters
from orchestration.mapping.rules import words
from orchestration.mapping.seeds import ATTRIBUTES, PLANS
from orchestration.mapping.vocabulary import word_set

MOST_PLANS = 20
# What an attribute is called in properties; names after the bar are a guess.
USER_ATTRIBUTES = {
    "email": "email email_address user_email | work_email mail",
    "role": "role user_role job_role job_title | title position",
    "plan": "plan plan_name subscription_plan current_plan pricing_plan | tier plan_type plan_id subscription",
    "country": "country country_code geoip_country_code",
    "trial_end": "trial_end trial_ends trial_ends_at trial_end_at trial_end_date trial_expires_at | trial_expiry",
    "consent": "consent consents consent_purposes consented_purposes",
    "created_at": "created_at signed_up_at signup_date registered_at | created date_joined",
}
ACCOUNT_ATTRIBUTES = {
    "name": "name company_name account_name organization_name group_name | company",
    "plan": USER_ATTRIBUTES["plan"],
    "country": USER_ATTRIBUTES["country"],
    "seat_limit": "seats seat_limit seat_count max_seats licensed_seats | licenses user_limit max_users",
    "trial_end": USER_ATTRIBUTES["trial_end"],
    "industry": "industry",
    "created_at": "created_at | created signup_date",
}
# Words in the name of a plan, lowest rank first; the ranks are those of the plans that the seed brings.
PLAN_RANKS = (
    "free trial hobby community sandbox freemium",
    "starter basic lite essential essentials",
    "team pro plus standard professional growth premium",
    "business scale",
    "enterprise ultimate unlimited",
)
_PERIODS = word_set("monthly yearly annual annually month year plan tier v1 v2 v3 legacy old new usd eur")
_NO_PLAN = frozenset(["", "null", "none", "nil", "undefined", "nan", "nat", "(null)", "<null>", "<na>"])


@dataclass(frozen=True)
class AttributeRow:
    """A proposed row of the attribute catalogue; ``guess`` and ``count`` (events with it) are shown only."""

    entity_type: str
    property: str
    attribute: str
    guess: bool
    count: int


@dataclass(frozen=True)
class PlanRow:
    """A plan that the plan catalogue lacks; ``rank`` is empty where its name does not tell it. It is never certain."""

    plan: str
    rank: str
    count: int


def people_rows(
    connection: duckdb.DuckDBPyConnection, project: Path
) -> tuple[tuple[AttributeRow, ...], tuple[PlanRow, ...]]:
    """Rows that the attribute and plan catalogues lack, the most frequent first.

    Args:
        connection: the warehouse.
        project: folder with seeds/.

    Raises:
        UsageError: a file of the catalogue is not there or has other columns.

    """
    catalogued = [(row["entity_type"], row["property"], row["attribute"]) for row in ATTRIBUTES.rows(project)]
    known = {(entity_type, name) for entity_type, name, _ in catalogued}
    counted = _properties(connection)
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    attributes = tuple(
        row
        for (entity_type, name), count in ranked
        if (entity_type, name) not in known and (row := attribute_row(entity_type, name, count))
    )
    plans = {(entity_type, name) for entity_type, name, attribute in catalogued if attribute == "plan"}
    plans |= {(row.entity_type, row.property) for row in attributes if row.attribute == "plan"}
    ranked_plans = {row["plan"] for row in PLANS.rows(project)}
    values = _values(connection, plans & set(counted))
    lacking = sorted(
        ((plan, count) for plan, count in values.items() if plan not in ranked_plans | _NO_PLAN),
        key=lambda item: (-item[1], item[0]),
    )
    return attributes, tuple(PlanRow(plan, plan_rank(plan), count) for plan, count in lacking[:MOST_PLANS])


def attribute_row(entity_type: str, name: str, count: int) -> AttributeRow | None:
    """The attribute that a property's name says, if it is one that traits, syncs or segments commonly ask for."""
    plain = _plain(name)
    for attribute, text in (USER_ATTRIBUTES if entity_type == "user" else ACCOUNT_ATTRIBUTES).items():
        sure, _, guesses = text.partition("|")
        if plain in {_plain(known) for known in f"{sure} {guesses}".split()}:
            return AttributeRow(entity_type, name, attribute, plain not in map(_plain, sure.split()), count)
    return None


def _plain(name: str) -> str:
    return "_".join(words(name))


def plan_rank(plan: str) -> str:
    """A rank where every word of a plan's name is a common one of the same rank; otherwise empty."""
    named = [word for word in words(plan) if word not in _PERIODS and not word.isdigit()]
    ranks = {rank for word in named for rank, text in enumerate(PLAN_RANKS) if word in text.split()}
    known = all(any(word in text.split() for text in PLAN_RANKS) for word in named)
    return str(ranks.pop()) if known and len(ranks) == 1 else ""


def _statements(relation: str) -> str:
    """What each identify, group or set call of a relation says, as JSON, by entity."""
    return f"""
        with said as (
            select event_type, case when json_valid(properties) then cast(properties as json) end as properties
            from {relation}
            where
                event_type in ('identify', 'group')
                or (event_type != 'alias' and properties like '%"$set"%')
        )
        select
            case when event_type = 'group' then 'account' else 'user' end as entity_type,
            case
                when event_type != 'group' then coalesce(json_extract(properties, '$."$set"'), properties)
                else properties
            end as stated
        from said where json_type(properties) = 'OBJECT'
    """


def _properties(connection: duckdb.DuckDBPyConnection) -> Counter[tuple[str, str]]:
    """How many calls say each property of a user or account."""
    found: Counter[tuple[str, str]] = Counter()
    for relation in adapters(connection):
        for entity_type, name, count in _rows(
            connection,
            f"""
            select entity_type, name, count(*)
            from (select entity_type, unnest(json_keys(stated)) as name from ({_statements(relation)})) group by all
            """,
        ):
            found[entity_type, name] += count
    return found


def _values(connection: duckdb.DuckDBPyConnection, wanted: Set[tuple[str, str]]) -> Counter[str]:
    """How many calls say each value of properties, in lower case as the plan catalogue has it."""
    found: Counter[str] = Counter()
    for relation in adapters(connection):
        for entity_type, name in sorted(wanted):
            for value, count in _rows(
                connection,
                f"""
                select lower(trim(value)), count(*)
                from (select entity_type, json_extract_string(stated, $path) as value from ({_statements(relation)}))
                where entity_type = $entity_type and value is not null group by all
                """,
                {"path": f"$.{json.dumps(name)}", "entity_type": entity_type},
            ):
                found[value] += count
    return found


def _rows(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, str] | None = None
) -> list[tuple[Any, ...]]:
    """Rows of a query; none of an adapter that no longer fits its table."""
    try:
        return connection.execute(query, parameters or {}).fetchall()
    except (duckdb.BinderException, duckdb.CatalogException):
        return []
