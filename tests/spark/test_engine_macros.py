"""What differs between engines gives the same values on both: every macro, rendered by dbt, on the same inputs."""

import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
import yaml
from dbt.cli.main import dbtRunner

from orchestration.home import PROJECT_ROOT
from orchestration.transform.runner import close_warehouse
from tests.spark.cluster import Cluster
from tests.spark.harness import Run, compare, run_on_spark

INSTANTS = [
    datetime(2024, 3, 10, 6, 59, 59, 999999),
    datetime(2024, 3, 10, 7, 0),
    datetime(2024, 11, 3, 5, 30, 0, 1),
    datetime(1970, 1, 1),
    datetime(1969, 12, 31, 23, 59, 59, 999999),
    datetime(1969, 12, 31, 23, 30),
    datetime(1969, 12, 31, 23, 29, 59, 999999),
    datetime(1900, 1, 1, 12, 0, 0, 5),
    datetime(2199, 12, 31, 23, 59, 59, 999999),
    None,
]
JSON_TEXTS = [
    '{"a": "text", "b": 2}',
    '{"$a": 1, "a.b": "dotted", "a": {"b": "nested"}, "a b": "blank", "a\'b": "quoted", "a[0]": "list", "*": "star"}',
    ' {"a" : [1, 2, {"b" : "c"}]} ',
    '{"a": {"b" : 1.0, "c": null}}',
    '{"a": null}',
    '{"a": ""}',
    '{"a": true}',
    '{"a": 1.50}',
    '{"a": 12345678901234567890}',
    '{"a": 0.1234567890123456789}',
    '{"a": -0.0}',
    '{"a": "\\u00e9\\n\\"\\ud83d\\ude00/\\/"}',
    '{"a": 1, "a": 2}',
    '{"a":\n1}',
    "{}",
    # No JSON, or no object.
    '{"a": 1',
    '{"a": 1,',
    '{"a": 1} x',
    '{"a": 1}}',
    '{"a": 1}]',
    '{"a": 1}],',
    '{"a": 1}, {"a": 2}',
    '{"a": 1}\n{"a": 2}',
    "{'a': 1}",
    "{a: 1}",
    '{"a": 01}',
    '{"a": "tab\there"}',
    '// c\n{"a": 1}',
    '[{"a": 1}]',
    '"a"',
    "null",
    "x",
    "",
    None,
]
TIMES = {
    "2024-01-15T10:23:45.1234567Z": datetime(2024, 1, 15, 10, 23, 45, 123456),
    "2024-01-15 10:23:45.123 UTC": datetime(2024, 1, 15, 10, 23, 45, 123000),
    "2024-01-15t10:23:45z": datetime(2024, 1, 15, 10, 23, 45),
    "2024-01-15 10:23:45 +0530": datetime(2024, 1, 15, 4, 53, 45),
    "2024-01-15T10:23+05": datetime(2024, 1, 15, 5, 23),
    "2024/01/15 10:23:45,5": datetime(2024, 1, 15, 10, 23, 45, 500000),
    "2024-01-15": datetime(2024, 1, 15),
    "2024-01-15 10:00:00 America/New_York": datetime(2024, 1, 15, 15),
    "2024-07-15 10:00:00.5 Europe/Berlin": datetime(2024, 7, 15, 8, 0, 0, 500000),
    "1705314225": datetime(2024, 1, 15, 10, 23, 45),
    "1705314225123.5": datetime(2024, 1, 15, 10, 23, 45, 123500),
    "1705314225123456789": datetime(2024, 1, 15, 10, 23, 45, 123456),
    "2024-01-15 10:00:00 Nowhere/Land": None,
    "2024-02-30": None,
    "2024-01-15 25:00:00": None,
    "170531422": None,
    "epoch": None,
    "now": None,
    "": None,
}
KEYS = ["a", "$a", "a.b", "a b", "a'b", "a[0]", "*", "absent"]
TEXTS = ["abc", "a1", "It's 12", "a\\b", "Ünï", "", None, "NULL", " none ", "Distinct_Id", "[object Object]"]

MODELS = {
    "instants": """
        select id, {{ epoch_micros('instant') }} as micros, {{ reporting_date('instant') }} as day,
            {{ bucket_number('instant', 30) }} as half_hours, {{ bucket_number('instant', 720) }} as half_days
        from {{ source('raw', 'instants') }}
    """,
    "times": """
        select id, {{ utc_timestamp('text') }} as instant,
            {{ micros_instant(epoch_micros(first_utc_timestamp(["'soon'", 'text'])) ~ ' - 1') }} as before
        from {{ source('raw', 'times') }}
    """,
    "ids": """
        select id, {{ stated_value('text') }} as stated, {{ posthog_id('text') }} as posthog
        from {{ source('raw', 'texts') }}
    """,
    "spans": """
        select a.id, b.id as until_id, {{ whole_seconds('a.instant', 'b.instant') }} as seconds
        from {{ source('raw', 'instants') }} as a cross join {{ source('raw', 'instants') }} as b
    """,
    "divisions": """
        select id, {{ floor_divide('id - 5', '3') }} as thirds, {{ floor_divide('id - 5', 'id + 1') }} as others
        from {{ source('raw', 'instants') }}
    """,
    "members": """
        select id, key, {{ json_text('text', 'key') }} as value from {{ source('raw', 'members') }}
    """,
    "objects": """
        select id, key, {{ is_json_object('text') }} as is_object from {{ source('raw', 'members') }}
    """,
    "entities": """
        select id, {{ members_of_lists(["concat('[', text, ']')", "'[{\\"b\\": 1}]'", "'[]'"]) }} as members,
            {{ joined_objects("'{\\"c\\": 2}'", "'{}'") }} as joined
        from {{ source('raw', 'members') }} where key = 'a'
    """,
    "sittings": """
        with sessions as (
            select id - 2 * {{ floor_divide('id', '2') }} as user_key, cast(id as string) as session_id,
                {{ reporting_date('instant') }} as session_date, instant as started_at,
                instant + interval '11 hours' as ended_at
            from {{ source('raw', 'instants') }} where instant is not null
        )
        {{ active_time('sessions', ['user_key']) }}
    """,
    "days": """
        {{ calendar("cast('2024-02-27' as date)", "cast('2024-03-02' as date)") }}
    """,
    "no_days": """
        {{ calendar("cast('2024-03-02' as date)", "cast('2024-02-27' as date)") }}
    """,
    "matching": """
        select id, {{ matches('text', '^a') }} as begins, {{ matches('text', '[0-9]+$') }} as ends,
            {{ matches('text', "It's") }} as apostrophe, {{ matches('text', '\\\\d') }} as digit,
            {{ matches('text', 'a\\\\\\\\b') }} as backslash
        from {{ source('raw', 'texts') }}
    """,
    "picked": """
        select kind, {{ min_by('value', 'instant') }} as first_value,
            {{ min_by('number', 'instant') }} as first_number
        from {{ source('raw', 'picks') }} group by kind
    """,
    "cells": """
        select id, coalesce(text, '') as text, number from {{ ref('seed') }}
    """,
}
SEED = 'id,text,number\n1,plain,1\n2,,\n3,it\'s,-2\n4,a\\d+,0\n5,None,5\n6,"with ""quotes"", 100%s",6\n'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the real macros and one model a macro."""
    folder = tmp_path_factory.mktemp("macros") / "project"
    for name in ("models", "seeds"):
        (folder / name).mkdir(parents=True)
    shutil.copytree(PROJECT_ROOT / "macros", folder / "macros")
    shutil.copy(PROJECT_ROOT / "profiles.yml", folder)
    declared = yaml.safe_load((PROJECT_ROOT / "dbt_project.yml").read_text())
    kept = {name: declared[name] for name in ("name", "version", "config-version", "profile", "macro-paths", "flags")}
    kept["vars"] = declared["vars"] | {"reporting_time_zone": "America/New_York"}
    kept["models"] = {"+materialized": "table", "+schema": "checks"}
    kept["seeds"] = {"+schema": "checks", "+column_types": {"id": "bigint", "text": "string", "number": "bigint"}}
    (folder / "dbt_project.yml").write_text(yaml.safe_dump(kept))
    for name, sql in MODELS.items():
        (folder / "models" / f"{name}.sql").write_text(sql)
    tables = [{"name": name} for name in ("instants", "members", "texts", "picks", "times")]
    sources = {"version": 2, "sources": [{"name": "raw", "schema": "raw", "tables": tables}]}
    (folder / "models" / "sources.yml").write_text(yaml.safe_dump(sources))
    (folder / "seeds" / "seed.csv").write_text(SEED)
    return folder


@pytest.fixture(scope="module")
def warehouse(project: Path) -> Path:
    """The models' tables on DuckDB."""
    path = project.parent / "warehouse.duckdb"
    picks = [
        ("ties", "b", 2, INSTANTS[1]),
        ("ties", "a", 1, INSTANTS[1]),
        ("ties", "c", 3, INSTANTS[3]),
        ("ties", "d", 4, INSTANTS[3]),
        ("missing", None, None, INSTANTS[7]),
        ("missing", "kept", None, INSTANTS[0]),
        ("missing", "untimed", 7, None),
        ("none", None, None, INSTANTS[0]),
        ("micros", "later", 1, INSTANTS[4]),
        ("micros", "earlier", 2, INSTANTS[6]),
    ]
    tables = {
        "instants (id bigint, instant timestamp)": list(enumerate(INSTANTS)),
        "members (id bigint, text varchar, key varchar)": [
            (number, text, key) for number, text in enumerate(JSON_TEXTS) for key in KEYS
        ],
        "texts (id bigint, text varchar)": list(enumerate(TEXTS)),
        "times (id bigint, text varchar)": list(enumerate(TIMES)),
        "picks (kind varchar, value varchar, number bigint, instant timestamp)": picks,
    }
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema raw")
        for declaration, rows in tables.items():
            name, columns = declaration.split(" ", 1)
            connection.execute(f"create table raw.{name} {columns}")
            connection.executemany(f"insert into raw.{name} values ({', '.join('?' * len(rows[0]))})", rows)
            connection.execute(f"copy raw.{name} to '{project.parent / name}.parquet' (format parquet)")
    flags = ["--project-dir", project, "--profiles-dir", project, "--target-path", project.parent / "target"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAITHOUSE_HOME", str(project.parent))
        built = dbtRunner().invoke(["build", *map(str, flags), "--log-path", str(project.parent), "--quiet"])
    close_warehouse()
    assert built.success, built.exception or built.result
    return path


@pytest.fixture(scope="module")
def on_spark(project: Path, warehouse: Path, spark_cluster: Cluster) -> Iterator[dict[str, Path]]:
    """The models' tables on Spark."""
    raw = {
        f"raw.{name}": warehouse.parent / f"{name}.parquet"
        for name in ("instants", "members", "texts", "picks", "times")
    }
    folder = project.parent / "spark"
    yield run_on_spark(project, raw, [Run({}, True, 0)], cluster=spark_cluster, folder=folder).tables


@pytest.mark.parametrize("name", MODELS)
def test_both_engines_give_the_same(name: str, warehouse: Path, on_spark: dict[str, Path]) -> None:
    table = f"checks.{name}"
    assert compare(warehouse, {table: on_spark[table]}) == {}


def test_they_give_what_is_right(warehouse: Path) -> None:
    with duckdb.connect(str(warehouse)) as connection:

        def rows(sql: str) -> list[tuple[object, ...]]:
            return connection.execute(sql).fetchall()

        assert rows("select half_hours from checks.instants where id between 3 and 6 order by id") == [
            (0,),
            (-1,),
            (-1,),
            (-2,),
        ]
        assert rows("select instant from checks.times order by id") == [(instant,) for instant in TIMES.values()]
        assert rows("select seconds from checks.spans where (id, until_id) in ((4, 3), (3, 4)) order by id") == [
            (-1,),
            (0,),
        ]
        assert rows("select thirds from checks.divisions order by id limit 6") == [
            (-2,),
            (-2,),
            (-1,),
            (-1,),
            (-1,),
            (0,),
        ]
        assert rows("select key, value from checks.members where id = 1 order by key") == [
            ("$a", "1"),
            ("*", "star"),
            ("a", '{"b":"nested"}'),
            ("a b", "blank"),
            ("a'b", "quoted"),
            ("a.b", "dotted"),
            ("a[0]", "list"),
            ("absent", None),
        ]
        objects = {number for number, text in enumerate(JSON_TEXTS) if text and _is_object(text)}
        assert {number for (number,) in rows("select id from checks.objects where is_object")} == objects
        assert rows("select count(*) from checks.days") == [(5,)]
        assert rows("select count(*) from checks.no_days") == [(0,)]
        assert rows("select begins, ends, apostrophe, digit, backslash from checks.matching order by id") == [
            (True, False, False, False, False),
            (True, True, False, True, False),
            (False, True, True, True, False),
            (True, False, False, False, True),
            *[(False, False, False, False, False)] * 7,
        ]
        assert rows("select * from checks.picked order by kind") == [
            ("micros", "earlier", 2),
            ("missing", "kept", None),
            ("none", None, None),
            ("ties", "c", 3),
        ]
        assert rows("select text from checks.cells order by id") == [
            ("plain",),
            ("",),
            ("it's",),
            ("a\\d+",),
            ("None",),
            ('with "quotes", 100%s',),
        ]


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
