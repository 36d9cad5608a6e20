"""What a sandbox is made of."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestration.errors import UsageError

SOURCE = "sandbox"


class Parameters(BaseModel):
    """The same parameters give the same bytes.

    Attributes:
        accounts: companies that sign up, over the whole time and more of them later.
        days: length of the history.
        seed: of every random choice.
        difficulty: 0 to 1; how much chance (holidays of one's own, idle curiosity, mistakes) hides the hidden states.
        end: exclusive last day; UTC.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accounts: int = Field(default=150, ge=1, le=100_000)
    days: int = Field(default=180, ge=30, le=1_100)
    seed: int = Field(default=1, ge=0)
    difficulty: float = Field(default=0.3, ge=0, le=1)
    end: date = date(2024, 6, 30)

    @property
    def start(self) -> datetime:
        """First instant; UTC."""
        return datetime(self.end.year, self.end.month, self.end.day, tzinfo=UTC) - timedelta(days=self.days)


def sandbox_parameters(**given: Any) -> Parameters:
    """Parameters from a call; what is not given has its default.

    Raises:
        UsageError: one is out of its range.

    """
    chosen = {name: value for name, value in given.items() if value is not None}
    if isinstance(chosen.get("end"), datetime):
        chosen["end"] = chosen["end"].date()
    try:
        return Parameters(**chosen)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"--{name}: {first['msg']}.", "traithouse sandbox --help") from None
