"""Waivers: a person lets a withheld trait through, because what is unusual about it is real.

A waiver says who, when, why, and what was observed. It is bound to the build, the content and the checks that had
failed, like the verdict that it overrules. What is published under it belongs to the history that later builds are
compared with, so the learned interval moves on.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import duckdb

from orchestration.errors import UsageError
from orchestration.gates.candidate_checks import NON_WAIVABLE
from orchestration.gates.verdicts import WAIVED, Verdict
from orchestration.home import utc_now
from orchestration.published.rows import insert_row
from orchestration.published.tables import PUBLISHED_TABLES


def with_waiver(connection: duckdb.DuckDBPyConnection, verdict: Verdict) -> Verdict:
    """The verdict; passed when everything that withholds it was waived for exactly this build and content."""
    broken = verdict.broken
    if verdict.verdict != "failed" or not broken or not verdict.content_hash:
        return verdict
    connection.execute(PUBLISHED_TABLES)
    waivers = connection.execute(
        """
        select checks, reason, waived_by from traits.waivers
        where trait = $trait and build_id = $build_id and content_hash = $content_hash
        order by waived_at desc
        """,
        {"trait": verdict.trait, "build_id": verdict.build_id, "content_hash": verdict.content_hash},
    ).fetchall()
    for checks, reason, waived_by in waivers:
        if {check.name for check in broken} <= {check["name"] for check in json.loads(checks)}:
            return replace(
                verdict,
                verdict="passed",
                reason=f"Waived by {waived_by}: {reason}",
                checks=tuple(replace(check, severity=WAIVED) if check in broken else check for check in verdict.checks),
            )
    return verdict


def waive(connection: duckdb.DuckDBPyConnection, verdict: Verdict | None, trait: str, *, who: str, why: str) -> None:
    """Records that a person looked at what withholds a trait and that it is real.

    Args:
        connection: the warehouse.
        verdict: the trait's verdict of the current build; none when that build did not judge it.
        trait: name of the trait.
        who: the person.
        why: the person's reason, in words.

    Raises:
        UsageError: there is no reason, nothing is withheld, or what failed cannot be waived.

    """
    if not why.strip():
        raise UsageError("A waiver needs a reason.", 'traithouse publish --trait T --waive "why it is real"')
    if verdict is None or verdict.verdict != "failed":
        how = "was not judged in the current build" if verdict is None else f"is {verdict.verdict}, not withheld"
        raise UsageError(f"{trait} {how}.", "traithouse status lists the withheld traits.")
    broken = verdict.broken
    wrong = [check.name for check in broken if check.name in NON_WAIVABLE]
    if wrong or not broken or not verdict.content_hash:
        what = ", ".join(wrong) or "what failed"
        raise UsageError(
            f"{trait} cannot be waived: {what} is wrong, not merely unusual.", f"Repair the cause: {verdict.reason}"
        )
    row = {
        "trait": trait,
        "build_id": verdict.build_id,
        "as_of": verdict.as_of,
        "content_hash": verdict.content_hash,
        "checks": json.dumps([asdict(check) for check in broken]),
        "reason": why.strip(),
        "waived_by": who,
        "waived_at": utc_now(),
    }
    insert_row(connection, "traits.waivers", row)
