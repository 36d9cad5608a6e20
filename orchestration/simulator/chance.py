"""Random numbers of one account: seeded by world and account, so that no account depends on another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_BATCH = 4096


class Chance:
    """Draws one number after the other; numpy makes them in batches, because single draws are slow."""

    def __init__(self, seed: int, index: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64([seed, index]))
        self._numbers: list[float] = []

    def number(self) -> float:
        """Uniform in [0, 1)."""
        if not self._numbers:
            self._numbers = self._generator.random(_BATCH).tolist()
        return self._numbers.pop()

    def happens(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return self.number() < probability

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.number()

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int((high - low + 1) * self.number())

    def one_of(self, items: Sequence[T]) -> T:
        """One of the items, each with the same probability."""
        return items[int(len(items) * self.number())]

    def pick(self, weights: Mapping[T, float]) -> T:
        """One of the keys, by weight."""
        left = self.number() * sum(weights.values())
        *others, last = weights
        for item in others:
            left -= weights[item]
            if left < 0:
                return item
        return last

    def normal(self) -> float:
        """Standard normal (Box-Muller)."""
        return math.sqrt(-2 * math.log(1 - self.number())) * math.cos(2 * math.pi * self.number())

    def wait(self, mean: float) -> float:
        """Exponential with this mean."""
        return -mean * math.log(1 - self.number())

    def count(self, mean: float) -> int:
        """Poisson with a small mean."""
        limit, product, events = math.exp(-mean), self.number(), 0
        while product > limit:
            product *= self.number()
            events += 1
        return events

    def order(self, items: Sequence[T]) -> list[T]:
        """The items, shuffled."""
        return [item for _, _, item in sorted((self.number(), place, item) for place, item in enumerate(items))]
