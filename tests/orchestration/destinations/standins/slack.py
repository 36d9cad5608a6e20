"""An incoming webhook of Slack, after its documentation: plain answers, limits of blocks, no memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.orchestration.destinations.standins import Answer, HttpStandIn, Request

PATH = "/services/T00000000/B00000000/secret-of-the-webhook"
_HEADING = re.compile(r"\*(?P<trait>\w+)(?: is (?P<value>.*))?: (?P<way>entered|left)\* \(\d+\)")
_LINE = re.compile(r"• (?:.* \()?(?P<entity>[^\s():]+)\)?(?:: .*)?")


class SlackStandIn(HttpStandIn):
    """Keeps the texts of messages, and what they say of whom.

    Attributes:
        posted: address and text of each message.

    """

    name = "slack"
    most: ClassVar[int] = 230
    spared: ClassVar[Mapping[str, str]] = {"token": "a webhook does not expire"}

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[tuple[str, str]] = []
        self.known: dict[str, dict[str, Any]] = {}

    def declaration(self) -> dict[str, Any]:
        return {"destination": "slack", "options": {"most": 1_000, "timeout_seconds": 0.4}}

    def environment(self) -> dict[str, str]:
        return {"SLACK_WEBHOOK_URL": f"{self.url}{PATH}"}

    def visible(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {name: escaped(value) for name, value in fields.items() if value is True or isinstance(value, str)}

    def handle(self, request: Request) -> Answer:
        if not request.path.startswith(PATH):
            return Answer(404, b"no_service")
        body = request.json
        blocks = body.get("blocks")
        if not body.get("text"):
            return Answer(400, b"no_text")
        if not isinstance(blocks, list) or not 0 < len(blocks) <= 50:
            return Answer(400, b"invalid_blocks")
        texts = [block["text"]["text"] for block in blocks]
        if not all(0 < len(text) <= 3_000 for text in texts) or sum(map(len, texts)) > 13_000:
            return Answer(400, b"invalid_blocks")
        text = "\n".join(texts)
        if any(name in text for name in self.poisoned):
            return Answer(400, b"invalid_payload")
        self.posted.append((request.path, text))
        self.writes.append(sorted(self.read(text)))
        return Answer(200, b"ok")

    def read(self, text: str) -> set[str]:
        """Takes over what a message says, what is left first, and returns of whom it says something."""
        said: list[tuple[bool, str, str, Any]] = []
        heading: re.Match[str] | None = None
        for line in text.splitlines():
            heading = _HEADING.fullmatch(line) or heading
            if heading and (found := _LINE.fullmatch(line)):
                value = heading["value"] or True
                said.append((heading["way"] == "entered", found["entity"], heading["trait"], value))
        for entered, entity, trait, value in sorted(said, key=lambda row: row[:3]):
            fields = self.known.setdefault(entity, {})
            if entered:
                fields[trait] = value
            elif fields.get(trait) == value:
                del fields[trait]
        return {entity for _, entity, *_ in said}

    def state(self) -> dict[str, dict[str, Any]]:
        return {entity: dict(fields) for entity, fields in self.known.items()}


def escaped(value: Any) -> Any:
    """A value as a message has it."""
    return (
        str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") if isinstance(value, str) else value
    )
