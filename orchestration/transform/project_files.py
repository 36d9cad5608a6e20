"""The files that dbt reads of a project: their contents decide whether it is parsed again, never their times.

dbt itself takes a YAML file for unchanged where its time of modification is. So the state of all files is kept
beside dbt's own parse, and where contents changed and the time did not, that parse is thrown away.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from orchestration.errors import UsageError
from orchestration.home import Home, read_json, write_atomically

# What dbt has parsed, for its next parse.
_PARSED, _STATES = "partial_parse.msgpack", "parsed_files.json"
# Files at the top; and the folders that dbt reads where dbt_project.yml names no others.
_TOP = ("dbt_project.yml", "profiles.yml", "packages.yml", "dependencies.yml", "package-lock.yml", ".dbtignore")
_FOLDERS = {
    "model-paths": "models",
    "macro-paths": "macros",
    "seed-paths": "seeds",
    "test-paths": "tests",
    "snapshot-paths": "snapshots",
    "analysis-paths": "analyses",
    "docs-paths": [],
    "packages-install-path": "dbt_packages",
}
_READ = {".sql", ".yml", ".yaml", ".md", ".csv", ".py"}
_ENV_VAR = re.compile(r"""env_var\(\s*['"](\w+)['"]""")
# What a run of dbt sets (runner.py); where a home is and how much memory it has changes no row.
_SET_BY_A_RUN = {"TRAITHOUSE_HOME", "TRAITHOUSE_TARGET", "TRAITHOUSE_MEMORY_LIMIT"}
# Ten times as fast where libyaml is there; both are safe.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PACKAGES = ("dbt-core", "dbt-adapters", "dbt-common", "dbt-duckdb", "duckdb")


@dataclass(frozen=True)
class FileState:
    """One file of the project.

    Attributes:
        modified: its time of modification, as dbt compares it.
        contents: SHA-256; empty for a seed, which dbt does not parse.

    """

    modified: float
    contents: str


class ProjectFiles:
    """The files of a project as they are now: each is read once, when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: set[str] = set()

    @cached_property
    def states(self) -> dict[str, FileState]:
        """The state of each file by its path in the project."""
        return {str(path.relative_to(self._folder)): self._state(path) for path in sorted(set(self._paths()))}

    @property
    def environment(self) -> dict[str, str]:
        """Hashes of the environment variables that the project reads by name, those that change no row left out."""
        _ = self.states
        return {
            name: _sha256(os.environ[name].encode()) if name in os.environ else ""
            for name in sorted(self._names - _SET_BY_A_RUN)
        }

    def fingerprint(self, target: str) -> str:
        """Hash over the contents of all files, the environment that they read, dbt's packages and the engine."""
        contents = {name: state.contents for name, state in self.states.items()}
        facts = [contents, self.environment, [version(name) for name in _PACKAGES], target]
        return _sha256(json.dumps(facts).encode())[:16]

    def drop_stale_parse(self, home: Home) -> None:
        """Throws away dbt's own parse where dbt would miss an edit; call ``keep_states`` after the next parse.

        Also where the states that are kept are of another parse: what that one has read is not known.
        """
        parsed = home.dbt_target / _PARSED
        if not parsed.exists():
            return
        kept = read_json(home.dbt_target / _STATES)
        before = kept.get("files") or {}
        missed = any(
            before[name]["modified"] == state.modified and before[name]["contents"] != state.contents
            for name, state in self.states.items()
            if name in before
        )
        if missed or kept.get("parsed") != _sha256(parsed.read_bytes()):
            parsed.unlink()

    def keep_states(self, home: Home) -> None:
        """Writes the states of the files beside what dbt has parsed of them."""
        files = {name: asdict(state) for name, state in self.states.items()}
        parsed = _sha256((home.dbt_target / _PARSED).read_bytes())
        write_atomically(home.dbt_target / _STATES, json.dumps({"parsed": parsed, "files": files}))

    def _paths(self) -> Iterator[Path]:
        yield from (self._folder / name for name in _TOP if (self._folder / name).is_file())
        declared = read_yaml(self._folder / "dbt_project.yml")
        for key, usual in _FOLDERS.items():
            named = declared.get(key) or usual
            for folder in [named] if isinstance(named, str) else named:
                # As dbt walks.
                for where, _, names in os.walk(self._folder / folder, followlinks=True):
                    yield from (Path(where, name) for name in names if Path(name).suffix in _READ)

    def _state(self, path: Path) -> FileState:
        if path.suffix == ".csv":
            return FileState(path.stat().st_mtime, "")
        # The time first: a file that is written meanwhile is read again next time.
        modified, content = path.stat().st_mtime, path.read_bytes()
        self._names |= set(_ENV_VAR.findall(content.decode(errors="replace")))
        return FileState(modified, _sha256(content))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file of the project's top folder.

    Raises:
        UsageError: it is missing, no YAML, or no mapping.

    """
    try:
        value = yaml.load(path.read_text(), Loader=_LOADER)  # noqa: S506
    except FileNotFoundError:
        raise UsageError(f"{path} is missing.", "Bring it back; dbt needs it.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}.", "Correct it.") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path} is no mapping.", "Correct it.")
    return value
