"""The fault matrix: what is broken, which traits are withheld for it, and what the user is told.

    python -m tests.faults.inject                # all of them, as a table
    python -m tests.faults.inject --only verdict # those whose stage or name holds the word

Each fault meets a home of its own. Whatever it breaks, readers find of each trait that is withheld the last good
rows, of every other trait the rows of an undisturbed home, and nothing else.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.events import raw_faults, staging_faults
from tests.faults.fixture import (
    cached_fixture,
    table,
)
from tests.faults.injection import Fault, run, wrongs
from tests.faults.publishing import publish_faults, snapshot_faults
from tests.faults.traits import candidate_faults, verdict_faults


def faults() -> list[Fault]:
    """The matrix."""
    return [
        *raw_faults(),
        *staging_faults(),
        *candidate_faults(),
        *verdict_faults(),
        *publish_faults(),
        *snapshot_faults(),
    ]


def main() -> int:
    """Lets every fault happen, and prints what came of it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--only", default="", help="faults whose stage or name holds this")
    given = parser.parse_args()
    lines, surprises = [], 0
    wrong_rows = good_withheld = 0
    with tempfile.TemporaryDirectory() as folder:
        fixture = cached_fixture()
        for number, fault in enumerate(fault for fault in faults() if given.only in f"{fault.stage} {fault.name}"):
            place = Path(folder) / f"fault_{number}"
            place.mkdir()
            try:
                outcome = run(fault, fixture, place)
                found = wrongs(fault, outcome, fixture)
                withheld, went_out = outcome.withheld, len(outcome.went_out)
                message, rows = outcome.message, sum(outcome.wrong.values())
            except Exception as error:
                found = [f"{type(error).__name__}: {' '.join(str(error).split())}"]
                withheld, went_out, message, rows = frozenset(), 0, "", 0
            shutil.rmtree(place)
            surprises += bool(found)
            wrong_rows += rows
            good_withheld += any(text.startswith("withheld though good") for text in found)
            verdict = "; ".join(found) or "as it should"
            names = "all" if withheld == fixture.passed else ", ".join(sorted(withheld)) or "none"
            lines.append((fault.stage, fault.name, names, went_out, message.strip()[:90], rows, verdict))
            print(f"{fault.stage}: {fault.name}: {verdict}", file=sys.stderr, flush=True)
    print(table(("stage", "fault", "withheld", "went out", "message", "wrong rows", "outcome"), lines))
    print(
        f"{len(lines)} faults: {len(lines) - surprises} as they should, {surprises} surprises;"
        f" {wrong_rows} wrong rows published, {good_withheld} faults withheld a good trait"
    )
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
