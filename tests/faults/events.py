"""Faults of what comes in, and of the models that read it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.faults.injection import Fault, Injection
from tests.faults.traits import with_stage

# Traits of the fixture that need a behaviour; the others need events of whatever name.
NEED_A_BEHAVIOUR = frozenset(
    {
        "activated",
        "at_risk",
        "lifecycle_stage",
        "needs_teammate",
        "power_user",
        "single_player",
        "pricing_before_value",
        "sleepy_trial",
        "stuck",
        "stuck_setup",
    }
)


def raw_faults() -> list[Fault]:
    """What comes in broken: refused as a whole, put aside row by row, or found by the source checks."""

    def refused(name: str, write: Callable[[Injection], Path], message: str) -> Fault:
        """A file of which nothing may land; the good one of the same day has landed."""

        def inject(injection: Injection) -> None:
            before = _landed(injection)
            injection.load(write(injection))
            assert _landed(injection) == before, "events of a refused file have landed"

        return Fault(name, "raw", inject, message=message)

    def truncated(injection: Injection) -> Path:
        whole = gzip.compress(injection.fixture.next_day.read_bytes())
        path = injection.folder / "day.ndjson.gz"
        path.write_bytes(whole[: len(whole) // 2])
        return path

    def renamed(injection: Injection) -> Path:
        return injection.file({"happened": event.pop("occurred_at"), **event} for event in injection.day())

    def swapped(injection: Injection) -> Path:
        return injection.file(
            event | {"event_name": event["occurred_at"], "occurred_at": event["event_name"]}
            for event in injection.day()
        )

    def nobody(injection: Injection) -> Path:
        return injection.file(event | {"user_id": None, "anonymous_id": "  "} for event in injection.day())

    def csv(injection: Injection) -> Path:
        return injection.file(["event_name,occurred_at,occurred_at,user_id", "x,2024-06-27,2024-06-27,u"], "day.csv")

    def with_broken_lines(injection: Injection) -> None:
        """Each good event with a column more, and beside them lines that are wrong in many ways."""
        good = injection.day()
        event = good[0]
        later = (datetime(2026, 1, 1) + timedelta(days=36_500)).isoformat()
        lines: list[object] = [given | {"new_column": 7} for given in good]
        lines += [
            '{"event_name": ',
            "[1, 2]",
            '{"event_name": NaN}',
            '"\\ud800"',
            "\u0000",
            event | {"event_id": "f1", "occurred_at": later},
        ]
        lines += [
            event | {"event_id": "n1", "user_id": None, "anonymous_id": None},
            event | {"event_id": "n2", "event_name": ""},
        ]
        lines += [
            event | {"event_id": "t1", "occurred_at": "27/06/2024 at noon"},
            event | {"event_id": "t2", "occurred_at": "1812-06-24"},
        ]
        lines += [event | {"event_id": "k1", "event_type": "wink"}, event | {"event_id": "p1", "properties": "none"}]
        injection.load(injection.file(lines))

    def twice(injection: Injection) -> None:
        injection.load(injection.fixture.next_day)
        injection.load(injection.fixture.next_day)
        injection.load(injection.file(reversed(injection.fixture.next_day.read_text().splitlines()), "again.ndjson"))

    def unmapped(injection: Injection) -> None:
        injection.load(injection.file(event | {"event_name": f"v2 {event['event_name']}"} for event in injection.day()))

    def half(injection: Injection) -> None:
        injection.load(injection.file(event for event in injection.day() if event["received_at"][11:13] < "12"))

    def shifted(injection: Injection) -> None:
        def earlier(text: str) -> str:
            return (datetime.fromisoformat(text) - timedelta(hours=9)).isoformat()

        injection.load(
            injection.file(event | {"occurred_at": earlier(event["occurred_at"])} for event in injection.day())
        )

    def silent(injection: Injection) -> None:
        names = [event["event_name"] for event in injection.day()]
        loudest = max(set(names), key=names.count)
        injection.load(injection.file(event for event in injection.day() if event["event_name"] != loudest))

    def anonymous(injection: Injection) -> None:
        injection.load(injection.file({k: v for k, v in event.items() if k != "user_id"} for event in injection.day()))

    every = frozenset({"every"})

    def seen(
        name: str,
        inject: Callable[[Injection], object],
        message: str,
        withheld: frozenset[str] = every,
    ) -> Fault:
        """A day that is wrong as a whole, which only the source checks can tell."""
        return Fault(name, "raw", inject, withheld=withheld, message=message, rebuilt=True, other_day=True)

    return [
        refused("the file is empty", lambda injection: injection.file([]), "No row was accepted"),
        refused("the file is cut off", truncated, "cannot be read: Compressed file ended"),
        refused("a column was renamed", renamed, "No column gives occurred_at"),
        refused("two columns are swapped", swapped, "No row was accepted; .* most of all: occurred_at is not a time"),
        refused("all ids are null", nobody, "No row was accepted; .* most of all: neither user_id nor anonymous_id"),
        refused("a header names a column twice", csv, "has no usable header line"),
        refused(
            "the file is of another kind",
            lambda injection: injection.file(["x"], "day.xlsx"),
            "of a kind that cannot be read",
        ),
        Fault("a file is loaded three times", "raw", twice, message='"accepted": 0, "duplicates": [1-9]', rebuilt=True),
        Fault("some lines are broken", "raw", with_broken_lines, message='"rejected": 1[0-9]', rebuilt=True),
        seen("half a day is missing", half, "silence: .* 12 hours without an event on 2024-06-27"),
        seen(
            "a tracker is silent",
            silent,
            "pricing_before_value: failed.* silent: Page Viewed",
            frozenset({"pricing_before_value"}),
        ),
        seen("times are of another zone", shifted, "hours: expected people at their usual hours of the day"),
        seen(
            "events have new names",
            unmapped,
            "at_risk: failed.* event catalogue",
            NEED_A_BEHAVIOUR,
        ),
        seen("users are no longer named", anonymous, "ids: expected at least half of the usual share of events"),
    ]


def _landed(injection: Injection) -> list[Any]:
    with injection.home.connect() as connection:
        return connection.execute("select count(*), sum(hash(e)) from raw.events as e").fetchall()


def staging_faults() -> list[Fault]:
    """Models that fail, and tables that are no longer what models expect."""
    every = frozenset({"every"})

    def broken_model(name: str) -> Callable[[Injection], None]:
        def inject(injection: Injection) -> None:
            manifest = injection.project.manifest.deepcopy()
            manifest.nodes[f"model.traithouse.{name}"].raw_code = "select no_such_column from (select 1) as t"
            injection.project = injection.project.replace(manifest=manifest)
            injection.load(injection.fixture.next_day)

        return inject

    def lost_column(injection: Injection) -> None:
        injection.load(injection.fixture.next_day)
        injection.sql("alter table raw.events rename column occurred_at to happened_at")

    def no_prior_state(injection: Injection) -> None:
        injection.load(injection.fixture.next_day)
        injection.sql("drop table state.trait_state", "drop table state.trait_thresholds")

    return [
        Fault(
            "a trait's model fails",
            "staging",
            broken_model("at_risk"),
            withheld=with_stage("at_risk"),
            message="at_risk: failed. It was not computed, because the model failed",
            rebuilt=True,
        ),
        Fault(
            "a model of features fails",
            "staging",
            broken_model("account_windows"),
            withheld=frozenset({"champion_left", "expansion_ready", "single_player", "stuck_setup"}),
            message="^account_windows: .*no_such_column",
            rebuilt=True,
        ),
        Fault(
            "a raw table lost a column",
            "staging",
            lost_column,
            withheld=every,
            message="at_risk: failed. It was not computed, because an upstream model failed",
            rebuilt=True,
        ),
        Fault("the state before is missing", "staging", no_prior_state, rebuilt=True),
    ]
