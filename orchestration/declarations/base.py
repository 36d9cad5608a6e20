"""What all declarations share: unknown keys are errors, and every error names file, entry and key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from orchestration.errors import UsageError


class Declaration(BaseModel):
    """Part of a YAML entry; a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_DURATION = re.compile(r"([1-9]\d{0,4}) (minute|hour|day)s?")


def _duration(written: object) -> timedelta:
    if isinstance(written, timedelta):
        return written
    found = _DURATION.fullmatch(str(written).strip())
    if not found:
        raise ValueError(f"{written!r} is no length of time; write it as 30 minutes, 2 hours or 1 day")
    return timedelta(**{f"{found[2]}s": int(found[1])})


Duration = Annotated[
    timedelta, BeforeValidator(_duration), PlainSerializer(lambda length: length.total_seconds(), return_type=float)
]
"""A length of time, written as 30 minutes, 2 hours or 1 day."""

T = TypeVar("T")
D = TypeVar("D", bound=Declaration)


def parse(kind: type[D], declared: Mapping[str, Any], where: str) -> D:
    """A checked record of what an entry declares.

    Args:
        kind: the record.
        declared: keys and values of the entry.
        where: file and entry; an error begins with it.

    Raises:
        UsageError: a key is unknown or missing, or a value cannot be used.

    """
    try:
        return kind.model_validate(declared)
    except ValidationError as error:
        # A misspelt key is both unknown and missing; the unknown one tells more.
        first = min(error.errors(), key=lambda details: details["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{where}: unknown key {key!r}.", did_you_mean(key, kind.model_fields)) from None
        if first["type"] == "missing":
            raise UsageError(f"{where}: the key {key!r} is missing.", "Add it to the YAML entry.") from None
        raise UsageError(f"{where}: {key}: {first['msg']}.", "Correct it in the YAML entry.") from None


def named(name: str, items: Mapping[str, T], kind: str) -> T:
    """The item of this name.

    Raises:
        UsageError: there is none.

    """
    if name in items:
        return items[name]
    known = f"There are: {', '.join(sorted(items))}." if items else "None is declared."
    raise UsageError(f"There is no {kind} {name}.", did_you_mean(name, items) or known)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the known word that is closest; empty when none is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else ""


def name_and_description(node: Mapping[str, Any]) -> dict[str, str]:
    """What a model or an exposure says of itself outside ``config.meta``."""
    return {"name": node["name"], "description": " ".join(node["description"].split())}


def yaml_file(node: Mapping[str, Any]) -> str:
    """The YAML file that declares a node, from the project's folder."""
    path = node.get("patch_path") or node["original_file_path"]
    return str(path).split("://")[-1]
