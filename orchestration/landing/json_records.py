"""Reads JSON: an object a line, or one array of objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from orchestration.errors import UsageError
from orchestration.landing.csv_records import MOST_CHARACTERS, is_utf8, shown
from orchestration.landing.records import NOT_JSON, NOT_UTF8, RawRecord, object_record

CHUNK_CHARACTERS = 1024 * 1024
_BLANKS = re.compile(r"[ \t\r\n]*")


def json_records(text: TextIO, path: Path) -> Iterator[RawRecord]:
    """Yields a record for each line that is not blank.

    Raises:
        UsageError: a line does not end.

    """
    for number, line in enumerate(iter(lambda: text.readline(MOST_CHARACTERS + 1), ""), start=1):
        if len(line) > MOST_CHARACTERS:
            raise UsageError(
                f"{path}: line {number} has more than {MOST_CHARACTERS:,} characters.",
                "Check that the file has an object a line.",
            )
        if line.strip():
            yield _record(number, line)


def array_records(text: TextIO, path: Path) -> Iterator[RawRecord]:
    """Yields a record for each element of an array, numbered from 1; what follows a mistake is one refused record.

    Raises:
        UsageError: an element does not end.

    """
    decoder = json.JSONDecoder()
    buffer, at, number = text.read(CHUNK_CHARACTERS).lstrip(), 0, 0
    # Before an element stands what ends the one before it, or the bracket that opens the array.
    while True:
        at = _BLANKS.match(buffer, at + 1).end()  # type: ignore[union-attr]
        start = at
        if not (number == 0 and buffer.startswith("]", at)):
            try:
                _, at = decoder.raw_decode(buffer, at)
            except (ValueError, RecursionError):
                at = len(buffer)
        end = at
        at = _BLANKS.match(buffer, at).end()  # type: ignore[union-attr]
        if not buffer.startswith((",", "]"), at):
            # The element is cut by the end of the buffer, or wrong.
            if len(buffer) - start > MOST_CHARACTERS:
                raise UsageError(
                    f"{path}: element {number + 1} does not end within {MOST_CHARACTERS:,} characters.",
                    "Check it, or write an object a line.",
                )
            more = text.read(max(CHUNK_CHARACTERS, len(buffer)))
            buffer, at = buffer[start - 1 :] + more, 0
            if more:
                continue
            if buffer[1:].strip():
                yield RawRecord(number + 1, shown(buffer[1:].lstrip()), None, NOT_JSON)
            return
        if end > start:
            number += 1
            yield _record(number, buffer[start:end])
        if buffer.startswith("]", at):
            rest = (buffer[at + 1 :] + text.read(MOST_CHARACTERS)).strip()
            if rest:
                yield RawRecord(number + 1, shown(rest), None, "text behind the end of the array")
            return


def _record(number: int, text: str) -> RawRecord:
    raw = shown(text)
    if not text.isascii() and not is_utf8(text):
        return RawRecord(number, raw, None, NOT_UTF8)
    return object_record(number, raw)
