"""Slack, by an incoming webhook: one message for each owner of traits and run, which says who entered or left what.

Writes: POST of ``text`` and ``blocks`` to the webhook. A line names one entity by its label (key ``label`` of the sync)
and id, and gives the published sentence. Boolean traits and categories are told; a number is not. ``most`` lines are
listed, then "and 37 more".

Limits: one message a second; a section has 3,000 characters, a message 50 blocks. Messages from some 13,200 characters
on have been refused (slackapi/bolt-js, number 2509), so 11,000 are used.

Authentication: the address is the secret. It comes from the variable that ``url_env`` names, or for single owners from
those in ``owners``.

====================================  ==============================================
Answer                                What is done
====================================  ==============================================
200 with the body ``ok``              acknowledged: each record of the message
400                                   halved until the bad line stands alone
401, 403, 404, 410                    nothing more is sent before the next run
429, 5xx, no answer                   tried again; Retry-After is heeded
any other 2xx or body                 in doubt, sent again
====================================  ==============================================

A record with traits of several owners is acknowledged once all of their messages are; a message that was answered is
not repeated in the run. Slack drops no repetitions: a message whose answer was lost is posted again.

Texts of users are escaped (``&``, ``<``, ``>``), so that none of them is a mention or a link, and blocks are
``verbatim``, so that Slack makes none of them itself. Nothing can be taken back: who was forgotten is not told of, and
earlier messages stay.

Sources: Slack's documentation ("Sending messages using incoming webhooks", "Changes to errors for incoming webhooks",
"Rate limits", "Formatting text for app surfaces", "Section block"). Not verified against a live workspace.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import httpx
from pydantic import Field

from orchestration.declarations.syncs import Sync
from orchestration.destinations import (
    ClosedError,
    Failure,
    ObjectKind,
    Options,
    Outcomes,
    OutcomesByIdentifier,
    Record,
    RefusedError,
    UnavailableError,
)
from orchestration.destinations._http import HttpDestination, checked_address
from orchestration.destinations._moves import Move, moves
from orchestration.destinations._pace import Pace, Rate

SUCCESS = (200,)
_GONE = (404, 410)
_SECTION, _MESSAGE = 2_900, 11_000
_NAME, _REASON = 80, 240


class SlackOptions(Options):
    """The webhooks.

    Attributes:
        url_env: name of the environment variable that holds the address of the webhook.
        owners: owner of traits -> name of the variable that holds the address of a webhook of their own.
        most: lines in a message.
        timeout_seconds: how long a POST may take.

    """

    tuning: ClassVar[frozenset[str]] = frozenset({"url_env", "owners", "most", "timeout_seconds"})
    url_env: str = "SLACK_WEBHOOK_URL"
    owners: dict[str, str] = Field(default_factory=dict)
    most: int = Field(default=20, ge=1, le=1_000)
    timeout_seconds: float = 10.0


class Told(NamedTuple):
    """A record, and what of it one owner is told."""

    record: Record
    moves: list[Move]


class SlackDestination(HttpDestination):
    """Acknowledged by the answer ``ok``."""

    objects: ClassVar[Mapping[str, ObjectKind]] = {
        "users": ObjectKind("user", "entity_id"),
        "accounts": ObjectKind("account", "entity_id"),
    }
    batch_size: ClassVar[int] = 1_000
    mixes: ClassVar[bool] = True
    first: ClassVar[Literal["everything", "from_now_on"]] = "from_now_on"
    rates: ClassVar[tuple[Rate, ...]] = (Rate(1, 1.0),)
    options_type: ClassVar[type[Options]] = SlackOptions

    def __init__(self, sync: Sync, outbox: Path, pace: Pace | None = None) -> None:
        super().__init__(sync, outbox, pace)
        # Owner and change that a message of this run was acknowledged for.
        self._told: set[tuple[str, str]] = set()
        for owner in self.options.owners:
            self._url(owner)

    def address(self) -> str:
        """A webhook; no message has it, because it is a secret."""
        needs_default = not self.options.owners or os.environ.get(self.options.url_env)
        return self._url("" if needs_default else next(iter(self.options.owners)))

    def _url(self, owner: str) -> str:
        variable = self.options.owners.get(owner, self.options.url_env)
        return checked_address(self.secret(variable), variable)

    def batch_of(self, planned: int) -> int:
        """All of a run, so that each owner gets one message."""
        return max(planned, 1)

    def is_final(self, answer: httpx.Response) -> bool:
        """Whether the webhook or its channel is gone."""
        return answer.status_code in _GONE

    def error_text(self, answer: httpx.Response) -> str:
        """Slack's word for what is wrong."""
        return answer.text

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """A message for each owner."""
        return [self._message(told) for told in self._by_owner(records).values()]

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Posts a message for each owner; an owner whose webhook fails does not hold up the others.

        What was posted is not posted again, so the rest may be delivered in halves.
        """
        failures: OutcomesByIdentifier = {}
        errors: list[RefusedError | UnavailableError | ClosedError] = []
        posted = False
        for owner, told in self._by_owner(records).items():
            try:
                self._tell(owner, told)
                posted = True
            except (RefusedError, UnavailableError, ClosedError) as error:
                errors.append(error)
                failures |= {entry.record.identifier: Failure(str(error), again=True) for entry in told}
        refused = [error for error in errors if isinstance(error, RefusedError)]
        waits = [error for error in errors if isinstance(error, UnavailableError)]
        if errors and (refused or not posted):
            raise (refused or waits or errors)[0]
        self.pace.pause(max((error.seconds or 0.0 for error in waits), default=0.0))
        return [failures.get(record.identifier) for record in records]

    def _by_owner(self, records: Sequence[Record]) -> dict[str, list[Told]]:
        """Owner -> what is left to tell; who was forgotten is not told of."""
        found: dict[str, list[Told]] = {}
        for record in records:
            by_owner: dict[str, list[Move]] = {}
            for move in moves(record) if not record.forgotten else []:
                if (move.note.owner, record.record_id) not in self._told:
                    by_owner.setdefault(move.note.owner, []).append(move)
            for owner, made in by_owner.items():
                found.setdefault(owner, []).append(Told(record, made))
        return dict(sorted(found.items()))

    def _tell(self, owner: str, told: Sequence[Told]) -> None:
        """Posts a message.

        Raises:
            UnavailableError: the answer does not say that it was posted.

        """
        answer = self.call("POST", self._url(owner), success=SUCCESS, json=self._message(told))
        if answer.content != b"ok":
            raise UnavailableError("the answer does not say whether the message was posted")
        self._told |= {(owner, entry.record.record_id) for entry in told}

    def _message(self, told: Sequence[Told]) -> dict[str, Any]:
        lines = [(_heading(move), _line(entry.record, move)) for entry in told for move in entry.moves]
        entered = sum(move.entered for entry in told for move in entry.moves)
        summary = f"Traithouse: {entered} entered, {len(lines) - entered} left"
        blocks = [_section(text) for text in _sections(self._lines(summary, lines))]
        return {"text": summary, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}

    def _lines(self, summary: str, lines: Sequence[tuple[str, str]]) -> Iterable[str]:
        """The summary, a heading for each trait and direction, and below it as many lines as there is room for."""
        yield f"*{summary}*"
        listed, used, beyond = 0, len(summary), 0
        for heading, group in groupby(sorted(lines), key=lambda pair: pair[0]):
            texts = [text for _, text in group]
            titled = f"*{heading}* ({len(texts)})"
            if used + len(titled) > _MESSAGE:
                beyond += len(texts)
                continue
            yield titled
            used += len(titled)
            shown = 0
            for text in texts:
                if listed == self.options.most or used + len(text) > _MESSAGE:
                    break
                yield text
                used, listed, shown = used + len(text), listed + 1, shown + 1
            if shown < len(texts):
                yield f"and {len(texts) - shown} more"
        if beyond:
            yield f"and {beyond} more, of other traits"


def _heading(move: Move) -> str:
    value = "" if move.value is True else f" is {_escaped(move.value, _NAME)}"
    return f"{_escaped(move.note.title, _NAME)}{value}: {'entered' if move.entered else 'left'}"


def _line(record: Record, move: Move) -> str:
    label, entity = _escaped(record.label, _NAME), _escaped(record.entity_id, _NAME)
    reason = _escaped(move.reason, _REASON)
    return f"• {label + ' (' + entity + ')' if label else entity}{': ' + reason if reason else ''}"


def _escaped(text: object, most: int) -> str:
    """Text of others as Slack shows it word for word: on one line, of a bounded length, without control characters."""
    plain = "".join(letter if letter.isprintable() else " " for letter in str(text))
    short = " ".join(plain.split())
    short = short if len(short) <= most else f"{short[: most - 1]}…"
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _sections(lines: Iterable[str]) -> Iterable[str]:
    """Lines put together, as many as a section may have."""
    section = ""
    for line in lines:
        if section and len(section) + 1 + len(line) > _SECTION:
            yield section
            section = ""
        section = f"{section}\n{line}" if section else line
    yield section


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}
