"""Schema traits: what BI tools, syncs and the API may read. Only ``publishing/`` and ``gates/waivers.py`` write it."""

from __future__ import annotations

from collections.abc import Iterable

from orchestration.declarations.traits import Trait

# Columns that tell how large the scores of a candidate are: quantiles of their absolute values, those of 0 left out.
SCORE_SIZES = ("score_median", "score_p95")

PUBLISHED_TABLES = """
create schema if not exists traits;
create table if not exists traits.trait_values (
    entity_type varchar, entity_id varchar, trait varchar, value varchar, score double, evidence varchar,
    reason varchar, since timestamp, as_of timestamp, definition_version bigint, build_id varchar
);
create table if not exists traits.trait_changes (
    seq bigint, entity_type varchar, entity_id varchar, trait varchar, old_value varchar, new_value varchar,
    old_since timestamp, as_of timestamp, build_id varchar, cause varchar
);
create table if not exists traits.trait_catalog (
    trait varchar, title varchar, entity_type varchar, value_type varchar, description varchar, purpose varchar,
    owner varchar, definition_version bigint, verdict varchar, verdict_reason varchar, population bigint,
    eligible bigint, members bigint, prevalence double, outcome varchar, lift double, lift_low double,
    lift_high double, lift_as_of timestamp, flip_rate double, member_flip_rate double, repeat_flip_share double,
    median_dwell_days double, prevalence_drift double, stability_days bigint, grade varchar, grade_reason varchar
);
create table if not exists traits.trait_thresholds (
    trait varchar, threshold varchar, value double, definition_version bigint, as_of timestamp, build_id varchar
);
create table if not exists traits.gate_verdicts (
    build_id varchar, trait varchar, as_of timestamp, definition_version bigint, verdict varchar, reason varchar,
    population bigint, eligible bigint, members bigint, content_hash varchar, checks varchar, decided_at timestamp,
    score_median double, score_p95 double
);
create table if not exists traits.source_verdicts (
    build_id varchar, source varchar, as_of timestamp, loaded_after bigint, loaded_until bigint,
    first_day date, last_day date, verdict varchar, reason varchar, checks varchar, touched varchar,
    decided_at timestamp
);
create table if not exists traits.builds (
    build_id varchar, as_of timestamp, started_at timestamp, published_at timestamp, seconds double,
    changes bigint, values_written bigint, traits_published bigint, traits_withheld bigint,
    kind varchar, reason varchar, rolled_back boolean
);
create table if not exists traits.waivers (
    trait varchar, build_id varchar, as_of timestamp, content_hash varchar, checks varchar, reason varchar,
    waived_by varchar, waived_at timestamp
);
create table if not exists traits.audit_log (
    act_id bigint, acted_at timestamp, actor varchar, role varchar, act varchar, object varchar, detail varchar
);
create table if not exists traits.sync_log (
    sync varchar, started_at timestamp, ended_at timestamp, build_id varchar, dry_run boolean,
    planned bigint, delivered bigint, failed bigint, skipped bigint, not_tried bigint, operations bigint,
    retries bigint, waited_seconds double, latency_p50_ms double, latency_p95_ms double, error varchar
);
create table if not exists traits.sync_failures (
    sync varchar, entity_type varchar, entity_id varchar, build_id varchar, reason varchar, failed_at timestamp,
    kind varchar, tries bigint, first_failed_at timestamp
);
"""

# Columns that a home of an earlier version lacks; in a table that is made now they are the last columns.
_ADDED_LATER = {
    "trait_values": ("is_anonymous boolean",),
    "trait_changes": ("is_anonymous boolean",),
    "trait_catalog": (
        "flip_rate double",
        "member_flip_rate double",
        "repeat_flip_share double",
        "median_dwell_days double",
        "prevalence_drift double",
        "stability_days bigint",
        "grade varchar",
        "grade_reason varchar",
        "everyone boolean",
        "serve varchar",
        "default_value varchar",
    ),
    "builds": ("kind varchar", "reason varchar", "rolled_back boolean"),
    "gate_verdicts": tuple(f"{name} double" for name in SCORE_SIZES),
    "sync_log": (
        "skipped bigint",
        "not_tried bigint",
        "operations bigint",
        "retries bigint",
        "waited_seconds double",
        "latency_p50_ms double",
        "latency_p95_ms double",
        "error varchar",
    ),
    "sync_failures": ("kind varchar", "tries bigint", "first_failed_at timestamp"),
}
PUBLISHED_TABLES += "".join(
    f"alter table traits.{table} add column if not exists {column};\n"
    for table, columns in _ADDED_LATER.items()
    for column in columns
)

# Names of the version before, kept for one version (until home version 4): old name -> query of the view.
# The text is SQL of both engines.
FORMER_TABLES = {
    "acceptances": (
        "select trait, build_id, as_of, content_hash, checks, reason,"
        " waived_by as accepted_by, waived_at as accepted_at from traits.waivers"
    ),
}
PUBLISHED_TABLES += "".join(
    f"create or replace view traits.{name} as {query};\n" for name, query in FORMER_TABLES.items()
)

# Days whose history was written by a backfill. Grain: trait x as_of (the midnight that ends the day, naive UTC).
# publishable: whether the events up to then were enough evidence for the trait; if not, the day changed nothing.
BACKFILLED_DAYS = """
create schema if not exists state;
create table if not exists state.backfilled_days (
    trait varchar, as_of timestamp, definition_version bigint, publishable boolean
);
"""

TABLES = (
    "trait_values",
    "trait_changes",
    "trait_catalog",
    "trait_thresholds",
    "gate_verdicts",
    "source_verdicts",
    "builds",
    "waivers",
    "audit_log",
    "sync_log",
    "sync_failures",
)
WIDE_TABLES = {"user": "user_traits", "account": "account_traits"}

_SQL_TYPES = {"boolean": "boolean", "number": "double", "category": "string"}


def wide_query(entity: str, traits: Iterable[Trait]) -> str:
    """SQL of the wide relation: one row an entity, with the typed value, score and since of each trait.

    A user's row also says whether the user is an anonymous visitor.
    """
    columns = [f"entity_id as {entity}_id"]
    if entity == "user":
        columns.append("max(is_anonymous) as is_anonymous")
    for trait in traits:
        if trait.entity == entity:
            of_trait = f"case when trait = '{trait.name}' then"
            columns.append(f'max({of_trait} try_cast(value as {_SQL_TYPES[trait.type]}) end) as "{trait.name}"')
            columns.append(f'max({of_trait} score end) as "{trait.name}_score"')
            columns.append(f'max({of_trait} since end) as "{trait.name}_since"')
    return f"select {', '.join(columns)} from traits.trait_values where entity_type = '{entity}' group by entity_id"


def wide_view(entity: str, traits: Iterable[Trait]) -> str:
    """Statement that makes the wide relation a view."""
    return f"create or replace view traits.{WIDE_TABLES[entity]} as {wide_query(entity, traits)}"
