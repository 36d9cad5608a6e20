"""``python -m orchestration`` is ``traithouse``."""

from orchestration.cli import main

main(prog_name="traithouse")
