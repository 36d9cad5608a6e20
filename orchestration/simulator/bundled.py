"""The bundled sample: shop events whose true sessions are known (seeds/sample, with its licence)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from orchestration.home import PROJECT_ROOT


@dataclass(frozen=True)
class Sample:
    """How the file is loaded; columns that are not mapped go into properties."""

    path: Path = PROJECT_ROOT / "seeds" / "sample" / "ecom.csv.gz"
    source: str = "shop"
    mapping: dict[str, str] = field(default_factory=lambda: {"event_name": "event", "occurred_at": "timestamp"})


SAMPLE = Sample()
