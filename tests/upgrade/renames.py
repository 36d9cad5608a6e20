"""All that is called otherwise in an earlier version, and all that no two runs can have in common.

Names are replaced on both sides, so that a version that has the new ones already stays as it is.
"""

import json
import re
from collections.abc import Collection
from typing import Any

# Table -> its name now. A stage `entities` took tables of `identity`.
TABLES = {
    "traits.acceptances": "traits.waivers",
    "served.acceptances": "served.waivers",
    "identity.identity_nodes": "events.identity_nodes",
    "identity.node_owners": "sessions.node_owners",
    "identity.attributes": "entities.attributes",
    "identity.memberships": "entities.memberships",
    "identity.dim_users": "entities.dim_users",
    "identity.dim_accounts": "entities.dim_accounts",
    "identity.dirty_attributes": "entities.dirty_attributes",
    "identity.event_attributes": "entities.event_attributes",
    "identity.new_profiles": "entities.new_profiles",
}

# Table, by its name now -> column -> its name now.
COLUMNS = {
    "traits.waivers": {"accepted_by": "waived_by", "accepted_at": "waived_at"},
    "served.waivers": {"accepted_by": "waived_by", "accepted_at": "waived_at"},
    "state.backfilled_days": {"told": "publishable"},
}

# Column, of any table -> value -> its name now.
VALUES = {
    "cause": {"accepted": "waived"},
}

# Column that holds JSON -> key in it -> value -> its name now.
JSON_VALUES = {
    "checks": {
        "name": {"made_of": "upstream", "needs": "required_behaviours"},
        "severity": {"accepted": "waived"},
    },
    "evidence": {"rule": {"told_anew": "updated"}},
}

# Column that holds sentences, also inside JSON -> pattern -> words now. Only wording may stand here, never a number.
_OF_GATES = {
    r"^Accepted by ": "Waived by ",
    r"\bone row a (user|account)\b": r"one row for each \1",
    r"\bevery (user|account) one of ": r"every \1 in ",
    r"\bidentity\.dim_": "entities.dim_",
    r"\bno withheld trait that it is made of\b": "no withheld upstream trait",
    r"\bIt is made of (\w+), which is withheld\.": r"Its upstream trait \1 is withheld.",
    r"\bIts source (\w+) failed its gate: ": r"Its source \1 failed its checks: ",
    r"\ba gate that can be evaluated\b": "checks that can be evaluated",
    r"^a house in which nine of ten sleep has lost its tracker$": "where nine of ten sleep, the tracker was lost",
    r"\braw\.loads tells which load\b": "raw.loads says which load",
}
SENTENCES: dict[str, dict[str, str]] = {
    "reason": _OF_GATES,
    "verdict_reason": _OF_GATES,
    "checks": _OF_GATES,
    "description": {
        r"means the same in every house\. Who has": "means the same everywhere. A user who has",
        r"\bhouse\b": "home",
        r"\bbest tells those\b": "best separates those",
        r"\bbeside a smoothed reference\b": "compared with a smoothed reference",
        r"\bmore of them tell of more\b": "more points mean more",
    },
}

# Columns that tell when something ran on a wall clock, or how long it took.
WALL_CLOCK = frozenset(
    {"published_at", "started_at", "ended_at", "decided_at", "waived_at", "accepted_at", "loaded_at", "rejected_at"}
    | {"failed_at", "first_failed_at", "acknowledged_at", "begun_at", "seconds", "waited_seconds"}
    | {"latency_p50_ms", "latency_p95_ms"}
)

# Column, of any table -> why no two versions can have it in common.
LEFT_OUT = {
    "fingerprint": "a hash of the project's files",
    "definitions": "a hash of the project's declarations",
}

# Notes that a sync keeps for itself -> what of their JSON no two versions can have in common; all of it, when nothing.
NOTES: dict[str, frozenset[str]] = {
    "begun": frozenset(),  # a wall clock
    "settled": frozenset({"seen"}),  # a hash of the project's files
    "up_to_date": frozenset({"fingerprint"}),
}
NOTE_NAMES = {"settled": "up_to_date"}

# Traits whose evidence names a rule that was renamed: the hash of their rows is another one, the rows are compared.
RENAMED_EVIDENCE = frozenset({"health"})

# Tables that only one of the versions has -> why.
ONLY_ONE_HAS = {
    f"{schema}.acceptances": "the waivers by their former names, a view for those who read them so"
    for schema in ("traits", "served")
}


def table_now(table: str, others: Collection[str]) -> str:
    """The name that a table has now; one beside ``others``, of which one has that name, keeps its own."""
    now = TABLES.get(table, table)
    return table if now in others else now


def column_now(table: str, column: str) -> str:
    """The name that a column has now; ``table`` is named as now."""
    return COLUMNS.get(table, {}).get(column, column)


def compared(column: str) -> bool:
    """Whether a column can be the same in two runs."""
    return column not in WALL_CLOCK and column not in LEFT_OUT


def value_now(column: str, value: Any) -> Any:
    """The name that a value has now."""
    if not isinstance(value, str):
        return value
    if column in JSON_VALUES:
        return _json_now(column, value)
    for pattern, words in SENTENCES.get(column, {}).items():
        value = re.sub(pattern, words, value)
    return VALUES.get(column, {}).get(value, value)


def _json_now(column: str, text: str) -> str:
    try:
        return json.dumps(_inside(json.loads(text), JSON_VALUES[column], SENTENCES.get(column, {})))
    except ValueError:
        return text


def _inside(value: Any, values: dict[str, dict[str, str]], sentences: dict[str, str], key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _inside(inner, values, sentences, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_inside(inner, values, sentences, key) for inner in value]
    if isinstance(value, str):
        value = values.get(key, {}).get(value, value)
        for pattern, words in sentences.items():
            value = re.sub(pattern, words, value)
    return value


def row_now(row: dict[str, Any]) -> tuple[str, ...]:
    """A row as texts that can be compared, by the names of now."""
    name = row.get("trait", row.get("name"))
    if {"sync", "name", "value"} == set(row) and name in NOTES:
        row = {**row, "name": NOTE_NAMES.get(name, name), "value": _note_now(row["value"], NOTES[name])}
    return tuple(
        "" if column == "content_hash" and name in RENAMED_EVIDENCE else repr(value_now(column, value))
        for column, value in sorted(row.items())
    )


def _note_now(text: str, left_out: frozenset[str]) -> str:
    return (
        json.dumps({key: value for key, value in json.loads(text).items() if key not in left_out}) if left_out else ""
    )
