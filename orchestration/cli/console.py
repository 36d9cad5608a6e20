"""How answers look in a terminal: at most 120 columns, progress on stderr."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

WIDTH = 120
LABEL_WIDTH = 10
OUT = Console(highlight=False, width=min(Console().width, WIDTH) if sys.stdout.isatty() else WIDTH)
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
        """Shows a message; one that repeats the last is shown once."""
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


def show_text(text: str, *, indent: int = 0, hanging: int = 2, style: str = "") -> None:
    """A paragraph (markup); lines after the first are indented by ``hanging`` more."""
    _show_wrapped(" " * indent, " " * (indent + hanging), text, style)


def show_fact(label: str, text: str) -> None:
    """A label (markup) in a column of ten, and its text (markup) beside it."""
    shown = Text.from_markup(label)
    _show_wrapped(label + " " * (LABEL_WIDTH + 1 - len(shown)), " " * (LABEL_WIDTH + 1), text, "")


def _show_wrapped(first: str, others: str, text: str, style: str) -> None:
    for number, line in enumerate(Text.from_markup(text, style=style).wrap(OUT, OUT.width - len(others))):
        line.rstrip()
        OUT.print(Text.from_markup(others if number else first) + line)


def show_path(label: str, path: object, note: str = "") -> None:
    """A label, a path in one piece (so that it can be copied), and what is there."""
    OUT.print(
        f"{label:{LABEL_WIDTH}} {escape(str(path))}" + (f"  [dim]{escape(note)}[/]" if note else ""), soft_wrap=True
    )


def new_table(*columns: str) -> Table:
    """A table without lines; add rows of cells (markup)."""
    return Table(*columns, box=None, header_style="dim")


def count_of(number: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
