"""``traithouse publish --waive``: a person lets a withheld trait through."""

from __future__ import annotations

from orchestration.gates.verdicts import load_verdicts
from orchestration.gates.waivers import waive
from orchestration.home import Notify, silent
from orchestration.pipeline.alerts import tell_hook
from orchestration.pipeline.refresh import audit_again, publish_build
from orchestration.published.tables import PUBLISHED_TABLES
from orchestration.publishing.publish import PublishReport
from orchestration.transform.build import current_build
from orchestration.transform.dbt import Project


def waive_trait(project: Project, trait: str, *, why: str, who: str, notify: Notify = silent) -> PublishReport:
    """Let a withheld trait of the current build through, because a person says that its shift is real, and publish.

    Raises:
        UsageError: it is not withheld, or what failed cannot be waived.

    """
    project.catalog.trait(trait)
    with project.home.lease("traithouse publish"), project.home.lock("traithouse publish"):
        with project.home.connect() as connection:
            connection.execute(PUBLISHED_TABLES)
            build = current_build(connection)
            verdict = load_verdicts(connection, build.build_id).get(trait) if build else None
            waive(connection, verdict, trait, who=who, why=why)
        audit_again(project, [trait], notify=notify)
        report = publish_build(project, tell=False, notify=notify)
    tell_hook(project.home, report, notify=notify)
    return report
