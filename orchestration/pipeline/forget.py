"""``traithouse forget``: build what is loaded, forget, rebuild."""

from __future__ import annotations

from collections.abc import Sequence

from orchestration.admin.erasure import Forgotten, forget_people, is_built, resume_forget
from orchestration.errors import UsageError
from orchestration.home import Notify, silent
from orchestration.pipeline.alerts import tell_hook
from orchestration.pipeline.refresh import refresh, write_and_audit
from orchestration.publishing.publish import PublishReport
from orchestration.spark.build import pull_identities
from orchestration.transform.dbt import Project
from orchestration.transform.watermark import raw_kept_from


def forget(
    project: Project,
    entity_ids: Sequence[str],
    entity_type: str = "user",
    *,
    accept_loss: bool = False,
    notify: Notify = silent,
) -> tuple[Forgotten, PublishReport]:
    """Forgets entities and refreshes: everything is rebuilt once, without them.

    What was loaded and not built yet is built first, so that its merges are known. Where raw rows were deleted for
    their age, the rebuild lacks them, which has to be accepted.

    Raises:
        UsageError: the loss is not accepted, the id is unknown, or it is a device that users share.
        WarehouseBusyError: another process holds the warehouse, or is syncing.

    """
    with project.home.lease("traithouse forget"), project.home.lock("traithouse forget"):
        with project.home.connect() as connection:
            kept_from = raw_kept_from(connection)
        if kept_from and not accept_loss:
            raise UsageError(
                f"Forgetting rebuilds everything, and raw rows before {kept_from} UTC were deleted for their age.",
                "--accept-loss rebuilds without them; all features that look back further then start there.",
            )
        resume_forget(project, notify=notify)
        if not is_built(project.home):
            write_and_audit(project, full_refresh=accept_loss, notify=notify)
        if project.home.settings.on_spark:
            pull_identities(project)
        done = forget_people(project, entity_ids, entity_type, notify=notify)
        _, published = refresh(project, full_refresh=accept_loss, tell=False, notify=notify)
    tell_hook(project.home, published, notify=notify)
    return done, published
