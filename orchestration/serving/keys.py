"""API keys: named, with a role, hashed at rest. ``serving/keys.json`` holds them, so that replicas follow them too.

A key is 256 random bits, so a plain SHA-256 of it can be stored; the key itself is shown once, when it is made.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from orchestration.errors import DamagedFileError, UsageError
from orchestration.home import utc_now, write_atomically
from orchestration.published.lookup_file import KEYS

Role = Literal["reader", "operator", "approver"]
ROLES: tuple[Role, ...] = get_args(Role)
PREFIX = "thk_"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class ApiKey:
    """A key as it is stored.

    Attributes:
        name: whom it was given to.
        role: reader reads all that is served; an operator also sees the audit log and stops plays; an approver also
            approves.
        sha256: of the key, in hexadecimal.
        purpose: what it may be used for: only entities whose consent names it are answered; empty for any.
        made_at: UTC, ISO 8601.

    """

    name: str
    role: Role
    sha256: str
    purpose: str
    made_at: str

    def may(self, role: Role) -> bool:
        """Whether its role is that one or a higher one."""
        return ROLES.index(self.role) >= ROLES.index(role)


def hash_key(key: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(folder: Path) -> dict[str, ApiKey]:
    """Keys by their hash; none where none was made.

    Raises:
        DamagedFileError: the file is none of keys.

    """
    path = folder / KEYS
    try:
        listed = [ApiKey(**entry) for entry in json.loads(path.read_text())["keys"]]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError):
        raise DamagedFileError(
            f"{path} is damaged.", "Take it from a backup; or delete it, and make the keys again."
        ) from None
    return {key.sha256: key for key in listed}


def add_key(folder: Path, name: str, role: Role, purpose: str = "") -> str:
    """Makes a key and returns it; nothing keeps it.

    Raises:
        UsageError: the name cannot be one, or is taken.

    """
    known = read_keys(folder)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a key.", "Use small letters, digits, dot, _ and -; 64 at most."
        )
    if any(key.name == name for key in known.values()):
        raise UsageError(
            f"There is a key {name} already.", f"Use another name, or traithouse keys revoke {name} first."
        )
    made = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(name, role, hash_key(made), purpose.strip().lower(), utc_now().isoformat(timespec="seconds") + "Z")
    _write(folder, [*known.values(), key])
    return made


def revoke_key(folder: Path, name: str) -> None:
    """Takes a key away; the API refuses it within two seconds.

    Raises:
        UsageError: there is no such key.

    """
    known = read_keys(folder)
    left = [key for key in known.values() if key.name != name]
    if len(left) == len(known):
        raise UsageError(f"There is no key {name}.", "traithouse keys list shows all.")
    _write(folder, left)


def _write(folder: Path, keys: Iterable[ApiKey]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    listed = sorted((asdict(key) for key in keys), key=lambda key: key["name"])
    write_atomically(folder / KEYS, json.dumps({"keys": listed}, indent=1))
