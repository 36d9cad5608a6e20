"""The order in which traits are judged: what a trait is made of, and what it is compared with, comes first."""

from __future__ import annotations

from collections.abc import Iterable

from orchestration.declarations.traits import Trait


def judged_in_order(traits: Iterable[Trait]) -> list[Trait]:
    """The traits, each behind its ancestors and the traits that it contradicts; in a circle, ancestors first."""
    left = sorted(traits, key=lambda trait: (len(trait.ancestors), trait.name))
    ordered: list[Trait] = []
    while left:
        waiting = {trait.name for trait in left}
        ready = [
            trait
            for trait in left
            if not waiting & {*trait.ancestors, *(contradiction.trait for contradiction in trait.contradicts)}
        ]
        ordered += ready or left[:1]
        left = [trait for trait in left if trait not in ordered]
    return ordered
