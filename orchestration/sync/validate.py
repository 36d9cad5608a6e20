"""Checks that the destination a sync names exists and can hold what the sync sends."""

from __future__ import annotations

import re

from pydantic import ValidationError

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.destinations import Destination, destinations
from orchestration.errors import UsageError


def destination_of(sync: Sync) -> type[Destination]:
    """The class that a sync names, after its options and object are checked.

    Raises:
        UsageError: there is no such destination, option or object.

    """
    found = destinations()
    if sync.destination not in found:
        raise UsageError(
            f"{sync.where}: there is no destination {sync.destination}.",
            f"Name one of these: {', '.join(sorted(found))}.",
        )
    destination = found[sync.destination]
    try:
        destination.options_type.model_validate(sync.options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        options = ", ".join(destination.options_type.model_fields)
        raise UsageError(f"{sync.where}: options.{key}: {first['msg']}.", f"Options are: {options}.") from None
    destination.object_of(sync)
    return destination


def checked_destination(catalog: Catalog, sync: Sync) -> type[Destination]:
    """The class that a sync names, which can hold each trait that the sync sends.

    Raises:
        UsageError: as ``destination_of``, or a field cannot be there under its name or with its type.

    """
    destination = destination_of(sync)
    object_name, kind = destination.object_of(sync)
    for trait in catalog.traits_of(sync):
        target, where = sync.target(trait), f"{sync.where}: fields.{trait.name}"
        if target.cast not in kind.types:
            raise UsageError(
                f"{where}: {sync.destination} {object_name} hold no {target.cast}.",
                f"Set cast to one of these: {', '.join(sorted(kind.types))}.",
            )
        if not re.fullmatch(kind.field_pattern, target.field):
            raise UsageError(
                f"{where}: {sync.destination} cannot have a field named {target.field!r}.",
                f"Set field to a name that matches {kind.field_pattern}.",
            )
    return destination
