"""How ids are found in texts: as words, in every case, and however they are escaped.

What is found depends on the id, because a short one may as well be a number or another word:

- ``SHORTEST_WORD`` characters and more, not all of them digits: as a word anywhere.
- Three or more with a letter among them: as a word, but not as a key of JSON.
- Any other: as a whole text, a whole JSON string, a number of JSON under the key of an id, a segment of a path, a value
  of a query, or after a word that announces an id (user 42, user:42, id=42).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import NamedTuple

import duckdb

FORGOTTEN = "forgotten"
SHORTEST_WORD = 6
_SHORTEST_LETTERS = 3

_NO_WORD = "[^A-Za-z0-9_@+-]"
_NO_WORD_NOR_DOT = "[^A-Za-z0-9_@+.-]"
# Name of a column or a key whose value is an id.
ID_NAME = r"[\w$.]*(?i:id|key|user|account|customer|member|person|profile|visitor|email)[\w$.]*"
# What ends in a letter or digit and is no part of a word: an escaped character before it. Of fixed widths.
_ESCAPES = ("%[0-9A-Fa-f]{2}", "%25[0-9A-Fa-f]{2}", r"\\u[0-9A-Fa-f]{4}", r"\\[bfnrt]")
# What an id stands after, where it is too short to be found as a word.
_KINDS = ("user", "id", "account", "customer", "member")
_ANNOUNCED = tuple(f"(?i:{kind}){mark}" for kind in _KINDS for mark in " :_#")
_SIGNS = ("/", "=", "#", "%2[fF]", "%3[dD]", "%252[fF]", "%253[dD]", "&#47;", "&#61;")
# What follows a short id: the end, or what is no part of a word, but no quote that ends a key of JSON.
_SHORT_END = r'($|[^A-Za-z0-9_@+"-]|"\s*(?:$|[^\s:]))'
# Escapes of every kind, so that what is left are words.
_ANY_ESCAPE = r"%(?:25)*[0-9a-f]{2}|\\+u[0-9a-f]{4}|\\+[bfnrt]|&#x?[0-9a-f]+;|&[a-z]+;"
_FEW = 20
_AT_ONCE = 10_000


class Redaction(NamedTuple):
    """An RE2 pattern, and what takes the place of what it finds."""

    pattern: str
    replacement: str


class _ByLength(NamedTuple):
    words: list[str]
    letters: list[str]
    strict: list[str]


class Redactor:
    """Finds and redacts many ids in bytes: only those are looked for whose letters and digits are there."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._by_sign: dict[bytes, list[str]] = defaultdict(list)
        for text in ids:
            self._by_sign[sign(text).encode()].append(text)
        self._patterns: dict[str, list[tuple[re.Pattern[bytes], bytes]]] = {}

    def redacted(self, content: bytes) -> bytes:
        """The bytes with the word ``forgotten`` in place of every id."""
        for text in self._found(content):
            for pattern, replacement in self._of(text):
                # Twice: of two ids with one character between them, the first pass uses up that character.
                content = pattern.sub(replacement, pattern.sub(replacement, content))
        return content

    def redacted_name(self, name: bytes) -> bytes:
        """The name of a file or folder without longer ids: in names, _ and - part words."""
        for text in filter(is_word, self._found(name)):
            pattern = f"(?i:(?<![a-z0-9]){spellings([text])[0]}(?![a-z0-9]))"
            name = re.sub(pattern.encode(), FORGOTTEN.encode(), name)
        return name

    def is_in(self, content: bytes) -> bool:
        """Whether an id is in some bytes."""
        return any(pattern.search(content) for text in self._found(content) for pattern, _ in self._of(text))

    def _found(self, content: bytes) -> list[str]:
        """What may be in some bytes, the longest first."""
        words = words_in(content) | {b""}
        found = [text for word in self._by_sign.keys() & words for text in self._by_sign[word]]
        return sorted(found, key=lambda text: (-len(text), text))

    def _of(self, text: str) -> list[tuple[re.Pattern[bytes], bytes]]:
        """Patterns of a text, with what takes its place."""
        if text not in self._patterns:
            self._patterns[text] = [
                (re.compile(redaction.pattern.encode()), redaction.replacement.encode())
                for redaction in redactions([text])
            ]
        return self._patterns[text]


def redact(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], ids: Collection[str]) -> None:
    """Replaces ids in the texts of some columns by the word ``forgotten``."""
    for column in columns:
        found = mentioned(connection, relation, column, ids)
        if len(found) > _FEW:
            _redact_each(connection, relation, column, found)
            continue
        for redaction in redactions(found):
            # Twice: of two ids with one character between them, the first pass uses up that character.
            for _ in range(2):
                connection.execute(
                    f"update {relation} set {column} = regexp_replace({column}, $pattern, $replacement, 'g')"
                    f" where regexp_matches({column}, $pattern)",
                    {"pattern": redaction.pattern, "replacement": redaction.replacement},
                )


def _redact_each(connection: duckdb.DuckDBPyConnection, relation: str, column: str, ids: Collection[str]) -> None:
    """The same text by text, because a pattern of many ids is slow."""
    redactor = Redactor(ids)
    connection.execute("create or replace temp table redacted (old varchar, new varchar)")
    cursor = connection.cursor().execute(f"select distinct {column} from {relation} where {column} is not null")
    while texts := cursor.fetchmany(_AT_ONCE):
        pairs = []
        for (text,) in texts:
            content = text.encode("utf-8", "surrogateescape")
            if (clean := redactor.redacted(content)) != content:
                pairs.append((text, clean.decode("utf-8", "surrogateescape")))
        if pairs:
            olds, news = zip(*pairs, strict=True)
            connection.execute("insert into redacted select unnest($1), unnest($2)", [list(olds), list(news)])
    connection.execute(f"update {relation} set {column} = r.new from redacted as r where {column} = r.old")
    connection.execute("drop table redacted")


def mentioned(
    connection: duckdb.DuckDBPyConnection, relation: str, column: str, ids: Collection[str]
) -> Collection[str]:
    """Those of the ids that may be in a column; of a few, all of them."""
    if len(ids) <= _FEW:
        return ids
    words = connection.execute(
        f"""
        with texts as (select distinct lower(cast({column} as varchar)) as text from {relation}),
        read as (
            select text from texts
            union all
            select regexp_replace(text, $escapes, ' ', 'g') from texts where regexp_matches(text, $escapes)
        ),
        words as (select distinct unnest(regexp_extract_all(text, '[a-z0-9]+')) as word from read)
        select word from words where list_contains($signs, word)
        """,
        {"escapes": _ANY_ESCAPE, "signs": sorted({word for word in map(sign, ids) if word})},
    ).fetchall()
    found = {word for (word,) in words}
    return [entity_id for entity_id in ids if sign(entity_id) in found or not sign(entity_id)]


def words_in(content: bytes) -> set[bytes]:
    """Runs of ASCII letters and digits, in lower case, also where escapes stand before or after them."""
    lowered = content.lower()
    words = set(re.findall(rb"[a-z0-9]+", lowered))
    if any(mark in lowered for mark in (b"%", b"\\", b"&")):
        words |= set(re.findall(rb"[a-z0-9]+", re.sub(_ANY_ESCAPE.encode(), b" ", lowered)))
    return words


def sign(entity_id: str) -> str:
    """The longest run of ASCII letters and digits of an id, in lower case: every spelling has it as it is."""
    return max(re.findall("[a-z0-9]+", entity_id.lower()), key=len, default="")


def redactions(ids: Collection[str]) -> list[Redaction]:
    """Patterns of ids, of RE2 and of Python alike, with groups for what stays."""
    found = []
    by_length = _by_length(ids)
    escapes = "|".join(_ESCAPES)
    as_word, as_string = rf"\1{FORGOTTEN}\2", rf'"{FORGOTTEN}"\1'
    for is_address in (False, True):
        # What stands before a dot belongs to an address.
        before = f"(^|{_NO_WORD_NOR_DOT if is_address else _NO_WORD}|{escapes})"
        for part in _parts([text for text in by_length.words if ("@" in text) is is_address]):
            found.append(Redaction(f"{before}(?i:{part})($|{_NO_WORD})", as_word))
    for part in _parts(by_length.letters):
        found.append(Redaction(f"(^|{_NO_WORD}|{escapes})(?i:{part}){_SHORT_END}", as_word))
    for part in _parts(by_length.strict):
        announced = "|".join((*_SIGNS, *_ANNOUNCED))
        found.append(Redaction(f"({announced})(?:{part}){_SHORT_END}", as_word))
        found.append(Redaction(rf"^(\s*)(?:{part})(\s*)$", as_word))
        # A number in JSON whose key says that it is an id.
        found.append(Redaction(rf'("{ID_NAME}"\s*:\s*)(?:{part})(\s*[,}}\]])', rf'\1"{FORGOTTEN}"\2'))
    for part in _parts([*by_length.letters, *by_length.strict]):
        found.append(Redaction(rf'"(?:{part})"(\s*(?:$|[^\s:]))', as_string))
    return found


def sql_pattern(ids: Collection[str]) -> str:
    """One RE2 pattern that matches a text which mentions one of the ids; empty for none."""
    return "|".join(f"(?:{redaction.pattern})" for redaction in redactions(ids))


def is_word(entity_id: str) -> bool:
    """Whether an id is found as a word anywhere, so that a text that equals it can hardly be anything else."""
    return len(entity_id) >= SHORTEST_WORD and not entity_id.isdecimal()


def spellings(ids: Iterable[str]) -> list[str]:
    """Patterns of ids as they are written in texts, JSON, HTML and URLs, also encoded twice; the longest first."""
    return ["".join(_character(character) for character in text) for text in sorted(ids, key=lambda t: (-len(t), t))]


def _character(character: str) -> str:
    """Pattern of a character in every spelling; letters and digits of ASCII are written as they are."""
    if character.isascii() and character.isalnum():
        return character
    # Beyond ASCII, letters of both cases: patterns for bytes know the cases of ASCII only.
    written = sorted({character, character.lower(), character.upper()}, key=lambda text: (text != character, text))
    patterns = [re.escape(text) for text in written]
    for text in written:
        percent = "".join(f"%(?:25)*(?i:{byte:02x})" for byte in text.encode("utf-8", "surrogatepass"))
        units = text.encode("utf-16-be", "surrogatepass").hex()
        json_units = "".join(rf"\\+u(?i:{units[at : at + 4]})" for at in range(0, len(units), 4))
        points = [f"&#(?:{ord(point)}|[xX]0*(?i:{ord(point):x}));" for point in text]
        patterns += [percent, json_units, "".join(points)]
    patterns += [rf"\\+{re.escape(character)}"] if character in '"\\/' else []
    patterns += [re.escape(escape(character))] if escape(character) != character else []
    patterns += [r"\+"] if character == " " else []
    return f"(?:{'|'.join(patterns)})"


def _parts(ids: Sequence[str]) -> list[str]:
    """Alternatives of the ids, in as many patterns as keep each small enough for RE2."""
    written = spellings(ids)
    return ["|".join(written[start : start + _FEW]) for start in range(0, len(written), _FEW)]


def _by_length(ids: Collection[str]) -> _ByLength:
    split = _ByLength([], [], [])
    for entity_id in sorted(set(ids)):
        if is_word(entity_id):
            split.words.append(entity_id)
        elif len(entity_id) >= _SHORTEST_LETTERS and any(character.isalpha() for character in entity_id):
            split.letters.append(entity_id)
        elif entity_id:
            split.strict.append(entity_id)
    return split
