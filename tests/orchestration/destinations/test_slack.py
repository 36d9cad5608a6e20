"""What is Slack's own: a message for each owner, its bounds, escaped texts, and records of several messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orchestration.declarations.syncs import Sync
from orchestration.destinations import ClosedError, FieldNote, LimitedError, Record, UnavailableError
from orchestration.destinations._pace import Pace
from orchestration.destinations.slack import SlackDestination
from orchestration.errors import UsageError
from orchestration.home import Home, Settings
from orchestration.sync.engine import run_sync
from orchestration.sync.ledger import SyncLedger
from tests.faults.destinations import quick_backoff
from tests.orchestration.destinations.standins import Answer, Fault, Request
from tests.orchestration.destinations.standins.slack import PATH, SlackStandIn
from tests.serving import catalog_of, serve

GROWTH = FieldNote("at_risk", "At risk", "boolean", "growth", 1, since=datetime(2024, 6, 29))
SALES = replace(GROWTH, trait="paying", title="Paying", owner="sales")


@pytest.fixture
def slack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackStandIn]:
    made = SlackStandIn()
    with made.running(tmp_path), quick_backoff():
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SALES_WEBHOOK_URL", f"{made.url}{PATH}-of-sales")
        yield made


def destination(sync: Sync, folder: Path) -> SlackDestination:
    return SlackDestination(sync, folder, Pace())


def record_of(number: int, fields: dict[str, Any] | None = None, **given: Any) -> Record:
    fields = {"at_risk": True} if fields is None else fields
    made = Record(
        sync="attacked",
        entity_type="user",
        entity_id=f"u{number}",
        identifier=f"u{number}",
        action="upsert",
        fields=fields,
        changed=dict.fromkeys(fields),
        reasons={"at_risk": "Silent for 9 days."},
        build_id="000007",
        as_of=datetime(2024, 6, 30),
        notes={"at_risk": GROWTH, "paying": SALES},
    )
    return replace(made, **given)


def answering(slack: SlackStandIn, path: str, answer: Answer) -> None:
    """This is answered at one address; the others stay as they are."""
    handle = slack.handle

    def answered(request: Request) -> Answer:
        return answer if request.path == path else handle(request)

    slack.handle = answered  # type: ignore[method-assign]


def test_one_message_says_who_entered_and_left_with_names_and_reasons(slack: SlackStandIn, tmp_path: Path) -> None:
    left = record_of(2, {"at_risk": None}, changed={"at_risk": True}, action="clear", reasons={}, label="Ada")
    with closing(destination(slack.sync(), tmp_path)) as target:
        assert target.deliver([left, record_of(1)]) == [None, None]
    assert slack.posted == [
        (
            PATH,
            "*Traithouse: 1 entered, 1 left*\n*At risk: entered* (1)\n• u1: Silent for 9 days.\n"
            "*At risk: left* (1)\n• Ada (u2)",
        )
    ]


def test_a_message_is_bounded_and_says_how_many_more(slack: SlackStandIn, tmp_path: Path) -> None:
    made = [record_of(number) for number in range(57)]
    with closing(destination(slack.sync(options={}), tmp_path)) as target:
        assert set(target.deliver(made)) == {None}
    lines = slack.posted[0][1].splitlines()
    assert lines[1] == "*At risk: entered* (57)"
    assert (len(lines), lines[-1]) == (23, "and 37 more")
    assert len(slack.posted) == 1


def test_the_longest_names_fit_into_a_message(slack: SlackStandIn, tmp_path: Path) -> None:
    long = "&" * 3_000
    notes = {f"t{n}": replace(GROWTH, title=f"{long}{n}") for n in range(20)}
    fields = dict.fromkeys(notes, True)
    made = [
        record_of(
            n, fields, label=long, reasons=dict.fromkeys(fields, long), notes=notes, changed=dict.fromkeys(fields)
        )
        for n in range(20)
    ]
    with closing(destination(slack.sync(), tmp_path)) as target:
        assert set(target.deliver(made)) == {None}
    assert len(slack.posted) == 1


@pytest.mark.parametrize("name", ["<!channel>", "<@U123>", "<https://evil|x>", "a\n*At risk: left* (1)\n• u9", "&lt;"])
def test_texts_of_users_are_no_mentions_links_or_lines(slack: SlackStandIn, tmp_path: Path, name: str) -> None:
    with closing(destination(slack.sync(), tmp_path)) as target:
        (body,) = target.preview([record_of(1, label=name, entity_id=name, reasons={"at_risk": name})])
    (block,) = body["blocks"]
    text = block["text"]["text"]
    assert "<" not in text and ">" not in text and len(text.splitlines()) == 3
    assert block["text"]["verbatim"] is True
    assert "&lt;!channel&gt;" in text or name != "<!channel>"
    assert name != "&lt;" or "&amp;lt;" in text
    assert "<" not in body["text"]


def test_owners_have_webhooks_of_their_own_and_a_failing_one_stops_no_other(
    slack: SlackStandIn, tmp_path: Path
) -> None:
    options = {"owners": {"sales": "SALES_WEBHOOK_URL"}}
    both = record_of(1, {"at_risk": True, "paying": True})
    answering(slack, f"{PATH}-of-sales", Answer(410, b"channel_is_archived"))
    with closing(destination(slack.sync(options=options), tmp_path)) as target:
        failure, taken = target.deliver([both, record_of(2)])
        assert failure is not None and failure.again and "channel_is_archived" in failure.reason
        assert taken is None
        assert [path for path, _ in slack.posted] == [PATH]
        with pytest.raises(ClosedError):
            target.deliver([both])
        del slack.handle  # type: ignore[method-assign]
        assert target.deliver([both]) == [None]
    assert [path for path, _ in slack.posted] == [PATH, f"{PATH}-of-sales"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(200, b"OK"), UnavailableError),
        (Answer(200, b""), UnavailableError),
        (Answer(202, b"ok"), UnavailableError),
        (Answer(403, b"action_prohibited"), ClosedError),
        (Answer(404, b"no_service"), ClosedError),
        (Answer(429, b"rate_limited", {"retry-after": "7"}), LimitedError),
    ],
)
def test_only_ok_acknowledges(slack: SlackStandIn, tmp_path: Path, answer: Answer, error: type[Exception]) -> None:
    answering(slack, PATH, answer)
    with closing(destination(slack.sync(), tmp_path)) as target, pytest.raises(error) as caught:
        target.deliver([record_of(1)])
    if isinstance(caught.value, LimitedError):
        assert caught.value.seconds == 7


def test_what_is_no_news_posts_nothing(slack: SlackStandIn, tmp_path: Path) -> None:
    same = record_of(1, changed={"at_risk": True})
    number = record_of(2, {"score": 2.0}, notes={"score": replace(GROWTH, type="number")})
    forgotten = record_of(3, {"at_risk": None}, changed={"at_risk": True}, action="delete", forgotten=True, label="Ada")
    with closing(destination(slack.sync(), tmp_path)) as target:
        assert target.deliver([same, number, forgotten]) == [None, None, None]
    assert slack.posted == []


@pytest.mark.parametrize("options", [{"most": 0}, {"owners": {"sales": "NOT_SET"}}, {"url_env": "NOT_SET"}])
def test_wrong_options_are_mistakes(slack: SlackStandIn, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises((UsageError, ValueError)):
        destination(slack.sync(options=options), tmp_path)


@pytest.mark.long
def test_a_run_tells_what_changed_since_the_first_one_and_a_lost_answer_is_told_again(
    slack: SlackStandIn, tmp_path: Path
) -> None:
    home = Home(Settings(home=tmp_path / "home", env="production"))
    home.prepare()
    sync = slack.sync(label="email")
    catalog = catalog_of({"paying": "boolean", "stage": "category"}, sync)
    people = {"u1": {"email": "ada@example.com"}, "u2": {"email": "bo@example.com"}}
    serve(home, 1, {"u1": {"paying": "false"}, "u2": {"paying": "true"}}, people=people, catalog=catalog)
    assert run_sync(home, catalog, sync).delivered == 0
    assert slack.posted == [], "the first run marks what is published"
    serve(home, 2, {"u1": {"paying": "true"}, "u2": {"paying": "false"}}, people=people, catalog=catalog)
    slack.faults.extend([Fault("lost")] * 10)
    assert run_sync(home, catalog, sync).failed == 2
    with SyncLedger(home) as ledger:
        assert set(ledger.in_doubt(sync.name)) == {"u1", "u2"}
    slack.faults.clear()
    told = len(slack.posted)
    assert run_sync(home, catalog, sync).delivered == 2
    text = (
        "*Traithouse: 1 entered, 1 left*\n*paying: entered* (1)\n• ada@example.com (u1): paying is true.\n"
        "*paying: left* (1)\n• bo@example.com (u2): paying is false."
    )
    assert {said for _, said in slack.posted} == {text}
    assert len(slack.posted) == told + 1 > 2
    assert run_sync(home, catalog, sync).delivered == 0
    assert len(slack.posted) == told + 1
