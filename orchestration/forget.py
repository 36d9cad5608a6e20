"""Forgetting as the command line does it: build what is loaded, forget, rebuild."""

from __future__ import annotations

from orchestration.keeping.forget import Forgotten, forget_person, is_built, resume_forget
from orchestration.project import House, Notify, silent
from orchestration.publishing.publish import PublishReport
from orchestration.refresh import refresh, write_and_audit
from orchestration.warehouse.dbt import DbtProject


def forget(
    house: House, project: DbtProject, entity_id: str, entity_type: str = "user", *, notify: Notify = silent
) -> tuple[Forgotten, PublishReport]:
    """Forgets a person, and refreshes: everything is rebuilt without the person.

    What was loaded and not built is built first, so that merges that came with it are known.

    Raises:
        UsageError: nobody is known under this id, or it is a device that several users share.
        WarehouseBusyError: another process holds the warehouse, or is syncing.

    """
    with house.lock("traithouse forget"):
        resume_forget(house, project, notify=notify)
        if not is_built(house):
            write_and_audit(house, project, notify=notify)
        done = forget_person(house, project, entity_id, entity_type, notify=notify)
        _, published = refresh(house, project, notify=notify)
    return done, published
