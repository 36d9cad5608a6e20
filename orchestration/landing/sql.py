"""SQL of DuckDB for texts as exports write them: values of records, identifiers, times."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment

from orchestration.home import PROJECT_ROOT

# Spaces, tabs, line ends, no-break and other blanks of Unicode.
BLANKS = " \t\n\r\f\v\u00a0\u1680\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
MACROS = PROJECT_ROOT / "macros"


def literal(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def value(spellings: Sequence[str]) -> str:
    """The text of a column in ``row_json``, however the record spells it."""
    pointers = (literal("/" + name.replace("~", "~0").replace("/", "~1")) for name in spellings)
    return f"coalesce({', '.join(f'json_extract_string(row_json, {pointer})' for pointer in pointers)})"


def trimmed(text: str) -> str:
    """A text without the blanks around it."""
    return f"regexp_replace({text}, '^[{BLANKS}]+|[{BLANKS}]+$', '', 'g')"


def clean_id(text: str) -> str:
    """An id without the blanks around it; 1001.0, which is made of a whole number beside missing ones, is 1001."""
    return f"regexp_replace({trimmed(text)}, '^([0-9]+)[.]0+$', '\\1')"


def stated(text: str) -> str:
    """A text, or null where it is a word for null."""
    markers = str(_macros("ids.sql").null_markers())
    return f"case when lower({text}) not in ('\\n', {markers}) then {text} end"


def instant(text: str) -> str:
    """The naive UTC instant of a text, by the macro that models use; without an offset it is of the session's zone."""
    return str(_macros("engine/cast.sql").duckdb__utc_timestamp(text))


@cache
def _macros(file: str) -> Any:
    environment = Environment(autoescape=False, extensions=["jinja2.ext.do"])  # noqa: S701
    return environment.from_string((MACROS / file).read_text(encoding="utf-8")).module
