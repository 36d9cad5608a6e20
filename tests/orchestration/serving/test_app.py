"""The API answers what the tables say, as its description and OFREP's say it, and nobody reads another user."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from jsonschema import Draft202012Validator

from orchestration.home import PROJECT_ROOT, Home
from orchestration.serving.lookup import Lookup
from tests.api import Client, client_of, token
from tests.conftest import served

OFREP = PROJECT_ROOT / "tests" / "fixtures" / "ofrep" / "openapi.yaml"
# A value, so many of each; browsers are served two traits, nobody is served one.
SERVED = (
    "update traits.trait_catalog set serve = case when trait in ('power_user', 'dormant') then 'browser'"
    " when trait = 'pricing_before_value' then 'never' else 'server' end",
)
USER = "user_0000"


@pytest.fixture
def client(sample_home: Home) -> Iterator[Client]:
    with client_of(sample_home) as opened:
        opened.publish(*SERVED)
        yield opened


def valid(value: object, description: dict[str, Any], schema: dict[str, Any]) -> None:
    """Holds a value against a schema of a description."""
    Draft202012Validator({**schema, "components": description["components"]}).validate(value)


def described(client: Client, method: str, route: str, response: Any) -> None:
    """Holds a response against the API's own description."""
    description = client.get("/v1/openapi.json").json()
    responses = description["paths"][route][method]["responses"]
    found = responses[str(response.status_code)]
    if "$ref" in found:
        found = description["components"]["responses"][found["$ref"].rpartition("/")[2]]
    for kind, content in found.get("content", {}).items():
        assert response.headers["content-type"].startswith(kind)
        if "schema" in content:
            valid(response.json(), description, content["schema"])


def of_ofrep(response: Any, schema: str) -> None:
    """Holds a response against OFREP's description.

    Two things in it cannot hold: its list of reasons lacks DEFAULT, which OpenFeature has; and `oneOf` for the types of
    values, for each value is also one of codeDefaultFlag, which asks for nothing.
    """
    description = yaml.safe_load(OFREP.read_text())
    parts = description["components"]["schemas"]["evaluationSuccess"]["allOf"]
    parts[0]["properties"]["reason"]["enum"].append("DEFAULT")
    parts[1]["anyOf"] = parts[1].pop("oneOf")
    valid(response.json(), description, {"$ref": f"#/components/schemas/{schema}"})


def test_it_answers_what_the_tables_say(client: Client, sample_home: Home) -> None:
    told = served(
        sample_home,
        "select trait, value, score, reason, strftime(since, '%Y-%m-%dT%H:%M:%SZ'), build_id from traits.trait_values"
        f" where entity_type = 'user' and entity_id = '{USER}' and trait != 'pricing_before_value' order by 1",
    )
    response = client.get(f"/v1/users/{USER}/traits")
    described(client, "get", "/v1/users/{id}/traits", response)
    texts = {True: "true", False: "false"}
    assert [
        (name, texts.get(row["value"], row["value"]), row["score"], row["reason"], row["since"], row["build_id"])
        for name, row in response.json()["traits"].items()
    ] == told
    assert response.headers["traithouse-build"] == response.json()["build_id"]
    only = client.get(f"/v1/users/{USER}/traits", trait="dormant").json()["traits"]
    assert list(only) == ["dormant"]


def test_members_are_pages_that_together_are_all(client: Client, sample_home: Home) -> None:
    told = served(
        sample_home, "select entity_id from traits.trait_values where trait = 'dormant' and value = 'true' order by 1"
    )
    found, cursor, pages = [], "", 0
    while cursor is not None:
        response = client.get("/v1/traits/dormant/members", limit=7, cursor=cursor)
        described(client, "get", "/v1/traits/{trait}/members", response)
        found += response.json()["members"]
        cursor, pages = response.json()["next_cursor"], pages + 1
    assert [(member,) for member in found] == told
    assert pages > 1


def test_the_ledger_is_read_on_by_number(client: Client, sample_home: Home) -> None:
    told = served(sample_home, "select seq from traits.trait_changes where trait != 'pricing_before_value' order by 1")
    found, after = [], 0
    while True:
        response = client.get("/v1/changes", after=after, limit=1000)
        described(client, "get", "/v1/changes", response)
        found += [(row["seq"],) for row in response.json()["changes"]]
        if response.json()["next"] == after:
            break
        after = response.json()["next"]
    assert found == told
    gone = client.get("/v1/changes", after=after + 1)
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "gone")


def test_the_catalogue_and_the_rest_are_as_described(client: Client) -> None:
    for method, route, response in (
        ("get", "/v1/traits", client.get("/v1/traits")),
        ("get", "/v1/traits", client.get("/v1/traits", credential="")),
        ("get", "/healthz", client.get("/healthz")),
        ("get", "/metrics", client.get("/metrics")),
        ("get", "/metrics", client.get("/metrics", credential=token(USER))),
        ("get", "/v1/accounts/{id}/traits", client.get("/v1/accounts/none/traits")),
        ("get", "/v1/traits/{trait}/members", client.get("/v1/traits/none/members")),
        ("get", "/v1/traits/{trait}/members", client.get("/v1/traits/dormant/members", limit=0)),
        ("get", "/v1/traits/{trait}/members", client.get("/v1/traits/dormant/members", cursor="%")),
        ("get", "/v1/changes", client.get("/v1/changes", after="x")),
        ("get", "/v1/stream", client.get("/v1/stream", token="none")),
        ("post", "/ofrep/v1/evaluate/flags", client.flags(USER)),
        ("post", "/ofrep/v1/evaluate/flags", client.flags(USER, token(USER))),
        ("post", "/ofrep/v1/evaluate/flags", client.flags("")),
        ("post", "/ofrep/v1/evaluate/flags/{key}", client.flag("trait.dormant", USER)),
        ("post", "/ofrep/v1/evaluate/flags/{key}", client.flag("trait.dormant", "nobody")),
        ("post", "/ofrep/v1/evaluate/flags/{key}", client.flag("trait.none", USER)),
        ("post", "/ofrep/v1/evaluate/flags/{key}", client.flag("trait.dormant", USER, "thk_none")),
    ):
        described(client, method, route, response)


def test_flags_are_as_ofrep_describes_them(client: Client) -> None:
    of_ofrep(client.flag("trait.dormant", USER), "serverEvaluationSuccess")
    of_ofrep(client.flag("trait.dormant", "nobody"), "serverEvaluationSuccess")
    of_ofrep(client.flag("trait.none", USER), "flagNotFound")
    of_ofrep(client.flag("trait.dormant", ""), "evaluationFailure")
    of_ofrep(client.flags(USER), "bulkEvaluationSuccess")
    of_ofrep(client.flags(USER, token(USER)), "bulkEvaluationSuccess")
    of_ofrep(client.flags(""), "bulkEvaluationFailure")


def test_who_is_unknown_gets_the_default_and_is_told_so(client: Client) -> None:
    flag = client.flag("trait.dormant", "nobody").json()
    assert (flag["value"], flag["variant"], flag["reason"]) == (False, "default", "DEFAULT")
    assert flag["metadata"]["why"] == "Nothing is published about this user."
    client.publish("update traits.trait_catalog set default_value = 'true' where trait = 'dormant'")
    assert client.flag("trait.dormant", "nobody").json()["value"] is True


def test_a_withheld_trait_answers_its_last_good_value_and_since_when_it_is_old(client: Client) -> None:
    before = client.flag("trait.dormant", USER).json()
    assert "last_good_as_of" not in before["metadata"]
    client.publish("update traits.trait_catalog set verdict = 'failed' where trait = 'dormant'")
    after = client.flag("trait.dormant", USER).json()
    assert (after["value"], after["reason"]) == (before["value"], before["reason"])
    assert after["metadata"]["verdict"] == "failed"
    assert after["metadata"]["last_good_as_of"] == client.get("/healthz").json()["as_of"]
    row = client.get(f"/v1/users/{USER}/traits").json()["traits"]["dormant"]
    assert row["verdict"] == "failed"
    assert row["age_seconds"] > 0


def test_numbers_are_never_written_without_their_point(client: Client) -> None:
    client.publish(
        "update traits.trait_catalog set value_type = 'number' where trait = 'dormant'",
        "update traits.trait_values set value = '1' where trait = 'dormant'",
    )
    assert b'"value":1.0' in client.flag("trait.dormant", USER).content


def test_a_bulk_answer_is_not_sent_twice(client: Client) -> None:
    first = client.flags(USER, token(USER))
    tag = first.headers["etag"]
    again = client.flags(USER, token(USER), **{"If-None-Match": f'W/"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    # Another build in which nothing of this user changed is the same answer.
    client.publish()
    assert client.flags(USER, token(USER), **{"If-None-Match": tag}).status_code == 304
    client.publish(f"update traits.trait_values set reason = 'Why not.' where entity_id = '{USER}'")
    changed = client.flags(USER, token(USER), **{"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_a_browser_sees_what_is_served_to_browsers_about_its_own_user_only(client: Client) -> None:
    mine = client.get(f"/v1/users/{USER}/traits", token(USER)).json()["traits"]
    assert sorted(mine) == ["dormant", "power_user"]
    assert [flag["key"] for flag in client.flags(USER, token(USER)).json()["flags"]] == [
        "trait.dormant",
        "trait.power_user",
    ]
    assert client.flag("trait.at_risk", USER, token(USER)).status_code == 404
    for response in (
        client.get("/v1/users/user_0001/traits", token(USER)),
        client.get(f"/v1/accounts/{USER}/traits", token(USER)),
        client.flag("trait.dormant", "user_0001", token(USER)),
        client.flags("user_0001", token(USER)),
        client.get("/v1/traits/dormant/members", token(USER)),
        client.get("/v1/changes", token(USER)),
        client.get("/v1/changes/stream", token(USER)),
        client.get("/metrics", token(USER)),
    ):
        assert response.status_code == 403, response.url
        assert "user_0001" not in response.text


def test_a_trait_that_is_served_to_nobody_is_nowhere(client: Client) -> None:
    assert client.flag("trait.pricing_before_value", USER).status_code == 404
    assert client.get("/v1/traits/pricing_before_value/members").status_code == 404
    everything = [
        client.get("/v1/traits"),
        client.get(f"/v1/users/{USER}/traits"),
        client.get("/v1/changes", limit=1000),
        client.flags(USER),
    ]
    assert not [response.url for response in everything if "pricing_before_value" in response.text]
    with (client.home.serving / json.loads((client.home.serving / "lookup.json").read_text())["file"]).open(
        "rb"
    ) as file:
        assert b"pricing_before_value" not in file.read()


def test_consent_that_does_not_name_the_purpose_gives_the_default(sample_home: Home) -> None:
    with client_of(sample_home, browser_purpose="Product") as client:
        consent = (
            "insert into identity.attributes by name"
            " select 'user' as entity_type, '{}' as entity_id, 'consent' as attribute, '{}' as value"
        )
        client.publish(
            *SERVED,
            consent.format(USER, "analytics, Product"),
            consent.format("user_0001", "analytics"),
        )
        assert client.flag("trait.dormant", USER, token(USER)).json()["reason"] == "TARGETING_MATCH"
        refused = client.flag("trait.dormant", "user_0001", token("user_0001")).json()
        assert (refused["reason"], refused["metadata"]["why"]) == ("DEFAULT", "No consent to product.")
        assert client.get("/v1/users/user_0001/traits", token("user_0001")).json()["error"]["code"] == "no_consent"
        # A key without a purpose is not asked for one.
        assert client.flag("trait.dormant", "user_0001").json()["reason"] == "TARGETING_MATCH"


def test_too_many_requests_are_told_how_long_to_wait(sample_home: Home) -> None:
    with client_of(sample_home, browser_rate=2) as client:
        answers = [client.flags(USER, token(USER)) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429, 429]
        assert re.fullmatch("[1-9][0-9]*", answers[-1].headers["retry-after"])
        assert client.flags("user_0001", token("user_0001")).status_code == 200
        assert client.flags(USER).status_code == 200


def test_bodies_have_a_bound_and_a_form(client: Client) -> None:
    path, headers = "/ofrep/v1/evaluate/flags", {"Authorization": f"Bearer {client.key}"}
    for body, status in (
        (b"{" + b" " * 70_000 + b"}", 413),
        (b"no JSON", 400),
        (b"[" * 60_000, 400),
        (b"[]", 400),
        (b'{"context": []}', 400),
        (b'{"context": {"targetingKey": 7}}', 400),
        (b'{"context": {"targetingKey": "\\ud800"}}', 400),
        (b"\xff", 400),
        (b"", 400),
    ):
        response = client.http.post(path, content=body, headers=headers)
        assert response.status_code == status, body[:50]
        assert response.json()["errorDetails"]


def test_pages_of_other_origins_are_refused_and_those_of_the_list_may_ask(sample_home: Home) -> None:
    with client_of(sample_home, origins="https://app.example.com, http://localhost:5173") as client:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        path = "/ofrep/v1/evaluate/flags"
        allowed = client.http.options(path, headers={"Origin": "https://app.example.com", **asked})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
        assert int(allowed.headers["access-control-max-age"]) >= 600
        assert client.http.options(path, headers={"Origin": "https://evil.example.com", **asked}).status_code == 400
        answer = client.flags(USER, token(USER), Origin="http://localhost:5173")
        exposed = answer.headers["access-control-expose-headers"]
        assert {"ETag", "Retry-After", "X-Request-Id"} <= set(exposed.split(", "))
        refused = client.flags(USER, "none", Origin="http://localhost:5173")
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "http://localhost:5173")


def test_ids_of_every_kind_are_found(client: Client) -> None:
    for odd in ("a/b", "a b", "ä@ö.example", "100%", "a?b#c", "traits"):
        client.publish(
            f"insert into traits.trait_values by name select * replace ('{odd}' as entity_id) from traits.trait_values"
            f" where entity_id = '{USER}' and trait = 'dormant'"
        )

        response = client.get(f"/v1/users/{quote(odd, safe='')}/traits")
        assert response.json().get("entity_id") == odd, odd
        assert client.flag("trait.dormant", odd).json()["reason"] == "TARGETING_MATCH"


def test_requests_are_logged_and_counted_without_anything_of_a_person(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="traithouse.serve"):
        given = client.http.get(
            f"/v1/users/{USER}/traits?trait=dormant",
            headers={"Authorization": f"Bearer {token(USER)}", "X-Request-Id": "abc-123"},
        )
        client.flags(USER, token(USER))
        client.get(f"/v1/users/{USER}/traits", "no key")
        forged = client.http.get("/healthz", headers={"X-Request-Id": "a b\x7f"})
    assert given.headers["x-request-id"] == "abc-123"
    assert forged.headers["x-request-id"] != "a b\x7f"
    lines = [json.loads(record.message) for record in caplog.records if record.name == "traithouse.serve"]
    assert [line["status"] for line in lines] == [200, 200, 401, 200]
    assert lines[0]["request_id"] == "abc-123"
    metrics = client.get("/metrics").text
    assert 'traithouse_requests_total{route="/ofrep/v1/evaluate/flags",status="200"} 1.0' in metrics
    for text in (caplog.text, metrics):
        assert USER not in text
        assert client.key not in text


def test_it_goes_on_without_a_warehouse_and_with_a_locked_one(client: Client, sample_home: Home) -> None:
    with sample_home.lock("a test"), sample_home.connect():
        client.api.look()
        assert client.flag("trait.dormant", USER).status_code == 200
    sample_home.warehouse.unlink()
    client.api.look()
    assert client.flag("trait.dormant", USER).status_code == 200


def test_before_the_first_publish_it_is_not_ready(home: Home) -> None:
    home.prepare()
    with client_of(home) as client:
        assert client.get("/healthz").status_code == 503
        response = client.flag("trait.dormant", USER)
        assert response.status_code == 503
        assert "Nothing is published yet." in response.json()["errorDetails"]


@pytest.mark.parametrize("harm", [b"", b"no database" * 900, None])
def test_a_lookup_that_cannot_be_read_leaves_the_last_one_served(
    client: Client, sample_home: Home, harm: bytes
) -> None:
    build = client.get("/healthz").json()["build_id"]
    pointer = sample_home.serving / "lookup.json"
    told = json.loads(pointer.read_text())
    if harm is not None:
        (sample_home.serving / "lookup-bad.sqlite").write_bytes(harm)
    pointer.write_text(json.dumps({**told, "file": "lookup-bad.sqlite"}))
    client.api.look()
    health = client.get("/healthz").json()
    assert health["build_id"] == build
    assert "lookup-bad.sqlite cannot be read" in health["trouble"]
    assert client.flag("trait.dormant", USER).status_code == 200
    pointer.write_text(json.dumps({**told, "file": "../../etc/passwd"}))
    client.api.look()
    assert client.get("/healthz").json()["build_id"] == build
    client.publish()
    assert client.get("/healthz").json()["trouble"] is None


def test_a_reader_sees_what_another_process_writes_to_the_same_file(client: Client, sample_home: Home) -> None:
    import sqlite3

    path: Path = sample_home.serving / json.loads((sample_home.serving / "lookup.json").read_text())["file"]
    reader = Lookup(path)
    with sqlite3.connect(path) as writer:
        writer.execute("update traits set row = json_set(row, '$.verdict', 'failed') where trait = 'dormant'")
    assert reader.reread()
    assert not reader.reread()
    assert reader.traits["dormant"]["verdict"] == "failed"
    reader.close()
