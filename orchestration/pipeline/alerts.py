"""Tells people what a publish withheld."""

from __future__ import annotations

from orchestration.home import Home, Notify, silent
from orchestration.publishing.publish import PublishReport
from orchestration.sync.alert import alert


def tell_hook(home: Home, report: PublishReport, *, notify: Notify = silent) -> None:
    """Tells the alert hook what a publish withheld; call it without lease and lock, which a slow hook would hold."""
    judged = [trait.trait for trait in report.traits if trait.judged]
    withheld = {trait.trait: trait.reason for trait in report.withheld}
    alert(home, report.build_id, judged, withheld, notify=notify)
