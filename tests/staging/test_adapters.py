"""Each vendor's tables, landed by ``load``, become rows of the raw event contract."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orchestration.home import PROJECT_ROOT, Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.reconciliation import reconcile
from orchestration.transform.dbt import Project
from tests.conftest import NOW, queried
from tests.streams.harness import build

FIXTURES = PROJECT_ROOT / "tests" / "fixtures"
ADAPTERS = ("segment", "snowplow", "posthog", "amplitude", "mixpanel")
COLUMNS = [
    "event_id",
    "event_type",
    "event_name",
    "occurred_at",
    "received_at",
    "user_id",
    "anonymous_id",
    "previous_id",
    "account_id",
    "native_session_id",
    "user_agent",
    "message_id",
    "library",
    "properties",
    "context",
    "source",
    "loaded_at",
    "load_id",
]
IDENTITY = ("user_id", "anonymous_id", "previous_id", "account_id")
CLIENT_SESSION = 'struct("userId" varchar, "sessionId" varchar, "sessionIndex" integer, "storageMechanism" varchar)[]'
Rows = dict[str, dict[str, Any]]
Stage = Callable[[Home, str], Rows]


@pytest.fixture(scope="module")
def all_adapters(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project up to staging with every adapter enabled, parsed once."""
    copy = tmp_path_factory.mktemp("adapters") / "project"
    for folder in ("models/staging", "macros"):
        shutil.copytree(PROJECT_ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT_ROOT / "profiles.yml", copy)
    shutil.copy(PROJECT_ROOT / "models" / "docs.md", copy / "models")
    settings = (PROJECT_ROOT / "dbt_project.yml").read_text()
    assert "  sources: generic " in settings
    (copy / "dbt_project.yml").write_text(
        settings.replace("  sources: generic ", f'  sources: "generic, {", ".join(ADAPTERS)}" ')
    )
    parsed = Project(Home(Settings(home=copy.parent / "home", project=copy)))
    _ = parsed.manifest
    return parsed


@pytest.fixture
def stage(all_adapters: Project) -> Stage:
    """Runs the model of an adapter in a home and gives its rows by event_id."""

    def staged(home: Home, adapter: str) -> Rows:
        moved = Home(home.settings.model_copy(update={"project": all_adapters.folder}))
        project = Project(moved)
        project = project.replace(manifest=all_adapters.manifest)
        with moved.lock("test"):
            results = project.run("build", select=[f"path:models/staging/{adapter}"], variables={})
        assert [(result.name, result.status) for result in results] == [(f"stg_{adapter}__events", "success")], results
        table = f"staging.stg_{adapter}__events"
        made = [name for name, *_ in queried(moved, f"describe {table}")]
        assert made == COLUMNS
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in queried(moved, f"select * from {table}")]
        assert len({row["event_id"] for row in rows}) == len(rows)
        return {row["event_id"]: row for row in rows}

    return staged


def land(home: Home, source: str, folder: str, only: str = "*") -> None:
    """Loads fixtures, each file as the table of its name."""
    files = sorted((FIXTURES / folder).glob(f"{only}.*"))
    assert files
    for file in files:
        assert load(home, [file], source=source, table=file.stem, now=NOW).rejected == 0


def picked(row: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def objects(row: Mapping[str, Any]) -> tuple[Any, Any]:
    """The properties and the context."""
    return json.loads(row["properties"]), row["context"] and json.loads(row["context"])


def at(time: str) -> datetime:
    return datetime.fromisoformat(f"2024-06-01 {time}")


def test_only_adapters_that_are_enabled_are_built(project: Project, all_adapters: Project) -> None:
    def staging(manifest: Any) -> set[str]:
        return {node.name for node in manifest.nodes.values() if node.fqn[1] == "staging"}

    def sources(manifest: Any) -> set[str]:
        return {source.source_name for source in manifest.sources.values()}

    vendors = {f"stg_{adapter}__events" for adapter in ADAPTERS}
    assert staging(project.manifest) == {"stg_generic__events"}
    assert staging(all_adapters.manifest) == {"stg_generic__events", *vendors}
    assert not sources(project.manifest) & {f"raw_{adapter}" for adapter in ADAPTERS}
    assert sources(all_adapters.manifest) >= {f"raw_{adapter}" for adapter in ADAPTERS}


def test_every_adapter_gives_and_describes_the_same_columns(all_adapters: Project) -> None:
    for node in (node for node in all_adapters.manifest.nodes.values() if node.resource_type == "model"):
        assert list(node.columns) == COLUMNS, node.name
        assert all(column.description and column.data_type for column in node.columns.values()), node.name
        assert "Grain" in node.description, node.name
        assert node.raw_code.endswith("\n)\n\nselect * from renamed"), node.name


def test_generic_reads_the_user_agent(home: Home, stage: Stage, events_file: Callable[..., Path]) -> None:
    event = {"event_name": "x", "user_id": "u", "occurred_at": "2024-06-01T10:00:00Z"}
    contexts = {"e1": {"userAgent": "a"}, "e2": {"user_agent": "b"}, "e3": {"ip": "::1"}, "e4": None}
    load(home, [events_file({**event, "event_id": key, "context": value} for key, value in contexts.items())])
    agents = {key: row["user_agent"] for key, row in stage(home, "generic").items()}
    assert agents == {"e1": "a", "e2": "b", "e3": None, "e4": None}


def test_segment(home: Home, stage: Stage) -> None:
    land(home, "segment", "segment")
    rows = stage(home, "segment")
    assert {key: picked(row, "event_type", "event_name") for key, row in rows.items()} == {
        "ajs-t1": ("track", "Order Started"),
        "ajs-t2": ("track", "Order Completed"),
        "ajs-t3": ("track", "invite_sent"),
        "ajs-t4": ("track", "Clock Broken"),
        "ajs-p1": ("page", "page"),
        "ajs-p2": ("page", "page"),
        "ajs-i1": ("identify", "identify"),
        "ajs-i2": ("identify", "identify"),
        "ajs-g1": ("group", "group"),
        "ajs-a1": ("alias", "alias"),
    }
    assert {row["source"] for row in rows.values()} == {"segment"}
    assert {row["loaded_at"] for row in rows.values()} == {NOW}
    assert rows["ajs-p1"]["load_id"] > rows["ajs-a1"]["load_id"]
    assert {key: picked(rows[key], "occurred_at", "received_at") for key in rows if "-t" in key} == {
        "ajs-t1": (at("10:00:00.250"), at("10:00:01")),
        "ajs-t2": (at("10:30:00"), at("10:30:02")),
        "ajs-t3": (at("11:00:00"), at("11:00:04.999999")),
        "ajs-t4": (at("11:00:00"), at("11:00:05")),
    }
    assert {key: picked(rows[key], *IDENTITY) for key in ("ajs-t1", "ajs-t2", "ajs-i1", "ajs-g1", "ajs-a1")} == {
        "ajs-t1": (None, "anon-1", None, None),
        "ajs-t2": ("u1", "anon-1", None, "acme"),
        "ajs-i1": ("u1", "anon-1", None, None),
        "ajs-g1": ("u1", "anon-1", None, "acme"),
        "ajs-a1": ("u2", None, "bob@example.com", None),
    }
    assert rows["ajs-p1"]["user_agent"] == "Mozilla/5.0 (Macintosh)"
    page = {
        "name": "Plans",
        "category": "marketing",
        "path": "/pricing",
        "url": "https://www.example.com/pricing",
        "title": 'Plans, prices and "more"',
    }
    assert objects(rows["ajs-p1"]) == (page, {"context_user_agent": "Mozilla/5.0 (Macintosh)"})
    traits = {"email": "ada@example.com", "plan": "pro", "seats": "12"}
    assert objects(rows["ajs-i1"]) == (traits, {"context_ip": "203.0.113.7"})
    assert objects(rows["ajs-i2"]) == ({"email": "bob@example.com"}, {})
    assert objects(rows["ajs-g1"]) == ({"name": "Acme Ltd", "employees": "40"}, {})
    # The properties stand in a table of their event; the version that has them counts as received first.
    assert objects(rows["ajs-t3"])[0] == {"invitee_count": "2", "role": "editor"}


def test_rudderstack_goes_through_the_segment_adapter(home: Home, stage: Stage) -> None:
    land(home, "segment", "rudderstack")
    rows = stage(home, "segment")
    named = ("event_name", "occurred_at", "user_id", "anonymous_id", "native_session_id", "user_agent")
    assert {key: picked(row, *named) for key, row in rows.items()} == {
        "rs-t1": ("Product Viewed", at("10:00:00.123"), None, "anon-9", "1717236000", "Mozilla/5.0 (X11)"),
        "rs-i1": ("identify", at("10:01:00"), "u9", "anon-9", "1717236000", None),
        "rs-s1": ("screen", at("10:02:00"), "u9", "anon-9", "1717236000", None),
    }
    assert objects(rows["rs-t1"])[0] == {"channel": "web"}
    assert objects(rows["rs-i1"])[0] == {"email": "eve@example.com"}
    assert objects(rows["rs-s1"])[0] == {"name": "Cart"}


def test_several_sources_of_segment_stand_side_by_side(
    home: Home, stage: Stage, events_file: Callable[..., Path]
) -> None:
    load(home, [events_file([{"id": "ios", "total": 5}])], source="segment_ios", table="order_started", now=NOW)
    for source, event_id in {"segment": "web", "segment_ios": "ios", "segmented": "other"}.items():
        call = {"id": event_id, "event": "order_started", "user_id": "u", "timestamp": "2024-06-01T10:00:00Z"}
        load(home, [events_file([call])], source=source, table="tracks", now=NOW)
    assert {key: (row["source"], objects(row)[0]) for key, row in stage(home, "segment").items()} == {
        "web": ("segment", {}),
        "ios": ("segment_ios", {"total": "5"}),
    }


def test_tables_and_columns_may_come_later(home: Home, stage: Stage, events_file: Callable[..., Path]) -> None:
    assert stage(home, "segment") == {}
    land(home, "segment", "segment", "tracks")
    assert set(stage(home, "segment")) == {"ajs-t1", "ajs-t2", "ajs-t3", "ajs-t4"}
    land(home, "segment", "segment", "aliases")
    later = {"id": "ajs-t5", "event": "upgraded", "user_id": "u1", "timestamp": "2024-06-02T00:00:00Z", "tier": "gold"}
    load(home, [events_file([later])], source="segment", table="tracks", now=NOW)
    rows = stage(home, "segment")
    assert rows["ajs-a1"]["previous_id"] == "bob@example.com"
    assert objects(rows["ajs-t5"]) == ({"tier": "gold"}, {})
    assert objects(rows["ajs-t1"])[0] == {}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_without_any_table_has_no_rows(home: Home, stage: Stage, adapter: str) -> None:
    assert stage(home, adapter) == {}


def test_a_table_that_was_not_loaded_here_is_refused_in_words(home: Home, all_adapters: Project) -> None:
    with home.lock("test"), home.connect() as connection:
        connection.execute("create schema raw_posthog; create table raw_posthog.events (uuid varchar)")
    project = Project(Home(home.settings.model_copy(update={"project": all_adapters.folder})))
    project = project.replace(manifest=all_adapters.manifest)
    with home.lock("test"):
        [result] = project.run("build", select=["path:models/staging/posthog"], variables={})
    assert not result.ok
    assert "lacks loaded_at or load_id" in result.message


def test_snowplow(home: Home, stage: Stage) -> None:
    land(home, "snowplow", "snowplow")
    rows = {int(key[-2:]): row for key, row in stage(home, "snowplow").items()}
    named = ("event_type", "event_name", "occurred_at", "received_at", "user_id", "anonymous_id", "native_session_id")
    assert {key: picked(row, *named) for key, row in rows.items()} == {
        1: ("page", "page", at("10:00:00.500"), at("10:00:01"), None, "cookie-1", "visit-1"),
        2: ("track", "add-to-basket", at("10:01:00"), at("10:01:01"), "u1", "cookie-1", "visit-1"),
        3: ("track", "invite_sent", at("10:02:00"), at("10:02:01"), "u1", "cookie-1", "visit-1"),
        4: ("track", "link_click", at("10:03:00"), at("10:03:01"), "u1", "cookie-1", "visit-1"),
        5: ("screen", "screen", at("10:04:00"), at("10:04:01"), None, "device-1", "visit-9"),
    }
    assert {picked(row, "previous_id", "account_id", "source") for row in rows.values()} == {(None, None, "snowplow")}
    assert rows[1]["user_agent"] == "Mozilla/5.0 (X11)"
    shop = {"se_category": "shop", "se_action": "add-to-basket", "se_label": "sku-1", "se_value": "2.5"}
    assert {key: objects(row)[0] for key, row in rows.items()} == {
        1: {"page_url": "https://www.example.com/pricing?x=1", "page_urlpath": "/pricing", "page_title": "Plans"},
        2: {"page_urlpath": "/cart", **shop},
        3: {"role": "editor", "count": 2},
        4: {"targetUrl": "https://www.example.com/help"},
        5: {"name": "Cart", "id": "5f"},
    }
    context = objects(rows[1])[1]
    assert (context["app_id"], context["network_userid"]) == ("site", "net-1")
    assert set(context) == {
        *("app_id", "platform", "event_vendor", "dvce_sent_tstamp", "network_userid", "domain_sessionidx"),
    }
    assert set(objects(rows[3])[1]) == {"app_id", "platform", "event_vendor"}


def test_snowplow_profiles_are_devices_and_their_merges_are_told(
    home: Home, stage: Stage, events_file: Callable[..., Path]
) -> None:
    """Ids of the first and of the second version of the schema, as text and in the envelope."""
    entity = "contexts_com_snowplowanalytics_snowplow_identity_"
    first = {f"{entity}1": [{"snowplowId": "sp_1", "createdAt": "2024-06-01T10:00:00Z"}]}
    second = {f"{entity}2": [{"snowplow_id": "sp_2", "created_at": "2024-06-01T10:00:00Z"}]}
    data = {"snowplow_id": "sp_1", "merged": [{"snowplow_id": "sp_2"}, {"snowplow_id": "sp_3"}]}
    merge = {"event_name": "identity_merge", "unstruct_event": {"schema": "x", "data": {"schema": "y", "data": data}}}
    events = {
        "e1": {"domain_userid": "d1"} | first,
        "e2": {"domain_userid": "d1", "user_id": "ada"} | first,
        "e3": {"domain_userid": "d1", "user_id": "bob"} | first,
        "e4": {"domain_userid": "d2"} | second,
        "e5": merge,
        "e6": {"domain_userid": "d3"},
    }
    rows = [
        {"event": "unstruct", "event_id": key, "collector_tstamp": f"2024-06-01 10:0{number}:00"} | event
        for number, (key, event) in enumerate(events.items())
    ]
    for _ in range(2):
        load(home, [events_file(rows)], source="snowplow", table="events", now=NOW)
    staged = stage(home, "snowplow")
    assert {key: picked(staged[key], *IDENTITY) for key in events} == {
        "e1": (None, "sp_1", None, None),
        "e2": ("ada", "sp_1", None, None),
        "e3": ("bob", "sp_1", None, None),
        "e4": (None, "sp_2", None, None),
        "e5": (None, "sp_1", None, None),
        "e6": (None, "d3", None, None),
    }
    # A second user of a profile is merged with nobody.
    assert sorted(
        picked(row, "user_id", "previous_id", "occurred_at") for row in staged.values() if row["event_type"] == "alias"
    ) == [
        ("ada", "sp_1", at("10:01:00")),
        ("sp_1", "sp_2", at("10:04:00")),
        ("sp_1", "sp_3", at("10:04:00")),
    ]


def test_snowplow_entities_of_the_project_say_properties_and_plan(
    home: Home, stage: Stage, events_file: Callable[..., Path]
) -> None:
    common = {"event": "page_view", "collector_tstamp": "2024-06-01 10:00:00", "user_id": "u"}
    user, step = "contexts_com_acme_user_1", "contexts_com_acme_step_1"
    entities = {
        "e1": {user: [{"plan": "pro", "role": "admin"}], step: [{"step": "import", "page_urlpath": "no"}]},
        "e2": {step: [{"step": "import"}, {"step": "invite"}]},
        "e3": {user: [], step: None, "unstruct_event_com_acme_import_1": {}},
        "e4": {step: "no list", "contexts_com_snowplowanalytics_snowplow_web_page_1": [{"id": "7"}]},
    }
    events = [common | {"event_id": key, "page_urlpath": "/a"} | entity for key, entity in entities.items()]
    load(home, [events_file(events)], source="snowplow", table="events", now=NOW)
    found = {key: row["properties"] for key, row in stage(home, "snowplow").items()}
    assert found.pop("e1").startswith('{"page_urlpath":"/a",')
    assert found == {"e2": '{"page_urlpath":"/a"}', "e3": "{}", "e4": '{"page_urlpath":"/a"}'}
    said = "json_extract_string(properties, ['/page_urlpath', '/step', '/$set'])"
    sql = f"select unnest({said}) from staging.stg_snowplow__events where event_id = 'e1'"
    assert queried(home, sql) == [("/a",), ("import",), ('{"plan":"pro","role":"admin"}',)]


def test_posthog(home: Home, stage: Stage) -> None:
    land(home, "posthog", "posthog")
    rows = {int(key[-2:]): row for key, row in stage(home, "posthog").items()}
    assert {key: picked(row, "event_type", "event_name", *IDENTITY) for key, row in rows.items()} == {
        1: ("page", "page", None, "anon-1", None, None),
        2: ("identify", "identify", "u1", "anon-1", None, None),
        3: ("group", "group", "u1", None, None, "acme"),
        4: ("track", "report created", "u1", None, None, "acme"),
        5: ("track", "invoice paid", "u1", None, None, "acme"),
        6: ("track", "button clicked", None, "anon-2", None, None),
        7: ("track", "button clicked", "u2", None, None, None),
        8: ("identify", "identify", "u2", "bob@example.com", None, None),
        9: ("alias", "alias", "u2", None, "u2-old", None),
        10: ("identify", "identify", "u3", "anon-3", None, None),
        11: ("identify", "identify", "u2", None, None, None),
        12: ("group", "group", None, "$company_umbrella", None, "umbrella"),
        13: ("screen", "screen", None, "phone-1", None, None),
        14: ("page", "page", None, "anon-4", None, None),
    }
    assert picked(rows[1], "occurred_at", "received_at") == (at("10:00:00"), at("10:00:01.500"))
    assert picked(rows[4], "occurred_at", "received_at") == (at("10:03:00"), at("10:03:01"))
    assert picked(rows[1], "native_session_id", "user_agent") == ("visit-1", "Mozilla/5.0 (X11)")
    assert {row["context"] for row in rows.values()} == {None}
    assert objects(rows[1])[0]["$pathname"] == "/pricing"
    assert objects(rows[2])[0]["$set"] == {"email": "ada@example.com", "plan": "pro"}
    assert objects(rows[8])[0] == {}
    assert objects(rows[3])[0] == {"seat_limit": 20}
    assert objects(rows[11])[0]["$set"] == {"plan": "free"}
    assert objects(rows[13])[0]["$screen_name"] == "Cart"


def test_amplitude(home: Home, stage: Stage) -> None:
    land(home, "amplitude", "amplitude")
    rows = stage(home, "amplitude")
    assert {key: picked(row, "event_type", "event_name", *IDENTITY) for key, row in rows.items()} == {
        "amp-1": ("page", "page", None, "dev-1", None, None),
        "amp-2": ("track", "Order Completed", "u1", "dev-1", None, "acme"),
        "amp-3": ("identify", "identify", "u1", "dev-1", None, None),
        "amp-4": ("group", "group", "u1", None, None, "acme"),
        "i5": ("track", "Invite Sent", "u1", "dev-1", None, None),
    }
    assert picked(rows["amp-1"], "occurred_at", "received_at") == (at("10:00:00.250"), at("10:00:01"))
    assert picked(rows["i5"], "occurred_at", "received_at") == (at("11:00:00"), None)
    assert [row["native_session_id"] for row in rows.values() if row["native_session_id"]] == ["1717236000000"]
    assert objects(rows["amp-1"])[0] == {"[Amplitude] Page Path": "/pricing"}
    assert objects(rows["amp-2"])[0] == {"total": 12.5, "$set": {"plan": "pro", "email": "ada@example.com"}}
    assert objects(rows["amp-3"])[0] == {"$set": {"plan": "team"}}
    assert objects(rows["amp-4"])[0] == {"seats": 20}
    assert objects(rows["i5"])[0] == {}
    assert objects(rows["amp-1"])[1] == {"platform": "Web", "amplitude_id": "7"}


def test_mixpanel(home: Home, stage: Stage) -> None:
    land(home, "mixpanel", "mixpanel")
    rows = sorted(stage(home, "mixpanel").values(), key=lambda row: (row["occurred_at"], row["user_id"] or ""))
    assert [picked(row, "event_type", "event_name", *IDENTITY) for row in rows] == [
        ("page", "page", None, "dev-1", None, None),
        ("identify", "identify", "u1", "dev-1", None, None),
        ("track", "Order Completed", "u1", "dev-1", None, "acme"),
        ("track", "Order Completed", "u2", None, None, None),
        ("track", "Invoice Paid", "u2", None, None, "acme"),
        ("identify", "identify", "u3", "old-anon", None, None),
    ]
    assert picked(rows[0], "occurred_at", "received_at") == (at("10:00:00"), at("10:00:01.500"))
    assert objects(rows[0])[0]["current_url_path"] == "/pricing"
    assert [objects(row)[0] for row in rows if row["event_type"] == "identify"] == [{}, {}]


def test_posthog_keeps_properties_that_cannot_be_read(
    home: Home, stage: Stage, events_file: Callable[..., Path]
) -> None:
    broken = {"uuid": "1", "event": "$identify", "distinct_id": "u", "timestamp": "soon", "properties": "{broken"}
    load(home, [events_file([broken])], source="posthog", table="events", now=NOW)
    row = stage(home, "posthog")["1"]
    assert picked(row, "event_name", "properties", "occurred_at", "received_at") == ("identify", "{broken", None, None)


@pytest.mark.parametrize(
    ("adapter", "folder", "typed"),
    [
        ("segment", "segment", {"identifies.seats": "integer", "groups.employees": "bigint"}),
        (
            "snowplow",
            "snowplow",
            {
                "events.se_value": "double",
                "events.domain_sessionidx": "bigint",
                "events.unstruct_event_com_acme_invite_sent_1": 'struct("role" varchar, "count" integer)',
                "events.contexts_com_snowplowanalytics_snowplow_client_session_1": CLIENT_SESSION,
            },
        ),
        ("posthog", "posthog", {"events.properties": "json"}),
    ],
)
def test_typed_columns_give_the_same_rows(
    home: Home, stage: Stage, adapter: str, folder: str, typed: dict[str, str]
) -> None:
    """Instants and numbers as their types, as a loader that writes the warehouse itself leaves them."""
    land(home, adapter, folder)
    texts = {key: row for key, row in stage(home, adapter).items() if row["occurred_at"]}
    with home.lock("test"), home.connect() as connection:
        instants = connection.execute(
            """
            select table_name, column_name from duckdb_columns()
            where schema_name = $1 and column_name <> 'loaded_at'
                and (column_name like '%timestamp' or column_name like '%_at' or column_name like '%_tstamp')
            """,
            [f"raw_{adapter}"],
        ).fetchall()
        types = {f"{table}.{column}": "timestamptz" for table, column in instants} | typed
        for name, type_ in types.items():
            table, column = name.split(".")
            using = f"cast({column} as json)::{type_}" if "struct" in type_ else f"try_cast({column} as {type_})"
            connection.execute(f'alter table raw_{adapter}.{table} alter "{column}" type {type_} using {using}')
    rows = {key: row for key, row in stage(home, adapter).items() if key in texts}
    compared = [name for name in COLUMNS if name not in ("properties", "context")]
    assert {key: picked(row, *compared) for key, row in rows.items()} == {
        key: picked(row, *compared) for key, row in texts.items()
    }
    assert {key: objects(row)[0] for key, row in rows.items()} == {key: objects(row)[0] for key, row in texts.items()}


def test_instants_are_read_with_their_offset(home: Home, stage: Stage, events_file: Callable[..., Path]) -> None:
    instants = {
        "2024-06-01T10:00:00Z": at("10:00:00"),
        "2024-06-01 10:00:00.123456": at("10:00:00.123456"),
        "2024-06-01T12:00:00.5+02:00": at("10:00:00.500"),
        "2024-06-01 04:30:00 -0530": at("10:00:00"),
        "2024-06-01 12:00+02": at("10:00:00"),
        "2024-06-01 10:00:00 UTC": at("10:00:00"),
        "2024-06-01T10:00Z": at("10:00:00"),
        "2024-06-01": at("00:00:00"),
        "2024-02-30 10:00:00": None,
        "2024-06-01 10:00:00 Mars": None,
        "infinity": None,
        "now": None,
        "1717236000": at("10:00:00"),
        "1717236000123.5": at("10:00:00.123500"),
        "2024-06-01 12:00:00 Europe/Berlin": at("10:00:00"),
        "2024-06-01t10:00:00z": at("10:00:00"),
        "": None,
    }
    load(home, [events_file({"id": text, "timestamp": text} for text in instants)], source="segment", table="tracks")
    assert {key: row["occurred_at"] for key, row in stage(home, "segment").items()} == instants


def built(folder: Path, adapters: Sequence[str]) -> Home:
    """A home with the fixtures of the adapters, built up to the candidates by a project that enables these alone."""
    copy = folder / "project"
    for name in ("models", "macros", "seeds"):
        shutil.copytree(PROJECT_ROOT / name, copy / name)
    shutil.copy(PROJECT_ROOT / "profiles.yml", copy)
    shutil.copy(PROJECT_ROOT / "models" / "docs.md", copy / "models")
    settings = (PROJECT_ROOT / "dbt_project.yml").read_text()
    (copy / "dbt_project.yml").write_text(
        settings.replace("  sources: generic ", f'  sources: "{",".join(adapters)}" ')
    )
    home = Home(Settings(home=folder / "home", project=copy))
    for adapter in adapters:
        land(home, adapter, adapter)
    build(home, Project(home))
    return home


@pytest.mark.long
def test_each_fixture_reaches_the_sessions_and_adapters_at_once_give_the_union(tmp_path: Path) -> None:
    events = "select source, event_id, event_name, occurred_at, user_id, anonymous_id from events.fct_events"
    alone: list[tuple[Any, ...]] = []
    for adapter in ADAPTERS:
        home = built(tmp_path / adapter, [adapter])
        alone += queried(home, events)
        [(seen, in_sessions)] = queried(
            home,
            "select (select count(*) from events.visible_events), (select sum(event_count) from sessions.fct_sessions)",
        )
        assert seen == in_sessions > 0, adapter
    assert {source for source, *_ in alone} == set(ADAPTERS)
    every = built(tmp_path / "all", ADAPTERS)
    assert sorted(queried(every, events), key=str) == sorted(alone, key=str)
    # Every row of every table is accounted for, counted again or not.
    with every.lock("test"), every.connect() as connection:
        tables = reconcile(connection, ADAPTERS)
        assert [table.table for table in tables if table.source == "segment"] == [
            f"raw_segment.{name}" for name in ("aliases", "groups", "identifies", "pages", "tracks")
        ]
        assert {table.table: table.lost for table in tables if table.lost} == {}
        assert reconcile(connection, ADAPTERS, recount=False) == tables
