"""Prepares a destination for a sync: checks rights and fields, and creates the fields that are missing.

Everything is looked up first. If a right is missing or a field cannot hold what is sent, nothing is created.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Literal, cast

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.destinations import ClosedError, Destination, RefusedError, UnavailableError
from orchestration.destinations._fields import FieldKeeper, FieldType, WantedField
from orchestration.home import Home, Notify, silent
from orchestration.sync.engine import why_dry_run
from orchestration.sync.validate import checked_destination

NOTHING_TO_PREPARE = "there is nothing to prepare: a field comes to be with its first value"


@dataclass(frozen=True)
class PreparedField:
    """What came of one field.

    Attributes:
        field: its name there.
        type: what is written into it.
        label: what people see there.
        state: there, missing, created, or wrong.
        note: why it is wrong, or what is left to do by hand.

    """

    field: str
    type: str
    label: str
    state: Literal["there", "missing", "created", "wrong"]
    note: str = ""


@dataclass(frozen=True)
class PrepareReport:
    """What preparing one sync found and did.

    Attributes:
        sync: its name.
        destination: name of the destination.
        dry_run: whether nothing was created.
        why_dry: why not, when a dry run was not asked for.
        missing_scopes: rights that the key lacks.
        fields: each field that the sync needs.
        note: why there is nothing to prepare.
        error: why the sync cannot deliver yet, or why it could not be prepared.

    """

    sync: str
    destination: str
    dry_run: bool = False
    why_dry: str = ""
    missing_scopes: tuple[str, ...] = ()
    fields: tuple[PreparedField, ...] = ()
    note: str = ""
    error: str = ""

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def prepare_sync(
    home: Home, catalog: Catalog, sync: Sync, *, dry_run: bool = False, notify: Notify = silent
) -> PrepareReport:
    """Prepares the destination of one sync.

    Args:
        home: decides whether remote destinations are served.
        catalog: what is declared.
        sync: which.
        dry_run: look only; create nothing.
        notify: progress.

    Raises:
        UsageError: the declaration cannot be used.

    """
    destination_type = checked_destination(catalog, sync)
    why_dry = "" if dry_run else why_dry_run(home, destination_type, sync)
    report = PrepareReport(sync.name, sync.destination, dry_run or bool(why_dry), why_dry)
    with closing(destination_type(sync, home.outbox)) as destination:
        keeper = destination.fields_there()
        if keeper is None:
            return replace(report, note=NOTHING_TO_PREPARE)
        wanted = _wanted(catalog, sync, destination)
        notify(f"sync {sync.name}: looking up {len(wanted)} fields")
        try:
            return _prepared(report, keeper, wanted)
        except (ClosedError, RefusedError, UnavailableError) as error:
            return replace(report, error=str(error))


def _wanted(catalog: Catalog, sync: Sync, destination: Destination) -> list[WantedField]:
    """The identifier, then a field for each trait."""
    identifier = WantedField(
        destination.identifier_field,
        "string",
        f"Traithouse {sync.entity} id" if sync.is_native else sync.identified_by,
        f"{sync.identified_by} by which Traithouse finds the record.",
        is_identifier=True,
    )
    fields = [identifier]
    for trait in catalog.traits_of(sync):
        target = sync.target(trait)
        kind = cast("FieldType", target.cast)
        fields.append(WantedField(target.field, kind, trait.title, trait.description, cleared=target.cleared))
    return fields


def _prepared(report: PrepareReport, keeper: FieldKeeper, wanted: Sequence[WantedField]) -> PrepareReport:
    problems = keeper.problems(wanted)
    found = {field.name: _found(field, problems, keeper) for field in wanted}
    missing = [field for field in wanted if found[field.name].state == "missing"]
    scopes = tuple(keeper.missing_scopes(creates=bool(missing)))
    wrong = sum(field.state == "wrong" for field in found.values())
    error = ""
    if scopes or wrong:
        error = "; ".join(
            [*([f"the key lacks {', '.join(scopes)}"] if scopes else []), *([f"{wrong} wrong"] if wrong else [])]
        )
    elif not report.dry_run:
        for field in missing:
            try:
                found[field.name] = replace(found[field.name], state="created", note=keeper.create(field))
            except (ClosedError, RefusedError, UnavailableError) as failure:
                error = error or f"{field.name} was not created: {failure}"
                found[field.name] = replace(found[field.name], note=str(failure))
                if isinstance(failure, ClosedError):
                    break
    return replace(report, missing_scopes=scopes, fields=tuple(found.values()), error=error)


def _found(field: WantedField, problems: Mapping[str, str], keeper: FieldKeeper) -> PreparedField:
    if field.name in problems:
        note = problems[field.name]
        return PreparedField(field.name, field.type, field.label, "wrong" if note else "there", note)
    note = keeper.refusal(field)
    return PreparedField(field.name, field.type, field.label, "wrong" if note else "missing", note)
