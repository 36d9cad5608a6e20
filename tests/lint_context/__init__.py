"""What sqlfluff's jinja templater lacks of dbt: enough of each name that a model renders to SQL."""

import datetime
from types import SimpleNamespace
from typing import Any

import pytz
import yaml

modules = SimpleNamespace(datetime=datetime, pytz=pytz)
execute = False
flags = SimpleNamespace(FULL_REFRESH=False)

with open("dbt_project.yml") as _project:  # noqa: PTH123
    _VARS = yaml.safe_load(_project)["vars"]


def var(name: str, default: Any = "") -> Any:
    """Gives the project's own value of a var."""
    return _VARS.get(name, default)


class _Calls:
    """Renders every macro of a namespace as a plain function call."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: f"{name}({', '.join(map(_text, arguments))})"


def _text(argument: Any) -> str:
    return ", ".join(argument) if isinstance(argument, list) else str(argument)


dbt = _Calls()


# Macros that render to more than a call.
_QUERIES = {
    "calendar": lambda first, last: f"select calendar_date from calendar_days({first}, {last}) as days",
    "matches": lambda text, pattern: f"matches({text}, '{pattern}')",
    "filter_by_keys": lambda relation, column, keys: f"select * from {relation} where {column} in ({keys})",
    "with_untouched_rows": lambda rows, dirty: f"select * from {rows}",
    "connected_components": lambda edges: f"select from_key as node_key, to_key as component_key from {edges}",
}


def _dispatch(name: str) -> Any:
    return _QUERIES.get(name) or getattr(dbt, name)


adapter = SimpleNamespace(dispatch=_dispatch)


# What macros/trait.sql renders from a model's YAML: the shape of it.
def declared_trait(name: str | None = None) -> dict[str, Any]:
    """Stands for what a trait declares."""
    return {"scorecard": ["silent_days"]}


def unobserved_needs(observed: str) -> str:
    """Stands for a query of one row."""
    return f"select min(observed.behaviour) as not_observed from {observed} as observed"


def derived_values(after_points: bool = False) -> str:
    """Stands for the columns of derived values."""
    return "true as is_scored" if after_points else "true as is_derived"


def _expression(*names: str) -> str:
    return "'any'"


def _condition(*names: str) -> str:
    return "true"


applies_to = population = _condition
derived_value = _expression


def judged_value(trait: str) -> str:
    """Stands for the value of an upstream trait."""
    return f"{trait}.value"


decided_rule = decided_eligible = decided_value = decided_score = evidence = _expression
