"""A record of a file, or a row of a table, as it is landed."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

HALF_CHARACTER = "half a character (a lone surrogate) in the text"
NOT_JSON = "not valid JSON"
NOT_FINITE = "a number that is not finite"
NOT_UTF8 = "not UTF-8 text"
# A whole number of more digits than any id or amount has: it stays text.
MOST_DIGITS = 40


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record of a file, or a row of a table.

    Attributes:
        number: line (text formats) or row (others) in the file, from 1; 0 for a row of a table, which has no number.
        raw: the text as it stands in the file; for Parquet and tables the row as JSON.
        row: JSON object text with sorted keys in Unicode's form NFC, a blank cell as null; null when the record cannot
            be read.
        error: why it cannot be read.

    """

    number: int
    raw: str
    row: str | None
    error: str | None = None


class ColumnsDifferError(ValueError):
    """Two columns whose names differ in case only have different values."""


def object_record(number: int, raw: str, text: str | None = None) -> RawRecord:
    """A record from the text of a JSON object (by default the raw text itself)."""
    try:
        value = json.loads(raw if text is None else text, parse_constant=_refuse_constant, parse_float=exact_number)
    except (ValueError, RecursionError):
        return RawRecord(number, raw, None, NOT_JSON)
    if not isinstance(value, dict):
        return RawRecord(number, raw, None, "not a JSON object")
    return row_record(number, raw, value.items())


def row_record(number: int, raw: str, members: Iterable[tuple[str, object]]) -> RawRecord:
    """A record from names and values; names that differ in case only are one column, and null loses to a value."""
    try:
        row = _as_json(_joined(members))
        row.encode()
    except ColumnsDifferError as error:
        return RawRecord(number, raw, None, str(error))
    except UnicodeError:
        return RawRecord(number, raw, None, HALF_CHARACTER)
    except ValueError:
        return RawRecord(number, raw, None, NOT_FINITE)
    return RawRecord(number, raw, row)


def _joined(members: Iterable[tuple[str, object]]) -> dict[str, object]:
    row = dict(members)
    spellings: dict[str, str] = {}
    joined: dict[str, object] = {}
    for name, value in row.items():
        spelling = spellings.setdefault(_folded(name), name)
        known = joined.get(spelling)
        if known is not None and value is not None and known != value:
            raise ColumnsDifferError(f"columns {spelling} and {name}, which differ in case only, hold different values")
        joined[spelling] = value if known is None else known
    return joined


@lru_cache(maxsize=10_000)
def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).lower()


def _as_json(row: dict[str, object]) -> str:
    text = json.dumps(row, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def exact_number(text: str) -> object:
    """A number whose digits a double does not hold stays a whole number, or becomes text."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        return value
    exact = Decimal(text)
    if exact == Decimal(repr(value)):
        return value
    return int(exact) if exact == exact.to_integral_value() and exact.adjusted() < MOST_DIGITS else text
