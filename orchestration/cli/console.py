"""How answers look in a terminal."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape

OUT = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
VERDICTS = {
    "passed": "[green]passed[/]",
    "failed": "[red]withheld[/]",
    "not_enough_evidence": "[yellow]not enough evidence[/]",
    "none": "[dim]not judged[/]",
}
SOURCE_VERDICTS = {"passed": "[green]passed[/]", "warned": "[yellow]warned[/]", "failed": "[red]failed[/]"}


class Progress:
    """Shows on stderr what happens now: a spinner in a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._spinner = self._console.status("") if sys.stderr.isatty() else None
        self._last = ""

    def __call__(self, message: str) -> None:
        """Show a message."""
        if self._spinner:
            self._spinner.update(escape(message))
            self._spinner.start()
        elif message != self._last:
            self._console.print(f"  {escape(message)}", style="dim", soft_wrap=True)
        self._last = message

    def stop(self) -> None:
        """Clears the spinner."""
        if self._spinner:
            self._spinner.stop()


def count_of(number: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
