"""Takes secrets out of texts, in every spelling that a vendor, a library or this program may give them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, quote_plus

HIDDEN = "***"
# A spelling that is a part of the secret is no longer one when it is shorter than this.
_SHORTEST_PART = 6


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text without any of the secrets."""
    known = frozenset(secrets)
    return _pattern(known).sub(HIDDEN, text) if known else text


@lru_cache(maxsize=64)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
    # Percent-encoding and escapes are written in letters of either case.
    return re.compile("|".join(map(re.escape, sorted(spellings, key=len, reverse=True))), re.IGNORECASE)


def _spellings(secret: str) -> set[str]:
    """A secret as it is, percent-encoded once or twice, escaped by JSON or Python, in hexadecimal and in base64."""
    content = secret.encode()
    spellings = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        "".join(f"%{byte:02x}" for byte in content),
        json.dumps(secret)[1:-1],
        json.dumps(secret).replace("/", "\\/")[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        repr(content)[2:-1],
        content.hex(),
    }
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        # In another text, a secret begins at any of the three places of a group, and its last group has other bits.
        for before in range(3):
            inner = encode(bytes(before) + content).decode().rstrip("=")
            cut = inner[before + 1 if before else 0 : len(inner) - bool((before + len(content)) % 3)]
            if len(cut) >= _SHORTEST_PART:
                spellings.add(cut)
        spellings |= {encode(content).decode(), encode(content).decode().rstrip("=")}
    return spellings | {quote(spelling, safe="") for spelling in spellings}
