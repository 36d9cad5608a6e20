"""People with ids of every shape are forgotten, and then looked for: nothing of them is left, and others stay.

    python -m tests.faults.erasure              # 200 people
    python -m tests.faults.erasure --people 40 --seed 7
    python -m tests.faults.erasure --cost       # what 1 and what 500 of 600 people cost, as a ratio

Each person has an id, an email address, events and attributes, and is mentioned by somebody else: in URLs, texts and
names of files, in a random spelling. A home is filled with that (loaded, refreshed, delivered, backed up; inbox, logs,
archives), the people are forgotten in four groups, and everything is searched. The search decodes what it reads and
shares nothing with the code that erases. Ends with 1 if a place still has somebody, or a row of another is gone.
"""

from __future__ import annotations

import argparse
import gzip
import html
import io
import json
import random
import re
import shutil
import sqlite3
import sys
import tarfile
import tempfile
import time
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import duckdb
from backports import zstd

from orchestration.admin.backup import backup
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.forget import forget
from orchestration.sync.engine import run_sync
from orchestration.transform.dbt import Project
from tests.builds import publish_day
from tests.cache import copied, parsed_project

GROUPS = 4
DAY = "2024-01-02"
WORD = re.compile(r"[a-z0-9_@+-]", re.IGNORECASE)


@dataclass(frozen=True)
class Person:
    """Somebody who is forgotten, and a neighbour with an id that only looks alike."""

    id: str
    email: str
    neighbour: str


@dataclass(frozen=True)
class Found:
    """What the search came to.

    Attributes:
        left: places that still have an id or an email address.
        lost: rows of others that are gone, and neighbours whose texts were changed.
        files: how many files were searched.
        before: how many places the same search found before anybody was forgotten.

    """

    left: list[str]
    lost: list[str]
    files: int
    before: int


def people(count: int, chance: random.Random) -> list[Person]:
    """Ids of many shapes, with their neighbours."""
    shapes = (
        lambda n: f"user-{n}-{chance.randrange(10**6)}",
        lambda n: str(uuid.UUID(int=chance.getrandbits(128))),
        lambda n: f"Ann+{n}@Example.com",
        lambda n: f"ünal.{n}@bücher.example",
        lambda n: f"auth0|{n}%7C{chance.randrange(99)}",
        lambda n: f"ann smith {n}",
        lambda n: f'o\'neil "{n}" & co',
        lambda n: f"team/{n}/member",
        lambda n: f"back\\slash{n}",
        lambda n: f"аня-{n}",
        lambda n: f"fox🦊{n}x",
        lambda n: f"Zm9v{n}YmFy==",
        lambda n: f"u{n}x",
        lambda n: f"q{n}",
        lambda n: str(10_000 + n),
        lambda n: str(300 + n),
        lambda n: f"{n:03d}-{chance.randrange(1000, 9999)}",
        lambda n: f"<b>{n}</b>",
        lambda n: f"a,b;{n}",
        lambda n: f"{n}.5e{n}z",
    )
    return [
        Person(shapes[n % len(shapes)](n), f"p{n}.{chance.randrange(10**6)}+x@mail.example", f"near{n}x{n}near")
        for n in range(count)
    ]


def spelled(text: str, chance: random.Random) -> str:
    """A text as it may be written somewhere."""
    ways = (
        lambda: text,
        lambda: text.upper() if len(text) > 5 else text,
        lambda: quote(text, safe=""),
        lambda: quote(quote(text, safe=""), safe=""),
        lambda: json.dumps(text)[1:-1],
        lambda: html.escape(text),
    )
    return chance.choice(ways)()


def fill(home: Home, project: Project, folder: Path, crowd: Sequence[Person], chance: random.Random) -> None:
    """Fills a home with people and with what others say of them."""
    rows: list[dict[str, Any]] = []
    for n, person in enumerate(crowd):
        own = {"user_id": person.id, "occurred_at": f"{DAY}T{n % 24:02d}:00:00Z"}
        traits = {"email": person.email, "role": "member"}
        rows.append(
            own | {"event_id": f"i{n}", "event_type": "identify", "event_name": "identify", "properties": traits}
        )
        rows.append(own | {"event_id": f"o{n}", "event_name": "page", "properties": {"path": "/"}})
        rows.append(
            {
                "event_id": f"m{n}",
                "user_id": f"other-person-{n % 7}",
                "event_name": "page",
                "occurred_at": f"{DAY}T{n % 24:02d}:30:00Z",
                "properties": {
                    "url": f"https://x.test/u/{spelled(person.id, chance)}/view?to={quote(person.email)}",
                    "near": f"/u/{person.neighbour}/",
                    "mail": f"sent to {spelled(person.email, chance)}, thanks",
                    "who": person.id,
                },
            }
        )
    chance.shuffle(rows)
    path = folder / "events.ndjson"
    path.write_text("".join(json.dumps(row, ensure_ascii=chance.random() < 0.5) + "\n" for row in rows))
    load(home, [path], source="story")
    publish_day(project)
    run_sync(home, project.catalog, project.catalog.sync("outbox"))
    home.inbox.mkdir(exist_ok=True)
    shutil.copy(path, home.inbox / "events.ndjson")
    home.logs.mkdir(exist_ok=True)
    for n, person in enumerate(crowd):
        said = f"GET /u/{spelled(person.id, chance)}/x?to={spelled(person.email, chance)} near={person.neighbour}\n"
        _write(home.logs, n, said.encode(), person, chance)
    backup(project)


def _write(folder: Path, n: int, content: bytes, person: Person, chance: random.Random) -> None:
    """A file of a random kind, whatever it is called."""
    kind = n % 9
    path = folder / f"f{n}.{chance.choice(('log', 'txt', 'bin', 'dat', 'gz'))}"
    if kind == 0:
        path.write_bytes(gzip.compress(content))
    elif kind == 1:
        path.write_bytes(zstd.compress(content))
    elif kind == 2:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner.txt", content)
    elif kind == 3:
        with tarfile.open(path, "w:gz") as tar:
            entry = tarfile.TarInfo("inner.gz")
            packed = gzip.compress(content)
            entry.size = len(packed)
            tar.addfile(entry, io.BytesIO(packed))
    elif kind == 4:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("create table said (text)")
            connection.execute("insert into said values (?)", (content.decode(),))
    elif kind == 5:
        duckdb.execute(f"copy (select $1 as said) to '{path}' (format parquet)", [content.decode()])
    elif kind == 6:
        path.write_bytes(content.decode().encode("utf-16"))
    elif kind == 7:
        path.with_name(f"n{n} {quote(person.email)}.log").write_bytes(content)
    else:
        path.write_bytes(content)


def texts(path: Path) -> Iterator[str]:
    """What can be read in a file, decoded; of databases every row."""
    content = path.read_bytes()
    if content[8:12] == b"DUCK":
        with duckdb.connect(str(path), read_only=True) as connection:
            for schema, table in connection.execute(
                "select schema_name, table_name from duckdb_tables() where not internal"
            ).fetchall():
                for (row,) in connection.execute(
                    f'select cast(t as varchar) from "{schema}"."{table}" as t'
                ).fetchall():
                    yield f"{schema}.{table}\n{row}"
    elif content.startswith(b"PAR1"):
        for (row,) in duckdb.execute("select cast(t as varchar) from read_parquet($1) as t", [str(path)]).fetchall():
            yield row
    else:
        yield from _contents(content)


def _contents(content: bytes) -> Iterator[str]:
    if content.startswith(b"\x1f\x8b"):
        yield from _contents(gzip.decompress(content))
    elif content.startswith(b"\x28\xb5\x2f\xfd"):
        yield from _contents(zstd.decompress(content))
    elif content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from _contents(archive.read(name))
    elif content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            for entry in tar:
                inner = tar.extractfile(entry)
                yield from _contents(inner.read() if inner else b"")
    else:
        yield content.replace(b"\x00", b"").decode("utf-8", "replace")


def decoded(text: str) -> set[str]:
    """A text in all ways in which it can be read."""
    ways = {text}
    for _ in range(3):
        for way in list(ways):
            ways |= {unquote(way), html.unescape(way), re.sub(r"\\+u([0-9a-fA-F]{4})", _character, way)}
            ways.add(re.sub(r'\\+(["\\/])', r"\1", way))
    return {re.sub("[\ud800-\udbff][\udc00-\udfff]", _pair, way).casefold() for way in ways}


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def _pair(match: re.Match[str]) -> str:
    return match[0].encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def stands_in(needle: str, text: str) -> bool:
    """Whether a text has an id: as a word, or where it is short, as a segment of a path or a value of a query."""
    needle = needle.casefold()
    at = text.find(needle)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(needle) : at + len(needle) + 1]
        if len(needle) > 5 and not WORD.match(before or " ") and not WORD.match(after or " "):
            return True
        if len(needle) <= 5 and before in ("/", "=") and (not after or after in "/&?\"' \n"):
            return True
        at = text.find(needle, at + 1)
    return False


def search(root: Path, crowd: Sequence[Person]) -> tuple[list[str], int]:
    """Places below a folder that have somebody, and how many files were looked into."""
    left, files = [], 0
    needles = [needle for person in crowd for needle in (person.id, person.email)]
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        spots = [(name, f"/{name}")]
        if path.is_file() and not path.is_symlink():
            files += 1
            spots += [(name, text) for text in texts(path)]
        for place, text in spots:
            ways = decoded(text)
            left += [f"{place}: {needle}" for needle in needles if any(stands_in(needle, way) for way in ways)]
    return left, files


def trial(folder: Path, count: int, seed: int, groups: int = GROUPS) -> Found:
    """Fills a home, forgets everybody, and searches."""
    chance = random.Random(seed)
    crowd = people(count, chance)
    home = Home(Settings(home=folder / "home"))
    project = parsed_project(home)
    fill(home, project, folder, crowd, chance)
    others = "from raw.events where starts_with(user_id, 'other') order by 1"
    kept = f"select event_id, user_id, properties ->> '$.near' {others}"
    before = _rows(home, kept)
    found, _ = search(home.root, crowd)
    size = -(-count // groups)
    for start in range(0, count, size):
        forget(project, [person.id for person in crowd[start : start + size]])
    # The next sync tells the destination, and the ledger forgets whom it had to tell.
    run_sync(home, project.catalog, project.catalog.sync("outbox"), force=True)
    shutil.rmtree(home.outbox)
    left, files = search(home.root, crowd)
    after = _rows(home, kept)
    lost = [str(row) for row in before if row not in set(after)]
    logs = "".join(text for path in home.logs.rglob("*") if path.is_file() for text in texts(path))
    kinds = {person.neighbour: n % 9 for n, person in enumerate(crowd)}
    # An archive, a text in UTF-16 and a row of Parquet that hold somebody are deleted as a whole.
    lost += [near for near, kind in kinds.items() if kind not in (2, 3, 5, 6) and f"near={near}" not in logs]
    return Found(left, lost, files, len(found))


def cost(folder: Path) -> str:
    """Processor seconds of forgetting 1 and 500 of 600 people, each with its rebuild, in copies of one home."""
    chance = random.Random(0)
    crowd = people(600, chance)
    full = Home(Settings(home=folder / "full"))
    fill(full, parsed_project(full), folder, crowd, chance)
    seconds = {}
    for count in (1, 500):
        home = copied(full.root, folder / f"home{count}")
        begun = time.process_time()
        forget(parsed_project(home), [person.id for person in crowd[:count]])
        seconds[count] = time.process_time() - begun
    ratio = seconds[500] / seconds[1]
    return f"1 of 600 people: {seconds[1]:.1f} s of a processor; 500: {seconds[500]:.1f} s, x{ratio:.2f}"


def _rows(home: Home, sql: str) -> list[tuple[Any, ...]]:
    with home.connect() as connection:
        return connection.execute(sql).fetchall()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="People are forgotten, and looked for.")
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cost", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.cost:
        with tempfile.TemporaryDirectory() as folder:
            print(cost(Path(folder)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = trial(Path(folder), asked.people, asked.seed)
    for place in found.left[:20]:
        print(f"left: {place}")
    for row in found.lost[:20]:
        print(f"lost: {row}")
    print(
        f"{asked.people} people and as many email addresses, found in {found.before} places, forgotten;"
        f" {found.files} files searched: {len(found.left)} left, {len(found.lost)} rows or texts of others lost"
    )
    return 1 if found.left or found.lost else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
