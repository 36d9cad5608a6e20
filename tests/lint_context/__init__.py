"""What sqlfluff's jinja templater lacks of dbt: enough of each name that a model renders to SQL."""

import datetime
from types import SimpleNamespace
from typing import Any

import pytz
import yaml

modules = SimpleNamespace(datetime=datetime, pytz=pytz)
execute = False

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


def _dispatch(name: str) -> Any:
    if name == "calendar":
        return lambda first, last: f"select calendar_date from calendar_days({first}, {last}) as days"
    return getattr(dbt, name)


adapter = SimpleNamespace(dispatch=_dispatch)
