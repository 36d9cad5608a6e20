"""Syncs from the command line."""

from collections.abc import Callable

import pytest
from click.testing import Result

from orchestration.home import Home
from orchestration.sync import deliver

Traithouse = Callable[..., Result]


def test_a_failed_delivery_is_exit_code_4(
    sample_home: Home, traithouse: Traithouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "FIRST_BACKOFF_SECONDS", 0.001)
    sample_home.outbox.write_text("a file where the folder should be")
    result = traithouse("sync", home=sample_home)
    assert result.exit_code == 4
    assert "600 failed" in result.stdout
    sample_home.outbox.unlink()
    assert traithouse("sync", home=sample_home).exit_code == 0
