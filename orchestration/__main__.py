"""``python -m orchestration`` is ``traithouse``."""

from orchestration.cli.app import entry

entry()
