"""Who counts: identified users, in every share, threshold, fit, grade and sync; anonymous visitors have values only.

A trait that declares ``everyone`` counts all of its users. An account is never anonymous.
"""

from __future__ import annotations

from orchestration.declarations.traits import Trait

# SQL of the ids of anonymous visitors.
_VISITORS = "select user_id from identity.dim_users where is_anonymous"


def counts_everyone(trait: Trait) -> bool:
    """Whether each entity that has a value of the trait counts."""
    return trait.entity == "account" or trait.everyone


def counted(trait: Trait, entity_id: str) -> str:
    """SQL condition: whether an entity counts, by what identity says now; a row without an id counts.

    Args:
        trait: which.
        entity_id: SQL of the entity's id.

    """
    return "true" if counts_everyone(trait) else f"coalesce({entity_id} not in ({_VISITORS}), true)"
