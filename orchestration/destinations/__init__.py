"""Destinations: a file each in this folder with a class each, which is found by looking into the folder.

A destination turns records into calls, and answers into outcomes. What all destinations share is done by the engine
(``orchestration/sync``): batches, order, retries, waiting, bisecting and acknowledging.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from orchestration.destinations._base import ANY_TYPE, Destination, DestinationObject, ObjectKind, Options
from orchestration.destinations._record import (
    ClosedError,
    Failure,
    FieldNote,
    LimitedError,
    Outcomes,
    OutcomesByIdentifier,
    Record,
    RefusedError,
    UnavailableError,
)

__all__ = (
    "ANY_TYPE",
    "ClosedError",
    "Destination",
    "DestinationObject",
    "Failure",
    "FieldNote",
    "LimitedError",
    "ObjectKind",
    "Options",
    "Outcomes",
    "OutcomesByIdentifier",
    "Record",
    "RefusedError",
    "UnavailableError",
    "destinations",
)


@cache
def destinations() -> dict[str, type[Destination]]:
    """Name of each file -> its class; what several destinations share is in files that begin with an underscore."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("_"):
            continue
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        defined = [
            value
            for value in vars(loaded).values()
            if isinstance(value, type) and issubclass(value, Destination) and value.__module__ == loaded.__name__
        ]
        if len(defined) == 1:
            found[module.name] = defined[0]
    return found
