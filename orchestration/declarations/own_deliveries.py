"""Marks of what Traithouse itself delivers, by which it is known again when it comes back among the events of a source.

The macro ``is_own_delivery`` says the same of the rows of adapters; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping

# Name of the library in the context of a message.
LIBRARY = "traithouse"
# Who sends what is about an account alone: a call of Segment needs a user or a device.
SENDER = "traithouse"
MESSAGE_ID_PREFIX = "traithouse-delivery-"
ENTERED, LEFT = "Trait Entered", "Trait Left"
# Type of the messages of the destination `webhook`.
WEBHOOK_EVENT = "traits.changed"

# Columns of vendors' tables that may hold a mark, in lower case and without underscores and $.
_MESSAGE_IDS = ("id", "eventid", "messageid", "insertid", "uuid")
_LIBRARIES = ("library", "libraryname", "contextlibraryname")
_SENDERS = ("anonymousid", "deviceid", "distinctid", "domainuserid")
_EVENT_NAMES = ("event", "eventtable", "eventtext", "eventname", "eventtype", "seaction")
_OBJECTS = ("properties", "eventproperties", "trackproperties", "context")


def own_delivery_sql(columns: Mapping[str, str]) -> str:
    """SQL condition (DuckDB): whether a raw row is what Traithouse delivered; never null.

    Args:
        columns: name of a column -> SQL of its text.

    """
    found = {name.lower().replace("_", "").replace("$", ""): sql for name, sql in columns.items()}
    named = "', '".join(name.lower().replace(" ", "") for name in (ENTERED, LEFT))
    conditions = [f"starts_with({found[name]}, '{MESSAGE_ID_PREFIX}')" for name in _MESSAGE_IDS if name in found]
    conditions += [f"{found[name]} = '{LIBRARY}'" for name in _LIBRARIES if name in found]
    conditions += [f"{found[name]} = '{SENDER}'" for name in _SENDERS if name in found]
    for name in _EVENT_NAMES:
        if name in found:
            conditions.append(f"translate(lower({found[name]}), ' _-', '') in ('{named}')")
            conditions.append(f"{found[name]} = '{WEBHOOK_EVENT}'")
    for name in _OBJECTS:
        if name in found:
            conditions.append(f"contains({found[name]}, '\"{MESSAGE_ID_PREFIX}')")
            conditions.append(
                f"case when contains({found[name]}, '\"{LIBRARY}\"') then coalesce({_library_in(found[name])},"
                f" '') = '{LIBRARY}' end"
            )
    return f"coalesce({' or '.join(conditions)}, false)" if conditions else "false"


def _library_in(text: str) -> str:
    """SQL of the library that a JSON object names."""
    members = ("'/library/name'", "'/library'", "'/library_name'", "'/context_library_name'", "'/$lib'")
    read = ", ".join(f"json_extract_string(try_cast({text} as json), {member})" for member in members)
    return f"coalesce({read})"
