"""What raw rows say of an event: its type, short examples of its properties, the parts of its paths.

The sources are ``raw.events``, and vendors' tables through the views of their adapters
(``staging.stg_<source>__events``). Examples are shown to a person, so they have no property whose name suggests
personal data and no value that looks like personal data.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import duckdb

from orchestration.mapping.rules import words
from orchestration.mapping.vocabulary import word_set

EXAMPLES = 3
EXAMPLE_LENGTH = 80
SAMPLED_ROWS = 200
# Properties that say how a thing went, or at which step.
STATES = ("status", "state", "result", "outcome", "success", "succeeded", "ok")
STEPS = ("step", "step_name", "stepName")
# Words of properties that say who somebody is or which thing it is: neither says what an event means.
_PRIVATE = word_set(
    "email mail phone tel mobile name firstname lastname surname fullname username address street zip postcode "
    "ip password token secret key auth birthday birthdate dob ssn iban card cookie id ids uuid guid hash"
)


class EventKey(NamedTuple):
    """A source and an event name."""

    source: str
    event_name: str


class PathStart(NamedTuple):
    """The first parts of a path; a part that does not name a page is empty.

    Attributes:
        property: the property that it was read from: path or url.
        host: scheme and host of a URL; empty for a path.
        first: the first part, with its slash.
        second: the second part, with its slash.

    """

    property: str
    host: str
    first: str
    second: str


@dataclass(frozen=True)
class Facts:
    """What raw rows of one event say: its types, the values of its properties, the parts of its paths.

    ``states`` holds the values of the properties in STATES and STEPS over all rows, as they stand there.
    """

    types: Counter[str] = field(default_factory=Counter)
    values: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    paths: Counter[PathStart] = field(default_factory=Counter)
    states: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def adapters(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Relations that give raw rows in the form of events, without those that Traithouse itself delivered."""
    found = connection.execute(
        """
        select table_schema || '.' || table_name from information_schema.tables
        where (table_schema = 'raw' and table_name = 'events') or (
            table_schema = 'staging' and regexp_full_match(table_name, 'stg_.*__events')
            and table_name != 'stg_generic__events'
        )
        order by 1
        """
    ).fetchall()
    relations = [relation for (relation,) in found]
    own = "select 1 from duckdb_tables() where schema_name = 'events' and table_name = 'own_deliveries'"
    if not connection.execute(own).fetchone():
        return relations
    return [
        f"(select r.* from {relation} as r anti join events.own_deliveries using (source, event_id))"
        for relation in relations
    ]


def raw_facts(connection: duckdb.DuckDBPyConnection, wanted: Sequence[EventKey]) -> dict[EventKey, Facts]:
    """What the raw rows of each wanted source and event name say."""
    facts: dict[EventKey, Facts] = defaultdict(Facts)
    connection.execute("create or replace temp table wanted (source varchar, event_name varchar)")
    if wanted:
        connection.executemany("insert into wanted values ($1, $2)", [list(key) for key in wanted])
    for relation in adapters(connection):
        try:
            _read_facts(connection, relation, facts)
        except (duckdb.BinderException, duckdb.CatalogException):
            # An adapter that no longer fits its table gives no examples; the events are listed all the same.
            continue
    return facts


def _read_facts(connection: duckdb.DuckDBPyConnection, relation: str, facts: dict[EventKey, Facts]) -> None:
    """Adds the facts of a relation: types, paths and states of all rows, values of the newest rows."""
    rows = f"(select r.* from {relation} as r semi join wanted using (source, event_name))"
    types = connection.execute(
        f"select source, event_name, coalesce(event_type, 'track'), count(*) from {rows} group by all"
    ).fetchall()
    for source, name, kind, count in types:
        facts[EventKey(source, name)].types[kind] += count
    paths = connection.execute(
        f"""
        with texts as (
            select
                source, event_name,
                try(json_extract_string(properties, '$.path')) as path,
                try(json_extract_string(properties, '$.url')) as url
            from {rows}
            where properties like '%"path"%' or properties like '%"url"%'
        ),
        parts as (
            select
                source, event_name,
                case when starts_with(path, '/') then 'path' else 'url' end as property,
                case when starts_with(path, '/') then path
                    else regexp_replace(url, '^https?://[^/?#]+', '') end as path,
                case when starts_with(path, '/') then '' else regexp_extract(url, '^https?://[^/?#]+') end as host
            from texts
            where starts_with(path, '/') or regexp_matches(url, '^https?://')
        )
        select
            source, event_name, property, host,
            regexp_extract(path, '^/[^/?#]+'), regexp_extract(path, '^/[^/?#]+(/[^/?#]+)', 1), count(*)
        from parts group by all
        """
    ).fetchall()
    for source, name, key, host, first, second, count in paths:
        if _is_plain(first):
            start = PathStart(key, host, first, second if _is_plain(second) else "")
            facts[EventKey(source, name)].paths[start] += count
    for key in (*STATES, *STEPS):
        states = connection.execute(
            f"""
            select source, event_name, state, count(*) from (
                select
                    source, event_name,
                    json_extract_string(case when json_valid(properties) then properties end, '$.{key}') as state
                from {rows} where properties like '%"{key}"%'
            )
            where length(state) between 1 and 40 group by all
            """
        ).fetchall()
        for source, name, state, count in states:
            facts[EventKey(source, name)].states[key][state] += count
    newest = connection.execute(
        f"""
        select source, event_name, properties from {rows}
        where properties is not null
        qualify row_number() over (
            partition by source, event_name order by occurred_at desc nulls last, properties asc
        ) <= {SAMPLED_ROWS}
        """
    ).fetchall()
    for source, name, text in newest:
        _count_values(facts[EventKey(source, name)].values, text)


def _is_plain(part: str) -> bool:
    """Whether a part of a path names a page, and not a single thing or person."""
    return bool(re.fullmatch(r"/[A-Za-z][A-Za-z_-]{0,30}|/404|/500", part))


def _count_values(values: dict[str, Counter[str]], text: str) -> None:
    try:
        properties = json.loads(text)
    except ValueError:
        return
    if not isinstance(properties, dict):
        return
    for key, value in properties.items():
        if "@" in key or set(words(key)) & _PRIVATE or not isinstance(value, str | int | float | bool) or value == "":
            continue
        values[key][_shown(value)] += 1


def _shown(value: str | int | float | bool) -> str:
    """A value in one short line; it is masked when it could be an address, a person's number or a secret."""
    text = json.dumps(value) if not isinstance(value, str) else " ".join(value.split())
    if text.startswith(("/", "http://", "https://")):
        text = re.split(r"[?#]", text, maxsplit=1)[0]
        host = re.match(r"https?://[^/]*", text)
        start = host.end() if host else 0
        # A part that does not name a page may name a person.
        parts = (part if _is_plain(part) or part == "/" else "/***" for part in re.findall(r"/[^/]*", text[start:]))
        text = text[:start] + "".join(parts)
    if re.match(r"\d{4}-\d{2}-\d{2}\b", text) and len(text) < 30:
        return text
    masked = "@" in text or "%40" in text or re.search(r"\d[\d\s().-]{5,}\d", text) or re.search(r"\w{25,}", text)
    return "***" if masked else text


def examples(facts: Facts) -> tuple[str, ...]:
    """The most frequent value of each of the most frequent properties."""
    ranked = sorted(facts.values.items(), key=lambda item: (-item[1].total(), item[0]))
    lines = (f"{key}={most_frequent(counted)}" for key, counted in ranked[:EXAMPLES])
    return tuple(line if len(line) <= EXAMPLE_LENGTH else line[: EXAMPLE_LENGTH - 1] + "…" for line in lines)


def most_frequent(counted: Counter[str]) -> str:
    """The most frequent text, of equally frequent texts the first; empty when there is none."""
    return min(counted, key=lambda text: (-counted[text], text), default="")
