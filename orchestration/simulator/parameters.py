"""What a simulation is made from: the same parameters give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from orchestration.errors import UsageError

DEFAULT_END = date(2024, 6, 30)
# The name of the source in data; the event catalogue (seeds/event_catalog.csv) has it, too.
SOURCE = "sandbox"


@dataclass(frozen=True)
class Parameters:
    """How large, how long, how hard.

    Attributes:
        accounts: companies that sign up before ``end``, those that exist from the beginning included.
        days: length of the window that events fall into.
        seed: another seed is another world.
        difficulty: 0 is clean behaviour, 1 is noise and states that look alike.
        end: midnight UTC at which the window ends, excluded.

    """

    accounts: int = 150
    days: int = 180
    seed: int = 1
    difficulty: float = 0.3
    end: date = DEFAULT_END

    def __post_init__(self) -> None:
        """Refuses what no world can be made from."""
        if not 1 <= self.accounts <= 20_000:
            raise UsageError(f"{self.accounts} accounts cannot be simulated.", "--accounts is 1 to 20000.")
        if not 28 <= self.days <= 1_000:
            raise UsageError(f"{self.days} days cannot be simulated.", "--days is 28 to 1000; trials last 14 or 30.")
        if self.seed < 0:
            raise UsageError(f"{self.seed} cannot be a seed.", "--seed is a whole number from 0.")
        if not 0 <= self.difficulty <= 1:
            raise UsageError(f"{self.difficulty} is not a difficulty.", "--difficulty is 0 (clean) to 1 (very noisy).")
        if not 1975 <= self.end.year <= 2200:
            raise UsageError(f"{self.end} cannot be the end.", "--end is a date such as 2024-06-30.")

    @property
    def start(self) -> datetime:
        """Midnight at which the window begins; UTC."""
        return datetime(self.end.year, self.end.month, self.end.day, tzinfo=UTC) - timedelta(days=self.days)

    def stamp(self, time: float) -> str:
        """Days since the window's start as a UTC instant with milliseconds."""
        instant = self.start + timedelta(milliseconds=round(time * 86_400_000))
        return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03d}Z"

    def weekday(self, day: int) -> int:
        """0 is Monday; ``day`` counts from the start of the window."""
        return (self.start.weekday() + day) % 7

    def workday(self, day: int) -> int:
        """The day itself, or the Monday after its weekend."""
        return day + max(0, 7 - self.weekday(day)) if self.weekday(day) > 4 else day


def read_end(text: str) -> date:
    """A date as the command line gives it.

    Raises:
        UsageError: it is none.

    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a date.", "--end is a date such as 2024-06-30.") from None
