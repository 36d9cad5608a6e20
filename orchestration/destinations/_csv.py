"""CSV as every reader reads it: a cell with a line end of any kind is quoted, lines end with a line feed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import Any

_END = "\r\n"


class _WrittenLines(list[str]):
    """Lines as a writer makes them; it quotes only the line ends that it writes itself, so these are both."""

    def write(self, line: str) -> int:
        self.append(line.removesuffix(_END) + "\n")
        return len(line)


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """The rows as CSV; null is empty."""
    lines = _WrittenLines()
    csv.writer(lines, lineterminator=_END).writerows(rows)
    return "".join(lines)
