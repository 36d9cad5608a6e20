"""The Dagster UI after command-line runs, in a real browser."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from orchestration.home import PROJECT_ROOT, Home, Settings
from orchestration.simulator.bundled import SAMPLE
from tests.dagster_ui import Dev, dagster_ui

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 120_000

pytestmark = pytest.mark.long


def traithouse(home: Home, *arguments: str) -> None:
    command = [sys.executable, "-m", "orchestration", *arguments, "--home", str(home.root)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """The UI of a home that the command line has loaded, refreshed twice and backfilled."""
    folder = tmp_path_factory.mktemp("dagster")
    home = Home(Settings(home=folder / "home"))
    mapping = [f"--map={field}={column}" for field, column in SAMPLE.mapping.items()]
    traithouse(home, "load", str(SAMPLE.path), "--source", SAMPLE.source, *mapping)
    traithouse(home, "refresh", "--as-of", "2024-06-28")
    traithouse(home, "backfill", "--from", "2024-06-20", "--to", "2024-06-27", "--trait", "dormant")
    traithouse(home, "refresh")
    with dagster_ui(home, folder / "dev.log") as started:
        yield started


@contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    assert CHROMIUM.exists(), "There is no /usr/bin/chromium: install the Debian package `chromium`."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            str(folder / "profile"),
            executable_path=str(CHROMIUM),
            args=ARGUMENTS,
            viewport={"width": 1500, "height": 1000},
        )
        try:
            page = browser.pages[0]
            page.set_default_timeout(PATIENCE_MS)
            yield page
        finally:
            browser.close()


def test_asset_pages_have_history_from_the_first_minute(dev: Dev, tmp_path: Path) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    with browsing(tmp_path) as page:
        page.goto(f"{dev.url}/asset-groups")
        page.wait_for_timeout(15_000)
        page.screenshot(path=tmp_path / "lineage.png")
        page.goto(f"{dev.url}/assets/traits/dormant?view=overview")
        page.wait_for_timeout(15_000)
        page.screenshot(path=tmp_path / "overview.png", full_page=True)
        page.goto(f"{dev.url}/assets/traits/dormant?view=events")
        page.wait_for_timeout(8_000)
        page.screenshot(path=tmp_path / "events.png", full_page=True)
        page.goto(f"{dev.url}/assets/traits/dormant?view=plots")
        page.wait_for_timeout(8_000)
        page.screenshot(path=tmp_path / "plots.png", full_page=True)
        page.goto(f"{dev.url}/assets/candidates/dormant?view=checks")
        page.wait_for_timeout(8_000)
        page.screenshot(path=tmp_path / "checks.png", full_page=True)
        page.goto(f"{dev.url}/assets/history/dormant?view=partitions")
        page.wait_for_timeout(8_000)
        page.screenshot(path=tmp_path / "history.png", full_page=True)
        print(tmp_path)
