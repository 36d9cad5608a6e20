"""Backup: all of one moment, or none."""

from __future__ import annotations

import os

from orchestration.admin.backup import backup
from orchestration.errors import WarehouseBusyError
from orchestration.home import Home
from orchestration.transform.dbt import Project
from tests.children import in_child


def test_a_backup_is_not_made_while_another_process_writes(sample_home: Home, sample_project: Project) -> None:
    def busy() -> None:
        try:
            backup(sample_project)
        except WarehouseBusyError:
            os._exit(5)

    with sample_home.lock("test"):
        assert os.waitstatus_to_exitcode(in_child(busy)) == 5
    assert not (sample_home.root / "backups").exists()
