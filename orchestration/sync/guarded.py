"""Hands records to a destination so that whatever it does is an outcome, and no run breaks."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from pathlib import Path

from orchestration.destinations import ClosedError, Destination, Outcomes, Record, RefusedError, UnavailableError
from orchestration.destinations._pace import StoppedError
from orchestration.errors import TraithouseError


class UnreadableError(Exception):
    """A destination broke off; what it had sent by then is not known. The text has no secret."""


def guarded_deliver(destination: Destination, group: Sequence[Record]) -> Outcomes:
    """What came of each record, whatever the destination did.

    Raises:
        UnreadableError: something that no destination should do, such as stumbling over a strange answer.

    """
    try:
        outcomes = destination.deliver(group)
    except (RefusedError, ClosedError, UnavailableError, StoppedError, TraithouseError):
        raise
    except Exception as error:
        # Its text may hold anything that the answer held; where it happened is enough to find it.
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/destinations/" in frame.filename]
        place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        raise UnreadableError(f"the answer could not be read: {type(error).__name__}{place}") from None
    if len(outcomes) != len(group):
        raise UnreadableError(f"{len(outcomes)} outcomes came of {len(group)} records")
    return outcomes


def not_finite(record: Record) -> str:
    """The first field whose number is NaN or infinite; empty where there is none."""
    wrong = (name for name, value in record.fields.items() if isinstance(value, float) and not math.isfinite(value))
    return next(wrong, "")
