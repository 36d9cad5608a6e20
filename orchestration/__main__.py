"""``python -m orchestration`` is ``traithouse``."""

from orchestration.cli import entry

entry()
