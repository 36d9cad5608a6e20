"""Errors that a person reads: one sentence, one hint, one exit code."""

from __future__ import annotations

from typing import ClassVar


class TraithouseError(Exception):
    """Something went wrong that the reader can act on; ``hint`` says how."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TraithouseError):
    """The call, a declaration or an input cannot be used as it is."""

    exit_code = 2


class WarehouseBusyError(TraithouseError):
    """Another process holds the warehouse."""

    exit_code = 5


class DamagedFileError(TraithouseError):
    """A file of the home is damaged, or another program's; nothing in it was changed."""
