"""Explains what came of one entity in one sync."""

from __future__ import annotations

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.home import Home
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.plan import plan


def explain_delivery(home: Home, catalog: Catalog, sync: Sync, entity_id: str) -> str:
    """When one entity was delivered, or why it was not; the text follows the entity's id in a sentence.

    Raises:
        UsageError: nothing is published yet, or the declaration cannot be used.

    """
    with SyncLedger(home) as ledger:
        planned = plan(home, catalog, sync, ledger)
        failures = {row["entity_id"]: row for row in ledger.failure_rows(sync.name)}
        acknowledged = {sent.entity_id: (identifier, sent) for identifier, sent in ledger.sent(sync.name).items()}
    if entity_id in failures:
        failure = failures[entity_id]
        tries = "once" if failure["tries"] == 1 else f"{failure['tries']} times"
        return (
            f"was {failure['kind']} with build {failure['build_id']}"
            f" (tried {tries}, last at {failure['failed_at']} UTC): {failure['reason']}"
        )
    actions = {record.entity_id: record.action for record in planned.records}
    if entity_id in actions:
        return f"waits for the next run ({actions[entity_id]})"
    if entity_id in planned.audience.skipped:
        skipped = planned.audience.skipped[entity_id]
        return f"is not sent: {skipped.detail or skipped.reason}"
    if entity_id in acknowledged:
        identifier, sent = acknowledged[entity_id]
        return f"was acknowledged as {identifier} with build {sent.build_id}: {sent.fields}"
    return "has no value of its traits"
