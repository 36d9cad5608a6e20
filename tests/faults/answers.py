"""Answers that no vendor documents, given to every destination behind HTTP: none is an acknowledgement, none breaks it.

    python -m tests.faults.answers                      # 100,000 answers
    python -m tests.faults.answers --answers 500 --seed 7

Each trial delivers to a stand-in over loopback that answers as the vendor does, but for one call: its status, its body
or both are changed at random. What a vendor documents as success is written down here once more (``vouched``), from
the documents and not from the destinations. Ends with 1 if anything but an outcome comes out of a destination, or if
more records are acknowledged than the answers vouch for.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from orchestration.destinations import ClosedError, Destination, Record, RefusedError, UnavailableError
from orchestration.destinations._pace import Pace
from orchestration.destinations.slack import SlackDestination
from orchestration.home import Home, Settings
from orchestration.sync.validate import destination_of
from tests.faults.destinations import NAMES, records_of
from tests.faults.fixture import table
from tests.orchestration.destinations.standins import Answer, HttpStandIn, Request, standin

ACTIONS = ("upsert", "clear", "delete")
STATUSES = (200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 299, 301, 304, 400, 404, 409, 413, 422, 500)
ODD: tuple[Any, ...] = (None, True, False, 0, 1, -1, 7, 1.5, "", "x", "true", "complete", "..", [], {}, [None], [[]])
ODD += ([{}], [1], {"errors": ["x"]}, {"errors": [{}]}, {"error": "x"}, {"success": "false"}, {"data": None})
ODD += ({"message": "error"}, {"results": [None]}, {"id": None}, {"meta": {"error": "Unauthorized"}})
BODIES = (b"", b"null", b"<html>", b"{", b"\xff\xfe", b"[" * 5000, b"NaN", b'{"a": 1e999}', b'""')
ALL = 1 << 30
EMPTY = object()


@dataclass
class Trial:
    """One delivery, of which one call is answered in another way.

    Attributes:
        name: of the destination.
        seed: of what is changed.
        changed: status and body of that answer.
        records: how many were given to the destination.
        denied: for how many records the changed answer does not vouch.

    """

    name: str
    seed: int
    action: str = ""
    changed: str = ""
    records: int = 0
    denied: int = 0
    acknowledged: int = 0
    uncaught: str = ""
    is_answered: bool = False
    random: random.Random = field(default_factory=random.Random)


def mutated(value: Any, chance: random.Random) -> Any:
    """The value with one place of it changed: replaced, dropped, doubled, or moved one deeper."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(sorted(value))
        rest = {key: item for key, item in value.items() if key != name}
        kind = chance.random()
        if kind < 0.15:
            return rest
        if kind < 0.25:
            return {**rest, f"{name}s": value[name]}
        return {**rest, name: mutated(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        kind = chance.random()
        if kind < 0.2:
            return value[:place] + value[place + 1 :]
        if kind < 0.3:
            return [*value, value[place]]
        return [*value[:place], mutated(value[place], chance), *value[place + 1 :]]
    return chance.choice([*ODD, [value], {"data": value}])


def changed(answer: Answer, chance: random.Random) -> Answer:
    """The answer with another status, another body, or both."""
    kind = chance.random()
    status = chance.choice(STATUSES) if kind < 0.4 else answer.status
    if status in (204, 304):
        # HTTP gives these no body.
        return replace(answer, status=status, body=b"")
    if kind < 0.2:
        return replace(answer, status=status)
    if chance.random() < 0.15 or isinstance(answer.body, bytes):
        return replace(answer, status=status, body=chance.choice(BODIES))
    body = mutated(answer.body if answer.body is not None else {}, chance)
    if chance.random() < 0.3:
        body = mutated(body, chance)
    return replace(answer, status=status, body=body)


def vouched(name: str, request: Request, answer: Answer) -> int:
    """For how many records an answer vouches at most: that they were taken, or are not there.

    An answer that is no 2xx vouches for none, but that of a call which says that its one record is not there.
    """
    path, verb = request.path, request.method
    try:
        body = json.loads(answer.body) if isinstance(answer.body, bytes) else answer.body
        body = EMPTY if answer.body in (b"", None) else body
    except (ValueError, RecursionError):
        body = EMPTY if answer.body == b"" else None
    if name == "slack" or path.endswith("Results"):
        body = answer.body
    if answer.status == 404 and (name in ("hubspot", "intercom") or "deletion" in path):
        return ALL
    if answer.status == 409 and name == "intercom":
        return ALL
    return _VOUCHED[name](verb, path, request, answer.status, body)


def concerned(request: Request, records: int) -> int:
    """How many of the records that are delivered a call is about; a call that looks them up is about all of them."""
    if request.method == "DELETE" and "ids" in (query := parse_qs(request.query)):
        return len(query["ids"][0].split(","))
    if request.path.endswith(("gdpr-delete", "data-privacy-deletion-jobs")):
        return 1
    for name in ("inputs", "records"):
        if request.body.startswith(b"{") and isinstance(request.json.get(name), list):
            return len(request.json[name])
    return records


def _webhook(verb: str, path: str, request: Request, status: int, body: Any) -> int:
    return ALL if 200 <= status < 300 else 0


def _hubspot(verb: str, path: str, request: Request, status: int, body: Any) -> int:
    if path.endswith(("archive", "gdpr-delete")):
        return ALL if status == 204 else 0
    sent = request.json["inputs"]
    if status not in (200, 201, 207) or not isinstance(body, dict) or body.get("status") != "COMPLETE":
        return 0
    results, errors = body.get("results"), body.get("errors") or []
    if not isinstance(results, list) or not isinstance(errors, list):
        return 0
    ids = [result for result in results if isinstance(result, dict) and isinstance(result.get("id"), str)]
    missing = [error for error in errors if isinstance(error, dict) and error.get("category") == "OBJECT_NOT_FOUND"]
    return min(len(sent), len(ids) + (len(sent) if missing else 0))


def _braze(verb: str, path: str, request: Request, status: int, body: Any) -> int:
    if status not in (201, 202) or not isinstance(body, dict) or body.get("message") not in ("success", "queued"):
        return 0
    if path == "/users/delete":
        deleted = body.get("deleted")
        return deleted if type(deleted) is int else 0
    processed = body.get("attributes_processed", ALL)
    return processed if type(processed) is int else 0


def _customerio(verb: str, path: str, request: Request, status: int, body: Any) -> int:
    errors = body.get("errors") or [] if isinstance(body, dict) and set(body) <= {"errors"} else None
    if status not in (200, 207) or not isinstance(errors, list) or (status == 207 and not errors):
        return 0
    return len(request.json["batch"]) - min(len(errors), 1)


def _klaviyo(verb: str, path: str, request: Request, status: int, body: Any) -> int:
    data = body.get("data") if isinstance(body, dict) else None
    if verb == "POST" and "deletion" in path:
        return ALL if status == 202 and body is EMPTY else 0
    if verb == "POST":
        named = isinstance(data, dict) and isinstance(data.get("id"), str | int) and data["id"] not in ("", "..")
        return ALL if status == 202 and named else 0
    if status != 200:
        # A job is asked for again; what else is read is not.
        return ALL if "/profile-bulk-import-jobs/" in path and not path.endswith("errors") else 0
    if path.endswith("import-errors") or path == "/api/profiles":
        return ALL if isinstance(data, list) and all(isinstance(item, dict) for item in data) else 0
    attributes = data.get("attributes") if isinstance(data, dict) else None
    if not isinstance(attributes, dict) or attributes.get("status") != "complete":
        # The job is asked for again.
        return ALL
    counts = [attributes.get("completed_count"), attributes.get("failed_count") or 0]
    return sum(counts) if all(type(count) is int for count in counts) else 0


def _intercom(verb: str, path: str, request: Request, status: int, body: Any) -> int:
    if status != 200 or not isinstance(body, dict):
        return 0
    if path == "/contacts/search":
        return ALL if isinstance(body.get("data"), list) and body.get("type") == "list" else 0
    if path == "/companies" and verb == "GET" and "data" in body:
        return ALL if isinstance(body["data"], list) else 0
    if verb == "DELETE" and body.get("deleted") is not True:
        return 0
    return ALL if isinstance(body.get("id"), str | int) and str(body["id"]).isalnum() else 0


def _salesforce(verb: str, path: str, request: Request, status: int, body: Any) -> int:
    if status != (201 if path.endswith("/batches") else 200):
        # What a job has done is asked for again.
        return ALL if verb == "GET" and "/jobs/ingest" in path else 0
    if "oauth2" in path:
        return ALL if isinstance(body, dict) and isinstance(body.get("access_token"), str) else 0
    if path.endswith("/query"):
        whole = isinstance(body, dict) and body.get("done") is True and isinstance(body.get("records"), list)
        return ALL if whole and body["totalSize"] == len(body["records"]) else 0
    if path.endswith("successfulResults"):
        return max(0, len(body.splitlines()) - 1) if isinstance(body, bytes) else 0
    if "/jobs/ingest" in path:
        return ALL
    results = body if isinstance(body, list) else []
    good = [item for item in results if isinstance(item, dict) and _is_done(item)]
    return len(good)


def _is_done(result: dict[str, Any]) -> bool:
    errors = result.get("errors")
    gone = isinstance(errors, list) and errors and isinstance(errors[0], dict)
    return result.get("success") is True or bool(gone and errors[0].get("statusCode") == "ENTITY_IS_DELETED")


def _segment(verb: str, path: str, request: Request, status: int, body: Any) -> int:
    is_taken = isinstance(body, dict) and list(body) == ["success"] and body["success"] is True
    return ALL if status == 200 and is_taken else 0


def _slack(verb: str, path: str, request: Request, status: int, body: Any) -> int:
    """Slack answers in plain text, which is no JSON: see ``vouched``."""
    return ALL if status == 200 and body == b"ok" else 0


_VOUCHED: dict[str, Callable[[str, str, Request, int, Any], int]] = {
    "braze": _braze,
    "customerio": _customerio,
    "hubspot": _hubspot,
    "intercom": _intercom,
    "klaviyo": _klaviyo,
    "salesforce": _salesforce,
    "segment": _segment,
    "slack": _slack,
    "webhook": _webhook,
}
HTTP_NAMES = [name for name in NAMES if isinstance(standin(name), HttpStandIn)]
# Other ways to the same vendor -> what the sync declares for it. A job of Salesforce takes more records than a call.
COMPANIES, JOBS = "intercom companies", "salesforce jobs"
WAYS: dict[str, dict[str, Any]] = {
    COMPANIES: {"entity": "account", "object": "companies"},
    JOBS: {},
}
ALL_NAMES = [*HTTP_NAMES, *WAYS]
_JOB = range(205)


class _Impatient(Pace):
    """Limits and waits cost no time here; they have their own tests."""

    def __init__(self) -> None:
        super().__init__(sleep=lambda seconds: None)


@contextmanager
def attacked(name: str, folder: Path) -> Iterator[Callable[[int], Trial]]:
    """A function that runs the trial of a seed against one destination."""
    target = standin(name.partition(" ")[0])
    assert isinstance(target, HttpStandIn)
    with ExitStack() as stack:
        stack.enter_context(target.running(folder))
        before = dict(os.environ)
        stack.callback(os.environ.update, before)
        os.environ.update(target.environment())
        sync = target.sync(**WAYS.get(name, {}))
        options = sync.options | {"timeout_seconds": 5.0} | ({"job_minutes": 0.05} if name == "klaviyo" else {})
        sync = sync.model_copy(update={"options": options})
        handle, trial = target.handle, Trial(name, 0)

        def answered(request: Request) -> Answer:
            answer = handle(request)
            if not trial.is_answered and trial.random.random() < 0.6:
                trial.is_answered = True
                answer = changed(answer, trial.random)
                asked = concerned(request, trial.records)
                trial.denied = asked - max(0, min(asked, vouched(target.name, request, answer)))
                trial.changed = f"{request.method} {request.path}: {answer.status} {str(answer.body)[:300]}"
            return answer

        target.handle = answered  # type: ignore[method-assign]
        destination: Destination = destination_of(sync)(sync, Home(Settings(home=folder)).outbox, _Impatient())
        stack.enter_context(closing(destination))
        if hasattr(destination, "_deletion_pace"):
            destination._deletion_pace = _Impatient()

        def run(seed: int) -> Trial:
            nonlocal trial
            chance = random.Random(f"{name} {seed}")
            if isinstance(destination, SlackDestination):
                # Each trial is a run of its own: what another one has told is told again.
                destination._told.clear()
            # First as it is, so that there is something to clear or to delete.
            action = "upsert" if name == JOBS else chance.choice(ACTIONS)
            most = 1 if name in ("intercom", "webhook", COMPANIES) else 3
            numbers = _JOB if name == JOBS else chance.sample(range(20), chance.randint(1, most))
            upserts = records_of(target, seed % 2, numbers)
            trial = Trial(name, seed, is_answered=True)
            if action != "upsert":
                destination.deliver(upserts)
            records = [_as(record, action, chance) for record in upserts]
            trial = Trial(name, seed, action, records=len(records), random=chance)
            _deliver(destination, records, trial)
            return trial

        yield run


def _as(record: Record, action: Any, chance: random.Random) -> Record:
    fields = record.fields if action == "upsert" else dict.fromkeys(record.fields)
    is_forgotten = action == "delete" and chance.random() < 0.3
    return replace(record, action=action, fields=fields, changed=record.fields, forgotten=is_forgotten)


def _deliver(destination: Destination, records: Sequence[Record], trial: Trial) -> None:
    try:
        outcomes = destination.deliver(records)
        trial.acknowledged = sum(outcome is None for outcome in outcomes)
        if len(outcomes) != len(records):
            trial.uncaught = f"{len(outcomes)} outcomes of {len(records)} records"
    except (RefusedError, UnavailableError, ClosedError):
        pass
    except Exception as error:
        trial.uncaught = repr(error)


def wrong(trial: Trial) -> str:
    """What is wrong with a trial; empty when nothing is."""
    if trial.uncaught:
        return f"uncaught {trial.uncaught}"
    if trial.acknowledged > trial.records - trial.denied:
        return f"{trial.acknowledged} of {trial.records} acknowledged, {trial.denied} not vouched for"
    return ""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Answers that no vendor documents.")
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=ALL_NAMES)
    asked = parser.parse_args(arguments)
    lines: list[tuple[object, ...]] = []
    bad = 0
    names = [asked.only] if asked.only else ALL_NAMES
    for name in names:
        begun, counts, shown = time.monotonic(), Counter[str](), 0
        with tempfile.TemporaryDirectory() as folder, attacked(name, Path(folder)) as run:
            seed = asked.seed * 1_000_000
            while counts["answers"] < asked.answers / len(names):
                trial, seed = run(seed), seed + 1
                counts["answers"] += bool(trial.changed)
                counts["in full"] += bool(trial.changed) and trial.acknowledged > 0
                said = wrong(trial)
                counts["uncaught"] += bool(trial.uncaught)
                counts["not vouched"] += bool(said and not trial.uncaught)
                if said and shown < 5:
                    shown += 1
                    print(f"{name} {trial.action}, seed {trial.seed}: {said}\n  {trial.changed}")
        bad += counts["uncaught"] + counts["not vouched"]
        columns = ("answers", "in full", "uncaught", "not vouched")
        lines.append((name, *(counts[column] for column in columns), f"{time.monotonic() - begun:.0f} s"))
    print(table(("destination", "answers", "some acknowledged", "uncaught", "wrongly acknowledged", "took"), lines))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
