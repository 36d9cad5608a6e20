"""Turns evidence into the sentence that a person reads; the rule's template is in the trait's YAML entry."""

from __future__ import annotations

import json
import re

from orchestration.declarations.traits import Trait


def sentence(trait: Trait, evidence: str) -> str:
    """The sentence of the rule that an evidence names, with its numbers."""
    read = json.loads(evidence)
    numbers = {**read["thresholds"], **read.get("derived", {}), **read["features"]}
    return trait.sentences[read["rule"]].format_map(numbers)


def quoted_value(name: str) -> str:
    """SQL: a feature, derived value or threshold of column ``evidence``, as text."""
    parts = (f"json_extract_string(evidence, '$.{part}.{name}')" for part in ("features", "derived", "thresholds"))
    return f"coalesce({', '.join(parts)})"


def sentence_sql(trait: Trait) -> str:
    """SQL for ``sentence`` over a candidate's column ``evidence``: no row leaves the warehouse to get its reason."""
    cases = []
    for rule, template in trait.sentences.items():
        pieces = [
            quoted_value(piece) if index % 2 else "'" + piece.replace("'", "''") + "'"
            for index, piece in enumerate(re.split(r"{(\w+)}", template))
        ]
        cases.append(f"when '{rule}' then {' || '.join(pieces)}")
    return f"case json_extract_string(evidence, '$.rule') {' '.join(cases)} end"
