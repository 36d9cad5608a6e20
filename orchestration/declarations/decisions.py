"""What a trait decides from, as its YAML declares it: derived values, rules, and the columns that they read.

The SQL of these texts is rendered twice: by macros/trait.sql into the model, and by gates/recompute.py into the audit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from orchestration.declarations.base import Declaration

_TEXT_LITERAL = re.compile(r"'[^']*'")
_WORD = re.compile(r"[a-z_][a-z0-9_]*")


class Column(Declaration):
    """A column of the feature row or of the thresholds.

    Attributes:
        name: of the column.
        type: as the model's contract declares it.
        digits: decimals that a double is rounded to.

    """

    name: str
    type: str
    digits: int = 0


class Derived(Declaration):
    """A value that the trait computes from features, earlier derived values, thresholds and ``prior``.

    Attributes:
        name: unique among features, derived values and thresholds.
        sql: portable SQL.
        digits: decimals that it is rounded to, half up; a whole number when not given.
        type: of the value; ``number`` is a bigint without digits, and a double with digits.

    """

    name: str
    sql: str
    digits: int | None = Field(default=None, ge=0, le=9)
    type: Literal["number", "text", "boolean"] = "number"


class TraitRule(Declaration):
    """One rule of a trait; of several that hold, the first decides.

    Attributes:
        rule: its name in the evidence.
        when: SQL condition over features, derived values, thresholds and ``prior``; the last rule has none.
        value: of whom it decides on: true or false, a category (default: the rule's name), or SQL of a number.
        text: the sentence for a person; words in braces are features, derived values or thresholds.

    """

    rule: str
    when: str = ""
    value: bool | str | None = None
    text: str


class Contradiction(Declaration):
    """A published value of another trait that no member of this trait may have.

    Attributes:
        trait: the other trait, of the same kind of entity; it is judged first.
        value: its value, as text.

    """

    trait: str
    value: str = "true"


def columns_of(node: Mapping[str, Any]) -> tuple[Column, ...]:
    """Columns of a model's contract."""
    return tuple(
        Column(
            name=name,
            type=column["data_type"],
            digits=(column.get("config", {}).get("meta") or column.get("meta") or {}).get("digits", 0),
        )
        for name, column in node["columns"].items()
    )


def named_in(texts: Iterable[str], columns: Iterable[Column]) -> tuple[Column, ...]:
    """The columns that SQL texts name, in the order of the columns; literals name none."""
    words = {word for text in texts for word in _WORD.findall(_TEXT_LITERAL.sub("", text))}
    return tuple(column for column in columns if column.name in words)
