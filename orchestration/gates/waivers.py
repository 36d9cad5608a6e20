"""A person lets a real shift through: who, when, why, and what was observed.

An acceptance is bound to build, content and the checks that had failed, like the verdict that it overrules. What is
published under it belongs to the history that the next builds are compared with, so that the interval moves on.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, replace

import duckdb

from orchestration.errors import UsageError
from orchestration.gates.verdicts import Check, Verdict
from orchestration.home import utc_now
from orchestration.published.tables import PUBLISHED_TABLES

ACCEPTED = "accepted"


def with_acceptance(connection: duckdb.DuckDBPyConnection, verdict: Verdict) -> Verdict:
    """The verdict, passed when all that withholds it was accepted for exactly this build and content."""
    broken = _broken(verdict)
    if verdict.verdict != "failed" or not broken or not verdict.content_hash:
        return verdict
    connection.execute(PUBLISHED_TABLES)
    rows = connection.execute(
        """
        select checks, reason, accepted_by from traits.acceptances
        where trait = $1 and build_id = $2 and content_hash = $3
        order by accepted_at desc
        """,
        [verdict.trait, verdict.build_id, verdict.content_hash],
    ).fetchall()
    for checks, reason, accepted_by in rows:
        if {check.name for check in broken} <= {check["name"] for check in json.loads(checks)}:
            return replace(
                verdict,
                verdict="passed",
                reason=f"Accepted by {accepted_by}: {reason}",
                checks=tuple(replace(one, severity=ACCEPTED) if one in broken else one for one in verdict.checks),
            )
    return verdict


def accept(
    connection: duckdb.DuckDBPyConnection,
    verdict: Verdict | None,
    trait: str,
    who: str,
    why: str,
    never: Collection[str],
) -> None:
    """Records that what withholds a trait was looked at and is real.

    Args:
        connection: the warehouse.
        verdict: of the current build, or none.
        trait: its name.
        who: a person.
        why: in their words.
        never: checks that nobody can accept.

    Raises:
        UsageError: there is nothing to accept, or it cannot be accepted.

    """
    if not why.strip():
        raise UsageError("An acceptance needs a reason.", 'traithouse publish --trait T --accept "why it is real"')
    if verdict is None or verdict.verdict != "failed":
        how = "was not judged in the current build" if verdict is None else f"is {verdict.verdict}, not withheld"
        raise UsageError(f"{trait} {how}.", "traithouse status tells what is withheld.")
    broken = _broken(verdict)
    fixed = [check.name for check in broken if check.name in never]
    if fixed or not broken or not verdict.content_hash:
        what = ", ".join(fixed) or "what failed"
        raise UsageError(
            f"{trait} cannot be accepted: {what} is wrong and not unusual.", f"Repair it: {verdict.reason}"
        )
    connection.execute(
        "insert into traits.acceptances values ($1, $2, $3, $4, $5, $6, $7, $8)",
        [
            trait,
            verdict.build_id,
            verdict.as_of,
            verdict.content_hash,
            json.dumps([asdict(check) for check in broken]),
            why.strip(),
            who,
            utc_now(),
        ],
    )


def _broken(verdict: Verdict) -> list[Check]:
    return [check for check in verdict.checks if not check.passed and check.severity == "critical"]
