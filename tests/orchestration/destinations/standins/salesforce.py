"""An organisation's contacts, as the guides to REST API and Bulk API 2.0 describe them."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs

from tests.orchestration.destinations.standins import Answer, HttpStandIn, Request

CLIENT_ID, CLIENT_SECRET = "3MVG9-a-consumer-key", "a-consumer-secret-of-the-app"
ROOT = "/services/data/v66.0/"
KEY = "Traithouse_Id__c"
TYPES: dict[str, type | tuple[type, ...]] = {
    KEY: str,
    "LastName": str,
    "stage__c": str,
    "at_risk__c": bool,
    "score__c": (int, float),
}


@dataclass
class Job:
    """One of Bulk API 2.0.

    Attributes:
        polls: how often it is still found in progress.

    """

    asked: dict[str, Any]
    state: str = "Open"
    text: str = ""
    message: str | None = None
    polls: int = 1
    processed: int = 0
    failed: int = 0
    results: dict[str, str] = field(default_factory=dict)


class SalesforceStandIn(HttpStandIn):
    """A thousand contacts whom the organisation has already; a new one needs a last name.

    Attributes:
        locked: external ids whose record is locked once.
        processed: of how many rows a job gets to.
        polls: how often a job is found in progress.
        prepared: answers that the next calls get instead.

    """

    name = "salesforce"
    spared: ClassVar = {}

    def __init__(self) -> None:
        super().__init__()
        self.contacts: dict[str, dict[str, Any]] = {
            f"003000000000{number:03d}AAA": {KEY: f"e{number:04d}", "LastName": "Doe"} for number in range(1000)
        }
        self.tokens: list[str] = []
        self.jobs: dict[str, Job] = {}
        self.locked: set[str] = set()
        self.processed: int | None = None
        self.polls = 1
        self.prepared: deque[Answer] = deque()
        self.types: dict[str, Any] = dict(TYPES)
        self.labels: dict[str, str] = {}
        # Fields that the user of the sync may not see: those that were just created.
        self.hidden: set[str] = set()
        self.permission_sets = {"Traithouse": "0PS000000000001AAA"}

    @staticmethod
    def field_name(plain: str) -> str:
        return f"{plain}__c"

    def declaration(self) -> dict[str, Any]:
        return {"destination": "salesforce", "options": {"base_url": self.url, "timeout_seconds": 0.4}}

    def environment(self) -> dict[str, str]:
        return {"SALESFORCE_CLIENT_ID": CLIENT_ID, "SALESFORCE_CLIENT_SECRET": CLIENT_SECRET}

    def is_write(self, request: Request) -> bool:
        return request.method != "GET" and "oauth2" not in request.path

    def expire_token(self) -> bool:
        self.tokens.append("one that nobody was given")
        return True

    def handle(self, request: Request) -> Answer:
        kind = request.headers.get("content-type", "")
        if request.path == "/services/oauth2/token":
            return self.sign_in(request, kind)
        if not self.tokens or request.headers.get("authorization") != f"Bearer {self.tokens[-1]}":
            return failed(401, "INVALID_SESSION_ID", "Session expired or invalid")
        if self.prepared:
            return self.prepared.popleft()
        if not request.path.startswith(ROOT):
            return failed(404, "NOT_FOUND", "The requested resource does not exist")
        call = request.path.removeprefix(ROOT).rstrip("/")
        wanted = "text/csv" if request.method == "PUT" else "application/json"
        if request.body and not kind.startswith(wanted):
            return failed(415, "UNSUPPORTED_MEDIA_TYPE", kind)
        if (request.method, call) == ("GET", "sobjects/Contact/describe"):
            return self.describe()
        if (request.method, call) == ("POST", "tooling/sobjects/CustomField"):
            return self.create_field(request.json)
        if (request.method, call) == ("POST", "sobjects/FieldPermissions"):
            return self.allow(request.json)
        if call.startswith("jobs/ingest"):
            return self.bulk(request, call)
        if (request.method, call) == ("GET", "query"):
            return self.query(parse_qs(request.query)["q"][0])
        if (request.method, call) == ("DELETE", "composite/sobjects"):
            return self.delete(parse_qs(request.query)["ids"][0].split(","))
        if (request.method, call) == ("PATCH", "composite/sobjects"):
            return self.update(request.json)
        if (request.method, call) == ("PATCH", f"composite/sobjects/Contact/{KEY}"):
            return self.upsert(request.json)
        return failed(404, "NOT_FOUND", "The requested resource does not exist")

    def sign_in(self, request: Request, kind: str) -> Answer:
        if kind != "application/x-www-form-urlencoded" or request.method != "POST":
            return Answer(400, {"error": "invalid_request", "error_description": "a form is needed"})
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form != {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}:
            return Answer(400, {"error": "invalid_client", "error_description": "invalid client credentials"})
        self.tokens.append(f"00D-token-{len(self.tokens)}")
        # The address that is named here belongs to somebody else.
        return Answer(
            200, {"access_token": self.tokens[-1], "instance_url": "http://127.0.0.1:9", "token_type": "Bearer"}
        )

    def describe(self) -> Answer:
        kinds = {str: "string", bool: "boolean"}
        fields = [
            {
                "name": name,
                "label": self.labels.get(name, name),
                "type": kinds.get(kind, "double"),
                "externalId": name == KEY,
                "updateable": True,
            }
            for name, kind in self.types.items()
            if name not in self.hidden
        ]
        return Answer(200, {"name": "Contact", "createable": True, "updateable": True, "fields": fields})

    def create_field(self, asked: dict[str, Any]) -> Answer:
        entity, _, name = asked["FullName"].partition(".")
        metadata = asked["Metadata"]
        kinds: dict[str, Any] = {"Checkbox": bool, "Number": (int, float), "Text": str}
        needed = {"Checkbox": {"defaultValue"}, "Number": {"precision", "scale"}, "Text": {"length"}}
        if entity != "Contact" or not name.endswith("__c") or not 0 < len(metadata["label"]) <= 40:
            return failed(400, "FIELD_INTEGRITY_EXCEPTION", "the field cannot be created")
        if metadata["type"] not in kinds or not needed[metadata["type"]] <= metadata.keys():
            return failed(400, "FIELD_INTEGRITY_EXCEPTION", "the field lacks what its type needs")
        if name in self.types:
            return failed(400, "DUPLICATE_DEVELOPER_NAME", f"There is already a field named {name} on Contact.")
        self.types[name] = kinds[metadata["type"]]
        self.labels[name] = metadata["label"]
        self.hidden.add(name)
        return Answer(201, {"id": "00N000000000001AAA", "success": True, "errors": []})

    def allow(self, asked: dict[str, Any]) -> Answer:
        if asked["ParentId"] not in self.permission_sets.values() or not asked["PermissionsEdit"]:
            return failed(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        self.hidden.discard(asked["Field"].partition(".")[2])
        return Answer(201, {"id": "01k000000000001AAA", "success": True, "errors": []})

    def query(self, soql: str) -> Answer:
        if named := re.fullmatch(r"SELECT Id FROM PermissionSet WHERE Name = '(\w+)'", soql):
            rows = [{"Id": found} for name, found in self.permission_sets.items() if name == named[1]]
            return Answer(200, {"totalSize": len(rows), "done": True, "records": rows})
        asked = re.fullmatch(r"SELECT Id, (\w+)((?:, \w+)*) FROM (\w+) WHERE (\w+) IN \((.*)\)", soql)
        if not asked or asked[3] != "Contact":
            return failed(400, "MALFORMED_QUERY", soql)
        extra = asked[2].removeprefix(", ").split(", ") if asked[2] else []
        unknown = [name for name in (asked[1], *extra) if name not in self.types or name in self.hidden]
        if unknown or asked[1] != asked[4]:
            return failed(400, "INVALID_FIELD", f"No such column '{asked[1]}' on entity 'Contact'")
        values = {re.sub(r"\\(.)", r"\1", value).lower() for value in re.findall(r"'((?:[^'\\]|\\.)*)'", asked[5])}
        records = [
            {"attributes": {"type": "Contact"}, "Id": record_id, KEY: has[KEY]}
            | {name: has.get(name) for name in extra}
            for record_id, has in self.contacts.items()
            if has[KEY].lower() in values
        ]
        return Answer(200, {"totalSize": len(records), "done": True, "records": records})

    def find(self, key: str) -> str | None:
        return next((record_id for record_id, has in self.contacts.items() if has[KEY].lower() == key.lower()), None)

    def malformed(self, body: dict[str, Any], key: str) -> Answer | None:
        rows = body["records"]
        if not 0 < len(rows) <= 200:
            return failed(400, "EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than 200 records")
        for row in rows:
            if row.get("attributes", {}).get("type") != "Contact" or not row.get(key):
                return failed(400, "INVALID_INPUT", "Include an entity type and its id")
            for name, value in row.items():
                if name in ("attributes", "id"):
                    continue
                if name not in self.types:
                    return failed(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type Contact")
                of_type = isinstance(value, self.types[name]) and isinstance(value, bool) == (self.types[name] is bool)
                if value is not None and not of_type:
                    return failed(400, "JSON_PARSER_ERROR", f"Cannot deserialize {name} from {value!r}")
        return None

    def upsert(self, body: dict[str, Any]) -> Answer:
        if wrong := self.malformed(body, KEY):
            return wrong
        keys = [row[KEY] for row in body["records"]]
        results = []
        for row in body["records"]:
            if keys.count(row[KEY]) > 1:
                results.append(refused("DUPLICATE_VALUE", f"Duplicate external id specified: {row[KEY]}"))
            else:
                results.append(self.put(row))
        self.writes.append(keys)
        return Answer(200, results)

    def put(self, row: dict[str, Any]) -> dict[str, Any]:
        """One record, by its external id; null empties a field."""
        if row[KEY] in self.poisoned:
            return refused("FIELD_CUSTOM_VALIDATION_EXCEPTION", "no trait for this one", [KEY])
        if row[KEY] in self.locked:
            self.locked.discard(row[KEY])
            return refused("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        found = self.find(row[KEY])
        if found is None and not row.get("LastName"):
            return refused("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", ["LastName"])
        record_id = found or f"003000000001{len(self.contacts):03d}AAA"
        self.contacts.setdefault(record_id, {}).update(
            {name: value for name, value in row.items() if name in self.types}
        )
        return {"id": record_id, "success": True, "errors": [], "created": found is None}

    def update(self, body: dict[str, Any]) -> Answer:
        if wrong := self.malformed(body, "id"):
            return wrong
        results = []
        for row in body["records"]:
            if row["id"] in self.contacts:
                self.contacts[row["id"]].update({name: value for name, value in row.items() if name in self.types})
                results.append({"id": row["id"], "success": True, "errors": []})
            else:
                results.append(refused("ENTITY_IS_DELETED", "entity is deleted"))
        return Answer(200, results)

    def delete(self, ids: list[str]) -> Answer:
        if not 0 < len(ids) <= 200:
            return failed(400, "EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than 200 records")
        gone = [self.contacts.pop(record_id, None) for record_id in ids]
        return Answer(
            200,
            [
                {"id": record_id, "success": True, "errors": []}
                if had
                else refused("ENTITY_IS_DELETED", "entity is deleted")
                for record_id, had in zip(ids, gone, strict=True)
            ],
        )

    def bulk(self, request: Request, call: str) -> Answer:
        if (request.method, call) == ("POST", "jobs/ingest"):
            asked = request.json
            if asked.get("operation") != "upsert" or asked.get("externalIdFieldName") != KEY:
                return failed(400, "INVALIDJOB", "Missing required parameter 'externalIdFieldName'")
            self.jobs[job_id := f"750R0000000{len(self.jobs):04d}IAC"] = Job(asked, polls=self.polls)
            return Answer(200, self.told(job_id))
        job_id, _, rest = call.removeprefix("jobs/ingest/").partition("/")
        job = self.jobs.get(job_id)
        if job is None:
            return failed(404, "NOT_FOUND", "The requested resource does not exist")
        if (request.method, rest) == ("PUT", "batches"):
            if job.state != "Open":
                return failed(400, "INVALIDJOBSTATE", f"Job state is {job.state}")
            job.text = request.body.decode()
            return Answer(201)
        if (request.method, rest) == ("PATCH", ""):
            return self.move(job_id, job, request.json["state"])
        if (request.method, rest) == ("GET", ""):
            if job.state in ("UploadComplete", "InProgress"):
                job.polls -= 1
                job.state = "InProgress" if job.polls > 0 else self.run(job)
            return Answer(200, self.told(job_id))
        if request.method == "GET" and rest.lower() in ("successfulresults", "failedresults", "unprocessedrecords"):
            return Answer(200, job.results.get(rest.lower(), "").encode(), {"content-type": "text/csv"})
        return failed(405, "METHOD_NOT_ALLOWED", request.method)

    def told(self, job_id: str) -> dict[str, Any]:
        job = self.jobs[job_id]
        counts = {"numberRecordsProcessed": job.processed, "numberRecordsFailed": job.failed}
        return {
            "id": job_id,
            **job.asked,
            **counts,
            "state": job.state,
            "errorMessage": job.message,
            "apiVersion": 66.0,
        }

    def move(self, job_id: str, job: Job, state: str) -> Answer:
        if (job.state, state) == ("Open", "UploadComplete"):
            job.state = state
        elif state == "Aborted" and job.state in ("Open", "UploadComplete", "InProgress"):
            if job.text:
                self.run(job, processed=0)
            job.state = state
        else:
            return failed(400, "INVALIDJOBSTATE", f"Job state is {job.state}")
        return Answer(200, self.told(job_id))

    def run(self, job: Job, processed: int | None = None) -> str:
        """Does a job; its results are in another order than its rows."""
        rows = list(csv.DictReader(io.StringIO(job.text, newline="")))
        names = list(rows[0])
        unknown = [name for name in names if name not in self.types]
        end = processed if processed is not None else self.processed
        if unknown:
            end = 0
            job.message = f"InvalidBatch : Field name not found : {unknown[0]}"
        elif end is not None:
            job.message = "TooManyLockFailure : Too many lock failures"
        done, wrong = [], []
        for row in rows[:end]:
            result = self.put_text(row)
            if result["success"]:
                done.append([result["id"], str(result["created"]).lower(), *row.values()])
            else:
                error = result["errors"][0]
                wrong.append(["", f"{error['statusCode']}:{error['message']}:--", *row.values()])
        self.writes.append([row[KEY] for row in rows[:end]])
        job.processed, job.failed = len(done) + len(wrong), len(wrong)
        job.results = {
            "successfulresults": written(["sf__Id", "sf__Created", *names], done[::-1]),
            "failedresults": written(["sf__Id", "sf__Error", *names], wrong[::-1]),
            "unprocessedrecords": written(
                names, [list(row.values()) for row in (rows[end:] if end is not None else [])]
            ),
        }
        return "JobComplete" if end is None else "Failed"

    def put_text(self, row: dict[str, str]) -> dict[str, Any]:
        typed: dict[str, Any] = {}
        for name, text in row.items():
            if text == "#N/A":
                typed[name] = None
            elif text and self.types[name] is bool:
                if text not in ("true", "false"):
                    return refused("INVALID_TYPE_ON_FIELD_IN_RECORD", f"{name}: value not of required type: {text}")
                typed[name] = text == "true"
            elif text and self.types[name] is not str:
                typed[name] = float(text)
            elif text:
                typed[name] = text
        return self.put(typed)

    def state(self) -> dict[str, dict[str, Any]]:
        """Contacts that have a trait. A checkbox that was set to null reads as unchecked there, and as empty here."""
        traits = {
            has[KEY]: {
                name: value for name, value in has.items() if name.endswith("__c") and name != KEY and value is not None
            }
            for has in self.contacts.values()
        }
        return {identifier: fields for identifier, fields in traits.items() if fields}


def failed(status: int, code: str, message: str) -> Answer:
    return Answer(status, [{"errorCode": code, "message": message}])


def refused(code: str, message: str, fields: list[str] | None = None) -> dict[str, Any]:
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": fields or []}]}


def written(names: list[str], rows: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([names, *rows])
    return text.getvalue()
