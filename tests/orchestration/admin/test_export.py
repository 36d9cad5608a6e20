"""Who asks gets all that is held and was sent, in one file, and nothing of anybody else."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from orchestration.admin.export import export_subject, write_export
from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.transform.dbt import Project
from tests.orchestration.admin.search import PAT, PAT_IDS, places


def test_an_export_has_every_place_in_which_a_person_stands(
    traced_home: Home, traced_project: Project, tmp_path: Path
) -> None:
    exported = export_subject(traced_project, "u-pat-former")
    assert exported["subject"]["ids"] == sorted(PAT_IDS)
    tables = {name.partition(": ")[2].replace('"', "") for name in places(traced_home.root) if ": " in name}
    shown = exported["held"].keys() | {name.rpartition(".")[0] for name in exported["mentions"]}
    shown |= {"traits.trait_values", "traits.trait_changes"}
    assert {name for name in tables if name.startswith(("raw", "traits", "state"))} <= shown
    assert {"identity.identity_nodes", "identity.identity_links", "activity.fct_user_activity_daily"} <= shown
    assert len(exported["traits"]) > 5 and all(row["reason"] for row in exported["traits"])
    (records,) = exported["sent"].values()
    assert [(row["identifier"], row["state"]) for row in records] == [(PAT, "acknowledged")]
    assert {"unknown.bin", "logs/old.log", "inbox/loaded/story.ndjson"} <= exported["files"].keys()
    assert exported["mentions"]["raw.events.properties"] == 1
    for name in ("all.json", "all.html"):
        write_export(traced_home, exported, tmp_path / name)
        text = (tmp_path / name).read_text()
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        assert all(known in text for known in PAT_IDS)
        assert "u-otto-other" not in text and "user_0001" not in text
    assert json.loads((tmp_path / "all.json").read_text())["subject"]["type"] == "user"


def test_an_export_goes_neither_into_the_home_nor_over_a_file(
    traced_home: Home, traced_project: Project, tmp_path: Path
) -> None:
    exported = {"subject": {"type": "user", "ids": ["x"], "identifiers": []}}
    with pytest.raises(UsageError, match="is in the home"):
        write_export(traced_home, exported, traced_home.outbox / "x.json")
    (tmp_path / "there.json").write_text("a file")
    with pytest.raises(UsageError, match="is there already"):
        write_export(traced_home, exported, tmp_path / "there.json")
    with pytest.raises(UsageError, match="There is no user nobody-at-all"):
        export_subject(traced_project, "nobody-at-all")
