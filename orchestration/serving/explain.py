"""Why an entity has the traits that it has, in sentences; read from the served snapshot alone."""

from __future__ import annotations

import json
from typing import Any

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.published.sentences import sentence
from orchestration.serving.snapshot import rows, says_who_is_anonymous, snapshot


def explain(
    home: Home,
    catalog: Catalog,
    entity_id: str,
    *,
    entity_type: str = "user",
    trait: str | None = None,
) -> list[dict[str, Any]]:
    """Each published trait of one entity, one row a trait.

    A row holds value, since when, score, evidence, the ``reason`` of the last change, ``now``: the sentence that
    today's evidence gives, and ``is_anonymous``: whether it is a visitor, who is counted and delivered nowhere; null
    where an earlier version published it.

    Raises:
        UsageError: nothing is published, or there is no such entity or trait.

    """
    if trait is not None:
        catalog.trait(trait)
    with snapshot(home) as connection:
        marked = "is_anonymous" if says_who_is_anonymous(connection) else "null as is_anonymous"
        found = rows(
            connection,
            f"""
            select trait, value, since, score, reason, evidence, as_of, definition_version, build_id, {marked}
            from traits.trait_values
            where entity_type = $1 and entity_id = $2 and ($3 is null or trait = $3)
            order by trait
            """,
            [entity_type, entity_id, trait],
        )
        if not found:
            raise _absent(connection, entity_id, entity_type, trait)
    return _in_words(catalog, found)


def examples(home: Home, catalog: Catalog, count: int, *, trait: str | None = None) -> list[dict[str, Any]]:
    """Some entities of each published trait, explained: half of them with the trait, drawn by a hash of their id.

    Anonymous visitors are left out.

    Raises:
        UsageError: nothing is published, or there is no such trait.

    """
    if trait is not None:
        catalog.trait(trait)
    with snapshot(home) as connection:
        known = "is_anonymous is not true" if says_who_is_anonymous(connection) else "true"
        found = rows(
            connection,
            f"""
            with drawn as (
                select
                    *,
                    row_number() over (partition by trait, value = 'false' order by md5(entity_id || trait)) as place,
                    count(*) over (partition by trait, value = 'false') as of_its_kind,
                    count(*) over (partition by trait) as of_all
                from traits.trait_values
                where ($2 is null or trait = $2) and {known}
            )
            select trait, entity_id, value, since, score, reason, evidence, as_of, definition_version, build_id
            from drawn
            where place <= greatest($1 // 2 + $1 % 2, $1 - (of_all - of_its_kind))
            qualify row_number() over (partition by trait order by place, value desc) <= $1
            order by trait, value desc, entity_id
            """,
            [count, trait],
        )
    return _in_words(catalog, found)


def _in_words(catalog: Catalog, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds the trait's title and today's sentence; evidence becomes a dictionary."""
    declared = {trait.name: trait for trait in catalog.traits}
    for row in found:
        row["evidence"] = json.loads(row["evidence"])
        known = declared.get(row["trait"])
        row["title"] = known.title if known else row["trait"]
        row["now"] = row["reason"]
        if known and row["evidence"]["rule"] in known.sentences:
            row["now"] = sentence(known, json.dumps(row["evidence"]))
    return found


def _absent(connection: duckdb.DuckDBPyConnection, entity_id: str, entity_type: str, trait: str | None) -> UsageError:
    """Why nothing was found: the trait is not published for the entity, or there is no such entity."""
    known = rows(
        connection,
        "select count(distinct entity_id) as entities, count(*) filter (entity_id = $2) as own"
        " from traits.trait_values where entity_type = $1",
        [entity_type, entity_id],
    )[0]
    if known["own"]:
        return UsageError(
            f"{trait} is not published for {entity_id}.",
            "traithouse status tells whether it is withheld; entities outside its population have no value.",
        )
    objected = rows(
        connection,
        "select 1 as found from traits.trait_changes where entity_type = $1 and entity_id = $2 and cause = 'objection'"
        " limit 1",
        [entity_type, entity_id],
    )
    if objected:
        return UsageError(
            f"{entity_id} wants no profiling, so no trait is published.",
            "The attribute no_profiling says so; once it says false, the next refresh publishes again.",
        )
    close = rows(
        connection,
        """
        select entity_id
        from (select distinct entity_id from traits.trait_values where entity_type = $1)
        where jaro_winkler_similarity(entity_id, $2) > 0.85
        order by jaro_winkler_similarity(entity_id, $2) desc, entity_id
        limit 3
        """,
        [entity_type, entity_id],
    )
    hint = f"{known['entities']:,} {entity_type}s have traits; traithouse explain --examples 3 shows some."
    if close:
        hint = f"Did you mean {', '.join(row['entity_id'] for row in close)}?"
    return UsageError(f"There is no {entity_type} {entity_id} among the published traits.", hint)
